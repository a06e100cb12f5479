-- A NULL where something is needed is 22004, in every function there is: one
-- that a query has not found must not look like success.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

-- every public function, each argument that has no default or a meaning of
-- its own for NULL; the others are called with something of their type
CREATE TEMPORARY VIEW argument AS
SELECT p.oid::regprocedure AS function, p.prokind, p.proname, i,
	   p.proargnames[i] AS name, p.proargtypes[i - 1]::regtype AS type,
	   (SELECT string_agg(CASE WHEN j = i THEN 'NULL::' || t
		  ELSE CASE t WHEN 'bigint' THEN '1' WHEN 'integer' THEN '1'
		  WHEN 'interval' THEN '''1 h''' WHEN 'jsonb' THEN '''{}'''
		  WHEN 'boolean' THEN 'false' WHEN 'double precision' THEN '0'
		  WHEN 'bigint[]' THEN '''{}''' WHEN 'text[]' THEN '''{}'''
		  ELSE '''x''' END || '::' || t END, ', ' ORDER BY j)
		  FROM unnest(p.proargtypes) WITH ORDINALITY AS a(o, j),
			   format_type(a.o, NULL) t) AS list
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mailman'
  CROSS JOIN generate_series(1, p.pronargs) i
 WHERE p.proname LIKE 'mailman\_%';

-- what NULL means there
CREATE TEMPORARY TABLE meaning (function text, name text, says text);
INSERT INTO meaning VALUES
	('mailman_is_address', 'address', 'nothing is known of it'),
	('mailman_unsubscribe', 'token', 'one of those that are not genuine'),
	('mailman_set_dkim_key', 'key', 'the key is removed'),
	('mailman_set_dkim_key', 'selector', 'that of the newsletter'),
	('mailman_subscribe', 'name', 'it stays as it is'),
	('mailman_subscribe', 'data', 'it stays as it is'),
	('mailman_subscribe', 'again', 'no'),
	('mailman_send', 'variables', 'there are none'),
	('mailman_test', 'subscription_id', 'the first active one'),
	('mailman_preview', 'subscription_id', 'the first active one'),
	('mailman_retry_delay', 'schedule', 'that of the setting'),
	('mailman_wait', 'timeout', 'for ever'),
	('mailman_wait', 'state', 'nothing: it is an output');

SELECT plan((SELECT count(*)::integer + 1 FROM argument a
	LEFT JOIN meaning m ON m.function = a.proname AND m.name = a.name
	WHERE m.function IS NULL));
SELECT is_empty($$
	SELECT function, name FROM meaning
	EXCEPT SELECT proname, name FROM argument$$,
	'these are arguments');
SELECT throws_ok(CASE a.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END
				 || a.proname || '(' || a.list || ')', '22004', NULL,
				 a.function || ': ' || a.name || ' must not be null')
  FROM argument a
  LEFT JOIN meaning m ON m.function = a.proname AND m.name = a.name
 WHERE m.function IS NULL
 ORDER BY a.function::text, a.i;

SELECT * FROM finish();
ROLLBACK;
