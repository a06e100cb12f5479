/*-------------------------------------------------------------------------
 *
 * decide.c
 *	  Ask newsletter.policy about those whom the next turn may claim.
 *
 * A transaction of its own, before the turn: nobody is 'sending' for it, no
 * outcome is kept waiting by it, and it holds no rate and no row.  It only
 * reads; what was decided is written by the turn, which looks again whether
 * everything is as it was when the policy was asked.
 *
 * One recipient's error is that recipient's; the others of the batch have
 * their answers.  A batch that takes too long is put back whole, and asked
 * about one by one: then it is known whose fault it is, and the sessions are
 * served in between.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "decide.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Most recipients it is asked about at once */
#define DECIDE_BATCH 500

/* When to try again if that has failed for other reasons */
#define FAILED_US INT64CONST(200000)

/* ---- whom to ask about ---- */

static Datum
decide_letter_row(Worker *w)
{
	static Statement load = {
		.sql = "SELECT l FROM mailman.letter l WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	bool		isnull;

	if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "letter " INT64_FORMAT " is gone", w->letter_id);
	return PointerGetDatum(DatumGetHeapTupleHeaderCopy(row_datum(0, 1,
																 &isnull)));
}

/*
 * Whole rows have all data in them, and a claim that adds to somebody's
 * variables has them whole: as many are loaded as there is room for.  Returns
 * how many of the candidates these are; of whom there is too much in any case
 * no mail is made.
 */
static int
decide_measure(Worker *w, Batch *batch)
{
	static Statement measure = {
		.sql = "SELECT u.n, s.data, d.variables"
		" FROM unnest($2) WITH ORDINALITY AS u(id, n)"
		" JOIN mailman.subscription s ON s.id = u.id"
		" JOIN mailman.delivery d ON " DELIVERY_IS_OF("u")
		" WHERE s.state = 'active' ORDER BY u.n",
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID}
	};
	Candidates *c = batch->candidates;
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	array_of(c->ids, NULL, c->count, INT8OID)};
	uint64		rows = statement_run(&measure, SPI_OK_SELECT, values, NULL);
	size_t		size = 0;
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		int			position = (int) row_int64(row, 1, 0) - 1;
		bool		data_null;
		bool		variables_null;
		Datum		data = row_datum(row, 2, &data_null);
		Datum		variables = row_datum(row, 3, &variables_null);
		size_t		bytes = datum_size(data, data_null) +
			datum_size(variables, variables_null);
		char	   *fault = letter_data_fault(w->letter, bytes);

		if (fault != NULL)
		{
			decide_settle(c, position, DELIVERY_FAILED, 0, fault);
			continue;
		}
		if (size > 0 && size + bytes > POLICY_ANSWERS_MAX)
			return position;
		size += bytes;
	}
	return c->count;
}

/* Those who are not active need no policy: the claim skips them */
static void
decide_load(Worker *w, Batch *batch)
{
	static Statement load = {
		.sql = "SELECT u.n, s, d.queued_at"
		" FROM unnest($2) WITH ORDINALITY AS u(id, n)"
		" JOIN mailman.subscription s ON s.id = u.id"
		" JOIN mailman.delivery d ON " DELIVERY_IS_OF("u")
		" WHERE s.state = 'active' ORDER BY u.n",
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID}
	};
	Candidates *c = batch->candidates;
	Datum		values[2] = {Int64GetDatum(w->letter_id)};
	bool	   *settled = palloc(c->count * sizeof(bool));
	int			most = decide_measure(w, batch);
	uint64		row;
	int			i;

	if (most < c->count)
	{
		batch->abandoned = true;
		w->policy_batch = most;
		return;
	}
	for (i = 0; i < c->count; i++)
		settled[i] = c->asked[i] == ASKED_SETTLED;
	batch->letter = decide_letter_row(w);
	values[1] = array_of(c->ids, settled, c->count, INT8OID);
	batch->count = (int) statement_run(&load, SPI_OK_SELECT, values, NULL);
	batch->subscriptions = palloc(c->count * sizeof(Datum) + 1);
	batch->positions = palloc(c->count * sizeof(int) + 1);
	batch->expire_at = palloc(c->count * sizeof(TimestampTz) + 1);
	for (row = 0; row < (uint64) batch->count; row++)
	{
		bool		isnull;

		batch->positions[row] = (int) row_int64(row, 1, 0) - 1;
		batch->subscriptions[row] =
			PointerGetDatum(DatumGetHeapTupleHeaderCopy(row_datum(row, 2,
																  &isnull)));
		batch->expire_at[row] =
			letter_too_old_at(w->letter, row_int64(row, 3, 0));
	}
}

/* ---- errors ---- */

/* Too many in a row: it is the policy, and not those it was asked about */
static bool
decide_pauses(Worker *w, const char *reason)
{
	if (++w->policy_row < mailman_pause_rejections ||
		mailman_pause_rejections == 0)
		return false;
	snprintf(w->pause_reason, sizeof(w->pause_reason),
			 "%d recipients in a row could not be decided on: %s",
			 w->policy_row, reason);
	return true;
}

/* One recipient's error; the first of a batch is logged */
static void
decide_fail(Worker *w, Batch *batch, int asked, char *reason)
{
	Candidates *c = batch->candidates;
	int			position = batch->positions[asked];

	if (w->policy_row == 0)
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ", subscription " INT64_FORMAT ": %s",
						w->letter_id, DatumGetInt64(c->ids[position]),
						reason)));
	decide_settle(c, position, DELIVERY_FAILED, 0, reason);
	batch->abandoned |= decide_pauses(w, reason);
}

/* One that takes long alone fails; of several it is not known which it was */
static bool
decide_is_late(Worker *w, Batch *batch, const ErrorData *error)
{
	if (!policy_is_late(error) || batch->count == 1)
		return false;
	batch->abandoned = true;
	w->policy_row = batch->policy_row;	/* they come again */
	w->policy_batch = 1;
	return true;
}

/* There is no room for what there is of more than so many: they come again */
static void
decide_shrink(Worker *w, Batch *batch, int most)
{
	batch->abandoned = true;
	w->policy_row = batch->policy_row;
	w->policy_batch = most;
}

/* ---- the transaction ---- */

/* A policy can release what keeps other workers from this letter */
static void
decide_check_lock(Worker *w, const Policy *policy)
{
	if (letter_lock_is_ours(w->letter_id))
		return;
	snprintf(w->pause_reason, sizeof(w->pause_reason),
			 "policy %s has released the locks of its session",
			 policy->name);
	ereport(FATAL,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("letter " INT64_FORMAT ": %s", w->letter_id,
					w->pause_reason),
			 errhint("It must not call pg_advisory_unlock_all().")));
}

static void
decide_ask(Worker *w, Batch *batch)
{
	PolicyAnswer *answers = palloc(batch->count * sizeof(PolicyAnswer) + 1);
	TimestampTz deadline = GetCurrentTimestamp() +
		mailman_policy_timeout * INT64CONST(1000);
	int			done = 0;

	batch->policy_row = w->policy_row;
	while (done < batch->count && !batch->abandoned)
	{
		ErrorData  *error;
		int			answered = policy_ask(&batch->policy, batch->letter,
										  batch->subscriptions + done,
										  batch->count - done, deadline,
										  answers, &error);
		int			i;

		for (i = 0; i < answered && !batch->abandoned; i++, done++)
		{
			char	   *fault;

			if (decide_apply(w, batch, done, &answers[i], &fault))
			{
				w->policy_row = 0;
				w->policy_works = true;
			}
			else
				decide_fail(w, batch, done, fault);
		}
		if (batch->bytes >= POLICY_ANSWERS_MAX && done < batch->count)
			decide_shrink(w, batch, done);
		if (error != NULL && !batch->abandoned &&
			!decide_is_late(w, batch, error))
			decide_fail(w, batch, done++,
						policy_describe(&batch->policy, error));
		decide_check_lock(w, &batch->policy);
	}
}

/* Those who are left to claim, in their order */
static void
decide_sort(Candidates *c)
{
	int			kept = 0;
	int			i;

	for (i = 0; i < c->count; i++)
	{
		if (c->asked[i] != ASKED_SETTLED)
			candidates_keep(c, i, kept++);
	}
	c->count = kept;
}

static void
decide_transaction(Worker *w, void *arg)
{
	Batch	   *batch = arg;
	Candidates *c;
	ExtensionScope scope;
	MemoryContext old;
	int			room = Min(batch->candidates->room, w->policy_batch);
	int			i;

	MemoryContextReset(w->decided_context);
	run_begin_reading(w, &scope);
	old = MemoryContextSwitchTo(w->decided_context);
	c = palloc0(sizeof(Candidates));
	routes_count_wishes(w);
	candidates_choose(w, c, room, GetCurrentTimestamp());
	c->variables = palloc0(room * sizeof(Jsonb *));
	c->wishes = palloc0(room * sizeof(Oid));
	c->asked = palloc0(room * sizeof(Asked));
	c->settled = palloc(room * sizeof(Settled));
	batch->candidates = c;
	for (i = 0; i < w->nroutes; i++)
		w->routes[i]->turned_away = 0;
	if (policy_find(w->letter, &batch->policy) && c->count > 0)
	{
		decide_load(w, batch);
		decide_ask(w, batch);
	}
	decide_sort(c);
	MemoryContextSwitchTo(old);
	run_commit(&scope);
}

bool
decide_is_needed(const Worker *w)
{
	return w->letter != NULL && w->letter->policy != NULL;
}

void
decide(Worker *w, int room)
{
	Candidates	wanted = {.room = room};
	Batch		batch = {.candidates = &wanted};

	w->chosen = w->decided = NULL;
	/* enough to see that it is broken before anybody fails */
	if (!w->policy_works)
		wanted.room = Min(Max(room, mailman_pause_rejections), w->free.count);
	if (w->decided_context == NULL)
		w->decided_context = AllocSetContextCreate(TopMemoryContext,
												   "mailman decisions",
												   ALLOCSET_DEFAULT_SIZES);
	if (w->policy_batch == 0)
		w->policy_batch = DECIDE_BATCH;
	if (!run_try(w, decide_transaction, &batch, NULL))
	{
		w->relay_stale = true;	/* the turn will say what is wrong */
		w->reserve_failed_us = transfer_now() + FAILED_US;
	}
	else if (!batch.abandoned)
	{
		w->decided = batch.candidates;
		w->policy_batch = Min(2 * w->policy_batch, DECIDE_BATCH);
	}
	if (w->ndomains == 0)
		w->chosen = w->decided;
}
