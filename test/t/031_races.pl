
#-------------------------------------------------------------------------
#
# 031_races.pl
#	  People act on a letter just while its worker does.
#
# A posting that is committed after the letter it was for is sent; a letter
# that is called back and sent anew under the eyes of its worker; one that is
# resumed while its worker, who has paused it, still waits for replies.
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

my %node = (
	np => Mailman::Cluster->create(
		'np', conf => { 'mailman.poll_interval' => '100ms' }),
	pre => Mailman::Cluster->create(
		'pre',
		preload => 1,
		conf    => { 'mailman.poll_interval' => '100ms' }));

# The ids of a newsletter's subscriptions
sub subscriptions
{
	my ($node, $newsletter) = @_;
	return split(
		/\n/,
		$node->sql(
			    'SELECT id FROM mailman.subscription'
			  . " WHERE newsletter_id = $newsletter ORDER BY id"));
}

# ---- a posting on a paused letter that is resumed and sent meanwhile

foreach my $how ('np', 'pre')
{
	my $name  = "posting, $how";
	my $node  = $node{$how};
	my $relay = Mailman::Relay->new->start;
	$node->relay('relay', $relay->url, connections => 2);
	my $newsletter =
	  $node->newsletter(relays => ['relay'], subscriptions => 3);
	my @id     = subscriptions($node, $newsletter);
	my $letter = $node->letter($newsletter);
	my $open   = $node->session;

	$node->sql("BEGIN; SELECT mailman_send($letter, '{$id[0]}');"
		  . " SELECT mailman_pause($letter); COMMIT");
	is($node->letter_state($letter), 'paused', "$name: paused");
	$open->query('BEGIN');
	is($open->query("SELECT mailman_send($letter, '{$id[1], $id[2]}')"),
		'2', "$name: posted on, the transaction is open");
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), "$name: the letter is sent");
	ok($node->wait_for_no_worker($letter), "$name: its worker is gone");
	is($relay->pairs, 1, "$name: the first has it");
	my $start = time;
	$open->query('COMMIT');
	ok($relay->wait_for_messages(3), "$name: the others get it, too");
	diag(sprintf '%s: %.2f s after COMMIT', $name, time - $start);
	cmp_ok(time - $start, '<', 30, "$name: by a worker of the COMMIT's own");
	ok( $node->wait_for(
			"SELECT state, mail_order->>'delivered' FROM mailman.letter"
			  . " WHERE id = $letter",
			'sent|3'),
		"$name: sent again");
	$node->assert_sums($letter, $name);
	is(scalar($relay->duplicates), 0, "$name: nobody twice");
	$relay->stop;
}

# ---- called back and sent again in one transaction, the worker looking on

my $node  = $node{np};
my $greet = Mailman::Relay->new(
	rules => [ { step => 'connect', gate => 'greeting' } ])->start;
$node->relay('greet', $greet->url, connections => 2);
my $newsletter = $node->newsletter(relays => ['greet'], subscriptions => 3);
my $letter     = $node->letter($newsletter);
my $tally = "SELECT state, mail_order->>'recipients', mail_order->>'pending'"
  . " FROM mailman.letter WHERE id = $letter";

$node->send($letter);
ok( $node->wait_for(
		"SELECT mail_order->>'sending' FROM mailman.letter"
		  . " WHERE id = $letter",
		'3'),
	'called back: claimed, but the relay is silent');
$node->sql("SELECT mailman_pause($letter)");
ok($node->wait_for($tally, 'paused|3|3'), 'called back: paused');
ok($node->wait_for_no_worker($letter), 'called back: nobody is at work');
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 h'"
	  . " WHERE id = $letter");
is($node->sql("SELECT mailman_resume($letter)"),
	'scheduled', 'called back: resumed for later');
my $worker = $node->wait_for_worker($letter);
ok(defined $worker, 'called back: a worker waits for the time');
ok( $node->wait_for(
		"SELECT state, run FROM mailman.letter WHERE id = $letter",
		'scheduled|2'),
	'called back: it has taken the letter');
$greet->set(rules => []);
my $at_once = $node->session;
$at_once->query('BEGIN');
is($at_once->query("SELECT mailman_cancel($letter)"),
	'draft', 'called back: a draft again');
$at_once->query("UPDATE mailman.letter SET send_at = NULL WHERE id = $letter");
is($at_once->query("SELECT mailman_send($letter)"),
	'3', 'called back: and sent anew');
is(join(' ', $node->workers($letter)),
	$worker, 'called back: the worker is still there');
$at_once->query('COMMIT');
ok($node->wait_for_letter($letter, 'sent'), 'called back: sent');
is_deeply(
	$node->tally($letter),
	{
		recipients => 3,
		delivered  => 3,
		map { $_ => 0 } qw(pending sending deferred failed skipped doubtful)
	},
	'called back: the tally is exact');
$node->assert_sums($letter, 'called back');
is($greet->pairs, 3, 'called back: everybody has it');
is(scalar($greet->duplicates), 0, 'called back: nobody twice');
$greet->stop;

# ---- resumed while the worker that paused it drains

my $refusing = sub {
	return { step => 'MAIL', reply => "550 5.7.1 $_[0]" };
};
my $hold  = { step => 'dot', match => '^r1@', gate => 'first' };
my $relay = Mailman::Relay->new(
	rules => [ $hold, { %{ $refusing->('No') }, skip => 1 } ])->start;
$node->relay('relay11', $relay->url, connections => 2);
$newsletter = $node->newsletter(relays => ['relay11'], subscriptions => 6);
$letter     = $node->letter($newsletter);
my $reason = "SELECT state, state_reason FROM mailman.letter"
  . " WHERE id = $letter";

$node->send($letter);
ok($node->wait_for($reason, qr/^paused\|.*MAIL.* 550 5\.7\.1 No$/),
	'drain: the relay refuses MAIL, the letter is paused');
$worker = $node->wait_for_worker($letter);
ok(defined $worker, 'drain: the worker waits for a reply');
is($relay->status->{accepted}, 0, 'drain: that is not there');

$relay->set(rules => [ $hold, $refusing->('Still no') ]);
is($node->sql("SELECT mailman_resume($letter)"), 'sending', 'drain: resumed');
ok($node->wait_for($reason, qr/^paused\|.*MAIL.* 550 5\.7\.1 Still no$/),
	'drain: the relay is asked again, and says something else');
is($relay->status->{accepted}, 0, 'drain: still in flight');
is(join(' ', $node->workers($letter)),
	"$worker", 'drain: still the same worker');

$relay->set(rules => [$hold]);
$node->sql("SELECT mailman_resume($letter)");
ok($relay->wait_for_messages(5), 'drain: now the relay takes the others');
is($relay->recipients->{'r1@example.com'},
	undef, 'drain: the first is still in flight');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'drain: sent');
is($relay->pairs, 6, 'drain: everybody has it');
is(scalar($relay->duplicates), 0, 'drain: nobody twice');
is( $node->sql(
		"SELECT doubts, state_reason IS NULL FROM mailman.letter"
		  . " WHERE id = $letter"),
	'0|t',
	'drain: no doubt');
$node->assert_sums($letter, 'drain');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$_->stop foreach values %node;
$relay->stop;
done_testing();
