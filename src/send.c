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
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(mailman_send_all);
PG_FUNCTION_INFO_V1(mailman_send_some);

/* What one call queued */
typedef struct Posting
{
	int64		recipients;
	int64		skipped;
} Posting;

/*
 * The letter, if role may send it; every reason why not is an ERROR.  The
 * lock is that of the foreign key: it keeps mailman_cancel() from making the
 * letter a draft under our hands, and is in nobody else's way.
 */
Letter *
send_prepare(int64 letter_id, Oid role, bool content)
{
	Letter	   *letter = letter_hold(letter_id);

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
	letter_check_rights(letter, role);
	if (!content && letter_is_known(letter))
		return letter;
	letter_load_content(letter);
	if (letter_check_names(letter, true))
		letter_remember(letter);
	return letter;
}

/* A draft goes into the post */
static void
send_open(Letter *letter, Oid role, bool whole)
{
	static Statement open = {
		.sql = "UPDATE mailman.letter SET state = CASE WHEN send_at > now()"
		" THEN 'scheduled' ELSE 'sending' END, state_reason = NULL,"
		" sender = $2, sender_oid = $4,"
		" whole = $3 AND coalesce(send_at > now(), false),"
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
static Datum
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
	return PointerGetDatum(construct_array(ids, *count, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

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
		"INSERT INTO mailman.delivery"
		" (letter_id, subscription_id, state, reason, variables)"
		" SELECT $1, r.id,"
		" CASE WHEN r.state = 'active' THEN 'pending' ELSE 'skipped' END,"
		" CASE WHEN r.forgotten_at IS NOT NULL THEN '" DELIVERY_FORGOTTEN "'"
		" WHEN r.state <> 'active' THEN 'subscription is ' || r.state END,"
		" CASE WHEN r.forgotten_at IS NULL THEN $4 END FROM reader r"
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
 * The first that is sent arms the database.  Say what will not happen by
 * itself: the last of it once per session.
 */
void
send_tell(const Letter *letter, const char *what)
{
	static bool told = false;

	if (!letter->armed)
		origin_arm();
	if (letter->armed ? !letter->ours : !origin_is_ours())
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

/* What the caller should know, and that there is work from COMMIT on */
static void
send_finish(const Letter *letter, const Posting *posting, bool whole)
{
	send_warn_unsubscribe(letter, posting);
	send_tell(letter, psprintf("letter " INT64_FORMAT, letter->id));
	if (whole && posting->recipients == 0)
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
	letter = send_prepare(PG_GETARG_INT64(0), role, false);
	send_open(letter, role, true);
	send_insert_all(letter, &posting);
	send_post_all(letter, &posting);
	send_finish(letter, &posting, true);
	extension_leave(&scope);
	PG_RETURN_INT64(posting.recipients);
}

/*
 * Plans are kept for the session, whatever the tables are like when they are
 * made: by key, as few are sent to, though nothing but a scan will do for a
 * table without one.  That is thought dear, but not worth compiling.
 */
static void
send_pin_plans(void)
{
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
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
	Datum		list;
	int			count;

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
	send_pin_plans();
	letter = send_prepare(PG_GETARG_INT64(0), role, false);
	if (ArrayGetNItems(ARR_NDIM(recipients), ARR_DIMS(recipients)) == 0)
	{
		ereport(NOTICE,
				(errmsg("no recipients: nothing was queued for letter " INT64_FORMAT,
						letter->id)));
		extension_leave(&scope);
		PG_RETURN_INT64(0);
	}
	send_open(letter, role, false);
	list = send_list(recipients, &count);
	if (!send_queue_some(letter, list, count, variables, &posting))
		send_refuse_stranger(letter, list);
	send_finish(letter, &posting, false);
	extension_leave(&scope);
	PG_RETURN_INT64(posting.recipients - posting.skipped);
}
