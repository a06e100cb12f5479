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
 * It looks first where the claim has found the subscription's row: no index
 * need be searched, and if the row was changed or has moved since, it is not
 * found there and looked for by its id.
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
	return d->wire == NULL && d->test_id == 0;
}

static void
recheck_hand_back(Worker *w, Delivery *d)
{
	d->ended_at = GetCurrentTimestamp();
	sending_unclaim(d);
	outcome_hand_back(d, d->ended_at, NULL);
	delivery_end(w, d, &w->claimed);
}

static int
recheck_compare(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* The ids in a statement's rows, in order */
static int64 *
recheck_ids(uint64 rows)
{
	int64	   *ids = palloc(rows * sizeof(int64) + 1);
	uint64		row;

	for (row = 0; row < rows; row++)
		ids[row] = row_int64(row, 1, 0);
	qsort(ids, rows, sizeof(int64), recheck_compare);
	return ids;
}

static bool
recheck_is_among(const Delivery *d, const int64 *ids, uint64 count)
{
	return count > 0 && bsearch(&d->subscription_id, ids, count,
								sizeof(int64), recheck_compare) != NULL;
}

/*
 * Whose rows are where the claim has read them, and as it has?  That is nearly
 * everybody, and takes no search.  The others are left in ids; returns how
 * many.
 */
static int
recheck_at_place(Worker *w, Datum *ids)
{
	static Statement look = {
		.sql = "SELECT s.id FROM mailman.subscription s"
		" WHERE s.ctid = ANY ($1) AND s.state = 'active'",
		.nargs = 1,
		.argtypes = {TIDARRAYOID}
	};
	Datum		values[1];
	dlist_iter	iter;
	int			count = 0;
	uint64		rows;
	int64	   *found;

	dlist_foreach(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (recheck_is_due(d))
			ids[count++] = PointerGetDatum(&d->subscription_place);
	}
	values[0] = array_of(ids, NULL, count, TIDOID);
	rows = statement_run(&look, SPI_OK_SELECT, values, NULL);
	found = recheck_ids(rows);
	count = 0;
	dlist_foreach(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (recheck_is_due(d) && !recheck_is_among(d, found, rows))
			ids[count++] = Int64GetDatum(d->subscription_id);
	}
	return count;
}

/* Their rows have changed: hand those back who are not active any more */
static void
recheck_changed(Worker *w, Datum *ids, int count)
{
	static Statement look = {
		.sql = "SELECT s.id FROM unnest($1) AS c(id)"
		" JOIN mailman.subscription s ON s.id = c.id"
		" WHERE s.state <> 'active'",
		.nargs = 1,
		.argtypes = {INT8ARRAYOID}
	};
	Datum		values[1];
	dlist_mutable_iter iter;
	uint64		rows;
	int64	   *found;

	values[0] = array_of(ids, NULL, count, INT8OID);
	rows = statement_run(&look, SPI_OK_SELECT, values, NULL);
	found = recheck_ids(rows);
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->test_id == 0 && recheck_is_among(d, found, rows))
			recheck_hand_back(w, d);
	}
}

static void
recheck_transaction(Worker *w, void *arg)
{
	ExtensionScope scope;
	Datum	   *ids = arg;
	int			changed;

	run_begin_reading(w, &scope);
	changed = recheck_at_place(w, ids);
	if (changed > 0)
		recheck_changed(w, ids, changed);
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
