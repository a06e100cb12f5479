
#-------------------------------------------------------------------------
#
# Bench::Process
#	  What a process costs, as the kernel tells.
#
#	my $worker = Bench::Process->new($pid);
#	$worker->sample;			# often: the last one before its end counts
#	$worker->wait_gone;
#	$worker->cpu_us;
#
# CPU time is the scheduler's own account, in nanoseconds
# (/proc/PID/schedstat); how much of it the kernel took is known in ticks of
# 10 ms only.  Private memory is that of private mappings which nobody else
# has a page of, sampled.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Bench::Process;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);

my $tick_us = 1e6 / POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub new
{
	my ($class, $pid) = @_;
	my $self = bless {
		pid     => $pid,
		looked  => 0,
		private => 0,
		cpu     => 0,
		user    => 0,
		system  => 0
	}, $class;
	return $self;
}

sub pid        { return $_[0]->{pid}; }
sub cpu_us     { return $_[0]->{cpu}; }
sub private_kb { return $_[0]->{private}; }
sub private_start_kb { return $_[0]->{private_start} || 0; }

# The ticks tell the shares, schedstat the sum
sub user_us { return $_[0]->cpu_us - $_[0]->system_us; }

sub system_us
{
	my ($self) = @_;
	return $self->{cpu} * $self->{system} /
	  (($self->{user} + $self->{system}) || 1);
}

sub _read
{
	my ($self, $file) = @_;
	open(my $fh, '<', "/proc/$self->{pid}/$file") or return '';
	local $/;
	my $content = <$fh>;
	return defined $content ? $content : '';
}

sub sample
{
	my ($self) = @_;
	my ($ns) = split ' ', $self->_read('schedstat');
	my $stat = $self->_read('stat');

	return 0 unless $ns && $stat;
	$self->{cpu} = $ns / 1000;
	$stat =~ s/^.*\)//s;
	my @fields = split ' ', $stat;
	@$self{ 'user', 'system' } = ($fields[11], $fields[12]);
	$self->_sample_memory if time - $self->{looked} > 0.2;
	return 1;
}

# Memory of its own: what it shares with the other servers' processes is not,
# even if nobody else has touched those pages
sub _sample_memory
{
	my ($self) = @_;
	my $private = 0;
	my $own     = 0;

	foreach my $line (split /\n/, $self->_read('smaps'))
	{
		if ($line =~ /^[0-9a-f]+-[0-9a-f]+ ...(.)/)
		{
			$own = $1 eq 'p';
		}
		elsif ($own && $line =~ /^Private_\w+:\s+(\d+) kB/)
		{
			$private += $1;
		}
	}
	$self->{looked} = time;
	return unless $private > 0;
	$self->{private} = $private if $private > $self->{private};
	# what it has once it is under way
	$self->{began} ||= time;
	$self->{private_start} = $private if time - $self->{began} < 1;
	return;
}

sub wait_gone
{
	my ($self) = @_;
	sleep 0.02 while -d "/proc/$self->{pid}";
	return;
}

# Have perf watch it to its end
sub perf
{
	my ($self, $file) = @_;
	my $pid = fork;
	return $pid if $pid;
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	exec('perf', 'record', '-q', '-e', 'cpu-clock', '-F', '4000',
		'-o', $file, '-p', $self->{pid})
	  or POSIX::_exit(127);
}

1;
