/*-------------------------------------------------------------------------
 *
 * key_scan.c
 *	  Rows of our tables by their keys, read without a statement.
 *
 * For what is asked for each row that somebody writes or sees, at each
 * mailman_send() of one recipient, in each turn: to start the executor costs
 * more than ten times what it takes to read a row by an index.  And a statement
 * needs a scope, and another role.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "executor/spi.h"
#include "key_scan.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

/* see key_scan.h */
void
key_scan_begin(KeyScan *s, OurTable table, const int64 *id, const bytea *more,
			   Snapshot snapshot)
{
	Oid			schema = get_namespace_oid("mailman", false);
	ScanKeyData keys[2];
	int			nkeys = 0;
	Oid			index = InvalidOid;

	s->rel = table_open(get_relname_relid(table_names[table], schema),
						AccessShareLock);
	if (id != NULL)
	{
		index = compat_primary_key(s->rel);
		ScanKeyInit(&keys[nkeys++], 1, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(*id));
	}
	if (more != NULL)
		ScanKeyInit(&keys[nkeys++], 2, BTEqualStrategyNumber, F_BYTEAEQ,
					PointerGetDatum(more));
	s->snapshot = IsMVCCSnapshot(snapshot) ? RegisterSnapshot(snapshot) :
		snapshot;
	s->scan = systable_beginscan(s->rel, index, OidIsValid(index),
								 s->snapshot, nkeys, keys);
}

/* see key_scan.h */
HeapTuple
key_scan_next(KeyScan *s)
{
	return systable_getnext(s->scan);
}

/* see key_scan.h */
Datum
key_scan_value(const KeyScan *s, HeapTuple row, const char *name,
			   bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(s->rel);
	int			number = SPI_fnumber(desc, name);

	if (number <= 0)
		elog(ERROR, "table \"%s\" has no column \"%s\"",
			 RelationGetRelationName(s->rel), name);
	return heap_getattr(row, number, desc, isnull);
}

/* see key_scan.h */
void
key_scan_end(KeyScan *s)
{
	systable_endscan(s->scan);
	if (IsMVCCSnapshot(s->snapshot))
		UnregisterSnapshot(s->snapshot);
	table_close(s->rel, AccessShareLock);
}
