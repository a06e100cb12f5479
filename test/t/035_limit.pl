
#-------------------------------------------------------------------------
#
# 035_limit.pl
#	  A letter whose workers have failed too often: paused, and at peace.
#
# What its last worker left 'sending' is resolved once, and nothing is started
# for it over and over.
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
	rules => [ { step => 'connect', silence => 1 } ])->start;
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash       => 'on',
		log_min_messages          => 'debug1',
		'mailman.max_failed_runs' => 1
	});

$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 10);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok( $node->wait_for(
		"SELECT mail_order->>'sending' FROM mailman.letter"
		  . " WHERE id = $letter", '10'),
	'all are claimed, and the relay says nothing');
my $pid = $node->wait_for_worker($letter);
kill 'KILL', $pid;
$node->patiently(
	sub {
		ok( $node->wait_for(
				"SELECT state, mail_order->>'sending' FROM mailman.letter"
				  . " WHERE id = $letter", 'paused|0'),
			'after the crash: paused, and what was left is resolved');
		ok($node->wait_for_no_worker($letter), 'nobody is at work');
	});
is( $node->sql("SELECT doubts, run FROM mailman.letter WHERE id = $letter"),
	'10|2', 'ten doubts, by one more worker');
$node->assert_sums($letter, 'paused');

# and then there is peace: a look of the dispatcher now and then, no worker
my $from = $node->log_position;
$node->sql('SELECT mailman_wake()');
ok( $node->stays(
		"SELECT run FROM mailman.letter WHERE id = $letter", '2', 4),
	'no further worker takes it');
my @starts =
  $node->log_lines(qr/starting background worker process "mailman/, $from);
cmp_ok(scalar(@starts), '<', 5, 'and hardly any process is started')
  or diag(join("\n", @starts));

# a person mends the relay
$relay->set(rules => []);
$node->sql("SELECT mailman_resume($letter)");
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter", '10'),
	'resumed: everybody has it');
$node->assert_sums($letter, 'resumed');

$node->stop;
$relay->stop;
done_testing();
