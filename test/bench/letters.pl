
#-------------------------------------------------------------------------
#
# letters.pl
#	  1, 4 and 8 letters at once through one relay.
#
# The same number of mails in all, of so many letters that are put in the post
# by one transaction, share 20 sessions.  Throughput: all mails, from the
# commit to the last one.  Fairness: what the slowest letter had got by the
# time the first was done, to what the fastest had.
#
# ROUNDS: 3.  MAILS: 80000 in all.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;

my $rounds = $ENV{ROUNDS} || 3;
my $mails  = $ENV{MAILS} || 80_000;
my @counts = (1, 4, 8);

$| = 1;
my $bench = Bench->new('mailman.max_workers' => 8,
	max_worker_processes => 16);
my $sink = $bench->sink;
$bench->relay('relay', $sink->url, connections => 20);
my $newsletter = $bench->newsletter('relay', $mails);

# So many letters, each to its own part of the readers
sub send_letters
{
	my ($count) = @_;
	my $before  = $sink->count;
	my @letters = map { $bench->letter($newsletter) } 1 .. $count;
	my $db      = $bench->db;

	$db->do('CHECKPOINT');
	$db->begin_work;
	foreach my $i (0 .. $#letters)
	{
		$db->do(
			q{SELECT mailman_send(?, ARRAY(SELECT id FROM mailman.subscription
			WHERE newsletter_id = ? AND id % ? = ?))},
			undef, $letters[$i], $newsletter, $count, $i);
	}
	$db->commit;
	my $start = $bench->one('SELECT clock_timestamp()');
	$bench->wait_sent(\@letters);
	my ($seconds, $sent) = $bench->account($start, @letters);
	my $got = $sink->count - $before;
	die "$got of $mails mails arrived, $sent are on record\n"
	  if $got != $mails || $sent != $mails;
	my ($slowest, $fastest) = $db->selectrow_array(
		q{WITH done AS MATERIALIZED (
				SELECT letter_id, max(sent_at) AS at
				FROM mailman.newsletter_email
				WHERE letter_id = ANY ($1) GROUP BY letter_id),
			part AS (
				SELECT count(*) FILTER
					(WHERE sent_at <= (SELECT min(at) FROM done)) AS n
				FROM mailman.newsletter_email
				WHERE letter_id = ANY ($1) GROUP BY letter_id)
		SELECT min(n), max(n) FROM part}, undef, \@letters);
	print '.';
	return { rate => $mails / $seconds, fair => $slowest / $fastest };
}

machine($bench->db);
send_letters(1);
my %runs;
foreach my $round (1 .. $rounds)
{
	push @{ $runs{$_} }, send_letters($_)
	  foreach ($round % 2 ? @counts : reverse @counts);
}
print "\n$rounds rounds of $mails mails, medians\n\n";
my @rows = (
	[
		'letters', 'mails/s', 'min - max', 'to one letter',
		'slowest / fastest', 'min - max'
	]);
foreach my $count (@counts)
{
	my @rates = map { $_->{rate} } @{ $runs{$count} };
	my @fair  = map { $_->{fair} } @{ $runs{$count} };
	my @ratio =
	  map { $rates[$_] / $runs{1}[$_]{rate} } 0 .. $rounds - 1;
	push @rows,
	  [
		$count,
		sprintf('%.0f', median(@rates)),
		sprintf('%.0f - %.0f', spread(@rates)),
		sprintf('%.2f', median(@ratio)),
		sprintf('%.2f', median(@fair)),
		sprintf('%.2f - %.2f', spread(@fair))
	  ];
}
table(@rows);
