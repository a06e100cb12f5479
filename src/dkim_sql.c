/*-------------------------------------------------------------------------
 *
 * dkim_sql.c
 *	  mailman_set_dkim_key(): the keys that sign a newsletter's mails.
 *
 * The key goes in and never comes out again: what is returned is its public
 * half, ready for the DNS.  The statement that brings it is kept out of the log
 * (log_mask.c), and out of pg_stat_activity as soon as it is here.  A worker at
 * it takes the new key with its next turn (see letter_mark.c).
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "key_file.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_set_dkim_key);

#define HINT_MAKE_KEY "Make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"

/* The record to publish; an ERROR if it is no key to sign with */
static char *
dkim_public_record(const char *pem)
{
	StringInfoData record;
	DkimKey    *key;
	char	   *why;
	int			bits;
	bool		ok;

	key = dkim_key_load(pem, &why);
	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key cannot be used for DKIM"),
				 errdetail("%s", why),
				 errhint(HINT_MAKE_KEY)));
	initStringInfo(&record);
	ok = dkim_key_record(&record, key);
	bits = dkim_key_weak_bits(key);
	dkim_key_free(key);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not write the public key")));
	if (bits > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("the RSA key has only %d bits", bits),
				 errdetail("Receivers may take a signature with less than 2048 bits for none."),
				 errhint(HINT_MAKE_KEY)));
	return record.data;
}

/* What is authenticated with a wrapped key */
static char *
dkim_key_owner(int64 newsletter_id, const char *selector)
{
	return key_file_owner("dkim_key", newsletter_id,
						  psprintf("selector %s", selector));
}

/* see mailman.h */
char *
dkim_key_unwrap(int64 newsletter_id, const char *selector, bytea *key,
				char *wrapped_by)
{
	Stored		stored = {key, wrapped_by};
	size_t		len;

	return (char *) key_file_unwrap(&stored,
									dkim_key_owner(newsletter_id, selector),
									&len);
}

/* The selector that mails are signed with now; an ERROR if there is none */
static char *
dkim_selector_of(int64 newsletter_id)
{
	static Statement find = {
		.sql = "SELECT dkim_selector FROM mailman.newsletter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};
	char	   *selector = NULL;

	if (statement_run_now(&find, SPI_OK_SELECT, values, NULL) > 0)
		selector = row_text(0, 1);
	if (selector == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("newsletter " INT64_FORMAT " has no dkim_selector",
						newsletter_id),
				 errhint("Set it, or say for which selector the key is.")));
	return selector;
}

static void
dkim_key_keep(int64 newsletter_id, const char *selector, const char *pem)
{
	static Statement set = {
		.sql = "INSERT INTO mailman.dkim_key (newsletter_id, selector, key,"
		" wrapped_by) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT (newsletter_id, selector) DO UPDATE SET"
		" key = EXCLUDED.key, wrapped_by = EXCLUDED.wrapped_by",
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, BYTEAOID, TEXTOID}
	};
	Datum		values[4] = {Int64GetDatum(newsletter_id),
	CStringGetTextDatum(selector)};
	char		nulls[4] = {' ', ' ', ' ', ' '};
	Stored		stored;

	key_file_wrap(&stored, dkim_key_owner(newsletter_id, selector),
				  (const uint8 *) pem, strlen(pem));
	stored_columns(&stored, &values[2], &nulls[2]);
	statement_run(&set, SPI_OK_INSERT, values, nulls);
}

static void
dkim_key_remove(int64 newsletter_id, const char *selector)
{
	static Statement remove = {
		.sql = "DELETE FROM mailman.dkim_key WHERE newsletter_id = $1"
		" AND selector = $2",
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id),
	CStringGetTextDatum(selector)};

	statement_run(&remove, SPI_OK_DELETE, values, NULL);
}

/*
 * mailman_set_dkim_key(newsletter_id bigint, key text, selector text)
 * RETURNS text
 *
 * A newsletter has a key for each selector, and signs with that of its
 * dkim_selector: another key can be published before it is used.
 */
Datum
mailman_set_dkim_key(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	ExtensionScope scope;
	int64		newsletter_id;
	char	   *selector;
	char	   *pem = NULL;
	char	   *record = NULL;
	text	   *result = NULL;

	argument_check(fcinfo, 0, "newsletter_id");
	newsletter_id = PG_GETARG_INT64(0);
	pgstat_report_activity(STATE_RUNNING, "SELECT mailman_set_dkim_key(...)");
	extension_enter(&scope, &use_dkim_key);
	newsletter_check_member(newsletter_id, role);
	if (!PG_ARGISNULL(1))
	{
		pem = text_to_cstring(PG_GETARG_TEXT_PP(1));
		record = dkim_public_record(pem);
	}
	selector = PG_ARGISNULL(2) ? dkim_selector_of(newsletter_id) :
		text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (pem == NULL)
		dkim_key_remove(newsletter_id, selector);
	else
	{
		dkim_key_keep(newsletter_id, selector, pem);
		MemoryContextSwitchTo(caller);
		result = cstring_to_text(record);
	}
	extension_leave(&scope);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
