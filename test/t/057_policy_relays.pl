
#-------------------------------------------------------------------------
#
# 057_policy_relays.pl
#	  Relays that newsletter.policy names: who must take a slow one, or one
#	  that is out, waits at little cost and keeps nobody else waiting.  And
#	  what the fence and the count of errors must not let through.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Mailman::Policy qw(policy_cluster policy letter_with);

my ($node, %relays) = policy_cluster();

$node->relay('paced', $relays{b}->url, connections => 6, rate => '100/s');
$node->sql(
	'CREATE SEQUENCE app.steps; ALTER SEQUENCE app.steps OWNER TO editor');

# A letter to so many, who may be told to take any relay
sub letter_by
{
	my ($name, $body, $number) = @_;

	return letter_with(
		$node, policy($node, $name, $body), $number,
		newsletter => { relays => [ 'a', 'b', 'paced' ] });
}

sub sent_by
{
	my ($relay, $letter) = @_;
	return 'SELECT count(*) FROM mailman.newsletter_email'
	  . " WHERE letter_id = $letter AND relay = '$relay'";
}

# What all have, in so many ways
sub deliveries
{
	my ($columns, $letter) = @_;
	return $node->sql("SELECT DISTINCT $columns FROM mailman.delivery"
		  . " WHERE letter_id = $letter ORDER BY 1");
}

my $half = q{
	IF (s.data->>'number')::int % 2 = 0 THEN
		RETURN '{"relay": "b"}';
	END IF;
	RETURN NULL;};

subtest 'a slow relay keeps nobody waiting but its own' => sub {
	my $letter = letter_by('half', $half, 200);

	$relays{b}->gate(0);
	$node->send($letter);
	ok($node->wait_for(sent_by('a', $letter), 100),
		'all others are sent while it holds every mail');
	$node->assert_sums($letter, 'meanwhile');
	ok( $node->wait_for(
			"SELECT count(*) > 0 FROM mailman.delivery"
			  . " WHERE letter_id = $letter AND state = 'deferred'"
			  . q{ AND reason = 'deferred by policy, relay "b" is busy'}, 't'),
		'its own wait, and say for what');
	$relays{b}->open_gate;
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	is($node->sql(sent_by('b', $letter)), 100, 'through it alone');
	is(deliveries('attempts', $letter), 1, 'at one attempt each');
	is($relays{b}->duplicates, 0, 'nobody got it twice');
};

subtest 'who waits for room is fetched when there is some' => sub {
	my $letter = letter_by('all_b', q{RETURN '{"relay": "b"}';}, 300);

	$relays{b}->gate(0);
	$node->send($letter);
	ok( $node->wait_for(
			"SELECT count(*) >= 250 AND min(due_at) > now()"
			  . " FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND state = 'deferred'", 't'),
		'most have been told to wait');
	$node->sql('CREATE TABLE waited AS SELECT min(due_at) AS first'
		  . ' FROM mailman.delivery'
		  . " WHERE letter_id = $letter AND state = 'deferred'");
	$relays{b}->open_gate;
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	cmp_ok(
		$node->sql(
			    'SELECT count(*) FROM mailman.newsletter_email, waited'
			  . " WHERE letter_id = $letter AND sent_at < first"),
		'>', 100,
		'not when they were told to come back, but as soon as they could');
};

subtest 'a relay with a rate' => sub {
	my $letter = letter_by('paced', q{RETURN '{"relay": "paced"}';}, 150);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	cmp_ok(
		$node->sql(
			    'SELECT extract(epoch FROM max(sent_at) - min(sent_at))'
			  . " FROM mailman.newsletter_email WHERE letter_id = $letter"),
		'>', 1.2,
		'no faster than its rate');
};

subtest 'a relay that is out until a person acts' => sub {
	$node->sql('CREATE USER MAPPING FOR PUBLIC SERVER b'
		  . " OPTIONS (username 'nobody', password 'wrong')");
	my $letter = letter_by('half', $half, 200);

	$node->send($letter);
	ok($node->wait_for(sent_by('a', $letter), 100), 'the others are sent');
	ok( $node->wait_for(
			'SELECT count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state = 'deferred'"
			  . q{ AND reason LIKE 'relay "b": AUTH%'}, qr/^(?:[89]\d|100)$/),
		'its own wait');
	$node->sql('CREATE TABLE before AS SELECT subscription_id, xmin::text AS v'
		  . " FROM mailman.delivery WHERE letter_id = $letter");
	sleep 3;
	cmp_ok(
		$node->sql(
			    'SELECT count(*) FROM mailman.delivery d'
			  . ' JOIN before USING (subscription_id)'
			  . " WHERE letter_id = $letter AND d.xmin::text <> v"),
		'<', 50,
		'and next to nothing is written meanwhile');
	$node->sql('DROP USER MAPPING FOR PUBLIC SERVER b');
	$node->sql("SELECT mailman_pause($letter)");
	ok($node->wait_for_letter($letter, 'paused'), 'paused');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'mended: sent');
	is($node->sql(sent_by('b', $letter)), 100, 'through it alone');
};

subtest 'a relay that is not listed' => sub {
	my $letter = letter_by('nowhere', q{RETURN '{"relay": "c"}';}, 1);
	my $why = qr/policy app\.nowhere names relay "c", which newsletter\.relays does not list/;

	like(
		$node->told(
			    "SELECT length(mailman_preview($letter, max(id))) > 0"
			  . ' FROM mailman.subscription'),
		qr/would not get this mail now.*$why/s, 'a preview says so');
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	like(deliveries('reason', $letter), $why, 'and so does the delivery');
};

subtest 'errors of a batch that is asked again count once' => sub {
	my $letter = letter_by('twice', q{
		IF (s.data->>'number')::int <= 6 THEN
			RAISE EXCEPTION 'no';
		ELSIF (s.data->>'number')::int = 7 THEN
			PERFORM pg_sleep(60);
		END IF;
		RETURN NULL;}, 30);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'seven are not ten');
	is($node->states($letter)->{failed}, 7, 'and seven have failed');
	$node->assert_sums($letter, 'twice');
};

subtest 'it cannot reset its being read-only' => sub {
	my $letter = letter_by('reset', q{
		BEGIN
			IF (s.data->>'number')::int % 2 = 0 THEN
				RESET transaction_read_only;
			ELSE
				SET transaction_read_only TO DEFAULT;
			END IF;
		EXCEPTION WHEN feature_not_supported THEN	-- since 16
			NULL;
		END;
		BEGIN
			PERFORM nextval('app.steps');
			INSERT INTO app.seen VALUES (s.id);
		EXCEPTION WHEN read_only_sql_transaction THEN
			RETURN '{"variables": {"wrote": "no"}}';
		END;
		RETURN '{"variables": {"wrote": "yes"}}';}, 10);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	is(deliveries("coalesce(variables->>'wrote', reason)", $letter),
		'no', 'refused');
	is($node->sql('SELECT is_called FROM app.steps'), 'f',
		'the sequence has not moved');
};

subtest 'a time long ago' => sub {
	my $letter = letter_by('past', q{
		IF clock_timestamp() < l.created_at + interval '1 second' THEN
			RETURN '{"action": "defer", "until": "2000-01-01T00:00:00Z"}';
		END IF;
		RETURN NULL;}, 3);

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'sent');
	is($node->states($letter)->{delivered}, 3,
		'is a time: they were asked again');
};

$node->stop;
$_->stop foreach values %relays;
done_testing();
