
#-------------------------------------------------------------------------
#
# Mailman::Relay
#	  The scripted SMTP server relay.pl, as the tests use it.
#
#	my $relay = Mailman::Relay->new(auth => ['PLAIN'], user => 'u', ...);
#	$relay->start;
#	... url 'smtp://127.0.0.1:PORT' with $relay->port ...
#	$relay->set(rules => [ { step => 'RCPT', every => 5,
#							 reply => '550 5.7.1 no' } ]);
#	is($relay->pairs, 1000);
#	is_deeply([ $relay->violations ], []);
#	$relay->stop;
#
# The options are those of relay.pl, described at its head; "tls => 1" is
# short for a certificate made for the occasion.  The server reads our end of
# a pipe and ends with it, so a test that dies leaves none behind.  set()
# returns when the change is in force.
#
# No test passes if a relay of its has seen a violation of the protocol or of
# what a message may consist of, whether it asks for violations() or not: the
# end of the test looks into the logs of all.  Who provokes them says so
# with "provoked => 1".
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Relay;

use strict;
use warnings;

use Carp;
use File::Basename qw(basename dirname);
use File::Spec;
use File::Temp ();
use IO::Select;
use JSON::PP ();
use POSIX ();
use Scalar::Util qw(weaken);

# before our END block, so that its own comes after it
use Test::More ();
use Time::HiRes qw(sleep time);

use Mailman::Certs;

my $json   = JSON::PP->new->ascii->canonical;
my $script = File::Spec->rel2abs(dirname(__FILE__) . '/../relay.pl');

# No wait is a measurement: it ends long after any machine would be done
my $patience = $ENV{PATIENCE} || 180;

my $number = 0;

# Relays there are, and what those that are gone have seen
my %living;
my @seen;

sub new
{
	my ($class, %options) = @_;
	my $dir  = File::Temp->newdir('relay_XXXXXX', TMPDIR => 1);
	my $self = bless {
		log     => "$dir/log",
		dir     => $dir,
		options => {},
		events  => [],
		partial => '',
		offset  => 0,
		creator => $$,
		provoked => delete $options{provoked},
	}, $class;

	# under PostgreSQL::Test the log stays beside the server's
	my $keep = do { no warnings 'once'; $PostgreSQL::Test::Utils::log_path };
	if (defined $keep && -d $keep)
	{
		my $test = basename($0, '.pl');
		$self->{log} =
		  File::Spec->rel2abs("$keep/${test}_relay" . ++$number . '.log');
		unlink $self->{log};
	}
	if (delete $options{save})
	{
		mkdir "$dir/messages" or croak "mkdir: $!";
		$options{save} = $self->{save} = "$dir/messages";
	}
	if (delete $options{tls})
	{
		my %file = Mailman::Certs->make($dir);
		$self->{ca_file}   = $file{ca};
		$options{tls_cert} = $file{cert};
		$options{tls_key}  = $file{key};
	}
	$self->{options} = \%options;
	weaken($living{ $self->{log} } = $self);
	return $self;
}

# Start it, at the port it had before if there was one; returns when it
# listens.
sub start
{
	my ($self) = @_;
	croak 'the relay runs already' if $self->{pid};

	pipe(my $request_r, my $request_w) or croak "pipe: $!";
	pipe(my $answer_r,  my $answer_w)  or croak "pipe: $!";
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		POSIX::dup2(fileno($request_r), 0);
		POSIX::dup2(fileno($answer_w),  1);
		exec($^X, $script, '--control') or POSIX::_exit(127);
	}
	close($request_r);
	close($answer_w);
	@{$self}{qw(pid owner to from)} = ($pid, $$, $request_w, $answer_r);
	$self->{buffer} = '';
	$self->{to}->autoflush(1);
	my $status = $self->_request(
		cmd     => 'set',
		options => {
			%{ $self->{options} },
			log => $self->{log},
			($self->{port}
				? (
					port       => $self->{port},
					more_ports => $self->{more_ports})
				: ())
		});
	@{$self}{qw(port more_ports)} = @{$status}{qw(port more_ports)};
	return $self;
}

# Stop it; the log stays readable and start() takes the same port again.
sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return $self;

	close($self->{to});
	close($self->{from});
	my $until = time + 60;
	while (waitpid($pid, POSIX::WNOHANG()) == 0)
	{
		if (time > $until)
		{
			kill 'KILL', $pid;
			waitpid($pid, 0);
			last;
		}
		sleep 0.005;
	}
	return $self;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	$self->stop if $self->{pid} && $self->{owner} == $$;
	$self->_bury if $self->{creator} == $$;
	return;
}

# Note what it has seen, from its log: whatever else failed, that is written
sub _bury
{
	my ($self) = @_;

	delete $living{ $self->{log} } or return;
	return if $self->{provoked} || !defined $self->{port};
	my $fh;
	if (!open($fh, '<:raw', $self->{log}))
	{
		push @seen, "could not open $self->{log}: $!\n";
		return;
	}
	while (my $line = <$fh>)
	{
		next unless index($line, '"event":"violation"') >= 0;
		push @seen, basename($self->{log}) . ": $line";
	}
	close($fh);
	return;
}

# The last word on a test.  Test::More has its own END block behind this one,
# but it trusts an exit status that is not 0.
END
{
	my $status = $?;
	foreach my $relay (grep { defined } values %living)
	{
		next unless $relay->{creator} == $$;
		$relay->stop if $relay->{pid} && $relay->{owner} == $$;
		$relay->_bury;
	}
	if (@seen)
	{
		Test::More->builder->ok(0, 'no relay has seen a violation');
		Test::More->builder->diag(splice(@seen, 0, 20));
		$status = 1 if $status == 0;
	}
	$? = $status;
}

sub _request
{
	my ($self, %request) = @_;
	my $select = IO::Select->new($self->{from});
	my $until  = time + $patience;

	local $SIG{PIPE} = 'IGNORE';
	croak 'the relay does not run' unless $self->{pid};
	my $line = $json->encode(\%request) . "\n";
	(syswrite($self->{to}, $line) || 0) == length $line
	  or croak "the relay is gone: $!";
	my $end;
	while (($end = index($self->{buffer}, "\n")) < 0)
	{
		croak 'the relay does not answer' if time > $until;

		# a signal may cut the wait short
		next unless $select->can_read(1);
		sysread($self->{from}, $self->{buffer}, 65536,
			length $self->{buffer})
		  or croak 'the relay has ended';
	}
	my $answer = $json->decode(substr($self->{buffer}, 0, $end + 1, ''));
	croak "relay: $answer->{error}" if defined $answer->{error};
	return $answer;
}

# Change options while it runs; rules are replaced as a whole and their
# counters start again.
sub set
{
	my ($self, %changes) = @_;
	$self->_request(cmd => 'set', options => \%changes) if $self->{pid};
	@{ $self->{options} }{ keys %changes } = values %changes;
	return $self;
}

# Cut every connection, by RST
sub reset_connections
{
	my ($self) = @_;
	$self->_request(cmd => 'reset');
	return $self;
}

# Let so many more mails pass; the reply to each final dot after them waits
# until gate() is called again or open_gate().  All rules are replaced.
sub gate
{
	my ($self, $number) = @_;
	my $name = 'gate ' . ++$self->{gates};
	return $self->set(
		rules => [ { step => 'dot', skip => $number, gate => $name } ]);
}

sub open_gate
{
	my ($self) = @_;
	return $self->set(rules => []);
}

# {opened, active, held, peak, accepted, violations} as of now, without the
# log; held are those who wait at a gate
sub status  { return $_[0]->_request(cmd => 'status'); }
sub pid     { return $_[0]->{pid}; }
sub port    { return $_[0]->{port}; }
sub dir     { return "$_[0]->{dir}"; }
sub logfile { return $_[0]->{log}; }
sub ca_file { return $_[0]->{ca_file}; }

# The ports are kept, so this may also be asked after stop(); number 1 is
# port, 2 the first of more_ports
sub url
{
	my ($self, $host, $number) = @_;
	my @ports = (undef, $self->{port}, @{ $self->{more_ports} || [] });
	my $scheme = $self->{options}{implicit_tls} ? 'smtps' : 'smtp';
	$host = '127.0.0.1' unless defined $host;
	return "$scheme://$host:$ports[$number || 1]";
}

# ---- the log

my $string  = qr/(null|"(?:[^"\\]|\\u[0-9a-f]{4})*")/;
my $message = qr/^\{"event":"message","time":([\d.]+),"session":(\d+),
	"number":(\d+),"from":$string,"to":\[(.*?)\],"message_id":$string,
	"size":(\d+),"declared":(null|\d+),"smtputf8":(\d),"tls":$string,
	"auth":$string,"gone":(\d),"file":$string\}$/x;

sub _unquote
{
	my ($text) = @_;
	return if $text eq 'null';
	$text = substr($text, 1, -1);
	$text =~ s/\\u([0-9a-f]{4})/chr hex $1/ge if index($text, '\\') >= 0;
	return $text;
}

# Read what was added to the log since the last time
sub _read_log
{
	my ($self) = @_;

	return unless open(my $fh, '<:raw', $self->{log});
	seek($fh, $self->{offset}, 0);
	while (my $line = <$fh>)
	{
		last unless $line =~ /\n\z/;
		$self->{offset} += length $line;
		chomp $line;
		if ($line =~ $message)
		{
			my %event = (
				event      => 'message',
				time       => $1,
				session    => $2,
				number     => $3,
				size       => $7,
				declared   => $8 eq 'null' ? undef : $8,
				smtputf8   => $9,
				gone       => $12,
				_from      => $4,
				_to        => $5,
				_id        => $6,
				_tls       => $10,
				_auth      => $11,
				_file      => $13);
			$event{from}       = _unquote(delete $event{_from});
			$event{message_id} = _unquote(delete $event{_id});
			$event{tls}        = _unquote(delete $event{_tls});
			$event{auth}       = _unquote(delete $event{_auth});
			$event{file}       = _unquote(delete $event{_file});
			$event{to} =
			  [ map { _unquote($_) } split(/,(?=")/, delete $event{_to}) ];
			push @{ $self->{events} }, \%event;
		}
		else
		{
			push @{ $self->{events} }, $json->decode($line);
		}
	}
	close($fh);
	return;
}

# All events of the log, or those of one kind: open close message refused
# rule limit tls auth violation cut
sub events
{
	my ($self, $kind) = @_;
	$self->_read_log;
	return @{ $self->{events} } unless defined $kind;
	return grep { $_->{event} eq $kind } @{ $self->{events} };
}

# Accepted messages: {time, session, number, from, to => [...], message_id,
# size, declared, smtputf8, tls, auth, gone, file}, as a list of hashes
sub messages
{
	my ($self) = @_;
	return $self->events('message');
}

# Those accepted since the last time this was asked
sub new_messages
{
	my ($self) = @_;
	my $from = $self->{told} || 0;

	$self->_read_log;
	$self->{told} = @{ $self->{events} };
	return grep { $_->{event} eq 'message' }
	  @{ $self->{events} }[ $from .. $self->{told} - 1 ];
}

sub _pairs
{
	my ($self) = @_;
	my %count;
	foreach my $message ($self->messages)
	{
		my $id = defined $message->{message_id} ? $message->{message_id} : '';
		$count{"$id\0$_"}++ foreach @{ $message->{to} };
	}
	return \%count;
}

# Distinct [Message-ID, recipient]; in scalar context how many
sub pairs
{
	my ($self) = @_;
	my @pairs = sort keys %{ $self->_pairs };
	return wantarray ? map { [ split(/\0/, $_, 2) ] } @pairs : scalar @pairs;
}

# Those accepted more than once: [Message-ID, recipient, times]
sub duplicates
{
	my ($self) = @_;
	my $count = $self->_pairs;
	my @twice = grep { $count->{$_} > 1 } sort keys %$count;
	return
	  wantarray
	  ? map { [ split(/\0/, $_, 2), $count->{$_} ] } @twice
	  : scalar @twice;
}

# Recipients and how often each was accepted, whatever the Message-ID
sub recipients
{
	my ($self) = @_;
	my %count;
	foreach my $message ($self->messages)
	{
		$count{$_}++ foreach @{ $message->{to} };
	}
	return \%count;
}

sub connections_opened
{
	my ($self) = @_;
	return scalar(() = $self->events('open'));
}

# What the client did against the RFCs, as "what: detail" lines
sub violations
{
	my ($self) = @_;
	my @found = map { "$_->{what}: $_->{detail}" } $self->events('violation');
	return wantarray ? @found : scalar @found;
}

# The file of a message of messages(), if "save" was asked for
sub saved
{
	my ($self, $message) = @_;
	return "$self->{save}/$message->{file}";
}

# Its bytes
sub content
{
	my ($self, $message) = @_;
	open(my $fh, '<:raw', $self->saved($message))
	  or croak "could not read message $message->{file}: $!";
	local $/;
	return scalar <$fh>;
}

# Wait until a figure of status() is that high; false if it never is.
sub wait_for_status
{
	my ($self, $name, $number, $timeout) = @_;
	my $until = time + (defined $timeout ? $timeout : $patience);
	while (1)
	{
		return 1 if $self->status->{$name} >= $number;
		return 0 if time > $until;
		sleep 0.01;
	}
}

# Wait until a number of messages was accepted; false if they never are.
sub wait_for_messages
{
	my ($self, @arguments) = @_;
	return $self->wait_for_status('accepted', @arguments);
}

# Wait until so many sessions wait at a gate
sub wait_for_held
{
	my ($self, @arguments) = @_;
	return $self->wait_for_status('held', @arguments);
}

# Wait until nobody is connected: whatever was on its way has ended
sub wait_for_silence
{
	my ($self) = @_;
	my $until = time + $patience;
	while ($self->status->{active} > 0)
	{
		return 0 if time > $until;
		sleep 0.01;
	}
	return 1;
}

1;
