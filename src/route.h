/*-------------------------------------------------------------------------
 *
 * route.h
 *	  Ways out of a letter's worker: relays, their sessions and rates, and the
 *	  limits of recipients' domains.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_ROUTE_H
#define MAILMAN_ROUTE_H

#include "mailman.h"
#include "pace.h"
#include "process.h"
#include "relay_state.h"

typedef struct Worker Worker;

/*
 * Moments at which a mail may leave, reserved by reserve.c and used up by
 * sending.c; monotonic time.
 */
#define SLOTS_GRANTS 8

typedef struct Slots
{
	PaceGrant	grants[SLOTS_GRANTS];
	int			ngrants;
	int			used;			/* of the first grant */
	int64		ask_us;			/* when there may be more of them */
	int64		paced_us;		/* when the last one was used, if in time */
	int64		spacing_us;		/* from one to the next, at least */
	int64		tolerance_us;	/* so much of it may be made up at once */
} Slots;

extern int	slots_count(const Slots *slots);
extern int64 slots_next(const Slots *slots);	/* -1: none */
extern bool slots_pop(Slots *slots, int64 now);
extern void slots_add(Slots *slots, const PaceGrant *grant,
					  int64 to_monotonic, int64 unit_us, int users);

/* How far ahead they are reserved */
#define SLOTS_HORIZON_US INT64CONST(500000)

/* One way out: a relay of the newsletter's list as this worker knows it */
typedef struct Route
{
	Relay	   *relay;			/* NULL: not in the list any more */
	Oid			server;
	int64		key;			/* of options and credentials */
	int			rank;			/* in the list; equals have the same */

	Transfer   *transfer;
	char	   *fingerprint;	/* of the relay the transfer was made for */
	int			begun;			/* mails it has */
	int			wished;			/* claimed recipients that must take it */
	int			wishes_begun;	/* and mails it has for that reason */
	int			turned_away;	/* others must, and there was no room */
	bool		waiting;		/* some wait for room at it, maybe */
	TimestampTz queue_until;	/* when who waits next is asked about */
	bool		awaited;		/* others must, and it is of no use now */
	double		served;			/* mails it was given, by its weight */
	Seats		seats;			/* sessions, shared by all letters */

	/* is it of use? */
	bool		out;			/* until a person acts */
	bool		ask;			/* it was down: not without asking the others */
	bool		probing;		/* they have left it to us to try it */
	bool		waited;			/* others were told to wait till it is up */
	int64		retry_us;		/* not before (monotonic) */
	int64		failed_us;		/* when it last failed */
	int64		token_us;		/* our token is not to be tried before */
	int			token_tries;	/* how often it was refused */
	int			seen;			/* connects failed that we have acted on */
	char		trouble[RELAY_ERROR_MAX];

	/* for the others, at the next opportunity */
	bool		failed;
	bool		refused;		/* for good */
	bool		expired;		/* or until there is another token */
	bool		well;
	bool		throttled;
	int			sent;
	int			rejected;
	TimestampTz seen_at;		/* when we last knew what the others knew */

	/* its rate */
	bool		limited;
	int			ahead;			/* mails it may have beyond its sessions */
	Slots		slots;
	int			throttled_row;	/* how often in a row it asked for less */
	uint64		throttled_seen; /* by its transfer */
} Route;

/* A limit of mailman.domain_limit */
typedef struct Domain
{
	int			id;
	char	   *pattern;
	Rate		rate;			/* count 0: none */
	int			connections;	/* 0: no limit */
	Seats		seats;
	bool		current;		/* still in the table */
	int			claimed;		/* recipients we have claimed and not begun */
	int			begun;			/* mails under way */
	int			wanted;			/* recipients among the candidates */
	TimestampTz aside_until;	/* when who is set aside next is asked */
	Slots		slots;
} Domain;

/* ---- route.c, route_sessions.c: which relay, with how many sessions ---- */

/* The one to that server among them; NULL: there is none */
extern Route *routes_find(Route *const *routes, int count, Oid server);

/* The list as just loaded; sessions of those that stay are kept */
extern void routes_update(Worker *w, List *relays);

/* Open what is to be used, close what has changed or is gone */
extern void routes_open(Worker *w);
extern void routes_close(Worker *w);
extern bool route_is_open(const Route *r);
extern bool route_is_usable(const Route *r, int64 now);

/* Are there no others that it shares its rank with? */
extern bool route_is_alone(Worker *w, const Route *route);
extern void routes_transfers(Worker *w, Transfers *transfers);
extern TransferCounts routes_counts(Worker *w);

/* So many mails cannot be taken back any more */
extern int	routes_unanswered(Worker *w);

/* The first in rank that is of use now; NULL: none is */
extern Route *routes_first(Worker *w);

/* What was wrong with the first one that is of no use, in words */
extern const char *routes_trouble(Worker *w);

/* When one may be tried again; 0: now */
extern int64 routes_retry_us(Worker *w);

/*
 * The one to take the next mail now; NULL: none can at present.  wish: the one
 * it must take, or InvalidOid.
 */
extern Route *routes_choose(Worker *w, Oid wish);

/* ---- route_wish.c: mails that must take a certain one ---- */

/* One of the list; NULL: it is not there any more */
extern Route *routes_named(Worker *w, const char *name);
extern Route *routes_wished(Worker *w, Oid wish);
extern void routes_count_wishes(Worker *w);

/* Such mails, claimed and begun, beside the relays that are used now */
extern int	routes_wished_elsewhere(Worker *w, int *begun);

/* How many more of them it has room for; INT_MAX: as many as are claimed */
extern int	route_room(Worker *w, const Route *r);

/* Until when who gets none waits, at least wait_us: behind the others */
extern TimestampTz route_queue(Route *r, int64 wait_us);

/* How many wait for it, of whom there may be more */
extern int	route_waiting(const Worker *w, const Route *r);

/* Is there one that has room for those who wait for it? */
extern bool routes_have_room(Worker *w);

/* Hold as many seats as there is use for, and no more than is our share */
extern void routes_balance(Worker *w);
extern int	routes_sessions(Worker *w);

/* ---- route_health.c: of what use are they? ---- */

/* What was heard from it */
extern void route_failed(Worker *w, Route *r, const char *description,
						 bool permanent, bool refused);
extern void route_answered(Worker *w, Route *r, bool accepted);
extern bool route_is_throttled(const Route *r);
extern void route_throttled(Worker *w, Route *r, const char *description);

/* Pause the letter if all of them are out */
extern void routes_check(Worker *w);

/* ---- reserve.c: what the workers agree on ---- */

extern int64 reserve_next_us(Worker *w);	/* when to, monotonic */

/* room: how many to choose, if domains are limited */
extern void reserve(Worker *w, int room);

/* The first look at a route, in whatever transaction we are */
extern void reserve_meet(Worker *w, Route *r);

/* ---- domain.c: limits of recipients' domains ---- */

extern void domains_load(Worker *w);
extern Domain *domains_find(Worker *w, const char *email);
extern bool domain_may_begin(Domain *domain, int64 now);
extern void domain_begin(Domain *domain, int64 now);
extern void domain_end(Domain *domain);

#endif							/* MAILMAN_ROUTE_H */
