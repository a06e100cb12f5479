/*-------------------------------------------------------------------------
 *
 * pure_pace_test.c
 *	  Tests of pace.c: what is a rate, and that no simulated crowd of callers
 *	  gets more than it, or much less.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include <math.h>

#include "pace.h"

#define SECOND	INT64CONST(1000000)
#define MINUTE	(60 * SECOND)
#define HOUR	(60 * MINUTE)
#define DAY		(24 * HOUR)

/* Some time in November 2026 */
#define NOW		(INT64CONST(1795345351) * SECOND)

/* ---- rates ---- */

typedef struct RateCase
{
	const char *text;
	int			count;			/* 0: refused */
	int64		unit_us;
	const char *why;
} RateCase;

#define NO_RATE		"It is not a rate."
#define BAD_NUMBER	"The number must be from 1 to 1000000."
#define BAD_UNIT	"The unit must be s, min, h or d."

static const RateCase rates[] = {
	{"14/s", 14, SECOND},
	{"1/min", 1, MINUTE},
	{"100/h", 100, HOUR},
	{"200/d", 200, DAY},
	{"1000000/s", 1000000, SECOND},
	{"0014/s", 14, SECOND},
	{" \t14 / s\n", 14, SECOND},
	{"", 0, 0, NO_RATE},
	{"  ", 0, 0, NO_RATE},
	{"fast", 0, 0, NO_RATE},
	{"/s", 0, 0, NO_RATE},
	{"-1/s", 0, 0, NO_RATE},
	{"+1/s", 0, 0, NO_RATE},
	{"1.5/s", 0, 0, NO_RATE},
	{"1e3/s", 0, 0, NO_RATE},
	{"14 s", 0, 0, NO_RATE},
	{"14 per s", 0, 0, NO_RATE},
	{"1 4/s", 0, 0, NO_RATE},
	{"14", 0, 0, "It has no unit."},
	{"14 ", 0, 0, "It has no unit."},
	{"0/s", 0, 0, BAD_NUMBER},
	{"1000001/s", 0, 0, BAD_NUMBER},
	{"99999999999999999999/s", 0, 0, BAD_NUMBER},
	{"0", 0, 0, BAD_NUMBER},
	{"14/", 0, 0, BAD_UNIT},
	{"14/sec", 0, 0, BAD_UNIT},
	{"10/m", 0, 0, BAD_UNIT},
	{"14/S", 0, 0, BAD_UNIT},
	{"14/mi", 0, 0, BAD_UNIT},
	{"14/minute", 0, 0, BAD_UNIT},
	{"14/hour", 0, 0, BAD_UNIT},
	{"14/day", 0, 0, BAD_UNIT},
	{"14/w", 0, 0, BAD_UNIT},
	{"14/s s", 0, 0, BAD_UNIT},
	{"14/s/s", 0, 0, BAD_UNIT},
	{"14/5min", 0, 0, BAD_UNIT},
	{"14//s", 0, 0, BAD_UNIT},
};

static void
test_rate_parse(void)
{
	Rate		none = {0, SECOND};
	Rate		some = {14, SECOND};
	char		why[80];
	int			i;

	for (i = 0; i < COUNT(rates); i++)
	{
		const RateCase *c = &rates[i];
		Rate		rate = {-1, -1};
		bool		parsed;

		why[0] = '\0';
		parsed = rate_parse(c->text, strlen(c->text), &rate, why,
							sizeof(why));
		if (c->count > 0)
			parsed = parsed && rate.count == c->count &&
				rate.unit_us == c->unit_us;
		else
			parsed = !parsed && rate.count == -1 && strcmp(why, c->why) == 0;
		if (!ok(parsed, "rate %d", i))
			diag("\"%s\": %d, %s", c->text, rate.count, why);
	}
	ok(rate_parse("14/sec", 4, &none, why, sizeof(why)) && none.count == 14,
	   "no byte behind the length is read");
	ok(!rate_parse("no", 2, &some, why, 8) && strcmp(why, "It is n") == 0,
	   "a short why is cut");
	none.count = 0;
	ok(rate_interval_us(&none) == 0, "no limit, no interval");
	ok(fabs(rate_interval_us(&some) - 71428.571) < 0.001, "interval of 14/s");
}

static void
test_rate_days(void)
{
	RatePlan	plan = {.days = -1};
	StringInfoData days;
	char		why[80];
	int			i;

	ok(rate_plan_parse_days("200/d, 500/d,1000/d ", &plan, why, sizeof(why)) &&
	   plan.days == 3 && plan.warm_up[0].count == 200 &&
	   plan.warm_up[2].count == 1000 && plan.warm_up[2].unit_us == DAY,
	   "three days");
	ok(rate_plan_parse_days("7/h", &plan, why, sizeof(why)) && plan.days == 1,
	   "one day");
	ok(!rate_plan_parse_days("", &plan, why, sizeof(why)) &&
	   strcmp(why, "Day 1: " NO_RATE) == 0, "no day");
	ok(!rate_plan_parse_days("1/d, 2/d,", &plan, why, sizeof(why)) &&
	   strcmp(why, "Day 3: " NO_RATE) == 0, "a day is missing");
	ok(!rate_plan_parse_days("1/d, 2/day", &plan, why, sizeof(why)) &&
	   strcmp(why, "Day 2: " BAD_UNIT) == 0, "a day is bad");
	ok(plan.days == 1 && plan.warm_up[0].count == 7,
	   "bad days leave the plan alone");

	initStringInfo(&days);
	for (i = 1; i <= RATE_DAYS_MAX; i++)
		appendStringInfo(&days, "%s%d/d", i > 1 ? "," : "", i);
	ok(rate_plan_parse_days(days.data, &plan, why, sizeof(why)) &&
	   plan.days == RATE_DAYS_MAX && plan.warm_up[89].count == 90, "90 days");
	appendStringInfoString(&days, ",1/d");
	ok(!rate_plan_parse_days(days.data, &plan, why, sizeof(why)) &&
	   strcmp(why, "It has more than 90 days.") == 0, "91 days");
}

static void
test_rate_plan(void)
{
	RatePlan	plan = {.rate = {1000, DAY}};
	char		why[80];

	ok(rate_plan_at(&plan, NOW).count == 1000, "without warm-up: the rate");
	ok(rate_plan_parse_days("200/d, 500/d, 1/s", &plan, why, sizeof(why)),
	   "a warm-up");
	plan.start_us = NOW;
	ok(rate_plan_at(&plan, 0).count == 200 &&
	   rate_plan_at(&plan, NOW - 1).count == 200, "before the first day");
	ok(rate_plan_at(&plan, NOW).count == 200 &&
	   rate_plan_at(&plan, NOW + DAY - 1).count == 200, "the first day");
	ok(rate_plan_at(&plan, NOW + DAY).count == 500, "the second day");
	ok(rate_plan_at(&plan, NOW + 2 * DAY).count == 1000,
	   "a day that is faster than the rate");
	ok(rate_plan_at(&plan, NOW + 3 * DAY).count == 1000 &&
	   rate_plan_at(&plan, NOW + 9999 * DAY).count == 1000, "afterwards");
	plan.rate.count = 0;
	ok(rate_plan_at(&plan, NOW + 2 * DAY).unit_us == SECOND &&
	   rate_plan_at(&plan, NOW + 3 * DAY).count == 0,
	   "a warm-up to no limit");
}

/* ---- slots, one by one ---- */

static void
test_pace_take(void)
{
	Pace		pace = {100000, SECOND, 250000};	/* 10/s */
	PaceGrant	g;

	g = pace_take(&pace, NOW, NOW, 100);
	ok(g.count == 3 && g.first_us == NOW && g.tat_us == NOW + 300000 &&
	   g.next_us == NOW + 50000, "slots up to the horizon");
	ok(pace_slot_us(&g, 0) == NOW && pace_slot_us(&g, 2) == NOW + 200000,
	   "an interval apart");
	g = pace_take(&pace, g.tat_us, NOW + 49999, 100);
	ok(g.count == 0 && g.tat_us == NOW + 300000 && g.next_us == NOW + 50000,
	   "none before the next is in sight");
	g = pace_take(&pace, g.tat_us, NOW + 50000, 100);
	ok(g.count == 1 && g.first_us == NOW + 300000, "one when it is");
	g = pace_take(&pace, NOW, NOW, 2);
	ok(g.count == 2 && g.tat_us == NOW + 200000 && g.next_us <= NOW,
	   "no more than wanted; the next is there at once");
	g = pace_take(&pace, NOW, NOW, 0);
	ok(g.count == 0 && g.tat_us == NOW, "none wanted");
	g = pace_take(&pace, NOW - 50000, NOW, 1);
	ok(g.count == 1 && g.first_us == NOW - 50000, "a twentieth is made good");
	g = pace_take(&pace, PG_INT64_MIN, NOW, 100);
	ok(g.count == 4 && g.first_us == NOW - 50000, "and no more, however late");
	pace.unit_us = DAY;
	g = pace_take(&pace, 0, NOW, 1);
	ok(g.first_us == NOW - MINUTE, "of a day a minute at most");
	pace.interval_us = 1000000.0 / 3;
	g = pace_take(&pace, NOW, NOW, 1);
	ok(g.tat_us == NOW + 333334, "fractions are rounded up");
}

/* A clock that jumps back must neither stop a relay nor let it burst */
static void
test_pace_clock(void)
{
	Pace		slow = {10 * SECOND, SECOND, 250000};
	Pace		fast = {100, SECOND, 250000};
	PaceGrant	g;

	g = pace_take(&slow, NOW + 365 * DAY, NOW, 5);
	ok(g.count == 0 && g.next_us == NOW + 10 * SECOND,
	   "set back a year: an interval");
	g = pace_take(&slow, g.tat_us, g.next_us, 5);
	ok(g.count == 1, "and then it goes on");
	g = pace_take(&fast, PG_INT64_MAX, NOW, 5);
	ok(g.count == 0 && g.next_us == NOW + 250000,
	   "at a fast relay: a horizon");
	g = pace_take(&fast, g.tat_us, g.next_us, 5000);
	ok(g.count == 1, "without a burst");
	g = pace_take(&fast, NOW, NOW + 365 * DAY, 1000000);
	ok(g.count == 500 + 2500 + 1,
	   "set forward: no more than any other stall");
}

static void
test_pace_throttle(void)
{
	double		rate = 100;
	int			i;

	ok(pace_slow_down(100, PACE_FLOOR_PER_S) == 50, "half of it");
	for (i = 0; i < 100; i++)
		rate = pace_slow_down(rate, PACE_FLOOR_PER_S);
	ok(rate == PACE_FLOOR_PER_S, "down to the floor");
	ok(pace_slow_down(0.01, PACE_FLOOR_PER_S) == 0.01,
	   "never faster than it was");
	ok(pace_slowed_at(3, NOW, NOW) == 3, "slow at first");
	ok(fabs(pace_slowed_at(3, NOW, NOW + 30 * SECOND) - 3 * sqrt(2)) < 1e-9,
	   "recovering all the time");
	ok(pace_slowed_at(3, NOW, NOW + MINUTE) == 6, "twice after a minute");
	ok(pace_slowed_at(3, NOW, NOW + 10 * MINUTE) == 3072,
	   "a thousand times after ten");
	ok(pace_slowed_at(3, NOW, NOW - DAY) == 3, "set back: as slow as it was");
	ok(isfinite(pace_slowed_at(3, 0, NOW)), "long ago: a number");
}

/* ---- slots, in a crowd ---- */

#define CALLERS_MAX 16
#define SLOTS_MAX	(20000 + 3 * RATE_COUNT_MAX)

/* Who shares a rate, and how */
typedef struct Crowd
{
	const char *name;
	const char *rate;
	int64		horizon_us;
	int			callers;
	int			wanted;			/* at most */
	int64		late_us;		/* comes so late at most */
	int			stalls;			/* 1 of so many is very late; 0: none */
} Crowd;

static const Crowd crowds[] = {
	{"one, in time", "14/s", 500000, 1, 1000, 0},
	{"one, without horizon", "14/s", 0, 1, 1, 20000},
	{"one mail at a time", "14/s", 100000, 16, 1, 50000},
	{"a few", "100/s", 250000, 3, 20, 200000},
	{"many", "100/s", 250000, 16, 10, 200000},
	{"many, with stalls", "100/s", 250000, 16, 50, 200000, 20},
	{"a fraction", "7/min", SECOND, 4, 10, SECOND},
	{"a third", "3/s", 250000, 4, 10, 200000},
	{"very fast", "1000000/s", 1000, 4, 1000, 1000},
	{"very fast, a fraction", "700001/s", 1000, 4, 1000, 1000},
	{"very fast, with stalls", "999999/s", 1000, 4, 1000, 1000, 50},
	{"hourly", "100/h", 10 * SECOND, 5, 3, MINUTE},
	{"daily", "200/d", MINUTE, 5, 3, MINUTE},
	{"daily, with stalls", "200/d", MINUTE, 5, 10, MINUTE, 5},
	{"daily, fast", "1000000/d", SECOND, 5, 100, SECOND, 100},
};

/* When the mails of the crowd left, in order */
static int64 left_at[SLOTS_MAX];

/* Let it run for a few units; returns how many mails left */
static int
crowd_run(const Crowd *crowd, const Rate *rate)
{
	Pace		pace = {rate_interval_us(rate), rate->unit_us,
	crowd->horizon_us};
	int64		come_us[CALLERS_MAX];
	int64		tat_us = NOW;
	int			enough = 20000 + 3 * rate->count;
	int			slots = 0;
	int			i;

	for (i = 0; i < crowd->callers; i++)
		come_us[i] = NOW + random_below((uint32) crowd->late_us + 1);
	for (;;)
	{
		PaceGrant	g;
		int			who = 0;
		int64		now;

		for (i = 1; i < crowd->callers; i++)
			who = come_us[i] < come_us[who] ? i : who;
		now = come_us[who];
		g = pace_take(&pace, tat_us, now, 1 + random_below(crowd->wanted));
		tat_us = g.tat_us;
		if (slots + g.count > enough)
			return slots;
		for (i = 0; i < g.count; i++)
			left_at[slots++] = Max(pace_slot_us(&g, i), now);
		come_us[who] = Max(g.next_us, now) +
			random_below((uint32) crowd->late_us + 1);
		if (crowd->stalls > 0 && random_below(crowd->stalls) == 0)
			come_us[who] += (int64) random_below(1000) * rate->unit_us / 1000;
	}
}

/* Most mails that left in any unit of time */
static int
crowd_most(const Rate *rate, int slots)
{
	int			most = 0;
	int			from = 0;
	int			i;

	for (i = 0; i < slots; i++)
	{
		while (left_at[i] - left_at[from] >= rate->unit_us)
			from++;
		most = Max(most, i - from + 1);
	}
	return most;
}

static void
test_pace_crowds(void)
{
	char		why[80];
	int			i;

	for (i = 0; i < COUNT(crowds); i++)
	{
		const Crowd *c = &crowds[i];
		Rate		rate;
		int			slots;
		int			k;
		double		got;
		bool		ordered = true;

		rate_parse(c->rate, strlen(c->rate), &rate, why, sizeof(why));
		slots = crowd_run(c, &rate);
		for (k = 1; k < slots; k++)
			ordered = ordered && left_at[k] >= left_at[k - 1];
		ok(ordered, "%s: slots are in order", c->name);
		k = crowd_most(&rate, slots);
		if (!ok(k <= 1.05 * rate.count + 1, "%s: never more than %s",
				c->name, c->rate))
			diag("%d in a unit", k);
		got = (slots - 1) * rate_interval_us(&rate) /
			(left_at[slots - 1] - left_at[0]);
		if (!ok(got <= 1.001 + 0.05 * rate.count / slots,
				"%s: nor in the long run", c->name))
			diag("%.5f of the rate", got);
		if (c->stalls == 0 && !ok(got >= 0.99, "%s: and no less", c->name))
			diag("%.5f of the rate", got);
	}
}

void
test_pace(void)
{
	test_rate_parse();
	test_rate_days();
	test_rate_plan();
	test_pace_take();
	test_pace_clock();
	test_pace_throttle();
	test_pace_crowds();
}
