--
-- The guards: what may be edited and deleted when, and what the extension
-- alone writes, whatever was granted.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
-- the guards alone: row security would keep others' rows out of sight
DO $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT oid FROM pg_class
		 WHERE relnamespace = 'mailman'::regnamespace AND relkind = 'r'
	LOOP
		EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', relation);
	END LOOP;
END
$$;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_other;
CREATE ROLE regress_mailman_both
	IN ROLE regress_mailman_app, regress_mailman_other;
-- far too much is granted
GRANT USAGE ON SCHEMA mailman
	TO regress_mailman_app, regress_mailman_other;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE
	ON ALL TABLES IN SCHEMA mailman
	TO regress_mailman_app, regress_mailman_other;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_mailman_app;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_app;

--
-- Newsletters: who names an owner, relays or a policy
--
SET ROLE regress_mailman_app;
INSERT INTO mailman.newsletter (name, from_address, relays)
VALUES ('Weekly', 'weekly@example.com', '{relay}') RETURNING id, owner;
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_other', 'Foreign', 'foreign@example.com');
:sqlstate
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_nobody', 'Foreign', 'foreign@example.com');
:sqlstate
\set VERBOSITY terse
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES (NULL, 'Foreign', 'foreign@example.com');
:sqlstate
\set VERBOSITY default
UPDATE mailman.newsletter SET owner = 'regress_mailman_other';
:sqlstate
UPDATE mailman.newsletter SET owner = owner, policy = 'public.policy';
UPDATE mailman.newsletter SET policy = NULL;
SET ROLE regress_mailman_other;
UPDATE mailman.newsletter SET owner = 'regress_mailman_other';
:sqlstate
UPDATE mailman.newsletter SET relays = '{theirs}';
:sqlstate
UPDATE mailman.newsletter SET policy = 'public.policy';
:sqlstate
-- nor anything else
UPDATE mailman.newsletter SET name = 'Weekly', relays = '{relay}';
-- a member of both hands it over
SET ROLE regress_mailman_both;
UPDATE mailman.newsletter SET owner = 'regress_mailman_other'
RETURNING owner;
UPDATE mailman.newsletter SET owner = 'regress_mailman_app' RETURNING owner;
RESET ROLE;
-- who is not a member of its owner does not delete it
SET ROLE regress_mailman_other;
DELETE FROM mailman.newsletter WHERE owner = 'regress_mailman_app';
:sqlstate
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Short', 'short@example.com');
DELETE FROM mailman.newsletter WHERE owner = 'regress_mailman_other';
-- a name that no relay has is most often misspelt
INSERT INTO mailman.newsletter (name, from_address, relays)
VALUES ('Misspelt', 'short@example.com', '{relai,relay}');
UPDATE mailman.newsletter SET name = 'Spelt' WHERE name = 'Misspelt';
UPDATE mailman.newsletter SET relays = '{relay,other}' WHERE name = 'Spelt';
UPDATE mailman.newsletter SET relays = '{relay}' WHERE name = 'Spelt';
DELETE FROM mailman.newsletter WHERE name = 'Spelt';
RESET ROLE;
-- a restore may come before its roles
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_later', 'Later', 'later@example.com')
RETURNING id, owner;
DELETE FROM mailman.newsletter WHERE owner = 'regress_mailman_later';

--
-- New letters are drafts
--
SET ROLE regress_mailman_app;
SELECT mailman_subscribe(1, 'ada@example.com'),
	   mailman_subscribe(1, 'bob@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Issue 1', 'Hello') RETURNING id, state, sender, revision, run;
INSERT INTO mailman.letter (newsletter_id, subject, state)
VALUES (1, 'Forged', 'sent');
:sqlstate
CREATE TEMPORARY TABLE forged (assignment text);
INSERT INTO forged VALUES
	('state = ''sending'''), ('state = ''scheduled'''),
	('state = ''cancelled'''), ('state_reason = ''because'''),
	('sender = ''postgres'''), ('run = 1'), ('failed_runs = 1'),
	('doubts = 1'), ('revision = 2'), ('whole = true'),
	('line_at = now()'), ('run_at = now()'), ('last_error = ''none'''),
	('resumed_at = now()'),
	('rate = 9'),
	('rate_at = now()'),
	('mail_order = ''{}'''),
	('mail_order = ''[]'''), ('mail_order = ''"pending"'''),
	('mail_order = mail_order || ''{"pending": 1}'''),
	('mail_order = mail_order || ''{"recipients": 1}'''),
	('mail_order = mail_order || ''{"pending": 1, "sending": -1}'''),
	('mail_order = mail_order || ''{"pending": 0.4}'''),
	('mail_order = mail_order || ''{"pending": "0"}'''),
	('mail_order = mail_order - ''pending''');
CREATE FUNCTION pg_temp.try(statement text, OUT code text,
							OUT message text, OUT hint text) AS $$
BEGIN
	EXECUTE statement;
	message := 'DONE';
	RAISE 'undo' USING ERRCODE = 'ZZZZZ';
EXCEPTION
	WHEN SQLSTATE 'ZZZZZ' THEN
		RETURN;
	WHEN OTHERS THEN
		code := SQLSTATE;
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
			hint = PG_EXCEPTION_HINT;
END
$$ LANGUAGE plpgsql;
SELECT assignment, t.code, t.message, t.hint
  FROM (SELECT DISTINCT ON (assignment) assignment,
		split_part(assignment, ' = ', 1) AS name,
		replace(split_part(assignment, ' = ', 2), 'mail_order', $$
			'{"recipients": 0, "pending": 0, "sending": 0, "deferred": 0,
			  "delivered": 0, "failed": 0, "skipped": 0, "doubtful": 0}'::jsonb
			$$) AS value FROM forged) f,
  pg_temp.try(format('INSERT INTO mailman.letter (newsletter_id, subject, %I)
	VALUES (1, ''Forged'', %s)', name, value)) t
 ORDER BY assignment COLLATE "C";
-- nor does a draft become something else by hand
SELECT assignment, t.code, t.message, t.hint
  FROM forged, pg_temp.try('UPDATE mailman.letter SET ' || assignment) t
 ORDER BY assignment COLLATE "C";
-- the superuser is told so, too
RESET ROLE;
UPDATE mailman.letter SET state = 'cancelled';
:sqlstate
SELECT id, subject, state FROM mailman.letter;

--
-- A draft is edited and counted
--
SET ROLE regress_mailman_app;
UPDATE mailman.letter SET subject = 'Issue one' RETURNING revision;
UPDATE mailman.letter SET text_body = 'Hi', html_body = '<p>Hi' RETURNING revision;
UPDATE mailman.letter SET subject = subject, text_body = 'Hi' RETURNING revision;
UPDATE mailman.letter SET on_doubt = 'hold', ref = 'a', send_at = 'infinity'
RETURNING revision;
UPDATE mailman.letter SET headers = '{"X-A": "b"}' RETURNING revision;
UPDATE mailman.letter SET headers = '{}', strict = true RETURNING revision;
UPDATE mailman.letter SET strict = false RETURNING revision;
UPDATE mailman.letter SET html_body = NULL RETURNING revision;

--
-- By state: may it be edited, moved, deleted?
--
CREATE FUNCTION pg_temp.try_state(new_state text, statement text, OUT result text)
AS $$
DECLARE
	t record;
BEGIN
	RESET ROLE;
	SET LOCAL session_replication_role = replica;
	UPDATE mailman.letter SET state = new_state WHERE id = 1;
	SET LOCAL session_replication_role = origin;
	SET LOCAL ROLE regress_mailman_app;
	t := pg_temp.try(statement || ' WHERE id = 1');
	result := concat_ws(' ', t.code, t.message,
						'(' || nullif(t.hint, '') || ')');
END
$$ LANGUAGE plpgsql;
RESET ROLE;
SELECT statement, state, pg_temp.try_state(state, statement)
  FROM unnest(ARRAY[
	'UPDATE mailman.letter SET text_body = ''New''',
	'UPDATE mailman.letter SET send_at = now()',
	'UPDATE mailman.letter SET on_doubt = ''resend''',
	'UPDATE mailman.letter SET id = 1000',
	'DELETE FROM mailman.letter']) WITH ORDINALITY AS q(statement, i),
  unnest(ARRAY['draft', 'scheduled', 'sending', 'paused', 'sent',
			   'cancelled']) WITH ORDINALITY AS s(state, j)
 ORDER BY i, j;
RESET ROLE;
UPDATE mailman.letter SET send_at = NULL;
:sqlstate
SET session_replication_role = replica;
UPDATE mailman.letter SET state = 'draft';
SET session_replication_role = origin;
UPDATE mailman.letter SET send_at = NULL;

--
-- In the post
--
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
UPDATE mailman.letter SET text_body = 'Too late';
:sqlstate
UPDATE mailman.letter SET send_at = now();
:sqlstate
DELETE FROM mailman.letter;
:sqlstate
SELECT mailman_pause(1);
UPDATE mailman.letter SET text_body = 'In time' RETURNING revision, state;
DELETE FROM mailman.letter;
:sqlstate
-- its reader stays for the record
DO $$
BEGIN
	DELETE FROM mailman.subscription WHERE id = 1;
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
	RAISE NOTICE 'refused';
END
$$;
SELECT mailman_cancel(1);
UPDATE mailman.letter SET text_body = 'Too late';
:sqlstate
DO $$
BEGIN
	DELETE FROM mailman.letter;
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
	RAISE NOTICE 'refused';
END
$$;

--
-- The accounts
--
SELECT what, t.code, t.message, t.hint
  FROM unnest(ARRAY['delivery', 'newsletter_email', 'posting', 'secret',
					 'origin', 'relay_state', 'domain_state'])
	   WITH ORDINALITY AS r(name, i),
	   unnest(ARRAY['INSERT INTO mailman.%I DEFAULT VALUES',
					'UPDATE mailman.%I SET ctid = ctid',
					'DELETE FROM mailman.%I', 'TRUNCATE mailman.%I CASCADE'])
	   WITH ORDINALITY AS q(statement, j),
	   format(replace(statement, 'SET ctid = ctid',
			  CASE name WHEN 'delivery' THEN 'SET state = ''delivered'''
			  WHEN 'newsletter_email' THEN 'SET code = 250'
			  WHEN 'posting' THEN 'SET folded = true'
			  WHEN 'origin' THEN 'SET armed_at = now()'
			  WHEN 'relay_state' THEN 'SET failures = 0'
			  WHEN 'domain_state' THEN 'SET arrival = NULL'
			  ELSE 'SET key = ''''' END), name) AS what,
	   pg_temp.try(what) t
 ORDER BY i, j;
TRUNCATE mailman.letter CASCADE;
:sqlstate
TRUNCATE mailman.newsletter CASCADE;
:sqlstate
RESET ROLE;
-- the superuser as well, unless it loads rows as pg_restore does
UPDATE mailman.delivery SET state = 'delivered';
:sqlstate
DELETE FROM mailman.posting;
:sqlstate
UPDATE mailman.origin SET database = 1;
:sqlstate
DELETE FROM mailman.origin;
:sqlstate
COPY mailman.delivery (letter_id, subscription_id, state) FROM stdin;
\.
:sqlstate
CREATE FUNCTION pg_temp.sqlstate(statement text) RETURNS text AS $$
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END
$$ LANGUAGE plpgsql;
SELECT tab AS accounts, pg_temp.sqlstate(statement)
  FROM (VALUES ('delivery', 'INSERT INTO mailman.delivery (letter_id,
	subscription_id) VALUES (1, 1)'), ('newsletter_email',
	'INSERT INTO mailman.newsletter_email SELECT * FROM mailman.newsletter_email'),
	('posting', 'INSERT INTO mailman.posting (letter_id, low, high, recipients)
	VALUES (1, 1, 1, 1)'), ('test', 'INSERT INTO mailman.test (letter_id, address,
	requested_by) VALUES (1, ''x@example.com'', ''x'')'), ('event',
	'INSERT INTO mailman.event (kind) VALUES (''adopt'')'), ('secret',
	'INSERT INTO mailman.secret SELECT * FROM mailman.secret'), ('forgotten',
	'INSERT INTO mailman.forgotten SELECT * FROM mailman.forgotten'),
	('dkim_key', 'INSERT INTO mailman.dkim_key SELECT * FROM mailman.dkim_key'),
	('origin', 'INSERT INTO mailman.origin SELECT * FROM mailman.origin'),
	('relay_state', 'INSERT INTO mailman.relay_state (server) VALUES (1)'),
	('domain_state', 'INSERT INTO mailman.domain_state (id) VALUES (1)'),
	('letter', 'INSERT INTO mailman.letter (newsletter_id, subject, state)
	VALUES (1, ''Forged'', ''sending'')')) AS s(tab, statement);
-- which it does before this database is armed
SAVEPOINT armed;
CREATE TEMP TABLE kept AS TABLE mailman.delivery;
SET LOCAL session_replication_role = replica;
DELETE FROM mailman.origin;
DELETE FROM mailman.delivery;
SET LOCAL session_replication_role = origin;
INSERT INTO mailman.delivery SELECT * FROM kept;
COPY mailman.delivery (letter_id, subscription_id, state) FROM stdin;
\.
SELECT count(*) FROM mailman.delivery;
ROLLBACK TO armed;
SELECT subscription_id, state FROM mailman.delivery ORDER BY 1;

--
-- What is no longer needed can go
--
SET ROLE regress_mailman_app;
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Short-lived', 'short@example.com') RETURNING id AS short \gset
SELECT mailman_subscribe(:short, 'ada@example.com') > 0 AS subscribed;
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (:short, 'Never sent', 'Hello') RETURNING id AS never \gset
SELECT mailman_preview(:never) <> '' AS previewed;
DELETE FROM mailman.letter WHERE id = :never;
DELETE FROM mailman.subscription WHERE newsletter_id = :short;
DELETE FROM mailman.newsletter WHERE id = :short;
RESET ROLE;
SELECT count(*) FROM mailman.newsletter;
-- its secret went with it; not the secrets of others
SELECT newsletter_id FROM mailman.secret;
-- a newsletter with letters stays, one with nothing but partials goes
DO $$
BEGIN
	DELETE FROM mailman.newsletter;
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
	RAISE NOTICE 'refused';
END
$$;
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_app', 'Partial', 'partial@example.com')
RETURNING id AS partial \gset
INSERT INTO mailman.partial VALUES (:partial, 'footer', 'Bye');
SET ROLE regress_mailman_app;
DELETE FROM mailman.newsletter WHERE id = :partial;
RESET ROLE;
SELECT count(*) FROM mailman.partial;

--
-- Triggers of others would run with the rights of the extension's owner
--
GRANT ALL ON ALL TABLES IN SCHEMA mailman TO regress_mailman_app;
CREATE SCHEMA regress_mailman_app AUTHORIZATION regress_mailman_app;
SET ROLE regress_mailman_app;
CREATE FUNCTION regress_mailman_app.escalate() RETURNS trigger AS $$
BEGIN
	ALTER ROLE regress_mailman_app SUPERUSER;
	RETURN NULL;
END
$$ LANGUAGE plpgsql;
-- so they are refused when they are made, out of whatever function
CREATE TRIGGER peep AFTER INSERT ON mailman.subscription
	EXECUTE FUNCTION regress_mailman_app.escalate();
:sqlstate
CREATE TRIGGER peep BEFORE UPDATE ON mailman.letter FOR EACH ROW
	EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
CREATE OR REPLACE TRIGGER guard BEFORE UPDATE ON mailman.letter FOR EACH ROW
	EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
-- on what the extension does not write, too, but not on tables of their own
CREATE TRIGGER mine AFTER INSERT ON mailman.newsletter
	EXECUTE FUNCTION regress_mailman_app.escalate();
CREATE TABLE regress_mailman_app.mine ();
CREATE TRIGGER mine AFTER INSERT ON regress_mailman_app.mine
	EXECUTE FUNCTION regress_mailman_app.escalate();
RESET ROLE;
-- the superuser's own pass, if what they run is a superuser's
CREATE TRIGGER peep AFTER INSERT ON mailman.subscription
	EXECUTE FUNCTION regress_mailman_app.escalate();
:sqlstate
CREATE TABLE audit AS SELECT id, email, current_user AS writer
  FROM mailman.subscription WHERE false;
CREATE FUNCTION audit() RETURNS trigger AS $$
BEGIN
	INSERT INTO public.audit VALUES (new.id, new.email, current_user);
	RETURN NULL;
END
$$ LANGUAGE plpgsql;
-- which must not find what is in the session of its caller
CREATE TRIGGER audit AFTER INSERT ON mailman.subscription
	FOR EACH ROW WHEN (lower(new.email) <> '') EXECUTE FUNCTION audit();
ALTER FUNCTION audit() SET search_path = pg_temp, public;
CREATE TRIGGER audit AFTER INSERT ON mailman.subscription
	FOR EACH ROW WHEN (lower(new.email) <> '') EXECUTE FUNCTION audit();
ALTER FUNCTION audit() SET search_path = public, pg_temp;
CREATE CONSTRAINT TRIGGER audit AFTER INSERT ON mailman.subscription DEFERRABLE
	FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit AFTER INSERT ON mailman.subscription
	FOR EACH ROW WHEN (lower(new.email) <> '') EXECUTE FUNCTION audit();
SET ROLE regress_mailman_app;
SELECT mailman_subscribe(1, 'audited@example.com') AS audited \gset
RESET ROLE;
SELECT email FROM audit WHERE id = :audited;
ALTER FUNCTION audit() RESET search_path;
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER FUNCTION audit() SET search_path = public, pg_temp;
-- until it is given away
ALTER FUNCTION audit() OWNER TO regress_mailman_app;
SELECT mailman_subscribe(1, 'eve@example.com');
SELECT mailman.obstacle();
ALTER FUNCTION audit() OWNER TO CURRENT_USER;
SELECT mailman.obstacle();
DROP TRIGGER audit ON mailman.subscription;
-- code hangs on a table in other places, too: what of it belongs to whom?
CREATE FUNCTION regress_mailman_app.loose(text) RETURNS boolean AS
'SELECT true' LANGUAGE sql IMMUTABLE;
ALTER FUNCTION regress_mailman_app.loose(text) OWNER TO regress_mailman_app;
CREATE INDEX loose ON mailman.subscription (regress_mailman_app.loose(email));
SELECT mailman_subscribe(1, 'eve@example.com');
DROP INDEX mailman.loose;
CREATE INDEX loose ON mailman.subscription (id)
	WHERE regress_mailman_app.loose(email);
SELECT mailman_subscribe(1, 'eve@example.com');
DROP INDEX mailman.loose;
ALTER TABLE mailman.subscription ADD CONSTRAINT loose
	CHECK (regress_mailman_app.loose(email));
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER TABLE mailman.subscription DROP CONSTRAINT loose;
ALTER TABLE mailman.subscription ADD COLUMN loose boolean
	DEFAULT regress_mailman_app.loose('');
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER TABLE mailman.subscription DROP COLUMN loose;
ALTER TABLE mailman.subscription ADD COLUMN loose boolean
	GENERATED ALWAYS AS (regress_mailman_app.loose(email)) STORED;
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER TABLE mailman.subscription DROP COLUMN loose;
CREATE DOMAIN regress_mailman_app.loose_text AS text;
ALTER DOMAIN regress_mailman_app.loose_text OWNER TO regress_mailman_app;
ALTER TABLE mailman.subscription
	ADD COLUMN loose regress_mailman_app.loose_text;
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER TABLE mailman.subscription DROP COLUMN loose;
CREATE RULE loose AS ON UPDATE TO mailman.subscription
	WHERE regress_mailman_app.loose(new.email) DO ALSO NOTHING;
SELECT mailman_subscribe(1, 'eve@example.com');
DROP RULE loose ON mailman.subscription;
CREATE TABLE regress_mailman_app.heir () INHERITS (mailman.subscription);
SELECT mailman_subscribe(1, 'eve@example.com');
DROP TABLE regress_mailman_app.heir;
ALTER TABLE mailman.subscription OWNER TO regress_mailman_app;
SELECT mailman_subscribe(1, 'eve@example.com');
ALTER TABLE mailman.subscription OWNER TO CURRENT_USER;
GRANT ALL ON mailman.subscription TO regress_mailman_app;
-- row security is not run for a superuser
CREATE POLICY loose ON mailman.subscription
	USING (regress_mailman_app.loose(email));
SELECT mailman_subscribe(1, 'eve@example.com') > 0 AS subscribed;
DROP POLICY loose ON mailman.subscription;
-- nor is what is on another table than the one that is written
ALTER EVENT TRIGGER mailman_guard_triggers DISABLE;
CREATE TRIGGER peep AFTER INSERT ON mailman.delivery
	EXECUTE FUNCTION regress_mailman_app.escalate();
SELECT mailman_subscribe(1, 'eve@example.com') > 0 AS subscribed;
DROP TRIGGER peep ON mailman.delivery;
-- if somebody has switched that guard off, what writes sees them
SET ROLE regress_mailman_app;
CREATE TRIGGER peep AFTER INSERT ON mailman.subscription
	EXECUTE FUNCTION regress_mailman_app.escalate();
SELECT mailman_subscribe(1, 'eve@example.com');
:sqlstate
-- what only reads is not in danger
SELECT mailman_deliveries(1);
RESET ROLE;
-- the superuser has to be told as well
SELECT mailman_subscribe(1, 'eve@example.com');
:sqlstate
DROP TRIGGER peep ON mailman.subscription;
-- a harmless function does not make a trigger harmless: its condition is code
SET ROLE regress_mailman_app;
CREATE FUNCTION regress_mailman_app.condition() RETURNS boolean AS $$
BEGIN
	ALTER ROLE regress_mailman_app SUPERUSER;
	RETURN true;
END
$$ LANGUAGE plpgsql;
CREATE TRIGGER peep BEFORE UPDATE ON mailman.letter FOR EACH ROW
	WHEN (regress_mailman_app.condition())
	EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Issue 2', 'Hello') RETURNING id AS next \gset
SELECT mailman_send(:next);
:sqlstate
RESET ROLE;
DROP TRIGGER peep ON mailman.letter;
-- nor does one of the guards
CREATE TRIGGER peep BEFORE UPDATE ON mailman.letter FOR EACH ROW
	WHEN (regress_mailman_app.condition())
	EXECUTE FUNCTION mailman.guard_letter();
SELECT mailman_send(:next);
:sqlstate
DROP TRIGGER peep ON mailman.letter;
SELECT mailman_subscribe(1, 'eve@example.com') > 0 AS subscribed;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_mailman_app';
ROLLBACK;
