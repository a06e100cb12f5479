
#-------------------------------------------------------------------------
#
# 094_policy.pl
#	  A hostile policy, in a worker and in the sessions of those who look.
#
# Each reader's data has a statement that the policy tries: what is to be
# refused is refused in both, and leaves nothing behind.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Policy qw(policy_cluster policy letter_with);

my ($node, %relays) = policy_cluster();

# all of them are to be seen, and none but the tries has time to lose
$node->sql('ALTER SYSTEM SET mailman.pause_rejections = 0');
$node->sql("ALTER SYSTEM SET mailman.policy_timeout = '10s'");
$node->sql('SELECT pg_reload_conf()');

# What an application keeps for its administrators, by who they log in as
my $me = $node->sql('SELECT session_user');
$node->sql(
	qq{CREATE ROLE boss LOGIN IN ROLE editor;
	CREATE ROLE chief LOGIN SUPERUSER;
	GRANT USAGE ON FOREIGN SERVER a, b TO editor;
	SELECT mailman_grant('editor', 'send');
	CREATE SCHEMA vault;
	GRANT USAGE ON SCHEMA vault TO PUBLIC;
	CREATE FUNCTION vault.open() RETURNS text
	LANGUAGE plpgsql SECURITY DEFINER AS \$\$
	BEGIN
		IF session_user NOT IN ('$me', 'chief', 'boss') THEN
			RAISE insufficient_privilege USING MESSAGE = 'the vault is shut';
		END IF;
		RETURN 'gold';
	END \$\$;
	CREATE SEQUENCE app.numbers; ALTER SEQUENCE app.numbers OWNER TO editor;});

my $locks = qr/cannot take or release advisory locks of its session/;
my $reads = qr/in a read-only transaction|read-write mode|cannot be reset/;
my $never = qr/permission denied|must be superuser|cannot set parameter|security-restricted|invalid transaction termination|cannot be executed from a function|Only roles|only superuser/;
my $write = 'INSERT INTO app.seen VALUES (1)';
my @tries = (
	# whose session is it?
	[ 'SELECT vault.open()',                    qr/the vault is shut/ ],
	[ 'SET ROLE boss; SELECT vault.open()',     $never ],
	[ "SET ROLE $me",                           $never ],
	[ 'RESET ROLE',                             $never ],
	[ "SET SESSION AUTHORIZATION $me",          $never ],
	[ 'RESET SESSION AUTHORIZATION',            $never ],
	[ "SELECT set_config('session_authorization', '$me', false)", $never ],
	[ "SELECT set_config('role', 'none', true)", $never ],
	# locks of the session
	(map { [ "SELECT $_", $locks ] }
		  'pg_advisory_lock(7)', 'pg_advisory_lock(7, 7)',
		'pg_advisory_lock_shared(7)', 'pg_advisory_lock_shared(7, 7)',
		'pg_try_advisory_lock(7)',    'pg_try_advisory_lock(7, 7)',
		'pg_try_advisory_lock_shared(7)',
		'pg_try_advisory_lock_shared(7, 7)',
		'pg_advisory_unlock(11)',        'pg_advisory_unlock(11, 11)',
		'pg_advisory_unlock_shared(11)', 'pg_advisory_unlock_shared(11, 11)',
		'pg_advisory_unlock_all()'),
	[ 'SELECT * FROM pg_advisory_unlock_all()', $locks ],
	[ 'SELECT 1 WHERE pg_advisory_unlock(11)',  $locks ],
	[
		q{DO $$ BEGIN PERFORM pg_advisory_unlock_all();
			EXCEPTION WHEN OTHERS THEN
			RAISE 'caught %', SQLERRM; END $$},
		qr/caught .*$locks/
	],
	# that it only reads
	[ $write,                                             $reads ],
	[ "RESET transaction_read_only; $write",              $reads ],
	[ "SET transaction_read_only TO DEFAULT; $write",     $reads ],
	[ "SET LOCAL transaction_read_only TO DEFAULT; $write", $reads ],
	[ "SET transaction_read_only = off; $write",          $reads ],
	[ "SET TRANSACTION READ WRITE; $write",               $reads ],
	[ "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; $write", $reads ],
	[ "SET default_transaction_read_only = off; $write",  $reads ],
	[ "RESET ALL; $write",                                $reads ],
	[
		"SELECT set_config('transaction_read_only', NULL, false); $write",
		$reads
	],
	[ "SELECT set_config('transaction_read_only', 'off', true); $write", $reads ],
	[ "SELECT nextval('app.numbers')",                    $reads ],
	[ 'SELECT pg_notify(\'mailman\', \'x\'); ' . $write,  $reads ],
	[ 'UPDATE mailman.letter SET subject = \'x\'',        $reads ],
	[ 'CREATE TEMP TABLE t (i int)',                      $reads ],
	# all else
	[ 'TABLE mailman.secret',                 $never ],
	[ 'TABLE mailman.dkim_key',               $never ],
	[ 'TABLE mailman.forgotten',              $never ],
	[ 'DISCARD ALL',                          $never ],
	[ 'DEALLOCATE ALL',                       $never ],
	[ 'PREPARE p AS SELECT 1',                $never ],
	[ 'LISTEN mailman',                       $never ],
	[ 'COMMIT',                               qr/EXECUTE of transaction commands/ ],
	[ 'COPY app.seen TO PROGRAM \'true\'',    $never ],
	[ 'SELECT pg_read_file(\'PG_VERSION\')',  $never ],
	[ 'ALTER ROLE editor SUPERUSER',          qr/$reads|$never/ ],
	[
		'ALTER SYSTEM SET mailman.enabled = off',
		qr/cannot run inside a transaction block/
	],
	[ 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', $never ]);

my $policy = policy($node, 'tries', q{
	EXECUTE s.data->>'try';
	RETURN '{"action": "skip", "reason": "done"}';});
my $newsletter = $node->newsletter(
	relays => ['a'],
	owner  => 'editor',
	policy => $policy);
my @readers = map {
	$node->sql('INSERT INTO mailman.subscription (newsletter_id, email, data)'
		  . " VALUES ($newsletter, gen_random_uuid() || '\@example.com',"
		  . ' jsonb_build_object($x$try$x$, $x$'
		  . $_->[0]
		  . '$x$::text)) RETURNING id')
} @tries;

# ---- in the sessions of those who look

my $letter = $node->letter($newsletter);

# Who the session is, what it may, and which locks it has
my $state = q{SELECT session_user, current_user, current_setting('role'),
	current_setting('session_authorization'), current_setting('is_superuser'),
	current_setting('transaction_read_only'),
	(SELECT string_agg(format('%s/%s/%s %s', classid, objid, objsubid, mode),
					   ' ' ORDER BY classid, objid, objsubid, mode)
	   FROM pg_locks
	  WHERE pid = pg_backend_pid() AND locktype = 'advisory')};

foreach my $who ([ $me, '' ], [ 'chief', '' ], [ 'boss', '' ],
	[ 'chief', 'SET ROLE boss' ], [ 'boss', 'SET ROLE editor' ])
{
	my ($user, $before) = @$who;
	my $name    = $user . ($before ? ", $before" : '');
	my $session = $node->session(user => $user, notices => 1);

	$session->query('SET client_min_messages = notice');
	$session->query($before) if $before;
	$session->query(
		'SELECT pg_advisory_lock(11); SELECT pg_advisory_lock(11);'
		  . ' SELECT pg_advisory_lock_shared(11, 11)');
	my $was = $session->query($state);
	foreach my $i (0 .. $#tries)
	{
		my ($try, $refused) = @{ $tries[$i] };
		my ($size, $said) = $session->try(
			"SELECT length(mailman_preview($letter, $readers[$i]))");
		my $all = ($size || '') . ($said || '');
		ok( $all =~ /would not get this mail now/ && $all =~ $refused
			  && $all !~ /skipped by policy/,
			"preview by $name: $try")
		  or diag($all);
	}
	is($session->query($state), $was, "preview by $name: all is as it was");
	my @errors = split(
		/\n/,
		$session->query(
			    "SELECT error FROM mailman_preview_all($letter)"
			  . ' ORDER BY subscription_id'));
	is(scalar(grep { !/^policy app\.tries: / } @errors),
		0, "preview of all by $name: all refused");
	is($session->query($state), $was, "preview of all by $name: as it was");
	# what was taken twice is still there twice
	is( $session->query(
			'SELECT pg_advisory_unlock(11), pg_advisory_unlock(11),'
			  . ' pg_advisory_unlock_shared(11, 11)'),
		't|t|t',
		"preview by $name: locks are as they were");
	if ($before)
	{
		$session->query('RESET ROLE');
		is($session->query('SELECT current_user'),
			$user, "preview by $name: RESET ROLE leads back");
	}
	$session->quit;
}
is($node->sql('SELECT vault.open()'), 'gold', 'the vault opens for some');

# ---- what a transaction may is not changed for who looks

my $session = $node->session(user => 'boss');
$session->query('BEGIN');
$session->query("SELECT length(mailman_preview($letter, $readers[0]))");
is($session->query('SHOW transaction_read_only'), 'off', 'it writes on');
$session->query("UPDATE mailman.letter SET subject = 'New' WHERE id = $letter");
$session->query('COMMIT; BEGIN READ ONLY');
$session->query("SELECT length(mailman_preview($letter, $readers[0]))");
is($session->query('SHOW transaction_read_only'), 'on', 'or not, as it began');
$session->query('COMMIT');
is($node->sql('SELECT count(*) FROM app.seen'), 0, 'nobody has written');

# ---- cursors of the session of who looks, which have names and no owner

my $cursors = $node->letter(
	$node->newsletter(
		relays        => ['a'],
		owner         => 'editor',
		policy        => policy($node, 'fetches', q{
	DECLARE
		c refcursor := 'gold';
		found text := (SELECT string_agg(statement, ' ') FROM pg_cursors);
	BEGIN
		BEGIN FETCH c INTO found;
		EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'MOVE NEXT IN "silver"'; found := found || ' moved';
		EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN CLOSE c; found := coalesce(found, '') || ' closed';
		EXCEPTION WHEN OTHERS THEN NULL; END;
		RETURN jsonb_build_object('action', 'skip', 'reason',
			coalesce('found: ' || found, 'nothing found'));
	END;}),
		subscriptions => 1));
my $looks = $node->session(user => $me);
$looks->query(q{BEGIN;
	DECLARE "gold" CURSOR FOR SELECT 'ingot';
	DECLARE "silver" CURSOR WITH HOLD FOR SELECT 'coin' UNION ALL SELECT 'spoon'});
is($looks->query("SELECT error FROM mailman_preview_all($cursors)"),
	'skipped by policy: nothing found',
	'a policy finds no cursor of who looks');
is($looks->query('FETCH ALL FROM gold'), 'ingot', 'it is where it was');
is($looks->query('FETCH ALL FROM silver'), "coin\nspoon", 'and the other');
$looks->query('COMMIT');
is($looks->query("SELECT error FROM mailman_preview_all($cursors)"),
	'skipped by policy: nothing found', 'nor one WITH HOLD');
is($looks->query('SELECT count(*) FROM pg_cursors'), 1, 'which is still there');
$looks->quit;

# ---- a preview that is called by the policy

my $inner = policy($node, 'inner',
	"RETURN jsonb_build_object('variables', jsonb_build_object('who',"
	  . " session_user || ' ' || current_user));");
my $within = letter_with($node, $inner, 1,
	letter => { text_body => "By {{variables.who}}.\n" });
like(
	$session->query("SELECT mailman_preview($within)"),
	qr/^By editor editor\.\r?$/m,
	'it is the owner in every way');
my $first = $node->sql('SELECT min(s.id) FROM mailman.subscription s'
	  . " JOIN mailman.letter l USING (newsletter_id) WHERE l.id = $within");
my $outer = policy(
	$node, 'outer',
	"RETURN jsonb_build_object('action', 'skip', 'reason',"
	  . " public.mailman_preview($within, $first) ~ 'By editor editor'"
	  . " || ' ' || session_user);");
my $nested = letter_with($node, $outer, 1);
$session->quit;
$session = $node->session(user => 'chief', notices => 1);
$session->query('SET client_min_messages = notice; SELECT pg_advisory_lock(3)');
my $was = $session->query($state);
like(
	join('', map { $_ || '' } $session->try("SELECT mailman_preview($nested)")),
	qr/skipped by policy: true editor/,
	'a preview in a preview');
is($session->query($state), $was, 'leaves all as it was');
$session->quit;

# ---- in a worker

$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'sent');
foreach my $i (0 .. $#tries)
{
	my ($try, $refused) = @{ $tries[$i] };
	my $had = $node->sql("SELECT state || ': ' || coalesce(reason, '')"
		  . " FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND subscription_id = $readers[$i]");

	ok($had =~ /^failed: policy app\.tries: / && $had =~ $refused,
		"worker: $try")
	  or diag($had);
}
is($node->sql('SELECT count(*) FROM app.seen'), 0, 'nobody has written');
is($node->sql("SELECT max(run) FROM mailman.letter WHERE id = $letter"),
	1, 'by one worker');
$node->assert_sums($letter, 'worker');

# ---- no address in what is logged, shown or told

$node->sql('ALTER SYSTEM SET mailman.pause_rejections = 3');
$node->sql('SELECT pg_reload_conf()');
my $from = $node->log_position;
foreach my $case (
	[ 'cast', 'RETURN to_jsonb(s.email::integer);', qr/"\[address\]"/ ],
	[
		'raised',
		q{RAISE 'no % here', s.email USING DETAIL = 'It is ' || s.email,
			HINT = 'Ask (' || s.email || ').';},
		qr/no \[address\] here .*DETAIL: It is \[address\] HINT: Ask \(\[address\]\)\./
	],
	[
		'quoted',
		q{RAISE 'not %', '"' || s.name || '"@example.com';},
		qr/not \[address\]/
	],
	[ 'relayed', q{RETURN jsonb_build_object('relay', s.email);},
		qr/names relay "\[address\]"/ ],
	[ 'keyed', q{RETURN jsonb_build_object(s.email, 1);},
		qr/answers with "\[address\]"/ ],
	[ 'until', q{RETURN jsonb_build_object('action', 'defer', 'until', s.email);},
		qr/timestamp with time zone: "\[address\]"/ ])
{
	my ($name, $body, $masked) = @$case;
	my $hides = letter_with($node, policy($node, $name, $body), 5);

	$node->send($hides);
	ok($node->wait_for_letter($hides, 'paused'), "$name: paused");
	like(
		$node->sql(
			"SELECT state_reason FROM mailman.letter WHERE id = $hides"),
		$masked,
		"$name: masked in letter.state_reason");
	like(
		$node->sql(
			"SELECT detail->>'reason' FROM mailman.event"
			  . " WHERE letter_id = $hides AND detail->>'to' = 'paused'"),
		$masked,
		"$name: in mailman.event");
	like($node->told("SELECT length(mailman_preview($hides))"),
		$masked, "$name: and in a preview");
}
is( $node->sql(
		q{SELECT count(*) FROM mailman.letter l WHERE state_reason ~ '@'
			OR EXISTS (SELECT FROM mailman.event e WHERE e.letter_id = l.id
				AND e.detail::text ~ '@')}),
	0,
	'no address anywhere');
is( scalar(
		grep { /r\d+\@example\.com|Reader \d+"\@/ && !/STATEMENT|NOTICE/ }
		  split(/\n/, substr(slurp_file($node->logfile), $from))),
	0,
	'nor in the log');

$node->stop;
$_->stop foreach values %relays;
done_testing();
