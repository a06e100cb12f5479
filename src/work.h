/*-------------------------------------------------------------------------
 *
 * work.h
 *	  How much may be done for a mail.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_WORK_H
#define MAILMAN_WORK_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "lib/stringinfo.h"

/* ---- work.c: how much may be done for a mail ---- */

/*
 * A step is what takes some hundred nanoseconds at most: an op of a template, a
 * name looked for in one object, so many bytes copied, escaped or encoded.
 */
#define WORK_BYTES		64
#define WORK_PULSE		2048	/* steps between two callbacks: below 1 ms */
#define WORK_SLICE		16384	/* most bytes that are done at once */
#define WORK_STEPS_MAX	INT64CONST(10000000)
#define WORK_ROOM_MAX	((size_t) 512 * 1024 * 1024)

typedef struct Work
{
	int64		quota;			/* steps until the next callback */
	int64		left;			/* steps beyond these */
	int64		steps;			/* there were at first */
	size_t		room;			/* bytes that what is made next may have */
	bool		full;			/* it would have more */
	bool		spent;			/* no step was left */
	int64		pulses;			/* callbacks so far */
	void		(*pulse) (void);	/* may not return; or NULL */
} Work;

extern void work_begin(Work *work, int64 steps, void (*pulse) (void));

/* The same once more, with the same callback */
extern void work_renew(Work *work, int64 steps);

/* The quota is used up; false: so is everything */
extern bool work_more(Work *work);

/* Count so many steps; false: there are not so many, and never will be */
static inline bool
work_do(Work *work, int64 steps)
{
	return (work->quota -= steps) >= 0 || work_more(work);
}

/* One that is given no work counts for itself */
static inline Work *
work_given(Work *work, Work *own)
{
	if (work == NULL)
		work_begin(work = own, WORK_STEPS_MAX, NULL);
	return work;
}

/* Count what so many bytes take */
extern bool work_bytes(Work *work, size_t bytes);

/*
 * Make room in out for so many bytes and a NUL; false if there would then be
 * more than work->room behind start.
 */
extern bool work_grow(Work *work, StringInfo out, size_t start, size_t len);

#endif							/* MAILMAN_WORK_H */
