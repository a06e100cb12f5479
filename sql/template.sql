--
-- Templates over jsonb: Mustache in subject, text and HTML, partials, and
-- letter.strict.  The specification itself is gone through in the unit tests;
-- here, what jsonb and the tables add to it.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
-- the guards alone: row security would keep others' rows out of sight
DO $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT oid FROM pg_class
		 WHERE relnamespace = 'mailman'::regnamespace AND relkind = 'r'
	LOOP
		EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', relation);
	END LOOP;
END
$$;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_guest;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
GRANT USAGE ON FOREIGN SERVER relay TO regress_mailman_app;
INSERT INTO mailman.newsletter (owner, ref, name, from_name, from_address,
								relays)
VALUES ('regress_mailman_app', 'weekly', 'Weekly', 'The <Weekly>',
		'weekly@example.com', '{relay}'),
	('regress_mailman_app', NULL, 'Other', NULL, 'other@example.com', '{}');
UPDATE mailman.newsletter SET unsubscribe_mailto = 'leave@example.com';
SELECT mailman_subscribe(1, 'ada@example.com', 'Ada Lovelace', $${
	"city": "London", "n": 7, "price": 1.50, "big": 12345678901234567890.5,
	"tiny": 1e-7, "minus": -0.0, "zero": 0, "yes": true, "no": false,
	"null": null, "empty": "", "none": [], "object": {},
	"list": ["a", "<b>", 3, null, {"k": "v"}],
	"orders": [{"no": 1, "items": [{"what": "tea", "n": 2}, {"what": "milk"}]},
			   {"no": 2, "items": []}],
	"matrix": [[1, 2], [3], []],
	"tree": {"label": "root", "kids": [
		{"label": "a", "kids": [{"label": "a1", "kids": []}]},
		{"label": "b", "kids": []}]},
	"html": "<b>\"O'Neil\" & Co</b>", "größe": "XL", "a.b": "no path",
	"name": "of the data"}$$);
SELECT mailman_subscribe(1, 'bob@example.com');
INSERT INTO mailman.letter (newsletter_id, ref, subject, text_body)
VALUES (1, 'issue-1', 'Hello', 'Hello');

CREATE FUNCTION shown(template text, variables jsonb DEFAULT NULL,
					  html boolean DEFAULT false, subscription bigint DEFAULT 1)
RETURNS SETOF text AS $$
DECLARE
	made bigint;
	message text;
BEGIN
	INSERT INTO mailman.letter (newsletter_id, ref, subject, text_body,
								html_body)
	VALUES (1, 'issue', 'x', CASE WHEN NOT html THEN template END,
			CASE WHEN html THEN template END)
	RETURNING id INTO made;
	IF variables IS NOT NULL THEN
		PERFORM mailman_send(made, ARRAY[subscription], variables);
	END IF;
	message := mailman_preview(made, subscription);
	UPDATE mailman.letter SET ref = NULL WHERE id = made;
	message := regexp_replace(message, E'^.*?\r\n\r\n', '');
	message := replace(replace(message, E'=\r\n', ''), '=3D', '=');
	RETURN QUERY SELECT regexp_split_to_table(rtrim(message, E'\r\n'), E'\r\n');
END
$$ LANGUAGE plpgsql;
-- an error as one line
CREATE FUNCTION fails(statement text) RETURNS text AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, detail);
END
$$ LANGUAGE plpgsql;
\t on
\pset format unaligned

--
-- Values
--
SELECT shown($$
city {{data.city}}, {{subscription.data.city}}; größe {{data.größe}}
numbers {{data.n}} {{data.price}} {{data.big}} {{data.tiny}} {{data.minus}}
booleans {{data.yes}} {{data.no}}, null [{{data.null}}], none [{{data.x}}]
list {{data.list}}, of them {{data.list.0}} {{data.list.2}} {{data.list.4.k}} [{{data.list.9}}]
object {{data.object}} {{data.orders.0.items.1}}
no path [{{data.a.b}}], not into strings [{{data.city.length}}]
no list by [{{data.list.x}}] [{{data.list.-1}}] [{{data.list.1x}}]
{{data.html}} {{{data.html}}} {{&data.html}}$$);
SELECT shown('{{data.html}} {{{data.html}}} {{&data.html}} {{data.list}}',
			 html => true);
-- what is true, and what is false
SELECT shown(string_agg(format('{{#data.%1$s}}%1$s {{/data.%1$s}}', key), '')
			 || '| ' ||
			 string_agg(format('{{^data.%1$s}}%1$s {{/data.%1$s}}', key), ''))
  FROM unnest(ARRAY['city', 'n', 'tiny', 'minus', 'zero', 'yes', 'no', 'null',
					'empty', 'none', 'object', 'list', 'x']) AS key;

--
-- Sections
--
SELECT shown($$Orders of {{name}}:
{{#data.orders}}
  * No. {{no}}, {{name}}
  {{#items}}
    - {{what}}{{#n}}, {{.}} of it{{/n}}
  {{/items}}
  {{^items}}
    nothing
  {{/items}}
{{/data.orders}}
{{#data}}
in data, {{name}} of {{city}}, {{email}}
{{/data}}$$);
SELECT shown('{{#data.list}}({{.}}){{/data.list}} '
			 '{{#data.matrix}}[{{#.}}{{.}};{{/.}}]{{/data.matrix}} '
			 '{{#data.object}}an object{{/data.object}}');
SELECT shown('{{#data.list}}({{.}}){{/data.list}} {{! html }}', html => true);
SELECT shown('{{=<% %>=}}{{<% data.city %>}} <%#data.yes%>yes<%/data.yes%>');

--
-- The context
--
SELECT shown($${{subscription.email}} {{subscription.name}} {{email}} {{name}}
{{newsletter.id}} {{newsletter.ref}} {{newsletter.name}} {{newsletter.from_name}} {{newsletter.from_address}}
{{letter.ref}} {{#letter.id}}it has an id{{/letter.id}}
[{{unsubscribe_url}}{{^unsubscribe_url}}none{{/unsubscribe_url}}]
[{{newsletter.owner}}{{newsletter.relays}}{{letter.text_body}}{{letter.sender}}]
[{{subscription}}{{subscription.id}}{{subscription.state}}{{id}}]$$);
SELECT shown('{{^name}}nobody{{/name}} [{{name}}] {{data}}', subscription => 2);
SELECT shown('{{variables.code}} {{#variables}}{{code}} {{city}}{{#list}} {{x}}'
			 '{{/list}}{{/variables}} {{data.city}}',
			 '{"code": "A&B", "list": [{"x": 1}, {"x": 2}]}');
SELECT shown('[{{variables}}{{#variables}}no{{/variables}}]');

-- in the subject too, where nothing is escaped
UPDATE mailman.letter SET subject =
	'{{#data.orders}}{{no}}{{/data.orders}} {{data.html}} {{>sign}}'
 WHERE id = 1;
INSERT INTO mailman.partial VALUES (1, 'sign', '-- {{newsletter.name}}');
SELECT substring(mailman_preview(1, 1), E'Subject: [^\r]*');

--
-- Partials
--
INSERT INTO mailman.partial VALUES
	(1, 'footer', E'You get this as {{email}}.\n{{>mail/sign.txt}}\n'),
	(1, 'mail/sign.txt', E'-- \n{{newsletter.from_name}}'),
	(1, 'node', E'{{label}}\n{{#kids}}\n  {{>node}}\n{{/kids}}\n'),
	(1, 'broken', E'fine\n{{#x}} {{/y}}'),
	(1, 'lost', '{{>nowhere}}'),
	(1, 'snake', '{{>tail}}'), (1, 'tail', E'\n{{>snake}}'),
	(1, 'deep', '{{#data}}{{>deep}}{{/data}}'),
	(2, 'nowhere', 'of another newsletter');
SELECT shown(E'Hello.\n\n{{>footer}}\n');
SELECT shown(E'<p>Hello.\n{{>footer}}\n', html => true);
SELECT shown(E'A tree:\n  {{#data.tree}}\n  {{>node}}\n  {{/data.tree}}\n.');
-- one that is broken stops those that use it, and no others
SELECT fails($$SELECT shown('{{>broken}}')$$);
SELECT fails($$SELECT shown(E'a\n {{#x}}{{>lost}}{{/x}}')$$);
SELECT fails($$SELECT shown(E'a\n {{>nowhere}}')$$);
SELECT fails($$SELECT shown('{{>snake}}')$$);
-- a recursion over data that does not shrink ends, too
SELECT fails($$SELECT shown('{{>deep}}')$$);

--
-- Found by mailman_send(), before anything is queued
--
SELECT fails(format('UPDATE mailman.letter SET text_body = %L WHERE id = 1',
					template)) || ' ' ||
	   regexp_replace(fails('SELECT mailman_send(1)'), '^[^|]*\| ', '')
  FROM unnest(ARRAY['{{#a}}', E'{{#a}}\n{{#b}}\n{{/a}}', '{{/a}}', '{{=x=}}',
	'{{>none}}', E'text\n\n  {{>broken}}', '{{>snake}}', '{{#if x}}',
	'{{> }}', '{{$x}}', '{{#}}']) AS template;
SELECT state, mail_order->>'recipients' FROM mailman.letter WHERE id = 1;
SELECT count(*) FROM mailman.posting WHERE letter_id = 1;
UPDATE mailman.letter SET text_body = '{{#a}}' WHERE id = 1;
SELECT mailman_send(1);
:sqlstate

--
-- Strict
--
UPDATE mailman.letter SET strict = true, subject = 'Hello' WHERE id = 1;
SELECT fails(format('UPDATE mailman.letter SET text_body = %L WHERE id = 1',
					template)) || ' ' ||
	   regexp_replace(fails('SELECT mailman_preview(1, 1)'),
					  'letter 1 cannot be rendered for subscription ', '')
  FROM unnest(ARRAY['{{data.city}} {{name}}', E'a\nb\n  now: {{data.town}}',
	'{{{data.null}}}', '{{data.empty}}|{{data.no}}|{{data.zero}}',
	'{{#data.town}}{{.}}{{/data.town}}{{^data.town}}none{{/data.town}}',
	'{{#data.list}}{{.}}{{/data.list}}', '{{unsubscribe_url}}',
	'{{variables.x}}', E'a {{>foot}}']) AS template;
INSERT INTO mailman.partial VALUES (1, 'foot', E'\n{{data.town}}');
SELECT fails('SELECT mailman_preview(1, 1)');
UPDATE mailman.letter SET text_body = 'Hello', html_body = '<p>{{name}}';
SELECT fails('SELECT mailman_preview(1, 1)');
SELECT fails('SELECT mailman_preview(1, 2)');
UPDATE mailman.letter SET html_body = NULL, subject = 'For {{name}}';
SELECT fails('SELECT mailman_preview(1, 2)');
SELECT mailman_preview(1, 2);
:sqlstate
-- it can be sent: who lacks a value fails alone, when the turn is theirs
SELECT mailman_send(1);

--
-- What nobody can have is told when the letter is sent or previewed
--
INSERT INTO mailman.partial
VALUES (1, 'greeting', E'Dear {{first_name}}'), (1, 'known', '{{name}}');
\set VERBOSITY terse
CREATE FUNCTION told(strict boolean, template text) RETURNS void AS $$
DECLARE
	letter bigint;
BEGIN
	RAISE NOTICE '%', template;
	INSERT INTO mailman.letter (newsletter_id, subject, text_body, strict)
	VALUES (1, 'Names', template, strict) RETURNING id INTO letter;
	PERFORM mailman_preview(letter, 1);
	PERFORM mailman_send(letter, '{1}');
	RAISE EXCEPTION 'sent';
EXCEPTION WHEN undefined_object OR data_exception OR raise_exception THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, 'letter \d+', 'letter n');
END
$$ LANGUAGE plpgsql;
SET LOCAL client_min_messages = notice;
ALTER SEQUENCE mailman.letter_id_seq RESTART 1000;
SELECT told(false, template) FROM unnest(ARRAY[
	'{{email}} {{name}} {{data.x}} {{data}} {{variables.x.y}} {{.}}',
	'{{subscription.email}} {{subscription.data.x}} {{unsubscribe_url}}',
	'{{newsletter.ref}} {{newsletter.from_name}} {{letter.id}} {{letter.ref}}',
	'{{#data}}{{first_name}}{{/data}} {{#name}}{{first_name}}{{/name}}',
	'{{#data}}{{>greeting}}{{/data}}{{>known}}']) AS template;
\set VERBOSITY default
SELECT told(false, template) FROM unnest(ARRAY[
	E'Dear\n  {{first_name}}, {{last_name}}', '{{letter.subject}}',
	'{{subscription.city}}', '{{newsletter.name.first}}',
	'{{#promo}}{{data.x}}{{/promo}}', 'é {{^promo}}{{&city}}{{/promo}}',
	'{{>known}} {{>greeting}}{{>greeting}}']) AS template;
-- what is strict cannot be sent then; but with a section of nothing
\set VERBOSITY terse
SELECT told(true, template) FROM unnest(ARRAY['{{first_name}}',
	'{{#promo}}{{city}}{{/promo}}', '{{>greeting}}',
	'{{^data.gone}}{{city}}{{/data.gone}}']) AS template;
\set VERBOSITY default
RESET client_min_messages;
INSERT INTO mailman.letter (newsletter_id, subject, html_body, headers, strict)
VALUES (1, '{{subjekt}}', '<p>{{boddy}}', '{"X-City": "{{city}}"}', false),
	(1, 'Names', '<p>{{boddy}}', '{}', true);
SELECT subject, error FROM mailman_preview_all(currval('mailman.letter_id_seq') - 1)
 LIMIT 1;
SELECT mailman_send(currval('mailman.letter_id_seq'), '{1}');
:sqlstate

--
-- Whose partials
--
GRANT USAGE ON SCHEMA mailman TO regress_mailman_app, regress_mailman_guest;
GRANT SELECT, INSERT, UPDATE, DELETE ON mailman.partial
   TO regress_mailman_app, regress_mailman_guest;
INSERT INTO mailman.newsletter (owner, name, from_address)
VALUES ('regress_mailman_guest', 'Guest', 'guest@example.com');
SET ROLE regress_mailman_app;
INSERT INTO mailman.partial VALUES (1, 'mine', 'x'), (2, 'mine', 'y');
UPDATE mailman.partial SET template = 'z' WHERE name = 'mine';
INSERT INTO mailman.partial VALUES (3, 'theirs', 'x');
:sqlstate
UPDATE mailman.partial SET newsletter_id = 3
 WHERE newsletter_id = 2 AND name = 'mine';
:sqlstate
INSERT INTO mailman.partial VALUES (4, 'nobody''s', 'x');
:sqlstate
DELETE FROM mailman.partial WHERE name = 'mine';
SET ROLE regress_mailman_guest;
INSERT INTO mailman.partial VALUES (3, 'mine', 'x');
UPDATE mailman.partial SET template = 'z' WHERE name = 'footer';
:sqlstate
DELETE FROM mailman.partial WHERE newsletter_id = 1;
:sqlstate
UPDATE mailman.partial SET newsletter_id = 3 WHERE name = 'footer';
:sqlstate
WITH new AS (INSERT INTO mailman.partial VALUES (1, 'x', 'x') RETURNING 1)
SELECT count(*) FROM new;
:sqlstate
DELETE FROM mailman.partial WHERE newsletter_id = 3;
RESET ROLE;
SELECT newsletter_id, name, template FROM mailman.partial
 WHERE name IN ('mine', 'theirs', 'x') OR newsletter_id = 3;
DELETE FROM mailman.newsletter WHERE id = 3;
ROLLBACK;
