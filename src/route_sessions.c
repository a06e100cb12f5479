/*-------------------------------------------------------------------------
 *
 * route_sessions.c
 *	  The sessions with the relays, and the seats they need.
 *
 * A relay's option "connections" holds over all letters: a session needs a
 * seat (see seats.c), and a worker takes no more of them than is its share
 * and it has use for.
 *
 * Invariants: a route is closed only when it has no mail of ours; sessions
 * never outnumber the seats held for them, but while a share that has become
 * smaller is being given back.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/memutils.h"
#include "worker.h"

/* How often seats that others hold are asked for again */
#define SEATS_AGAIN_US	INT64CONST(20000)

/* How often they are reminded that they have too many */
#define SEATS_WAKE_US	INT64CONST(500000)

static void
route_close(Worker *w, Route *r)
{
	if (r->transfer != NULL)
	{
		waiter_forget(w->waiter);
		transfer_destroy(r->transfer);
	}
	r->transfer = NULL;
	r->seen = 0;
	r->throttled_seen = 0;
	seats_close(&r->seats);
}

static void
route_open(Worker *w, Route *r)
{
	r->transfer = transfer_create(&r->relay->config);
	if (r->transfer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed to open relay \"%s\".", r->relay->name)));
	if (seats_open(&r->seats))
		w->reserve_us = 0;
	(void) seats_take(&r->seats, 1);
	transfer_limit(r->transfer, r->seats.held);
	if (r->fingerprint != NULL)
		pfree(r->fingerprint);
	r->fingerprint = MemoryContextStrdup(TopMemoryContext,
										 r->relay->fingerprint);
}

/* Not in the list any more, and nothing of ours is there: forget it */
static void
routes_retire(Worker *w)
{
	int			i;

	for (i = w->nroutes - 1; i >= 0; i--)
	{
		Route	   *r = w->routes[i];

		if (r->relay != NULL || r->transfer != NULL || r->begun > 0)
			continue;
		seats_close(&r->seats);
		if (r->fingerprint != NULL)
			pfree(r->fingerprint);
		pfree(r);
		memmove(&w->routes[i], &w->routes[i + 1],
				(w->nroutes - i - 1) * sizeof(Route *));
		w->nroutes--;
	}
}

void
routes_open(Worker *w)
{
	Route	   *first = routes_first(w);
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		Route	   *r = w->routes[i];

		if (r->transfer != NULL && !route_is_open(r))
		{
			/* what has begun ends with the options it began with */
			transfer_recall(r->transfer, true);
			sending_collect(w);
			if (r->begun == 0)
				route_close(w, r);
		}
		if (r->transfer == NULL && w->claimed.count > 0 && first != NULL &&
			(r->rank == first->rank || r->wished > 0) &&
			route_is_usable(r, now))
			route_open(w, r);
	}
	routes_retire(w);
}

void
routes_close(Worker *w)
{
	int			i;

	for (i = 0; i < w->nroutes; i++)
		route_close(w, w->routes[i]);
}

void
routes_transfers(Worker *w, Transfers *transfers)
{
	int			i;

	transfers->count = 0;
	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->transfer != NULL)
			transfers->list[transfers->count++] = w->routes[i]->transfer;
	}
}

TransferCounts
routes_counts(Worker *w)
{
	TransferCounts sum = {0};
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		TransferCounts counts;

		if (w->routes[i]->transfer == NULL)
			continue;
		counts = transfer_counts(w->routes[i]->transfer);
		sum.sessions += counts.sessions;
		sum.connecting += counts.connecting;
		sum.queued += counts.queued;
		sum.in_flight += counts.in_flight;
	}
	return sum;
}

int
routes_unanswered(Worker *w)
{
	int			unanswered = 0;
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->transfer != NULL)
			unanswered += transfer_unanswered(w->routes[i]->transfer);
	}
	return unanswered;
}

/* Others have what is ours by right: take it, and tell them */
static void
route_claim_seats(Route *r, int need, int64 now)
{
	if (r->seats.held >= Min(need, r->seats.share) ||
		now < r->seats.again_us ||
		seats_take(&r->seats, need) >= Min(need, r->seats.share))
		return;
	r->seats.again_us = now + SEATS_AGAIN_US;
	if (now < r->seats.wake_us || r->seats.nothers == 0)
		return;
	r->seats.wake_us = now + SEATS_WAKE_US;
	seats_wake(&r->seats);
}

/* Nothing to send: whoever else is interested need not count with us */
static void
route_withdraw(Route *r)
{
	if (r->seats.users == 1 || r->seats.held > 0)
		return;
	seats_close(&r->seats);
}

/*
 * As many sessions as there is use for, within our share.  Idle ones are kept
 * only while nobody else is interested.
 */
static void
route_balance(Worker *w, Route *r, int64 now)
{
	TransferCounts counts = transfer_counts(r->transfer);
	int			need = Min(counts.queued + counts.in_flight +
						   w->claimed.count, r->seats.capacity);
	int			limit;
	int			keep;

	if (need > 0 && seats_open(&r->seats))
		w->reserve_us = 0;
	route_claim_seats(r, need, now);
	limit = Min(r->seats.held, r->seats.share);
	if (need == 0 && r->seats.users > 1)
		limit = 0;
	transfer_limit(r->transfer, limit);
	counts = transfer_counts(r->transfer);
	keep = Max(counts.sessions + counts.connecting, Min(need, limit));
	if (r->seats.held > keep)
	{
		seats_keep(&r->seats, keep);
		if (r->seats.users > 1 && need > 0)
			seats_wake(&r->seats);
	}
	if (need == 0)
		route_withdraw(r);
}

void
routes_balance(Worker *w)
{
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->transfer != NULL)
			route_balance(w, w->routes[i], now);
	}
}
