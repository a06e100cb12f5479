
#-------------------------------------------------------------------------
#
# 092_secrets.pl
#	  The secret of tokens, private keys, and who was forgotten are nobody's:
#	  not by default privileges, not by grants of all tables, not by the log.
#
# Every attempt is a line of its own.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;

my $node = Mailman::Cluster->create('main',
	preload   => 1,
	extension => 0,
	conf      => {
		log_statement              => 'all',
		log_min_duration_statement => 0,
		log_min_error_statement    => 'error',
		log_parameter_max_length_on_error => -1
	});

my @nobodys = qw(secret dkim_key forgotten origin);

# ---- default privileges, of everything, to everybody; and away from PUBLIC

$node->sql(
	q{CREATE DATABASE plain;
	CREATE ROLE bi LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE app LOGIN;
	CREATE ROLE backup LOGIN BYPASSRLS;
	GRANT pg_read_all_data TO reader, backup;
	GRANT pg_monitor TO bi;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO bi, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO bi WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO bi;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO bi;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC});
$node->sql('CREATE EXTENSION mailman');

my $acls = q{
	SELECT m.name, m.acl FROM (
		SELECT tableoid, oid, oid::regclass::text,
			(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(
				relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END,
				relowner))) a)
		  FROM pg_class
		 UNION ALL
		SELECT tableoid, oid, oid::regprocedure::text,
			(SELECT array_agg(a::text ORDER BY a::text)
			   FROM unnest(coalesce(proacl, acldefault('f', proowner))) a)
		  FROM pg_proc
		 UNION ALL
		SELECT tableoid, oid, nspname,
			(SELECT array_agg(a::text ORDER BY a::text)
			   FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) a)
		  FROM pg_namespace) m (catalog, oid, name, acl)
	  JOIN pg_depend d ON d.classid = m.catalog AND d.objid = m.oid
	  JOIN pg_extension e ON e.oid = d.refobjid AND d.deptype = 'e'
		AND e.extname = 'mailman'
	 ORDER BY 1};
my $plain = $node->session(dbname => 'plain');
$plain->query('CREATE EXTENSION mailman');
my $wanted = $plain->query($acls);
cmp_ok(scalar(split /\n/, $wanted), '>', 60, 'there are rights to compare');
my %got = map { $_ => 1 } split /\n/, $node->sql($acls);
is_deeply(
	[
		grep { !$got{$_} } split /\n/, $wanted
	],
	[],
	'default privileges neither give nor take any right');
is(scalar(keys %got), scalar(split /\n/, $wanted), 'of anything');
$plain->quit;

# ---- secrets there, and a reader who may much

$node->sql("SELECT mailman_grant('app', 'send')");
my $newsletter = $node->newsletter(
	owner           => 'app',
	subscriptions   => 3,
	dkim_domain     => 'example.com',
	dkim_selector   => 'mail',
	unsubscribe_url => 'https://example.com/u/{{token}}');
my $letter = $node->letter($newsletter);
$node->sql("SELECT mailman_unsubscribe_url($letter, 1)");
$node->sql('SELECT mailman_forget(min(id)) FROM mailman.subscription');
my $pem = `openssl genpkey -algorithm ed25519`;
$node->sql("SELECT mailman_set_dkim_key($newsletter, '$pem')");
foreach my $table (qw(secret dkim_key forgotten))
{
	is($node->sql("SELECT count(*) FROM mailman.$table"),
		1, "there is something in $table");
}

# Refused, or not a row
sub nothing_of
{
	my ($session, $sql, $name) = @_;
	my ($text, $error) = $session->try($sql);

	ok((defined $error && $error =~ /^ERROR:  42501/)
		  || (!defined $error && ($text eq '' || $text eq '0')),
		$name)
	  or diag(defined $error ? $error : $text);
	return;
}

my %attempts = (
	'read a row'       => 'SELECT * FROM mailman.%s LIMIT 1',
	'count the rows'   => 'SELECT count(*) FROM mailman.%s',
	'copy them'        => 'COPY mailman.%s TO stdout',
	'see a row behind a function' =>
	  'SELECT * FROM mailman.%1$s t WHERE pg_temp.tell(t::text)',
	'estimate them' =>
	  q{SELECT most_common_vals FROM pg_stats WHERE schemaname = 'mailman'
		AND tablename = '%s' AND most_common_vals IS NOT NULL},
	'delete one'    => 'DELETE FROM mailman.%s RETURNING *',
	'lock them'     => 'BEGIN; LOCK TABLE mailman.%s IN ROW SHARE MODE;
		ROLLBACK',
	'put a trigger' =>
	  'CREATE TRIGGER t AFTER INSERT ON mailman.%s EXECUTE FUNCTION f()',
	'put a policy' => 'CREATE POLICY p ON mailman.%s USING (true)',
	'lift the fence' =>
	  'ALTER TABLE mailman.%s DISABLE ROW LEVEL SECURITY',
	'go around it' => 'BEGIN; SET LOCAL row_security = off;
		SELECT * FROM mailman.%s; ROLLBACK');

$node->sql("SELECT mailman_grant('bi', 'read')");
foreach my $role (qw(bi reader app))
{
	my $session = $node->session(user => $role);

	$session->query(q{CREATE FUNCTION pg_temp.tell(t text) RETURNS boolean
		LANGUAGE plpgsql COST 0.0001
		AS 'BEGIN RAISE NOTICE ''%'', t; RETURN true; END'});
	foreach my $table (@nobodys)
	{
		foreach my $what (sort keys %attempts)
		{
			nothing_of(
				$session,
				sprintf($attempts{$what}, $table),
				"$role, mailman.$table: $what");
		}
	}
	$session->quit;
}

# granted by somebody who meant well
$node->sql('GRANT SELECT ON ALL TABLES IN SCHEMA mailman TO bi');
my $bi = $node->session(user => 'bi');
foreach my $table (@nobodys)
{
	nothing_of($bi, "SELECT * FROM mailman.$table",
		"bi, granted all tables: mailman.$table");
}
cmp_ok($bi->query('SELECT count(*) FROM pg_stat_activity'),
	'>', 0, 'bi sees what others do');

# ---- what is logged, and what is seen, of a key

my $rsa = `openssl genrsa 1024 2>&1`;
$rsa =~ s/.*?(?=-----BEGIN)//s;
my $weak = `openssl genrsa 512 2>&1`;
$weak =~ s/.*?(?=-----BEGIN)//s;
my $bad = $pem;
$bad =~ s/^(.{40})..../$1AAAA/m;

# Whatever of a key could be told by: 20 characters in a row
sub shows_key
{
	my ($text, $key) = @_;

	foreach my $line (split /\n/, $key)
	{
		next if $line =~ /---/;
		return 1 if index($text, substr($line, 0, 20)) >= 0;
	}
	return 0;
}

my $app = $node->session(user => 'app');
my @statements = (
	[ 'no right', $app, "SELECT mailman_set_dkim_key($newsletter, '%s')", '42501' ],
	[ 'no newsletter', undef, "SELECT mailman_set_dkim_key(-1, '%s')", '42704' ],
	[ 'null', undef, "SELECT mailman_set_dkim_key(NULL, '%s')", '22004' ],
	[ 'a mistake', undef, "SELECT mailman_set_dkim_key(1, '%s') FRM x y", '42601' ],
	[ 'no such function', undef, "SELECT mailman_set_dkim_kye(1, '%s')", '42883' ],
	[ 'a wrong type', undef, "SELECT mailman_set_dkim_key('%s', 1)", '42883' ],
	[ 'a bad number', undef, "SELECT '%s'::bigint", '22P02' ],
	[ 'a later error', undef,
		"SELECT mailman_set_dkim_key($newsletter, '%s')\\; SELECT 1/0", '22012' ],
	[ 'a parameter', undef,
		"PREPARE s AS SELECT mailman_set_dkim_key(-1, \$1); EXECUTE s ('%s')",
		'42704' ],
	[ 'in a block', undef,
		"DO \$d\$BEGIN PERFORM mailman_set_dkim_key(-1, '%s'); END\$d\$",
		'42704' ],
	[ 'in EXECUTE', undef,
		"DO \$d\$BEGIN EXECUTE format('SELECT mailman_set_dkim_key(-1, %%L)',"
		  . "'%s'); END\$d\$",
		'42704' ],
	[ 'success', undef, "SELECT mailman_set_dkim_key($newsletter, '%s')", undef ]);

foreach my $case (@statements)
{
	my ($name, $session, $sql, $code) = @$case;

	foreach my $key ($pem, $rsa)
	{
		my $from = $node->log_position;
		my $own  = $session || $node->session;
		my ($text, $error) = $own->try(sprintf($sql, $key));
		my $log = slurp_file($node->logfile, $from);

		if (defined $code)
		{
			like($error, qr/^ERROR:  $code/, "a key, $name: an error");
		}
		else
		{
			is($error, undef, "a key, $name");
		}
		ok(length($log) > 0 && !shows_key($log, $key),
			'of which the log shows no key')
		  or diag($log);
		ok( !shows_key(
				$bi->query('SELECT query FROM pg_stat_activity WHERE pid = '
					  . $own->backend),
				$key),
			'and pg_stat_activity neither')
		  if $name eq 'success';
		$own->quit unless $session;
	}
}
$app->quit;

# what else is logged still is
my $from = $node->log_position;
$node->sql_error('SELECT 1/0 AS a_mistake');
ok(scalar($node->log_lines('STATEMENT:.*a_mistake', $from)),
	'other statements that fail are logged');

# ---- keys that are too small

my $notices = $node->session(notices => 1);
like(($notices->try("SELECT mailman_set_dkim_key($newsletter, '$weak')"))[1],
	qr/^ERROR:  22023: .*/s, '512 bits are refused');
my ($told) = $notices->try("SELECT mailman_set_dkim_key($newsletter, '$rsa')");
like($told, qr/01000: the RSA key has only 1024 bits/, '1024: a WARNING');
like($told, qr/v=DKIM1; k=rsa; p=/, 'and taken');
my $good = `openssl genrsa 2048 2>&1`;
$good =~ s/.*?(?=-----BEGIN)//s;
($told) = $notices->try("SELECT mailman_set_dkim_key($newsletter, '$good')");
like($told, qr/^v=DKIM1/, '2048: not a word');
$notices->quit;
$bi->quit;

$node->stop;
done_testing();
