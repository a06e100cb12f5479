/*-------------------------------------------------------------------------
 *
 * test_request.c
 *	  mailman_test(): a marked copy of a letter, to look at it.
 *
 * It only inserts a row, in the caller's transaction; the letter's worker
 * sends it (see test_copy.c) through the relays, at the rates and with the
 * rights of the letter, and touches nothing of the letter itself.
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

PG_FUNCTION_INFO_V1(mailman_test);

/* So many tests of a letter wait at most: it is no way to send it */
#define TESTS_MAX 100

static void
test_check_address(text *address)
{
	const char *why = NULL;

	if (!address_is_valid(VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address),
						  &why))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a mail address",
						text_shown(VARDATA_ANY(address),
								   VARSIZE_ANY_EXHDR(address))),
				 errdetail("%s", why)));
}

static void
test_check_room(const Letter *letter)
{
	static Statement count = {
		.sql = "SELECT count(*) FROM mailman.test"
		" WHERE letter_id = $1 AND state IN ('pending', 'sending')",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};

	statement_run(&count, SPI_OK_SELECT, values, NULL);
	if (row_int64(0, 1, 0) >= TESTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("letter " INT64_FORMAT " has %d tests on their way already",
						letter->id, TESTS_MAX),
				 errhint("Wait until they have left.")));
}

static int64
test_insert(const Letter *letter, int64 subscription_id, Jsonb *variables,
			text *address, Oid role)
{
	static Statement insert = {
		.sql = "INSERT INTO mailman.test (letter_id, subscription_id, address,"
		" requested_by, requested_at, variables)"
		" VALUES ($1, $2, $3, $4, clock_timestamp(), $5) RETURNING id",
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TEXTOID, NAMEOID, JSONBOID}
	};
	char		nulls[5] = {' ', ' ', ' ', ' ', variables ? ' ' : 'n'};
	Datum		values[5] = {Int64GetDatum(letter->id),
	Int64GetDatum(subscription_id), PointerGetDatum(address)};
	NameData	name;

	namestrcpy(&name, GetUserNameFromId(role, false));
	values[3] = NameGetDatum(&name);
	if (variables != NULL)
		values[4] = JsonbPGetDatum(variables);
	statement_run(&insert, SPI_OK_INSERT_RETURNING, values, nulls);
	return row_int64(0, 1, 0);
}

/*
 * mailman_test(letter_id bigint, address text, subscription_id bigint)
 * RETURNS bigint
 *
 * Queue a copy of the letter, marked as a test, to an address (RFC 5321, RFC
 * 6531): with name, data and variables of that subscription, else of the first
 * active one.  The id of its row in mailman.test, which tells what becomes of
 * it.  Refused as mailman_send() would refuse it; 54000 if 100 of the letter
 * are on their way.
 */
Datum
mailman_test(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	NullableDatum subscription;
	RenderRecipient recipient = {0};
	ExtensionScope scope;
	Letter	   *letter;
	Jsonb	   *variables;
	text	   *address;
	int64		id;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null",
						PG_ARGISNULL(0) ? "letter_id" : "address")));
	address = PG_GETARG_TEXT_PP(1);
	subscription.isnull = PG_ARGISNULL(2);
	subscription.value = PG_GETARG_DATUM(2);
	/* the policy is asked before we are those who write */
	extension_enter_reading(&scope);
	letter = send_prepare(PG_GETARG_INT64(0), role, true);
	test_check_address(address);
	variables = preview_recipient(letter, subscription, &recipient);
	extension_may_write(&use_test);
	test_check_room(letter);
	id = test_insert(letter, recipient.subscription_id, variables, address,
					 role);
	send_tell(letter, psprintf("test " INT64_FORMAT " of letter " INT64_FORMAT,
							   id, letter->id));
	launch_at_commit(letter->id);
	extension_leave(&scope);
	PG_RETURN_INT64(id);
}
