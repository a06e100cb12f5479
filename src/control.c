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
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_pause);
PG_FUNCTION_INFO_V1(mailman_resume);
PG_FUNCTION_INFO_V1(mailman_cancel);

static bool
letter_is(const Letter *letter, const char *state)
{
	return strcmp(letter->state, state) == 0;
}

static void control_fulfil(const Wish *wish);

/* see letter.h */
Letter *
control_foresee(Letter *letter)
{
	const Wish *wish = wish_find(control_fulfil, letter->id);

	if (wish == NULL)
		return letter;
	letter->unseen = true;
	letter->state = pstrdup(wish->state);
	return letter;
}

/*
 * Lock the letter's row; its state cannot change until we are done.  To call a
 * scheduled letter back, wait for every open mailman_send() of it, too: their
 * rows have to go.
 */
static Letter *
control_prepare(int64 letter_id, Oid role, bool call_back)
{
	LockTupleMode mode = LockTupleNoKeyExclusive;
	Letter	   *letter = letter_find_now(letter_id);
	Held		held;

	letter_check_member(letter, role);
	do
	{
		if (call_back && letter_is(letter, "scheduled"))
			mode = LockTupleExclusive;
		held = row_hold(HOLD_LETTER, letter_id, mode);
		letter = letter_find_now(letter_id);
	} while (call_back && letter_is(letter, "scheduled") &&
			 mode != LockTupleExclusive);
	letter->unseen = held == HELD_UNSEEN;
	letter_check_member(letter, role);
	return control_foresee(letter);
}

/*
 * Set state and reason, or call it back, or just hurry: now, or when the
 * transaction ends, if it does not see the letter as it is.
 */
static const char *
control_set(const Letter *letter, const TableUse *use, const char *state,
			Wish wish)
{
	wish.use = use;
	wish.fulfil = control_fulfil;
	wish.id = letter->id;
	/* before its time it is not being sent yet */
	if (strcmp(state, "sending") == 0 &&
		letter->send_at > GetCurrentTransactionStartTimestamp())
		state = "scheduled";
	strlcpy(wish.state, state, sizeof(wish.state));
	if (letter->unseen)
		wish_at_commit(&wish);
	else
		control_fulfil(&wish);
	return state[0] != '\0' ? pstrdup(state) : letter->state;
}

/* see letter.h */
void
control_refuse(const Letter *letter, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("letter " INT64_FORMAT " cannot be %s: it is %s%s",
					letter->id, what, letter_is(letter, "draft") ? "a " : "",
					letter->state),
			 hint ? errhint("%s", hint) : 0));
}

/* ---- what is done ---- */

/*
 * A scheduled letter of which nothing was sent becomes a draft again:
 * all of it goes, what was queued since the transaction began, too.
 */
static void
control_call_back(int64 letter_id)
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
		" run = run + 1, sender = NULL, sender_oid = NULL, failed_runs = 0,"
		" whole = false, mail_order = $2"
		" WHERE id = $1",
		.nargs = 2,
		.argtypes = {INT8OID, JSONBOID}
	};
	Tally		tally = {{0}};
	Datum		values[2] = {Int64GetDatum(letter_id)};

	statement_run_now(&empty, SPI_OK_DELETE, values, NULL);
	statement_run_now(&unpost, SPI_OK_DELETE, values, NULL);
	values[1] = tally_to_jsonb(&tally);
	statement_run_now(&draft, SPI_OK_UPDATE, values, NULL);
}

/*
 * What waits for a relay to come back need not wait any longer, and a relay
 * that was found wanting before now is tried again: few rows.
 */
static void
control_hurry(int64 letter_id)
{
	static Statement resumed = {
		.sql = "UPDATE mailman.letter SET resumed_at = clock_timestamp()"
		" WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};

	statement_run_now(&resumed, SPI_OK_UPDATE, values, NULL);
	letter_hurry(letter_id, true);
}

static void
control_change(const Wish *wish)
{
	static Statement set = {
		.sql = "UPDATE mailman.letter SET state = $2, state_reason = $3,"
		" failed_runs = 0, line_at = now(), cancelling = $2 = 'cancelled'"
		" WHERE id = $1",
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID}
	};
	Datum		values[3] = {Int64GetDatum(wish->id),
	CStringGetTextDatum(wish->state)};
	char		nulls[3] = {' ', ' ', wish->reason ? ' ' : 'n'};

	if (wish->reason)
		values[2] = CStringGetTextDatum(wish->reason);
	statement_run_now(&set, SPI_OK_UPDATE, values, nulls);
}

/* The row is locked, so nothing of what was decided on has changed since */
static void
control_fulfil(const Wish *wish)
{
	if (strcmp(wish->state, "draft") == 0)
		control_call_back(wish->id);
	else if (wish->state[0] != '\0')
		control_change(wish);
	if (OidIsValid(wish->sender))
		sender_replace(wish->id, wish->sender);
	if (wish->hurry)
		control_hurry(wish->id);
}

/* ---- what is asked for ---- */

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

	return statement_run_now(&posted, SPI_OK_SELECT, values, NULL) > 0;
}

/* The reason of a state that a person has chosen */
static Wish
control_by(const char *what, Oid role)
{
	Wish		wish = {.reason = psprintf("%s by \"%s\"", what,
										   GetUserNameFromId(role, false))};

	return wish;
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
	letter = control_prepare(PG_GETARG_INT64(0), role, false);
	if (letter_is(letter, "paused"))
		ereport(NOTICE,
				(errmsg("letter " INT64_FORMAT " is paused already",
						letter->id)));
	else if (letter_is(letter, "scheduled") || letter_is(letter, "sending") ||
			 (letter_is(letter, "sent") && control_is_posted(letter)))
		state = control_set(letter, &use_pause, "paused",
							control_by("paused", role));
	else
		control_refuse(letter, "paused",
					   "Only a scheduled letter or one being sent can.");
	launch_at_commit(letter->id);	/* tells the one at work */
	PG_RETURN_TEXT_P(control_return(&scope, state));
}

/* mailman_resume(letter_id bigint) RETURNS text */
Datum
mailman_resume(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;
	Wish		wish = {.hurry = true};
	const char *state = "";

	argument_check(fcinfo, 0, "letter_id");
	extension_enter(&scope, &use_resume);
	letter = control_prepare(PG_GETARG_INT64(0), role, false);
	if (letter_is(letter, "draft"))
		control_refuse(letter, "resumed", "Send it with mailman_send().");
	if (letter_is(letter, "cancelled"))
		control_refuse(letter, "resumed", "Cancelling is final.");
	if (!letter_is(letter, "sent") && !sender_may(letter))
		wish.sender = role;
	if (letter_is(letter, "paused"))
		state = "sending";
	if (letter_is(letter, "paused") || OidIsValid(wish.sender))
	{
		letter_check_sendable(letter, role);
		letter_check_names(letter, true);
	}
	state = control_set(letter, &use_resume, state, wish);
	launch_at_commit(letter->id);
	PG_RETURN_TEXT_P(control_return(&scope, state));
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

	statement_run_now(&order, SPI_OK_SELECT, values, NULL);
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
	Wish		wish = {0};
	const char *state = "cancelled";

	argument_check(fcinfo, 0, "letter_id");
	extension_enter(&scope, &use_cancel);
	letter = control_prepare(PG_GETARG_INT64(0), role, true);
	if (letter_is(letter, "cancelled"))
		ereport(NOTICE,
				(errmsg("letter " INT64_FORMAT " is cancelled already",
						letter->id)));
	else if (letter_is(letter, "draft") ||
			 (letter_is(letter, "sent") && !control_is_posted(letter)))
		control_refuse(letter, "cancelled",
					   "Only a letter in the post can be called back.");
	else if (letter_is(letter, "scheduled") && control_is_untouched(letter))
		state = control_set(letter, &use_cancel, "draft", wish);
	else
		state = control_set(letter, &use_cancel, "cancelled",
							control_by("cancelled", role));
	launch_at_commit(letter->id);	/* to skip the rest, or to fold */
	PG_RETURN_TEXT_P(control_return(&scope, state));
}
