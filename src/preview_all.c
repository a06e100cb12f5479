/*-------------------------------------------------------------------------
 *
 * preview_all.c
 *	  mailman_preview_all(): will it work out for everybody?
 *
 * A letter is rendered for each of its recipients as mailman_preview() and
 * the worker do, and no message is kept: a row tells its subject and its size,
 * or the fault that makes this delivery fail.  Recipients come through a
 * cursor and rows go to a tuplestore, which spills to disk; what one message
 * takes is freed before the next, so that the length of the list does not
 * matter.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(mailman_preview_all);

/* Recipients fetched at a time */
#define PREVIEW_AT_ONCE 100

/* Columns of the result */
enum
{
	OUT_SUBSCRIPTION, OUT_EMAIL, OUT_SUBJECT, OUT_ERROR, OUT_SIZE,
	OUT_COLUMNS
};

/* Is it still to be sent to whoever is active? */
static bool
preview_is_for_everybody(const Letter *letter)
{
	static Statement whole = {
		.sql = "SELECT state = 'draft' OR whole FROM mailman.letter"
		" WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};

	return statement_run(&whole, SPI_OK_SELECT, values, NULL) > 0 &&
		row_bool(0, 1);
}

/*
 * Who gets it: those queued; of a draft, and of a letter scheduled for the
 * whole list, every active subscription, too.  Columns as preview_fill() wants
 * them.
 */
static Portal
preview_open(const Letter *letter)
{
	static const char queued[] =
		"SELECT s.id, s.email, s.name, s.data, d.variables, d.queued_at"
		" FROM mailman.delivery d"
		" JOIN mailman.subscription s ON s.id = d.subscription_id"
		" WHERE d.letter_id = $1 AND s.newsletter_id = $2 ORDER BY s.id";
	static const char everybody[] =
		"SELECT s.id, s.email, s.name, s.data, d.variables,"
		" coalesce(d.queued_at, now())"
		" FROM mailman.subscription s LEFT JOIN mailman.delivery d"
		" ON d.letter_id = $1 AND d.subscription_id = s.id"
		" WHERE s.newsletter_id = $2"
		" AND (s.state = 'active' OR d.letter_id IS NOT NULL)"
		" ORDER BY s.id";
	Oid			types[2] = {INT8OID, INT8OID};
	Datum		values[2] = {Int64GetDatum(letter->id),
	Int64GetDatum(letter->newsletter_id)};

	return SPI_cursor_open_with_args(NULL, preview_is_for_everybody(letter) ?
									 everybody : queued, 2, types, values,
									 NULL, false, 0);
}

/* Render for one of them, and keep what is to be told */
static void
preview_row(const Letter *letter, uint64 row, ReturnSetInfo *result)
{
	RenderRecipient recipient = {0};
	Rendered	rendered;
	Datum		values[OUT_COLUMNS] = {0};
	bool		nulls[OUT_COLUMNS] = {0};
	SPITupleTable *rows = SPI_tuptable;
	char	   *verdict;
	bool		ok;

	(void) preview_fill(letter, row, &recipient, &verdict);
	SPI_tuptable = rows;
	ok = letter_render(letter, &recipient, &rendered);
	values[OUT_SUBSCRIPTION] = Int64GetDatum(recipient.subscription_id);
	values[OUT_EMAIL] = CStringGetTextDatum(recipient.email);
	nulls[OUT_SUBJECT] = nulls[OUT_SIZE] = !ok;
	nulls[OUT_ERROR] = ok && verdict == NULL;
	if (verdict != NULL)
		values[OUT_ERROR] = CStringGetTextDatum(verdict);
	if (ok)
	{
		values[OUT_SUBJECT] = CStringGetTextDatum(rendered.subject);
		values[OUT_SIZE] = Int64GetDatum((int64) rendered.size);
	}
	else
		values[OUT_ERROR] = CStringGetTextDatum(rendered.error);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* All that a row takes goes before the next */
static void
preview_rows(const Letter *letter, ReturnSetInfo *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "mailman preview",
												  ALLOCSET_DEFAULT_SIZES);
	Portal		portal = preview_open(letter);
	uint64		row;

	for (;;)
	{
		uint64		count;

		SPI_cursor_fetch(portal, true, PREVIEW_AT_ONCE);
		count = SPI_processed;
		if (count == 0)
			break;
		MemoryContextSwitchTo(context);
		for (row = 0; row < count; row++)
		{
			CHECK_FOR_INTERRUPTS();
			preview_row(letter, row, result);
			MemoryContextReset(context);
		}
		MemoryContextSwitchTo(caller);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(context);
}

/*
 * mailman_preview_all(letter_id bigint) RETURNS TABLE(subscription_id, email,
 * subject, error, size)
 *
 * A row per recipient, in the order of their ids: the subject as it is read
 * and the octets of the message (RFC 5322), or else the error; or both, if the
 * policy would not send it now.  What is wrong
 * with the letter itself is an ERROR, as for mailman_preview().
 */
Datum
mailman_preview_all(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	Letter	   *letter;

	argument_check(fcinfo, 0, "letter_id");
	InitMaterializedSRF(fcinfo, 0);
	extension_enter_reading(&scope);
	letter = preview_letter(PG_GETARG_INT64(0), role);
	letter_load_content(letter);
	letter_check_names(letter, false);
	preview_rows(letter, (ReturnSetInfo *) fcinfo->resultinfo);
	extension_leave(&scope);
	return (Datum) 0;
}
