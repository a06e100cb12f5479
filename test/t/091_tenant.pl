
#-------------------------------------------------------------------------
#
# 091_tenant.pl
#	  Who owns nothing changes nothing; and tenants do not see each other.
#
# A line per attempt.  alice and bob have a newsletter each, nemo has 'send' and
# no newsletter, boss is admin.
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

$node->relay($_, $relay->url, connections => 2) foreach qw(shared private);
$node->sql(
	q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE nemo LOGIN;
	CREATE ROLE boss LOGIN;
	GRANT USAGE ON FOREIGN SERVER shared TO alice, bob, nemo;
	GRANT USAGE ON FOREIGN SERVER private TO bob});
$node->sql("SELECT mailman_grant('$_', 'send')") foreach qw(alice bob nemo);
$node->sql("SELECT mailman_grant('boss', 'admin')");
my %newsletter = map {
	$_ => $node->newsletter(
		owner         => $_,
		name          => $_,
		relays        => ['shared'],
		subscriptions => 5)
} qw(alice bob);
my %letter = map { $_ => $node->letter($newsletter{$_}) } qw(alice bob);
my %draft  = map { $_ => $node->letter($newsletter{$_}) } qw(alice bob);
my %person = map { $_ => $node->session(user => $_) } qw(alice bob nemo boss);
my $reader = $node->sql('SELECT min(id) FROM mailman.subscription'
	  . " WHERE newsletter_id = $newsletter{bob}");

$node->sql("INSERT INTO mailman.partial VALUES ($newsletter{bob}, 'footer',"
	  . " 'Bye'); INSERT INTO mailman.attachment (letter_id, name, content)"
	  . " VALUES ($draft{bob}, 'a.txt', 'a')");
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 h'"
	  . " WHERE id = $letter{bob}");
$person{bob}->query("SELECT mailman_send($letter{bob})");

# All that bob has, by which it is seen whether an attempt has changed anything
sub fingerprint
{
	return $node->sql(
		join(' UNION ALL ',
			map { "SELECT md5(string_agg(x::text, ',' ORDER BY x::text))"
				  . " FROM mailman.$_" }
			  "newsletter x WHERE id = $newsletter{bob}",
			(map { "$_ x WHERE newsletter_id = $newsletter{bob}" }
				  qw(subscription letter partial forgotten)),
			(map { "$_ x WHERE letter_id IN (SELECT id FROM mailman.letter"
				  . " WHERE newsletter_id = $newsletter{bob})" }
				  qw(attachment delivery test posting)),
			'domain_limit x'));
}

# Refused, or nothing done; all the same what is bob's stays as it is
sub harmless
{
	my ($who, $sql) = @_;
	my $before = fingerprint();
	my ($output, $error) = $person{$who}->try($sql);
	my $after = fingerprint();

	ok($after eq $before, "$who: $sql")
	  or diag("output: $output, error: $error");
	return;
}

$node->sql("UPDATE mailman.newsletter SET ref = 'same' WHERE id ="
	  . " $newsletter{bob}; UPDATE mailman.letter SET ref = 'same' WHERE id ="
	  . " $draft{bob}");

# ---- what is bob's, by plain SQL

foreach my $who (qw(nemo alice))
{
	harmless($who, "UPDATE mailman.newsletter SET $_ WHERE id = $newsletter{bob}")
	  foreach (
		"owner = '$who'",
		"owner_oid = '$who'::regrole",
		"name = 'x'",
		"from_name = 'x'",
		"from_address = 'x\@evil.example'",
		"reply_to = 'x\@evil.example'",
		"relays = '{private}'",
		"policy = 'public.x'",
		"list_id = 'x'",
		"unsubscribe_url = 'https://evil.example/{{token}}'",
		"unsubscribe_mailto = 'x\@evil.example'",
		"bounce_address = 'x\@evil.example'",
		"dkim_domain = NULL, dkim_selector = NULL, name = 'x'",
		"max_age = '1 s'",
		"ref = 'x'");
	harmless($who, $_)
	  foreach (
		"DELETE FROM mailman.newsletter WHERE id = $newsletter{bob}",
		"UPDATE mailman.letter SET text_body = 'x' WHERE id = $letter{bob}",
		"UPDATE mailman.letter SET subject = 'x' WHERE id = $draft{bob}",
		"UPDATE mailman.letter SET send_at = now() WHERE id = $letter{bob}",
		"UPDATE mailman.letter SET newsletter_id = $newsletter{alice}"
		  . " WHERE id = $draft{bob}",
		"DELETE FROM mailman.letter WHERE id = $draft{bob}",
		"INSERT INTO mailman.letter (newsletter_id, subject, text_body)"
		  . " VALUES ($newsletter{bob}, 'x', 'x')",
		"UPDATE mailman.subscription SET email = 'x\@evil.example'"
		  . " WHERE id = $reader",
		"UPDATE mailman.subscription SET state = 'unsubscribed'",
		"UPDATE mailman.subscription SET newsletter_id = $newsletter{alice}"
		  . " WHERE id = $reader",
		"DELETE FROM mailman.subscription WHERE id = $reader",
		"INSERT INTO mailman.subscription (newsletter_id, email)"
		  . " VALUES ($newsletter{bob}, 'x\@evil.example')",
		"INSERT INTO mailman.subscription (newsletter_id, email)"
		  . " SELECT newsletter_id, email FROM mailman.subscription"
		  . " WHERE id = $reader ON CONFLICT (newsletter_id, lower(email))"
		  . " DO UPDATE SET state = 'bounced'",
		"INSERT INTO mailman.attachment (letter_id, name, content)"
		  . " VALUES ($letter{bob}, 'invoice.exe', 'x')",
		"UPDATE mailman.attachment SET content = 'x'",
		"DELETE FROM mailman.attachment",
		"INSERT INTO mailman.partial VALUES ($newsletter{bob}, 'x', 'x')",
		"INSERT INTO mailman.partial VALUES ($newsletter{bob}, 'footer', 'x')"
		  . " ON CONFLICT (newsletter_id, name) DO UPDATE SET template = 'x'",
		"UPDATE mailman.partial SET template = 'x'",
		"DELETE FROM mailman.partial",
		"INSERT INTO mailman.domain_limit (pattern, rate)"
		  . " VALUES ('example.com', '1/d')",
		# and by functions
		"SELECT mailman_send($draft{bob})",
		"SELECT mailman_send($draft{bob}, ARRAY[$reader])",
		"SELECT mailman_test($draft{bob}, 'x\@evil.example')",
		"SELECT mailman_pause($letter{bob})",
		"SELECT mailman_resume($letter{bob})",
		"SELECT mailman_cancel($letter{bob})",
		"SELECT mailman_retry($letter{bob})",
		"SELECT mailman_subscribe($newsletter{bob}, 'x\@evil.example')",
		"SELECT mailman_forget($reader)",
		"SELECT mailman_grant('$who', 'admin')");
}
harmless('alice', "UPDATE mailman.letter SET newsletter_id = $newsletter{bob}"
	  . " WHERE id = $draft{alice}");
harmless('alice',
	"SELECT mailman_send($draft{alice}, ARRAY[$reader]::bigint[])");

# ids are given, and tell nothing of those of others
my $next = $node->sql('SELECT last_value FROM mailman.subscription_id_seq');
foreach my $id ($reader, $next + 1, $next + 1000, -1)
{
	my ($output, $error) = $person{alice}->try(
		'INSERT INTO mailman.subscription (id, newsletter_id, email)'
		  . " VALUES ($id, $newsletter{alice}, 'x\@example.com')");
	like(
		$error,
		qr/^ERROR:  42501: permission denied to choose the id of a subscription/,
		"alice: takes no id of her own choice: $id");
}
harmless('alice', $_)
  foreach (
	"UPDATE mailman.letter SET id = $draft{bob} WHERE id = $draft{alice}",
	"UPDATE mailman.letter SET id = 999 WHERE id = $draft{alice}",
	"UPDATE mailman.newsletter SET id = 999 WHERE id = $newsletter{alice}",
	"INSERT INTO mailman.letter (id, newsletter_id, subject)"
	  . " VALUES ($draft{bob}, $newsletter{alice}, 'x')"
	  . " ON CONFLICT (id) DO UPDATE SET subject = 'x'");
is( $node->sql("SELECT count(*) FROM mailman.letter WHERE id = 999")
	  . $node->sql('SELECT count(*) FROM mailman.newsletter WHERE id = 999'),
	'00',
	'nor gives one to what she has');

# locks of whole tables are everybody's matter
foreach my $mode ('ACCESS EXCLUSIVE', 'EXCLUSIVE', 'SHARE ROW EXCLUSIVE',
	'SHARE', 'SHARE UPDATE EXCLUSIVE')
{
	foreach my $table (qw(letter subscription recipient))
	{
		my ($output, $error) = $person{nemo}->try(
			"BEGIN; LOCK TABLE mailman.$table IN $mode MODE");
		like(
			$error,
			qr/^ERROR:  42501: permission denied to lock table "$table"/,
			"nemo: LOCK TABLE mailman.$table IN $mode MODE");
		$person{nemo}->query('ROLLBACK');
	}
}
$node->sql('CREATE SCHEMA nemo AUTHORIZATION nemo');
$person{nemo}->query('CREATE TABLE nemo.t (id bigint);'
	  . ' CREATE VIEW nemo.v AS SELECT * FROM nemo.t'
	  . ' WHERE id IN (SELECT id FROM mailman.letter)');
like(
	($person{nemo}->try('BEGIN; LOCK TABLE nemo.v'))[1],
	qr/^ERROR:  42501: permission denied to lock table "v"/,
	'nemo: nor by way of a view of his own');
$person{nemo}->query('ROLLBACK');
$person{nemo}->query('BEGIN; LOCK TABLE nemo.t; ROLLBACK');
$node->sql("UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'mailman'");
is( ($person{nemo}->try('BEGIN; LOCK TABLE nemo.t'))[1],
	undef,
	'what is not mailman\'s is nothing to it, in between versions too');
$person{nemo}->query('ROLLBACK');
$node->sql("UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'mailman'");
$person{nemo}->query('CREATE VIEW nemo.v0 AS SELECT * FROM nemo.t');
$person{nemo}->query("CREATE VIEW nemo.v$_ AS SELECT a.id FROM nemo.v"
	  . ($_ - 1)
	  . ' a, nemo.v'
	  . ($_ - 1)
	  . ' b')
  foreach 1 .. 22;
like(
	(   $person{nemo}->try(
			"SET statement_timeout = '100ms'; BEGIN; LOCK TABLE nemo.v22"))[1],
	qr/^ERROR:  57014:/,
	'nemo: views of millions of views can be cancelled');
$person{nemo}->query("ROLLBACK; RESET statement_timeout");
$person{nemo}
  ->query('BEGIN; LOCK TABLE mailman.letter IN ROW SHARE MODE; ROLLBACK')
  if $node->pg_version >= 16;
$node->sql('BEGIN; LOCK TABLE mailman.letter; ROLLBACK');

# ---- what is one's own

sub does
{
	my ($who, $sql) = @_;
	my ($output, $error) = $person{$who}->try($sql);

	is($error // "", "", "$who may: $sql");
	return $output;
}

does('alice', $_)
  foreach (
	"UPDATE mailman.newsletter SET from_name = 'Alice'"
	  . " WHERE id = $newsletter{alice}",
	"UPDATE mailman.letter SET subject = 'Alice' WHERE id = $draft{alice}",
	"INSERT INTO mailman.attachment (letter_id, name, content)"
	  . " VALUES ($draft{alice}, 'a.txt', 'a')",
	"INSERT INTO mailman.partial VALUES ($newsletter{alice}, 'footer', 'A')",
	"INSERT INTO mailman.subscription (newsletter_id, email)"
	  . " SELECT $newsletter{alice}, 'n' || n || '\@example.com'"
	  . ' FROM generate_series(1, 3) n',
	"INSERT INTO mailman.subscription (id, newsletter_id, email)"
	  . " VALUES (DEFAULT, $newsletter{alice}, 'd1\@example.com'),"
	  . " (DEFAULT, $newsletter{alice}, 'd2\@example.com')",
	"INSERT INTO mailman.subscription (newsletter_id, email)"
	  . " SELECT $newsletter{alice}, email FROM (VALUES ('z\@example.com'),"
	  . " ('y\@example.com')) v(email) ORDER BY email DESC",
	"UPDATE mailman.newsletter SET ref = 'same' WHERE id = $newsletter{alice}",
	"UPDATE mailman.letter SET ref = 'same' WHERE id = $draft{alice}",
	"DELETE FROM mailman.subscription WHERE newsletter_id ="
	  . " $newsletter{alice} AND email = 'n1\@example.com'",
	"WITH n AS (INSERT INTO mailman.newsletter (name, from_address) VALUES"
	  . " ('Second', 'a\@example.com') RETURNING id)"
	  . ' INSERT INTO mailman.letter (newsletter_id, subject, text_body)'
	  . " SELECT id, 'Second', 'x' FROM n RETURNING id",
	"UPDATE mailman.letter SET newsletter_id = (SELECT id FROM"
	  . " mailman.newsletter WHERE name = 'Second') WHERE id = $draft{alice}",
	"UPDATE mailman.letter SET newsletter_id = $newsletter{alice}"
	  . " WHERE id = $draft{alice}");

# ---- what belongs to everybody's

does('boss', $_)
  foreach (
	"UPDATE mailman.newsletter SET from_name = 'Boss'"
	  . " WHERE id = $newsletter{bob}",
	"UPDATE mailman.letter SET subject = 'Boss' WHERE id = $letter{bob}",
	"UPDATE mailman.subscription SET name = 'Boss' WHERE id = $reader",
	"UPDATE mailman.partial SET template = 'Boss'",
	"INSERT INTO mailman.domain_limit (pattern, rate)"
	  . " VALUES ('example.com', '1000/s')",
	"SELECT mailman_pause($letter{bob})",
	"SELECT mailman_preview($letter{bob}, $reader)",
	"SELECT mailman_deliveries($letter{bob})");
harmless('boss', "UPDATE mailman.newsletter SET $_ WHERE id = $newsletter{bob}")
  foreach ("owner = 'boss'", "policy = 'public.x'", "relays = '{private}'");
$node->sql("SELECT mailman_revoke('boss', 'admin')");
harmless('boss', "UPDATE mailman.letter SET subject = 'x' WHERE id = $draft{bob}");
harmless('boss', "SELECT mailman_cancel($letter{bob})");

# ---- what there is of others is not told: in the same words

sub same_words
{
	my ($mine, $theirs, $what) = @_;
	my @said;

	foreach my $sql ($mine, $theirs)
	{
		my ($output, $error) = $person{nemo}->try($sql);
		$error //= "no error";
		$error =~ s/\b\d+\b/N/g;
		$error =~ s/^LOCATION:.*$//mg;
		push @said, $error;
	}
	is($said[1], $said[0], "not told: $what");
	return;
}

my $none = 987654321;
same_words(sprintf($_->[0], $none), sprintf($_->[0], $_->[1]), $_->[0])
  foreach (
	[ 'SELECT mailman_send(%s)',        $draft{bob} ],
	[ 'SELECT mailman_send(%s, \'{}\')', $draft{bob} ],
	[ 'SELECT mailman_preview(%s)',     $draft{bob} ],
	[ 'SELECT mailman_deliveries(%s)',  $letter{bob} ],
	[ 'SELECT mailman_report(%s)',      $letter{bob} ],
	[ 'SELECT mailman_pause(%s)',       $letter{bob} ],
	[ 'SELECT mailman_resume(%s)',      $letter{bob} ],
	[ 'SELECT mailman_cancel(%s)',      $letter{bob} ],
	[ 'SELECT mailman_retry(%s)',       $letter{bob} ],
	[ 'CALL mailman_wait(%s)',          $letter{bob} ],
	[ 'SELECT mailman_test(%s, \'x@example.com\')', $letter{bob} ],
	[ "SELECT mailman_unsubscribe_url(%s, $reader)", $letter{bob} ],
	[ 'SELECT mailman_subscribe(%s, \'x@example.com\')', $newsletter{bob} ],
	[ 'SELECT mailman_forget(%s)', $reader ],
	[ 'INSERT INTO mailman.letter (newsletter_id, subject) VALUES (%s, \'x\')',
		$newsletter{bob} ],
	[ 'INSERT INTO mailman.partial VALUES (%s, \'footer\', \'x\')',
		$newsletter{bob} ],
	[ 'INSERT INTO mailman.subscription (newsletter_id, email)'
		  . ' VALUES (%s, \'x@example.com\')', $newsletter{bob} ],
	[ 'INSERT INTO mailman.attachment (letter_id, name, content)'
		  . ' VALUES (%s, \'x\', \'x\')', $draft{bob} ]);

# ---- nor is it counted: whose a row is, is asked before anything else of it.
# Otherwise EXPLAIN (ANALYZE, BUFFERS) tells of which rows it was asked, which
# are those of others that meet the condition.

foreach my $setting ('cpu_operator_cost = 0.0025', 'cpu_operator_cost = 0',
	'enable_indexscan = off', 'enable_seqscan = off')
{
	foreach (
		[ 'subscription', "newsletter_id = $newsletter{bob} AND email > 'a'" ],
		[ 'subscription', "email = 'a' AND id > 0" ],
		[ 'subscription', "id = $reader AND name IS NOT NULL" ],
		[ 'subscription', "id = $reader AND email = name" ],
		[ 'subscription', "id > 0 AND state = 'active'" ],
		[ 'letter',       "id = $letter{bob} AND text_body < 'z'" ],
		[ 'letter',       "id = $letter{bob} AND strict" ],
		[ 'newsletter',   "id = $newsletter{bob} AND from_address > 'a'" ],
		[ 'newsletter',   "policy IS NULL AND reply_to IS NULL" ],
		[ 'partial',      "newsletter_id > 0 AND template > 'A'" ],
		[ 'attachment',   "letter_id = $draft{bob} AND content > 'a'" ],
		[ 'delivery',     "letter_id = $letter{bob} AND reply IS NULL" ],
		[ 'newsletter_email', "letter_id > 0 AND address > 'a'" ],
		[ 'test', "letter_id = $letter{bob} AND address > 'a'" ])
	{
		my ($table, $where) = @$_;
		my $plan = $person{alice}->query("SET $setting;"
			  . " EXPLAIN (COSTS OFF) SELECT FROM mailman.$table WHERE $where");

		like($plan, qr/ Filter: \(?mailman\.sees_\w+\(/,
			"$setting: who asks comes first: $table WHERE $where");
	}
	$person{alice}->query('RESET ALL');
}

# ---- nor are there samples of it, of which EXPLAIN makes estimates

$node->sql(
	"INSERT INTO mailman.subscription (newsletter_id, email, name)"
	  . " SELECT $newsletter{bob}, i || '\@example.com', 'Zoe' FROM"
	  . ' generate_series(1, 2000) i; ANALYZE mailman.subscription');
sub estimate
{
	my ($where) = @_;

	return ($person{alice}->query('EXPLAIN SELECT FROM mailman.subscription'
			  . " WHERE $where") =~ /rows=(\d+)/)[0];
}
is(estimate("name = 'Zoe'"), estimate("name = 'Nobody'"),
	'not estimated: how many are called so');
is(estimate("email > '1'"), estimate("email > '9'"),
	'not estimated: where their addresses are');
is( $node->sql(
		q{SELECT string_agg(format('%s.%s', c.relname, a.attname), ' ')
		  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		  JOIN pg_policy p ON p.polrelid = c.oid
		 WHERE c.relnamespace = 'mailman'::regnamespace AND a.attnum > 0
		   AND a.attname IN ('email', 'name', 'address', 'subject',
			'text_body', 'html_body', 'template', 'content', 'data',
			'variables', 'reply', 'from_address', 'detail')
		   AND a.attstattarget IS DISTINCT FROM 0}),
	'', 'no samples of persons and of what letters say');

is(scalar($relay->pairs), 0, 'nothing has left');

$_->quit foreach values %person;
$node->stop;
$relay->stop;
done_testing();
