/*-------------------------------------------------------------------------
 *
 * owned.c
 *	  Whose is a row: read without statements.
 *
 * Guards ask for each row that somebody writes, with the rights of whoever
 * writes it.  So the tables are read directly, by their keys: no statement, no
 * change of role, and no lock but that of a reader.
 *
 * A row that the very statement has written, which asks, is not in its
 * snapshot: WITH n AS (INSERT INTO mailman.newsletter ... RETURNING id) INSERT
 * INTO mailman.letter SELECT ... FROM n.  Then it is read as it is now.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "mailman.h"
#include "owned.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* One column of the row of that id; false: no such row, or it is null */
static bool
owned_read_by(Relation rel, int64 id, AttrNumber column, Snapshot snapshot,
			  Datum *value)
{
	Oid			index = compat_primary_key(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;

	ScanKeyInit(&key, get_attnum(RelationGetRelid(rel), "id"),
				BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1,
							  &key);
	tuple = systable_getnext(scan);
	/* passed by value: it outlives the scan */
	if (HeapTupleIsValid(tuple))
		*value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
	systable_endscan(scan);
	return !isnull;
}

static bool
owned_read(const char *table, const char *column, int64 id, Snapshot snapshot,
		   Datum *value)
{
	Oid			relid = get_relname_relid(table,
										  get_namespace_oid("mailman", false));
	Relation	rel = table_open(relid, AccessShareLock);
	AttrNumber	number = get_attnum(relid, column);
	bool		found;

	snapshot = RegisterSnapshot(snapshot);
	found = owned_read_by(rel, id, number, snapshot, value) ||
		owned_read_by(rel, id, number, SnapshotSelf, value);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

/* see owned.h */
Oid
owned_newsletter_owner(int64 newsletter_id, Snapshot snapshot)
{
	Datum		owner;

	return owned_read("newsletter", "owner_oid", newsletter_id, snapshot,
					  &owner) ? DatumGetObjectId(owner) : InvalidOid;
}

/* see owned.h */
bool
owned_letter_newsletter(int64 letter_id, Snapshot snapshot,
						int64 *newsletter_id)
{
	Datum		value;

	if (!owned_read("letter", "newsletter_id", letter_id, snapshot, &value))
		return false;
	*newsletter_id = DatumGetInt64(value);
	return true;
}
