/*-------------------------------------------------------------------------
 *
 * run_end.c
 *	  How a run ends: well, or by force.
 *
 * A run that ends well leaves nothing behind that the next one has to know.
 * One that ends by force records the outcomes known and hands back the rest,
 * in one transaction that waits for nobody.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "worker.h"

/* A letter that ends well is not worth more than this many tries */
#define DONE_TRIES 10

/* With an error, its failure counts with those before */
static void
run_done_transaction(Worker *w, void *arg)
{
	static Statement done = {
		.sql = "UPDATE mailman.letter SET last_error = $4,"
		" failed_runs = CASE WHEN $4 IS NULL THEN 0 ELSE failed_runs END,"
		" line_at = CASE WHEN $3 THEN clock_timestamp() ELSE line_at END,"
		" cancelling = cancelling AND ((mail_order->>'pending')::int8 > 0"
		" OR (mail_order->>'sending')::int8 > 0"
		" OR (mail_order->>'deferred')::int8 > 0 OR EXISTS (SELECT"
		" FROM mailman.posting p WHERE p.letter_id = $1))"
		" WHERE id = $1 AND run = $2"
		" AND (failed_runs <> 0 OR $3 OR cancelling)",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, BOOLOID, TEXTOID}
	};
	const char *error = arg;
	Datum		values[4] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run), BoolGetDatum(w->yielding)};
	char		nulls[4] = {' ', ' ', ' ', error ? ' ' : 'n'};
	ExtensionScope scope;
	Look		look;

	run_begin(w, &scope, &use_done);
	if (error)
		values[3] = CStringGetTextDatum(error);
	statement_run(&done, SPI_OK_UPDATE, values, nulls);
	look_at(w, 0, &look);
	w->wake_at = look.ready_at;
	run_commit(&scope);
}

/* One try; a run whose only outcomes are mails that it had to give up failed */
static bool
run_done_try(Worker *w, ErrorData **error)
{
	bool		failed = w->unanswered[0] != '\0' && !w->progressed;

	return run_try(w, run_done_transaction, failed ? w->unanswered : NULL,
				   error);
}

/*
 * A run that ends well: failures before it count no more, a letter that gave
 * up its place goes to the end of the line, and a cancelled one of which
 * nothing is left is not looked at again.
 */
void
run_done(Worker *w)
{
	int			tries;

	for (tries = 0; tries < DONE_TRIES; tries++)
	{
		if (run_done_try(w, NULL))
			return;
		run_wait(w, 100, WAIT_LOCK);
	}
	w->wake_at = DT_NOBEGIN;	/* let somebody look */
}

/*
 * Somebody's lock is in the way: it is remembered beside the tables that the
 * letter goes to the end of the line.  A run that had taken the letter has not
 * failed.  If that cannot be written, neither can the next run take it, and
 * none is counted.
 */
void
run_give_way(Worker *w, bool taken)
{
	ErrorData  *error;

	if (taken && !run_done_try(w, &error))
		FreeErrorData(error);
	place_blocked(w->database, w->letter_id, true);
	run_unlock(w);
	w->wake_at = DT_NOBEGIN;
}

/* ---- the last transaction ---- */

/* Why this worker ended, for the row; it may become the reason of a pause */
static void
run_note_error(Worker *w, const char *error)
{
	static Statement note = {
		.sql = "UPDATE mailman.letter SET last_error = $2 WHERE id = $1",
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id)};

	if (error[0] == '\0')
		return;
	values[1] = CStringGetTextDatum(error);
	statement_run(&note, SPI_OK_UPDATE, values, NULL);
}

/*
 * The worker is ending by force: record the outcomes known and hand back what
 * was not sent.  Interrupts are off, so nothing here may wait for a lock of
 * somebody else; what cannot be recorded stays 'sending' and is doubt to the
 * next worker.
 */
void
run_last(Worker *w, const char *error)
{
	static Statement fence = {
		.sql = "SELECT FROM mailman.letter WHERE id = $1 AND run = $2"
		" FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run)};
	ExtensionScope scope;
	TableUse	use;
	Look		look;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts,
	.meter = w->meter};

	if (worker_recordable(w) == 0 && error[0] == '\0')
		return;
	run_begin_reading(w, &scope);
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	use = delivery_record_use(&w->done);
	if (w->tested.count > 0)
		use = table_use_of(&use, &use_record_test);
	use = table_use_of(&use, &use_event);
	if (!extension_may_write_nowait(&use) ||
		statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %d outcomes could not be recorded and are in doubt",
						w->letter_id, worker_recordable(w)),
				 errdetail("The letter's row or a table is locked.")));
	else if (turn_fence(w, &look))
	{
		if (w->pause_reason[0] == '\0')
			look.mode = MODE_WAIT;	/* its state is for others to say */
		delivery_lock_nowait(w);
		delivery_record(w, &turn, &w->done);
		tests_lock_nowait(w);
		tests_record(w);
		turn_write(w, &turn, &look);
		run_note_error(w, error);
	}
	run_commit(&scope);
}
