--
-- mailman_retry(): which deliveries are queued again, and the accounts that
-- must balance meanwhile.  All is rolled back.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_guest;
GRANT EXECUTE ON FUNCTION mailman_retry(bigint, text[])
	TO regress_mailman_app, regress_mailman_guest;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (owner, name, from_address, relays) VALUES
	('regress_mailman_app', 'Weekly', 'weekly@example.com', '{relay}');
UPDATE mailman.newsletter
   SET unsubscribe_url = 'https://example.com/u/{{token}}';
INSERT INTO mailman.subscription (newsletter_id, email)
SELECT 1, 'reader' || n || '@example.com' FROM generate_series(1, 9) n;
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
SELECT 1, 'Issue ' || n, 'Hello' FROM generate_series(1, 4) n;
SET client_min_messages = warning;
SELECT mailman_send(1), mailman_send(2);
RESET client_min_messages;

-- what a worker would have written of letter 1
SET session_replication_role = replica;
UPDATE mailman.delivery d SET state = w.state, attempts = w.attempts,
	due_at = CASE w.state WHEN 'deferred' THEN now() + interval '1 hour' END,
	reason = w.reason, code = w.code
  FROM (VALUES (1, 'delivered', 1, NULL, 250), (2, 'failed', 1, NULL, 550),
		(3, 'failed', 20, 'attempts used up', 451), (4, 'failed', 1, NULL, 550),
		(5, 'doubtful', 1, NULL, NULL), (6, 'doubtful', 1, NULL, NULL),
		(7, 'skipped', 0, 'subscription is unsubscribed', NULL),
		(8, 'deferred', 3, NULL, 450), (9, 'sending', 0, NULL, NULL))
	   AS w(id, state, attempts, reason, code)
 WHERE d.letter_id = 1 AND d.subscription_id = w.id;
DELETE FROM mailman.posting WHERE letter_id = 1;
UPDATE mailman.letter SET mail_order = '{"recipients": 9, "pending": 0,
	"sending": 1, "deferred": 1, "delivered": 1, "failed": 3, "skipped": 1,
	"doubtful": 2}' WHERE id = 1;
SET session_replication_role = origin;
-- of those that failed, one address is dead; of the doubtful, one complained
UPDATE mailman.subscription SET state = 'bounced' WHERE id = 4;
UPDATE mailman.subscription SET state = 'complained' WHERE id = 6;

-- the states of its deliveries, counted, and as the books have them
CREATE VIEW book AS
SELECT l.id AS letter, s.state,
	   (SELECT count(*) FROM mailman.delivery d
		 WHERE d.letter_id = l.id AND d.state = s.state) AS counted,
	   (l.mail_order ->> s.state)::bigint AS tally,
	   (SELECT coalesce(sum(CASE s.state WHEN 'skipped' THEN p.skipped
			   WHEN 'failed' THEN -p.failed WHEN 'doubtful' THEN -p.doubtful
			   WHEN 'pending' THEN p.recipients - p.skipped + p.failed
			   + p.doubtful END), 0) FROM mailman.posting p
		 WHERE p.letter_id = l.id AND NOT p.folded) AS posted
  FROM mailman.letter l,
	   unnest(ARRAY['pending', 'sending', 'deferred', 'delivered', 'failed',
					'skipped', 'doubtful']) AS s(state);
CREATE VIEW wrong AS SELECT * FROM book WHERE counted <> tally + posted;
CREATE VIEW retried AS
SELECT subscription_id, state, attempts, due_at = now() AS due_now, code,
	   reason FROM mailman.delivery WHERE letter_id = 1;
TABLE wrong;

-- the failed, of active subscriptions; by its default and as its owner
SET ROLE regress_mailman_app;
SELECT mailman_retry(1);
SELECT mailman_retry(1);
RESET ROLE;
SELECT * FROM retried ORDER BY 1;
SELECT low, high, recipients, skipped, failed, doubtful, folded
  FROM mailman.posting WHERE letter_id = 1 ORDER BY id;
TABLE wrong;
-- who was dead comes back to life
UPDATE mailman.subscription SET state = 'active' WHERE id = 4;
SELECT mailman_retry(1, '{failed}');
-- the doubtful, by name only
SELECT mailman_retry(1, '{doubtful}');
SELECT mailman_retry(1, ARRAY['failed', 'doubtful', 'failed']);
SELECT mailman_retry(1, '{}');
SELECT * FROM retried ORDER BY 1;
-- who is deferred need not wait, stays deferred, and moves no tally
SELECT mailman_retry(1, '{deferred}');
SELECT mailman_retry(1, '{deferred}');
SELECT * FROM retried WHERE state = 'deferred' ORDER BY 1;
SELECT low, high, recipients, skipped, failed, doubtful, folded
  FROM mailman.posting WHERE letter_id = 1 ORDER BY id;
SELECT * FROM book WHERE letter = 1;
TABLE wrong;
SELECT sum(counted) AS counted, sum(tally) AS tally, sum(posted) AS posted
  FROM book WHERE letter = 1;
SELECT mailman_deliveries(1);
SELECT state, state_reason, run, doubts FROM mailman.letter WHERE id = 1;

-- nobody is queued a second time by that
SELECT mailman_send(1);
SELECT mailman_send(1, '{2,3}');
TABLE wrong;

-- the worker takes the postings into the tally
SET session_replication_role = replica;
UPDATE mailman.posting SET folded = true WHERE letter_id = 1;
UPDATE mailman.letter SET mail_order = mail_order
	|| '{"pending": 4, "failed": 0, "doubtful": 1}' WHERE id = 1;
SET session_replication_role = origin;
TABLE wrong;

--
-- By the letter's state
--
SET session_replication_role = replica;
UPDATE mailman.delivery SET state = 'failed', reason = 'because'
 WHERE letter_id = 2 AND subscription_id <= 3;
DELETE FROM mailman.posting WHERE letter_id = 2;
UPDATE mailman.letter SET mail_order = '{"recipients": 9, "pending": 6,
	"sending": 0, "deferred": 0, "delivered": 0, "failed": 3, "skipped": 0,
	"doubtful": 0}' WHERE id = 2;
SET session_replication_role = origin;
TABLE wrong;
CREATE FUNCTION try_retry(was text) RETURNS text AS $$
DECLARE
	message text;
	hint text;
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE mailman.letter SET state = was WHERE id = 2;
	SET LOCAL session_replication_role = origin;
	message := mailman_retry(2) || ', ' || (SELECT state FROM mailman.letter
											 WHERE id = 2);
	IF EXISTS (TABLE wrong) THEN
		RAISE 'wrong';
	END IF;
	RAISE 'undo' USING ERRCODE = 'ZZZZZ';
EXCEPTION
	WHEN SQLSTATE 'ZZZZZ' THEN
		RETURN message;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
		RETURN format('%s %s (%s)', SQLSTATE, SQLERRM, hint);
END
$$ LANGUAGE plpgsql;
SELECT state, try_retry(state)
  FROM unnest(ARRAY['draft', 'scheduled', 'sending', 'paused', 'sent',
					'cancelled']) WITH ORDINALITY AS s(state, i) ORDER BY i;
-- a sent letter that is tried again is in the post again
SET session_replication_role = replica;
UPDATE mailman.letter SET state = 'sent' WHERE id = 2;
SET session_replication_role = origin;
SELECT mailman_cancel(2);
:sqlstate
SAVEPOINT before;
SELECT mailman_retry(2);
SELECT mailman_cancel(2);
TABLE wrong;
ROLLBACK TO before;
SELECT count(*) FROM mailman.posting WHERE letter_id = 2;
SELECT mailman_retry(2);
SELECT mailman_pause(2);
SELECT mailman_resume(2);
TABLE wrong;

--
-- Refused
--
SELECT mailman_retry(1, '{delivered}');
:sqlstate
SELECT mailman_retry(1, '{failed,skipped}');
:sqlstate
SELECT mailman_retry(1, '{failed,NULL}');
:sqlstate
SELECT mailman_retry(1, '{{doubtful},{""}}');
:sqlstate
SELECT mailman_retry(99);
:sqlstate
SELECT mailman_retry(3);
:sqlstate
SET ROLE regress_mailman_guest;
SELECT mailman_retry(1);
:sqlstate
RESET ROLE;
REVOKE EXECUTE ON FUNCTION mailman_retry(bigint, text[])
	FROM regress_mailman_guest;
SET ROLE regress_mailman_guest;
SELECT mailman_retry(1);
:sqlstate
RESET ROLE;
TABLE wrong;
ROLLBACK;
