# What "pure_test emit N SEED" prints, from file $EMITTED or standard input
#
#	while (my $record = read_record()) { ... $record->{message} ... }
#
# Copyright (c) 2026, the mailman authors

package Emitted;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(read_record);

my $source = \*STDIN;

if ($ENV{EMITTED})
{
	undef $source;
	open $source, '<', $ENV{EMITTED} or die "$ENV{EMITTED}: $!";
}
binmode $source;

# The next record: a hash of its fields, or undef at the end
sub read_record
{
	my %record;

	while (defined(my $line = <$source>))
	{
		$line =~ /^(\w+) (\d+)$/ or die "bad framing: $line";
		my ($name, $length) = ($1, $2);
		read($source, my $value, $length) == $length or die "short read"
		  if $length;
		<$source>;
		return \%record if $name eq 'end';
		$record{$name} = $value // '';
	}
	return undef;
}

1;
