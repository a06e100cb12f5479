
#-------------------------------------------------------------------------
#
# 021_supervision.pl
#	  Workers that end, and workers that only wait.
#
# A normal exit is final, a FATAL one is made good at once, a worker that
# waits for a silent relay is left alone, and one that fails again and again
# is given up with its reason while others go on.
#
# WATCH=n: seconds to watch the silent relay (15).
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

my $watch  = defined $ENV{WATCH} ? $ENV{WATCH} : 15;
my $limit  = 4;
my $relay  = Mailman::Relay->new->start;
my $silent = Mailman::Relay->new(
	rules => [ { step => 'dot', silence => 1 } ])->start;
my $mute = Mailman::Relay->new(
	rules => [ { step => 'connect', silence => 1 } ])->start;
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash       => 'on',
		max_worker_processes      => 16,
		'mailman.max_workers'     => 8,
		'mailman.max_failed_runs' => $limit,
		'mailman.shutdown_grace'  => '120s'
	});

$node->relay('relay',  $relay->url,  connections => 5);
$node->relay('silent', $silent->url, connections => 5);
$node->relay('mute',   $mute->url,   connections => 2,
	connect_timeout => '10min');
my %newsletter = map {
	$_ => $node->newsletter(relays => [$_], subscriptions => 200)
} qw(relay silent mute);

sub run_of
{
	my ($letter) = @_;
	return $node->sql("SELECT run FROM mailman.letter WHERE id = $letter");
}

# Letters and pids of all workers at this moment
sub all_workers
{
	my %pids;
	foreach my $line (
		split(
			/\n/,
			$node->sql("SELECT application_name, pid FROM pg_stat_activity"
				  . " WHERE backend_type = 'mailman letter'")))
	{
		my ($name, $pid) = split(/\|/, $line);
		push @{ $pids{$name} }, $pid;
	}
	return %pids;
}

is( $node->sql(
		    "SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman dispatcher'"
		  . " AND datid IS NULL"),
	'1', 'there is a dispatcher, in no database');

# ---- normal exit is final

my $letter = $node->letter($newsletter{relay});
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'a letter is sent');
ok($node->wait_for_no_worker($letter), 'its worker ends');
my $runs = run_of($letter);
$node->sql('SELECT mailman_wake()');
ok( $node->stays(
		    "SELECT (SELECT run FROM mailman.letter WHERE id = $letter),"
		  . " (SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter')",
		"$runs|0", 2),
	'and nobody starts another');

# ---- FATAL: replaced in less than 2 s

my $before = $relay->pairs;
$relay->gate(15);
$letter = $node->letter($newsletter{relay});
$node->send($letter);
my @gaps;
foreach my $round (1 .. 3)
{
	# one that has achieved something, so that it is not a failed run
	my $pid = $node->wait_for_worker($letter);
	ok($relay->wait_for_held(5), "FATAL $round: on its way");
	$node->sql("SELECT pg_terminate_backend($pid)");

	# what is in flight is answered, and some more for the next one
	$relay->gate(15);
	my $until = time + 180;
	sleep 0.002 while kill(0, $pid) && time < $until;
	my $gone = time;
	my $new;
	while (time < $until)
	{
		($new) = grep { $_ != $pid } $node->workers($letter);
		last if defined $new;
		sleep 0.005;
	}
	push @gaps, time - $gone;
	ok(defined $new, "FATAL $round: there is another worker");
}
$relay->open_gate;
my ($worst) = sort { $b <=> $a } @gaps;
diag('replaced after ' . join(', ', map { sprintf '%.2f s', $_ } @gaps));
cmp_ok($worst, '<', 20, 'a worker that ended by FATAL is replaced at once');
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
is($relay->pairs - $before, 200, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is( $node->sql(
		"SELECT doubts, failed_runs FROM mailman.letter WHERE id = $letter"),
	'0|0', 'without a doubt, and no run has failed');
is(run_of($letter), '4', 'four runs');
$node->assert_sums($letter, 'after three replacements');

# ---- a silent relay: the worker waits and is not replaced

my $waiting = $node->letter($newsletter{silent});
$node->send($waiting);
my $pid = $node->wait_for_worker($waiting);
ok(defined $pid, 'a letter through a silent relay');
ok($silent->wait_for_status('active', 5), 'it has its five sessions');
my ($looks, $wrong, $sent) = (0, '', 0);
my $until = time + $watch;
my $end   = $until + 180;
while (time < $until || ($sent < 2 && time < $end))
{
	my %pids = all_workers();
	my @of = @{ $pids{"mailman letter $waiting"} || [] };
	$wrong = "workers @of" if @of != 1 || $of[0] != $pid;
	$wrong = 'run ' . run_of($waiting) if run_of($waiting) ne '1';
	my $woken = $node->sql('SELECT mailman_wake()');
	$wrong = "mailman_wake() started $woken" if $woken ne '0';
	$looks++;

	# the dispatcher has reasons to look, too
	if ($looks % 20 == 1)
	{
		my $other = $node->letter($newsletter{relay});
		$node->send($other, 1 + $sent++);
		$node->wait_for_letter($other, 'sent');
		$node->wait_for_no_worker($other);
	}
	sleep 0.05;
}
diag("watched a silent relay for $watch s, $looks times");
is($wrong, '', "a worker that waits is not replaced ($watch s)");
cmp_ok($sent, '>', 1, "though $sent letters came and went");
is($silent->status->{opened}, 5, 'it holds on to its five sessions');
is($node->states($waiting)->{delivered}, 0, 'and nothing is delivered');
$node->assert_sums($waiting, 'a silent relay');

# it would be hit by the crashes below
$node->sql("SELECT mailman_pause($waiting)");
ok($node->wait_for_handed_back($waiting, 5), 'paused, it begins no more');
$silent->reset_connections;
ok($node->wait_for_no_worker($waiting), 'paused, its worker ends');
is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $waiting"),
	'5', 'five are in doubt');
$node->assert_sums($waiting, 'paused');

# ---- crash loop: FATAL before anything is achieved

my $loop = $node->letter($newsletter{mute});
my (@run_at, %seen);
$node->send($loop);
my $other = $node->letter($newsletter{relay});
$before = $relay->pairs;
my $start = time;
$node->send($other);
$until = time + 180;
while (time < $until)
{
	last if $node->letter_state($loop) eq 'paused';
	foreach my $pid ($node->workers($loop))
	{
		# with its first transaction behind it
		next if run_of($loop) <= @run_at && !$seen{$pid};
		push @run_at,
		  $node->sql("SELECT extract(epoch FROM run_at) FROM mailman.letter"
			  . " WHERE id = $loop")
		  unless $seen{$pid}++;
		$node->sql("SELECT pg_terminate_backend($pid)");
	}
	sleep 0.01;
}
is($node->letter_state($loop), 'paused', 'crash loop: given up');
my $given_up = time - $start;
my @waits = map { $run_at[$_] - $run_at[ $_ - 1 ] } 1 .. $#run_at;
diag(
	sprintf 'crash loop: %d runs, %.1f s, starts %s s apart', scalar(@run_at),
	$given_up, join(', ', map { sprintf '%.1f', $_ } @waits));
my ($failed, $reason, $error) = split(
	/\|/,
	$node->sql(
		"SELECT failed_runs, state_reason, last_error FROM mailman.letter"
		  . " WHERE id = $loop"));
is(scalar(@run_at), $limit, 'after mailman.max_failed_runs workers');
like($error, qr/terminating|terminated/, 'the last error is on record');
like($reason, qr/\Q$error\E/, 'and is the reason of the pause');
like($reason, qr/$limit/, 'which says how many failed');
is($failed, $limit, 'so does failed_runs');
cmp_ok($waits[0], '<',  20, 'the first restart is immediate');
cmp_ok($waits[1], '>=', 1,  'the second waits a second');
cmp_ok($waits[2], '>=', 2,  'the third two');
ok($node->wait_for_letter($other, 'sent'), 'the other letter is sent');
is($relay->pairs - $before, 200, 'to everybody');

# the worker that has paused it may take a moment to end
$node->wait_for_no_worker($loop);
ok( $node->stays(
		    "SELECT count(*) FROM pg_stat_activity"
		  . " WHERE application_name = 'mailman letter $loop'",
		'0', 3),
	'the paused one is left alone');
is( join(' ', map { $node->states($loop)->{$_} } qw(pending doubtful)),
	'200 0', 'nobody of it lost anything');
is( $node->sql(
		    "SELECT max(attempts), (SELECT doubts FROM mailman.letter"
		  . " WHERE id = $loop) FROM mailman.delivery"
		  . " WHERE letter_id = $loop"),
	'0|0', 'neither an attempt nor a doubt');
$node->assert_sums($loop, 'given up');

$mute->set(rules => []);
$node->sql("SELECT mailman_resume($loop)");
ok($node->wait_for_letter($loop, 'sent'), 'mended and resumed: sent');
is($mute->pairs, 200, 'to everybody');
is( $node->sql("SELECT failed_runs FROM mailman.letter WHERE id = $loop"),
	'0', 'and forgiven');
$node->assert_sums($loop, 'resumed');

# ---- crash loop: the worker takes the server down each time

$mute->set(rules => [ { step => 'connect', silence => 1 } ]);
$node->subscribe($newsletter{mute}, 10);
$loop = $node->letter($newsletter{mute});
$node->send($loop);
$relay->set(slow => 0.1);
$other = $node->letter($newsletter{relay});
$node->send($other);
my $kills = 0;
$start = time;
$node->patiently(
	sub {
		my %killed;
		my $until = time + 180;
		while (time < $until)
		{
			last if $node->letter_state($loop) eq 'paused';
			foreach my $pid ($node->workers($loop))
			{
				next if $killed{$pid} || run_of($loop) <= $kills;
				$killed{$pid} = 1;
				$kills++;
				kill 'KILL', $pid;
				last;
			}
			sleep 0.01;
		}
		is($node->letter_state($loop),
			'paused', 'kill -9 again and again: given up');
		is($kills, $limit, 'after mailman.max_failed_runs workers');
		isnt(
			$node->sql(
				"SELECT state_reason FROM mailman.letter WHERE id = $loop"),
			'',
			'with a reason');
		diag(
			sprintf 'kill -9 loop: %.1f s, "%s"',
			time - $start,
			$node->sql(
				"SELECT state_reason FROM mailman.letter WHERE id = $loop"));
		ok($node->wait_for_letter($other, 'sent'),
			'the other letter finishes all the same');
		is( $node->sql(
				    "SELECT count(*) FROM mailman.delivery"
				  . " WHERE letter_id = $other AND state = 'delivered'"),
			'200', 'to everybody');
		my $doubts = $node->sql(
			"SELECT doubts FROM mailman.letter WHERE id = $other");
		my $twice = $relay->duplicates;
		cmp_ok($twice, '<=', $doubts,
			"$twice of it twice, $doubts doubts on record");
	});
$node->assert_sums($_, 'after the crashes') foreach $loop, $other;

# ---- the dispatcher itself

my $dispatcher = $node->sql("SELECT pid FROM pg_stat_activity"
	  . " WHERE backend_type = 'mailman dispatcher'");
$node->sql("SELECT pg_terminate_backend($dispatcher)");
$letter = $node->letter($newsletter{relay});
$node->send($letter);
$start = time;
ok( $node->wait_for(
		    "SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman dispatcher'"
		  . " AND pid <> $dispatcher",
		'1'),
	'a dispatcher that was terminated comes back');
diag(sprintf 'the dispatcher was back after %.1f s', time - $start);
ok($node->wait_for_letter($letter, 'sent'),
	'a letter posted meanwhile is sent');

is_deeply([ map { $_->violations } $relay, $silent, $mute ],
	[], 'nothing against the protocol');

# ---- told to stop, the server waits for a silent relay as long as the grace

$node->append_conf('postgresql.conf', "mailman.shutdown_grace = '5s'");
$node->reload;
$node->wait_for('SHOW mailman.shutdown_grace', '5s');
$letter = $node->letter($newsletter{silent});
$node->send($letter);
ok( $node->wait_for(
		"SELECT mail_order->>'sending' > '0' FROM mailman.letter"
		  . " WHERE id = $letter", 't'),
	'a letter on its way to the silent relay');
ok($silent->wait_for_status('active', 5), 'on all its sessions');
$start = time;
$node->stop;
my $took = time - $start;
diag(sprintf 'fast shutdown with a silent relay: %.1f s', $took);
cmp_ok($took, '<', 90, 'fast shutdown waits for the grace, not for the relay');
$_->stop foreach $relay, $silent, $mute;
done_testing();
