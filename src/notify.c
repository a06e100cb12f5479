/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  Whoever LISTENs is told of events.
 *
 * In a transaction of its own, after the one that wrote the event: NOTIFY
 * takes a lock of the whole cluster at COMMIT, and fails when the queue is
 * full because somebody listens and does not read.  Neither may hold up a
 * turn, or undo one.  So the lock is taken first, if it is free; the rows that
 * nobody was told of are marked and told; and if anything fails they stay as
 * they are and are tried again.  What commits is told exactly once.
 *
 * Under that lock nobody else tells: so events of one letter, or relay, are
 * heard in the order of their ids.
 *
 * Workers tell, after their turns, and so does any scout that finds a row left
 * behind: by a session that has no worker, or by a crash.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

#define NOTIFY_AT_ONCE	500		/* events in a transaction */
#define NOTIFY_BUSY_US	INT64CONST(50000)	/* somebody has the lock */
#define NOTIFY_WAIT_MS	100		/* the same, for one that is ending */
#define NOTIFY_TRIES	10
#define NOTIFY_AGAIN_MIN_US INT64CONST(1000000) /* it has failed */
#define NOTIFY_AGAIN_MAX_US INT64CONST(60000000)

/*
 * The lock that PreCommit_Notify() waits for.  Should a version of the server
 * do without, it still keeps us apart from each other.
 */
static bool
notify_lock(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	return LockAcquire(&tag, AccessExclusiveLock, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Tell the next few, in a transaction and a scope that reads.  Anybody may
 * LISTEN, so the words of relays and people stay in the table.  Returns how
 * many; -1: somebody is in the way.
 */
static int
notify_batch(void)
{
	static Statement tell = {
		.sql = "SELECT e.id, pg_catalog.pg_notify('mailman',"
		" jsonb_strip_nulls(jsonb_build_object('id', e.id, 'kind', e.kind,"
		" 'letter_id', e.letter_id, 'newsletter_id', e.newsletter_id,"
		" 'from', e.detail->'from',"
		" 'to', e.detail->'to', 'relay', e.detail->'relay',"
		" 'state', e.detail->'state', 'doubts', e.detail->'doubts'))::text)"
		" FROM (SELECT * FROM mailman.event WHERE NOT notified"
		" ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) e ORDER BY e.id",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement mark = {
		.sql = "UPDATE mailman.event SET notified = true WHERE id = ANY ($1)",
		.nargs = 1,
		.argtypes = {INT8ARRAYOID}
	};
	Datum		values[1] = {Int64GetDatum(NOTIFY_AT_ONCE)};
	Datum	   *ids;
	uint64		rows;
	uint64		row;

	if (!extension_may_write_nowait(&use_event))
		return -1;
	if (event_waits_since() == 0)
		return 0;
	if (!notify_lock())
		return -1;
	rows = statement_run(&tell, SPI_OK_SELECT, values, NULL);
	if (rows == 0)
		return 0;
	ids = palloc(rows * sizeof(Datum));
	for (row = 0; row < rows; row++)
		ids[row] = Int64GetDatum(row_int64(row, 1, 0));
	values[0] = array_of(ids, NULL, (int) rows, INT8OID);
	statement_run(&mark, SPI_OK_UPDATE, values, NULL);
	return (int) rows;
}

/* see mailman.h */
TimestampTz
event_waits_since(void)
{
	static Statement oldest = {
		.sql = "SELECT at FROM mailman.event WHERE NOT notified"
		" ORDER BY id LIMIT 1"
	};

	return statement_run(&oldest, SPI_OK_SELECT, NULL, NULL) == 0 ? 0 :
		row_int64(0, 1, 0);
}

/*
 * Whether they were told may be lost in a crash, and so is who listened: no
 * need to wait for the disk, or for a standby, under the cluster's lock.
 */
static void
notify_unflushed(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* Once per episode */
static void
notify_log(const ErrorData *error)
{
	if (shmem_mute(MyDatabaseId, true))
		return;
	HOLD_INTERRUPTS();			/* a cancel is no reason to end */
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("could not notify of events, trying again later: %s",
					error->message),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 errhint("They are in mailman.event.")));
	RESUME_INTERRUPTS();
}

/* ---- the workers ---- */

static void
notify_transaction(Worker *w, void *arg)
{
	int		   *told = arg;
	ExtensionScope scope;

	run_begin_reading(w, &scope);
	notify_unflushed();
	*told = notify_batch();
	run_commit(&scope);
}

/* After a turn: tell what it has written, if that is possible at once */
void
errand_notify(Worker *w)
{
	ErrorData  *error;
	int			told;

	if (!event_is_pending() || transfer_now() < w->notify_us)
		return;
	if (!run_try(w, notify_transaction, &told, &error))
	{
		notify_log(error);
		FreeErrorData(error);
		w->notify_wait_us = Min(Max(2 * w->notify_wait_us,
									NOTIFY_AGAIN_MIN_US),
								NOTIFY_AGAIN_MAX_US);
		w->notify_us = transfer_now() + w->notify_wait_us;
	}
	else if (told < 0)
		w->notify_us = transfer_now() + NOTIFY_BUSY_US;
	else
	{
		w->notify_wait_us = 0;
		if (told > 0)
			(void) shmem_mute(MyDatabaseId, false);
		event_set_pending(told == NOTIFY_AT_ONCE);
	}
}

/* Before a worker ends; what is left is for the dispatcher, or the next */
void
errand_notify_last(Worker *w)
{
	int			tries;

	for (tries = 0; tries < NOTIFY_TRIES && w->notify_wait_us == 0; tries++)
	{
		w->notify_us = 0;
		errand_notify(w);
		if (!event_is_pending())
			return;
		if (w->notify_us != 0)
			run_wait(w, NOTIFY_WAIT_MS, WAIT_LOCK);
	}
}

/* ---- the scouts ---- */

typedef struct Visit
{
	TimestampTz since;			/* the first waits since then, 0: none does */
	int			told;			/* as of notify_batch() */
} Visit;

/* Tell a batch, if there is anything to tell */
static void
notify_visit(Visit *visit)
{
	ExtensionScope scope;

	visit->since = 0;
	visit->told = 0;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(extension_hold(InvalidOid, false)))
	{
		extension_enter_reading(&scope);
		if ((visit->since = event_waits_since()) != 0)
		{
			notify_unflushed();
			visit->told = notify_batch();
		}
		extension_leave(&scope);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (visit->told > 0)
		(void) shmem_mute(MyDatabaseId, false);
}

/* The same, come what may */
static void
notify_visit_try(Visit *visit)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		notify_visit(visit);
	}
	PG_CATCH();
	{
		notify_log(try_abort(context));
		visit->told = -1;
	}
	PG_END_TRY();
}

/*
 * Tell all that wait.  If it is not possible now: again after as long as they
 * wait already, up to a minute.
 */
TimestampTz
event_notify(void)
{
	Visit		visit;
	TimestampTz now;

	do
		notify_visit_try(&visit);
	while (visit.told == NOTIFY_AT_ONCE);
	if (visit.told >= 0)
		return DT_NOEND;
	now = GetCurrentTimestamp();
	return now + Min(Max(now - visit.since, NOTIFY_AGAIN_MIN_US),
					 NOTIFY_AGAIN_MAX_US);
}
