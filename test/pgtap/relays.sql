-- What is shared about relays and domains: limits and what they must look like,
-- the view of the relays' health and who may read it, and a newsletter's relays
-- and retry schedule.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
SET search_path = public, pg_temp;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(190);

--
-- Limits of domains
--
SELECT lives_ok(format('INSERT INTO mailman.domain_limit (pattern, connections)
	VALUES (%L, 1)', pattern), left(pattern, 40) || ' is a pattern')
  FROM unnest(ARRAY['example.com', '*.example.com', 'com', '*.com',
	'mail.example.com', '*.mail.example.com', 'x', '3com.com', '1.2.3',
	'my-host.example', 'xn--e1afmkfd.xn--p1ai', '*.xn--mnchen-3ya.de',
	repeat('a', 63) || '.com', '*.' || repeat('a', 63),
	repeat('a.', 126) || 'a', '*.' || repeat('a.', 126) || 'a'])
	AS p(pattern);
SELECT throws_ok(format('INSERT INTO mailman.domain_limit (pattern, connections)
	VALUES (%L, 1)', pattern), '23514',
	format('invalid domain pattern: "%s"', pattern),
	format('%s is no pattern', regexp_replace(left(quote_literal(pattern), 40),
										   '[[:cntrl:]]', '?', 'g')))
  FROM unnest(ARRAY['', ' ', '.', '*', '*.', '**.example.com', '*example.com',
	'example.*', '*.*.example.com', 'a.*.example.com', '*..example.com',
	'.example.com', 'example.com.', 'example..com', '*.example.com.',
	'Example.com', 'EXAMPLE.COM', '*.Example.com',
	' example.com', 'example.com ', 'example .com', '* .example.com',
	E'example.com\n', E'example\t.com', E'example.com\x01',
	'ana@example.com', '@example.com', 'example.com:25', 'example.com/x',
	'example_com', 'example,com', '"example.com"', '[192.0.2.1]',
	'münchen.de', 'почта.рф', 'example。com', 'exämple.com', '*.münchen.de',
	repeat('a', 64) || '.com', '*.' || repeat('a', 64),
	repeat('a.', 127) || 'a', repeat('a', 300),
	'*.' || repeat('a.', 127) || 'a']) AS p(pattern);
DELETE FROM mailman.domain_limit;

SELECT lives_ok(format('INSERT INTO mailman.domain_limit (pattern, rate)
	VALUES (''r%s.example'', %L)', n, rate), rate || ' is a rate')
  FROM unnest(ARRAY['1/s', '14/s', '100/min', '500/h', '1000/d',
	'1000000/s', ' 14 / s ']) WITH ORDINALITY AS r(rate, n);
SELECT throws_ok(format('INSERT INTO mailman.domain_limit (pattern, rate)
	VALUES (''bad.example'', %L)', rate), '23514',
	format('invalid rate: "%s"', rate),
	format('%s is no rate', regexp_replace(quote_literal(rate), '[[:cntrl:]]',
										'?', 'g')))
  FROM unnest(ARRAY['', ' ', '14', '0/s', '-1/s', '1.5/s', '1000001/s',
	'99999999999999999999/s', '14/sec', '10/m', '14/S', '1/w', '14/', '/s',
	'14 per s', '14/s, 15/s', 'fast', '14//s', E'14/s\x01', '１４/s'])
	AS r(rate);
SELECT throws_ok(format('INSERT INTO mailman.domain_limit
	(pattern, rate, connections) VALUES (''bad.example'', %L, %L)', rate,
	connections), '23514', NULL, format('rate %s and connections %s are refused',
	coalesce(rate, 'null'), coalesce(connections::text, 'null')))
  FROM (VALUES (NULL, NULL::integer), (NULL, 0), (NULL, -1), (NULL, 1001),
	(NULL, 2147483647), ('1/s', 0), ('1/s', 1001)) v(rate, connections);
SELECT lives_ok(format('INSERT INTO mailman.domain_limit
	(pattern, rate, connections) VALUES (''c%s.example'', %L, %L)', connections,
	rate, connections), format('rate %s and connections %s are a limit',
	coalesce(rate, 'null'), coalesce(connections::text, 'null')))
  FROM (VALUES (NULL, 1), (NULL, 1000), ('1/s', 500)) v(rate, connections);
SELECT throws_ok($$INSERT INTO mailman.domain_limit (pattern, connections)
	VALUES ('c500.example', 1)$$, '23505', NULL, 'a pattern has one limit');
SELECT throws_ok($$INSERT INTO mailman.domain_limit (pattern, connections)
	VALUES (NULL, 1)$$, '23502', NULL, 'a limit has a pattern');
-- a change is checked as well as the beginning
SELECT throws_ok(format('UPDATE mailman.domain_limit SET %s
	WHERE pattern = ''c1.example''', assignment), code, NULL,
	'no change to ' || assignment)
  FROM (VALUES ('pattern = ''C1.example''', '23514'),
	('rate = ''1/w''', '23514'), ('connections = 0', '23514'),
	('connections = NULL', '23514')) v(assignment, code);
SELECT results_eq($$
	UPDATE mailman.domain_limit SET rate = '1/s', connections = NULL,
		   pattern = 'c2.example'
	 WHERE pattern = 'c1.example' RETURNING pattern, rate, connections$$,
	$$VALUES ('c2.example', '1/s', NULL::integer)$$,
	'a limit becomes another one');
SELECT is_empty($$
	SELECT id FROM mailman.domain_limit GROUP BY id HAVING count(*) > 1$$,
	'each with an id of its own');
SELECT throws_ok(statement, code, message, statement)
  FROM (VALUES
	('SELECT mailman.check_rate(''14'')', '23514', 'invalid rate: "14"'),
	('SELECT mailman.check_domain_pattern(''*'')', '23514',
	 'invalid domain pattern: "*"')) v(statement, code, message);
SELECT ok(mailman.check_rate('14/s') AND
	mailman.check_domain_pattern('*.example.com'), 'what is right is true');
SELECT ok(mailman.check_rate(NULL) IS NULL AND
	mailman.check_domain_pattern(NULL) IS NULL, 'and nothing is nothing');

--
-- The view: columns
--
CREATE TEMP TABLE wanted (n serial, col name, type text);
COPY wanted (col, type) FROM stdin (DELIMITER '|');
relay|name
state|text
until|timestamp with time zone
reason|text
last_error|text
last_error_at|timestamp with time zone
letters|bigint
sessions|bigint
connections|integer
rate|text
current_rate|double precision
slowed_at|timestamp with time zone
sent_lately|bigint
rejected_lately|bigint
\.
SELECT results_eq($$
	SELECT format('%s %s', attname, format_type(atttypid, atttypmod))
	  FROM pg_attribute WHERE attrelid = 'mailman.relay_status'::regclass
	   AND attnum > 0 AND NOT attisdropped ORDER BY attnum$$,
	'SELECT format(''%s %s'', col, type) FROM wanted ORDER BY n',
	'columns of relay_status');

-- a line for each server of the wrapper, whatever is known of it
CREATE FOREIGN DATA WRAPPER tap_other_wrapper;
CREATE SERVER tap_no_relay FOREIGN DATA WRAPPER tap_other_wrapper;
CREATE SERVER tap_plain FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
CREATE SERVER tap_rate FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', connections '3',
			 weight '7', rate '600/min');
CREATE SERVER tap_warm FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', rate '20/s',
			 warm_up '864000/d, 1/s', warm_up_start '9999-01-01');
CREATE SERVER tap_warmed FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none',
			 warm_up '86400/d, 1/s', warm_up_start '2000-01-01');
CREATE SERVER tap_capped FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', rate '2/s',
			 warm_up '864000/d', warm_up_start '9999-01-01');
SELECT set_eq('SELECT relay::text FROM mailman.relay_status
	WHERE relay LIKE ''tap%''', ARRAY['tap_plain', 'tap_rate', 'tap_warm',
	'tap_warmed', 'tap_capped'], 'every relay has a line, and no other server');
SELECT results_eq($$
	SELECT relay::text COLLATE "default", state, connections, rate, current_rate
	  FROM mailman.relay_status WHERE relay LIKE 'tap%' ORDER BY relay$$,
	$$VALUES ('tap_capped', 'up', 10, '2/s', 2::float8),
	('tap_plain', 'up', 10, NULL, NULL),
	('tap_rate', 'up', 3, '600/min', 10),
	('tap_warm', 'up', 10, '20/s', 10),
	('tap_warmed', 'up', 10, NULL, NULL)$$,
	'one that was never used is up; its rate is that of its day, at most rate');
SELECT results_eq($$
	SELECT until, reason, last_error, last_error_at, letters, sessions,
		   slowed_at, sent_lately, rejected_lately
	  FROM mailman.relay_status WHERE relay = 'tap_plain'$$,
	$$VALUES (NULL::timestamptz, NULL, NULL, NULL::timestamptz, 0::bigint,
	0::bigint, NULL::timestamptz, 0::bigint, 0::bigint)$$,
	'and nothing is known of it');
-- the validator takes numbers as settings have them, and the view with it
SELECT lives_ok(format('ALTER SERVER tap_plain OPTIONS (%s connections %L)',
	CASE n WHEN 1 THEN 'ADD' ELSE 'SET' END, value),
	format('connections %L is taken', value)) || E'\n' ||
	results_eq('SELECT connections FROM mailman.relay_status
	WHERE relay = ''tap_plain''', ARRAY[shown], format('as %s', shown))
  FROM (VALUES (1, '1000', 1000), (2, ' 20 ', 20), (3, '+5', 5),
	(4, '1e1', 10), (5, '12.4', 12), (6, '0x10', NULL), (7, '010', NULL),
	(8, '1', 1)) v(n, value, shown);

-- after what the workers have written
CREATE FUNCTION pg_temp.oid_of(relay name) RETURNS oid AS
	'SELECT oid FROM pg_foreign_server WHERE srvname = relay' LANGUAGE sql;
SELECT throws_ok('DELETE FROM mailman.relay_state', '42501',
	'table "mailman.relay_state" is written by the extension only',
	'which nobody writes by the way');
SELECT throws_ok('UPDATE mailman.domain_state SET arrival = now()', '42501',
	'table "mailman.domain_state" is written by the extension only',
	'nor what is known of domains');
CREATE FUNCTION pg_temp.set_state(relay name, assignments text)
RETURNS void AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	INSERT INTO mailman.relay_state (server) VALUES (pg_temp.oid_of(relay))
	ON CONFLICT DO NOTHING;
	EXECUTE format('UPDATE mailman.relay_state SET %s WHERE server = %s',
				   assignments, pg_temp.oid_of(relay));
	SET LOCAL session_replication_role = origin;
END
$$ LANGUAGE plpgsql;
CREATE FUNCTION pg_temp.status(relay name) RETURNS text AS $$
SELECT concat_ws(' | ', state, until - now(), reason, last_error,
				 last_error_at - now())
  FROM mailman.relay_status s WHERE s.relay = status.relay
$$ LANGUAGE sql;
SELECT pg_temp.set_state('tap_plain', $$failures = 2, failed_at = now() -
	interval '1 s', retry_at = now() + interval '3 s', error = 'no connection'$$)
	\g /dev/null
SELECT is(pg_temp.status('tap_plain'),
	'backing off | 00:00:03 | no connection | no connection | -00:00:01',
	'it has failed and will be tried again');
SELECT pg_temp.set_state('tap_plain', 'out_key = 1, error = ''AUTH: 535''')
	\g /dev/null
SELECT is(pg_temp.status('tap_plain'),
	'out | AUTH: 535 | AUTH: 535 | -00:00:01', 'it is out until somebody acts');
SELECT pg_temp.set_state('tap_plain', 'failures = 0') \g /dev/null
SELECT is(pg_temp.status('tap_plain'),
	'out | AUTH: 535 | AUTH: 535 | -00:00:01', 'however often it has failed');
SELECT pg_temp.set_state('tap_plain', 'out_key = NULL, retry_at = NULL')
	\g /dev/null
SELECT is(pg_temp.status('tap_plain'), 'up | AUTH: 535 | -00:00:01',
	'it is well again, and what was wrong is remembered');
SELECT is(pg_temp.status('tap_rate'), 'up', 'the others are what they were');

-- mails of the last minute, in half minutes
SELECT pg_temp.set_state('tap_plain', format('sent = 5, rejected = 2,
	sent_before = 30, rejected_before = 10,
	counted_at = now() - interval %L', age)) || E'\n' ||
	results_eq('SELECT sent_lately, rejected_lately FROM mailman.relay_status
	WHERE relay = ''tap_plain''', format('VALUES (%s::bigint, %s::bigint)', sent,
	rejected), format('counted %s ago: %s accepted, %s not', age, sent, rejected))
  FROM (VALUES ('0 s', 35, 12), ('29 s', 35, 12), ('31 s', 5, 2),
	('59 s', 5, 2), ('61 s', 0, 0), ('1 day', 0, 0)) v(age, sent, rejected);

-- a relay that has asked for less: doubling each minute, up to what it was
CREATE FUNCTION pg_temp.rate_after(relay name, assignments text)
RETURNS numeric AS $$
BEGIN
	PERFORM pg_temp.set_state(relay, assignments);
	RETURN (SELECT round(current_rate::numeric, 2) FROM mailman.relay_status s
			 WHERE s.relay = rate_after.relay);
END
$$ LANGUAGE plpgsql;
SELECT is(pg_temp.rate_after(relay, format('slow_rate = %s, slow_from = %s,
	slowed_at = clock_timestamp() - interval %L', slow, before, age)), current,
	format('%s, slowed from %s to %s %s ago: %s', relay, before, slow, age,
		   coalesce(current::text, 'no limit')))
  FROM (VALUES
	('tap_plain'::name, 5, 10, '61 s', NULL::numeric), ('tap_plain', 1, 10, '1 year', NULL),
	('tap_rate', 5, 10, '61 s', 10), ('tap_rate', 5, 100, '2 min', 10),
	-- a clock that was set back stops no relay
	('tap_warm', 4, 8, '-1 h', 4), ('tap_plain', 5, 10, '-1 h', 5),
	('tap_rate', 5, 10, '-1 h', 5)) v(relay, slow, before, age, current);
SELECT ok(pg_temp.rate_after('tap_plain', format('slow_rate = 1, slow_from = 10,
	slowed_at = clock_timestamp() - interval %L', age)) BETWEEN low AND high,
	format('slowed from 10 to 1 %s ago: from %s to %s', age, low, high))
  FROM (VALUES ('0 s', 1, 1.5), ('30 s', 1.4, 2), ('60 s', 2, 3),
	('2 min', 4, 6)) v(age, low, high);
SELECT ok((SELECT slowed_at < clock_timestamp() FROM mailman.relay_status
	WHERE relay = 'tap_plain'), 'it says since when');
SELECT ok(mailman.relay_rate(0, 1, 2, now()) IS NULL AND
	mailman.relay_rate(NULL, 1, 2, now()) IS NULL,
	'what is no relay has no rate');
SELECT is(mailman.relay_rate(pg_temp.oid_of('tap_rate'), NULL, NULL, NULL),
	10::float8, 'one that was not slowed down has its own');
SELECT is(mailman.relay_rate(pg_temp.oid_of('tap_rate'), 1, NULL, now()),
	10::float8, 'as has one of which half is known');

-- who has a letter on it, and sessions with it, tells by locks, which no
-- function of SQL takes
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
	AND objsubid = x'6d72'::int), 0::bigint, 'nothing is being sent');
SELECT pg_advisory_xact_lock(pg_temp.oid_of('tap_plain')::bigint << 32)
	\g /dev/null
SELECT pg_advisory_xact_lock(pg_temp.oid_of('tap_plain')::int, 1) \g /dev/null
SELECT is((SELECT letters + sessions FROM mailman.relay_status
	WHERE relay = 'tap_plain'), 0::bigint, 'and others'' locks do not count');

-- a relay that is made anew begins anew
DROP SERVER tap_plain;
CREATE SERVER tap_plain FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
SELECT is(pg_temp.status('tap_plain'), 'up',
	'what was known of a relay goes with it');
ALTER SERVER tap_rate RENAME TO tap_renamed;
SELECT isnt((SELECT slowed_at FROM mailman.relay_status
	WHERE relay = 'tap_renamed'), NULL, 'and stays under a new name');
ALTER SERVER tap_renamed RENAME TO tap_rate;

--
-- Who may read it
--
CREATE ROLE tap_reader;
GRANT USAGE ON SCHEMA mailman TO tap_reader;
GRANT SELECT ON mailman.relay_status TO tap_reader;
GRANT USAGE ON FOREIGN SERVER tap_capped TO tap_reader;
SET ROLE tap_reader;
SELECT set_eq('SELECT relay FROM mailman.relay_status', '{tap_capped}'::name[],
	'SELECT on the view is enough to see the relays one may use');
SELECT is((SELECT current_rate FROM mailman.relay_status
	WHERE relay = 'tap_capped'), 2::float8, 'for the rates, too');
SELECT throws_ok(statement, '42501', message, 'but no more: ' || statement)
  FROM (VALUES
	('TABLE mailman.relay_state', 'permission denied for table relay_state'),
	('TABLE mailman.domain_limit', 'permission denied for table domain_limit'),
	('TABLE mailman.domain_state', 'permission denied for table domain_state'),
	('SELECT umoptions FROM pg_user_mapping',
	 'permission denied for table pg_user_mapping')) v(statement, message);
RESET ROLE;
-- limits are an application's to write, if it is let; their states are not
GRANT SELECT, INSERT, UPDATE, DELETE ON mailman.domain_limit,
	mailman.domain_state, mailman.relay_state TO tap_reader;
SET ROLE tap_reader;
SELECT lives_ok(statement, 'who is let: '
				|| regexp_replace(statement, '\s+', ' ', 'g'))
  FROM unnest(ARRAY['INSERT INTO mailman.domain_limit (pattern, rate)
	VALUES (''granted.example'', ''1/s'')',
	'UPDATE mailman.domain_limit SET rate = ''2/s''
	WHERE pattern = ''granted.example''',
	'DELETE FROM mailman.domain_limit
	WHERE pattern = ''granted.example''']) AS s(statement);
SELECT throws_ok(statement, '42501', format(
	'table "mailman.%s" is written by the extension only',
	substring(statement FROM '\w+_state')), 'but not: ' || statement)
  FROM unnest(ARRAY['INSERT INTO mailman.relay_state (server) VALUES (1)',
	'UPDATE mailman.relay_state SET out_key = NULL, failures = 0',
	'DELETE FROM mailman.relay_state',
	'INSERT INTO mailman.domain_state VALUES (1, now())',
	'UPDATE mailman.domain_state SET arrival = NULL',
	'DELETE FROM mailman.domain_state']) AS s(statement);
RESET ROLE;

--
-- A newsletter's relays, and its retry schedule
--
SET LOCAL client_min_messages = error;	-- none of them exists
SELECT lives_ok($$
	INSERT INTO mailman.newsletter (id, name, from_address, relays)
	SELECT 900001, 'Weekly', 'weekly@example.com',
		   array_agg('relay' || n) FROM generate_series(1, 16) n$$,
	'a newsletter has up to 16 relays');
SELECT throws_ok($$
	INSERT INTO mailman.newsletter (name, from_address, relays)
	SELECT 'Daily', 'daily@example.com', array_agg('relay' || n)
	  FROM generate_series(1, 17) n$$, '23514', NULL, 'but not 17');
SELECT throws_ok($$
	UPDATE mailman.newsletter SET relays = relays || '{one_more}'
	 WHERE id = 900001$$, '23514', NULL, 'nor one more later');
RESET client_min_messages;
SELECT lives_ok(format('UPDATE mailman.newsletter SET retry_schedule = %L
	WHERE id = 900001', schedule), format('%s is a retry schedule', schedule))
  FROM unnest(ARRAY['1min', '5min, 15min, 1h', '1s,2d', NULL]) AS r(schedule);
SELECT throws_ok(format('UPDATE mailman.newsletter SET retry_schedule = %L
	WHERE id = 900001', schedule), '23514',
	format('"%s" is not a retry schedule', schedule),
	format('%s is none', quote_literal(schedule)))
  FROM unnest(ARRAY['', 'soon', '5min,', '5min,,15min', '0', '100ms',
	'-1min', '5 minutes']) AS r(schedule);

SELECT * FROM finish();
ROLLBACK;
