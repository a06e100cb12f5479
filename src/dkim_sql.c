/*-------------------------------------------------------------------------
 *
 * dkim_sql.c
 *	  mailman_set_dkim_key(): the key that signs a newsletter's mails.
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

/* mailman_set_dkim_key(newsletter_id bigint, key text) RETURNS text */
Datum
mailman_set_dkim_key(PG_FUNCTION_ARGS)
{
	static Statement set = {
		.sql = "INSERT INTO mailman.dkim_key (newsletter_id, key)"
		" VALUES ($1, $2)"
		" ON CONFLICT (newsletter_id) DO UPDATE SET key = EXCLUDED.key",
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID}
	};
	static Statement remove = {
		.sql = "DELETE FROM mailman.dkim_key WHERE newsletter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	ExtensionScope scope;
	text	   *result = NULL;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("newsletter_id must not be null")));
	pgstat_report_activity(STATE_RUNNING, "SELECT mailman_set_dkim_key(...)");
	extension_enter(&scope, &use_dkim_key);
	newsletter_check_member(PG_GETARG_INT64(0), role);
	if (PG_ARGISNULL(1))
		statement_run(&remove, SPI_OK_DELETE, values, NULL);
	else
	{
		char	   *record = dkim_public_record(TextDatumGetCString(values[1]));

		statement_run(&set, SPI_OK_INSERT, values, NULL);
		MemoryContextSwitchTo(caller);
		result = cstring_to_text(record);
	}
	extension_leave(&scope);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
