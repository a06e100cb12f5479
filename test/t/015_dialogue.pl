
#-------------------------------------------------------------------------
#
# 015_dialogue.pl
#	  Relays of different manners, the same result.
#
# Without PIPELINING, with replies in single bytes, with replies of several
# lines, with a limit of seven mails a session, with none of the optional
# keywords: everybody is delivered at the first attempt, once, and the relay
# finds nothing to complain of.  All at the same time, a letter each.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $number = 60;
my @refuse = ({
		step  => 'RCPT',
		match => '^r\d*7@',
		reply => '550 5.7.1 Not this one'
	});
my $refused = 6;

my @manners = (
	[ 'ordinary'         => {} ],
	[ 'no PIPELINING'    => { pipelining => 0 } ],
	[ 'single bytes'     => { split => 0.0005 } ],
	[ 'several lines'    => { multiline => 1 } ],
	[ 'seven a session'  => { max_mails => 7 } ],
	[ 'no PIPELINING, single bytes, seven a session' =>
		  { pipelining => 0, split => 0.0005, max_mails => 7 } ],
	[ 'no keywords' =>
		  { pipelining => 0, enhanced => 0, eightbit => 0 } ],
	[ 'all keywords' => { smtputf8 => 1, size => 10_000_000,
			keywords => [ 'DSN', 'CHUNKING', 'X-EXTRA a b=c' ] } ],
	[ 'three connections at most' => { max_connections => 3, slow => 0.002 } ]);

my $node = Mailman::Cluster->create('main',
	conf => { max_worker_processes => 16 });
my @case;

foreach my $manner (@manners)
{
	my ($name, $options) = @$manner;
	my $relay = Mailman::Relay->new(%$options, rules => \@refuse)->start;
	my $server = 'relay_' . @case;
	$node->relay($server, $relay->url, connections => 4);
	my $newsletter = $node->newsletter(
		relays        => [$server],
		subscriptions => $number);
	my $letter = $node->letter($newsletter);
	push @case, { name => $name, relay => $relay, letter => $letter };
}
$node->send($_->{letter}) foreach @case;

foreach my $case (@case)
{
	my ($name, $relay, $letter) = @{$case}{qw(name relay letter)};

	ok($node->wait_for_letter($letter, 'sent'), "$name: sent");
	is($relay->pairs, $number - $refused, "$name: everybody is delivered");
	is_deeply([ $relay->duplicates ], [], "$name: nobody twice");
	is_deeply([ $relay->violations ], [], "$name: by the protocol");
	is( $node->sql(
			    "SELECT state, count(*), min(attempts), max(attempts),"
			  . " string_agg(DISTINCT code::text, ','),"
			  . " string_agg(DISTINCT enhanced, ',')"
			  . " FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND state = 'failed' GROUP BY state"),
		"failed|$refused|1|1|550|5.7.1",
		"$name: the refused ones");
	is( $node->sql(
			    "SELECT count(*), min(attempts), max(attempts), min(code),"
			  . " max(code) FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter"),
		$number - $refused . '|1|1|250|250',
		"$name: the delivered ones");
	is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
		'0', "$name: no doubt");
	$node->assert_sums($letter, $name);
}

my %by_name = map { $_->{name} => $_->{relay} } @case;
is($by_name{'ordinary'}->connections_opened, 4, 'ordinary: one pool');
is($by_name{'no PIPELINING'}->connections_opened, 4,
	'no PIPELINING: one pool');
cmp_ok($by_name{'seven a session'}->connections_opened,
	'>=', 8, 'seven a session: sessions are replaced');
my %mails;
$mails{ $_->{session} }++ foreach $by_name{'seven a session'}->messages;
is(scalar(grep { $_ > 7 } values %mails), 0, 'and none had more than seven');
my @declared =
  grep { defined $_->{declared} } $by_name{'all keywords'}->messages;
is(scalar @declared, $number - $refused, 'SIZE is declared where offered');
is(scalar(grep { $_->{declared} < $_->{size} } @declared),
	0, 'and not too small');
is(scalar(grep { $_->{smtputf8} } $by_name{'all keywords'}->messages),
	0, 'SMTPUTF8 is not asked for without need');

$node->stop;
$_->{relay}->stop foreach @case;
done_testing();
