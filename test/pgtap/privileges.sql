-- Privileges: who may call what, what an application role can do with sensible
-- grants and what it cannot, and what stays the extension's even if far too
-- much was granted.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(305);

\ir verdict.psql
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
CREATE FUNCTION pg_temp.works(role name, statement text, description text)
RETURNS text AS $$
SELECT is(pg_temp.verdict(role, statement), 'ok', description)
$$ LANGUAGE sql;
CREATE FUNCTION pg_temp.refused(role name, statement text, verdict text,
								description text)
RETURNS text AS $$
SELECT is(pg_temp.verdict(role, statement), verdict, description)
$$ LANGUAGE sql;

--
-- What PUBLIC may do
--
CREATE TEMP VIEW functions AS
SELECT p.oid, p.proname, n.nspname, p.proacl, p.proowner
  FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
   AND d.refclassid = 'pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mailman');
SELECT set_eq($$
	SELECT f.oid::regprocedure::text FROM functions f,
	  aclexplode(coalesce(proacl, acldefault('f', proowner))) a
	 WHERE a.grantee = 0$$,
	ARRAY['mailman.check_address(text)', 'mailman.check_line(text,text)',
		  'mailman.check_name(text,text)',
		  'mailman.check_value(text,text)', 'mailman.check_headers(jsonb)',
		  'mailman.check_retry_schedule(text)', 'mailman.check_rate(text)',
		  'mailman.check_domain_pattern(text)',
		  'mailman.check_unsubscribe_url(text)', 'mailman.obstacle()',
		  'mailman.relay_rate(oid,double precision,double precision,timestamp with time zone)',
		  'mailman.sees_all()', 'mailman.sees_owner(oid)',
		  'mailman.sees_newsletter(bigint)', 'mailman.sees_letter(bigint)',
		  'mailman.sees_relay(text)', 'mailman.sees_support(internal)'],
	'PUBLIC may execute the functions of constraints, policies and views, and no'
	' other');
SELECT is_empty($$
	SELECT f.oid::regprocedure FROM functions f
	  JOIN pg_proc p USING (oid) WHERE p.prosecdef$$,
	'no function is SECURITY DEFINER');
SELECT is_empty($$
	SELECT c.oid::regclass, a.privilege_type
	  FROM pg_class c, aclexplode(coalesce(relacl,
		   acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
					  relowner))) a
	 WHERE c.relnamespace = 'mailman'::regnamespace
	   AND c.relkind IN ('r', 'v', 'm', 'S') AND a.grantee <> c.relowner$$,
	'no table and no sequence is granted to anybody');
SELECT is_empty($$
	SELECT a.privilege_type FROM pg_namespace n, aclexplode(nspacl) a
	 WHERE nspname = 'mailman' AND a.grantee <> n.nspowner$$,
	'nor is the schema');
SELECT is_empty($$
	SELECT a.privilege_type FROM pg_foreign_data_wrapper w, aclexplode(fdwacl) a
	 WHERE fdwname = 'mailman_smtp' AND a.grantee <> w.fdwowner$$,
	'nor is the wrapper, so not everybody makes relays');

--
-- Three roles: the application, its owner role, and somebody else
--
CREATE ROLE tap_owner NOLOGIN;
CREATE ROLE tap_app LOGIN IN ROLE tap_owner;
CREATE ROLE tap_other LOGIN;
CREATE SERVER tap_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
CREATE SERVER tap_other_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
CREATE USER MAPPING FOR tap_app SERVER tap_relay
	OPTIONS (username 'weekly', password 'word');

-- before anything is granted
SELECT pg_temp.refused('tap_app', 'SELECT public.mailman_send(1)',
	'42501 | permission denied for function mailman_send',
	'nothing granted: no sending');
SELECT pg_temp.refused('tap_app', 'SELECT public.mailman_is_address(''x'')',
	'42501 | permission denied for function mailman_is_address',
	'nothing granted: not even a look at an address');
SELECT pg_temp.refused('tap_app', format('SELECT public.%s', call),
	'42501 | permission denied for function ' || split_part(call, '(', 1),
	'nothing granted: no ' || call)
  FROM unnest(ARRAY['mailman_send(1, ''{1}'')', 'mailman_pause(1)',
	'mailman_resume(1)', 'mailman_cancel(1)', 'mailman_retry(1)',
	'mailman_retry(1, ''{doubtful}'')', 'mailman_retry_delay(1)',
	'mailman_wake()', 'mailman_adopt()',
	'mailman_preview(1)', 'mailman_preview_all(1)', 'mailman_test(1, ''x'')',
	'mailman_deliveries(1)', 'mailman_report(1)', 'mailman_check(''x'')',
	'mailman_subscribe(1, ''x'')', 'mailman_unsubscribe(''x'')',
	'mailman_unsubscribe_url(1, 1)', 'mailman_forget(1)']) AS c(call);
SELECT pg_temp.refused('tap_app', 'TABLE mailman.newsletter',
	'42501 | permission denied for schema mailman',
	'nothing granted: no newsletter is seen');

-- sensible grants
GRANT USAGE ON SCHEMA mailman TO tap_owner, tap_other;
GRANT SELECT, INSERT, UPDATE, DELETE ON mailman.newsletter,
	mailman.subscription, mailman.letter, mailman.partial
	TO tap_owner, tap_other;
GRANT SELECT ON mailman.delivery, mailman.newsletter_email
	TO tap_owner, tap_other;
GRANT EXECUTE ON FUNCTION mailman_is_address(text),
	mailman_subscribe(bigint, text, text, jsonb, boolean),
	mailman_unsubscribe(text), mailman_unsubscribe_url(bigint, bigint),
	mailman_forget(bigint),
	mailman_send(bigint), mailman_send(bigint, bigint[], jsonb),
	mailman_pause(bigint), mailman_resume(bigint), mailman_cancel(bigint),
	mailman_retry(bigint, text[]),
	mailman_test(bigint, text, bigint),
	mailman_preview(bigint, bigint), mailman_deliveries(bigint),
	mailman_report(bigint)
	TO tap_owner, tap_other;
GRANT USAGE ON FOREIGN SERVER tap_relay TO tap_owner;
GRANT USAGE ON FOREIGN SERVER tap_other_relay TO tap_other;

--
-- What the application can do with them: all of its work
--
-- ids are the sequence's to give
ALTER SEQUENCE mailman.newsletter_id_seq RESTART 900001;
ALTER SEQUENCE mailman.subscription_id_seq RESTART 900001;
ALTER SEQUENCE mailman.letter_id_seq RESTART 900001;
SELECT pg_temp.works('tap_app', $$
	INSERT INTO mailman.newsletter (owner, name, from_address, relays)
	VALUES ('tap_owner', 'Weekly', 'weekly@example.com', '{tap_relay}')$$,
	'it makes a newsletter for the role it is a member of');
SELECT pg_temp.works('tap_app', $$
	INSERT INTO mailman.subscription (newsletter_id, email)
	VALUES (900001, 'ada@example.com')$$, 'it loads a subscription');
SELECT pg_temp.works('tap_app', $$
	SELECT mailman_subscribe(900001, 'bob@example.com')$$, 'it subscribes');
SELECT pg_temp.works('tap_app', $$
	INSERT INTO mailman.letter (newsletter_id, subject, text_body)
	VALUES (900001, 'Hello', 'Hello {{name}}'),
		   (900001, 'Hello', 'Hello {{name}}')$$, 'it drafts letters');
SELECT pg_temp.works('tap_app', $$
	UPDATE mailman.letter SET subject = 'Good morning' WHERE id = 900001$$,
	'it edits a draft');
SELECT pg_temp.works('tap_app', 'SELECT mailman_preview(900001)',
	'it looks at the mail');
SELECT pg_temp.works('tap_app',
	'SELECT mailman_test(900001, ''boss@example.net'')',
	'it lets somebody else look at it');
SELECT is((SELECT requested_by FROM mailman.test WHERE letter_id = 900001),
	'tap_app', 'and is the one who asked for it');
SELECT pg_temp.works('tap_app', 'SELECT mailman_send(900001)', 'it sends it');
SELECT is((SELECT sender FROM mailman.letter WHERE id = 900001),
	'tap_app', 'and is the sender');
SELECT pg_temp.works('tap_app', 'SELECT mailman_pause(900001)', 'it pauses it');
SELECT pg_temp.works('tap_app', 'SELECT mailman_resume(900001)',
	'it lets it go on');
SELECT pg_temp.works('tap_app', 'SELECT mailman_send(900001, ''{900001}'')',
	'it sends to some');
SELECT pg_temp.works('tap_app', 'SELECT mailman_deliveries(900001)',
	'it sees the outcomes');
SELECT pg_temp.works('tap_app', 'SELECT mailman_report(900001)',
	'and a report');
SELECT pg_temp.works('tap_app', 'SELECT state FROM mailman.delivery',
	'it reads deliveries');
SELECT pg_temp.works('tap_app', 'SELECT mailman_retry(900001)',
	'it tries again what has failed');
SELECT pg_temp.works('tap_app', 'SELECT mailman_cancel(900001)',
	'it calls it back');

--
-- And nothing else
--
SELECT pg_temp.refused('tap_app', 'SELECT * FROM public.mailman_check(''tap_relay'')',
	'42501 | permission denied for function mailman_check',
	'what was not granted is not to be called');
SELECT pg_temp.refused('tap_app', statement, '42501 | ' || message,
					   regexp_replace(statement, '\s+', ' ', 'g'))
  FROM (VALUES
	('TABLE mailman.secret', 'permission denied for table secret'),
	('TABLE mailman.forgotten', 'permission denied for table forgotten'),
	('TABLE mailman.dkim_key', 'permission denied for table dkim_key'),
	('SELECT public.mailman_set_dkim_key(900001, NULL)',
	 'permission denied for function mailman_set_dkim_key'),
	('TABLE mailman.posting', 'permission denied for table posting'),
	('TABLE mailman.test', 'permission denied for table test'),
	('TABLE mailman.origin', 'permission denied for table origin'),
	('TABLE mailman.relay_status',
	 'permission denied for view relay_status'),
	('TABLE mailman.relay_state', 'permission denied for table relay_state'),
	('DELETE FROM mailman.relay_state',
	 'permission denied for table relay_state'),
	('TABLE mailman.domain_state',
	 'permission denied for table domain_state'),
	('TABLE mailman.domain_limit',
	 'permission denied for table domain_limit'),
	('INSERT INTO mailman.domain_limit (pattern, rate)
	  VALUES (''example.com'', ''1/s'')',
	 'permission denied for table domain_limit'),
	('DELETE FROM mailman.origin', 'permission denied for table origin'),
	('INSERT INTO mailman.delivery (letter_id, subscription_id)
	  VALUES (900002, 900001)', 'permission denied for table delivery'),
	('UPDATE mailman.delivery SET state = ''delivered''',
	 'permission denied for table delivery'),
	('DELETE FROM mailman.newsletter_email',
	 'permission denied for table newsletter_email'),
	('INSERT INTO mailman.posting (letter_id, low, high, recipients)
	  VALUES (900002, 1, 2, 1)', 'permission denied for table posting'),
	('SELECT mailman.smtp_validator(''{}'', 1417)',
	 'permission denied for function smtp_validator'),
	('ALTER TABLE mailman.letter DISABLE TRIGGER guard',
	 'must be owner of table letter'),
	('DROP TRIGGER guard ON mailman.letter',
	 'must be owner of relation letter'),
	('CREATE TRIGGER mine AFTER INSERT ON mailman.letter FOR EACH ROW
	  EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()',
	 'permission denied for table letter'),
	('CREATE SERVER mine FOREIGN DATA WRAPPER mailman_smtp
	  OPTIONS (url ''smtp://127.0.0.1:1'')',
	 'permission denied for foreign-data wrapper mailman_smtp'),
	('CREATE USER MAPPING FOR tap_owner SERVER tap_relay
	  OPTIONS (username ''a'', password ''b'')',
	 'must be owner of foreign server tap_relay'),
	('DROP SERVER tap_relay', 'must be owner of foreign server tap_relay')
  ) v(statement, message);

-- whoever is let may wake; to adopt takes the extension's owner
GRANT EXECUTE ON FUNCTION mailman_wake(), mailman_adopt() TO tap_app;
SELECT pg_temp.works('tap_app', 'SELECT mailman_wake()',
	'it wakes what was left behind, if it is let');
SELECT pg_temp.refused('tap_app', 'SELECT mailman_adopt()',
	'42501 | permission denied to adopt this database',
	'but does not adopt, even if it is let');
REVOKE EXECUTE ON FUNCTION mailman_wake(), mailman_adopt() FROM tap_app;

-- somebody else's newsletter, by one who is no member
SELECT pg_temp.refused('tap_other', statement, verdict, 'a stranger: ' || statement)
  FROM (VALUES
	('SELECT mailman_send(900002)',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_send(900002, ''{900001}'')',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_send(900002, ''{}'')',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_test(900002, ''boss@example.net'')',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_preview(900002)',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_report(900002)',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_deliveries(900002)',
	 '42501 | permission denied for letter 900002'),
	('SELECT mailman_pause(900001)',
	 '42501 | permission denied for letter 900001'),
	('SELECT mailman_resume(900001)',
	 '42501 | permission denied for letter 900001'),
	('SELECT mailman_cancel(900001)',
	 '42501 | permission denied for letter 900001'),
	('SELECT mailman_retry(900001)',
	 '42501 | permission denied for letter 900001'),
	('SELECT mailman_unsubscribe_url(900001, 900001)',
	 '42501 | permission denied for letter 900001')) v(statement, verdict_),
  LATERAL (SELECT verdict_ || ' | Let newsletter.owner be a role whose members may'
		   || ' send.') h(verdict);
SELECT alike(pg_temp.verdict('tap_other',
	'SELECT mailman_subscribe(900001, ''eve@example.com'')'),
	'42501 | permission denied for newsletter 900001%',
	'a stranger does not subscribe anybody');
SELECT alike(pg_temp.verdict('tap_other', 'SELECT mailman_forget(900001)'),
	'42501 | permission denied for subscription 900001%',
	'nor forgets anybody');
SELECT pg_temp.refused('tap_other', 'SELECT mailman_unsubscribe(''x'')',
	'22023 | invalid token', 'nor unsubscribes anybody without a token');
UPDATE mailman.newsletter SET unsubscribe_url = 'https://example.com/u/{{token}}'
 WHERE id = 900001;
SELECT split_part(mailman_unsubscribe_url(900001, id), '/u/', 2) AS token, id
  FROM mailman.subscription WHERE email = 'bob@example.com' \gset
SELECT pg_temp.works('tap_other', 'SELECT mailman_unsubscribe('
					 || quote_literal(:'token') || ')',
					 'but does with one, whosever it is');
SELECT is((SELECT state FROM mailman.subscription WHERE id = :id),
		  'unsubscribed', 'and so they are');
UPDATE mailman.subscription SET state = 'active' WHERE id = :id;
SELECT alike(pg_temp.verdict('tap_other',
	'UPDATE mailman.newsletter SET ' || assignment || ' WHERE id = 900001'),
	'42501 | permission denied for newsletter 900001 | %',
	'a stranger does not set ' || assignment)
  FROM (VALUES ('owner = ''tap_other'''), ('owner = current_user'),
			   ('relays = ''{tap_other_relay}'''), ('relays = ''{}'''),
			   ('policy = ''pg_catalog.now'''), ('name = ''Mine'''),
			   ('from_address = ''eve@example.com'''),
			   ('reply_to = ''eve@example.com'''),
			   ('unsubscribe_url = ''https://eve.example/{{token}}'''),
			   ('bounce_address = ''eve@example.com'''),
			   ('max_attempts = 1'), ('id = 900009'), ('name = name')
	   ) v(assignment);
SELECT pg_temp.refused('tap_app', $$
	UPDATE mailman.newsletter SET owner = 'tap_other' WHERE id = 900001$$,
	'42501 | permission denied to set owner of a newsletter | Only members of'
	|| ' the old and the new owner set owner, relays and policy.',
	'nor does its owner give it to a role it is no member of');
SELECT pg_temp.works('tap_app', $$
	INSERT INTO mailman.partial VALUES (900001, 'footer', 'Bye')$$,
	'members of the owner write partials');
SELECT alike(pg_temp.verdict('tap_other', statement),
	'42501 | permission denied for newsletter 900001 | %',
	'a stranger does not: ' || statement)
  FROM (VALUES
	('UPDATE mailman.partial SET template = ''x'' WHERE newsletter_id = 900001'),
	('DELETE FROM mailman.partial WHERE newsletter_id = 900001'),
	('INSERT INTO mailman.partial VALUES (900001, ''footer'', ''x'')
	  ON CONFLICT (newsletter_id, name) DO UPDATE SET template = ''x''')
  ) v(statement);
SELECT alike(pg_temp.verdict('tap_other', $$
	INSERT INTO mailman.partial VALUES (900001, 'other', 'x')$$),
	'42501 | permission denied for newsletter 900001 | %',
	'nor does he add one');
SELECT alike(pg_temp.verdict('tap_other', $$
	INSERT INTO mailman.newsletter (owner, name, from_address)
	VALUES ('tap_owner', 'Foreign', 'foreign@example.com')$$),
	'42501 | permission denied to set the owner of a newsletter | %',
	'nobody makes a newsletter in another''s name');
SELECT alike(pg_temp.verdict('tap_other', $$
	INSERT INTO mailman.newsletter (id, owner, name, from_address)
	VALUES (900001, 'tap_other', 'Foreign', 'foreign@example.com')
	ON CONFLICT (id) DO UPDATE SET owner = excluded.owner$$),
	'42501 | permission denied to choose the id of a newsletter | %',
	'nor by way of ON CONFLICT');
SELECT alike(pg_temp.verdict('tap_other', $$
	WITH stolen AS (UPDATE mailman.newsletter SET owner = 'tap_other'
	WHERE id = 900001 RETURNING 1) SELECT * FROM stolen$$),
	'42501 | permission denied for newsletter 900001 | %',
	'nor inside of a query');

-- a relay that was not granted
SELECT pg_temp.works('tap_app', $$
	UPDATE mailman.newsletter SET relays = '{tap_other_relay}'
	 WHERE id = 900001$$, 'a relay may be named without a right to it');
SELECT pg_temp.refused('tap_app', 'SELECT mailman_send(900002)',
	'42501 | permission denied for relay "tap_other_relay"'
	|| ' | GRANT USAGE ON FOREIGN SERVER tap_other_relay TO tap_app.',
	'but not used');
SELECT pg_temp.works('tap_app', $$
	UPDATE mailman.newsletter SET relays = '{tap_relay,tap_other_relay}'
	 WHERE id = 900001$$, 'nor among others');
SELECT alike(pg_temp.verdict('tap_app', 'SELECT mailman_send(900002)'),
	'42501 | permission denied for relay "tap_other_relay"%',
	'every relay of the list counts');
SELECT pg_temp.works('tap_app', $$
	UPDATE mailman.newsletter SET relays = '{tap_relay}'
	 WHERE id = 900001$$, 'back to the granted one');
SELECT pg_temp.refused('tap_owner', 'SELECT mailman_send(900002)',
	'42704 | no user mapping of relay "tap_relay" fits role "tap_owner"'
	|| ' | CREATE USER MAPPING FOR that role, or FOR PUBLIC.',
	'a mapping is its role''s alone');
SELECT is((SELECT umoptions::text FROM pg_user_mappings
			WHERE srvname = 'tap_relay' AND usename = 'tap_app'),
		  '{username=weekly,password=word}', 'the superuser sees credentials');
SELECT pg_temp.works('tap_other', $$
	DO 'BEGIN ASSERT (SELECT umoptions IS NULL FROM pg_user_mappings
	WHERE srvname = ''tap_relay'' AND usename = ''tap_app''); END'$$,
	'others do not');
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900002',
	'nothing of all this queued a mail');
SELECT is((SELECT state FROM mailman.letter WHERE id = 900002), 'draft',
	'or moved the letter');

--
-- Whatever is granted by mistake
--
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE
	ON ALL TABLES IN SCHEMA mailman TO tap_app;
CREATE FUNCTION pg_temp.guarded(statement text) RETURNS text AS $$
SELECT alike(pg_temp.verdict('tap_app', statement),
	'42501 | % by the extension only | Use ' ||
	CASE WHEN statement LIKE '%mailman.origin%' THEN 'mailman\_adopt().'
	WHEN statement LIKE '%mailman.test %' OR statement LIKE '%mailman.test'
	THEN 'mailman\_test().'
	WHEN statement LIKE '%forgotten%' THEN 'mailman\_forget().'
	WHEN statement LIKE '%mailman.dkim\_key%'
	THEN 'mailman\_set\_dkim\_key().'
	ELSE 'mailman\_send(), mailman\_pause(), mailman\_resume()'
		 ' or mailman\_cancel().' END,
	regexp_replace(statement, '\s+', ' ', 'g'))
$$ LANGUAGE sql;
SELECT pg_temp.guarded(statement) FROM unnest(ARRAY[
	'INSERT INTO mailman.delivery (letter_id, subscription_id)
	 VALUES (900002, 900001)',
	'INSERT INTO mailman.delivery (letter_id, subscription_id)
	 VALUES (900001, 900001) ON CONFLICT DO NOTHING',
	'INSERT INTO mailman.delivery SELECT * FROM mailman.delivery WHERE false',
	'UPDATE mailman.delivery SET state = ''delivered''',
	'UPDATE mailman.delivery SET state = state WHERE false',
	'UPDATE mailman.delivery SET due_at = now()',
	'UPDATE mailman.delivery SET variables = ''{}''',
	'DELETE FROM mailman.delivery',
	'TRUNCATE mailman.delivery CASCADE',
	'WITH d AS (DELETE FROM mailman.delivery RETURNING 1) SELECT 1 FROM d',
	'INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
	 bytes, revision, attempts, code, duration, address, message_id, relay)
	 VALUES (900001, 900001, now(), 1, 1, 1, 250, ''0'', ''a'', ''b'', ''c'')',
	'UPDATE mailman.newsletter_email SET code = 250',
	'DELETE FROM mailman.newsletter_email',
	'TRUNCATE mailman.newsletter_email',
	'INSERT INTO mailman.posting (letter_id, low, high, recipients)
	 VALUES (900002, 1, 2, 1)',
	'UPDATE mailman.posting SET folded = true',
	'DELETE FROM mailman.posting',
	'TRUNCATE mailman.posting',
	'INSERT INTO mailman.test (letter_id, address, requested_by)
	 VALUES (900002, ''x@example.com'', ''tap_owner'')',
	'UPDATE mailman.test SET state = ''pending''',
	'DELETE FROM mailman.test',
	'TRUNCATE mailman.test',
	'INSERT INTO mailman.secret
	 VALUES (900001, decode(repeat(''00'', 32), ''hex''))',
	'UPDATE mailman.secret SET key = decode(repeat(''00'', 32), ''hex'')',
	'DELETE FROM mailman.secret',
	'TRUNCATE mailman.secret',
	'INSERT INTO mailman.forgotten VALUES (900001, '''', ''unsubscribed'')',
	'UPDATE mailman.forgotten SET state = ''bounced''',
	'DELETE FROM mailman.forgotten',
	'TRUNCATE mailman.forgotten',
	'UPDATE mailman.subscription SET forgotten_at = now()',
	'INSERT INTO mailman.dkim_key VALUES (900001, ''s'', ''x'')',
	'UPDATE mailman.dkim_key SET key = ''x''',
	'DELETE FROM mailman.dkim_key',
	'TRUNCATE mailman.dkim_key',
	'INSERT INTO mailman.origin VALUES (1, 1)',
	'UPDATE mailman.origin SET database = 1',
	'DELETE FROM mailman.origin',
	'TRUNCATE mailman.origin',
	'INSERT INTO mailman.relay_state (server) VALUES (1)',
	'INSERT INTO mailman.relay_state (server) VALUES (1)
	 ON CONFLICT DO NOTHING',
	'UPDATE mailman.relay_state SET failures = 9, out_key = 0',
	'UPDATE mailman.relay_state SET arrival = ''infinity''',
	'DELETE FROM mailman.relay_state',
	'TRUNCATE mailman.relay_state',
	'INSERT INTO mailman.domain_state VALUES (1, ''infinity'')',
	'UPDATE mailman.domain_state SET arrival = ''infinity''',
	'DELETE FROM mailman.domain_state',
	'TRUNCATE mailman.domain_state',
	'TRUNCATE mailman.letter CASCADE',
	'TRUNCATE mailman.newsletter CASCADE',
	'UPDATE mailman.posting SET failed = 1',
	'UPDATE mailman.letter SET whole = true WHERE id = 900002',
	'UPDATE mailman.letter SET line_at = now() WHERE id = 900002',
	'UPDATE mailman.letter SET run_at = now() WHERE id = 900002',
	'UPDATE mailman.letter SET last_error = ''x'' WHERE id = 900002',
	'UPDATE mailman.letter SET resumed_at = now() WHERE id = 900002',
	'UPDATE mailman.letter SET rate = 9 WHERE id = 900002',
	'UPDATE mailman.letter SET rate_at = now() WHERE id = 900002',
	'UPDATE mailman.letter SET state = ''sent'' WHERE id = 900002',
	'UPDATE mailman.letter SET state_reason = ''x'' WHERE id = 900002',
	'UPDATE mailman.letter SET sender = ''postgres'' WHERE id = 900002',
	'UPDATE mailman.letter SET run = run + 1 WHERE id = 900002',
	'UPDATE mailman.letter SET failed_runs = 1 WHERE id = 900002',
	'UPDATE mailman.letter SET doubts = 1 WHERE id = 900002',
	'UPDATE mailman.letter SET revision = 5 WHERE id = 900002',
	'UPDATE mailman.letter SET mail_order = mail_order || ''{"pending": 1}''
	 WHERE id = 900002',
	'UPDATE mailman.letter SET state = ''draft'' WHERE id = 900001',
	'UPDATE mailman.letter SET sender = NULL WHERE id = 900001']) AS s(statement);
SELECT pg_temp.refused('tap_app', format(
	'INSERT INTO mailman.letter (newsletter_id, subject, %I)
	 VALUES (900001, ''Forged'', %L)', col, value),
	'42501 | a new letter is a draft | Leave it out, and send the letter with'
	|| ' mailman_send().', regexp_replace(format('a new letter with %s = %s', col, value), '\s+', ' ', 'g'))
  FROM (VALUES ('state', 'sending'), ('state', 'paused'), ('state', 'sent'),
	('state_reason', 'because'), ('sender', 'postgres'), ('run', '1'),
	('failed_runs', '1'), ('doubts', '1'), ('revision', '2'),
	('whole', 'true'), ('line_at', 'now'), ('run_at', 'now'),
	('last_error', 'x'), ('rate', '9'), ('rate_at', 'now'),
	('resumed_at', 'now'), ('resumed_at', 'infinity'),
	('mail_order', '{}'), ('mail_order', '[1, 2, 3]'),
	('mail_order', '{"recipients": 9, "pending": 0, "sending": 0,
	  "deferred": 0, "delivered": 0, "failed": 0, "skipped": 0, "doubtful": 0}'),
	('mail_order', '{"recipients": 0, "pending": 1, "sending": -1,
	  "deferred": 0, "delivered": 0, "failed": 0, "skipped": 0, "doubtful": 0}')
  ) v(col, value);
SELECT alike(pg_temp.verdict('tap_app', $$
	MERGE INTO mailman.letter l USING (VALUES (900002)) v(id) ON l.id = v.id
	WHEN MATCHED THEN UPDATE SET state = 'sent'$$), '42501 | column "state" of%',
	'nor by MERGE')
 WHERE current_setting('server_version_num')::int >= 150000;
SELECT pass('no MERGE before PostgreSQL 15')
 WHERE current_setting('server_version_num')::int < 150000;
SELECT alike(pg_temp.verdict('tap_app', $$
	UPDATE mailman.letter SET ref = 'x' WHERE id = 900002;
	INSERT INTO mailman.letter (newsletter_id, ref, subject)
	VALUES (900001, 'x', 'x')
	ON CONFLICT (newsletter_id, ref) DO UPDATE SET run = 9$$),
	'42501 | column "run" of%', 'nor by ON CONFLICT');
-- an updatable view does not help
CREATE VIEW pg_temp.letters AS SELECT * FROM mailman.letter;
GRANT ALL ON pg_temp.letters TO tap_app;
SELECT alike(pg_temp.verdict('tap_app',
	'UPDATE pg_temp.letters SET state = ''sent'''), '42501 | column "state" of%',
	'nor through a view of the superuser''s');

-- whoever can make triggers on the tables would run code as the extension's
-- owner, so that is refused, even where TRIGGER was granted: whatever it is
-- that would fire the trigger, as nothing is written before all are looked at
GRANT ALL ON ALL TABLES IN SCHEMA mailman TO tap_app;
CREATE SCHEMA tap_app AUTHORIZATION tap_app;
SELECT pg_temp.works('tap_app', $$
	CREATE FUNCTION tap_app.escalate() RETURNS trigger AS
	'BEGIN EXECUTE ''ALTER ROLE tap_app SUPERUSER''; RETURN NEW; END'
	LANGUAGE plpgsql$$, 'a function that would make one superuser');
SELECT alike(pg_temp.verdict('tap_app', format('CREATE TRIGGER zz BEFORE INSERT
	ON mailman.%I EXECUTE FUNCTION tap_app.escalate()', tab)),
	'42501 | permission denied to create trigger "zz" on table "mailman.'
	|| tab || '" | %', 'a trigger on ' || tab || ' is refused when it is made')
  FROM unnest(ARRAY['letter', 'subscription', 'delivery', 'newsletter_email',
					'posting', 'test', 'secret', 'forgotten', 'dkim_key',
					'origin', 'relay_state', 'domain_state', 'attachment',
					'partial', 'event']) AS t(tab);
SELECT alike(pg_temp.verdict('tap_app', $$
	DO 'BEGIN CREATE TRIGGER zz AFTER UPDATE ON mailman.letter
	EXECUTE FUNCTION tap_app.escalate(); EXCEPTION WHEN OTHERS THEN RAISE; END'$$),
	'42501 | permission denied to create trigger %', 'inside of a block, too');
-- should somebody have switched that off, what writes looks again
ALTER EVENT TRIGGER mailman_guard_triggers DISABLE;
CREATE FUNCTION pg_temp.escalated(tab name, events text, call text)
RETURNS text AS $$
DECLARE
	verdict text;
BEGIN
	verdict := pg_temp.verdict('tap_app', format(
		'CREATE TRIGGER zz %s ON mailman.%I %s EXECUTE FUNCTION tap_app.escalate()',
		split_part(events, ' FOR ', 1), tab,
		substring(events FROM ' FOR .*')));
	IF verdict = 'ok' THEN
		verdict := pg_temp.verdict('tap_app', call);
		EXECUTE format('DROP TRIGGER zz ON mailman.%I', tab);
	END IF;
	RETURN verdict;
END
$$ LANGUAGE plpgsql;
SELECT is(pg_temp.escalated(tab, 'BEFORE INSERT OR UPDATE OR DELETE', call),
	'42501 | trigger "zz" on table "mailman.' || tab || '" would run with the'
	|| ' rights of the extension''s owner | Drop the trigger, and revoke'
	|| ' TRIGGER on the table; or let what it uses belong to a superuser.',
	format('a trigger on %s is named and refused by %s', tab, call))
  FROM (VALUES ('SELECT mailman_subscribe(900001, ''zz@example.com'')',
				'{subscription}'::text[]),
			   ('SELECT mailman_subscribe(900001, ''zz@example.com'','
				' again => true)', '{subscription,forgotten}'),
			   ('SELECT mailman_forget(900001)', '{subscription,delivery,'
				'newsletter_email,test,forgotten}'),
			   ('SELECT mailman_send(900002)',
				'{letter,delivery,posting,origin}'),
			   ('SELECT mailman_send(900002, ''{900001}'')',
				'{letter,delivery,posting,origin}'),
			   ('SELECT mailman_test(900002, ''zz@example.com'')',
				'{test,origin}'),
			   ('SELECT mailman_pause(900001)', '{letter}'),
			   ('SELECT mailman_resume(900001)', '{letter,delivery}'),
			   ('SELECT mailman_cancel(900001)', '{letter,delivery,posting}'),
			   ('SELECT mailman_retry(900001)', '{delivery,posting}'))
	   AS c(call, tables), unnest(tables) AS t(tab);
SELECT alike(pg_temp.escalated('letter', events,
	'SELECT mailman_send(900002)'), '42501 | trigger "zz" on table %',
	events || ' is refused')
  FROM unnest(ARRAY['BEFORE INSERT', 'AFTER UPDATE',
	'BEFORE UPDATE OF sender', 'BEFORE UPDATE FOR EACH ROW',
	'AFTER DELETE FOR EACH ROW', 'AFTER TRUNCATE']) AS e(events);
-- what is the same as not being there
SELECT alike(pg_temp.verdict('tap_app', $$
	DO 'BEGIN CREATE TRIGGER zz AFTER UPDATE ON mailman.letter
	EXECUTE FUNCTION tap_app.escalate(); PERFORM mailman_send(900002); END'$$),
	'42501 | trigger "zz" on table "mailman.letter" %',
	'in the transaction that makes it');
SELECT ok((SELECT NOT rolsuper FROM pg_roles WHERE rolname = 'tap_app'),
	'no trigger of an application was run as the extension''s owner');
SELECT is_empty('SELECT 1 FROM mailman.delivery WHERE letter_id = 900002',
	'nothing was queued');
-- a condition is code, too, whatever the trigger's function is
SELECT pg_temp.works('tap_app', $$
	CREATE FUNCTION tap_app.condition() RETURNS boolean AS
	'BEGIN EXECUTE ''ALTER ROLE tap_app SUPERUSER''; RETURN true; END'
	LANGUAGE plpgsql$$, 'a condition that would make one superuser');
SELECT pg_temp.works('tap_app', $$
	CREATE TRIGGER zz BEFORE UPDATE ON mailman.letter FOR EACH ROW
	WHEN (tap_app.condition()) EXECUTE FUNCTION
	pg_catalog.suppress_redundant_updates_trigger()$$,
	'in front of a harmless function');
SELECT alike(pg_temp.verdict('tap_app', 'SELECT mailman_send(900002)'),
	'42501 | trigger "zz" on table "mailman.letter" %', 'is refused');
SELECT ok((SELECT NOT rolsuper FROM pg_roles WHERE rolname = 'tap_app'),
	'before it is looked at');
ALTER ROLE tap_app NOSUPERUSER;
DROP TRIGGER zz ON mailman.letter;
-- a superuser's trigger gains nothing, and passes
CREATE FUNCTION pg_temp.look() RETURNS trigger AS
	'BEGIN RETURN NULL; END' LANGUAGE plpgsql SET search_path = public, pg_temp;
CREATE TRIGGER zz AFTER UPDATE ON mailman.subscription
	FOR EACH ROW EXECUTE FUNCTION pg_temp.look();
SELECT is(pg_temp.verdict('tap_app',
	'SELECT mailman_subscribe(900001, ''bob@example.com'')'), 'ok',
	'a trigger of a superuser''s function is in nobody''s way');
DROP TRIGGER zz ON mailman.subscription;

-- nor do foreign keys run them
SELECT pg_temp.verdict('tap_app', $$
	INSERT INTO mailman.newsletter (id, owner, name, from_address)
	VALUES (900009, 'tap_owner', 'Short-lived', 'short@example.com')$$) <> '',
	pg_temp.verdict('tap_app', $$
	INSERT INTO mailman.partial VALUES (900009, 'footer', 'Bye')$$) <> '',
	pg_temp.verdict('tap_app', $$
	CREATE TRIGGER zz BEFORE DELETE ON mailman.partial
	EXECUTE FUNCTION tap_app.escalate()$$) <> '',
	pg_temp.verdict('tap_app', $$
	DELETE FROM mailman.newsletter WHERE id = 900009$$) <> '' \g /dev/null
SELECT ok((SELECT NOT rolsuper FROM pg_roles WHERE rolname = 'tap_app'),
	'a trigger that a cascade fires is not run as the tables'' owner');
DROP TRIGGER IF EXISTS zz ON mailman.partial;
DELETE FROM mailman.newsletter WHERE id = 900009;
ALTER ROLE tap_app NOSUPERUSER;
ALTER EVENT TRIGGER mailman_guard_triggers ENABLE ALWAYS;
REVOKE TRIGGER ON ALL TABLES IN SCHEMA mailman FROM tap_app CASCADE;

-- session_replication_role does not turn the guards off
SELECT pg_temp.refused('tap_app', 'SET session_replication_role = replica',
	'42501 | permission denied to set parameter "session_replication_role"',
	'not everybody sets session_replication_role');
CREATE FUNCTION pg_temp.as_replica(role name, statement text) RETURNS text AS $$
DECLARE
	verdict text;
BEGIN
	SET LOCAL session_replication_role = replica;
	verdict := pg_temp.verdict(role, statement);
	SET LOCAL session_replication_role = origin;
	RETURN verdict;
END
$$ LANGUAGE plpgsql;
SELECT alike(pg_temp.as_replica('tap_app', statement),
	'42501 | % by the extension only | %',
	'as a replica: ' || regexp_replace(statement, '\s+', ' ', 'g'))
  FROM unnest(ARRAY['UPDATE mailman.letter SET state = ''sent''',
	'UPDATE mailman.delivery SET state = ''delivered''',
	'INSERT INTO mailman.posting (letter_id, low, high, recipients)
	 VALUES (900002, 1, 2, 1)', 'DELETE FROM mailman.secret',
	'UPDATE mailman.origin SET database = 1',
	'UPDATE mailman.relay_state SET failures = 9',
	'DELETE FROM mailman.domain_state',
	'UPDATE mailman.letter SET resumed_at = now()',
	'UPDATE mailman.letter SET last_error = ''x''']) AS s(statement);
SELECT alike(pg_temp.as_replica('tap_other', $$
	UPDATE mailman.newsletter SET owner = 'tap_other' WHERE id = 900001$$),
	'42501 | permission denied for newsletter 900001%',
	'as a replica: the owner stays');
SELECT is(pg_temp.as_replica(current_user::name, $$
	UPDATE mailman.letter SET state_reason = 'restored' WHERE id = 900002$$),
	'ok', 'the superuser as a replica may load what was written elsewhere');
SELECT alike(pg_temp.verdict(current_user::name, statement),
	'42501 | % by the extension only | %', 'a superuser: ' || statement)
  FROM unnest(ARRAY['UPDATE mailman.letter SET state = ''sent''',
	'UPDATE mailman.delivery SET state = ''delivered''',
	'DELETE FROM mailman.posting', 'TRUNCATE mailman.secret',
	'UPDATE mailman.test SET state = ''pending''', 'TRUNCATE mailman.test',
	'UPDATE mailman.origin SET database = 1', 'DELETE FROM mailman.origin',
	'TRUNCATE mailman.origin', 'UPDATE mailman.letter SET whole = true',
	'UPDATE mailman.letter SET resumed_at = NULL, whole = true',
	'UPDATE mailman.relay_state SET out_key = 1',
	'DELETE FROM mailman.relay_state', 'TRUNCATE mailman.domain_state'])
	AS s(statement);

--
-- SECURITY DEFINER: the definer's rights, neither more nor less
--
CREATE FUNCTION pg_temp.post(letter bigint) RETURNS bigint AS
	'SELECT public.mailman_send(letter)' LANGUAGE sql SECURITY DEFINER;
GRANT USAGE ON SCHEMA public TO tap_app, tap_other;
ALTER FUNCTION pg_temp.post(bigint) OWNER TO tap_app;
SELECT pg_temp.works('tap_other', 'SELECT pg_temp.post(900002)',
	'a wrapper of the owner''s sends for whom it lets');
SELECT is((SELECT sender FROM mailman.letter WHERE id = 900002), 'tap_app',
	'in the name of the wrapper''s owner');
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (900003, 900001, 'Hello', 'Hello');
ALTER FUNCTION pg_temp.post(bigint) OWNER TO tap_other;
SELECT pg_temp.refused('tap_app', 'SELECT pg_temp.post(900003)',
	'42501 | permission denied for letter 900003 | Let newsletter.owner be a'
	|| ' role whose members may send.',
	'a wrapper of a stranger''s does not');
CREATE FUNCTION pg_temp.forge() RETURNS void AS
	'UPDATE mailman.delivery SET state = ''delivered'''
	LANGUAGE sql SECURITY DEFINER;
SELECT alike(pg_temp.verdict('tap_other', 'SELECT pg_temp.forge()'),
	'42501 | table "mailman.delivery" is written by the extension only%',
	'a wrapper of the superuser''s writes no delivery');

-- afterwards one is who one was
SELECT pg_temp.works('tap_app', $$
	DO 'BEGIN PERFORM mailman_send(900003); ASSERT current_user = ''tap_app'';
	BEGIN PERFORM mailman_send(900003, ''{1,NULL}''); EXCEPTION WHEN OTHERS
	THEN NULL; END; ASSERT current_user = ''tap_app'';
	BEGIN UPDATE mailman.delivery SET state = ''delivered''; ASSERT false;
	EXCEPTION WHEN insufficient_privilege THEN NULL; END; END'$$,
	'neither a call nor a failed one leaves its rights behind');

-- a member without the rights of its role (NOINHERIT) sends nothing
CREATE ROLE tap_noinherit NOINHERIT IN ROLE tap_owner;
GRANT EXECUTE ON FUNCTION mailman_send(bigint) TO tap_noinherit;
SELECT alike(pg_temp.verdict('tap_noinherit', 'SELECT mailman_send(900003)'),
	'42501 | permission denied for letter 900003%',
	'membership without inheritance is not enough');

SELECT * FROM finish();
ROLLBACK;
