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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "postmaster/interrupt.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Rows of a cancelled letter skipped in one turn */
#define SKIP_AT_ONCE	2000

/* A worker may have its slot so long while others wait for one */
#define YIELD_AFTER_US	INT64CONST(10000000)

/* and so long if it has got nowhere yet: a relay may be slow to greet */
#define YIELD_IDLE_US	INT64CONST(60000000)

/* How far a turn came; tells what an error in it means */
typedef enum TurnStage
{
	TURN_FENCE,					/* somebody holds the letter's row */
	TURN_PREPARE,				/* the letter cannot be rendered or sent */
	TURN_ROWS					/* a row of a delivery */
} TurnStage;

/*
 * Tests that wait.  While the letter itself is not sent, what is loaded for
 * them depends on who asked, and on when.
 */
static void
turn_look_tests(Worker *w, Look *look)
{
	const char *tester = row_text(0, 7);
	size_t		len = strlen(look->version);

	look->tests = mailman_enabled ? (int) row_int64(0, 5, 0) : 0;
	look->asked_at = row_int64(0, 6, 0);
	/* first those of one person, then those of the next */
	if (tester != NULL && w->ntests > 0 && w->letter != NULL)
		tester = w->letter->sender;
	if (tester != NULL)
		strlcpy(look->tester, tester, sizeof(look->tester));
	if (look->mode != MODE_SEND)
		snprintf(look->version + len, sizeof(look->version) - len,
				 " %s " INT64_FORMAT, look->tester, look->asked_at);
}

/* Lock the letter's row, if it is still ours, and see what it says */
bool
turn_fence(Worker *w, Look *look)
{
	static Statement fence = {
		.sql = "SELECT l.state, l.send_at, l.whole,"
		" concat_ws(' ', l.revision, l.on_doubt, n.xmin, l.resumed_at,"
		" coalesce(k.xmin::text, '-'), (SELECT concat_ws(' ', count(*),"
		" bit_xor(hashtextextended(p.name, p.xmin::text::int8)))"
		" FROM mailman.partial p WHERE p.newsletter_id = n.id)),"
		" (SELECT count(*) FROM mailman.test t WHERE t.letter_id = l.id"
		" AND t.state = 'pending'), (SELECT max(t.requested_at)"
		" FROM mailman.test t WHERE t.letter_id = l.id"
		" AND t.state = 'pending'), CASE WHEN l.sender IS NULL"
		" THEN (SELECT t.requested_by::text FROM mailman.test t"
		" WHERE t.letter_id = l.id AND t.state = 'pending'"
		" ORDER BY t.id LIMIT 1) END, EXISTS (SELECT"
		" FROM mailman.posting p WHERE p.letter_id = l.id)"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" LEFT JOIN mailman.dkim_key k ON k.newsletter_id = n.id"
		" WHERE l.id = $1 AND l.run = $2 FOR NO KEY UPDATE OF l",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run)};

	memset(look, 0, sizeof(*look));
	look->mode = MODE_GONE;
	if (statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->send_at = row_int64(0, 2, 0);
	look->mode = look_mode(look->state, look->send_at);
	look->whole = row_bool(0, 3) && look->mode == MODE_SEND;
	look->postings = row_bool(0, 8);
	if (strcmp(look->state, "sent") == 0 && !look->postings)
		look->mode = MODE_STOP; /* all that is left are tests */
	strlcpy(look->version, row_text(0, 4), sizeof(look->version));
	turn_look_tests(w, look);
	if ((look->mode == MODE_SEND || look->tests > 0) && !origin_is_ours())
	{
		look->tests = 0;
		if (look->mode == MODE_SEND)
			look->mode = MODE_STOP;
	}
	return true;
}

/*
 * Load what the letter and its relays are now, with the sender's rights.
 * Whoever asks for a test wants relays to be tried again that were out.  What
 * was loaded before stays until the new is complete.
 */
static void
turn_prepare(Worker *w, const Look *look)
{
	const char *version = look->version;
	MemoryContext context;
	MemoryContext old;
	Letter	   *letter;
	List	   *relays = NIL;
	ListCell   *cell;
	const char *name;
	Oid			sender;

	if (w->letter != NULL && strcmp(w->letter_version, version) == 0 &&
		!w->relay_stale)
		return;
	w->relay_stale = false;		/* again true if anything changes meanwhile */
	context = AllocSetContextCreate(CurTransactionContext, "mailman letter",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	letter = letter_load(w->letter_id);
	name = letter ? tests_sender(w, letter, look) : NULL;
	if (name == NULL)
		elog(ERROR, "letter " INT64_FORMAT " has no sender", w->letter_id);
	letter->sender = pstrdup(name);
	if (look->mode != MODE_SEND)
		letter->resumed_at = Max(letter->resumed_at, look->asked_at);
	sender = get_role_oid(letter->sender, false);
	letter_check_member(letter, sender);
	letter_check_sendable(letter, sender);
	foreach(cell, letter->relays)
		relays = lappend(relays, relay_load(lfirst(cell), sender));
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, TopMemoryContext);
	if (w->letter_context != NULL)
		MemoryContextDelete(w->letter_context);
	w->letter_context = context;
	w->letter = letter;
	w->chosen = w->decided = NULL;	/* by what was known before */
	strlcpy(w->letter_version, version, sizeof(w->letter_version));
	routes_update(w, relays);
	domains_load(w);
}

/* The state a letter has after this turn */
static const char *
turn_next_state(Worker *w, const Turn *turn, const Look *look)
{
	const Tally *tally = &turn->tally;

	if (look->mode != MODE_SEND)
		return look->state;
	if (w->pause_reason[0] != '\0')
		return "paused";
	if (look->whole || tally->count[DELIVERY_PENDING] + tally->count[DELIVERY_SENDING] +
		tally->count[DELIVERY_DEFERRED] > 0)
		return "sending";
	return "sent";
}

/* An event when the letter's doubts have become 1, 2, 4, 8, ... */
static void
turn_tell_doubts(Worker *w, const Turn *turn)
{
	if (turn->doubts > w->doubts &&
		(w->doubts == 0 || pg_leftmost_one_pos64(turn->doubts) >
		 pg_leftmost_one_pos64(w->doubts)))
		event_doubt(w->letter_id, turn->doubts, turn->doubts - w->doubts);
}

/* Write the letter's row, if anything about it has changed */
void
turn_write(Worker *w, const Turn *turn, Look *look)
{
	static Statement write = {
		.sql = "UPDATE mailman.letter SET mail_order = $2, doubts = $3, state = $4,"
		" state_reason = CASE WHEN $4 = state THEN state_reason ELSE $5 END,"
		" failed_runs = CASE WHEN $6 THEN 0 ELSE failed_runs END,"
		" rate = coalesce($7, rate),"
		" rate_at = CASE WHEN $7 IS NULL THEN rate_at ELSE now() END"
		" WHERE id = $1",
		.nargs = 7,
		.argtypes = {INT8OID, JSONBOID, INT8OID, TEXTOID, TEXTOID, BOOLOID,
		FLOAT4OID}
	};
	const char *state = turn_next_state(w, turn, look);
	bool		moved = strcmp(state, look->state) != 0;
	bool		paused = moved && strcmp(state, "paused") == 0;
	bool		rated = turn->recorded > 0;
	Datum		values[7] = {Int64GetDatum(w->letter_id)};
	char		nulls[7] = {' ', ' ', ' ', ' ', paused ? ' ' : 'n', ' ',
	rated ? ' ' : 'n'};

	if (!turn->changed && !moved && turn->recorded == 0)
		return;
	values[1] = tally_to_jsonb(&turn->tally);
	values[2] = Int64GetDatum(turn->doubts);
	values[3] = CStringGetTextDatum(state);
	if (paused)
		values[4] = CStringGetTextDatum(w->pause_reason);
	values[5] = BoolGetDatum(turn->recorded > 0 || paused);
	values[6] = Float4GetDatum((float4) meter_rate(&turn->meter));
	statement_run(&write, SPI_OK_UPDATE, values, nulls);
	turn_tell_doubts(w, turn);
	strlcpy(look->state, state, sizeof(look->state));
	if (paused)
		look->mode = MODE_STOP;
}

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
	w->tally = turn->tally;
	w->doubts = turn->doubts;
	w->meter = turn->meter;
	w->progressed |= turn->recorded > 0;
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

static void
turn_transaction(Worker *w, void *arg)
{
	TurnStage  *stage = arg;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts,
	.meter = w->meter,.more = w->more};
	ExtensionScope scope;
	Look		look;

	*stage = TURN_FENCE;
	run_begin(w, &scope);
	if (turn_fence(w, &look))
	{
		*stage = TURN_PREPARE;
		if (turn_needs_letter(w, &look))
			turn_prepare(w, &look);
		*stage = TURN_ROWS;
		turn_work(w, &turn, &look);
		turn_write(w, &turn, &look);
	}
	run_commit(&scope);
	if (look.mode == MODE_GONE)
		w->mode = MODE_GONE;
	else
		turn_committed(w, &turn, &look);
	if (strcmp(look.state, "sent") == 0 && turn.changed)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT " is sent: " INT64_FORMAT " delivered, "
						INT64_FORMAT " failed, " INT64_FORMAT " skipped, "
						INT64_FORMAT " doubtful", w->letter_id,
						turn.tally.count[DELIVERY_DELIVERED],
						turn.tally.count[DELIVERY_FAILED],
						turn.tally.count[DELIVERY_SKIPPED],
						turn.tally.count[DELIVERY_DOUBTFUL])));
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
		strlcpy(w->pause_reason, error->message, sizeof(w->pause_reason));
	run_log_failure(w, w->pause_reason[0] ? (w->mode == MODE_SEND ?
											 "pausing" : "tests fail") :
					"a turn failed and is repeated", error);
	FreeErrorData(error);
	return false;
}

/* Give the slot to those who wait in line, after some time of our own */
static bool
turn_yields(Worker *w)
{
	bool		barred = w->nroutes > 0 && routes_first(w) == NULL;
	int64		after = w->progressed || barred ?
		YIELD_AFTER_US : YIELD_IDLE_US;

	if (!w->yielding && transfer_now() - w->started_us >= after &&
		shmem_somebody_waits())
		w->yielding = true;
	return w->yielding;
}

/* Repeat until it succeeds; nothing is lost meanwhile */
static void
turn_until_done(Worker *w)
{
	TurnStage	stage = TURN_FENCE;
	int			failures = 0;

	bool		pausing = w->pause_reason[0] != '\0';

	while (!turn_try(w, &stage))
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
	else if (w->mode == MODE_SEND && !turn_yields(w))
		w->stopping = w->sparing = false;
	else
	{
		if (worker_sends(w))
			(void) turn_yields(w);
		sending_stop(w, -1);
	}
	worker_report(w);
	return !w->ended;
}
