/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  Candidates that a turn does not claim: who waits for the limit of a
 *	  domain, and whom the newsletter's policy does not want to be sent to.
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

/*
 * Who must wait for his domain's limit is left alone until then.  The policy,
 * or the relay it names, is not what they wait for any more.
 */
static void
candidates_set_aside(Worker *w, const Candidates *c)
{
	static Statement aside = {
		.sql = "UPDATE mailman.delivery d SET due_at = c.until,"
		" reason = CASE WHEN starts_with(d.reason, '" REASON_POLICY "')"
		" THEN '" REASON_ASIDE "'"
		" ELSE coalesce(d.reason, '" REASON_ASIDE "') END"
		" FROM unnest($2, $3, $4) AS c(id, state, until)"
		" WHERE " DELIVERY_IS_OF("c")
		" AND d.state = c.state",
		.nargs = 4,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID}
	};
	Datum		values[4] = {Int64GetDatum(w->letter_id)};

	values[1] = array_of(c->aside, NULL, c->naside, INT8OID);
	values[2] = array_of(c->aside_states, NULL, c->naside, TEXTOID);
	values[3] = array_of(c->aside_until, NULL, c->naside, TIMESTAMPTZOID);
	statement_run(&aside, SPI_OK_UPDATE, values, NULL);
}

void
delivery_recall_aside(Worker *w)
{
	static Statement recall = {
		.sql = "UPDATE mailman.delivery SET due_at = now()"
		" WHERE letter_id = $1 AND due_at > now()"
		" AND reason = '" REASON_ASIDE "'",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};

	statement_run(&recall, SPI_OK_UPDATE, values, NULL);
}

/*
 * What the policy has decided, if they are as they were when it was asked.
 * Who may have the mail, as one attempt is in doubt, is not skipped but
 * doubtful.
 */
static void
candidates_write_settled(Worker *w, Turn *turn, const Candidates *c)
{
	static Statement settle = {
		.sql = "UPDATE mailman.delivery d SET due_at = c.until,"
		" state = CASE WHEN c.next = 'skipped' AND d.doubts > 0"
		" THEN 'doubtful' ELSE c.next END, reason = c.reason"
		" FROM unnest($2, $3, $4, $5, $6) AS c(id, state, next, until, reason)"
		" WHERE " DELIVERY_IS_OF("c")
		" AND d.state = c.state"
		" AND d.reason IS DISTINCT FROM '" DELIVERY_FORGOTTEN "'"
		" RETURNING c.state, d.state",
		.nargs = 6,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TIMESTAMPTZARRAYOID, TEXTARRAYOID}
	};
	Datum		values[6] = {Int64GetDatum(w->letter_id)};
	Datum	   *columns[5];
	bool	   *no_until = palloc(c->nsettled * sizeof(bool));
	int			i;

	for (i = 0; i < 5; i++)
		columns[i] = palloc(c->nsettled * sizeof(Datum));
	for (i = 0; i < c->nsettled; i++)
	{
		const Settled *settled = &c->settled[i];

		columns[0][i] = settled->id;
		columns[1][i] = settled->state;
		columns[2][i] =
			CStringGetTextDatum(delivery_state_names[settled->next]);
		columns[3][i] = TimestampTzGetDatum(settled->until);
		no_until[i] = settled->until == 0;
		columns[4][i] = CStringGetTextDatum(settled->reason);
	}
	values[1] = array_of(columns[0], NULL, c->nsettled, INT8OID);
	values[2] = array_of(columns[1], NULL, c->nsettled, TEXTOID);
	values[3] = array_of(columns[2], NULL, c->nsettled, TEXTOID);
	values[4] = array_of(columns[3], no_until, c->nsettled, TIMESTAMPTZOID);
	values[5] = array_of(columns[4], NULL, c->nsettled, TEXTOID);
	turn_move_rows(turn, statement_run(&settle, SPI_OK_UPDATE_RETURNING,
									   values, NULL));
}

void
candidates_settle(Worker *w, Turn *turn, const Candidates *c)
{
	if (c->naside > 0)
		candidates_set_aside(w, c);
	if (c->nsettled > 0)
		candidates_write_settled(w, turn, c);
}
