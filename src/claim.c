/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  The half of a turn that claims the next few recipients.
 *
 * Order matters: first the candidates are chosen, then postings are folded
 * into the tally, then rows are claimed.  A candidate is visible, hence so is
 * its posting when we fold: nobody is claimed who is not yet in the tally.
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
#include "utils/timestamp.h"
#include "worker.h"

/* Most postings a turn goes through */
#define POSTINGS_AT_ONCE 500

void
candidates_add(Candidates *c, uint64 rows, const char *state)
{
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		bool		isnull;

		c->ids[c->count] = row_datum(row, 1, &isnull);
		c->states[c->count] = state ? CStringGetTextDatum(state) :
			CStringGetTextDatum(row_text(row, 2));
		c->count++;
	}
}

/* Those whose time has come: retries, and what was handed back */
static void
candidates_due(Worker *w, Candidates *c, int limit, TimestampTz until)
{
	static Statement due = {
		.sql = "SELECT d.subscription_id, d.state FROM mailman.delivery d"
		" WHERE d.letter_id = $1 AND d.due_at IS NOT NULL AND d.due_at <= $2"
		" ORDER BY d.due_at LIMIT $3",
		.nargs = 3,
		.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(w->letter_id),
	TimestampTzGetDatum(until), Int64GetDatum(limit)};

	if (limit > 0)
		candidates_add(c, statement_run(&due, SPI_OK_SELECT, values, NULL),
					   NULL);
}

/* Those of one posting who were never claimed */
static void
candidates_of_posting(Worker *w, Candidates *c, Datum id, int64 low,
					  int64 high)
{
	static Statement range = {
		.sql = "SELECT d.subscription_id FROM mailman.delivery d"
		" WHERE d.letter_id = $1 AND d.subscription_id >= $2"
		" AND d.subscription_id <= $3"
		" AND d.state = 'pending' AND d.due_at IS NULL"
		" ORDER BY d.subscription_id LIMIT $4",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID}
	};
	int			limit = c->room - c->count;
	Datum		values[4] = {Int64GetDatum(w->letter_id), Int64GetDatum(low),
	Int64GetDatum(high), Int64GetDatum(limit)};
	uint64		rows = statement_run(&range, SPI_OK_SELECT, values, NULL);

	candidates_add(c, rows, "pending");
	if (rows < (uint64) limit)
		c->exhausted[c->nexhausted++] = id;
	else
	{
		c->posting = DatumGetInt64(id);
		c->low = DatumGetInt64(c->ids[c->count - 1]) + 1;
	}
}

/* Go through the postings, oldest first, as far as there is room */
static void
candidates_posted(Worker *w, Candidates *c, bool only_old)
{
	static Statement postings = {
		.sql = "SELECT id, low, high, created_at FROM mailman.posting"
		" WHERE letter_id = $1 ORDER BY id LIMIT $2",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(POSTINGS_AT_ONCE)};
	uint64		rows;
	uint64		row;
	int64	   *bounds;

	rows = statement_run(&postings, SPI_OK_SELECT, values, NULL);
	bounds = palloc(rows * 3 * sizeof(int64) + 1);
	for (row = 0; row < rows; row++)
	{
		/* while no relay is of use, nobody new need be touched */
		if (only_old && !look_is_too_old(w, row_int64(row, 4, 0)))
			break;
		bounds[row * 3] = row_int64(row, 1, 0);
		bounds[row * 3 + 1] = row_int64(row, 2, 0);
		bounds[row * 3 + 2] = row_int64(row, 3, 0);
	}
	rows = row;
	for (row = 0; row < rows && c->count < c->room && c->posting == 0; row++)
		candidates_of_posting(w, c, Int64GetDatum(bounds[row * 3]),
							  bounds[row * 3 + 1], bounds[row * 3 + 2]);
}

/* One of them moves up in the list */
void
candidates_keep(Candidates *c, int from, int to)
{
	c->ids[to] = c->ids[from];
	c->states[to] = c->states[from];
	if (c->asked == NULL)
		return;
	c->asked[to] = c->asked[from];
	c->variables[to] = c->variables[from];
	c->wishes[to] = c->wishes[from];
}

void
candidates_choose(Worker *w, Candidates *c, int limit, TimestampTz until)
{
	memset(c, 0, sizeof(*c));
	c->room = limit;
	c->ids = palloc(limit * sizeof(Datum));
	c->states = palloc(limit * sizeof(Datum));
	c->exhausted = palloc(POSTINGS_AT_ONCE * sizeof(Datum));
	/* half for retries, so that neither keeps the other waiting */
	candidates_due(w, c, (limit + 1) / 2, until);
	if (until != DT_NOEND && decide_is_needed(w))
		candidates_fetch(w, c, until);
	candidates_posted(w, c, until != DT_NOEND && routes_first(w) == NULL);
}

/*
 * A letter that was scheduled for a whole list starts: whoever has subscribed
 * since gets it, too.  It may have to wait for somebody who is about to send
 * the letter to one of them.
 */
void
delivery_top_up(Worker *w)
{
	static Statement insert = {
		.sql = "WITH added AS (INSERT INTO mailman.delivery"
		" (letter_id, subscription_id)"
		" SELECT l.id, s.id FROM mailman.letter l"
		" JOIN mailman.subscription s ON s.newsletter_id = l.newsletter_id"
		" WHERE l.id = $1 AND s.state = 'active' ORDER BY s.id"
		" ON CONFLICT DO NOTHING RETURNING subscription_id)"
		" INSERT INTO mailman.posting (letter_id, low, high, recipients)"
		" SELECT $1, min(subscription_id), max(subscription_id), count(*)"
		" FROM added HAVING count(*) > 0",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement done = {
		.sql = "UPDATE mailman.letter SET whole = false WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};

	statement_run(&insert, SPI_OK_INSERT, values, NULL);
	statement_run(&done, SPI_OK_UPDATE, values, NULL);
}

/* Take the postings not yet counted into the tally */
void
delivery_fold(Worker *w, Turn *turn)
{
	static Statement fold = {
		.sql = "UPDATE mailman.posting SET folded = true"
		" WHERE letter_id = $1 AND NOT folded"
		" RETURNING recipients, skipped, failed, doubtful",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	uint64		rows = statement_run(&fold, SPI_OK_UPDATE_RETURNING, values,
									 NULL);
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		int64		recipients = row_int64(row, 1, 0);
		int64		skipped = row_int64(row, 2, 0);

		turn->tally.count[DELIVERY_PENDING] += recipients - skipped;
		turn->tally.count[DELIVERY_SKIPPED] += skipped;
		turn_move(turn, DELIVERY_FAILED, DELIVERY_PENDING,
				  row_int64(row, 3, 0));
		turn_move(turn, DELIVERY_DOUBTFUL, DELIVERY_PENDING,
				  row_int64(row, 4, 0));
	}
}

/* Forget the postings that are done with; remember where the next goes on */
static void
delivery_advance(Candidates *c)
{
	static Statement forget = {
		.sql = "DELETE FROM mailman.posting WHERE id = ANY ($1)",
		.nargs = 1,
		.argtypes = {INT8ARRAYOID}
	};
	static Statement advance = {
		.sql = "UPDATE mailman.posting SET low = $2 WHERE id = $1",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2];

	if (c->nexhausted > 0)
	{
		values[0] = array_of(c->exhausted, NULL, c->nexhausted, INT8OID);
		statement_run(&forget, SPI_OK_DELETE, values, NULL);
	}
	if (c->posting != 0)
	{
		values[0] = Int64GetDatum(c->posting);
		values[1] = Int64GetDatum(c->low);
		statement_run(&advance, SPI_OK_UPDATE, values, NULL);
	}
}

/*
 * Choose, fold, advance: in this order, so that whoever is chosen is in the
 * tally.  They may have been chosen before, in reserve.c.
 */
static void
candidates_take(Worker *w, Turn *turn, Candidates *c, int limit,
				TimestampTz until)
{
	if (w->chosen != NULL)
		*c = *w->chosen;
	else
		candidates_choose(w, c, limit, until);
	delivery_fold(w, turn);
	delivery_advance(c);
}

/* What the policy has said of them, as arrays: were they asked, variables */
static void
candidates_answers(const Candidates *c, Datum *asked, Datum *variables)
{
	Datum	   *answers = palloc(c->count * sizeof(Datum));
	Datum	   *added = palloc(c->count * sizeof(Datum));
	bool	   *nulls = palloc(c->count * sizeof(bool));
	int			i;

	for (i = 0; i < c->count; i++)
	{
		answers[i] = BoolGetDatum(c->asked[i] == ASKED_SEND);
		nulls[i] = c->variables[i] == NULL;
		added[i] = nulls[i] ? (Datum) 0 : JsonbPGetDatum(c->variables[i]);
	}
	*asked = array_of(answers, NULL, c->count, BOOLOID);
	*variables = array_of(added, nulls, c->count, JSONBOID);
}

/* Run an UPDATE of exactly these rows, while they are as they were chosen */
static uint64
candidates_update(Worker *w, Statement *update, const Candidates *c)
{
	Datum		values[5] = {Int64GetDatum(w->letter_id)};

	values[1] = array_of(c->ids, NULL, c->count, INT8OID);
	values[2] = array_of(c->states, NULL, c->count, TEXTOID);
	if (update->nargs > 3)
		candidates_answers(c, &values[3], &values[4]);
	return statement_run_referring(update, SPI_OK_UPDATE_RETURNING, values);
}

/* A slot for a row just claimed */
static void
delivery_fill(Worker *w, uint64 row, const Candidates *c)
{
	Delivery   *d = dlist_container(Delivery, node,
									dlist_head_node(&w->free.head));
	MemoryContext old = MemoryContextSwitchTo(d->context);
	bool		isnull;
	Datum		value;

	d->subscription_id = row_int64(row, 1, 0);
	d->email = row_text(row, 4);
	d->name = row_text(row, 5);
	value = row_datum(row, 6, &isnull);
	d->data = lookup_node(isnull ? NULL : DatumGetJsonbPCopy(value));
	value = row_datum(row, 7, &isnull);
	d->variables = lookup_node(isnull ? NULL : DatumGetJsonbPCopy(value));
	d->attempts = (int) row_int64(row, 8, 0);
	d->queued_at = row_int64(row, 9, 0);
	d->subscription_place = *(ItemPointer)
		DatumGetPointer(row_datum(row, 10, &isnull));
	d->domain = domains_find(w, d->email);
	d->wish = c->asked ? c->wishes[row_int64(row, 11, 1) - 1] : InvalidOid;
	MemoryContextSwitchTo(old);
	delivery_move(d, &w->free, &w->claiming);
}

/*
 * The claim.  Whoever is not active any more is skipped here, in the statement
 * that reads the address.  One who was forgotten while we waited for the row
 * is known by its reason only: the subscription is seen as it was when the
 * statement began.
 *
 * With a policy, whoever has become active since it was asked goes back to the
 * queue.  What it adds to the variables counts for the first attempt: a mail
 * that may have left is the same when it is sent again.
 */
#define CLAIM_ACTIVE "s.state = 'active'" \
	" AND d.reason IS DISTINCT FROM '" DELIVERY_FORGOTTEN "'"
#define CLAIM_SKIPPED "WHEN d.doubts > 0 THEN 'doubtful' ELSE 'skipped' END," \
	" reason = CASE WHEN s.forgotten_at IS NOT NULL" \
	" OR d.reason = '" DELIVERY_FORGOTTEN "' THEN '" DELIVERY_FORGOTTEN "'" \
	" WHEN s.state <> 'active' THEN 'subscription is ' || s.state END," \
	" variables = CASE WHEN s.forgotten_at IS NULL THEN "
#define CLAIM_ROWS \
	" JOIN mailman.subscription s ON s.id = c.id" \
	" WHERE " DELIVERY_IS_OF("c") \
	" AND d.state = c.state" \
	" RETURNING d.subscription_id, c.state, d.state, s.email, s.name," \
	" s.data, d.variables, d.attempts::int8, d.queued_at, s.ctid"

static uint64
claim_rows(Worker *w, const Candidates *c)
{
	static Statement claim = {
		.sql = "UPDATE mailman.delivery d SET due_at = NULL,"
		" state = CASE WHEN " CLAIM_ACTIVE " THEN 'sending' "
		CLAIM_SKIPPED "d.variables END"
		" FROM (SELECT unnest($2), unnest($3)) AS c(id, state)" CLAIM_ROWS,
		.nargs = 3,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID}
	};
	static Statement decided = {
		.sql = "UPDATE mailman.delivery d SET"
		" due_at = CASE WHEN " CLAIM_ACTIVE " AND NOT c.asked"
		" THEN clock_timestamp() END,"
		" state = CASE WHEN " CLAIM_ACTIVE " AND c.asked THEN 'sending'"
		" WHEN " CLAIM_ACTIVE " THEN d.state "
		CLAIM_SKIPPED
		"CASE WHEN c.added IS NULL OR d.attempts > 0 OR d.doubts > 0"
		" THEN d.variables ELSE coalesce(d.variables, '{}') || c.added END END"
		" FROM unnest($2, $3, $4, $5) WITH ORDINALITY"
		" AS c(id, state, asked, added, n)" CLAIM_ROWS ", c.n",
		.nargs = 5,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, BOOLARRAYOID,
		JSONBARRAYOID}
	};

	return candidates_update(w, c->asked ? &decided : &claim, c);
}

/*
 * Claim at most limit recipients: their rows become 'sending', and they are
 * in w->claiming.
 */
void
delivery_claim(Worker *w, Turn *turn, int limit)
{
	Candidates	c;
	uint64		rows;
	uint64		row;

	candidates_take(w, turn, &c, limit, GetCurrentTimestamp());
	turn->claimed = true;
	turn->aside = c.naside + c.nsettled > 0;
	turn->more = c.count + c.naside + c.nsettled >= c.room ||
		c.nexhausted >= POSTINGS_AT_ONCE;
	candidates_settle(w, turn, &c);
	if (c.count == 0)
		return;
	rows = claim_rows(w, &c);
	for (row = 0; row < rows; row++)
	{
		DeliveryState from = delivery_state(row_text(row, 2));
		DeliveryState to = delivery_state(row_text(row, 3));

		turn_move(turn, from, to, 1);
		if (to == DELIVERY_SENDING)
			delivery_fill(w, row, &c);
	}
}

/*
 * Of a cancelled letter: skip at most limit of those who still wait, for
 * good.  Who may have it, as one attempt is in doubt, is doubtful.  Returns how
 * many; 0: none is left.
 */
int
delivery_skip_rest(Worker *w, Turn *turn, int limit)
{
	static Statement skip = {
		.sql = "UPDATE mailman.delivery d SET due_at = NULL,"
		" state = CASE WHEN d.doubts > 0 THEN 'doubtful' ELSE 'skipped' END,"
		" reason = 'letter was cancelled'"
		" FROM unnest($2, $3) AS c(id, state)"
		" WHERE " DELIVERY_IS_OF("c")
		" AND d.state = c.state RETURNING c.state, d.state",
		.nargs = 3,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID}
	};
	Candidates	c;
	uint64		rows;
	uint64		row;

	w->chosen = NULL;			/* to be claimed, some of them set aside */
	candidates_take(w, turn, &c, limit, DT_NOEND);
	if (c.count == 0)
		return c.nexhausted;
	rows = candidates_update(w, &skip, &c);
	for (row = 0; row < rows; row++)
		turn_move(turn, delivery_state(row_text(row, 1)),
				  delivery_state(row_text(row, 2)), 1);
	return c.count;
}
