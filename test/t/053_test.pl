
#-------------------------------------------------------------------------
#
# 053_test.pl
#	  mailman_test(): marked copies of a letter, in every state of it.
#
# A copy goes the way of the mails and is none of them: whatever becomes of it,
# the letter's state, tally, deliveries and accounts are as if it had never
# been asked for.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Email::MIME;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $number = 60;
my $relay  = Mailman::Relay->new(save => 1)->start;
my $node   = Mailman::Cluster->create('main',
	conf =>
	  { 'mailman.turn_size' => 10, 'mailman.pause_rejections' => 1,
		restart_after_crash => 'on' });
my $boss = 'boss@example.net';

$node->relay('relay', $relay->url, connections => 5);
my %newsletter = (
	relays             => ['relay'],
	bounce_address     => 'bounces+{{verp}}@example.com',
	unsubscribe_mailto => 'leave@example.com');
my $newsletter = $node->newsletter(%newsletter, subscriptions => $number);
my $first =
  $node->sql('SELECT min(id) FROM mailman.subscription');
my %text = (text_body => "Dear {{name}} <{{email}}>,\n{{unsubscribe_url}}\n");

# What a test must leave alone, as one text
sub letter_is
{
	my ($letter) = @_;
	return $node->sql(
		    "SELECT l.state, l.state_reason, l.revision, l.sender, l.doubts,"
		  . ' l.mail_order, (SELECT count(*) FROM mailman.delivery d'
		  . ' WHERE d.letter_id = l.id), (SELECT count(*) FROM'
		  . ' mailman.newsletter_email e WHERE e.letter_id = l.id), (SELECT'
		  . ' count(*) FROM mailman.posting p WHERE p.letter_id = l.id)'
		  . " FROM mailman.letter l WHERE id = $letter");
}

sub send_test
{
	my ($letter, $address, $subscription) = @_;
	return $node->sql("SELECT mailman_test($letter, '$address'"
		  . ($subscription ? ", $subscription)" : ')'));
}

sub test_is
{
	my ($test, $expected, $what, $columns) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$columns = 'state' unless defined $columns;
	return ok(
		$node->wait_for(
			"SELECT $columns FROM mailman.test WHERE id = $test", $expected),
		$what);
}

# What has come for an address
sub copies
{
	my ($address) = @_;
	return grep { $_->{to}[0] eq $address } $relay->messages;
}

# ---- a draft

my $letter = $node->letter($newsletter, %text);
my $before = letter_is($letter);
my $test   = send_test($letter, $boss);
test_is($test, 'delivered|250|relay|t|t', 'a test of a draft is delivered',
	'state, code, relay, sent_at IS NOT NULL, reply IS NOT NULL');
ok($node->wait_for_no_worker($letter), 'and its worker ends');
is(letter_is($letter), $before, 'the draft is as before');
my @copies = copies($boss);
is(scalar @copies, 1, 'there is one copy');
my $mime = Email::MIME->new($relay->content($copies[0]));
is($mime->header('Subject'), '[Test] News for Reader 1', 'its subject is marked');
is($mime->header('To'),      $boss, 'it is to that address');
like($mime->body, qr/Dear Reader 1 <r1\@example\.com>/,
	'else as the first reader gets it');
is( $copies[0]{message_id},
	$node->sql("SELECT message_id FROM mailman.test WHERE id = $test"),
	'its Message-ID is on record');
like($copies[0]{from}, qr/^bounces\+$letter-0-[a-z2-7]+\@example\.com$/,
	'the return path names no reader');
like($mime->header('List-Unsubscribe'),
	qr{<https://example\.com/u/[^>]+>, <mailto:leave\@example\.com\?subject=unsubscribe%20$letter-0-},
	'List-Unsubscribe is there');
is($mime->header('List-Unsubscribe-Post'), 'List-Unsubscribe=One-Click',
	'with one click');
my ($token) = $mime->body =~ m{/u/(\S+)};
like($mime->header('List-Unsubscribe'), qr/\Q$token\E/, 'and the same token');
is($node->sql("SELECT mailman_unsubscribe('$token')"), 't', 'which is genuine');
is( $node->sql("SELECT count(*) FROM mailman.subscription"
		  . " WHERE state <> 'active'"),
	0, 'and ends nothing');

my $other = send_test($letter, 'x@example.net', $first + 4);
test_is($other, 'delivered', 'a test as another reader gets it');
my ($copy) = copies('x@example.net');
is(Email::MIME->new($relay->content($copy))->header('Subject'),
	'[Test] News for Reader 5', 'has that name');
isnt($copy->{message_id}, $copies[0]{message_id}, 'and a Message-ID of its own');
$node->sql("BEGIN; SELECT mailman_test($letter, 'never\@example.net'); ROLLBACK");

# ---- refused

my @refused = (
	"$letter, 'nobody'", qr/22023:.*"nobody" is not a mail address/,
	"$letter, NULL",     qr/22004:.*address must not be null/,
	"0, '$boss'",        qr/42704:.*letter 0 does not exist/,
	"$letter, '$boss', 0",
	qr/42704:.*subscription 0 does not exist in newsletter/);
while (my ($call, $error) = splice @refused, 0, 2)
{
	my ($output, $said) = $node->session->try("SELECT mailman_test($call)");
	like($said, $error, "refused: $call");
}
my $bodiless = $node->letter($newsletter, text_body => undef);
like($node->sql_error("SELECT mailman_test($bodiless, '$boss')"),
	qr/has no body/, 'a letter without a body');

# ---- in the middle of a send

my $second = $node->letter($newsletter, %text);
$node->send_to_gate($relay, $second, 'sending');
$test = send_test($second, 'sending@example.net', $first);
ok( $node->stays(
		"SELECT count(*) FROM mailman.test WHERE id = $test"
		  . " AND state IN ('pending', 'sending')", 1, 1),
	'sending: a test waits as the others do');
$node->assert_sums($second, 'sending: with a test on its way');

# ---- paused: the test alone leaves

$node->sql("SELECT mailman_pause($second)");
my $late = send_test($second, 'paused@example.net');
ok($node->wait_for_handed_back($second, 5), 'paused: it obeys');
$relay->open_gate;
test_is($test, 'delivered', 'paused: the test before it is delivered');
test_is($late, 'delivered', 'paused: and one asked for since');
ok( $node->wait_for(
		"SELECT (mail_order->>'sending')::int FROM mailman.letter"
		  . " WHERE id = $second", 0),
	'paused: what was in flight is recorded');
ok($node->wait_for_no_worker($second), 'paused: its worker ends');
$before = letter_is($second);
like($before, qr/^paused\|/, 'paused: it stays so');
my $accepted = $relay->status->{accepted};
$late = send_test($second, 'late@example.net');
test_is($late, 'delivered', 'paused: one more test');
ok($node->wait_for_no_worker($second), 'paused: its worker ends again');
is(letter_is($second), $before, 'paused: the letter is as before');
is($relay->status->{accepted} - $accepted, 1, 'paused: only the test has left');
$node->assert_sums($second, 'paused');
$node->sql("SELECT mailman_resume($second)");
ok($node->wait_for_letter($second, 'sent'), 'resumed: it is sent');
is($node->tally($second)->{delivered}, $number, 'to everybody');
is($node->tally($second)->{recipients}, $number, 'and nobody else');
$node->assert_sums($second, 'sent');

# ---- sent, scheduled

ok($node->wait_for_no_worker($second), 'sent: its worker ends');
$before = letter_is($second);
$test = send_test($second, 'sent@example.net');
test_is($test, 'delivered', 'sent: a test');
is(letter_is($second), $before, 'sent: the letter is as before');
my $later = $node->letter($newsletter, %text);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 day'"
	  . " WHERE id = $later");
$node->send($later);
$before = letter_is($later);
$test = send_test($later, 'later@example.net');
test_is($test, 'delivered', 'scheduled: a test');
is(letter_is($later), $before, 'scheduled: the letter is as before');
my ($scheduled) = copies('later@example.net');
my $today = $node->sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'FMDD Mon')");
like(Email::MIME->new($relay->content($scheduled))->header('Date'),
	qr/ 0?$today /, 'scheduled: its date is that of now');

# ---- the relay does not like it

$relay->set(
	rules => [
		{ step => 'RCPT', match => 'dead@', reply => '550 5.1.1 unknown' },
		{ step => 'RCPT', match => 'busy@', reply => '451 4.2.1 come back' },
		{ step => 'RCPT', match => "r1\@",  reply => '550 5.1.1 unknown' },
		{ step => 'dot', reply => '554 5.7.1 spam' } ]);
my @rejected = (
	[ 'dead@example.net', '550|5.1.1|RCPT: 550 5.1.1 unknown' ],
	[ 'busy@example.net', '451|4.2.1|RCPT: 451 4.2.1 come back' ],
	[ 'spam@example.net', '554|5.7.1|final dot: 554 5.7.1 spam' ],
	[ 'r1@example.com',   '550|5.1.1|RCPT: 550 5.1.1 unknown' ]);
my $third = $node->letter($newsletter, %text);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 day'"
	  . " WHERE id = $third");
$node->send($third);
foreach my $id ($letter, $second, $third)
{
	$before = letter_is($id);
	foreach my $case (@rejected)
	{
		my ($address, $expected) = @$case;
		$test = send_test($id, $address);
		test_is($test, "failed|$expected", "letter $id: $address fails",
			'state, code, enhanced, reason');
	}
	is(letter_is($id), $before, "letter $id is as before");
}
is( $node->sql("SELECT count(*) FROM mailman.subscription"
		  . " WHERE state <> 'active'"),
	0, 'no reader has bounced');
$relay->open_gate;

# ---- a session that breaks: doubt

$relay->set(rules => [ { step => 'dot', first => 1, accept => 1, drop => 1 } ]);
$test = send_test($letter, 'doubt@example.net');
test_is($test, 'doubtful', 'no reply to the final dot: doubtful');
is(scalar(copies('doubt@example.net')), 1, 'it is not sent again');
$relay->open_gate;

# ---- the relay is down for a while; it can never be used

$relay->stop;
$test = send_test($letter, 'patient@example.net');
test_is($test, qr/^pending\|relay "relay": connect failed/,
	'the relay is down: a test waits', 'state, reason');
$relay->start;
test_is($test, 'delivered', 'it is back: the test is delivered');
$relay->stop;
$test = send_test($letter, 'old@example.net');
test_is($test, qr/^pending\|relay/, 'it is down again', 'state, reason');
$node->sql('BEGIN; SET LOCAL session_replication_role = replica;'
	  . " UPDATE mailman.test SET requested_at = requested_at - interval '1 h'"
	  . " WHERE id = $test; COMMIT");
test_is($test, qr/^failed\|gave up as too old: relay "relay": connect failed/,
	'who waits too long fails', 'state, reason');
$relay->start;

$relay->set(
	rules => [ { step => 'MAIL', reply => '553 5.1.8 not from you' } ]);
my $fourth = $node->letter($newsletter, %text);
$test = send_test($fourth, $boss);
test_is($test, qr/^failed\|MAIL: 553/, 'the sender is refused: it fails',
	'state, reason');
is($node->letter_state($fourth), 'draft', 'and the draft is a draft');
$relay->open_gate;

# ---- the newsletter has changed since; a row that goes away meanwhile

my $session = $node->session;
$session->query('BEGIN');
$test = $session->query("SELECT mailman_test($fourth, '$boss')");
$node->sql("UPDATE mailman.newsletter SET relays = '{nowhere}'"
	  . " WHERE id = $newsletter");
$session->query('COMMIT');
test_is($test, 'failed|relay "nowhere" does not exist',
	'a relay is gone: it fails', 'state, reason');
is($node->letter_state($fourth), 'draft', 'and the draft is a draft still');
$before = letter_is($second);
$session->query('BEGIN');
$node->sql("UPDATE mailman.newsletter SET relays = '{relay}'"
	  . " WHERE id = $newsletter");
$test = $session->query("SELECT mailman_test($second, '$boss')");
$node->sql("UPDATE mailman.newsletter SET relays = '{nowhere}'"
	  . " WHERE id = $newsletter");
$session->query('COMMIT');
test_is($test, 'failed|relay "nowhere" does not exist',
	'of a sent letter, too', 'state, reason');
ok($node->wait_for_no_worker($second), 'its worker ends');
is(letter_is($second), $before, 'which stays sent');
$node->sql("UPDATE mailman.newsletter SET relays = '{relay}'"
	  . " WHERE id = $newsletter");
$relay->gate(0);
$test = send_test($fourth, $boss);
ok($relay->wait_for_held(1), 'a test is on its way');
$node->sql("DELETE FROM mailman.letter WHERE id = $fourth");
is($node->sql("SELECT count(*) FROM mailman.test WHERE id = $test"),
	0, 'a draft is deleted, and its tests with it');
$relay->open_gate;
ok($node->wait_for_no_worker($fourth), 'its worker ends');
$session->quit;

# ---- a reader is forgotten

my $reader = $first + 9;
$relay->gate(0);
$test = send_test($letter, 'R10@example.com');
ok($relay->wait_for_held(1), 'a test to a reader is on its way');
like($node->sql_error("SELECT mailman_forget($reader)"),
	qr/cannot be forgotten at this moment/, 'who cannot be forgotten now');
$relay->open_gate;
test_is($test, 'delivered', 'it arrives');
$other = send_test($letter, $boss, $reader);
test_is($other, 'delivered', 'one with her data, too');
$node->sql("SELECT mailman_forget($reader)");
is( $node->sql(
		    "SELECT string_agg(address, ' ' ORDER BY id) FROM mailman.test"
		  . " WHERE id IN ($test, $other)"),
	"forgotten.$reader\@forgotten.invalid $boss",
	'her address is gone, and only hers');

# ---- killed while the relay thinks about the final dot

my $fifth = $node->letter($newsletter, %text);
$relay->gate(0);
$test   = send_test($fifth, 'killed@example.net');
$before = letter_is($fifth);
ok($relay->wait_for_held(1), 'a test is at the gate');
my ($worker) = $node->workers($fifth);
my $crashed = sub {
	return scalar(() =
		  slurp_file($node->logfile) =~ /server processes terminated; reinit/g);
};
kill 'KILL', $worker;
my $until = time + 180;
sleep 0.02 while $crashed->() < 1 && time < $until;
delete $node->{mailman_session};
$node->patiently(
	sub {
		ok($node->wait_for('SELECT pg_is_in_recovery()', 'f'),
			'the server comes back');
	});
test_is($test, 'sending', 'nobody knows yet');
$relay->open_gate;
cmp_ok($node->sql('SELECT mailman_wake()'), '>=', 1, 'somebody looks');
test_is($test, 'doubtful|its worker ended before the outcome was recorded',
	'it is doubtful', 'state, reason');
ok($node->wait_for_no_worker($fifth), 'its worker ends');
is(letter_is($fifth), $before, 'the letter is unharmed');
is(scalar(copies('killed@example.net')), 1, 'and it is not sent again');
$test = send_test($fifth, 'after@example.net');
test_is($test, 'delivered', 'the next one is');

# ---- terminated: what came in time is recorded

$relay->gate(0);
$test = send_test($fifth, 'ended@example.net');
ok($relay->wait_for_held(1), 'a test is at the gate again');
($worker) = $node->workers($fifth);
$node->sql("SELECT pg_terminate_backend($worker)");
sleep 0.3;
$relay->open_gate;
test_is($test, 'delivered', 'the reply in the grace is recorded');

# ---- many at once

my $sixth = $node->letter($newsletter, %text);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 day'"
	  . " WHERE id = $sixth");
$node->send($sixth, $first);
my ($output, $said) = $node->session->try(
	"SELECT count(mailman_test($sixth, n || '\@example.net'))"
	  . ' FROM generate_series(1, 101) n');
like($said, qr/54000:.*letter $sixth has 100 tests on their way already/,
	'there is a limit');
is( $node->sql("SELECT count(mailman_test($sixth, n || '\@example.net'))"
		  . ' FROM generate_series(1, 100) n'),
	100, 'up to it they are queued');
ok( $node->wait_for(
		"SELECT string_agg(DISTINCT state, ' ') FROM mailman.test"
		  . " WHERE letter_id = $sixth", 'delivered'),
	'and all delivered');
is(scalar(grep { $_->{to}[0] =~ /^\d+\@example\.net$/ } $relay->messages),
	100, 'each once');
$node->assert_sums($sixth, 'after a hundred tests');

# ---- cancelled while one waits: called back to draft, or for good

$relay->stop;
$test = send_test($sixth, 'back@example.net');
test_is($test, qr/^pending\|relay/, 'a test waits', 'state, reason');
is($node->sql("SELECT mailman_cancel($sixth)"),
	'draft', 'its letter is called back');
$relay->start;
test_is($test, 'delivered', 'it is sent all the same');
$relay->stop;
my $seventh = $node->letter($newsletter, %text);
$node->send($seventh, $first + 1);
$node->sql("SELECT mailman_pause($seventh)");
$test = send_test($seventh, 'cancelled@example.net');
test_is($test, qr/^pending\|relay/, 'a test of a paused letter waits',
	'state, reason');
is($node->sql("SELECT mailman_cancel($seventh)"),
	'cancelled', 'the letter is cancelled');
test_is($test, 'failed|letter was cancelled', 'so is the test',
	'state, reason');
like($node->sql_error("SELECT mailman_test($seventh, '$boss')"),
	qr/letter $seventh is cancelled/, 'there is no other');
$relay->start;
$node->assert_sums($seventh, 'cancelled');

# ---- a copy of the database

$node->sql('BEGIN; SET LOCAL session_replication_role = replica;'
	  . ' UPDATE mailman.origin SET system_identifier = 1; COMMIT');
like($node->told("SELECT mailman_test($fifth, 'copy\@example.net')"),
	qr/WARNING:.*test \d+ of letter $fifth is queued and will not be sent/,
	'a copy warns');
ok( $node->stays(
		"SELECT state FROM mailman.test WHERE address = 'copy\@example.net'",
		'pending', 1),
	'and sends nothing');
$node->sql('SELECT mailman_adopt()');
is( $node->sql(
		    'SELECT state, reason FROM mailman.test'
		  . " WHERE address = 'copy\@example.net'"),
	'failed|this copy of the database was adopted',
	'adopted: what was asked for before is not sent');
$test = send_test($fifth, 'adopted@example.net');
test_is($test, 'delivered', 'but what is asked for now');

is(scalar(copies('never@example.net')), 0, 'after ROLLBACK nothing is sent');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;

# ---- supervised

$node = Mailman::Cluster->create(
	'supervised',
	preload => 1,
	conf    => {
		restart_after_crash       => 'on',
		max_prepared_transactions => 2,
		'mailman.max_workers'     => 1
	});
$node->relay('relay', $relay->url, connections => 5);
$newsletter = $node->newsletter(%newsletter, subscriptions => 40);
$letter     = $node->letter($newsletter, %text);
$node->sql("BEGIN; SELECT mailman_test($letter, 'prepared\@example.net');"
	  . " PREPARE TRANSACTION 'test'");
$node->sql("COMMIT PREPARED 'test'");
ok( $node->wait_for(
		"SELECT state FROM mailman.test WHERE address ~ 'prepared'",
		'delivered'),
	'supervised: a test is found after COMMIT PREPARED');
$relay->gate(0);
$test = send_test($letter, 'orphan@example.net');
ok($relay->wait_for_held(1), 'supervised: a test at the gate');
kill 'KILL', $node->workers($letter);
delete $node->{mailman_session};
$node->patiently(
	sub {
		test_is($test, 'doubtful', 'supervised: its worker killed: doubtful');
	});
$relay->open_gate;
is($node->letter_state($letter), 'draft', 'supervised: a draft still');

# one place for workers, and somebody has it
$second = $node->letter($newsletter, %text);
$relay->gate(5);
$node->send($second);
ok($relay->wait_for_held(5), 'supervised: a letter on its way');
$test = send_test($letter, 'line@example.net');
ok( $node->stays("SELECT state FROM mailman.test WHERE id = $test",
		'pending', 1),
	'supervised: the test of another waits in line');
$relay->open_gate;
test_is($test, 'delivered', 'supervised: and has its turn');
ok($node->wait_for_letter($second, 'sent'), 'supervised: as has the letter');
$node->assert_sums($second, 'supervised');

# ---- mailman_preview_all(): memory does not grow with the list

$node->subscribe($newsletter, 100000);
my $looker = $node->session;
$looker->query("SELECT count(*) FROM (SELECT * FROM"
	  . " mailman_preview_all($second) LIMIT 1) p");
my $used = Mailman::Cluster::private_memory($looker->backend);
is($looker->query("SELECT count(*), count(error), min(size) > 500"
		  . " FROM mailman_preview_all($letter)"),
	'100040|0|t', 'a preview for 100,040 readers');
cmp_ok(Mailman::Cluster::private_memory($looker->backend) - $used,
	'<', 24 * 1024, 'takes little memory');
$looker->quit;
$node->stop;
$relay->stop;
done_testing();
