-- The accounts of a letter: whatever is posted, in whatever order,
-- count(delivery) = tally in mail_order + counts of unfolded postings, every
-- recipient is in exactly one state, and nobody is in twice.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(52);

CREATE SERVER tap_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (id, name, from_address, relays) VALUES
	(900001, 'Weekly', 'weekly@example.com', '{tap_relay}'),
	(900002, 'Daily', 'daily@example.com', '{tap_relay}');
INSERT INTO mailman.subscription (id, newsletter_id, email, state)
SELECT 900000 + n, 900001 + n % 2, 'reader' || n || '@example.com',
	   (ARRAY['active', 'active', 'active', 'unsubscribed', 'bounced'])[n % 5 + 1]
  FROM generate_series(1, 1000) n;
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
SELECT 900000 + n, 900001, 'Issue ' || n, 'Hello' FROM generate_series(1, 6) n;

-- letters whose books do not balance
CREATE TEMP VIEW wrong AS
WITH book AS (
	SELECT l.id, l.mail_order,
		   (SELECT count(*) FROM mailman.delivery d WHERE d.letter_id = l.id)
		   AS deliveries,
		   (SELECT coalesce(sum(recipients), 0) FROM mailman.posting p
			 WHERE p.letter_id = l.id AND NOT folded) AS posted,
		   (SELECT coalesce(sum(skipped), 0) FROM mailman.posting p
			 WHERE p.letter_id = l.id AND NOT folded) AS skipped,
		   (SELECT coalesce(sum(failed), 0) FROM mailman.posting p
			 WHERE p.letter_id = l.id AND NOT folded) AS failed,
		   (SELECT coalesce(sum(doubtful), 0) FROM mailman.posting p
			 WHERE p.letter_id = l.id AND NOT folded) AS doubtful
	  FROM mailman.letter l)
SELECT id, 'recipients' AS what FROM book
 WHERE deliveries <> (mail_order ->> 'recipients')::bigint + posted
UNION ALL
SELECT id, 'sum of states' FROM book
 WHERE (mail_order ->> 'recipients')::bigint <>
	   (SELECT sum(value::bigint) FROM jsonb_each_text(mail_order)
		 WHERE key <> 'recipients')
UNION ALL
SELECT id, state FROM book,
	 LATERAL (VALUES ('pending'), ('sending'), ('deferred'), ('delivered'),
			  ('failed'), ('skipped'), ('doubtful')) s(state)
 WHERE (SELECT count(*) FROM mailman.delivery d
		 WHERE d.letter_id = book.id AND d.state = s.state) <>
	   (mail_order ->> state)::bigint +
	   CASE state WHEN 'skipped' THEN skipped
	   WHEN 'pending' THEN posted - skipped + failed + doubtful
	   WHEN 'failed' THEN -failed WHEN 'doubtful' THEN -doubtful ELSE 0 END
UNION ALL
SELECT d.letter_id, 'delivery outside of every posting'
  FROM mailman.delivery d
 WHERE d.state = 'pending' AND d.due_at IS NULL
   AND NOT EXISTS (SELECT FROM mailman.posting p
					WHERE p.letter_id = d.letter_id
					  AND d.subscription_id BETWEEN p.low AND p.high)
UNION ALL
SELECT d.letter_id, 'delivery of another newsletter'
  FROM mailman.delivery d
  JOIN mailman.letter l ON l.id = d.letter_id
  JOIN mailman.subscription s ON s.id = d.subscription_id
 WHERE s.newsletter_id <> l.newsletter_id
UNION ALL
SELECT p.letter_id, 'empty posting' FROM mailman.posting p
 WHERE recipients < 0 OR skipped > recipients OR recipients > 0 AND low > high
	OR recipients = 0 AND failed + doubtful <= 0 OR failed < 0 OR doubtful < 0;
CREATE FUNCTION pg_temp.balanced(description text) RETURNS text AS $$
SELECT is_empty('TABLE wrong', description)
$$ LANGUAGE sql;

SELECT pg_temp.balanced('before anything is sent');

-- to everybody
SELECT is(mailman_send(900001), (SELECT count(*) FROM mailman.subscription
	WHERE newsletter_id = 900001 AND state = 'active'),
	'every active subscription is queued, and no other');
SELECT pg_temp.balanced('after everybody was queued');
SELECT is(mailman_send(900001), 0::bigint, 'nobody is queued twice');
SELECT is((SELECT count(*) FROM mailman.posting WHERE letter_id = 900001),
	1::bigint, 'what queues none posts nothing');
SELECT pg_temp.balanced('after it was sent again');

-- to some, overlapping, active and not, all at once
SELECT is(mailman_send(900002, ARRAY(SELECT id FROM mailman.subscription
	WHERE newsletter_id = 900001 AND id <= 900100)),
	(SELECT count(*) FROM mailman.subscription WHERE newsletter_id = 900001
		AND id <= 900100 AND state = 'active'), 'the first hundred');
SELECT pg_temp.balanced('after the first hundred');
SELECT is(mailman_send(900002, ARRAY(SELECT id FROM mailman.subscription,
	generate_series(1, 3) WHERE newsletter_id = 900001 AND id BETWEEN 900051
	AND 900200 ORDER BY random())),
	(SELECT count(*) FROM mailman.subscription WHERE newsletter_id = 900001
		AND id BETWEEN 900101 AND 900200 AND state = 'active'),
	'the next, three times each, in any order, half of them known');
SELECT pg_temp.balanced('after an overlap');
SELECT lives_ok('SELECT mailman_send(900002)', 'then everybody');
SELECT pg_temp.balanced('after everybody was added');
SELECT is((SELECT count(*) FROM mailman.delivery WHERE letter_id = 900002
	AND state = 'skipped'), (SELECT count(*) FROM mailman.subscription
	WHERE newsletter_id = 900001 AND id <= 900200 AND state <> 'active'),
	'the inactive that were named are skipped');
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900002
	AND (state = ''skipped'') <> (reason IS NOT NULL)', 'each with a reason');

-- only inactive ones; then one by one
SELECT is(mailman_send(900003, ARRAY(SELECT id FROM mailman.subscription
	WHERE newsletter_id = 900001 AND state = 'bounced')), 0::bigint,
	'only the inactive: none is queued');
SELECT pg_temp.balanced('after only the inactive');
SELECT is((SELECT count(mailman_send(900003, ARRAY[id])) FROM
	mailman.subscription WHERE newsletter_id = 900001 AND id <= 900040),
	20::bigint, 'twenty, one by one');
SELECT pg_temp.balanced('after twenty postings');

-- readers come and go between two postings
UPDATE mailman.subscription SET state = 'unsubscribed'
 WHERE newsletter_id = 900001 AND id BETWEEN 900100 AND 900150
   AND state = 'active';
SELECT lives_ok('SELECT mailman_send(900004)', 'without those who left');
UPDATE mailman.subscription SET state = 'active'
 WHERE newsletter_id = 900001 AND id BETWEEN 900100 AND 900200;
SELECT cmp_ok(mailman_send(900004), '>', 0::bigint, 'with those who came');
SELECT is((SELECT count(*) FROM mailman.delivery WHERE letter_id = 900004
	AND state = 'pending'), (SELECT count(*) FROM mailman.subscription
	WHERE newsletter_id = 900001 AND state = 'active'),
	'everybody who is active now is queued');
SELECT pg_temp.balanced('after readers came and went');

-- what fails adds nothing, in whatever way
SELECT throws_ok('SELECT mailman_send(900005, ''{900002,900999999}'')', '42704',
	'subscription 900999999 does not exist', 'an unknown reader');
SELECT throws_ok($$
	WITH a AS (SELECT mailman_send(900005)), b AS
	(SELECT mailman_send(900005, NULL) FROM a) SELECT * FROM a, b$$, '22004',
	'recipients must not be null', 'a statement that fails after it queued');
DO $$
BEGIN
	PERFORM mailman_send(900005);
	RAISE 'no';
EXCEPTION WHEN raise_exception THEN
	NULL;
END
$$;
SAVEPOINT here;
SELECT mailman_send(900005, '{900002}') \g /dev/null
ROLLBACK TO here;
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900005
	UNION ALL SELECT 1 FROM mailman.posting WHERE letter_id = 900005
	UNION ALL SELECT 1 FROM mailman.letter WHERE id = 900005
	AND state <> ''draft''', 'nothing half queued');

-- paused, resumed, cancelled: no row of a delivery is rewritten
CREATE TEMP TABLE rows AS SELECT ctid AS place, * FROM mailman.delivery;
SELECT mailman_pause(900001), mailman_resume(900001), mailman_cancel(900002),
	   mailman_pause(900003), mailman_resume(900003) \g /dev/null
SELECT set_eq('SELECT ctid AS place, * FROM mailman.delivery',
			  'TABLE rows', 'no delivery was rewritten');
SELECT pg_temp.balanced('after pause, resume and cancel');

-- a worker has been at the third letter: three of each state, and the rest
-- delivered; then those that failed or are in doubt are tried again
SET LOCAL session_replication_role = replica;
UPDATE mailman.delivery d SET due_at = CASE w.state WHEN 'deferred'
	THEN now() + interval '1 hour' END, state = w.state, attempts = 1, code = 250
  FROM (SELECT subscription_id, CASE WHEN n <= 3 THEN 'deferred'
			   WHEN n <= 6 THEN 'failed' WHEN n <= 9 THEN 'doubtful'
			   ELSE 'delivered' END AS state
		  FROM (SELECT subscription_id, row_number() OVER
				(ORDER BY subscription_id) AS n FROM mailman.delivery
				 WHERE letter_id = 900003 AND state = 'pending') p) w
 WHERE d.letter_id = 900003 AND d.subscription_id = w.subscription_id;
UPDATE mailman.posting SET folded = true WHERE letter_id = 900003;
UPDATE mailman.letter l SET state = 'sending', mail_order = l.mail_order ||
	(SELECT jsonb_object_agg(state, n) || jsonb_build_object('recipients', sum(n))
	   FROM (SELECT state, count(*) AS n FROM mailman.delivery
			  WHERE letter_id = 900003 GROUP BY state) c)
 WHERE l.id = 900003;
SET LOCAL session_replication_role = origin;
SELECT pg_temp.balanced('after a worker''s turn');
UPDATE mailman.subscription SET state = 'bounced' WHERE id =
	(SELECT min(subscription_id) FROM mailman.delivery
	  WHERE letter_id = 900003 AND state = 'failed');
SELECT is(mailman_retry(900003), 2::bigint,
		  'those that failed are tried again, but not a dead address');
SELECT pg_temp.balanced('after a retry of the failed');
SELECT is(mailman_retry(900003, '{failed,doubtful}'), 3::bigint,
		  'those in doubt as well, by name');
SELECT pg_temp.balanced('after a retry of the doubtful');
SELECT is(mailman_retry(900003, '{failed,doubtful}'), 0::bigint,
		  'nobody twice');
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900003
	AND state = ''pending'' AND (due_at IS NULL OR attempts <> 0)',
	'they are due and have all their attempts before them');
SELECT is(mailman_send(900003) > 0, true, 'everybody else is added meanwhile');
SELECT pg_temp.balanced('after it was sent to everybody');

-- would we see it?  each of these is undone
CREATE FUNCTION pg_temp.noticed(tampering text) RETURNS text AS $$
DECLARE
	found bigint;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;
		EXECUTE tampering;
		SELECT count(*) INTO found FROM wrong;
		RAISE 'undo';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	RETURN cmp_ok(found, '>', 0::bigint, 'noticed: '
		|| regexp_replace(tampering, '\s+', ' ', 'g'));
END
$$ LANGUAGE plpgsql;
SELECT pg_temp.noticed(tampering) FROM unnest(ARRAY[
	'DELETE FROM mailman.posting WHERE letter_id = 900001',
	'DELETE FROM mailman.delivery WHERE letter_id = 900001
	 AND subscription_id = 900010',
	'UPDATE mailman.delivery SET state = ''delivered'' WHERE letter_id = 900001
	 AND subscription_id = 900010',
	'UPDATE mailman.posting SET folded = true WHERE letter_id = 900001',
	'UPDATE mailman.posting SET failed = failed + 1 WHERE letter_id = 900003',
	'UPDATE mailman.posting SET doubtful = 0 WHERE letter_id = 900003',
	'DELETE FROM mailman.posting WHERE letter_id = 900003 AND failed > 0',
	'UPDATE mailman.posting SET high = 900900 WHERE letter_id = 900001',
	'UPDATE mailman.letter SET mail_order = mail_order || ''{"failed": 1}''
	 WHERE id = 900001']) AS t(tampering);

-- scheduled and called back: as new
UPDATE mailman.letter SET send_at = 'infinity' WHERE id = 900006;
SELECT is((mailman_send(900006) > 0, mailman_send(900006, '{900004}')),
	(true, 0::bigint), 'scheduled');
SELECT pg_temp.balanced('while it is scheduled');
SELECT is(mailman_cancel(900006), 'draft', 'called back');
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900006
	UNION ALL SELECT 1 FROM mailman.posting WHERE letter_id = 900006',
	'its deliveries are gone');
SELECT pg_temp.balanced('after it was called back');
SELECT cmp_ok(mailman_send(900006), '>', 0::bigint, 'and it can be sent again');
SELECT pg_temp.balanced('at the end');

SELECT * FROM finish();
ROLLBACK;
