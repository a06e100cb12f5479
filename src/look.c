/*-------------------------------------------------------------------------
 *
 * look.c
 *	  What is there to do for a letter?
 *
 * Read from the tables without locking anything: postings, rows that wait,
 * rows 'sending'.  A worker with nothing to record looks before it takes a
 * turn, so one that waits for a relay or for the clock writes nothing; and
 * whoever asks whether a letter is an orphan asks the same.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A worker whose letter is sent stays this long: more may be posted */
#define LINGER_US		INT64CONST(1000000)
#define LINGER_LOOK_US	INT64CONST(100000)

/* When to look again after a look has failed */
#define LOOK_AGAIN_US	INT64CONST(200000)

/* And when there is no room for those who are due */
#define NO_ROOM_US		INT64CONST(50000)

/* A test waits for a relay: is it too old by now? */
#define LOOK_TESTS_US	INT64CONST(1000000)

/* Sooner than this it is not worth ending and being started again */
#define NEAR_US			INT64CONST(3000000)

LetterMode
look_mode(const char *state, TimestampTz send_at)
{
	if (!mailman_enabled)
		return MODE_STOP;
	if (strcmp(state, "sending") == 0 || strcmp(state, "sent") == 0)
		return MODE_SEND;
	if (strcmp(state, "scheduled") == 0)
		return send_at > GetCurrentTimestamp() ? MODE_WAIT : MODE_SEND;
	if (strcmp(state, "cancelled") == 0)
		return MODE_CANCEL;
	return MODE_STOP;
}

/* Is it sent, and nothing posted since? */
static bool
look_is_sent(const Look *look)
{
	return strcmp(look->state, "sent") == 0 && !look->postings &&
		look->due_at == 0 && !look->open && !look->whole;
}

/*
 * Look without locking anything; run 0: of any worker.  When the letter
 * should have a worker is what mailman.work says; but while mailman.enabled is
 * off, only what is on its way needs one.
 */
void
look_at(Worker *w, int64 run, Look *look)
{
	static Statement statement = {
		.sql = "SELECT state, send_at, posted_at, due_at, sending, waiting,"
		" whole, tests, tested_at, asked_at, testing, ready_at, barred_until"
		" FROM mailman.work WHERE letter_id = $1 AND (run = $2 OR $2 = 0)",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id), Int64GetDatum(run)};

	memset(look, 0, sizeof(*look));
	look->mode = MODE_GONE;
	look->ready_at = DT_NOEND;
	if (statement_run(&statement, SPI_OK_SELECT, values, NULL) == 0)
		return;
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->send_at = row_int64(0, 2, 0);
	look->posted_at = row_int64(0, 3, 0);
	look->postings = look->posted_at != 0;
	look->due_at = row_int64(0, 4, 0);
	look->sending = row_bool(0, 5);
	look->open = row_bool(0, 6);
	look->mode = look_mode(look->state, look->send_at);
	look->whole = row_bool(0, 7) && look->mode == MODE_SEND;
	look->tests = mailman_enabled ? (int) row_int64(0, 8, 0) : 0;
	look->tested_at = row_int64(0, 9, 0);
	look->asked_at = row_int64(0, 10, 0);
	look->testing = row_bool(0, 11);
	look->ready_at = row_int64(0, 12, DT_NOEND);
	look->barred_until = row_int64(0, 13, DT_NOBEGIN);
	if (!mailman_enabled && !look->sending && !look->testing)
		look->ready_at = DT_NOEND;
	if (look->tests > 0 && look_is_sent(look))
		look->mode = MODE_STOP; /* all that is left are tests */
}

bool
look_is_too_old(const Worker *w, TimestampTz since)
{
	return w->letter != NULL && since != 0 &&
		letter_too_old_at(w->letter, since) < GetCurrentTimestamp();
}

static bool
look_is_due(const Look *look)
{
	return look->due_at != 0 && look->due_at <= GetCurrentTimestamp();
}

/*
 * Should it have a worker now?  Without a dispatcher nobody else would start
 * it when its time comes, so the worker itself waits.
 */
bool
look_has_work(const Look *look)
{
	if (!shmem_is_there())
		return look->ready_at != DT_NOEND;
	return look->ready_at <= GetCurrentTimestamp() + NEAR_US;
}

/* For what will it wait? */
static WaitKind
look_wait_kind(const Look *look, bool relays_wait)
{
	if (relays_wait && (look->postings || look->open))
		return WAIT_RELAY;
	if (look->mode == MODE_SEND && (look->postings || look_is_due(look)))
		return WAIT_SLOT;		/* there is no room for them */
	if (look->mode == MODE_WAIT || look->due_at != 0)
		return WAIT_DUE;
	return WAIT_WORK;
}

/*
 * A letter that waits for a day, or a retry, needs no place meanwhile: without
 * a dispatcher it waits without one, else it ends as soon as others need it.
 */
static void
look_spare(Worker *w, bool spare)
{
	if (place_spare(spare))
		w->ended = true;
	else if (spare && place_number() == 0)
		(void) slot_unlock();
}

/* Nothing to record and nothing to claim: end, or wait for something */
static void
look_idle(Worker *w, const Look *look)
{
	int64		now = transfer_now();
	int64		look_us = now + mailman_poll_interval * INT64CONST(1000);
	int64		retry_us = routes_retry_us(w);
	TimestampTz due = look->mode == MODE_WAIT ? look->ready_at : look->due_at;
	bool		spare;

	w->look_us = look_us;
	w->idle_kind = look_wait_kind(look, retry_us > now);
	if (worker_outstanding(w) + w->stuck.count > 0)
	{
		w->idle_since_us = 0;
		return;
	}
	if (w->idle_since_us == 0)
		w->idle_since_us = now;
	spare = look->tests == 0 && due - GetCurrentTimestamp() > NEAR_US;
	look_spare(w, spare);
	if (look->tests > 0 && !w->yielding)
		look_us = Min(look_us, now + LOOK_TESTS_US);
	else if (look->mode == MODE_SEND && look->due_at == 0 && !look->open &&
			 !look->whole)
	{
		w->ended = (look_is_sent(look) || w->yielding) &&
			(now - w->idle_since_us >= LINGER_US || shmem_somebody_waits());
		look_us = now + LINGER_LOOK_US;
	}
	else if (w->yielding || look->mode == MODE_STOP ||
			 look->mode == MODE_CANCEL)
		w->ended = true;
	else if (!w->ended && !look_has_work(look) && retry_us <= now)
		w->ended = now - w->idle_since_us >= LINGER_US;
	if (due != 0)
	{
		int64		left = due - GetCurrentTimestamp();

		/* it is due, but there is no room for it at present */
		look_us = Min(look_us, now + (left > 0 ? left : NO_ROOM_US));
	}
	if (look->mode == MODE_SEND && look->tests == 0 && retry_us > now)
		look_us = Max(look_us, Min(retry_us, now + 1000000));
	w->look_us = look_us;
}

/* Does this look call for a transaction that locks the letter? */
static bool
look_wants_turn(Worker *w, const Look *look)
{
	if (tests_call(w, look))
		return true;
	switch (look->mode)
	{
		case MODE_SEND:
			/* what becomes of relays then is no reason to pause it */
			if (w->yielding || look_is_sent(look))
				return false;
			if (w->relay_stale || w->lifted || w->pause_reason[0] != '\0')
				return true;
			if (worker_outstanding(w) == 0 && !look->postings &&
				look->due_at == 0 && !look->open && !look->whole)
				return !worker_is_fed(w);	/* nobody left: it is sent */
			if (w->nroutes == 0)
				return look->postings || look_is_due(look);
			/* if one of them may be tried again, the others are asked first */
			if (routes_first(w) == NULL)
				return routes_retry_us(w) > transfer_now() + 1000 &&
					(look_is_due(look) ||
					 look_is_too_old(w, look->posted_at)) &&
					w->free.count > 0;
			return (look->postings || look_is_due(look) ||
					(look->due_at != 0 && routes_have_room(w))) &&
				sending_room(w) > 0 && w->free.count > 0;
		case MODE_CANCEL:
			return worker_outstanding(w) == 0 &&
				(look->postings || look->due_at != 0);
		default:
			return false;
	}
}

static void
look_transaction(Worker *w, void *arg)
{
	ExtensionScope scope;

	run_begin_reading(w, &scope);
	look_at(w, w->run, arg);
	run_commit(&scope);
}

/* A look, and whether it calls for more; if it fails, not now */
bool
look_calls_for_turn(Worker *w)
{
	Look		look;

	if (worker_recordable(w) > 0)
		return true;
	if (!run_try(w, look_transaction, &look, NULL))
	{
		w->look_us = transfer_now() + LOOK_AGAIN_US;
		w->idle_kind = WAIT_LOCK;
		if (w->yielding && worker_is_free(w))
			w->ended = w->blocked = true;
		return false;
	}
	w->mode = look.mode;
	w->whole = look.whole;
	w->work = look.mode == MODE_SEND &&
		(look.postings || look_is_due(&look));
	w->tests = look.tests;
	if (!look_wants_turn(w, &look))
	{
		look_idle(w, &look);
		return false;
	}
	w->idle_since_us = 0;
	w->idle_kind = WAIT_SLOT;
	(void) place_spare(false);
	if (slot_lock())
		return true;
	w->idle_kind = WAIT_PLACE;
	w->look_us = transfer_now() + LOOK_AGAIN_US;
	return false;
}
