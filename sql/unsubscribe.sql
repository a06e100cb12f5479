--
-- mailman_unsubscribe() and the links that lead to it.  The secrets are loaded
-- here, so that tokens are the same in every run.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
-- of subscription 1 in letter 1, and of 6 in letter 2
\set ada AQEBAQH4iJzfgia37UOlq3RPuHo
\set bob AQIGAkn_3GnlpkkPpqkivNiQ1-Q
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_web;
INSERT INTO mailman.newsletter (owner, name, from_address, unsubscribe_url)
VALUES ('regress_mailman_app', 'Weekly', 'weekly@example.com',
		'https://example.com/u/{{token}}'),
	('regress_mailman_app', 'Daily', 'daily@example.com',
	 'https://example.com/?a={{token}}&b={{token}}'),
	('regress_mailman_app', 'Mute', 'mute@example.com', NULL);
INSERT INTO mailman.secret VALUES (1, decode(repeat('00', 32), 'hex')),
	(2, decode(repeat('01', 32), 'hex'));
INSERT INTO mailman.subscription (newsletter_id, email, state)
SELECT 1, s || '@example.com', s
  FROM unnest(ARRAY['active', 'pending', 'unsubscribed', 'bounced',
					'complained']) WITH ORDINALITY AS s(s, n)
 ORDER BY n;
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (2, 'active@example.com'), (3, 'active@example.com'),
	(1, 'gone@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Weekly', 'Hello'), (2, 'Daily', 'Hello'), (3, 'Mute', 'Hello');

-- what unsubscribe_url may hold
CREATE FUNCTION try(statement text, OUT code text, OUT message text,
					OUT detail text, OUT hint text) AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	code := SQLSTATE;
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$ LANGUAGE plpgsql;
SELECT n, t.code, t.message, t.detail
  FROM unnest(ARRAY['https://example.com/u', 'ftp://example.com/{{token}}',
	'', 'https:///{{token}}', 'https://{{token}}.example.com/',
	'https://example.com/{{token}}?e={{email}}',
	'https://example.com/{{ token }}', 'https://example.com/a b{{token}}',
	E'https://example.com/\r\nBcc: eve@example.com/{{token}}',
	'https://münchen.example/{{token}}', 'https://example.com/>{{token}}',
	'https://example.com/' || repeat('x', 900) || '{{token}}',
	'HTTP://example.com:8080/{{token}}#{{token}}']) WITH ORDINALITY AS u(url, n),
  try(format('UPDATE mailman.newsletter SET unsubscribe_url = %L WHERE id = 3',
			 url)) t
 ORDER BY n;
SELECT DISTINCT hint FROM try(
	'UPDATE mailman.newsletter SET unsubscribe_url = $$x$$');
UPDATE mailman.newsletter SET unsubscribe_url = NULL WHERE id = 3;

--
-- Links
--
GRANT EXECUTE ON FUNCTION mailman_unsubscribe_url(bigint, bigint)
	TO regress_mailman_app, regress_mailman_web;
SET ROLE regress_mailman_app;
SELECT mailman_unsubscribe_url(1, 1) = 'https://example.com/u/' || :'ada'
	   AS weekly,
	   mailman_unsubscribe_url(2, 6) = 'https://example.com/?a=' || :'bob'
	   || '&b=' || :'bob' AS daily,
	   mailman_unsubscribe_url(3, 7) AS mute;
SELECT mailman_unsubscribe_url(1, 6);
:sqlstate
SELECT mailman_unsubscribe_url(1, 99);
:sqlstate
SELECT mailman_unsubscribe_url(99, 1);
:sqlstate
RESET ROLE;
SET ROLE regress_mailman_web;
SELECT mailman_unsubscribe_url(1, 1);
:sqlstate
RESET ROLE;

--
-- Tokens, from a role that may do nothing else
--
SET ROLE regress_mailman_web;
SELECT mailman_unsubscribe(:'ada');
:sqlstate
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_unsubscribe(text) TO regress_mailman_web;
SET ROLE regress_mailman_web;
SELECT mailman_unsubscribe(:'ada') AS ended;
SELECT mailman_unsubscribe(:'ada') AS again;
RESET ROLE;
SELECT id, state FROM mailman.subscription ORDER BY id;
-- from each state, and once more
SELECT mailman_unsubscribe(t) AND mailman_unsubscribe(t) AS ended
  FROM unnest(ARRAY['AQECAfhKZnURpqbJLojMzNQrQhg',
	'AQEDAYh8ZRtLUGKsuNNSUbcUiVU', 'AQEEATo6CXXeeKzG9HTn2WZUMyQ',
	'AQEFAYl2goXtbJvXH0oPxoZV5B8']) AS t;
SELECT id, email, state FROM mailman.subscription ORDER BY id;
-- back by one's own will, and off again by the same link
SELECT mailman_subscribe(1, 'active@example.com', again => true);
SELECT state FROM mailman.subscription WHERE id = 1;
SELECT mailman_unsubscribe(:'ada');
SELECT state FROM mailman.subscription WHERE id = 1;
-- an inert token, a subscription that is no more, a letter that is no more
SELECT mailman_unsubscribe('gQEGAbMvL_prhrL1SkhJ2wh0ajc') AS inert;
SELECT state FROM mailman.subscription WHERE id = 6;
DELETE FROM mailman.subscription WHERE id = 8;
SELECT mailman_unsubscribe('AQEIAQgfYmGVWN5bmi1wEvLOub4') AS no_more;
DELETE FROM mailman.letter WHERE id = 2;
SELECT mailman_unsubscribe(:'bob') AS ended;
SELECT state FROM mailman.subscription WHERE id = 6;

-- whatever is no genuine token gets one answer, and changes nothing
UPDATE mailman.subscription SET state = 'active';
SELECT count(*), t.code, t.message, t.detail, t.hint
  FROM (VALUES (NULL), (''), ('x'), ('{{token}}'), (repeat('A', 1000000)),
	(:'ada' || 'A'), (:'ada' || '='), (' ' || :'ada'), (:'ada' || E'\n'),
	(upper(:'ada')), ('ä' || :'ada'), ('https://example.com/u/' || :'ada'),
	-- another secret, another newsletter's, another purpose's HMAC, no such
	-- newsletter, one without a secret
	('AQEBAWteDWOQV-rvavu9iSZF_qg'), ('AQEBAbVGhmCfqYAaMcsasEHra44'),
	('AQEBAXWmybzkohoqct8tmk7yE68'), ('AWMBAcBrDaBB16b9zyu2nrIkQkI'),
	('AQMHA-lLcNMxjKt-Uq60A0hlzD8')) AS f(token),
  try(format('SELECT mailman_unsubscribe(%L)', token)) t
 GROUP BY 2, 3, 4, 5;
-- every character changed into every other, and every part
WITH genuine(token, digits) AS (VALUES (:'ada',
	'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'))
SELECT count(*), t.code, t.message
  FROM genuine, generate_series(1, length(token)) p,
	   generate_series(1, 64) d,
  try(format('SELECT mailman_unsubscribe(%L)',
			 overlay(token PLACING substr(digits, d, 1) FROM p))) t
 WHERE substr(digits, d, 1) <> substr(token, p, 1)
 GROUP BY 2, 3;
SELECT count(*), t.code, t.message
  FROM generate_series(0, length(:'ada') - 1) n,
  try(format('SELECT mailman_unsubscribe(%L)', left(:'ada', n))) t
 GROUP BY 2, 3;
SELECT DISTINCT state FROM mailman.subscription;
-- a secret that is gone takes its tokens along
DELETE FROM mailman.secret WHERE newsletter_id = 2;
SELECT mailman_unsubscribe(:'bob');
:sqlstate
-- not in a transaction that only reads, as a web server makes for a GET
SELECT t.code, t.message FROM try(
	'SET LOCAL transaction_read_only = on; SELECT mailman_unsubscribe('
	|| quote_literal(:'ada') || ')') t;
SELECT DISTINCT state FROM mailman.subscription;
ROLLBACK;
