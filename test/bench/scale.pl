
#-------------------------------------------------------------------------
#
# scale.pl
#	  10 thousand, 100 thousand, a million recipients: is it flat?
#
# Of each size, in one cluster: how long mailman_send() takes, beside a plain
# INSERT ... SELECT of the same rows into a table with the columns, indexes
# and foreign keys of mailman.delivery; then time, CPU and memory of the
# worker per mail; and at the end what was left behind, and what autovacuum
# has done about it, with its settings as they are.
#
# ROUNDS: 3, of the largest size 1.  SIZES: "10000 100000 1000000".
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;
use List::Util qw(max);
use Time::HiRes qw(sleep time);

my $rounds = $ENV{ROUNDS} || 3;
my @sizes  = split ' ', ($ENV{SIZES} || '10000 100000 1000000');

$| = 1;
my $bench = Bench->new(log_autovacuum_min_duration => 0);
my $sink  = $bench->sink;
$bench->relay('relay', $sink->url, connections => 20);
machine($bench->db);

# Seconds that a plain INSERT of a letter's deliveries takes
sub plain_insert
{
	my ($newsletter) = @_;
	my $db     = $bench->db;
	my $letter = $bench->letter($newsletter);

	$db->do('DROP TABLE IF EXISTS plain');
	$db->do('CREATE TABLE plain (LIKE mailman.delivery INCLUDING ALL)'
		  . ' WITH (fillfactor = 50)');
	$db->do('ALTER TABLE plain'
		  . ' ADD FOREIGN KEY (letter_id) REFERENCES mailman.letter,'
		  . ' ADD FOREIGN KEY (subscription_id)'
		  . ' REFERENCES mailman.subscription');
	$db->do('CHECKPOINT');
	my $start = time;
	$db->do(
		q{INSERT INTO plain (letter_id, subscription_id)
		SELECT ?, id FROM mailman.subscription
		WHERE newsletter_id = ? AND state = 'active' ORDER BY id},
		undef, $letter, $newsletter);
	my $took = time - $start;
	$db->do('DROP TABLE plain');
	return $took;
}

my @rows = (
	[
		'recipients',  'us a mail',  'min - max', 'CPU us a mail',
		'memory MB',   '(first s)', 'send s',    'plain INSERT s',
		'send / plain'
	]);
my %time;
foreach my $size (@sizes)
{
	my $newsletter = $bench->newsletter('relay', $size);
	my (@runs, @plain);
	foreach my $round (1 .. ($size < max(@sizes) ? $rounds : 1))
	{
		my $before = $sink->count;
		push @plain, plain_insert($newsletter);
		push @runs,  $bench->send($newsletter);
		my $got = $sink->count - $before;
		die "$got of $size mails arrived\n" if $got != $size;
		print '.';
	}
	my %all;
	foreach my $key (keys %{ $runs[0] })
	{
		$all{$key} = [ map { $_->{$key} } @runs ];
	}
	my @took = map { 1e6 / $_ } @{ $all{rate} };
	$time{$size} = median(@took);
	push @rows,
	  [
		$size,
		sprintf('%.1f', median(@took)),
		sprintf('%.1f - %.1f', spread(@took)),
		sprintf('%.1f', median(@{ $all{cpu_us} })),
		sprintf('%.1f', max(@{ $all{private_kb} }) / 1024),
		sprintf('%.1f', median(@{ $all{private_start_kb} }) / 1024),
		sprintf('%.2f', median(@{ $all{queue_s} })),
		sprintf('%.2f', median(@plain)),
		sprintf('%.2f', median(@{ $all{queue_s} }) / median(@plain))
	  ];
}
print "\n\n";
table(@rows);
printf "a mail of %d recipients takes %.2f times as long as one of %d\n\n",
  $sizes[-1], $time{ $sizes[-1] } / $time{ $sizes[0] }, $sizes[0];

print "left behind\n";
foreach my $table ('delivery', 'newsletter_email', 'letter', 'posting')
{
	print "  $_\n" foreach $bench->bloat($table);
}
print "\nautovacuum\n";
sleep 1;
my $done = $bench->db->selectall_arrayref(
	q{SELECT relname, autovacuum_count, autoanalyze_count, n_dead_tup
	FROM pg_stat_user_tables WHERE schemaname = 'mailman'
	AND autovacuum_count + autoanalyze_count > 0 ORDER BY relname});
printf "  %-36s %d times vacuumed, %d times analyzed, %d dead rows left\n",
  @$_ foreach @$done;
print "  has not come by\n" unless @$done;
