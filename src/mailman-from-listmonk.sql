-- mailman-from-listmonk.sql
--	Takes lists, subscribers, templates and unsent campaigns of listmonk over.
--
--	psql -d listmonk -v schema=public -v relays='{ses}' \
--		-v from='Garden <garden@example.com>' \
--		-v unsubscribe_url='https://example.com/u/{{token}}' \
--		-f "$(pg_config --sharedir)/extension/mailman-from-listmonk.sql"
--
-- It runs in a database that has extension mailman, and listmonk's tables in a
-- schema: simplest in listmonk's own, else as foreign tables or a restored dump.
-- It reads them and changes nothing there, and runs no code of their owner's.  By
-- whom: a role that may read them and has mailman_grant(role, 'send'); the
-- newsletters are its own.
--
--	schema			where listmonk's tables are; default public
--	from			who sends; default listmonk's setting app.from_email
--	relays			newsletter.relays; default none
--	unsubscribe_url	newsletter.unsubscribe_url, of a page from which a POST leaves;
--					default none
--
-- One transaction: all of it or nothing.  It may run again, until the day of the
-- move: it adds who is new, takes back whoever has left listmonk since, and lets in
-- whoever has confirmed; what else was changed on this side stays.  At its end it
-- prints what it took, and what a person has to look at; the temporary table
-- migration_report keeps that for the session.
--
--	listmonk					mailman
--	list						newsletter (ref listmonk-list-UUID)
--	subscriber in a list		subscription (ref: its UUID; attribs are data,
--								with first_name and last_name if not there)
--	  confirmed					  active
--	  unconfirmed				  active; of a list with double opt-in: pending
--	  unsubscribed				  unsubscribed
--	  blocklisted				  bounced or complained if table bounces says so,
--								  else unsubscribed
--	  disabled					  pending instead of active
--	template					two partials, what is before and after its
--								content: {{>listmonk-1-head}}, {{>listmonk-1-foot}}
--	campaign, draft or scheduled	letter, a draft, for each of its lists
--
-- Go templates become Mustache where that is the same in other words; what is
-- not stays as it is and is reported, and mailman_send() refuses it until it is
-- mended.  Tracking of links and views is taken out.  Not taken: campaigns that
-- were begun or are over, opt-in campaigns, media, views, clicks, transactional
-- templates, users.
--
-- Copyright (c) 2026, the mailman authors

\set ON_ERROR_STOP on
\if :{?schema}
\else
\set schema public
\endif

BEGIN;
SET LOCAL client_min_messages = warning;
-- no function or operator but PostgreSQL's, whatever is in listmonk's schema
SET LOCAL search_path = pg_catalog, pg_temp;

-- ---- what it reads: the columns it needs, in types of no version of listmonk
-- and of nobody else

CREATE TEMP VIEW listmonk_list AS
SELECT id::bigint, uuid::text, name::text, optin::text FROM :"schema".lists;
CREATE TEMP VIEW listmonk_subscriber AS
SELECT id::bigint, uuid::text, email::text, name::text, attribs::jsonb,
	   status::text
  FROM :"schema".subscribers;
CREATE TEMP VIEW listmonk_member AS
SELECT subscriber_id::bigint, list_id::bigint, status::text
  FROM :"schema".subscriber_lists;
CREATE TEMP VIEW listmonk_template AS
SELECT id::bigint, name::text, body::text, type::text FROM :"schema".templates;
CREATE TEMP VIEW listmonk_campaign AS
SELECT id::bigint, uuid::text, name::text, subject::text, from_email::text,
	   body::text, altbody::text, content_type::text, send_at::timestamptz,
	   headers::jsonb, status::text, type::text, messenger::text,
	   template_id::bigint
  FROM :"schema".campaigns;
CREATE TEMP VIEW listmonk_campaign_list AS
SELECT campaign_id::bigint, list_id::bigint FROM :"schema".campaign_lists;

SELECT pg_catalog.to_regclass(pg_catalog.format('%I.bounces', :'schema'))
	   IS NOT NULL AS has_bounces \gset
\if :has_bounces
CREATE TEMP VIEW listmonk_bounce AS
SELECT subscriber_id::bigint, type::text FROM :"schema".bounces;
\else
CREATE TEMP VIEW listmonk_bounce AS
SELECT NULL::bigint AS subscriber_id, NULL::text AS type WHERE false;
\endif

\if :{?from}
\else
CREATE TEMP VIEW listmonk_setting AS
SELECT key::text, value::jsonb FROM :"schema".settings;
\endif

-- To read a table runs nobody's code; a view, a policy of row security or a cast
-- of somebody's would run with the rights of the one who runs this.  Those
-- views are made and not read yet, and the tables they name are locked.
DO $$
DECLARE
	fault record;
BEGIN
	SELECT pg_describe_object(d.refclassid, d.refobjid, 0) AS object, o.rolname
	  INTO fault
	  FROM pg_class v
	  JOIN pg_rewrite r ON r.ev_class = v.oid
	  JOIN pg_depend d
		ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
	  LEFT JOIN pg_class c
		ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
	   AND c.oid <> v.oid
	  LEFT JOIN pg_proc p
		ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
	  JOIN pg_roles o ON o.oid = coalesce(c.relowner, p.proowner)
	 WHERE v.relnamespace = pg_my_temp_schema()
	   AND v.relname ~ '^listmonk_'
	   AND (p.oid IS NOT NULL OR c.relkind = 'v' OR row_security_active(c.oid))
	   AND NOT o.rolsuper AND o.rolname <> current_user
	 ORDER BY 1 LIMIT 1;
	IF FOUND THEN
		RAISE insufficient_privilege
			USING MESSAGE = format('%s would run code of role "%s"',
								   fault.object, fault.rolname),
				  DETAIL = 'It would run with your rights.',
				  HINT = 'Read tables without row security, in types that are built in, or let that role run this script.';
	END IF;
END
$$;

\if :{?from}
\else
SELECT value #>> '{}' AS "from" FROM listmonk_setting
 WHERE key = 'app.from_email' \gset
DROP VIEW listmonk_setting;
\endif
\if :{?relays}
\else
\set relays '{}'
\endif
\if :{?unsubscribe_url}
\else
\set unsubscribe_url ''
\endif

SELECT quote_ident(n.nspname) AS functions
  FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = 'mailman' \gset

CREATE TEMP TABLE IF NOT EXISTS migration_report (
	what text, name text, remark text);
TRUNCATE migration_report;

-- ---- texts

-- a line of a header has no control characters, and a name nothing that turns
-- the direction of writing
CREATE FUNCTION pg_temp.line(value text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT nullif(btrim(regexp_replace(value, '[\x01-\x1f\x7f\u202a-\u202e\u2066-\u2069]+', ' ', 'g')),
				  '')
$$;

-- Go's text/template as Mustache, of what is the same in other words
CREATE FUNCTION pg_temp.to_mustache(template text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	path constant text := '([A-Za-z_][A-Za-z0-9_]*(?:[.][A-Za-z_][A-Za-z0-9_]*)*)';
	rule text[];
BEGIN
	FOREACH rule SLICE 1 IN ARRAY ARRAY[
		-- {{- and -}} take the space around them along
		['\s*\{\{-\s+', '{{ '],
		['\s+-\}\}\s*', ' }}'],
		['\{\{\s*[.]Subscriber[.]Email\s*\}\}', '{{email}}'],
		['\{\{\s*[.]Subscriber[.]Name\s*\}\}', '{{name}}'],
		['\{\{\s*[.]Subscriber[.]FirstName\s*\}\}', '{{data.first_name}}'],
		['\{\{\s*[.]Subscriber[.]LastName\s*\}\}', '{{data.last_name}}'],
		['\{\{\s*[.]Subscriber[.]Attribs[.]' || path || '\s*\}\}',
		 '{{data.\1}}'],
		['\{\{\s*index\s+[.]Subscriber[.]Attribs\s+"' || path || '"\s*\}\}',
		 '{{data.\1}}'],
		['\{\{\s*Safe\s+[.]Subscriber[.]Attribs[.]' || path || '\s*\}\}',
		 '{{{data.\1}}}'],
		['\{\{\s*UnsubscribeURL\s*[.]?\s*\}\}', '{{unsubscribe_url}}'],
		['\{\{\s*TrackView\s*[.]?\s*\}\}', ''],
		['\{\{\s*TrackLink\s+"([^"{}]+)"\s*[.]?\s*\}\}', '\1'],
		['(https?://[^\s"<>@{}]+)@TrackLink', '\1'],
		['\{\{\s*/[*](?:[^*]|[*]+[^*/])*[*]+/\s*\}\}', '']]
	LOOP
		template := regexp_replace(template, rule[1], rule[2], 'g');
	END LOOP;
	RETURN template;
END
$$;

-- tags in it that are not what to_mustache() writes
CREATE FUNCTION pg_temp.left_over(template text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $$
	SELECT DISTINCT m[1] FROM regexp_matches(template, '(\{\{.*?\}\}+)', 'g') m
	 WHERE m[1] !~ ('^\{\{\{?(email|name|unsubscribe_url|data[.][A-Za-z0-9_.]+'
					'|>listmonk-[0-9]+-(head|foot))\}?\}\}$')
	 ORDER BY 1
$$;

-- a header field that a letter may have; else why not
CREATE FUNCTION pg_temp.header_fault(name text, value text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mailman.check_headers(jsonb_build_object(name, value));
	RETURN NULL;
EXCEPTION WHEN check_violation THEN
	RETURN SQLERRM;
END
$$;

-- "Name <address>" or an address: (name, address)
CREATE FUNCTION pg_temp.mailbox(value text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN value ~ '<[^<>]+>\s*$'
		   THEN ARRAY[nullif(btrim(regexp_replace(value, '\s*<[^<>]+>\s*$', ''),
								   ' "'), ''),
					  substring(value, '<([^<>]+)>\s*$')]
		   ELSE ARRAY[NULL, btrim(value)] END
$$;

-- as listmonk finds them: chunks of more than two bytes
CREATE FUNCTION pg_temp.names(name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object(
			'first_name', coalesce((array_agg(c ORDER BY i))[1], name),
			'last_name', coalesce((array_agg(c ORDER BY i DESC))[1], name))
	  FROM string_to_table(name, ' ') WITH ORDINALITY AS t(c, i)
	 WHERE octet_length(c) > 2
$$;

-- ---- lists: newsletters

INSERT INTO mailman.newsletter (ref, name, from_name, from_address, relays,
								unsubscribe_url, list_id)
SELECT 'listmonk-list-' || uuid, coalesce(pg_temp.line(name), 'List ' || id),
	   (pg_temp.mailbox(:'from'))[1], (pg_temp.mailbox(:'from'))[2],
	   :'relays'::text[], nullif(:'unsubscribe_url', ''), NULL
  FROM listmonk_list
 WHERE NOT EXISTS (SELECT FROM mailman.newsletter n
					WHERE n.ref = 'listmonk-list-' || uuid)
 ORDER BY id;

CREATE TEMP VIEW migrated_list AS
SELECT l.id, l.name, l.optin, n.id AS newsletter_id, n.from_name, n.from_address
  FROM listmonk_list l
  JOIN mailman.newsletter n ON n.ref = 'listmonk-list-' || l.uuid;

-- ---- subscribers: subscriptions

CREATE TEMP VIEW migrated_member AS
SELECT l.newsletter_id, s.uuid AS ref, s.email, pg_temp.line(s.name) AS name,
	   coalesce(pg_temp.names(s.name), '{}')
	   || CASE WHEN jsonb_typeof(s.attribs) = 'object' THEN s.attribs
		  ELSE '{}' END AS data,
	   CASE WHEN s.status = 'blocklisted'
			THEN coalesce((SELECT CASE max(CASE b.type WHEN 'complaint' THEN 2
											   WHEN 'hard' THEN 1 END)
								  WHEN 2 THEN 'complained'
								  WHEN 1 THEN 'bounced' END
							 FROM listmonk_bounce b
							WHERE b.subscriber_id = s.id), 'unsubscribed')
			WHEN m.status = 'unsubscribed' THEN 'unsubscribed'
			WHEN s.status <> 'enabled' THEN 'pending'
			WHEN m.status = 'confirmed' OR l.optin <> 'double' THEN 'active'
			ELSE 'pending' END AS state,
	   s.status
  FROM listmonk_member m
  JOIN listmonk_subscriber s ON s.id = m.subscriber_id
  JOIN migrated_list l ON l.id = m.list_id;

INSERT INTO mailman.subscription (newsletter_id, ref, email, name, data, state)
SELECT newsletter_id, ref, email, name, data, state FROM migrated_member
 WHERE :functions.mailman_is_address(email)
 ORDER BY newsletter_id, ref
    ON CONFLICT DO NOTHING;

-- who has left since the last time; nobody comes back that way
UPDATE mailman.subscription s SET state = m.state
  FROM migrated_member m
 WHERE s.newsletter_id = m.newsletter_id AND s.ref = m.ref
   AND s.state IN ('active', 'pending')
   AND m.state NOT IN ('active', 'pending');
-- and who has confirmed since
UPDATE mailman.subscription s SET state = 'active'
  FROM migrated_member m
 WHERE s.newsletter_id = m.newsletter_id AND s.ref = m.ref
   AND s.state = 'pending' AND m.state = 'active';

INSERT INTO migration_report
SELECT 'subscriber', m.ref, 'not taken: not an address mail can go to'
  FROM migrated_member m WHERE NOT :functions.mailman_is_address(m.email)
 GROUP BY m.ref
UNION ALL
SELECT 'subscriber', m.ref, 'not taken: another subscription of the newsletter has its address'
  FROM migrated_member m
 WHERE :functions.mailman_is_address(m.email)
   AND NOT EXISTS (SELECT FROM mailman.subscription s
					WHERE s.newsletter_id = m.newsletter_id AND s.ref = m.ref)
 GROUP BY m.ref
UNION ALL
SELECT 'subscriber', m.ref, 'disabled: pending, gets no mail'
  FROM migrated_member m WHERE m.status = 'disabled' AND m.state = 'pending'
 GROUP BY m.ref
UNION ALL
SELECT 'subscriber', s.uuid, 'not taken: in no list'
  FROM listmonk_subscriber s
 WHERE NOT EXISTS (SELECT FROM listmonk_member m WHERE m.subscriber_id = s.id);

-- ---- templates: partials

CREATE TEMP VIEW migrated_template AS
SELECT id, name, pg_temp.to_mustache(parts[1]) AS head,
	   pg_temp.to_mustache(coalesce(parts[2], '')) AS foot,
	   cardinality(parts) AS parts
  FROM (SELECT id, name,
			   regexp_split_to_array(body,
					'\{\{-?\s*template\s+"content"\s+[.]\s*-?\}\}') AS parts
		  FROM listmonk_template WHERE type = 'campaign') t;

INSERT INTO mailman.partial (newsletter_id, name, template)
SELECT l.newsletter_id, 'listmonk-' || t.id || '-' || p.name, p.template
  FROM migrated_list l, migrated_template t,
	   LATERAL (VALUES ('head', t.head), ('foot', t.foot)) AS p(name, template)
    ON CONFLICT DO NOTHING;

INSERT INTO migration_report
SELECT 'template', t.name, 'not converted: ' || g
  FROM migrated_template t, pg_temp.left_over(t.head || t.foot) g
UNION ALL
SELECT 'template', name, 'its content does not stand in it once'
  FROM migrated_template WHERE parts <> 2
UNION ALL
SELECT 'template', name, 'not taken: it is a ' || type
  FROM listmonk_template WHERE type <> 'campaign';

-- ---- campaigns: letters

CREATE TEMP VIEW migrated_campaign AS
SELECT c.id, c.name, c.from_email, c.content_type, c.send_at, c.status,
	   'listmonk-campaign-' || c.uuid AS ref,
	   pg_temp.to_mustache(coalesce(pg_temp.line(c.subject), c.name)) AS subject,
	   CASE WHEN t.id IS NULL THEN pg_temp.to_mustache(c.body)
			ELSE pg_catalog.format('{{>listmonk-%s-head}}%s{{>listmonk-%1$s-foot}}',
								   t.id, pg_temp.to_mustache(c.body)) END AS body,
	   pg_temp.to_mustache(nullif(c.altbody, '')) AS altbody, h.headers
  FROM listmonk_campaign c
  LEFT JOIN migrated_template t
	ON t.id = c.template_id AND c.content_type <> 'visual'
  CROSS JOIN LATERAL (
	SELECT coalesce(jsonb_object_agg(f.key, pg_temp.to_mustache(f.value))
					FILTER (WHERE pg_temp.header_fault(f.key, f.value) IS NULL),
					'{}') AS headers
	  FROM jsonb_array_elements(c.headers) e, jsonb_each_text(e) f) h
 WHERE c.status IN ('draft', 'scheduled') AND c.type = 'regular'
   AND c.messenger LIKE 'email%';

INSERT INTO mailman.letter (newsletter_id, ref, subject, text_body, html_body,
							headers, send_at)
SELECT l.newsletter_id, c.ref || '-' || l.id, c.subject,
	   CASE WHEN c.content_type = 'plain' THEN c.body ELSE c.altbody END,
	   CASE WHEN c.content_type <> 'plain' THEN c.body END,
	   c.headers, c.send_at
  FROM migrated_campaign c
  JOIN listmonk_campaign_list cl ON cl.campaign_id = c.id
  JOIN migrated_list l ON l.id = cl.list_id
 ORDER BY c.id, l.id
    ON CONFLICT (newsletter_id, ref) DO NOTHING;

INSERT INTO migration_report
SELECT 'campaign', c.name, 'not converted: ' || g
  FROM migrated_campaign c,
	   pg_temp.left_over(pg_catalog.concat_ws(' ', c.subject, c.body, c.altbody,
											  c.headers::text)) g
UNION ALL
SELECT 'campaign', c.name, 'markdown: html_body is to be made of it'
  FROM migrated_campaign c WHERE c.content_type = 'markdown'
UNION ALL
SELECT 'campaign', c.name, 'was scheduled: mailman_send() the letter, it leaves at its send_at'
  FROM migrated_campaign c WHERE c.status = 'scheduled'
UNION ALL
SELECT 'campaign', c.name, pg_catalog.format('a letter for each of its %s lists: who is in several gets several', count(*))
  FROM migrated_campaign c
  JOIN listmonk_campaign_list cl ON cl.campaign_id = c.id
  JOIN migrated_list l ON l.id = cl.list_id
 GROUP BY c.id, c.name HAVING count(*) > 1
UNION ALL
SELECT 'campaign', c.name, 'not taken: it has no list'
  FROM migrated_campaign c
 WHERE NOT EXISTS (SELECT FROM listmonk_campaign_list cl
					 JOIN migrated_list l ON l.id = cl.list_id
					WHERE cl.campaign_id = c.id)
UNION ALL
SELECT DISTINCT 'campaign', c.name, pg_catalog.format('it was to come from %s, its newsletter from %s', c.from_email, l.from_address)
  FROM migrated_campaign c
  JOIN listmonk_campaign_list cl ON cl.campaign_id = c.id
  JOIN migrated_list l ON l.id = cl.list_id
 WHERE lower((pg_temp.mailbox(c.from_email))[2]) <> lower(l.from_address)
UNION ALL
SELECT 'campaign', c.name, pg_catalog.format('header field %s left out: %s', f.key, pg_temp.header_fault(f.key, f.value))
  FROM listmonk_campaign c
  JOIN migrated_campaign m ON m.id = c.id,
	   jsonb_array_elements(c.headers) e, jsonb_each_text(e) f
 WHERE pg_temp.header_fault(f.key, f.value) IS NOT NULL
UNION ALL
SELECT 'campaign', c.name, pg_catalog.format('not taken: %s',
		CASE WHEN c.status NOT IN ('draft', 'scheduled') THEN 'it is ' || c.status
			 WHEN c.type <> 'regular' THEN 'it asks for opt-in'
			 ELSE 'it does not go by mail' END)
  FROM listmonk_campaign c
 WHERE c.status NOT IN ('draft', 'scheduled', 'finished', 'cancelled')
	OR c.status IN ('draft', 'scheduled')
   AND (c.type <> 'regular' OR c.messenger NOT LIKE 'email%');

-- ---- what came of it

SELECT n.id AS newsletter_id, n.name,
	   count(s.id) FILTER (WHERE s.state = 'active') AS active,
	   count(s.id) FILTER (WHERE s.state = 'pending') AS pending,
	   count(s.id) FILTER (WHERE s.state NOT IN ('active', 'pending')) AS left,
	   (SELECT count(*) FROM mailman.letter l WHERE l.newsletter_id = n.id)
	   AS letters
  FROM migrated_list m
  JOIN mailman.newsletter n ON n.id = m.newsletter_id
  LEFT JOIN mailman.subscription s ON s.newsletter_id = n.id
 GROUP BY n.id ORDER BY n.id;
SELECT what, name, remark FROM migration_report ORDER BY what, name, remark;

DROP VIEW migrated_campaign, migrated_template, migrated_member, migrated_list,
	listmonk_bounce, listmonk_campaign_list, listmonk_campaign,
	listmonk_template, listmonk_member, listmonk_subscriber, listmonk_list;
DROP FUNCTION pg_temp.line(text), pg_temp.to_mustache(text),
	pg_temp.left_over(text), pg_temp.header_fault(text, text),
	pg_temp.mailbox(text), pg_temp.names(text);
COMMIT;
