/*-------------------------------------------------------------------------
 *
 * await.c
 *	  mailman_wait(): for scripts that go on when a letter is done with.
 *
 * A procedure, so that nothing of it lasts while it waits: called outside of
 * a transaction block it commits between looks.  A function would keep its
 * statement's snapshot, and with it every old version of the rows that turns
 * update, for as long as the letter takes: updates would not stay HOT.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mailman.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "process.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mailman_wait);

/* Between looks, from the first to the longest */
#define AWAIT_FIRST_MS	10
#define AWAIT_LONGEST_MS 200

typedef struct AwaitLook
{
	char		state[16];
	bool		open;			/* there is more to come */
	TransactionId xmin;			/* who has written the letter's row */
} AwaitLook;

/*
 * How is it now?  A letter that was paused or cancelled is not done with
 * before what is in flight is recorded, nor a cancelled one before the rest
 * is skipped; a sent one that was posted again is being sent, and one that is
 * fed is as good as sent when nobody is left (fed.c).
 */
static void
await_look(int64 letter_id, AwaitLook *look)
{
	static Statement statement = {
		.sql = "SELECT l.state, l.xmin, CASE l.state"
		" WHEN 'draft' THEN false WHEN 'paused' THEN w.sending"
		" WHEN 'sending' THEN w.sending OR w.waiting OR w.posted OR l.whole"
		" OR w.nobody"
		" WHEN 'sent' THEN w.posted"
		" WHEN 'cancelled' THEN w.sending OR w.waiting OR w.posted"
		" ELSE true END"
		" FROM mailman.letter l CROSS JOIN LATERAL (SELECT"
		" (l.mail_order->>'sending')::int8 > 0 AS sending,"
		" (l.mail_order->>'pending')::int8 > 0"
		" OR (l.mail_order->>'deferred')::int8 > 0 AS waiting,"
		" (l.mail_order->>'recipients')::int8 = 0 AS nobody,"
		" EXISTS (SELECT FROM mailman.posting p"
		" WHERE p.letter_id = l.id) AS posted) w"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	bool		isnull;

	if (statement_run(&statement, SPI_OK_SELECT, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("letter " INT64_FORMAT " does not exist", letter_id)));
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->xmin = DatumGetTransactionId(row_datum(0, 2, &isnull));
	look->open = row_bool(0, 3);
	if (!look->open && strcmp(look->state, "sending") == 0)
		strlcpy(look->state, "sent", sizeof(look->state));
}

/* What this transaction has done to the letter, its worker cannot see */
static void
await_check_own(int64 letter_id, const AwaitLook *look)
{
	if (look->open && (launch_is_pending(letter_id) ||
					   TransactionIdIsCurrentTransactionId(look->xmin)))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("letter " INT64_FORMAT " cannot be waited for: this transaction has changed it",
						letter_id),
				 errdetail("Nothing of that is seen, and no mail leaves, before COMMIT."),
				 errhint("COMMIT, and then CALL mailman_wait().")));
}

/*
 * May we commit between looks?  Not if the caller has something at stake: a
 * transaction block, or anything written.
 */
static bool
await_may_commit(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic &&
		!IsSubTransaction() &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* When to give up; DT_NOEND: never */
static TimestampTz
await_deadline(FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(now),
													   PG_GETARG_DATUM(1)));
	if (deadline < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative")));
	return deadline;
}

/* Sleep until the next look; false: it is too late for one */
static bool
await_sleep(TimestampTz deadline, int64 *pause_ms)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		ms = *pause_ms;

	if (now >= deadline)
		return false;
	if (deadline != DT_NOEND)
		ms = Min(ms, (deadline - now) / 1000 + 1);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) ms, wait_event(WAIT_LETTER));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	*pause_ms = Min(*pause_ms * 2, AWAIT_LONGEST_MS);
	return true;
}

/* Look until it is done with, or until the deadline */
static void
await_loop(int64 letter_id, TimestampTz deadline, bool commits, AwaitLook *look)
{
	Oid			role = GetUserId();
	int64		pause_ms = AWAIT_FIRST_MS;
	bool		first = true;

	for (;;)
	{
		ExtensionScope scope;

		extension_enter_reading(&scope);
		if (first)
			letter_check_member(letter_find(letter_id), role);
		first = false;
		await_look(letter_id, look);
		extension_leave(&scope);
		await_check_own(letter_id, look);
		if (!look->open)
			return;
		if (commits)
			SPI_commit();
		if (!await_sleep(deadline, &pause_ms))
			return;
	}
}

/* The procedure's output: one row of one text */
static Datum
await_result(const char *state)
{
	TupleDesc	desc = CreateTemplateTupleDesc(1);
	Datum		value = CStringGetTextDatum(state);
	bool		isnull = false;

	TupleDescInitEntry(desc, 1, "state", TEXTOID, -1, 0);
	desc = BlessTupleDesc(desc);
	return HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull));
}

/*
 * mailman_wait(letter_id bigint, timeout interval, INOUT state text)
 *
 * The state a letter is in when nothing of it is to come: sent, paused,
 * cancelled, or draft; after timeout the one it is in then.
 */
Datum
mailman_wait(PG_FUNCTION_ARGS)
{
	bool		commits = await_may_commit(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz deadline;
	AwaitLook	look;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("letter_id must not be null")));
	if (!commits && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("mailman_wait() cannot be used in a %s transaction",
						IsolationIsSerializable() ? "SERIALIZABLE" :
						"REPEATABLE READ"),
				 errdetail("It would never see that the letter is done with."),
				 errhint("CALL it outside of a transaction block.")));
	deadline = await_deadline(fcinfo);
	if (SPI_connect_ext(commits ? SPI_OPT_NONATOMIC : 0) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	await_loop(PG_GETARG_INT64(0), deadline, commits, &look);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	return await_result(look.state);
}
