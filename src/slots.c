/*-------------------------------------------------------------------------
 *
 * slots.c
 *	  Moments at which a mail may leave.
 *
 * They are reserved by the grant, a few grants ahead, and used up one by one.
 * A moment that has passed is not lost: the mail leaves at once.
 *
 * Pure: no server, no socket, no clock.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker.h"

int
slots_count(const Slots *slots)
{
	int			count = -slots->used;
	int			i;

	for (i = 0; i < slots->ngrants; i++)
		count += slots->grants[i].count;
	return count;
}

int64
slots_next(const Slots *slots)
{
	if (slots->ngrants == 0)
		return -1;
	return pace_slot_us(&slots->grants[0], slots->used);
}

/* Use the first one, if its time has come */
bool
slots_pop(Slots *slots, int64 now)
{
	if (slots->ngrants == 0 || slots_next(slots) > now)
		return false;
	if (++slots->used < slots->grants[0].count)
		return true;
	slots->used = 0;
	slots->ngrants--;
	memmove(&slots->grants[0], &slots->grants[1],
			slots->ngrants * sizeof(slots->grants[0]));
	return true;
}

/* The grant is in another clock; to_monotonic leads to ours */
void
slots_add(Slots *slots, const PaceGrant *grant, int64 to_monotonic)
{
	PaceGrant  *added;

	slots->ask_us = grant->next_us + to_monotonic;
	if (grant->count == 0 || slots->ngrants == SLOTS_GRANTS)
		return;
	added = &slots->grants[slots->ngrants++];
	*added = *grant;
	added->first_us += to_monotonic;
}
