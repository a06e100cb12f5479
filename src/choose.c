/*-------------------------------------------------------------------------
 *
 * choose.c
 *	  Whom a turn might claim: the next few of a letter's recipients.
 *
 * First those whose time has come, then those of each posting who were never
 * claimed, oldest posting first.  Choosing changes nothing.
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

void
candidates_add(Candidates *c, uint64 rows, const char *state)
{
	Datum		all = state ? CStringGetTextDatum(state) : (Datum) 0;
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		bool		isnull;

		c->ids[c->count] = row_datum(row, 1, &isnull);
		c->places[c->count] =
			*(ItemPointer) DatumGetPointer(row_datum(row, 2, &isnull));
		c->states[c->count] = state ? all :
			CStringGetTextDatum(row_text(row, 3));
		c->count++;
	}
}

/* Those whose time has come: retries, and what was handed back */
static void
candidates_due(Worker *w, Candidates *c, int limit, TimestampTz until)
{
	static Statement due = {
		.sql = "SELECT d.subscription_id, d.ctid, d.state"
		" FROM mailman.delivery d"
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
		.sql = "SELECT d.subscription_id, d.ctid FROM mailman.delivery d"
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

void
candidates_keep(Candidates *c, int from, int to)
{
	c->ids[to] = c->ids[from];
	c->places[to] = c->places[from];
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
	c->places = palloc(limit * sizeof(ItemPointerData));
	c->states = palloc(limit * sizeof(Datum));
	c->exhausted = palloc(POSTINGS_AT_ONCE * sizeof(Datum));
	/* half for retries, so that neither keeps the other waiting */
	candidates_due(w, c, (limit + 1) / 2, until);
	if (until != DT_NOEND && decide_is_needed(w))
		candidates_fetch(w, c, until);
	candidates_posted(w, c, until != DT_NOEND && routes_first(w) == NULL);
}
