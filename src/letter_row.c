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

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "key_scan.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

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
	KeyScan		scan;
	HeapTuple	tuple;
	bool		held = false;

	if (IsolationUsesXactSnapshot())
		return false;
	key_scan_begin(&scan, TABLE_LETTER, &letter->id, NULL,
				   GetLatestSnapshot());
	tuple = key_scan_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		TupleTableSlot *slot = table_slot_create(scan.rel, NULL);
		ItemPointerData place = tuple->t_self;

		held = row_lock(scan.rel, &place, scan.snapshot, slot) &&
			row_read(slot, letter);
		ExecDropSingleTupleTableSlot(slot);
	}
	key_scan_end(&scan);
	return held;
}
