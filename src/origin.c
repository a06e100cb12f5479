/*-------------------------------------------------------------------------
 *
 * origin.c
 *	  A copy of a database must not send.
 *
 * The first mailman_send() arms the database: mailman.origin says which
 * cluster and which database may send.  A restored dump, a copy by CREATE
 * DATABASE ... TEMPLATE or a logical replica carries the row along and finds
 * that it is another one.  Letters are queued there, and nothing leaves until
 * mailman_adopt().  Nor does anything while a restore is under way: without a
 * row, nobody is armed.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "key_scan.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(mailman_adopt);

/* Is it this database of this cluster that a row tells of? */
static bool
origin_row_is_ours(const KeyScan *scan, HeapTuple row)
{
	bool		isnull;

	return (uint64) DatumGetInt64(key_scan_value(scan, row,
												 "system_identifier",
												 &isnull)) ==
		GetSystemIdentifier() &&
		DatumGetObjectId(key_scan_value(scan, row, "database", &isnull)) ==
		MyDatabaseId;
}

/* see origin.h.  The first row may be several: see the script. */
OriginState
origin_look(void)
{
	OriginState state = ORIGIN_NONE;
	KeyScan		scan;
	HeapTuple	tuple;

	key_scan_begin(&scan, TABLE_ORIGIN, NULL, NULL, GetLatestSnapshot());
	while (HeapTupleIsValid(tuple = key_scan_next(&scan)))
		state = state != ORIGIN_OTHER && origin_row_is_ours(&scan, tuple) ?
			ORIGIN_OURS : ORIGIN_OTHER;
	key_scan_end(&scan);
	return state;
}

bool
origin_is_ours(void)
{
	return origin_look() == ORIGIN_OURS;
}

/* The first mailman_send() of a database arms it */
void
origin_arm(void)
{
	static Statement arm = {
		.sql = "INSERT INTO mailman.origin (system_identifier, database)"
		" SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM mailman.origin)",
		.nargs = 2,
		.argtypes = {INT8OID, OIDOID}
	};
	Datum		values[2] = {Int64GetDatum((int64) GetSystemIdentifier()),
	ObjectIdGetDatum(MyDatabaseId)};

	statement_run(&arm, SPI_OK_INSERT, values, NULL);
}

/*
 * mailman_adopt() RETURNS void
 *
 * This database may send from now on.  What was in the post when the copy
 * was made is paused: the original has sent it, or is about to.
 */
Datum
mailman_adopt(PG_FUNCTION_ARGS)
{
	static Statement forget = {
		.sql = "DELETE FROM mailman.origin"
	};
	static Statement pause = {
		.sql = "UPDATE mailman.letter l SET state = 'paused',"
		" state_reason = 'this copy of the database was adopted'"
		" WHERE l.state IN ('scheduled', 'sending') OR l.state = 'sent'"
		" AND EXISTS (SELECT FROM mailman.posting p"
		" WHERE p.letter_id = l.id)"
	};
	static Statement end_tests = {
		.sql = "UPDATE mailman.test SET reason ="
		" 'this copy of the database was adopted',"
		" state = CASE state WHEN 'pending' THEN 'failed' ELSE 'doubtful' END"
		" WHERE state IN ('pending', 'sending')"
	};
	Oid			role = GetUserId();
	ExtensionScope scope;

	if (!has_privs_of_role(role, extension_owner()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to adopt this database"),
				 errdetail("Only the owner of extension mailman may.")));
	extension_enter(&scope, &use_adopt);
	if (origin_is_ours())
		ereport(NOTICE, (errmsg("this database may send already")));
	else
	{
		statement_change_seen(&pause, SPI_OK_UPDATE, NULL, NULL);
		statement_change_seen(&end_tests, SPI_OK_UPDATE, NULL, NULL);
		statement_run(&forget, SPI_OK_DELETE, NULL, NULL);
		origin_arm();
		event_adopt();
		launch_wake_at_commit();
	}
	extension_leave(&scope);
	PG_RETURN_VOID();
}
