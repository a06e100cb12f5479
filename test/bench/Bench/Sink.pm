
#-------------------------------------------------------------------------
#
# Bench::Sink
#	  Postfix's smtp-sink, into which everybody throws the same mail.
#
#	my $sink = Bench::Sink->start($dir, capture => "$dir/mails");
#	$sink->url, $sink->port, $sink->count
#
# It counts by itself and keeps nothing, but with "capture" a copy of every
# mail whose final dot has come.  Stopped by its pid when the object goes.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Bench::Sink;

use strict;
use warnings;

use Carp;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

# A port that was free a moment ago
sub free_port
{
	my $probe = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		Listen    => 1,
		Proto     => 'tcp') or croak "no free port: $@";
	return $probe->sockport;
}

# Is a server of ours there now?
sub await_port
{
	my ($port, $pid) = @_;
	my $until = time + 30;
	while (time < $until)
	{
		croak 'a server does not start'
		  if waitpid($pid, POSIX::WNOHANG()) == $pid;
		my $socket = IO::Socket::INET->new(
			PeerAddr => '127.0.0.1',
			PeerPort => $port,
			Proto    => 'tcp');
		return if $socket;
		sleep 0.02;
	}
	croak 'a server does not answer';
}

# Start a program of ours, its output to a file; "run" is told of it
sub spawn
{
	my ($output, @command) = @_;
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if ($pid)
	{
		open(my $fh, '>', "$ENV{TMPDIR}/pid.$pid") if $ENV{TMPDIR};
		return $pid;
	}
	open(STDIN,  '<',  '/dev/null') or POSIX::_exit(127);
	open(STDOUT, '>>', $output)     or POSIX::_exit(127);
	exec(@command) or POSIX::_exit(127);
}

# End it, and wait for that
sub reap
{
	my ($pid) = @_;
	kill 'TERM', $pid;
	waitpid($pid, 0);
	unlink "$ENV{TMPDIR}/pid.$pid" if $ENV{TMPDIR};
	return;
}

sub start
{
	my ($class, $dir, %options) = @_;
	my @capture = $options{capture} ? ('-D', $options{capture}) : ();
	my ($program) = grep { -x } map { "$_/smtp-sink" }
	  split(/:/, $ENV{PATH}), '/usr/sbin';
	croak 'smtp-sink is not installed' unless $program;
	my $port = free_port();
	my $self = bless {
		port  => $port,
		file  => "$dir/sink.$port",
		owner => $$
	}, $class;
	$self->{pid} =
	  spawn($self->{file}, $program, '-c', @capture, "127.0.0.1:$port",
		500);
	await_port($port, $self->{pid});
	return $self;
}

sub port { return $_[0]->{port}; }
sub url  { return "smtp://127.0.0.1:$_[0]->{port}"; }

# How many messages it has accepted so far
sub count
{
	my ($self) = @_;
	my $tail = '';

	open(my $fh, '<:raw', $self->{file}) or return 0;
	my $size = -s $fh;
	seek($fh, $size > 4096 ? $size - 4096 : 0, 0);
	read($fh, $tail, 4096);
	close($fh);
	my @counts = $tail =~ /mesg=(\d+)/g;
	return @counts ? $counts[-1] : 0;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	return unless $self->{owner} == $$ && $self->{pid};
	reap($self->{pid});
	return;
}

1;
