/*-------------------------------------------------------------------------
 *
 * seats.c
 *	  A number of things, sessions say, shared by all workers of a database.
 *
 * A seat is an advisory lock of our own class: whoever dies gives it back.
 * Seat 0 is held in share mode by everybody who is interested, so each knows
 * how many they are and which one of them it is, and takes no more than its
 * share.  Without a server that counts there is nothing to get out of step.
 *
 * Locks are of the session, so nothing here needs a transaction but
 * seats_count(), and nothing here waits.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

/* How long those who have a seat keep it while others have none */
#define ROUND_US INT64CONST(3000000)

/* All locks of the cluster are looked through: not oftener */
#define COUNT_AGAIN_US INT64CONST(900000)

static void
seats_locktag(LOCKTAG *tag, const Seats *s, int seat)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, s->object, (uint32) seat,
						 s->class);
}

static bool
seats_lock(const Seats *s, int seat, LOCKMODE mode)
{
	LOCKTAG		tag;

	seats_locktag(&tag, s, seat);
	return LockAcquire(&tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
seats_unlock(const Seats *s, int seat, LOCKMODE mode)
{
	LOCKTAG		tag;

	seats_locktag(&tag, s, seat);
	LockRelease(&tag, mode, true);
}

/* Nobody else is known, and nothing is held */
void
seats_init(Seats *s, uint16 class, uint32 object, int capacity)
{
	memset(s, 0, sizeof(*s));
	s->class = class;
	s->object = object;
	s->capacity = Min(capacity, SEATS_MAX);
	s->share = s->capacity;
	s->users = 1;
}

/* Be one of those who are interested; false: we are already */
bool
seats_open(Seats *s)
{
	if (s->open)
		return false;
	s->open = seats_lock(s, 0, ShareLock);
	return s->open;
}

/* The capacity has changed; seats beyond it go when they are given back */
void
seats_resize(Seats *s, int capacity)
{
	s->capacity = Min(capacity, SEATS_MAX);
	s->share = s->open ? Min(s->share, s->capacity) : s->capacity;
}

/* Hold so many, as far as the share and those still free allow */
int
seats_take(Seats *s, int wanted)
{
	int			seat;

	wanted = Min(wanted, Min(s->share, s->capacity));
	for (seat = 1; seat <= s->capacity && s->held < wanted; seat++)
	{
		if (s->mine[seat] || !seats_lock(s, seat, ExclusiveLock))
			continue;
		s->mine[seat] = true;
		s->held++;
	}
	return s->held;
}

/* Give back all but so many */
void
seats_keep(Seats *s, int keep)
{
	int			seat;

	for (seat = SEATS_MAX; seat > 0 && s->held > keep; seat--)
	{
		if (!s->mine[seat])
			continue;
		seats_unlock(s, seat, ExclusiveLock);
		s->mine[seat] = false;
		s->held--;
	}
}

/* A share that nobody counts any more must not bind us */
void
seats_close(Seats *s)
{
	seats_keep(s, 0);
	if (!s->open)
		return;
	seats_unlock(s, 0, ShareLock);
	s->open = false;
	s->share = s->capacity;
	s->users = 1;
	seats_wake(s);
	s->nothers = 0;
}

/*
 * Who else is interested?  Sets users and our share: the same for all, the
 * first ones by pid get what does not divide.  If there are fewer seats than
 * users they go round, by the clock that all of them see.  Call in an
 * extension scope.
 */
void
seats_count(Seats *s)
{
	static Statement interested = {
		.sql = "SELECT l.pid FROM pg_catalog.pg_locks l"
		" WHERE l.locktype = 'advisory' AND l.granted"
		" AND l.database = $1 AND l.classid = $2 AND l.objid = 0"
		" AND l.objsubid = $3::int2 ORDER BY l.pid",
		.nargs = 3,
		.argtypes = {OIDOID, OIDOID, INT4OID}
	};
	Datum		values[3] = {ObjectIdGetDatum(MyDatabaseId),
	ObjectIdGetDatum(s->object), Int32GetDatum(s->class)};
	int			users;
	int			rank = 0;
	int			i;

	if (!s->open || transfer_now() < s->count_us)
		return;
	users = (int) statement_run(&interested, SPI_OK_SELECT, values, NULL);
	s->count_us = transfer_now() + COUNT_AGAIN_US;
	s->nothers = 0;
	for (i = 0; i < users; i++)
	{
		bool		isnull;
		int			pid = DatumGetInt32(row_datum(i, 1, &isnull));

		if (pid == MyProcPid)
			rank = i;
		else if (s->nothers < (int) lengthof(s->others))
			s->others[s->nothers++] = pid;
	}
	if (s->users != users)
		s->again_us = s->wake_us = 0;
	s->users = Max(users, 1);
	if (s->users > s->capacity)
		rank = (int) ((rank + GetCurrentTimestamp() / ROUND_US) % s->users);
	s->share = s->capacity / s->users + (rank < s->capacity % s->users);
}

/* Tell the others that something has changed for them */
void
seats_wake(const Seats *s)
{
	int			i;

	for (i = 0; i < s->nothers; i++)
	{
		PGPROC	   *proc = BackendPidGetProc(s->others[i]);

		if (proc != NULL)
			SetLatch(&proc->procLatch);
	}
}
