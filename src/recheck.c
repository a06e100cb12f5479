/*-------------------------------------------------------------------------
 *
 * recheck.c
 *	  Who has unsubscribed while they were claimed?
 *
 * A claim reads the subscription in the statement that claims the delivery,
 * without a lock, as of the moment that statement began.  Whoever unsubscribes
 * then, before the claim commits, can see their delivery still waiting and
 * must not get the mail.  Locks would close that gap at the price of a write
 * for every recipient; a second look only reads.  It is taken
 * after the claim has committed, so it sees every unsubscription that
 * committed before.
 *
 * Who is found goes back to the queue, and the next claim says what becomes
 * of them.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/timestamp.h"
#include "worker.h"

/* How soon a look that failed is repeated */
#define RECHECK_AGAIN_MS 50

/* Claimed, and not rendered: not looked at again yet; nobody asks of tests */
static bool
recheck_is_due(const Delivery *d)
{
	return d->mail.wire == NULL && d->test_id == 0;
}

static void
recheck_hand_back(Worker *w, Delivery *d)
{
	d->ended_at = GetCurrentTimestamp();
	sending_unclaim(d);
	outcome_hand_back(d, d->ended_at, NULL);
	delivery_move(d, &w->claimed, &w->done);
}

static int
recheck_compare(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* Take those out who were found, in order of their ids */
static void
recheck_remove(Worker *w, uint64 rows)
{
	int64	   *ids = palloc(rows * sizeof(int64) + 1);
	dlist_mutable_iter iter;
	uint64		row;

	for (row = 0; row < rows; row++)
		ids[row] = row_int64(row, 1, 0);
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (rows > 0 && d->test_id == 0 && bsearch(&d->subscription_id, ids, rows,
												   sizeof(int64), recheck_compare) != NULL)
			recheck_hand_back(w, d);
	}
}

static void
recheck_transaction(Worker *w, void *arg)
{
	static Statement look = {
		.sql = "SELECT s.id FROM unnest($1) AS c(id)"
		" JOIN mailman.subscription s ON s.id = c.id"
		" WHERE s.state <> 'active' ORDER BY s.id",
		.nargs = 1,
		.argtypes = {INT8ARRAYOID}
	};
	Datum	   *ids = arg;
	Datum		values[1];
	ExtensionScope scope;
	dlist_iter	iter;
	int			count = 0;

	run_begin_reading(w, &scope);
	dlist_foreach(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (recheck_is_due(d))
			ids[count++] = Int64GetDatum(d->subscription_id);
	}
	values[0] = array_of(ids, NULL, count, INT8OID);
	recheck_remove(w, statement_run(&look, SPI_OK_SELECT, values, NULL));
	run_commit(&scope);
}

/* Nothing is rendered, and so nothing sent, before the look was taken */
void
recheck(Worker *w)
{
	bool		due = false;
	dlist_iter	iter;
	Datum	   *ids;

	dlist_foreach(iter, &w->claimed.head)
		due |= recheck_is_due(dlist_container(Delivery, node, iter.cur));
	if (!due)
		return;
	ids = palloc(w->nslots * sizeof(Datum));
	while (!run_try(w, recheck_transaction, ids, NULL))
		run_wait(w, RECHECK_AGAIN_MS, WAIT_LOCK);
	pfree(ids);
}
