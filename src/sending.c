/*-------------------------------------------------------------------------
 *
 * sending.c
 *	  Between two turns: exchange what was claimed with the relays.
 *
 * The glue of the worker with the network layer.  No SQL is run here and no
 * transaction is open, however long a relay takes.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Idle sessions are given back to the relay after this */
#define SESSION_IDLE_US		INT64CONST(5000000)

/* Mails made between two looks at the sockets, if there are any to make */
#define RENDER_AT_ONCE	8

/* How soon a mail that waits for a seat of others is tried again */
#define SEAT_AGAIN_US	INT64CONST(20000)

/* How soon those who set our latch make us talk to other workers again */
#define POKED_AGAIN_US	INT64CONST(100000)

void
sending_unclaim(Delivery *d)
{
	if (d->domain != NULL)
		d->domain->claimed--;
	d->domain = NULL;
}

/* Its mail is with no relay any more */
static void
sending_end(Delivery *d)
{
	d->route->begun--;
	if (OidIsValid(d->wish))
		d->route->wishes_begun--;
	if (d->domain != NULL)
		domain_end(d->domain);
}

static int
sending_collect_from(Worker *w, Route *r)
{
	uint64		throttled = transfer_counts(r->transfer).throttled;
	bool		asked = throttled > r->throttled_seen;
	int			retried = (int) (throttled - r->throttled_seen);
	Mail	   *mail;
	int			left = 0;

	r->throttled_seen = throttled;
	while ((mail = transfer_finished(r->transfer)) != NULL)
	{
		Delivery   *d = (Delivery *) ((char *) mail - offsetof(Delivery, mail));

		d->ended_at = GetCurrentTimestamp();
		sending_end(d);
		if (mail->attempt.end == END_RETURNED)
			answer_returned(w, d);
		else
		{
			retried -= mail->judgement.throttled;
			if (mail->attempt.end == END_REPLY)
				w->slowest_us = Max(w->slowest_us,
									mail->finished_us - mail->started_us);
			answer_outcome(w, d);
			left++;
		}
	}
	/* the pool may have tried them again itself */
	r->throttled_row += Max(retried, 0);
	if (asked && route_is_throttled(r) && !r->throttled)
		route_throttled(w, r, transfer_health(r->transfer)->throttled);
	return left;
}

void
sending_collect(Worker *w)
{
	int			left = 0;
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		if (w->routes[i]->transfer != NULL)
			left += sending_collect_from(w, w->routes[i]);
	}
	if (left > 0)
		w->heard_us = transfer_now();
	sending_left(w, left);
}

/* Back to the queue; the next claim knows what is of use */
static void
sending_give_back(Worker *w, Delivery *d)
{
	d->ended_at = GetCurrentTimestamp();
	sending_unclaim(d);
	answer_wait(w, d);
	delivery_end(w, d, &w->claimed);
}

/*
 * Back to the queue with what was not begun: until a relay may be tried
 * again, or at once if we are stopping.  Tests may stay.
 */
static void
sending_give_up(Worker *w, bool tests)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->test_id == 0 || tests)
			sending_give_back(w, d);
	}
}

/* Is the relay that it must take of use? */
static bool
sending_can_wish(Worker *w, const Delivery *d, int64 now)
{
	const Route *r = routes_wished(w, d->wish);

	return r != NULL && route_is_usable(r, now);
}

static void
sending_begin(Worker *w, Delivery *d, Route *r, int64 now)
{
	d->route = r;
	d->relay = MemoryContextStrdup(d->context, r->relay->name);
	if (d->domain != NULL)
		domain_begin(d->domain, now);
	r->begun++;
	if (OidIsValid(d->wish))
	{
		r->wishes_begun++;
		r->wished--;
	}
	delivery_move(d, &w->claimed, &w->begun);
	transfer_submit(r->transfer, &d->mail);
}

/* Hand over what may leave now */
static void
sending_submit(Worker *w)
{
	int64		now = transfer_now();
	dlist_mutable_iter iter;

	/* a relay that is about to be replaced gets nothing more */
	if (w->relay_stale)
		return;
	routes_count_wishes(w);
	routes_open(w);
	if (w->nroutes > 0 && routes_first(w) == NULL)
		sending_give_up(w, true);
	routes_balance(w);
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		Route	   *r;

		if (d->wire == NULL)
		{
			if (ahead_has_room(w))
				break;			/* nor have those behind */
			continue;			/* there is no room as they have */
		}
		if (d->domain != NULL && !domain_may_begin(d->domain, now))
			continue;
		r = routes_choose(w, d->wish);
		if (r != NULL)
			sending_begin(w, d, r, now);
		else if (!OidIsValid(d->wish))
		{
			if (!decide_is_needed(w))
				break;			/* nor can one of those behind */
		}
		else if (!sending_can_wish(w, d, now))
			sending_give_back(w, d);
	}
	routes_balance(w);
}

/* Soon no mail rides behind another any more: pool_take() */
static bool
sending_runs_dry(TransferCounts counts)
{
	return counts.queued <= counts.sessions / TRANSFER_SPARE;
}

/* Is there reason enough for a transaction? */
static bool
sending_is_over(Worker *w)
{
	int64		now = transfer_now();
	int64		since = now - w->last_turn_us;

	if (ConfigReloadPending)
		return true;
	if (worker_sends(w) && now >= reserve_next_us(w))
		return true;
	if (w->claimed.count + w->begun.count > 0 && now >= w->give_up_us)
		return true;
	if (worker_gathers(w, now))
		return false;
	if (w->claimed.count + w->begun.count == 0)
		return worker_recordable(w) > 0 || w->poked || now >= w->look_us;
	if (worker_recordable(w) >= mailman_turn_size ||
		since >= mailman_turn_interval * INT64CONST(1000))
		return true;
	if ((w->poked || (w->relay_stale && worker_sends(w))) &&
		since >= 5000)
		return true;
	/* some are done, more are waiting, and the sessions soon run dry */
	return !w->unrendered && (w->done.count > 0 || w->aside) &&
		(w->more || routes_have_room(w)) &&
		sending_runs_dry(routes_counts(w)) && sending_room(w) > 0;
}

/* When a claimed mail that waits may be begun, by the clock */
static int64
sending_next_us(Worker *w, int64 now)
{
	int64		next = now + SEAT_AGAIN_US;
	bool		all = w->ndomains == 0;
	int			i;

	for (i = 0; i < w->nroutes; i++)
	{
		const Route *r = w->routes[i];

		/* unless it is only a slot that they wait for */
		if (!r->limited || slots_next(&r->slots) <= now)
			continue;
		next = all ? slots_next(&r->slots) : Min(next, slots_next(&r->slots));
		all = false;
	}
	return next;
}

/* ms until sending_is_over() may say so by the clock alone */
static int64
sending_timeout(Worker *w)
{
	int64		now = transfer_now();
	int64		until = w->look_us;

	if (w->unrendered && ahead_has_room(w))
		return 0;
	if (w->claimed.count + w->begun.count > 0)
		until = Min(w->give_up_us, w->last_turn_us +
					mailman_turn_interval * INT64CONST(1000));
	if (worker_gathers(w, now))
		until = w->poked || worker_recordable(w) > 0 ?
			worker_gathers_until(w) : Max(until, worker_gathers_until(w));
	if (worker_sends(w))
		until = Min(until, reserve_next_us(w));
	if (w->claimed.count > 0)
		until = Min(until, sending_next_us(w, now));
	return (until - now) / 1000 + 1;
}

/*
 * Somebody set our latch: look for work, see what others want, and if no
 * relay is of use, whether a person has acted.  Who feeds the letter does so
 * often, and has nothing new to say of the others.
 */
static void
sending_poked(Worker *w)
{
	int64		again_us = w->reserved_us + POKED_AGAIN_US;
	int			i;

	w->poked = true;
	w->reserve_us = Min(w->reserve_us, again_us);
	for (i = 0; i < w->nroutes; i++)
	{
		Seats	   *seats = &w->routes[i]->seats;

		seats->count_us = Min(seats->count_us, again_us);
	}
	if (w->nroutes > 0 && routes_first(w) == NULL)
		w->relay_stale = true;
}

/* What is waited for: the furthest that any mail has come */
static WaitKind
sending_kind(Worker *w)
{
	TransferCounts counts = routes_counts(w);

	if (counts.in_flight > 0)
		return WAIT_REPLY;
	if (counts.connecting > 0)
		return WAIT_CONNECT;
	if (w->begun.count > 0)
		return WAIT_REPLY;
	if (w->claimed.count > 0)
		return WAIT_SLOT;
	return w->idle_kind;
}

/* See what has come in, for so many ms, and go on with it */
static void
sending_step(Worker *w, int64 timeout)
{
	Transfers	transfers;

	QueryCancelPending = false; /* there is no query to cancel */
	CHECK_FOR_INTERRUPTS();
	routes_transfers(w, &transfers);
	if (waiter_wait(w->waiter, &transfers, timeout, sending_kind(w)))
		sending_poked(w);
	sending_collect(w);
}

/*
 * After a turn: what has come in meanwhile is read, and the sessions go on with
 * the mails that were made before it, so that the relay is at work while we
 * are.
 */
void
sending_catch_up(Worker *w)
{
	if (w->begun.count > 0)
		sending_step(w, 0);
}

/*
 * Exchange mails with the relay until it is time for a turn.  While the relay
 * is at work, the mails that are not made yet are.
 */
void
sending_transfer(Worker *w)
{
	int64		timeout = 0;

	sending_submit(w);
	if (w->idle_since_us != 0 &&
		transfer_now() - w->idle_since_us > SESSION_IDLE_US)
		routes_close(w);
	do
	{
		sending_step(w, timeout);
		if (w->unrendered)
			sending_render_more(w, RENDER_AT_ONCE);
		if (w->claimed.count > 0)
			sending_submit(w);
		timeout = sending_timeout(w);
	} while (!sending_is_over(w));
}

/* Wait so long for replies to what is under way */
static void
sending_drain(Worker *w, int64 until)
{
	Transfers	transfers;

	while (w->begun.count > 0 && transfer_now() < until)
	{
		if (ProcSignalBarrierPending)
			ProcessProcSignalBarrier();
		routes_transfers(w, &transfers);
		waiter_wait(w->waiter, &transfers,
					(until - transfer_now()) / 1000 + 1, WAIT_REPLY);
		sending_collect(w);
	}
}

/* Nothing but tests is under way */
static bool
sending_only_tests(Worker *w)
{
	dlist_iter	iter;

	dlist_foreach(iter, &w->begun.head)
	{
		if (dlist_container(Delivery, node, iter.cur)->test_id == 0)
			return false;
	}
	return true;
}

/*
 * Take back what was not begun, save tests.  With wait_us >= 0, wait so long
 * for replies and then give up on the rest, tests too: the worker is ending,
 * interrupts are off.  Afterwards all outcomes known are in w->done and
 * w->tested.
 */
void
sending_stop(Worker *w, int64 wait_us)
{
	bool		tests = wait_us >= 0 || !patience_spares_tests(w);
	Transfers	transfers;
	int			i;

	w->stopping = true;
	sending_give_up(w, tests);
	if (!tests && sending_only_tests(w))
		return;
	routes_transfers(w, &transfers);
	for (i = 0; i < transfers.count; i++)
		transfer_recall(transfers.list[i], true);
	sending_collect(w);
	if (wait_us < 0)
		return;
	sending_drain(w, transfer_now() + wait_us);
	for (i = 0; i < transfers.count; i++)
		transfer_abort(transfers.list[i]);
	sending_collect(w);
}
