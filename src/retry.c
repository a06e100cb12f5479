/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  The retry schedule: how long a deferred delivery waits.
 *
 * A schedule is a list of durations as settings have them, one for each
 * attempt, of which the last repeats.  It is the same text, read by the same
 * function, in the setting, in newsletter.retry_schedule and in
 * mailman_retry_delay(), so that what the one accepts the others do, too.
 *
 * Nothing here runs SQL or ereport()s: what is wrong comes back as words.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "common/pg_prng.h"
#include "mailman.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

/* Those who were deferred together shall not come back together */
#define RETRY_SPREAD 0.2

/* One step of the list: a duration of at least a second */
static bool
retry_step_parse(const char *s, int len, int *seconds, char **why,
				 const char **hint)
{
	char	   *step;

	while (len > 0 && isspace((unsigned char) *s))
	{
		s++;
		len--;
	}
	while (len > 0 && isspace((unsigned char) s[len - 1]))
		len--;
	step = pnstrdup(s, len);
	if (!parse_int(step, seconds, GUC_UNIT_S, hint))
		*why = psprintf("\"%.*s\" is not a duration.",
						pg_mbcliplen(step, len, 40), step);
	else if (*seconds < 1)
		*why = psprintf("\"%.*s\" is shorter than a second.",
						pg_mbcliplen(step, len, 40), step);
	pfree(step);
	return *why == NULL;
}

/* see retry.h */
bool
retry_schedule_parse(const char *list, RetrySchedule *schedule, char **why,
					 const char **hint)
{
	*why = NULL;
	*hint = NULL;
	schedule->steps = 0;
	if (list[strspn(list, " \t\r\n")] == '\0')
	{
		*why = pstrdup("There is no step in it.");
		return false;
	}
	for (;; list++)
	{
		int			len = strcspn(list, ",");

		if (schedule->steps == RETRY_STEPS_MAX)
		{
			*why = psprintf("It has more than %d steps.", RETRY_STEPS_MAX);
			return false;
		}
		if (!retry_step_parse(list, len, &schedule->seconds[schedule->steps],
							  why, hint))
			return false;
		schedule->steps++;
		list += len;
		if (*list == '\0')
			return true;
	}
}

/* see retry.h */
double
retry_jittered(double wait)
{
	double		jitter = 2 * pg_prng_double(&pg_global_prng_state) - 1;

	return wait * (1 + RETRY_SPREAD * jitter);
}

/* see retry.h */
double
retry_delay_s(const RetrySchedule *schedule, int attempts, double jitter)
{
	int			step = Min(Max(attempts, 1), schedule->steps) - 1;

	return schedule->seconds[step] * (1 + RETRY_SPREAD * jitter);
}

/* see retry.h */
int64
retry_delay_ms(const RetrySchedule *schedule, int attempts)
{
	if (schedule == NULL)
		schedule = guc_retry_schedule();
	return (int64) (retry_jittered(retry_delay_s(schedule, attempts, 0)) *
					1000);
}
