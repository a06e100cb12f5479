/*-------------------------------------------------------------------------
 *
 * sending.c
 *	  Between two turns: render what was claimed and exchange it with the
 *	  relay.
 *
 * The glue of the worker with the pure and the network layer.  No SQL is run
 * here and no transaction is open, however long a relay takes.
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

/* A relay that has just failed is not tried again, whoever asks */
#define RELAY_LEAVE_ALONE_US	INT64CONST(1000000)

/* ---- what left lately ---- */

/* Two half-second windows: the sum is about what left in the last second */
static void
sending_count_left(Worker *w, int left)
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
	sending_count_left(w, 0);
	return w->window_left + w->window_left_before;
}

/*
 * How many more recipients to claim: so that about a second's worth is
 * claimed, and always two per session, so that none of them waits.
 */
int
sending_room(Worker *w)
{
	int			sessions = w->relay != NULL ? w->relay->config.connections : 1;
	int			target = Max(2 * sessions, sending_rate(w));

	if (transfer_now() < w->relay_retry_us)
		return 0;
	return Max(0, target - w->claimed.count - w->begun.count);
}

/* ---- the exchange ---- */

void
sending_collect(Worker *w)
{
	Mail	   *mail;
	int			left = 0;

	if (w->transfer == NULL)
		return;
	while ((mail = transfer_finished(w->transfer)) != NULL)
	{
		Delivery   *d = (Delivery *) ((char *) mail - offsetof(Delivery, mail));

		d->ended_at = GetCurrentTimestamp();
		if (mail->attempt.end == END_RETURNED)
			answer_returned(w, d);
		else
		{
			answer_outcome(w, d);
			left++;
		}
	}
	sending_count_left(w, left);
}

/* ---- rendering ---- */

/*
 * The pure layer reports faults as values; what it can still throw, a message
 * beyond PostgreSQL's limits, is that recipient's failure alone.  A lack of
 * memory is not.
 */
static bool
sending_render_safely(Worker *w, Delivery *d, const RenderRecipient *recipient)
{
	volatile bool ok = false;

	PG_TRY();
	{
		ok = render_message(&w->letter->render, recipient, &d->rendered);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(d->context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_INSUFFICIENT_RESOURCES)
			PG_RE_THROW();
		FlushErrorState();
		d->rendered.error = error->message;
	}
	PG_END_TRY();
	return ok;
}

static bool
sending_render_one(Worker *w, Delivery *d)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	RenderRecipient recipient = {
		.subscription_id = d->subscription_id,
		.email = d->email,
		.name = d->name,
		.date = letter_date(w->letter, d->queued_at),
		.lookup = lookup_value,
		.context = &d->lookup
	};
	bool		ok = sending_render_safely(w, d, &recipient);

	d->revision = w->letter->revision;
	d->mail.from = d->rendered.mail_from;
	d->mail.to = d->rendered.rcpt_to;
	d->mail.wire = d->rendered.wire.data;
	d->mail.wire_len = d->rendered.wire.len;
	d->mail.size = d->rendered.message.len;
	d->mail.smtputf8 = d->rendered.smtputf8;
	MemoryContextSwitchTo(old);
	return ok;
}

/* Make the mails of all that were claimed; one that fails fails alone */
void
sending_render(Worker *w)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->mail.wire != NULL || sending_render_one(w, d))
			continue;
		d->ended_at = GetCurrentTimestamp();
		outcome_set(d, DELIVERY_FAILED, 0, d->rendered.error);
		delivery_move(d, &w->claimed, &w->done);
	}
}

void
sending_close(Worker *w)
{
	if (w->transfer == NULL)
		return;
	waiter_forget(w->waiter);
	transfer_destroy(w->transfer);
	w->transfer = NULL;
	w->relay_seen = 0;
}

/*
 * The transfer to the relay as it is now.  If its options changed, the old
 * sessions finish what they have begun first.
 */
static void
sending_open(Worker *w)
{
	if (w->relay == NULL)
		return;
	if (w->transfer != NULL &&
		strcmp(w->transfer_fingerprint, w->relay->fingerprint) != 0)
	{
		transfer_recall(w->transfer, true);
		sending_collect(w);
		if (w->begun.count > 0)
			return;
		sending_close(w);
	}
	if (w->transfer == NULL && w->claimed.count > 0)
	{
		w->transfer = transfer_create(&w->relay->config);
		if (w->transfer == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed to open relay \"%s\".",
							   w->relay->name)));
		if (w->transfer_fingerprint != NULL)
			pfree(w->transfer_fingerprint);
		w->transfer_fingerprint = MemoryContextStrdup(TopMemoryContext,
													  w->relay->fingerprint);
	}
}

static void
sending_submit(Worker *w)
{
	dlist_mutable_iter iter;

	/* a relay that is about to be replaced gets nothing more */
	if (w->relay_stale)
		return;
	sending_open(w);
	if (w->transfer == NULL || w->relay == NULL ||
		strcmp(w->transfer_fingerprint, w->relay->fingerprint) != 0)
		return;
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		d->relay = MemoryContextStrdup(d->context, w->relay->name);
		delivery_move(d, &w->claimed, &w->begun);
		transfer_submit(w->transfer, &d->mail);
	}
}

/* Less is queued than one mail for each session */
static bool
sending_runs_dry(TransferCounts counts)
{
	return counts.queued < counts.sessions;
}

/* Is there reason enough for a transaction? */
static bool
sending_is_over(Worker *w)
{
	int64		now = transfer_now();
	int64		since = now - w->last_turn_us;

	if (ConfigReloadPending)
		return true;
	if (w->claimed.count + w->begun.count == 0)
		return w->done.count > 0 || w->poked || now >= w->look_us;
	if (w->done.count >= mailman_turn_size ||
		since >= mailman_turn_interval * INT64CONST(1000))
		return true;
	if ((w->poked || (w->relay_stale && w->mode == MODE_SEND)) &&
		since >= 5000)
		return true;
	/* some are done, more are waiting, and the sessions soon run dry */
	return w->done.count > 0 && w->more && w->transfer != NULL &&
		sending_runs_dry(transfer_counts(w->transfer)) && sending_room(w) > 0;
}

/* ms until sending_is_over() may say so by the clock alone */
static int64
sending_timeout(Worker *w)
{
	int64		until = w->look_us;

	if (w->claimed.count + w->begun.count > 0)
		until = w->last_turn_us + mailman_turn_interval * INT64CONST(1000);
	return Max(until - transfer_now(), 0) / 1000 + 1;
}

/* Somebody set our latch: look for work, and try a relay that was down again */
static void
sending_poked(Worker *w)
{
	int64		now = transfer_now();

	w->poked = true;
	if (w->relay_retry_us > now &&
		now - w->relay_failed_us >= RELAY_LEAVE_ALONE_US)
		w->relay_retry_us = now;
}

/*
 * Exchange mails with the relay until it is time for a turn.  What has come
 * in during the turn is read before anything else happens.
 */
void
sending_transfer(Worker *w)
{
	int64		timeout = 0;

	sending_submit(w);
	if (w->transfer != NULL && w->idle_since_us != 0 &&
		transfer_now() - w->idle_since_us > SESSION_IDLE_US)
		sending_close(w);
	do
	{
		QueryCancelPending = false; /* there is no query to cancel */
		CHECK_FOR_INTERRUPTS();
		if (waiter_wait(w->waiter, w->transfer, timeout))
			sending_poked(w);
		sending_collect(w);
		if (w->claimed.count > 0)
			sending_submit(w);
		timeout = sending_timeout(w);
	} while (!sending_is_over(w));
}

/*
 * Take back what was not begun.  With wait_us >= 0, wait so long for replies
 * and then give up on the rest: the worker is ending, interrupts are off.
 * Afterwards all outcomes known are in w->done.
 */
void
sending_stop(Worker *w, int64 wait_us)
{
	int64		until = transfer_now() + Max(wait_us, 0);
	dlist_mutable_iter iter;

	w->stopping = true;
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		d->ended_at = GetCurrentTimestamp();
		outcome_hand_back(d, d->ended_at, NULL);
		delivery_move(d, &w->claimed, &w->done);
	}
	if (w->transfer == NULL)
		return;
	transfer_recall(w->transfer, true);
	sending_collect(w);
	if (wait_us < 0)
		return;
	while (w->begun.count > 0 && transfer_now() < until)
	{
		if (ProcSignalBarrierPending)
			ProcessProcSignalBarrier();
		waiter_wait(w->waiter, w->transfer,
					(until - transfer_now()) / 1000 + 1);
		sending_collect(w);
	}
	transfer_abort(w->transfer);
	sending_collect(w);
}
