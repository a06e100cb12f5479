#!/usr/bin/perl

#-------------------------------------------------------------------------
#
# relay.pl
#	  An SMTP server that does what it is told, for the tests.
#
# Why our own: the oracle of every send test is the log of the server that
# received the mail, and the interesting cases are those a well-behaved
# server never shows: a reply that never comes, a reply in single bytes, a
# connection that dies between the final dot and its 250.  So this server
# can misbehave at any step, and writes down exactly what it accepted before
# it says so.
#
# One process, one event loop, no fork: a delay in one session never delays
# another.  It listens on 127.0.0.1 only and refuses to run as root.
#
# Usage:
#	relay.pl --control
#		driven over stdin and stdout (see Mailman::Relay): one JSON object
#		per line, {"cmd":"set","options":{...}} first; ends at end of file,
#		so it never outlives the test that started it
#	relay.pl [--config FILE] [--port-file FILE] [--NAME VALUE ...]
#		by hand: options from a JSON file (read again at SIGHUP) and the
#		command line; prints the port; ends at SIGTERM
#
# Options (JSON; on the command line NAME VALUE, VALUE being JSON or a word):
#	port			0: one the kernel chooses
#	more_ports		further ones, a list, 0 likewise; all the same server, but
#					rules may tell them apart
#	refuse			numbers of ports (1: port, 2: the first of more_ports)
#					that refuse connections, until they are taken off the list
#	full			likewise, where a connection is never made: the backlog
#					is full
#	rcvbuf			bytes the kernel takes in for us (its own choice)
#	log				file, one JSON object per line, appended
#	save			directory: every accepted message in a file of its own,
#					dots un-stuffed, otherwise the bytes of the wire
#	helo			our name in the greeting
#	pipelining, smtputf8, enhanced, eightbit	EHLO keywords (1 or 0)
#	size			SIZE limit announced (and enforced); 0: not announced
#	keywords		further EHLO lines
#	starttls, tls_required, implicit_tls, tls_cert, tls_key
#	tls_version		as IO::Socket::SSL has it: "TLSv1_2", "!TLSv1_3"
#	tls_client_ca	file: clients must have a certificate of it
#	auth			list of mechanisms: PLAIN, LOGIN; with user, password,
#					auth_required; XOAUTH2, OAUTHBEARER; with user, tokens; any
#					other is offered, and refused when it is tried
#	tokens			list of those that are good now
#	max_connections	at once; the excess gets 421 and is closed
#	max_mails		per session; the next MAIL gets 421 and is closed
#	slow			seconds before each reply to a final dot
#	split			seconds between the single bytes of every reply
#	multiline		every reply in three lines
#	idle			seconds of silence after which a session is closed
#	forget			a client gone before our reply has its mail dropped
#					(else it is accepted, the worst case for the client)
#	rules			list of what to do otherwise, the first that fits wins:
#		step		connect EHLO STARTTLS AUTH MAIL RCPT DATA body dot RSET
#					NOOP QUIT
#		match		regex on the argument: the address for MAIL and RCPT, the
#					recipients for DATA, body and dot, the mechanism for AUTH
#		message		regex on the whole message (dot only)
#		port		only at the port of this number (from 1)
#		session		only in the session of this number (from 1)
#		after		only after this many of that step in the session
#		skip		not the first so many fits
#		every		every so manyth fit
#		first		the first so many times only
#	  and what it does:
#		delay		seconds to wait first; no other session waits
#		gate		name: wait until the rules are set anew and none has a gate
#					of that name; a client that leaves meanwhile is not noticed
#		reply		text instead of the usual one (CRLF added if missing; lines
#					of a list joined); 421 closes
#		accept		dot without a 2xx reply: take the mail all the same
#		drop		close; with reply, after it
#		reset		the same by RST
#		silence		say nothing more, ever
#		garbage		raw bytes, nothing added
#		repeat		the garbage so many times
#		endless		so many bytes without a line end
#		nul			NUL bytes at the end of the reply's text
#		deaf		read nothing more from now on
#		extra		an unasked-for line after the reply
#		early		reply to the next command, given now, before it was sent
#		split		seconds between the bytes of this reply
#		bytes		body only: after so many bytes of it (1)
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Fcntl qw(O_WRONLY O_APPEND O_CREAT);
use IO::Handle;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use Socket qw(IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER SO_RCVBUF);
use Time::HiRes qw(time);

die "relay.pl: must not run as root\n" if $> == 0;

use constant LINE_MAX      => 4096;
use constant ENDLESS_MAX   => 16 * 1024 * 1024;
use constant LINGER        => 2;
use constant READ_SIZE     => 256 * 1024;
use constant VIOLATION_MAX => 20;

my %opt = (
	port            => 0,
	more_ports      => [],
	refuse          => [],
	full            => [],
	rcvbuf          => 0,
	log             => undef,
	save            => undef,
	helo            => 'relay.test',
	pipelining      => 1,
	smtputf8        => 0,
	enhanced        => 1,
	eightbit        => 1,
	size            => 0,
	keywords        => [],
	starttls        => 0,
	tls_required    => 0,
	implicit_tls    => 0,
	tls_cert        => undef,
	tls_key         => undef,
	tls_version     => undef,
	tls_client_ca   => undef,
	auth            => [],
	tokens          => [],
	user            => undef,
	password        => undef,
	auth_required   => 0,
	max_connections => 0,
	max_mails       => 0,
	slow            => 0,
	split           => 0,
	multiline       => 0,
	idle            => 0,
	forget          => 0,
	rules           => []);

my %step_known = map { $_ => 1 }
  qw(connect EHLO STARTTLS AUTH MAIL RCPT DATA body dot RSET NOOP QUIT);

my $json = JSON::PP->new->ascii->canonical;
my %rules;            # step => [ rule, ... ]
my %sessions;         # fd => session
my %timers;           # fd => time it wants attention
my ($rvec, $wvec) = ('', '');
my @listeners;        # one for each port, {number, sock, heard, filler}
my $log_fh;
my ($opened, $accepted, $violations, $active, $peak) = (0, 0, 0, 0, 0);
my $tls_context;
my $stop = 0;

# ---------------------------------------------------------------- options

sub set_options
{
	my ($new) = @_;

	foreach my $name (sort keys %$new)
	{
		die "unknown option \"$name\"\n" unless exists $opt{$name};
		die "the ports are fixed once they are bound\n"
		  if @listeners
		  && ( $name eq 'port' && $new->{port} != $opt{port}
			|| $name eq 'more_ports'
			&& "@{ $new->{more_ports} }" ne "@{ $opt{more_ports} }");
	}
	check_rules($new->{rules}) if exists $new->{rules};
	$opt{$_} = $new->{$_} foreach keys %$new;

	if (exists $new->{rules})
	{
		%rules = ();
		my $number = 0;
		foreach my $given (@{ $opt{rules} })
		{
			my %rule = (%$given, number => $number++, seen => 0, fired => 0);
			$rule{match} = qr/$rule{match}/ if defined $rule{match};
			$rule{message} = qr/$rule{message}/ if defined $rule{message};
			push @{ $rules{ $rule{step} } }, \%rule;
		}
		open_gates();
	}
	if (exists $new->{log})
	{
		undef $log_fh;
		if (defined $opt{log})
		{
			sysopen($log_fh, $opt{log}, O_WRONLY | O_APPEND | O_CREAT)
			  or die "could not open \"$opt{log}\": $!\n";
		}
	}
	undef $tls_context if grep { /^tls_/ } keys %$new;
	listen_to_ports() if @listeners;
	return;
}

# Whoever waits at a gate that is no more goes on
sub open_gates
{
	my %shut = map { $_->{gate} => 1 }
	  grep { defined $_->{gate} } @{ $opt{rules} };

	foreach my $s (values %sessions)
	{
		next unless at_gate($s) && !$shut{ $s->{hold}{gate} };
		$s->{hold}{until} = time;
		set_timer($s);
	}
	return;
}

sub at_gate
{
	my ($s) = @_;
	return $s->{hold} && defined $s->{hold}{gate} && !$s->{hold}{until};
}

sub check_rules
{
	my ($rules) = @_;
	my %known = map { $_ => 1 }
	  qw(step match message port session after skip every first delay gate
	  reply accept drop reset silence garbage repeat endless nul deaf extra
	  early split bytes);

	foreach my $rule (@$rules)
	{
		die "rule without a known step\n"
		  unless defined $rule->{step} && $step_known{ $rule->{step} };
		foreach my $name (keys %$rule)
		{
			die "unknown rule field \"$name\"\n" unless $known{$name};
		}
	}
	return;
}

# ---------------------------------------------------------------- log

# A JSON string of bytes: everything but printable ASCII as \u00XX
sub quote
{
	my ($bytes) = @_;
	return 'null' unless defined $bytes;
	$bytes =~ s/([\\"]|[^\x20-\x7e])/sprintf('\\u%04x', ord $1)/ge
	  if $bytes =~ /[\\"]|[^\x20-\x7e]/;
	return "\"$bytes\"";
}

sub log_line
{
	my ($line) = @_;
	return unless $log_fh;
	my $n = syswrite($log_fh, "$line\n");
	die "could not write the log: $!\n"
	  unless defined $n && $n == length($line) + 1;
	return;
}

sub log_event
{
	my ($s, $event, %more) = @_;
	log_line(
		sprintf('{"event":"%s","time":%.6f,"session":%d%s}',
			$event, time, $s->{id},
			join('', map { ",\"$_\":" . quote($more{$_}) } sort keys %more)));
	return;
}

sub violation
{
	my ($s, $what, $detail) = @_;
	$violations++;
	return if $s->{violations}++ >= VIOLATION_MAX;
	log_event($s, 'violation', what => $what,
		detail => defined $detail ? substr($detail, 0, 200) : '');
	return;
}

# ---------------------------------------------------------------- sessions

# Whoever has hung up before the one just accepted called is not there any more
sub read_pending
{
	return unless select(my $r = $rvec, undef, undef, 0) > 0;
	foreach my $fd (keys %sessions)
	{
		read_session($sessions{$fd}) if $sessions{$fd} && vec($r, $fd, 1);
	}
	return;
}

sub accept_sessions
{
	my ($listener) = @_;
	while (my $sock = $listener->{sock}->accept)
	{
		read_pending();
		$sock->blocking(0);
		setsockopt($sock, IPPROTO_TCP, TCP_NODELAY, 1);
		my $fd = fileno($sock);
		my $s  = {
			id         => ++$opened,
			port       => $listener->{number},
			fd         => $fd,
			sock       => $sock,
			in         => '',
			out        => '',
			state      => 'command',
			rcpt       => [],
			count      => {},
			mails      => 0,
			violations => 0,
			last       => time,
			split      => 0,
		};
		$sessions{$fd} = $s;
		$active++;
		$peak = $active if $active > $peak;
		vec($rvec, $fd, 1) = 1;
		log_event($s, 'open', port => $s->{port});

		if ($opt{max_connections} && $active > $opt{max_connections})
		{
			log_event($s, 'limit', what => 'connections');
			send_reply($s, '421 4.7.0 Too many connections');
			end_session($s, 'limit');
			next;
		}
		if ($opt{implicit_tls})
		{
			start_tls($s);
			next;
		}
		greet($s);
		step_session($s);
	}
	return;
}

sub greet
{
	my ($s) = @_;
	answer($s, 'connect', '', "220 $opt{helo} ESMTP ready");
	return;
}

# The session is over: what is queued still goes out, then FIN; what the
# client sends meanwhile is read and thrown away, for closing with unread
# input would be a RST that swallows our last reply.
sub end_session
{
	my ($s, $why) = @_;
	return if $s->{state} eq 'over';
	check_beginning($s) if $s->{state} eq 'data' && $s->{in} ne '';
	$active--;
	log_event($s, 'close', why => $why, mails => $s->{mails});
	delete $s->{hold};
	$s->{in} = '';
	if ($why eq 'reset')
	{
		flush_out($s) if !$s->{gone};
		return unless $sessions{ $s->{fd} };
		setsockopt($s->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
		forget_session($s);
		return;
	}
	if ($s->{gone})
	{
		forget_session($s);
		return;
	}
	$s->{state}  = 'over';
	$s->{linger} = time + LINGER;
	set_timer($s);
	flush_out($s);
	return;
}

sub forget_session
{
	my ($s) = @_;
	my $fd = $s->{fd};
	return unless $sessions{$fd} && $sessions{$fd} == $s;
	delete $sessions{$fd};
	delete $timers{$fd};
	vec($rvec, $fd, 1) = 0;
	vec($wvec, $fd, 1) = 0;
	# after a handshake that failed it is a plain socket again
	if ($s->{tls} && $s->{sock}->isa('IO::Socket::SSL'))
	{
		$s->{sock}->close(SSL_no_shutdown => 1);
	}
	else
	{
		close($s->{sock});
	}
	$s->{state} = 'over';
	return;
}

# One timer per session: the earliest of what it waits for
sub set_timer
{
	my ($s) = @_;
	my $when;
	foreach my $t (
		$s->{linger},
		$s->{hold} ? $s->{hold}{until} : undef,
		$s->{next_byte},
		$opt{idle} && $s->{state} ne 'over' ? $s->{last} + $opt{idle} : undef)
	{
		$when = $t if defined $t && (!defined $when || $t < $when);
	}
	if   (defined $when) { $timers{ $s->{fd} } = $when; }
	else                 { delete $timers{ $s->{fd} }; }
	return;
}

sub timer_fired
{
	my ($s, $now) = @_;

	if (defined $s->{linger} && $s->{linger} <= $now)
	{
		forget_session($s);
		return;
	}
	if ($opt{idle} && $s->{state} ne 'over' && $s->{last} + $opt{idle} <= $now)
	{
		send_reply($s, '421 4.4.2 Idle too long');
		end_session($s, 'idle');
		return;
	}
	if ($s->{hold} && defined $s->{hold}{until} && $s->{hold}{until} <= $now)
	{
		my $hold = delete $s->{hold};
		carry_out($s, @{$hold}{qw(rule step arg default)})
		  if $hold->{rule} || $hold->{step} ne 'body';
	}
	step_session($s) if $sessions{ $s->{fd} };
	set_timer($s)    if $sessions{ $s->{fd} };
	return;
}

# Whatever can be done now: replies out, input in
sub step_session
{
	my ($s) = @_;

	process_input($s) if $s->{state} ne 'over' && $s->{state} ne 'handshake';
	flush_out($s) if $sessions{ $s->{fd} };
	if ($s->{eof} && !$s->{hold} && $s->{state} ne 'over')
	{
		log_event($s, 'cut', what => 'connection closed inside a message')
		  if $s->{state} eq 'data';
		end_session($s, 'client');
	}
	elsif ($s->{eof} && $s->{state} eq 'over')
	{
		forget_session($s);
	}
	return;
}

sub read_session
{
	my ($s) = @_;

	if ($s->{state} eq 'handshake')
	{
		continue_tls($s);
		return;
	}
	my $got = 0;
	while (1)
	{
		my $n = sysread($s->{sock}, $s->{in}, READ_SIZE, length $s->{in});
		if (!defined $n)
		{
			last if $!{EINTR} || $!{EAGAIN} || $!{EWOULDBLOCK};
			if ($s->{tls} && !$!)
			{
				last;
			}
			$s->{gone} = $s->{eof} = 1;
			last;
		}
		if ($n == 0)
		{
			$s->{eof} = 1;
			last;
		}
		$got += $n;
		last unless $s->{tls} && $s->{sock}->pending;
	}
	$s->{last} = time if $got && $opt{idle};
	if ($s->{state} eq 'over')
	{
		$s->{in} = '';
		forget_session($s) if $s->{eof};
		return;
	}
	if ($s->{eof})
	{
		vec($rvec, $s->{fd}, 1) = 0;
		if ($s->{hold} && !defined $s->{hold}{until} && !at_gate($s))
		{
			end_session($s, 'client');
			return;
		}
		if ($s->{hold} && $opt{forget})
		{
			end_session($s, 'client');
			return;
		}
	}

	# a reply is owed, and yet the client talks
	pipelined($s, $s->{hold}{step}) if $got && $s->{hold};

	step_session($s);
	return;
}

# Commands sent before the reply to the last one: allowed only after what
# RFC 2920 allows, and only if we said PIPELINING.
sub pipelined
{
	my ($s, $step) = @_;
	return if $s->{early_ok};
	if (!$opt{pipelining})
	{
		violation($s, 'pipelining not offered', $s->{in});
	}
	elsif ($step !~ /^(?:MAIL|RCPT|RSET|dot|body)$/)
	{
		violation($s, "sent before the reply to $step", $s->{in});
	}
	return;
}

# ---------------------------------------------------------------- output

sub flush_out
{
	my ($s) = @_;
	my $fd = $s->{fd};

	return if $s->{state} eq 'handshake';
	if ($s->{gone})
	{
		$s->{out} = '';
	}
	while (length $s->{out})
	{
		my $want = length $s->{out};
		if ($s->{split})
		{
			my $now = time;
			if (defined $s->{next_byte} && $s->{next_byte} > $now)
			{
				vec($wvec, $fd, 1) = 0;
				set_timer($s);
				return;
			}
			$want = 1;
			$s->{next_byte} = $now + $s->{split};
		}
		my $n = syswrite($s->{sock}, $s->{out}, $want);
		if (!defined $n)
		{
			if ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR})
			{
				vec($wvec, $fd, 1) = 1;
				return;
			}
			$s->{gone} = $s->{eof} = 1;
			$s->{out} = '';
			last;
		}
		substr($s->{out}, 0, $n, '');
	}
	vec($wvec, $fd, 1) = 0;
	if (defined $s->{next_byte})
	{
		delete $s->{next_byte};
		set_timer($s);
	}
	$s->{split} = 0;
	if ($s->{tls_next})
	{
		delete $s->{tls_next};
		start_tls($s);
	}
	elsif ($s->{state} eq 'over')
	{
		if   ($s->{eof}) { forget_session($s); }
		else             { shutdown($s->{sock}, 1) unless $s->{tls}; }
		if ($s->{tls} && !$s->{eof})
		{
			# close_notify is not sent: a relay that drops has no manners
			shutdown($s->{sock}, 1);
		}
	}
	return;
}

# Queue a reply; returns its code
sub send_reply
{
	my ($s, $text) = @_;

	if (ref $text)
	{
		$text = join("\r\n", @$text);
	}
	$text .= "\r\n" unless $text =~ /\n\z/;
	my $code = $text =~ /^(\d\d\d)(?: [^\n]*)?\r?\n\z/m ? $1 : 0;
	if ($opt{multiline} && $code != 334 && $text =~ /^\d\d\d [^\n]*\n\z/)
	{
		my $enhanced = $text =~ /^\d\d\d (\d\.\d+\.\d+ )/ ? $1 : '';
		$text =
		  "$code-${enhanced}first line of several\r\n$code-\r\n$text";
	}
	$s->{out} .= $text;
	$s->{split} = $opt{split} if $opt{split};
	return $code;
}

# ---------------------------------------------------------------- TLS

sub start_tls
{
	my ($s) = @_;

	require IO::Socket::SSL;
	if ($s->{in} ne '')
	{
		violation($s, 'clear text before the TLS handshake', $s->{in});
		$s->{in} = '';
	}
	$tls_context ||= IO::Socket::SSL::SSL_Context->new(
		SSL_server    => 1,
		SSL_cert_file => $opt{tls_cert},
		SSL_key_file  => $opt{tls_key},
		(defined $opt{tls_version}
			? (SSL_version => $opt{tls_version})
			: ()),
		(defined $opt{tls_client_ca}
			? (
				SSL_ca_file     => $opt{tls_client_ca},
				SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER()
				  | IO::Socket::SSL::SSL_VERIFY_FAIL_IF_NO_PEER_CERT())
			: ()))
	  || die "TLS context: " . IO::Socket::SSL::errstr() . "\n";
	my $ok = IO::Socket::SSL->start_SSL(
		$s->{sock},
		SSL_server         => 1,
		SSL_reuse_ctx      => $tls_context,
		SSL_startHandshake => 0);
	if (!$ok)
	{
		log_event($s, 'tls', what => IO::Socket::SSL::errstr());
		$s->{gone} = 1;
		end_session($s, 'tls');
		return;
	}
	$s->{sock}->blocking(0);
	$s->{state} = 'handshake';
	$s->{tls}   = 1;
	continue_tls($s);
	return;
}

sub continue_tls
{
	my ($s) = @_;

	if ($s->{sock}->accept_SSL)
	{
		$s->{tls_version} = $s->{sock}->get_sslversion;
		$s->{state}       = 'command';
		vec($rvec, $s->{fd}, 1) = 1;
		vec($wvec, $s->{fd}, 1) = 0;
		my $client = $s->{sock}->peer_certificate('commonName');
		log_event($s, 'tls', what => $s->{tls_version},
			defined $client ? (client => $client) : ());

		# RFC 3207: forget everything that was said before
		$s->{ehlo} = 0;
		delete $s->{auth};
		reset_mail($s);
		greet($s) if $opt{implicit_tls};
		read_session($s);
		return;
	}
	no warnings 'once';
	my $error = $IO::Socket::SSL::SSL_ERROR;
	if ($error == IO::Socket::SSL::SSL_WANT_READ())
	{
		vec($wvec, $s->{fd}, 1) = 0;
	}
	elsif ($error == IO::Socket::SSL::SSL_WANT_WRITE())
	{
		vec($wvec, $s->{fd}, 1) = 1;
	}
	else
	{
		log_event($s, 'tls', what => "failed: $error");
		$s->{gone} = 1;
		end_session($s, 'tls');
	}
	return;
}

# ---------------------------------------------------------------- rules

sub find_rule
{
	my ($s, $step, $arg, $message) = @_;

	foreach my $rule (@{ $rules{$step} })
	{
		next if defined $rule->{match} && $arg !~ $rule->{match};
		next
		  if defined $rule->{message}
		  && !(defined $message && $$message =~ $rule->{message});
		next if defined $rule->{port}    && $s->{port} != $rule->{port};
		next if defined $rule->{session} && $s->{id} != $rule->{session};
		next if $rule->{after} && ($s->{count}{$step} || 0) <= $rule->{after};
		next if $step eq 'body' && $s->{body_seen} < ($rule->{bytes} || 1);
		$rule->{seen}++;
		next if $rule->{skip}  && $rule->{seen} <= $rule->{skip};
		next if $rule->{every} && $rule->{seen} % $rule->{every};
		next if $rule->{first} && $rule->{fired} >= $rule->{first};
		$rule->{fired}++;
		return $rule;
	}
	return;
}

# A command (or the like) was read: find out what to say and say it, now or
# later
sub answer
{
	my ($s, $step, $arg, $default) = @_;

	$s->{count}{$step}++;
	my $rule;
	if ($rules{$step})
	{
		$rule = find_rule($s, $step, $arg, $s->{message});
		log_event(
			$s, 'rule',
			step   => $step,
			arg    => $arg,
			number => $rule->{number}) if $rule;
	}
	my $delay = $rule && defined $rule->{delay} ? $rule->{delay} : 0;
	$delay += $opt{slow} if $step eq 'dot' && $opt{slow};
	my $gate = $rule ? $rule->{gate} : undef;
	if ($delay > 0 || defined $gate)
	{
		$s->{hold} = {
			until   => defined $gate ? undef : time + $delay,
			gate    => $gate,
			rule    => $rule,
			step    => $step,
			arg     => $arg,
			default => $default
		};
		set_timer($s);
		return;
	}
	carry_out($s, $rule, $step, $arg, $default);
	return;
}

sub carry_out
{
	my ($s, $rule, $step, $arg, $default) = @_;

	if (defined $s->{early})
	{
		# the reply went out before the command came
		my $text = delete $s->{early};
		my $code = $text =~ /^(\d\d\d)(?: [^\n]*)?(?:\r?\n)?\z/m ? $1 : 0;
		apply($s, $step, $code);
		return;
	}
	if (!$rule)
	{
		# the step first, its reply after: "accepted" is in the log before
		# the client can know
		apply($s, $step, substr($default, 0, 3));
		send_reply($s, $default);
		end_session($s, 'quit') if $s->{quit};
		return;
	}

	accept_message($s)
	  if $step eq 'dot' && $rule->{accept} && !defined $rule->{reply};

	vec($rvec, $s->{fd}, 1) = 0 if $rule->{deaf};
	if ($rule->{silence})
	{
		$s->{hold} = { step => $step };
		set_timer($s);
		return;
	}
	$s->{split} = $rule->{split} if $rule->{split};
	my $mute = defined $rule->{garbage} || $rule->{endless};
	if ($mute)
	{
		apply($s, $step, 0);
		$s->{out} .= $rule->{garbage} x ($rule->{repeat} || 1)
		  if defined $rule->{garbage};
		if ($rule->{endless})
		{
			$s->{out} .= 'x'
			  x ($rule->{endless} < ENDLESS_MAX
				? $rule->{endless}
				: ENDLESS_MAX);
		}
	}
	elsif (defined $rule->{reply}
		|| !($rule->{drop} || $rule->{reset}))
	{
		my $text = defined $rule->{reply} ? $rule->{reply} : $default;
		$text = join("\r\n", @$text) if ref $text;
		$text .= " \0\0" if $rule->{nul};
		my $code = $text =~ /^(\d\d\d)(?: [^\n]*)?(?:\r?\n)?\z/m ? $1 : 0;
		accept_message($s) if $step eq 'dot' && $rule->{accept} && $code !~ /^2/;
		apply($s, $step, $code);
		send_reply($s, $text);
		end_session($s, '421') if $code == 421;
		return if $code == 421;
	}
	if (defined $rule->{extra})
	{
		send_reply($s, $rule->{extra});
	}
	if (defined $rule->{early})
	{
		send_reply($s, $rule->{early});
		$s->{early} = $rule->{early};
	}
	if    ($rule->{reset}) { end_session($s, 'reset'); }
	elsif ($rule->{drop})  { end_session($s, 'drop'); }
	elsif ($s->{quit})     { end_session($s, 'quit'); }
	return;
}

# What a reply of this code to that step does to the session
sub apply
{
	my ($s, $step, $code) = @_;
	my $class = substr($code, 0, 1);

	if ($step eq 'dot')
	{
		accept_message($s) if $class eq '2';
		log_event(
			$s, 'refused',
			code => $code,
			from => $s->{from},
			to   => join(',', @{ $s->{rcpt} })) if $class ne '2' && !$s->{taken};
		reset_mail($s);
		$s->{state} = 'command';
	}
	elsif ($step eq 'RCPT')
	{
		push @{ $s->{rcpt} }, $s->{arg} if $class eq '2';
	}
	elsif ($step eq 'MAIL')
	{
		if ($class eq '2')
		{
			$s->{from} = $s->{arg};
			$s->{utf8} = $s->{arg_utf8};
			$s->{size} = $s->{arg_size};
		}
	}
	elsif ($step eq 'DATA')
	{
		if ($class eq '3')
		{
			$s->{state}     = 'data';
			$s->{scanned}   = 0;
			$s->{body_seen} = 0;
			$s->{body_done} = 0;
		}
	}
	elsif ($step eq 'EHLO')
	{
		$s->{ehlo} = 1 if $class eq '2';
		reset_mail($s);
	}
	elsif ($step eq 'RSET')
	{
		reset_mail($s);
	}
	elsif ($step eq 'AUTH')
	{
		$s->{auth} = $s->{auth_user} if $class eq '2';
	}
	elsif ($step eq 'STARTTLS')
	{
		$s->{tls_next} = 1 if $code eq '220';
	}
	elsif ($step eq 'QUIT')
	{
		$s->{quit} = 1;
	}
	elsif ($step eq 'body')
	{
		# the reply to the dot was given inside the body
		$s->{early} = "$code";
	}
	return;
}

sub reset_mail
{
	my ($s) = @_;
	delete @{$s}{qw(from utf8 size message taken)};
	$s->{rcpt} = [];
	return;
}

# ---------------------------------------------------------------- input

sub process_input
{
	my ($s) = @_;

	while (!$s->{hold}
		&& ($s->{state} eq 'command' || $s->{state} eq 'data')
		&& !$s->{tls_next})
	{
		if ($s->{state} eq 'data')
		{
			last unless process_data($s);
			next;
		}
		my $end = index($s->{in}, "\n");
		if ($end < 0)
		{
			if (length $s->{in} > LINE_MAX)
			{
				violation($s, 'command line without end');
				send_reply($s, '500 5.5.2 Line too long');
				end_session($s, 'disorder');
			}
			last;
		}
		my $line = substr($s->{in}, 0, $end + 1, '');
		if (chop($line), substr($line, -1) eq "\r")
		{
			chop $line;
		}
		else
		{
			violation($s, 'bare LF in a command', $line);
		}
		violation($s, 'bare CR in a command', $line)
		  if index($line, "\r") >= 0;
		violation($s, 'NUL in a command', $line) if index($line, "\0") >= 0;
		violation($s, 'command line too long', $line) if length $line > 1000;
		command($s, $line);
	}
	return;
}

sub command
{
	my ($s, $line) = @_;

	if ($s->{auth_step})
	{
		auth_continue($s, $line);
		return;
	}
	my ($verb, $rest) = $line =~ /^(\S*)\s*(.*)$/s;
	$verb = uc $verb;
	my $step = $verb eq 'HELO' ? 'EHLO' : $verb;

	pipelined($s, $step)
	  if $s->{in} ne ''
	  && ( !$opt{pipelining}
		|| ($step ne 'MAIL' && $step ne 'RCPT' && $step ne 'RSET'));

	if ($verb eq 'MAIL')    { command_mail($s, $rest); }
	elsif ($verb eq 'RCPT') { command_rcpt($s, $rest); }
	elsif ($verb eq 'DATA')
	{
		answer($s, 'DATA', join(',', @{ $s->{rcpt} }),
			!defined $s->{from}
			? '503 5.5.1 MAIL first'
			: !@{ $s->{rcpt} } ? '554 5.5.1 No valid recipients'
			:                    '354 Go ahead');
	}
	elsif ($verb eq 'EHLO' || $verb eq 'HELO') { command_ehlo($s, $verb, $rest); }
	elsif ($verb eq 'RSET') { answer($s, 'RSET', '', '250 2.0.0 Ok'); }
	elsif ($verb eq 'NOOP') { answer($s, 'NOOP', '', '250 2.0.0 Ok'); }
	elsif ($verb eq 'QUIT')
	{
		answer($s, 'QUIT', '', '221 2.0.0 Bye');
	}
	elsif ($verb eq 'STARTTLS')
	{
		answer($s, 'STARTTLS', '',
			 !$opt{starttls} || $s->{tls}
			? '502 5.5.1 Not offered'
			: '220 2.0.0 Ready to start TLS');
	}
	elsif ($verb eq 'AUTH') { command_auth($s, $rest); }
	else
	{
		violation($s, 'unknown command', $line);
		send_reply($s, '502 5.5.2 Unknown command');
	}
	return;
}

sub command_ehlo
{
	my ($s, $verb, $rest) = @_;

	violation($s, "$verb without a name") if $rest eq '';
	if ($verb eq 'HELO')
	{
		answer($s, 'EHLO', $rest, "250 $opt{helo}");
		return;
	}
	my @lines = ($opt{helo});
	push @lines, 'PIPELINING'          if $opt{pipelining};
	push @lines, "SIZE $opt{size}"     if $opt{size};
	push @lines, '8BITMIME'            if $opt{eightbit};
	push @lines, 'SMTPUTF8'            if $opt{smtputf8};
	push @lines, 'ENHANCEDSTATUSCODES' if $opt{enhanced};
	push @lines, 'STARTTLS'            if $opt{starttls} && !$s->{tls};
	push @lines, join(' ', 'AUTH', @{ $opt{auth} })
	  if @{ $opt{auth} } && ($s->{tls} || !$opt{tls_required});
	push @lines, @{ $opt{keywords} };
	my $last = pop @lines;
	answer($s, 'EHLO', $rest,
		join('', map { "250-$_\r\n" } @lines) . "250 $last");
	return;
}

sub command_mail
{
	my ($s, $rest) = @_;

	if ($rest !~ /^FROM:\s*<([^>]*)>\s*(.*)$/is)
	{
		violation($s, 'syntax of MAIL', $rest);
		$s->{arg} = '';
		answer($s, 'MAIL', '', '501 5.5.4 Syntax: MAIL FROM:<address>');
		return;
	}
	my ($from, @param) = ($1, split(' ', $2));
	@{$s}{qw(arg arg_utf8 arg_size)} = ($from, 0, undef);
	my $default = '250 2.1.0 Ok';

	foreach my $param (@param)
	{
		if ($param =~ /^SIZE=(\d+)$/i && $opt{size})
		{
			$s->{arg_size} = $1;
			$default = '552 5.3.4 Message too big' if $1 > $opt{size};
		}
		elsif (uc $param eq 'SMTPUTF8' && $opt{smtputf8})
		{
			$s->{arg_utf8} = 1;
		}
		elsif ($param =~ /^BODY=(?:7BIT|8BITMIME)$/i && $opt{eightbit}) { }
		else
		{
			violation($s, 'parameter not offered', $param);
			$default = '555 5.5.4 Unknown parameter';
		}
	}
	violation($s, '8-bit bytes in an address', $from)
	  if $from =~ /[^\x00-\x7f]/ && !$s->{arg_utf8};

	if ($opt{max_mails} && $s->{mails} >= $opt{max_mails})
	{
		log_event($s, 'limit', what => 'mails');
		send_reply($s, '421 4.7.0 Too many messages in this session');
		end_session($s, 'limit');
		return;
	}
	if ($opt{tls_required} && !$s->{tls})
	{
		$default = '530 5.7.0 Must issue a STARTTLS command first';
	}
	elsif ($opt{auth_required} && !defined $s->{auth})
	{
		$default = '530 5.7.0 Authentication required';
	}
	elsif (!$s->{ehlo})
	{
		violation($s, 'MAIL before EHLO');
		$default = '503 5.5.1 EHLO first';
	}
	elsif (defined $s->{from})
	{
		violation($s, 'MAIL inside a mail');
		$default = '503 5.5.1 Nested MAIL';
	}
	answer($s, 'MAIL', $from, $default);
	return;
}

sub command_rcpt
{
	my ($s, $rest) = @_;

	if ($rest !~ /^TO:\s*<((?:[^">]|"(?:[^"\\]|\\.)*")+)>\s*(.*)$/is)
	{
		violation($s, 'syntax of RCPT', $rest);
		$s->{arg} = '';
		answer($s, 'RCPT', '', '501 5.1.3 Syntax: RCPT TO:<address>');
		return;
	}
	my $to = $1;
	$s->{arg} = $to;
	violation($s, 'parameter not offered', $2) if $2 ne '';
	violation($s, '8-bit bytes in an address', $to)
	  if $to =~ /[^\x00-\x7f]/ && !$s->{utf8};
	answer($s, 'RCPT', $to,
		defined $s->{from}
		? '250 2.1.5 Ok'
		: '503 5.5.1 MAIL first');
	return;
}

# ---- AUTH PLAIN and LOGIN, and with a token

sub command_auth
{
	my ($s, $rest) = @_;
	my ($mechanism, $initial) = split(' ', $rest, 2);
	$mechanism = uc($mechanism || '');

	delete $s->{auth_user};
	if (!grep { $_ eq $mechanism } @{ $opt{auth} })
	{
		violation($s, 'AUTH mechanism not offered', $mechanism);
		answer($s, 'AUTH', $mechanism, '504 5.5.4 Mechanism not offered');
		return;
	}
	$s->{auth_step} = $mechanism;
	if ($mechanism !~ /^(?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)$/)
	{
		delete $s->{auth_step};
		log_event($s, 'auth', mechanism => $mechanism, ok => '0');
		answer($s, 'AUTH', $mechanism, '535 5.7.8 Not with this one');
	}
	elsif (defined $initial)
	{
		auth_continue($s, $initial);
	}
	else
	{
		send_reply($s,
			$mechanism eq 'LOGIN' ? '334 VXNlcm5hbWU6' : '334 ');
	}
	return;
}

sub auth_continue
{
	my ($s, $line) = @_;
	my $step  = delete $s->{auth_step};
	my $bytes = decode_base64($line);
	my $ok    = 0;

	if ($line eq '*')
	{
		answer($s, 'AUTH', $step, '501 5.7.0 Cancelled');
		return;
	}
	if ($step eq 'refused')
	{
		answer($s, 'AUTH', $s->{auth_mechanism},
			'535 5.7.8 Token expired or unknown');
		return;
	}
	if ($step eq 'LOGIN')
	{
		$s->{auth_user} = $bytes;
		$s->{auth_step} = 'LOGIN password';
		send_reply($s, '334 UGFzc3dvcmQ6');
		return;
	}
	if ($step eq 'PLAIN')
	{
		my (undef, $user, $password) = split(/\0/, $bytes, -1);
		$s->{auth_user} = $user;
		$ok = auth_right($user, $password);
	}
	elsif ($step eq 'XOAUTH2' || $step eq 'OAUTHBEARER')
	{
		$ok = auth_token($s, $step, $bytes);
	}
	else
	{
		$ok = auth_right($s->{auth_user}, $bytes);
	}
	log_event(
		$s, 'auth',
		user      => $s->{auth_user},
		mechanism => $step,
		ok        => $ok ? '1' : '0');
	if (!$ok && $step =~ /^(?:XOAUTH2|OAUTHBEARER)$/)
	{
		# what is wrong comes as a challenge, and the refusal after it
		$s->{auth_mechanism} = $step;
		$s->{auth_step}      = 'refused';
		send_reply($s,
			'334 '
			  . encode_base64('{"status":"401","schemes":"bearer"}', ''));
		return;
	}
	answer($s, 'AUTH', $step,
		$ok
		? '235 2.7.0 Authentication successful'
		: '535 5.7.8 Authentication credentials invalid');
	return;
}

# RFC 7628 3.1, and what Google calls XOAUTH2
sub auth_token
{
	my ($s, $mechanism, $bytes) = @_;
	my ($user, $token) =
	  $mechanism eq 'XOAUTH2'
	  ? $bytes =~ /^user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01\z/
	  : $bytes =~ /^n,a=([^,\x01]*),\x01(?:host=[^\x01]*\x01)?
		(?:port=\d+\x01)?auth=Bearer\ ([^\x01]*)\x01\x01\z/x;

	if (!defined $token)
	{
		violation($s, "not the form of $mechanism", $bytes);
		return 0;
	}
	$s->{auth_user} = $user;
	return defined $opt{user}
	  && $user eq $opt{user}
	  && scalar grep { $_ eq $token } @{ $opt{tokens} };
}

sub auth_right
{
	my ($user, $password) = @_;
	return
		 defined $user
	  && defined $password
	  && defined $opt{user}
	  && defined $opt{password}
	  && $user eq $opt{user}
	  && $password eq $opt{password};
}

# ---- the message

# Returns false if more bytes are needed
sub process_data
{
	my ($s) = @_;
	my $len = length $s->{in};

	$s->{body_seen} = $len;
	if ($rules{body} && !$s->{body_done} && $len)
	{
		my $rule = find_rule($s, 'body', join(',', @{ $s->{rcpt} }));
		if ($rule)
		{
			$s->{body_done} = 1;
			log_event($s, 'rule', step => 'body', number => $rule->{number});
			if ($rule->{delay})
			{
				$s->{hold} = {
					until   => time + $rule->{delay},
					rule    => $rule,
					step    => 'body',
					default => ''
				};
				delete $s->{hold}{rule}
				  unless grep { defined $rule->{$_} }
				  qw(reply drop reset silence garbage endless deaf);
				set_timer($s);
				return 0;
			}
			carry_out($s, $rule, 'body', '', '');
			return 0
			  if $s->{hold} || $s->{state} eq 'over' || !$sessions{ $s->{fd} };
		}
	}

	my $end;
	if ($len >= 3 && substr($s->{in}, 0, 3) eq ".\r\n")
	{
		$end = -2;
	}
	else
	{
		my $from = $s->{scanned} > 4 ? $s->{scanned} - 4 : 0;
		$end = index($s->{in}, "\r\n.\r\n", $from);
		if ($end < 0)
		{
			$s->{scanned} = $len;
			return 0;
		}
	}
	my $message = substr($s->{in}, 0, $end + 5, '');
	substr($message, -3) = '';

	pipelined($s, 'dot') if $s->{in} ne '' && !$opt{pipelining};
	unstuff($s, \$message);
	check_message($s, \$message);
	$s->{message} = \$message;
	$s->{state}   = 'command';
	answer($s, 'dot', join(',', @{ $s->{rcpt} }),
		$opt{size} && length $message > $opt{size}
		? '552 5.3.4 Message too big'
		: '250 2.0.0 Ok: queued as ' . ($accepted + 1));
	return 1;
}

sub unstuff
{
	my ($s, $message) = @_;
	return
	  unless index($$message, "\r\n.") >= 0 || substr($$message, 0, 1) eq '.';
	violation($s, 'dot not stuffed') if $$message =~ /(?:^|\r\n)\.(?!\.)/;
	$$message =~ s/(^|\r\n)\./$1/g;
	return;
}

# What no message may have (RFC 5321 2.3.8, 4.5.3.1.6; RFC 6531 3), whatever
# becomes of it.  A dot that was stuffed does not count in its line.  8 bits
# only where they cannot be avoided: we announce 8BITMIME, but a body is
# always sent in 7.
sub check_message
{
	my ($s, $message) = @_;

	violation($s, 'bare LF in a message')   if $$message =~ /(?<!\r)\n/;
	violation($s, 'bare CR in a message')   if $$message =~ /\r(?!\n)/;
	violation($s, 'NUL in a message')       if index($$message, "\0") >= 0;
	violation($s, 'line of more than 998 bytes')
	  if length $$message > 998 && $$message =~ /^[^\n]{1000}/m;
	return unless $$message =~ /[^\x00-\x7f]/;
	if (!$s->{utf8})
	{
		violation($s, '8-bit bytes in a message');
		return;
	}
	my $head = index($$message, "\r\n\r\n");
	violation($s, '8-bit bytes in a body')
	  if $head >= 0 && substr($$message, $head) =~ /[^\x00-\x7f]/;
	return;
}

# A message that never ended, as far as it came
sub check_beginning
{
	my ($s) = @_;
	my $message = $s->{in};

	# it may have been cut anywhere, or its end waits behind a rule
	$message =~ s/(^|\r\n)\.\r\n.*\z/$1/s;
	$message =~ s/\r\z//;
	$message =~ s/(^|\r\n)\.\z/$1/;
	unstuff($s, \$message);
	check_message($s, \$message);
	return;
}

sub accept_message
{
	my ($s) = @_;
	return if $s->{taken};
	my $message = $s->{message};
	my $head    = index($$message, "\r\n\r\n");
	my $header  = $head < 0 ? $$message : substr($$message, 0, $head + 2);
	my ($id) = $header =~ /^Message-ID:[ \t]*(?:\r\n[ \t]+)?([^\r\n]*?)[ \t]*\r\n/mi;
	my $file = '';

	$s->{taken} = 1;
	$s->{mails}++;
	$accepted++;
	if (defined $opt{save})
	{
		$file = sprintf('%08d', $accepted);
		open(my $fh, '>:raw', "$opt{save}/$file")
		  or die "could not save a message: $!\n";
		print {$fh} $$message;
		close($fh) or die "could not save a message: $!\n";
	}

	# read back by a regular expression in Mailman::Relay: keep the order
	log_line(
		sprintf(
			'{"event":"message","time":%.6f,"session":%d,"number":%d,'
			  . '"from":%s,"to":[%s],"message_id":%s,"size":%d,'
			  . '"declared":%s,"smtputf8":%d,"tls":%s,"auth":%s,"gone":%d,'
			  . '"file":%s}',
			time,
			$s->{id},
			$accepted,
			quote($s->{from}),
			join(',', map { quote($_) } @{ $s->{rcpt} }),
			quote($id),
			length $$message,
			defined $s->{size} ? $s->{size} : 'null',
			$s->{utf8} ? 1 : 0,
			quote($s->{tls_version}),
			quote($s->{auth}),
			$s->{gone} || $s->{eof} ? 1 : 0,
			quote($file)));
	return;
}

# ---------------------------------------------------------------- control

my $control_in = '';

# One JSON object per line; every line gets a line back.  False at the end.
sub read_control
{
	my $n = sysread(STDIN, $control_in, 65536, length $control_in);
	return 1 if !defined $n && ($!{EINTR} || $!{EAGAIN});
	return 0 unless $n;
	while ($control_in =~ s/^([^\n]*)\n//)
	{
		my $answer = eval { control_command($json->decode($1)) };
		$answer = { error => "$@" } if $@;
		syswrite(STDOUT, $json->encode($answer) . "\n");
	}
	return 1;
}

sub control_command
{
	my ($request) = @_;
	my $cmd = $request->{cmd} || '';

	if ($cmd eq 'set')
	{
		set_options($request->{options});
	}
	elsif ($cmd eq 'reset')
	{
		# every connection dies at once
		end_session($_, 'reset') foreach values %sessions;
	}
	elsif ($cmd ne 'status')
	{
		die "unknown command \"$cmd\"\n";
	}
	bind_listeners() unless @listeners;
	return {
		ok         => 1,
		port       => $opt{port},
		more_ports => $opt{more_ports},
		opened     => $opened,
		active     => $active,
		held       => scalar(grep { at_gate($_) } values %sessions),
		peak       => $peak,
		accepted   => $accepted,
		violations => $violations
	};
}

sub bind_listeners
{
	foreach my $port ($opt{port}, @{ $opt{more_ports} })
	{
		my $sock = bind_port($port);

		$sock->blocking(0);
		setsockopt($sock, SOL_SOCKET, SO_RCVBUF, $opt{rcvbuf})
		  if $opt{rcvbuf};
		push @listeners, { sock => $sock, number => @listeners + 1 };
	}
	($opt{port}, @{ $opt{more_ports} }) =
	  map { $_->{sock}->sockport } @listeners;
	listen_to_ports();
	return;
}

# A port that we had before may be somebody's for a moment
sub bind_port
{
	my ($port) = @_;
	my $until = time + ($port ? 30 : 0);
	my $sock;

	until (
		$sock = IO::Socket::INET->new(
			LocalAddr => '127.0.0.1',
			LocalPort => $port,
			Proto     => 'tcp',
			ReuseAddr => 1))
	{
		die "could not bind port $port: $@\n" if time > $until;
		select(undef, undef, undef, 0.1);
	}
	return $sock;
}

# Bound and no more, a port refuses.  A backlog of none that has somebody in
# it lets nobody else in, and the kernel does not even say so.
sub listen_to_ports
{
	my %refuse = map { $_ => 1 } @{ $opt{refuse} };
	my %full   = map { $_ => 1 } @{ $opt{full} };

	foreach my $l (grep { !$_->{heard} } @listeners)
	{
		next if $refuse{ $l->{number} } || $full{ $l->{number} } && $l->{filler};

		# not the method, which takes 0 for 5
		listen($l->{sock}, $full{ $l->{number} } ? 0 : 512)
		  or die "could not listen on a port: $!\n";
		if ($full{ $l->{number} })
		{
			$l->{filler} = IO::Socket::INET->new(
				PeerAddr => '127.0.0.1',
				PeerPort => $l->{sock}->sockport,
				Proto    => 'tcp') or die "could not fill a backlog: $@\n";
			next;
		}
		delete $l->{filler};
		$l->{heard} = 1;
		vec($rvec, fileno($l->{sock}), 1) = 1;
	}
	return;
}

# ---------------------------------------------------------------- main

my ($control, $config, $port_file);

sub read_config
{
	return unless defined $config;
	open(my $fh, '<:raw', $config) or die "could not open \"$config\": $!\n";
	local $/;
	set_options($json->decode(scalar <$fh>));
	return;
}

while (@ARGV)
{
	my $arg = shift @ARGV;
	if ($arg eq '--control') { $control = 1; next; }
	die "usage: see the head of $0\n" unless $arg =~ /^--([\w-]+)$/ && @ARGV;
	my ($name, $value) = ($1, shift @ARGV);
	if    ($name eq 'config')    { $config    = $value; read_config(); }
	elsif ($name eq 'port-file') { $port_file = $value; }
	else
	{
		$name =~ s/-/_/g;
		my $decoded =
		  eval { JSON::PP->new->allow_nonref->decode($value) };
		set_options({ $name => defined $decoded ? $decoded : $value });
	}
}

$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = sub { $stop = 1; };
my $hup = 0;
$SIG{HUP} = sub { $hup = 1; };
STDOUT->autoflush(1);

if ($control)
{
	vec($rvec, fileno(STDIN), 1) = 1;
}
else
{
	bind_listeners();
	print "$opt{port}\n";
	if (defined $port_file)
	{
		open(my $fh, '>', "$port_file.tmp")
		  or die "could not write \"$port_file\": $!\n";
		print {$fh} "$opt{port}\n";
		close($fh) or die "could not write \"$port_file\": $!\n";
		rename("$port_file.tmp", $port_file)
		  or die "could not rename \"$port_file\": $!\n";
	}
}

while (!$stop)
{
	my $timeout = 10;
	if (%timers)
	{
		my $now = time;
		foreach my $when (values %timers)
		{
			$timeout = $when - $now if $when - $now < $timeout;
		}
		$timeout = 0 if $timeout < 0;
	}
	my $n = select(my $r = $rvec, my $w = $wvec, undef, $timeout);
	if ($n > 0)
	{
		if ($control && vec($r, 0, 1))
		{
			last unless read_control();
		}
		foreach my $fd (keys %sessions)
		{
			my $s = $sessions{$fd} or next;
			if (vec($w, $fd, 1))
			{
				if ($s->{state} eq 'handshake') { continue_tls($s); }
				else                            { flush_out($s); }
			}
			read_session($s)
			  if vec($r, $fd, 1) && $sessions{$fd} && $sessions{$fd} == $s;
		}
		foreach my $l (@listeners)
		{
			accept_sessions($l) if vec($r, fileno($l->{sock}), 1);
		}
	}
	if (%timers)
	{
		my $now = time;
		foreach my $fd (keys %timers)
		{
			next unless defined $timers{$fd} && $timers{$fd} <= $now;
			my $s = $sessions{$fd};
			if ($s) { timer_fired($s, $now); }
			else    { delete $timers{$fd}; }
		}
	}
	if ($hup)
	{
		$hup = 0;
		eval { read_config(); 1 } or warn $@;
	}
}
exit 0;
