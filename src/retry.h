/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  The retry schedule: how long a deferred delivery waits.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_RETRY_H
#define MAILMAN_RETRY_H

#include "postgres.h"

/* ---- retry.c: how long a deferred delivery waits ---- */

#define RETRY_STEPS_MAX 32

typedef struct RetrySchedule
{
	int			steps;
	int			seconds[RETRY_STEPS_MAX];
} RetrySchedule;

/*
 * Read "5min, 15min, 1h".  False if it is no schedule: *why is a sentence for
 * errdetail, in CurrentMemoryContext, and *hint one for errhint or NULL.
 */
extern bool retry_schedule_parse(const char *list, RetrySchedule *schedule,
								 char **why, const char **hint);

/* Seconds to wait after this many attempts (from 1); jitter from -1 to 1 */
extern double retry_delay_s(const RetrySchedule *schedule, int attempts,
							double jitter);

/* Any wait, give or take as much as a schedule's, by dice */
extern double retry_jittered(double wait);

/* retry_delay_s() in ms, with dice; schedule NULL: the setting's */
extern int64 retry_delay_ms(const RetrySchedule *schedule, int attempts);

#endif							/* MAILMAN_RETRY_H */
