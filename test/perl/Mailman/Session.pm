
#-------------------------------------------------------------------------
#
# Mailman::Session
#	  A psql that stays connected, for tests that need a transaction left
#	  open or many quick looks.
#
# Why not background_psql: it writes every query into the test's log, and its
# interface differs between PostgreSQL's releases.
#
#	my $session = Mailman::Session->new($node, dbname => 'postgres');
#	my $text = $session->query('SELECT ...');	# dies of an error
#	my ($text, $error) = $session->try('...');	# does not
#	$session->start('SELECT pg_sleep(1)'); ...; $session->result;
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Session;

use strict;
use warnings;

use Carp;
use IO::Select;
use POSIX ();
use Time::HiRes qw(time);

sub new
{
	my ($class, $node, %options) = @_;
	my $dbname = defined $options{dbname} ? $options{dbname} : 'postgres';

	pipe(my $in_r,  my $in_w)  or croak "pipe: $!";
	pipe(my $out_r, my $out_w) or croak "pipe: $!";
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		POSIX::dup2(fileno($in_r),  0);
		POSIX::dup2(fileno($out_w), 1);
		POSIX::dup2(fileno($out_w), 2);
		$ENV{PGAPPNAME} = $options{application_name} || 'test session';
		exec('psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-v',
			'VERBOSITY=verbose', '-d', $node->connstr($dbname),
			($options{user} ? ('-U', $options{user}) : ()))
		  or POSIX::_exit(127);
	}
	close($in_r);
	close($out_w);
	$in_w->autoflush(1);
	my $self = bless {
		pid     => $pid,
		owner   => $$,
		in      => $in_w,
		out     => $out_r,
		buffer  => '',
		number  => 0,
		timeout => $options{timeout} || $ENV{PATIENCE} || 180,
	}, $class;

	# notices would be taken for output
	$self->query('SET client_min_messages = warning')
	  unless $options{notices};
	$self->{backend} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# The server process
sub backend { return $_[0]->{backend}; }

# Send without waiting
sub start
{
	my ($self, $sql) = @_;
	my $marker = sprintf('--%d:%d--', $$, ++$self->{number});

	croak 'a query runs already' if defined $self->{marker};
	$self->{marker} = $marker;
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{in} } "$sql\n;\n\\echo '$marker'\n";
	return $self;
}

# Has what was sent ended?
sub done
{
	my ($self) = @_;
	$self->_read(0) while $self->_more(0);
	return index($self->{buffer}, "$self->{marker}\n") >= 0;
}

sub _more
{
	my ($self, $timeout) = @_;
	return 0 if $self->{eof};
	return scalar IO::Select->new($self->{out})->can_read($timeout);
}

sub _read
{
	my ($self) = @_;
	my $n =
	  sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer});
	$self->{eof} = 1 unless $n || (!defined $n && $!{EINTR});
	return;
}

# (output, error) of what was sent
sub try_result
{
	my ($self) = @_;
	my $until  = time + $self->{timeout};
	my $marker = $self->{marker};
	my $end;

	while (($end = index($self->{buffer}, "$marker\n")) < 0)
	{
		last if $self->{eof};
		croak "no answer within $self->{timeout} s" if time > $until;

		# a signal may cut the wait short
		$self->_read if $self->_more(1);
	}
	delete $self->{marker};
	if ($end < 0)
	{
		my $rest = $self->{buffer};
		return ('', "connection lost: $rest");
	}
	my $output = substr($self->{buffer}, 0, $end);
	substr($self->{buffer}, 0, $end + length($marker) + 1) = '';

	# psql may go on for a moment without a server
	if ($output =~ /^(?:server closed the connection|WARNING:  57P0[123]:)/m)
	{
		$self->{eof} = 1;
		return ('', "connection lost: $output");
	}
	my $error = $output =~ /^((?:ERROR|FATAL|PANIC): .*)/ms ? $1 : undef;
	$output =~ s/\n\z//;
	return ($output, $error);
}

sub result
{
	my ($self) = @_;
	my ($output, $error) = $self->try_result;
	croak $error if defined $error;
	return $output;
}

sub try
{
	my ($self, $sql) = @_;
	return $self->start($sql)->try_result;
}

sub query
{
	my ($self, $sql) = @_;
	return $self->start($sql)->result;
}

sub quit
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	close($self->{in});
	close($self->{out});
	waitpid($pid, 0);
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	return unless $self->{pid} && $self->{owner} == $$;
	kill 'TERM', $self->{pid};
	$self->quit;
	return;
}

1;
