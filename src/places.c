/*-------------------------------------------------------------------------
 *
 * places.c
 *	  The places for letters' processes, mailman.max_workers in all.
 *
 * A process that starts a letter's worker reserves a place for it before the
 * process is registered, and the process keeps it until it is gone: so there
 * are never more processes than places, whatever they wait for, and never two
 * for one letter.  A reservation whose process does not come lapses.
 *
 * The places also tell who has which letter.  Somebody who posts a letter that
 * has a place leaves a mark there and wakes its process.  A process that ends
 * with a mark left since it last looked at the tables lets the dispatcher look
 * at them: so no posting falls between a last look and an end.
 *
 * In shared memory, hence lost with a crash, as are the processes.  Without
 * shared_preload_libraries there are no places: every process gets in, and the
 * locks of locks.c alone keep order.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* As many as mailman.max_workers may be */
#define PLACES_MAX		1000

/* Letters known to have found a lock in their way; more, and the oldest goes */
#define BLOCKED_MAX		64

/* Such a letter is not worth a place that somebody has for so long */
#define BLOCKED_MS		10000

/* Nobody is told to go for the sake of more than so many at once */
#define SPARE_MAX		16

typedef struct Place
{
	Oid			database;		/* InvalidOid: free */
	uint32		number;			/* of the reservation */
	int64		letter_id;
	int64		since_us;		/* of the reservation, by transfer_now() */
	int			pid;			/* 0: reserved, the process is to come */
	bool		marked;			/* somebody had work for it */
	bool		poked;			/* and has woken it since its last turn */
	bool		spare;			/* its process could do without */
} Place;

/* A letter whose process had to go, as somebody's lock was in its way */
typedef struct Blocked
{
	Oid			database;
	int64		letter_id;
	TimestampTz at;
} Blocked;

typedef struct Places
{
	LWLock	   *lock;
	uint32		reservations;	/* numbers them */
	int			top;			/* no place from here on was ever used */
	Place		place[PLACES_MAX];
	Blocked		blocked[BLOCKED_MAX];
} Places;

static Places *places = NULL;

/* Which is ours, from 1; 0: none */
static int	place_held = 0;

Size
places_size(void)
{
	return sizeof(Places);
}

/* The lock is another than shmem.c's, and is taken before that */
void
places_startup(LWLock *lock)
{
	bool		found;

	places = ShmemInitStruct("mailman places", sizeof(Places), &found);
	if (found)
		return;
	memset(places, 0, sizeof(Places));
	places->lock = lock;
}

static bool
place_is_free(const Place *place, int64 now)
{
	return !OidIsValid(place->database) ||
		(place->pid == 0 && now - place->since_us > PLACE_LAPSE_US);
}

/* The place of a letter; under the lock */
static Place *
place_find(Oid database, int64 letter_id)
{
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < places->top; i++)
	{
		Place	   *place = &places->place[i];

		if (place->database == database && place->letter_id == letter_id &&
			!place_is_free(place, now))
			return place;
	}
	return NULL;
}

/* One that may be taken, if there are not as many as there may be */
static Place *
place_find_free(void)
{
	int64		now = transfer_now();
	Place	   *free = NULL;
	int			taken = 0;
	int			i;

	for (i = 0; i < places->top; i++)
	{
		Place	   *place = &places->place[i];

		if (!place_is_free(place, now))
			taken++;
		else if (free == NULL)
			free = place;
	}
	if (taken >= mailman_max_workers)
		return NULL;
	return free ? free : &places->place[places->top++];
}

/* The processes that could do without their places; under the lock */
static int
place_find_spare(int *pids)
{
	int			count = 0;
	int			i;

	for (i = 0; i < places->top && count < SPARE_MAX; i++)
	{
		Place	   *place = &places->place[i];

		if (OidIsValid(place->database) && place->spare)
			pids[count++] = place->pid;
	}
	return count;
}

static bool
blocked_is(const Blocked *blocked, Oid database, int64 letter_id)
{
	return blocked->database == database && blocked->letter_id == letter_id;
}

/* When had it to go, as a lock was in its way?  0: never; under the lock. */
static TimestampTz
blocked_at(Oid database, int64 letter_id)
{
	int			i;

	for (i = 0; i < BLOCKED_MAX; i++)
	{
		if (blocked_is(&places->blocked[i], database, letter_id))
			return places->blocked[i].at;
	}
	return 0;
}

/* Just now? */
static bool
blocked_is_fresh(TimestampTz at)
{
	TimestampTz now = GetCurrentTimestamp();

	return at <= now && !TimestampDifferenceExceeds(at, now, BLOCKED_MS);
}

PlaceAnswer
place_reserve(Oid database, int64 letter_id, PlaceTicket *ticket)
{
	PlaceAnswer answer = PLACE_RESERVED;
	int			pids[SPARE_MAX];
	int			npids = 0;
	Place	   *place;

	memset(ticket, 0, sizeof(*ticket));
	if (places == NULL)
		return PLACE_RESERVED;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	if ((place = place_find(database, letter_id)) != NULL)
	{
		answer = PLACE_TAKEN;
		place->marked = true;
		if (!place->poked)
			pids[npids++] = place->pid;
		place->poked = true;
	}
	else if ((place = place_find_free()) != NULL)
	{
		memset(place, 0, sizeof(*place));
		place->database = database;
		place->number = ++places->reservations;
		place->letter_id = letter_id;
		place->since_us = transfer_now();
		ticket->place = place - places->place + 1;
		ticket->number = place->number;
		shmem_serve(database);
	}
	else
	{
		LineState	line = blocked_is_fresh(blocked_at(database, letter_id)) ?
			LINE_BLOCKED : LINE_WAITS;

		/* under the lock, so those who leave from now on know */
		answer = shmem_wait_more(database, line) ? PLACE_NONE_STILL :
			PLACE_NONE;
		npids = place_find_spare(pids);
	}
	LWLockRelease(places->lock);
	while (npids > 0)
		shmem_set_latch(pids[--npids]);
	return answer;
}

/* Is a ticket still good?  Under the lock. */
static Place *
place_of(const PlaceTicket *ticket)
{
	Place	   *place;

	if (ticket->place < 1 || ticket->place > PLACES_MAX)
		return NULL;
	place = &places->place[ticket->place - 1];
	return OidIsValid(place->database) && place->pid == 0 &&
		place->number == ticket->number ? place : NULL;
}

void
place_return(const PlaceTicket *ticket)
{
	Place	   *place;

	if (places == NULL)
		return;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	place = place_of(ticket);
	if (place != NULL)
		memset(place, 0, sizeof(*place));
	LWLockRelease(places->lock);
}

static bool
place_occupy(const PlaceTicket *ticket)
{
	Place	   *place;

	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	place = place_of(ticket);
	if (place != NULL)
	{
		place->pid = MyProcPid;
		place_held = ticket->place;
	}
	LWLockRelease(places->lock);
	return place != NULL;
}

bool
place_enter(Oid database, int64 letter_id, const PlaceTicket *ticket)
{
	PlaceTicket another;

	if (places == NULL || place_occupy(ticket))
		return true;
	/* it has lapsed: perhaps there is another */
	return place_reserve(database, letter_id, &another) == PLACE_RESERVED &&
		place_occupy(&another);
}

/* Ours, once more; under the lock */
static Place *
place_mine(void)
{
	return &places->place[place_held - 1];
}

void
place_look(void)
{
	if (place_held == 0)
		return;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	place_mine()->marked = place_mine()->poked = false;
	LWLockRelease(places->lock);
}

void
place_heed(void)
{
	if (place_held == 0)
		return;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	place_mine()->poked = false;
	LWLockRelease(places->lock);
}

bool
place_spare(bool spare)
{
	static bool told = false;

	if (place_held == 0)
		return false;
	if (spare != told)
	{
		LWLockAcquire(places->lock, LW_EXCLUSIVE);
		place_mine()->spare = spare;
		LWLockRelease(places->lock);
		told = spare;
	}
	return spare && shmem_somebody_waits();
}

int
place_number(void)
{
	return place_held;
}

bool
place_leave(void)
{
	bool		marked;

	if (place_held == 0)
		return false;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	marked = place_mine()->marked;
	memset(place_mine(), 0, sizeof(Place));
	LWLockRelease(places->lock);
	place_held = 0;
	return marked;
}

bool
place_is_taken(Oid database, int64 letter_id, bool *coming)
{
	Place	   *place;

	*coming = false;
	if (places == NULL)
		return false;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	place = place_find(database, letter_id);
	if (place != NULL)
	{
		place->marked = true;
		*coming = place->pid == 0;
	}
	LWLockRelease(places->lock);
	return place != NULL;
}

/* ---- letters that found a lock in their way ---- */

void
place_blocked(Oid database, int64 letter_id, bool blocked)
{
	Blocked    *entry;
	int			i;

	if (places == NULL)
		return;
	LWLockAcquire(places->lock, LW_EXCLUSIVE);
	entry = &places->blocked[0];
	for (i = 0; i < BLOCKED_MAX; i++)
	{
		if (blocked_is(&places->blocked[i], database, letter_id))
		{
			entry = &places->blocked[i];
			break;
		}
		if (places->blocked[i].at < entry->at)
			entry = &places->blocked[i];
	}
	if (blocked)
	{
		entry->database = database;
		entry->letter_id = letter_id;
		entry->at = GetCurrentTimestamp();
	}
	else if (blocked_is(entry, database, letter_id))
		memset(entry, 0, sizeof(*entry));
	LWLockRelease(places->lock);
}

TimestampTz
place_blocked_at(Oid database, int64 letter_id)
{
	TimestampTz at;

	if (places == NULL)
		return 0;
	LWLockAcquire(places->lock, LW_SHARED);
	at = blocked_at(database, letter_id);
	LWLockRelease(places->lock);
	return at;
}

bool
place_is_blocked(Oid database, int64 letter_id)
{
	return blocked_is_fresh(place_blocked_at(database, letter_id));
}
