--
-- mailman_report(): whatever stands in the tables, the page is well-formed,
-- runs nothing and names no address.  Its look is not tested here.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_report;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', rate '20/s');
CREATE USER MAPPING FOR PUBLIC SERVER relay
	OPTIONS (username 'someuser', password 'somepassword');
INSERT INTO mailman.newsletter (owner, name, from_name, from_address, relays,
	retry_schedule, dkim_domain, dkim_selector)
VALUES ('regress_mailman_report', 'Garden & <b>"Co"</b> ]]> ''x''', '<i>Zoë</i>',
	'zoe@example.com', '{relay,gone}', '1min, 1h', 'example.com', 'spring');
INSERT INTO mailman.secret VALUES (1, decode(repeat('5e', 32), 'hex'));
INSERT INTO mailman.letter (newsletter_id, subject, text_body) VALUES
	(1, '</title><script>alert(1)</script> {{name}} & "so" ''on'' <!-- ]]>', 'Hello'),
	(1, 'A draft', 'Hello'), (1, 'One', 'Hello');
INSERT INTO mailman.subscription (newsletter_id, email, name)
SELECT 1, 'reader.' || n || '@' || (ARRAY['example.com', 'example.org',
	'xn--bcher-kva.example'])[n % 3 + 1], '<script>alert(1)</script>'
  FROM generate_series(1, 1200) n;

-- what a page says of a part of it, by its heading; tags gone
CREATE FUNCTION page(letter bigint) RETURNS xml AS $$
SELECT xmlparse(document mailman_report(letter))
$$ LANGUAGE sql;
CREATE FUNCTION texts(page xml, path text) RETURNS SETOF text AS $$
SELECT translate(x::text, chr(160), ' ')
  FROM unnest(xpath(path, page, '{{h,http://www.w3.org/1999/xhtml}}')) x
$$ LANGUAGE sql;
CREATE FUNCTION cells(page xml, caption text) RETURNS SETOF text AS $$
SELECT string_agg(btrim(c.text), ' | ' ORDER BY c.i)
  FROM unnest(xpath(format('//h:table[h:caption="%s"]/h:tbody/h:tr', caption),
		page, '{{h,http://www.w3.org/1999/xhtml}}'))
		WITH ORDINALITY AS r(tr, n),
	   LATERAL (SELECT i, translate((SELECT string_agg(t::text, ' ')
		FROM unnest(xpath('.//text()', cell)) t), chr(160), ' ') AS text
		FROM unnest(xpath('/*/*', tr)) WITH ORDINALITY AS x(cell, i)) c
 GROUP BY n ORDER BY n
$$ LANGUAGE sql;

-- a draft
SELECT xml_is_well_formed_document(mailman_report(2));
SELECT texts(page(2), '//h:section//h:p/text()');

-- a letter of many fates
INSERT INTO mailman.delivery (letter_id, subscription_id, queued_at, state,
	attempts, code, enhanced, reply, reason)
SELECT 1, n, timestamptz '2026-11-22 09:00+00' + (n > 1000)::int * interval '1 d',
	   state, CASE WHEN n % 100 = 0 THEN 2 ELSE 1 END, code, enhanced,
	   CASE WHEN code IS NOT NULL THEN 'x' END, format(reason, n)
  FROM generate_series(1, 1200) n
  LEFT JOIN (VALUES (1, 'failed', 550, '5.1.1',
	'RCPT: 550 5.1.1 <reader.%1$s@example.org>: no Reader.%1$s here, "reader.%1$s" ]]> &amp; <b>''</b>'
		|| E'\x01\x02\x1b[31m\x7f\t\r\n' || U&'\202E\2066\0085\FFFE\FEFF\FDD0'),
	(2, 'failed', 554, NULL, 'final dot: 554 go away'),
	(3, 'deferred', 451, '4.7.1', 'RCPT: 451 4.7.1 Greylisted'),
	(4, 'skipped', NULL, NULL, 'subscription is unsubscribed'),
	(5, 'doubtful', NULL, NULL, 'no reply to the final dot within 600 s'),
	(6, 'failed', 550, '5.7.99', 'final dot: 550 5.7.99 policy'))
	AS f(rest, state, code, enhanced, reason) ON n % 20 = rest
 WHERE state IS NOT NULL;
INSERT INTO mailman.delivery (letter_id, subscription_id, queued_at, state,
	attempts, code)
SELECT 1, n, '2026-11-22 09:00+00', CASE WHEN n % 20 = 7 THEN 'pending'
	ELSE 'delivered' END, CASE WHEN n % 20 = 8 THEN 3 ELSE 1 END, 250
  FROM generate_series(1, 1200) n WHERE n % 20 NOT BETWEEN 1 AND 6;
INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
	bytes, revision, attempts, code, duration, address, message_id, relay)
SELECT 1, subscription_id, timestamptz '2026-11-22 09:00:07+00'
	+ subscription_id * interval '0.1 s' + (attempts - 1) * interval '5 h',
	4000, 1, attempts, 250, subscription_id * interval '1 ms',
	'reader@example.com', '<x@example.com>',
	CASE WHEN subscription_id % 20 < 10 THEN '<b>two</b>' ELSE 'relay' END
  FROM mailman.delivery WHERE letter_id = 1 AND state = 'delivered';

SELECT xml_is_well_formed_document(mailman_report(1));
SELECT texts(page(1), '//h:h1/text()');
SELECT texts(page(1), '//h:title/text()');
SELECT texts(page(1), '//h:h2/text()|//h:h3/text()');
SELECT texts(page(1), '//h:dl[@class="figures"]//text()[normalize-space()]');
SELECT cells(page(1), 'Recipients by outcome');
SELECT cells(page(1), 'Recipients without mail, by reply');
SELECT cells(page(1), 'Recipients by domain, most failures first');
SELECT cells(page(1), 'Accepted mails by relay');
SELECT cells(page(1), 'Mails whose replies took longest');
SELECT cells(page(1), 'Recipients by the time they were queued at');
SELECT count(*), min(c COLLATE "C"), max(c COLLATE "C")
  FROM cells(page(1), 'Mails by the time they were accepted at') c;
SELECT texts(page(1), '//h:h3[text()="Newsletter"]/../h:dl//text()[normalize-space()]');
SELECT texts(page(1), '//h:h3[starts-with(text(), "Relays")]/../h:dl//text()[normalize-space()]');
-- times are those of the session
SET LOCAL timezone = 'Asia/Tokyo';
SELECT cells(page(1), 'Recipients by the time they were queued at');
RESET timezone;

-- nothing runs, nothing is loaded, nobody is named, no secret is told
SELECT what, count(*) FROM (VALUES
	('element', '//*[not(namespace-uri() = "http://www.w3.org/1999/xhtml" or namespace-uri() = "http://www.w3.org/2000/svg")]'),
	('script', '//*[local-name() = "script" or local-name() = "iframe" or local-name() = "object" or local-name() = "a" or local-name() = "img"]'),
	('handler', '//@*[starts-with(local-name(), "on")]'),
	('source', '//@src|//@href[. != "data:,"]|//@style')) v(what, path),
	LATERAL unnest(xpath(path, page(1))) x GROUP BY 1;
SELECT mailman_report(1) ~ 'somepassword|someuser|5e5e5e|reader@|reader\.|@import|url\((?!#p)';
-- each picture says what it is, each reference has its mark
SELECT count(*) FROM unnest(xpath('//*[@role="img"]', page(1)));
SELECT x FROM unnest(xpath('//*[@role="img"]/@aria-labelledby', page(1))) l(ids),
	regexp_split_to_table(ids::text, ' ') x
 WHERE xpath_exists(format('//*[@id="%s"]', x), page(1)) ORDER BY 1;
SELECT id::text, count(*) FROM unnest(xpath('//@id', page(1))) id
 GROUP BY 1 HAVING count(*) > 1;
SELECT count(*) FROM unnest(xpath(
	'//*[@role="img" and not(*[local-name() = "title"] and *[local-name() = "desc"])]',
	page(1)));

-- one recipient; one mail
INSERT INTO mailman.delivery (letter_id, subscription_id, state, attempts, code)
VALUES (3, 1, 'delivered', 1, 250);
INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
	bytes, revision, attempts, code, duration, address, message_id, relay)
VALUES (3, 1, '2026-11-22 09:00+00', 4000, 1, 1, 250, '12.5 ms', 'x@y.z', 'x', 'relay');
SELECT xml_is_well_formed_document(mailman_report(3));
SELECT texts(page(3), '//h:dl[@class="figures"]//text()[normalize-space()]');
SELECT cells(page(3), 'Mails by the time they were accepted at');
-- many reasons and many domains: the page stays small
INSERT INTO mailman.delivery (letter_id, subscription_id, queued_at, state,
	reason)
SELECT 3, n, timestamptz '2026-11-22 09:00+00' + n * interval '1 min', 'failed',
	   rpad('reason ' || n, 5000, ' <&>') FROM generate_series(2, 1200) n;
UPDATE mailman.subscription SET email = 'r@' || id || '.example';
SELECT length(mailman_report(3)) < 200000,
	   xml_is_well_formed_document(mailman_report(3));
SELECT texts(page(3), '//h:p[@class="note"]/text()[normalize-space()]');

-- so it does if the texts are long
INSERT INTO mailman.newsletter (name, from_address, relays)
VALUES (repeat('&<>"', 16000), 'zoe@example.com', '{}');
INSERT INTO mailman.letter (newsletter_id, subject)
VALUES (2, repeat('"&<>', 16000)) RETURNING id;
SELECT length(mailman_report(4)) < 100000,
	   xml_is_well_formed_document(mailman_report(4));

-- only members of the newsletter's owner
CREATE ROLE regress_mailman_nobody;
GRANT EXECUTE ON FUNCTION mailman_report(bigint)
	TO regress_mailman_nobody, regress_mailman_report;
SET ROLE regress_mailman_report;
SELECT length(mailman_report(1)) > 1000;
SET ROLE regress_mailman_nobody;
SELECT mailman_report(1);
:sqlstate
RESET ROLE;
SELECT mailman_report(99);
:sqlstate
ROLLBACK;
