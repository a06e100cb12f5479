/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  What dispatcher, scouts and workers tell each other.
 *
 * A cache that may be lost at any time: numbers only, and the tables are the
 * truth.  Per database it holds when to look at it next.  Committing backends
 * and ending workers lower that time; a scout may raise it, but only if
 * nobody has woken the database since before the scout took its snapshot: so
 * no wake-up is lost.
 *
 * Without shared_preload_libraries there is none, and all this does nothing.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* Databases we can remember; more, and all are looked at now and then */
#define SHMEM_DATABASES 256

/* Scouts of a database do not follow each other sooner than this */
#define VISIT_GAP_MS	100

typedef struct SharedDatabase
{
	Oid			oid;			/* InvalidOid: free */
	TimestampTz due;			/* when to look at it next */
	uint32		wakes;			/* number of its latest wake-up */
	TimestampTz visited;		/* when a scout last went there */
	int			late;			/* scouts in a row that were called back */
	uint32		served;			/* number of the latest place it was given */
	LineState	line;			/* letters of it found no place */
	bool		mute;			/* its events cannot be told */
} SharedDatabase;

typedef struct Shared
{
	LWLock	   *lock;
	int			dispatcher;		/* its pid, 0: not running */
	uint32		wakes;			/* in all: numbers each one */
	uint32		serves;			/* the same of places */
	bool		overflow;
	SharedDatabase databases[SHMEM_DATABASES];
} Shared;

static Shared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(sizeof(Shared));
	RequestAddinShmemSpace(places_size());
	RequestNamedLWLockTranche("mailman", 2);
}

static void
shmem_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("mailman", sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(Shared));
		shared->lock = &GetNamedLWLockTranche("mailman")[0].lock;
	}
	places_startup(&GetNamedLWLockTranche("mailman")[1].lock);
	LWLockRelease(AddinShmemInitLock);
}

void
shmem_define(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
shmem_is_there(void)
{
	return shared != NULL;
}

/*
 * The entry of a database; under the lock.  A new one takes a free place, or
 * that of a database for which nothing is to be done before it is woken.
 */
static SharedDatabase *
shmem_entry(Oid database)
{
	SharedDatabase *free = NULL;
	int			i;

	for (i = 0; i < SHMEM_DATABASES; i++)
	{
		SharedDatabase *entry = &shared->databases[i];

		if (entry->oid == database)
			return entry;
		if (!OidIsValid(entry->oid))
			free = entry;
		else if (free == NULL && entry->due == DT_NOEND &&
				 entry->line == LINE_EMPTY)
			free = entry;
	}
	if (free == NULL)
	{
		shared->overflow = true;
		return NULL;
	}
	memset(free, 0, sizeof(*free));
	free->oid = database;
	free->due = DT_NOEND;
	return free;
}

/* Not under the lock: it may take others */
void
shmem_set_latch(int pid)
{
	PGPROC	   *proc = pid != 0 ? BackendPidGetProc(pid) : NULL;

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

bool
shmem_wake(Oid database, TimestampTz due)
{
	SharedDatabase *entry;
	int			dispatcher;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	/* if it is about to look there anyway, it need not be told */
	dispatcher = entry == NULL || due < entry->due ? shared->dispatcher : 0;
	if (entry != NULL)
	{
		entry->wakes = ++shared->wakes;
		entry->due = Min(entry->due, due);
	}
	LWLockRelease(shared->lock);
	shmem_set_latch(dispatcher);
	return entry != NULL;
}

static bool
shmem_set_line(Oid database, LineState line, bool more)
{
	SharedDatabase *entry;
	LineState	before = LINE_EMPTY;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
	{
		before = entry->line;
		entry->line = more ? Max(before, line) : line;
	}
	LWLockRelease(shared->lock);
	return before != LINE_EMPTY;
}

bool
shmem_wait(Oid database, LineState line)
{
	return shmem_set_line(database, line, false);
}

bool
shmem_wait_more(Oid database, LineState line)
{
	return shmem_set_line(database, line, true);
}

/* Without shared memory, what this process knows */
bool
shmem_mute(Oid database, bool mute)
{
	static bool mute_here = false;
	SharedDatabase *entry;
	bool		before = mute_here;

	mute_here = mute;
	if (shared == NULL)
		return before;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
	{
		before = entry->mute;
		entry->mute = mute;
	}
	LWLockRelease(shared->lock);
	return before;
}

bool
shmem_somebody_waits(void)
{
	bool		waits = false;
	int			i;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (i = 0; !waits && i < SHMEM_DATABASES; i++)
		waits = OidIsValid(shared->databases[i].oid) &&
			shared->databases[i].line == LINE_WAITS;
	LWLockRelease(shared->lock);
	return waits;
}

void
shmem_slot_free(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int			dispatcher = 0;
	int			i;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < SHMEM_DATABASES; i++)
	{
		SharedDatabase *entry = &shared->databases[i];

		if (OidIsValid(entry->oid) && entry->line != LINE_EMPTY)
		{
			entry->wakes = ++shared->wakes;
			entry->due = Min(entry->due, now);
			dispatcher = shared->dispatcher;
		}
	}
	LWLockRelease(shared->lock);
	shmem_set_latch(dispatcher);
}

uint32
shmem_wakes(Oid database)
{
	SharedDatabase *entry;
	uint32		wakes = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
		wakes = entry->wakes;
	LWLockRelease(shared->lock);
	return wakes;
}

void
shmem_report(Oid database, uint32 wakes, TimestampTz due)
{
	SharedDatabase *entry;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
		entry->due = entry->wakes == wakes ? due : Min(entry->due, due);
	LWLockRelease(shared->lock);
}

void
shmem_dispatcher(int pid)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->dispatcher = pid;
	LWLockRelease(shared->lock);
}

void
shmem_serve(Oid database)
{
	SharedDatabase *entry;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
		entry->served = ++shared->serves;
	LWLockRelease(shared->lock);
}

/*
 * A scout goes there now: the next one a while later, whatever happens.  How
 * many in a row were late?
 */
int
shmem_visit(Oid database)
{
	SharedDatabase *entry;
	int			late = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
	{
		entry->visited = GetCurrentTimestamp();
		late = entry->late;
	}
	LWLockRelease(shared->lock);
	return late;
}

/* It came back by itself, or had to be called back */
void
shmem_visited(Oid database, bool late)
{
	SharedDatabase *entry;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = shmem_entry(database);
	if (entry != NULL)
		entry->late = late ? entry->late + 1 : 0;
	LWLockRelease(shared->lock);
}

/* When it is to be looked at; not before it is due, nor again at once */
static TimestampTz
shmem_entry_due(const SharedDatabase *entry, TimestampTz now)
{
	if (entry->due == DT_NOEND || entry->visited > now)
		return entry->due;
	return Max(entry->due,
			   TimestampTzPlusMilliseconds(entry->visited, VISIT_GAP_MS));
}

/*
 * The database to look at first, and when.  Of those that are due the one that
 * was given a place the longest ago, so that none takes every place.
 */
TimestampTz
shmem_next(Oid *database)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = DT_NOEND;
	uint32		longest = 0;
	int			i;

	*database = InvalidOid;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (i = 0; i < SHMEM_DATABASES; i++)
	{
		SharedDatabase *entry = &shared->databases[i];
		uint32		age = shared->serves - entry->served;
		TimestampTz entry_due = Max(shmem_entry_due(entry, now), now);

		if (OidIsValid(entry->oid) && entry->due != DT_NOEND &&
			(entry_due < due || (entry_due == now && age > longest)))
		{
			*database = entry->oid;
			due = entry_due;
			longest = age;
		}
	}
	LWLockRelease(shared->lock);
	return due;
}

void
shmem_forget(Oid database)
{
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < SHMEM_DATABASES; i++)
	{
		if (shared->databases[i].oid == database)
			shared->databases[i].oid = InvalidOid;
	}
	LWLockRelease(shared->lock);
}

/* Did somebody find no room for a database?  Asking forgets it. */
bool
shmem_overflowed(void)
{
	bool		overflow;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	overflow = shared->overflow;
	shared->overflow = false;
	LWLockRelease(shared->lock);
	return overflow;
}
