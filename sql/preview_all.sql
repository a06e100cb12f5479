--
-- mailman_preview_all(): a row per recipient, whatever is wrong with one
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_guest;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (owner, name, from_name, from_address, relays)
VALUES ('regress_mailman_app', 'Weekly', 'The Weekly', 'weekly@example.com',
		'{relay}'),
	('regress_mailman_app', 'Other', NULL, 'other@example.com', '{}');
INSERT INTO mailman.subscription (newsletter_id, email, name, data, state)
VALUES (1, 'ada@example.com', 'Ada', '{"city": "London"}', 'active'),
	(1, 'bob@example.com', 'Bob', '{}', 'active'),
	(1, 'zoe@example.com', 'Zoë =?UTF-8?Q?x?=', '{"city": "Πάτρα"}', 'active'),
	(1, 'gone@example.com', 'Gone', '{"city": "Rome"}', 'unsubscribed'),
	(2, 'eve@example.com', 'Eve', '{"city": "Bern"}', 'active'),
	(1, 'ivy@example.com', 'Ivy', '{"city": "A\nB"}', 'active');
INSERT INTO mailman.letter (newsletter_id, subject, text_body, strict)
VALUES (1, 'News for {{name}} in {{data.city}}', 'Dear {{name}}', true);
CREATE VIEW all_of_it AS SELECT subscription_id AS id, email, subject, error,
	size = octet_length(CASE WHEN error IS NULL
		THEN mailman_preview(1, subscription_id) END) AS same_size
  FROM mailman_preview_all(1);

-- a draft: those who would get it; an error is a row
TABLE all_of_it;
-- the error is that of mailman_preview()
SELECT mailman_preview(1, 2);
:sqlstate
-- beyond one fetch; the order is that of the ids
INSERT INTO mailman.subscription (newsletter_id, email, name, data)
SELECT 1, format('r%s@example.com', n), 'Reader ' || n, '{"city": "X"}'
  FROM generate_series(1, 250) n;
SELECT count(*), count(error), count(DISTINCT size),
	   array_agg(subscription_id ORDER BY n)
	   = array_agg(subscription_id ORDER BY subscription_id) AS ordered
  FROM mailman_preview_all(1) WITH ORDINALITY
	   AS p(subscription_id, email, subject, error, size, n);
SELECT email FROM mailman_preview_all(1) LIMIT 1;
DELETE FROM mailman.subscription WHERE email LIKE 'r%';

-- sent to some: those, with their variables, active or not
UPDATE mailman.letter SET subject = '{{variables.x}} {{name}}' WHERE id = 1;
SAVEPOINT before;
SELECT mailman_send(1, '{1,4}', '{"x": "Dear"}');
TABLE all_of_it;
ROLLBACK TO before;
-- to all; nobody is added once it is in the post
SELECT mailman_send(1, '{1}', '{"x": "Dear"}');
SELECT mailman_send(1);
TABLE all_of_it;
SELECT mailman_subscribe(1, 'new@example.com', 'New') > 0 AS subscribed;
SELECT count(*) FROM mailman_preview_all(1);
ROLLBACK TO before;
-- scheduled for the whole list: whoever subscribes until then, too
UPDATE mailman.letter SET send_at = '2100-01-01 12:00:00+00' WHERE id = 1;
SELECT mailman_send(1, '{1}', '{"x": "Dear"}');
SELECT count(*) FROM mailman_preview_all(1);
SELECT mailman_send(1);
SELECT mailman_subscribe(1, 'new@example.com', 'New') > 0 AS subscribed;
SELECT email, subject, error FROM mailman_preview_all(1);

-- what is wrong with the letter is an error of the call, as of the other
SELECT mailman_pause(1);
UPDATE mailman.letter SET subject = 'Hello {{' WHERE id = 1;
SELECT * FROM mailman_preview_all(1);
:sqlstate
SELECT * FROM mailman_preview_all(99);
:sqlstate
UPDATE mailman.letter SET text_body = NULL WHERE id = 1;
SELECT * FROM mailman_preview_all(1);
:sqlstate
UPDATE mailman.letter SET text_body = 'Hi', subject = 'Hi' WHERE id = 1;

-- rights
SET ROLE regress_mailman_guest;
SELECT * FROM mailman_preview_all(1);
:sqlstate
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_preview_all(bigint)
	TO regress_mailman_guest, regress_mailman_app;
SET ROLE regress_mailman_guest;
SELECT * FROM mailman_preview_all(1);
:sqlstate
RESET ROLE;
SET ROLE regress_mailman_app;
SELECT count(*) FROM mailman_preview_all(1);
RESET ROLE;
ROLLBACK;
