--
-- mailman_preview(): the very bytes a recipient gets.  The Date: is masked
-- where it is that of now; Message-ID and boundary come from a secret that is
-- loaded here, so that they are the same in every run.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (owner, name, from_name, from_address, relays)
VALUES ('regress_mailman_app', 'Weekly', 'The Weekly', 'weekly@example.com',
		'{relay}'),
	('regress_mailman_app', 'Other', NULL, 'other@example.com', '{}');
INSERT INTO mailman.secret VALUES (1, decode(repeat('00', 32), 'hex'));
SELECT mailman_subscribe(1, 'ada@example.com', 'Ada Lovelace',
	'{"city": "London", "n": 7, "yes": true, "no": null, "list": ["a", "b"],
	  "deep": {"x": {"y": "z"}}, "html": "<b>\"O''Neil\" & Co</b>"}');
SELECT mailman_subscribe(1, 'bob@example.com');
INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)
VALUES (1, 'Hello {{name}}', E'Dear {{name}},\nyour address is {{email}}.\n',
		'2100-01-01 12:00:00+00');
-- what is sent is CRLF; here, lines
CREATE FUNCTION shown(letter bigint, subscription bigint DEFAULT NULL)
RETURNS SETOF text AS $$
SELECT regexp_split_to_table(rtrim(mailman_preview(letter, subscription),
								   E'\r\n'), E'\r\n')
$$ LANGUAGE sql;
CREATE FUNCTION body(letter bigint, subscription bigint DEFAULT NULL)
RETURNS SETOF text AS $$
SELECT regexp_split_to_table(rtrim(regexp_replace(
	mailman_preview(letter, subscription), E'^.*?\r\n\r\n', ''),
	E'\r\n'), E'\r\n')
$$ LANGUAGE sql;
CREATE FUNCTION header(letter bigint, subscription bigint DEFAULT NULL)
RETURNS SETOF text AS $$
SELECT regexp_split_to_table(regexp_replace(regexp_replace(
	mailman_preview(letter, subscription), E'\r\n\r\n.*$', ''),
	E'Date: [^\r]*', 'Date: ...'), E'\r\n')
$$ LANGUAGE sql;
\t on
\pset format unaligned

-- a plain letter; without an id, to the first active subscription
SELECT shown(1, 1);
SELECT mailman_preview(1) = mailman_preview(1, 1);
SELECT mailman_preview(1, 1) = mailman_preview(1, 1);
SELECT mailman_preview(1, 2) <> mailman_preview(1, 1);
-- no name is no word
SELECT shown(1, 2);
-- every line ends with CRLF and is 7-bit
SELECT mailman_preview(1, 1) !~ E'[^\r]\n|\r[^\n]|[^\\x01-\\x7f]';
UPDATE mailman.subscription SET state = 'unsubscribed' WHERE id = 1;
SELECT mailman_preview(1) = mailman_preview(1, 2);
UPDATE mailman.subscription SET state = 'active' WHERE id = 1;

-- the Date: is when it was posted, or its time if that is later
UPDATE mailman.letter SET send_at = NULL;
SELECT header(1, 1) LIMIT 1;
SELECT substring(mailman_preview(1, 1), E'^Date: ([^\r]*)') =
	   to_char(now() AT TIME ZONE 'UTC', 'Dy, DD Mon YYYY HH24:MI:SS +0000');
-- whatever the session's idea of time and language
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL datestyle = 'SQL, DMY';
UPDATE mailman.letter SET send_at = '2100-01-01 12:00:00+00';
SELECT shown(1, 1) LIMIT 1;
RESET timezone;
RESET datestyle;

-- both parts
UPDATE mailman.letter SET html_body = E'<p>Dear {{name}},</p>\n';
SELECT shown(1, 1);
-- HTML alone
UPDATE mailman.letter SET text_body = '';
SELECT header(1, 1);
SELECT body(1, 1);
UPDATE mailman.letter SET text_body = 'Hello', html_body = NULL;

--
-- Header fields
--
UPDATE mailman.newsletter SET from_name = 'Ada & Bob "B"',
	reply_to = 'editor@münchen.example', bounce_address = 'bounces@example.com'
 WHERE id = 1;
UPDATE mailman.letter SET subject = 'Grüße';
SELECT header(1, 1);
-- the values can be anything, and remain values
SELECT mailman_subscribe(1, 'bob@example.com', '李小龍 "Bob" <b@example.com>',
	'{"x": "one\r\nBcc: eve@example.com\r\n\r\nbody\u007f\u0001"}');
UPDATE mailman.letter SET subject = 'About {{data.x}}' WHERE id = 1;
SELECT header(1, 2);
UPDATE mailman.letter SET subject = rpad('', 2000, 'long subject ');
SELECT max(length(line)) <= 78 FROM header(1, 2) AS line;
UPDATE mailman.letter SET subject = repeat('ä', 500);
SELECT max(length(line)) <= 78 FROM header(1, 2) AS line;
UPDATE mailman.letter SET subject = 'Hello';

--
-- Templates
--
-- values of every kind, in text and in HTML
UPDATE mailman.letter SET text_body =
E'{{data.city}} {{ data.n }} {{data.yes}} [{{data.no}}] [{{data.none}}]
{{data.list}} {{data.list.1}} [{{data.list.2}}] {{data.deep.x.y}}
{{{data.html}}} {{& data.html}} {{data.html}}
{{! not in the mail }}[{{variables.code}}] {{email}} { {single} }}';
SELECT body(1, 1);
UPDATE mailman.letter SET html_body = text_body, text_body = NULL;
SELECT body(1, 1);
-- what a value holds is never a template, or the letter's end
UPDATE mailman.letter SET html_body = NULL, text_body =
	E'{{data.x}}\n{{name}}\n.\nFrom here\n--=_x\n';
SELECT mailman_subscribe(1, 'bob@example.com', '{{email}}',
	'{"x": "{{data.x}}\r\n.\r\nQUIT"}');
SELECT body(1, 2);
-- eight bits in seven: quoted-printable, else base64
UPDATE mailman.letter SET text_body = E'Grüße aus Köln und allen Städten am Rhein';
SELECT header(1, 1);
SELECT body(1, 1);
UPDATE mailman.letter SET text_body = E'Привет, мир';
SELECT body(1, 1);
SELECT convert_from(decode(string_agg(line, ''), 'base64'), 'UTF8')
  FROM body(1, 1) AS line;

-- variables are those it was queued with
UPDATE mailman.letter SET text_body = 'Code {{variables.code}}.';
SELECT mailman_send(1, '{1}', '{"code": 42}');
SELECT body(1, 1);
SELECT body(1, 2);

-- errors, with the place they are at
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (2, 1, 'Hello', 'Hello');
CREATE FUNCTION try_template(template text) RETURNS text AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	UPDATE mailman.letter SET text_body = template WHERE id = 2;
	PERFORM mailman_preview(2, 1);
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, detail, hint);
END
$$ LANGUAGE plpgsql;
SELECT try_template('Dear {{name');
SELECT row_number() OVER (ORDER BY n), replace(template, E'\n', '\n'),
	   regexp_replace(try_template(template), '^[^|]*\| [^|]*\| | \| [^|]*$',
					  '', 'g')
  FROM unnest(ARRAY['{{name', '{{name}', '{{}}', '{{ }}', '{{', '{{{name}}',
	'{{data.}}', '{{.x}}', '{{data..x}}', '{{a b}}', '{{a}b}}', '{{#if}}',
	'{{/if}}', '{{^if}}', '{{>footer}}', '{{=<% %>=}}', '{{! no end',
	E'one\ntwo {{name\n', E'one\r\ntwo\r\n  {{#x}}', E'\n\n\n{{}}',
	'Grüße {{#x}}', '{{"x"}}', 'fine { x } }} {', '{{name}}{{email}}',
	'{{any.thing}}'])
	WITH ORDINALITY AS t(template, n) ORDER BY n;
UPDATE mailman.letter SET text_body = 'Hello', subject = 'Hello {{'
 WHERE id = 2;
SELECT mailman_preview(2);
:sqlstate
UPDATE mailman.letter SET subject = 'Hello', html_body = E'<p>\n{{name}'
 WHERE id = 2;
SELECT mailman_preview(2);
:sqlstate

--
-- Not to be seen
--
UPDATE mailman.letter SET text_body = NULL, html_body = NULL WHERE id = 2;
SELECT mailman_preview(2);
:sqlstate
SELECT mailman_preview(99);
:sqlstate
SELECT mailman_preview(1, 99);
:sqlstate
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (3, 2, 'Hello', 'Hello');
SELECT mailman_preview(3);
:sqlstate
SELECT mailman_preview(3, 1);
:sqlstate
SELECT mailman_deliveries(1), mailman_deliveries(2);
SELECT mailman_deliveries(99);
:sqlstate
CREATE ROLE regress_mailman_guest;
GRANT EXECUTE ON FUNCTION mailman_preview(bigint, bigint),
	mailman_deliveries(bigint) TO regress_mailman_guest;
SET ROLE regress_mailman_guest;
SELECT mailman_preview(1);
:sqlstate
SELECT mailman_deliveries(1);
:sqlstate
RESET ROLE;
ROLLBACK;
