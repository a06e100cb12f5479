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
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A worker whose letter is sent stays this long: more may be posted */
#define LINGER_US		INT64CONST(1000000)
#define LINGER_LOOK_US	INT64CONST(100000)

/* Rows of a cancelled letter skipped in one turn */
#define SKIP_AT_ONCE	2000

/* How long a row that made turns fail is left alone */
#define STUCK_RETRY_US	INT64CONST(5000000)

/* How far a turn came; tells what an error in it means */
typedef enum TurnStage
{
	TURN_FENCE,				/* somebody holds the letter's row */
	TURN_PREPARE,				/* the letter cannot be rendered or sent */
	TURN_ROWS					/* a row of a delivery */
} TurnStage;

/* What there is to do for a letter */
typedef struct Look
{
	LetterMode	mode;
	char		state[16];
	bool		postings;
	bool		sending;		/* the tally knows rows 'sending' */
	bool		open;			/* the tally knows rows that wait */
	TimestampTz due_at;			/* of the first that waits, 0: none */
	TimestampTz send_at;		/* 0: at once */
} Look;

/* ---- transactions of a worker ---- */

/* Bound every wait for somebody's lock */
void
turn_bound_locks(void)
{
	char		timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", mailman_lock_timeout);
	SetConfigOption("lock_timeout", timeout, PGC_SUSET, PGC_S_SESSION);
}

/*
 * Begin one, as the extension's owner.  If the extension is not the one we
 * started with, this worker has no business here any more.
 */
static void
turn_begin(Worker *w, ExtensionScope *scope)
{
	Oid			extension;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	extension = extension_oid(true);
	if (!OidIsValid(w->extension))
		w->extension = extension;
	if (!OidIsValid(extension) || extension != w->extension)
	{
		w->armed = false;
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": extension mailman was dropped, its worker ends",
						w->letter_id)));
		AbortCurrentTransaction();
		proc_exit(0);
	}
	extension_enter(scope);
	/* a claim must survive a crash that its mail survives */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
}

static void
turn_commit(ExtensionScope *scope)
{
	extension_leave(scope);
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* ---- what is there to do? ---- */

static LetterMode
turn_mode(const char *state, TimestampTz send_at)
{
	if (strcmp(state, "sending") == 0 || strcmp(state, "sent") == 0)
		return MODE_SEND;
	if (strcmp(state, "scheduled") == 0)
		return send_at > GetCurrentTimestamp() ? MODE_WAIT : MODE_SEND;
	if (strcmp(state, "cancelled") == 0)
		return MODE_CANCEL;
	return MODE_STOP;
}

/* Look without locking anything; run 0: whoever's it is */
static void
turn_look(Worker *w, int64 run, Look *look)
{
	static Statement statement = {
		"SELECT l.state, l.send_at,"
		" EXISTS (SELECT FROM mailman.posting p WHERE p.letter_id = l.id),"
		" (SELECT min(d.due_at) FROM mailman.delivery d"
		" WHERE d.letter_id = l.id AND d.due_at IS NOT NULL),"
		" (l.mail_order->>'sending')::int8 > 0,"
		" (l.mail_order->>'pending')::int8 > 0"
		" OR (l.mail_order->>'deferred')::int8 > 0"
		" FROM mailman.letter l WHERE l.id = $1 AND (l.run = $2 OR $2 = 0)",
		2, {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id), Int64GetDatum(run)};

	memset(look, 0, sizeof(*look));
	look->mode = MODE_GONE;
	if (statement_run(&statement, SPI_OK_SELECT, values, NULL) == 0)
		return;
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->send_at = row_int64(0, 2, 0);
	look->postings = row_bool(0, 3);
	look->due_at = row_int64(0, 4, 0);
	look->sending = row_bool(0, 5);
	look->open = row_bool(0, 6);
	look->mode = turn_mode(look->state, look->send_at);
}

static bool
look_is_due(const Look *look)
{
	return look->due_at != 0 && look->due_at <= GetCurrentTimestamp();
}

/*
 * Should a letter have a worker?  Judged by what is in the tables: postings,
 * rows that wait, rows 'sending'.
 */
static bool
look_has_work(const Look *look)
{
	switch (look->mode)
	{
		case MODE_SEND:
			return look->postings || look->due_at != 0 || look->sending ||
				strcmp(look->state, "sent") != 0;
		case MODE_WAIT:
			return true;		/* nobody else would start it in time */
		case MODE_CANCEL:
			return look->postings || look->due_at != 0 || look->sending;
		case MODE_STOP:
			return look->sending;
		case MODE_GONE:
			break;
	}
	return false;
}

bool
turn_has_work(Worker *w)
{
	ExtensionScope scope;
	Look		look;

	turn_begin(w, &scope);
	turn_look(w, 0, &look);
	turn_commit(&scope);
	return look_has_work(&look);
}

/* ---- the first transaction ---- */

/* Take the letter: a new run, and what the last one left in doubt resolved */
static bool
turn_take(Worker *w)
{
	static Statement take = {
		"UPDATE mailman.letter SET run = run + 1,"
		" failed_runs = failed_runs + 1 WHERE id = $1"
		" RETURNING run::int8, mail_order, doubts, on_doubt = 'hold', state",
		1, {INT8OID}
	};
	static Statement settle = {
		"UPDATE mailman.letter SET mail_order = $2, doubts = $3"
		" WHERE id = $1",
		3, {INT8OID, JSONBOID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id)};
	Turn		resolved = {0};
	bool		isnull;
	bool		hold;

	if (statement_run(&take, SPI_OK_UPDATE_RETURNING, values, NULL) == 0)
		return false;
	w->run = row_int64(0, 1, 0);
	tally_from_jsonb(&resolved.tally, DatumGetJsonbP(row_datum(0, 2, &isnull)));
	resolved.doubts = row_int64(0, 3, 0);
	hold = row_bool(0, 4);
	w->mode = MODE_SEND;
	if (resolved.tally.count[DELIVERY_SENDING] > 0)
	{
		int64		before = resolved.doubts;

		delivery_resolve_doubt(w, &resolved, hold);
		values[1] = tally_to_jsonb(&resolved.tally);
		values[2] = Int64GetDatum(resolved.doubts);
		statement_run(&settle, SPI_OK_UPDATE, values, NULL);
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": " INT64_FORMAT " deliveries of an earlier run are in doubt",
						w->letter_id, resolved.doubts - before),
				 hold ? errdetail("They are held as \"doubtful\".") :
				 errdetail("They are sent again, with the same Message-ID.")));
	}
	w->tally = resolved.tally;
	w->doubts = resolved.doubts;
	return true;
}

bool
turn_first(Worker *w)
{
	ExtensionScope scope;
	Look		look;
	bool		taken = false;

	turn_begin(w, &scope);
	if (!letter_lock(w->letter_id))
		letter_wake(w->letter_id);
	else
	{
		turn_look(w, 0, &look);
		taken = look_has_work(&look) && turn_take(w);
		if (!taken)
			letter_unlock(w->letter_id);
	}
	turn_commit(&scope);
	w->ended = false;
	w->idle_since_us = 0;
	w->last_turn_us = transfer_now();
	return taken;
}

/* ---- a turn ---- */

/* Lock the letter's row, if it is still ours, and see what it says */
static bool
turn_fence(Worker *w, Look *look, int *revision)
{
	static Statement fence = {
		"SELECT state, send_at, revision::int8 FROM mailman.letter"
		" WHERE id = $1 AND run = $2 FOR NO KEY UPDATE",
		2, {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run)};

	memset(look, 0, sizeof(*look));
	look->mode = MODE_GONE;
	if (statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->send_at = row_int64(0, 2, 0);
	look->mode = turn_mode(look->state, look->send_at);
	*revision = (int) row_int64(0, 3, 0);
	return true;
}

/*
 * Load what the letter and its relay are now, with the sender's rights.  What
 * was loaded before stays until the new is complete.
 */
static void
turn_prepare(Worker *w, int revision)
{
	MemoryContext context;
	MemoryContext old;
	Letter	   *letter;
	Relay	   *relay;
	Oid			sender;

	if (w->letter != NULL && w->letter->revision == revision &&
		!w->relay_stale)
		return;
	context = AllocSetContextCreate(CurTransactionContext, "mailman letter",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	letter = letter_load(w->letter_id);
	if (letter == NULL || letter->sender == NULL)
		elog(ERROR, "letter " INT64_FORMAT " has no sender", w->letter_id);
	sender = get_role_oid(letter->sender, false);
	letter_check_member(letter, sender);
	letter_check_sendable(letter, sender);
	w->relay_index %= list_length(letter->relays);
	relay = relay_load(list_nth(letter->relays, w->relay_index), sender);
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, TopMemoryContext);
	if (w->letter_context != NULL)
		MemoryContextDelete(w->letter_context);
	w->letter_context = context;
	w->letter = letter;
	w->relay = relay;
	w->relay_stale = false;
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
	if (tally->count[DELIVERY_PENDING] + tally->count[DELIVERY_SENDING] +
		tally->count[DELIVERY_DEFERRED] > 0)
		return "sending";
	return "sent";
}

/* Write the letter's row, if anything about it has changed */
static void
turn_write(Worker *w, const Turn *turn, Look *look)
{
	static Statement write = {
		"UPDATE mailman.letter SET mail_order = $2, doubts = $3, state = $4,"
		" state_reason = CASE WHEN $4 = state THEN state_reason ELSE $5 END,"
		" failed_runs = CASE WHEN $6 THEN 0 ELSE failed_runs END"
		" WHERE id = $1",
		6, {INT8OID, JSONBOID, INT8OID, TEXTOID, TEXTOID, BOOLOID}
	};
	const char *state = turn_next_state(w, turn, look);
	bool		moved = strcmp(state, look->state) != 0;
	bool		paused = moved && strcmp(state, "paused") == 0;
	Datum		values[6] = {Int64GetDatum(w->letter_id)};
	char		nulls[6] = {' ', ' ', ' ', ' ', paused ? ' ' : 'n', ' '};

	if (!turn->changed && !moved && turn->recorded == 0)
		return;
	values[1] = tally_to_jsonb(&turn->tally);
	values[2] = Int64GetDatum(turn->doubts);
	values[3] = CStringGetTextDatum(state);
	if (paused)
		values[4] = CStringGetTextDatum(w->pause_reason);
	values[5] = BoolGetDatum(turn->recorded > 0 || moved);
	statement_run(&write, SPI_OK_UPDATE, values, nulls);
	strlcpy(look->state, state, sizeof(look->state));
	if (paused)
		look->mode = MODE_STOP;
}

static int
turn_outstanding(const Worker *w)
{
	return w->claimed.count + w->begun.count;
}

/* The statements of a turn between the fence and the letter's row */
static void
turn_work(Worker *w, Turn *turn, const Look *look)
{
	bool		idle = turn_outstanding(w) == 0;

	delivery_record(w, turn, &w->done);
	if (look->mode == MODE_SEND && w->pause_reason[0] == '\0')
	{
		int			room = Min(sending_room(w), w->free.count);

		if (room > 0)
			delivery_claim(w, turn, room);
	}
	else if (look->mode == MODE_CANCEL && idle && w->stuck.count == 0)
		turn->more = delivery_skip_rest(w, turn, SKIP_AT_ONCE) > 0;
}

/* After COMMIT: what was recorded leaves memory, what was claimed is ours */
static void
turn_committed(Worker *w, const Turn *turn, const Look *look)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->done.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur), &w->done);
	dlist_foreach_modify(iter, &w->claiming.head)
		delivery_move(dlist_container(Delivery, node, iter.cur),
					  &w->claiming, &w->claimed);
	w->tally = turn->tally;
	w->doubts = turn->doubts;
	w->more = turn->more;
	w->mode = look->mode;
}

static void
turn_transaction(Worker *w, TurnStage *stage)
{
	Turn		turn = {.tally = w->tally,.doubts = w->doubts};
	ExtensionScope scope;
	Look		look;
	int			revision;

	*stage = TURN_FENCE;
	turn_begin(w, &scope);
	if (turn_fence(w, &look, &revision))
	{
		*stage = TURN_PREPARE;
		if (look.mode == MODE_SEND && w->pause_reason[0] == '\0')
			turn_prepare(w, revision);
		*stage = TURN_ROWS;
		turn_work(w, &turn, &look);
		turn_write(w, &turn, &look);
	}
	else
		*stage = TURN_FENCE;
	turn_commit(&scope);
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

/* After an ERROR in a transaction of ours: back to where we were */
static ErrorData *
turn_failed(Worker *w, MemoryContext context)
{
	dlist_mutable_iter iter;
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	dlist_foreach_modify(iter, &w->claiming.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur),
					  &w->claiming);
	return error;
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
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		turn_transaction(w, stage);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error = turn_failed(w, context);

		if (*stage == TURN_PREPARE && error_is_lasting(error))
			strlcpy(w->pause_reason, error->message, sizeof(w->pause_reason));
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("letter " INT64_FORMAT ": %s: %s", w->letter_id,
						w->pause_reason[0] ? "pausing" :
						"a turn failed and is repeated", error->message),
				 error->detail ? errdetail("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
	PG_END_TRY();
	return done;
}

/* ---- one bad row delays itself alone ---- */

/* Record a single outcome; it is in the list of its own */
static void
turn_one_transaction(Worker *w, DeliveryList *one)
{
	Turn		turn = {.tally = w->tally,.doubts = w->doubts};
	ExtensionScope scope;
	Look		look;
	int			revision;

	turn_begin(w, &scope);
	if (turn_fence(w, &look, &revision))
	{
		delivery_record(w, &turn, one);
		turn_write(w, &turn, &look);
	}
	turn_commit(&scope);
	w->tally = turn.tally;
	w->doubts = turn.doubts;
}

/* Try the first of a list alone; if that fails it gets stuck for a while */
static void
turn_one(Worker *w, DeliveryList *from)
{
	MemoryContext context = CurrentMemoryContext;
	Delivery   *delivery = dlist_container(Delivery, node,
										   dlist_head_node(&from->head));
	DeliveryList one;

	dlist_init(&one.head);
	one.count = 0;
	delivery_move(delivery, from, &one);
	PG_TRY();
	{
		turn_one_transaction(w, &one);
		delivery_free(w, delivery, &one);
	}
	PG_CATCH();
	{
		ErrorData  *error = turn_failed(w, context);

		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("letter " INT64_FORMAT ", subscription " INT64_FORMAT ": its outcome could not be recorded yet: %s",
						w->letter_id, delivery->subscription_id,
						error->message)));
		FreeErrorData(error);
		delivery_move(delivery, &one, &w->stuck);
	}
	PG_END_TRY();
}

static void
turn_one_by_one(Worker *w, DeliveryList *from)
{
	int			count = from->count;

	while (count-- > 0)
		turn_one(w, from);
	w->stuck_retry_us = transfer_now() + STUCK_RETRY_US;
}

/* ---- between turns ---- */

/* Wait a moment with the sessions open, as somebody is in our way */
static void
turn_wait(Worker *w, int failures)
{
	int64		until = transfer_now() + Min(failures, 10) * INT64CONST(50000);

	while (transfer_now() < until)
	{
		CHECK_FOR_INTERRUPTS();
		waiter_wait(w->waiter, w->transfer,
					(until - transfer_now()) / 1000 + 1);
	}
}

/* One line for pg_stat_activity */
static void
turn_report(Worker *w)
{
	char		line[1024];
	const int64 *n = w->tally.count;
	TransferCounts counts = {0};

	if (w->transfer != NULL)
		counts = transfer_counts(w->transfer);
	snprintf(line, sizeof(line),
			 "letter " INT64_FORMAT ": " INT64_FORMAT " of " INT64_FORMAT " delivered, "
			 INT64_FORMAT " failed, " INT64_FORMAT " deferred, %d sessions, %d/s%s%s",
			 w->letter_id, n[DELIVERY_DELIVERED], tally_recipients(&w->tally),
			 n[DELIVERY_FAILED], n[DELIVERY_DEFERRED], counts.sessions,
			 sending_rate(w),
			 w->relay_trouble[0] ? "; " : "", w->relay_trouble);
	pgstat_report_activity(turn_outstanding(w) > 0 ? STATE_RUNNING : STATE_IDLE,
						   line);
}

/* Nothing to record and nothing to claim: end, or wait for something */
static void
turn_idle(Worker *w, const Look *look)
{
	int64		now = transfer_now();
	int64		look_us = now + mailman_poll_interval * INT64CONST(1000);
	TimestampTz due = look->mode == MODE_WAIT ? look->send_at : look->due_at;

	if (turn_outstanding(w) + w->stuck.count > 0)
	{
		w->idle_since_us = 0;
		return;
	}
	if (w->idle_since_us == 0)
		w->idle_since_us = now;
	if (look->mode == MODE_SEND && look->due_at == 0 && !look->open)
	{
		w->ended = now - w->idle_since_us >= LINGER_US;
		look_us = now + LINGER_LOOK_US;
	}
	else if (look->mode == MODE_STOP || look->mode == MODE_CANCEL)
		w->ended = true;
	if (due != 0)
		look_us = Min(look_us, now + Max(due - GetCurrentTimestamp(), 0));
	if (look->mode == MODE_SEND && w->relay_retry_us > now)
		look_us = Max(look_us, Min(w->relay_retry_us, now + 1000000));
	w->look_us = look_us;
}

/* Does this look call for a transaction that locks the letter? */
static bool
turn_is_wanted(Worker *w, const Look *look)
{
	switch (look->mode)
	{
		case MODE_SEND:
			if (w->relay_stale || w->pause_reason[0] != '\0')
				return true;
			if (turn_outstanding(w) == 0 && !look->postings &&
				look->due_at == 0 && !look->open &&
				strcmp(look->state, "sent") != 0)
				return true;	/* nobody left: it is sent */
			return (look->postings || look_is_due(look)) &&
				sending_room(w) > 0 && w->free.count > 0;
		case MODE_CANCEL:
			return turn_outstanding(w) == 0 &&
				(look->postings || look->due_at != 0);
		default:
			return false;
	}
}

/* A look, and whether it calls for more */
static bool
turn_is_due(Worker *w)
{
	ExtensionScope scope;
	Look		look;
	bool		wanted;

	if (w->done.count > 0)
		return true;
	turn_begin(w, &scope);
	turn_look(w, w->run, &look);
	turn_commit(&scope);
	w->mode = look.mode;
	wanted = turn_is_wanted(w, &look);
	if (wanted)
		w->idle_since_us = 0;
	else
		turn_idle(w, &look);
	return wanted;
}

bool
turn(Worker *w)
{
	TurnStage	stage = TURN_FENCE;
	int			failures = 0;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		turn_bound_locks();
	}
	if (w->stuck.count > 0 && transfer_now() >= w->stuck_retry_us)
		turn_one_by_one(w, &w->stuck);
	if (turn_is_due(w))
	{
		while (!turn_try(w, &stage))
		{
			if (++failures % 3 == 0 && stage == TURN_ROWS)
				turn_one_by_one(w, &w->done);
			if (w->pause_reason[0] == '\0')
				turn_wait(w, failures);
		}
		w->idle_since_us = 0;
	}
	w->last_turn_us = transfer_now();
	w->poked = false;
	if (w->mode == MODE_GONE)
	{
		w->armed = false;
		w->ended = true;
	}
	else if (w->mode != MODE_SEND)
		sending_stop(w, -1);
	turn_report(w);
	return !w->ended;
}

/*
 * The worker is ending by force: record the outcomes known and hand back what
 * was not sent.  Interrupts are off, so nothing here may wait for a lock of
 * somebody else; what cannot be recorded stays 'sending' and is doubt to the
 * next worker.
 */
void
turn_last(Worker *w)
{
	static Statement fence = {
		"SELECT FROM mailman.letter WHERE id = $1 AND run = $2"
		" FOR NO KEY UPDATE SKIP LOCKED",
		2, {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run)};
	ExtensionScope scope;
	Look		look;
	int			revision;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts};

	if (w->done.count == 0)
		return;
	turn_begin(w, &scope);
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %d outcomes could not be recorded and are in doubt",
						w->letter_id, w->done.count),
				 errdetail("The letter's row is locked.")));
	else if (turn_fence(w, &look, &revision))
	{
		delivery_record(w, &turn, &w->done);
		turn_write(w, &turn, &look);
	}
	turn_commit(&scope);
}
