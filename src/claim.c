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

	turn->folded += (int) rows;
	for (row = 0; row < rows; row++)
	{
		int64		recipients = row_int64(row, 1, 0);
		int64		skipped = row_int64(row, 2, 0);

		turn->fed |= recipients > 0 && recipients <= FED_AT_ONCE &&
			(w->folded || turn->reopens);
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

static Datum
candidates_places(const Candidates *c)
{
	Datum	   *places = palloc(c->count * sizeof(Datum));
	int			i;

	for (i = 0; i < c->count; i++)
		places[i] = PointerGetDatum(&c->places[i]);
	return array_of(places, NULL, c->count, TIDOID);
}

/*
 * Run an UPDATE of exactly these rows, while they are as they were chosen.  By
 * its arguments beyond ids and states it wants places, or answers.
 */
static uint64
candidates_update(Worker *w, Statement *update, const Candidates *c)
{
	Datum		values[5] = {Int64GetDatum(w->letter_id)};

	values[1] = array_of(c->ids, NULL, c->count, INT8OID);
	values[2] = array_of(c->states, NULL, c->count, TEXTOID);
	if (update->nargs == 4)
		values[3] = candidates_places(c);
	else if (update->nargs == 5)
		candidates_answers(c, &values[3], &values[4]);
	return statement_run_referring(update, SPI_OK_UPDATE_RETURNING, values,
								   NULL);
}

/* What a claim returns of a row */
enum
{
	CLAIM_ID,
	CLAIM_FROM,					/* the state it had, and the one it has */
	CLAIM_TO,
	CLAIM_EMAIL,
	CLAIM_NAME,
	CLAIM_DATA,
	CLAIM_VARIABLES,
	CLAIM_ATTEMPTS,
	CLAIM_QUEUED_AT,
	CLAIM_SUBSCRIPTION,			/* where its row is */
	CLAIM_NUMBER,				/* of the candidate, if there is a policy */
	CLAIM_COLUMNS
};

/* A slot for a row just claimed */
static void
delivery_fill(Worker *w, const Datum *row, const bool *nulls,
			  const Candidates *c)
{
	Delivery   *d = dlist_container(Delivery, node,
									dlist_head_node(&w->free.head));
	MemoryContext old = MemoryContextSwitchTo(d->context);

	d->subscription_id = DatumGetInt64(row[CLAIM_ID]);
	d->email = TextDatumGetCString(row[CLAIM_EMAIL]);
	d->name = nulls[CLAIM_NAME] ? NULL : TextDatumGetCString(row[CLAIM_NAME]);
	d->attempts = DatumGetInt32(row[CLAIM_ATTEMPTS]);
	d->queued_at = DatumGetTimestampTz(row[CLAIM_QUEUED_AT]);
	d->subscription_place =
		*(ItemPointer) DatumGetPointer(row[CLAIM_SUBSCRIPTION]);
	d->domain = domains_find(w, d->email);
	d->wish = c->asked ?
		c->wishes[DatumGetInt64(row[CLAIM_NUMBER]) - 1] : InvalidOid;
	/* last: what is held is given back only by those in a list of claims */
	delivery_hold(w, d, row[CLAIM_DATA], nulls[CLAIM_DATA],
				  row[CLAIM_VARIABLES], nulls[CLAIM_VARIABLES]);
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
#define CLAIM_OF(rows, where) \
	" FROM " rows " JOIN mailman.subscription s ON s.id = c.id" \
	" WHERE " where \
	" AND d.state = c.state" \
	" RETURNING d.subscription_id, c.state, d.state, s.email, s.name," \
	" s.data, d.variables, d.attempts, d.queued_at, s.ctid"
#define CLAIM_UPDATE "UPDATE mailman.delivery d SET due_at = NULL," \
	" state = CASE WHEN " CLAIM_ACTIVE " THEN 'sending' " \
	CLAIM_SKIPPED "d.variables END"

/* Those whose rows are where they were read: nearly always everybody */
static Statement claim_at = {
	.sql = CLAIM_UPDATE CLAIM_OF("(SELECT unnest($2), unnest($3), unnest($4))"
								 " AS c(id, state, place)",
								 DELIVERY_IS_AT("c")),
	.nargs = 4,
	.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, TIDARRAYOID}
};

static Statement claim_of = {
	.sql = CLAIM_UPDATE CLAIM_OF("(SELECT unnest($2), unnest($3))"
								 " AS c(id, state)", DELIVERY_IS_OF("c")),
	.nargs = 3,
	.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID}
};

/* With what the policy has said */
static Statement claim_decided = {
	.sql = "UPDATE mailman.delivery d SET"
	" due_at = CASE WHEN " CLAIM_ACTIVE " AND NOT c.asked"
	" THEN clock_timestamp() END,"
	" state = CASE WHEN " CLAIM_ACTIVE " AND c.asked THEN 'sending'"
	" WHEN " CLAIM_ACTIVE " THEN d.state "
	CLAIM_SKIPPED
	"CASE WHEN c.added IS NULL OR d.attempts > 0 OR d.doubts > 0"
	" THEN d.variables ELSE coalesce(d.variables, '{}') || c.added END END"
	CLAIM_OF("unnest($2, $3, $4, $5) WITH ORDINALITY"
			 " AS c(id, state, asked, added, n)", DELIVERY_IS_OF("c")) ", c.n",
	.nargs = 5,
	.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, BOOLARRAYOID,
	JSONBARRAYOID}
};

/* Claim the candidates by one of these; returns how many were found */
static int
claim_rows(Worker *w, Turn *turn, Statement *claim, const Candidates *c)
{
	uint64		rows = candidates_update(w, claim, c);
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		Datum		values[CLAIM_COLUMNS];
		bool		nulls[CLAIM_COLUMNS];
		DeliveryState to;

		row_all(row, values, nulls);
		to = delivery_state(values[CLAIM_TO]);
		turn_move(turn, delivery_state(values[CLAIM_FROM]), to, 1);
		if (to == DELIVERY_SENDING)
			delivery_fill(w, values, nulls, c);
	}
	return (int) rows;
}

/*
 * Claim at most limit recipients: their rows become 'sending', and they are
 * in w->claiming.
 */
void
delivery_claim(Worker *w, Turn *turn, int limit)
{
	Candidates	c;

	candidates_take(w, turn, &c, limit, GetCurrentTimestamp());
	turn->claimed = true;
	turn->aside = c.naside + c.nsettled > 0;
	turn->more = c.count + c.naside + c.nsettled >= c.room ||
		c.nexhausted >= POSTINGS_AT_ONCE;
	candidates_settle(w, turn, &c);
	if (c.count == 0)
		return;
	if (c.asked != NULL)
		claim_rows(w, turn, &claim_decided, &c);
	else if (claim_rows(w, turn, &claim_at, &c) < c.count)
		claim_rows(w, turn, &claim_of, &c); /* the others, if anybody */
	holding_adapt(w, c.count);
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

	w->chosen = NULL;			/* to be claimed, some of them set aside */
	candidates_take(w, turn, &c, limit, DT_NOEND);
	if (c.count == 0)
		return c.nexhausted;
	turn_move_rows(turn, candidates_update(w, &skip, &c));
	return c.count;
}
