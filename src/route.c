/*-------------------------------------------------------------------------
 *
 * route.c
 *	  Which relay takes the next mail.
 *
 * The newsletter lists relays in order of preference.  Mail goes through the
 * first one that is of use; neighbours that both have a weight are equals and
 * share it.  When one fails what it has not sent moves on to the next at
 * once.  How long it is left alone, and whether it is our turn to try it
 * again, all workers agree on: see reserve.c.
 *
 * Invariants: a route is closed only when it has no mail of ours; sessions
 * never outnumber the seats held for them.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A relay that has just failed is not tried again, whoever asks */
#define LEAVE_ALONE_US	INT64CONST(1000000)

/* Recipients in a row who are told to come later before it counts */
#define THROTTLED_IN_A_ROW 3

/* How often seats that others hold are asked for again */
#define SEATS_AGAIN_US	INT64CONST(20000)

/* How often they are reminded that they have too many */
#define SEATS_WAKE_US	INT64CONST(500000)

/* ---- the list ---- */

static Route *
route_create(const Relay *relay)
{
	Route	   *r = MemoryContextAllocZero(TopMemoryContext, sizeof(Route));

	r->server = relay->server;
	r->seen_at = GetCurrentTimestamp();
	seats_open(&r->seats, SESSION_SEAT_CLASS, r->server,
			   relay->config.connections);
	return r;
}

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
	if (r->seats.held > 0)
	{
		seats_keep(&r->seats, 0);
		seats_wake(&r->seats);
	}
}

static Route *
routes_find(Worker *w, Oid server)
{
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->server == server)
			return w->routes[i];
	}
	return NULL;
}

/* What the relay was known for counts no more if its options have changed */
static void
route_set_relay(Route *r, Relay *relay, int rank)
{
	r->relay = relay;
	r->rank = rank;
	seats_resize(&r->seats, relay->config.connections);
	if (r->key == relay->key)
		return;
	r->key = relay->key;
	r->out = r->ask = false;
	r->retry_us = 0;
}

void
routes_update(Worker *w, List *relays)
{
	Route	   *old[TRANSFERS_MAX];
	int			nold = w->nroutes;
	Route	   *listed[TRANSFERS_MAX];
	int			count = 0;
	int			rank = 0;
	int			weight = 0;
	ListCell   *cell;
	int			i;

	memcpy(old, w->routes, sizeof(old));
	for (i = 0; i < nold; i++)
		old[i]->relay = NULL;
	foreach(cell, relays)
	{
		Relay	   *relay = lfirst(cell);
		Route	   *r = routes_find(w, relay->server);

		if (r != NULL && r->relay != NULL)
			continue;			/* named twice */
		if (r == NULL)
			r = route_create(relay);
		if (weight == 0 || relay->weight == 0)
			rank++;
		weight = relay->weight;
		route_set_relay(r, relay, rank);
		reserve_meet(w, r);
		listed[count++] = r;
	}
	for (i = 0; i < nold && count < TRANSFERS_MAX; i++)
	{
		if (old[i]->relay == NULL)
			listed[count++] = old[i];
	}
	memcpy(w->routes, listed, sizeof(listed));
	w->nroutes = count;
	routes_check(w);
	w->reserve_us = 0;
}

/* ---- of what use are they? ---- */

static bool
route_is_usable(const Route *r, int64 now)
{
	return r->relay != NULL && !r->out && !r->ask && now >= r->retry_us;
}

Route *
routes_first(Worker *w)
{
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (route_is_usable(w->routes[i], now))
			return w->routes[i];
	}
	return NULL;
}

int64
routes_retry_us(Worker *w)
{
	int64		now = transfer_now();
	int64		earliest = now + 60 * INT64CONST(1000000);
	int			i;

	if (w->nroutes == 0 || routes_first(w) != NULL)
		return 0;
	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->relay != NULL && !r->out)
			earliest = Min(earliest, Max(r->retry_us, now + 1));
	}
	return earliest;
}

/* So many sessions are ours among those that are used now */
int
routes_sessions(Worker *w)
{
	Route	   *first = routes_first(w);
	int64		now = transfer_now();
	int			sessions = 0;
	int			i;

	for (i = 0; first != NULL && i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->rank == first->rank && route_is_usable(r, now))
			sessions += Min(r->seats.share, r->seats.capacity);
	}
	return sessions;
}

/* Its transfer is for the relay as it is now */
static bool
route_is_open(const Route *r)
{
	return r->transfer != NULL && r->relay != NULL &&
		strcmp(r->fingerprint, r->relay->fingerprint) == 0;
}

static bool
route_can_take(Route *r, int64 now, bool alone)
{
	if (!route_is_open(r) || !route_is_usable(r, now))
		return false;
	if (r->limited && (r->slots.ngrants == 0 || slots_next(&r->slots) > now))
		return false;
	if (r->seats.held == 0)
		return false;
	/* among equals nobody waits for the slowest */
	return alone || r->begun < 2 * r->seats.held + 2;
}

/* Are there others it shares its rank with? */
static bool
route_is_alone(Worker *w, const Route *route)
{
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r != route && r->relay != NULL && r->rank == route->rank)
			return false;
	}
	return true;
}

/* Who comes back begins where the others are, not at nought */
static void
routes_level(Worker *w, const Route *first)
{
	double		most = 0;
	int			i;

	for (i = 0; i < w->nroutes; i++)
		most = Max(most, w->routes[i]->served);
	for (i = 0; i < w->nroutes; i++)
	{
		Route	   *r = w->routes[i];

		if (r->rank == first->rank && r->served < most - 10)
			r->served = most - 10;
	}
}

Route *
routes_choose(Worker *w)
{
	Route	   *first = routes_first(w);
	int64		now = transfer_now();
	Route	   *best = NULL;
	int			i;

	if (first == NULL)
		return NULL;
	if (route_is_alone(w, first))
		best = route_can_take(first, now, true) ? first : NULL;
	else
	{
		routes_level(w, first);
		for (i = 0; i < w->nroutes; i++)
		{
			Route	   *r = w->routes[i];

			if (r->rank == first->rank && route_can_take(r, now, false) &&
				(best == NULL || r->served < best->served))
				best = r;
		}
	}
	if (best == NULL)
		return NULL;
	if (best->limited)
		(void) slots_pop(&best->slots, now);
	best->served += 1.0 / Max(best->relay->weight, 1);
	return best;
}

/* ---- their transfers ---- */

static void
route_open(Worker *w, Route *r)
{
	r->transfer = transfer_create(&r->relay->config);
	if (r->transfer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed to open relay \"%s\".", r->relay->name)));
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
			r->rank == first->rank && route_is_usable(r, now))
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
	seats_wake(&r->seats);
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

	if (!r->seats.open && need > 0)
	{
		seats_open(&r->seats, SESSION_SEAT_CLASS, r->server,
				   r->seats.capacity);
		w->reserve_us = 0;
	}
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

/* ---- what was heard from them ---- */

/* None is left: a person must act */
void
routes_check(Worker *w)
{
	const Route *last = NULL;
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->relay == NULL)
			continue;
		if (!w->routes[i]->out)
			return;
		last = w->routes[i];
	}
	if (last == NULL || w->pause_reason[0] != '\0')
		return;
	strlcpy(w->pause_reason, last->trouble, sizeof(w->pause_reason));
	w->poked = true;
}

/*
 * It cannot be used at present or, permanently, until a person has acted: the
 * others will be told.
 */
void
route_failed(Worker *w, Route *r, const char *description, bool permanent)
{
	char		words[RELAY_ERROR_MAX];

	snprintf(words, sizeof(words), "relay \"%s\": %s",
			 r->relay ? r->relay->name : "", description);
	if (strcmp(words, r->trouble) != 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %s", w->letter_id, words)));
	strlcpy(r->trouble, words, sizeof(r->trouble));
	strlcpy(w->trouble, words, sizeof(w->trouble));
	r->failed_us = transfer_now();
	r->retry_us = r->failed_us + LEAVE_ALONE_US;
	r->ask = true;
	if (permanent)
		r->refused = r->out = true;
	else
		r->failed = true;
	routes_check(w);
	w->reserve_us = 0;
	w->poked = true;
}

/* It has answered about a recipient: it is well */
void
route_answered(Worker *w, Route *r, bool accepted)
{
	if (accepted)
		r->sent++;
	else
		r->rejected++;
	if (r->trouble[0] == '\0')
		return;
	r->well = true;
	r->trouble[0] = '\0';
	w->trouble[0] = '\0';
	w->reserve_us = 0;
}

/*
 * It was told so many times more to send less; between them nobody was
 * accepted or refused for a reason of his own.
 */
void
route_throttled(Worker *w, Route *r, int times, const char *description)
{
	r->throttled_row += times;
	if (r->throttled_row < THROTTLED_IN_A_ROW || times == 0)
		return;
	snprintf(r->trouble, sizeof(r->trouble), "relay \"%s\": %s",
			 r->relay ? r->relay->name : "", description);
	strlcpy(w->trouble, r->trouble, sizeof(w->trouble));
	r->throttled = true;
	w->reserve_us = 0;
}

void
routes_hurry(Worker *w)
{
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		Route	   *r = w->routes[i];

		if (r->out || now - r->failed_us < LEAVE_ALONE_US)
			continue;
		r->ask = false;
		r->retry_us = Min(r->retry_us, now);
	}
}
