--
-- Relays: the options of servers and user mappings, their types and ranges,
-- and who may send through which.  No relay here can be reached.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
BEGIN;
CREATE EXTENSION mailman;

-- tells of each value of an option whether a server may have it
CREATE FUNCTION try_server(options text, OUT outcome text, OUT detail text,
						   OUT hint text) AS $$
BEGIN
	EXECUTE 'CREATE SERVER trial FOREIGN DATA WRAPPER mailman_smtp OPTIONS ('
		|| options || ')';
	DROP SERVER trial CASCADE;
	outcome := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS outcome = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	outcome := SQLSTATE || ' ' || outcome;
END
$$ LANGUAGE plpgsql;
\pset null ''
\x auto

-- every option at once
CREATE SERVER full_relay FOREIGN DATA WRAPPER mailman_smtp OPTIONS (
	url 'smtps://mx.example.com:465', tls 'require', ca_file '/etc/ssl/ca.pem',
	helo 'news.example.com', connections '20', messages '100',
	rate '14/s', weight '10', warm_up '200/d, 500/d, 1000/d',
	warm_up_start '2026-11-22', connect_timeout '10s',
	reply_timeout '1min', data_timeout '90s', dot_timeout '10min');
CREATE USER MAPPING FOR PUBLIC SERVER full_relay
	OPTIONS (username 'weekly', password 'not a secret');

-- the URL
\x off
SELECT left(url, 50) AS url, t.outcome, t.detail
  FROM unnest(ARRAY[
	'smtp://mx.example.com', 'smtp://mx.example.com:25',
	'SMTPS://MX.EXAMPLE.COM:465', 'smtp://127.0.0.1:1', 'smtp://[::1]:2525',
	'smtp://mx:65535',
	'', 'mx.example.com', 'mx.example.com:25', 'http://mx.example.com',
	'smtp:/mx.example.com', 'smtp://', 'smtp://:25', 'smtp://mx.example.com:',
	'smtp://mx.example.com:0', 'smtp://mx.example.com:65536',
	'smtp://mx.example.com:-1', 'smtp://mx.example.com:25x',
	'smtp://mx.example.com:99999999999999999999', 'smtp://mx.example.com/',
	'smtp://mx.example.com:25/path', 'smtp://weekly@mx.example.com',
	'smtp://weekly:word@mx.example.com', 'smtp://mx example.com',
	'smtp://-mx.example.com', 'smtp://.example.com', 'smtp://[::1', 'smtp://[]',
	'smtp://[::1]x:25', 'smtp://[fe80::1%25eth0]', 'smtp://mx_1.example.com',
	'smtp://münchen.example', 'smtp://' || repeat('a', 254)
  ]) WITH ORDINALITY AS u(url, n),
  try_server(format('url %L', url)) t ORDER BY n;
SELECT DISTINCT hint FROM try_server('url ''''');

-- an option that is missing, unknown or nearly known
\x on
SELECT * FROM try_server('connections ''1''');
SELECT option, t.outcome, t.hint
  FROM unnest(ARRAY['tsl', 'URL', 'urls', 'conections', 'connection',
	'message', 'timeout', 'dot_time', 'cafile', 'hello', 'host', 'port',
	'rates', 'weigth', 'warmup', 'warm_up_stat', 'username', 'password',
	repeat('x', 60)])
	WITH ORDINALITY AS o(option, n),
  try_server(format('url ''smtp://mx.example.com'', %I ''1''', option)) t
 ORDER BY n;
SELECT * FROM try_server('url ''smtp://a.test'', url ''smtp://b.test''');

-- types and ranges
\x off
SELECT option, value, t.outcome, t.detail, t.hint
  FROM (VALUES
	(1, 'tls', 'require'), (1, 'tls', 'none'),
	(2, 'tls', 'REQUIRE'), (2, 'tls', 'on'), (2, 'tls', 'try'), (2, 'tls', ''),
	(3, 'helo', 'news.example.com'), (3, 'helo', '[192.0.2.1]'),
	(4, 'helo', ''), (4, 'helo', 'two words'), (4, 'helo', 'a@example.com'),
	(5, 'connections', '1'), (5, 'connections', '1000'),
	(6, 'connections', '0'), (6, 'connections', '-1'),
	(6, 'connections', '1001'), (6, 'connections', '99999999999'),
	(6, 'connections', 'many'), (6, 'connections', ''),
	(6, 'connections', '10 kB'),
	(7, 'messages', '0'), (7, 'messages', '1000000'),
	(8, 'messages', '-1'), (8, 'messages', '1000001'),
	(9, 'connect_timeout', '1s'), (9, 'connect_timeout', '10min'),
	(9, 'connect_timeout', '1500ms'),
	(10, 'connect_timeout', '0'), (10, 'connect_timeout', '999ms'),
	(10, 'connect_timeout', '601s'), (10, 'connect_timeout', 'soon'),
	(10, 'connect_timeout', '5 parsecs'), (10, 'connect_timeout', ''),
	(11, 'reply_timeout', '1h'), (12, 'reply_timeout', '61min'),
	(13, 'data_timeout', '1h'), (14, 'data_timeout', '61min'),
	(15, 'dot_timeout', '1h'), (16, 'dot_timeout', '61min'),
	(17, 'ca_file', '/etc/ssl/ca.pem'), (18, 'ca_file', 'ca.pem'),
	(18, 'ca_file', ''),
	(19, 'weight', '1'), (19, 'weight', '1000'),
	(20, 'weight', '0'), (20, 'weight', '-1'), (20, 'weight', '1001'),
	(20, 'weight', 'heavy'), (20, 'weight', ''), (20, 'weight', '10 kB')
  ) AS v(n, option, value),
  try_server(format('url ''smtp://mx.example.com'', %I %L', option, value)) t
 ORDER BY n, value COLLATE "C";

-- how well its sessions are protected
SELECT option, value, t.outcome, t.detail, t.hint
  FROM (VALUES
	(1, 'allow_clear_password', 'on'), (1, 'allow_clear_password', 'off'),
	(2, 'allow_clear_password', ''), (2, 'allow_clear_password', 'maybe'),
	(3, 'tls_min', '1.2'), (3, 'tls_min', '1.3'),
	(4, 'tls_min', ''), (4, 'tls_min', '1'), (4, 'tls_min', '1.0'),
	(4, 'tls_min', '1.1'), (4, 'tls_min', '1.4'), (4, 'tls_min', 'TLSv1.2')
  ) AS v(n, option, value),
  try_server(format('url ''smtp://mx.example.com'', %I %L', option, value)) t
 ORDER BY n, value COLLATE "C";

-- whose mail it takes
SELECT froms, t.outcome, t.detail, t.hint
  FROM unnest(ARRAY['example.com', '*.example.com', 'news@example.com',
	'example.com, *.example.com,news@example.org', ' EXAMPLE.com ',
	'münchen.example', 'Zoë@münchen.example', 'bounces+{{verp}}@example.com',
	'', ' ', ',', 'example.com,', 'example.com,,example.org',
	'example.com example.org', 'example.com; example.org', '*', '*.', '.com',
	'*example.com', '*@example.com', 'news@', '@example.com', 'localhost',
	'a@b@example.com', 'News <news@example.com>', '192.0.2.1'])
	WITH ORDINALITY AS f(froms, n),
  try_server(format('url ''smtp://mx.example.com'', "from" %L', froms)) t
 ORDER BY n;

-- rates
SELECT rate, t.outcome, t.detail, t.hint
  FROM unnest(ARRAY['14/s', '1/min', '100/h', '200/d', '1000000/s', ' 14 / s ',
	'', ' ', '14', '0/s', '-1/s', '1.5/s', '1000001/s', '14/sec', '10/m',
	'14/S', '14/hour', '1/w', '14/', '/s', '14 per s', '14/s, 15/s', 'fast'])
	WITH ORDINALITY AS r(rate, n),
  try_server(format('url ''smtp://mx.example.com'', rate %L', rate)) t
 ORDER BY n;

-- warm-up: a rate per day, and the first day
SELECT left(warm_up, 40) AS warm_up, t.outcome, t.detail, t.hint
  FROM unnest(ARRAY['200/d', '200/d, 500/d,1000/d', '200/d, 20/min',
	repeat('1/s,', 89) || '1/s',
	'', ',', '200/d,', '200/d,,500/d', '200/d; 500/d', '200, 500/d',
	'200/d, 500/day', '200/d, 0/d', repeat('1/s,', 90) || '1/s'])
	WITH ORDINALITY AS r(warm_up, n),
  try_server(format('url ''smtp://mx.example.com'', warm_up %L,
	warm_up_start ''2026-11-22''', warm_up)) t
 ORDER BY n;
SELECT warm_up_start, t.outcome, t.detail, t.hint
  FROM unnest(ARRAY['2026-11-22', '2028-02-29', '2000-01-01', '9999-12-31',
	'', 'today', '2026-11-22 12:00', '22.11.2026', '2026-11-2', '26-11-22',
	'20261122', '2026/11/22', ' 2026-11-22', '2026-02-29', '2026-13-01',
	'2026-00-01', '2026-11-00', '2026-11-31', '1999-12-31', '----------',
	'2026-0--01'])
	WITH ORDINALITY AS r(warm_up_start, n),
  try_server(format('url ''smtp://mx.example.com'', warm_up ''200/d'',
	warm_up_start %L', warm_up_start)) t
 ORDER BY n;
-- neither without the other
SELECT * FROM try_server('url ''smtp://mx.example.com'', warm_up ''200/d''');
SELECT * FROM try_server('url ''smtp://mx.example.com'',
	warm_up_start ''2026-11-22''');

-- control bytes would end up in the dialogue with the relay
SELECT option, t.outcome, t.detail
  FROM unnest(ARRAY['url', 'tls', 'ca_file', 'helo', 'connections',
	'dot_timeout']) AS o(option),
  unnest(ARRAY[E'\r', E'\n', E'\x01', E'\x7f']) AS c(control),
  try_server(format('%s %I %L', CASE WHEN option <> 'url'
	THEN 'url ''smtp://mx.example.com'', ' END, option,
	'smtp://mx.example.com' || control)) t
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- a change is checked as well as the beginning
ALTER SERVER full_relay OPTIONS (SET tls 'maybe');
:sqlstate
ALTER SERVER full_relay OPTIONS (DROP url);
:sqlstate
ALTER SERVER full_relay OPTIONS (SET rate '14/sec');
:sqlstate
ALTER SERVER full_relay OPTIONS (DROP warm_up);
:sqlstate
ALTER SERVER full_relay OPTIONS (SET rate '20/s', DROP warm_up,
	DROP warm_up_start, SET weight '20');
ALTER SERVER full_relay OPTIONS (SET tls 'none', DROP ca_file);
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'full_relay';

-- credentials: both or none
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
CREATE USER MAPPING FOR PUBLIC SERVER relay OPTIONS (username 'weekly');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay OPTIONS (password 'word');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username '', password 'word');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username 'weekly', password '');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username 'weekly', password E'word\r\nMAIL FROM:<>');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username E'week\tly', password 'word');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username 'weekly', pasword 'word');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (user 'weekly', password 'word');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (url 'smtp://mx.example.com');
:sqlstate
CREATE USER MAPPING FOR PUBLIC SERVER relay OPTIONS (rate '14/s');
:sqlstate

-- or a file, or a token, and one of them
CREATE FUNCTION try_mapping(options text, OUT outcome text, OUT detail text,
							OUT hint text) AS $$
BEGIN
	EXECUTE 'CREATE USER MAPPING FOR CURRENT_USER SERVER relay OPTIONS ('
		|| options || ')';
	DROP USER MAPPING FOR CURRENT_USER SERVER relay;
	outcome := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS outcome = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	outcome := SQLSTATE || ' ' || outcome;
END
$$ LANGUAGE plpgsql;
SELECT options, t.outcome, t.detail, t.hint
  FROM unnest(ARRAY[
	'username ''weekly'', password ''word''',
	'username ''weekly'', token ''ya29.a0Af_b-w~x+y/z==''',
	'username ''weekly'', password_file ''/run/secrets/relay''',
	'token ''ya29''', 'password_file ''/run/secrets/relay''',
	'username ''weekly'', password ''word'', token ''ya29''',
	'username ''weekly'', token ''ya29'', password_file ''/x''',
	'username ''weekly'', password_file ''/x'', password ''word''',
	'username ''weekly'', password_file ''secret''',
	'username ''weekly'', password_file ''''',
	'username ''weekly'', token ''''',
	'username ''weekly'', token ''Bearer ya29''',
	'username ''weekly'', token E''ya\x0129''',
	'username ''weekly'', token ''yä29''',
	'username ''we,ekly'', token ''ya29''',
	'username ''a=weekly'', token ''ya29''',
	'username ''a=we,ekly'', password ''word'''
  ]) WITH ORDINALITY AS o(options, n), try_mapping(options) t ORDER BY n;
CREATE USER MAPPING FOR PUBLIC SERVER relay;
DROP USER MAPPING FOR PUBLIC SERVER relay;

-- options belong to nothing else
ALTER FOREIGN DATA WRAPPER mailman_smtp OPTIONS (url 'smtp://mx.example.com');
:sqlstate
CREATE FOREIGN TABLE mail (id int) SERVER relay OPTIONS (url 'x');
:sqlstate
CREATE FOREIGN TABLE mail (id int) SERVER relay;
SELECT * FROM mail;
:sqlstate
DROP FOREIGN TABLE mail;

--
-- Who may send through it
--
CREATE ROLE regress_mailman_app;
GRANT EXECUTE ON FUNCTION mailman_send(bigint), mailman_check(text)
	TO regress_mailman_app;
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_app', 'Weekly', 'weekly@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)
VALUES (1, 'Hello', 'Hello', 'infinity');
SELECT mailman_subscribe(1, 'ada@example.com');

CREATE FOREIGN DATA WRAPPER other_wrapper;
CREATE SERVER other FOREIGN DATA WRAPPER other_wrapper;
GRANT USAGE ON FOREIGN SERVER other TO regress_mailman_app;
CREATE SERVER "my relay" FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');

-- no relay, one that does not exist, one of another kind, one not granted
UPDATE mailman.newsletter SET relays = '{}';
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
RESET ROLE;
UPDATE mailman.newsletter SET relays = '{nowhere}';
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
SELECT * FROM mailman_check('nowhere');
:sqlstate
RESET ROLE;
UPDATE mailman.newsletter SET relays = '{other}';
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
SELECT * FROM mailman_check('other');
:sqlstate
RESET ROLE;
UPDATE mailman.newsletter SET relays = '{my relay}';
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
SELECT * FROM mailman_check('my relay');
:sqlstate
RESET ROLE;
-- each of several counts
UPDATE mailman.newsletter SET relays = '{relay,my relay}';
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_app;
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
RESET ROLE;
-- a list of names and nothing else
\set VERBOSITY terse
UPDATE mailman.newsletter SET relays = '{relay,NULL}';
:sqlstate
UPDATE mailman.newsletter SET relays = '{{relay},{relay}}';
:sqlstate
UPDATE mailman.newsletter SET relays = NULL;
:sqlstate
UPDATE mailman.newsletter SET relays =
	ARRAY(SELECT 'relay' || n FROM generate_series(1, 17) n);
:sqlstate
UPDATE mailman.newsletter SET relays =
	ARRAY(SELECT 'relay' || n FROM generate_series(1, 16) n)
RETURNING cardinality(relays);
\set VERBOSITY default
-- a relay has credentials, but none for this role
UPDATE mailman.newsletter SET relays = '{relay}';
CREATE USER MAPPING FOR CURRENT_USER SERVER relay
	OPTIONS (username 'weekly', password 'word');
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
:sqlstate
RESET ROLE;
SELECT count(*) FROM mailman.delivery;
SELECT count(*) FROM mailman.posting;
SELECT state FROM mailman.letter;

-- granted, with credentials for everybody
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username 'weekly', password 'word');
SET ROLE regress_mailman_app;
SELECT mailman_send(1);
-- is it usable?  Nobody listens at port 1.
SELECT step, ok FROM mailman_check('relay');
-- the password is for the mapping's own eyes
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'relay'
   AND usename = 'public';
RESET ROLE;
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'relay'
   AND usename = 'public';

-- one's own relays, but not the server's files
GRANT USAGE ON FOREIGN DATA WRAPPER mailman_smtp TO regress_mailman_app;
SET ROLE regress_mailman_app;
CREATE SERVER own_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', ca_file '/etc/ssl/ca.pem');
:sqlstate
CREATE SERVER own_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
ALTER SERVER own_relay OPTIONS (ADD ca_file '/etc/ssl/ca.pem');
:sqlstate
RESET ROLE;
GRANT pg_read_server_files TO regress_mailman_app;
SET ROLE regress_mailman_app;
ALTER SERVER own_relay OPTIONS (ADD ca_file '/etc/ssl/ca.pem');
RESET ROLE;
ROLLBACK;
