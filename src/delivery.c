/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  The statements of a turn on rows of mailman.delivery.
 *
 * All are by key, batched with arrays, planned once, and keep the rows HOT:
 * no index names a column they change, save due_at of those that wait.  Each
 * moves the turn's tally along with the rows; row counts must match, or the
 * turn fails.
 *
 * Order matters in a claim: first the candidates are chosen, then postings
 * are folded, then rows are claimed.  A candidate is visible, hence so is its
 * posting when we fold: nobody is claimed who is not yet in the tally.
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
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Most postings a turn goes through */
#define POSTINGS_AT_ONCE 500

/* Rows a turn may claim, and what that means for the postings */
typedef struct Candidates
{
	Datum	   *ids;
	Datum	   *states;
	int			count;
	int			room;
	Datum	   *exhausted;		/* postings without an unclaimed row */
	int			nexhausted;
	int64		posting;		/* the one left half done, 0: none */
	int64		low;			/* where it goes on */
} Candidates;

static void
turn_move(Turn *turn, DeliveryState from, DeliveryState to, int64 count)
{
	turn->tally.count[from] -= count;
	turn->tally.count[to] += count;
	turn->changed = true;
}

static Datum
array_of(Datum *values, bool *nulls, int count, Oid type)
{
	int			dims[1] = {count};
	int			lbs[1] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs,
											  type, len, byval, align));
}

/* ---- outcomes ---- */

/* Columns of delivery_record(), as arrays in the making */
typedef struct Columns
{
	int			count;
	Datum	   *values[STATEMENT_MAX_ARGS];
	bool	   *nulls[STATEMENT_MAX_ARGS];
} Columns;

static Columns *
columns_create(int columns, int rows)
{
	Columns    *c = palloc0(sizeof(Columns));
	int			i;

	for (i = 0; i < columns; i++)
	{
		c->values[i] = palloc(rows * sizeof(Datum));
		c->nulls[i] = palloc0(rows * sizeof(bool));
	}
	return c;
}

static void
columns_set(Columns *c, int column, Datum value, bool isnull)
{
	c->values[column][c->count] = value;
	c->nulls[column][c->count] = isnull;
}

/* NULL or empty text is null */
static void
columns_set_text(Columns *c, int column, const char *text)
{
	bool		isnull = text == NULL || text[0] == '\0';

	columns_set(c, column, isnull ? (Datum) 0 : CStringGetTextDatum(text),
				isnull);
}

/* The delivery rows of a list of outcomes */
static void
delivery_record_rows(Worker *w, DeliveryList *list)
{
	static Statement record = {
		"UPDATE mailman.delivery d SET state = o.state,"
		" attempts = d.attempts + o.cost, due_at = o.due_at, code = o.code,"
		" enhanced = o.enhanced, reply = o.reply, reason = o.reason"
		" FROM unnest($2, $3, $4, $5, $6, $7, $8, $9)"
		" AS o(id, state, cost, due_at, code, enhanced, reply, reason)"
		" WHERE d.letter_id = $1 AND d.subscription_id = o.id"
		" AND d.state = 'sending'",
		9, {INT8OID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
			TIMESTAMPTZARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID}
	};
	static const Oid types[8] = {INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID,
	INT2OID, TEXTOID, TEXTOID, TEXTOID};
	Columns    *c = columns_create(8, list->count);
	Datum		values[9] = {Int64GetDatum(w->letter_id)};
	dlist_iter	iter;
	uint64		rows;
	int			i;

	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		bool		delivered = d->state == DELIVERY_DELIVERED;

		columns_set(c, 0, Int64GetDatum(d->subscription_id), false);
		columns_set_text(c, 1, delivery_state_names[d->state]);
		columns_set(c, 2, Int32GetDatum(d->costs_attempt ? 1 : 0), false);
		columns_set(c, 3, TimestampTzGetDatum(d->due_at), d->due_at == 0);
		columns_set(c, 4, Int16GetDatum(d->code), d->code == 0);
		/* of the delivered, the words are in newsletter_email */
		columns_set_text(c, 5, delivered ? NULL : d->enhanced);
		columns_set_text(c, 6, delivered ? NULL : d->reply);
		columns_set_text(c, 7, d->reason);
		c->count++;
	}
	for (i = 0; i < 8; i++)
		values[i + 1] = array_of(c->values[i], c->nulls[i], c->count,
								 types[i]);
	rows = statement_run(&record, SPI_OK_UPDATE, values, NULL);
	if (rows != (uint64) list->count)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("letter " INT64_FORMAT ": " UINT64_FORMAT " of %d deliveries to record are being sent",
						w->letter_id, rows, list->count),
				 errhint("Somebody else has changed mailman.delivery.")));
}

/* newsletter_email rows for the accepted among them */
static void
delivery_record_emails(Worker *w, DeliveryList *list)
{
	static Statement record = {
		"INSERT INTO mailman.newsletter_email (letter_id, subscription_id,"
		" address, message_id, bytes, code, reply, attempts, duration,"
		" sent_at, relay, revision)"
		" SELECT $1, o.id, o.address, o.message_id, o.bytes, o.code, o.reply,"
		" o.attempts, o.took * interval '1 microsecond', o.sent_at, o.relay,"
		" o.revision"
		" FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
		" AS o(id, address, message_id, bytes, code, reply, attempts, took,"
		" sent_at, relay, revision)",
		12, {INT8OID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
			INT2ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID,
		TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT4ARRAYOID}
	};
	static const Oid types[11] = {INT8OID, TEXTOID, TEXTOID, INT4OID, INT2OID,
	TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID, TEXTOID, INT4OID};
	Columns    *c = columns_create(11, list->count);
	Datum		values[12] = {Int64GetDatum(w->letter_id)};
	dlist_iter	iter;
	int			i;

	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->state != DELIVERY_DELIVERED)
			continue;
		columns_set(c, 0, Int64GetDatum(d->subscription_id), false);
		columns_set_text(c, 1, d->rendered.rcpt_to);
		columns_set_text(c, 2, d->rendered.message_id);
		columns_set(c, 3, Int32GetDatum(d->rendered.message.len), false);
		columns_set(c, 4, Int16GetDatum(d->code), false);
		columns_set_text(c, 5, d->reply);
		columns_set(c, 6, Int32GetDatum(d->attempts + 1), false);
		columns_set(c, 7, Int64GetDatum(d->mail.finished_us -
										d->mail.started_us), false);
		columns_set(c, 8, TimestampTzGetDatum(d->ended_at), false);
		columns_set_text(c, 9, d->relay);
		columns_set(c, 10, Int32GetDatum(d->revision), false);
		c->count++;
	}
	if (c->count == 0)
		return;
	for (i = 0; i < 11; i++)
		values[i + 1] = array_of(c->values[i], c->nulls[i], c->count,
								 types[i]);
	statement_run(&record, SPI_OK_INSERT, values, NULL);
}

/* Record the outcomes in the list */
void
delivery_record(Worker *w, Turn *turn, DeliveryList *list)
{
	dlist_iter	iter;

	if (list->count == 0)
		return;
	delivery_record_rows(w, list);
	delivery_record_emails(w, list);
	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		turn_move(turn, DELIVERY_SENDING, d->state, 1);
		if (d->doubt)
			turn->doubts++;
	}
	turn->recorded += list->count;
}

/* ---- claims ---- */

static void
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
		"SELECT d.subscription_id, d.state FROM mailman.delivery d"
		" WHERE d.letter_id = $1 AND d.due_at IS NOT NULL AND d.due_at <= $2"
		" ORDER BY d.due_at LIMIT $3",
		3, {INT8OID, TIMESTAMPTZOID, INT8OID}
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
		"SELECT d.subscription_id FROM mailman.delivery d"
		" WHERE d.letter_id = $1 AND d.subscription_id >= $2"
		" AND d.subscription_id <= $3"
		" AND d.state = 'pending' AND d.due_at IS NULL"
		" ORDER BY d.subscription_id LIMIT $4",
		4, {INT8OID, INT8OID, INT8OID, INT8OID}
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
candidates_posted(Worker *w, Candidates *c)
{
	static Statement postings = {
		"SELECT id, low, high FROM mailman.posting WHERE letter_id = $1"
		" ORDER BY id LIMIT $2",
		2, {INT8OID, INT8OID}
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
		bounds[row * 3] = row_int64(row, 1, 0);
		bounds[row * 3 + 1] = row_int64(row, 2, 0);
		bounds[row * 3 + 2] = row_int64(row, 3, 0);
	}
	for (row = 0; row < rows && c->count < c->room && c->posting == 0; row++)
		candidates_of_posting(w, c, Int64GetDatum(bounds[row * 3]),
							  bounds[row * 3 + 1], bounds[row * 3 + 2]);
}

static void
candidates_choose(Worker *w, Candidates *c, int limit, TimestampTz until)
{
	memset(c, 0, sizeof(*c));
	c->room = limit;
	c->ids = palloc(limit * sizeof(Datum));
	c->states = palloc(limit * sizeof(Datum));
	c->exhausted = palloc(POSTINGS_AT_ONCE * sizeof(Datum));
	/* half for retries, so that neither keeps the other waiting */
	candidates_due(w, c, (limit + 1) / 2, until);
	candidates_posted(w, c);
}

/* Take the postings not yet counted into the tally */
static void
delivery_fold(Worker *w, Turn *turn)
{
	static Statement fold = {
		"UPDATE mailman.posting SET folded = true"
		" WHERE letter_id = $1 AND NOT folded RETURNING recipients, skipped",
		1, {INT8OID}
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
		turn->changed = true;
	}
}

/* Forget the postings that are done with; remember where the next goes on */
static void
delivery_advance(Candidates *c)
{
	static Statement forget = {
		"DELETE FROM mailman.posting WHERE id = ANY ($1)", 1, {INT8ARRAYOID}
	};
	static Statement advance = {
		"UPDATE mailman.posting SET low = $2 WHERE id = $1",
		2, {INT8OID, INT8OID}
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

/* A slot for a row just claimed */
static void
delivery_fill(Worker *w, uint64 row)
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
	d->lookup.data = isnull ? NULL : DatumGetJsonbPCopy(value);
	value = row_datum(row, 7, &isnull);
	d->lookup.variables = isnull ? NULL : DatumGetJsonbPCopy(value);
	d->attempts = (int) row_int64(row, 8, 0);
	d->queued_at = row_int64(row, 9, 0);
	MemoryContextSwitchTo(old);
	delivery_move(d, &w->free, &w->claiming);
}

/*
 * Claim at most limit recipients: their rows become 'sending', and they are
 * in w->claiming.  Whoever is not active any more is skipped here, in the
 * statement that reads the address.
 */
void
delivery_claim(Worker *w, Turn *turn, int limit)
{
	static Statement claim = {
		"UPDATE mailman.delivery d SET due_at = NULL,"
		" state = CASE WHEN s.state = 'active' THEN 'sending'"
		" ELSE 'skipped' END,"
		" reason = CASE WHEN s.state <> 'active'"
		" THEN 'subscription is ' || s.state END"
		" FROM unnest($2, $3) AS c(id, state)"
		" JOIN mailman.subscription s ON s.id = c.id"
		" WHERE d.letter_id = $1 AND d.subscription_id = c.id"
		" AND d.state = c.state"
		" RETURNING d.subscription_id, c.state, d.state, s.email, s.name,"
		" s.data, d.variables, d.attempts::int8, d.queued_at",
		3, {INT8OID, INT8ARRAYOID, TEXTARRAYOID}
	};
	Candidates	c;
	Datum		values[3] = {Int64GetDatum(w->letter_id)};
	uint64		rows;
	uint64		row;

	candidates_choose(w, &c, limit, GetCurrentTimestamp());
	delivery_fold(w, turn);
	delivery_advance(&c);
	turn->more = c.count >= limit || c.nexhausted >= POSTINGS_AT_ONCE;
	if (c.count == 0)
		return;
	values[1] = array_of(c.ids, NULL, c.count, INT8OID);
	values[2] = array_of(c.states, NULL, c.count, TEXTOID);
	rows = statement_run(&claim, SPI_OK_UPDATE_RETURNING, values, NULL);
	for (row = 0; row < rows; row++)
	{
		DeliveryState from = delivery_state(row_text(row, 2));
		DeliveryState to = delivery_state(row_text(row, 3));

		turn_move(turn, from, to, 1);
		if (to == DELIVERY_SENDING)
			delivery_fill(w, row);
	}
}

/*
 * Of a cancelled letter: skip at most limit of those who still wait, for
 * good.  Returns how many; 0: none is left.
 */
int
delivery_skip_rest(Worker *w, Turn *turn, int limit)
{
	static Statement skip = {
		"UPDATE mailman.delivery d SET state = 'skipped', due_at = NULL,"
		" reason = 'letter was cancelled'"
		" FROM unnest($2, $3) AS c(id, state)"
		" WHERE d.letter_id = $1 AND d.subscription_id = c.id"
		" AND d.state = c.state RETURNING c.state",
		3, {INT8OID, INT8ARRAYOID, TEXTARRAYOID}
	};
	Candidates	c;
	Datum		values[3] = {Int64GetDatum(w->letter_id)};
	uint64		rows;
	uint64		row;

	candidates_choose(w, &c, limit, DT_NOEND);
	delivery_fold(w, turn);
	delivery_advance(&c);
	if (c.count == 0)
		return c.nexhausted;
	values[1] = array_of(c.ids, NULL, c.count, INT8OID);
	values[2] = array_of(c.states, NULL, c.count, TEXTOID);
	rows = statement_run(&skip, SPI_OK_UPDATE_RETURNING, values, NULL);
	for (row = 0; row < rows; row++)
		turn_move(turn, delivery_state(row_text(row, 1)), DELIVERY_SKIPPED, 1);
	return c.count;
}

/*
 * Rows left 'sending' by a worker that is no more: nobody knows what became
 * of them.
 */
void
delivery_resolve_doubt(Worker *w, Turn *turn, bool hold)
{
	static Statement resolve = {
		"UPDATE mailman.delivery SET attempts = attempts + 1,"
		" state = CASE WHEN $2 THEN 'doubtful' ELSE 'deferred' END,"
		" due_at = CASE WHEN $2 THEN NULL ELSE now() END,"
		" reason = 'its worker ended before the outcome was recorded'"
		" WHERE letter_id = $1 AND state = 'sending'",
		2, {INT8OID, BOOLOID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id), BoolGetDatum(hold)};
	uint64		rows = statement_run(&resolve, SPI_OK_UPDATE, values, NULL);

	turn_move(turn, DELIVERY_SENDING,
			  hold ? DELIVERY_DOUBTFUL : DELIVERY_DEFERRED, (int64) rows);
	turn->doubts += (int64) rows;
}
