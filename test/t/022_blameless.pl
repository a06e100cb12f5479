
#-------------------------------------------------------------------------
#
# 022_blameless.pl
#	  A worker that somebody's lock keeps from its turns has not failed.
#
# A letter that is taken and then finds a table locked gives its only place to
# the next one.  However often that happens it is no failure of its workers:
# else the letter would be put off longer each time, and be paused in the end.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes      => 16,
		'mailman.max_workers'     => 1,
		'mailman.max_failed_runs' => 1
	});
$node->relay('relay', $relay->url);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 3);
my @letters    = map { $node->letter($newsletter) } 1 .. 2;

$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
	  . " + interval '1 h'");
$node->send($_) foreach @letters;
$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
	  . " + interval '2 s'");

# a turn reads subscriptions; who takes a letter does not
my $session = $node->session;
$session->query('BEGIN');
$session->query('LOCK TABLE mailman.subscription IN ACCESS EXCLUSIVE MODE');
ok( $node->wait_for(
		'SELECT count(*) FROM mailman.letter WHERE run > 0', '2'),
	'one letter after the other has the only place');
is($node->sql('SELECT min(failed_runs) FROM mailman.letter'),
	'0', 'who has given it up has not failed');
$session->query('COMMIT');
$session->quit;
ok($node->wait_for_letter($_, 'sent'), "letter $_ is sent")
  foreach @letters;
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($_, 'its turns were kept waiting') foreach @letters;
$node->stop;
$relay->stop;
done_testing();
