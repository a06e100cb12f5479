/*-------------------------------------------------------------------------
 *
 * pace.h
 *	  How fast mail may leave: rates, warm-up, the slots of a rate, and what
 *	  to do when a relay asks for less.
 *
 * Pure: no server, no socket, no clock; times are microseconds of whatever
 * clock the caller has.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_PACE_H
#define MAILMAN_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- rates ---- */

#define RATE_COUNT_MAX	1000000

/* For errhint, wherever a rate is given */
#define RATE_HINT "Write a number per s, min, h or d, such as \"14/s\"."

/* So many mails in so long a time; count 0: no limit */
typedef struct Rate
{
	int			count;
	int64_t		unit_us;
} Rate;

/*
 * Read "n/s", "n/min", "n/h" or "n/d", n from 1 to RATE_COUNT_MAX.  False if
 * it is none: *rate is untouched and why holds a sentence for errdetail.
 */
extern bool rate_parse(const char *string, size_t len, Rate *rate,
					   char *why, size_t why_size);

/* From one mail to the next; 0 if there is no limit */
extern double rate_interval_us(const Rate *rate);

#define RATE_DAYS_MAX	90

/* A rate, and those of the first days of a relay that is new to its readers */
typedef struct RatePlan
{
	Rate		rate;
	int			days;			/* 0: no warm-up */
	Rate		warm_up[RATE_DAYS_MAX];
	int64_t		start_us;		/* when the first day begins, Unix time */
} RatePlan;

/* Read "200/d, 500/d, ...", a rate per day; else as rate_parse() */
extern bool rate_plan_parse_days(const char *list, RatePlan *plan,
								 char *why, size_t why_size);

/*
 * The rate at a time (Unix).  The first day's counts before the first day,
 * too; after the last one plan->rate does, and it is never exceeded before.
 */
extern Rate rate_plan_at(const RatePlan *plan, int64_t now_us);

/* ---- slots (see pace.c) ---- */

/* What all who share a pace must agree on */
typedef struct Pace
{
	double		interval_us;	/* from one slot to the next, > 0 */
	int64_t		unit_us;		/* of the rate: bounds what is made good */
	int64_t		horizon_us;		/* how far ahead slots are given away, >= 0 */
} Pace;

typedef struct PaceGrant
{
	int			count;			/* slots given, at most as many as wanted */
	int64_t		first_us;		/* time of the first */
	double		interval_us;	/* from one to the next */
	int64_t		tat_us;			/* to be stored, even if count is 0 */
	int64_t		next_us;		/* from when on there is one more; maybe now */
} PaceGrant;

/*
 * Take up to wanted slots.  tat_us is what the latest grant said (anything
 * long ago if there was none); now_us must have been read after tat_us was
 * locked, or what somebody else has just taken would look like a fault.
 */
extern PaceGrant pace_take(const Pace *pace, int64_t tat_us, int64_t now_us,
						   int wanted);

/* When the mail of slot i (from 0) may leave; at once if that is past */
extern int64_t pace_slot_us(const PaceGrant *grant, int i);

/* ---- a relay that asks for less ---- */

#define PACE_FLOOR_PER_S	0.1 /* one mail in ten seconds */

/* Half of it, but not below the floor (nor faster than it was) */
extern double pace_slow_down(double current_per_s, double floor_per_s);

/* What it was slowed down to has doubled every minute since */
extern double pace_slowed_at(double slow_per_s, int64_t slowed_at_us,
							 int64_t now_us);

#endif							/* MAILMAN_PACE_H */
