/*-------------------------------------------------------------------------
 *
 * route_wish.c
 *	  Mails that must take a certain relay, as newsletter.policy says.
 *
 * The others go through the first relay that is of use; these have one only,
 * whatever its place in the list.  While it is of no use they wait.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker.h"

/*
 * Those who wait are asked about one after the other, however many they are,
 * and nobody less often than this, as the policy may change its mind.  Who is
 * wanted sooner is fetched: see candidates_fetch().
 */
#define QUEUE_EACH_US 10000
#define QUEUE_STEP_US (USECS_PER_SEC / 2)	/* several in one turn */
#define QUEUE_MAX_US (300 * USECS_PER_SEC)

Route *
routes_named(Worker *w, const char *name)
{
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->relay != NULL &&
			strcmp(w->routes[i]->relay->name, name) == 0)
			return w->routes[i];
	}
	return NULL;
}

Route *
routes_wished(Worker *w, Oid wish)
{
	Route	   *r = routes_find(w->routes, w->nroutes, wish);

	return r != NULL && r->relay != NULL ? r : NULL;
}

void
routes_count_wishes(Worker *w)
{
	dlist_iter	iter;
	int			i;

	for (i = 0; i < w->nroutes; i++)
		w->routes[i]->wished = 0;
	dlist_foreach(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		Route	   *r = d->wish ? routes_wished(w, d->wish) : NULL;

		if (r != NULL)
			r->wished++;
	}
}

int
routes_wished_elsewhere(Worker *w, int *begun)
{
	const Route *first = routes_first(w);
	int			claimed = 0;
	int			i;

	*begun = 0;
	for (i = 0; first != NULL && i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->rank == first->rank && r->relay != NULL)
			continue;
		claimed += r->wished;
		*begun += r->wishes_begun;
	}
	return claimed;
}

/*
 * If all others take it, too, the claim itself is no larger than it has room.
 * Else two for each session or what left lately, as with the others; of a rate
 * no more than may leave; and never so many that none can be claimed for the
 * relays that are used now.
 */
int
route_room(Worker *w, const Route *r)
{
	const Route *first = routes_first(w);
	int			room = 2 * Min(r->seats.share, r->seats.capacity);
	int			begun;
	int			claimed;

	if (first != NULL && r->rank == first->rank && route_is_alone(w, r))
		return INT_MAX;
	room = Max(room, sending_rate(w)) - r->begun - r->wished;
	if (r->limited)
		room = Min(room, slots_count(&r->slots) - r->wished);
	if (first != NULL && r->rank != first->rank)
	{
		claimed = routes_wished_elsewhere(w, &begun);
		room = Min(room, w->most / 2 - claimed - begun);
	}
	return Max(room, 0);
}

TimestampTz
route_queue(Route *r, int64 wait_us)
{
	TimestampTz now = GetCurrentTimestamp();

	r->queue_until = Max(r->queue_until, now + wait_us) + QUEUE_EACH_US;
	r->queue_until = Min(r->queue_until, now + Max(wait_us, QUEUE_MAX_US));
	return r->queue_until + QUEUE_STEP_US - r->queue_until % QUEUE_STEP_US;
}

int
route_waiting(const Worker *w, const Route *r)
{
	if (!r->waiting || !decide_is_needed(w))
		return 0;
	return Max(r->turned_away, 2 * Min(r->seats.share, r->seats.capacity));
}

bool
routes_have_room(Worker *w)
{
	int64		now = transfer_now();
	int			i;

	if (!decide_is_needed(w))
		return false;
	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->waiting && route_is_usable(r, now) && route_room(w, r) > 0)
			return true;
	}
	return false;
}

/* Those for whom there is room at last at the relay that they must take */
static void
candidates_waiting(Worker *w, Candidates *c, Route *r, int limit,
				   TimestampTz until)
{
	static Statement waiting = {
		.sql = "SELECT f.subscription_id, f.ctid, f.state FROM"
		" (SELECT d.subscription_id, d.ctid, d.state, d.reason"
		" FROM mailman.delivery d"
		" WHERE d.letter_id = $1 AND d.due_at IS NOT NULL AND d.due_at > $2"
		" ORDER BY d.due_at LIMIT 1000) f WHERE f.reason = $3 LIMIT $4",
		.nargs = 4,
		.argtypes = {INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	};
	Datum		values[4] = {Int64GetDatum(w->letter_id),
	TimestampTzGetDatum(until)};
	uint64		rows;

	values[2] = CStringGetTextDatum(psprintf(REASON_WAITS, r->relay->name));
	values[3] = Int64GetDatum(limit);
	rows = statement_run(&waiting, SPI_OK_SELECT, values, NULL);
	candidates_add(c, rows, NULL);
	r->waiting = rows == (uint64) limit;
}

/* Fetch them; half of the room is left to others, who may need another relay */
void
candidates_fetch(Worker *w, Candidates *c, TimestampTz until)
{
	int64		now = transfer_now();
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		Route	   *r = w->routes[i];
		int			limit = Min((c->room - c->count + 1) / 2,
								r->waiting && route_is_usable(r, now) ?
								route_room(w, r) : 0);

		if (limit > 0)
			candidates_waiting(w, c, r, limit, until);
	}
}
