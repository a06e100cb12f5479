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
#include "send.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(mailman_send_all);
PG_FUNCTION_INFO_V1(mailman_send_some);

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

/*
 * The first that is sent arms the database.  Say what will not happen by
 * itself: the last of it once per session.
 */
void
send_tell(const Letter *letter, const char *what)
{
	static bool told = false;

	if (letter->origin == ORIGIN_NONE)
		origin_arm();
	if (letter->origin == ORIGIN_NONE ? !origin_is_ours() :
		letter->origin == ORIGIN_OTHER)
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
	send_queue_all(letter, &posting);
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
	send_queue_list(letter, recipients, variables, &posting);
	send_finish(letter, &posting, false);
	extension_leave(&scope);
	PG_RETURN_INT64(posting.recipients - posting.skipped);
}
