/*-------------------------------------------------------------------------
 *
 * sending_room.c
 *	  What left lately, and how many more recipients there is room for.
 *
 * A claim is written before the first byte is sent, so whoever is claimed and
 * not sent to is doubt if this process is killed.  Claimed are as few as keep
 * every session at work.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "worker.h"

/* ---- what left lately ---- */

/* Two half-second windows: the sum is about what left in the last second */
void
sending_left(Worker *w, int left)
{
	int64		now = transfer_now();
	int64		age = now - w->window_start_us;

	if (age >= 500000)
	{
		w->window_left_before = age < 1000000 ? w->window_left : 0;
		w->window_left = 0;
		w->window_start_us = now;
	}
	w->window_left += left;
}

int
sending_rate(Worker *w)
{
	sending_left(w, 0);
	return w->window_left + w->window_left_before;
}

/* ---- and so how many may follow ---- */

/* Slots of the relays that are used now; -1: one of them has no rate */
static int
sending_slots(Worker *w)
{
	Route	   *first = routes_first(w);
	int64		now = transfer_now();
	int			slots = 0;
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->rank != first->rank || !route_is_usable(r, now))
			continue;
		if (!r->limited)
			return -1;
		slots += slots_count(&r->slots);
	}
	return slots;
}

/*
 * So many more may be 'sending' at the next commit: what is done is recorded in
 * the same turn, what is stuck is not.
 */
int
sending_most(Worker *w)
{
	return Max(w->most - w->claimed.count - w->begun.count - w->stuck.count,
			   0);
}

/*
 * How many more recipients to claim: so that about a second's worth is
 * claimed, and always two per session, so that none of them waits; of relays
 * with a rate no more than may leave.
 */
int
sending_room(Worker *w)
{
	int			sessions = routes_sessions(w);
	int			begun_elsewhere;
	int			claimed;
	int			room;
	int			slots;

	if (sessions == 0)
		return 0;
	/* who must take another relay does not keep the others waiting */
	claimed = w->claimed.count - routes_wished_elsewhere(w, &begun_elsewhere);
	room = Max(2 * sessions, sending_rate(w)) - claimed -
		(w->begun.count - begun_elsewhere);
	room = Min(room, sending_most(w));
	if (w->claim_most > 0)
		room = Min(room, w->claim_most - claimed);
	slots = sending_slots(w);
	if (slots >= 0)
		room = Min(room, slots - claimed);
	return Max(room, 0);
}
