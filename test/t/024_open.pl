
#-------------------------------------------------------------------------
#
# 024_open.pl
#	  When a letter has something to do is one rule, for scouts, for its worker
#	  and for those who watch.
#
# A letter that is past its send_at and waits for retries only, one that was
# called back and has nothing left, one whose latest worker began at a time
# that is still to come: none of them keeps processes coming and going.  They
# are counted by the server's own log.
#
# WATCH=n: seconds to count them (10).
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

my $watch = defined $ENV{WATCH} ? $ENV{WATCH} : 10;
my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		log_min_messages         => 'debug1',
		max_worker_processes     => 16,
		'mailman.retry_schedule' => '4h'
	});
$node->relay('relay', $relay->url, connections => 2);

my $working = "SELECT count(*) FROM pg_stat_activity"
  . " WHERE backend_type IN ('mailman letter', 'mailman scout')";

# How many processes of a kind were started since then
sub started
{
	my ($kind, $from) = @_;
	return scalar(
		$node->log_lines(
			qr/starting background worker process "mailman $kind/, $from));
}

# A letter to three, all of whom are to come back in hours
sub deferred
{
	my $newsletter =
	  $node->newsletter(relays => ['relay'], subscriptions => 3);
	my $letter = $node->letter($newsletter);

	$relay->set(
		rules => [ { step => 'RCPT', reply => '450 4.2.0 Come back later' } ]);
	$node->send($letter);
	$node->wait_for("SELECT mail_order->>'deferred' FROM mailman.letter"
		  . " WHERE id = $letter", '3')
	  or die 'they are not deferred';
	$node->wait_for_no_worker($letter) or die 'the worker stays';
	$relay->set(rules => []);
	return $letter;
}

sub reason
{
	my ($letter) = @_;
	return $node->sql(
		"SELECT reason FROM mailman.progress WHERE letter_id = $letter");
}

# ---- scheduled, past its time, and all are deferred

my $letter = deferred();
$node->sql("SELECT mailman_pause($letter)");
$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
	  . " + interval '4 s' WHERE id = $letter");
$node->sql("SELECT mailman_resume($letter)");
is($node->letter_state($letter), 'scheduled', 'a letter is scheduled again');

# mailman_resume() has hurried those who wait for a relay only
is( $node->sql(
		"SELECT bool_and(due_at > now() + interval '3 h')"
		  . " FROM mailman.delivery WHERE letter_id = $letter"),
	't', 'its recipients are due in hours');
ok($node->wait_for($working, '0'), 'who looked at it has gone');
my $from = $node->log_position;
ok( $node->wait_for(
		"SELECT send_at < clock_timestamp() FROM mailman.letter"
		  . " WHERE id = $letter", 't'),
	'its time has come');
sleep $watch;
my %started = map { $_ => started($_, $from) } qw(letter scout);
cmp_ok($started{letter}, '<=', 2, 'no worker comes and goes');
cmp_ok($started{scout},  '<=', 2, 'nor a scout');
diag("$watch s after its time: $started{letter} workers,"
	  . " $started{scout} scouts");
like(
	reason($letter),
	qr/^waits until [-0-9 ]*\d\d:\d\d to try 3 deferred again$/,
	'progress tells what it waits for');
is( $node->sql(
		"SELECT l.ready_at = min(d.due_at) AND l.since IS NULL"
		  . ' FROM mailman.line l JOIN mailman.delivery d USING (letter_id)'
		  . " WHERE letter_id = $letter GROUP BY l.ready_at, l.since"),
	't', 'and the line, until when');
is($node->sql("SELECT mailman_retry($letter, '{deferred}')"),
	'3', 'called, they are tried');
ok($node->wait_for_letter($letter, 'sent'), 'and it is sent');

# ---- one that is still for the whole list has something to do at its time

$letter = deferred();
my $newsletter = $node->sql(
	"SELECT newsletter_id FROM mailman.letter WHERE id = $letter");
my $whole = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
	  . " + interval '3 s' WHERE id = $whole");
$node->send($whole);
is($node->sql("SELECT whole FROM mailman.letter WHERE id = $whole"),
	't', 'a letter for those who subscribe until it starts');
$node->subscribe($newsletter, 2);
ok($node->wait_for_letter($whole, 'sent'), 'starts at its time');
is($node->tally($whole)->{delivered}, 5, 'and goes to all of them');

# ---- called back

is($node->sql("SELECT mailman_cancel($letter)"), 'cancelled', 'called back');
my $settled = "SELECT cancelling, (SELECT count(*) FROM mailman.line"
  . ' WHERE letter_id = l.id) FROM mailman.letter l WHERE id = ';
ok($node->wait_for("$settled$letter", 'f|0'),
	'its worker has seen that nothing is left');
is($node->states($letter)->{skipped}, 3, 'and skipped the rest');
is($node->sql('SELECT count(*) FROM mailman.line'),
	'0', 'no letter has anything to do');

# with somebody still posting it
$letter = deferred();
$newsletter = $node->sql(
	"SELECT newsletter_id FROM mailman.letter WHERE id = $letter");
$node->subscribe($newsletter, 1);
my $last = $node->sql('SELECT max(id) FROM mailman.subscription');
my $session = $node->session;
$session->query("BEGIN; SELECT mailman_send($letter, '{$last}')");
$node->sql("SELECT mailman_cancel($letter)");
ok($node->wait_for("$settled$letter", 'f|0'), 'called back before its COMMIT');
ok($node->wait_for_no_worker($letter), 'its worker has gone');
$session->query('COMMIT');
$session->quit;
ok( $node->wait_for(
		"SELECT state FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND subscription_id = $last", 'skipped'),
	'what was posted is skipped');
ok($node->wait_for("$settled$letter", 'f|0'), 'and nothing is left again');
$node->assert_sums($letter, 'called back');

# ---- the latest worker began at a time that is still to come

$node->sql('ALTER SYSTEM SET mailman.enabled = off');
$node->reload;
$node->wait_for('SHOW mailman.enabled', 'off');
$letter = $node->letter($newsletter);
$node->send($letter);
$node->sql('ALTER TABLE mailman.letter DISABLE TRIGGER guard;'
	  . ' UPDATE mailman.letter SET failed_runs = 3,'
	  . " run_at = now() + interval '1 h' WHERE id = $letter;"
	  . ' ALTER TABLE mailman.letter ENABLE ALWAYS TRIGGER guard');
ok( $node->wait_for(
		"SELECT reason FROM mailman.progress WHERE letter_id = $letter",
		'mailman.enabled is off'),
	'nothing leaves now');
is($node->sql('SELECT count(since) FROM mailman.line'),
	'0', 'so nobody waits for a place');
$node->sql('ALTER SYSTEM RESET mailman.enabled');
$node->reload;
ok($node->wait_for_letter($letter, 'sent', 60),
	'a clock that was set back keeps no letter waiting');
$node->assert_sums($letter, 'the clock was set back');

# a scout looks once more whether what was started has come
my $looks = 1;
for (my $tries = 0; $tries < 10 && $looks > 0; $tries++)
{
	$node->wait_for($working, '0');
	$from = $node->log_position;
	sleep 3;
	$looks = started('letter', $from) + started('scout', $from);
}
is($looks, 0, 'nobody looks at letters with nothing to do');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->stop;
$relay->stop;
done_testing();
