/*-------------------------------------------------------------------------
 *
 * topup.c
 *	  A letter that was scheduled for a whole list starts: those who have
 *	  subscribed since get it, too.
 *
 * Those who have no delivery yet are looked up once, which only reads, and
 * then queued a few at a time beside the turns.  Somebody may hold the row of
 * one of them, for as long as they like, or be about to send the letter to
 * one: those are left for later, and nobody waits for them, nor is the list
 * looked through again.
 *
 * letter.whole says until the end that some may be missing, so another worker
 * begins anew if this one ends.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "worker.h"

/* So many are queued in a transaction, at most */
#define TOP_UP_MOST		2000

/* How soon those who were in use are tried again */
#define TOP_UP_RETRY_US INT64CONST(5000000)

/* A part of them is being queued */
typedef struct TopUpPart
{
	MemoryContext context;		/* goes when it is done */
	int			count;
	bool		inserting;		/* what fails now is about one of them */
	int			left;			/* so many are in use, */
	int64	   *ids;			/* these */
} TopUpPart;

/* Nobody is missing any more; in the transaction that finds out */
static void
top_up_end(Worker *w)
{
	static Statement end = {
		.sql = "UPDATE mailman.letter SET whole = false WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};

	statement_run(&end, SPI_OK_UPDATE, values, NULL);
}

/* The int8[] in the first row, copied into that context; NULL: it is null */
static int64 *
row_ids(MemoryContext context, int *count)
{
	bool		isnull;
	Datum		value = row_datum(0, 1, &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int64	   *ids;
	int			i;

	*count = 0;
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(value), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls,
					  count);
	ids = MemoryContextAllocHuge(context, *count * sizeof(int64));
	for (i = 0; i < *count; i++)
		ids[i] = DatumGetInt64(elements[i]);
	return ids;
}

/* Those who have no delivery */
static void
top_up_find(Worker *w, void *arg)
{
	static Statement find = {
		.sql = "SELECT array_agg(s.id ORDER BY s.id) FROM mailman.letter l"
		" JOIN mailman.subscription s ON s.newsletter_id = l.newsletter_id"
		" WHERE l.id = $1 AND s.state = 'active' AND NOT EXISTS (SELECT"
		" FROM mailman.delivery d WHERE d.letter_id = $1"
		" AND d.subscription_id = s.id)",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	TopUp	   *t = &w->top_up;
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	ExtensionScope scope;
	Look		look;
	int64	   *ids = NULL;
	int			count = 0;

	run_begin(w, &scope, &use_top_up);
	if (turn_fence(w, &look) && look.whole)
	{
		statement_run(&find, SPI_OK_SELECT, values, NULL);
		ids = row_ids(TopMemoryContext, &count);
		if (count == 0)
			top_up_end(w);
	}
	run_commit(&scope);
	w->whole = count > 0;
	t->ids = ids;
	t->count = count;
	t->next = t->left = 0;
	t->most = TOP_UP_MOST;
}

/* Those of the part who still have none */
static void
top_up_look(Worker *w, const Datum *values, TopUpPart *part)
{
	static Statement look = {
		.sql = "SELECT array_agg(s.id ORDER BY s.id)"
		" FROM mailman.subscription s"
		" WHERE s.id = ANY ($2) AND s.state = 'active' AND NOT EXISTS (SELECT"
		" FROM mailman.delivery d WHERE d.letter_id = $1"
		" AND d.subscription_id = s.id)",
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID}
	};

	statement_run(&look, SPI_OK_SELECT, values, NULL);
	part->ids = row_ids(part->context, &part->left);
}

/*
 * Queue a part of them.  The lock is that of the foreign key; a row that it
 * cannot have is passed over.  For somebody who is about to send the letter to
 * one of them there is a short wait, and then an error.
 */
static void
top_up_queue(Worker *w, void *arg)
{
	static Statement queue = {
		.sql = "WITH added AS (INSERT INTO mailman.delivery"
		" (letter_id, subscription_id)"
		" SELECT $1, c.id FROM (SELECT s.id FROM mailman.subscription s"
		" WHERE s.id = ANY ($2) AND s.state = 'active' ORDER BY s.id"
		" FOR KEY SHARE SKIP LOCKED) c"
		" ON CONFLICT DO NOTHING RETURNING subscription_id)"
		" INSERT INTO mailman.posting (letter_id, low, high, recipients)"
		" SELECT $1, min(subscription_id), max(subscription_id), count(*)"
		" FROM added HAVING count(*) > 0",
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID}
	};
	TopUpPart  *part = arg;
	TopUp	   *t = &w->top_up;
	Datum	   *ids = MemoryContextAlloc(part->context,
										 part->count * sizeof(Datum));
	Datum		values[2] = {Int64GetDatum(w->letter_id)};
	ExtensionScope scope;
	Look		look;
	int			i;

	for (i = 0; i < part->count; i++)
		ids[i] = Int64GetDatum(t->ids[t->next + i]);
	run_begin(w, &scope, &use_top_up);
	if (turn_fence(w, &look) && look.whole)
	{
		values[1] = array_of(ids, NULL, part->count, INT8OID);
		(void) set_config_option("lock_timeout", "50ms", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
		part->inserting = true;
		statement_run(&queue, SPI_OK_INSERT, values, NULL);
		top_up_look(w, values, part);
		if (t->next + part->count == t->count && t->left + part->left == 0)
			top_up_end(w);
	}
	run_commit(&scope);
}

/* Those of a part who are in use stay in the list, ahead of the others */
static void
top_up_leave(TopUp *t, const int64 *ids, int left, int count)
{
	if (left > 0)
		memmove(&t->ids[t->left], ids, left * sizeof(int64));
	t->left += left;
	t->next += count;
}

/* Queue it, or find out that one of them is in use; false: not now */
static bool
top_up_try(Worker *w, TopUpPart *part)
{
	TopUp	   *t = &w->top_up;
	ErrorData  *error;

	if (run_try(w, top_up_queue, part, &error))
	{
		top_up_leave(t, part->ids, part->left, part->count);
		t->most = Min(t->most * 2, TOP_UP_MOST);
		return true;
	}
	if (!part->inserting)
		run_log_failure(w, "the list could not be topped up yet", error);
	else
	{
		if (part->count == 1)
			top_up_leave(t, &t->ids[t->next], 1, 1);
		t->most = Max(part->count / 8, 1);
	}
	FreeErrorData(error);
	return part->inserting;
}

/* The next part; false: not now */
static bool
top_up_step(Worker *w)
{
	TopUp	   *t = &w->top_up;
	TopUpPart	part = {.count = Min(t->count - t->next, t->most)};
	bool		done;

	part.context = AllocSetContextCreate(TopMemoryContext, "mailman top up",
										 ALLOCSET_DEFAULT_SIZES);
	done = top_up_try(w, &part);
	MemoryContextDelete(part.context);
	return done;
}

static void
top_up_forget(TopUp *t)
{
	if (t->ids != NULL)
		pfree(t->ids);
	t->ids = NULL;
}

/* see worker.h */
void
errand_top_up(Worker *w)
{
	TopUp	   *t = &w->top_up;

	if (!w->whole || w->mode != MODE_SEND)
		top_up_forget(t);
	else if (transfer_now() >= t->not_before_us)
	{
		bool		done = t->ids == NULL ?
			run_try(w, top_up_find, NULL, NULL) : top_up_step(w);

		if (done && t->ids != NULL && t->next == t->count)
		{
			w->whole = t->left > 0;
			t->count = t->left;
			t->next = t->left = 0;
			done = false;
		}
		if (!done)
			t->not_before_us = transfer_now() + TOP_UP_RETRY_US;
		w->look_us = 0;			/* there is more to do, or to send */
	}
}
