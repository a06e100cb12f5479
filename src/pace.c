/*-------------------------------------------------------------------------
 *
 * pace.c
 *	  Rates and their slots.
 *
 * A rate is kept by the generic cell rate algorithm (ITU-T I.371): all that
 * is known of the past is one number, the theoretical arrival time (tat) of
 * the next mail.  So many processes can share a rate by locking one row for a
 * moment; none of them keeps tokens that would be lost with it or be counted
 * twice.
 *
 * Slots lie one interval apart from tat on.  Whoever asks gets those up to a
 * horizon ahead of now at once, with their times, and need not come back for
 * every mail; sending each at its own time is his part.
 *
 * Invariants: slots are at least an interval apart and none is given twice,
 * as long as nobody sets the clock back.  None is further behind now than
 * pace_catch_up_us().  So, of mails that leave at their slot or when it was
 * given, whichever is later, no unit of time sees more than 1.05 * count + 1.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pace.h"

#define SECOND_US	INT64_C(1000000)
#define DAY_US		(86400 * SECOND_US)

/* Of a unit: what a stall may be made good of, and at most how long */
#define CATCH_UP_PART	20
#define CATCH_UP_MAX_US (60 * SECOND_US)

#define RECOVERY_US (60 * SECOND_US)

typedef struct RateUnit
{
	const char *name;
	int64_t		us;
} RateUnit;

static const RateUnit rate_units[] = {
	{"s", SECOND_US},
	{"min", 60 * SECOND_US},
	{"h", 3600 * SECOND_US},
	{"d", DAY_US}
};

/* ---- rates ---- */

static bool
rate_refuse(char *why, size_t why_size, const char *sentence)
{
	snprintf(why, why_size, "%s", sentence);
	return false;
}

static void
rate_skip_spaces(const char **s, const char *end)
{
	while (*s < end && (**s == ' ' || (**s >= '\t' && **s <= '\r')))
		(*s)++;
}

/* Microseconds of a unit, 0 if there is none of that name */
static int64_t
rate_unit_us(const char *name, size_t len)
{
	size_t		i;

	for (i = 0; i < sizeof(rate_units) / sizeof(rate_units[0]); i++)
	{
		if (strlen(rate_units[i].name) == len &&
			memcmp(rate_units[i].name, name, len) == 0)
			return rate_units[i].us;
	}
	return 0;
}

bool
rate_parse(const char *string, size_t len, Rate *rate, char *why,
		   size_t why_size)
{
	const char *s = string;
	const char *end = string + len;
	const char *digits;
	int			count = 0;
	int64_t		unit_us;

	rate_skip_spaces(&s, end);
	for (digits = s; s < end && *s >= '0' && *s <= '9'; s++)
	{
		if (count <= RATE_COUNT_MAX)
			count = count * 10 + (*s - '0');
	}
	if (s == digits)
		return rate_refuse(why, why_size, "It is not a rate.");
	if (count < 1 || count > RATE_COUNT_MAX)
		return rate_refuse(why, why_size,
						   "The number must be from 1 to 1000000.");
	rate_skip_spaces(&s, end);
	if (s == end)
		return rate_refuse(why, why_size, "It has no unit.");
	if (*s != '/')
		return rate_refuse(why, why_size, "It is not a rate.");
	s++;
	rate_skip_spaces(&s, end);
	while (end > s && (end[-1] == ' ' || (end[-1] >= '\t' && end[-1] <= '\r')))
		end--;
	unit_us = rate_unit_us(s, end - s);
	if (unit_us == 0)
		return rate_refuse(why, why_size, "The unit must be s, min, h or d.");
	rate->count = count;
	rate->unit_us = unit_us;
	return true;
}

double
rate_interval_us(const Rate *rate)
{
	return rate->count > 0 ? (double) rate->unit_us / rate->count : 0;
}

bool
rate_plan_parse_days(const char *list, RatePlan *plan, char *why,
					 size_t why_size)
{
	Rate		warm_up[RATE_DAYS_MAX];
	char		fault[80];
	int			days = 0;

	for (;; list++)
	{
		size_t		len = strcspn(list, ",");

		if (days == RATE_DAYS_MAX)
		{
			snprintf(why, why_size, "It has more than %d days.",
					 RATE_DAYS_MAX);
			return false;
		}
		if (!rate_parse(list, len, &warm_up[days], fault, sizeof(fault)))
		{
			snprintf(why, why_size, "Day %d: %s", days + 1, fault);
			return false;
		}
		days++;
		list += len;
		if (*list == '\0')
			break;
	}
	memcpy(plan->warm_up, warm_up, days * sizeof(Rate));
	plan->days = days;
	return true;
}

Rate
rate_plan_at(const RatePlan *plan, int64_t now_us)
{
	int64_t		day = 0;
	const Rate *rate;

	if (now_us > plan->start_us)
		day = (now_us - plan->start_us) / DAY_US;
	if (day >= plan->days)
		return plan->rate;
	rate = &plan->warm_up[day];
	if (rate_interval_us(&plan->rate) > rate_interval_us(rate))
		rate = &plan->rate;
	return *rate;
}

/* ---- slots ---- */

/*
 * Slots that nobody came for are lost, but for these: a stall of the network,
 * or whoever comes a little late, does not cost anything in the long run.
 */
static int64_t
pace_catch_up_us(const Pace *pace)
{
	int64_t		part = pace->unit_us / CATCH_UP_PART;

	return part < CATCH_UP_MAX_US ? part : CATCH_UP_MAX_US;
}

/*
 * Bring tat to where it can be.  Grants leave it at most an interval behind
 * the horizon: further ahead it is only if the clock was set back (or the
 * pace was much slower), which must not stop the relay for long.
 */
static int64_t
pace_clamp(const Pace *pace, int64_t tat_us, int64_t now_us)
{
	int64_t		low = now_us - pace_catch_up_us(pace);
	int64_t		high = now_us + pace->horizon_us +
		(int64_t) ceil(fmax(pace->interval_us, (double) pace->horizon_us));

	if (tat_us < low)
		return low;
	return tat_us > high ? high : tat_us;
}

PaceGrant
pace_take(const Pace *pace, int64_t tat_us, int64_t now_us, int wanted)
{
	PaceGrant	grant = {.interval_us = pace->interval_us};
	int64_t		ahead;

	grant.first_us = pace_clamp(pace, tat_us, now_us);
	ahead = now_us + pace->horizon_us - grant.first_us;
	if (ahead >= 0 && wanted > 0)
	{
		double		slots = floor((double) ahead / pace->interval_us) + 1;

		grant.count = slots < wanted ? (int) slots : wanted;
	}
	grant.tat_us = pace_slot_us(&grant, grant.count);
	grant.next_us = grant.tat_us - pace->horizon_us;
	return grant;
}

/* Rounded up: a grant may lose a microsecond, but never wins one */
int64_t
pace_slot_us(const PaceGrant *grant, int i)
{
	return grant->first_us + (int64_t) ceil(i * grant->interval_us);
}

/* ---- a relay that asks for less ---- */

double
pace_slow_down(double current_per_s, double floor_per_s)
{
	return fmin(current_per_s, fmax(floor_per_s, current_per_s / 2));
}

double
pace_slowed_at(double slow_per_s, int64_t slowed_at_us, int64_t now_us)
{
	double		doublings = (double) (now_us - slowed_at_us) / RECOVERY_US;

	/* the clock was set back; or it is so long ago that it is no limit */
	return slow_per_s * exp2(fmin(fmax(doublings, 0), 64));
}
