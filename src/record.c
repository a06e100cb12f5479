/*-------------------------------------------------------------------------
 *
 * record.c
 *	  The half of a turn that records what became of the mails.
 *
 * All statements on rows of mailman.delivery, here and in claim.c, are by key,
 * or by place and then by key, batched with arrays, planned once, and keep the
 * rows HOT: no index names a column they change, save due_at of those that
 * wait.  Arrays are taken apart side by side in a select list where nearly all
 * recipients go through it, as that needs no room for what unnest(a, b, ...)
 * would hold first.  Each moves the turn's tally along with the rows; of
 * outcomes the row counts must match, or the turn fails.
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

void
turn_move(Turn *turn, DeliveryState from, DeliveryState to, int64 count)
{
	turn->tally.count[from] -= count;
	turn->tally.count[to] += count;
	turn->changed = true;
}

void
turn_move_rows(Turn *turn, uint64 rows)
{
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		Datum		states[2];
		bool		nulls[2];

		row_all(row, states, nulls);
		turn_move(turn, delivery_state(states[0]), delivery_state(states[1]),
				  1);
	}
}

Datum
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

/* Columns of a statement, as arrays in the making */
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

/* A statement that records some of a list */
typedef struct Recording
{
	Statement	statement;		/* $1: letter; then an array per column */
	int			result;			/* what SPI says of it */
	bool		delivered;		/* those, or the others */
	void		(*set) (Columns *c, const Delivery *d); /* one row */
} Recording;

/* Run it; returns how many rows it has found */
static uint64
recording_run(Worker *w, DeliveryList *list, Recording *recording)
{
	Statement  *statement = &recording->statement;
	int			columns = statement->nargs - 1;
	Columns    *c = columns_create(columns, list->count);
	Datum		values[STATEMENT_MAX_ARGS] = {Int64GetDatum(w->letter_id)};
	dlist_iter	iter;
	int			i;

	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if ((d->state == DELIVERY_DELIVERED) != recording->delivered)
			continue;
		recording->set(c, d);
		c->count++;
	}
	if (c->count == 0)
		return 0;
	for (i = 0; i < columns; i++)
		values[i + 1] = array_of(c->values[i], c->nulls[i], c->count,
								 get_element_type(statement->argtypes[i + 1]));
	return statement_run_referring(statement, recording->result, values,
								   NULL);
}

static void
delivered_set(Columns *c, const Delivery *d)
{
	columns_set(c, 0, Int64GetDatum(d->subscription_id), false);
	columns_set(c, 1, Int16GetDatum(d->code), d->code == 0);
}

/*
 * The rows of those who have it: nearly everybody, and little to say of them,
 * as the words are in newsletter_email.
 */
static Recording record_delivered = {
	.statement = {
		.sql = "UPDATE mailman.delivery d SET state = 'delivered',"
		" attempts = d.attempts + 1, due_at = NULL, code = o.code,"
		" enhanced = NULL, reply = NULL, reason = NULL"
		" FROM (SELECT unnest($2), unnest($3)) AS o(id, code)"
		" WHERE " DELIVERY_IS_OF("o")
		" AND d.state = 'sending'",
		.nargs = 3,
		.argtypes = {INT8OID, INT8ARRAYOID, INT2ARRAYOID}
	},
	.result = SPI_OK_UPDATE,
	.delivered = true,
	.set = delivered_set
};

static void
other_set(Columns *c, const Delivery *d)
{
	columns_set(c, 0, Int64GetDatum(d->subscription_id), false);
	columns_set_text(c, 1, delivery_state_names[d->state]);
	columns_set(c, 2, Int32GetDatum(d->costs_attempt ? 1 : 0), false);
	columns_set(c, 3, TimestampTzGetDatum(d->due_at), d->due_at == 0);
	columns_set(c, 4, Int16GetDatum(d->code), d->code == 0);
	columns_set_text(c, 5, d->enhanced);
	columns_set_text(c, 6, d->reply);
	columns_set_text(c, 7, d->reason);
	columns_set(c, 8, Int16GetDatum(d->doubt ? 1 : 0), false);
}

/* The rows of all others */
static Recording record_other = {
	.statement = {
		.sql = "UPDATE mailman.delivery d SET state = o.state,"
		" attempts = d.attempts + o.cost, due_at = o.due_at, code = o.code,"
		" enhanced = o.enhanced, reply = o.reply, reason = o.reason,"
		" doubts = d.doubts + o.doubts"
		" FROM (SELECT unnest($2), unnest($3), unnest($4), unnest($5),"
		" unnest($6), unnest($7), unnest($8), unnest($9), unnest($10))"
		" AS o(id, state, cost, due_at, code, enhanced, reply, reason, doubts)"
		" WHERE " DELIVERY_IS_OF("o")
		" AND d.state = 'sending'",
		.nargs = 10,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
			TIMESTAMPTZARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, INT2ARRAYOID}
	},
	.result = SPI_OK_UPDATE,
	.delivered = false,
	.set = other_set
};

static void
email_set(Columns *c, const Delivery *d)
{
	columns_set(c, 0, Int64GetDatum(d->subscription_id), false);
	columns_set_text(c, 1, d->rendered.rcpt_to);
	columns_set_text(c, 2, d->rendered.message_id);
	columns_set(c, 3, Int32GetDatum((int32) d->mail.size), false);
	columns_set(c, 4, Int16GetDatum(d->code), false);
	columns_set_text(c, 5, d->reply);
	columns_set(c, 6, Int32GetDatum(d->attempts + 1), false);
	columns_set(c, 7, Int64GetDatum(d->mail.finished_us - d->mail.started_us),
				false);
	columns_set(c, 8, TimestampTzGetDatum(d->ended_at), false);
	columns_set_text(c, 9, d->relay);
	columns_set(c, 10, Int32GetDatum(d->revision), false);
}

/*
 * newsletter_email rows for the accepted.  Each refers to the row of a delivery
 * that record_delivered has just updated in this transaction, which nobody
 * deletes or gives another key before it ends.
 */
static Recording record_email = {
	.statement = {
		.sql = "INSERT INTO mailman.newsletter_email (letter_id,"
		" subscription_id, address, message_id, bytes, code, reply, attempts,"
		" duration, sent_at, relay, revision)"
		" SELECT $1, o.id, o.address, o.message_id, o.bytes, o.code, o.reply,"
		" o.attempts, o.took * interval '1 microsecond', o.sent_at, o.relay,"
		" o.revision"
		" FROM (SELECT unnest($2), unnest($3), unnest($4), unnest($5),"
		" unnest($6), unnest($7), unnest($8), unnest($9), unnest($10),"
		" unnest($11), unnest($12)) AS o(id, address, message_id, bytes,"
		" code, reply, attempts, took, sent_at, relay, revision)",
		.nargs = 12,
		.argtypes = {INT8OID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
			INT4ARRAYOID, INT2ARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
			INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT4ARRAYOID
		}
	},
	.result = SPI_OK_INSERT,
	.delivered = true,
	.set = email_set
};

/* The rows of a list of outcomes */
static void
delivery_record_rows(Worker *w, DeliveryList *list)
{
	uint64		rows = recording_run(w, list, &record_delivered) +
		recording_run(w, list, &record_other);

	if (rows != (uint64) list->count)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("letter " INT64_FORMAT ": " UINT64_FORMAT " of %d deliveries to record are being sent",
						w->letter_id, rows, list->count),
				 errhint("Somebody else has changed mailman.delivery.")));
	recording_run(w, list, &record_email);
}

/*
 * Addresses that do not exist: their subscriptions bounced.  A row that
 * somebody holds is left as it is, since nothing may hold up a turn; the next
 * letter will find out again.
 */
void
delivery_bounce(Worker *w, DeliveryList *list)
{
	static Statement bounce = {
		.sql = "UPDATE mailman.subscription s SET state = 'bounced'"
		" FROM (SELECT f.id FROM unnest($1, $2) AS o(id, email)"
		" JOIN mailman.subscription f ON f.id = o.id"
		" WHERE f.state = 'active' AND f.email = o.email"
		" FOR NO KEY UPDATE OF f SKIP LOCKED) AS b WHERE s.id = b.id",
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, TEXTARRAYOID}
	};
	Datum	   *ids = palloc(Max(list->count, 1) * sizeof(Datum));
	Datum	   *emails = palloc(Max(list->count, 1) * sizeof(Datum));
	Datum		values[2];
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (!d->dead || d->handed_back)
			continue;
		ids[count] = Int64GetDatum(d->subscription_id);
		emails[count++] = CStringGetTextDatum(d->email);
	}
	if (count == 0)
		return;
	values[0] = array_of(ids, NULL, count, INT8OID);
	values[1] = array_of(emails, NULL, count, TEXTOID);
	statement_run(&bounce, SPI_OK_UPDATE, values, NULL);
}

/*
 * A turn waits for no table that it has nothing to say to: an index that is
 * built on subscriptions only holds up the letters that have just found a
 * mailbox that does not exist.
 */
TableUse
delivery_record_use(DeliveryList *list)
{
	TableUse	use = use_turn;
	dlist_iter	iter;

	dlist_foreach(iter, &list->head)
	{
		const Delivery *d = dlist_container(Delivery, node, iter.cur);

		if (d->state == DELIVERY_DELIVERED)
			use = table_use_of(&use, &use_record_email);
		if (d->dead && !d->handed_back)
			use = table_use_of(&use, &use_record_bounce);
	}
	return use;
}

/* Record the outcomes in the list */
void
delivery_record(Worker *w, Turn *turn, DeliveryList *list)
{
	int			before = turn->recorded;
	dlist_iter	iter;

	if (list->count > 0)
		delivery_record_rows(w, list);
	dlist_foreach(iter, &list->head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		turn_move(turn, DELIVERY_SENDING, d->state, 1);
		if (d->doubt)
			turn->doubts++;
		if (!d->handed_back)
			turn->recorded++;
		if (d->given_up && !d->handed_back)
			turn->given_up++;
	}
	meter_add(&turn->meter, transfer_now(), turn->recorded - before);
}

void
delivery_lock_nowait(Worker *w)
{
	static Statement lock = {
		.sql = "SELECT FROM mailman.delivery"
		" WHERE letter_id = $1 AND subscription_id = $2"
		" FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->done.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);
		Datum		values[2] = {Int64GetDatum(w->letter_id),
		Int64GetDatum(d->subscription_id)};

		if (statement_run(&lock, SPI_OK_SELECT, values, NULL) == 0)
			delivery_move(d, &w->done, &w->stuck);
	}
}

/*
 * Rows left 'sending' by a worker that is no more: nobody knows what became
 * of them.
 */
void
delivery_resolve_doubt(Worker *w, Turn *turn, bool hold)
{
	static Statement resolve = {
		.sql = "UPDATE mailman.delivery SET attempts = attempts + 1,"
		" doubts = doubts + 1,"
		" state = CASE WHEN $2 THEN 'doubtful' ELSE 'deferred' END,"
		" due_at = CASE WHEN $2 THEN NULL ELSE now() END,"
		" reason = 'its worker ended before the outcome was recorded'"
		" WHERE letter_id = $1 AND state = 'sending'",
		.nargs = 2,
		.argtypes = {INT8OID, BOOLOID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id), BoolGetDatum(hold)};
	uint64		rows = statement_run(&resolve, SPI_OK_UPDATE, values, NULL);

	turn_move(turn, DELIVERY_SENDING,
			  hold ? DELIVERY_DOUBTFUL : DELIVERY_DEFERRED, (int64) rows);
	turn->doubts += (int64) rows;
}
