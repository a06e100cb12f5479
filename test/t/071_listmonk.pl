
#-------------------------------------------------------------------------
#
# 071_listmonk.pl
#	  Moving over from listmonk: mailman-from-listmonk.sql, run by psql as its
#	  head says, by a role with the rights it asks for.
#
# The tables are ours, with listmonk's names and types and the columns that are
# read.  A row for each case; then a letter that was a campaign is sent.
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

my $script = 'src/mailman-from-listmonk.sql';
my $node = Mailman::Cluster->create('main', preload => 1);
my $relay = Mailman::Relay->new(save => 1)->start;

$node->relay('ses', $relay->url);
$node->sql(q{
	CREATE ROLE editor LOGIN;
	SELECT mailman_grant('editor', 'send');
	GRANT USAGE ON FOREIGN SERVER ses TO editor;
	CREATE SCHEMA "old mail" AUTHORIZATION editor});
$node->sql(q{
	SET ROLE editor;
	SET search_path = "old mail", public;
	CREATE TYPE list_optin AS ENUM ('single', 'double');
	CREATE TYPE subscriber_status
		AS ENUM ('enabled', 'disabled', 'blocklisted');
	CREATE TYPE subscription_status
		AS ENUM ('unconfirmed', 'confirmed', 'unsubscribed');
	CREATE TYPE campaign_status AS ENUM ('draft', 'running', 'scheduled',
		'paused', 'cancelled', 'finished');
	CREATE TYPE campaign_type AS ENUM ('regular', 'optin');
	CREATE TYPE content_type
		AS ENUM ('richtext', 'html', 'plain', 'markdown', 'visual');
	CREATE TYPE bounce_type AS ENUM ('soft', 'hard', 'complaint');
	CREATE TYPE template_type AS ENUM ('campaign', 'campaign_visual', 'tx');
	CREATE TABLE lists (id serial PRIMARY KEY,
		uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), name text NOT NULL,
		optin list_optin NOT NULL DEFAULT 'single');
	CREATE TABLE subscribers (id serial PRIMARY KEY,
		uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
		email text NOT NULL UNIQUE, name text NOT NULL,
		attribs jsonb NOT NULL DEFAULT '{}',
		status subscriber_status NOT NULL DEFAULT 'enabled');
	CREATE TABLE subscriber_lists (subscriber_id integer REFERENCES subscribers,
		list_id integer REFERENCES lists,
		status subscription_status NOT NULL DEFAULT 'unconfirmed',
		PRIMARY KEY (subscriber_id, list_id));
	CREATE TABLE templates (id serial PRIMARY KEY, name text NOT NULL,
		type template_type NOT NULL DEFAULT 'campaign', body text NOT NULL);
	CREATE TABLE campaigns (id serial PRIMARY KEY,
		uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), name text NOT NULL,
		subject text NOT NULL, from_email text NOT NULL
			DEFAULT 'Garden <news@example.com>',
		body text NOT NULL, altbody text,
		content_type content_type NOT NULL DEFAULT 'richtext',
		send_at timestamptz, headers jsonb NOT NULL DEFAULT '[]',
		status campaign_status NOT NULL DEFAULT 'draft',
		type campaign_type DEFAULT 'regular',
		messenger text NOT NULL DEFAULT 'email',
		template_id integer REFERENCES templates ON DELETE SET NULL);
	CREATE TABLE campaign_lists (id bigserial PRIMARY KEY,
		campaign_id integer NOT NULL REFERENCES campaigns,
		list_id integer REFERENCES lists);
	CREATE TABLE settings (key text NOT NULL UNIQUE,
		value jsonb NOT NULL DEFAULT '{}');
	CREATE TABLE bounces (id serial PRIMARY KEY,
		subscriber_id integer NOT NULL REFERENCES subscribers,
		type bounce_type NOT NULL DEFAULT 'hard')});

my $go = <<'END';
<p>Dear {{ .Subscriber.FirstName }} {{.Subscriber.LastName}},{{/* x */}}
{{- /* y */ -}} how is
  {{- .Subscriber.Attribs.city }} ({{ index .Subscriber.Attribs "city" }},
{{ .Subscriber.Attribs.stack.language }})?
<a href="{{ TrackLink "https://example.com/a?b=1&c=2" }}">one</a>
<a href="https://example.com/two@TrackLink">two</a>
{{ Safe .Subscriber.Attribs.signature }} {{ .Subscriber.Email }}</p>
END
my $mustache = <<'END';
<p>Dear {{data.first_name}} {{data.last_name}},how is{{data.city}} ({{data.city}},
{{data.stack.language}})?
<a href="https://example.com/a?b=1&c=2">one</a>
<a href="https://example.com/two">two</a>
{{{data.signature}}} {{email}}</p>
END

$node->sql(q{
	SET ROLE editor;
	SET search_path = "old mail", public;
	INSERT INTO lists (name, optin) VALUES ('Garden', 'single'),
		(E'Roses\nand more', 'double');
	INSERT INTO subscribers (email, name, attribs, status) VALUES
		('ana@example.org', 'Ms Ana Maria de Sá',
		 '{"city": "Porto", "stack": {"language": "go"}, "signature": "<b>A</b>"}',
		 'enabled'),
		('bo@example.org', 'Bo', '{"first_name": "Bodo"}', 'enabled'),
		('left@example.org', 'Left', '{}', 'enabled'),
		('off@example.org', 'Off', '{}', 'disabled'),
		('blocked@example.org', 'Blocked', '{}', 'blocklisted'),
		('dead@example.org', 'Dead', '{}', 'blocklisted'),
		('cross@example.org', E'Cross\tone', '{}', 'blocklisted'),
		('no address', 'Nobody', '{}', 'enabled'),
		('alone@example.org', 'Alone', '{}', 'enabled'),
		('list@example.org', '', '[1, 2]', 'enabled');
	INSERT INTO subscriber_lists
		SELECT s.id, 1, CASE s.name WHEN 'Left' THEN 'unsubscribed'
				WHEN 'Bo' THEN 'unconfirmed' ELSE 'confirmed' END::subscription_status
		  FROM subscribers s WHERE s.name <> 'Alone';
	INSERT INTO subscriber_lists VALUES (1, 2, 'confirmed'), (2, 2, 'unconfirmed');
	INSERT INTO bounces (subscriber_id, type) VALUES (6, 'soft'), (6, 'hard'),
		(7, 'hard'), (7, 'complaint'), (5, 'soft'), (1, 'hard');
	INSERT INTO settings VALUES ('app.from_email',
		'"Old <old@example.com>"')});
$node->sql('SET search_path = "old mail", public; '
	  . 'INSERT INTO templates (name, type, body) VALUES '
	  . q{('Plain', 'campaign', '<html>{{ .Subscriber.Name }}|{{ template "content" . }}|<a href="{{ UnsubscribeURL }}">leave</a>{{ TrackView }}</html>'), }
	  . q{('Odd', 'campaign', 'no content {{ L.T "x" }}'), }
	  . q{('Order', 'tx', 'x'); }
	  . 'INSERT INTO campaigns (name, subject, body, altbody, content_type,'
	  . ' send_at, headers, status, type, messenger, template_id, from_email)'
	  . ' VALUES '
	  . '(' . join(', ', map { Mailman::Cluster::literal($_) }
		'Spring', 'Spring, {{ .Subscriber.Name }}', $go,
		'Hello {{ .Subscriber.Attribs.city }}', 'html', undef,
		'[{"X-Campaign": "{{ .Subscriber.Attribs.city }}"}, {"From": "me"}]',
		'draft', 'regular', 'email', '1', 'Garden <news@example.com>') . '), '
	  . q{('Text', 'Text', 'Just {{ .Subscriber.Email }}', NULL, 'plain',
			'2030-01-01', '[]', 'scheduled', 'regular', 'email-2', NULL, 'Garden <news@example.com>'),
		('Complex', 'Complex', 'a {{ if eq .Subscriber.Attribs.city "Porto" }}b{{ end }} {{ .Campaign.UUID }}', '', 'markdown',
			NULL, '[]', 'draft', 'regular', 'email', NULL, 'other@example.com'),
		('Visual', 'Visual', '<i>v</i>', NULL, 'visual', NULL, '[]', 'draft', 'regular', 'email', 1, 'news@example.com'),
		('Running', 'R', 'r', NULL, 'html', NULL, '[]', 'running', 'regular', 'email', NULL, 'news@example.com'),
		('Over', 'O', 'o', NULL, 'html', NULL, '[]', 'finished', 'regular', 'email', NULL, 'news@example.com'),
		('Opt in', 'O', 'o', NULL, 'html', NULL, '[]', 'draft', 'optin', 'email', NULL, 'news@example.com'),
		('Short', 'S', 's', NULL, 'plain', NULL, '[]', 'draft', 'regular', 'sms', NULL, 'news@example.com'),
		('Listless', 'L', 'l', NULL, 'plain', NULL, '[]', 'draft', 'regular', 'email', NULL, 'news@example.com');
	INSERT INTO campaign_lists (campaign_id, list_id)
		SELECT id, 1 FROM campaigns WHERE name <> 'Listless';
	INSERT INTO campaign_lists (campaign_id, list_id)
		SELECT id, 2 FROM campaigns WHERE name = 'Spring'});
$node->sql('RESET search_path');

# As a person runs it; (output, error)
sub migrate
{
	my (@options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(
		[
			'psql', '-XAtq', '-U', 'editor', '-d', $node->connstr('postgres'),
			@options, '-f', $script
		],
		'>', \$out, '2>', \$err);
	return ($ok, $out, $err);
}

# ---- nothing is left of one that fails

my ($ok, $out, $err) = migrate('-v', 'schema=nowhere');
ok(!$ok, 'a schema that is not there');
like($err, qr/relation "nowhere.lists" does not exist/, 'is said to be');
($ok, $out, $err) = migrate('-v', 'schema=old mail', '-v', 'from=nonsense');
ok(!$ok, 'a sender that is no address');
like($err, qr/"nonsense" is not a mail address/, 'is said to be');
is($node->sql('SELECT count(*) FROM mailman.newsletter'),
	'0', 'nothing was made');
$node->sql('RESET ROLE; ALTER TABLE mailman.newsletter ALTER id RESTART');

# ---- the move

my @arguments = (
	'-v', 'schema=old mail',
	'-v', 'from=The Garden <news@example.com>',
	'-v', 'relays={ses}',
	'-v', 'unsubscribe_url=https://example.com/u/{{token}}');
($ok, $out, $err) = migrate(@arguments);
ok($ok, 'the script runs to its end') or diag($err);
is($err, '', 'without a word of error');
is( $node->sql(
		'SELECT id, name, owner, from_name, from_address, relays,'
		  . ' unsubscribe_url FROM mailman.newsletter ORDER BY id'),
	"1|Garden|editor|The Garden|news\@example.com|{ses}|https://example.com/u/{{token}}\n"
	  . "2|Roses and more|editor|The Garden|news\@example.com|{ses}|https://example.com/u/{{token}}",
	'lists are newsletters');
is( $node->sql(
		'SELECT s.newsletter_id, s.email, s.name, s.state'
		  . ' FROM mailman.subscription s ORDER BY 1, 2'),
	join("\n",
		'1|ana@example.org|Ms Ana Maria de Sá|active',
		'1|blocked@example.org|Blocked|unsubscribed',
		'1|bo@example.org|Bo|active',
		'1|cross@example.org|Cross one|complained',
		'1|dead@example.org|Dead|bounced',
		'1|left@example.org|Left|unsubscribed',
		'1|list@example.org||active',
		'1|off@example.org|Off|pending',
		'2|ana@example.org|Ms Ana Maria de Sá|active',
		'2|bo@example.org|Bo|pending'),
	'subscribers are subscriptions, in their states');
is( $node->sql(
		"SELECT data->>'first_name', data->>'last_name', data->>'city',"
		  . " data ? 'stack' FROM mailman.subscription"
		  . " WHERE newsletter_id = 1 AND email LIKE 'ana%' UNION ALL"
		  . " SELECT data->>'first_name', data->>'last_name', NULL, NULL"
		  . " FROM mailman.subscription WHERE newsletter_id = 1"
		  . " AND email LIKE 'bo@%'"),
	"Ana|Sá|Porto|t\nBodo|Bo||",
	'attribs are data, with names as listmonk finds them');
is( $node->sql(
		'SELECT count(*) FROM mailman.subscription s'
		  . ' JOIN "old mail".subscribers l ON l.uuid::text = s.ref'
		  . ' AND l.email = s.email'),
	'10', 'ref is the UUID');
is( $node->sql('SELECT name, template FROM mailman.partial'
		  . ' WHERE newsletter_id = 2 ORDER BY 1'),
	join("\n",
		'listmonk-1-foot||<a href="{{unsubscribe_url}}">leave</a></html>',
		'listmonk-1-head|<html>{{name}}|',
		'listmonk-2-foot|',
		'listmonk-2-head|no content {{ L.T "x" }}'),
	'templates are partials');
is( $node->sql('SELECT newsletter_id, subject, state, send_at IS NULL,'
		  . ' text_body IS NULL, html_body IS NULL, headers'
		  . ' FROM mailman.letter ORDER BY id'),
	join("\n",
		'1|Spring, {{name}}|draft|t|f|f|{"X-Campaign": "{{data.city}}"}',
		'2|Spring, {{name}}|draft|t|f|f|{"X-Campaign": "{{data.city}}"}',
		'1|Text|draft|f|f|t|{}',
		'1|Complex|draft|t|t|f|{}',
		'1|Visual|draft|t|t|f|{}'),
	'campaigns that were not begun are drafts');
is($node->sql('SELECT html_body FROM mailman.letter WHERE id = 1'),
	"{{>listmonk-1-head}}$mustache\{{>listmonk-1-foot}}",
	'Go template to Mustache');
is($node->sql('SELECT text_body FROM mailman.letter WHERE id = 3'),
	'Just {{email}}', 'a plain one is text');
is($node->sql("SELECT html_body FROM mailman.letter WHERE subject = 'Visual'"),
	'<i>v</i>', 'a visual one has no template');

# ---- what is reported

my ($alone, $nobody, $off) = map {
	$node->sql(qq{SELECT uuid FROM "old mail".subscribers WHERE name = '$_'})
} qw(Alone Nobody Off);
my $report = (split(/^(?=campaign)/m, $out, 2))[1];
is( $report,
	join("\n",
		'campaign|Complex|it was to come from other@example.com, its newsletter from news@example.com',
		'campaign|Complex|markdown: html_body is to be made of it',
		'campaign|Complex|not converted: {{ .Campaign.UUID }}',
		'campaign|Complex|not converted: {{ end }}',
		'campaign|Complex|not converted: {{ if eq .Subscriber.Attribs.city "Porto" }}',
		'campaign|Listless|not taken: it has no list',
		'campaign|Opt in|not taken: it asks for opt-in',
		'campaign|Running|not taken: it is running',
		'campaign|Short|not taken: it does not go by mail',
		'campaign|Spring|a letter for each of its 2 lists: who is in several gets several',
		'campaign|Spring|header field From left out: "From" cannot be a header field of a letter',
		'campaign|Text|was scheduled: mailman_send() the letter, it leaves at its send_at',
		(sort(
			"subscriber|$nobody|not taken: not an address mail can go to",
			"subscriber|$alone|not taken: in no list",
			"subscriber|$off|disabled: pending, gets no mail")),
		'template|Odd|its content does not stand in it once',
		'template|Odd|not converted: {{ L.T "x" }}',
		'template|Order|not taken: it is a tx',
		''),
	'what a person has to look at is reported');
like($out, qr/^1\|Garden\|3\|1\|4\|4$/m, 'and what was taken');
like(
	$node->sql_error("SELECT mailman_send(4)"),
	qr/html_body of letter 4 is not a valid template/,
	'what was not converted is not sent');

# ---- again: what is new, and who has left

$node->sql(q{
	UPDATE "old mail".subscriber_lists SET status = 'unsubscribed'
	 WHERE subscriber_id = 2 AND list_id = 1;
	UPDATE "old mail".subscriber_lists SET status = 'confirmed'
	 WHERE subscriber_id = 2 AND list_id = 2;
	INSERT INTO "old mail".subscribers (email, name)
		VALUES ('new@example.org', 'Newcomer');
	INSERT INTO "old mail".subscriber_lists VALUES (11, 1, 'confirmed');
	UPDATE mailman.letter SET subject = 'Mine' WHERE id = 1;
	UPDATE mailman.subscription SET state = 'unsubscribed'
	 WHERE newsletter_id = 1 AND email = 'list@example.org'});
($ok, $out, $err) = migrate(@arguments);
ok($ok, 'the script runs again') or diag($err);
is( $node->sql(
		'SELECT newsletter_id, email, state FROM mailman.subscription'
		  . " WHERE email ~ '^(ana|bo|new|list)\@' ORDER BY 1, 2"),
	join("\n",
		'1|ana@example.org|active',
		'1|bo@example.org|unsubscribed',
		'1|list@example.org|unsubscribed',
		'1|new@example.org|active',
		'2|ana@example.org|active',
		'2|bo@example.org|active'),
	'adds who is new, and knows who has left or confirmed');
is( $node->sql('SELECT count(*), min(subject) FROM mailman.letter'),
	'5|Complex', 'no letter comes twice');
is($node->sql('SELECT subject FROM mailman.letter WHERE id = 1'),
	'Mine', 'and what was changed here stays');

# ---- and it is sent

$node->sql("SET ROLE editor; SELECT mailman_send(2)");
$node->sql('RESET ROLE');
ok($node->wait_for_letter(2, 'sent'), 'a letter that was a campaign is sent');
my ($mail) = grep { $_->{to}[0] eq 'ana@example.org' } $relay->messages;
my $content = $relay->content($mail);
like($content, qr/^X-Campaign: Porto\r$/m, 'with its header field');
like($content, qr{Dear Ana S=C3=A1,how isPorto \(Porto,\r\ngo\)\?},
	'its text');
like($content, qr{<html>Ms Ana Maria de S=C3=A1\|}, 'its template');
is($relay->violations, 0, 'a decent mail');

done_testing();
