/*-------------------------------------------------------------------------
 *
 * owned.c
 *	  Whose is a row: read without statements.
 *
 * Guards ask for each row that somebody writes, with the rights of the role that
 * writes it: no statement then, no change of role, and no lock but that of a
 * reader (key_scan.c).
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

#include "key_scan.h"
#include "mailman.h"
#include "owned.h"
#include "utils/snapmgr.h"

/* A column passed by value of the row of that id; false: none, or it is null */
static bool
owned_read_by(OurTable table, const char *column, int64 id, Snapshot snapshot,
			  Datum *value)
{
	KeyScan		scan;
	HeapTuple	tuple;
	bool		isnull = true;

	key_scan_begin(&scan, table, &id, NULL, snapshot);
	tuple = key_scan_next(&scan);
	if (HeapTupleIsValid(tuple))
		*value = key_scan_value(&scan, tuple, column, &isnull);
	key_scan_end(&scan);
	return !isnull;
}

static bool
owned_read(OurTable table, const char *column, int64 id, Snapshot snapshot,
		   Datum *value)
{
	return owned_read_by(table, column, id, snapshot, value) ||
		owned_read_by(table, column, id, SnapshotSelf, value);
}

/* see owned.h */
Oid
owned_newsletter_owner(int64 newsletter_id, Snapshot snapshot)
{
	Datum		owner;

	return owned_read(TABLE_NEWSLETTER, "owner_oid", newsletter_id, snapshot,
					  &owner) ? DatumGetObjectId(owner) : InvalidOid;
}

/* see owned.h */
bool
owned_letter_newsletter(int64 letter_id, Snapshot snapshot,
						int64 *newsletter_id)
{
	Datum		value;

	if (!owned_read(TABLE_LETTER, "newsletter_id", letter_id, snapshot, &value))
		return false;
	*newsletter_id = DatumGetInt64(value);
	return true;
}
