/*-------------------------------------------------------------------------
 *
 * fuzz_rate.c
 *	  Fuzz target: rates and warm-up plans, options of a relay.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"
#include "../../src/pace.h"

#include "fuzz.h"

static void
check_rate(const Rate *rate)
{
	double		us = rate_interval_us(rate);

	CHECK(rate->count > 0 && rate->unit_us > 0);
	CHECK(us > 0 && us <= 86400e6);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char	   *text = pnstrdup((const char *) bytes, size);
	Rate		rate = {0};
	RatePlan	plan = {0};
	char		why[80];
	int			day;

	why[0] = '\0';
	if (rate_parse((const char *) bytes, size, &rate, why, sizeof(why)))
		check_rate(&rate);
	else
		CHECK(why[0] != '\0' && rate.count == 0 && rate.unit_us == 0);

	why[0] = '\0';
	if (rate_plan_parse_days(text, &plan, why, sizeof(why)))
	{
		CHECK(plan.days >= 1 && plan.days <= RATE_DAYS_MAX);
		for (day = -1; day <= RATE_DAYS_MAX; day++)
		{
			int64		now = day * INT64CONST(86400000000);
			Rate		then = rate_plan_at(&plan, now);

			if (day < plan.days)
				check_rate(&then);
		}
	}
	else
		CHECK(why[0] != '\0');
	pfree(text);
	return 0;
}
