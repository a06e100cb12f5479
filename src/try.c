/*-------------------------------------------------------------------------
 *
 * try.c
 *	  Transactions that may fail without ending whoever runs them.
 *
 * Somebody's lock, a full disk, a cancelled query: none of it ends a worker.
 * What failed is rolled back, logged once, and tried again while the sessions
 * with the relay stay open and what they say is heard.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "worker.h"

/* The same failure is logged again after this */
#define LOG_AGAIN_US	INT64CONST(60000000)

ErrorData *
try_abort(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	return error;
}

/* After an ERROR in a transaction of ours: back to where we were */
static ErrorData *
try_failed(Worker *w, MemoryContext context)
{
	ErrorData  *error = try_abort(context);
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->claiming.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur),
					  &w->claiming);
	return error;
}

/*
 * The same as before?  A full disk is told of once until a turn succeeds: what
 * it says names one file after the other.
 */
static bool
failure_is_known(Worker *w, const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_DISK_FULL)
		return strncmp(w->failure, error->message,
					   sizeof(w->failure) - 1) == 0;
	if (w->failure_code != ERRCODE_DISK_FULL)
		return false;
	if (!w->recovered)
		w->failure_us = transfer_now();
	return true;
}

void
run_log_failure(Worker *w, const char *what, const ErrorData *error)
{
	int64		now = transfer_now();

	if (failure_is_known(w, error) && now - w->failure_us < LOG_AGAIN_US)
		return;
	strlcpy(w->failure, error->message, sizeof(w->failure));
	w->failure_code = error->sqlerrcode;
	w->failure_us = now;
	w->recovered = false;
	HOLD_INTERRUPTS();
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("letter " INT64_FORMAT ": %s: %s", w->letter_id, what,
					error->message),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
	RESUME_INTERRUPTS();
}

bool
run_try(Worker *w, RunTransaction transaction, void *arg, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		transaction(w, arg);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *copy = try_failed(w, context);

		if (error != NULL)
			*error = copy;
		else
		{
			run_log_failure(w, "a transaction failed and is repeated", copy);
			FreeErrorData(copy);
		}
	}
	PG_END_TRY();
	if (done)
		pgstat_report_stat(false);
	return done;
}

void
run_wait(Worker *w, int64 ms, WaitKind kind)
{
	int64		until = transfer_now() + ms * 1000;
	Transfers	transfers;

	while (transfer_now() < until)
	{
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		routes_transfers(w, &transfers);
		waiter_wait(w->waiter, &transfers,
					(until - transfer_now()) / 1000 + 1, kind);
		sending_collect(w);
	}
}
