/*-------------------------------------------------------------------------
 *
 * pure_meter_test.c
 *	  Tests of meter.c: the rate it tells of streams of outcomes.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include <math.h>
#include <string.h>

#include "meter.h"

#define SECOND	INT64CONST(1000000)

/* Any time: the clock begins where it likes */
#define NOW		(INT64CONST(7) * SECOND)

/* So many outcomes, every so often, until then */
static int64
meter_feed(Meter *m, int64 now, int64 until, int64 every, int count)
{
	for (now += every; now <= until; now += every)
		meter_add(m, now, count);
	return now - every;
}

static void
meter_is(const Meter *m, double wanted, const char *what)
{
	double		rate = meter_rate(m);

	if (!ok(fabs(rate - wanted) <= 0.001 * wanted, "meter: %s", what))
		diag("%.6f, not %.6f", rate, wanted);
}

/* Whatever the distance of turns, a steady stream has its rate */
static void
test_meter_steady(void)
{
	static const struct
	{
		int64		every;
		int			count;
	}			streams[] = {
		{2500, 100}, {100000, 1}, {500000, 7}, {499999, 7}, {SECOND, 3},
		{60 * SECOND, 100}, {432 * SECOND, 1}, {86400 * SECOND, 1}
	};
	size_t		i;

	for (i = 0; i < lengthof(streams); i++)
	{
		double		wanted = streams[i].count * 1e6 / streams[i].every;
		int64		now = NOW;
		Meter		m = {0};
		int			n;
		bool		steady = true;

		meter_add(&m, now, 0);
		for (n = 0; n < 3000; n++)
		{
			now += streams[i].every;
			meter_add(&m, now, streams[i].count);
			steady = steady && fabs(meter_rate(&m) - wanted) < 0.001 * wanted;
			steady = steady && m.nparts <= METER_PARTS;
		}
		ok(steady, "meter: %d every %.3f s", streams[i].count,
		   streams[i].every / 1e6);
	}
}

static void
test_meter_change(void)
{
	Meter		m = {0};
	Meter		before;
	int64		now = NOW;

	meter_is(&m, 0, "nothing was ever counted");
	meter_add(&m, now, 5);
	meter_is(&m, 0, "some at once: no time has passed");
	memset(&m, 0, sizeof(m));
	meter_add(&m, now, 0);
	meter_is(&m, 0, "begun");
	now = meter_feed(&m, now, now + 20 * SECOND, SECOND / 10, 10);
	meter_is(&m, 100, "a hundred per second");
	before = m;
	meter_add(&m, now + SECOND, 0);
	ok(memcmp(&m, &before, sizeof(m)) == 0, "meter: nothing changes nothing");
	now = meter_feed(&m, now, now + 6 * SECOND, SECOND / 10, 1);
	meter_is(&m, 10, "a tenth of it: forgotten after some seconds");
	now = meter_feed(&m, now, now + 3 * SECOND, SECOND / 10, 21);
	ok(meter_rate(&m) > 50 && meter_rate(&m) < 150,
	   "meter: more again, after three seconds about the middle");
	now = meter_feed(&m, now, now + 3 * SECOND, SECOND / 10, 21);
	meter_is(&m, 210, "and then all");
}

/* A pause that chance does not explain is not averaged over */
static void
test_meter_quiet(void)
{
	Meter		m = {0};
	int64		now = NOW;

	meter_add(&m, now, 0);
	now = meter_feed(&m, now, now + 10 * SECOND, SECOND / 10, 10);
	now += 4 * SECOND;
	meter_add(&m, now, 400);
	meter_is(&m, 100, "four seconds in one turn");
	now += 3600 * SECOND;
	meter_add(&m, now, 0);
	meter_is(&m, 0, "an hour later: begun anew");
	now = meter_feed(&m, now, now + SECOND, SECOND / 10, 10);
	meter_is(&m, 100, "as fast as before");
	memset(&m, 0, sizeof(m));
	meter_add(&m, now, 0);
	now = meter_feed(&m, now, now + 1000 * SECOND, 100 * SECOND, 1);
	now += 500 * SECOND;
	meter_add(&m, now, 0);
	meter_add(&m, now, 1);
	ok(meter_rate(&m) > 0.005 && meter_rate(&m) < 0.01,
	   "meter: a slow stream that pauses is slower, not begun anew");
}

void
test_meter(void)
{
	test_meter_steady();
	test_meter_change();
	test_meter_quiet();
}
