--
-- What psql shows of mailman_grant() and of mailman_wait()
--
\set SHOW_CONTEXT never
\set VERBOSITY default
SET client_min_messages = warning;
CREATE SCHEMA "Post";
CREATE EXTENSION mailman SCHEMA "Post";
RESET client_min_messages;
CREATE ROLE regress_mailman_editor;

-- the functions are in a schema that is not the extension's to grant
SELECT "Post".mailman_grant('regress_mailman_editor', 'read');
SET ROLE regress_mailman_editor;
SELECT count(*) FROM mailman.progress;
SELECT "Post".mailman_is_address('a@example.com');
RESET ROLE;
GRANT USAGE ON SCHEMA "Post" TO regress_mailman_editor;
SELECT "Post".mailman_grant('regress_mailman_editor', 'read');
SET ROLE regress_mailman_editor;
SELECT "Post".mailman_is_address('a@example.com');
SELECT "Post".mailman_grant('regress_mailman_editor', 'send');
RESET ROLE;
SELECT "Post".mailman_revoke('regress_mailman_editor', 'read');
SELECT "Post".mailman_revoke('regress_mailman_editor', 'all');

-- mailman_wait() is a procedure
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (name, from_address, relays)
VALUES ('Weekly', 'weekly@example.com', '{relay}');
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (1, 'ada@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)
VALUES (1, 'Hello', 'Hello', 'infinity');
CALL "Post".mailman_wait(1);
CALL "Post".mailman_wait(1, '1h') \gset
\echo it is a :state
SELECT "Post".mailman_wait(1);
BEGIN;
SET client_min_messages = error;
SELECT "Post".mailman_send(1);
SAVEPOINT s;
CALL "Post".mailman_wait(1, '1h');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL "Post".mailman_wait(1);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
CALL "Post".mailman_wait(1);
ROLLBACK;
SET client_min_messages = error;
SELECT "Post".mailman_send(1);
RESET client_min_messages;
-- scheduled is not done with: the state it is in after the timeout
CALL "Post".mailman_wait(1, '0');
CALL "Post".mailman_wait(1, '10 ms');
-- the caller has changed it, so its worker could not get at it
BEGIN;
UPDATE mailman.letter SET subject = 'Hello, all' WHERE id = 1;
CALL "Post".mailman_wait(1);
ROLLBACK;
-- but not if that was rolled back
BEGIN;
SAVEPOINT s;
SELECT "Post".mailman_resume(1);
ROLLBACK TO s;
CALL "Post".mailman_wait(1, '10 ms');
COMMIT;
-- what the caller has written is not committed for it
CREATE TABLE written (n int);
DO $$
DECLARE
	state text;
BEGIN
	INSERT INTO written VALUES (1);
	CALL "Post".mailman_wait(1, '10 ms', state);
	RAISE EXCEPTION 'it was %', state;
END
$$;
SELECT count(*) FROM written;
-- to be interrupted
SET statement_timeout = '50 ms';
CALL "Post".mailman_wait(1);
RESET statement_timeout;
SELECT "Post".mailman_cancel(1);
CALL "Post".mailman_wait(1);

DROP TABLE written;
SET client_min_messages = warning;
DROP EXTENSION mailman CASCADE;
DROP SCHEMA "Post";
DROP ROLE regress_mailman_editor;
