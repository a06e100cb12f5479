-- Two tenants in one database: what each sees of every table and view, and by
-- every function.  test/t/091_dump.pl looks again at a copy from a dump.
\unset ECHO
\set QUIET 1
BEGIN;
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS mailman;
\pset format unaligned
\pset tuples_only on
\pset pager off

SELECT no_plan();

\ir tenants_made.psql
\ir tenants_seen.psql

SELECT * FROM finish();
ROLLBACK;
