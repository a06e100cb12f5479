
#-------------------------------------------------------------------------
#
# 046_protection.pl
#	  A letter pauses before it burns the list.
#
# A login or a sender refused, contents rejected again and again, most
# recipients refused: all that is no fault of theirs, and the letter waits
# for a person, with the relay's words.  But a dead address is its owner's:
# its subscription is bounced, and gets no more mail.
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

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => {
		max_worker_processes => 24,
		'mailman.max_workers' => 12,
		'mailman.pause_rejections' => 5
	});
my @relays;

# A scripted relay, a server of that name and a newsletter of so many through
# it; (relay, newsletter)
sub relay
{
	my ($name, $subscriptions, $options, %server) = @_;
	my $relay = Mailman::Relay->new(%$options)->start;

	push @relays, $relay;
	$node->relay($name, $relay->url, connections => 3, %server);
	return (
		$relay,
		$node->newsletter(
			relays => [$name],
			subscriptions => $subscriptions));
}

sub reason
{
	return $node->sql(
		"SELECT state_reason FROM mailman.letter WHERE id = $_[0]");
}

# Those in a state, and what they have cost: most attempts, any failed?
sub is_spared
{
	my ($letter, $number, $delivered, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->sql(
				"SELECT count(*) FILTER (WHERE state = 'delivered'),"
			  . " count(*) FILTER (WHERE state IN ('pending', 'deferred')"
			  . " AND attempts = 0)"
			  . " FROM mailman.delivery WHERE letter_id = $letter"),
		$delivered . '|' . ($number - $delivered),
		"$name: nobody has failed or lost an attempt");
	$node->assert_sums($letter, $name);
	return;
}

# Everybody has it once
sub is_finished
{
	my ($letter, $relay, $number, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($node->wait_for_letter($letter, 'sent'), "$name: sent");
	is( $node->sql(
				"SELECT count(*) FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter"),
		$number,
		"$name: everybody is delivered");
	is(scalar($relay->duplicates), 0, "$name: nobody twice");
	$node->assert_sums($letter, "$name, in the end");
	return;
}

# ---- a login refused

my ($relay, $newsletter) = relay(
	'strict', 30,
	{
		auth => ['PLAIN'],
		user => 'news',
		password => 'right',
		auth_required => 1
	},
	username => 'news',
	password => 'wrong');
my $letter = $node->letter($newsletter);
my $start = time;
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'), 'AUTH: paused');
diag(sprintf 'AUTH refused: paused after %.2f s', time - $start);
cmp_ok(time - $start, '<', 30, 'AUTH: within seconds');
like(
	reason($letter),
	qr/^relay "strict": .*535 5\.7\.8 Authentication credentials invalid$/,
	'AUTH: in the words of the relay');
is_spared($letter, 30, 0, 'AUTH');
ok($node->wait_for_no_worker($letter), 'AUTH: its worker ends');
$node->sql("ALTER USER MAPPING FOR PUBLIC SERVER strict"
	  . " OPTIONS (SET password 'right')");
is($node->sql("SELECT mailman_resume($letter)"), 'sending', 'AUTH: resumed');
is_finished($letter, $relay, 30, 'AUTH');

# ---- a sender refused, at the start and in the middle

($relay, $newsletter) = relay('sender', 60, {});
foreach my $passed (0, 20)
{
	my $name = "MAIL refused after $passed";

	$relay->set(
		rules => [
			{
				step => 'MAIL',
				skip => $passed,
				reply => '550 5.1.0 We do not know this sender'
			}
		]);
	my $opened = $relay->connections_opened;
	my $had = $relay->pairs;
	$letter = $node->letter($newsletter);
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), "$name: paused");
	is( reason($letter),
		'relay "sender": MAIL: 550 5.1.0 We do not know this sender',
		"$name: in the words of the relay");
	is_spared($letter, 60, $relay->pairs - $had, $name);
	is($relay->pairs - $had, $passed, "$name: after those");
	cmp_ok($relay->connections_opened - $opened,
		'<=', 9, "$name: it was not hammered at");
	ok($node->wait_for_no_worker($letter), "$name: its worker ends");
	$relay->set(rules => []);
	$node->sql("SELECT mailman_resume($letter)");
	is_finished($letter, $relay, 60, $name);
}

# ---- contents rejected in a row

my @spam = (step => 'dot', reply => '550 5.7.1 That looks like spam');
foreach my $connections (1, 3, 12)
{
	my $name = "contents, $connections sessions";

	($relay, $newsletter) =
	  relay("spam$connections", 60, {}, connections => $connections);

	# Ten are accepted, and recorded, before four are rejected.  The fifth is
	# answered when these are recorded, the others in flight when the letter
	# is paused already.
	$relay->set(
		rules => [
			{ step => 'dot', first => 10 },
			{ @spam, gate => 'four', first => 4 },
			{ @spam, gate => 'fifth', first => 1 },
			{ @spam, gate => 'flight' }
		]);
	$letter = $node->letter($newsletter);
	$node->send($letter);
	ok( $node->wait_for(
			"SELECT mail_order->>'delivered' FROM mailman.letter"
			  . " WHERE id = $letter",
			'10'),
		"$name: ten are delivered");
	ok($relay->wait_for_held($connections), "$name: the next ones wait");
	my @next;
	push @next, { @spam, first => 4 - $connections } if $connections < 4;
	my @nobody = $connections > 4 ? (match => '^nobody') : (first => 1);
	$relay->set(
		rules => [
			@next,
			{ @spam, gate => 'fifth', @nobody },
			{ @spam, gate => 'flight' }
		]);
	ok( $node->wait_for(
			"SELECT mail_order->>'failed' FROM mailman.letter"
			  . " WHERE id = $letter",
			'4'),
		"$name: four have failed");
	ok($relay->wait_for_held($connections), "$name: others are in flight");
	$relay->set(rules => [ { @spam, gate => 'flight' } ]);
	ok($node->wait_for_letter($letter, 'paused'), "$name: paused");
	$relay->set(rules => [ {@spam} ]);
	ok($node->wait_for_no_worker($letter), "$name: its worker ends");
	like(
		reason($letter),
		qr/^5 mails in a row were rejected for their content, the last one by relay "spam\d+": final dot: 550 5\.7\.1 That looks like spam$/,
		"$name: says why");
	my $states = $node->states($letter);
	diag("$name: $states->{delivered} delivered, $states->{failed} failed");
	cmp_ok($states->{failed}, '<=', 5, "$name: so many have failed at most");
	is($states->{delivered}, 10, "$name: those before are delivered");
	$node->assert_sums($letter, $name);
	$relay->set(rules => []);
	$node->sql("SELECT mailman_resume($letter)");
	my $again = $node->sql("SELECT mailman_retry($letter)");
	is($again, $states->{failed}, "$name: mended, resumed, and those again");
	ok( $node->wait_for(
			"SELECT mail_order->>'delivered' FROM mailman.letter"
			  . " WHERE id = $letter",
			'60'),
		"$name: delivered");
	is_finished($letter, $relay, 60, $name);
}

# one accepted in between, and it is not the letter
($relay, $newsletter) = relay(
	'picky', 40,
	{ rules => [ { step => 'dot', every => 4 }, {@spam} ] },
	connections => 1);
$letter = $node->letter($newsletter);
$node->send($letter);
ok( $node->wait_for_letter($letter, 'sent'),
	'contents, one accepted in between: sent');
is( "@{$node->states($letter)}{qw(delivered failed)}",
	'10 30',
	'contents, one accepted in between: to a quarter');
$node->assert_sums($letter, 'contents, one accepted in between');

# ---- too many recipients refused

my @refuse = (
	step => 'RCPT',
	match => '^r\d*[0-5]@',
	reply => '550 5.7.1 Not this one');
($relay, $newsletter) =
  relay('refusing', 390, { slow => 0.01, rules => [ {@refuse} ] });
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'), 'most are refused: paused');
ok($node->wait_for_no_worker($letter), 'most are refused: its worker ends');
is(scalar($node->log_lines(qr/letter $letter is paused: \d+ of the last/)),
	1, 'most are refused: the log says so');
my $states = $node->states($letter);
my $done = $states->{delivered} + $states->{failed};
diag("most are refused: $done done; " . reason($letter));
like(
	reason($letter),
	qr/^1[012]\d of the last 200 mails have failed, the last one at relay "refusing": RCPT: 550 5\.7\.1 Not this one$/,
	'most are refused: says why');
cmp_ok($done, '>=', 200, 'most are refused: not before there are enough');
cmp_ok($done, '<=', 300, 'most are refused: nor much later');
$node->assert_sums($letter, 'most are refused');
$node->sql("SELECT mailman_resume($letter)");
ok( $node->wait_for_letter($letter, 'sent'),
	'resumed: it takes as many more to pause again');
is( "@{$node->states($letter)}{qw(delivered failed)}",
	'156 234',
	'resumed: everybody was asked');
$node->assert_sums($letter, 'resumed');

$node->sql('ALTER SYSTEM SET mailman.pause_failures = 0');
$node->sql('SELECT pg_reload_conf()');
ok($node->wait_for('SHOW mailman.pause_failures', '0'), 'pause_failures = 0');
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'pause_failures = 0: never');
is( "@{$node->states($letter)}{qw(delivered failed)}",
	'156 234',
	'pause_failures = 0: everybody was asked');

# ---- dead addresses

my %reply = (
	1 => [ 'RCPT', '550 5.1.1 No such user', 'bounced' ],
	2 => [ 'RCPT', '550 5.2.1 Mailbox disabled', 'bounced' ],
	3 => [ 'dot', '550 5.1.1 No such user', 'bounced' ],
	4 => [ 'RCPT', '550 5.7.1 Not this one', 'active' ],
	5 => [ 'RCPT', '550 No such user', 'active' ],
	6 => [ 'dot', '550 5.1.8 Bad sender', 'active' ],
	7 => [ 'dot', '550 5.1.7 Bad sender address', 'active' ],
	8 => [ 'RCPT', '550 5.2.2 Mailbox full', 'active' ]);
my @rules =
  map { { step => $reply{$_}[0], match => "^r$_\@", reply => $reply{$_}[1] } }
  sort keys %reply;

# of these two the answer waits
my @wait = map {
	{
		step => 'RCPT',
		match => "^r$_\@",
		gate => 'wait',
		reply => '550 5.1.1 No such user'
	}
} 11, 12;
($relay, $newsletter) = relay('dead', 12, { rules => [ @rules, @wait ] });

sub state_of
{
	my ($n) = @_;
	return $node->sql("SELECT state FROM mailman.subscription"
		  . " WHERE newsletter_id = $newsletter AND email ~ '^(r|new)$n\@'");
}

$letter = $node->letter($newsletter);
$node->send($letter);
ok($relay->wait_for_held(2), 'dead addresses: two are still being asked');
$node->sql("UPDATE mailman.subscription SET email = 'new11\@example.com'"
	  . " WHERE newsletter_id = $newsletter AND email = 'r11\@example.com'");
my $holder = $node->session;
$holder->query('BEGIN');
$holder->query("SELECT FROM mailman.subscription"
	  . " WHERE newsletter_id = $newsletter AND email = 'r12\@example.com'"
	  . ' FOR UPDATE');
$relay->set(rules => \@rules);
ok($node->wait_for_letter($letter, 'sent'),
	'dead addresses: sent, though somebody holds one of them');
$holder->query('COMMIT');
$holder->quit;
is( "@{$node->states($letter)}{qw(delivered failed)}",
	'2 10',
	'dead addresses: ten are refused');
is( $node->sql(
			'SELECT count(*) FROM mailman.delivery d'
		  . ' JOIN mailman.subscription s ON s.id = d.subscription_id'
		  . " WHERE letter_id = $letter AND s.state = 'bounced'"
		  . " AND d.state <> 'failed'"),
	'0',
	'dead addresses: their deliveries have failed');

foreach my $n (sort keys %reply)
{
	my ($step, $reply, $state) = @{ $reply{$n} };
	is(state_of($n), $state, "$reply at $step: $state");
}
is(state_of(11), 'active', 'a changed address is not that which is dead');
is(state_of(12), 'active', 'one that is held is left as it is');
$node->assert_sums($letter, 'dead addresses');

$relay->set(rules => [ @rules, { %{ $wait[1] }, gate => undef } ]);
$letter = $node->letter($newsletter);
is($node->send($letter), '9', 'the next letter does not go to them');
ok($node->wait_for_letter($letter, 'sent'), 'the next letter: sent');
is(state_of(12), 'bounced', 'the next letter finds out about who was held');
is(state_of(11), 'active', 'and that the changed one is alive');
is($node->sql("SELECT mailman_retry($letter)"),
	'5', 'mailman_retry(): not those who are dead');
ok( $node->wait_for(
		'SELECT count(*) FROM mailman.posting WHERE NOT folded'
		  . " AND letter_id = $letter",
		'0'),
	'mailman_retry(): done');
ok($node->wait_for_letter($letter, 'sent'), 'mailman_retry(): sent');

# most relays look at the sender no earlier than at RCPT
$relay->set(
	rules => [ { step => 'RCPT', reply => '550 5.1.7 Bad sender address' } ]);
$letter = $node->letter($newsletter);
my $queued = $node->send($letter);
ok($node->wait_for_letter($letter, 'paused'), '5.1.7 at RCPT: paused');
is( reason($letter),
	'relay "dead": RCPT: 550 5.1.7 Bad sender address',
	'5.1.7 at RCPT: says why');
is_spared($letter, $queued, 0, '5.1.7 at RCPT');
is( $node->sql(
		"SELECT count(*) FROM mailman.subscription WHERE state = 'bounced'"
		  . " AND newsletter_id = $newsletter"),
	'4',
	'5.1.7 at RCPT: nobody is dead');

# ---- whoever left since is skipped by the claim

($relay, $newsletter) = relay('leaving', 40, {}, connections => 1);
$relay->gate(2);
$letter = $node->letter($newsletter);
$node->send($letter);
ok($relay->wait_for_held(1), 'left since: a letter on its way');
my %left = (38 => 'unsubscribed', 39 => 'bounced', 40 => 'complained');
foreach my $n (sort keys %left)
{
	$node->sql("UPDATE mailman.subscription SET state = '$left{$n}'"
		  . " WHERE newsletter_id = $newsletter"
		  . " AND email = 'r$n\@example.com'");
}
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'left since: sent');
is("@{$node->states($letter)}{qw(delivered skipped)}",
	'37 3', 'left since: to the others');
is( $node->sql(
			"SELECT string_agg(s.state || ' ' || d.state || ' ' || d.attempts"
		  . " || coalesce(' ' || d.reason, ''), ', ' ORDER BY s.id)"
		  . ' FROM mailman.delivery d'
		  . ' JOIN mailman.subscription s ON s.id = d.subscription_id'
		  . " WHERE letter_id = $letter AND s.state <> 'active'"),
	'unsubscribed skipped 0 subscription is unsubscribed,'
	  . ' bounced skipped 0 subscription is bounced,'
	  . ' complained skipped 0 subscription is complained',
	'left since: skipped, with the reason');
is(scalar(grep { /^r(?:38|39|40)@/ } keys %{ $relay->recipients }),
	0, 'left since: they have got nothing');
$node->assert_sums($letter, 'left since');

# those whom another letter has found dead meanwhile, too
$relay->set(
	rules => [
		{ step => 'RCPT', match => '^r30@', reply => '550 5.1.1 Gone' },
		{ step => 'dot', match => '^r[123]@', gate => 'first' }
	]);
my $slow = $node->letter($newsletter);
$node->send($slow);
ok($relay->wait_for_held(1), 'two letters: the first one is slow');
my ($id) = $node->sql("SELECT id FROM mailman.subscription"
	  . " WHERE newsletter_id = $newsletter AND email = 'r30\@example.com'");
$node->relay('quick', $relay->url, connections => 1);
$node->sql("UPDATE mailman.newsletter SET relays = '{quick}'"
	  . " WHERE id = $newsletter");
my $quick = $node->letter($newsletter);
$node->send($quick, $id);
ok($node->wait_for_letter($quick, 'sent'),
	'two letters: the second one finds a dead address');
$relay->set(rules => []);
ok($node->wait_for_letter($slow, 'sent'), 'two letters: sent');
is( $node->sql(
			"SELECT state FROM mailman.delivery WHERE letter_id = $slow"
		  . " AND subscription_id = $id"),
	'skipped',
	'two letters: the first one leaves it out');
$node->assert_sums($slow, 'two letters');

is_deeply([ map { $_->violations } @relays ],
	[], 'nothing against the protocol');
$node->stop;
$_->stop foreach @relays;
done_testing();
