--
-- Mail addresses and lines of text: what the constraints let in, and what they
-- say about the rest.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null ''
BEGIN;
CREATE EXTENSION mailman;
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Weekly', 'weekly@example.com');

-- what INSERT says about an address; the shown text has its controls escaped
CREATE FUNCTION try_address(address text, OUT code text, OUT message text,
							OUT detail text, OUT hint text) AS $$
BEGIN
	INSERT INTO mailman.subscription (newsletter_id, email)
	VALUES (1, address);
EXCEPTION WHEN OTHERS THEN
	code := SQLSTATE;
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$ LANGUAGE plpgsql;

--
-- Good ones
--
CREATE TABLE good (address text);
INSERT INTO good VALUES
	('ada@example.com'),
	('Ada.Lovelace@EXAMPLE.com'),
	('ada+news@mail.example.com'),
	('a@b.test'),
	('!#$%&''*+-/=?^_`{|}~@example.com'),
	('"quoted local"@example.com'),
	('"with\"escape"@example.com'),
	('"a@b"@example.com'),
	('1@2.example.com'),
	('ada@xn--mnchen-3ya.example'),
	('ada@münchen.example'),
	('дада@пример.example'),
	('ada@r3---sn.example.com'),
	(repeat('l', 64) || '@example.com'),
	('ada@' || repeat('d', 63) || '.example');
SELECT address, mailman_is_address(address), (try_address(address)).message
  FROM good ORDER BY address COLLATE "C";

--
-- Bad ones
--
CREATE TABLE bad (address text);
INSERT INTO bad VALUES
	(''),
	(' '),
	('ada'),
	('@example.com'),
	('ada@'),
	('ada@@example.com'),
	('ada@localhost'),
	('ada@example..com'),
	('ada@.example.com'),
	('ada@example.com.'),
	('ada@-example.com'),
	('ada@example-.com'),
	('ada@exa_mple.com'),
	('ada@exa mple.com'),
	('ada@192.0.2.1'),
	('ada@[192.0.2.1]'),
	('ada@[IPv6:::1]'),
	('.ada@example.com'),
	('ada.@example.com'),
	('a..da@example.com'),
	('ada love@example.com'),
	(' ada@example.com'),
	('ada@example.com '),
	('ada,bob@example.com'),
	('ada@example.com,bob@example.com'),
	('ada@example.com bob@example.com'),
	('<ada@example.com>'),
	('Ada <ada@example.com>'),
	('ada(comment)@example.com'),
	('mailto:ada@example.com'),
	('"ada@example.com'),
	('"a"b"@example.com'),
	('"a\"@example.com'),
	('ada@example.com>'),
	('ada@xn--a'),
	('ada@xn--zzzzzzzz.example'),
	(U&'ada@example.com\200B'),
	(U&'\FEFFada@example.com'),
	(U&'ada\00A0@example.com'),
	(U&'ada\0085@example.com'),
	(U&'ada\202E@example.com'),
	(U&'ada@example\FF20b.com'),
	(repeat('l', 65) || '@example.com'),
	('ada@' || repeat('d', 64) || '.example'),
	(repeat('l', 64) || '@' || repeat(repeat('d', 60) || '.', 4) || 'example');
-- (what is not ASCII is shown as ~)
SELECT CASE WHEN length(address) > 60
	   THEN left(address, 20) || '... of ' || length(address)
	   ELSE regexp_replace(address, '[\u0080-\uffff]', '~', 'g') END
	   AS address,
	   mailman_is_address(address) AS valid, t.code, t.detail
  FROM bad, try_address(address) t ORDER BY bad.address COLLATE "C";
SELECT message FROM try_address('Ada <ada@example.com>');
SELECT DISTINCT hint FROM bad, try_address(address);
-- a long one is cut
SELECT length(message) FROM try_address(repeat('ä', 10000));

-- control bytes, at the beginning, inside and at the end, one by one
SELECT count(*) AS refused,
	   count(*) FILTER (WHERE mailman_is_address(a.address)) AS valid,
	   t.code, t.detail
  FROM generate_series(1, 32) n,
	   LATERAL (SELECT chr(CASE n WHEN 32 THEN 127 ELSE n END)) c(control),
	   LATERAL (VALUES (control || 'bob@example.com'),
					   ('b' || control || 'ob@example.com'),
					   ('"b' || control || 'ob"@example.com'),
					   ('bob@' || control || 'example.com'),
					   ('bob@example.com' || control)) a(address),
	   try_address(a.address) t
 GROUP BY 3, 4 ORDER BY 3, 4;
-- an envelope or a header of one's own
SELECT t.code, t.message, t.detail FROM (VALUES
	(E'bob@example.com>\r\nRCPT TO:<eve@example.com'),
	(E'bob@example.com\nBcc: eve@example.com')) a(address),
	try_address(address) t;
SELECT mailman_is_address(E'bob@example.com\u0000');
:sqlstate
SELECT mailman_is_address(NULL);
SELECT count(*) FROM mailman.subscription;

-- a list is filtered before loading
SELECT count(*) FROM bad WHERE mailman_is_address(address);
-- COPY names the line
\set SHOW_CONTEXT errors
COPY mailman.subscription (newsletter_id, email) FROM stdin;
1	bob@example.com
1	bob@example,com
\.
\set SHOW_CONTEXT never
-- the same address twice, whatever its case
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (1, 'ADA@EXAMPLE.COM');
:sqlstate
UPDATE mailman.subscription SET email = 'no address' WHERE id = 1;
:sqlstate
SELECT count(*) FROM mailman.subscription;

--
-- Every other address and line of text
--
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
INSERT INTO mailman.letter (newsletter_id, subject) VALUES (1, 'Hello');
INSERT INTO mailman.attachment (letter_id, name, content) VALUES (1, 'a', '');
INSERT INTO mailman.partial VALUES (1, 'footer', 'Bye');
SELECT "table", "column", t.code, t.message, t.detail
  FROM (VALUES ('newsletter', 'from_address'), ('newsletter', 'reply_to'),
	('newsletter', 'bounce_address'), ('newsletter', 'unsubscribe_mailto')
  ) AS c("table", "column"),
  try(format('UPDATE mailman.%I SET %I = %L', "table", "column",
			 E'weekly@example.com\r\nBcc: eve@example.com')) t
 ORDER BY 1, 2;
SELECT "table", "column", t.code, t.message, t.detail
  FROM (VALUES ('newsletter', 'name'), ('newsletter', 'from_name'),
	('newsletter', 'list_id'), ('newsletter', 'unsubscribe_url'),
	('subscription', 'name'), ('letter', 'subject'), ('attachment', 'name'),
	('attachment', 'content_type'), ('attachment', 'content_id'),
	('partial', 'name')) AS c("table", "column"),
  try(format('UPDATE mailman.%I SET %I = %L', "table", "column",
			 E'Ada\r\nBcc: eve@example.com')) t
 ORDER BY 1, 2;
UPDATE mailman.letter SET subject = E'Hello\nBcc: eve@example.com';
:sqlstate
-- each of the control bytes, in a name
SELECT count(*), t.code, t.message, t.hint
  FROM generate_series(1, 32) n,
  try(format('UPDATE mailman.subscription SET name = %L', 'A'
			 || chr(CASE n WHEN 32 THEN 127 ELSE n END))) t
 GROUP BY 2, 3, 4 ORDER BY 2, 3, 4;
-- NUL is refused by the database itself, in text and in jsonb
UPDATE mailman.subscription SET name = E'A\u0000';
:sqlstate
UPDATE mailman.letter SET headers = '{"X-Campaign": "a\u0000b"}';
:sqlstate
UPDATE mailman.subscription SET data = '{"city": "a\u0000b"}';
:sqlstate
-- letters of all kinds are welcome
UPDATE mailman.newsletter SET name = 'Wöchentlich', from_name = 'Ada & Bob "B"';
UPDATE mailman.subscription SET name = '李 "Ada" O''Neil, Ph.D.';

-- only objects where objects are meant, and words of a list
\set VERBOSITY terse
UPDATE mailman.letter SET headers = '[]';
:sqlstate
INSERT INTO mailman.subscription (newsletter_id, email, data)
VALUES (1, 'eve@example.com', '"x"');
:sqlstate
INSERT INTO mailman.subscription (newsletter_id, email, state)
VALUES (1, 'eve@example.com', 'asleep');
:sqlstate
INSERT INTO mailman.letter (newsletter_id, subject, on_doubt)
VALUES (1, 'Hello', 'guess');
:sqlstate
UPDATE mailman.newsletter SET max_attempts = 0;
:sqlstate
UPDATE mailman.newsletter SET max_age = '-1 hour';
:sqlstate
SELECT subject, headers FROM mailman.letter;
ROLLBACK;
