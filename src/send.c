/*-------------------------------------------------------------------------
 *
 * send.c
 *	  mailman_send(): put a letter in the post, in the caller's transaction.
 *
 * It inserts deliveries and one posting and touches the letter only while it
 * is a draft, so a caller that keeps its transaction open holds up nobody.
 * The worker folds the posting into the letter's tally; until then
 * count(delivery) = tally + counts of unfolded postings.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_send_all);
PG_FUNCTION_INFO_V1(mailman_send_some);

/* What one call queued */
typedef struct Posting
{
	int64		recipients;
	int64		skipped;
	int64		low;
	int64		high;
} Posting;

/*
 * The letter, if role may send it; every reason why not is an ERROR.  The
 * lock is that of the foreign key: it keeps mailman_cancel() from making the
 * letter a draft under our hands, and is in nobody else's way.
 */
Letter *
send_prepare(int64 letter_id, Oid role)
{
	Letter	   *letter;

	letter = letter_find_shared(letter_id);
	letter_check_member(letter, role);
	letter_check_not_purged(letter);
	if (strcmp(letter->state, "cancelled") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("letter " INT64_FORMAT " is cancelled", letter_id),
				 errhint("Cancelling is final; make a new letter.")));
	if (strcmp(letter->state, "draft") == 0 && letter->unseen)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("letter " INT64_FORMAT " is called back by this transaction",
						letter_id),
				 errdetail("It becomes a draft at COMMIT."),
				 errhint("COMMIT, and then send it.")));
	letter_check_sendable(letter, role);
	letter_check_names(letter, true);
	return letter;
}

/* A draft goes into the post */
static void
send_open(Letter *letter, Oid role, bool whole)
{
	static Statement open = {
		.sql = "UPDATE mailman.letter SET state = CASE WHEN send_at > now()"
		" THEN 'scheduled' ELSE 'sending' END, state_reason = NULL,"
		" sender = $2, sender_oid = $4, whole = $3 AND coalesce(send_at > now(), false),"
		" line_at = now()"
		" WHERE id = $1 AND state = 'draft'",
		.nargs = 4,
		.argtypes = {INT8OID, NAMEOID, BOOLOID, OIDOID}
	};
	static Statement widen = {
		.sql = "UPDATE mailman.letter SET whole = true"
		" WHERE id = $1 AND state = 'scheduled' AND NOT whole",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[4] = {Int64GetDatum(letter->id)};
	NameData	sender;

	if (strcmp(letter->state, "draft") != 0)
	{
		/* a paused one goes on with who resumes it */
		if (strcmp(letter->state, "paused") != 0 && !sender_may(letter))
			sender_replace(letter->id, role);
		if (strcmp(letter->state, "scheduled") == 0 && whole)
			statement_change_seen(&widen, SPI_OK_UPDATE, values, NULL);
		return;
	}
	namestrcpy(&sender, GetUserNameFromId(role, false));
	values[1] = NameGetDatum(&sender);
	values[2] = BoolGetDatum(whole);
	values[3] = ObjectIdGetDatum(role);
	/* somebody else may have been first */
	if (statement_change_seen(&open, SPI_OK_UPDATE, values, NULL) == 0 && whole)
		statement_change_seen(&widen, SPI_OK_UPDATE, values, NULL);
}

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
	posting->low = PG_INT64_MIN;
	posting->high = PG_INT64_MAX;
}

/* Every id must be a subscription of the letter's newsletter */
static void
send_check_recipients(const Letter *letter, ArrayType *recipients)
{
	static Statement stranger = {
		.sql = "SELECT r.id, s.newsletter_id FROM unnest($1) AS r(id)"
		" LEFT JOIN mailman.subscription s ON s.id = r.id"
		" WHERE s.newsletter_id IS DISTINCT FROM $2 ORDER BY r.id LIMIT 1",
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8OID}
	};
	Datum		values[2] = {PointerGetDatum(recipients),
	Int64GetDatum(letter->newsletter_id)};
	int64		id;
	int64		newsletter;

	if (array_contains_nulls(recipients))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("recipients must not contain NULL")));
	if (statement_run(&stranger, SPI_OK_SELECT, values, NULL) == 0)
		return;
	id = row_int64(0, 1, 0);
	newsletter = row_int64(0, 2, 0);
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

/* Deliveries for these subscriptions; the inactive are skipped at once */
static void
send_insert_some(const Letter *letter, ArrayType *recipients,
				 NullableDatum variables, Posting *posting)
{
	static Statement insert = {
		.sql = "WITH queued AS ("
		"INSERT INTO mailman.delivery"
		" (letter_id, subscription_id, state, reason, variables)"
		" SELECT $1, s.id,"
		" CASE WHEN s.state = 'active' THEN 'pending' ELSE 'skipped' END,"
		" CASE WHEN s.forgotten_at IS NOT NULL THEN '" DELIVERY_FORGOTTEN "'"
		" WHEN s.state <> 'active' THEN 'subscription is ' || s.state END,"
		" CASE WHEN s.forgotten_at IS NULL THEN $4 END FROM mailman.subscription s"
		" WHERE s.id = ANY (ARRAY(SELECT DISTINCT unnest($3)))"
		" AND s.newsletter_id = $2"
		" ORDER BY s.id ON CONFLICT DO NOTHING"
		" RETURNING subscription_id, state)"
		" SELECT count(*), count(*) FILTER (WHERE state = 'skipped'),"
		" min(subscription_id), max(subscription_id) FROM queued",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8ARRAYOID, JSONBOID}
	};
	Datum		values[4] = {Int64GetDatum(letter->id),
		Int64GetDatum(letter->newsletter_id),
	PointerGetDatum(recipients), variables.value};
	char		nulls[4] = {' ', ' ', ' ', variables.isnull ? 'n' : ' '};

	send_check_recipients(letter, recipients);
	statement_run(&insert, SPI_OK_SELECT, values, nulls);
	posting->recipients = row_int64(0, 1, 0);
	posting->skipped = row_int64(0, 2, 0);
	posting->low = row_int64(0, 3, 0);
	posting->high = row_int64(0, 4, 0);
}

/* Say what will not happen by itself: the last of it once per session */
void
send_tell(const char *what)
{
	static bool told = false;

	if (!origin_is_ours())
		ereport(WARNING,
				(errmsg("%s is queued and will not be sent", what),
				 errdetail("This database is a copy of the one that was armed to send."),
				 errhint("If this one is to send now, and the other is not: SELECT mailman_adopt().")));
	else if (!mailman_enabled)
		ereport(WARNING,
				(errmsg("%s is queued and will not be sent", what),
				 errhint("Setting mailman.enabled is off.")));
	else if (!shmem_is_there() && !told)
	{
		told = true;
		ereport(NOTICE,
				(errmsg("letters are not resumed by themselves after a restart"),
				 errhint("Add mailman to shared_preload_libraries, or call mailman_wake() now and then.")));
	}
}

/* Big mailbox providers refuse such mail, and readers call it spam */
static void
send_warn_unsubscribe(const Letter *letter, const Posting *posting)
{
	if (letter->can_unsubscribe || posting->recipients == posting->skipped)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("letter " INT64_FORMAT " offers no way to unsubscribe",
					letter->id),
			 errhint("Set unsubscribe_url or unsubscribe_mailto of newsletter " INT64_FORMAT ".",
					 letter->newsletter_id)));
}

static void
send_post(const Letter *letter, const Posting *posting)
{
	static Statement insert = {
		.sql = "INSERT INTO mailman.posting"
		" (letter_id, low, high, recipients, skipped)"
		" VALUES ($1, $2, $3, $4, $5)",
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}
	};
	Datum		values[5] = {Int64GetDatum(letter->id),
		Int64GetDatum(posting->low), Int64GetDatum(posting->high),
	Int64GetDatum(posting->recipients), Int64GetDatum(posting->skipped)};

	if (posting->recipients > 0)
		statement_run(&insert, SPI_OK_INSERT, values, NULL);
	origin_arm();
	send_warn_unsubscribe(letter, posting);
	send_tell(psprintf("letter " INT64_FORMAT, letter->id));
	if (posting->recipients == 0 && posting->high == PG_INT64_MAX)
		ereport(NOTICE,
				(errmsg("nobody new is queued for letter " INT64_FORMAT,
						letter->id),
				 errdetail("Every active subscription of newsletter " INT64_FORMAT " has it already, or there is none.",
						   letter->newsletter_id)));
	if (strcmp(letter->state, "paused") == 0)
		ereport(NOTICE,
				(errmsg("letter " INT64_FORMAT " is paused", letter->id),
				 errhint("It goes on with mailman_resume().")));
	/* a paused letter, too: it may be resumed before we commit */
	launch_at_commit(letter->id);
}

/* mailman_send(letter_id bigint) RETURNS bigint */
Datum
mailman_send_all(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;
	Posting		posting;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("letter_id must not be null")));
	extension_enter(&scope, &use_send);
	letter = send_prepare(PG_GETARG_INT64(0), role);
	send_open(letter, role, true);
	send_insert_all(letter, &posting);
	send_post(letter, &posting);
	extension_leave(&scope);
	PG_RETURN_INT64(posting.recipients);
}

/* mailman_send(letter_id bigint, recipients bigint[], variables jsonb) */
Datum
mailman_send_some(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	NullableDatum variables;
	ArrayType  *recipients;
	ExtensionScope scope;
	Letter	   *letter;
	Posting		posting;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("letter_id must not be null")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("recipients must not be null"),
				 errdetail("array_agg() over no rows is null, and that must not mean everybody."),
				 errhint("Use ARRAY(SELECT ...), which is then empty; mailman_send(letter_id) sends to everybody.")));
	recipients = PG_GETARG_ARRAYTYPE_P(1);
	variables.isnull = PG_ARGISNULL(2);
	variables.value = PG_GETARG_DATUM(2);
	if (!variables.isnull && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(2)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("variables must be a JSON object"),
				 errhint("Write {\"name\": value, ...}.")));
	extension_enter(&scope, &use_send);
	letter = send_prepare(PG_GETARG_INT64(0), role);
	if (ArrayGetNItems(ARR_NDIM(recipients), ARR_DIMS(recipients)) == 0)
	{
		ereport(NOTICE,
				(errmsg("no recipients: nothing was queued for letter " INT64_FORMAT,
						letter->id)));
		extension_leave(&scope);
		PG_RETURN_INT64(0);
	}
	send_open(letter, role, false);
	send_insert_some(letter, recipients, variables, &posting);
	send_post(letter, &posting);
	extension_leave(&scope);
	PG_RETURN_INT64(posting.recipients - posting.skipped);
}
