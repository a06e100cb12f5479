
#-------------------------------------------------------------------------
#
# 019_misbehaviour.pl
#	  Relays that do everything wrong, at every step, all the time.
#
# Each single fault has a test of its own elsewhere; here they come together
# and on top of each other, in the clear and under TLS, pipelined and not.
# What must hold whatever happens: every recipient ends in exactly one state,
# delivered means accepted, and nobody gets a mail twice but where the letter
# counted a doubt.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $number = 80;
my @rules  = (
	{ step => 'connect', every => 9,  reply   => '421 4.3.2 Not now' },
	{ step => 'connect', every => 13, drop    => 1 },
	{ step => 'EHLO',    every => 11, drop    => 1 },
	{ step => 'MAIL',    every => 17, reply   => '421 4.7.0 Good bye' },
	{ step => 'MAIL',    every => 23, reply   => '451 4.3.0 Not now' },
	{ step => 'MAIL',    every => 53, silence => 1 },
	{ step => 'RCPT',    every => 13, reply   => '451 4.2.1 Not now' },
	{ step => 'RCPT',    every => 29, reply   => [ '450-4.2.1 a', '450 4.2.1 b' ] },
	{ step => 'RCPT',    every => 31, reset   => 1 },
	{ step => 'RCPT',    match => '^r7@', reply => '550 5.7.1 Never' },
	{ step => 'DATA',    every => 19, reply   => '451 4.3.0 Not now' },
	{ step => 'DATA',    every => 37, drop    => 1 },
	{ step => 'DATA',    every => 41, garbage => "\0\xffgarbage\r\n" },
	{ step => 'DATA',    every => 59, reply   => '250 What?' },
	{ step => 'dot',     every => 17, reply   => '450 4.3.0 Not now' },
	{ step => 'dot',     every => 23, drop    => 1 },
	{ step => 'dot',     every => 31, drop    => 1, accept => 1 },
	{ step => 'dot',     every => 43, reset   => 1, accept => 1 },
	{ step => 'dot',     every => 61, garbage => "nonsense\r\n", accept => 1 },
	{ step => 'dot',     every => 67, endless => 100_000 },
	{ step => 'dot',     every => 71, reply   => '250 Ok', drop => 1 },
	{ step => 'dot',     every => 47, delay   => 0.5 },
	{ step => 'dot',     every => 79, silence => 1, accept => 1 },
	{ step => 'RSET',    every => 5,  drop    => 1 },
	{ step => 'RSET',    every => 7,  reply   => '500 5.5.1 What?' },
	{ step => 'body',    every => 41, reset   => 1 });
my %manner = (
	'pipelined'    => {},
	'one by one'   => { pipelining => 0 },
	'STARTTLS' => {
		tls           => 1,
		starttls      => 1,
		tls_required  => 1,
		auth          => ['LOGIN'],
		user          => 'news',
		password      => 'secret',
		auth_required => 1
	},
	'implicit TLS' => { tls => 1, implicit_tls => 1, split => 0.0003 });

my $node = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes     => 16,
		'mailman.retry_schedule' => '1s',
		'mailman.turn_size'      => 10
	});
my %case;

foreach my $name (sort keys %manner)
{
	my $relay =
	  Mailman::Relay->new(%{ $manner{$name} }, rules => \@rules)->start;
	my %options = (
		connections     => 5,
		reply_timeout   => '1s',
		data_timeout    => '1s',
		dot_timeout     => '1s',
		connect_timeout => '2s');
	if ($relay->ca_file)
	{
		$options{tls}     = 'require';
		$options{ca_file} = $relay->ca_file;
	}
	@options{qw(username password)} = ('news', 'secret')
	  if $manner{$name}{auth};
	my $server = 'relay_' . keys %case;
	$node->relay($server, $relay->url('localhost'), %options);
	my $newsletter = $node->newsletter(
		relays        => [$server],
		subscriptions => $number,
		max_attempts  => 1000);
	$case{$name} =
	  { relay => $relay, letter => $node->letter($newsletter) };
}
$node->send($case{$_}{letter}) foreach sort keys %case;

my $until = time + 300;
foreach my $name (sort keys %case)
{
	my ($relay, $letter) = @{ $case{$name} }{qw(relay letter)};
	my ($bad, $looks, $resumed) = ('', 0, 0);

	# a letter whose every mail seems to be refused may be paused: go on
	while (time < $until)
	{
		my $state = $node->letter_state($letter);
		last if $state eq 'sent';
		if ($state eq 'paused')
		{
			$node->sql("SELECT mailman_resume($letter)");
			$resumed++;
		}
		my $wrong = $node->sql($node->sums_sql($letter));
		$bad = $wrong if $wrong ne '';
		$looks++;
		sleep 0.05;
	}
	is($node->letter_state($letter), 'sent', "$name: comes to an end")
	  or $node->explain_letter($letter);
	is($bad, '', "$name: the sums were right at every look");
	$node->assert_sums($letter, $name);

	my $doubts =
	  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
	my $surplus = 0;
	$surplus += $_->[2] - 1 foreach $relay->duplicates;
	cmp_ok($surplus, '<=', $doubts, "$name: twice only where in doubt");
	my $states = $node->states($letter);
	is($states->{delivered} + $states->{failed},
		$number, "$name: delivered or failed");
	my %accepted = %{ $relay->recipients };
	is( join(
			', ',
			grep { !$accepted{$_} } split(
				/\n/,
				$node->sql(
					    "SELECT address FROM mailman.newsletter_email"
					  . " WHERE letter_id = $letter"))),
		'', "$name: delivered means accepted");
	is( $node->sql(
			    "SELECT count(*), min(code), max(code)"
			  . " FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND state = 'failed'"),
		'1|550|550',
		"$name: only the one that was refused failed");
	my %ids;
	foreach my $message ($relay->messages)
	{
		$ids{ $message->{to}[0] }{ $message->{message_id} } = 1;
	}
	is(scalar(grep { keys %$_ != 1 } values %ids),
		0, "$name: the same Message-ID in every attempt");
	is_deeply([ $relay->violations ], [], "$name: by the protocol");
	note(
		sprintf(
			'%s: %d doubts, %d duplicates, %d connections, resumed %d times',
			$name, $doubts, $surplus, $relay->connections_opened, $resumed));
}

$node->stop;
$_->{relay}->stop foreach values %case;
done_testing();
