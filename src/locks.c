/*-------------------------------------------------------------------------
 *
 * locks.c
 *	  The lock that keeps a letter's worker alone, and the slots.
 *
 * Both are advisory locks of the session: they outlive its transactions, and
 * the server releases them whatever becomes of the process.  Without shared
 * memory they alone tell which letters have a worker, and how many there are.
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
#include "utils/timestamp.h"

/* Fourth field of our advisory locks; pg_advisory_lock() uses 1 and 2 */
#define LETTER_LOCK_CLASS 0x6d6c
#define SLOT_LOCK_CLASS 0x6d73

/* As many as mailman.max_workers may be */
#define SLOTS_MAX 1000

/* The holder of a letter's lock is looked up again after this */
#define HOLDER_KNOWN_MS 1000

/* Which of the slots is ours, from 1; 0: none */
static int	slot_held = 0;

static void
letter_locktag(LOCKTAG *tag, int64 letter_id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId,
						 (uint32) (((uint64) letter_id) >> 32),
						 (uint32) letter_id, LETTER_LOCK_CLASS);
}

/* Take the letter's session lock if it is free */
bool
letter_lock(int64 letter_id)
{
	LOCKTAG		tag;

	letter_locktag(&tag, letter_id);
	return LockAcquire(&tag, ExclusiveLock, true, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

void
letter_unlock(int64 letter_id)
{
	LOCKTAG		tag;

	letter_locktag(&tag, letter_id);
	LockRelease(&tag, ExclusiveLock, true);
}

/* Is it still?  Code that runs in our session can release it. */
bool
letter_lock_is_ours(int64 letter_id)
{
	LOCKTAG		tag;

	letter_locktag(&tag, letter_id);
	return compat_lock_held_by_me(&tag, ExclusiveLock);
}

/* The slots are locks of no database, so they count for the whole cluster */
static void
slot_locktag(LOCKTAG *tag, int slot)
{
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, 0, (uint32) slot, SLOT_LOCK_CLASS);
}

/*
 * A process that has a place is sure of a slot: of the same number, or if a
 * process that was thought lost has that, of another.
 */
bool
slot_lock(void)
{
	int			first = place_number();
	int			most = first > 0 ? SLOTS_MAX : mailman_max_workers;
	int			i;

	for (i = 0; slot_held == 0 && i < most; i++)
	{
		int			slot = (Max(first, 1) - 1 + i) % most + 1;
		LOCKTAG		tag;

		slot_locktag(&tag, slot);
		if (LockAcquire(&tag, ExclusiveLock, true, true) !=
			LOCKACQUIRE_NOT_AVAIL)
			slot_held = slot;
	}
	return slot_held != 0;
}

/* True: it was ours */
bool
slot_unlock(void)
{
	LOCKTAG		tag;

	if (slot_held == 0)
		return false;
	slot_locktag(&tag, slot_held);
	LockRelease(&tag, ExclusiveLock, true);
	slot_held = 0;
	return true;
}

int
slot_count(void)
{
	static Statement count = {
		.sql = "SELECT count(*) FROM pg_catalog.pg_locks"
		" WHERE locktype = 'advisory' AND granted AND database = 0"
		" AND classid = 0 AND objsubid = $1::int2",
		.nargs = 1,
		.argtypes = {INT4OID}
	};
	Datum		values[1] = {Int32GetDatum(SLOT_LOCK_CLASS)};

	statement_run(&count, SPI_OK_SELECT, values, NULL);
	return (int) row_int64(0, 1, 0);
}

/* see process.h; nothing is thrown if memory for locks is short */
bool
letter_is_locked(int64 letter_id)
{
	LOCKTAG		tag;

	letter_locktag(&tag, letter_id);
	if (compat_lock_try(&tag, ShareLock) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, true);
	return false;
}

/* The process that holds the lock, 0: none */
static int
letter_find_holder(int64 letter_id)
{
	static Statement holder = {
		.sql = "SELECT l.pid FROM pg_catalog.pg_locks l"
		" WHERE l.locktype = 'advisory' AND l.granted"
		" AND l.database = $1 AND l.classid = $2 AND l.objid = $3"
		" AND l.objsubid = $4::int2 AND l.mode = 'ExclusiveLock'",
		.nargs = 4,
		.argtypes = {OIDOID, OIDOID, OIDOID, INT4OID}
	};
	LOCKTAG		tag;
	Datum		values[4];
	bool		isnull;

	letter_locktag(&tag, letter_id);
	values[0] = ObjectIdGetDatum(tag.locktag_field1);
	values[1] = ObjectIdGetDatum(tag.locktag_field2);
	values[2] = ObjectIdGetDatum(tag.locktag_field3);
	values[3] = Int32GetDatum(tag.locktag_field4);
	return statement_run(&holder, SPI_OK_SELECT, values, NULL) == 0 ? 0 :
		DatumGetInt32(row_datum(0, 1, &isnull));
}

/*
 * The same, as it was a moment ago, for one that asks again and again; and the
 * lock is tried, as it will be at COMMIT.
 */
int
letter_holder(int64 letter_id)
{
	static int64 known_letter = 0;
	static int	known_pid = 0;
	static TimestampTz known_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!letter_is_locked(letter_id))
		return 0;
	if (known_pid == 0 || known_letter != letter_id ||
		TimestampDifferenceExceeds(known_at, now, HOLDER_KNOWN_MS))
	{
		known_pid = letter_find_holder(letter_id);
		known_letter = letter_id;
		known_at = now;
	}
	return known_pid;
}

/*
 * Set the latch of the process that holds the lock, so that a worker which
 * waits for a retry sees new work at once.  Call in an extension scope.
 */
void
letter_wake(int64 letter_id)
{
	shmem_set_latch(letter_find_holder(letter_id));
}
