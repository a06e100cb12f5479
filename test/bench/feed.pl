
#-------------------------------------------------------------------------
#
# feed.pl
#	  A letter that is fed one by one: what a call of mailman_send() costs.
#
# One running letter, whose worker sends to a relay of this machine, and one
# new recipient a call.  First as fast as four clients can, beside an INSERT of
# one row into a table with the columns, indexes and foreign keys of
# mailman.delivery, in turn: tps, and their ratio.  Then 100 calls a second:
# CPU time of all processes of the server together, the sessions that call
# included.  All the while a second letter is sent slowly beside it.
# Counted are processes started, events, and lines of the log.
#
# ROUNDS: 5 of 10 s each.  MAILS: those of the second part, 2000.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;
use Bench::Server;
use Time::HiRes qw(sleep time);

my $rounds  = $ENV{ROUNDS} || 5;
my $calls   = $ENV{MAILS} || 2000;
my $seconds = $ENV{SECONDS_EACH} || 10;

$| = 1;
my $bench = Bench->new(log_min_messages => 'debug1');
my $sink  = $bench->sink;
$bench->relay('relay', $sink->url, connections => 20);
$bench->relay('slow', $sink->url, connections => 1, rate => '20/s');
my $db         = $bench->db;
my $server     = Bench::Server->new($bench->dir);
my $newsletter = $bench->newsletter('relay', $ENV{READERS} || 400_000);
my $letter     = $bench->letter($newsletter);
my $other      = $bench->letter($bench->newsletter('slow', 20_000));
my $first      = $bench->one(
	'SELECT min(id) FROM mailman.subscription WHERE newsletter_id = ?',
	$newsletter);

$db->do('CREATE TABLE public.plain (LIKE mailman.delivery INCLUDING ALL)'
	  . ' WITH (fillfactor = 50)');
$db->do('ALTER TABLE public.plain ADD FOREIGN KEY (letter_id)'
	  . ' REFERENCES mailman.letter ON DELETE RESTRICT,'
	  . ' ADD FOREIGN KEY (subscription_id)'
	  . ' REFERENCES mailman.subscription ON DELETE RESTRICT');

# pgbench with a statement; :x is a subscription that no other call has
my $next = 0;

sub pgbench
{
	my ($name, $sql, @options) = @_;
	my $file = $bench->dir . '/script';
	open(my $fh, '>', $file) or die $!;
	my $base = $first + $next;
	print {$fh} "\\set n :n + 1\n\\set x $base + 4 * :n + :client_id\n$sql;\n";
	close($fh);
	my $report = $bench->pgbench('-n', '-c', 4, '-D', 'n=0', '-f', $file,
		@options);
	my ($tps)  = $report =~ /^tps = ([\d.]+)/m;
	my ($done) = $report =~ /actually processed: (\d+)/;
	die $report unless defined $tps && $report !~ /failed: [1-9]/;
	$next += 2 * $done + 1000 if $name eq 'call';
	print '.';
	return { tps => $tps, done => $done };
}

sub events
{
	return $bench->one('SELECT count(*) FROM mailman.event');
}

machine($db);
$db->do('SELECT mailman_send(?)', undef, $other);
$db->do('SELECT mailman_send(?, ARRAY[?::bigint])', undef, $letter,
	$first + 399_999 - 1);
sleep 2;

my %sql = (
	call   => "SELECT mailman_send($letter, ARRAY[:x])",
	insert => 'INSERT INTO public.plain (letter_id, subscription_id)'
	  . " VALUES ($letter, :x)");
my (%tps, $counts, $all);
$counts = $server->count;
my $events = events();
my $start  = time;
foreach my $round (1 .. $rounds)
{
	foreach my $what ($round % 2 ? ('call', 'insert') : ('insert', 'call'))
	{
		my $result = pgbench($what, $sql{$what}, '-T', $seconds);
		push @{ $tps{$what} }, $result->{tps};
		$all += $result->{done} if $what eq 'call';
	}
	$db->do('TRUNCATE public.plain');
}
$counts = $server->count - $counts;
$events = events() - $events;
my $took = time - $start;

my @ratio = map { $tps{call}[$_] / $tps{insert}[$_] } 0 .. $rounds - 1;
print "\n$rounds rounds of $seconds s, four clients, medians\n\n";
table(
	[ '', 'a second', 'min - max' ],
	map {
		[
			$_->[0],
			sprintf('%.0f', median(@{ $tps{ $_->[1] } })),
			sprintf('%.0f - %.0f', spread(@{ $tps{ $_->[1] } }))
		]
	  } ([ 'mailman_send(letter, ARRAY[x])', 'call' ],
		[ 'INSERT', 'insert' ]));
printf "%-28s %.2f (%.2f - %.2f)\n", 'ratio', median(@ratio), spread(@ratio);
printf "%-28s %d in %.0f s, %d calls\n", 'processes started', $counts, $took,
  $all;
printf "%-28s %d\n", 'events', $events;

my $runs =
  $bench->one('SELECT run FROM mailman.letter WHERE id = ?', $other);
printf "%-28s %d\n", 'runs of the other letter', $runs;

$db->do('SELECT mailman_cancel(?)', undef, $other);
$bench->wait_sent([$letter]);
$db->do('CHECKPOINT');
sleep 5;
my $idle = $server->cpu_us;
sleep 5;
$idle   = ($server->cpu_us - $idle) / 5;
$counts = $server->count;
$events = events();
my $lines = $server->lines;
my $before = $server->cpu_us;
$start = time;
my $fed = pgbench('call', $sql{call}, '-R', 100, '-t', $calls / 4);
sleep 0.2;
my $cpu = $server->cpu_us - $before;
$took = time - $start;
printf "\n\n%d calls at %.0f a second\n\n", $fed->{done}, $fed->{tps};
printf "%-28s %.0f us, of which %.0f would be used anyway\n", 'CPU of a call',
  $cpu / $fed->{done}, $idle * $took / $fed->{done};
printf "%-28s %d\n", 'processes started', $server->count - $counts;
printf "%-28s %d\n", 'events', events() - $events;
printf "%-28s %d\n", 'lines of the log', $server->lines - $lines;
$bench->wait_sent([$letter]);
my $queued = $bench->one(
	'SELECT count(*) FROM mailman.delivery WHERE letter_id = ?', $letter);
my $sent = $bench->one(
	q{SELECT count(*) FROM mailman.delivery
	WHERE letter_id = ? AND state = 'delivered'}, $letter);
die "$queued queued, $sent sent\n" if $queued != $sent;
