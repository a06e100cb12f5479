/*-------------------------------------------------------------------------
 *
 * preview.c
 *	  What a recipient gets, and what became of each: mailman_preview() and
 *	  mailman_deliveries().
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
#include "policy.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mailman_preview);
PG_FUNCTION_INFO_V1(mailman_deliveries);

/* see mailman.h */
Letter *
preview_letter(int64 letter_id, Oid role)
{
	Letter	   *letter = letter_find(letter_id);

	letter_check_member(letter, role);
	return letter;
}

/* see mailman.h */
Jsonb *
preview_fill(const Letter *letter, uint64 row, RenderRecipient *recipient,
			 char **verdict)
{
	bool		data_null;
	bool		given_null;
	Datum		data = row_datum(row, 4, &data_null);
	Datum		given = row_datum(row, 5, &given_null);
	Jsonb	   *variables = NULL;

	*verdict = NULL;
	recipient->subscription_id = row_int64(row, 1, 0);
	recipient->email = row_text(row, 2);
	recipient->name = row_text(row, 3);
	recipient->date = letter_date(letter, row_int64(row, 6, 0));
	recipient->unsubscribe_url = unsubscribe_url(&letter->render,
												 recipient->subscription_id,
												 false);
	recipient->fault = letter_data_fault(letter,
										 datum_size(data, data_null) +
										 datum_size(given, given_null));
	if (recipient->fault != NULL)
		return NULL;
	recipient->data = lookup_node(data_null ? NULL :
								  DatumGetJsonbPCopy(data));
	if (!given_null)
		variables = DatumGetJsonbPCopy(given);
	/* the row is read: this runs statements of its own */
	*verdict = preview_decide(letter, recipient->subscription_id, &variables);
	recipient->variables = lookup_node(variables);
	return variables;
}

static void
preview_fail(const Letter *letter, const RenderRecipient *recipient,
			 const char *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("letter " INT64_FORMAT " cannot be rendered for subscription " INT64_FORMAT,
					letter->id, recipient->subscription_id),
			 errdetail("%s", fault)));
}

/*
 * The recipient: of that id, else the first active one.  Queued already: with
 * the variables and the date it was queued with, else with the time of now.
 */
Jsonb *
preview_recipient(const Letter *letter, NullableDatum subscription,
				  RenderRecipient *recipient)
{
	static Statement load = {
		.sql = "SELECT s.id, s.email, s.name, s.data, d.variables,"
		" coalesce(d.queued_at, now())"
		" FROM mailman.subscription s LEFT JOIN mailman.delivery d"
		" ON d.letter_id = $1 AND d.subscription_id = s.id"
		" WHERE s.newsletter_id = $2"
		" AND CASE WHEN $3 IS NULL THEN s.state = 'active' ELSE s.id = $3 END"
		" ORDER BY s.id LIMIT 1",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(letter->id),
	Int64GetDatum(letter->newsletter_id), subscription.value};
	char		nulls[3] = {' ', ' ', subscription.isnull ? 'n' : ' '};
	Jsonb	   *variables;
	char	   *verdict;

	if (statement_run(&load, SPI_OK_SELECT, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 subscription.isnull ?
				 errmsg("newsletter " INT64_FORMAT " has no active subscription",
						letter->newsletter_id) :
				 errmsg("subscription " INT64_FORMAT " does not exist in newsletter " INT64_FORMAT,
						DatumGetInt64(subscription.value),
						letter->newsletter_id)));
	variables = preview_fill(letter, 0, recipient, &verdict);
	if (recipient->fault != NULL)
		preview_fail(letter, recipient, recipient->fault);
	if (verdict != NULL)
		ereport(NOTICE,
				(errmsg("subscription " INT64_FORMAT " would not get this mail now",
						recipient->subscription_id),
				 errdetail("%s", verdict)));
	return variables;
}

/* The message, put together where it is returned: it may be large */
static text *
preview_text(const Rendered *rendered)
{
	int			count = RENDERED_PIECES(rendered);
	Piece	   *pieces = palloc(count * sizeof(Piece));
	text	   *result = palloc(VARHDRSZ + rendered->size);
	char	   *to = VARDATA(result);
	int			i;

	rendered_pieces(rendered, pieces);
	for (i = 0; i < count; i++)
	{
		memcpy(to, pieces[i].data, pieces[i].len);
		to += pieces[i].len;
	}
	SET_VARSIZE(result, to - (char *) result);
	pfree(pieces);
	return result;
}

/* mailman_preview(letter_id, subscription_id) RETURNS text: RFC 5322 */
Datum
mailman_preview(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	NullableDatum subscription;
	ExtensionScope scope;
	Letter	   *letter;
	RenderRecipient recipient = {0};
	Rendered	rendered;
	text	   *result;

	argument_check(fcinfo, 0, "letter_id");
	subscription.isnull = PG_ARGISNULL(1);
	subscription.value = PG_GETARG_DATUM(1);
	extension_enter_reading(&scope);
	letter = preview_letter(PG_GETARG_INT64(0), role);
	letter_load_content(letter);
	letter_check_names(letter, false);
	preview_recipient(letter, subscription, &recipient);
	if (!render_message(&letter->render, &recipient, &rendered))
		preview_fail(letter, &recipient, rendered.error);
	MemoryContextSwitchTo(caller);
	result = preview_text(&rendered);
	extension_leave(&scope);
	PG_RETURN_TEXT_P(result);
}

/*
 * mailman_deliveries(letter_id) RETURNS jsonb
 *
 * One member per recipient: "pending", "sending"; {"delivered": id of the
 * newsletter_email}; {"deferred" | "failed" | "skipped" | "doubtful": reason}.
 * NULL if the letter was purged.
 */
Datum
mailman_deliveries(PG_FUNCTION_ARGS)
{
	static Statement map = {
		.sql = "SELECT coalesce(jsonb_object_agg(d.subscription_id,"
		" CASE WHEN d.state = 'delivered'"
		" THEN jsonb_build_object(d.state, e.id)"
		" WHEN d.reason IS NULL THEN to_jsonb(d.state)"
		" ELSE jsonb_build_object(d.state, d.reason) END), '{}')"
		" FROM mailman.delivery d LEFT JOIN mailman.newsletter_email e"
		" ON e.letter_id = $1 AND e.subscription_id = d.subscription_id"
		" WHERE d.letter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	ExtensionScope scope;
	Jsonb	   *result;
	bool		isnull;

	argument_check(fcinfo, 0, "letter_id");
	extension_enter_reading(&scope);
	if (preview_letter(PG_GETARG_INT64(0), role)->purged)
	{
		extension_leave(&scope);
		PG_RETURN_NULL();
	}
	statement_run(&map, SPI_OK_SELECT, values, NULL);
	MemoryContextSwitchTo(caller);
	result = DatumGetJsonbPCopy(row_datum(0, 1, &isnull));
	extension_leave(&scope);
	PG_RETURN_JSONB_P(result);
}
