/*-------------------------------------------------------------------------
 *
 * requeue.c
 *	  mailman_retry(): those who did not get the letter are tried again.
 *
 * Deliveries that failed, or are held as doubtful, are queued again, and those
 * that are deferred are tried now; of subscriptions that are active.  A posting
 * tells the worker how the tally moves, so the letter's row is left alone.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_retry);

/*
 * Make those of one state pending again; returns how many.  A recipient that
 * has failed begins anew, with a new age; one that may have the mail gets the
 * same again, to the second of its date.
 */
static int64
retry_requeue(const Letter *letter, const char *state)
{
	static Statement requeue = {
		.sql = "UPDATE mailman.delivery d SET state = 'pending',"
		" due_at = now(), attempts = 0, reason = NULL,"
		" queued_at = CASE WHEN d.state = 'failed' THEN now()"
		" ELSE d.queued_at END"
		" FROM mailman.subscription s"
		" WHERE d.letter_id = $1 AND d.state = $2"
		" AND s.id = d.subscription_id AND s.state = 'active'",
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID}
	};
	Datum		values[2] = {Int64GetDatum(letter->id),
	CStringGetTextDatum(state)};

	return (int64) statement_run(&requeue, SPI_OK_UPDATE, values, NULL);
}

/*
 * Those who wait for another attempt need not any longer; returns how many.
 * They stay in their state and in the tally, and keep their attempts.
 */
static int64
retry_hasten(const Letter *letter)
{
	static Statement hasten = {
		.sql = "UPDATE mailman.delivery d SET due_at = now()"
		" FROM mailman.subscription s"
		" WHERE d.letter_id = $1 AND d.state = 'deferred'"
		" AND d.due_at > now()"
		" AND s.id = d.subscription_id AND s.state = 'active'",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};

	return (int64) statement_run(&hasten, SPI_OK_UPDATE, values, NULL);
}

/* Does the list name the state?  An unknown one in it is an ERROR. */
static bool
retry_names(ArrayType *states, const char *state)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			i;
	bool		found = false;

	deconstruct_array(states, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &count);
	for (i = 0; i < count; i++)
	{
		char	   *name = nulls[i] ? pstrdup("NULL") :
			TextDatumGetCString(elements[i]);

		if (strcmp(name, "failed") != 0 && strcmp(name, "doubtful") != 0 &&
			strcmp(name, "deferred") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("deliveries in state \"%s\" cannot be tried again",
							name),
					 errhint("States are failed, doubtful and deferred.")));
		found = found || strcmp(name, state) == 0;
	}
	return found;
}

/* mailman_retry(letter_id, states) RETURNS bigint */
Datum
mailman_retry(PG_FUNCTION_ARGS)
{
	static Statement post = {
		.sql = "INSERT INTO mailman.posting"
		" (letter_id, low, high, recipients, failed, doubtful)"
		" VALUES ($1, 1, 0, 0, $2, $3)",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	Oid			role = GetUserId();
	ArrayType  *states;
	bool		want_failed;
	bool		want_doubtful;
	bool		want_deferred;
	ExtensionScope scope;
	Letter	   *letter;
	int64		failed;
	int64		doubtful;
	int64		deferred;
	Datum		values[3];

	argument_check(fcinfo, 0, "letter_id");
	argument_check(fcinfo, 1, "states");
	states = PG_GETARG_ARRAYTYPE_P(1);
	want_failed = retry_names(states, "failed");
	want_doubtful = retry_names(states, "doubtful");
	want_deferred = retry_names(states, "deferred");
	extension_enter(&scope, &use_retry);
	letter = letter_find_shared(PG_GETARG_INT64(0));
	letter_check_member(letter, role);
	letter_check_not_purged(letter);
	if (strcmp(letter->state, "draft") == 0 ||
		strcmp(letter->state, "cancelled") == 0)
		control_refuse(letter, "tried again",
					   "Send a draft with mailman_send(); cancelling is final.");
	failed = want_failed ? retry_requeue(letter, "failed") : 0;
	doubtful = want_doubtful ? retry_requeue(letter, "doubtful") : 0;
	deferred = want_deferred ? retry_hasten(letter) : 0;
	if (failed + doubtful > 0)
	{
		values[0] = Int64GetDatum(letter->id);
		values[1] = Int64GetDatum(failed);
		values[2] = Int64GetDatum(doubtful);
		statement_run(&post, SPI_OK_INSERT, values, NULL);
	}
	if (failed + doubtful + deferred > 0)
		launch_at_commit(letter->id);
	extension_leave(&scope);
	PG_RETURN_INT64(failed + doubtful + deferred);
}
