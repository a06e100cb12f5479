/*-------------------------------------------------------------------------
 *
 * retry_sql.c
 *	  mailman_retry_delay(), and what a retry schedule must look like.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "mailman.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mailman_check_retry_schedule);
PG_FUNCTION_INFO_V1(mailman_retry_delay);

/* Read it, or ERROR with this SQLSTATE */
static void
retry_schedule_read(const char *text, RetrySchedule *schedule, int sqlstate)
{
	const char *hint;
	char	   *why;

	if (!retry_schedule_parse(text, schedule, &why, &hint))
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("\"%.*s\" is not a retry schedule",
						pg_mbcliplen(text, strlen(text), 100), text),
				 errdetail("%s", why),
				 hint ? errhint("%s", hint) :
				 errhint("Write 1 to %d durations of at least a second, such as \"5min, 15min, 1h\".",
						 RETRY_STEPS_MAX)));
}

/* mailman.check_retry_schedule(text): true, or ERROR 23514 */
Datum
mailman_check_retry_schedule(PG_FUNCTION_ARGS)
{
	RetrySchedule schedule;

	retry_schedule_read(text_to_cstring(PG_GETARG_TEXT_PP(0)), &schedule,
						ERRCODE_CHECK_VIOLATION);
	PG_RETURN_BOOL(true);
}

/*
 * mailman_retry_delay(attempts, schedule, jitter) RETURNS interval: the wait
 * a worker would choose, with its dice in the caller's hand
 */
Datum
mailman_retry_delay(PG_FUNCTION_ARGS)
{
	const RetrySchedule *schedule = guc_retry_schedule();
	RetrySchedule given;
	Interval   *delay;
	int			attempts;
	double		jitter;

	argument_check(fcinfo, 0, "attempts");
	argument_check(fcinfo, 2, "jitter");
	attempts = PG_GETARG_INT32(0);
	jitter = PG_GETARG_FLOAT8(2);
	if (attempts < 1)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("attempts must be at least 1"),
				 errdetail("It is %d.", attempts),
				 errhint("Count the attempts that have failed.")));
	if (isnan(jitter) || jitter < -1 || jitter > 1)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("jitter must be from -1 to 1"),
				 errdetail("It is %g.", jitter),
				 errhint("-1 is the shortest wait, 1 the longest.")));
	if (!PG_ARGISNULL(1))
	{
		retry_schedule_read(text_to_cstring(PG_GETARG_TEXT_PP(1)), &given,
							ERRCODE_INVALID_PARAMETER_VALUE);
		schedule = &given;
	}
	delay = palloc0(sizeof(Interval));
	delay->time = (TimeOffset)
		rint(retry_delay_s(schedule, attempts, jitter) * USECS_PER_SEC);
	PG_RETURN_INTERVAL_P(delay);
}
