/*-------------------------------------------------------------------------
 *
 * decide_apply.c
 *	  What the answers of newsletter.policy mean for a batch of recipients.
 *
 * An answer only settles what the turn will write, or wishes for a relay:
 * nothing is written here.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "decide.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Nobody is asked about more often than this */
#define DECIDE_AGAIN_US USECS_PER_SEC

/*
 * A recipient that waits for a busy relay is asked about again after so long,
 * if not fetched before; and one that waits for a relay that a person must see
 * to.
 */
#define BUSY_US (10 * USECS_PER_SEC)
#define OUT_US (60 * USECS_PER_SEC)

/* see decide.h */
void
decide_settle(Candidates *c, int position, DeliveryState next,
			  TimestampTz until, const char *reason)
{
	Settled    *settled = &c->settled[c->nsettled++];

	settled->id = c->ids[position];
	settled->state = c->states[position];
	settled->next = next;
	settled->until = until;
	settled->reason = reason;
	c->asked[position] = ASKED_SETTLED;
}

/* Later; and at last no more, as with any other wait */
static void
decide_defer(Batch *batch, int asked, TimestampTz until, const char *reason)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz expire_at = batch->expire_at[asked];

	if (now >= expire_at)
		decide_settle(batch->candidates, batch->positions[asked],
					  DELIVERY_FAILED, 0,
					  psprintf("gave up as too old: %s", reason));
	else
		decide_settle(batch->candidates, batch->positions[asked],
					  DELIVERY_DEFERRED, Min(until, expire_at), reason);
}

/* It must take this relay: if there is room for one more now */
static bool
decide_relay(Worker *w, Batch *batch, int asked, const char *name,
			 char **fault)
{
	Candidates *c = batch->candidates;
	Route	   *r = routes_named(w, name);
	int64		now = transfer_now();

	if (r == NULL)
	{
		*fault = policy_describe_relay(&batch->policy, name);
		return false;
	}
	r->awaited = !route_is_usable(r, now);
	if (r->awaited)
		decide_defer(batch, asked,
					 route_queue(r, r->out ? OUT_US :
								 Max(r->retry_us - now, DECIDE_AGAIN_US)),
					 r->trouble[0] ? pstrdup(r->trouble) :
					 psprintf(REASON_WAITS, name));
	else if (route_room(w, r) == 0)
	{
		r->turned_away++;
		r->waiting = true;
		decide_defer(batch, asked, route_queue(r, BUSY_US),
					 psprintf(REASON_WAITS, name));
	}
	else
	{
		r->wished++;
		c->wishes[batch->positions[asked]] = r->server;
	}
	return true;
}

/* see decide.h */
bool
decide_apply(Worker *w, Batch *batch, int asked, const PolicyAnswer *answer,
			 char **fault)
{
	Candidates *c = batch->candidates;
	int			position = batch->positions[asked];

	if (answer->oversize > 0)
	{
		decide_settle(c, position, DELIVERY_FAILED, 0,
					  policy_describe_oversize(&batch->policy,
											   answer->oversize));
		return true;
	}
	c->asked[position] = ASKED_SEND;
	c->variables[position] = answer->variables;
	batch->bytes += answer->variables ? VARSIZE(answer->variables) : 0;
	switch (answer->action)
	{
		case POLICY_SEND:
			break;
		case POLICY_SKIP:
			decide_settle(c, position, DELIVERY_SKIPPED, 0,
						  policy_describe_answer(answer));
			return true;
		case POLICY_DEFER:
			decide_defer(batch, asked, Max(answer->until,
										   GetCurrentTimestamp() +
										   DECIDE_AGAIN_US),
						 policy_describe_answer(answer));
			return true;
	}
	return answer->relay == NULL ||
		decide_relay(w, batch, asked, answer->relay, fault);
}
