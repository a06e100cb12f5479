
#-------------------------------------------------------------------------
#
# 029_plain.pl
#	  Without shared_preload_libraries: all but the automatic resume.
#
# Who sends is told so, once.  Letters that are scheduled, deferred or without
# a slot keep a worker that waits itself; what a crash left behind is started
# by mailman_wake().
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

my $number = 100;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes     => 16,
		'mailman.shutdown_grace' => '120s',
		'mailman.retry_schedule' => '4s'
	});
$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# ---- told once

my $session = $node->session(notices => 1);
my $letter  = $node->letter($newsletter);
my ($said) = $session->try("SELECT mailman_send($letter)");
like($said, qr/^NOTICE: /m, 'mailman_send() without preload: a notice');
like($said, qr/shared_preload_libraries/, 'that says what is missing');
like($said, qr/^HINT: /m, 'and what to do');
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
$letter = $node->letter($newsletter);
($said) = $session->try("SELECT mailman_send($letter)");
is($said, $number, 'not told again');
ok($node->wait_for_letter($letter, 'sent'), 'sent, too');
$session->quit;
is( $node->sql(
		    "SELECT count(*) FROM pg_stat_activity WHERE backend_type"
		  . " IN ('mailman dispatcher', 'mailman scout')"),
	'0', 'there is no dispatcher');

# ---- scheduled, and deferred: the worker itself waits

$letter = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '5 s'"
	  . " WHERE id = $letter");
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^r1@',
			first => 1,
			reply => '450 4.2.0 Come back later'
		}
	]);
my $before = $relay->pairs;
$node->send($letter);
ok( $node->stays_until_due(
		$letter,
		"SELECT state FROM mailman.letter WHERE id = $letter", 'scheduled'),
	'a scheduled letter waits');
ok( $node->wait_for(
		"SELECT (mail_order->>'delivered')::int >= $number - 1"
		  . " FROM mailman.letter WHERE id = $letter", 't'),
	'starts by itself');
ok($node->wait_for_letter($letter, 'sent'), 'so does the retry');
is($relay->pairs - $before, $number, 'to everybody');
$node->assert_sums($letter, 'scheduled');

# a scheduled letter that is moved
$letter = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 hour'"
	  . " WHERE id = $letter");
$node->send($letter);
my $start = time;
$node->sql("UPDATE mailman.letter SET send_at = now() WHERE id = $letter");
ok($node->wait_for_letter($letter, 'sent'), 'moved to now: sent');
diag(sprintf 'moved to now: sent after %.1f s', time - $start);

# ---- a worker that is terminated is not replaced; mailman_wake() does it

foreach my $how (qw(terminate worker postmaster))
{
	$before = $relay->pairs;
	$letter = $node->letter($newsletter);
	$node->send_to_gate($relay, $letter, $how);
	my $pid = $node->wait_for_worker($letter);
	if ($how eq 'terminate')
	{
		$node->sql("SELECT pg_terminate_backend($pid)");

		# what is in flight is answered, ten sessions' and what rides behind
		# it; not all that would come after that
		$relay->gate(20);
	}
	elsif ($how eq 'worker')
	{
		$node->append_conf('postgresql.conf', 'restart_after_crash = on');
		$node->reload;
		kill 'KILL', $pid;
		$node->wait_for_log(qr/all server processes terminated/);
	}
	else
	{
		$node->kill9;
		ok(defined $node->start_again, 'started again');
	}
	$node->patiently(
		sub {
			$node->wait_for_no_worker($letter);
			ok( $node->stays(
					"SELECT state, (SELECT count(*) FROM pg_stat_activity"
					  . " WHERE application_name = 'mailman letter $letter')"
					  . " FROM mailman.letter WHERE id = $letter",
					'sending|0', 2),
				"$how: nobody goes on by himself");
		});
	$relay->open_gate;
	is($node->sql('SELECT mailman_wake()'), '1', "$how: mailman_wake(): 1");
	ok($node->wait_for_letter($letter, 'sent'), "$how: sent");
	is($node->sql('SELECT mailman_wake()'), '0', "$how: nothing else to do");
	is($relay->pairs - $before, $number, "$how: to everybody");
	my $doubts =
	  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
	cmp_ok($doubts, $how eq 'terminate' ? '==' : '>',
		0, "$how: $doubts doubts");
	$node->assert_sums($letter, $how);
}
# mailman_send() on the letter does as well
$relay->set(slow => 0.5);
$letter = $node->letter($newsletter);
$node->send($letter);
ok( $node->wait_for(
		"SELECT count(*) >= 20 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter", 't'),
	'a letter on its way');
$node->stop;
$node->start;
$relay->set(slow => 0);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'),
	'after a restart, mailman_send() again: goes on');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
	'0', 'without a doubt');

# ---- slots: they wait themselves

$relay->gate(0);
$node->append_conf('postgresql.conf', 'mailman.max_workers = 2');
$node->reload;
$before = $relay->pairs;
my @letters = map { $node->letter($newsletter) } 1 .. 5;
$node->send($_) foreach @letters;
ok($relay->wait_for_held(10), 'two at once');
my $most  = 0;
my $looks = 0;
my $until = time + 180;
while (time < $until)
{
	my ($open, $sending) = split(
		/\|/,
		$node->sql(
			    "SELECT count(*) FILTER (WHERE state <> 'sent'), count(*)"
			  . " FILTER (WHERE (mail_order->>'sending')::int > 0)"
			  . " FROM mailman.letter WHERE id >= $letters[0]"));
	$most = $sending if $sending > $most;
	$relay->open_gate if $most == 2 && ++$looks == 20;
	last if $open == 0;
	sleep 0.01;
}
is(join(' ', map { $node->letter_state($_) } @letters),
	'sent sent sent sent sent', 'five letters, room for two: all are sent');
is($most, 2, 'never more than two at once');
is($relay->pairs - $before, 5 * $number, 'to everybody');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
