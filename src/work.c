/*-------------------------------------------------------------------------
 *
 * work.c
 *	  How much work one mail may be, and what is looked at meanwhile.
 *
 * Templates and data are written by users, and what they ask for may have no
 * end that anybody would live to see.  So everything that is done for a mail
 * counts as steps, and there are only so many.
 *
 * Nor must a mail that comes to its end keep a process from hearing what it is
 * told.  The pure layer knows nothing of interrupts; it calls back every now
 * and then.  The callback may not return (in a server it throws), so nobody
 * holds what nobody else would free while he counts.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

/* see work.h */
void
work_begin(Work *work, int64 steps, void (*pulse) (void))
{
	memset(work, 0, sizeof(*work));
	work->steps = steps;
	work->pulse = pulse;
	work_renew(work, steps);
}

/* see work.h */
void
work_renew(Work *work, int64 steps)
{
	work->steps = steps;
	work->quota = Min(steps, WORK_PULSE);
	work->left = steps - work->quota;
	work->room = WORK_ROOM_MAX;
	work->full = false;
	work->spent = false;
}

/* see work.h */
bool
work_more(Work *work)
{
	int64		more;

	work->pulses++;
	if (work->pulse != NULL)
		work->pulse();
	work->left += work->quota;	/* which is below zero */
	work->quota = 0;
	if (work->left < 0)
	{
		work->left = -1;
		work->spent = true;
		return false;
	}
	more = Min(work->left, WORK_PULSE);
	work->left -= more;
	work->quota = more;
	return true;
}

/* see work.h */
bool
work_bytes(Work *work, size_t bytes)
{
	for (; bytes > WORK_SLICE; bytes -= WORK_SLICE)
	{
		if (!work_do(work, WORK_SLICE / WORK_BYTES))
			return false;
	}
	return work_do(work, (int64) (bytes / WORK_BYTES) + 1);
}

/* see work.h */
bool
work_grow(Work *work, StringInfo out, size_t start, size_t len)
{
	size_t		needed = (size_t) out->len + len + 1;
	size_t		limit = start + work->room + 1;
	size_t		size = (size_t) out->maxlen;

	if (needed > limit)
	{
		work->full = true;
		return false;
	}
	while (size < needed)
		size *= 2;
	/* what it has already it keeps */
	size = Max(Min(size, limit), (size_t) out->maxlen);
	out->data = repalloc(out->data, size);
	out->maxlen = (int) size;
	return true;
}
