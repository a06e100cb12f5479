--
-- A session remembers that a letter was in order: whatever changes is noticed
-- by its next mailman_send(), and what the caller may do is asked each time.
-- Everything is rolled back, so nothing leaves.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set VERBOSITY terse
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_known;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_known;
INSERT INTO mailman.newsletter (name, owner, from_address, relays,
	unsubscribe_url)
VALUES ('Weekly', 'regress_mailman_known', 'weekly@example.com', '{relay}',
		'https://example.com/u/{{token}}');
INSERT INTO mailman.subscription (newsletter_id, email)
SELECT 1, 'reader' || n || '@example.com' FROM generate_series(1, 100) n;
INSERT INTO mailman.partial VALUES (1, 'foot', 'Bye'), (1, 'head', 'Hi');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Issue', 'Hello {{>foot}}');

-- each call sends to one more
CREATE SEQUENCE reader;
CREATE FUNCTION next_reader() RETURNS bigint[] LANGUAGE sql
RETURN ARRAY[nextval('reader')];
SELECT mailman_send(1, next_reader());
SELECT mailman_send(1, next_reader());

-- a partial
UPDATE mailman.partial SET template = '{{#x}}' WHERE name = 'foot';
SELECT mailman_send(1, next_reader());
UPDATE mailman.partial SET template = 'So long' WHERE name = 'foot';
SELECT mailman_send(1, next_reader());
DELETE FROM mailman.partial WHERE name = 'head';
SELECT mailman_send(1, next_reader());
INSERT INTO mailman.partial VALUES (1, 'head', 'Hi');
UPDATE mailman.partial SET template = 'Hi {{nobody.x}}{{>foot}}'
 WHERE name = 'head';
UPDATE mailman.partial SET template = '{{>head}}' WHERE name = 'foot';
SELECT mailman_send(1, next_reader());

-- what is warned of is warned of each time
UPDATE mailman.partial SET template = '{{nobody}}' WHERE name = 'foot';
SELECT mailman_send(1, next_reader());
SELECT mailman_send(1, next_reader());
UPDATE mailman.partial SET template = 'Bye' WHERE name = 'foot';
SELECT mailman_send(1, next_reader());

-- the newsletter, more than once in one transaction
UPDATE mailman.newsletter SET from_name = 'We' WHERE id = 1;
SELECT mailman_send(1, next_reader());
UPDATE mailman.newsletter SET dkim_domain = 'example.com',
	dkim_selector = 's' WHERE id = 1;
SELECT mailman_send(1, next_reader());
UPDATE mailman.newsletter SET dkim_domain = NULL,
	dkim_selector = NULL WHERE id = 1;
SELECT mailman_send(1, next_reader());
UPDATE mailman.newsletter SET relays = '{}' WHERE id = 1;
SELECT mailman_send(1, next_reader());
UPDATE mailman.newsletter SET relays = '{relay}' WHERE id = 1;
SELECT mailman_send(1, next_reader());

-- the letter itself: its files too
SELECT mailman_pause(1);
UPDATE mailman.letter SET text_body = '{{#x}}' WHERE id = 1;
SELECT mailman_send(1, next_reader());
UPDATE mailman.letter SET text_body = 'Hello' WHERE id = 1;
SET client_min_messages = warning;
SELECT mailman_send(1, next_reader());
INSERT INTO mailman.attachment (letter_id, name, content)
VALUES (1, 'big', convert_to(repeat('x', 50 * 1024 * 1024 + 1), 'UTF8'));
SELECT mailman_send(1, next_reader());
DELETE FROM mailman.attachment;
SELECT mailman_send(1, next_reader());

-- what was seen and rolled back was never there: the revision comes again
SAVEPOINT before;
UPDATE mailman.letter SET text_body = 'Good' WHERE id = 1;
SELECT mailman_send(1, next_reader());
ROLLBACK TO before;
UPDATE mailman.letter SET text_body = '{{#bad}}' WHERE id = 1;
SELECT mailman_send(1, next_reader());
ROLLBACK TO before;
SELECT mailman_send(1, next_reader());

-- who may send, and through which relay
SET ROLE regress_mailman_known;
SELECT mailman_send(1, next_reader());
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_send(bigint, bigint[], jsonb)
	TO regress_mailman_known;
GRANT USAGE ON SEQUENCE reader TO regress_mailman_known;
SET ROLE regress_mailman_known;
SELECT mailman_send(1, next_reader());
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER relay FROM regress_mailman_known;
SET ROLE regress_mailman_known;
SELECT mailman_send(1, next_reader());
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_known;
SET ROLE regress_mailman_known;
SELECT mailman_send(1, next_reader());
RESET ROLE;
UPDATE mailman.newsletter SET owner = current_user WHERE id = 1;
SET ROLE regress_mailman_known;
SELECT mailman_send(1, next_reader());
RESET ROLE;

-- a list is a set, of readers of this newsletter
SELECT mailman_send(1, '{60,61,60,61,62}');
SELECT mailman_send(1, '{{60,63},{61,64}}');
SELECT mailman_send(1, '{65,65,999}');
SELECT mailman_send(1, '{65,NULL}');
UPDATE mailman.subscription SET state = 'unsubscribed' WHERE id = 65;
SELECT mailman_send(1, '{65,66}', '{"x": 1}');
SELECT subscription_id, state, reason, variables FROM mailman.delivery
 WHERE subscription_id IN (60, 64, 65, 66) ORDER BY 1;
SELECT low, high, recipients, skipped FROM mailman.posting
 ORDER BY id DESC LIMIT 3;

-- so is one of one
UPDATE mailman.subscription SET state = 'bounced' WHERE id = 68;
SELECT mailman_send(1, '{67}', '{"x": 1}'), mailman_send(1, '{67,67}'),
	mailman_send(1, '{68}', '{"x": 1}');
SELECT mailman_send(1, '{999}');
INSERT INTO mailman.newsletter (name, owner, from_address, relays)
VALUES ('Other', current_user, 'other@example.com', '{relay}');
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (2, 'other@example.com');
SELECT mailman_send(1, '{101}');
SELECT subscription_id, state, reason, variables FROM mailman.delivery
 WHERE subscription_id IN (67, 68, 101) ORDER BY 1;
SELECT low, high, recipients, skipped FROM mailman.posting
 ORDER BY id DESC LIMIT 2;

-- what the caller writes afterwards is looked up as ever
SHOW session_replication_role;
CREATE TABLE chosen (subscription_id bigint REFERENCES mailman.subscription);
INSERT INTO chosen VALUES (100000);

-- its owner is known by the name of today
UPDATE mailman.newsletter SET owner = 'regress_mailman_known' WHERE id = 1;
SELECT mailman_send(1, next_reader());
ALTER ROLE regress_mailman_known RENAME TO regress_mailman_renamed;
CREATE ROLE regress_mailman_known;
GRANT EXECUTE ON FUNCTION mailman_send(bigint, bigint[], jsonb)
	TO regress_mailman_known;
SELECT mailman_send(1, next_reader());
SET ROLE regress_mailman_known;
SELECT mailman_send(1, '{70}');
RESET ROLE;

-- and what becomes of it is read each time
SELECT mailman_pause(1);
RESET client_min_messages;
SELECT mailman_send(1, next_reader());
SELECT mailman_resume(1), mailman_cancel(1);
SELECT mailman_send(1, next_reader());
ROLLBACK;
