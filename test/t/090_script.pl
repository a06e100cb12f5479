
#-------------------------------------------------------------------------
#
# 090_script.pl
#	  What a stranger has planted is not what mailman's scripts find.
#
# The owner of a database, who is no superuser, has put thousands of functions and
# operators into its schema public that fit better than what is built in.  A
# superuser installs mailman there and uses it, moves listmonk's lists, and lets
# the exporter ask.  Nothing of the stranger's is called, and nothing of ours
# depends on it.  Installed as README shows it, what README's reader calls is
# ours, too.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Planted;

# to drop thousands of objects takes as many locks
my $node = Mailman::Cluster->create(
	'main',
	extension => 0,
	conf => { max_locks_per_transaction => 1000 });
my $planted = Mailman::Planted->new($node, 'dbo');
my $attempts = 0;

# ---- every script begins so, those of updates to come, too

foreach my $script (sort glob('src/mailman--*.sql'))
{
	my $text = slurp_file($script);
	$text =~ s{/[*].*?[*]/|^--.*?$|^\\echo.*?$}{}msg;
	like(
		$text,
		qr/\A\s*SET LOCAL search_path = pg_catalog, pg_temp;/,
		"$script looks for names in pg_catalog");
}

# ---- the traps

$node->sql('CREATE ROLE dbo LOGIN; CREATE ROLE editor LOGIN');
$node->sql('CREATE DATABASE traps OWNER dbo TEMPLATE template0');
my $number = $planted->plant('traps',
	join("\n",
		map { slurp_file($_) } 'src/mailman--1.0.sql',
		'src/mailman-from-listmonk.sql', 'src/mailman-metrics.yaml'));
cmp_ok($number, '>', 5000, "objects of a stranger: $number");
is($planted->loot('traps'), '', 'none of which was called yet');

sub no_loot
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$attempts++;
	return is($planted->loot($database), '', "no loot: $name");
}

# ---- a superuser installs mailman in public, and uses it

$node->sql('CREATE DATABASE news OWNER dbo TEMPLATE traps');
my $super = $node->session(dbname => 'news', notices => 1);
my $said = ($super->try('CREATE EXTENSION mailman'))[0];
like(
	$said,
	qr/WARNING: .*others may create functions in schema "public", where mailman's are.*DETAIL: +dbo may\..*HINT: .*CREATE SCHEMA mail;/s,
	'in a schema where others may create: a warning, with the better way');
no_loot('news', 'CREATE EXTENSION');
is($planted->outside('news'), '', 'nothing of ours depends on anything outside');

# the statements themselves call nothing
my @statements = (
	q{CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	  OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', rate '5/s', connections '3')},
	q{INSERT INTO mailman.newsletter (name, ref, from_name, from_address,
	  reply_to, relays, list_id, unsubscribe_url, unsubscribe_mailto,
	  bounce_address, feedback_id, precedence, retry_schedule, max_message_size,
	  max_attempts, max_age)
	  VALUES ('Garden', 'g', 'Zoë', 'zoe@example.com', 'a@example.com',
	  '{relay}', 'weekly.example.com', 'https://example.com/u/{{token}}',
	  'leave@example.com', 'b+{{verp}}@example.com', 'f', 'bulk', '1min, 1h',
	  100000, 7, '1 day')},
	q{UPDATE mailman.newsletter SET relays = '{}', max_age = '2 days'},
	q{UPDATE mailman.newsletter SET relays = '{relay}'},
	q{INSERT INTO mailman.subscription (newsletter_id, ref, email, name, data)
	  VALUES (1, 'r', 'ana@example.org', 'Ana', '{"city": "Porto"}')},
	q{INSERT INTO mailman.subscription (newsletter_id, email)
	  VALUES (1, 'ANA@example.org') ON CONFLICT DO NOTHING},
	q{UPDATE mailman.subscription SET email = 'bo@example.org'},
	q{INSERT INTO mailman.letter (newsletter_id, ref, subject, text_body,
	  headers) VALUES (1, 'l', 'Hello', 'Hello {{name}}', '{"X-A": "b"}')},
	q{UPDATE mailman.letter SET subject = 'Hello again'},
	q{INSERT INTO mailman.attachment (letter_id, name, content, content_id)
	  VALUES (1, 'a', 'x', 'a')},
	q{DELETE FROM mailman.attachment},
	q{INSERT INTO mailman.partial VALUES (1, 'foot', 'bye')},
	q{INSERT INTO mailman.domain_limit (pattern, rate, connections)
	  VALUES ('*.example.org', '5/s', 2)},
	q{SELECT public.mailman_send('1'::bigint)},
	(
		map { "TABLE mailman.$_" }
		  qw(progress line work worker recipient failure_summary relay_status)),
	q{SELECT public.mailman_preview('1'::bigint, '1'::bigint)},
	q{SELECT * FROM public.mailman_preview_all('1'::bigint)},
	q{SELECT public.mailman_report('1'::bigint)},
	q{SELECT public.mailman_deliveries('1'::bigint)},
	q{SELECT public.mailman_test('1'::bigint, 't@example.com'::text)},
	q{SELECT * FROM public.mailman_check('relay'::text)},
	q{SELECT public.mailman_pause('1'::bigint)},
	q{SELECT public.mailman_resume('1'::bigint)},
	q{SELECT public.mailman_retry('1'::bigint, '{failed}'::text[])},
	q{CALL public.mailman_wait('1'::bigint, '0'::interval)},
	q{SELECT public.mailman_unsubscribe_url('1'::bigint, '1'::bigint)},
	q{SELECT public.mailman_cancel('1'::bigint)},
	q{UPDATE mailman.newsletter SET dkim_domain = 'example.com',
	  dkim_selector = 's'},
	q{SELECT public.mailman_set_dkim_key('1'::bigint, NULL::text)},
	q{SELECT public.mailman_retry_delay(3, '1min, 1h'::text)},
	q{SELECT public.mailman_is_address('a@example.com'::text)},
	q{SELECT public.mailman_adopt()},
	q{SELECT public.mailman_subscribe('1'::bigint, 'c@example.org'::text,
	  'C'::text, '{}'::jsonb, true)},
	q{SELECT public.mailman_forget('1'::bigint)},
	q{SELECT public.mailman_wake()},
	q{SELECT public.mailman_grant('editor'::name, 'send'::text)},
	q{SELECT public.mailman_revoke('editor'::name, 'read'::text)},
	q{CALL public.mailman_purge('0'::interval, 10)});
foreach my $statement (@statements)
{
	my (undef, $error) = $super->try($statement);
	my $short = substr($statement =~ s/\s+/ /gr, 0, 60);
	is($error, undef, "$short: works");
	no_loot('news', $short);
}

my ($token) = $super->query(
	q{SELECT public.mailman_unsubscribe_url('1'::bigint, '1'::bigint)}) =~
  m{/u/(\S+)};
is( ($super->try("SELECT public.mailman_unsubscribe('$token'::text)"))[1],
	undef, 'a token works');
no_loot('news', 'mailman_unsubscribe()');

# so that the above means something
$super->try('SELECT mailman_send(1)');
like($planted->loot('news'), qr/^superuser!, mailman_send$/,
	'what the warning is about');
$super->try('CREATE VIEW mailman.ours AS SELECT 100.0 * n AS n'
	  . ' FROM (VALUES (1::bigint)) v(n);'
	  . ' ALTER EXTENSION mailman ADD VIEW mailman.ours');
like(
	$planted->outside('news'),
	qr/view mailman\.ours depends on operator public\.\*\(numeric,bigint\)/,
	'a dependency outside would be found');
$super->quit;

# search_path is the session's again
my $after = $node->session(dbname => 'traps');
is( $after->query(
		'BEGIN; SET LOCAL search_path = pg_catalog, public; CREATE SCHEMA mail;'
		  . ' CREATE EXTENSION mailman SCHEMA mail; SHOW search_path;'),
	'pg_catalog, public',
	'search_path is what it was before');
$after->query('ROLLBACK');
$after->quit;

# ---- the three that were found to work once, and nothing else

$node->sql('CREATE DATABASE few OWNER dbo TEMPLATE template0');
my $few = $node->session(dbname => 'few', user => 'dbo');
$few->query(q{
	CREATE TABLE public.trace (what text);
	CREATE FUNCTION public.loot() RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.trace VALUES ('called');
		ALTER ROLE dbo SUPERUSER;
		RETURN 1;
	END $$;
	CREATE FUNCTION public.cardinality(text[]) RETURNS integer
	LANGUAGE plpgsql AS $$ BEGIN RETURN public.loot(); END $$;
	CREATE FUNCTION public.array_ndims(text[]) RETURNS integer
	LANGUAGE plpgsql AS $$ BEGIN RETURN public.loot(); END $$;
	CREATE FUNCTION public.times(numeric, bigint) RETURNS numeric
	LANGUAGE plpgsql AS $$ BEGIN RETURN public.loot(); END $$;
	CREATE OPERATOR public.* (LEFTARG = numeric, RIGHTARG = bigint,
		FUNCTION = public.times)});
$few->quit;
$few = $node->session(dbname => 'few', notices => 1);
$few->try('CREATE EXTENSION mailman');
is($planted->outside('few'), '', 'nothing of ours depends on one of them');
foreach my $statement (
	$statements[1], $statements[4],
	"INSERT INTO mailman.letter (newsletter_id, subject, text_body, state)"
	  . " VALUES (1, 'a', 'a', 'sent')",
	'TABLE mailman.progress')
{
	is(($few->try($statement))[1], undef, 'what made dbo a superuser works');
	no_loot('few', substr($statement =~ s/\s+/ /gr, 0, 40));
}
$few->quit;

# ---- as README says

my ($readme) = slurp_file('README.md') =~
  /^(CREATE SCHEMA mail;.*?^ALTER ROLE [^\n]*)/ms;
isnt($readme, undef, 'README tells how to install it') or $readme = '';
$node->sql('CREATE DATABASE safe OWNER dbo TEMPLATE traps');
my $dbo = $node->session(dbname => 'safe', user => 'dbo');
$dbo->query('ALTER DATABASE safe SET search_path = public');
$super = $node->session(dbname => 'safe', notices => 1);
($said, my $error) = $super->try($readme);
is($error, undef, 'the same way');
unlike($said, qr/WARNING/, 'no warning');
$super->quit;
$super = $node->session(dbname => 'safe', notices => 1);
is($planted->outside('safe'), '', 'nothing depends on anything outside');
no_loot('safe', 'installed so');
foreach my $call ($planted->calls)
{
	my ($name, $args) = $call =~ /^(\w+)\((.*)\)$/;
	$args = join(', ',
		map { $_ eq 'integer' ? '1' : "'x'" } split(/, /, $args));
	($said, $error) = $super->try("SELECT $name($args)");
	unlike("$said$error", qr/42883|42725/, "$name($args): ours is found");
	no_loot('safe', "$name($args)");
}
foreach my $statement (
	'CREATE FUNCTION mail.mailman_send(integer) RETURNS bigint LANGUAGE sql'
	  . ' RETURN 1',
	'DROP SCHEMA mail CASCADE',
	'ALTER SCHEMA mail OWNER TO dbo',
	'GRANT CREATE ON SCHEMA mail TO dbo',
	'DROP SCHEMA mailman CASCADE',
	'DROP EXTENSION mailman CASCADE',
	'ALTER FUNCTION mail.mailman_send(bigint) OWNER TO dbo',
	'ALTER ROLE postgres IN DATABASE safe SET search_path = public',
	'SELECT mail.mailman_send(1)')
{
	($said, $error) = $dbo->try($statement);
	if ($statement =~ /^GRANT/)
	{
		like($said, qr/01007|42501/, "$statement: nothing granted");
	}
	else
	{
		like($error, qr/42501/, "$statement: refused");
	}
	$attempts++;
}
$dbo->query('DROP SCHEMA public CASCADE');
is( $super->query(
		"SELECT extname FROM pg_extension WHERE extname = 'mailman'"),
	'mailman',
	'dbo drops schema public, and mailman is still there');
$attempts++;
$_->quit foreach $super, $dbo;

# ---- when it warns

$node->sql('CREATE ROLE app; CREATE ROLE boss SUPERUSER; CREATE DATABASE plain;'
	  . ' CREATE DATABASE theirs OWNER dbo');
foreach (
	[ 'plain', '', undef ],
	[ 'plain', 'GRANT USAGE ON SCHEMA public TO app', undef ],
	[ 'plain', 'GRANT CREATE ON SCHEMA public TO boss', undef ],
	[ 'plain', 'ALTER SCHEMA public OWNER TO boss', undef ],
	[ 'plain', 'GRANT CREATE ON SCHEMA public TO PUBLIC', 'PUBLIC' ],
	[ 'plain', 'GRANT CREATE ON SCHEMA public TO app', 'app' ],
	[ 'plain', 'GRANT CREATE ON SCHEMA public TO app, PUBLIC', 'PUBLIC, app' ],
	[ 'plain', 'ALTER SCHEMA public OWNER TO app', 'app' ],
	# it may grant it to itself again
	[
		'plain',
		'ALTER SCHEMA public OWNER TO app; REVOKE ALL ON SCHEMA public FROM app',
		'app'
	],
	[ 'theirs', '', 'dbo' ],
	[ 'theirs', 'ALTER SCHEMA public OWNER TO postgres', undef ],
	[
		'theirs',
		'ALTER SCHEMA public OWNER TO postgres;'
		  . ' GRANT CREATE ON SCHEMA public TO pg_database_owner',
		'dbo'
	])
{
	my ($database, $before, $whom) = @$_;
	my $session = $node->session(dbname => $database, notices => 1);
	$session->query("BEGIN; $before");
	($said) = $session->try('CREATE EXTENSION mailman');
	my ($named) = $said =~ /DETAIL: +(.*?) may\. /;
	is($named, $whom, "$database, $before: " . ($whom || 'no warning'));
	$session->query('ROLLBACK');
	$session->quit;
}

# ---- moving from listmonk, whose tables are dbo's

$node->sql('CREATE DATABASE listmonk OWNER dbo TEMPLATE traps');
$super = $node->session(dbname => 'listmonk');
$super->query($readme);
$super->query("SET search_path = mail;"
	  . " SELECT mailman_grant('editor'::name, 'send'::text)");
$dbo = $node->session(dbname => 'listmonk', user => 'dbo');
$dbo->query(q{
	SET search_path = pg_catalog, public;
	CREATE TYPE public.mood AS ENUM ('single', 'double', 'enabled', 'regular');
	CREATE TABLE public.lists (id integer, uuid uuid, name varchar(40),
		optin public.mood);
	CREATE TABLE public.subscribers (id integer, uuid uuid, email text,
		name text, attribs jsonb, status public.mood);
	CREATE TABLE public.subscriber_lists (subscriber_id integer,
		list_id integer, status text);
	CREATE TABLE public.templates (id integer, name text, type text, body text);
	CREATE TABLE public.campaigns (id integer, uuid uuid, name text,
		subject text, from_email text, body text, altbody text,
		content_type text, send_at timestamptz, headers jsonb, status text,
		type public.mood, messenger text, template_id integer);
	CREATE TABLE public.campaign_lists (campaign_id integer, list_id integer);
	CREATE TABLE public.settings (key text, value jsonb);
	CREATE TABLE public.bounces (subscriber_id integer, type text);
	GRANT SELECT ON ALL TABLES IN SCHEMA public TO editor;
	INSERT INTO public.lists
	VALUES (1, '00000000-0000-0000-0000-000000000001', 'Garden', 'single');
	INSERT INTO public.subscribers
	VALUES (1, '00000000-0000-0000-0000-000000000002', 'ana@example.org', 'Ana',
		'{"city": "Porto"}', 'enabled');
	INSERT INTO public.subscriber_lists VALUES (1, 1, 'confirmed');
	INSERT INTO public.templates VALUES (1, 'Plain', 'campaign',
		'{{ .Subscriber.Name }} {{ template "content" . }} {{ odd }}');
	INSERT INTO public.campaigns
	VALUES (1, '00000000-0000-0000-0000-000000000003', 'Spring',
		'Spring {{ .Subscriber.Name }}', 'Old <old@example.com>', 'Hello', '',
		'html', NULL, '[{"X-Campaign": "spring"}, {"From": "me"}]', 'draft',
		'regular', 'email', 1);
	INSERT INTO public.campaign_lists VALUES (1, 1);
	INSERT INTO public.settings
	VALUES ('app.from_email', '"Garden <news@example.com>"')});

sub migrate
{
	my ($user) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(
		[
			'psql', '-XAtq', '-U', $user, '-d', $node->connstr('listmonk'),
			'-f', 'src/mailman-from-listmonk.sql'
		],
		'>', \$out, '2>', \$err);
	return $err;
}

# whichever role runs it, with traps of the kind: not that far, and no loot
foreach my $user ('postgres', 'editor')
{
	foreach (
		[
			'a view',
			'ALTER TABLE public.lists RENAME TO real_lists;'
			  . ' CREATE VIEW public.lists AS SELECT id, uuid, name, optin'
			  . ' FROM public.real_lists'
			  . " WHERE public.loot('view') IS NOT NULL;"
			  . ' GRANT SELECT ON public.lists TO editor',
			'DROP VIEW public.lists; ALTER TABLE public.real_lists RENAME TO lists',
			'view public\.lists'
		],
		[
			'a cast',
			'CREATE FUNCTION public.evil(public.mood) RETURNS text'
			  . " LANGUAGE sql RETURN public.loot('cast')::text;"
			  . ' CREATE CAST (public.mood AS text)'
			  . ' WITH FUNCTION public.evil(public.mood)',
			'DROP FUNCTION public.evil CASCADE',
			'function public\.evil\(public\.mood\)'
		],
		[
			'an implicit cast of a key',
			'CREATE FUNCTION public.evil(public.mood) RETURNS bigint'
			  . " LANGUAGE sql RETURN length(public.loot('key')::text)::bigint;"
			  . ' CREATE CAST (public.mood AS bigint)'
			  . ' WITH FUNCTION public.evil(public.mood) AS IMPLICIT;'
			  . ' ALTER TABLE public.bounces DROP COLUMN subscriber_id;'
			  . ' ALTER TABLE public.bounces ADD COLUMN subscriber_id public.mood',
			'DROP FUNCTION public.evil CASCADE;'
			  . ' ALTER TABLE public.bounces DROP COLUMN subscriber_id;'
			  . ' ALTER TABLE public.bounces ADD COLUMN subscriber_id integer',
			'function public\.evil\(public\.mood\)'
		],
		[
			'a policy',
			'CREATE POLICY p ON public.subscribers'
			  . " USING (public.loot('policy') IS NOT NULL);"
			  . ' ALTER TABLE public.subscribers ENABLE ROW LEVEL SECURITY',
			'ALTER TABLE public.subscribers DISABLE ROW LEVEL SECURITY;'
			  . ' DROP POLICY p ON public.subscribers',
			# which no superuser meets
			$user eq 'editor' ? 'table public\.subscribers' : undef
		])
	{
		my ($name, $set, $reset, $refused) = @$_;
		$dbo->query($set);
		my $err = migrate($user);
		if (defined $refused)
		{
			like($err, qr/$refused would run code of role "dbo"/,
				"$user meets $name of listmonk's owner: refused");
		}
		else
		{
			is($err, '', "$user does not meet $name");
		}
		no_loot('listmonk', "$user, $name");
		$dbo->query($reset);
		$super->query('DELETE FROM mailman.letter; DELETE FROM mailman.partial;'
			  . ' DELETE FROM mailman.subscription;'
			  . ' DELETE FROM mailman.newsletter');
	}
	is(migrate($user), '', "$user moves all of it");
	no_loot('listmonk', "moved by $user");
	is( $super->query(
			'SELECT n.owner, n.from_address, s.email, l.subject'
			  . ' FROM mailman.newsletter n'
			  . ' JOIN mailman.subscription s ON s.newsletter_id = n.id'
			  . ' JOIN mailman.letter l ON l.newsletter_id = n.id'),
		"$user|news\@example.com|ana\@example.org|Spring {{name}}",
		"and it is all there");
	$super->query('DELETE FROM mailman.letter; DELETE FROM mailman.partial;'
		  . ' DELETE FROM mailman.subscription; DELETE FROM mailman.newsletter');
}
$_->quit foreach $super, $dbo;

# ---- the exporter's queries, even if it looks in schema public

my $yaml = slurp_file('src/mailman-metrics.yaml');
my @rights = $yaml =~ /^#\t((?:GRANT|ALTER ROLE) .*;)$/mg;
like($rights[-1], qr/ALTER ROLE exporter SET search_path = pg_catalog, pg_temp/,
	'the exporter is told where to look');
$super = $node->session(dbname => 'news');
$super->query('CREATE ROLE exporter LOGIN; GRANT CREATE ON DATABASE news'
	  . ' TO exporter');
$super->query($_) foreach @rights;
is( $node->session(dbname => 'news', user => 'exporter')
	  ->query('SHOW search_path'),
	'pg_catalog, pg_temp',
	'and does');
my $exporter = $node->session(dbname => 'news', user => 'exporter');
$exporter->query('SET search_path = public');
$exporter->query('CREATE SCHEMA exporter');
my @queries = $yaml =~ /^(\w+):\n  query: \|\n(.*?)^  metrics:/msg;
is(scalar(@queries), 12, 'six queries');
while (my ($name, $query) = splice(@queries, 0, 2))
{
	is(($exporter->try($query))[1], undef, "$name works");
	no_loot('news', $name);
	$exporter->query("CREATE VIEW exporter.$name AS $query");
}
is( $exporter->query(
		q{SET search_path = pg_catalog;
		SELECT string_agg(DISTINCT i.identity, ', ')
		  FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid
		  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
		   AND d.objid = r.oid,
			   pg_identify_object(d.refclassid, d.refobjid, 0) i
		 WHERE v.relnamespace = 'exporter'::regnamespace
		   AND i.schema NOT IN ('pg_catalog', 'mailman', 'exporter')}),
	'',
	'and depend on nothing outside');
$_->quit foreach $super, $exporter;

# ---- a dump by whoever is no superuser, as README says

$node->sql('CREATE DATABASE dumped OWNER dbo TEMPLATE template0;'
	  . ' CREATE ROLE backup LOGIN BYPASSRLS; GRANT pg_read_all_data TO backup');
$super = $node->session(dbname => 'dumped');
$super->query($readme);
$super->query(
	q{CREATE SERVER ses FOREIGN DATA WRAPPER mailman_smtp
	  OPTIONS (url 'smtps://relay.example.com');
	  CREATE USER MAPPING FOR PUBLIC SERVER ses
	  OPTIONS (username 'me', password 'hidden');
	  INSERT INTO mailman.newsletter (name, from_address)
	  VALUES ('Garden', 'zoe@example.com');
	  INSERT INTO mailman.subscription (newsletter_id, email)
	  VALUES (1, 'reader@example.org')});
$node->session(dbname => 'dumped', user => 'dbo')
  ->query('CREATE TABLE public.app AS SELECT 42 AS answer');
my ($major) = $node->sql('SHOW server_version') =~ /^(\d+)/;
my @without =
  ($major >= 17 ? '--exclude-extension=mailman' : '--extension=plpgsql',
	'--exclude-schema=mailman');

# (the dump, the error)
sub dump_by
{
	my ($user, @options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[
			'pg_dump', '-U', $user, @options, '-d', $node->connstr('dumped')
		],
		'>', \$out, '2>', \$err);
	return ($out, $err);
}

my ($dump, $err) = dump_by('dbo');
like(
	$err,
	qr/permission denied for schema mailman|may lack SELECT privilege/,
	'the owner of a database cannot dump the lists');
unlike($dump, qr/reader\@example/, 'and got nobody of them');
$attempts++;
($dump, $err) = dump_by('dbo', @without);
is($err, '', 'the rest it can');
like($dump, qr/^42$/m, 'which is there');
unlike($dump, qr/reader\@example|CREATE EXTENSION.*mailman/,
	'and nothing of mailman');
($dump, $err) = dump_by('backup');
is($err, '', 'a role that may read all, and around policies, dumps all');
like($dump, qr/reader\@example\.org/, 'readers');
unlike($dump, qr/hidden/, 'but no password');
$attempts++;
$node->sql('CREATE DATABASE restored TEMPLATE template0');
IPC::Run::run(
	[
		'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d',
		$node->connstr('restored')
	],
	'<', \$dump, '>', \my $ignored, '2>', \$err);
unlike($err, qr/ERROR/, 'a superuser restores it');
is( $node->session(dbname => 'restored')
	  ->query('SELECT email FROM mailman.subscription'),
	'reader@example.org',
	'with its readers');

# ---- what SECURITY.md asks the catalogs

my ($look) = slurp_file('SECURITY.md') =~ /^```sql\n(.*?)^```/ms;
is( join("\n", sort split(/\n/, $super->query($look))),
	"credentials for everybody with USAGE: ses\nnewsletter of a superuser: 1",
	'what is worth a look is found');
$super->query(
	q{ALTER SERVER ses OPTIONS (SET url 'smtp://localhost', ADD tls 'none');
	  GRANT SELECT ON mailman.secret TO app; GRANT CREATE ON SCHEMA mail TO app;
	  UPDATE mailman.newsletter SET owner = 'app';
	  DROP USER MAPPING FOR PUBLIC SERVER ses});
is( join("\n", sort split(/\n/, $super->query($look))),
	"may create beside our functions: app\nrelay in clear text: ses\n"
	  . 'secrets granted: secret to app',
	'all of it');
$super->quit;

diag("$attempts attempts, none of use");
$node->stop;
done_testing();
