
#-------------------------------------------------------------------------
#
# 030_locks.pl
#	  Somebody else's locks, on our tables and on the letter's row.
#
# Whatever is locked, and for however long: no worker dies of it, nothing in
# flight becomes doubt, and the letter goes on when the lock is gone.  A
# worker that is told to end waits for no lock at all, or it would hold up
# DROP DATABASE of everybody.  mailman.lock_timeout is short here, so a lock
# of seconds is many times as long as what a worker waits for.
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

my $grace = 1;
my $relay = Mailman::Relay->new->start;
my $slow  = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes     => 24,
		'mailman.max_workers'    => 16,
		deadlock_timeout         => '200ms',
		'mailman.lock_timeout'   => '200ms',
		'mailman.poll_interval'  => '100ms',
		'mailman.turn_interval'  => '100ms',
		'mailman.shutdown_grace' => "${grace}s",
		'mailman.retry_schedule' => '1s'
	});

$node->relay('relay', $relay->url, connections => 4);
$node->relay($_, $slow->url, connections => 4) foreach 'slow', 'other';
my $quick = $node->newsletter(relays => ['relay'], subscriptions => 8);
my $tough = $node->newsletter(
	relays        => ['slow'],
	subscriptions => 8,
	pattern       => 's%s@example.com');
my $rough = $node->newsletter(
	relays        => ['other'],
	subscriptions => 8,
	pattern       => 'o%s@example.com');
my $locker = $node->session;

# Does that session wait for somebody's lock?
sub wait_for_lock
{
	my ($session) = @_;
	return $node->wait_for(
		'SELECT wait_event_type FROM pg_stat_activity WHERE pid = '
		  . $session->backend,
		'Lock');
}

# How many have it, as a query
sub delivered
{
	my ($letter) = @_;
	return "SELECT count(*) FROM mailman.delivery"
	  . " WHERE letter_id = $letter AND state = 'delivered'";
}

# ---- a table is locked for long while mails are in flight

foreach my $lock (
	[ 'posting',  'SHARE' ],
	[ 'delivery', 'ACCESS EXCLUSIVE' ])
{
	my ($table, $mode) = @$lock;
	my $name    = "$mode on $table";
	my @letters = map { $node->letter($_) } $tough, $rough;
	my $list    = join(', ', @letters);
	my $before  = $slow->pairs;
	my $log     = $node->log_position;

	$slow->gate(0);
	$node->send($_) foreach @letters;
	ok($slow->wait_for_held(8), "$name: two letters, mails in flight");
	my @workers = sort($node->workers);
	is(scalar(@workers), 2, "$name: two workers");
	$locker->query("BEGIN; LOCK TABLE mailman.$table IN $mode MODE");

	$slow->open_gate;
	foreach my $letter (@letters)
	{
		ok( $node->wait_for_log("letter $letter: .*lock timeout", $log),
			"$name: the worker of letter $letter has met it");
	}
	my $until = time + 2;
	my $now   = "@workers";
	while (time < $until && $now eq "@workers")
	{
		$now = join(' ', sort($node->workers));
		sleep 0.02;
	}
	is($now, "@workers", "$name: they live as long as it lasts");
	$locker->query('ROLLBACK');
	ok($node->wait_for_letter($_, 'sent'), "$name: sent after it")
	  foreach @letters;
	is( $node->sql(
			'SELECT sum(run), sum(doubts), sum(failed_runs)'
			  . " FROM mailman.letter WHERE id IN ($list)"),
		'2|0|0',
		"$name: one run each, no doubt");
	is(scalar($node->log_lines('mailman letter.* exited with', $log)),
		0, "$name: no worker has died");
	is($slow->pairs - $before, 16, "$name: everybody has it");
	is(scalar($slow->duplicates), 0, "$name: nobody twice");
	$node->assert_sums($_, $name) foreach @letters;
	ok($node->wait_for_no_worker(undef), "$name: over");
}

# ---- topping up, part one: a newcomer of whom somebody is about to send

my @top_up;
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my %case = (end => $end, session => $node->session);
	$case{newsletter} = $node->newsletter(
		relays        => ['relay'],
		subscriptions => 5,
		pattern       => lc($end) . '%s@example.com');
	$case{letter} = $node->letter($case{newsletter},
		send_at =>
		  $node->sql("SELECT clock_timestamp() + interval '1 h'"));
	$node->send($case{letter});
	is($node->letter_state($case{letter}), 'scheduled', "top up: scheduled");
	$case{address} = lc($end) . '-late@example.com';
	my $late = $node->sql(
		    'INSERT INTO mailman.subscription (newsletter_id, email)'
		  . " VALUES ($case{newsletter}, '$case{address}') RETURNING id");
	$case{session}->query('BEGIN');
	is($case{session}->query("SELECT mailman_send($case{letter}, '{$late}')"),
		'1', "top up: a transaction that is open, for $end");
	push @top_up, \%case;
}

# ---- the letter's row is locked when its worker starts

foreach my $mode ('FOR UPDATE', 'FOR NO KEY UPDATE')
{
	my $letter = $node->letter($quick);
	my $before = $relay->pairs;
	my $sender = $node->session;
	my $log    = $node->log_position;

	# the lock is waited for while the letter is sent, so it is taken over
	# at COMMIT, long before a worker is there
	$sender->query('BEGIN');
	$sender->query("SELECT mailman_send($letter)");
	$locker->start(
		"BEGIN; SELECT id FROM mailman.letter WHERE id = $letter $mode");
	ok(wait_for_lock($locker), "$mode: waits for the sender");
	$sender->query('COMMIT');
	is($locker->result, $letter, "$mode: locked as the worker starts");

	ok($node->wait_for_log('lock timeout', $log),
		"$mode: the worker has met the lock");
	sleep 2;
	is($node->sql(delivered($letter)), '0', "$mode: and waits");
	$locker->query('ROLLBACK');
	my $start = time;
	ok($node->wait_for_letter($letter, 'sent'), "$mode: sent after it");
	diag(sprintf '%s: sent %.1f s after the lock', $mode, time - $start);
	cmp_ok(time - $start, '<', 30, "$mode: at once");
	is($node->sql(delivered($letter)), '8', "$mode: to all");
	is( $node->sql(
			"SELECT run, doubts FROM mailman.letter WHERE id = $letter"),
		'1|0',
		"$mode: by the first worker");
	$node->assert_sums($letter, $mode);
}

# ---- topping up, part two: both are due now

$node->sql('UPDATE mailman.letter SET send_at = clock_timestamp()'
	  . " WHERE id IN ($top_up[0]{letter}, $top_up[1]{letter})");
foreach my $case (@top_up)
{
	my $letter = $case->{letter};
	my $name   = "top up, $case->{end}";

	ok($node->wait_for(delivered($letter), '5'),
		"$name: the others have it while the transaction is open");
	is($relay->recipients->{ $case->{address} },
		undef, "$name: the newcomer has not");
}
$_->{session}->query($_->{end}) foreach @top_up;
foreach my $case (@top_up)
{
	my $letter = $case->{letter};
	my $name   = "top up, $case->{end}";

	ok($node->wait_for(delivered($letter), '6'),
		"$name: the newcomer has it after it");
	is($relay->recipients->{ $case->{address} }, 1, "$name: once");
	ok($node->wait_for_letter($letter, 'sent'), "$name: sent");
	$node->assert_sums($letter, $name);
}

# ---- mailman_send() against mailman_cancel()

my $both = $node->letter($quick,
	send_at => $node->sql("SELECT now() + interval '1 h'"));
my ($first, $second) = split(
	/\n/,
	$node->sql(
		    'SELECT id FROM mailman.subscription'
		  . " WHERE newsletter_id = $quick ORDER BY id LIMIT 2"));
my $sending    = $node->session;
my $cancelling = $node->session;
$node->send($both, $first);
$sending->query('BEGIN');
$sending->query("SELECT mailman_send($both, '{$second}')");
$cancelling->start("SELECT mailman_cancel($both)");
ok(wait_for_lock($cancelling), 'mailman_cancel() waits for mailman_send()');
my ($number, $error) = $sending->try("SELECT mailman_send($both)");
is($error,  undef, 'which is called again: no deadlock');
is($number, '6',   'and queues the rest');
$sending->try('COMMIT');
my ($state, $refused) = $cancelling->try_result;
is($refused, undef,   'mailman_cancel() goes on');
is($state,   'draft', 'and calls the letter back');
is( $node->sql(
		"SELECT l.state, l.mail_order->>'recipients',"
		  . ' (SELECT count(*) FROM mailman.delivery WHERE letter_id = l.id),'
		  . ' (SELECT count(*) FROM mailman.posting WHERE letter_id = l.id)'
		  . " FROM mailman.letter l WHERE l.id = $both"),
	'draft|0|0|0',
	'with everything that was queued');

# ---- a worker is told to end while a table is locked

ok($node->wait_for_no_worker(undef), 'nobody is at work');
my @dropping = map { $node->session } 1 .. 2;
foreach my $lock (
	[ 'delivery',     'ACCESS EXCLUSIVE' ],
	[ 'subscription', 'SHARE ROW EXCLUSIVE' ],
	[ 'newsletter',   'ACCESS EXCLUSIVE' ])
{
	my ($table, $mode) = @$lock;
	my $name   = "end under $mode on $table";
	my $letter = $node->letter($tough);
	my ($gone, @begun, @dropped);

	$node->sql("CREATE DATABASE other$_") foreach 0 .. 1;
	$slow->gate(0);
	$node->send($letter);
	ok($slow->wait_for_held(4), "$name: mails in flight");
	my ($worker) = $node->workers($letter);
	$locker->query("BEGIN; LOCK TABLE mailman.$table IN $mode MODE");
	$node->sql("SELECT pg_terminate_backend($worker)");
	my $start = time;

	# others drop databases, one during the grace and one after it
	while (time - $start < 180
		&& !(defined $gone && 2 == grep { defined } @dropped))
	{
		my $now = time - $start;
		$gone = $now if !defined $gone && !kill(0, $worker);
		foreach my $i (grep { !defined $dropped[$_] } 0 .. 1)
		{
			if (defined $begun[$i])
			{
				$dropped[$i] = time - $begun[$i] if $dropping[$i]->done;
			}
			elsif ($now >= $i * ($grace + 0.5))
			{
				$dropping[$i]->start("DROP DATABASE other$i");
				$begun[$i] = time;
			}
		}
		sleep 0.01;
	}
	ok(defined $gone, "$name: the worker ends while the lock is held");
	foreach my $i (0 .. 1)
	{
		ok(defined $dropped[$i],
			"$name: nor does DROP DATABASE of another wait for it ($i)");
	}
	is($slow->status->{held}, 4, "$name: and the relay is silent");
	diag(
		sprintf '%s: gone after %.1f s, databases dropped in %s',
		$name,
		defined $gone ? $gone : -1,
		join(', ', map { sprintf '%.1f s', $_ } grep { defined } @dropped));
	$locker->query('ROLLBACK');
	$_->result foreach @dropping;
	$slow->open_gate;
	ok($slow->wait_for_silence, "$name: the relay has it");
	my $until = time + 180;
	sleep 0.01 while kill(0, $worker) && time < $until;
	$node->sql('SELECT mailman_wake()');
	ok($node->wait_for_letter($letter, 'sent'), "$name: it goes on");
	is($node->sql(delivered($letter)), '8', "$name: to all");
	$node->assert_sums($letter, $name);
	ok($node->wait_for_no_worker(undef), "$name: over");
}
is_deeply([ $relay->violations, $slow->violations ],
	[], 'nothing against the protocol');

$node->stop;
$relay->stop;
$slow->stop;
done_testing();
