/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  The secret of a newsletter.
 *
 * From it come Message-IDs, unsubscribe tokens, and the hashes by which
 * forgotten addresses are known.  It is made at its first use and never
 * changes: tokens must hold as long as the mails they are in.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"

/* see mailman.h */
bool
secret_find(int64 newsletter_id, Secret *secret)
{
	static Statement get = {
		.sql = "SELECT key FROM mailman.secret WHERE newsletter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};
	bool		isnull;
	bytea	   *key;

	if (statement_run_now(&get, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	key = DatumGetByteaPCopy(row_datum(0, 1, &isnull));
	secret->key = (uint8 *) VARDATA(key);
	secret->len = VARSIZE(key) - VARHDRSZ;
	return true;
}

/* see mailman.h */
void
secret_load(int64 newsletter_id, Secret *secret)
{
	static Statement make = {
		.sql = "INSERT INTO mailman.secret (newsletter_id, key) VALUES ($1, $2)"
		" ON CONFLICT DO NOTHING",
		.nargs = 2,
		.argtypes = {INT8OID, BYTEAOID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id)};
	Writing		writing = extension_writing();
	bytea	   *key;

	if (secret_find(newsletter_id, secret))
		return;
	key = palloc(VARHDRSZ + 32);
	SET_VARSIZE(key, VARHDRSZ + 32);
	if (!pg_strong_random(VARDATA(key), 32))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a secret for newsletter " INT64_FORMAT,
						newsletter_id)));
	values[1] = PointerGetDatum(key);
	extension_may_write(&use_secret);
	statement_run(&make, SPI_OK_INSERT, values, NULL);
	extension_set_writing(writing);
	if (!secret_find(newsletter_id, secret))
		elog(ERROR, "newsletter " INT64_FORMAT " has no secret",
			 newsletter_id);
}
