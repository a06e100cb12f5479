-- The schema: tables, columns and their types, keys and foreign keys,
-- constraints, and what keeps the updates of a delivery HOT.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
SET search_path = public, pg_temp;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT plan(514);

SELECT has_schema('mailman');
SELECT tables_are('mailman', ARRAY['newsletter', 'subscription', 'letter',
	'attachment', 'partial', 'delivery', 'newsletter_email', 'posting',
	'test', 'secret', 'forgotten', 'dkim_key', 'origin', 'relay_state',
	'domain_limit', 'domain_state', 'event']);
SELECT views_are('mailman', ARRAY['relay_status', 'work', 'line', 'progress',
	'worker', 'recipient', 'failure_summary']);
SELECT has_extension('mailman');

-- columns, in the order they were made
CREATE TEMP TABLE wanted (n serial, tab name, col name, type text, nulls boolean);
COPY wanted (tab, col, type, nulls) FROM stdin (DELIMITER '|');
newsletter|id|bigint|f
newsletter|ref|text|t
newsletter|owner|name|f
newsletter|owner_oid|oid|t
newsletter|name|text|f
newsletter|from_name|text|t
newsletter|from_address|text|f
newsletter|reply_to|text|t
newsletter|relays|text[]|f
newsletter|policy|text|t
newsletter|list_id|text|t
newsletter|unsubscribe_url|text|t
newsletter|unsubscribe_mailto|text|t
newsletter|bounce_address|text|t
newsletter|feedback_id|text|t
newsletter|precedence|text|t
newsletter|dkim_domain|text|t
newsletter|dkim_selector|text|t
newsletter|max_attempts|integer|f
newsletter|max_age|interval|f
newsletter|retry_schedule|text|t
newsletter|max_message_size|integer|t
newsletter|created_at|timestamp with time zone|f
subscription|id|bigint|f
subscription|newsletter_id|bigint|f
subscription|ref|text|t
subscription|email|text|f
subscription|name|text|t
subscription|data|jsonb|f
subscription|state|text|f
subscription|forgotten_at|timestamp with time zone|t
subscription|created_at|timestamp with time zone|f
letter|id|bigint|f
letter|newsletter_id|bigint|f
letter|ref|text|t
letter|subject|text|f
letter|text_body|text|t
letter|html_body|text|t
letter|headers|jsonb|f
letter|state|text|f
letter|state_reason|text|t
letter|state_at|timestamp with time zone|t
letter|send_at|timestamp with time zone|t
letter|on_doubt|text|f
letter|strict|boolean|f
letter|revision|integer|f
letter|sender|name|t
letter|sender_oid|oid|t
letter|whole|boolean|f
letter|cancelling|boolean|f
letter|line_at|timestamp with time zone|t
letter|run|integer|f
letter|run_at|timestamp with time zone|t
letter|failed_runs|integer|f
letter|last_error|text|t
letter|resumed_at|timestamp with time zone|t
letter|doubts|bigint|f
letter|rate|real|t
letter|rate_at|timestamp with time zone|t
letter|mail_order|jsonb|f
letter|purged_at|timestamp with time zone|t
letter|created_at|timestamp with time zone|f
attachment|id|bigint|f
attachment|letter_id|bigint|f
attachment|name|text|f
attachment|content_type|text|f
attachment|content|bytea|f
attachment|content_id|text|t
partial|newsletter_id|bigint|f
partial|name|text|f
partial|template|text|f
delivery|letter_id|bigint|f
delivery|subscription_id|bigint|f
delivery|queued_at|timestamp with time zone|f
delivery|due_at|timestamp with time zone|t
delivery|attempts|integer|f
delivery|code|smallint|t
delivery|doubts|smallint|f
delivery|state|text|f
delivery|enhanced|text|t
delivery|reply|text|t
delivery|reason|text|t
delivery|variables|jsonb|t
newsletter_email|id|bigint|f
newsletter_email|letter_id|bigint|f
newsletter_email|subscription_id|bigint|f
newsletter_email|sent_at|timestamp with time zone|f
newsletter_email|bytes|integer|f
newsletter_email|revision|integer|f
newsletter_email|attempts|integer|f
newsletter_email|code|smallint|f
newsletter_email|duration|interval|f
newsletter_email|address|text|f
newsletter_email|message_id|text|f
newsletter_email|relay|text|f
newsletter_email|reply|text|t
posting|id|bigint|f
posting|letter_id|bigint|f
posting|low|bigint|f
posting|high|bigint|f
posting|recipients|bigint|f
posting|skipped|bigint|f
posting|failed|bigint|f
posting|doubtful|bigint|f
posting|folded|boolean|f
posting|created_at|timestamp with time zone|f
test|id|bigint|f
test|letter_id|bigint|f
test|subscription_id|bigint|t
test|address|text|f
test|requested_by|name|f
test|requested_at|timestamp with time zone|f
test|state|text|f
test|code|smallint|t
test|enhanced|text|t
test|reply|text|t
test|reason|text|t
test|relay|text|t
test|message_id|text|t
test|sent_at|timestamp with time zone|t
test|variables|jsonb|t
secret|newsletter_id|bigint|f
secret|key|bytea|f
secret|wrapped_by|text|t
secret|generation|integer|f
secret|expires_at|timestamp with time zone|t
secret|created_at|timestamp with time zone|f
forgotten|newsletter_id|bigint|f
forgotten|hash|bytea|f
forgotten|state|text|f
forgotten|created_at|timestamp with time zone|f
dkim_key|newsletter_id|bigint|f
dkim_key|selector|text|f
dkim_key|key|bytea|f
dkim_key|wrapped_by|text|t
relay_state|server|oid|f
relay_state|failures|integer|f
relay_state|failed_at|timestamp with time zone|t
relay_state|retry_at|timestamp with time zone|t
relay_state|error|text|t
relay_state|out_key|bigint|t
relay_state|out_mapping|oid|t
relay_state|out_until|timestamp with time zone|t
relay_state|out_tries|integer|f
relay_state|arrival|timestamp with time zone|t
relay_state|slow_rate|double precision|t
relay_state|slow_from|double precision|t
relay_state|slowed_at|timestamp with time zone|t
relay_state|counted_at|timestamp with time zone|t
relay_state|sent|bigint|f
relay_state|rejected|bigint|f
relay_state|sent_before|bigint|f
relay_state|rejected_before|bigint|f
domain_limit|id|integer|f
domain_limit|pattern|text|f
domain_limit|rate|text|t
domain_limit|connections|integer|t
domain_state|id|integer|f
domain_state|arrival|timestamp with time zone|t
event|id|bigint|f
event|at|timestamp with time zone|f
event|kind|text|f
event|letter_id|bigint|t
event|newsletter_id|bigint|t
event|actor|jsonb|t
event|notified|boolean|f
event|detail|jsonb|f
origin|id|bigint|f
origin|system_identifier|bigint|f
origin|database|oid|f
origin|armed_at|timestamp with time zone|f
\.
SELECT columns_are('mailman', tab, array_agg(col ORDER BY n),
				   'columns of ' || tab)
  FROM wanted GROUP BY tab ORDER BY min(n);
SELECT col_type_is('mailman', tab, col, type,
				   format('%s.%s is %s', tab, col, type))
  FROM wanted ORDER BY n;
SELECT CASE WHEN nulls
	   THEN col_is_null('mailman', tab, col, format('%s.%s may be null', tab, col))
	   ELSE col_not_null('mailman', tab, col,
						 format('%s.%s must not be null', tab, col)) END
  FROM wanted ORDER BY n;

-- friendly to object mappers: identity columns that let an id be given, no
-- enums, no domains, no column called "attributes"
SELECT set_eq($$
	SELECT table_name::text FROM information_schema.columns
	 WHERE table_schema = 'mailman' AND is_identity = 'YES'
	   AND identity_generation = 'BY DEFAULT' AND column_name = 'id'$$,
	ARRAY['newsletter', 'subscription', 'letter', 'attachment',
		  'newsletter_email', 'posting', 'test', 'origin', 'domain_limit',
		  'event'],
	'ids are generated by default');
SELECT is_empty($$
	SELECT attrelid::regclass, attname FROM pg_attribute a
	  JOIN pg_type t ON t.oid = a.atttypid
	  JOIN pg_class c ON c.oid = a.attrelid
	 WHERE c.relnamespace = 'mailman'::regnamespace AND c.relkind = 'r'
	   AND attnum > 0 AND (t.typtype IN ('e', 'd') OR attname = 'attributes')$$,
	'no enums, no domains, no column "attributes"');
-- functions are named as tools find them
SELECT is_empty($$
	SELECT proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	 WHERE d.classid = 'pg_proc'::regclass
	   AND d.refclassid = 'pg_extension'::regclass
	   AND d.refobjid = (SELECT oid FROM pg_extension
						  WHERE extname = 'mailman')
	   AND p.pronamespace <> 'mailman'::regnamespace
	   AND proname NOT LIKE 'mailman\_%'$$,
	'functions outside of schema mailman are called mailman_*');

-- keys
SELECT col_is_pk('mailman', tab, cols, 'primary key of ' || tab)
  FROM (VALUES ('newsletter'::name, '{id}'::name[]), ('subscription', '{id}'),
	('letter', '{id}'), ('attachment', '{id}'),
	('partial', '{newsletter_id,name}'),
	('delivery', '{letter_id,subscription_id}'),
	('newsletter_email', '{id}'), ('posting', '{id}'),
	('secret', '{newsletter_id,generation}'), ('forgotten', '{newsletter_id,hash}'),
	('dkim_key', '{newsletter_id,selector}'),
	('relay_state', '{server}'),
	('domain_limit', '{pattern}'), ('domain_state', '{id}'),
	('event', '{id}')) v(tab, cols);
SELECT col_is_unique('mailman', tab, cols,
					 format('%s is unique in %s', cols, tab))
  FROM (VALUES ('newsletter'::name, '{owner_oid,ref}'::name[]),
	('letter', '{newsletter_id,ref}'),
	('subscription', '{newsletter_id,ref}'),
	('attachment', '{letter_id,content_id}'), ('domain_limit', '{id}'),
	('newsletter_email', '{letter_id,subscription_id}')) v(tab, cols);
SELECT index_is_unique('mailman', 'subscription',
					   'subscription_newsletter_id_email_key');
SELECT has_index('mailman', 'subscription',
				 'subscription_newsletter_id_email_key',
				 ARRAY['newsletter_id', 'lower(email)'],
				 'an address is unique in its newsletter, whatever its case');

-- foreign keys, and what happens when the other side goes
SELECT fk_ok('mailman', tab, cols, 'mailman', other, other_cols,
			 format('%s refers to %s', tab, other))
  FROM (VALUES
	('subscription'::name, '{newsletter_id}'::name[], 'newsletter'::name,
	 '{id}'::name[]),
	('letter', '{newsletter_id}', 'newsletter', '{id}'),
	('attachment', '{letter_id}', 'letter', '{id}'),
	('partial', '{newsletter_id}', 'newsletter', '{id}'),
	('delivery', '{letter_id}', 'letter', '{id}'),
	('delivery', '{subscription_id}', 'subscription', '{id}'),
	('newsletter_email', '{letter_id,subscription_id}', 'delivery',
	 '{letter_id,subscription_id}'),
	('posting', '{letter_id}', 'letter', '{id}'),
	('secret', '{newsletter_id}', 'newsletter', '{id}'),
	('forgotten', '{newsletter_id}', 'newsletter', '{id}'),
	('dkim_key', '{newsletter_id}', 'newsletter', '{id}'))
	v(tab, cols, other, other_cols);
SELECT bag_eq($$
	SELECT conrelid::regclass::text, confrelid::regclass::text,
		   confdeltype::text, confupdtype::text
	  FROM pg_constraint
	 WHERE contype = 'f' AND connamespace = 'mailman'::regnamespace$$,
	$$VALUES ('mailman.attachment', 'mailman.letter', 'c', 'a'),
	('mailman.delivery', 'mailman.letter', 'r', 'a'),
	('mailman.delivery', 'mailman.subscription', 'r', 'a'),
	('mailman.dkim_key', 'mailman.newsletter', 'c', 'a'),
	('mailman.forgotten', 'mailman.newsletter', 'c', 'a'),
	('mailman.letter', 'mailman.newsletter', 'r', 'a'),
	('mailman.newsletter_email', 'mailman.delivery', 'r', 'a'),
	('mailman.partial', 'mailman.newsletter', 'c', 'a'),
	('mailman.posting', 'mailman.letter', 'r', 'a'),
	('mailman.secret', 'mailman.newsletter', 'c', 'a'),
	('mailman.subscription', 'mailman.newsletter', 'r', 'a'),
	('mailman.test', 'mailman.letter', 'c', 'a')$$,
	'records are not deleted with what they refer to');
-- every foreign key finds an index on its own side
SELECT is_empty($$
	SELECT conrelid::regclass, conname FROM pg_constraint k
	 WHERE contype = 'f' AND connamespace = 'mailman'::regnamespace
	   AND NOT EXISTS (SELECT FROM pg_index i
						WHERE i.indrelid = k.conrelid
						  AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1]
							  @> k.conkey AND i.indpred IS NULL)$$,
	'every foreign key has an index');

-- states are text with a CHECK
SELECT col_has_check('mailman', tab, col, format('%s.%s is checked', tab, col))
  FROM (VALUES ('newsletter'::name, 'name'::name), ('newsletter', 'from_name'),
	('newsletter', 'from_address'), ('newsletter', 'reply_to'),
	('newsletter', 'relays'), ('newsletter', 'list_id'),
	('newsletter', 'unsubscribe_url'), ('newsletter', 'unsubscribe_mailto'),
	('newsletter', 'bounce_address'), ('newsletter', 'max_attempts'),
	('newsletter', 'max_age'), ('newsletter', 'retry_schedule'),
	('newsletter', 'max_message_size'),
	('newsletter', 'feedback_id'), ('newsletter', 'precedence'),
	('newsletter', 'dkim_domain'), ('newsletter', 'dkim_selector'),
	('subscription', 'email'), ('subscription', 'name'), ('subscription', 'data'),
	('subscription', 'state'), ('letter', 'subject'), ('letter', 'headers'),
	('letter', 'state'), ('letter', 'on_doubt'), ('delivery', 'state'),
	('attachment', 'name'), ('attachment', 'content_type'),
	('attachment', 'content_id'), ('partial', 'name'), ('secret', 'key'),
	('secret', 'generation'), ('dkim_key', 'selector'),
	('domain_limit', 'pattern'), ('domain_limit', 'rate'),
	('domain_limit', 'connections'))
	v(tab, col);
SELECT is(
	(SELECT array_agg(m[1] ORDER BY m[1]) FROM pg_constraint,
	 regexp_matches(pg_get_constraintdef(oid), '''(\w+)''', 'g') m
	 WHERE conname = con), states, con || ' knows the states of the design')
  FROM (VALUES
	('subscription_state_check',
	 '{active,bounced,complained,pending,unsubscribed}'::text[]),
	('letter_state_check', '{cancelled,draft,paused,scheduled,sending,sent}'),
	('delivery_state_check',
	 '{deferred,delivered,doubtful,failed,pending,sending,skipped}'),
	('letter_on_doubt_check', '{hold,resend}'),
	('event_kind_check', '{adopt,bounce,doubt,key,letter,newsletter,relay,right,sender,test}'))
	v(con, states);
SELECT set_eq(
	'SELECT jsonb_object_keys(mail_order) FROM (SELECT (SELECT
	 pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid =
	 ''mailman.letter''::regclass AND pg_get_expr(adbin, adrelid) LIKE
	 ''%recipients%'')) d(x), LATERAL (SELECT trim(both '''''''' from
	 replace(x, ''::jsonb'', ''''))::jsonb) m(mail_order)',
	ARRAY['recipients', 'pending', 'sending', 'deferred', 'delivered',
		  'failed', 'skipped', 'doubtful'],
	'mail_order begins with a zero for every state and for their sum');
SELECT col_default_is('mailman', tab, col, value,
					  format('%s.%s defaults to %s', tab, col, value))
  FROM (VALUES ('newsletter'::name, 'relays'::name, '{}'),
	('newsletter', 'max_attempts', '20'), ('newsletter', 'max_age', '72:00:00'),
	('newsletter', 'owner', 'CURRENT_USER'),
	('newsletter', 'precedence', 'bulk'),
	('subscription', 'state', 'active'), ('subscription', 'data', '{}'),
	('letter', 'state', 'draft'), ('letter', 'on_doubt', 'resend'),
	('letter', 'strict', 'false'), ('letter', 'revision', '1'),
	('letter', 'run', '0'), ('letter', 'failed_runs', '0'),
	('letter', 'doubts', '0'), ('letter', 'whole', 'false'),
	('delivery', 'state', 'pending'), ('delivery', 'attempts', '0'),
	('delivery', 'doubts', '0'),
	('posting', 'skipped', '0'), ('posting', 'failed', '0'),
	('posting', 'doubtful', '0'), ('posting', 'folded', 'false'),
	('relay_state', 'failures', '0'), ('relay_state', 'sent', '0'),
	('relay_state', 'rejected', '0'), ('relay_state', 'sent_before', '0'),
	('relay_state', 'rejected_before', '0'),
	('origin', 'armed_at', 'now()'))
	v(tab, col, value);

-- HOT: what a turn updates is in no index and in no index's predicate (a
-- letter's state changes seldom, and what is open is found by it)
SELECT is_empty(format($$
	SELECT i.indexrelid::regclass, a.attname
	  FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
	 WHERE i.indrelid = 'mailman.%s'::regclass
	   AND a.attname = ANY (%L)
	   AND (a.attnum = ANY (i.indkey::int2[])
			OR pg_get_indexdef(i.indexrelid) ~ ('\m' || a.attname || '\M'))$$,
	tab, cols), tab || ': no index names a column that a turn updates')
  FROM (VALUES ('delivery', '{state,attempts,code,doubts,enhanced,reply,reason}'),
	('letter', '{state_reason,mail_order,run,run_at,failed_runs,last_error,
	 resumed_at,doubts,rate,rate_at,sender,sender_oid,whole,line_at}'),
	('posting', '{low,folded,recipients,skipped,failed,doubtful}'),
	('relay_state', '{failures,failed_at,retry_at,error,out_key,out_mapping,
	 out_until,out_tries,arrival,slow_rate,slow_from,slowed_at,counted_at,sent,rejected,sent_before,
	 rejected_before}'), ('domain_state', '{arrival}'))
	v(tab, cols);
SELECT matches(pg_get_indexdef('mailman.letter_open_idx'::regclass),
			   'USING btree \(id\) WHERE \(\(state = ANY \(.*scheduled.*sending'
			   '.*paused.*\) OR cancelling\)$', 'letters that are open are found by it');
SELECT has_index('mailman', 'delivery', 'delivery_due_idx',
				 ARRAY['letter_id', 'due_at'], 'what waits is found by its time');
SELECT matches(pg_get_indexdef('mailman.delivery_due_idx'::regclass),
			   'WHERE \(due_at IS NOT NULL\)$',
			   'only what waits is in the index of what waits');
SELECT matches(pg_get_indexdef('mailman.event_untold_idx'::regclass),
			   'USING btree \(id\) WHERE \(NOT notified\)$',
			   'only events that nobody was told of are in their index');
SELECT has_index('mailman', 'posting', 'posting_letter_id_idx',
				 ARRAY['letter_id', 'id'], 'postings are found by letter');
SELECT cmp_ok((SELECT option_value::int FROM pg_class,
			   pg_options_to_table(reloptions)
			   WHERE oid = ('mailman.' || tab)::regclass
			   AND option_name = 'fillfactor'), '<=', 50,
			  tab || ' leaves room for a new version of every row')
  FROM unnest(ARRAY['delivery', 'letter', 'posting', 'relay_state',
					 'domain_state']) AS t(tab);
-- and so it is: a claim of every delivery, each update in its row's own page
CREATE SERVER tap_relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (id, name, from_address, relays)
VALUES (900001, 'Weekly', 'weekly@example.com', '{tap_relay}');
INSERT INTO mailman.letter (id, newsletter_id, subject, text_body)
VALUES (900001, 900001, 'Hello', 'Hello');
INSERT INTO mailman.subscription (id, newsletter_id, email)
SELECT 900000 + n, 900001, 'reader' || n || '@example.com'
  FROM generate_series(1, 1000) n;
SELECT is(mailman_send(900001), 1000::bigint, 'a thousand recipients');
SET LOCAL session_replication_role = replica;
UPDATE mailman.delivery SET state = 'sending' WHERE letter_id = 900001;
UPDATE mailman.letter SET run = run + 1, run_at = now(),
	failed_runs = failed_runs + 1 WHERE id = 900001;
UPDATE mailman.letter SET state = 'sending', failed_runs = 0, mail_order =
	mail_order || '{"recipients": 1000, "sending": 1000}' WHERE id = 900001;
UPDATE mailman.letter SET line_at = now(), last_error = 'none', doubts = 1,
	rate = 1000, rate_at = now()
 WHERE id = 900001;
SET LOCAL session_replication_role = origin;
SELECT is(pg_stat_get_xact_tuples_hot_updated('mailman.delivery'::regclass),
		  1000::bigint, 'all updates of deliveries are HOT');
SELECT is(pg_stat_get_xact_tuples_hot_updated('mailman.letter'::regclass),
		  pg_stat_get_xact_tuples_updated('mailman.letter'::regclass) - 1,
		  'all updates of the letter are HOT but that which put it in the post');

-- guards are on, whatever session_replication_role is
SELECT is((SELECT array_agg(tgenabled ORDER BY tgname) FROM pg_trigger
			WHERE tgrelid = ('mailman.' || tab)::regclass AND NOT tgisinternal),
		  enabled::"char"[], tab || ' is guarded always')
  FROM (VALUES ('newsletter', '{A,A}'), ('subscription', '{A,A}'),
	('partial', '{A,A}'), ('attachment', '{A,A,A}'), ('dkim_key', '{A,A}'),
	('letter', '{A,A,A}'), ('delivery', '{A}'), ('newsletter_email', '{A}'),
	('posting', '{A}'), ('secret', '{A,A}'), ('forgotten', '{A}'), ('origin', '{A,A}'),
	('relay_state', '{A}'), ('domain_state', '{A}'), ('event', '{A}'))
	v(tab, enabled);

-- and nobody else makes triggers there
SELECT is((SELECT evtenabled::text || evtevent || evttags::text
			 FROM pg_event_trigger WHERE evtname = 'mailman_guard_triggers'),
		  'Addl_command_end{"CREATE TRIGGER"}',
		  'triggers are looked at when they are made');
SELECT is((SELECT evtenabled::text || evtevent || evttags::text
			 FROM pg_event_trigger WHERE evtname = 'mailman_guard_relays'),
		  'Addl_command_end{"CREATE SERVER","ALTER SERVER",'
		  || '"CREATE USER MAPPING","ALTER USER MAPPING"}',
		  'so are options that name files');

-- a publication FOR ALL TABLES refuses UPDATE and DELETE of a table whose rows
-- cannot be told apart
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	 WHERE c.relnamespace = 'mailman'::regnamespace AND c.relkind = 'r'
	   AND NOT (c.relreplident = 'd' AND EXISTS (
		   SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))$$,
	'every table has a replica identity');
CREATE PUBLICATION tap FOR ALL TABLES;
SELECT lives_ok($$
	SET LOCAL session_replication_role = replica;
	UPDATE mailman.origin SET database = 1;
	SET LOCAL session_replication_role = origin$$, 'a copy is made');
SELECT lives_ok('SELECT mailman_adopt()', 'and adopted under it');
DROP PUBLICATION tap;

-- everything is described
SELECT is_empty($$
	SELECT pg_identify_object(d.classid, d.objid, 0) FROM pg_depend d
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT oid FROM pg_extension
						  WHERE extname = 'mailman')
	   AND d.classid <> 'pg_type'::regclass
	   AND NOT EXISTS (SELECT FROM pg_class c
						WHERE d.classid = 'pg_class'::regclass
						  AND c.oid = d.objid AND c.relkind = 'S')
	   AND coalesce(obj_description(d.objid, d.classid::regclass::name),
					'') = ''$$, 'every object has a comment');
SELECT is_empty($$
	SELECT attrelid::regclass, attname FROM pg_attribute
	  JOIN pg_class c ON c.oid = attrelid
	 WHERE c.relnamespace = 'mailman'::regnamespace
	   AND c.relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
	   AND coalesce(col_description(attrelid, attnum), '') = ''$$,
	'every column has a comment');

-- this database was armed when the extension was made, and no other
SELECT results_eq('SELECT system_identifier, database FROM mailman.origin',
	'SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
	  WHERE d.datname = current_database()', 'this database may send');

-- relays are a foreign-data wrapper with a validator and without a handler
SELECT ok(fdwvalidator = 'mailman.smtp_validator'::regproc AND fdwhandler = 0,
		  'mailman_smtp has a validator and no handler')
  FROM pg_foreign_data_wrapper WHERE fdwname = 'mailman_smtp';

SELECT * FROM finish();
ROLLBACK;
