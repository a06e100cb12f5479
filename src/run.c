/*-------------------------------------------------------------------------
 *
 * run.c
 *	  Transactions of a worker, and the first and the last one of a run.
 *
 * A run begins by taking the letter: run + 1 shuts out every earlier worker,
 * and what the last one left 'sending' is resolved as doubt.  It ends, if by
 * force, by recording the outcomes known and handing back the rest.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* ---- transactions of a worker ---- */

/* Bound every wait for somebody's lock */
void
run_bound_locks(void)
{
	char		timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", mailman_lock_timeout);
	SetConfigOption("lock_timeout", timeout, PGC_SUSET, PGC_S_SESSION);
}

/*
 * Begin one, as the extension's owner.  If the extension is not the one we
 * started with, this worker has no business here any more.
 */
void
run_begin(Worker *w, ExtensionScope *scope)
{
	Oid			extension;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	extension = extension_oid(true);
	if (!OidIsValid(w->extension))
		w->extension = extension;
	if (!OidIsValid(extension) || extension != w->extension)
	{
		w->armed = false;
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": extension mailman was dropped, its worker ends",
						w->letter_id)));
		AbortCurrentTransaction();
		proc_exit(0);
	}
	extension_enter(scope);
	/* a claim must survive a crash that its mail survives */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
}

void
run_commit(ExtensionScope *scope)
{
	extension_leave(scope);
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* ---- the first transaction ---- */

/* Take the letter: a new run, and what the last one left in doubt resolved */
static bool
run_take(Worker *w)
{
	static Statement take = {
		.sql = "UPDATE mailman.letter SET run = run + 1,"
		" failed_runs = failed_runs + 1 WHERE id = $1"
		" RETURNING run::int8, mail_order, doubts, on_doubt = 'hold', state",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement settle = {
		.sql = "UPDATE mailman.letter SET mail_order = $2, doubts = $3"
		" WHERE id = $1",
		.nargs = 3,
		.argtypes = {INT8OID, JSONBOID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id)};
	Turn		resolved = {0};
	bool		isnull;
	bool		hold;

	if (statement_run(&take, SPI_OK_UPDATE_RETURNING, values, NULL) == 0)
		return false;
	w->run = row_int64(0, 1, 0);
	tally_from_jsonb(&resolved.tally, DatumGetJsonbP(row_datum(0, 2, &isnull)));
	resolved.doubts = row_int64(0, 3, 0);
	hold = row_bool(0, 4);
	w->mode = MODE_SEND;
	if (resolved.tally.count[DELIVERY_SENDING] > 0)
	{
		int64		before = resolved.doubts;

		delivery_resolve_doubt(w, &resolved, hold);
		values[1] = tally_to_jsonb(&resolved.tally);
		values[2] = Int64GetDatum(resolved.doubts);
		statement_run(&settle, SPI_OK_UPDATE, values, NULL);
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": " INT64_FORMAT " deliveries of an earlier run are in doubt",
						w->letter_id, resolved.doubts - before),
				 hold ? errdetail("They are held as \"doubtful\".") :
				 errdetail("They are sent again, with the same Message-ID.")));
	}
	w->tally = resolved.tally;
	w->doubts = resolved.doubts;
	return true;
}

bool
run_first(Worker *w)
{
	ExtensionScope scope;
	Look		look;
	bool		taken = false;

	run_begin(w, &scope);
	if (!letter_lock(w->letter_id))
		letter_wake(w->letter_id);
	else
	{
		look_at(w, 0, &look);
		taken = look_has_work(&look) && run_take(w);
		if (!taken)
			letter_unlock(w->letter_id);
	}
	run_commit(&scope);
	w->ended = false;
	w->idle_since_us = 0;
	w->last_turn_us = transfer_now();
	return taken;
}

/* ---- the last transaction ---- */

/*
 * The worker is ending by force: record the outcomes known and hand back what
 * was not sent.  Interrupts are off, so nothing here may wait for a lock of
 * somebody else; what cannot be recorded stays 'sending' and is doubt to the
 * next worker.
 */
void
run_last(Worker *w)
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
	Look		look;
	int			revision;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts};

	if (w->done.count == 0)
		return;
	run_begin(w, &scope);
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %d outcomes could not be recorded and are in doubt",
						w->letter_id, w->done.count),
				 errdetail("The letter's row is locked.")));
	else if (turn_fence(w, &look, &revision))
	{
		delivery_record(w, &turn, &w->done);
		turn_write(w, &turn, &look);
	}
	run_commit(&scope);
}
