--
-- CREATE EXTENSION and DROP EXTENSION: what is made, that all of it is
-- described, that nothing of it is left, and that it comes back in the same
-- session.
--
\set SHOW_CONTEXT never
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
SET client_min_messages = warning;

CREATE EXTENSION mailman;

-- what it is
SELECT extversion, extrelocatable FROM pg_extension WHERE extname = 'mailman';

-- what it brings: all in schema mailman, but for the functions one calls
CREATE VIEW members AS
SELECT d.classid, d.objid, i.type, i.identity
  FROM pg_depend d,
       pg_identify_object(d.classid, d.objid, d.objsubid) i
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mailman')
   AND d.deptype = 'e';
SELECT type, identity FROM members
 WHERE type NOT IN ('type', 'sequence')
 ORDER BY type, identity COLLATE "C";

-- everything has a comment
SELECT type, identity AS "object without comment" FROM members
 WHERE type NOT IN ('type', 'sequence')
   AND obj_description(objid, classid::regclass::name) IS NULL
 ORDER BY type, identity COLLATE "C";
SELECT a.attrelid::regclass AS "table", a.attname AS "column without comment"
  FROM members m JOIN pg_attribute a ON a.attrelid = m.objid
 WHERE m.type IN ('table', 'view') AND a.attnum > 0 AND NOT a.attisdropped
   AND col_description(a.attrelid, a.attnum) IS NULL
 ORDER BY a.attrelid::regclass::text COLLATE "C", a.attnum;

-- no function of it relies on the caller's search_path, owns rights of its
-- own, or is written in a language that could
SELECT p.oid::regprocedure AS "function of another kind"
  FROM members m JOIN pg_proc p ON p.oid = m.objid
 WHERE m.classid = 'pg_proc'::regclass
   AND (p.prosecdef
        OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'));

-- settings: what a worker reads is not to be SET, and the prefix is reserved
SELECT name, setting, unit, context, min_val, max_val FROM pg_settings
 WHERE name LIKE 'mailman.%' ORDER BY name COLLATE "C";
SELECT name AS "setting without description" FROM pg_settings
 WHERE name LIKE 'mailman.%' AND coalesce(short_desc, '') = '';
SET mailman.turn_size = 10;
:sqlstate
SET mailman.enabled = off;
:sqlstate
SET mailman.no_such_thing = 1;
:sqlstate
-- values that a configuration file could have wrong (not written to it)
ALTER SYSTEM SET mailman.turn_size = 0;
:sqlstate
ALTER SYSTEM SET mailman.max_workers = 0;
:sqlstate
ALTER SYSTEM SET mailman.max_failed_runs = 0;
:sqlstate
ALTER SYSTEM SET mailman.enabled = 'perhaps';
:sqlstate
ALTER SYSTEM SET mailman.pause_rejections = -1;
:sqlstate
ALTER SYSTEM SET mailman.pause_rejections = 10001;
:sqlstate
ALTER SYSTEM SET mailman.pause_failures = 101;
:sqlstate
ALTER SYSTEM SET mailman.pause_failures = '50 %';
:sqlstate
SET mailman.pause_failures = 0;
:sqlstate
ALTER SYSTEM SET mailman.retry_schedule = '5min, soon';
:sqlstate
ALTER SYSTEM SET mailman.retry_schedule = '5min, 100ms';
:sqlstate
ALTER SYSTEM SET mailman.retry_schedule = '';
:sqlstate
ALTER SYSTEM SET mailman.retry_schedule = '5min,,15min';
:sqlstate
SET mailman.poll_interval = '1s';
:sqlstate

-- it cannot be moved
ALTER EXTENSION mailman SET SCHEMA pg_temp;
:sqlstate

-- it is used, dropped, and used again: nothing stays behind
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Weekly', 'weekly@example.com') RETURNING id;
SELECT mailman_subscribe(1, 'ada@example.com');
DROP EXTENSION mailman;
SELECT count(*) FROM members;
SELECT to_regnamespace('mailman'), to_regproc('mailman_pause');
SELECT count(*) FROM pg_foreign_data_wrapper WHERE fdwname = 'mailman_smtp';

CREATE EXTENSION mailman;
SELECT count(*) FROM mailman.newsletter;
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Weekly', 'weekly@example.com') RETURNING id;
SELECT mailman_subscribe(1, 'ada@example.com');
SELECT mailman_subscribe(1, 'ADA@example.com', 'Ada');
SELECT email, name FROM mailman.subscription;

-- relays depend on it
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1');
DROP EXTENSION mailman;
:sqlstate
DROP SERVER relay;
DROP EXTENSION mailman;

-- in a schema of one's choice; the tables stay in theirs
CREATE SCHEMA post;
CREATE EXTENSION mailman SCHEMA post;
SELECT p.oid::regprocedure FROM pg_proc p
 WHERE p.proname = 'mailman_send' AND p.pronamespace = 'post'::regnamespace
 ORDER BY p.pronargs;
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Weekly', 'weekly@example.com') RETURNING id;
SELECT post.mailman_subscribe(1, 'ada@example.com');
DROP EXTENSION mailman;
DROP SCHEMA post;

-- somebody's schema of the same name is not taken over
CREATE SCHEMA mailman;
CREATE EXTENSION mailman;
:sqlstate
DROP SCHEMA mailman;

-- not for everybody to install
CREATE ROLE regress_mailman_guest;
SELECT current_database() AS home \gset
GRANT CREATE ON DATABASE :"home" TO regress_mailman_guest;
SET ROLE regress_mailman_guest;
CREATE EXTENSION mailman;
:sqlstate
RESET ROLE;
REVOKE CREATE ON DATABASE :"home" FROM regress_mailman_guest;
DROP ROLE regress_mailman_guest;
DROP VIEW members;

-- mail is UTF-8, and so must be the database
CREATE DATABASE regress_mailman_latin1 ENCODING 'LATIN1' LC_COLLATE 'C'
	LC_CTYPE 'C' TEMPLATE template0;
\c regress_mailman_latin1
\set SHOW_CONTEXT never
CREATE EXTENSION mailman;
:sqlstate
\c :home
DROP DATABASE regress_mailman_latin1;
