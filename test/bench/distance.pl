
#-------------------------------------------------------------------------
#
# distance.pl
#	  A relay that is far away, and one that wants TLS.
#
# First through delay.c, with round trips of 20 and 100 ms: with PIPELINING
# (RFC 2920) a session carries one mail a round trip, so no more than sessions
# / round trip can be had; told is how much of that is, over the whole letter,
# from the commit of mailman_send() on, with all sessions yet to be opened.  A
# relay without PIPELINING takes a round trip for MAIL, RCPT, DATA and the dot
# each: what that would be at best stands beside it.
#
# Then TLS, with sessions that are kept: what a mail costs the worker in clear
# text and in TLS, to stunnel in front of the same sink.
#
# ROUNDS: 3.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;
use List::Util qw(first);

my $rounds = $ENV{ROUNDS} || 3;

$| = 1;
my $bench = Bench->new;
my $sink  = $bench->sink;
my @pids;
END { local $?; Bench::Sink::reap($_) foreach @pids; }

sub count_checked
{
	my ($newsletter) = @_;
	my $before = $sink->count;
	my $result = $bench->send($newsletter);
	my $got    = $sink->count - $before;
	die "$got of $result->{mails} mails arrived\n"
	  if $got != $result->{mails};
	print '.';
	return $result;
}

# ---- far away

my @cases;
foreach my $trip (20, 100)
{
	my $port = Bench::Sink::free_port();
	my $pid  = Bench::Sink::spawn('/dev/null', "$ENV{HOME}/delay", $port,
		$sink->port, $trip / 2);
	push @pids, $pid;
	Bench::Sink::await_port($port, $pid);
	foreach my $sessions (10, 50)
	{
		my $name  = "far_${trip}_$sessions";
		my $limit = $sessions / $trip * 1000;
		$bench->relay($name, "smtp://127.0.0.1:$port",
			connections => $sessions);
		push @cases,
		  {
			trip       => $trip,
			sessions   => $sessions,
			limit      => $limit,
			newsletter => $bench->newsletter($name, 10 * $limit),
		  };
	}
}
machine($bench->db);
foreach my $round (1 .. $rounds)
{
	push @{ $_->{runs} }, count_checked($_->{newsletter}) foreach @cases;
}
print "\n$rounds rounds of about 10 s, medians\n\n";
my @rows = (
	[
		'round trip', 'sessions', 'sessions / trip', 'mails/s',
		'min - max',  'of it',    'lock-step at best'
	]);
foreach my $case (@cases)
{
	my @rates = map { $_->{rate} } @{ $case->{runs} };
	push @rows,
	  [
		"$case->{trip} ms", $case->{sessions}, $case->{limit},
		sprintf('%.0f', median(@rates)),
		sprintf('%.0f - %.0f', spread(@rates)),
		sprintf('%.0f %%', 100 * median(@rates) / $case->{limit}),
		$case->{limit} / 4
	  ];
}
table(@rows);

# ---- TLS

my $stunnel = first { -x } map { "$_/stunnel4" } split(/:/, $ENV{PATH}),
  '/usr/sbin';
unless ($stunnel)
{
	print "skipped: TLS: stunnel4 is not installed\n";
	exit 0;
}

sub start_stunnel
{
	my $dir  = $bench->dir;
	my $port = Bench::Sink::free_port();
	system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
		  . " -nodes -days 2 -subj /CN=localhost -addext"
		  . " subjectAltName=DNS:localhost -keyout $dir/key -out $dir/cert"
		  . " 2> $dir/openssl.log") == 0
	  or die "openssl failed\n";
	open(my $fh, '>', "$dir/stunnel.conf") or die "$!\n";
	print {$fh} "foreground = quiet\ndebug = err\npid =\nsyslog = no\n"
	  . "output = $dir/stunnel.log\n"
	  . "[smtps]\naccept = 127.0.0.1:$port\nconnect = 127.0.0.1:"
	  . $sink->port . "\ncert = $dir/cert\nkey = $dir/key\n";
	close($fh);
	my $pid = Bench::Sink::spawn("$dir/stunnel.out", $stunnel,
		"$dir/stunnel.conf");
	push @pids, $pid;
	Bench::Sink::await_port($port, $pid);
	return $port;
}

my $port = start_stunnel();
$bench->relay('clear', $sink->url, connections => 20);
$bench->relay(
	'tls', "smtps://localhost:$port",
	tls         => 'require',
	ca_file     => $bench->dir . '/cert',
	connections => 20);
my %newsletter = map { $_ => $bench->newsletter($_, 20_000) } 'clear', 'tls';
my %runs;
foreach my $round (1 .. $rounds)
{
	push @{ $runs{$_} }, count_checked($newsletter{$_}) foreach 'clear', 'tls';
}
my %cpu = map {
	$_ => median(map { $_->{cpu_us} } @{ $runs{$_} })
} keys %runs;
printf "\n\nTLS, 20 sessions kept: %.1f us of CPU a mail, in clear text %.1f:"
  . " TLS costs %.1f us\n", $cpu{tls}, $cpu{clear}, $cpu{tls} - $cpu{clear};
printf "%.0f mails/s, in clear text %.0f (stunnel needs a core, too)\n",
  map { my $kind = $_; median(map { $_->{rate} } @{ $runs{$kind} }) }
  'tls', 'clear';
