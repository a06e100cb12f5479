/*-------------------------------------------------------------------------
 *
 * turn.c
 *	  The turn: one transaction that records the outcomes so far and claims
 *	  the next few recipients.
 *
 * This is what the whole product's promise rests on:
 *
 *	- The letter's row is locked first, and only while letter.run is still
 *	  ours: whoever lost the letter records nothing.
 *	- Claims are committed before the first byte of a mail is written.
 *	- Outcomes leave memory only after COMMIT.  A turn that fails is repeated
 *	  while the sessions stay open; the third time row by row, so that one
 *	  bad row delays itself alone.
 *	- mail_order is written in the same transaction, so the tally is exact at
 *	  every commit.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "worker.h"

/* Rows of a cancelled letter skipped in one turn */
#define SKIP_AT_ONCE	2000

/* How far a turn came; tells what an error in it means */
typedef enum TurnStage
{
	TURN_FENCE,					/* somebody holds the letter's row */
	TURN_PREPARE,				/* the letter cannot be rendered or sent */
	TURN_ROWS					/* a row of a delivery */
} TurnStage;

/*
 * So many may be claimed.  While no relay is of use, of those who wait for it:
 * they may be too old to wait any longer.
 */
static int
turn_room(Worker *w)
{
	if (routes_first(w) == NULL)
		return w->nroutes > 0 && w->claimed.count == 0 ?
			Min(w->free.count, sending_most(w)) : 0;
	return Min(sending_room(w), w->free.count - tests_room(w));
}

/* Are those whom a turn claims chosen before it, if any are? */
static bool
turn_is_chosen(Worker *w)
{
	return w->ndomains > 0 || decide_is_needed(w);
}

/* The statements of a turn between the fence and the letter's row */
static void
turn_work(Worker *w, Turn *turn, const Look *look)
{
	bool		idle = worker_outstanding(w) == 0;

	delivery_record(w, turn, &w->done);
	delivery_bounce(w, &w->done);
	tests_turn(w, look, w->free.count - (w->chosen ? w->chosen->count : 0));
	if (look->mode == MODE_SEND && w->pause_reason[0] == '\0' && !w->yielding)
	{
		int			room = turn_room(w);

		turn->recalled = w->lifted;
		if (w->lifted)
			delivery_recall_aside(w);
		/* they may have been chosen before some got stuck */
		if (w->chosen != NULL && w->chosen->count > sending_most(w))
			w->chosen = NULL;
		if (room > 0 && (!turn_is_chosen(w) || w->chosen != NULL))
			delivery_claim(w, turn, room);
		else
			delivery_fold(w, turn); /* or the tally would say that it is sent */
	}
	else if (look->mode == MODE_CANCEL && idle && w->stuck.count == 0)
		turn->more = delivery_skip_rest(w, turn, SKIP_AT_ONCE) > 0;
}

/* After COMMIT: what was recorded leaves memory, what was claimed is ours */
static void
turn_committed(Worker *w, const Turn *turn, const Look *look)
{
	dlist_mutable_iter iter;

	tests_committed(w, look);
	dlist_foreach_modify(iter, &w->done.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur), &w->done);
	dlist_foreach_modify(iter, &w->claiming.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->domain != NULL)
			d->domain->claimed++;
		delivery_move(d, &w->claiming, &w->claimed);
		w->unrendered = true;
		if (d->test_id != 0)
			dlist_move_head(&w->claimed.head, &d->node);	/* goes first */
	}
	w->recovered = true;
	w->tally = turn->tally;
	w->doubts = turn->doubts;
	w->meter = turn->meter;
	w->progressed |= turn->recorded > turn->given_up;
	worker_note_fed(w, turn);
	if (turn->recalled)
		w->lifted = false;
	w->more = turn->more;
	w->aside = turn->aside;
	if (turn->claimed)
	{
		w->work = turn->more;
		w->chosen = w->decided = NULL;
	}
	w->mode = look->mode;
	w->whole = look->whole;
	if (strcmp(look->state, "paused") == 0)
	{
		w->pause_reason[0] = '\0';
		w->content_row = w->policy_row = 0;
		w->policy_works = false;
		w->nrecent = w->recent_failed = w->recent_next = 0;
	}
}

/* Is there anything to send, of the letter or of its tests? */
static bool
turn_needs_letter(Worker *w, const Look *look)
{
	if (w->pause_reason[0] != '\0')
		return false;
	return look->mode == MODE_SEND ||
		(look->mode != MODE_CANCEL && (look->tests > 0 || w->ntests > 0));
}

/* What it writes; without the tests that come in the meantime */
static TableUse
turn_use(Worker *w)
{
	TableUse	use = delivery_record_use(&w->done);

	if (w->tests > 0 || w->ntests > 0)
		use = table_use_of(&use, &use_record_test);
	return use;
}

/*
 * What it has done is in the tables, so a cancel must not make it look like a
 * turn that failed.
 */
static void
turn_log(const Worker *w, const Turn *turn, const Look *look,
		 const char *reason)
{
	HOLD_INTERRUPTS();
	if (look->paused)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT " is paused: %s", w->letter_id,
						reason),
				 errhint("It goes on with mailman_resume().")));
	/* a letter that was fed is sent some time after its last outcome */
	if (strcmp(look->state, "sent") == 0 &&
		(turn->changed || (look->moved && w->fed_us != 0)))
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT " is sent: " INT64_FORMAT " delivered, "
						INT64_FORMAT " failed, " INT64_FORMAT " skipped, "
						INT64_FORMAT " doubtful", w->letter_id,
						turn->tally.count[DELIVERY_DELIVERED],
						turn->tally.count[DELIVERY_FAILED],
						turn->tally.count[DELIVERY_SKIPPED],
						turn->tally.count[DELIVERY_DOUBTFUL])));
	RESUME_INTERRUPTS();
}

static void
turn_transaction(Worker *w, void *arg)
{
	TurnStage  *stage = arg;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts,
	.meter = w->meter,.more = w->more};
	TableUse	use = turn_use(w);
	ExtensionScope scope;
	Look		look;
	char		reason[sizeof(w->pause_reason)];

	*stage = TURN_FENCE;
	run_begin(w, &scope, &use);
	if (turn_fence(w, &look))
	{
		if (look.tests > 0 && w->tests == 0)
			extension_may_write(&use_record_test);
		turn.reopens = strcmp(look.state, "sent") == 0;
		*stage = TURN_PREPARE;
		if (turn_needs_letter(w, &look))
			turn_prepare(w, &look);
		*stage = TURN_ROWS;
		turn_work(w, &turn, &look);
		turn_write(w, &turn, &look);
	}
	strlcpy(reason, w->pause_reason, sizeof(reason));
	run_commit(&scope);
	if (look.mode == MODE_GONE)
		w->mode = MODE_GONE;
	else
		turn_committed(w, &turn, &look);
	turn_log(w, &turn, &look, reason);
}

/* Is it the letter that is wrong, and not the moment? */
static bool
error_is_lasting(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_FDW_ERROR:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			return true;
		default:
			return error->sqlerrcode ==
				ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	}
}

/* In words; of a template, where in it */
static void
turn_pause(Worker *w, const ErrorData *error)
{
	bool		where = error->sqlerrcode == ERRCODE_SYNTAX_ERROR &&
		error->detail != NULL;

	snprintf(w->pause_reason, sizeof(w->pause_reason), "%s%s%s",
			 error->message, where ? ": " : "", where ? error->detail : "");
}

/* One try.  False: it failed, nothing has changed; *stage tells where. */
static bool
turn_try(Worker *w, TurnStage *stage)
{
	ErrorData  *error;

	if (run_try(w, turn_transaction, stage, &error))
		return true;
	if (*stage == TURN_PREPARE)
		w->relay_stale = true;	/* nothing was loaded */
	if (*stage == TURN_PREPARE && error_is_lasting(error))
		turn_pause(w, error);
	run_log_failure(w, w->pause_reason[0] ? (w->mode == MODE_SEND ?
											 "pausing" : "tests fail") :
					"a turn failed and is repeated", error);
	FreeErrorData(error);
	return false;
}

/* Somebody's lock is in our way, and others could use our place */
static bool
turn_gives_way(Worker *w, int64 since)
{
	if (transfer_now() - since < YIELD_AFTER_US || !worker_is_free(w) ||
		place_number() == 0 || !shmem_somebody_waits())
		return false;
	w->ended = w->blocked = true;
	return true;
}

/*
 * Repeat until it succeeds; nothing is lost meanwhile.  Only if there is
 * nothing to lose it may be given up.
 */
static void
turn_until_done(Worker *w)
{
	TurnStage	stage = TURN_FENCE;
	int64		since = transfer_now();
	int			failures = 0;
	bool		pausing = w->pause_reason[0] != '\0';

	while (!turn_try(w, &stage) && !turn_gives_way(w, since))
	{
		if (++failures % 3 == 0 && stage == TURN_ROWS)
			stuck_sort(w, &w->done);
		/* a reason to pause just found is written at once */
		if (pausing || w->pause_reason[0] == '\0')
			run_wait(w, Min(failures, 10) * 50, WAIT_LOCK);
		pausing = w->pause_reason[0] != '\0';
	}
	w->idle_since_us = 0;
	w->look_us = 0;				/* what was seen before counts no more */
}

/* The letter is not ours any more: forget all we know of it */
static void
turn_drop_all(Worker *w)
{
	DeliveryList *lists[] = {&w->claimed, &w->begun, &w->done, &w->tested,
	&w->stuck};
	dlist_mutable_iter iter;
	Transfers	transfers;
	size_t		i;
	int			n;

	routes_transfers(w, &transfers);
	for (n = 0; n < transfers.count; n++)
		transfer_abort(transfers.list[n]);
	sending_collect(w);
	for (i = 0; i < lengthof(lists); i++)
	{
		dlist_foreach_modify(iter, &lists[i]->head)
			delivery_free(w, dlist_container(Delivery, node, iter.cur),
						  lists[i]);
	}
	w->armed = false;
	w->ended = true;
}

/* Or could nobody be chosen, and is there nothing else to do? */
static bool
turn_is_of_use(Worker *w)
{
	return !turn_is_chosen(w) || w->chosen != NULL ||
		worker_recordable(w) > 0 || w->tests > 0 ||
		w->mode != MODE_SEND || w->relay_stale || w->lifted ||
		w->pause_reason[0] != '\0' || turn_room(w) == 0;
}

/*
 * What must be known before a turn: whom the policy wants to be sent to, and
 * whose domain has a limit.  No outcome waits for a policy.
 */
static void
turn_choose(Worker *w)
{
	if (w->mode != MODE_SEND || w->pause_reason[0] != '\0' ||
		turn_room(w) == 0 || transfer_now() < w->reserve_failed_us)
		return;
	if (decide_is_needed(w))
	{
		if (worker_recordable(w) > 0)
			turn_until_done(w);
		if (w->mode != MODE_SEND || turn_room(w) == 0)
			return;
		decide(w, turn_room(w));
		if (w->decided == NULL)
			return;
	}
	if (w->ndomains > 0)
		reserve(w, turn_room(w));
}

bool
turn(Worker *w)
{
	run_reload();
	place_heed();
	if (w->stuck.count > 0 && transfer_now() >= w->stuck_retry_us)
		stuck_sort(w, &w->stuck);
	if (transfer_now() >= reserve_next_us(w))
		reserve(w, 0);
	errand_hurry(w);
	if (look_calls_for_turn(w))
	{
		turn_choose(w);
		if (turn_is_of_use(w))
			turn_until_done(w);
		else
		{
			w->aside = false;
			w->look_us = w->reserve_failed_us;
		}
	}
	errand_top_up(w);
	errand_notify(w);
	w->last_turn_us = transfer_now();
	w->poked = false;
	if (w->mode == MODE_GONE)
		turn_drop_all(w);
	else if (w->mode == MODE_SEND && !patience_yields(w))
	{
		w->stopping = w->sparing = false;
		patience_renew(w);
	}
	else
	{
		if (worker_sends(w) || worker_outstanding(w) > 0)
			(void) patience_yields(w);
		sending_stop(w, -1);
		patience_stop(w);
	}
	worker_report(w);
	return !w->ended;
}
