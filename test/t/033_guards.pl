
#-------------------------------------------------------------------------
#
# 033_guards.pl
#	  Nobody's code runs with our rights, and nobody's code passes for ours.
#
# Role app has every privilege that can be granted on mailman's tables, so it
# may try to attach triggers to them and point foreign keys at them.  Neither
# gives it the extension owner's rights nor what the guards keep for the
# extension.  Triggers are refused when they are made; with that guard off, by
# what writes the table.  Those of a superuser's functions are welcome.  And
# the administrator's own switch: mailman.enabled.
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

my $relay = Mailman::Relay->new->start;
my %conf  = (
	max_worker_processes    => 24,
	'mailman.max_workers'   => 16,
	'mailman.poll_interval' => '100ms');
my %node = (
	np  => Mailman::Cluster->create('np', conf => \%conf),
	pre => Mailman::Cluster->create('pre', preload => 1, conf => \%conf));
my $node = $node{np};

$node->relay('relay', $relay->url, connections => 2);
$node->sql(
	q{CREATE ROLE app LOGIN;
	GRANT USAGE ON SCHEMA mailman TO app;
	GRANT ALL ON ALL TABLES IN SCHEMA mailman TO app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app;
	GRANT USAGE ON FOREIGN SERVER relay TO app;
	GRANT CREATE ON DATABASE postgres TO app});

# What postgres has: a draft, and somebody to whom nothing must go
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 3,
	pattern       => 'secret%s@example.com');
my $secret = $node->letter($newsletter);
my ($subscription) = split(
	/\n/,
	$node->sql(
		    'SELECT id FROM mailman.subscription'
		  . " WHERE newsletter_id = $newsletter ORDER BY id"));

# What app has
my $app = $node->session(user => 'app');
$app->query('CREATE SCHEMA app');
my $mine = $app->query(
	    'INSERT INTO mailman.newsletter'
	  . ' (name, from_address, relays, unsubscribe_url)'
	  . " VALUES ('Mine', 'app\@example.com', '{relay}',"
	  . " 'https://example.com/u/{{token}}') RETURNING id");

# Escalates if it is run by a superuser, and says no
$app->query(
	q{CREATE FUNCTION app.boom(bigint) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE 'ALTER ROLE app SUPERUSER';
		RETURN false;
	EXCEPTION WHEN insufficient_privilege THEN RETURN false;
	END $$});
$app->query('CREATE FUNCTION app.nothing() RETURNS trigger LANGUAGE plpgsql'
	  . ' AS $$ BEGIN RETURN new; END $$');
$app->query(
	q{CREATE FUNCTION app.letter() RETURNS bigint LANGUAGE sql
	BEGIN ATOMIC
		INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)
		SELECT id, 'Mine', 'Mine', now() + interval '1 h'
		  FROM mailman.newsletter WHERE name = 'Mine' RETURNING id;
	END});

sub is_harmless
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $super =
	  $node->sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'");
	$node->sql('ALTER ROLE app NOSUPERUSER') if $super ne 'f';
	return is($super, 'f', "$name: app is no superuser");
}

# ---- triggers are refused when they are made

foreach my $table (
	qw(letter subscription delivery newsletter_email posting secret origin
	attachment partial event newsletter))
{
	my (undef, $refused) =
	  $app->try("CREATE TRIGGER theirs BEFORE UPDATE ON mailman.$table"
		  . ' FOR EACH ROW EXECUTE FUNCTION app.nothing()');
	like(
		$refused,
		qr/permission denied to create trigger "theirs" on table "mailman\.$table"/,
		"made on $table: refused");
}
# a superuser's function, with arguments of app's choice
my (undef, $chosen) = $app->try(
	'CREATE TRIGGER theirs BEFORE UPDATE ON mailman.subscription FOR EACH ROW'
	  . " EXECUTE FUNCTION tsvector_update_trigger('data', 'app.x', 'email')");
like($chosen, qr/permission denied to create trigger/,
	'made of a function that is built in: refused');
# and the administrator's, of a function of app's
like(
	$node->sql_error(
		'CREATE TRIGGER theirs BEFORE UPDATE ON mailman.letter'
		  . ' FOR EACH ROW EXECUTE FUNCTION app.nothing()'),
	qr/trigger "theirs" on table "mailman\.letter" would run with/,
	'made by a superuser, of a function of app: refused');
$app->query('CREATE TABLE app.own (a int)');
$app->query('CREATE TRIGGER theirs BEFORE UPDATE ON app.own'
	  . ' FOR EACH ROW EXECUTE FUNCTION app.nothing()');
is($app->query("SELECT count(*) FROM pg_trigger WHERE tgname = 'theirs'"),
	'1', 'made on a table of its own: app may');

# ---- with that guard off, what writes looks

$node->sql('ALTER EVENT TRIGGER mailman_guard_triggers DISABLE');

# ---- a trigger of a function of ours, so to speak, but a condition of app's

$app->query(
	q{CREATE TRIGGER boom BEFORE INSERT ON mailman.subscription
	FOR EACH ROW WHEN (app.boom(new.id))
	EXECUTE FUNCTION tsvector_update_trigger(a, b, c)});
my (undef, $error) =
  $app->try("SELECT mailman_subscribe($mine, 'z\@example.com')");
like(
	$error,
	qr/trigger "boom" on table "mailman\.subscription" would run with/,
	'WHEN: mailman_subscribe() refuses, and names the trigger');
is_harmless('WHEN');
is( $node->sql(
		    'SELECT count(*) FROM mailman.subscription'
		  . " WHERE newsletter_id = $mine"),
	'0',
	'WHEN: nobody subscribed');
$node->sql('DROP TRIGGER boom ON mailman.subscription');
like($app->query("SELECT mailman_subscribe($mine, 'z\@example.com')"),
	qr/^\d+$/, 'WHEN: without the trigger it works');

# ---- any trigger on what we write of a function of theirs, whatever role made it

my $draft     = $node->letter($newsletter);
my $send      = "SELECT mailman_send($draft)";
my $subscribe = "SELECT mailman_subscribe($newsletter, 'z\@example.com')";
my %writer    = (
	letter       => $send,
	delivery     => $send,
	posting      => $send,
	origin       => $send,
	subscription => $subscribe,
	attachment   => "DELETE FROM mailman.letter WHERE id = $draft",
	partial      => "DELETE FROM mailman.newsletter WHERE id = $newsletter",
	secret       => "DELETE FROM mailman.newsletter WHERE id = $newsletter");
foreach my $table (sort keys %writer)
{
	my %make = (
		"theirs on $table" =>
		  "CREATE TRIGGER theirs BEFORE UPDATE ON mailman.$table"
		  . ' FOR EACH ROW EXECUTE FUNCTION app.nothing()'
	);
	$make{"ours on $table, with a condition"} =
		"CREATE TRIGGER theirs BEFORE UPDATE ON mailman.$table FOR EACH ROW"
	  . ' WHEN (app.boom(new.id)) EXECUTE FUNCTION mailman.guard_accounts()'
	  if $table eq 'letter' || $table eq 'subscription';
	foreach my $name (sort keys %make)
	{
		my $refused =
		  qr/trigger "theirs" on table "mailman\.$table" would run with/;

		$node->sql($make{$name});
		like($node->sql_error($writer{$table}),
			$refused, "$name: what writes it refuses, and names it");
		$node->sql("DROP TRIGGER theirs ON mailman.$table");
	}
}
is( $node->sql(
		    'SELECT (SELECT state FROM mailman.letter'
		  . " WHERE id = $draft), (SELECT count(*) FROM mailman.delivery)"),
	'draft|0',
	'theirs: nothing was queued');

# ---- a foreign key of app's, by which its code would run while we delete

my %reference = (
	delivery => 'letter_id bigint, subscription_id bigint,'
	  . ' FOREIGN KEY (letter_id, subscription_id) REFERENCES mailman.delivery',
	posting => 'id bigint REFERENCES mailman.posting',
	origin  => 'id bigint REFERENCES mailman.origin');
my $own = $app->query('SELECT app.letter()');
foreach my $table (sort keys %reference)
{
	foreach my $action ('', ' ON DELETE CASCADE', ' ON DELETE SET NULL')
	{
		my $name = "foreign key, $table$action";
		$app->query("CREATE TABLE app.ref ($reference{$table}$action)");
		my (undef, $refused) = $app->try("SELECT mailman_send($own)");
		like(
			$refused,
			qr/a foreign key of table "ref" refers to "mailman\.$table"/,
			"$name: refused, and named");
		is($node->letter_state($own), 'draft', "$name: nothing was queued");
		$app->query('DROP TABLE app.ref');
	}
}

# references to what we never delete are in nobody's way
$app->query(
	'CREATE TABLE app.ref (letter_id bigint REFERENCES mailman.letter'
	  . ' ON DELETE CASCADE, subscription_id bigint'
	  . ' REFERENCES mailman.subscription, email_id bigint'
	  . ' REFERENCES mailman.newsletter_email)');
$app->query("SELECT mailman_send($own)");
is($node->letter_state($own), 'scheduled', 'foreign key, harmless: sends');
$app->query("SELECT mailman_cancel($own)");
is($node->letter_state($own), 'draft', 'foreign key, harmless: called back');
$app->query('DROP TABLE app.ref');

# nor does a worker run their code when it deletes a posting
$app->query(
	q{CREATE FUNCTION app.on_delete() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		EXECUTE 'CREATE TRIGGER boom BEFORE UPDATE ON mailman.letter
			FOR EACH ROW WHEN (app.boom(new.id))
			EXECUTE FUNCTION tsvector_update_trigger(a, b, c)';
		RETURN old;
	END $f$});
my $later = $node->letter($newsletter,
	send_at => $node->sql("SELECT clock_timestamp() + interval '1 h'"));
$node->send($later);
my $from = $node->log_position;
$app->query(
	q{CREATE TABLE app.ref (id bigint
		REFERENCES mailman.posting ON DELETE CASCADE);
	CREATE TRIGGER on_delete BEFORE DELETE ON app.ref
		FOR EACH ROW EXECUTE FUNCTION app.on_delete()});
$app->query("INSERT INTO app.ref SELECT id FROM mailman.posting"
	  . " WHERE letter_id = $later");
$node->sql('UPDATE mailman.letter SET send_at = clock_timestamp()'
	  . " WHERE id = $later");
ok( $node->wait_for_log('a foreign key of table "ref" refers to', $from),
	'foreign key, worker: refuses to write, and says so');
like(
	$node->sql(
		"SELECT state || ': ' || reason FROM mailman.progress"
		  . " WHERE letter_id = $later"),
	qr/^scheduled: a foreign key of table "ref" refers to "mailman\.posting"/,
	'foreign key, worker: mailman.progress tells why');
is_harmless('foreign key, worker');
is($node->sql("SELECT count(*) FROM pg_trigger WHERE tgname = 'boom'"),
	'0', 'foreign key, worker: their code did not run');
$app->query('DROP TABLE app.ref');
ok($node->wait_for_letter($later, 'sent'),
	'foreign key, worker: without it the letter is sent');

# ---- a trigger that comes while a letter is sent

my $busy = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 30,
	pattern       => 'b%s@example.com');
my $letter = $node->letter($busy);
my $had    = $relay->status->{accepted};
$relay->gate(4);
$node->send($letter);
ok($relay->wait_for_held(2), 'a trigger comes: on its way');
my ($worker) = $node->workers($letter);
my $log = $node->log_position;
$app->query(
	q{CREATE TRIGGER boom BEFORE UPDATE ON mailman.delivery
	FOR EACH ROW WHEN (app.boom(new.letter_id))
	EXECUTE FUNCTION tsvector_update_trigger(a, b, c)});
$relay->open_gate;
ok($node->wait_for_log("letter $letter: .*trigger \"boom\"", $log),
	'a trigger comes: the worker refuses to write');
is(join(' ', $node->workers($letter)), $worker, 'a trigger comes: it waits');
ok( $node->wait_for(
		"SELECT reason FROM mailman.progress WHERE letter_id = $letter",
		qr/^trigger "boom" on table "mailman\.delivery" would run with/),
	'a trigger comes: mailman.progress tells why');
is_harmless('a trigger comes');
$node->sql('DROP TRIGGER boom ON mailman.delivery');
ok($node->wait_for_letter($letter, 'sent'),
	'a trigger comes: without it, it goes on');
is( $node->sql("SELECT doubts, run FROM mailman.letter WHERE id = $letter"),
	'0|1', 'a trigger comes: no doubt');
is($relay->status->{accepted} - $had, 30, 'a trigger comes: to all');
$node->assert_sums($letter, 'a trigger comes');

# ---- triggers of a superuser's functions, on everything, while one is sent

$node->sql('ALTER EVENT TRIGGER mailman_guard_triggers ENABLE ALWAYS');
$node->sql(
	q{CREATE TABLE audit (tab text, op text, letter bigint, role name);
	CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		INSERT INTO public.audit VALUES (TG_TABLE_NAME, TG_OP,
			(to_jsonb(new)->>'letter_id')::bigint, session_user);
		RETURN NULL;
	END $$});
foreach my $table (
	qw(letter subscription delivery newsletter_email posting test secret
	forgotten dkim_key origin relay_state domain_state attachment partial
	event))
{
	$node->sql("CREATE TRIGGER audit AFTER INSERT OR UPDATE ON mailman.$table"
		  . ' FOR EACH ROW EXECUTE FUNCTION audit()');
}
# as pg_repack has it
$node->sql(
	q{CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		INSERT INTO public.audit VALUES ('followed', TG_OP,
			coalesce(new.letter_id, old.letter_id), session_user);
		RETURN NULL;
	END $$;
	CREATE TRIGGER repack_trigger AFTER INSERT OR DELETE OR UPDATE
		ON mailman.delivery FOR EACH ROW EXECUTE FUNCTION follow('id');
	ALTER TABLE mailman.delivery ENABLE ALWAYS TRIGGER repack_trigger});
$had = $relay->status->{accepted};
my $audited = $node->letter($busy);
$app->query("SELECT mailman_subscribe($mine, 'zz\@example.com')");
$node->send($audited);
ok($node->wait_for_letter($audited, 'sent'), 'audited: a letter is sent');
is($relay->status->{accepted} - $had, 30, 'audited: to all, once');
$node->assert_sums($audited, 'audited');
is( $node->sql(
		"SELECT tab, op, count(*) FROM audit WHERE letter = $audited"
		  . " AND tab IN ('delivery', 'newsletter_email', 'followed')"
		  . ' GROUP BY 1, 2 ORDER BY 1, 2'),
	"delivery|INSERT|30\ndelivery|UPDATE|60\nfollowed|INSERT|30\n"
	  . "followed|UPDATE|60\nnewsletter_email|INSERT|30",
	'audited: not a row has escaped');
is( $node->sql(
		"SELECT count(*) FROM audit WHERE tab = 'subscription'"),
	'1', 'audited: nor has a reader');
is( $node->sql("SELECT reason IS NULL FROM mailman.progress"
		  . " WHERE letter_id = $audited"),
	't',
	'audited: nothing is in the way');
$node->sql("DROP TRIGGER repack_trigger ON mailman.delivery");
$node->sql("DROP FUNCTION audit() CASCADE");

# ---- an audit that catches an error while we write

$node->sql(
	q{CREATE TABLE seen (letter bigint PRIMARY KEY);
	CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		BEGIN
			INSERT INTO public.seen
			VALUES ((to_jsonb(new)->>'letter_id')::bigint);
		EXCEPTION WHEN unique_violation OR not_null_violation THEN
			NULL;
		END;
		RETURN new;
	END $$;
	CREATE TRIGGER before_guard BEFORE UPDATE ON mailman.letter
		FOR EACH ROW EXECUTE FUNCTION once();
	CREATE TRIGGER once AFTER INSERT OR UPDATE ON mailman.delivery
		FOR EACH ROW EXECUTE FUNCTION once()});
$had = $relay->status->{accepted};
my $caught = $node->letter($busy,
	send_at => $node->sql("SELECT clock_timestamp() + interval '1 h'"));
$log = $node->log_position;
$node->send($caught);
is($node->sql("SELECT mailman_pause($caught)"),
	'paused', 'caught errors: a letter is paused');
$node->sql('UPDATE mailman.letter SET send_at = clock_timestamp()'
	  . " WHERE id = $caught");
$node->sql("SELECT mailman_resume($caught)");
ok($node->wait_for_letter($caught, 'sent'), 'caught errors: it is sent');
is($relay->status->{accepted} - $had, 30, 'caught errors: to all, once');
is(scalar($node->log_lines('was not locked before', $log)),
	0, 'caught errors: what was locked is remembered');
$node->sql('DROP FUNCTION once() CASCADE');

# ---- an audit that always fires: what it writes refers to something

$node->sql(
	q{CREATE TABLE kind (name text PRIMARY KEY);
	CREATE TABLE trail (kind text REFERENCES kind);
	CREATE FUNCTION trail() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		INSERT INTO public.trail VALUES ('posted');
		RETURN NULL;
	END $$;
	CREATE TRIGGER trail AFTER INSERT ON mailman.delivery
		FOR EACH ROW EXECUTE FUNCTION trail();
	ALTER TABLE mailman.delivery ENABLE ALWAYS TRIGGER trail});
my $trailed = $node->letter($busy);
my ($reader) = $node->sql('SELECT min(id) FROM mailman.subscription'
	  . " WHERE newsletter_id = $busy");
like(
	$node->sql_error("SELECT mailman_send($trailed, ARRAY[$reader])"),
	qr/violates foreign key constraint "trail_kind_fkey"/,
	'always fires: its foreign keys are looked up');
$node->sql("INSERT INTO kind VALUES ('posted')");
is($node->sql("SELECT mailman_send($trailed, ARRAY[$reader])"),
	'1', 'always fires: and found');
ok($node->wait_for_letter($trailed, 'sent'), 'always fires: it is sent');
$node->sql('DROP FUNCTION trail() CASCADE');

# ---- mailman.enabled = off stops those at work

foreach my $how ('np', 'pre')
{
	my $name = "enabled, $how";
	my $slow = Mailman::Relay->new->start;
	my $on   = $node{$how};

	$on->relay('slow', $slow->url, connections => 2);
	my $list = $on->newsletter(relays => ['slow'], subscriptions => 40);
	my $long = $on->letter($list);
	$slow->gate(4);
	$on->send($long);
	ok($slow->wait_for_held(2), "$name: on its way");
	$on->sql('ALTER SYSTEM SET mailman.enabled = off');
	$on->sql('SELECT pg_reload_conf()');
	my $start = time;
	ok($on->wait_for_handed_back($long, 2), "$name: off, no more is begun");
	diag(sprintf '%s: obeyed after %.2f s', $name, time - $start);
	$slow->open_gate;
	ok($on->wait_for_no_worker($long), "$name: its worker ends");
	ok($on->wait_for_no_worker, "$name: so do those that only linger");
	my $count = $slow->status->{accepted};
	is($count, 6, "$name: in the middle");
	is_deeply(
		[ @{ $on->states($long) }{qw(delivered sending)} ],
		[ $count, 0 ],
		"$name: what was in flight is recorded");
	is( $on->sql("SELECT state, doubts FROM mailman.letter WHERE id = $long"),
		'sending|0', "$name: no doubt, and no other state");
	$on->assert_sums($long, "$name, off");
	is($on->sql('SELECT mailman_wake()'), '0', "$name: not to be woken");

	# those of other letters may linger for a moment
	$on->wait_for(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'", '0');
	ok( $on->stays(
			"SELECT count(*) FROM pg_stat_activity"
			  . " WHERE backend_type = 'mailman letter'",
			'0', 1),
		"$name: nobody is started");
	is($slow->status->{accepted}, $count, "$name: nothing leaves");

	$on->sql('ALTER SYSTEM RESET mailman.enabled');
	$on->sql('SELECT pg_reload_conf()');
	if ($how eq 'np')
	{
		ok( $on->wait_for('SHOW mailman.enabled', 'on'),
			"$name: on again");
		is($on->sql('SELECT mailman_wake()'), '1', "$name: woken");
	}
	ok($slow->wait_for_messages($count + 1), "$name: it goes on");
	ok($on->wait_for_letter($long, 'sent'), "$name: sent");
	is($slow->pairs, 40, "$name: to all");
	is(scalar($slow->duplicates), 0, "$name: nobody twice");
	is( $on->sql("SELECT doubts FROM mailman.letter WHERE id = $long"),
		'0', "$name: no doubt");
	$on->assert_sums($long, $name);
	$slow->stop;
}
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$_->stop foreach values %node;
$relay->stop;
done_testing();
