-- pg_dump: every table and sequence of the extension is dumped with its rows,
-- but for what is known of relays and domains at the moment, which a copy must
-- find out anew; and the rows can be loaded again with the guards in place.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(27);

CREATE TEMP VIEW dumped AS
SELECT unnest(extconfig) AS relation, unnest(extcondition) AS condition
  FROM pg_extension WHERE extname = 'mailman';
CREATE TEMP VIEW transient AS
SELECT oid FROM pg_class WHERE relnamespace = 'mailman'::regnamespace
   AND relname IN ('relay_state', 'domain_state');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d
	  ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
	 WHERE d.refclassid = 'pg_extension'::regclass
	   AND d.refobjid = (SELECT oid FROM pg_extension
						  WHERE extname = 'mailman')
	   AND c.relkind IN ('r', 'p', 'm')
	EXCEPT SELECT oid::regclass FROM transient
	EXCEPT SELECT relation::regclass FROM dumped$$,
	'every table of the extension is dumped, but for what is transient');
SELECT is((SELECT count(*) FROM transient), 2::bigint,
		  'two tables are transient');
SELECT is_empty('SELECT oid FROM transient INTERSECT SELECT relation FROM dumped',
				'and not dumped');
SELECT is_empty($$
	SELECT d.objid::regclass FROM pg_depend d JOIN transient t
	  ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
	  JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
	 WHERE c.relkind = 'S'$$, 'nor has either a sequence');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	 WHERE c.relnamespace = 'mailman'::regnamespace AND c.relkind = 'S'
	EXCEPT SELECT relation::regclass FROM dumped$$,
	'every sequence of the extension is dumped');
SELECT is((SELECT count(*) FROM dumped), (SELECT count(*) FROM pg_class
	WHERE relnamespace = 'mailman'::regnamespace AND relkind IN ('r', 'S')
	  AND oid NOT IN (SELECT oid FROM transient)),
	'and nothing else, and nothing twice');
SELECT is_empty('SELECT relation::regclass FROM dumped WHERE condition <> ''''',
				'all rows are');

-- what pg_dump does: COPY, as the extension's owner, in the order of the
-- foreign keys; a letter in the post and the accounts are accepted as they are
SET session_replication_role = origin;
SELECT lives_ok($$
	INSERT INTO mailman.newsletter (id, owner, name, from_address)
	VALUES (900001, 'role_not_yet_restored', 'Weekly', 'weekly@example.com')$$,
	'a newsletter is restored, even before its owner');
SELECT lives_ok($$
	INSERT INTO mailman.letter (id, newsletter_id, subject, state, sender, run,
								revision, state_reason, whole, line_at, run_at,
								failed_runs, last_error, resumed_at, doubts,
								rate, rate_at, mail_order)
	VALUES (900001, 900001, 'Hello', 'sending', 'somebody', 7, 3, NULL, true,
			now(), now(), 2, 'terminated', now(), 1, 7.5, now(),
			'{"recipients": 1, "pending": 0, "sending": 0, "deferred": 0,
			  "delivered": 1, "failed": 0, "skipped": 0, "doubtful": 0}')$$,
	'a letter is restored in the state it was in');
INSERT INTO mailman.subscription (id, newsletter_id, email)
VALUES (900001, 900001, 'ada@example.com');
SELECT lives_ok($$
	INSERT INTO mailman.delivery (letter_id, subscription_id, state)
	VALUES (900001, 900001, 'delivered')$$, 'deliveries are restored');
SELECT lives_ok($$
	INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
		bytes, revision, attempts, code, duration, address, message_id, relay)
	VALUES (900001, 900001, now(), 1000, 3, 1, 250, '1 s', 'ada@example.com',
			'<a@example.com>', 'relay')$$, 'records of mails are restored');
SELECT lives_ok($$
	INSERT INTO mailman.secret VALUES (900001, decode(repeat('00', 32), 'hex'))$$,
	'secrets are restored');
SELECT lives_ok($$
	INSERT INTO mailman.forgotten
	VALUES (900001, decode(repeat('00', 32), 'hex'), 'unsubscribed')$$,
	'who is forgotten stays so');
SELECT lives_ok($$
	INSERT INTO mailman.subscription (id, newsletter_id, email, state,
									  forgotten_at)
	VALUES (900002, 900001, 'forgotten.900002@forgotten.invalid',
			'unsubscribed', now())$$, 'and keeps a subscription');
SELECT lives_ok($$
	INSERT INTO mailman.dkim_key VALUES (900001, 'mail', 'a key')$$,
	'keys are restored');
SELECT lives_ok($$
	INSERT INTO mailman.attachment (letter_id, name, content)
	VALUES (900001, 'a.bin', 'x')$$,
	'attachments are restored, even of a letter in the post');
SELECT is((SELECT revision FROM mailman.letter WHERE id = 900001), 3,
		  'which does not count as a change');
SELECT lives_ok($$
	INSERT INTO mailman.posting (letter_id, low, high, recipients, failed,
								 doubtful)
	VALUES (900001, 1, 0, 0, 0, 0)$$, 'postings are restored');
SELECT lives_ok($$
	INSERT INTO mailman.domain_limit (id, pattern, rate, connections)
	VALUES (900001, 'example.com', '10/s', 4)$$, 'limits are restored');
SELECT is((SELECT count(*) FROM dumped WHERE relation =
	pg_get_serial_sequence('mailman.domain_limit', 'id')::regclass), 1::bigint,
	'and so is where their ids stand');

-- a restore brings the row of the database that was dumped, and so it finds
-- that it is a copy; before, there is none, and nothing is started
SELECT lives_ok('INSERT INTO mailman.origin (system_identifier, database) VALUES (1, 1)',
				'where it comes from is restored');
SELECT results_eq('SELECT system_identifier, database FROM mailman.origin',
	'VALUES (1::bigint, 0::oid)', 'and nothing says that it is from here');
INSERT INTO mailman.origin (system_identifier, database)
SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
 WHERE d.datname = current_database();
SELECT is_empty('SELECT 1 FROM mailman.origin WHERE database <> 0',
	'not even the row of this very database: the dump is older than it is');
SELECT lives_ok($$
	INSERT INTO mailman.test (letter_id, address, requested_by)
	VALUES (900001, 'ada@example.com', 'somebody')$$,
	'so what comes after it in a dump is restored as well');
SELECT lives_ok('SELECT mailman_adopt()', 'it is adopted');
SELECT results_eq('SELECT system_identifier, database FROM mailman.origin',
	'SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
	  WHERE d.datname = current_database()', 'which leaves its own row');
SELECT results_eq('SELECT state, state_reason, run, failed_runs, doubts
	FROM mailman.letter WHERE id = 900001',
	$$VALUES ('paused', 'this copy of the database was adopted', 7, 2,
			  1::bigint)$$, 'and the letter in the post is paused');

SELECT * FROM finish();
ROLLBACK;
