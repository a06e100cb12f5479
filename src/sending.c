/*-------------------------------------------------------------------------
 *
 * sending.c
 *	  Between two turns: render what was claimed, exchange it with the relay,
 *	  and put each answer into words and a state.
 *
 * The glue of the worker with the pure and the network layer.  No SQL is run
 * here and no transaction is open, however long a relay takes.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mailman.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Idle sessions are given back to the relay after this */
#define SESSION_IDLE_US		INT64CONST(5000000)

/* Longest wait for a relay that is down */
#define RELAY_BACKOFF_MAX_S 300

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

/* ---- outcomes ---- */

static void
outcome_set(Delivery *d, DeliveryState state, TimestampTz due_at,
			const char *reason)
{
	d->state = state;
	d->due_at = due_at;
	d->reason = reason ? MemoryContextStrdup(d->context, reason) : NULL;
}

/* Back to the queue as it was, at no cost */
static void
outcome_hand_back(Delivery *d, TimestampTz due_at, const char *reason)
{
	outcome_set(d, d->attempts > 0 || reason ? DELIVERY_DEFERRED :
				DELIVERY_PENDING, due_at, reason);
	d->costs_attempt = false;
	d->code = 0;
}

/* Has it been waiting longer than the newsletter allows? */
static bool
outcome_is_too_old(Worker *w, Delivery *d)
{
	TimestampTz since = Max(d->queued_at, w->letter->send_at);

	return d->ended_at - since > w->letter->max_age;
}

/* Try again later, unless it was tried often or long enough */
static void
outcome_defer(Worker *w, Delivery *d, const char *reason)
{
	int			attempts = d->attempts + (d->costs_attempt ? 1 : 0);
	char		words[REPLY_TEXT_MAX + 200];

	if (attempts >= w->letter->max_attempts)
		snprintf(words, sizeof(words), "gave up after %d attempts: %s",
				 attempts, reason);
	else if (outcome_is_too_old(w, d))
		snprintf(words, sizeof(words), "gave up as too old: %s", reason);
	else
	{
		outcome_set(d, DELIVERY_DEFERRED, d->ended_at +
					guc_retry_delay(attempts) * 1000, reason);
		return;
	}
	outcome_set(d, DELIVERY_FAILED, 0, words);
}

static void
outcome_doubt(Worker *w, Delivery *d, const char *reason)
{
	d->doubt = true;
	if (w->letter->hold)
		outcome_set(d, DELIVERY_DOUBTFUL, 0, reason);
	else
		outcome_defer(w, d, reason);
}

/* ---- the relay ---- */

/*
 * The relay cannot be used at present (or, permanently, until a person has
 * acted): on to the next one in the newsletter's list; after the last, wait
 * with exponential backoff, or pause the letter.
 */
static void
relay_failed(Worker *w, const char *description, bool permanent)
{
	int			relays = list_length(w->letter->relays);
	char		words[sizeof(w->relay_trouble)];

	snprintf(words, sizeof(words), "relay \"%s\": %s", w->relay->name,
			 description);
	if (strcmp(words, w->relay_trouble) != 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %s", w->letter_id, words)));
	strlcpy(w->relay_trouble, words, sizeof(w->relay_trouble));
	w->relay_failures++;
	w->relay_permanent = permanent ? w->relay_permanent + 1 : 0;
	if (w->relay_permanent >= relays)
		strlcpy(w->pause_reason, words, sizeof(w->pause_reason));
	if (w->relay_failures % relays == 0)
	{
		int			step = Min(w->relay_failures / relays - 1, 10);
		double		seconds = Min(1 << step, RELAY_BACKOFF_MAX_S);

		seconds *= 0.8 + 0.4 * pg_prng_double(&pg_global_prng_state);
		w->relay_retry_us = transfer_now() + (int64) (seconds * 1000000);
	}
	if (relays > 1)
	{
		w->relay_index = (w->relay_index + 1) % relays;
		w->relay_stale = true;
	}
	w->poked = true;
}

/* When the relay may be tried again */
static TimestampTz
relay_retry_at(Worker *w)
{
	return GetCurrentTimestamp() + Max(w->relay_retry_us - transfer_now(), 0);
}

/* The relay has answered about a recipient: it is well */
static void
relay_answered(Worker *w)
{
	w->relay_failures = 0;
	w->relay_permanent = 0;
	w->relay_trouble[0] = '\0';
}

/* ---- from attempts to outcomes ---- */

/* Nothing of it was sent */
static void
sending_returned(Worker *w, Delivery *d)
{
	const RelayHealth *health = transfer_health(w->transfer);

	if (!w->stopping && health->down && health->failures != w->relay_seen)
	{
		w->relay_seen = health->failures;
		relay_failed(w, health->description, health->permanent);
	}
	if (w->stopping || w->pause_reason[0] != '\0')
		outcome_hand_back(d, d->ended_at, NULL);
	else if (transfer_now() < w->relay_retry_us)
		outcome_hand_back(d, relay_retry_at(w), w->relay_trouble);
	else
	{
		delivery_move(d, &w->begun, &w->claimed);
		return;
	}
	delivery_move(d, &w->begun, &w->done);
}

/* Not the recipient's fault, and it has not left */
static void
sending_again(Worker *w, Delivery *d, const char *reason)
{
	const Judgement *judgement = &d->mail.judgement;

	if (judgement->scope == SCOPE_LETTER && judgement->permanent)
	{
		snprintf(w->pause_reason, sizeof(w->pause_reason),
				 "relay \"%s\": %s", w->relay->name, reason);
		outcome_hand_back(d, d->ended_at, NULL);
		w->poked = true;
		return;
	}
	if (judgement->scope == SCOPE_RELAY &&
		transfer_now() >= w->relay_retry_us)
		relay_failed(w, reason, judgement->permanent);
	if (w->stopping || w->pause_reason[0] != '\0')
		outcome_hand_back(d, d->ended_at, NULL);
	else if (outcome_is_too_old(w, d))
		outcome_defer(w, d, reason);
	else
		outcome_hand_back(d, Max(relay_retry_at(w),
								 d->ended_at + USECS_PER_SEC), reason);
}

static void
sending_outcome(Worker *w, Delivery *d)
{
	const Attempt *attempt = &d->mail.attempt;
	const Judgement *judgement = &d->mail.judgement;
	char		reason[REPLY_TEXT_MAX + 128];

	if (outcome_enhanced(attempt, d->enhanced) == NULL)
		d->enhanced[0] = '\0';
	outcome_describe(attempt, reason, sizeof(reason));
	d->code = attempt->code;
	if (attempt->end == END_REPLY)
		d->reply = MemoryContextStrdup(d->context, attempt->text);
	d->costs_attempt = judgement->costs_attempt;
	if (attempt->end == END_REPLY && attempt->stage >= STAGE_RCPT)
		relay_answered(w);
	switch (judgement->verdict)
	{
		case VERDICT_DELIVERED:
			d->costs_attempt = true;
			outcome_set(d, DELIVERY_DELIVERED, 0, NULL);
			break;
		case VERDICT_FAILED:
			outcome_set(d, DELIVERY_FAILED, 0, reason);
			break;
		case VERDICT_DEFERRED:
			outcome_defer(w, d, reason);
			break;
		case VERDICT_AGAIN:
			sending_again(w, d, reason);
			break;
		case VERDICT_DOUBT:
			outcome_doubt(w, d, reason);
			break;
	}
	delivery_move(d, &w->begun, &w->done);
}

static void
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
			sending_returned(w, d);
		else
		{
			sending_outcome(w, d);
			left++;
		}
	}
	sending_count_left(w, left);
}

/* ---- rendering ---- */

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
	bool		ok = render_message(&w->letter->render, &recipient,
									&d->rendered);

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

/* ---- the exchange ---- */

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
	if (w->poked && since >= 5000)
		return true;
	/* some are done, more are waiting, and the sessions run dry */
	return w->done.count > 0 && w->more && w->transfer != NULL &&
		transfer_counts(w->transfer).queued == 0 && sending_room(w) > 0;
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
		CHECK_FOR_INTERRUPTS();
		if (waiter_wait(w->waiter, w->transfer, timeout))
			w->poked = true;
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
