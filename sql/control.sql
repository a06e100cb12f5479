--
-- mailman_pause(), mailman_resume(), mailman_cancel(): every state a letter
-- can be in, and what each of them makes of it.  All is rolled back.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_guest;
GRANT EXECUTE ON FUNCTION mailman_send(bigint), mailman_pause(bigint),
	mailman_resume(bigint), mailman_cancel(bigint)
	TO regress_mailman_app, regress_mailman_guest;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_app;
INSERT INTO mailman.newsletter (owner, name, from_address, relays) VALUES
	('regress_mailman_app', 'Weekly', 'weekly@example.com', '{relay}');
UPDATE mailman.newsletter
   SET unsubscribe_url = 'https://example.com/u/{{token}}';
INSERT INTO mailman.subscription (newsletter_id, email)
SELECT 1, 'reader' || n || '@example.com' FROM generate_series(1, 3) n;
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
SELECT 1, 'Issue ' || n, 'Hello' FROM generate_series(1, 9) n;
CREATE VIEW look AS
SELECT id, state, state_reason, sender,
	   (SELECT count(*) FROM mailman.delivery d WHERE d.letter_id = l.id)
	   AS deliveries,
	   (SELECT count(*) FROM mailman.posting p WHERE p.letter_id = l.id)
	   AS postings
  FROM mailman.letter l;

-- every state and every function: what it becomes, or why not
CREATE FUNCTION try_control(was text, control text) RETURNS text AS $$
DECLARE
	id_ bigint;
	becomes text;
	hint text;
BEGIN
	INSERT INTO mailman.letter (newsletter_id, subject, text_body)
	VALUES (1, was, 'Hello') RETURNING id INTO id_;
	IF was <> 'draft' THEN
		PERFORM mailman_send(id_);
	END IF;
	-- what a worker would have written
	SET LOCAL session_replication_role = replica;
	UPDATE mailman.letter SET state = was,
		send_at = CASE WHEN was = 'scheduled' THEN 'infinity'::timestamptz END
	 WHERE id = id_;
	IF was = 'sent' THEN
		DELETE FROM mailman.posting WHERE letter_id = id_;
	END IF;
	SET LOCAL session_replication_role = origin;
	EXECUTE format('SELECT mailman_%s(%s)', control, id_) INTO becomes;
	IF becomes <> (SELECT l.state FROM mailman.letter l WHERE l.id = id_)
	THEN
		RAISE 'returned %, but it is not', becomes;
	END IF;
	RETURN becomes;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN format('%s %s (%s)', SQLSTATE,
				  replace(SQLERRM, id_::text, 'N'), hint);
END
$$ LANGUAGE plpgsql;
SET client_min_messages = warning;
SELECT control, state, try_control(state, control)
  FROM unnest(ARRAY['pause', 'resume', 'cancel'])
	   WITH ORDINALITY AS c(control, i),
	   unnest(ARRAY['draft', 'scheduled', 'sending', 'paused', 'sent',
					'cancelled']) WITH ORDINALITY AS s(state, j)
 ORDER BY i, j;
RESET client_min_messages;

SET ROLE regress_mailman_app;
-- sending, paused, sending, cancelled for good
SELECT mailman_send(1);
SELECT mailman_pause(1);
SELECT mailman_pause(1);
SELECT mailman_send(1);
RESET ROLE;
SELECT * FROM look WHERE id = 1;
SET ROLE regress_mailman_app;
SELECT mailman_resume(1);
SELECT mailman_resume(1);
SELECT mailman_cancel(1);
SELECT mailman_cancel(1);
SELECT mailman_send(1);
:sqlstate
SELECT mailman_pause(1);
:sqlstate
RESET ROLE;
SELECT * FROM look WHERE id = 1;

-- scheduled, paused, scheduled, and a draft again
UPDATE mailman.letter SET send_at = 'infinity' WHERE id = 2;
SET ROLE regress_mailman_app;
SELECT mailman_send(2);
SELECT mailman_pause(2);
SELECT mailman_resume(2);
RESET ROLE;
SELECT * FROM look WHERE id = 2;
SET ROLE regress_mailman_app;
SELECT mailman_cancel(2);
RESET ROLE;
SELECT * FROM look WHERE id = 2;
SELECT mail_order FROM mailman.letter WHERE id = 2;
SET ROLE regress_mailman_app;
SELECT mailman_cancel(2);
:sqlstate
-- which can be sent once more, or deleted
SELECT mailman_send(2);
RESET ROLE;
SELECT * FROM look WHERE id = 2;
SELECT mailman_cancel(2);
DELETE FROM mailman.letter WHERE id = 2;

-- paused, and its time comes or is taken away meanwhile
UPDATE mailman.letter SET send_at = 'infinity' WHERE id = 3;
SELECT mailman_send(3);
SELECT mailman_pause(3);
UPDATE mailman.letter SET send_at = NULL WHERE id = 3;
SELECT mailman_resume(3);
SELECT id, state, state_reason FROM look WHERE id = 3;

-- resumed only if it could be sent
SELECT mailman_send(4);
SELECT mailman_pause(4);
UPDATE mailman.letter SET text_body = NULL WHERE id = 4;
SELECT mailman_resume(4);
:sqlstate
UPDATE mailman.letter SET text_body = '{{' WHERE id = 4;
SELECT mailman_resume(4);
:sqlstate
UPDATE mailman.letter SET text_body = 'Hello' WHERE id = 4;
UPDATE mailman.newsletter SET relays = '{nowhere}';
SELECT mailman_resume(4);
:sqlstate
UPDATE mailman.newsletter SET relays = '{relay}';
SELECT id, state, deliveries FROM look WHERE id = 4;
-- a paused letter is cancelled for good, scheduled or not
SELECT mailman_cancel(4);

-- a sent letter that was posted again can be called back
SELECT mailman_send(5, '{1}');
SET session_replication_role = replica;
UPDATE mailman.letter SET state = 'sent' WHERE id = 5;
DELETE FROM mailman.posting WHERE letter_id = 5;
SET session_replication_role = origin;
SET ROLE regress_mailman_app;
SELECT mailman_cancel(5);
:sqlstate
SELECT mailman_send(5);
SELECT mailman_pause(5);
RESET ROLE;
SELECT id, state, state_reason, deliveries, postings FROM look WHERE id = 5;

-- not for strangers, not without a letter
SET ROLE regress_mailman_guest;
SELECT mailman_pause(5);
:sqlstate
SELECT mailman_resume(5);
:sqlstate
SELECT mailman_cancel(5);
:sqlstate
RESET ROLE;
SELECT mailman_pause(99);
:sqlstate
SELECT mailman_resume(99);
:sqlstate
SELECT mailman_cancel(99);
:sqlstate
SELECT id, state, state_reason, deliveries, postings FROM look WHERE id = 5;

-- a rollback takes it back
SELECT mailman_send(6);
SAVEPOINT before;
SELECT mailman_cancel(6);
ROLLBACK TO before;
SELECT id, state FROM look WHERE id = 6;
ROLLBACK;
