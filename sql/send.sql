--
-- mailman_send(): who is queued, what it returns, and the accounts that must
-- balance.  Everything is rolled back, so nothing leaves.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (name, from_address, relays) VALUES
	('Weekly', 'weekly@example.com', '{relay}'),
	('Daily', 'daily@example.com', '{relay}'),
	('Mute', 'mute@example.com', '{}');
UPDATE mailman.newsletter
   SET unsubscribe_url = 'https://example.com/u/{{token}}';
INSERT INTO mailman.subscription (newsletter_id, email, state)
SELECT 1, 'reader' || n || '@example.com',
	   CASE WHEN n <= 6 THEN 'active' ELSE
	   (ARRAY['pending', 'unsubscribed', 'bounced', 'complained'])[n - 6] END
  FROM generate_series(1, 10) n;
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (2, 'other@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
SELECT 1, 'Issue ' || n, 'Hello' FROM generate_series(1, 9) n;

-- a letter, its recipients and its accounts
CREATE VIEW account AS
SELECT l.id, l.state,
	   (SELECT count(*) FROM mailman.delivery d WHERE d.letter_id = l.id)
	   AS deliveries,
	   (l.mail_order ->> 'recipients')::bigint AS tally,
	   (SELECT coalesce(sum(p.recipients), 0) FROM mailman.posting p
		 WHERE p.letter_id = l.id AND NOT p.folded) AS unfolded,
	   (SELECT coalesce(sum(p.skipped), 0) FROM mailman.posting p
		 WHERE p.letter_id = l.id AND NOT p.folded) AS unfolded_skipped,
	   (SELECT count(*) FROM mailman.delivery d
		 WHERE d.letter_id = l.id AND d.state = 'skipped') AS skipped
  FROM mailman.letter l;

--
-- To everybody
--
SELECT mailman_send(1);
SELECT * FROM account WHERE id = 1;
SELECT subscription_id, state, attempts, due_at, variables, reason
  FROM mailman.delivery WHERE letter_id = 1 ORDER BY 1;
SELECT letter_id, low, high, recipients, skipped, folded FROM mailman.posting;
SELECT sender = current_user AS sent_by_me, state, state_reason, run, revision
  FROM mailman.letter WHERE id = 1;
-- again: who has it is not asked twice
SELECT mailman_send(1);
SELECT * FROM account WHERE id = 1;
-- a newcomer, and one who came back
UPDATE mailman.subscription SET state = 'active' WHERE id = 8;
SELECT mailman_subscribe(1, 'new@example.com');
SELECT mailman_send(1);
SELECT * FROM account WHERE id = 1;
UPDATE mailman.subscription SET state = 'unsubscribed' WHERE id = 8;
-- to whom it was sent, in one look
SELECT mailman_deliveries(1);

--
-- To some
--
SELECT mailman_send(2, ARRAY[2, 4, 4, 2, 9]);
SELECT * FROM account WHERE id = 2;
SELECT subscription_id, state, reason, variables FROM mailman.delivery
 WHERE letter_id = 2 ORDER BY 1;
SELECT low, high, recipients, skipped FROM mailman.posting
 WHERE letter_id = 2 ORDER BY id;
-- from any query, with values for the template
SELECT mailman_send(2, ARRAY(SELECT id FROM mailman.subscription
	WHERE newsletter_id = 1 AND email LIKE 'reader%'), '{"code": 7}');
SELECT * FROM account WHERE id = 2;
SELECT subscription_id, state, reason, variables FROM mailman.delivery
 WHERE letter_id = 2 ORDER BY 1;
SELECT mailman_deliveries(2);
-- named arguments, and every shape of the list
SELECT mailman_send(letter_id => 3, recipients => '{1}', variables => '{}');
SELECT mailman_send(3, '{{2,3},{3,4}}');
SELECT mailman_send(3, '[5:6]={5,6}');
SELECT * FROM account WHERE id = 3;
-- then to everybody else
SELECT mailman_send(3);
SELECT * FROM account WHERE id = 3;
-- all of them inactive
SELECT mailman_send(4, '{7,8,9,10}');
SELECT * FROM account WHERE id = 4;
SELECT subscription_id, state, reason FROM mailman.delivery
 WHERE letter_id = 4 ORDER BY 1;

--
-- To nobody
--
SELECT mailman_send(5, '{}');
SELECT mailman_send(5, ARRAY(SELECT id FROM mailman.subscription WHERE false));
SELECT mailman_send(5, (SELECT array_agg(id) FROM mailman.subscription
						 WHERE false));
:sqlstate
SELECT mailman_send(5, NULL);
:sqlstate
SELECT mailman_send(5, '{1,NULL}');
:sqlstate
SELECT mailman_send(NULL);
:sqlstate
SELECT mailman_send(NULL, '{1}');
:sqlstate
SELECT mailman_send(99);
:sqlstate
SELECT mailman_send(99, '{1}');
:sqlstate
SELECT mailman_send(-1, '{}');
:sqlstate
SELECT mailman_send(5, '{1,99,2}');
:sqlstate
SELECT mailman_send(5, '{0}');
:sqlstate
SELECT mailman_send(5, '{1,11}');
:sqlstate
SELECT mailman_send(5, '{1}', '[1]');
:sqlstate
SELECT mailman_send(5, '{1}', '"x"');
:sqlstate
SELECT mailman_send(5, '{1}', '{"code": "\u0000"}');
:sqlstate
SELECT * FROM account WHERE id = 5;
SELECT sender FROM mailman.letter WHERE id = 5;
SELECT count(*) FROM mailman.posting WHERE letter_id = 5;

--
-- Letters that cannot be sent
--
INSERT INTO mailman.letter (id, newsletter_id, subject) VALUES
	(20, 1, 'No body');
SELECT mailman_send(20);
:sqlstate
UPDATE mailman.letter SET text_body = '', html_body = '' WHERE id = 20;
SELECT mailman_send(20, '{1}');
:sqlstate
UPDATE mailman.letter SET text_body = E'Dear {{name}},\nyour {{code\n'
 WHERE id = 20;
SELECT mailman_send(20);
:sqlstate
UPDATE mailman.letter SET text_body = 'Hello', subject = '{{#if}}'
 WHERE id = 20;
SELECT mailman_send(20);
:sqlstate
UPDATE mailman.letter SET subject = 'Hello' WHERE id = 20;
UPDATE mailman.newsletter SET policy = 'public.policy' WHERE id = 1;
SELECT mailman_send(20);
:sqlstate
UPDATE mailman.newsletter SET policy = NULL WHERE id = 1;
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body) VALUES
	(21, 3, 'No relay', 'Hello');
SELECT mailman_send(21);
:sqlstate
SELECT mailman_send(21, '{}');
:sqlstate
SELECT * FROM account WHERE id IN (20, 21) ORDER BY id;

-- a letter that nobody can unsubscribe from is sent, with a word of warning,
-- unless it is to nobody
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (22, 2, 'For ever', 'Hello');
UPDATE mailman.newsletter SET unsubscribe_url = NULL WHERE id = 2;
SELECT mailman_send(22);
SELECT mailman_send(22);
SELECT mailman_send(22, '{}');

--
-- Later
--
UPDATE mailman.letter SET send_at = now() + interval '100 years' WHERE id = 6;
SELECT mailman_send(6);
SELECT mailman_send(6, '{1,7}');
SELECT * FROM account WHERE id = 6;
-- a time in the past is now
UPDATE mailman.letter SET send_at = now() - interval '1 day' WHERE id = 7;
SELECT mailman_send(7);
SELECT * FROM account WHERE id = 7;
UPDATE mailman.letter SET send_at = 'infinity' WHERE id = 8;
SELECT mailman_send(8);
SELECT * FROM account WHERE id = 8;

--
-- A rollback takes it all back, to a savepoint too
--
SAVEPOINT before;
SELECT mailman_send(9);
SELECT * FROM account WHERE id = 9;
ROLLBACK TO before;
SELECT * FROM account WHERE id = 9;
DO $$
BEGIN
	PERFORM mailman_send(9, '{1}');
	PERFORM mailman_send(9, '{2,99}');
EXCEPTION WHEN undefined_object THEN
	RAISE NOTICE 'refused: %', SQLERRM;
END
$$;
SELECT * FROM account WHERE id = 9;

-- count(delivery) = tally + unfolded postings, of every letter
SELECT id FROM account
 WHERE deliveries <> tally + unfolded OR skipped <> unfolded_skipped;
ROLLBACK;
