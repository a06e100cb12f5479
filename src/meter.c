/*-------------------------------------------------------------------------
 *
 * meter.c
 *	  How fast a letter is being sent, over the last seconds.
 *
 * A window of parts, each as long as from one turn that counted something to
 * a later one.  It is fed by turns and copied with what else they change, so
 * a turn that fails has counted nothing.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "meter.h"

#include <string.h>

static int
meter_sum(const Meter *m)
{
	int			sum = 0;
	int			i;

	for (i = 0; i < m->nparts; i++)
		sum += m->parts[i].count;
	return sum;
}

double
meter_rate(const Meter *m)
{
	int64_t		span;

	if (m->nparts == 0)
		return 0;
	span = m->until_us - m->parts[0].from_us;
	return span > 0 ? meter_sum(m) * 1e6 / span : 0;
}

static void
meter_drop_oldest(Meter *m)
{
	m->nparts--;
	memmove(&m->parts[0], &m->parts[1], m->nparts * sizeof(MeterPart));
}

/*
 * Has it been quiet for longer than chance explains?  Then it begins anew;
 * but not with outcomes, which may be of all the time since.
 */
static int
meter_is_stale(const Meter *m, int64_t now_us)
{
	int64_t		quiet = now_us - m->until_us;

	return quiet > METER_WINDOW_US &&
		meter_rate(m) * quiet > METER_FEW * 1e6;
}

/* The oldest part goes if what is left is long and has many enough */
static void
meter_slide(Meter *m)
{
	int			sum = meter_sum(m);

	while (m->nparts > 1 &&
		   m->until_us - m->parts[1].from_us >= METER_WINDOW_US &&
		   sum - m->parts[0].count >= METER_FEW)
	{
		sum -= m->parts[0].count;
		meter_drop_oldest(m);
	}
}

void
meter_add(Meter *m, int64_t now_us, int count)
{
	MeterPart  *last;

	if (m->nparts == 0 || (count == 0 && meter_is_stale(m, now_us)))
	{
		m->nparts = 1;
		m->parts[0].from_us = m->until_us = now_us;
		m->parts[0].count = 0;
	}
	if (count == 0)
		return;
	last = &m->parts[m->nparts - 1];
	if (last->count > 0 && m->until_us - last->from_us >= METER_PART_US)
	{
		if (m->nparts == METER_PARTS)
			meter_drop_oldest(m);
		last = &m->parts[m->nparts++];
		last->from_us = m->until_us;
		last->count = 0;
	}
	last->count += count;
	m->until_us = now_us;
	meter_slide(m);
}
