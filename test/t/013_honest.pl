
#-------------------------------------------------------------------------
#
# 013_honest.pl
#	  A relay that is slow, and answers, while other letters wait.
#
# Letters share the only place, ten seconds each.  Whoever gives it up waits for
# the replies that are out: this relay takes seven seconds for some, which is
# known by then, so nothing is in doubt and nobody gets a mail twice.  Neither
# has it to do with how long a shutdown may take.
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

my $relay = Mailman::Relay->new(
	rules => [
		{ step => 'dot', every => 2, delay => 7 },
		{ step => 'dot', delay => 0.4 }
	])->start;
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes     => 16,
		'mailman.max_workers'    => 1,
		'mailman.shutdown_grace' => '0'
	});
$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 60);
my @letters = map { $node->letter($newsletter, on_doubt => 'hold') } 1 .. 2;

$node->send($_) foreach @letters;
ok($node->wait_for_letter($_, 'sent'), "letter $_ is sent") foreach @letters;
cmp_ok($node->sql('SELECT max(run) FROM mailman.letter'),
	'>', 1, 'they took turns');
is($node->sql('SELECT sum(doubts) FROM mailman.letter'),
	'0', 'nothing was in doubt');
is_deeply([ $relay->duplicates ], [], 'nobody got it twice');
$node->assert_sums($_, 'slow') foreach @letters;
$node->stop;
$relay->stop;
done_testing();
