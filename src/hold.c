/*-------------------------------------------------------------------------
 *
 * hold.c
 *	  A row as it is now, locked, whatever its transaction sees.
 *
 * A transaction that is REPEATABLE READ or SERIALIZABLE sees the tables as they
 * were when it began, and SQL refuses to lock a row that was changed since:
 * "could not serialize access".  A letter that is being sent changes with each
 * turn, 300 times a second, so mailman_pause() would fail most of the time.
 * What it has to decide is about the letter as it is now, so that is locked
 * here: the newest version of the row, however often it was changed.  The lock
 * is an ordinary one, and is waited for as any other.
 *
 * Whether the transaction sees that version is another question, which must be
 * asked before a change: see wish.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static const char *const held_names[] = {
	[HOLD_LETTER] = "letter",
	[HOLD_SUBSCRIPTION] = "subscription"
};

/* Where the row is, as far as is committed now; false: nowhere */
static bool
hold_find(HoldTable table, int64 id, ItemPointer place)
{
	static Statement find[] = {
		[HOLD_LETTER] = {
			.sql = "SELECT ctid FROM mailman.letter WHERE id = $1",
			.nargs = 1,
			.argtypes = {INT8OID}
		},
		[HOLD_SUBSCRIPTION] = {
			.sql = "SELECT ctid FROM mailman.subscription WHERE id = $1",
			.nargs = 1,
			.argtypes = {INT8OID}
		}
	};
	Datum		values[1] = {Int64GetDatum(id)};
	bool		isnull;

	if (statement_run_now(&find[table], SPI_OK_SELECT, values, NULL) == 0)
		return false;
	*place = *(ItemPointer) DatumGetPointer(row_datum(0, 1, &isnull));
	return true;
}

/* Does this transaction see who has written that version? */
static bool
hold_is_seen(TupleTableSlot *slot)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
	TransactionId writer = HeapTupleHeaderGetXmin(tuple->t_data);

	if (should_free)
		heap_freetuple(tuple);
	return !IsolationUsesXactSnapshot() ||
		TransactionIdIsCurrentTransactionId(writer) ||
		!XidInMVCCSnapshot(writer, GetTransactionSnapshot());
}

/* Lock the version at place, or the newest that was made of it */
static TM_Result
hold_lock(Relation rel, ItemPointer place, LockTupleMode mode,
		  TupleTableSlot *slot)
{
	TM_FailureData failure;
	TM_Result	result;

	CommandCounterIncrement();	/* it may be ours, just written */
	PushActiveSnapshot(GetLatestSnapshot());
	result = table_tuple_lock(rel, place, GetActiveSnapshot(), slot,
							  GetCurrentCommandId(false), mode, LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	PopActiveSnapshot();
	return result;
}

/* see hold.h */
Held
row_hold(HoldTable table, int64 id, LockTupleMode mode)
{
	Oid			schema = get_namespace_oid("mailman", false);
	Relation	rel = table_open(get_relname_relid(held_names[table], schema),
								 RowShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ItemPointerData place;
	Held		held = HELD_NONE;

	/* one that is found and then gone is looked for again */
	while (held == HELD_NONE && hold_find(table, id, &place))
	{
		CHECK_FOR_INTERRUPTS();
		if (hold_lock(rel, &place, mode, slot) == TM_Ok)
			held = hold_is_seen(slot) ? HELD_SEEN : HELD_UNSEEN;
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return held;
}
