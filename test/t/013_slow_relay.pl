
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
my $node   = Mailman::Cluster->create('main');

$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

sub dots_seen { return $relay->status->{accepted}; }

# ---- side by side; and DROP DATABASE meanwhile

$node->sql('CREATE DATABASE other');
my $letter = $node->letter($newsletter);
my $start  = time;
$node->send($letter);
ok(defined $node->wait_for_worker($letter), 'the worker is there');
sleep 0.01 while $relay->status->{active} < 10 && time - $start < 20;
is($relay->status->{active}, 10, 'and has its ten sessions');

my $drop = time;
$node->sql('DROP DATABASE other');
$drop = time - $drop;
note(sprintf 'DROP DATABASE meanwhile: %.0f ms', 1000 * $drop);
cmp_ok($drop, '<', 1, 'DROP DATABASE of another database does not wait');

ok($node->wait_for_letter($letter, 'sent'), 'sent');
my $seconds = time - $start;
note(sprintf '50 mails, 10 sessions, 2 s each: %.1f s', $seconds);
cmp_ok($seconds, '<',  14,  '50 mails of 2 s over 10 sessions: about 10 s');
cmp_ok($seconds, '>=', 9.9, 'and the relay did take its time');
is($relay->pairs, $number, 'all delivered');
is($relay->connections_opened, 10, 'over ten connections');
$node->assert_sums($letter, 'slow relay');

# up to twice the time: an envelope may ride behind the mail before it
is( $node->sql(
		"SELECT bool_and(duration BETWEEN interval '2 s' AND interval '5 s')"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter"),
	't', 'durations say so');

# ---- mailman_pause()

my $second = $node->letter($newsletter);
my $before = $relay->pairs;
$node->send($second);
my $until = time + 20;
sleep 0.01 while dots_seen() - $before < 10 && time < $until;
$start = time;
$node->sql("SELECT mailman_pause($second)");
cmp_ok(time - $start, '<', 1, 'mailman_pause() itself does not wait');
is($node->letter_state($second), 'paused', 'the letter is paused');
ok($node->wait_for_no_worker($second), 'its worker goes');
note(sprintf 'paused, worker gone after %.1f s', time - $start);
cmp_ok(time - $start, '<', 4,
	'after what was in flight: a second to obey and two for the relay');
my $sent = $relay->pairs - $before;
cmp_ok($sent, '<=', 20, "no new mail was begun ($sent sent)");
is( $node->sql(
		    "SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $second"),
	$sent, 'what was in flight is recorded');
is($node->states($second)->{sending}, 0, 'nothing is left half done');
is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $second"),
	'0', 'nor in doubt');
$node->assert_sums($second, 'paused');

$relay->set(slow => 0);
$node->sql("SELECT mailman_resume($second)");
ok($node->wait_for_letter($second, 'sent'), 'mailman_resume(): sent');
is($relay->pairs - $before, $number, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($second, 'resumed');

# ---- pg_terminate_backend()

$relay->set(slow => 2);
my $third = $node->letter($newsletter);
$before = $relay->pairs;
$node->send($third);
my $worker = $node->wait_for_worker($third);
$until = time + 20;
sleep 0.01 while dots_seen() - $before < 10 && time < $until;

# a moment into the next ten
sleep 0.3;
$start = time;
is($node->sql("SELECT pg_terminate_backend($worker)"), 't', 'terminated');
ok($node->wait_for_no_worker($third), 'the worker ends');
my $grace = time - $start;
note(sprintf 'terminated, gone after %.1f s', $grace);
cmp_ok($grace, '<', 6, 'within the grace of 5 s');
cmp_ok($grace, '<', 3, 'in fact as soon as the relay has answered');
$sent = $relay->pairs - $before;
cmp_ok($sent, '<', $number, "in the middle ($sent of $number sent)");
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

$relay->set(slow => 0);
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
$relay->set(slow => 30);
my $fourth = $node->letter($newsletter, on_doubt => 'hold');
$node->send($fourth);
$worker = $node->wait_for_worker($fourth);
ok( $node->wait_for(
		"SELECT (mail_order->>'sending')::int >= 10 FROM mailman.letter"
		  . " WHERE id = $fourth", 't'),
	'mails on their way');
$until = time + 20;
sleep 0.01
  while $relay->status->{active} < 10 && time < $until;
sleep 0.5;
$start = time;
$node->sql("SELECT pg_terminate_backend($worker)");
ok($node->wait_for_no_worker($fourth), 'the worker ends');
cmp_ok(time - $start, '<', 3, 'when its grace is over');
$relay->reset_connections;
$relay->set(slow => 0);
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
