/*-------------------------------------------------------------------------
 *
 * answer.c
 *	  What an answer of the relay means for the recipient, the relay and the
 *	  letter.
 *
 * outcome.c has judged the attempt; here the judgement becomes a state of the
 * delivery with its reason and due time, a relay that is left alone for a
 * while, or a letter that pauses.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mailman.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Longest wait for a relay that is down */
#define RELAY_BACKOFF_MAX_S 300

void
outcome_set(Delivery *d, DeliveryState state, TimestampTz due_at,
			const char *reason)
{
	d->state = state;
	d->due_at = due_at;
	d->reason = reason ? MemoryContextStrdup(d->context, reason) : NULL;
}

/* Back to the queue as it was, at no cost */
void
outcome_hand_back(Delivery *d, TimestampTz due_at, const char *reason)
{
	outcome_set(d, d->attempts > 0 || reason ? DELIVERY_DEFERRED :
				DELIVERY_PENDING, due_at, reason);
	d->costs_attempt = false;
	d->handed_back = true;
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
					retry_delay_ms(w->letter->retry, attempts) * 1000, reason);
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
	w->relay_failed_us = transfer_now();
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
void
answer_returned(Worker *w, Delivery *d)
{
	const RelayHealth *health = transfer_health(w->transfer);

	if (!w->stopping && health->down && health->failures != w->relay_seen)
	{
		w->relay_seen = health->failures;
		relay_failed(w, health->description, health->permanent);
	}
	if (w->stopping || w->pause_reason[0] != '\0')
		outcome_hand_back(d, d->ended_at, NULL);
	else if (outcome_is_too_old(w, d))
		outcome_defer(w, d, w->relay_trouble[0] ? w->relay_trouble :
					  "the relay took nothing");
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
answer_again(Worker *w, Delivery *d, const char *reason)
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

void
answer_outcome(Worker *w, Delivery *d)
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
			answer_again(w, d, reason);
			break;
		case VERDICT_DOUBT:
			outcome_doubt(w, d, reason);
			break;
	}
	delivery_move(d, &w->begun, &w->done);
}
