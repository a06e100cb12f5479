/*-------------------------------------------------------------------------
 *
 * check.c
 *	  mailman_check(): is this relay usable by me?
 *
 * One session, step by step, in the caller's backend with the caller's own
 * credentials; it can be cancelled at any time and ends after the server's
 * connect_timeout at the latest.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(mailman_check);

#define CHECK_STEPS_MAX 8

/* What the probe has told; the network layer must not meet an error of ours */
typedef struct CheckSteps
{
	int			count;
	struct
	{
		char		step[32];
		bool		ok;
		char		reply[REPLY_TEXT_MAX + 128];
	}			rows[CHECK_STEPS_MAX];
} CheckSteps;

static void
check_report(void *context, const char *step, bool ok, const char *reply)
{
	CheckSteps *steps = context;

	if (steps->count == CHECK_STEPS_MAX)
		return;
	strlcpy(steps->rows[steps->count].step, step,
			sizeof(steps->rows[0].step));
	strlcpy(steps->rows[steps->count].reply, reply ? reply : "",
			sizeof(steps->rows[0].reply));
	steps->rows[steps->count++].ok = ok;
}

static void
check_return(ReturnSetInfo *result, const CheckSteps *steps)
{
	int			i;

	for (i = 0; i < steps->count; i++)
	{
		Datum		values[3] = {CStringGetTextDatum(steps->rows[i].step),
			BoolGetDatum(steps->rows[i].ok),
		CStringGetTextDatum(steps->rows[i].reply)};
		bool		nulls[3] = {false, false, steps->rows[i].reply[0] == '\0'};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* mailman_check(server text) RETURNS TABLE(step, ok, reply) */
Datum
mailman_check(PG_FUNCTION_ARGS)
{
	Relay	   *relay;
	CheckSteps *steps = palloc0(sizeof(CheckSteps));
	Waiter	   *waiter;
	Probe	   *probe;

	argument_check(fcinfo, 0, "server");
	relay = relay_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), GetUserId());
	InitMaterializedSRF(fcinfo, 0);
	waiter = waiter_create();
	if (!transfer_global_init() ||
		(probe = probe_create(&relay->config, check_report, steps)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not initialize libcurl")));
	PG_TRY();
	{
		while (!probe_step(probe))
		{
			CHECK_FOR_INTERRUPTS();
			waiter_wait_probe(waiter, probe);
		}
	}
	PG_FINALLY();
	{
		waiter_forget(waiter);
		probe_destroy(probe);
	}
	PG_END_TRY();
	pfree(waiter);
	check_return((ReturnSetInfo *) fcinfo->resultinfo, steps);
	return (Datum) 0;
}
