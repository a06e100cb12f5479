/*-------------------------------------------------------------------------
 *
 * slots.c
 *	  Moments at which a mail may leave.
 *
 * They are reserved by the grant, a few grants ahead, and used up one by one.
 * A moment that has passed is not lost, but what could not leave in time does
 * not leave in a crowd either: but for a small part of the rate's unit mails
 * keep their distance.
 *
 * Pure: no server, no socket, no clock.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker.h"

/* How much faster than the rate slots that passed are used up */
#define MAKE_UP 1.02

int
slots_count(const Slots *slots)
{
	int			count = -slots->used;
	int			i;

	for (i = 0; i < slots->ngrants; i++)
		count += slots->grants[i].count;
	return count;
}

/* When the next mail may leave; -1: not before more slots are reserved */
int64
slots_next(const Slots *slots)
{
	if (slots->ngrants == 0)
		return -1;
	return Max(pace_slot_us(&slots->grants[0], slots->used),
			   slots->paced_us + slots->spacing_us);
}

/* Use the first one, if its time has come */
bool
slots_pop(Slots *slots, int64 now)
{
	if (slots->ngrants == 0 || slots_next(slots) > now)
		return false;
	slots->paced_us = Max(slots->paced_us + slots->spacing_us,
						  now - slots->tolerance_us);
	if (++slots->used < slots->grants[0].count)
		return true;
	slots->used = 0;
	slots->ngrants--;
	memmove(&slots->grants[0], &slots->grants[1],
			slots->ngrants * sizeof(slots->grants[0]));
	return true;
}

/*
 * The grant is in another clock; to_monotonic leads to ours.  The rate's unit
 * and how many share it tell how fast we may make up for slots that passed.
 */
void
slots_add(Slots *slots, const PaceGrant *grant, int64 to_monotonic,
		  int64 unit_us, int users)
{
	PaceGrant  *added;

	slots->ask_us = grant->next_us + to_monotonic;
	slots->spacing_us = (int64) (grant->interval_us * users / MAKE_UP);
	slots->tolerance_us = Min(unit_us / 20, SLOTS_HORIZON_US) / users -
		slots->spacing_us;
	slots->tolerance_us = Max(slots->tolerance_us, 0);
	if (grant->count == 0 || slots->ngrants == SLOTS_GRANTS)
		return;
	added = &slots->grants[slots->ngrants++];
	*added = *grant;
	added->first_us += to_monotonic;
}
