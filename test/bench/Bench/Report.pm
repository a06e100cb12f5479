
#-------------------------------------------------------------------------
#
# Bench::Report
#	  Medians, spread and a table.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Bench::Report;

use strict;
use warnings;

use Exporter 'import';
our @EXPORT = qw(median spread table costs machine);

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	my $middle = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$middle] :
	  ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

sub spread
{
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[0], $sorted[-1]);
}

# Rows of cells; the first row is the head, the first column left-aligned
sub table
{
	my (@rows) = @_;
	my @width;
	foreach my $row (@rows)
	{
		foreach my $i (0 .. $#$row)
		{
			my $length = length $row->[$i];
			$width[$i] = $length if $length > ($width[$i] || 0);
		}
	}
	splice @rows, 1, 0, [ map { '-' x $_ } @width ];
	foreach my $row (@rows)
	{
		my $line = join '  ', map {
			sprintf($_ ? "%$width[$_]s" : "%-$width[$_]s", $row->[$_])
		} 0 .. $#$row;
		print "$line\n";
	}
	print "\n";
	return;
}

# What sending costs, of several runs: medians
sub costs
{
	my (@runs) = @_;
	my %m;
	foreach my $key (keys %{ $runs[0] })
	{
		$m{$key} = median(map { $_->{$key} } @runs);
	}
	printf "CPU of the worker        %.1f us a mail"
	  . " (%.1f user, %.1f system)\n", @m{ 'cpu_us', 'user_us', 'system_us' };
	printf "WAL                      %.0f bytes a mail\n", $m{wal};
	printf "turns                    %.0f a second, %.0f mails each\n",
	  $m{turns}, $m{rate} / ($m{turns} || 1);
	printf "HOT updates              %.1f %% of delivery, %.1f %% of letter\n",
	  @m{ 'hot_delivery', 'hot_letter' };
	printf "private memory           %.1f MB at most\n\n",
	  $m{private_kb} / 1024;
	return;
}

sub machine
{
	my ($db) = @_;
	my ($version) = $db->selectrow_array('SHOW server_version');
	my ($turn)    = $db->selectrow_array('SHOW mailman.turn_size');
	my $cpus = grep { /^processor/ } do
	{
		open(my $fh, '<', '/proc/cpuinfo') or return;
		<$fh>;
	};
	open(my $fh, '<', '/proc/loadavg') or return;
	my ($load) = split ' ', <$fh>;
	printf "%d cores, load %s before; PostgreSQL %s, fsync and"
	  . " synchronous_commit on, turns of %d\n\n", $cpus, $load, $version,
	  $turn;
	return;
}

1;
