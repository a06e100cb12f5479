
#-------------------------------------------------------------------------
#
# Mailman::Sink
#	  Postfix's smtp-sink, the fastest thing there is to throw mail at.
#
#	my $sink = Mailman::Sink->new;	# or (dump => 1), (options => ['-w', 1])
#	$sink->start;
#	... 'smtp://127.0.0.1:' . $sink->port ...
#	is($sink->count, 20_000);
#	$sink->stop;
#
# It needs no Postfix to run, only its package to be installed: available()
# tells.  It keeps no log: count() is its own running counter, and with dump
# the recipients and Message-IDs are read from the files it wrote, which
# costs it most of its speed.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Sink;

use strict;
use warnings;

use Carp;
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

# Where smtp-sink is, or undef
sub available
{
	foreach my $dir (split(/:/, $ENV{PATH} || ''), '/usr/sbin',
		'/usr/local/sbin')
	{
		return "$dir/smtp-sink" if -x "$dir/smtp-sink";
	}
	return;
}

sub new
{
	my ($class, %options) = @_;
	my $self = bless {
		dir     => File::Temp->newdir('sink_XXXXXX', TMPDIR => 1),
		options => $options{options} || [],
		backlog => $options{backlog} || 500,
		dump    => $options{dump},
		before  => 0,
	}, $class;

	$self->{count_file} = "$self->{dir}/count";
	if ($self->{dump})
	{
		$self->{dump} = "$self->{dir}/mail";
		mkdir $self->{dump} or croak "mkdir: $!";
	}
	return $self;
}

sub port { return $_[0]->{port}; }
sub pid  { return $_[0]->{pid}; }
sub url  { return "smtp://127.0.0.1:$_[0]->{port}"; }

# smtp-sink cannot choose a port, so one that was free a moment ago is tried,
# and another if somebody was quicker.
sub start
{
	my ($self) = @_;
	my $program = available() or croak 'smtp-sink is not installed';

	croak 'smtp-sink must not run as root' if $> == 0;
	croak 'the sink runs already' if $self->{pid};
	my $fixed = $self->{port};
	foreach my $try (1 .. 10)
	{
		my $port = $fixed;
		if (!defined $port)
		{
			my $probe = IO::Socket::INET->new(
				LocalAddr => '127.0.0.1',
				Listen    => 1,
				Proto     => 'tcp') or croak "no free port: $@";
			$port = $probe->sockport;
			close($probe);
		}
		$self->{port} = $port;
		return $self if $self->_launch($program);
	}
	croak 'smtp-sink does not start';
}

sub _launch
{
	my ($self, $program) = @_;
	my $pid = fork;
	croak "fork: $!" unless defined $pid;

	if ($pid == 0)
	{
		chdir "$self->{dir}";
		open(STDIN,  '<',  '/dev/null')         or POSIX::_exit(127);
		open(STDOUT, '>>', $self->{count_file}) or POSIX::_exit(127);
		exec($program, '-c', @{ $self->{options} },
			($self->{dump} ? ('-d', "$self->{dump}/%H%M%S.") : ()),
			"127.0.0.1:$self->{port}", $self->{backlog})
		  or POSIX::_exit(127);
	}
	$self->{owner} = $$;
	my $until = time + 60;
	while (time < $until)
	{
		if (waitpid($pid, POSIX::WNOHANG()) == $pid)
		{
			return 0;
		}
		my $sock = IO::Socket::INET->new(
			PeerAddr => '127.0.0.1',
			PeerPort => $self->{port},
			Proto    => 'tcp');
		if ($sock)
		{
			# ours, and not another's who took the port?
			my $line = <$sock>;
			print {$sock} "QUIT\r\n";
			$line = <$sock>;
			close($sock);
			next if waitpid($pid, POSIX::WNOHANG()) == $pid;
			$self->{pid} = $pid;
			return 1;
		}
		sleep 0.01;
	}
	kill 'TERM', $pid;
	waitpid($pid, 0);
	return 0;
}

# How many messages were accepted, over all starts
sub count
{
	my ($self) = @_;
	my $tail = '';

	open(my $fh, '<:raw', $self->{count_file}) or return 0;
	my $size = -s $fh;
	seek($fh, $size > 4096 ? $size - 4096 : 0, 0);
	read($fh, $tail, 4096);
	close($fh);
	my @counts = $tail =~ /mesg=(\d+)/g;
	return $self->{before} + (@counts ? $counts[-1] : 0);
}

# Wait until so many were accepted; false if they never are.
sub wait_for_messages
{
	my ($self, $number, $timeout) = @_;
	my $until = time + (defined $timeout ? $timeout : $ENV{PATIENCE} || 180);
	while ($self->count < $number)
	{
		return 0 if time > $until;
		sleep 0.02;
	}
	return 1;
}

# With dump: {to => [...], from, message_id} of each message
sub messages
{
	my ($self) = @_;
	my @messages;

	croak 'the sink keeps no messages' unless $self->{dump};
	foreach my $file (glob "$self->{dump}/*")
	{
		my %message = (to => []);
		open(my $fh, '<:raw', $file) or croak "could not open $file: $!";
		while (my $line = <$fh>)
		{
			last if $line =~ /^\r?\n$/;
			$message{from} = $1       if $line =~ /^X-Mail-Args: <([^>]*)>/;
			push @{ $message{to} }, $1 if $line =~ /^X-Rcpt-Args: <([^>]*)>/;
			$message{message_id} = $1
			  if $line =~ /^Message-ID:\s*(\S*?)\r?\n/i;
		}
		close($fh);
		push @messages, \%message;
	}
	return @messages;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return $self;

	kill 'TERM', $pid;
	waitpid($pid, 0);
	$self->{before} = $self->count;
	unlink $self->{count_file};
	return $self;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	$self->stop if $self->{pid} && $self->{owner} == $$;
	return;
}

1;
