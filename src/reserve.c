/*-------------------------------------------------------------------------
 *
 * reserve.c
 *	  What the workers of a database agree on before a turn: who is well, and
 *	  who may send how much.
 *
 * A short transaction of its own, about once a second and whenever something
 * has happened: it tells the others what was heard from the relays, learns
 * what they have heard, and takes moments at which mails may leave.  It is
 * not flushed: the turn that claims the mails is, later in the same log.
 *
 * Rows are locked one by one in the order of their keys, relays before
 * domains, and never together with rows of letters or deliveries.  Nothing in
 * memory changes before COMMIT, so that a transaction which fails has not
 * happened.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

#define RESERVE_INTERVAL_US INT64CONST(1000000)

/* When to try again if it has failed */
#define RESERVE_AGAIN_US INT64CONST(200000)

/* Whoever tries a relay that was down has so much more than its timeout */
#define LEASE_MORE_MS 5000

/* What is agreed on about one route */
typedef struct RouteTerms
{
	Route	   *route;
	RelayState	state;
	bool		entered;		/* it was down, and we may try it */
	double		rate;			/* mails per second, 0: no limit */
	int64_t		unit_us;		/* of the rate */
	PaceGrant	grant;
} RouteTerms;

typedef struct Terms
{
	RouteTerms	routes[TRANSFERS_MAX];
	int			nroutes;
	PaceGrant  *domains;		/* as w->domains */
	Candidates *chosen;
	int			room;
	TimestampTz now;			/* of the database's clock */
	int64		to_monotonic;	/* from it to ours */
} Terms;

/* ---- relays ---- */

/* How many more slots it has use for */
static int
route_demand(Worker *w, const Route *r)
{
	const Route *first = routes_first(w);
	int			mails = w->claimed.count +
		(w->work ? Min(w->free.count, sending_most(w)) : tests_room(w));

	if (!r->limited || first == NULL || r->slots.ngrants == SLOTS_GRANTS)
		return 0;
	if (r->rank != first->rank)
		mails = r->wished + route_waiting(w, r);
	return Max(mails - slots_count(&r->slots), 0);
}

/* Those that it asks for now */
static int
route_wants(Worker *w, const Route *r)
{
	return transfer_now() < r->slots.ask_us ? 0 : route_demand(w, r);
}

/* It was down, and we have something to try it with */
static bool
route_may_enter(Worker *w, const Route *r)
{
	return r->ask && !r->out &&
		(w->work || w->tests > 0 || w->claimed.count > 0 || r->awaited);
}

/* Is there anything to tell the others, or to ask for? */
static bool
route_has_news(Worker *w, const Route *r)
{
	return r->failed || r->refused || r->expired || r->well || r->throttled ||
		r->sent > 0 || r->rejected > 0 ||
		(route_may_enter(w, r) && transfer_now() >= r->retry_us);
}

/* Tell what was heard from it */
static void
route_tell(RouteTerms *t, double configured, TimestampTz now)
{
	const Route *r = t->route;
	TimestampTz failed_at = now - (transfer_now() - r->failed_us);

	relay_state_count(&t->state, now, r->sent, r->rejected);
	if (r->well || r->sent > 0)
		relay_state_well(&t->state, now, r->relay->mapping);
	if (r->failed)
		relay_state_failed(&t->state, failed_at, r->seen_at, r->trouble);
	if (r->refused)
		relay_state_out(&t->state, failed_at, r->key, r->relay->mapping,
						r->trouble);
	if (r->expired)
		relay_state_expired(&t->state, failed_at, r->seen_at, r->key,
							r->relay->mapping, r->token_tries, r->trouble);
	if (r->throttled)
		relay_state_throttled(&t->state, configured, now, r->trouble);
}

/* Somebody has resumed the letter after it had failed: it is tried again */
static bool
route_is_forgiven(Worker *w, const RouteTerms *t)
{
	return w->letter != NULL && t->state.failed_at != 0 &&
		t->state.failed_at < w->letter->resumed_at;
}

/* If it was down and the time has come, it may be for us to try it */
static void
route_enter(Worker *w, RouteTerms *t, TimestampTz now)
{
	const Route *r = t->route;

	if (!route_may_enter(w, r) || r->failed || r->expired ||
		transfer_now() < r->retry_us)
		return;
	t->entered = route_is_forgiven(w, t) ||
		relay_state_enter(&t->state, now,
						  (r->relay->config.connect_timeout_ms +
						   LEASE_MORE_MS) * INT64CONST(1000), r->key);
}

/* Take the next slots of its rate, no more than our share of what is there */
static void
route_take(Worker *w, RouteTerms *t, TimestampTz now)
{
	Pace		pace = {.unit_us = t->unit_us,.horizon_us = SLOTS_HORIZON_US};
	int			wanted = route_wants(w, t->route);
	int			share;

	if (t->rate == 0 || wanted == 0)
		return;
	pace.interval_us = USECS_PER_SEC / t->rate;
	share = (int) (SLOTS_HORIZON_US / pace.interval_us /
				   Max(t->route->seats.users, 1));
	t->grant = pace_take(&pace, t->state.arrival, now,
						 Min(wanted, Max(share, 1)));
	t->state.arrival = t->grant.tat_us;
}

static void
route_negotiate(Worker *w, Terms *terms, Route *r)
{
	RouteTerms *t = &terms->routes[terms->nroutes++];
	bool		news = route_has_news(w, r);
	bool		wants = route_wants(w, r) > 0;
	double		configured;

	memset(t, 0, sizeof(*t));
	t->route = r;
	if (news || wants)
		relay_state_lock(r->server, &t->state);
	else
		relay_state_look(r->server, &t->state);
	/* read after the row was locked, or another's slots look like a fault */
	terms->now = GetCurrentTimestamp();
	configured = relay_plan_rate(&r->relay->plan, terms->now, &t->unit_us);
	if (news)
	{
		RelayState	before = t->state;

		route_tell(t, configured, terms->now);
		route_enter(w, t, terms->now);
		relay_state_tell(&before, &t->state, r->relay->name, terms->now);
	}
	t->rate = relay_state_rate(&t->state, configured, terms->now);
	if (wants)
		route_take(w, t, terms->now);
	if (news || wants)
		relay_state_write(&t->state);
	seats_count(&r->seats);
}

static int
route_compare(const void *a, const void *b)
{
	Oid			left = (*(Route *const *) a)->server;
	Oid			right = (*(Route *const *) b)->server;

	return left < right ? -1 : left > right ? 1 : 0;
}

static void
routes_negotiate(Worker *w, Terms *terms)
{
	Route	   *sorted[TRANSFERS_MAX];
	int			i;

	memcpy(sorted, w->routes, w->nroutes * sizeof(Route *));
	qsort(sorted, w->nroutes, sizeof(Route *), route_compare);
	for (i = 0; i < w->nroutes; i++)
	{
		if (sorted[i]->relay != NULL)
			route_negotiate(w, terms, sorted[i]);
	}
}

/* ---- the transaction ---- */

static void
reserve_transaction(Worker *w, void *arg)
{
	Terms	   *terms = arg;
	ExtensionScope scope;

	MemoryContextReset(w->chosen_context);
	run_begin(w, &scope, &use_reserve);
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	routes_negotiate(w, terms);
	domains_load(w);
	if (w->ndomains > 0 && terms->room > 0)
		terms->chosen = domains_choose(w, terms->room, &terms->domains);
	run_commit(&scope);
	terms->to_monotonic = transfer_now() - GetCurrentTimestamp();
}

/* ---- after COMMIT ---- */

/* What the others know about its health counts for us, too */
static void
route_learn(Worker *w, const RouteTerms *t, const Terms *terms)
{
	Route	   *r = t->route;
	const RelayState *s = &t->state;
	bool		forgiven = route_is_forgiven(w, t) && !r->failed &&
		!r->refused && !r->expired;
	bool		expired = relay_state_is_expired(s, r->key);
	bool		out = s->out && s->out_key == r->key && !expired && !forgiven;
	bool		down;

	if (out && !r->out)
		strlcpy(r->trouble, s->error, sizeof(r->trouble));
	r->out = out;
	if (expired)
		r->token_us = s->out_until + terms->to_monotonic;
	/* the row may have another's by now: then we know it ourselves */
	down = s->failures > 0 || r->token_us > transfer_now();
	r->probing = (r->probing || t->entered) && (down || expired) &&
		!r->failed && !r->expired;
	if (!down && !expired && r->waited)
	{
		w->hurry = true;
		r->waited = false;
	}
	if (r->probing || (!down && !expired) || forgiven)
	{
		r->ask = false;
		r->retry_us = 0;
	}
	else if (r->ask || r->begun == 0)
	{
		r->ask = r->waited = true;
		r->retry_us = Max(relay_state_retry_at(s, terms->now, r->key) +
						  terms->to_monotonic, r->token_us);
		if (r->trouble[0] == '\0')
			strlcpy(r->trouble, s->error, sizeof(r->trouble));
	}
	r->seen_at = terms->now;
}

static void
route_apply(Worker *w, const RouteTerms *t, const Terms *terms)
{
	Route	   *r = t->route;

	route_learn(w, t, terms);
	r->failed = r->refused = r->expired = r->well = r->throttled = false;
	r->sent = r->rejected = 0;
	if (t->rate == 0)
		memset(&r->slots, 0, sizeof(r->slots));
	else if (!r->limited)
		w->reserve_us = 0;		/* now that we know */
	else if (t->grant.next_us != 0)
	{
		int64		pause = (int64) (t->grant.count * t->grant.interval_us) / 2;

		slots_add(&r->slots, &t->grant, terms->to_monotonic, t->unit_us,
				  r->seats.users);
		r->slots.ask_us = Max(r->slots.ask_us, transfer_now() +
							  Min(Max(pause, 10000), SLOTS_HORIZON_US / 2));
	}
	r->limited = t->rate > 0;
	r->ahead = (int) (t->rate * Min(t->unit_us / 20, SLOTS_HORIZON_US) /
					  USECS_PER_SEC / Max(r->seats.users, 1));
	r->ahead = Max(r->ahead - 1, 0);
}

static void
terms_apply(Worker *w, const Terms *terms)
{
	int			i;
	int			d;

	w->reserved_us = transfer_now();
	w->reserve_us = w->reserved_us + RESERVE_INTERVAL_US;
	for (i = 0; i < terms->nroutes; i++)
		route_apply(w, &terms->routes[i], terms);
	for (d = 0; terms->chosen != NULL && d < w->ndomains; d++)
	{
		if (terms->domains[d].count > 0)
			slots_add(&w->domains[d]->slots, &terms->domains[d],
					  terms->to_monotonic, w->domains[d]->rate.unit_us,
					  w->domains[d]->seats.users);
	}
	w->chosen = terms->chosen;
	routes_check(w);
}

void
reserve_meet(Worker *w, Route *r)
{
	Terms		terms = {.now = GetCurrentTimestamp()};
	RouteTerms	t = {.route = r};

	terms.to_monotonic = transfer_now() - terms.now;
	relay_state_look(r->server, &t.state);
	t.rate = relay_state_rate(&t.state,
							  relay_plan_rate(&r->relay->plan, terms.now,
											  NULL),
							  terms.now);
	route_learn(w, &t, &terms);
	r->limited = t.rate > 0;
}

/* room: how many are to be chosen, if domains have limits */
void
reserve(Worker *w, int room)
{
	Terms	   *terms = palloc0(sizeof(Terms));

	if (w->chosen_context == NULL)
		w->chosen_context = AllocSetContextCreate(TopMemoryContext,
												  "mailman candidates",
												  ALLOCSET_DEFAULT_SIZES);
	w->chosen = NULL;
	terms->room = room;
	if (run_try(w, reserve_transaction, terms, NULL))
		terms_apply(w, terms);
	else
		w->reserve_us = w->reserve_failed_us =
			transfer_now() + RESERVE_AGAIN_US;
	pfree(terms);
}

/* When there is something to do for reserve(), monotonic */
int64
reserve_next_us(Worker *w)
{
	int64		next = w->reserve_us;
	int			i;

	if (w->nroutes == 0)
		return PG_INT64_MAX;
	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		if (r->relay == NULL)
			continue;
		if (route_demand(w, r) > 0)
			next = Min(next, r->slots.ask_us);
		if (route_may_enter(w, r))
			next = Min(next, r->retry_us);
	}
	return Max(next, w->reserve_failed_us);
}
