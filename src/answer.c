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

#include "mailman.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Who is handed back is not claimed again sooner */
#define ANSWER_AGAIN_US	INT64CONST(100000)

/* Who was told to come later, as too much came at once, does so then */
#define THROTTLED_WAIT_US (10 * USECS_PER_SEC)

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

static bool
outcome_is_too_old(Worker *w, Delivery *d)
{
	return d->ended_at > letter_too_old_at(w->letter, d->queued_at);
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

/* ---- protection of the list ---- */

/* The letter must pause: the reason, and what to do about it */
static void
answer_pause(Worker *w, const char *reason)
{
	if (w->pause_reason[0] != '\0')
		return;
	strlcpy(w->pause_reason, reason, sizeof(w->pause_reason));
	w->poked = true;
}

/* Those just rejected for their content are not to blame: nobody is burnt */
static void
answer_spare(Worker *w)
{
	dlist_iter	iter;

	dlist_foreach(iter, &w->done.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->state == DELIVERY_FAILED &&
			d->mail.judgement.scope == SCOPE_CONTENT)
			outcome_hand_back(d, d->ended_at, NULL);
	}
}

/* Is it the letter, and not this recipient, that the relays do not like? */
static void
answer_watch_content(Worker *w, Delivery *d, const char *reason)
{
	char		words[REPLY_TEXT_MAX + 256];

	if (d->mail.judgement.scope != SCOPE_CONTENT)
	{
		if (d->state == DELIVERY_DELIVERED)
			w->content_row = 0;
		return;
	}
	/* what was in flight when the letter paused is rejected for the same */
	if (w->sparing)
	{
		outcome_hand_back(d, d->ended_at, NULL);
		return;
	}
	if (++w->content_row < mailman_pause_rejections ||
		mailman_pause_rejections == 0)
		return;
	w->sparing = true;
	snprintf(words, sizeof(words),
			 "%d mails in a row were rejected for their content, the last one by relay \"%s\": %s",
			 w->content_row, d->relay, reason);
	answer_pause(w, words);
	outcome_hand_back(d, d->ended_at, NULL);
	answer_spare(w);
}

/* How many of the last so many have failed? */
static void
answer_watch_failures(Worker *w, const Delivery *d, const char *reason)
{
	bool		failed = d->state == DELIVERY_FAILED;
	int			sample = lengthof(w->recent);
	char		words[REPLY_TEXT_MAX + 256];

	if (mailman_pause_failures == 0 ||
		(!failed && d->state != DELIVERY_DELIVERED))
		return;
	if (w->nrecent == sample)
		w->recent_failed -= w->recent[w->recent_next];
	else
		w->nrecent++;
	w->recent[w->recent_next] = failed;
	w->recent_failed += failed;
	w->recent_next = (w->recent_next + 1) % sample;
	if (!failed || w->nrecent < sample ||
		w->recent_failed * 100 < mailman_pause_failures * sample)
		return;
	snprintf(words, sizeof(words),
			 "%d of the last %d mails have failed, the last one at relay \"%s\": %s",
			 w->recent_failed, w->nrecent, d->relay, reason);
	answer_pause(w, words);
}

/* ---- from attempts to outcomes ---- */

/* Is there a relay for it? */
static bool
answer_can_move(Worker *w, const Delivery *d)
{
	if (!OidIsValid(d->wish))
		return routes_first(w) != NULL;
	return route_is_usable(d->route, transfer_now());
}

/* To the next relay, at once */
static void
answer_move_on(Worker *w, Delivery *d)
{
	if (d->domain != NULL)
		d->domain->claimed++;
	delivery_move(d, &w->begun, &w->claimed);
}

/* When one of the relays may be tried again */
static TimestampTz
answer_retry_at(Worker *w)
{
	return GetCurrentTimestamp() +
		Max(routes_retry_us(w) - transfer_now(), ANSWER_AGAIN_US);
}

void
answer_wait(Worker *w, Delivery *d)
{
	TimestampTz due_at = answer_retry_at(w);
	const char *trouble = routes_trouble(w);

	if (d->test_id != 0)
		test_wait(w, d);
	else if (w->stopping || w->pause_reason[0] != '\0')
		outcome_hand_back(d, d->ended_at, NULL);
	else if (outcome_is_too_old(w, d))
		outcome_defer(w, d, trouble ? trouble : "the relay took nothing");
	else
		outcome_hand_back(d, Min(due_at,
								 letter_too_old_at(w->letter,
												   d->queued_at) + 1),
						  trouble);
}

/* Is nothing new to be begun, and this not to move on to another relay? */
static bool
answer_must_stop(Worker *w, Delivery *d)
{
	if (d->test_id != 0)
		return test_must_stop(w);
	return w->stopping || w->pause_reason[0] != '\0' ||
		outcome_is_too_old(w, d);
}

/* Nothing of it was sent */
void
answer_returned(Worker *w, Delivery *d)
{
	Route	   *r = d->route;
	const RelayHealth *health = transfer_health(r->transfer);

	if ((!w->stopping || (d->test_id != 0 && !test_must_stop(w))) &&
		health->down && health->failures != r->seen)
	{
		r->seen = health->failures;
		route_failed(w, r, health->description, health->permanent,
					 health->refused);
	}
	if (!answer_must_stop(w, d) && answer_can_move(w, d))
	{
		answer_move_on(w, d);
		return;
	}
	answer_wait(w, d);
	delivery_end(w, d, &w->begun);
}

/*
 * Not the recipient's fault, and it has not left.  True: another relay gets it
 * at once.
 */
static bool
answer_again(Worker *w, Delivery *d, const char *reason)
{
	const Judgement *judgement = &d->mail.judgement;
	Route	   *first;

	if (judgement->scope == SCOPE_LETTER && judgement->permanent)
	{
		char		words[REPLY_TEXT_MAX + 256];

		snprintf(words, sizeof(words), "relay \"%s\": %s", d->relay, reason);
		answer_pause(w, words);
	}
	else if (judgement->scope == SCOPE_RELAY &&
			 transfer_now() >= d->route->retry_us && !d->route->ask)
		route_failed(w, d->route, reason, judgement->permanent,
					 judgement->refused);
	if (w->stopping || w->pause_reason[0] != '\0')
		outcome_hand_back(d, d->ended_at, NULL);
	else if (outcome_is_too_old(w, d))
		outcome_defer(w, d, reason);
	else if (!OidIsValid(d->wish) &&
			 (first = routes_first(w)) != NULL && first != d->route)
		return true;
	else
		outcome_hand_back(d, Max(answer_retry_at(w),
								 d->ended_at + USECS_PER_SEC), reason);
	return false;
}

/*
 * The relay asks for less speed.  Once it has told so several recipients in
 * a row it is no fault of theirs.
 */
static void
answer_deferred(Worker *w, Delivery *d, const char *reason)
{
	Route	   *r = d->route;

	if (!d->mail.judgement.throttled)
	{
		outcome_defer(w, d, reason);
		return;
	}
	if (route_is_throttled(r))
		route_throttled(w, r, reason);
	if (!route_is_throttled(r) || w->stopping || outcome_is_too_old(w, d))
		outcome_defer(w, d, reason);
	else
		outcome_hand_back(d, d->ended_at + (TimestampTz)
						  retry_jittered(THROTTLED_WAIT_US),
						  reason);
}

/* What the relay itself has said of the recipient or the mail */
static void
answer_note(Worker *w, Delivery *d)
{
	const Attempt *attempt = &d->mail.attempt;
	Route	   *r = d->route;

	if (outcome_enhanced(attempt, d->enhanced) == NULL)
		d->enhanced[0] = '\0';
	d->code = attempt->code;
	if (attempt->end != END_REPLY)
		return;
	if (d->mail.judgement.throttled)
		r->throttled_row++;
	d->reply = MemoryContextStrdup(d->context, attempt->text);
	if (attempt->stage < STAGE_RCPT ||
		d->mail.judgement.scope == SCOPE_RELAY ||
		d->mail.judgement.scope == SCOPE_SESSION)
		return;
	route_answered(w, r, d->mail.judgement.verdict == VERDICT_DELIVERED);
	if (!d->mail.judgement.throttled)
		r->throttled_row = 0;
}

void
answer_outcome(Worker *w, Delivery *d)
{
	const Judgement *judgement = &d->mail.judgement;
	char		reason[REPLY_TEXT_MAX + 128];

	reason[0] = '\0';			/* nobody asks why one was delivered */
	if (judgement->verdict != VERDICT_DELIVERED)
		outcome_describe(&d->mail.attempt, reason, sizeof(reason));
	answer_note(w, d);
	if (d->test_id != 0)
	{
		if (test_answer(w, d, reason))
			answer_move_on(w, d);
		else
			delivery_end(w, d, &w->begun);
		return;
	}
	d->costs_attempt = judgement->costs_attempt;
	switch (judgement->verdict)
	{
		case VERDICT_DELIVERED:
			d->costs_attempt = true;
			outcome_set(d, DELIVERY_DELIVERED, 0, NULL);
			break;
		case VERDICT_FAILED:
			outcome_set(d, DELIVERY_FAILED, 0, reason);
			d->dead = judgement->dead_address;
			break;
		case VERDICT_DEFERRED:
			answer_deferred(w, d, reason);
			break;
		case VERDICT_AGAIN:
			if (answer_again(w, d, reason))
			{
				answer_move_on(w, d);
				return;
			}
			break;
		case VERDICT_DOUBT:
			outcome_doubt(w, d, reason);
			break;
	}
	delivery_end(w, d, &w->begun);
	answer_watch_content(w, d, reason);
	answer_watch_failures(w, d, reason);
}
