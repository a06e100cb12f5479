
#-------------------------------------------------------------------------
#
# 094_audit.pl
#	  Who has changed what, beside states, is in mailman.event: names of
#	  columns, and never a value.
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

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create('main', preload => 1);
my $me    = $node->sql('SELECT session_user');

$node->relay('relay', $relay->url);
$node->sql(
	q{CREATE ROLE team; CREATE ROLE other; CREATE ROLE ann LOGIN IN ROLE team, other;
	GRANT USAGE ON FOREIGN SERVER relay TO team;
	CREATE FUNCTION public.p(mailman.letter, mailman.subscription)
	RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'});

my $last = 0;

# Events since the last look: kind, of what, by whom, detail
sub events
{
	my $rows = $node->sql(
		q{SELECT format('%s %s%s %s/%s %s', kind,
			CASE WHEN letter_id IS NOT NULL THEN 'l' || letter_id END,
			CASE WHEN newsletter_id IS NOT NULL THEN 'n' || newsletter_id END,
			coalesce(actor->>'session', '-'), coalesce(actor->>'current', '-'),
			detail) FROM mailman.event WHERE id > } . "$last ORDER BY id");
	$last = $node->sql('SELECT coalesce(max(id), 0) FROM mailman.event');
	return $rows;
}

# ---- rights

$node->sql("SELECT mailman_grant('team', 'send')");
is( events(),
	qq(right  $me/$me {"role": "team", "granted": "send"}),
	'mailman_grant(): who, to whom, what');
$node->sql("SELECT mailman_grant('other', 'send')");
$node->sql("SELECT mailman_revoke('other', 'send')");
is( events(),
	qq(right  $me/$me {"role": "other", "granted": "send"}\n)
	  . qq(right  $me/$me {"role": "other", "revoked": "send"}),
	'mailman_revoke()');
ok(!defined eval { $node->sql("SELECT mailman_grant('nobody', 'read')") },
	'refused');
is(events(), '', 'is no event');

# ---- newsletters

my $id  = $node->newsletter(owner => 'team', subscriptions => 3);
my $ann = $node->session(user => 'ann');
is(events(), '', 'a new newsletter changes nothing');
my $secret = 'hidden.example';
foreach my $case (
	[ "relays = '{relay}'",               'relays' ],
	[ "policy = 'public.p'",              'policy' ],
	[ 'policy = NULL',                    'policy' ],
	[ "from_name = 'Hidden'",             'from_name' ],
	[ "from_address = 'a\@$secret'",      'from_address' ],
	[ "reply_to = 'a\@$secret'",          'reply_to' ],
	[ "bounce_address = 'a\@$secret'",    'bounce_address' ],
	[ "unsubscribe_url = 'https://$secret/{{token}}'", 'unsubscribe_url' ],
	[ "unsubscribe_mailto = 'a\@$secret'", 'unsubscribe_mailto' ],
	[
		"dkim_domain = '$secret', dkim_selector = 's'",
		'dkim_domain", "dkim_selector'
	],
	[ "dkim_domain = NULL, dkim_selector = NULL", 'dkim_domain", "dkim_selector' ])
{
	my ($set, $columns) = @$case;
	$ann->query("UPDATE mailman.newsletter SET $set");
	is(events(), qq(newsletter n$id ann/ann {"changed": ["$columns"]}), $set);
}
$ann->query('UPDATE mailman.newsletter SET relays = relays, from_name = from_name');
is(events(), '', 'what is as it was is no event');
$ann->query("UPDATE mailman.newsletter SET name = 'Other', max_attempts = 3");
is(events(), '', 'nor are columns of no consequence');
$ann->query("BEGIN; UPDATE mailman.newsletter SET reply_to = NULL; ROLLBACK");
is(events(), '', 'nor what is rolled back');
$ann->query("SET ROLE team; UPDATE mailman.newsletter SET reply_to = NULL;"
	  . ' RESET ROLE');
is( events(),
	qq(newsletter n$id ann/team {"changed": ["reply_to"]}),
	'by SET ROLE: session and current user');
eval {
	$ann->query("UPDATE mailman.newsletter SET reply_to = 'a\@$secret',"
		  . " name = set_config('transaction_read_only', 'on', true)");
};
like($@, qr/read-only transaction/, 'a change that lets no event be written');
is(events(), '', 'is none');
is($node->sql('SELECT reply_to IS NULL FROM mailman.newsletter'), 't', 'at all');
$node->sql('CREATE FUNCTION public.give() RETURNS void LANGUAGE sql'
	  . " SECURITY DEFINER AS \$\$UPDATE mailman.newsletter SET owner = 'other'\$\$");
$ann->query('SELECT public.give()');
is( events(),
	qq(newsletter n$id ann/$me {"changed": ["owner"]}),
	'in a function of somebody else: who called it, and whose rights it had');
$node->sql("UPDATE mailman.newsletter SET owner = 'team'");
is( events(),
	qq(newsletter n$id $me/$me {"changed": ["owner"]}),
	'by a superuser');
$ann->query("INSERT INTO mailman.partial VALUES ($id, 'x', 'Hello')");
$ann->query("UPDATE mailman.partial SET template = 'Hidden'");
is( events(),
	join("\n", (qq(newsletter n$id ann/ann {"changed": ["partial"]})) x 2),
	'partials');

# ---- keys

my $pem = `openssl genpkey -algorithm ed25519`;
$node->sql('GRANT EXECUTE ON FUNCTION mailman_set_dkim_key(bigint, text, text) TO team');
$ann->query("SELECT mailman_set_dkim_key($id, '$pem', 's')");
$ann->query("SELECT mailman_set_dkim_key($id, '$pem', 's')");
$ann->query("SELECT mailman_set_dkim_key($id, NULL, 's')");
is( events(),
	join("\n", (qq(key n$id ann/ann {"changed": ["dkim_key"]})) x 3),
	'a key that is set, changed, removed');

# ---- letters

my $letter = $node->letter($id,
	send_at => $node->sql("SELECT now() + interval '1 h'"));
$ann->query("UPDATE mailman.letter SET subject = 'Draft' WHERE id = $letter");
$ann->query('INSERT INTO mailman.attachment (letter_id, name, content)'
	  . " VALUES ($letter, 'a', '')");
is(events(), '', 'a draft is nobody else\'s concern');
$ann->query("SELECT mailman_send($letter)");
is( events(),
	qq(letter l$letter ann/ann {"to": "scheduled", "from": "draft"}),
	'scheduled, and by whom');
foreach my $case (
	[ "subject = 'Hidden'",   'subject' ],
	[ "text_body = 'Hidden'", 'text_body' ],
	[ "html_body = 'Hidden', strict = true", 'html_body", "strict' ],
	[ q{headers = '{"X-A": "b"}'}, 'headers' ],
	[ "send_at = now() + interval '2 h'", 'send_at' ])
{
	my ($set, $columns) = @$case;
	$ann->query("UPDATE mailman.letter SET $set WHERE id = $letter");
	is(events(), qq(letter l$letter ann/ann {"changed": ["$columns"]}), $set);
}
$ann->query('INSERT INTO mailman.attachment (letter_id, name, content)'
	  . " VALUES ($letter, 'b', '')");
$ann->query("DELETE FROM mailman.attachment WHERE letter_id = $letter");
is( events(),
	join("\n", (qq(letter l$letter ann/ann {"changed": ["attachment"]})) x 3),
	'files');
$ann->query("UPDATE mailman.letter SET ref = 'a' WHERE id = $letter");
is(events(), '', 'what it is called is nobody\'s concern');
$ann->query("SELECT mailman_cancel($letter)");
$ann->query("UPDATE mailman.letter SET subject = 'Again' WHERE id = $letter");
is( events(),
	qq(letter l$letter ann/ann {"to": "draft", "from": "scheduled"}\n)
	  . qq(letter l$letter ann/ann {"changed": ["subject"]}),
	'a draft that was scheduled before is one still');

my $now = $node->letter($id);
$ann->query("SELECT mailman_send($now)");
ok($node->wait_for_letter($now, 'sent'), 'a letter that is sent');
like(
	events(),
	qr/^letter l$now ann\/ann \{"to": "sending", "from": "draft"\}\n(?:letter l$now -\/- .*\n?)+\z/,
	'what its worker does has no actor');

# ---- deleted

$node->sql('DELETE FROM mailman.letter WHERE state = \'draft\'');
my $empty = $node->newsletter(owner => 'team');
$ann->query("INSERT INTO mailman.partial VALUES ($empty, 'x', 'y')");
$ann->query("SELECT mailman_set_dkim_key($empty, '$pem', 's')");
events();
$ann->query("DELETE FROM mailman.newsletter WHERE id = $empty");
like(
	events(),
	qr/^newsletter n$empty ann\/ann \{"changed": \["\*"\]\}$/m,
	'a newsletter that is deleted');

# ---- what it shows, and to whom

is( $node->sql(
		"SELECT count(*) FROM mailman.event WHERE event::text ~* 'hidden'"),
	0,
	'no value of any of it');
my $listener = $node->session;
$listener->query('LISTEN mailman');
$ann->query("UPDATE mailman.newsletter SET reply_to = 'b\@$secret'");
$node->sql('SELECT mailman_wake()');
my $heard = '';
$node->wait_for(
	'SELECT count(*) FROM mailman.event WHERE NOT notified', 0);
$heard = $listener->query('SELECT 1');
like(
	$heard,
	qr/payload "\{"id": \d+, "kind": "newsletter", "newsletter_id": $id\}"/,
	'who listens hears of it, and not of whom');
foreach my $forged (
	q{INSERT INTO mailman.event (kind) VALUES ('right')},
	q{UPDATE mailman.event SET actor = '{}'},
	q{DELETE FROM mailman.event})
{
	like(($ann->try($forged))[1], qr/42501/, "refused: $forged");
	like($node->sql_error($forged),
		qr/42501: table "mailman.event" is written by the extension only/,
		"even to a superuser: $forged");
}

# ---- a dump

my $dir = PostgreSQL::Test::Utils::tempdir();
my $sum = q{SELECT count(*), md5(string_agg(event::text, ' ' ORDER BY id))
	FROM mailman.event event};
$node->sql("SELECT mailman_set_dkim_key($id, '$pem', 's')");
my $had = $node->sql($sum);
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'dumped');
$node->sql('CREATE DATABASE restored');
$node->command_ok(
	[ 'pg_restore', '-d', $node->connstr('restored'), "$dir/dump" ],
	'restored');
my $restored = $node->session(dbname => 'restored');
is($restored->query($sum), $had, 'with the events there were, and no others');

$_->quit foreach $restored, $ann, $listener;
$node->stop;
$relay->stop;
done_testing();
