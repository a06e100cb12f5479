
#-------------------------------------------------------------------------
#
# 022_bound.pl
#	  Somebody's lock is in the way of letters that are due.
#
# There is one process for each letter at most, and mailman.max_workers bounds
# them all, whatever is locked and for however long: a table that every turn
# writes, one that it reads, the table a scout reads, or a single row.  When
# the lock goes, all of them go on; and a letter whose row is locked keeps no
# place from the others.
#
# WATCH=n: seconds to hold a lock on a table (12).
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

my $watch = defined $ENV{WATCH} ? $ENV{WATCH} : 12;
my $max   = 4;
my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		log_min_messages      => 'debug1',
		max_worker_processes  => 24,
		'mailman.max_workers' => $max
	});
$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 3);

# Our processes: as the server sees them, and as the system does.  Looks at no
# table, so nobody's lock is in the way.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

sub processes
{
	my %pids = map { $_ => 1 } split(
		/\n/,
		$node->sql("SELECT pid FROM pg_stat_activity"
			  . " WHERE backend_type LIKE 'mailman%'"));
	my $system = 0;

	open(my $fh, '<', "/proc/$postmaster/task/$postmaster/children")
	  or return (scalar(keys %pids), 0);
	foreach my $pid (split(/ /, <$fh> || ''))
	{
		open(my $line, '<', "/proc/$pid/cmdline") or next;
		local $/;
		$system++ if (<$line> || '') =~ /mailman (?:letter|scout|dispatcher)/;
	}
	close($fh);
	return (scalar(keys %pids), $system);
}

# Processes of each letter
sub crowd
{
	return $node->sql(
		    'SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n'
		  . " FROM pg_stat_activity WHERE backend_type = 'mailman letter'"
		  . " AND application_name ~ '[0-9]' GROUP BY application_name) x");
}

# Look for some seconds; the most that were seen of both kinds, and of one
# letter
sub watch
{
	my ($seconds) = @_;
	my $until = time + $seconds;
	my @most  = (0, 0, 0);

	while (time < $until)
	{
		my @now = (processes(), crowd());
		foreach my $i (0 .. $#now)
		{
			$most[$i] = $now[$i] if $now[$i] > $most[$i];
		}
		sleep 0.05;
	}
	return @most;
}

# Letters that are scheduled, for much later
sub schedule
{
	my ($count) = @_;
	my @letters = map { $node->letter($newsletter) } 1 .. $count;

	$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
		  . " + interval '1 h' WHERE id IN (" . join(',', @letters) . ')');
	$node->send($_) foreach @letters;
	return @letters;
}

# Now they are due in so many seconds
sub due
{
	my ($seconds, @letters) = @_;

	$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
		  . " + interval '$seconds s' WHERE id IN (" . join(',', @letters) . ')');
	return;
}

# One letter falls due while something is locked, then eight
sub pile_up
{
	my ($what, $lock, $seconds) = @_;
	my $before  = $relay->pairs;
	my @letters = schedule(9);
	my $session = $node->session;
	my $from    = $node->log_position;
	my @most;

	due(5, @letters[ 1 .. 8 ]);
	due(3, $letters[0]);
	$session->query('BEGIN');
	$session->query($lock);
	@most = watch(6 + $seconds);
	cmp_ok($most[0], '<=', $max + 2, "$what: no more processes than places");
	cmp_ok($most[1], '<=', $max + 2, "$what: says the system, too");
	cmp_ok($most[2], '<=', 1, "$what: one for a letter");
	is($node->sql('SELECT count(*) FROM mailman.newsletter_email'),
		$before, "$what: nothing is recorded meanwhile");
	my $started = $node->log_lines(
		qr/starting background worker process "mailman letter/, $from);
	my $released = time;
	$session->query('COMMIT');
	$session->quit;
	ok($node->wait_for_letter($_, 'sent'), "$what: letter $_ goes on")
	  foreach @letters;
	diag(
		sprintf '%s: at most %d, %d processes (%d of a letter), %d started;'
		  . ' all sent %.1f s after it',
		$what, @most, $started, time - $released);
	is($relay->pairs - $before, 3 * @letters, "$what: to everybody");
	$node->assert_sums($_, $what) foreach @letters;
	return;
}

pile_up('what is written',
	'LOCK TABLE mailman.newsletter_email IN SHARE MODE', $watch);
pile_up('what takes a letter', 'LOCK TABLE mailman.letter IN SHARE MODE',
	$watch);
pile_up('the deliveries',
	'LOCK TABLE mailman.delivery IN ACCESS EXCLUSIVE MODE', 4);
pile_up('what scouts read',
	'LOCK TABLE mailman.letter IN ACCESS EXCLUSIVE MODE', 4);

# ---- the rows of letters: as many as there are places, and more

my @locked  = schedule($max + 2);
my @free    = schedule(3);
my $session = $node->session;
due(4, @locked);
$session->query('BEGIN');
$session->query('SELECT FROM mailman.letter WHERE id IN ('
	  . join(',', @locked)
	  . ') FOR UPDATE');
due(2, @free);
ok($node->wait_for_letter($_, 'sent'), "letter $_ is sent")
  foreach @free;
my @most = watch(6);
cmp_ok($most[0], '<=', $max + 2, 'rows: no more processes than places');
cmp_ok($most[1], '<=', $max + 2, 'rows: says the system, too');
cmp_ok($most[2], '<=', 1, 'rows: one for a letter');
is( $node->sql(
		    'SELECT count(*) FROM mailman.letter WHERE id IN ('
		  . join(',', @locked)
		  . ") AND state = 'scheduled'"),
	$max + 2,
	'while the others wait for their rows');
my $released = time;
$session->query('COMMIT');
ok($node->wait_for_letter($_, 'sent'), "letter $_ goes on") foreach @locked;
diag(sprintf 'rows: at most %d, %d processes; all sent %.1f s after it',
	@most[ 0, 1 ], time - $released);

# ---- the row of one that is being sent

my $many = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 5,
	pattern       => 'm%s@example.com');
$node->sql('ALTER SYSTEM SET mailman.max_workers = 1');
$node->reload;
$node->wait_for('SHOW mailman.max_workers', '1');
$relay->set(
	rules => [
		{ step => 'RCPT', match => '^m1@', reply => '450 4.2.0 Not now' }
	]);
$node->append_conf('postgresql.conf', "mailman.retry_schedule = '12s'");
$node->reload;
my $running = $node->letter($many);
$node->send($running);
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $running", '4'),
	'one is deferred');
$session->query("BEGIN; SELECT FROM mailman.letter WHERE id = $running"
	  . ' FOR UPDATE');
ok( $node->wait_for(
		'SELECT count(*) FROM pg_stat_activity'
		  . " WHERE application_name = 'mailman letter $running'"
		  . " AND (wait_event_type = 'Lock'"
		  . " OR query = 'waits for somebody''s lock')", '1'),
	'its retry is due, and its row is locked');
my ($other) = schedule(1);
due(1, $other);
ok($node->wait_for_letter($other, 'sent'), 'another gets the only place');
$relay->set(rules => []);
$session->query('COMMIT');
ok($node->wait_for_letter($running, 'sent'), 'and then it goes on');
$node->assert_sums($running, 'its row was locked');

# ---- no database takes every place

$node->sql('CREATE DATABASE another TEMPLATE template0');
my $another = $node->session(dbname => 'another');
$another->query($_)
  foreach (
	'CREATE EXTENSION mailman',
	'CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp'
	  . " OPTIONS (url '"
	  . $relay->url
	  . "', tls 'none')",
	'INSERT INTO mailman.newsletter (name, from_address, relays,'
	  . " unsubscribe_mailto) VALUES ('A', 'a\@example.com', '{relay}',"
	  . " 'a\@example.com')",
	'INSERT INTO mailman.subscription (newsletter_id, email)'
	  . " VALUES (1, 'another\@example.com')",
	'INSERT INTO mailman.letter (newsletter_id, subject, text_body)'
	  . " VALUES (1, 'A', 'B')");
my @line = map { $node->letter($newsletter) } 1 .. 8;
$relay->gate(0);
$node->send($_) foreach @line;
ok($relay->wait_for_held(1), 'a letter has the only place');
$another->query('SELECT mailman_send(1)');
ok( $node->wait_for(
		'SELECT count(*) FROM mailman.line WHERE since IS NOT NULL', $#line),
	'seven stand in line behind it, and one in another database');
$relay->open_gate;
ok($node->wait_for_letter($_, 'sent'), "letter $_ is sent") foreach @line;
my $until = time + 60;
my $state = '';
while ($state ne 'sent' && time < $until)
{
	$state = $another->query('SELECT state FROM mailman.letter');
	sleep 0.1;
}
is($state, 'sent', 'and the other one');
is( $node->sql(
		'SELECT count(*) > 0 FROM mailman.newsletter_email WHERE letter_id ='
		  . " $line[-1] AND sent_at > '"
		  . $another->query('SELECT sent_at FROM mailman.newsletter_email')
		  . "'"),
	't', 'before the last of those that came before it');

is_deeply([ $relay->duplicates ], [], 'nobody twice');
$another->quit;
$session->quit;
$node->stop;

# ---- without a dispatcher: one process for a letter, however often it is sent

my $plain = Mailman::Cluster->create('plain',
	conf => { max_worker_processes => 24 });
$plain->relay('relay', $relay->url);
my $list = $plain->newsletter(
	relays        => ['relay'],
	subscriptions => 6,
	pattern       => 'p%s@example.com');
my ($first, @ids) = split(/\n/,
	$plain->sql('SELECT id FROM mailman.subscription ORDER BY id'));
my $letter = $plain->letter($list);
$plain->send($letter, $first);
ok($plain->wait_for_letter($letter, 'sent'), 'plain: a letter is sent');
ok($plain->wait_for_no_worker($letter), 'plain: its worker has gone');
$session = $plain->session;
$session->query("BEGIN; SELECT FROM mailman.letter WHERE id = $letter"
	  . ' FOR NO KEY UPDATE');
$plain->send($letter, $_) foreach @ids;
my $one = "SELECT count(*) FROM pg_stat_activity"
  . " WHERE application_name = 'mailman letter $letter'";

# those that find the letter taken may be late to see it
my $alone   = 0;
my $give_up = time + 60;
$alone = $plain->stays($one, '1', 3) until $alone || time > $give_up;
ok($alone, 'plain: sent to five more, one by one, one process waits for it');
$session->query('COMMIT');
$session->quit;
ok( $plain->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", '6'),
	'plain: they get it');
$plain->assert_sums($letter, 'plain');
$plain->stop;
$relay->stop;
done_testing();
