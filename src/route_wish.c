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

#include "mailman.h"
#include "worker.h"

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
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->relay != NULL && w->routes[i]->server == wish)
			return w->routes[i];
	}
	return NULL;
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

/* Two for each session, as with the others; of a rate no more than may leave */
int
route_room(const Route *r)
{
	int			room = 2 * Min(r->seats.share, r->seats.capacity) - r->begun;

	if (r->limited)
		room = Min(room, Max(slots_count(&r->slots), 1));
	return Max(room, 1);
}
