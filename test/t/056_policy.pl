
#-------------------------------------------------------------------------
#
# 056_policy.pl
#	  newsletter.policy decides who gets a letter, when, with what and through
#	  which relay; and whatever else it does stays behind its fence.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Policy qw(policy_cluster policy letter_with);

my ($node, %relays) = policy_cluster(save => 1);

sub one
{
	my ($column, $letter) = @_;
	return $node->sql("SELECT $column FROM mailman.letter WHERE id = $letter");
}

# So many of each state, as text
sub states_are
{
	my ($letter, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %states = %{ $node->states($letter) };
	my $found = join(' ',
		map { "$_ $states{$_}" } grep { $states{$_} } sort keys %states);

	is($found, $expected, $name);
	$node->assert_sums($letter, $name);
	return;
}

sub reasons
{
	my ($letter, $state) = @_;
	return $node->sql("SELECT DISTINCT reason FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = '$state'");
}

# The number of mails a relay has for a letter's subject
sub mails_at
{
	my ($relay, $word) = @_;
	return
	  scalar grep { $relay->content($_) =~ /^Subject: $word/m }
	  $relay->messages;
}

subtest 'send, skip, defer, variables, errors, relays' => sub {
	my $policy = policy($node, 'mixed', q{
		CASE (s.data->>'number')::int % 6
		WHEN 0 THEN
			RETURN '{"action": "skip", "reason": "no more, \n please"}';
		WHEN 1 THEN
			IF clock_timestamp() < l.created_at + interval '2 seconds' THEN
				RETURN jsonb_build_object('action', 'defer', 'reason', 'asleep',
					'until', l.created_at + interval '2 seconds');
			END IF;
			RETURN '{"action": "send"}';
		WHEN 2 THEN
			RETURN jsonb_build_object('variables',
				jsonb_build_object('offer', 'for ' || s.name));
		WHEN 3 THEN
			RAISE EXCEPTION 'cannot decide on %', s.data->>'number'
				USING ERRCODE = 'MM001', HINT = 'Ask again.';
		WHEN 4 THEN
			RETURN NULL;
		ELSE
			RETURN '{"relay": "b"}';
		END CASE;});
	my $letter = letter_with(
		$node, $policy, 60,
		letter => {
			subject => 'Mixed',
			text_body => "Offer {{variables.offer}}.\n"
		});
	my $second = $node->sql(
		"SELECT id FROM mailman.subscription WHERE data->>'number' = '2'");
	my $preview = $node->sql("SELECT mailman_preview($letter, $second)");

	like($preview, qr/^Offer for Reader 2\.\r?$/m, 'a preview asks the policy');
	like(
		$node->told(
			    'SELECT length(mailman_preview('
			  . "$letter, (SELECT id FROM mailman.subscription"
			  . " WHERE data->>'number' = '6'))) > 0"),
		qr/would not get this mail now.*skipped by policy: no more,/s,
		'and says so of whom it would skip');
	$node->send($letter);
	ok( $node->wait_for(
			"SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND state = 'deferred' AND attempts = 0"
			  . " AND reason = 'deferred by policy: asleep'", 10),
		'deferred at no cost, with the reason');
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'delivered 40 failed 10 skipped 10', 'mixed');
	is(reasons($letter, 'skipped'),
		'skipped by policy: no more,   please', 'skipped: why');
	like(
		$node->sql(
			    "SELECT reason FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND subscription_id = $second + 1"),
		qr/^policy app\.mixed: cannot decide on 3 \(SQLSTATE MM001\).* HINT: Ask again\.$/,
		'failed: why');
	is( $node->sql(
			    'SELECT count(*) FROM mailman.newsletter_email e'
			  . ' JOIN mailman.subscription s ON s.id = e.subscription_id'
			  . " JOIN mailman.letter l ON l.id = letter_id WHERE l.id = $letter"
			  . " AND (s.data->>'number')::int % 6 = 1"
			  . " AND sent_at >= l.created_at + interval '2 seconds'"
			  . ' AND e.attempts = 1'),
		10,
		'who was deferred has it, not before, at the first attempt');
	is(mails_at($relays{b}, 'Mixed'), 10, 'those of relay b went there');
	is(mails_at($relays{a}, 'Mixed'), 30, 'all others to the first one');
	is( $node->sql(
			    'SELECT count(*) FROM mailman.newsletter_email e'
			  . ' JOIN mailman.subscription s ON s.id = e.subscription_id'
			  . " WHERE letter_id = $letter AND relay <> CASE"
			  . " WHEN (s.data->>'number')::int % 6 = 5 THEN 'b' ELSE 'a' END"),
		0,
		'each through its own');
	my ($mail) = grep { $_->{to}[0] =~ /r2\@example\.com/ }
	  $relays{a}->messages;
	my $bytes = $node->sql("SELECT mailman_preview($letter, $second)");
	(my $received = $relays{a}->content($mail)) =~ s/\r\n/\n/g;
	$bytes =~ s/\r\n/\n/g;
	chomp($received, $bytes);
	is($bytes, $received, 'a preview afterwards is what was received');
};

subtest 'many errors in a row pause the letter, and burn nobody' => sub {
	my $policy =
	  policy($node, 'broken', q{RETURN to_jsonb(1 / (s.id - s.id));});
	my $letter = letter_with($node, $policy, 60);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	like(
		one('state_reason', $letter),
		qr/^10 recipients in a row could not be decided on: policy app\.broken: division by zero \(SQLSTATE 22012\)/,
		'why');
	is($node->states($letter)->{failed}, 0, 'nobody has failed');
	policy($node, 'broken', 'RETURN NULL;');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'mended and resumed: sent');
	states_are($letter, 'delivered 60', 'broken');
};

subtest 'it writes: refused' => sub {
	my $policy = policy($node, 'writes',
		'INSERT INTO app.seen VALUES (s.id); RETURN NULL;');
	my $letter = letter_with($node, $policy, 30);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	like(one('state_reason', $letter),
		qr/cannot execute INSERT in a read-only transaction/, 'why');
	policy($node, 'writes',
		"PERFORM set_config('transaction_read_only', 'off', true);"
		  . ' INSERT INTO app.seen VALUES (s.id); RETURN NULL;');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'paused'), 'paused again');
	ok( $node->wait_for(
			"SELECT state_reason FROM mailman.letter WHERE id = $letter",
			qr/set transaction read-write mode|read-only/),
		'it cannot ask to write');
	is($node->sql('SELECT count(*) FROM app.seen'), 0, 'nothing is written');
};

subtest 'it runs as the owner, and settings do not leak' => sub {
	my $policy = policy($node, 'settings', q{
		found := current_setting('search_path');
		PERFORM set_config('search_path', 'app', false);
		PERFORM set_config('synchronous_commit', 'off', false);
		PERFORM set_config('statement_timeout', '1', false);
		PERFORM set_config('enable_indexscan', 'off', false);
		BEGIN
			SET ROLE postgres;
			who := 'escaped';
		EXCEPTION WHEN insufficient_privilege OR invalid_parameter_value THEN
			who := current_user;
		END;
		RETURN jsonb_build_object('variables',
			jsonb_build_object('path', found, 'who', who,
				'plans', (SELECT string_agg(g.name, ' ' ORDER BY g.name)
					FROM pg_catalog.pg_settings g
					WHERE (g.name LIKE 'enable\_%'
						AND g.name <> 'enable_indexscan'
						OR g.name IN ('jit', 'plan_cache_mode',
							'row_security'))
						AND g.setting <> g.reset_val)));},
		'found text; who text;');
	my $letter = letter_with(
		$node, $policy, 120,
		letter => { text_body => 'path {{variables.path}}' });

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'delivered 120', 'settings');
	is( $node->sql(
			"SELECT DISTINCT variables->>'who' FROM mailman.delivery"
			  . " WHERE letter_id = $letter"),
		'editor',
		'as the owner of the newsletter, and nobody else');
	cmp_ok(
		$node->sql(
			    'SELECT count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter"
			  . " AND variables->>'path' = 'pg_catalog, pg_temp'"),
		'>', 1,
		'each batch begins with the settings it should have');
	is( $node->sql(
			"SELECT DISTINCT coalesce(variables->>'plans', 'none')"
			  . " FROM mailman.delivery WHERE letter_id = $letter"),
		'none',
		'and is planned as the server plans, not as a worker does');
};

subtest 'it loops for ever on one' => sub {
	my $policy = policy($node, 'loops', q{
		WHILE (s.data->>'number')::int = 17 LOOP END LOOP;
		RETURN NULL;});
	my $letter = letter_with($node, $policy, 60);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'delivered 59 failed 1', 'loops');
	like(
		reasons($letter, 'failed'),
		qr/^policy app\.loops: canceling statement due to statement timeout \(SQLSTATE 57014\)/,
		'that one failed, with the reason');
};

subtest 'it loops for ever on all, mail in flight is served' => sub {
	my $policy = policy($node, 'stuck', 'LOOP END LOOP;');
	my $letter = letter_with($node, $policy, 30);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	like(one('state_reason', $letter),
		qr/^10 recipients in a row could not be decided on: .*timeout/, 'why');
	$node->assert_sums($letter, 'stuck');
	policy($node, 'stuck', 'RETURN NULL;');
	$node->sql("SELECT mailman_retry($letter)");
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'mended: sent');
	states_are($letter, 'delivered 30', 'stuck');
};

subtest 'it catches the cancellation and goes on' => sub {
	my $policy = policy($node, 'stubborn', q{
		LOOP
			BEGIN
				LOOP END LOOP;
			EXCEPTION WHEN query_canceled THEN
				NULL;
			END;
		END LOOP;});
	my $letter = letter_with($node, $policy, 30);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	is( one('state_reason', $letter),
		'newsletter.policy did not end when its time was over', 'why');
	states_are($letter, 'pending 30', 'nobody is lost');
};

subtest 'it would release the locks of the session' => sub {
	my $policy = policy($node, 'unlocks', q{
		IF (s.data->>'number')::int = 41 THEN
			PERFORM pg_advisory_unlock_all();
		END IF;
		RETURN NULL;});
	my $letter = letter_with(
		$node, $policy, 60,
		letter => { subject => 'Locked' });

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'delivered 59 failed 1', 'unlocks');
	like(
		reasons($letter, 'failed'),
		qr/^policy app\.unlocks: a policy cannot take or release advisory locks of its session \(SQLSTATE 42501\)/,
		'that one failed, with the reason');
};

subtest 'it releases them in a way that only a superuser can give it' => sub {
	$node->sql('CREATE FUNCTION app.let_go() RETURNS void LANGUAGE internal'
		  . q{ AS 'pg_advisory_unlock_all'});
	my $policy = policy($node, 'lets_go', q{
		IF (s.data->>'number')::int = 41 THEN
			PERFORM app.let_go();
		END IF;
		RETURN NULL;});
	my $letter = letter_with(
		$node, $policy, 60,
		letter => { subject => 'Unlocked' });

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	is( one('state_reason', $letter),
		'policy app.lets_go has released the locks of its session', 'why');
	policy($node, 'lets_go', 'RETURN NULL;');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'mended: sent');
	states_are($letter, 'delivered 60', 'lets go');
	is(mails_at($relays{a}, 'Unlocked'), 60, 'nobody got it twice');
};

subtest 'answers that are none' => sub {
	my $policy = policy($node, 'odd', q{
		RETURN CASE (s.data->>'number')::int
			WHEN 2 THEN '[]'
			WHEN 4 THEN '{"action": "maybe"}'
			WHEN 6 THEN '{"action": "defer"}'
			WHEN 8 THEN '{"relay": "c"}'
			WHEN 10 THEN '{"variables": [1]}'
			WHEN 12 THEN '{"colour": "blue"}'
			WHEN 14 THEN '{"action": "defer", "until": "soon"}'
			WHEN 16 THEN '{"action": 1}' END::jsonb;});
	my $letter = letter_with($node, $policy, 17);
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'delivered 9 failed 8', 'odd');
	my @said = (
		qr/answer of the policy is not an object/,
		qr/"action" in the answer of the policy is not "send"/,
		qr/defers without "until"/,
		qr/names relay "c", which newsletter\.relays does not list/,
		qr/"variables" in the answer of the policy is not an object/,
		qr/answers with "colour"/,
		qr/invalid input syntax for type timestamp with time zone: "soon"/,
		qr/"action" in the answer of the policy is not a string/);
	my @reasons = split(
		/\n/,
		$node->sql(
			'SELECT reason FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state = 'failed'"
			  . ' ORDER BY subscription_id'));
	like($reasons[$_], $said[$_], 'reason ' . ($_ + 1)) foreach 0 .. $#said;
};

subtest 'deferred longer than the newsletter waits' => sub {
	my $policy = policy($node, 'later', q{
		RETURN '{"action": "defer", "until": "infinity", "reason": "never"}';});
	my $letter =
	  letter_with($node, $policy, 3, newsletter => { max_age => '2 seconds' });

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	states_are($letter, 'failed 3', 'later');
	is(reasons($letter, 'failed'),
		'gave up as too old: deferred by policy: never', 'why');
	is( $node->sql(
			    'SELECT sum(attempts) FROM mailman.delivery'
			  . " WHERE letter_id = $letter"),
		0,
		'no attempt was charged');
};

subtest 'a relay that is down is waited for' => sub {
	my $policy = policy($node, 'wish', q{
		IF (s.data->>'number')::int % 2 = 0 THEN
			RETURN '{"relay": "b"}';
		END IF;
		RETURN NULL;});
	$relays{b}->stop;
	my $letter = letter_with($node, $policy, 40);
	$node->send($letter);
	ok( $node->wait_for(
			'SELECT count(*) FROM mailman.newsletter_email'
			  . " WHERE letter_id = $letter AND relay = 'a'", 20),
		'the others are not held up');
	$node->assert_sums($letter, 'b is down');
	is( $node->sql(
			    'SELECT count(*) FROM mailman.newsletter_email'
			  . " WHERE letter_id = $letter"),
		20,
		'nobody else has it');
	$relays{b}->start;
	ok($node->wait_for_letter($letter, 'sent'), 'sent when it is back');
	states_are($letter, 'delivered 40', 'wish');
	is( $node->sql(
			    'SELECT string_agg(relay || count, $$ $$ ORDER BY relay)'
			  . ' FROM (SELECT relay, count(*) FROM mailman.newsletter_email'
			  . " WHERE letter_id = $letter GROUP BY relay) r"),
		'a20 b20',
		'half through each');
};

subtest 'dropped while it is in use' => sub {
	my $policy = policy($node, 'gone', 'RETURN NULL;');
	my $letter = letter_with($node, $policy, 40);

	$node->send_to_gate($relays{a}, $letter, 'gone');
	$node->sql(
		'DROP FUNCTION app.gone(mailman.letter, mailman.subscription)');
	$relays{a}->open_gate;
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	like(one('state_reason', $letter),
		qr/^policy app\.gone\(mailman\.letter, mailman\.subscription\) of newsletter \d+ does not exist/,
		'why');
	policy($node, 'gone', 'RETURN NULL;');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'made again: sent');
	states_are($letter, 'delivered 40', 'gone');
};

$node->stop;
$_->stop foreach values %relays;
done_testing();
