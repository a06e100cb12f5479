
#-------------------------------------------------------------------------
#
# 010_send.pl
#	  A letter to a thousand recipients, from mailman_send() to the last row.
#
# The oracle is the relay's own log: it must have exactly one message for
# each recipient, and every record in the database must agree with it.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $number = 1000;
my $relay  = Mailman::Relay->new(save => 1, slow => 0.02)->start;
my $node   = Mailman::Cluster->create('main');

$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);
my $letter = $node->letter(
	$newsletter,
	html_body => '<p>Dear {{name}}, this is number {{data.number}}.</p>');

is($node->letter_state($letter), 'draft', 'a letter starts as a draft');
is($node->sql("SELECT count(*) FROM mailman_check('relay') WHERE NOT ok"),
	'0', 'the relay is usable');
is($node->sql('SELECT mailman_deliveries(' . $letter . ')'),
	'{}', 'no deliveries yet');
my $connections = $relay->connections_opened;

# ---- during the send: the relay holds it in the middle

$relay->gate(200);
is($node->send($letter), $number, 'mailman_send() counts the recipients');
my $worker = $node->wait_for_worker($letter);
ok(defined $worker, 'a worker of its own');
is( $node->sql(
		"SELECT backend_type, application_name, datname"
		  . " FROM pg_stat_activity WHERE pid = $worker"),
	"mailman letter|mailman letter $letter|postgres",
	'as pg_stat_activity shows it');
ok( $node->wait_for(
		"SELECT count(*) > 0 FROM mailman.newsletter_email", 't'),
	'mails are recorded while others are on their way');
is($node->letter_state($letter), 'sending', 'the letter is being sent');
isnt($node->sql("SELECT query FROM pg_stat_activity WHERE pid = $worker"),
	'', 'the worker says what it does');
ok($relay->wait_for_held(10), 'all its sessions wait for the relay');
ok( $node->wait_for(
		"SELECT xact_start IS NULL FROM pg_stat_activity"
		  . " WHERE pid = $worker",
		't'),
	'and no transaction is open meanwhile');
$node->assert_sums($letter, 'during the send');
cmp_ok($relay->status->{peak}, '<=', 10, 'no more than 10 connections');

$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');

# ---- what the relay got

is(scalar(() = $relay->messages), $number, "$number messages accepted");
is($relay->pairs, $number, 'distinct (Message-ID, recipient)');
is_deeply([ $relay->duplicates ], [], 'nobody got it twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
is( join(',', sort keys %{ $relay->recipients }),
	join(',', sort map { "r$_\@example.com" } 1 .. $number),
	'everybody got it');
my %ids = map { $_->{message_id} => 1 } $relay->messages;
is(scalar keys %ids, $number, 'a Message-ID for each');
my %senders = map { $_->{from} => 1 } $relay->messages;
is_deeply([ keys %senders ], ['news@example.com'], 'the envelope sender');
cmp_ok($relay->connections_opened - $connections,
	'<=', 10, 'no connection more than the pool has');

# ---- what the database says

$node->assert_sums($letter, 'after it');
is_deeply(
	$node->tally($letter),
	{
		recipients => $number,
		pending    => 0,
		sending    => 0,
		deferred   => 0,
		delivered  => $number,
		failed     => 0,
		skipped    => 0,
		doubtful   => 0
	},
	'mail_order');
is( $node->sql(
		"SELECT count(*), count(DISTINCT subscription_id),"
		  . " count(DISTINCT message_id), min(code), max(code), min(attempts),"
		  . " max(attempts), min(relay), max(relay)"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter"),
	"$number|$number|$number|250|250|1|1|relay|relay",
	'newsletter_email: one row for each');
my %recorded = map { split(/\|/, $_, 2) } split(
	/\n/,
	$node->sql(
		    "SELECT address, message_id || ' ' || bytes"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter"));
my %accepted =
  map { $_->{to}[0] => "$_->{message_id} $_->{size}" } $relay->messages;
is_deeply(\%recorded, \%accepted,
	'the same addresses, Message-IDs and sizes as the relay has');
my $deliveries = JSON::PP->new->decode(
	$node->sql("SELECT mailman_deliveries($letter)"));
my %expected = map {
	my ($subscription, $id) = split(/\|/, $_);
	($subscription => { delivered => $id + 0 })
  } split(
	/\n/,
	$node->sql(
		    "SELECT subscription_id, id FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter"));
is_deeply($deliveries, \%expected, 'mailman_deliveries() is the map');
is( $node->sql(
		"SELECT count(*) FROM mailman.newsletter_email WHERE sent_at"
		  . " NOT BETWEEN now() - interval '5 minutes' AND now()"
		  . " OR duration NOT BETWEEN interval '1 ms' AND interval '60 s'"),
	'0',
	'times and durations are possible ones');

# ---- preview and mail are the same bytes

my ($mail) = grep { $_->{to}[0] eq 'r77@example.com' } $relay->messages;
my $preview = $node->sql(
	    "SELECT encode(convert_to(mailman_preview($letter, id), 'UTF8'),"
	  . " 'hex') FROM mailman.subscription WHERE email = 'r77\@example.com'");
is(pack('H*', $preview), $relay->content($mail),
	'mailman_preview() is what the recipient got, byte for byte');
like($relay->content($mail), qr/Dear Reader 77, this is number 77\./,
	'which is the letter');

# ---- and again

ok($node->wait_for_no_worker($letter), 'the worker goes when it is done');
is($node->send($letter), 0, 'sent again: nobody is new');
ok($node->wait_for_letter($letter, 'sent'), 'and it stays sent');
$node->subscribe($newsletter, 5);
is($node->send($letter), 5, 'sent again: five are new');
ok( $node->wait_for("SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", $number + 5), 'they get it');
ok($node->wait_for_letter($letter, 'sent'), 'and it is sent again');
is($relay->pairs, $number + 5, 'they, and nobody else');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->assert_sums($letter, 'at the end');

$node->stop;
$relay->stop;
done_testing();
