/*-------------------------------------------------------------------------
 *
 * control.c
 *	  mailman_pause(), mailman_resume(), mailman_cancel().
 *
 * They change the letter's state and nothing else; its worker reads it in
 * every turn and obeys.  No row of a delivery is rewritten here, however long
 * the list (a scheduled letter that was called back is emptied, as nothing of
 * it was ever sent).
 *
 *		 mailman_send()
 *	draft -----------> scheduled --> sending --> sent
 *	  ^                  |  ^          |  ^
 *	  |  mailman_cancel  |  | _resume  |  |
 *	  +------------------+  +- paused -+--+      sending, paused -> cancelled
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

PG_FUNCTION_INFO_V1(mailman_pause);
PG_FUNCTION_INFO_V1(mailman_resume);
PG_FUNCTION_INFO_V1(mailman_cancel);
PG_FUNCTION_INFO_V1(mailman_retry);

/*
 * To call a scheduled letter back, wait for every open mailman_send() of it:
 * their rows have to go, too.
 */
static void
control_exclude_senders(int64 letter_id)
{
	static Statement exclude = {
		.sql = "SELECT FROM mailman.letter"
		" WHERE id = $1 AND state = 'scheduled' FOR UPDATE",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};

	statement_run(&exclude, SPI_OK_SELECT, values, NULL);
}

/* Lock the letter's row; its state cannot change until we are done */
static Letter *
control_prepare(int64 letter_id, Oid role)
{
	static Statement lock = {
		.sql = "SELECT FROM mailman.letter WHERE id = $1 FOR NO KEY UPDATE",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	Letter	   *letter;

	statement_run(&lock, SPI_OK_SELECT, values, NULL);
	letter = letter_find(letter_id);
	letter_check_member(letter, role);
	return letter;
}

/* Set state and reason; the state 'sending' is 'scheduled' before its time */
static const char *
control_set(const Letter *letter, const char *state, const char *reason)
{
	static Statement set = {
		.sql = "UPDATE mailman.letter SET state_reason = $3, failed_runs = 0,"
		" line_at = now(), cancelling = $2 = 'cancelled',"
		" state = CASE WHEN $2 = 'sending' AND send_at > now()"
		" THEN 'scheduled' ELSE $2 END WHERE id = $1 RETURNING state",
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID}
	};
	Datum		values[3] = {Int64GetDatum(letter->id),
	CStringGetTextDatum(state)};
	char		nulls[3] = {' ', ' ', reason ? ' ' : 'n'};

	if (reason)
		values[2] = CStringGetTextDatum(reason);
	statement_run(&set, SPI_OK_UPDATE_RETURNING, values, nulls);
	return row_text(0, 1);
}

static bool
letter_is(const Letter *letter, const char *state)
{
	return strcmp(letter->state, state) == 0;
}

static void
control_refuse(const Letter *letter, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("letter " INT64_FORMAT " cannot be %s: it is %s%s",
					letter->id, what, letter_is(letter, "draft") ? "a " : "",
					letter->state),
			 hint ? errhint("%s", hint) : 0));
}

/* Has a sent letter been posted again, and nothing of that been sent yet? */
static bool
control_is_posted(const Letter *letter)
{
	static Statement posted = {
		.sql = "SELECT FROM mailman.posting WHERE letter_id = $1 LIMIT 1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};

	return statement_run(&posted, SPI_OK_SELECT, values, NULL) > 0;
}

static text *
control_return(ExtensionScope *scope, const char *state)
{
	char		copy[NAMEDATALEN];

	strlcpy(copy, state, sizeof(copy));
	extension_leave(scope);
	return cstring_to_text(copy);
}

/* mailman_pause(letter_id bigint) RETURNS text */
Datum
mailman_pause(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;
	const char *state = "paused";

	argument_check(fcinfo, 0, "letter_id");
	extension_enter(&scope, &use_pause);
	letter = control_prepare(PG_GETARG_INT64(0), role);
	if (letter_is(letter, "paused"))
		ereport(NOTICE,
				(errmsg("letter " INT64_FORMAT " is paused already",
						letter->id)));
	else if (letter_is(letter, "scheduled") || letter_is(letter, "sending") ||
			 (letter_is(letter, "sent") && control_is_posted(letter)))
		state = control_set(letter, "paused",
							psprintf("paused by \"%s\"",
									 GetUserNameFromId(role, false)));
	else
		control_refuse(letter, "paused",
					   "Only a scheduled letter or one being sent can.");
	launch_at_commit(letter->id);	/* tells the one at work */
	PG_RETURN_TEXT_P(control_return(&scope, state));
}

/*
 * What waits for a relay to come back need not wait any longer, and a relay
 * that was found wanting before now is tried again: few rows.
 */
static void
control_hurry(const Letter *letter)
{
	static Statement resumed = {
		.sql = "UPDATE mailman.letter SET resumed_at = clock_timestamp()"
		" WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};

	statement_run(&resumed, SPI_OK_UPDATE, values, NULL);
	letter_hurry(letter->id, true);
}

/* mailman_resume(letter_id bigint) RETURNS text */
Datum
mailman_resume(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;
	const char *state;

	argument_check(fcinfo, 0, "letter_id");
	extension_enter(&scope, &use_resume);
	letter = control_prepare(PG_GETARG_INT64(0), role);
	state = letter->state;
	if (letter_is(letter, "draft"))
		control_refuse(letter, "resumed", "Send it with mailman_send().");
	if (letter_is(letter, "cancelled"))
		control_refuse(letter, "resumed", "Cancelling is final.");
	if (letter_is(letter, "paused"))
	{
		letter_check_sendable(letter, role);
		letter_check_names(letter, true);
		state = control_set(letter, "sending", NULL);
	}
	control_hurry(letter);
	launch_at_commit(letter->id);
	PG_RETURN_TEXT_P(control_return(&scope, state));
}

/* A scheduled letter of which nothing was sent becomes a draft again */
static const char *
control_call_back(const Letter *letter)
{
	static Statement empty = {
		.sql = "DELETE FROM mailman.delivery WHERE letter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement unpost = {
		.sql = "DELETE FROM mailman.posting WHERE letter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement draft = {
		.sql = "UPDATE mailman.letter SET state = 'draft', state_reason = NULL,"
		" run = run + 1, sender = NULL, failed_runs = 0, whole = false, mail_order = $2"
		" WHERE id = $1",
		.nargs = 2,
		.argtypes = {INT8OID, JSONBOID}
	};
	Tally		tally = {{0}};
	Datum		values[2] = {Int64GetDatum(letter->id)};

	statement_run(&empty, SPI_OK_DELETE, values, NULL);
	statement_run(&unpost, SPI_OK_DELETE, values, NULL);
	values[1] = tally_to_jsonb(&tally);
	statement_run(&draft, SPI_OK_UPDATE, values, NULL);
	return "draft";
}

/* Was any of it ever claimed?  Else a scheduled letter is as good as new. */
static bool
control_is_untouched(const Letter *letter)
{
	static Statement order = {
		.sql = "SELECT mail_order FROM mailman.letter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};
	bool		isnull;
	Tally		tally;

	statement_run(&order, SPI_OK_SELECT, values, NULL);
	tally_from_jsonb(&tally, DatumGetJsonbP(row_datum(0, 1, &isnull)));
	return tally_recipients(&tally) == tally.count[DELIVERY_PENDING] +
		tally.count[DELIVERY_SKIPPED];
}

/* mailman_cancel(letter_id bigint) RETURNS text */
Datum
mailman_cancel(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;
	const char *state = "cancelled";

	argument_check(fcinfo, 0, "letter_id");
	extension_enter(&scope, &use_cancel);
	control_exclude_senders(PG_GETARG_INT64(0));
	letter = control_prepare(PG_GETARG_INT64(0), role);
	if (letter_is(letter, "cancelled"))
		ereport(NOTICE,
				(errmsg("letter " INT64_FORMAT " is cancelled already",
						letter->id)));
	else if (letter_is(letter, "draft") ||
			 (letter_is(letter, "sent") && !control_is_posted(letter)))
		control_refuse(letter, "cancelled",
					   "Only a letter in the post can be called back.");
	else if (letter_is(letter, "scheduled") && control_is_untouched(letter))
		state = control_call_back(letter);
	else
		state = control_set(letter, "cancelled",
							psprintf("cancelled by \"%s\"",
									 GetUserNameFromId(role, false)));
	launch_at_commit(letter->id);	/* to skip the rest, or to fold */
	PG_RETURN_TEXT_P(control_return(&scope, state));
}

/*
 * Make those of one state pending again; returns how many.  Who has failed
 * begins anew, his age as well; who may have the mail gets the same again, to
 * the second of its date.
 */
static int64
control_requeue(const Letter *letter, const char *state)
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
 * Who waits for another attempt need not wait any longer; returns how many.
 * They stay in their state and in the tally, and keep their attempts.
 */
static int64
control_hasten(const Letter *letter)
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
control_names(ArrayType *states, const char *state)
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

/*
 * mailman_retry(letter_id, states) RETURNS bigint
 *
 * Queue deliveries that failed, or are held as doubtful, again, and try those
 * that are deferred now; of subscriptions that are active.  The posting tells the worker how the tally
 * moves, so the letter's row is left alone.
 */
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
	want_failed = control_names(states, "failed");
	want_doubtful = control_names(states, "doubtful");
	want_deferred = control_names(states, "deferred");
	extension_enter(&scope, &use_retry);
	letter_share(PG_GETARG_INT64(0));
	letter = letter_find(PG_GETARG_INT64(0));
	letter_check_member(letter, role);
	letter_check_not_purged(letter);
	if (letter_is(letter, "draft") || letter_is(letter, "cancelled"))
		control_refuse(letter, "tried again",
					   "Send a draft with mailman_send(); cancelling is final.");
	failed = want_failed ? control_requeue(letter, "failed") : 0;
	doubtful = want_doubtful ? control_requeue(letter, "doubtful") : 0;
	deferred = want_deferred ? control_hasten(letter) : 0;
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
