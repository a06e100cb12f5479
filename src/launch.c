/*-------------------------------------------------------------------------
 *
 * launch.c
 *	  Start a letter's worker at COMMIT.
 *
 * mailman_send() notes the letter in a list that belongs to its
 * (sub)transaction; a rollback, to a savepoint too, drops the entries.  At
 * COMMIT the worker is registered and nothing else is done, because an ERROR
 * there would be a PANIC.  The registration is only a hint: the tables are
 * the truth, and the process that holds the letter's lock looks at them once
 * more after letting it go.
 *
 * At PREPARE TRANSACTION the list is dropped: the letter is found in the
 * tables after COMMIT PREPARED.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* When the dispatcher looks whether a worker has come */
#define LOOK_AFTER_MS 1000

/* That there is no process for them is said again after this */
#define REPORT_AGAIN_MS 60000

/* A letter to start at COMMIT; newest first, so a subtransaction's are ahead */
typedef struct Pending
{
	int64		letter_id;
	int			nest_level;
	int			holder;			/* to be woken without shared memory; or 0 */
	struct Pending *next;
} Pending;

static Pending *pending = NULL;

/* Let the dispatcher look, whatever becomes of this transaction */
static bool wake_wanted = false;

void
launch_at_commit(int64 letter_id)
{
	Pending    *entry;

	for (entry = pending; entry != NULL; entry = entry->next)
	{
		if (entry->letter_id == letter_id &&
			entry->nest_level <= GetCurrentTransactionNestLevel())
			return;
	}
	entry = MemoryContextAlloc(TopTransactionContext, sizeof(Pending));
	entry->letter_id = letter_id;
	entry->nest_level = GetCurrentTransactionNestLevel();
	entry->holder = shmem_is_there() ? 0 : letter_holder(letter_id);
	entry->next = pending;
	pending = entry;
}

bool
launch_is_pending(int64 letter_id)
{
	Pending    *entry;

	for (entry = pending; entry != NULL; entry = entry->next)
	{
		if (entry->letter_id == letter_id)
			return true;
	}
	return false;
}

void
launch_wake_at_commit(void)
{
	wake_wanted = true;
}

/* What all our background workers have in common; no restart */
void
launch_define(BackgroundWorker *worker, const char *type, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "mailman", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
}

/* Register the worker of one letter, which has a place */
static bool
launch_register(int64 letter_id, const PlaceTicket *ticket)
{
	BackgroundWorker worker;

	launch_define(&worker, "mailman letter", "mailman_letter_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "mailman letter " INT64_FORMAT,
			 letter_id);
	worker.bgw_main_arg = Int64GetDatum(letter_id);
	memcpy(worker.bgw_extra, &MyDatabaseId, sizeof(Oid));
	memcpy(worker.bgw_extra + sizeof(Oid), ticket, sizeof(PlaceTicket));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* Called after the commit record is written: must not throw */
LaunchAnswer
launch_letter(int64 letter_id)
{
	PlaceTicket ticket;

	switch (place_reserve(MyDatabaseId, letter_id, &ticket))
	{
		case PLACE_RESERVED:
			break;
		case PLACE_TAKEN:
			return LAUNCH_RUNNING;
		case PLACE_NONE:
			return LAUNCH_NO_PLACE;
		case PLACE_NONE_STILL:
			return LAUNCH_NO_PLACE_STILL;
	}
	if (launch_register(letter_id, &ticket))
		return LAUNCHED;
	place_return(&ticket);
	return LAUNCH_NO_PROCESS;
}

void
launch_report_waiting(bool for_place)
{
	ereport(LOG,
			(errmsg("letters wait for a worker"),
			 for_place ?
			 errdetail("mailman.max_workers is %d.", mailman_max_workers) :
			 errdetail("No background worker slot is free."),
			 for_place ? 0 :
			 errhint("Consider a higher max_worker_processes.")));
}

bool
launch_scout(void)
{
	BackgroundWorker worker;

	launch_define(&worker, "mailman scout", "mailman_scout_main");
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * No process can be registered for it.  The dispatcher tries again, and says
 * so if it cannot either; without one it is said here, but not of each letter.
 */
static void
launch_report_no_process(int64 letter_id, TimestampTz now)
{
	static TimestampTz reported_at = 0;

	if (shmem_is_there() ||
		!TimestampDifferenceExceeds(reported_at, now, REPORT_AGAIN_MS))
		return;
	reported_at = now;
	ereport(LOG,
			(errmsg("no background worker slot for letter " INT64_FORMAT,
					letter_id),
			 errdetail("mailman_wake() starts it when there is one."),
			 errhint("Consider a higher max_worker_processes.")));
}

/*
 * Without shared memory the letter's lock alone tells whether somebody has it.
 * What we have done is committed by now, and a worker that gives the lock up
 * looks at the tables once more after it: run_left_behind().  To try the lock
 * takes no memory that letter_holder() has not had.  A worker that has taken it
 * since then is not woken, and looks by itself after mailman.poll_interval.
 */
static bool
launch_is_left_to_holder(const Pending *entry)
{
	if (shmem_is_there() || !letter_is_locked(entry->letter_id))
		return false;
	shmem_set_latch(entry->holder);
	return true;
}

/*
 * All letters of the list.  True: somebody is to look a moment later whether
 * the workers have come, or can come now.  A process that leaves a place looks
 * itself whether letters wait, and a letter's worker whether it was posted
 * meanwhile.
 */
static bool
launch_pending(TimestampTz now)
{
	bool		look = false;
	Pending    *entry;

	if (IsBinaryUpgrade)
		return false;
	for (entry = pending; entry != NULL; entry = entry->next)
	{
		if (launch_is_left_to_holder(entry))
			continue;
		switch (launch_letter(entry->letter_id))
		{
			case LAUNCHED:
				look = true;
				break;
			case LAUNCH_RUNNING:
				break;
			case LAUNCH_NO_PLACE:
				launch_report_waiting(true);
				look = true;
				break;
			case LAUNCH_NO_PLACE_STILL:
				look = true;
				break;
			case LAUNCH_NO_PROCESS:
				launch_report_no_process(entry->letter_id, now);
				return true;
		}
	}
	return look;
}

static void
launch_at_end(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (launch_pending(now) || wake_wanted)
		shmem_wake(MyDatabaseId, wake_wanted ? now :
				   TimestampTzPlusMilliseconds(now, LOOK_AFTER_MS));
}

static void
launch_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			launch_at_end();
			pending = NULL;		/* memory goes with the transaction */
			wake_wanted = false;
			break;
		case XACT_EVENT_PREPARE:
			/* found in the tables after COMMIT PREPARED, by looking often */
			if (pending != NULL || wake_wanted)
				shmem_wake(MyDatabaseId, GetCurrentTimestamp());
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
			pending = NULL;
			wake_wanted = false;
			break;
		default:
			break;
	}
}

static void
launch_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	Pending    *entry;

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (pending != NULL && pending->nest_level >= level)
			pending = pending->next;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (entry = pending;
			 entry != NULL && entry->nest_level >= level; entry = entry->next)
			entry->nest_level = level - 1;
	}
}

void
launch_callbacks_register(void)
{
	RegisterXactCallback(launch_xact_callback, NULL);
	RegisterSubXactCallback(launch_subxact_callback, NULL);
}
