--
-- Header fields, attachments and signatures: what is refused when a row is
-- written, what a recipient gets, and who may change it when.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_other;
GRANT USAGE ON SCHEMA mailman TO regress_mailman_app, regress_mailman_other;
GRANT SELECT, INSERT, UPDATE, DELETE ON mailman.newsletter,
	mailman.subscription, mailman.letter, mailman.attachment
	TO regress_mailman_app;
GRANT EXECUTE ON FUNCTION mailman_set_dkim_key(bigint, text, text),
	mailman_send(bigint), mailman_pause(bigint), mailman_resume(bigint),
	mailman_preview(bigint, bigint)
	TO regress_mailman_app, regress_mailman_other;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_app;
INSERT INTO mailman.newsletter (owner, name, from_address, relays)
VALUES ('regress_mailman_app', 'Weekly', 'weekly@example.com', '{relay}');
INSERT INTO mailman.secret VALUES (1, decode(repeat('00', 32), 'hex'));
SELECT mailman_subscribe(1, 'ada@example.com', 'Ada', '{"city": "London"}');
INSERT INTO mailman.letter (newsletter_id, subject, text_body, html_body)
VALUES (1, 'Hello', 'Dear {{name}}', '<img src="cid:logo">');
CREATE SCHEMA trial;
GRANT USAGE ON SCHEMA trial TO regress_mailman_app, regress_mailman_other;
CREATE FUNCTION trial.shown(letter bigint) RETURNS SETOF text AS $$
SELECT regexp_split_to_table(regexp_replace(rtrim(mailman_preview(letter, 1),
	E'\r\n'), E'Date: [^\r]*', 'Date: ...'), E'\r\n')
$$ LANGUAGE sql;
CREATE FUNCTION trial.try(statement text) RETURNS text AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''),
					 nullif(hint, ''));
END
$$ LANGUAGE plpgsql;
CREATE FUNCTION trial.revision(bigint) RETURNS integer AS $$
SELECT revision FROM mailman.letter WHERE id = $1
$$ LANGUAGE sql;
\t on
\pset format unaligned

--
-- What is refused: the error without the row, which has times in it
--
SELECT name || ' ' || quote_literal(value) || ': '
	   || split_part(trial.try(format(
			'UPDATE mailman.newsletter SET %I = %L', name, value)),
			' | Failing row', 1)
  FROM (VALUES ('list_id', 'weekly'), ('list_id', 'a@b.example'),
	('list_id', 'Weekly <weekly.example> x'), ('list_id', 'a b.example'),
	('feedback_id', 'a:b'), ('feedback_id', ''),
	('feedback_id', E'a\nBcc: eve@example.com'),
	('precedence', 'urgent'),
	('bounce_address', 'a{{verp}}{{verp}}@example.com'),
	('bounce_address', 'a-local-part-of-31-characters--{{verp}}@example.com'),
	('dkim_domain', 'example.com')) v(name, value);
SELECT concat_ws(', ', quote_literal(domain), quote_literal(selector)) || ': '
	   || trial.try(format('UPDATE mailman.newsletter SET dkim_domain = %L,
							dkim_selector = %L', domain, selector))
  FROM (VALUES ('a b', 's'), ('münchen.example', 's'), ('a.example', '-a'),
	('a.example', E'a\r\nBcc: b'), ('a.example; l=0', 's')
	) v(domain, selector);
SELECT value || ': ' || split_part(trial.try(format(
	'UPDATE mailman.letter SET headers = %L', value)), ' | Failing row', 1)
  FROM unnest(ARRAY['{"From": "x"}', '{"bcc": "eve@example.com"}',
	'{"Content-Type": "text/html"}', '{"X-A\r\nBcc": "x"}', '{"X:A": "x"}',
	'{"": "x"}', '{"Grün": "x"}', '{"X-A": 1}', '{"X-A": null}',
	'{"X-A": ["x"]}', '{"X-A": {"Bcc": "x"}}', '{"X-A": "x", "x-a": "y"}',
	'["x"]', '{"DKIM-Signature": "v=1"}', '{"Return-Path": "<>"}']) v(value);
SELECT concat_ws(', ', quote_literal(name), quote_literal(type),
				 quote_literal(id)) || ': '
	   || trial.try(format('INSERT INTO mailman.attachment
	(letter_id, name, content, content_type, content_id)
	VALUES (1, %L, %L, %L, %L)', name, 'x', type, id))
  FROM (VALUES (E'a\nb', 'text/plain', NULL), ('a', 'text', NULL),
	('a', 'text/plain; name=b', NULL), ('a', 'multipart/mixed', NULL),
	('a', 'message/rfc822', NULL), ('a', E'text/plain\r\nBcc: b', NULL),
	('a', 'image/png', '<logo>'), ('a', 'image/png', 'a b'),
	('a', 'image/png', E'a>\r\nBcc: b')) v(name, type, id);
SELECT trial.try('SELECT mailman.check_value(''a'', ''b'')');

--
-- What a recipient gets
--
UPDATE mailman.newsletter SET list_id = 'Our Weekly <weekly.example.com>',
	unsubscribe_mailto = 'leave@example.com', feedback_id = 'example',
	bounce_address = 'bounces+{{verp}}@example.com', precedence = 'list';
UPDATE mailman.letter SET headers =
	'{"X-City": "{{data.city}}", "X-Evil": "x\r\nBcc: eve@example.com",
	  "X-None": ""}';
INSERT INTO mailman.attachment (letter_id, name, content_type, content,
								content_id)
VALUES (1, 'Programm für März.csv', 'text/csv; charset=utf-8',
		convert_to(E'a,b\r\n', 'UTF8'), NULL),
	(1, 'logo.png', 'image/png', '\x89504e47', 'logo');
SELECT trial.shown(1);
-- without HTML nothing shows it: attached
UPDATE mailman.letter SET html_body = NULL;
SELECT * FROM trial.shown(1) AS line
 WHERE line ~ '^(Content-|--)|boundary';
DELETE FROM mailman.attachment;
SELECT * FROM trial.shown(1) AS line WHERE line ~ '^Content-';
UPDATE mailman.newsletter SET precedence = NULL, list_id = NULL,
	unsubscribe_mailto = NULL, feedback_id = NULL;
UPDATE mailman.letter SET headers = '{}';
SELECT trial.shown(1);
-- a template as any other
UPDATE mailman.letter SET headers = '{"X-City": "{{data.city"}';
SELECT split_part(trial.try('SELECT mailman_preview(1)'), ' | ', 2);
-- with partials, sections and what else there is
INSERT INTO mailman.partial VALUES (1, 'place', 'in {{data.city}}');
UPDATE mailman.newsletter
   SET unsubscribe_url = 'https://example.com/u/{{token}}';
UPDATE mailman.letter SET headers = '{"X-Place": "{{name}} {{>place}}",
	"X-Leave": "{{#unsubscribe_url}}<{{.}}>{{/unsubscribe_url}}"}';
SELECT * FROM trial.shown(1) AS line WHERE line ~ '^(X-|List-| )';
SELECT mailman_unsubscribe_url(1, 1);
UPDATE mailman.newsletter SET unsubscribe_mailto = 'leave@example.com',
	unsubscribe_url = 'http://example.com/u?t={{token}}';
SELECT * FROM trial.shown(1) AS line WHERE line ~ '^(X-|List-| )';
-- strict as any other
UPDATE mailman.newsletter SET unsubscribe_url = NULL;
UPDATE mailman.letter SET headers = '{"X-Leave": "{{unsubscribe_url}}"}';
SELECT * FROM trial.shown(1) AS line WHERE line ~ '^(X-|List-| )';
UPDATE mailman.letter SET strict = true;
SELECT trial.try('SELECT mailman_preview(1)');
UPDATE mailman.letter SET headers = '{"X-Place": "{{>place}}{{>nowhere}}"}';
SELECT trial.try('SELECT mailman_preview(1)');
UPDATE mailman.letter SET headers = '{}', strict = false;
-- no more than mail can carry
INSERT INTO mailman.attachment (letter_id, name, content)
SELECT 1, 'a', convert_to(repeat('x', 30000000), 'UTF8')
  FROM generate_series(1, 2);
SELECT trial.try('SELECT mailman_preview(1)');
DELETE FROM mailman.attachment;

--
-- Signatures
--
UPDATE mailman.newsletter SET dkim_domain = 'example.com', dkim_selector = 's1';
SELECT trial.try('SELECT mailman_preview(1)');
SET ROLE regress_mailman_other;
SELECT trial.try('SELECT mailman_set_dkim_key(1, ''x'')');
SELECT trial.try('TABLE mailman.dkim_key');
SET ROLE regress_mailman_app;
SELECT trial.try('TABLE mailman.dkim_key');
SELECT trial.try('SELECT mailman_set_dkim_key(1, ''x'')');
SELECT trial.try('SELECT mailman_set_dkim_key(2, ''x'')');
SELECT trial.try('SELECT mailman_set_dkim_key(NULL, ''x'')');
SELECT trial.try('SELECT mailman_set_dkim_key(1, $key$-----BEGIN RSA PRIVATE KEY-----
MIIBPAIBAAJBAMk+XOmUKJuSEXcmNae+kR5KwQ3aTlWfETCYMuF4h9yT63TRlZE+
ZlhpF85JkOuSahn8E+aPGbcBZ3NSh+gVFykCAwEAAQJAbQALQTTPfdvy+89FVpMg
dQDWahNpRHUA0YpOXNN0+yJpa5HTDc1K3a4lNCwkleM3pBvxJaBZM980H9izH6Sh
AQIhAOrOzPJCEWm8Rc79fIWdC/9M3WNbQJ9XGpO8ksAYM0MJAiEA22gQ+uv+2Pnp
7eD3rOGkPeBI66fkD5CsM6Gn2gqLmyECIQC9248Nh2xLAYe0kXQhGVX9DSqpTryW
2jhMIprKJgc0+QIhALgtZYOdM3MkZvCe1oozZ9HhQpU/fDxsr4EwBF0OWR7BAiEA
zrMePPCEvva/VN2SC7xumPW2/YibOtLTkelbF+3ET2I=
-----END RSA PRIVATE KEY-----$key$)');
SELECT mailman_set_dkim_key(1, '-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC6OOxntMEBlmFP
iZ0XiQamVa9P//VFT3BdZqLVJw6+/vsyuTTjJmUgVjgDfKZa205e8FTYhugQMlmM
L7A+C1bFC7xs1D1O4ncFT843H3/v5T/IdMIkz3T7DS8yGDARmnDshZavxBzuFTOQ
cQhRG908qyiIrjWLZrGM61YqCi9ojdtbQ2lL37FsLBRAPK57+GTk6+bd6MXJcGMW
P69MnfJUzbnYaAyFgdmkJR+EbCC/ztfDIgjRH/A1RYHHHvTNm4iJjJRxUHCN4QZD
kP8GFbYK3DnqTJXPE1aVafSEdogp7pvc3skH8nxqMiz2Mppe0djKGK5c0EHzOlv5
YcrkrWVhAgMBAAECggEATdo3ZyHHoMjENPLUtH6qQ4bF7J2W5huQX9PlVlRmU04Z
KXsJU798/phdAYQurgRKTuGNrxozUXYjPrq/JSkrZOSDqUHPwbdmx9c14JCwNVQz
prO9aJM8lipMZVZ8XhehhxhQR3onGBfP/15p+jK6er8Zio6+PuG3b7EBTEEG0d/p
2FL1ZV/xKMtJV6jJFJpGoC8+KseS6HEiRpT/jHCBPuMkaOIP1PqBlnsCYDq5mPah
gWv7U30xjj7QqTGdS30hUVzWsEbTEKcUOm+7PleCQUaMJoyR6EU5Hj5p6vLc1vEG
JtoRmMSIAl9K6oKozs9oIrqaKmQvdHrRrZ2pAulhewKBgQDbqcbhYO5J0BzkWdUk
vlUR891LjprnH/rbteBznmljNdR1kac/YX+hhiK2wAq4asduxqTJYkktD7XvJk9B
ocJ+XVZUcoywH1OdJ4aEhFKI938wlAh+8251weNsaQ0LNxdDi8QJLjeB+aPcwdL2
uxR2Y0bvUyhKHlNfv12KhZw3LwKBgQDZBwFgN+vrcy+0xol3jfa2mcB8hcGckLnr
+NjnaoBR2ftVYl0ZQyz5jE82/KpOyPikkw+lMuUfedFX1DZiys0rp814ew62Ro0a
dbde02sR5a4KkvgZL5929FqXjHKyujYG+jsDZZHgwn8LDy0VM6ST430LA9wdtEzL
y3g2oUgIbwKBgQCnTxgxQAAfbokjEJ084E+xXdpXG2Y21m/e+xfbWHQS4cRSTD9k
EiIBaEZ2ha1kq8f9QwXucZMk5EuBvN8vMUMPto3zwlAQMbwg/iMCOjsXIdPZr1cN
QuMGhEhxoU4TFcH9a65EA9S5heheU68YyIOcbJ9x2Bfe5FxCmGJqCLxkdwKBgDK2
clnbd2NTTSh+5AxtveK5VsNCNhWxs+AyC+03c7isqRAwpfSLP+0oHjKJI/q493Dt
dFBz7hpGyuYtDnBTV1IGKfsnNi7dmYc/TpP37yMFen+6DANGn4qaWrji9sJQxOMo
gbWvfED68djRuQUlRiXQmJ2ET2EZioBskTCiy0Q9AoGBAKU53r01de6JltIe+Adm
+4Oll4m7kIXLFpqbCZv6frg2J1gLrqQAwMD+qSMJqP4JukR6TcReMqZcGp3ma6Kh
UsFGaHaoIJDjloiBXIZevo5bhjyxeUhzghXHBQfPODSKxCMz8AapfPcHiyNVByZB
nETygzHIBpoJvMm0EQy9IA8R
-----END PRIVATE KEY-----');
SELECT regexp_replace(substring(mailman_preview(1), '^DKIM.*? bh='),
					  ' t=\d+', ' t=...');
-- the key of RFC 8463 takes its place
SELECT mailman_set_dkim_key(1, '-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----');
SELECT regexp_replace(substring(mailman_preview(1), '^DKIM.*? bh='),
					  ' t=\d+', ' t=...');
SELECT mailman_preview(1) = mailman_preview(1);
-- without a domain nothing is signed, whatever the key
UPDATE mailman.newsletter SET dkim_domain = NULL, dkim_selector = NULL;
SELECT count(*) FROM trial.shown(1) AS line WHERE line ~ '^DKIM';
SELECT mailman_set_dkim_key(1, NULL, 's1');
SELECT mailman_set_dkim_key(1, NULL, 's1');
SELECT mailman_set_dkim_key(1, '-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----', 's2') IS NULL;
RESET ROLE;
SELECT newsletter_id, selector, left(convert_from(key, 'UTF8'), 27)
  FROM mailman.dkim_key;
SELECT trial.try('UPDATE mailman.dkim_key SET key = ''x''');
SELECT trial.try('DELETE FROM mailman.dkim_key WHERE false');

--
-- Files change as the content of their letter does
--
SET ROLE regress_mailman_app;
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Hello', 'Dear {{name}}') RETURNING id AS letter \gset
SELECT trial.revision(:letter);
INSERT INTO mailman.attachment (letter_id, name, content)
VALUES (:letter, 'a.bin', 'a') RETURNING id AS file \gset
SELECT trial.revision(:letter);
UPDATE mailman.attachment SET content = 'b' WHERE id = :file;
SELECT trial.revision(:letter);
SELECT trial.try(format('UPDATE mailman.attachment SET letter_id = 1
						 WHERE id = %s', :file));
SELECT split_part(trial.try('INSERT INTO mailman.attachment (letter_id, name,
	content) VALUES (99, ''a'', ''a'')'), ' | ', 1);
SELECT mailman_send(:letter);
SELECT trial.try(statement) FROM unnest(ARRAY[
	format('UPDATE mailman.attachment SET content = ''c'' WHERE id = %s',
		   :file), format('DELETE FROM mailman.attachment WHERE id = %s', :file),
	format('INSERT INTO mailman.attachment (letter_id, name, content)
			VALUES (%s, ''a'', ''a'')', :letter)]) AS v(statement);
RESET ROLE;
SELECT trial.try(format('INSERT INTO mailman.attachment (letter_id, name,
	content) VALUES (%s, ''a'', ''a'')', :letter));
SELECT trial.try('TRUNCATE mailman.attachment');
SET ROLE regress_mailman_app;
SELECT mailman_pause(:letter);
DELETE FROM mailman.attachment WHERE id = :file;
SELECT trial.revision(:letter);
-- files go with a draft
INSERT INTO mailman.attachment (letter_id, name, content) VALUES (1, 'a', 'a');
DELETE FROM mailman.letter WHERE id = 1;
SELECT count(*) FROM mailman.attachment;
RESET ROLE;
ROLLBACK;
