
#-------------------------------------------------------------------------
#
# 013_slow_relay.pl
#	  A relay that thinks two seconds about every mail.
#
# Sessions must wait side by side, never one after the other; and while they
# wait, the worker must obey: pause, termination, DROP DATABASE next door.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $number = 50;
my $relay  = Mailman::Relay->new(slow => 2)->start;
my $node   = Mailman::Cluster->create('main',
	conf => { 'mailman.shutdown_grace' => '120s' });

$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# ---- DROP DATABASE while all sessions wait for the relay

$node->sql('CREATE DATABASE other');
my $letter = $node->letter($newsletter);
$relay->gate(0);
$node->send($letter);
ok(defined $node->wait_for_worker($letter), 'the worker is there');
ok($relay->wait_for_held(10), 'and has its ten sessions');
my $drop = time;
$node->sql('DROP DATABASE other');
$drop = time - $drop;
diag(sprintf 'DROP DATABASE meanwhile: %.0f ms', 1000 * $drop);
is($relay->status->{held}, 10, 'DROP DATABASE of another does not wait for it');
cmp_ok($drop, '<', 30, 'nor for anything else');

# what waited at the gate is done at once: none of it is measured below
$node->sql("SELECT mailman_cancel($letter)");
ok($node->wait_for_handed_back($letter, 10), 'called back');
$relay->open_gate;
ok($node->wait_for_no_worker($letter), 'its worker goes');
$node->assert_sums($letter, 'called back');
my $begun = $relay->pairs;

# ---- side by side

$letter = $node->letter($newsletter);
my $connections = $relay->connections_opened;
my $start       = time;
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'sent');
my $seconds = time - $start;
diag(sprintf '50 mails, 10 sessions, 2 s each: %.1f s', $seconds);
cmp_ok($seconds, '<',  70,  '50 mails of 2 s over 10 sessions: not 100 s');
cmp_ok($seconds, '>=', 9.9, 'and the relay did take its time');
is($relay->pairs - $begun, $number, 'all delivered');
is($relay->connections_opened - $connections, 10, 'over ten connections');
is($relay->status->{peak}, 10, 'at once');
$node->assert_sums($letter, 'slow relay');

# up to twice the time: an envelope may ride behind the mail before it
is( $node->sql(
		    "SELECT bool_and(duration BETWEEN interval '2 s'"
		  . " AND interval '$seconds s')"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter"),
	't', 'durations say so');

# ---- mailman_pause()

my $second = $node->letter($newsletter);
my $before = $relay->pairs;
$relay->set(slow => 0);
$relay->gate(10);
$node->send($second);
ok($relay->wait_for_held(10), 'ten are sent, ten in flight');
$node->sql("SELECT mailman_pause($second)");
is($relay->status->{held}, 10, 'mailman_pause() itself does not wait');
is($node->letter_state($second), 'paused', 'the letter is paused');
$start = time;
ok($node->wait_for_handed_back($second, 10), 'its worker begins no more');
diag(sprintf 'paused, obeyed after %.1f s', time - $start);
ok(defined(($node->workers($second))[0]), 'and waits for the replies');
$relay->open_gate;
ok($node->wait_for_no_worker($second), 'then it goes');
my $sent = $relay->pairs - $before;
is($sent, 20, 'no new mail was begun');
is( $node->sql(
		    "SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $second"),
	$sent, 'what was in flight is recorded');
is($node->states($second)->{sending}, 0, 'nothing is left half done');
is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $second"),
	'0', 'nor in doubt');
$node->assert_sums($second, 'paused');

$node->sql("SELECT mailman_resume($second)");
ok($node->wait_for_letter($second, 'sent'), 'mailman_resume(): sent');
is($relay->pairs - $before, $number, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($second, 'resumed');

# ---- pg_terminate_backend()

my $third = $node->letter($newsletter);
$before = $relay->pairs;
$relay->gate(10);
$node->send($third);
my $worker = $node->wait_for_worker($third);
ok($relay->wait_for_held(10), 'ten are sent, ten in flight');
is($node->sql("SELECT pg_terminate_backend($worker)"), 't', 'terminated');

# those ten may pass, and ten that it may have begun before it knew
$relay->gate(10);
$start = time;
ok($node->wait_for_no_worker($third), 'the worker ends');
my $grace = time - $start;
diag(sprintf 'terminated, gone after %.1f s', $grace);
cmp_ok($grace, '<', 60, 'as soon as the relay has answered, not by its grace');
$sent = $relay->pairs - $before;
cmp_ok($sent, '<=', 30, "in the middle ($sent of $number sent)");
is( $node->sql(
		    "SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $third"),
	$sent, 'every answer was recorded');
is($node->states($third)->{sending}, 0, 'what was not begun is handed back');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $third"),
	'0', 'nothing is in doubt');
is( $node->sql(
		    "SELECT max(attempts) FROM mailman.delivery"
		  . " WHERE letter_id = $third AND state <> 'delivered'"),
	'0', 'no recipient paid for it');
$node->assert_sums($third, 'terminated');

$relay->open_gate;
$node->sql("SELECT mailman_resume($third)");
ok($node->wait_for_letter($third, 'sent'), 'it goes on when asked to');
is($relay->pairs - $before, $number, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $third"),
	'0', 'without a doubt');
$node->assert_sums($third, 'after it');

# ---- a relay slower than the grace: then there is doubt, and it is known

$node->append_conf('postgresql.conf', "mailman.shutdown_grace = '1s'");
$node->reload;
$node->wait_for('SHOW mailman.shutdown_grace', '1s');
$relay->gate(0);
my $fourth = $node->letter($newsletter, on_doubt => 'hold');
$node->send($fourth);
$worker = $node->wait_for_worker($fourth);
ok( $node->wait_for(
		"SELECT (mail_order->>'sending')::int >= 10 FROM mailman.letter"
		  . " WHERE id = $fourth", 't'),
	'mails on their way');
ok($relay->wait_for_held(10), 'all ten sessions wait');
$start = time;
$node->sql("SELECT pg_terminate_backend($worker)");
ok($node->wait_for_no_worker($fourth),
	'the worker ends when its grace is over');
diag(sprintf 'terminated, gone after %.1f s of a grace of one', time - $start);
is($relay->status->{held}, 10, 'the relay has not answered');
$relay->reset_connections;
$relay->open_gate;
$node->sql("SELECT mailman_resume($fourth)");
ok($node->wait_for_letter($fourth, 'sent'), 'the rest goes on');
is($node->states($fourth)->{doubtful}, 10, 'ten are in doubt, and held');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $fourth"),
	'10', 'and counted');
$node->assert_sums($fourth, 'after doubt');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$node->stop;
$relay->stop;
done_testing();
