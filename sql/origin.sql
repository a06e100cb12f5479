--
-- A copy of a database does not send until it is adopted: mailman.origin,
-- mailman_adopt() and mailman_wake().  This test commits, and workers are
-- started; the relay is one that nobody listens at.
--
\set SHOW_CONTEXT never
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (name, from_address, relays) VALUES
	('Weekly', 'weekly@example.com', '{relay}');
UPDATE mailman.newsletter
   SET unsubscribe_url = 'https://example.com/u/{{token}}';
INSERT INTO mailman.subscription (newsletter_id, email)
SELECT 1, 'reader' || n || '@example.com' FROM generate_series(1, 3) n;
INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)
SELECT 1, 'Issue ' || n, 'Hello', CASE n WHEN 2 THEN 'infinity'::timestamptz END
  FROM generate_series(1, 8) n;
CREATE VIEW letters AS
SELECT id, state, replace(state_reason, session_user, 'me') AS state_reason, run,
	   mail_order ->> 'recipients' AS tally,
	   (SELECT count(*) FROM mailman.delivery d WHERE d.letter_id = l.id
		   AND d.state = 'pending') AS pending,
	   (SELECT count(*) FROM mailman.posting p WHERE p.letter_id = l.id
		   AND NOT folded) AS unfolded
  FROM mailman.letter l;
CREATE VIEW armed AS
SELECT o.system_identifier = c.system_identifier AS our_cluster,
	   o.database = d.oid AS our_database, o.armed_at <= now() AS armed_before
  FROM mailman.origin o, pg_control_system() c, pg_database d
 WHERE d.datname = current_database();
-- wait for something to become true, for a minute at most; test/cassert has no
-- caches, and who only looks need not be slow
CREATE FUNCTION wait_for(condition text) RETURNS boolean AS $$
DECLARE
	met boolean;
BEGIN
	FOR i IN 1 .. 6000 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXECUTE 'SELECT ' || condition INTO met;
		EXIT WHEN met;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN met;
END
$$ LANGUAGE plpgsql SET debug_discard_caches = 0;

-- a database is armed by its first mailman_send(), or by hand; until then
-- nothing in it is started, so nothing can be while it is being restored
TABLE armed;
SELECT mailman_wake();
BEGIN;
SELECT mailman_send(3, '{1}');
TABLE armed;
ROLLBACK;
TABLE armed;
SELECT mailman_adopt();
TABLE armed;
SELECT mailman_wake();

--
-- A copy: the row tells of another database
--
UPDATE mailman.origin SET database = 1;
:sqlstate
SET session_replication_role = replica;
UPDATE mailman.origin SET database = 1;
SET session_replication_role = origin;
TABLE armed;
-- letters are queued, and each time it is told that they stay
SELECT mailman_send(1);
SELECT mailman_send(2);
SELECT mailman_send(3, '{1,2}');
\set VERBOSITY terse
SELECT mailman_send(3, '{1,2}');
SELECT mailman_send(3, '{}');
SELECT mailman_send(4);
SELECT mailman_pause(4);
SELECT mailman_send(5);
SELECT mailman_cancel(5);
SELECT mailman_send(6), mailman_send(7);
\set VERBOSITY default
-- (and two that were sent before, one of them posted again)
SET session_replication_role = replica;
UPDATE mailman.letter SET state = 'sent' WHERE id IN (6, 7);
DELETE FROM mailman.posting WHERE letter_id = 7;
UPDATE mailman.letter SET mail_order = mail_order
	|| '{"recipients": 3, "delivered": 3}' WHERE id = 7;
UPDATE mailman.delivery SET state = 'delivered' WHERE letter_id = 7;
SET session_replication_role = origin;
-- nothing is started, whatever is asked for
SELECT mailman_wake();
SELECT mailman_resume(1);
SELECT mailman_wake();
SELECT pg_sleep(0.5);
SELECT wait_for('NOT EXISTS (SELECT FROM pg_stat_activity
	WHERE backend_type = ''mailman letter'')');
SELECT * FROM letters ORDER BY id;
SELECT DISTINCT state, attempts, due_at FROM mailman.delivery
 WHERE letter_id <> 7;

-- a row that is loaded arms nothing, even if it is this database's: a dump that
-- is restored where it was made knows nothing of what was sent since
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM mailman.origin;
SET LOCAL session_replication_role = origin;
INSERT INTO mailman.origin (system_identifier, database)
SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
 WHERE d.datname = current_database();
TABLE armed;
SELECT mailman_wake();
ROLLBACK;
-- nor do both rows; or the row was lost
SET session_replication_role = replica;
INSERT INTO mailman.origin (system_identifier, database)
SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
 WHERE d.datname = current_database();
SET session_replication_role = origin;
SELECT * FROM armed ORDER BY our_database;
SELECT mailman_wake();
\set VERBOSITY terse
SELECT mailman_send(1);
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM mailman.origin;
SET LOCAL session_replication_role = origin;
SELECT mailman_send(1);
SELECT mailman_adopt();
TABLE armed;
ROLLBACK;
-- or another cluster's
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM mailman.origin WHERE database = 1;
UPDATE mailman.origin SET system_identifier = system_identifier + 1;
SET LOCAL session_replication_role = origin;
TABLE armed;
SELECT mailman_send(1);
ROLLBACK;
\set VERBOSITY default

--
-- Adopted, by the extension's owner
--
SET ROLE regress_mailman_app;
SELECT mailman_adopt();
:sqlstate
SELECT mailman_wake();
:sqlstate
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_adopt(), mailman_wake()
	TO regress_mailman_app;
SET ROLE regress_mailman_app;
SELECT mailman_adopt();
:sqlstate
SELECT mailman_wake();
RESET ROLE;
SELECT * FROM armed ORDER BY our_database;
BEGIN;
SELECT mailman_adopt();
SELECT * FROM armed ORDER BY our_database;
SELECT state, count(*) FROM mailman.letter GROUP BY state ORDER BY state;
ROLLBACK;
SELECT state, count(*) FROM mailman.letter GROUP BY state ORDER BY state;
-- what was in the post is paused; the rest is as it was
SELECT mailman_adopt();
TABLE armed;
SELECT id, state, state_reason, tally, pending, unfolded
  FROM letters ORDER BY id;
-- what was cancelled is skipped, by a worker that is started now
SELECT mailman_wake();
SELECT wait_for('pending + unfolded = 0 FROM letters WHERE id = 5');
SELECT id, state, state_reason, tally, pending, unfolded
  FROM letters WHERE id <> 5 ORDER BY id;
SELECT mailman_adopt();

--
-- And then it sends; once in a session it is told what preloading is for
--
SELECT mailman_send(8, '{1}');
SELECT mailman_send(8, '{2}');
SELECT wait_for('run > 0 AND unfolded = 0 FROM letters WHERE id = 8');
-- a letter that was left behind is found
SET session_replication_role = replica;
UPDATE mailman.letter SET state = 'sending', state_reason = NULL WHERE id = 1;
SET session_replication_role = origin;
SET ROLE regress_mailman_app;
SELECT mailman_wake();
RESET ROLE;
SELECT wait_for('run > 0 AND unfolded = 0 FROM letters WHERE id = 1');
-- it has its worker now
SELECT mailman_wake();

SELECT mailman_cancel(1), mailman_cancel(8);
SELECT wait_for('NOT EXISTS (SELECT FROM pg_stat_activity
	WHERE backend_type = ''mailman letter'')
	AND (SELECT sum(pending + unfolded) FROM letters WHERE id IN (1, 5, 8)) = 0');
SELECT letter_id, state, attempts, count(*) FROM mailman.delivery
 WHERE letter_id IN (1, 5, 8) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

DROP VIEW letters, armed;
DROP FUNCTION wait_for(text);
DROP SERVER relay;
DROP EXTENSION mailman;
DROP ROLE regress_mailman_app;
