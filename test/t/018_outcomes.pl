
#-------------------------------------------------------------------------
#
# 018_outcomes.pl
#	  What becomes of a delivery, by what the relay does with it.
#
# Put off and tried again, refused, left in doubt; a relay that is not there,
# and one that does not know us.  Each must cost exactly whom it should.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create('main',
	conf => {
		max_worker_processes     => 16,
		'mailman.max_workers'    => 8,
		'mailman.retry_schedule' => '15s'
	});

$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 10);

# The delivery of recipient number n
sub delivery_sql
{
	my ($letter, $n, $columns) = @_;
	return "SELECT $columns FROM mailman.delivery WHERE letter_id = $letter"
	  . " AND subscription_id = (SELECT s.id FROM mailman.subscription s"
	  . " JOIN mailman.letter l ON l.newsletter_id = s.newsletter_id"
	  . " WHERE l.id = $letter AND s.email = 'r$n\@example.com')";
}

sub delivery
{
	return $node->sql(delivery_sql(@_));
}

sub wait_for_delivery
{
	my ($letter, $n, $columns, $expected) = @_;
	return $node->wait_for(delivery_sql($letter, $n, $columns), $expected);
}

# How often the relay was asked about somebody at that step
sub tries
{
	my ($step, $who) = @_;
	return
	  scalar(grep { $_->{step} eq $step && $_->{arg} =~ /^$who@/ }
		  $relay->events('rule'));
}

# ---- doubt: the dot was sent and no reply came.  All cases at once, each with
# a relay of its own, for each takes a while; they are looked at further down.

my @doubt;
foreach my $how ('drop', 'silence')
{
	foreach my $on_doubt ('resend', 'hold')
	{
		my $server = "${how}_$on_doubt";
		my %case   = (
			name     => "$how after the dot, $on_doubt",
			on_doubt => $on_doubt,
			relay    => Mailman::Relay->new(
				rules => [
					{
						step   => 'dot',
						match  => '^r5@',
						first  => 1,
						$how   => 1,
						accept => 1
					}
				])->start);
		$node->relay(
			$server, $case{relay}->url,
			connections => 2,
			dot_timeout => '10s');
		$case{letter} = $node->letter(
			$node->newsletter(relays => [$server], subscriptions => 10),
			on_doubt => $on_doubt);
		push @doubt, \%case;
	}
}
$node->send($_->{letter}) foreach @doubt;

# those that are to be sent again are deferred, for a while
sub wait_for_doubt
{
	my ($how) = @_;
	foreach my $case (grep { $_->{name} =~ /^$how/ } @doubt)
	{
		my ($name, $letter) = @{$case}{qw(name letter)};
		my $hold = $case->{on_doubt} eq 'hold';

		ok( wait_for_delivery(
				$letter, 5, 'state, attempts',
				$hold ? 'doubtful|1' : 'deferred|1'),
			"$name: " . ($hold ? 'held' : 'to be sent again'));
		isnt(delivery($letter, 5, 'reason'), '', "$name: says why");
		is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
			'1', "$name: one doubt");
	}
	return;
}
wait_for_doubt('drop');

# ---- 450 at the dot, 550 at RCPT

$relay->set(
	rules => [
		{
			step  => 'dot',
			match => '^r1@',
			first => 1,
			reply => '450 4.2.0 Come back later'
		},
		{
			step  => 'RCPT',
			match => '^r2@',
			first => 1,
			reply => '451 4.7.1 Greylisted'
		},
		{
			step  => 'RCPT',
			match => '^r3@',
			reply => '550 5.7.1 Never'
		},
		{
			step  => 'dot',
			match => '^r4@',
			reply => '554 5.7.1 Not with that text'
		}
	]);
my $letter = $node->letter($newsletter);
my $start  = time;
$node->send($letter);
foreach my $case ([ 1, 450, '4.2.0', 'Come back later' ],
	[ 2, 451, '4.7.1', 'Greylisted' ])
{
	my ($n, $code, $enhanced, $words) = @$case;
	ok( wait_for_delivery(
			$letter, $n, 'state, attempts, code, enhanced',
			"deferred|1|$code|$enhanced"),
		"$code: deferred, at the cost of an attempt");
	is( delivery(
			$letter, $n,
			"due_at - queued_at >= interval '12 s' AND"
			  . " due_at <= now() + interval '18 s', reply ~ '$words'"),
		't|t',
		'when it is due, and the words of the relay');
}
ok( $node->wait_for(
		    "SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", 6),
	'the others are delivered meanwhile');
is($node->letter_state($letter), 'sending', 'the letter is not done yet');
$node->assert_sums($letter, 'with deferred ones');
is( delivery($letter, 3, "state, attempts, code, enhanced, reply ~ 'Never'"),
	'failed|1|550|5.7.1|t',
	'550: failed, with the words of the relay');
is(delivery($letter, 4, 'state, attempts, code, enhanced'),
	'failed|1|554|5.7.1', '554 at the dot: failed');
wait_for_doubt('silence');
ok($node->wait_for_letter($letter, 'sent'), 'in the end it is done');
foreach my $n (1, 2)
{
	is(delivery($letter, $n, 'state, due_at IS NULL'),
		'delivered|t', "tried again: delivered ($n)");
	is( $node->sql(
			    "SELECT attempts FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter"
			  . " AND address = 'r$n\@example.com'"),
		'2', 'at the second attempt');
}
my ($late) = grep { $_->{to}[0] eq 'r1@example.com' } $relay->messages;
cmp_ok($late->{time} - $start, '>=', 12, 'not before it was due');
is(tries('RCPT', 'r3'), 1, 'the refused one was not tried again');
is($relay->pairs, 8, 'eight delivered');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($letter, 'after it');

# ---- a newsletter's own schedule
my $patient = $node->newsletter(
	relays         => ['relay'],
	subscriptions  => 2,
	retry_schedule => '1h, 2h');
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^r[12]@',
			reply => '450 4.2.0 Come back later'
		}
	]);
$letter = $node->letter($patient);
$node->send($letter);
ok(wait_for_delivery($letter, $_, 'state, attempts', 'deferred|1'),
	"deferred by the newsletter's own schedule ($_)")
  foreach 1, 2;
is( delivery(
		$letter, 1,
		"due_at BETWEEN now() + interval '47 min' AND now() + interval '72 min'"
	),
	't', 'for about an hour');

# ---- what became of the doubts

foreach my $case (@doubt)
{
	my ($name, $relay, $letter) = @{$case}{qw(name relay letter)};
	my $hold = $case->{on_doubt} eq 'hold';

	ok($node->wait_for_letter($letter, 'sent'), "$name: done");
	is( $node->sql(
			    "SELECT count(*) FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter"),
		$hold ? 9 : 10,
		"$name: the others are delivered");
	is(delivery($letter, 5, 'state'),
		$hold ? 'doubtful' : 'delivered',
		"$name: what became of it");
	my @twice = $relay->duplicates;
	is(scalar(grep { $_->[1] ne 'r5@example.com' } @twice),
		0, "$name: nobody else twice");
	is($relay->pairs, 10, "$name: whatever was sent had the same Message-ID");
	my %copies = map { $_->[0] => $_->[2] } @twice;
	my ($id) = map { $_->{message_id} }
	  grep { $_->{to}[0] eq 'r5@example.com' } reverse $relay->messages;
	is($copies{$id} || 1, $hold ? 1 : 2, "$name: how often the relay has it");
	is_deeply([ $relay->violations ], [], "$name: by the protocol");
	$node->assert_sums($letter, $name);
}

# ---- a connection lost before the dot is nobody's fault

my $before = $relay->pairs;
$relay->set(
	rules => [
		{ step => 'RCPT', match => '^r2@', first => 1, drop  => 1 },
		{ step => 'DATA', after => 2,      first => 1, reset => 1 },
		{ step => 'MAIL', after => 3,      first => 1, reset => 1 }
	]);
my $twice = $relay->duplicates;
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'lost before the dot: done');
is($node->tally($letter)->{delivered}, 10, 'all delivered');
is($relay->pairs - $before, 10, 'the relay has them');
is($relay->duplicates, $twice, 'nobody twice');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
	'0', 'without a doubt');
$node->assert_sums($letter, 'lost before the dot');

# ---- nothing listens

$relay->set(rules => []);
$before = $relay->pairs;
$relay->stop;
$letter = $node->letter($newsletter);
$node->send($letter);
ok(defined $node->wait_for_worker($letter), 'relay down: the worker tries');
ok( $node->stays(
		    "SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND (attempts <> 0"
		  . " OR state NOT IN ('pending', 'sending', 'deferred'))",
		'0', 3),
	'relay down: nobody loses an attempt');
is($node->letter_state($letter), 'sending', 'the letter stays in the post');
$node->assert_sums($letter, 'relay down');
$relay->start;
ok($node->wait_for_letter($letter, 'sent'),
	'relay up again: the letter goes on by itself');
is($relay->pairs - $before, 10, 'to everybody');
is( $node->sql(
		    "SELECT max(attempts) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter"),
	'1', 'at the first attempt');
$node->assert_sums($letter, 'relay up');

# ---- AUTH: wrong password

my $strict = Mailman::Relay->new(
	auth          => ['PLAIN'],
	user          => 'news',
	password      => 'right',
	auth_required => 1,
	rules         => [
		{
			step  => 'AUTH',
			reply => '535 5.7.8 I have never seen you before'
		}
	])->start;
$node->relay('strict', $strict->url, username => 'news', password => 'wrong');
my $private = $node->newsletter(relays => ['strict'], subscriptions => 5);
$letter = $node->letter($private);
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'),
	'AUTH refused: the letter is paused');
like(
	$node->sql("SELECT state_reason FROM mailman.letter WHERE id = $letter"),
	qr/I have never seen you before/,
	'in the words of the relay');
is($node->states($letter)->{pending}, 5, 'nobody lost anything');
is( $node->sql(
		    "SELECT max(attempts) FROM mailman.delivery"
		  . " WHERE letter_id = $letter"),
	'0', 'nor an attempt');
cmp_ok(scalar(() = $strict->events('auth')),
	'<=', 10, 'and the door was not hammered at');
ok($node->wait_for_no_worker($letter), 'the worker is gone');
$node->assert_sums($letter, 'AUTH refused');

$strict->set(rules => []);
$node->sql("ALTER USER MAPPING FOR PUBLIC SERVER strict"
	  . " OPTIONS (SET password 'right')");
$node->sql("SELECT mailman_resume($letter)");
ok($node->wait_for_letter($letter, 'sent'),
	'password put right, resumed: sent');
is($strict->pairs, 5, 'to everybody');
is(scalar(grep { ($_->{auth} || '') eq 'news' } $strict->messages),
	5, 'as the user of the mapping');

# credentials, and a relay that offers no AUTH: never in the clear, never
# without
$strict->set(auth => []);
$strict->reset_connections;
$node->subscribe($private, 2);
$before = $strict->pairs;
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'),
	'AUTH not offered: paused');
is($strict->pairs, $before, 'nothing was sent without it');

is_deeply([ $relay->violations, $strict->violations ],
	[], 'nothing against the protocol');
$node->stop;
$_->stop foreach $relay, $strict, map { $_->{relay} } @doubt;
done_testing();
