
#-------------------------------------------------------------------------
#
# 092_rotation.pl
#	  Another secret, another DKIM key: while letters are being sent, without
#	  a mail that is not signed, and with links that work as long as the owner
#	  wants.
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

my $relay = Mailman::Relay->new(save => 1)->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => { 'mailman.turn_size' => 5, 'mailman.turn_interval' => 50 });

$node->relay('relay', $relay->url, connections => 2);
$node->sql(
	q{CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN;
	GRANT USAGE ON FOREIGN SERVER relay TO app});
$node->sql("SELECT mailman_grant('app', 'send'),"
	  . " mailman_grant('stranger', 'send')");
my $newsletter = $node->newsletter(
	owner         => 'app',
	relays        => ['relay'],
	subscriptions => 40,
	dkim_domain   => 'example.com',
	dkim_selector => 'one');

sub new_key { return scalar `openssl genpkey -algorithm ed25519`; }

# ---- who may

my $app = $node->session(user => 'app');
like(($app->try("SELECT mailman_rotate_secret($newsletter)"))[1],
	qr/^ERROR:  42501: permission denied for function/,
	'not the owner, without a grant');
$node->sql(
	'GRANT EXECUTE ON FUNCTION mailman_rotate_secret(bigint, interval),'
	  . ' mailman_set_dkim_key(bigint, text, text) TO app, stranger');
my $stranger = $node->session(user => 'stranger');
like(
	($stranger->try("SELECT mailman_rotate_secret($newsletter)"))[1],
	qr/^ERROR:  42501: permission denied for newsletter/,
	'not a stranger with one');
like(
	($stranger->try(
			"SELECT mailman_set_dkim_key($newsletter, '" . new_key() . "', 'x')"))[1],
	qr/^ERROR:  42501: permission denied for newsletter/,
	'who sets no key either');
$stranger->quit;

# ---- a secret

sub token_of
{
	my ($letter, $id) = @_;
	my ($token) = $node->sql("SELECT mailman_unsubscribe_url($letter, $id)") =~
	  m{/u/([\w-]+)$};
	return $token;
}

sub holds
{
	my ($token) = @_;
	my $error = $node->sql_error("SELECT mailman_unsubscribe('$token')");

	return 1 unless defined $error;
	die $error unless $error =~ /22023: invalid token/;
	return 0;
}

sub message_id
{
	my ($letter, $id) = @_;
	my ($found) = $node->sql("SELECT mailman_preview($letter, $id)") =~
	  /^Message-ID: (\S+)/m;
	return $found;
}

$app->query("SELECT mailman_set_dkim_key($newsletter, '" . new_key() . "')");
my $draft = $node->letter($newsletter);
my $first = token_of($draft, 40);
my $id    = message_id($draft, 39);
$node->sql('SELECT mailman_forget(38)');
is( $app->query(
		"SELECT abs(extract(epoch FROM mailman_rotate_secret($newsletter)"
		  . " - now() - interval '90 days')) < 3600"),
	't',
	'the owner rotates; he is told until when old links hold');
my $second = token_of($draft, 40);
isnt($second, $first, 'tokens are made with another secret');
is(message_id($draft, 39), $id, 'a mail keeps its Message-ID');
ok(holds($first),  'an old token holds');
ok(holds($second), 'and a new one');
is( $node->sql(
		"INSERT INTO mailman.subscription (newsletter_id, email)"
		  . " VALUES ($newsletter, 'r38\@example.com') RETURNING state"),
	'unsubscribed',
	'who was forgotten stays so');
$app->query("SELECT mailman_rotate_secret($newsletter, '0')");
my $third = token_of($draft, 40);
ok(!holds($first),  'kept for no time: the first does not hold');
ok(!holds($second), 'nor the second');
ok(holds($third),   'the third does');
is(message_id($draft, 39), $id, 'and still a mail keeps its Message-ID');
is( $node->sql(
		"INSERT INTO mailman.subscription (newsletter_id, email)"
		  . " VALUES ($newsletter, 'R38\@example.com')"
		  . " ON CONFLICT DO NOTHING;"
		  . "SELECT mailman_forget(37); INSERT INTO mailman.subscription"
		  . " (newsletter_id, email) VALUES ($newsletter, 'r37\@example.com')"
		  . ' RETURNING state'),
	"\nunsubscribed",
	'and who is forgotten now as well');
is( $node->sql(
		'SELECT string_agg(generation::text, $$,$$ ORDER BY generation)'
		  . " FROM mailman.secret WHERE newsletter_id = $newsletter"),
	'1,3',
	'what nothing was made with is gone');
$app->query("SELECT mailman_rotate_secret($newsletter, '2 s')");
ok(holds($third), 'kept for two seconds');
ok( $node->wait_for(
		'SELECT count(*) FROM mailman.secret WHERE generation = 3'
		  . ' AND expires_at < clock_timestamp()', 1),
	'which are over');
ok(!holds($third), 'then it does not hold');
$app->query("SELECT mailman_rotate_secret($newsletter, '1 year')")
  for 1 .. 14;
like(
	($app->try("SELECT mailman_rotate_secret($newsletter, '1 year')"))[1],
	qr/^ERROR:  54000: newsletter $newsletter has 16 secrets already/,
	'not without end');

# two at once
my $busy = $node->newsletter(owner => 'app', subscriptions => 1);
my @both = map { $node->session(user => 'app') } 1 .. 2;
$both[0]->query('BEGIN');
$both[0]->query("SELECT mailman_rotate_secret($busy)");
$both[1]->start("SELECT mailman_rotate_secret($busy) IS NOT NULL");
ok( $node->wait_for(
		'SELECT wait_event_type FROM pg_stat_activity WHERE pid = '
		  . $both[1]->backend, 'Lock'),
	'of two one waits');
$both[0]->query('COMMIT');
is($both[1]->result, 't', 'for the other');
is( $node->sql(
		"SELECT count(*), count(expires_at) FROM mailman.secret"
		  . " WHERE newsletter_id = $busy"),
	'3|2',
	'and each has made one');
$_->quit foreach @both;

# ---- in the middle of a letter: another secret, another key, another selector

my $mailing = $node->newsletter(
	owner         => 'app',
	relays        => ['relay'],
	subscriptions => 60,
	dkim_domain   => 'example.com',
	dkim_selector => 'one');
$app->query("SELECT mailman_set_dkim_key($mailing, '" . new_key() . "')");
my $letter = $node->letter($mailing);
$relay->gate(20);
$node->send($letter);
ok($relay->wait_for_held(2), 'a letter on its way');
like(
	$app->query(
		"SELECT mailman_set_dkim_key($mailing, '" . new_key() . "', 'two')"),
	qr/^v=DKIM1; k=ed25519; p=/,
	'a second key, and what to publish for it');
$app->query("SELECT mailman_rotate_secret($mailing)");
$relay->gate(20);
ok($relay->wait_for_messages(40), 'it goes on meanwhile');
ok($relay->wait_for_held(2),      'and is held again');
$app->query("UPDATE mailman.newsletter SET dkim_selector = 'two'"
	  . " WHERE id = $mailing");
is($app->query("SELECT mailman_set_dkim_key($mailing, NULL, 'one')"),
	'', 'the first key is removed');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'to the end');
is(scalar($relay->pairs),      60, 'to all');
is(scalar($relay->duplicates), 0,  'to nobody twice');
is( $node->sql(
		"SELECT count(*) FROM mailman.event WHERE letter_id = $letter"
		  . " AND detail->>'to' = 'paused'"),
	0,
	'and never paused');

my (%selectors, @tokens);
foreach my $message ($relay->messages)
{
	my $content = $relay->content($message);
	my @signed  = $content =~ /^DKIM-Signature: .*?\bs=(\w+);/msg;

	$selectors{ join('+', @signed) }++;
	push @tokens, $content =~ m{^List-Unsubscribe: <[^>]*/u/([\w-]+)>}m;
}
is(join(',', sort keys %selectors),
	'one,two', 'each mail has one signature, of the one key or the other');
cmp_ok($selectors{one}, '>=', 40,
	'with the first until the selector was changed');
is(scalar(@tokens), 60, 'each has a link');
is(scalar(grep { !holds($_) } @tokens), 0, 'and every link works');

# ---- keys by selector

like(
	$node->sql_error("UPDATE mailman.newsletter SET dkim_selector = 'three'"
		  . " WHERE id = $mailing; SELECT mailman_preview($letter)"),
	qr/55000: newsletter $mailing has no DKIM key.*"three"/s,
	'a selector without a key is told');
like(
	$node->sql_error(
		"SELECT mailman_set_dkim_key($mailing, '" . new_key() . "', 'a b')"),
	qr/23514: "a b" is not a valid dkim_selector/,
	'and one that cannot be');
is( $node->sql(
		'SELECT string_agg(selector, $$,$$) FROM mailman.dkim_key'
		  . " WHERE newsletter_id = $mailing"),
	'two',
	'nothing of that was kept');
$app->quit;

$node->stop;
done_testing();
