/*-------------------------------------------------------------------------
 *
 * run.c
 *	  Transactions of a worker, and the first one of a run.
 *
 * A run begins by taking the letter: run + 1 shuts out every earlier worker,
 * and what the last one left 'sending' is resolved as doubt.
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
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

/* What is in the way of a letter's workers is logged again after this */
#define REPORT_AGAIN_MS 60000

/* A process that asks whether a letter is locked holds its lock an instant */
#define LOCK_TRIES 3
#define LOCK_AGAIN_US 5000L

/* ---- transactions of a worker ---- */

/* Bound every wait for somebody's lock */
void
run_bound_locks(void)
{
	char		timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", mailman_lock_timeout);
	SetConfigOption("lock_timeout", timeout, PGC_SUSET, PGC_S_SESSION);
}

void
run_reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	run_bound_locks();
}

/*
 * The extension was dropped, or updated to another version: nothing can be
 * recorded any more.  What we hold is resolved, as doubt, by the first worker
 * that fits, if there ever is one; the dispatcher finds it an orphan.
 */
static void
run_misfit(Worker *w, const char *what)
{
	w->armed = false;
	ereport(LOG,
			(errmsg("letter " INT64_FORMAT ": extension mailman was %s, its worker ends",
					w->letter_id, what)));
	AbortCurrentTransaction();
	proc_exit(0);
}

/*
 * Begin one, as the extension's owner.  If the extension is not the one we
 * started with, this worker has no business here any more.
 */
void
run_begin_reading(Worker *w, ExtensionScope *scope)
{
	Oid			extension;
	Oid			owner;

	if (!proc_exit_inprogress)
		CHECK_FOR_INTERRUPTS();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	extension = extension_hold(w->extension, !proc_exit_inprogress);
	if (!OidIsValid(w->extension))
		w->extension = extension;
	if (!OidIsValid(extension) || extension != w->extension)
		run_misfit(w, "dropped");
	if (!extension_fits(extension, &owner))
		run_misfit(w, "updated");
	extension_enter_reading_as(scope, owner);
	/* a claim must survive a crash that its mail survives */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
}

void
run_begin(Worker *w, ExtensionScope *scope, const TableUse *use)
{
	run_begin_reading(w, scope);
	extension_may_write(use);
}

/*
 * What follows a commit in a transaction of ours makes memory agree with the
 * tables.  Nothing stands between that can throw, hence take a cancel: not
 * the statistics (run_try() has them), and no ereport(), which looks at
 * interrupts.  The commit itself holds them off from the record on.
 */
void
run_commit(ExtensionScope *scope)
{
	extension_leave(scope);
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* ---- the first transaction ---- */

/*
 * Too many workers in a row have failed: a person must look at it.  False: it
 * is not being sent anyway, and what it has left 'sending' is to be resolved.
 */
static bool
run_pause(Worker *w, int64 failed_runs)
{
	static Statement pause = {
		.sql = "UPDATE mailman.letter SET state = 'paused', state_reason ="
		" format('%s workers in a row ended without an outcome: %s',"
		" failed_runs, coalesce(last_error, 'see the server''s log'))"
		" WHERE id = $1 AND (state IN ('scheduled', 'sending')"
		" OR state = 'sent' AND EXISTS (SELECT FROM mailman.posting p"
		" WHERE p.letter_id = $1)) RETURNING state_reason",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};

	if (statement_run(&pause, SPI_OK_UPDATE_RETURNING, values, NULL) == 0)
		return false;
	ereport(LOG,
			(errmsg("letter " INT64_FORMAT " is paused: %s", w->letter_id,
					row_text(0, 1)),
			 errhint("It goes on with mailman_resume().")));
	return true;
}

/* May it be started now, after what became of the workers before? */
static bool
run_may_start(Worker *w, const Look *look)
{
	static Statement history = {
		.sql = "SELECT failed_runs::int8 FROM mailman.letter"
		" WHERE id = $1 FOR NO KEY UPDATE",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	int64		failed_runs;

	if (!mailman_enabled || !origin_is_ours() ||
		statement_run(&history, SPI_OK_SELECT, values, NULL) == 0)
	{
		w->wake_at = DT_NOEND;
		return false;
	}
	failed_runs = row_int64(0, 1, 0);
	if (failed_runs >= mailman_max_failed_runs && run_pause(w, failed_runs))
		return false;
	if (failed_runs > 1 && look->barred_until > GetCurrentTimestamp())
	{
		w->wake_at = look->barred_until;
		return false;
	}
	return true;
}

/* Resolve what the last worker left 'sending' */
static void
run_resolve(Worker *w, Turn *resolved, bool hold)
{
	static Statement settle = {
		.sql = "UPDATE mailman.letter SET mail_order = $2, doubts = $3"
		" WHERE id = $1",
		.nargs = 3,
		.argtypes = {INT8OID, JSONBOID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id)};
	int64		before = resolved->doubts;

	delivery_resolve_doubt(w, resolved, hold);
	values[1] = tally_to_jsonb(&resolved->tally);
	values[2] = Int64GetDatum(resolved->doubts);
	statement_run(&settle, SPI_OK_UPDATE, values, NULL);
	if (resolved->doubts == before)
		return;
	event_doubt(w->letter_id, resolved->doubts, resolved->doubts - before);
	ereport(LOG,
			(errmsg("letter " INT64_FORMAT ": " INT64_FORMAT " deliveries of an earlier run are in doubt",
					w->letter_id, resolved->doubts - before),
			 hold ? errdetail("They are held as \"doubtful\".") :
			 errdetail("They are sent again, with the same Message-ID.")));
}

/* Take the letter: a new run shuts out every earlier worker */
static void
run_take(Worker *w, const Look *look)
{
	static Statement take = {
		.sql = "UPDATE mailman.letter SET run = run + 1, run_at = now(),"
		" failed_runs = failed_runs + 1 WHERE id = $1"
		" RETURNING run::int8, mail_order, doubts, on_doubt = 'hold'",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	Turn		resolved = {0};
	bool		isnull;
	bool		hold;

	if (statement_run(&take, SPI_OK_UPDATE_RETURNING, values, NULL) != 1)
		elog(ERROR, "letter " INT64_FORMAT " is gone", w->letter_id);
	w->run = row_int64(0, 1, 0);
	tally_from_jsonb(&resolved.tally, DatumGetJsonbP(row_datum(0, 2, &isnull)));
	resolved.doubts = row_int64(0, 3, 0);
	hold = row_bool(0, 4);
	if (resolved.tally.count[DELIVERY_SENDING] > 0)
		run_resolve(w, &resolved, hold);
	if (look->testing)
	{
		extension_may_write(&use_record_test);
		tests_resolve(w);
	}
	w->tally = resolved.tally;
	w->doubts = resolved.doubts;
	w->mode = MODE_SEND;
}

/* Under the letter's lock */
static RunStart
run_start(Worker *w)
{
	Look		look;

	look_at(w, 0, &look);
	w->wake_at = look.ready_at;
	w->found_nothing = !look_has_work(&look);
	if (w->found_nothing || !run_may_start(w, &look))
		return RUN_NOTHING;
	if (!slot_lock())
		return RUN_WAITS;
	run_take(w, &look);
	return RUN_TAKEN;
}

static void
run_first_transaction(Worker *w, void *arg)
{
	RunStart   *start = arg;
	ExtensionScope scope;

	run_begin(w, &scope, &use_first);
	*start = run_start(w);
	run_commit(&scope);
}

/*
 * The letter's lock and, if there is a place, the slot that shows it: in a
 * transaction that needs nothing else, so that nothing can be in its way.
 * Without places somebody may only be asking whether it is locked.
 */
static void
run_lock_transaction(Worker *w, void *arg)
{
	int			tries;

	CHECK_FOR_INTERRUPTS();
	StartTransactionCommand();
	w->locked = w->locked || letter_lock(w->letter_id);
	for (tries = 1; !w->locked && !shmem_is_there() && tries < LOCK_TRIES;
		 tries++)
	{
		pg_usleep(LOCK_AGAIN_US);
		w->locked = letter_lock(w->letter_id);
	}
	if (w->locked && place_number() > 0)
		(void) slot_lock();
	CommitTransactionCommand();
}

/* Somebody has it: he may not know yet what we were started for */
static void
run_wake_transaction(Worker *w, void *arg)
{
	ExtensionScope scope;

	run_begin_reading(w, &scope);
	letter_wake(w->letter_id);
	run_commit(&scope);
}

/*
 * Log what is in the way, but not if a worker before us has just found it in
 * its way and said so.
 */
static void
run_report_blocked(Worker *w, ErrorData *error)
{
	if (TimestampDifferenceExceeds(place_blocked_at(w->database, w->letter_id),
								   GetCurrentTimestamp(), REPORT_AGAIN_MS))
		run_log_failure(w, "a transaction failed and is repeated", error);
	FreeErrorData(error);
}

RunStart
run_first(Worker *w)
{
	RunStart	start = RUN_NOTHING;
	ErrorData  *error;

	w->wake_at = DT_NOEND;
	w->found_nothing = false;
	if (!run_try(w, run_lock_transaction, NULL, NULL))
		start = RUN_AGAIN;
	else if (!w->locked)
		(void) run_try(w, run_wake_transaction, NULL, NULL);
	else if (run_try(w, run_first_transaction, &start, &error))
		place_blocked(w->database, w->letter_id, false);
	else
	{
		run_report_blocked(w, error);
		start = RUN_AGAIN;
	}
	if (start == RUN_NOTHING)
		run_unlock(w);
	else if (start == RUN_AGAIN && place_number() == 0)
		(void) slot_unlock();
	w->ended = false;
	w->yielding = w->blocked = false;
	patience_renew(w);
	w->unanswered[0] = '\0';
	w->progressed = false;
	w->slowest_us = 0;
	w->idle_since_us = 0;
	w->started_us = w->last_turn_us = transfer_now();
	return start;
}

static void
run_behind_transaction(Worker *w, void *arg)
{
	bool	   *behind = arg;
	ExtensionScope scope;
	Look		look;

	run_begin_reading(w, &scope);
	look_at(w, 0, &look);
	*behind = look_has_work(&look);
	run_commit(&scope);
}

/*
 * We have looked with the lock, found nothing and given it up.  Without shared
 * memory, somebody who committed in between has seen it taken and left the
 * letter to us; a transaction that commits from now on sees that it is free.
 */
bool
run_left_behind(Worker *w)
{
	bool		behind = false;

	if (shmem_is_there() || !w->found_nothing)
		return false;
	if (!run_try(w, run_behind_transaction, &behind, NULL))
		behind = true;			/* look again */
	return behind;
}

/* These are locks of the session: a rollback does not release them */
void
run_unlock(Worker *w)
{
	if (w->locked)
		letter_unlock(w->letter_id);
	w->locked = false;
	(void) slot_unlock();
}
