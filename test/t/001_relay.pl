
#-------------------------------------------------------------------------
#
# 001_relay.pl
#	  The servers the other tests rely on, before anything relies on them.
#
# A test whose server counts wrongly proves nothing; so the scripted relay
# and smtp-sink are driven here by a client written out byte by byte, without
# a database and without a line of the extension.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use File::Spec;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Relay;
use Mailman::Sink;

my $patience = 180;

# ---- a client

sub client
{
	my ($port, %options) = @_;
	my $sock = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1',
		PeerPort => $port,
		Proto    => 'tcp') or die "connect: $@";
	my $c = { sock => $sock, buffer => '' };
	secure($c, $options{ca}) if $options{ca};
	return $c;
}

sub secure
{
	my ($c, $ca) = @_;
	IO::Socket::SSL->start_SSL(
		$c->{sock},
		SSL_ca_file         => $ca,
		SSL_verify_mode     => SSL_VERIFY_PEER,
		SSL_verifycn_name   => 'localhost',
		SSL_verifycn_scheme => 'smtp') or die "TLS: $SSL_ERROR";
	return;
}

sub say_bytes
{
	my ($c, $bytes) = @_;
	while (length $bytes)
	{
		my $n = syswrite($c->{sock}, $bytes);
		return 0 unless defined $n;
		substr($bytes, 0, $n, '');
	}
	return 1;
}

# More bytes into the buffer: true, or false at the end (or after too long)
sub more
{
	my ($c, $timeout) = @_;
	$timeout = $patience unless defined $timeout;
	my $pending = $c->{sock}->isa('IO::Socket::SSL') && $c->{sock}->pending;
	if (!$pending && !IO::Select->new($c->{sock})->can_read($timeout))
	{
		$c->{timeout} = 1;
		return 0;
	}
	my $n = sysread($c->{sock}, $c->{buffer}, 65536, length $c->{buffer});
	$c->{reset} = 1 if !defined $n && $!{ECONNRESET};
	return $n ? 1 : 0;
}

# One reply, all its lines; what there is of it if the connection ends
sub reply
{
	my ($c, $timeout) = @_;
	while (1)
	{
		return $1
		  if $c->{buffer} =~
		  s/^((?:\d\d\d-[^\n]*\n)*\d\d\d(?: [^\n]*)?\n)//;
		return substr($c->{buffer}, 0, length $c->{buffer}, '')
		  unless more($c, $timeout);
	}
}

sub command
{
	my ($c, $line) = @_;
	say_bytes($c, "$line\r\n");
	return reply($c);
}

sub code { return substr($_[0], 0, 3); }

sub hello
{
	my ($port, %options) = @_;
	my $c = client($port, %options);
	$c->{greeting} = reply($c);
	$c->{ehlo}     = command($c, 'EHLO client.example.com');
	return $c;
}

sub mail
{
	my ($c, $to, $id, $body) = @_;
	my @codes;
	push @codes, code(command($c, 'MAIL FROM:<news@example.com>'));
	push @codes, code(command($c, "RCPT TO:<$to>"));
	push @codes, code(command($c, 'DATA'));
	if ($codes[-1] eq '354')
	{
		$body = "Hello\r\n" unless defined $body;
		push @codes,
		  code(command($c, "Message-ID: <$id>\r\n\r\n$body."));
	}
	elsif ($codes[1] ne '250')
	{
		push @codes, code(command($c, 'RSET'));
	}
	return "@codes";
}

# Send mails over one session the quick way: body, dot and the next envelope
# in one write.  Returns how many were accepted.
sub pump
{
	my ($port, $sessions, $number, $body) = @_;
	my ($next, $accepted) = (0, 0);
	my $select = IO::Select->new;
	my %session;

	foreach (1 .. $sessions)
	{
		my $c = hello($port);
		$session{ fileno $c->{sock} } = $c;
		$select->add($c->{sock});
	}
	my $envelope = sub {
		my ($c) = @_;
		return "QUIT\r\n" if $next >= $number;
		$c->{current} = ++$next;
		$c->{wait}    = 3;
		return "MAIL FROM:<news\@example.com>\r\n"
		  . "RCPT TO:<r$next\@example.com>\r\nDATA\r\n";
	};
	foreach my $c (values %session)
	{
		say_bytes($c, $envelope->($c));
	}
	while ($select->count)
	{
		foreach my $sock ($select->can_read($patience))
		{
			my $c = $session{ fileno $sock };
			if (!more($c, 0))
			{
				$select->remove($sock);
				next;
			}
			while ($c->{buffer} =~ s/^(\d\d\d) [^\n]*\n//)
			{
				my $code = $1;
				if ($code eq '221')
				{
					$select->remove($sock);
					last;
				}
				if ($code eq '354')
				{
					$c->{in_data} = 1;
					my $id = "m$c->{current}\@example.com";
					say_bytes($c,
						"Message-ID: <$id>\r\n\r\n$body\r\n.\r\n"
						  . $envelope->($c));
				}
				elsif ($c->{in_data} && $code eq '250')
				{
					$accepted++;
					$c->{in_data} = 0;
				}
			}
		}
	}
	return $accepted;
}

# ---- plain dialogue and its log

my $relay = Mailman::Relay->new(save => 1, size => 100_000, provoked => 1)->start;
ok($relay->port, 'listens on a port of its own');

my $c = hello($relay->port);
like($c->{greeting}, qr/^220 /, 'greeting');
like($c->{ehlo}, qr/^250-PIPELINING\r$/m,    'PIPELINING is offered');
like($c->{ehlo}, qr/^250-SIZE 100000\r$/m,   'SIZE is offered');
unlike($c->{ehlo}, qr/SMTPUTF8|STARTTLS|AUTH/, 'nothing else is');
is(mail($c, 'one@example.com', 'a@example.com',
		"..stuffed\r\n...\r\nFrom here\r\n"),
	'250 250 354 250', 'a mail is taken');
is(mail($c, 'two@example.com', 'b@example.com'),
	'250 250 354 250', 'a second one in the same session');
is(code(command($c, 'QUIT')), '221', 'QUIT');
is(reply($c), '', 'and the connection is closed');

my @messages = $relay->messages;
is(scalar @messages, 2, 'two messages in the log');
is_deeply($messages[0]{to}, ['one@example.com'], 'recipient');
is($messages[0]{from}, 'news@example.com', 'sender');
is($messages[0]{message_id}, '<a@example.com>', 'Message-ID');
is($messages[0]{tls}, undef, 'no TLS');
is( $relay->content($messages[0]),
	"Message-ID: <a\@example.com>\r\n\r\n.stuffed\r\n..\r\nFrom here\r\n",
	'saved byte for byte, un-stuffed');
is($messages[0]{size}, length $relay->content($messages[0]), 'size');
cmp_ok(abs($messages[0]{time} - time), '<', 60, 'time');
is_deeply(
	[ $relay->pairs ],
	[
		[ '<a@example.com>', 'one@example.com' ],
		[ '<b@example.com>', 'two@example.com' ]
	],
	'pairs');
is($relay->duplicates, 0, 'no duplicates');
is($relay->connections_opened, 1, 'one connection');
is_deeply([ $relay->violations ], [], 'no violations');

$c = hello($relay->port);
mail($c, 'one@example.com', 'a@example.com');
is_deeply(
	[ $relay->duplicates ],
	[ [ '<a@example.com>', 'one@example.com', 2 ] ],
	'a mail sent twice shows as a duplicate');
is($relay->pairs, 2, 'and not as a new pair');
is(code(command($c, 'MAIL FROM:<news@example.com> SIZE=100001')),
	'552', 'SIZE is enforced');

# ---- violations are seen

sub violated
{
	my ($name, $pattern, $action) = @_;
	my $before = $relay->violations;
	$action->();
	$relay->status;
	my @now = $relay->violations;
	splice(@now, 0, $before);
	is(scalar(grep { $_ =~ $pattern } @now), 1, "violation seen: $name")
	  or diag(explain(\@now));
	return;
}

my %bad = (
	'bare LF'        => [ "a\nb\r\n",              qr/bare LF/ ],
	'bare CR'        => [ "a\rb\r\n",              qr/bare CR/ ],
	'long line'      => [ ('x' x 999) . "\r\n",    qr/998/ ],
	'8-bit'          => [ "caf\xc3\xa9\r\n",       qr/8-bit bytes in a mess/ ],
	'unstuffed dot'  => [ ".x\r\n",                qr/not stuffed/ ],
	'NUL'            => [ "a\0b\r\n",              qr/NUL/ ]);
foreach my $name (sort keys %bad)
{
	my ($body, $pattern) = @{ $bad{$name} };
	violated($name, $pattern,
		sub { mail(hello($relay->port), 'v@example.com', 'v', $body) });
}
violated('parameter not offered', qr/parameter not offered: SMTPUTF8/,
	sub { command(hello($relay->port), 'MAIL FROM:<a@example.com> SMTPUTF8') });
violated('body before 354', qr/before the reply to DATA/, sub {
	my $v = hello($relay->port);
	command($v, 'MAIL FROM:<a@example.com>');
	command($v, 'RCPT TO:<b@example.com>');
	say_bytes($v, "DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n");
	reply($v);
	reply($v);
});
my $clean = $relay->violations;
mail(hello($relay->port), 'v@example.com', 'v', ('x' x 998) . "\r\n..\r\n");
mail(hello($relay->port), 'v@example.com', 'v', '..' . ('x' x 997) . "\r\n");
is($relay->violations, $clean, 'a line of 998 and a stuffed dot are none');

# Begin a message and leave; returns when the relay has noticed
sub leave_with
{
	my ($bytes) = @_;
	my $v  = hello($relay->port);
	my $id = ($relay->events('open'))[-1]{session};
	command($v, 'MAIL FROM:<a@example.com>');
	command($v, 'RCPT TO:<b@example.com>');
	command($v, 'DATA');
	say_bytes($v, "Subject: x\r\n\r\n$bytes");
	close($v->{sock});
	my $until = time + $patience;
	sleep 0.01
	  while time < $until
	  && !grep { $_->{session} == $id } $relay->events('close');
	return;
}
violated('in a message that never ends',
	qr/bare LF/, sub { leave_with("a\nb") });
$clean = $relay->violations;
leave_with("x\r\n$_") foreach '', '.', '..', ".\r", "..\r";
is($relay->violations, $clean, 'but a cut anywhere is none');

$relay->set(pipelining => 0, smtputf8 => 1, rules => []);
$c = hello($relay->port);
unlike($c->{ehlo}, qr/PIPELINING/, 'PIPELINING can be withdrawn');
violated('pipelining not offered', qr/pipelining not offered/, sub {
	say_bytes($c,
		"MAIL FROM:<a\@example.com>\r\nRCPT TO:<b\@example.com>\r\n");
	reply($c);
	reply($c);
});
$clean = $relay->violations;
$c     = hello($relay->port);
is(code(command($c, "MAIL FROM:<a\@example.com> SMTPUTF8")),
	'250', 'SMTPUTF8 can be offered');
is(code(command($c, "RCPT TO:<b\xc3\xa9\@example.com>")),
	'250', 'and then addresses may have 8 bits');
is($relay->violations, $clean, 'without a violation');
command($c, 'RSET');
is(mail($c, 'v@example.com', 'w'), '250 250 354 250', 'lock-step dialogue');
is($relay->violations, $clean, 'is no violation without PIPELINING');

sub utf8_mail
{
	my ($bytes) = @_;
	my $v = hello($relay->port);
	command($v, 'MAIL FROM:<a@example.com> SMTPUTF8');
	command($v, 'RCPT TO:<b@example.com>');
	command($v, 'DATA');
	return command($v, "$bytes\r\n.");
}
like(utf8_mail("To: b\xc3\xa9\@example.com\r\n\r\nx"),
	qr/^250/, 'with SMTPUTF8 header fields may have 8 bits, too');
is($relay->violations, $clean, 'without a violation');
violated('8-bit body with SMTPUTF8', qr/8-bit bytes in a body/,
	sub { utf8_mail("Subject: x\r\n\r\n\xc3\xa9") });

# ---- and no test passes that has seen one, even if it does not look

# The exit status and output of a test that sends these bytes
sub test_of
{
	my ($body, $end) = @_;
	open(my $test, '-|', $^X, '-I', 'test/perl', '-e', <<'END', $body, $end)
		use strict;
		use warnings;
		use IO::Socket::INET;
		use Mailman::Relay;
		use Test::More;
		my ($body, $end) = @ARGV;
		plan(tests => 1) if $end =~ s/^plan //;
		my $relay = Mailman::Relay->new(
			$end =~ s/^provoked // ? (provoked => 1) : ())->start;
		my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
			PeerPort => $relay->port) or die $!;
		foreach my $say ('', "EHLO x\r\n", "MAIL FROM:<a\@b.c>\r\n",
			"RCPT TO:<a\@b.c>\r\n", "DATA\r\n", "\r\n$body\r\n.\r\n")
		{
			print $s $say;
			my $line;
			do { $line = <$s> } while $line =~ /^250-/;
		}
		is($relay->status->{accepted}, 1, 'all is well');
		done_testing() unless Test::More->builder->has_plan;
		if ($end eq 'stopped') { $relay->stop; }
		elsif ($end eq 'gone') { undef $relay; }
END
	  or die "could not run a test: $!";
	my $output = do { local $/; <$test> };
	close($test);
	return ($? >> 8, $output);
}

{
	# what they say to stderr would be taken for ours
	open(my $stderr, '>&', \*STDERR) or die $!;
	open(STDERR, '>', File::Spec->devnull) or die $!;
	foreach my $end ('running', 'stopped', 'gone', 'plan running', 'plan gone')
	{
		my ($status, $output) = test_of("a\nb", $end);
		isnt($status, 0, "a test with a violation fails: $end");
		like($output, qr/^not ok \d+ - no relay has seen a violation/m,
			'and says so');
	}
	foreach ([ 'a', 'running' ], [ 'a', 'gone' ],
		[ "a\nb", 'provoked running' ])
	{
		my ($status, $output) = test_of(@$_);
		is($status, 0, "another passes: $_->[1]");
		unlike($output, qr/^not ok/m, 'and so it says');
	}
	open(STDERR, '>&', $stderr) or die $!;
}

# ---- rules, step by step

$relay->set(pipelining => 1, smtputf8 => 0);

sub rules { $relay->set(rules => [@_]); return; }

rules({ step => 'RCPT', every => 5, reply => '550 5.7.1 not this one' });
$c = hello($relay->port);
is( join(',', map { mail($c, "r$_\@example.com", "e$_") } 1 .. 10),
	join(',',
		map { $_ % 5 ? '250 250 354 250' : '250 550 554 250' } 1 .. 10),
	'every fifth RCPT refused');

rules({ step => 'RCPT', match => '^bad', first => 1, reply => '450 later' });
$c = hello($relay->port);
is(mail($c, 'good@example.com', 'f1'), '250 250 354 250', 'no match');
is(mail($c, 'bad@example.com', 'f2'), '250 450 554 250', 'match, first');
is(mail($c, 'bad@example.com', 'f3'), '250 250 354 250', 'match, second');

rules({ step => 'MAIL', after => 2, reply => '452 4.3.1 enough' });
$c = hello($relay->port);
is( join(' ', map { code(command($c, $_)) } ('MAIL FROM:<a@example.com>', 'RSET') x 3),
	'250 250 250 250 452 250',
	'after two in this session');
is(code(command(hello($relay->port), 'MAIL FROM:<a@example.com>')),
	'250', 'another session counts for itself');

rules({
		step  => 'MAIL',
		reply => [ '550-5.7.1 first', "550-5.7.1 \xe9", '550 5.7.1 last' ]
	});
is( command(hello($relay->port), 'MAIL FROM:<a@example.com>'),
	"550-5.7.1 first\r\n550-5.7.1 \xe9\r\n550 5.7.1 last\r\n",
	'several lines, raw bytes');

rules({ step => 'connect', reply => '554 5.3.2 no service' });
like(reply(client($relay->port)), qr/^554 /, 'at the greeting');
rules({ step => 'EHLO', reply => '421 4.3.2 closing' });
$c = hello($relay->port);
like($c->{ehlo}, qr/^421 /, 'at EHLO');
is(reply($c), '', 'and 421 closes');

foreach my $how (qw(drop reset silence))
{
	foreach my $step (qw(connect EHLO MAIL RCPT DATA body dot RSET))
	{
		rules({ step => $step, $how => 1 });
		my $before = $relay->pairs;
		$c = client($relay->port);
		$c->{mute} = 1;
		my $heard = '';
		my @script = (
			'', "EHLO x\r\n", "RSET\r\n", "MAIL FROM:<a\@example.com>\r\n",
			"RCPT TO:<b\@example.com>\r\n", "DATA\r\n",
			"Message-ID: <$how-$step>\r\n\r\n.\r\n");
		my %index = (
			connect => 0,
			EHLO    => 1,
			RSET    => 2,
			MAIL    => 3,
			RCPT    => 4,
			DATA    => 5,
			body    => 6,
			dot     => 6);
		my $got = 0;
		foreach my $line (@script)
		{
			say_bytes($c, $line);

			# short is the wait for what must not come
			my $text = reply($c,
				$how eq 'silence' && $got == $index{$step} ? 0.3 : undef);
			last if $text eq '';
			$got++;
		}
		my $end =
		  $c->{reset} ? 'reset' : $c->{timeout} ? 'silence' : 'drop';
		is("$end after $got", "$how after $index{$step}", "$how at $step");
		is($relay->pairs, $before, 'nothing was accepted');
	}
}

rules({ step => 'dot', drop => 1, accept => 1 });
$c = hello($relay->port);
is(mail($c, 'd@example.com', 'doubt'), '250 250 354 ', 'dropped at the dot');
ok((grep { $_->[0] eq '<doubt>' } $relay->pairs), 'and yet accepted');

rules({ step => 'dot', reply => '250 ok', drop => 1 });
$c = hello($relay->port);
is(mail($c, 'd@example.com', 'd2'), '250 250 354 250', 'taken');
is(reply($c), '', 'and then closed');

rules({ step => 'MAIL', garbage => "\0\xff\r\nwhat\r\n" });
$c = hello($relay->port);
say_bytes($c, "MAIL FROM:<a\@example.com>\r\n");
more($c) until length $c->{buffer} >= 9 || $c->{timeout};
is($c->{buffer}, "\0\xff\r\nwhat\r\n", 'garbage, raw');

rules({ step => 'MAIL', endless => 300_000 });
$c = hello($relay->port);
say_bytes($c, "MAIL FROM:<a\@example.com>\r\n");
more($c) until length $c->{buffer} >= 300_000 || $c->{timeout};
is(length $c->{buffer}, 300_000, 'an endless line');
unlike($c->{buffer}, qr/\n/, 'without its end');

# who reads late finds many bytes at once: then slower
my $pieces;
foreach my $split (0.002, 0.02, 0.2)
{
	rules({ step => 'MAIL', split => $split, reply => '250 2.1.0 in pieces' });
	$c = hello($relay->port);
	say_bytes($c, "MAIL FROM:<a\@example.com>\r\n");
	$pieces = 0;
	while ($c->{buffer} !~ /\n/)
	{
		last unless more($c);
		$pieces++;
	}
	last if $pieces > 10;
}
is($c->{buffer}, "250 2.1.0 in pieces\r\n", 'a reply in single bytes');
cmp_ok($pieces, '>', 10, 'comes in many reads');

rules({ step => 'MAIL', early => '250 2.1.5 hasty' });
$c = hello($relay->port);
is(code(command($c, 'MAIL FROM:<a@example.com>')), '250', 'MAIL');
like(reply($c), qr/hasty/, 'the reply to RCPT before RCPT');
is(command($c, "RCPT TO:<b\@example.com>\r\nDATA"), "354 Go ahead\r\n",
	'which is not answered again, but counts');

rules({ step => 'MAIL', extra => '250 2.0.0 unasked' });
$c = hello($relay->port);
command($c, 'MAIL FROM:<a@example.com>');
like(reply($c), qr/unasked/, 'one reply too many');

rules({ step => 'body', bytes => 10, reply => '552 5.3.4 too much' });
$c = hello($relay->port);
command($c, 'MAIL FROM:<a@example.com>');
command($c, 'RCPT TO:<b@example.com>');
command($c, 'DATA');
say_bytes($c, "Subject: long\r\n");
like(reply($c), qr/^552 /, 'a reply inside the body');
is(code(command($c, "x\r\n.\r\nRSET")), '250', 'stands for the dot\'s');

rules({ step => 'RCPT', nul => 1 });
$c = hello($relay->port);
command($c, 'MAIL FROM:<a@example.com>');
is(command($c, 'RCPT TO:<b@example.com>'),
	"250 2.1.5 Ok \0\0\r\n", 'NUL bytes in the right reply');

rules({ step => 'MAIL', garbage => "250-more\r\n", repeat => 9, drop => 1 });
$c = hello($relay->port);
say_bytes($c, "MAIL FROM:<a\@example.com>\r\n");
1 while more($c);
is($c->{buffer}, "250-more\r\n" x 9, 'a reply that never ends');

rules({ step => 'DATA', match => '^no', reply => '451 not for him' });
is( join(
		',', map { mail(hello($relay->port), "$_\@example.com", 'g') } 'no',
		'yes'),
	'250 250 451,250 250 354 250',
	'DATA refused by recipient');

# ---- several ports

my $ports = Mailman::Relay->new(
	more_ports => [ 0, 0, 0 ],
	refuse     => [3],
	full       => [4],
	rcvbuf     => 65536,
	rules      => [
		{ step => 'MAIL', port => 2, reply => '451 not here' },
		{ step => 'body', deaf => 1, silence => 1 }
	])->start;
my (undef, @ports) =
  map { /:(\d+)$/ } map { $ports->url('localhost', $_) } 1 .. 4;

sub connects
{
	my ($port) = @_;
	return IO::Socket::INET->new(
		PeerAddr => '127.0.0.1',
		PeerPort => $port,
		Proto    => 'tcp',
		Timeout  => 1) ? 'yes' : $!{ECONNREFUSED} ? 'refused' : 'no';
}

is(join(' ', map { code(command(hello($_), 'MAIL FROM:<a@example.com>')) }
		$ports->port, $ports[0]),
	'250 451', 'a rule for one port');
is(join(' ', map { connects($_) } @ports), 'yes refused no',
	'ports that refuse, and that do not answer');
$ports->set(refuse => [], full => []);
is(join(' ', map { connects($_) } @ports), 'yes yes yes',
	'until they are taken off the list');
is_deeply([ map { $_->{port} } ($ports->events('open'))[ 0, 1 ] ],
	[ 1, 2 ], 'the log says which port');

# whoever reads nothing cannot be sent much
$c = hello($ports->port);
command($c, $_)
  foreach 'MAIL FROM:<a@example.com>', 'RCPT TO:<b@example.com>', 'DATA';
$c->{sock}->blocking(0);
my $taken = 0;
while (IO::Select->new($c->{sock})->can_write(1) && $taken < 50_000_000)
{
	$taken += syswrite($c->{sock}, 'x' x 65536) || 0;
}
cmp_ok($taken, '<', 10_000_000, 'a server that does not listen any more');
$ports->stop;

# ---- a delay holds its own session only

my ($slow, $start);
sub start_slow
{
	my ($id, %rule) = @_;
	rules({ step => 'dot', %rule, session => $relay->status->{opened} + 1 });
	$slow = hello($relay->port);
	command($slow, 'MAIL FROM:<a@example.com>');
	command($slow, 'RCPT TO:<b@example.com>');
	command($slow, 'DATA');
	$start = time;
	say_bytes($slow, "Message-ID: <$id>\r\n\r\n.\r\n");
	return;
}
start_slow('slow', delay => 1);
is(code(reply($slow)), '250', 'after a delay');
cmp_ok(time - $start, '>=', 0.99, 'not before its time');

# the mail of another is there first, if need be of a longer delay
my $first;
foreach my $delay (1, 5, 25)
{
	start_slow("slow $delay", delay => $delay);
	$c = hello($relay->port);
	is(mail($c, 'fast@example.com', "fast $delay"),
		'250 250 354 250', 'meanwhile');
	is(code(reply($slow)), '250', 'after a delay');
	($first) = grep { / $delay>$/ } map { $_->{message_id} } $relay->messages;
	last if $first =~ /fast/;
}
like($first, qr/fast/, 'a delay delays nobody else');

# ---- a gate holds until it is opened

start_slow('gate', gate => 'one');
ok($relay->wait_for_held(1), 'one waits at the gate');
$relay->set(rules =>
	  [ { step => 'MAIL', gate => 'one' }, { step => 'dot', gate => 'two' } ]);
is($relay->status->{held}, 1, 'and while there is one of that name');
is($relay->status->{accepted}, scalar(() = $relay->messages),
	'the log has what was accepted');
is(scalar(grep { $_->{message_id} eq '<gate>' } $relay->messages),
	0, 'and not that mail');
$relay->open_gate;
is(code(reply($slow)), '250', 'opened: the reply');
is($relay->status->{held}, 0, 'nobody waits');
start_slow('left', gate => 'one');
ok($relay->wait_for_held(1), 'one waits');
close($slow->{sock});
my $total = $relay->status->{accepted};
$relay->open_gate;
ok($relay->wait_for_messages($total + 1), 'and leaves');
is(($relay->messages)[-1]{message_id}, '<left>', 'its mail was sent');
$relay->gate(1);
$c = hello($relay->port);
is(mail($c, 'p@example.com', 'p1'), '250 250 354 250', 'one may pass');
command($c, 'MAIL FROM:<a@example.com>');
command($c, 'RCPT TO:<b@example.com>');
command($c, 'DATA');
say_bytes($c, "Message-ID: <p2>\r\n\r\n.\r\n");
ok($relay->wait_for_held(1), 'the next may not');
$relay->gate(0);
is(code(reply($c)), '250', 'until there is another gate');

# a client that leaves before the reply has sent its mail all the same
rules({ step => 'dot', delay => 0.2 });
$total = $relay->status->{accepted};
my $gone = hello($relay->port);
command($gone, 'MAIL FROM:<a@example.com>');
command($gone, 'RCPT TO:<b@example.com>');
command($gone, 'DATA');
say_bytes($gone, "Message-ID: <gone>\r\n\r\n.\r\n");
close($gone->{sock});
ok($relay->wait_for_messages($total + 1), 'accepted without a client');
is(($relay->messages)[-1]{gone}, 1, 'marked so');

rules();
$relay->set(slow => 0.2);
$c     = hello($relay->port);
$start = time;
mail($c, "s$_\@example.com", "s$_") foreach 1 .. 3;
cmp_ok(time - $start, '>=', 0.59, 'slow-down per message');
$relay->set(slow => 0);

# ---- limits

$relay->set(max_mails => 2);
$c = hello($relay->port);
is( join(',', map { mail($c, "l$_\@example.com", "l$_") } 1 .. 2),
	'250 250 354 250,250 250 354 250',
	'two mails in a session');
like(command($c, 'MAIL FROM:<a@example.com>'), qr/^421 /, 'not a third');
is(reply($c), '', 'and it is closed');
$relay->set(max_mails => 0, max_connections => 3);
$relay->reset_connections;
is($relay->status->{active}, 0, 'all connections cut');
my @held = map { hello($relay->port) } 1 .. 3;
my $fourth = client($relay->port);
like(reply($fourth), qr/^421 /, 'the connection too many gets 421');
is(code(command($held[0], 'NOOP')), '250', 'the others go on');
command($held[0], 'QUIT');
like(hello($relay->port)->{ehlo}, qr/^250/, 'a place set free is given');
$relay->set(max_connections => 0);

eval { $relay->set(nonsense => 1) };
like($@, qr/unknown option "nonsense"/, 'unknown options are refused');
eval { rules({ step => 'RCTP', drop => 1 }) };
like($@, qr/without a known step/, 'unknown steps too');

# ---- stop and start on the same port

my $port = $relay->port;
$relay->stop;
ok( !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port),
	'nobody listens after stop');
$relay->set(rules => []);
$relay->start;
is($relay->port, $port, 'the same port after start');
like(hello($port)->{ehlo}, qr/^250/, 'and it answers');
$relay->stop;

# ---- every reply in pieces, or in several lines

foreach my $mode ({ split => 0.0005 }, { multiline => 1 })
{
	my ($name) = keys %$mode;
	my $odd = Mailman::Relay->new(%$mode)->start;
	$c = hello($odd->port);
	is( join(',', map { mail($c, "o$_\@example.com", "o$_") } 1 .. 3),
		join(',', ('250 250 354 250') x 3), "$name: everywhere");
	is($odd->pairs, 3, "$name: all in the log");
	$odd->stop;
}

# ---- TLS and AUTH

my $safe = Mailman::Relay->new(
	provoked      => 1,
	tls           => 1,
	starttls      => 1,
	tls_required  => 1,
	auth          => [ 'PLAIN', 'LOGIN' ],
	user          => 'someone',
	password      => 's3cret',
	auth_required => 1)->start;
$c = hello($safe->port);
like($c->{ehlo}, qr/STARTTLS/, 'STARTTLS is offered');
unlike($c->{ehlo}, qr/AUTH/, 'AUTH not before it');
like(command($c, 'MAIL FROM:<a@example.com>'), qr/^530/, 'TLS is required');
is(code(command($c, 'STARTTLS')), '220', 'STARTTLS');
secure($c, $safe->ca_file);
like(command($c, 'MAIL FROM:<a@example.com>'), qr/^530/,
	'what was said in the clear is forgotten, AUTH is required');
$c->{ehlo} = command($c, 'EHLO x');
like($c->{ehlo}, qr/AUTH PLAIN LOGIN/, 'AUTH is offered');
unlike($c->{ehlo}, qr/STARTTLS/, 'STARTTLS not again');
like(
	command($c, 'AUTH PLAIN ' . encode_base64("\0someone\0wrong", '')),
	qr/^535/, 'wrong password');
is( code(command($c, 'AUTH PLAIN ' . encode_base64("\0someone\0s3cret", ''))),
	'235', 'AUTH PLAIN');
is(mail($c, 'tls@example.com', 'tls1'), '250 250 354 250', 'a mail');
my ($last) = $safe->messages;
like($last->{tls}, qr/^TLSv1/, 'TLS in the log');
is($last->{auth}, 'someone', 'user in the log');

$c = hello($safe->port);
say_bytes($c, "STARTTLS\r\nNOOP\r\n");
reply($c);
secure($c, $safe->ca_file);
is((grep { /STARTTLS|clear text/ } $safe->violations) > 0,
	1, 'a command behind STARTTLS is a violation');

$c = hello($safe->port);
command($c, 'STARTTLS');
secure($c, $safe->ca_file);
command($c, 'EHLO x');
is(code(command($c, 'AUTH LOGIN')), '334', 'AUTH LOGIN');
is(code(command($c, encode_base64('someone', ''))), '334', 'user');
is(code(command($c, encode_base64('s3cret',  ''))), '235', 'password');
is( mail($c, 'big@example.com', 'tls2', "${\('x' x 70)}\r\n" x 20_000),
	'250 250 354 250', 'more than a record of TLS');
cmp_ok(($safe->messages)[-1]{size}, '>', 1_400_000, 'came whole');

$safe->set(rules => [ { step => 'STARTTLS', reply => '454 4.7.0 no' } ]);
$c = hello($safe->port);
is(code(command($c, 'STARTTLS')), '454', 'STARTTLS can be refused');
$safe->set(
	rules => [ { step => 'AUTH', reply => '454 4.7.0 not now', first => 1 } ]
);
$c = hello($safe->port);
command($c, 'STARTTLS');
secure($c, $safe->ca_file);
command($c, 'EHLO x');
is( code(command($c, 'AUTH PLAIN ' . encode_base64("\0someone\0s3cret", ''))),
	'454', 'AUTH can be refused');
$safe->stop;

my $smtps =
  Mailman::Relay->new(tls => 1, implicit_tls => 1)->start;
like($smtps->url('localhost'), qr{^smtps://localhost:\d+$}, 'smtps url');
$c = hello($smtps->port, ca => $smtps->ca_file);
is(mail($c, 'smtps@example.com', 's'), '250 250 354 250', 'implicit TLS');
like(($smtps->messages)[0]{tls}, qr/^TLSv1/, 'in the log');
$smtps->stop;

# ---- speed, and many at once

my $body = join("\r\n", ('A line of seventy-odd characters, as letters have.')
	x 80);
my $quick = Mailman::Relay->new->start;
$start = time;
is(pump($quick->port, 20, 10_000, $body), 10_000, '10,000 mails');
my $seconds = time - $start;
note(sprintf('relay.pl: %.0f messages/s of %d bytes on 20 sessions',
		10_000 / $seconds, length $body));
is($quick->pairs, 10_000, 'all in the log');
is_deeply([ $quick->violations ], [], 'none of them wrong');

@held = map { hello($quick->port) } 1 .. 250;
is($quick->status->{active}, 250, '250 connections at once');
is(scalar(grep { code(command($_, 'NOOP')) eq '250' } @held),
	250, 'all of them answered');
$quick->stop;

# ---- smtp-sink

SKIP:
{
	skip 'smtp-sink (package postfix) is not installed', 5
	  unless Mailman::Sink->available;

	my $sink = Mailman::Sink->new->start;
	$start = time;
	is(pump($sink->port, 20, 10_000, $body), 10_000, 'smtp-sink: 10,000');
	note(sprintf('smtp-sink: %.0f messages/s with this client',
			10_000 / (time - $start)));
	ok($sink->wait_for_messages(10_000), 'counted');
	is($sink->count, 10_000, 'exactly');
	$sink->stop;

	my $dump = Mailman::Sink->new(dump => 1)->start;
	pump($dump->port, 5, 50, $body);
	my %seen = map { $_->{to}[0] => $_->{message_id} } $dump->messages;
	is(scalar keys %seen, 50, 'with dump: the recipients');
	is($seen{'r7@example.com'}, '<m7@example.com>', 'and Message-IDs');
	$dump->stop;
}

done_testing();
