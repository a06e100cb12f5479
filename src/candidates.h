/*-------------------------------------------------------------------------
 *
 * candidates.h
 *	  Whom the next turn may claim: chosen by what waits and what is limited,
 *	  decided on by the newsletter's policy.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_CANDIDATES_H
#define MAILMAN_CANDIDATES_H

#include "mailman.h"
#include "route.h"

/* Who is not to be sent to now, and what is to be written of them */
typedef struct Settled
{
	Datum		id;
	Datum		state;			/* in which they were chosen */
	DeliveryState next;
	TimestampTz until;			/* 0: for good */
	const char *reason;
} Settled;

/* Was the policy asked about a candidate? */
typedef enum Asked
{
	ASKED_NOT,					/* not active: the claim skips them */
	ASKED_SEND,
	ASKED_SETTLED
} Asked;

/* Rows a turn may claim, and what that means for the postings */
typedef struct Candidates
{
	Datum	   *ids;
	ItemPointerData *places;	/* where their rows were read */
	Datum	   *states;
	int			count;
	int			room;
	Datum	   *exhausted;		/* postings without an unclaimed row */
	int			nexhausted;
	int64		posting;		/* the one left half done, 0: none */
	int64		low;			/* where it goes on */
	Datum	   *aside;			/* those who must wait for their domain */
	Datum	   *aside_states;
	Datum	   *aside_until;
	int			naside;

	/* by newsletter.policy, as the candidates; NULL: there is none */
	Asked	   *asked;
	Jsonb	  **variables;		/* beside those of mailman_send(), or NULL */
	Oid		   *wishes;			/* relays they must take, or InvalidOid */
	Settled    *settled;
	int			nsettled;
} Candidates;

/* ---- choose.c ---- */

/* Most postings a turn goes through */
#define POSTINGS_AT_ONCE 500

extern void candidates_choose(Worker *w, Candidates *c, int limit,
							  TimestampTz until);

/* Rows of a statement: id, place, and state, unless that is given for all */
extern void candidates_add(Candidates *c, uint64 rows, const char *state);

/* One of them moves up in the list */
extern void candidates_keep(Candidates *c, int from, int to);

/* ---- route_wish.c ---- */

/* Add those who wait for a relay that they must take and that has room now */
extern void candidates_fetch(Worker *w, Candidates *c, TimestampTz until);

/* ---- aside.c ---- */

/*
 * Choose whom to claim while somebody's domain is limited; grants as
 * w->domains.
 */
extern Candidates *domains_choose(Worker *w, int room, PaceGrant **grants);

/* ---- decide.c: the newsletter's policy ---- */

extern bool decide_is_needed(const Worker *w);

/* Choose whom the next turn claims, and ask about them */
extern void decide(Worker *w, int room);

#endif							/* MAILMAN_CANDIDATES_H */
