/*-------------------------------------------------------------------------
 *
 * test_copy.c
 *	  Tests on their way: copies that mailman_test() was asked for.
 *
 * A letter's worker sends them beside its deliveries, whatever state the
 * letter is in: under the same lock, in the same turns, over the same
 * sessions.  A slot with a test_id is one.  It is claimed from mailman.test,
 * its outcome goes back there, and nothing else hears of it: no tally, no
 * delivery, no newsletter_email, no count of failures, no bounce.  In memory,
 * too, they end in a list of their own, so that what records deliveries never
 * meets one.
 *
 * There is one attempt.  Who waits for a relay stays 'pending', for
 * TEST_AGE_US at most, as nobody waits longer to see what a letter looks like.
 *
 * A claim is committed before a byte is sent, as those of deliveries are; a row
 * found 'sending' by a later run is 'doubtful'.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* How long one waits for a relay, or for a worker */
#define TEST_AGE_US (600 * USECS_PER_SEC)

/* How soon one that was handed back is tried again */
#define TEST_AGAIN_US INT64CONST(1000000)

/* ---- what is there to do? ---- */

/* They take no more of the slots: the others are to go on */
static int
tests_share(const Worker *w)
{
	return Max(w->most / 4, 1);
}

int
tests_room(const Worker *w)
{
	return Min(w->tests, Min(w->free.count, tests_share(w)));
}

/*
 * Outside of MODE_SEND no letter can be paused: what would be the reason is
 * why its tests fail.  Whoever asks for one wants a relay that was out to be
 * tried again, so a new one calls for a turn in any case.
 */
bool
tests_call(Worker *w, const Look *look)
{
	if (look->mode == MODE_GONE || w->yielding)
		return false;
	if (look->mode != MODE_SEND && w->ntests > 0 && w->relay_stale)
		return true;
	if (look->tests == 0)
		return false;
	if (look->mode == MODE_CANCEL || w->letter == NULL || w->relay_stale ||
		look->tested_at + TEST_AGE_US < GetCurrentTimestamp())
		return true;
	if (look->mode != MODE_SEND)
	{
		if (look->asked_at > w->letter->resumed_at)
			return true;
		routes_check(w);
	}
	if (w->pause_reason[0] != '\0')
		return true;
	return transfer_now() >= w->tests_us && w->free.count > 0 &&
		routes_first(w) != NULL;
}

/* A draft has no sender yet: whoever asked for the test is */
const char *
tests_sender(const Worker *w, const Letter *letter, const Look *look)
{
	if (letter->sender != NULL)
		return letter->sender;
	if (look->tester[0] != '\0')
		return look->tester;
	return w->letter != NULL ? w->letter->sender : NULL;
}

/* ---- in a turn ---- */

/* Nobody waits so long */
static void
tests_expire(Worker *w)
{
	static Statement expire = {
		.sql = "UPDATE mailman.test SET state = 'failed',"
		" reason = 'gave up as too old: '"
		" || coalesce(reason, 'no worker had time for it')"
		" WHERE letter_id = $1 AND state = 'pending' AND requested_at < $2",
		.nargs = 2,
		.argtypes = {INT8OID, TIMESTAMPTZOID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	TimestampTzGetDatum(GetCurrentTimestamp() - TEST_AGE_US)};

	statement_run(&expire, SPI_OK_UPDATE, values, NULL);
}

/* None of those can be sent that the one asked for whose rights were tried */
static void
tests_refuse(Worker *w, const Look *look, const char *reason)
{
	static Statement refuse = {
		.sql = "UPDATE mailman.test SET state = 'failed', reason = $2"
		" WHERE letter_id = $1 AND state = 'pending'"
		" AND ($3 = '' OR requested_by = $3)",
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id),
	CStringGetTextDatum(reason), CStringGetTextDatum(look->tester)};
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->test_id == 0)
			continue;
		sending_unclaim(d);
		outcome_set(d, DELIVERY_FAILED, 0, reason);
		delivery_end(w, d, &w->claimed);
	}
	statement_run(&refuse, SPI_OK_UPDATE, values, NULL);
}

/* A slot for a row just claimed */
static void
test_fill(Worker *w, uint64 row)
{
	Delivery   *d = dlist_container(Delivery, node,
									dlist_head_node(&w->free.head));
	MemoryContext old = MemoryContextSwitchTo(d->context);
	Datum		data;
	Datum		variables;
	bool		data_null;
	bool		variables_null;

	d->test_id = row_int64(row, 1, 0);
	d->test_address = row_text(row, 3);
	d->queued_at = row_int64(row, 4, 0);
	d->subscription_id = row_int64(row, 5, 0);
	d->email = row_text(row, 6);
	d->name = row_text(row, 7);
	data = row_datum(row, 8, &data_null);
	variables = row_datum(row, 9, &variables_null);
	d->domain = domains_find(w, d->test_address);
	/* last, as in a claim */
	delivery_hold(w, d, data, data_null, variables, variables_null);
	MemoryContextSwitchTo(old);
	w->ntests++;
	delivery_move(d, &w->free, &w->claiming);
}

/*
 * Choose at most limit of them, oldest first; of a draft those of the one whose
 * relays were loaded.  As an array of ids; NULL: there is none that nobody
 * holds.
 */
static ArrayType *
tests_choose(Worker *w, const Look *look, int limit)
{
	static Statement choose = {
		.sql = "SELECT id FROM mailman.test"
		" WHERE letter_id = $1 AND state = 'pending'"
		" AND ($3 = '' OR requested_by = $3) ORDER BY id LIMIT $2"
		" FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(limit), CStringGetTextDatum(look->tester)};
	uint64		rows = statement_run(&choose, SPI_OK_SELECT, values, NULL);
	Datum	   *ids = palloc(Max(rows, 1) * sizeof(Datum));
	uint64		row;

	for (row = 0; row < rows; row++)
		ids[row] = Int64GetDatum(row_int64(row, 1, 0));
	if (rows == 0)
		return NULL;
	return DatumGetArrayTypeP(array_of(ids, NULL, (int) rows, INT8OID));
}

/* Their rows become 'sending', and they are in w->claiming */
static void
tests_claim(Worker *w, const Look *look, int limit)
{
	static Statement claim = {
		.sql = "UPDATE mailman.test t SET"
		" state = CASE WHEN s.id IS NULL THEN 'failed' ELSE 'sending' END,"
		" reason = CASE WHEN s.id IS NULL THEN 'subscription was deleted' END"
		" FROM unnest($2) AS c(id) JOIN mailman.test p ON p.id = c.id"
		" LEFT JOIN mailman.subscription s ON s.id = p.subscription_id"
		" WHERE t.id = c.id AND t.letter_id = $1 AND t.state = 'pending'"
		" RETURNING t.id, t.state, t.address, t.requested_at, s.id, s.email,"
		" s.name, s.data, t.variables",
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID}
	};
	ArrayType  *ids = tests_choose(w, look, limit);
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	PointerGetDatum(ids)};
	uint64		rows;
	uint64		row;

	if (ids == NULL)
	{
		w->tests_us = transfer_now() + TEST_AGAIN_US;
		return;
	}
	rows = statement_run(&claim, SPI_OK_UPDATE_RETURNING, values, NULL);
	for (row = 0; row < rows; row++)
	{
		if (strcmp(row_text(row, 2), "sending") == 0)
			test_fill(w, row);
	}
}

/* What became of those that have ended */
void
tests_record(Worker *w)
{
	static Statement record = {
		.sql = "UPDATE mailman.test SET state = $2, code = $3::int2,"
		" enhanced = $4, reply = $5, reason = $6, relay = $7,"
		" message_id = $8, sent_at = $9 WHERE id = $1 AND state = 'sending'",
		.nargs = 9,
		.argtypes = {INT8OID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
		TEXTOID, TEXTOID, TIMESTAMPTZOID}
	};
	dlist_iter	iter;

	dlist_foreach(iter, &w->tested.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		bool		delivered = d->state == DELIVERY_DELIVERED;
		const char *texts[] = {d->enhanced, d->reply, d->reason, d->relay,
		d->rendered.message_id};
		Datum		values[9] = {Int64GetDatum(d->test_id)};
		char		nulls[9];
		size_t		i;

		memset(nulls, ' ', sizeof(nulls));
		values[1] = CStringGetTextDatum(delivery_state_names[d->state]);
		values[2] = Int32GetDatum(d->code);
		nulls[2] = d->code == 0 ? 'n' : ' ';
		for (i = 0; i < lengthof(texts); i++)
		{
			if (texts[i] == NULL || texts[i][0] == '\0')
				nulls[3 + i] = 'n';
			else
				values[3 + i] = CStringGetTextDatum(texts[i]);
		}
		values[8] = TimestampTzGetDatum(d->ended_at);
		nulls[8] = delivered ? ' ' : 'n';
		statement_run(&record, SPI_OK_UPDATE, values, nulls);
	}
}

/*
 * A worker that cannot wait any more records those alone that nobody holds;
 * the others are doubtful to the next one.
 */
void
tests_lock_nowait(Worker *w)
{
	static Statement lock = {
		.sql = "SELECT FROM mailman.test WHERE id = $1"
		" FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->tested.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		Datum		values[1] = {Int64GetDatum(d->test_id)};

		if (statement_run(&lock, SPI_OK_SELECT, values, NULL) == 0)
			delivery_move(d, &w->tested, &w->stuck);
	}
}

void
tests_turn(Worker *w, const Look *look, int room)
{
	bool		any = look->tests > 0 || w->ntests > 0;

	if (any && look->mode == MODE_CANCEL)
		tests_refuse(w, look, "letter was cancelled");
	else if (any && look->mode != MODE_SEND && w->pause_reason[0] != '\0')
		tests_refuse(w, look, w->pause_reason);
	tests_record(w);
	if (look->tests == 0)
		return;
	tests_expire(w);
	room = Min(room, Min(look->tests, tests_share(w)));
	if (room > 0 && look->mode != MODE_CANCEL && !w->yielding &&
		w->pause_reason[0] == '\0' && routes_first(w) != NULL &&
		transfer_now() >= w->tests_us)
		tests_claim(w, look, room);
}

/* After COMMIT, before those claimed are moved on */
void
tests_committed(Worker *w, const Look *look)
{
	dlist_mutable_iter iter;

	w->tests = look->tests;
	dlist_foreach_modify(iter, &w->tested.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur),
					  &w->tested);
	dlist_foreach_modify(iter, &w->claiming.head)
	{
		if (dlist_container(Delivery, node, iter.cur)->test_id != 0)
			w->tests = Max(w->tests - 1, 0);
	}
	if (look->mode != MODE_SEND)
		w->pause_reason[0] = '\0';
}

void
tests_resolve(Worker *w)
{
	static Statement resolve = {
		.sql = "UPDATE mailman.test SET state = 'doubtful',"
		" reason = 'its worker ended before the outcome was recorded'"
		" WHERE letter_id = $1 AND state = 'sending'",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};

	statement_run(&resolve, SPI_OK_UPDATE, values, NULL);
}

/* ---- answers ---- */

/*
 * While a letter is paused, say, its worker is told to stop and goes on with
 * its tests; but it stops with them, too, when it ends, when nothing may
 * leave, or when others need its place.
 */
bool
test_must_stop(const Worker *w)
{
	return w->stopping && (!w->armed || !patience_spares_tests(w));
}

void
test_wait(Worker *w, Delivery *d)
{
	outcome_set(d, DELIVERY_PENDING, 0, routes_trouble(w));
	d->code = 0;
	d->enhanced[0] = '\0';
	d->reply = NULL;
	w->tests_us = transfer_now() + TEST_AGAIN_US;
}

/* Not its own fault, and it has not left.  True: another relay gets it */
static bool
test_again(Worker *w, Delivery *d, const char *reason)
{
	const Judgement *judgement = &d->mail.judgement;
	Route	   *first;

	if (judgement->scope == SCOPE_LETTER && judgement->permanent)
	{
		outcome_set(d, DELIVERY_FAILED, 0, reason);
		return false;
	}
	if (judgement->scope == SCOPE_RELAY &&
		transfer_now() >= d->route->retry_us && !d->route->ask)
		route_failed(w, d->route, reason, judgement->permanent,
					 judgement->refused);
	first = routes_first(w);
	if (!test_must_stop(w) && first != NULL && first != d->route)
		return true;
	test_wait(w, d);
	return false;
}

bool
test_answer(Worker *w, Delivery *d, const char *reason)
{
	switch (d->mail.judgement.verdict)
	{
		case VERDICT_DELIVERED:
			outcome_set(d, DELIVERY_DELIVERED, 0, NULL);
			break;
		case VERDICT_FAILED:
		case VERDICT_DEFERRED:
			outcome_set(d, DELIVERY_FAILED, 0, reason);
			break;
		case VERDICT_AGAIN:
			return test_again(w, d, reason);
		case VERDICT_DOUBT:
			outcome_set(d, DELIVERY_DOUBTFUL, 0, reason);
			break;
	}
	return false;
}
