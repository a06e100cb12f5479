/*-------------------------------------------------------------------------
 *
 * dispatcher.c
 *	  The dispatcher: sees to it that no letter is forgotten.
 *
 * A static worker when mailman is preloaded.  It connects to no database, so
 * none is pinned by it, runs no SQL of any letter, and sends a scout into one
 * database at a time: into all at start, then into those whose time has come
 * or that were woken (shmem.c).  Core's logical replication launcher is the
 * model.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "libpq/pqsignal.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/*
 * Longest visit of a scout, and how long a failed one is left alone.  On a
 * machine that is so slow that no visit ends in time, letters would be left
 * behind for ever: after one that was called back the next has twice as long.
 */
#define VISIT_MAX_MS	30000
#define VISIT_DOUBLINGS	3
#define VISIT_AGAIN_MS	5000

/* How soon to look again at a database that nobody may connect to now */
#define LOCKED_AGAIN_MS	1000

/* Fewer max_worker_processes than this cannot do */
#define WORKERS_MIN		4

/* Longest sleep */
#define SLEEP_MAX_MS	60000

PGDLLEXPORT void mailman_dispatcher_main(Datum arg);

/* Register the static worker; called while preloading */
void
dispatcher_register(void)
{
	BackgroundWorker worker;

	launch_define(&worker, "mailman dispatcher", "mailman_dispatcher_main");
	worker.bgw_restart_time = 10;
	RegisterBackgroundWorker(&worker);
}

/* May a scout go there?  Not into templates, nor where nobody may connect. */
static bool
database_is_candidate(Form_pg_database database)
{
	return database->datallowconn && !database->datistemplate &&
		database->datconnlimit != COMPAT_DATCONNLIMIT_INVALID;
}

/*
 * Go through pg_database: is one still a candidate?  With from, wake every
 * candidate whose oid is not below it, as far as there is room; *from is then
 * where to go on, InvalidOid if all were woken.
 */
static bool
dispatcher_scan(Oid wanted, Oid *from)
{
	Oid			missed = InvalidOid;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database_is_candidate(database))
			continue;
		if (from != NULL && database->oid >= *from &&
			!shmem_wake(database->oid, GetCurrentTimestamp()) &&
			(!OidIsValid(missed) || database->oid < missed))
			missed = database->oid;
		found = found || database->oid == wanted;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	if (from != NULL)
		*from = missed;
	return found;
}

/* Look at all databases: those for which there is no room, after the others */
static void
dispatcher_wake_all(Oid *from)
{
	(void) dispatcher_scan(InvalidOid, from);
	(void) shmem_overflowed();
}

/*
 * Does somebody hold it who drops, renames or moves it?  A scout would wait
 * for him, and we for the scout; and a database that is being dropped is not
 * to get new processes.  Connecting takes the same lock.
 */
static bool
database_is_locked(Oid database)
{
	LOCKTAG		tag;
	bool		locked;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	StartTransactionCommand();
	locked = LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	return locked;
}

static bool
database_exists(Oid database)
{
	bool		exists;

	StartTransactionCommand();
	exists = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
	CommitTransactionCommand();
	return exists;
}

/* Start a scout; NULL: no slot */
static BackgroundWorkerHandle *
dispatcher_send_scout(Oid database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	launch_define(&worker, "mailman scout", "mailman_scout_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "mailman scout %u", database);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

static void
dispatcher_sleep(int64 ms, Oid *from)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (long) ms, wait_event(WAIT_DISPATCHER));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		*from = InvalidOid;		/* mailman.enabled may be on again */
		dispatcher_wake_all(from);
	}
}

/* Nothing can be done for so long, whatever wakes us */
static void
dispatcher_rest(int64 ms, Oid *from)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	int64		left = ms;

	while (left > 0 && left <= ms)
	{
		dispatcher_sleep(left, from);
		left = (until - GetCurrentTimestamp()) / 1000;
	}
}

/* Wait for the scout to come back; false: it had to be called back */
static bool
dispatcher_await(BackgroundWorkerHandle *handle, Oid database, int64 ms,
				 Oid *from)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	bool		called = false;
	pid_t		pid;

	while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
	{
		if (!called && GetCurrentTimestamp() >= until)
		{
			ereport(LOG,
					(errmsg("mailman scout in database %u takes too long",
							database)));
			TerminateBackgroundWorker(handle);
			called = true;
		}
		dispatcher_sleep(1000, from);
	}
	return !called;
}

/*
 * A visit.  A scout that came back has reported when to look again; if not,
 * it could not connect, or failed: try again in a while.
 */
static void
dispatcher_visit(Oid database, Oid *from)
{
	BackgroundWorkerHandle *handle;
	uint32		wakes;
	int			late;
	int64		ms;

	if (!dispatcher_scan(database, NULL))
	{
		/* gone, or closed: none of its letters can use a place meanwhile */
		(void) shmem_wait(database, LINE_EMPTY);
		shmem_report(database, shmem_wakes(database),
					 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 SLEEP_MAX_MS));
		if (!database_exists(database))
			shmem_forget(database);
		return;
	}
	wakes = shmem_wakes(database);
	if (database_is_locked(database))
	{
		(void) shmem_visit(database);
		shmem_report(database, wakes,
					 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 LOCKED_AGAIN_MS));
		return;
	}
	shmem_report(database, wakes,
				 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											 VISIT_AGAIN_MS));
	late = shmem_visit(database);
	handle = dispatcher_send_scout(database);
	if (handle == NULL)
	{
		/* a letter's worker that yields makes room for a scout, too */
		if (!shmem_wait_more(database, LINE_WAITS))
			launch_report_waiting(false);
		dispatcher_rest(1000, from);
		shmem_wake(database, GetCurrentTimestamp());
		return;
	}
	ms = (int64) VISIT_MAX_MS << Min(late, VISIT_DOUBLINGS);
	shmem_visited(database, !dispatcher_await(handle, database, ms, from));
	pfree(handle);
}

static void
dispatcher_gone(int code, Datum arg)
{
	shmem_dispatcher(0);
}

void
mailman_dispatcher_main(Datum arg)
{
	Oid			from = InvalidOid;	/* databases still to be woken */

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetConfigOption("application_name", "mailman dispatcher", PGC_USERSET,
					PGC_S_SESSION);
	before_shmem_exit(dispatcher_gone, 0);
	shmem_dispatcher(MyProcPid);
	if (max_worker_processes < WORKERS_MIN)
		ereport(WARNING,
				(errmsg("max_worker_processes is too small for mailman"),
				 errdetail("The dispatcher, a scout and a letter need one each, as does logical replication."),
				 errhint("Set it to %d or more.", WORKERS_MIN)));
	dispatcher_wake_all(&from);

	for (;;)
	{
		Oid			database;
		TimestampTz due = shmem_next(&database);
		TimestampTz now = GetCurrentTimestamp();

		CHECK_FOR_INTERRUPTS();
		if (OidIsValid(database) && due <= now)
			dispatcher_visit(database, &from);
		else if (OidIsValid(from) || shmem_overflowed())
		{
			Oid			before = from;

			dispatcher_wake_all(&from);
			if (OidIsValid(from) && from == before)
				dispatcher_rest(1000, &from);	/* no room at all */
		}
		else if (OidIsValid(database))
			dispatcher_sleep(Min((due - now) / 1000 + 1, SLEEP_MAX_MS), &from);
		else
			dispatcher_sleep(SLEEP_MAX_MS, &from);
	}
}
