/*-------------------------------------------------------------------------
 *
 * decide.h
 *	  What decide.c and decide_apply.c share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_DECIDE_H
#define MAILMAN_DECIDE_H

#include "candidates.h"
#include "policy.h"

/* A batch in the making; as w->decided_context */
typedef struct Batch
{
	Policy		policy;
	Candidates *candidates;
	Datum		letter;			/* the whole row */
	Datum	   *subscriptions;	/* whole rows, of those who are active */
	int		   *positions;		/* among the candidates */
	TimestampTz *expire_at;		/* when they have waited long enough */
	int			count;
	int			policy_row;		/* errors in a row before */
	size_t		bytes;			/* of the answers */
	bool		abandoned;		/* nothing of it counts */
} Batch;

/* ---- decide_apply.c ---- */

/* Not to be sent to now: the turn writes what becomes of them */
extern void decide_settle(Candidates *c, int position, DeliveryState next,
						  TimestampTz until, const char *reason);

/* Do as the answer says; false: *fault, it names what is not there */
extern bool decide_apply(Worker *w, Batch *batch, int asked,
						 const PolicyAnswer *answer, char **fault);

#endif							/* MAILMAN_DECIDE_H */
