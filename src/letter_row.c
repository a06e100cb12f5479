/*-------------------------------------------------------------------------
 *
 * letter_row.c
 *	  The row of a letter that is known already: kept, and read again.
 *
 * What a letter is made of changes with its revision or its newsletter, which
 * its mark tells.  The rest of its row changes as it is sent, and a call of
 * mailman_send() for one recipient needs nothing but that: so the row is locked
 * and read as the executor would do it, without its being started.
 *
 * Only while the newest version of a row is what the transaction is to see, and
 * nobody else is at it.  Else it is left to a statement.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/tuptable.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Where the letter's row is, as the snapshot sees it */
static bool
row_find(Relation rel, int64 letter_id, Snapshot snapshot, ItemPointer place)
{
	Oid			index = compat_primary_key(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(letter_id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*place = tuple->t_self;
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

static Datum
row_column(TupleTableSlot *slot, const char *column, bool *isnull)
{
	int			number = SPI_fnumber(slot->tts_tupleDescriptor, column);

	if (number <= 0)
		elog(ERROR, "table \"mailman.letter\" has no column \"%s\"", column);
	return slot_getattr(slot, number, isnull);
}

static TimestampTz
row_time(TupleTableSlot *slot, const char *column)
{
	bool		isnull;
	Datum		value = row_column(slot, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* What changes as it is sent.  False: the rest has changed, too. */
static bool
row_read(TupleTableSlot *slot, Letter *letter)
{
	bool		isnull;
	Datum		value;

	/* the id of a draft may change, too, before it is locked */
	if (DatumGetInt64(row_column(slot, "id", &isnull)) != letter->id ||
		DatumGetInt32(row_column(slot, "revision", &isnull)) !=
		letter->revision ||
		DatumGetInt64(row_column(slot, "newsletter_id", &isnull)) !=
		letter->newsletter_id)
		return false;
	letter->state =
		TextDatumGetCString(row_column(slot, "state", &isnull));
	value = row_column(slot, "on_doubt", &isnull);
	letter->hold = strcmp(TextDatumGetCString(value), "hold") == 0;
	value = row_column(slot, "sender_oid", &isnull);
	letter->sender_oid = isnull ? InvalidOid :
		role_known(DatumGetObjectId(value));
	value = row_column(slot, "sender", &isnull);
	letter->sender = isnull ? NULL :
		role_called(letter->sender_oid,
					pstrdup(NameStr(*DatumGetName(value))));
	letter->send_at = row_time(slot, "send_at");
	letter->resumed_at = row_time(slot, "resumed_at");
	letter->purged = row_time(slot, "purged_at") != 0;
	return true;
}

/* The lock of letter_share(), on the newest version */
static bool
row_lock(Relation rel, ItemPointer place, Snapshot snapshot,
		 TupleTableSlot *slot)
{
	TM_FailureData failure;

	return table_tuple_lock(rel, place, snapshot, slot,
							GetCurrentCommandId(false), LockTupleKeyShare,
							LockWaitSkip,
							TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS |
							TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							&failure) == TM_Ok;
}

/* see letter.h */
bool
letter_row_hold(Letter *letter)
{
	Oid			schema = get_namespace_oid("mailman", false);
	Relation	rel;
	Snapshot	snapshot;
	TupleTableSlot *slot;
	ItemPointerData place;
	bool		held;

	if (IsolationUsesXactSnapshot())
		return false;
	rel = table_open(get_relname_relid("letter", schema), RowShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(rel, NULL);
	held = row_find(rel, letter->id, snapshot, &place) &&
		row_lock(rel, &place, snapshot, slot) && row_read(slot, letter);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return held;
}
