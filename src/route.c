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
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* ---- the list ---- */

static Route *
route_create(const Relay *relay)
{
	Route	   *r = MemoryContextAllocZero(TopMemoryContext, sizeof(Route));

	r->server = relay->server;
	r->seen_at = GetCurrentTimestamp();
	r->waiting = true;			/* an earlier worker may have left some */
	seats_init(&r->seats, SESSION_SEAT_CLASS, r->server,
			   relay->config.connections);
	return r;
}

Route *
routes_find(Route *const *routes, int count, Oid server)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		if (routes[i]->server == server)
			return routes[i];
	}
	return NULL;
}

/* What the relay was known for counts no more if its options have changed */
static void
route_set_relay(Route *r, Relay *relay, int rank)
{
	r->relay = relay;
	r->rank = rank;
	r->slots.ask_us = 0;		/* its rate may be another */
	seats_resize(&r->seats, relay->config.connections);
	if (r->key == relay->key)
		return;
	r->key = relay->key;
	r->out = r->ask = r->refused = r->expired = false;
	r->retry_us = r->token_us = 0;
	r->token_tries = 0;
	if (route_is_open(r) &&
		!transfer_set_token(r->transfer, relay->config.token))
		r->fingerprint[0] = '\0';	/* no memory: then another transfer */
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
		Route	   *r = routes_find(old, nold, relay->server);
		bool		was_out;

		if (routes_find(listed, count, relay->server) != NULL)
			continue;			/* named twice */
		if (r == NULL)
			r = route_create(relay);
		was_out = r->out;
		if (weight == 0 || relay->weight == 0)
			rank++;
		weight = relay->weight;
		route_set_relay(r, relay, rank);
		if (!r->failed && !r->refused && !r->expired)
			reserve_meet(w, r);
		w->hurry |= was_out && !r->out;
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

bool
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
bool
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
	if (r->seats.held == 0)
		return false;
	/* with a rate nothing piles up at the relay to burst out later */
	if (r->limited && (r->slots.ngrants == 0 || slots_next(&r->slots) > now ||
					   r->begun >= r->seats.held + r->ahead))
		return false;
	/* among equals nobody waits for the slowest */
	return alone || r->begun < 2 * r->seats.held + 2;
}

bool
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
routes_choose(Worker *w, Oid wish)
{
	Route	   *first = OidIsValid(wish) ? routes_wished(w, wish) :
		routes_first(w);
	int64		now = transfer_now();
	Route	   *best = NULL;
	int			i;

	if (first == NULL)
		return NULL;
	if (OidIsValid(wish) || route_is_alone(w, first))
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
