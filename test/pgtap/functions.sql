-- The functions: what they return, and every input they refuse, with its
-- SQLSTATE and message; a refused call leaves nothing behind.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(164);

-- signatures
SELECT function_returns('public', name, args, returns,
						format('%s(%s) returns %s', name,
							   array_to_string(args, ', '), returns))
  FROM (VALUES
	('mailman_is_address'::name, '{text}'::name[], 'boolean'),
	('mailman_subscribe', '{bigint,text,text,jsonb,boolean}', 'bigint'),
	('mailman_unsubscribe', '{text}', 'boolean'),
	('mailman_unsubscribe_url', '{bigint,bigint}', 'text'),
	('mailman_forget', '{bigint}', 'void'),
	('mailman_set_dkim_key', '{bigint,text,text}', 'text'),
	('mailman_rotate_secret', '{bigint,interval}', 'timestamp with time zone'),
	('mailman_rewrap', '{boolean}', 'bigint'),
	('mailman_send', '{bigint}', 'bigint'),
	('mailman_send', '{bigint,bigint[],jsonb}', 'bigint'),
	('mailman_test', '{bigint,text,bigint}', 'bigint'),
	('mailman_pause', '{bigint}', 'text'),
	('mailman_resume', '{bigint}', 'text'),
	('mailman_cancel', '{bigint}', 'text'),
	('mailman_retry', '{bigint,text[]}', 'bigint'),
	('mailman_retry_delay', '{integer,text,double precision}', 'interval'),
	('mailman_wake', '{}', 'bigint'),
	('mailman_adopt', '{}', 'void'),
	('mailman_preview', '{bigint,bigint}', 'text'),
	('mailman_preview_all', '{bigint}', 'setof record'),
	('mailman_deliveries', '{bigint}', 'jsonb'),
	('mailman_report', '{bigint}', 'text'),
	('mailman_wait', '{bigint,interval,text}', 'record'),
	('mailman_grant', '{name,text}', 'void'),
	('mailman_revoke', '{name,text}', 'void'),
	('mailman_check', '{text}', 'setof record')) v(name, args, returns);
SELECT volatility_is('public', name, args, volatility,
					 format('%s is %s', name, volatility))
  FROM (VALUES ('mailman_is_address'::name, '{text}'::name[], 'immutable'),
	('mailman_unsubscribe', '{text}', 'volatile'),
	('mailman_unsubscribe_url', '{bigint,bigint}', 'volatile'),
	('mailman_forget', '{bigint}', 'volatile'),
	('mailman_send', '{bigint}', 'volatile'),
	('mailman_send', '{bigint,bigint[],jsonb}', 'volatile'),
	('mailman_subscribe', '{bigint,text,text,jsonb,boolean}', 'volatile'),
	('mailman_retry', '{bigint,text[]}', 'volatile'),
	('mailman_retry_delay', '{integer,text,double precision}', 'stable'),
	('mailman_wake', '{}', 'volatile'),
	('mailman_adopt', '{}', 'volatile'),
	('mailman_deliveries', '{bigint}', 'stable'),
	('mailman_report', '{bigint}', 'stable')) v(name, args, volatility);
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	 WHERE p.pronamespace = 'public'::regnamespace
	   AND proname LIKE 'mailman\_%' AND pronargs > 0
	   AND proargnames IS NULL$$,
	'arguments have names, for calls by name');

-- newsletters 900001, 900002 and 900003 (which has no relay)
CREATE SERVER tap_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (id, name, from_address, relays) VALUES
	(900001, 'Weekly', 'weekly@example.com', '{tap_relay}'),
	(900002, 'Daily', 'daily@example.com', '{tap_relay}'),
	(900003, 'Mute', 'mute@example.com', '{}');
INSERT INTO mailman.subscription (id, newsletter_id, email, state) VALUES
	(900001, 900001, 'ada@example.com', 'active'),
	(900002, 900001, 'bob@example.com', 'active'),
	(900003, 900001, 'cyd@example.com', 'unsubscribed'),
	(900004, 900002, 'ada@example.com', 'active');
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body) VALUES
	(900001, 900001, 'Hello', 'Hello'),
	(900002, 900001, 'No body', NULL),
	(900003, 900003, 'No relay', 'Hello'),
	(900004, 900001, 'No template', 'Hello {{'),
	(900005, 900001, 'Cancelled', 'Hello'),
	(900006, 900001, 'Sent', 'Hello');

-- everything that could have been touched
CREATE TEMP VIEW everything AS
SELECT 'letter', to_jsonb(l) FROM mailman.letter l UNION ALL
SELECT 'newsletter', to_jsonb(n) FROM mailman.newsletter n UNION ALL
SELECT 'subscription', to_jsonb(s) FROM mailman.subscription s UNION ALL
SELECT 'delivery', to_jsonb(d) FROM mailman.delivery d UNION ALL
SELECT 'posting', to_jsonb(p) FROM mailman.posting p UNION ALL
SELECT 'secret', to_jsonb(s) FROM mailman.secret s UNION ALL
SELECT 'forgotten', to_jsonb(f) FROM mailman.forgotten f UNION ALL
SELECT 'dkim_key', to_jsonb(k) FROM mailman.dkim_key k UNION ALL
SELECT 'attachment', to_jsonb(a) FROM mailman.attachment a UNION ALL
SELECT 'origin', to_jsonb(o) FROM mailman.origin o;

--
-- Refused
--
SELECT mailman_send(900005) = 2 AND mailman_cancel(900005) = 'cancelled'
	AS cancelled \gset
SELECT ok(:'cancelled', 'a letter is cancelled');
CREATE TEMP TABLE before AS TABLE everything;
SELECT throws_ok(statement, code, message,
				 regexp_replace(statement, '\s+', ' ', 'g') || ' is refused')
  FROM (VALUES
	-- no letter
	('SELECT mailman_send(NULL)', '22004', 'letter_id must not be null'),
	('SELECT mailman_send(NULL, ''{900001}'')', '22004',
	 'letter_id must not be null'),
	('SELECT mailman_send(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_send(900099, ''{}'')', '42704',
	 'letter 900099 does not exist'),
	('SELECT mailman_send(0)', '42704', 'letter 0 does not exist'),
	('SELECT mailman_send(-9223372036854775808)', '42704',
	 'letter -9223372036854775808 does not exist'),
	('SELECT mailman_pause(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_resume(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_cancel(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_preview(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_deliveries(900099)', '42704',
	 'letter 900099 does not exist'),
	('SELECT mailman_report(900099)', '42704',
	 'letter 900099 does not exist'),
	('CALL mailman_wait(900099)', '42704', 'letter 900099 does not exist'),
	('CALL mailman_wait(NULL)', '22004', 'letter_id must not be null'),
	('CALL mailman_wait(900001, ''-1 s'')', '22023',
	 'timeout must not be negative'),
	-- no recipients
	('SELECT mailman_send(900001, NULL)', '22004',
	 'recipients must not be null'),
	('SELECT mailman_send(900001, (SELECT array_agg(id) FROM
	  mailman.subscription WHERE false))', '22004',
	 'recipients must not be null'),
	('SELECT mailman_send(900001, ''{NULL}'')', '22004',
	 'recipients must not contain NULL'),
	('SELECT mailman_send(900001, ''{900001,NULL,900002}'')', '22004',
	 'recipients must not contain NULL'),
	('SELECT mailman_send(900001, ''{900099}'')', '42704',
	 'subscription 900099 does not exist'),
	('SELECT mailman_send(900001, ''{900001,900098,900099}'')', '42704',
	 'subscription 900098 does not exist'),
	('SELECT mailman_send(900001, ''{900001,900004}'')', '42704',
	 'subscription 900004 belongs to newsletter 900002'),
	('SELECT mailman_send(900001, ''{900001}'', ''[]'')', '22023',
	 'variables must be a JSON object'),
	('SELECT mailman_send(900001, ''{900001}'', ''null'')', '22023',
	 'variables must be a JSON object'),
	('SELECT mailman_send(900001, ''{900001}'', ''7'')', '22023',
	 'variables must be a JSON object'),
	-- no letter that can be sent
	('SELECT mailman_send(900002)', '55000', 'letter 900002 has no body'),
	('SELECT mailman_send(900002, ''{900001}'')', '55000',
	 'letter 900002 has no body'),
	('SELECT mailman_send(900003)', '55000',
	 'newsletter 900003 of letter 900003 has no relay'),
	('SELECT mailman_send(900004)', '42601',
	 'text_body of letter 900004 is not a valid template'),
	('SELECT mailman_send(900005)', '55000', 'letter 900005 is cancelled'),
	('SELECT mailman_send(900005, ''{900001}'')', '55000',
	 'letter 900005 is cancelled'),
	('SELECT mailman_pause(900005)', '55000',
	 'letter 900005 cannot be paused: it is cancelled'),
	('SELECT mailman_pause(900001)', '55000',
	 'letter 900001 cannot be paused: it is a draft'),
	('SELECT mailman_resume(900001)', '55000',
	 'letter 900001 cannot be resumed: it is a draft'),
	('SELECT mailman_cancel(900001)', '55000',
	 'letter 900001 cannot be cancelled: it is a draft'),
	('SELECT mailman_resume(900005)', '55000',
	 'letter 900005 cannot be resumed: it is cancelled'),
	('SELECT mailman_retry(900099)', '42704', 'letter 900099 does not exist'),
	('SELECT mailman_retry(900001)', '55000',
	 'letter 900001 cannot be tried again: it is a draft'),
	('SELECT mailman_retry(900005)', '55000',
	 'letter 900005 cannot be tried again: it is cancelled'),
	('SELECT mailman_retry(900001, ''{delivered}'')', '22023',
	 'deliveries in state "delivered" cannot be tried again'),
	('SELECT mailman_retry(900001, ''{failed,skipped}'')', '22023',
	 'deliveries in state "skipped" cannot be tried again'),
	('SELECT mailman_retry(900001, ''{Failed}'')', '22023',
	 'deliveries in state "Failed" cannot be tried again'),
	('SELECT mailman_retry(900001, ''{failed,NULL}'')', '22023',
	 'deliveries in state "NULL" cannot be tried again'),
	('SELECT mailman_preview(900002)', '55000', 'letter 900002 has no body'),
	('SELECT mailman_preview(900004, 900001)', '42601',
	 'text_body of letter 900004 is not a valid template'),
	('SELECT mailman_preview(900001, 900099)', '42704',
	 'subscription 900099 does not exist in newsletter 900001'),
	('SELECT mailman_preview(900001, 900004)', '42704',
	 'subscription 900004 does not exist in newsletter 900001'),
	-- no relay
	('SELECT mailman_check(''tap_nowhere'')', '42704',
	 'relay "tap_nowhere" does not exist'),
	('SELECT mailman_check('''')', '42704', 'relay "" does not exist'),
	-- no token, no subscription
	('SELECT mailman_unsubscribe(NULL)', '22023', 'invalid token'),
	('SELECT mailman_unsubscribe('''')', '22023', 'invalid token'),
	('SELECT mailman_unsubscribe_url(900099, 900001)', '42704',
	 'letter 900099 does not exist'),
	('SELECT mailman_unsubscribe_url(900001, 900004)', '42704',
	 'subscription 900004 does not exist in newsletter 900001'),
	('SELECT mailman_forget(NULL)', '22004',
	 'subscription_id must not be null'),
	('SELECT mailman_forget(900099)', '42704',
	 'subscription 900099 does not exist'),
	('SELECT mailman_subscribe(NULL, ''eve@example.com'')', '22004',
	 'newsletter_id must not be null'),
	('SELECT mailman_set_dkim_key(NULL, ''x'')', '22004',
	 'newsletter_id must not be null'),
	('SELECT mailman_set_dkim_key(900099, ''x'')', '42704',
	 'newsletter 900099 does not exist'),
	('SELECT mailman_set_dkim_key(900001, ''x'')', '22023',
	 'the key cannot be used for DKIM'),
	('SELECT mailman_set_dkim_key(900001, NULL)', '55000',
	 'newsletter 900001 has no dkim_selector'),
	('SELECT mailman_rotate_secret(900099)', '42704',
	 'newsletter 900099 does not exist'),
	('SELECT mailman_rotate_secret(900001, ''-1 s'')', '22023',
	 'keep is not between 0 and 100 years'),
	('SELECT mailman_rotate_secret(900001, ''101 years'')', '22023',
	 'keep is not between 0 and 100 years'),
	('SELECT mailman_rewrap()', '55000', 'mailman.key_file is not set'),
	('SELECT mailman_subscribe(900001, NULL)', '22004',
	 'email must not be null'),
	('SELECT mailman_subscribe(900099, ''eve@example.com'')', '42704',
	 'newsletter 900099 does not exist'),
	('SELECT mailman_subscribe(900001, ''eve'')', '23514',
	 '"eve" is not a mail address'),
	('SELECT mailman_subscribe(900001, '''')', '23514',
	 '"" is not a mail address'),
	('SELECT mailman_subscribe(900001, E''eve@example.com\r\nRCPT TO:<x>'')',
	 '23514', '"eve@example.com\x0d\x0aRCPT TO:<x>" is not a mail address'),
	('SELECT mailman_subscribe(900001, ''eve@example.com'', E''E\nBcc: x'')',
	 '23514', 'name must not contain control characters'),
	('SELECT mailman_subscribe(900001, ''ada@example.com'', E''E\x7f'')',
	 '23514', 'name must not contain control characters'),
	('SELECT mailman_subscribe(900001, ''eve@example.com'', data => ''[]'')',
	 '22023', 'data must be a JSON object'),
	('SELECT mailman_subscribe(900001, ''ada@example.com'', data => ''null'')',
	 '22023', 'data must be a JSON object')
  ) v(statement, code, message);
SELECT set_eq('TABLE everything', 'TABLE before',
			  'nothing of all that was left behind');

-- a failed call, inside of a transaction that goes on
SELECT lives_ok($$
	DO 'BEGIN PERFORM mailman_send(900001, ''{900001,900099}'');
	EXCEPTION WHEN undefined_object THEN NULL; END'$$,
	'a refused call can be caught');
SELECT set_eq('TABLE everything', 'TABLE before', 'and has queued nothing');

--
-- Relays by SQLSTATE
--
SELECT throws_ok(format('CREATE SERVER tap_trial FOREIGN DATA WRAPPER
	mailman_smtp OPTIONS (%s)', options), code, message, options)
  FROM (VALUES
	('connections ''1''', 'HV00J', 'option "url" is required'),
	('url ''smtp://a.test'', hots ''x''', 'HV00D', 'invalid option "hots"'),
	('url ''http://a.test''', 'HV024', 'invalid value for option "url"'),
	('url ''smtp://a.test:0''', 'HV024', 'invalid value for option "url"'),
	(E'url E''smtp://a.test\\r\\n''', 'HV024',
	 'invalid value for option "url"'),
	('url ''smtp://a.test'', tls ''perhaps''', 'HV024',
	 'invalid value for option "tls"'),
	('url ''smtp://a.test'', connections ''0''', 'HV024',
	 'invalid value for option "connections"'),
	('url ''smtp://a.test'', dot_timeout ''soon''', 'HV024',
	 'invalid value for option "dot_timeout"'),
	('url ''smtp://a.test'', rate ''1/sec''', 'HV024',
	 'invalid value for option "rate"'),
	('url ''smtp://a.test'', weight ''0''', 'HV024',
	 'invalid value for option "weight"'),
	('url ''smtp://a.test'', warm_up ''1/d''', 'HV00J',
	 'option "warm_up_start" is required')
  ) v(options, code, message);
SELECT throws_ok(format('CREATE USER MAPPING FOR PUBLIC SERVER tap_relay
	OPTIONS (%s)', options), code, message, options)
  FROM (VALUES
	('username ''a''', 'HV00J', 'option "password" is required'),
	('password ''a''', 'HV00J', 'option "username" is required'),
	('username ''a'', password ''''', 'HV024',
	 'invalid value for option "password"'),
	(E'username ''a'', password E''b\\n''', 'HV024',
	 'invalid value for option "password"'),
	('username ''a'', pasword ''b''', 'HV00D', 'invalid option "pasword"')
  ) v(options, code, message);

--
-- What they return
--
SELECT is(mailman_is_address('ada@example.com'), true, 'an address');
SELECT is(mailman_is_address('ada'), false, 'no address');
SELECT is(mailman_is_address(NULL), NULL, 'of null nothing is known');
SELECT is(mailman_subscribe(900001, 'ADA@EXAMPLE.COM', 'Ada'), 900001::bigint,
		  'a known address is the known subscription');
SELECT cmp_ok(mailman_subscribe(900002, 'bob@example.com'), '<>',
			  900002::bigint, 'of another newsletter it is another');
SELECT is(mailman_send(900001, '{}'), 0::bigint, 'to nobody: none');
SELECT is((SELECT state FROM mailman.letter WHERE id = 900001), 'draft',
		  'and the letter is still a draft');
SELECT is(mailman_send(900001, '{900001,900001,900003}'), 1::bigint,
		  'twice the same and one who left: one');
SELECT is(mailman_send(900001, '{900001,900003}'), 0::bigint,
		  'the same again: none');
SELECT is(mailman_send(900001), 1::bigint, 'to everybody: the one left');
SELECT is(mailman_send(900001), 0::bigint, 'and again: none');
SELECT is(mailman_deliveries(900001), '{"900001": "pending",
	"900002": "pending", "900003": {"skipped": "subscription is unsubscribed"}}',
	'the map of deliveries');
SELECT is(mailman_deliveries(900002), '{}', 'which is empty at first');
SELECT is(mailman_pause(900001), 'paused', 'pause tells the state');
SELECT is(mailman_pause(900001), 'paused', 'and again');
SELECT is(mailman_resume(900001), 'sending', 'resume tells the state');
SELECT is(mailman_retry(900001), 0::bigint, 'nothing has failed: none');
SELECT is(mailman_retry(900001, '{}'), 0::bigint, 'of no state: none');
SELECT is(mailman_retry(letter_id => 900001, states => '{doubtful,failed}'),
		  0::bigint, 'by name');
SELECT is((SELECT count(*) FROM mailman.posting WHERE letter_id = 900001
	AND recipients = 0), 0::bigint, 'what queues none posts nothing');
SELECT is(mailman_cancel(900001), 'cancelled', 'cancel tells the state');
SELECT is(xml_is_well_formed_document(mailman_report(id)), true,
		  'the report of a ' || state || ' letter is well-formed')
  FROM mailman.letter WHERE id IN (900002, 900005) ORDER BY id;
SELECT matches(mailman_report(900005), 'Daily|Weekly', 'and of its newsletter');
SELECT matches(mailman_preview(900005), E'^Date: [^\r]+\r\n'
	'From: weekly@example.com\r\nTo: Ada <ADA@example.com>\r\n',
	'preview begins like a mail');
SELECT results_eq('SELECT step, ok FROM mailman_check(''tap_relay'')',
	'VALUES (''connect'', false)', 'a relay nobody listens at is not usable');
SELECT matches((SELECT reply FROM mailman_check('tap_relay')), '\S',
	'and it says why');

-- called from a trigger, a function and a query, as applications do
CREATE TEMP TABLE issue (letter bigint, readers bigint[], queued bigint);
CREATE FUNCTION pg_temp.post() RETURNS trigger AS $$
BEGIN
	NEW.queued := mailman_send(NEW.letter, NEW.readers);
	RETURN NEW;
END
$$ LANGUAGE plpgsql;
CREATE TRIGGER post BEFORE INSERT ON issue
	FOR EACH ROW EXECUTE FUNCTION pg_temp.post();
INSERT INTO issue VALUES (900006, '{900001}'), (900006, '{900001,900002}');
SELECT results_eq('SELECT queued FROM issue', 'VALUES (1::bigint), (1)',
				  'from a trigger');
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
SELECT 900010 + n, 900001, 'Hello', 'Hello' FROM generate_series(1, 3) n;
SELECT results_eq('SELECT mailman_send(id) FROM mailman.letter
	WHERE id BETWEEN 900011 AND 900013 ORDER BY id',
	'VALUES (2::bigint), (2), (2)', 'for each row of a query');
PREPARE sending(bigint, bigint[], jsonb) AS SELECT mailman_send($1, $2, $3);
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (900020, 900001, 'Hello', '{{variables.code}}');
SELECT lives_ok('EXECUTE sending(900020, ''{900001}'', ''{"code": "abc"}'')',
				'from a prepared statement');
SELECT matches(mailman_preview(900020, 900001), E'\r\n\r\nabc\r\n$',
			   'whose variables are in the mail');

SELECT * FROM finish();
ROLLBACK;
