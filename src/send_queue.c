/*-------------------------------------------------------------------------
 *
 * send_queue.c
 *	  Deliveries of a letter and their posting, for all readers or for some.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "send.h"
#include "utils/array.h"

/* Deliveries for every active subscription */
static void
send_insert_all(const Letter *letter, Posting *posting)
{
	static Statement insert = {
		.sql = "INSERT INTO mailman.delivery (letter_id, subscription_id)"
		" SELECT $1, s.id FROM mailman.subscription s"
		" WHERE s.newsletter_id = $2 AND s.state = 'active'"
		" ORDER BY s.id ON CONFLICT DO NOTHING",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(letter->id),
	Int64GetDatum(letter->newsletter_id)};

	posting->recipients = (int64) statement_run(&insert, SPI_OK_INSERT,
												values, NULL);
	posting->skipped = 0;
}

/* One posting for all of them */
static void
send_post_all(const Letter *letter, const Posting *posting)
{
	static Statement insert = {
		.sql = "INSERT INTO mailman.posting (letter_id, low, high, recipients)"
		" VALUES ($1, $2, $3, $4)",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID}
	};
	Datum		values[4] = {Int64GetDatum(letter->id),
		Int64GetDatum(PG_INT64_MIN), Int64GetDatum(PG_INT64_MAX),
	Int64GetDatum(posting->recipients)};

	if (posting->recipients > 0)
		statement_run(&insert, SPI_OK_INSERT, values, NULL);
}

/* see send.h */
void
send_queue_all(const Letter *letter, Posting *posting)
{
	send_insert_all(letter, posting);
	send_post_all(letter, posting);
}

/* Somebody in the list is not a subscription of the letter's newsletter */
static void
send_refuse_stranger(const Letter *letter, Datum recipients)
{
	static Statement stranger = {
		.sql = "SELECT r.id, s.newsletter_id FROM unnest($1) AS r(id)"
		" LEFT JOIN mailman.subscription s ON s.id = r.id"
		" WHERE s.newsletter_id IS DISTINCT FROM $2 ORDER BY r.id LIMIT 1",
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8OID}
	};
	Datum		values[2] = {recipients, Int64GetDatum(letter->newsletter_id)};
	int64		id;
	int64		newsletter;

	if (statement_run(&stranger, SPI_OK_SELECT, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("recipients of letter " INT64_FORMAT " were deleted meanwhile",
						letter->id)));
	id = row_int64(0, 1, 0);
	newsletter = row_int64(0, 2, 0);
	/* one of somebody else's is not told from one that is not there */
	if (newsletter != 0 && !newsletter_may(newsletter, extension_caller()))
		newsletter = 0;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 newsletter == 0 ?
			 errmsg("subscription " INT64_FORMAT " does not exist", id) :
			 errmsg("subscription " INT64_FORMAT " belongs to newsletter " INT64_FORMAT,
					id, newsletter),
			 errdetail("Letter " INT64_FORMAT " is of newsletter " INT64_FORMAT ".",
					   letter->id, letter->newsletter_id),
			 errhint("Choose recipients with SELECT id FROM mailman.subscription WHERE newsletter_id = " INT64_FORMAT ".",
					 letter->newsletter_id)));
}

static int
compare_ids(const void *a, const void *b)
{
	int64		left = DatumGetInt64(*(const Datum *) a);
	int64		right = DatumGetInt64(*(const Datum *) b);

	return left < right ? -1 : left > right;
}

/* The list in order, everybody once; *count: how many */
static Datum *
send_list(ArrayType *recipients, int *count)
{
	Datum	   *ids;
	bool	   *nulls;
	int			n;
	int			i;

	if (array_contains_nulls(recipients))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("recipients must not contain NULL")));
	deconstruct_array(recipients, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &ids, &nulls, &n);
	qsort(ids, n, sizeof(Datum), compare_ids);
	*count = 0;
	for (i = 0; i < n; i++)
	{
		if (*count == 0 || compare_ids(&ids[*count - 1], &ids[i]) != 0)
			ids[(*count)++] = ids[i];
	}
	return ids;
}

/* A delivery of letter $1 to r, with variables $4; the inactive are skipped */
#define QUEUE_COLUMNS \
	" (letter_id, subscription_id, state, reason, variables)" \
	" SELECT $1, r.id," \
	" CASE WHEN r.state = 'active' THEN 'pending' ELSE 'skipped' END," \
	" CASE WHEN r.forgotten_at IS NOT NULL THEN '" DELIVERY_FORGOTTEN "'" \
	" WHEN r.state <> 'active' THEN 'subscription is ' || r.state END," \
	" CASE WHEN r.forgotten_at IS NULL THEN $4 END"

/*
 * Deliveries for these subscriptions, and the posting; the inactive are
 * skipped at once.  The letter is held already, and the subscriptions are by
 * this very statement, as the foreign keys would do it: so these need not look
 * for them again.  False: somebody is not a subscription of the newsletter.
 */
static bool
send_queue_some(const Letter *letter, Datum list, int count,
				NullableDatum variables, Posting *posting)
{
	static Statement queue = {
		.sql = "WITH reader AS MATERIALIZED ("
		"SELECT s.id, s.state, s.forgotten_at FROM mailman.subscription s"
		" WHERE s.id = ANY ($3) AND s.newsletter_id = $2"
		" ORDER BY s.id FOR KEY SHARE),"
		" queued AS ("
		"INSERT INTO mailman.delivery" QUEUE_COLUMNS " FROM reader r"
		" ON CONFLICT DO NOTHING RETURNING subscription_id, state),"
		" posted AS ("
		"INSERT INTO mailman.posting"
		" (letter_id, low, high, recipients, skipped)"
		" SELECT $1, min(subscription_id), max(subscription_id), count(*),"
		" count(*) FILTER (WHERE state = 'skipped') FROM queued"
		" HAVING count(*) > 0 RETURNING recipients, skipped)"
		" SELECT (SELECT count(*) FROM reader), p.recipients, p.skipped"
		" FROM (VALUES (1)) one LEFT JOIN posted p ON true",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8ARRAYOID, JSONBOID},
		.generic = true
	};
	Datum		values[4] = {Int64GetDatum(letter->id),
		Int64GetDatum(letter->newsletter_id),
	list, variables.value};
	char		nulls[4] = {' ', ' ', ' ', variables.isnull ? 'n' : ' '};

	statement_run_referring(&queue, SPI_OK_SELECT, values, nulls);
	posting->recipients = row_int64(0, 2, 0);
	posting->skipped = row_int64(0, 3, 0);
	return row_int64(0, 1, 0) == count;
}

/*
 * The same for one, as most calls are: to start the executor for two plain
 * statements costs half of what it does for that one.  False: nobody was
 * queued, for whatever reason.
 */
static bool
send_queue_one(const Letter *letter, Datum id, NullableDatum variables,
			   Posting *posting)
{
	static Statement queue = {
		.sql = "INSERT INTO mailman.delivery" QUEUE_COLUMNS
		" FROM mailman.subscription r"
		" WHERE r.id = $3 AND r.newsletter_id = $2 FOR KEY SHARE"
		" ON CONFLICT DO NOTHING RETURNING state = 'skipped'",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, JSONBOID},
		.generic = true
	};
	static Statement post = {
		.sql = "INSERT INTO mailman.posting"
		" (letter_id, low, high, recipients, skipped)"
		" VALUES ($1, $2, $2, 1, $3)",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	Datum		values[4] = {Int64GetDatum(letter->id),
		Int64GetDatum(letter->newsletter_id),
	id, variables.value};
	char		nulls[4] = {' ', ' ', ' ', variables.isnull ? 'n' : ' '};

	if (statement_run_referring(&queue, SPI_OK_INSERT_RETURNING, values,
								nulls) == 0)
		return false;
	posting->recipients = 1;
	posting->skipped = row_bool(0, 1) ? 1 : 0;
	values[1] = id;
	values[2] = Int64GetDatum(posting->skipped);
	statement_run_referring(&post, SPI_OK_INSERT, values, NULL);
	return true;
}

/* see send.h */
void
send_queue_list(const Letter *letter, ArrayType *recipients,
				NullableDatum variables, Posting *posting)
{
	int			count;
	Datum	   *ids = send_list(recipients, &count);
	Datum		list;

	if (count == 1 && send_queue_one(letter, ids[0], variables, posting))
		return;
	list = PointerGetDatum(construct_array(ids, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	if (!send_queue_some(letter, list, count, variables, posting))
		send_refuse_stranger(letter, list);
}
