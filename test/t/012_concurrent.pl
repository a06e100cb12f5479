
#-------------------------------------------------------------------------
#
# 012_concurrent.pl
#	  Many clients, one letter; and clients who hold locks.
#
# 200 clients post at once, each for one more recipient, on a server with the
# default number of worker processes and without preload: everybody is
# delivered, and never does a second worker send (the relay would see more
# connections than one pool has).  Then transactions that are left open must
# hold up nobody but themselves.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $clients = 200;
my $relay   = Mailman::Relay->new->start;
my $node    = Mailman::Cluster->create(
	'main',
	conf => {
		max_connections     => $clients + 20,
		log_min_messages    => 'debug1',
		'mailman.turn_size' => 5
	});

is($node->sql('SHOW max_worker_processes'), '8', 'few worker processes');
is($node->sql('SHOW shared_preload_libraries'), '', 'no preload');
$node->relay('relay', $relay->url, connections => 3);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $clients);

# ---- 200 clients at once

my $letter = $node->letter($newsletter);
my $dir    = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/send.sql",
	"SELECT mailman_send($letter, ARRAY[nextval('mailman_test')]);\n");
$node->sql('CREATE SEQUENCE mailman_test');

# in the middle the relay waits until there was time to look
$relay->gate(50);

pipe(my $read, my $write);
my $pid = fork;
die "fork: $!" unless defined $pid;
if ($pid == 0)
{
	POSIX::dup2(fileno($write), 1);
	POSIX::dup2(fileno($write), 2);
	exec('pgbench', '-n', '-c', $clients, '-j', 4, '-t', 1, '-f',
		"$dir/send.sql", $node->connstr('postgres'))
	  or POSIX::_exit(127);
}
close($write);

# meanwhile: who holds the letter's lock (its class is in locks.c)
my ($looks, $most, $bad) = (0, 0, '');
my $until = time + 180;
while (time < $until)
{
	my ($delivered, $holders) = split(
		/\|/,
		$node->sql(
			    "SELECT (SELECT count(*) FROM mailman.newsletter_email),"
			  . " (SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
			  . " WHERE locktype = 'advisory' AND granted AND database <> 0"
			  . " AND objid = $letter AND objsubid = x'6d6c'::int"
			  . " AND backend_type = 'mailman letter')"),
		-1);
	my $wrong = $node->sql($node->sums_sql($letter));
	$bad = $wrong if $wrong ne '';
	$most = $holders if $holders > $most;
	$relay->open_gate if ++$looks == 20;
	last if $delivered == $clients;
	sleep 0.002;
}
my $output = do { local $/; <$read> };
waitpid($pid, 0);
is($? >> 8, 0, 'pgbench') or diag($output);
like($output, qr{processed: 200/200}, 'every client posted');
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
is($relay->pairs, $clients, 'everybody is delivered');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is($node->tally($letter)->{delivered}, $clients, 'and recorded');
cmp_ok($looks, '>', 3, "looked $looks times meanwhile");
is($most, 1, 'one worker held the letter at a time');
is($bad, '', 'the sums were right at every look');
cmp_ok($relay->status->{peak}, '<=', 3, 'one pool of connections at a time');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->assert_sums($letter, 'after 200 clients');
note(
	sprintf 'runs %s, connections %d',
	$node->sql("SELECT run FROM mailman.letter WHERE id = $letter"),
	$relay->connections_opened);

# ---- transactions left open

my $second = $node->letter($newsletter);
my @ids    = split(
	/\n/,
	$node->sql(
		"SELECT id FROM mailman.subscription"
		  . " WHERE newsletter_id = $newsletter ORDER BY id LIMIT 60"));
my $before = $relay->pairs;

# past draft, so that nobody's transaction holds the letter itself
$node->send($second, $ids[0]);
ok($node->wait_for_letter($second, 'sent'), 'a letter past draft');

# two who posted and do not commit
my @idle = map { $node->session } 1 .. 2;
foreach my $n (0, 1)
{
	$idle[$n]->query('BEGIN');
	is( $idle[$n]->query("SELECT mailman_send($second, '{$ids[1 + $n]}')"),
		'1', 'posted, not committed');
}

# the others; the relay waits, so that the last cannot be claimed before
# somebody has locked their subscription
$relay->gate(0);
is($node->send($second, @ids[ 3 .. 59 ]), 57, 'posted for everybody else');
my $locker = $node->session;
$locker->query('BEGIN');
$locker->query(
	"SELECT FROM mailman.subscription WHERE id = $ids[59] FOR UPDATE");
is( $node->sql(
		"SELECT state FROM mailman.delivery WHERE letter_id = $second"
		  . " AND subscription_id = $ids[59]"),
	'pending', 'a subscription is locked before its turn');
$relay->open_gate;
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $second"
		  . " AND subscription_id NOT IN ($ids[59])", 57),
	'everybody else is delivered meanwhile');
is($node->states($second)->{failed}, 0, 'nobody failed');
$node->assert_sums($second, 'with transactions open');
$locker->query('ROLLBACK');
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $second", 58),
	'the locked one too when the lock is gone');
$idle[0]->query('COMMIT');
$idle[1]->query('ROLLBACK');
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $second", 59),
	'who commits at last, gets delivered at last');
ok($node->wait_for_letter($second, 'sent'), 'and the letter is sent');
is($relay->pairs - $before, 59, 'the relay has them all, but not the rest');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($second, 'after them');

# ---- who locks the letter itself holds its turns

my $third = $node->letter($newsletter);
$before = $relay->pairs;
$relay->gate(20);
$node->send($third, @ids);
ok( $node->wait_for(
		"SELECT count(*) >= 20 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $third", 't'),
	'a letter on its way');
ok($relay->wait_for_held(3), 'some of it in flight');
$locker->query('BEGIN');
my $held = $locker->query(
	    "SELECT mail_order->>'delivered' FROM mailman.letter"
	  . " WHERE id = $third FOR UPDATE");
cmp_ok($held, '<', 60, 'locked in the middle');

# until what was claimed is sent; then nothing more can be
$relay->open_gate;
my ($count, $since) = (-1, time);
while (time - $since < 2)
{
	my $now = $relay->status->{accepted};
	($count, $since) = ($now, time) if $now != $count;
	sleep 0.05;
}
my $sent = $relay->pairs - $before;
cmp_ok($sent, '<', 60, "no turn while it is locked ($sent of 60 sent)");
cmp_ok($sent - $held, '<=', 10, 'no more than was claimed went out');
is( $node->sql(
		    "SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $third"),
	$held, 'and nothing is recorded');
$locker->query('COMMIT');
ok($node->wait_for_letter($third, 'sent'), 'then it goes on');
is($relay->pairs - $before, 60, 'everybody is delivered');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $third"),
	'0', 'without a doubt');
$node->assert_sums($third, 'after the lock');

# ---- posted while the worker is about to leave

# A worker is stopped when it has nothing left to do; one more recipient is
# posted, and the worker started for it finds the letter taken and goes.  So
# the first one has to look once more before it leaves.
my $fourth = $node->letter($newsletter);
$node->wait_for_no_worker;
my ($posted, $worker) = (0);
foreach my $try (1 .. 50)
{
	# it does not stay for long: if it was missed, once more
	$node->send($fourth, $ids[ $posted++ ]);
	$node->wait_for_letter($fourth, 'sent') or last;
	($worker) = $node->workers($fourth);
	last if defined $worker && kill('STOP', $worker);
	$worker = undef;
	$node->wait_for_no_worker($fourth);
}
ok(defined $worker, 'a letter is done, its worker stays a moment');
sleep 1.5;
my $from = $node->log_position;
is($node->send($fourth, $ids[ $posted++ ]), 1, 'one more is posted');
my $start = qr/starting background worker process "mailman letter $fourth"/;
sleep 1;
is(scalar($node->log_lines($start, $from)),
	0, 'nobody is started for it: it is left to the one that stays');
kill 'CONT', $worker;
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $fourth", $posted),
	'which does not forget it');
ok($node->wait_for_letter($fourth, 'sent'), 'and the letter is done again');
$node->assert_sums($fourth, 'posted at the last moment');

$_->quit foreach @idle, $locker;
$node->stop;
$relay->stop;
done_testing();
