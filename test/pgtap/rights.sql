-- mailman_grant() and mailman_revoke(): that one call is enough for the whole
-- life of a letter, and what exactly it gives: every table and every function
-- of the extension is in an expectation here, so that none slips in unnoticed.
-- And what the views show, and to whom.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(105);

\ir verdict.psql
CREATE FUNCTION pg_temp.answer(role name, query text) RETURNS text AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE query INTO answer;
	RESET ROLE;
	RETURN answer;
END
$$ LANGUAGE plpgsql;

CREATE ROLE tap_owner NOLOGIN;
CREATE ROLE tap_send LOGIN IN ROLE tap_owner;
CREATE ROLE tap_read LOGIN IN ROLE tap_owner;
CREATE ROLE tap_other LOGIN;
CREATE SERVER tap_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');

--
-- What a role has: every privilege on everything that is the extension's
--
CREATE TEMP VIEW members AS
SELECT classid, objid FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mailman');
CREATE FUNCTION pg_temp.relations_of(role name)
RETURNS TABLE (relation text, privileges text) AS $$
SELECT c.relname::text, string_agg(p, ',' ORDER BY p)
  FROM members m JOIN pg_class c ON c.oid = m.objid
 CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
						 'REFERENCES', 'TRIGGER']) p
 WHERE m.classid = 'pg_class'::regclass AND c.relkind <> 'S'
   AND (has_table_privilege(role, c.oid, p)
		OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
		AND has_any_column_privilege(role, c.oid, p))
 GROUP BY c.relname
$$ LANGUAGE sql;
CREATE FUNCTION pg_temp.functions_of(role name) RETURNS SETOF text AS $$
SELECT p.oid::regprocedure::text
  FROM members m JOIN pg_proc p ON p.oid = m.objid
 WHERE m.classid = 'pg_proc'::regclass
   AND has_function_privilege(role, p.oid, 'EXECUTE')
   AND NOT has_function_privilege('tap_other', p.oid, 'EXECUTE')
$$ LANGUAGE sql;
CREATE FUNCTION pg_temp.others_of(role name) RETURNS SETOF text AS $$
SELECT 'schema: ' || p FROM unnest(ARRAY['CREATE', 'USAGE']) p
 WHERE has_schema_privilege(role, 'mailman', p)
 UNION ALL
SELECT 'wrapper' WHERE has_foreign_data_wrapper_privilege(role,
														  'mailman_smtp', 'USAGE')
 UNION ALL
SELECT 'server' WHERE has_server_privilege(role, 'tap_relay', 'USAGE')
 UNION ALL
SELECT 'sequence ' || objid::regclass
  FROM members JOIN pg_class c ON c.oid = objid
 WHERE classid = 'pg_class'::regclass
   AND CASE WHEN relkind = 'S'
			THEN has_sequence_privilege(role, objid, 'USAGE, SELECT, UPDATE')
			END
$$ LANGUAGE sql;

CREATE TEMP TABLE wanted_relations (level text, relation text, privileges text);
COPY wanted_relations FROM stdin (DELIMITER '|');
never|secret|
never|dkim_key|
never|origin|
never|forgotten|
never|relay_state|
never|domain_state|
never|work|
read|newsletter|SELECT
read|subscription|SELECT
read|letter|SELECT
read|attachment|SELECT
read|partial|SELECT
read|delivery|SELECT
read|newsletter_email|SELECT
read|posting|SELECT
read|domain_limit|SELECT
read|line|SELECT
read|progress|SELECT
read|worker|SELECT
read|recipient|SELECT
read|failure_summary|SELECT
read|relay_status|SELECT
read|event|SELECT
read|test|SELECT
send|newsletter|DELETE,INSERT,SELECT,UPDATE
send|subscription|DELETE,INSERT,SELECT,UPDATE
send|letter|DELETE,INSERT,SELECT,UPDATE
send|attachment|DELETE,INSERT,SELECT,UPDATE
send|partial|DELETE,INSERT,SELECT,UPDATE
send|delivery|SELECT
send|newsletter_email|SELECT
send|posting|SELECT
send|domain_limit|SELECT
send|line|SELECT
send|progress|SELECT
send|worker|SELECT
send|recipient|SELECT
send|failure_summary|SELECT
send|relay_status|SELECT
send|event|SELECT
send|test|SELECT
admin|newsletter|DELETE,INSERT,SELECT,UPDATE
admin|subscription|DELETE,INSERT,SELECT,UPDATE
admin|letter|DELETE,INSERT,SELECT,UPDATE
admin|attachment|DELETE,INSERT,SELECT,UPDATE
admin|partial|DELETE,INSERT,SELECT,UPDATE
admin|delivery|SELECT
admin|newsletter_email|SELECT
admin|posting|SELECT
admin|domain_limit|DELETE,INSERT,SELECT,UPDATE
admin|line|SELECT
admin|progress|SELECT
admin|worker|SELECT
admin|recipient|SELECT
admin|failure_summary|SELECT
admin|relay_status|SELECT
admin|event|SELECT
admin|test|SELECT
\.
CREATE TEMP TABLE wanted_functions (level text, function text);
COPY wanted_functions FROM stdin (DELIMITER '|');
public|mailman.check_address(text)
public|mailman.check_line(text,text)
public|mailman.check_name(text,text)
public|mailman.check_value(text,text)
public|mailman.check_headers(jsonb)
public|mailman.check_retry_schedule(text)
public|mailman.check_rate(text)
public|mailman.check_domain_pattern(text)
public|mailman.check_unsubscribe_url(text)
public|mailman.relay_rate(oid,double precision,double precision,timestamp with time zone)
public|mailman.obstacle()
public|mailman.sees_all()
public|mailman.sees_owner(oid)
public|mailman.sees_newsletter(bigint)
public|mailman.sees_letter(bigint)
public|mailman.sees_relay(text)
public|mailman.sees_support(internal)
never|mailman.audit_newsletter()
never|mailman.audit_letter()
never|mailman.audit_part()
never|mailman.audit_key()
never|mailman.guard_newsletter()
never|mailman.guard_subscription()
never|mailman.guard_forgotten()
never|mailman.guard_partial()
never|mailman.guard_letter()
never|mailman.guard_attachment()
never|mailman.guard_accounts()
never|mailman.guard_origin()
never|mailman.guard_triggers()
never|mailman.guard_relays()
never|mailman.smtp_validator(text[],oid)
never|mailman_rewrap(boolean)
never|mailman_adopt()
never|mailman_grant(name,text)
never|mailman_revoke(name,text)
read|mailman_is_address(text)
read|mailman_retry_delay(integer,text,double precision)
read|mailman_find(bigint,text)
read|mailman_preview(bigint,bigint)
read|mailman_preview_all(bigint)
read|mailman_report(bigint)
read|mailman_deliveries(bigint)
read|mailman_wait(bigint,interval,text)
send|mailman_subscribe(bigint,text,text,jsonb,boolean)
send|mailman_unsubscribe(text)
send|mailman_unsubscribe_url(bigint,bigint)
send|mailman_forget(bigint)
send|mailman_check(text)
send|mailman_test(bigint,text,bigint)
send|mailman_send(bigint)
send|mailman_send(bigint,bigint[],jsonb)
send|mailman_pause(bigint)
send|mailman_resume(bigint)
send|mailman_cancel(bigint)
send|mailman_retry(bigint,text[])
admin|mailman.admin()
admin|mailman_set_dkim_key(bigint,text,text)
admin|mailman_rotate_secret(bigint,interval)
admin|mailman_wake()
admin|mailman_purge(interval,integer)
\.
SELECT set_eq($$
	SELECT relname::text FROM members JOIN pg_class c ON c.oid = objid
	 WHERE classid = 'pg_class'::regclass AND relkind <> 'S'$$,
	'SELECT relation FROM wanted_relations',
	'every table and view is in the list above');
SELECT set_eq($$
	SELECT objid::regprocedure::text FROM members
	 WHERE classid = 'pg_proc'::regclass$$,
	'SELECT function FROM wanted_functions',
	'so is every function');

-- what a role has now is what a level of the lists says
CREATE FUNCTION pg_temp.has(role name, level_ text, description text)
RETURNS SETOF text AS $$
SELECT set_eq(format('SELECT * FROM pg_temp.relations_of(%L)', role),
	format('SELECT relation, privileges FROM wanted_relations WHERE level = %L',
		   level_), description || ': tables')
 UNION ALL
SELECT set_eq(format('SELECT pg_temp.functions_of(%L)', role),
	format('SELECT function FROM wanted_functions
			 WHERE level = %L OR level = ''read'' AND %1$L IN (''send'', ''admin'')
				OR level = ''send'' AND %1$L = ''admin''', level_),
	description || ': functions')
 UNION ALL
SELECT set_eq(format('SELECT pg_temp.others_of(%L)', role),
	CASE WHEN level_ = 'nothing' THEN '{}'::text[] ELSE '{schema: USAGE}' END,
	description || ': and nothing else but the schema');
$$ LANGUAGE sql;

SELECT pg_temp.has('tap_send', 'nothing', 'before');
SELECT mailman_grant('tap_send', 'send') \g /dev/null
SELECT mailman_grant('tap_read', 'read') \g /dev/null
SELECT pg_temp.has('tap_send', 'send', 'granted send');
SELECT pg_temp.has('tap_read', 'read', 'granted read');
SELECT pg_temp.has('tap_owner', 'nothing', 'the newsletter''s owner itself');
SELECT is_empty($$
	SELECT objid::regclass, (aclexplode(relacl)).* FROM members
	  JOIN pg_class c ON c.oid = objid
	 WHERE classid = 'pg_class'::regclass
	   AND EXISTS (SELECT FROM aclexplode(relacl) a
					WHERE is_grantable AND a.grantee <> c.relowner)$$,
	'none of it can be passed on');

--
-- Enough: the whole life of a letter
--
-- ids are the sequence's to give
ALTER SEQUENCE mailman.newsletter_id_seq RESTART 900001;
ALTER SEQUENCE mailman.subscription_id_seq RESTART 900001;
ALTER SEQUENCE mailman.letter_id_seq RESTART 900001;
SELECT is(pg_temp.verdict('tap_send', statement), 'ok', description) FROM (VALUES
	($$INSERT INTO mailman.newsletter (owner, name, from_address, relays)
	VALUES ('tap_owner', 'Weekly', 'weekly@example.com',
			'{tap_relay}')$$, 'makes a newsletter'),
	($$UPDATE mailman.newsletter SET unsubscribe_url =
	'https://example.com/u/{{token}}' WHERE id = 900001$$, 'changes it'),
	($$INSERT INTO mailman.subscription (newsletter_id, email)
	VALUES (900001, 'ada@Example.com'),
		   (900001, 'eve@example.com')$$, 'loads subscriptions'),
	($$SELECT mailman_subscribe(900001, 'bob@example.com')$$, 'subscribes'),
	($$INSERT INTO mailman.partial VALUES (900001, 'footer', 'Bye')$$,
	'writes a partial'),
	($$INSERT INTO mailman.letter (newsletter_id, subject, text_body)
	VALUES (900001, 'Hello', 'Hello {{name}} {{>footer}}'),
		   (900001, 'Hello', 'Hello {{name}}')$$, 'drafts letters'),
	($$INSERT INTO mailman.attachment (letter_id, name, content)
	VALUES (900001, 'a.txt', 'a')$$, 'attaches a file'),
	($$INSERT INTO mailman.letter (newsletter_id, subject) VALUES
	(900001, 'Never sent')$$, 'without an id, too'),
	($$DELETE FROM mailman.letter WHERE subject = 'Never sent'$$,
	'drops a draft'),
	($$SELECT mailman_preview(900001)$$, 'looks at the mail'),
	($$CALL mailman_wait(900001)$$, 'does not wait for a draft')
	) v(statement, description);
SELECT is(pg_temp.verdict('tap_send', 'SELECT mailman_send(900001)'),
	'42501 | permission denied for relay "tap_relay"'
	' | GRANT USAGE ON FOREIGN SERVER tap_relay TO tap_send.',
	'does not send through any relay');
GRANT USAGE ON FOREIGN SERVER tap_relay TO tap_send;
SELECT is(pg_temp.verdict('tap_send', statement), 'ok', description) FROM (VALUES
	($$SELECT * FROM mailman_check('tap_relay')$$, 'asks its relay'),
	($$SELECT mailman_send(900001)$$, 'sends a letter'),
	($$SELECT mailman_pause(900001)$$, 'pauses it'),
	($$CALL mailman_wait(900001)$$, 'does not wait for one that is paused'),
	($$SELECT mailman_resume(900001)$$, 'resumes it'),
	($$SELECT mailman_send(900001, '{900001}')$$, 'sends to some'),
	($$SELECT mailman_retry(900001)$$, 'tries again'),
	($$SELECT mailman_deliveries(900001)$$, 'sees what became of it'),
	($$SELECT mailman_unsubscribe_url(900001, 900001)$$, 'tells how to leave'),
	($$TABLE mailman.progress$$, 'looks at progress'),
	($$TABLE mailman.worker$$, 'at workers'),
	($$TABLE mailman.recipient$$, 'at recipients'),
	($$TABLE mailman.failure_summary$$, 'at failures'),
	($$TABLE mailman.relay_status$$, 'at relays'),
	($$SELECT mailman_cancel(900001)$$, 'cancels it'),
	($$SELECT mailman_forget(900002)$$, 'forgets a reader')
	) v(statement, description);
SELECT is(pg_temp.verdict('tap_send', 'CALL mailman_wait(900001)'),
	'25001 | letter 900001 cannot be waited for: this transaction has changed it'
	' | COMMIT, and then CALL mailman_wait().',
	'what is not committed is not waited for');

-- to read
SELECT is(pg_temp.verdict('tap_read', statement), 'ok', 'read: ' || statement)
  FROM unnest(ARRAY['TABLE mailman.newsletter', 'TABLE mailman.progress',
	'TABLE mailman.worker', 'TABLE mailman.recipient',
	'TABLE mailman.failure_summary', 'TABLE mailman.relay_status',
	'SELECT mailman_preview(900002, id) FROM mailman.subscription
	  WHERE email = ''bob@example.com''',
	'SELECT mailman_deliveries(900001)', 'CALL mailman_wait(900002)']) s(statement);
SELECT alike(pg_temp.verdict('tap_read', statement),
	'42501 | permission denied for %', 'not to read: ' || statement)
  FROM unnest(ARRAY['SELECT mailman_send(900002)',
	'SELECT mailman_pause(900001)', 'SELECT mailman_check(''tap_relay'')',
	'UPDATE mailman.letter SET subject = ''x''',
	'INSERT INTO mailman.subscription (newsletter_id, email)
	  VALUES (900001, ''x@example.com'')', 'TABLE mailman.secret',
	'SELECT mailman_grant(''tap_read'', ''send'')']) s(statement);
SELECT is(pg_temp.verdict('tap_other', 'TABLE mailman.' || v),
	'42501 | permission denied for schema mailman', 'nobody else sees ' || v)
  FROM unnest(ARRAY['progress', 'worker', 'recipient', 'failure_summary']) v;

--
-- What the views show
--
UPDATE mailman.subscription SET email = 'cyd@Example.NET' WHERE id = 900001;
SET LOCAL session_replication_role = replica;
DELETE FROM mailman.posting;
UPDATE mailman.letter SET state = 'sending', state_reason = NULL,
	mail_order = mail_order || '{"recipients": 1000, "pending": 989,
	"delivered": 3, "failed": 5, "skipped": 1, "doubtful": 2}', rate = 100,
	rate_at = now() WHERE id = 900001;
INSERT INTO mailman.posting (letter_id, low, high, recipients, skipped, failed,
							 doubtful) VALUES
	(900001, 1, 9, 10, 4, 0, 0), (900001, 1, 0, 0, 0, 3, 1);
INSERT INTO mailman.posting (letter_id, low, high, recipients, folded)
VALUES (900001, 1, 9, 700, true);
SELECT is(row_to_json(p)::jsonb - '{letter_id,letter,bar,worker,
	waits_since,position}'::text[],
	'{"state": "sending", "percent": 1.0, "rate": 100, "eta": "00:00:10",
	  "recipients": 1010, "delivered": 3, "pending": 999, "deferred": 0,
	  "failed": 2, "sending": 0, "skipped": 5, "doubtful": 1,
	  "next_due": null, "reason": null}',
	'progress: the tally with what the worker has not counted yet')
  FROM mailman.progress p WHERE letter_id = 900001;
SELECT is((SELECT bar FROM mailman.progress WHERE letter_id = 900001),
		  repeat('░', 20), 'a bar of 20 cells');
SET LOCAL client_encoding = 'LATIN1';
SELECT is((SELECT bar FROM mailman.progress WHERE letter_id = 900001),
		  repeat('.', 20), 'that every client can show');
RESET client_encoding;
UPDATE mailman.letter SET rate_at = now() - interval '6 s' WHERE id = 900001;
SELECT is(concat_ws(' ', rate, coalesce(eta::text, 'never'), reason),
		  '0 never waits for a worker',
		  'nothing for 6 s at 100/s: it has come to a halt')
  FROM mailman.progress WHERE letter_id = 900001;
UPDATE mailman.letter SET rate_at = now() - interval '5 min', rate = 0.01
 WHERE id = 900001;
SELECT is(rate || ' ' || eta, '0.0100 27:45:00',
		  'nothing for 5 min at one in 100 s: it goes on')
  FROM mailman.progress WHERE letter_id = 900001;
UPDATE mailman.letter SET state = 'sent' WHERE id = 900001;
SELECT is((SELECT state FROM mailman.progress WHERE letter_id = 900001),
		  'sending', 'sent and posted again: it is on its way');
UPDATE mailman.letter SET state = 'paused', state_reason = 'so' WHERE id = 900001;
SELECT is(concat_ws(' ', state, reason, rate, eta), 'paused so',
		  'paused: with the reason, and no rate')
  FROM mailman.progress WHERE letter_id = 900001;
SELECT is_empty('SELECT FROM mailman.progress WHERE letter_id = 900002',
				'a draft has no line');
UPDATE mailman.delivery SET state = 'deferred', code = 450, enhanced = '4.2.2',
	reply = '450 4.2.2 full', attempts = 2, reason = 'full', due_at = 'epoch'
 WHERE letter_id = 900001 AND subscription_id = 900001;
SELECT is(row_to_json(r)::jsonb, '{"letter_id": 900001,
	"subscription_id": 900001, "address": "cyd@Example.NET",
	"state": "deferred", "attempts": 2, "code": 450, "enhanced_code": "4.2.2",
	"reply": "450 4.2.2 full", "reason": "full",
	"due_at": "1970-01-01T00:00:00+00:00", "sent_at": null, "relay": null}',
	'recipient')
  FROM mailman.recipient r WHERE letter_id = 900001 AND subscription_id = 900001;
SELECT results_eq('SELECT * FROM mailman.failure_summary
				   WHERE letter_id = 900001', $$
	VALUES (900001::bigint, 'deferred', 450::smallint, '4.2.2', 'example.net',
			'450 4.2.2 full', 1::bigint)$$, 'failure_summary');
SET LOCAL session_replication_role = origin;

-- row security of one's own on the tables counts in the views, too
CREATE POLICY mine ON mailman.letter AS RESTRICTIVE USING (id <> 900001);
CREATE POLICY mine ON mailman.subscription AS RESTRICTIVE
	USING (id <> 900001);
SELECT is(pg_temp.answer('tap_read', query), '0', 'row security: ' || query)
  FROM unnest(ARRAY[
	'SELECT count(*) FROM mailman.progress WHERE letter_id = 900001',
	'SELECT count(*) FROM mailman.recipient WHERE subscription_id = 900001',
	'SELECT count(*) FROM mailman.failure_summary']) q(query);
DROP POLICY mine ON mailman.letter;
DROP POLICY mine ON mailman.subscription;

--
-- Refused, and taken back
--
SELECT is(pg_temp.verdict(current_user, statement), verdict, statement) FROM (VALUES
	('SELECT mailman_grant(''tap_read'', ''write'')',
	 '22023 | unknown set of rights "write" | There are read, send and admin.'),
	('SELECT mailman_grant(''tap_nobody'', ''read'')',
	 '42704 | role "tap_nobody" does not exist'),
	('SELECT mailman_grant(''public'', ''read'')',
	 '42704 | role "public" does not exist'),
	('SELECT mailman_grant(NULL, ''read'')',
	 '22004 | role and what must not be null'),
	('SELECT mailman_revoke(''tap_read'', NULL)',
	 '22004 | role and what must not be null')) v(statement, verdict);
GRANT EXECUTE ON FUNCTION mailman_grant(name, text),
	mailman_revoke(name, text) TO tap_other;
SELECT is(pg_temp.verdict('tap_other', statement), verdict, statement) FROM (VALUES
	('SELECT mailman_grant(''tap_other'', ''read'')',
	 '42501 | permission denied to grant rights on extension mailman'),
	('SELECT mailman_revoke(''tap_send'', ''send'')',
	 '42501 | permission denied to revoke rights on extension mailman')
	) v(statement, verdict);
REVOKE EXECUTE ON FUNCTION mailman_grant(name, text),
	mailman_revoke(name, text) FROM tap_other;
REVOKE USAGE ON FOREIGN SERVER tap_relay FROM tap_send;
SELECT mailman_grant('tap_send', 'read') \g /dev/null
SELECT pg_temp.has('tap_send', 'send', 'granted read, too');
SELECT mailman_grant('tap_send', 'admin') \g /dev/null
SELECT pg_temp.has('tap_send', 'admin', 'granted admin');
SELECT mailman_revoke('tap_send', 'admin') \g /dev/null
SELECT pg_temp.has('tap_send', 'send', 'revoked admin');
SELECT mailman_revoke('tap_send', 'send') \g /dev/null
SELECT pg_temp.has('tap_send', 'read', 'revoked send');
SELECT mailman_revoke('tap_send', 'read') \g /dev/null
SELECT pg_temp.has('tap_send', 'nothing', 'revoked read');
SELECT mailman_grant('tap_send', 'send') \g /dev/null
SELECT mailman_revoke('tap_send', 'read') \g /dev/null
SELECT pg_temp.has('tap_send', 'nothing', 'who may not read does not send');
CREATE ROLE "tap ""Odd";
SELECT mailman_grant('tap "Odd', 'read') \g /dev/null
SELECT pg_temp.has('tap "Odd', 'read', 'a role of an odd name');

SELECT * FROM finish();
ROLLBACK;
