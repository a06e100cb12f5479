/*-------------------------------------------------------------------------
 *
 * route_health.c
 *	  What was heard from a relay, and what it means for its use.
 *
 * Here it counts for this worker at once; the others are told by reserve.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "worker.h"

/* A relay that has just failed is left alone until the others were asked */
#define LEAVE_ALONE_US	INT64CONST(1000000)

/* So often in a row it must ask for less before it counts */
#define THROTTLED_IN_A_ROW 3

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

const char *
routes_trouble(Worker *w)
{
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->relay != NULL && w->routes[i]->trouble[0] != '\0')
			return w->routes[i]->trouble;
	}
	return NULL;
}

static void
route_say(const Route *r, const char *fault, const char *description,
		  char *words)
{
	snprintf(words, RELAY_ERROR_MAX, "relay \"%s\": %s%s",
			 r->relay ? r->relay->name : "", fault, description);
}

/*
 * It cannot be used at present or, permanently, until a person has acted: the
 * others will be told.  A token that is refused waits for the next.  What was
 * heard by a transfer for older options tells nothing of these.
 */
void
route_failed(Worker *w, Route *r, const char *description, bool permanent,
			 bool refused)
{
	char		words[RELAY_ERROR_MAX];
	bool		token = permanent && refused && r->relay != NULL &&
		r->relay->config.token != NULL;

	if (!route_is_open(r))
		return;
	route_say(r, token ? "the token is refused: " : "", description, words);
	HOLD_INTERRUPTS();			/* a cancel is no reason to end */
	if (strcmp(words, r->trouble) != 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %s", w->letter_id, words)));
	RESUME_INTERRUPTS();
	strlcpy(r->trouble, words, sizeof(r->trouble));
	r->failed_us = transfer_now();
	r->retry_us = r->failed_us + LEAVE_ALONE_US;
	r->ask = true;
	if (token)
	{
		r->expired = true;
		r->token_tries++;
	}
	else if (permanent)
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
	r->token_us = 0;
	r->token_tries = 0;
	r->seen = 0;				/* the pool begins to count anew, too */
	if (r->trouble[0] == '\0')
		return;
	r->well = true;
	r->trouble[0] = '\0';
	w->reserve_us = 0;
}

/*
 * It has asked for less, again and again: between the last few times nobody
 * was accepted, or refused for a reason of his own.
 */
bool
route_is_throttled(const Route *r)
{
	return r->throttled_row >= THROTTLED_IN_A_ROW;
}

void
route_throttled(Worker *w, Route *r, const char *description)
{
	route_say(r, "", description, r->trouble);
	r->throttled = true;
	w->reserve_us = 0;
}
