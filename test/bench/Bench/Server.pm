
#-------------------------------------------------------------------------
#
# Bench::Server
#	  What all processes of the server cost together, and what its log says.
#
#	my $server = Bench::Server->new($bench->dir);
#	my $before = $server->cpu_us;
#
# CPU time of those that live is the scheduler's own account; that of those
# that have ended is in the postmaster's, which waits for each.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Bench::Server;

use strict;
use warnings;

use Carp;
use POSIX ();

my $tick_us = 1e6 / POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub new
{
	my ($class, $dir) = @_;
	my $self = bless { log => "$dir/log" }, $class;

	open(my $fh, '<', "$dir/data/postmaster.pid") or croak $!;
	chomp($self->{postmaster} = <$fh>);
	return $self;
}

sub _read
{
	my ($file) = @_;
	open(my $fh, '<', $file) or return '';
	local $/;
	my $content = <$fh>;
	return defined $content ? $content : '';
}

# The fields of /proc/PID/stat behind the name
sub _stat
{
	my ($pid) = @_;
	my $stat = _read("/proc/$pid/stat");
	$stat =~ s/^.*\)//s;
	return split ' ', $stat;
}

sub cpu_us
{
	my ($self) = @_;
	my $us = 0;

	foreach my $dir (glob '/proc/[0-9]*')
	{
		my ($pid) = $dir =~ /(\d+)$/;
		my @stat = _stat($pid);
		next
		  unless @stat
		  && ($pid == $self->{postmaster} || $stat[1] == $self->{postmaster});
		my ($ns) = split ' ', _read("$dir/schedstat");
		$us += ($ns || 0) / 1000;
		$us += ($stat[13] + $stat[14]) * $tick_us
		  if $pid == $self->{postmaster};
	}
	return $us;
}

sub _log
{
	my ($self) = @_;
	return split /\n/, _read($self->{log});
}

# Processes of ours that were started
sub count
{
	my ($self) = @_;
	return scalar grep { /starting background worker process "mailman/ }
	  $self->_log;
}

# Lines that are there without debugging
sub lines
{
	my ($self) = @_;
	return scalar grep { / LOG:  / && !/checkpoint/ } $self->_log;
}

1;
