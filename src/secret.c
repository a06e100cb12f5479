/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  The secrets of a newsletter.
 *
 * From them come Message-IDs, unsubscribe tokens and tags, and the hashes by
 * which forgotten addresses are known.  The first is made at its first use.
 * Others take its place one after the other (secret_rotate.c), and what was
 * made with those before stays good for as long as the owner wants.
 *
 * The first one is never removed: a mail has the same Message-ID on every
 * attempt, and nobody knows the addresses any more whose hashes it made.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "key_file.h"
#include "mailman.h"
#include "utils/builtins.h"

#define SECRET_BYTES 32

/* What is authenticated with a wrapped secret */
static char *
secret_owner(int64 newsletter_id, int64 generation)
{
	return key_file_owner("secret", newsletter_id,
						  psprintf("generation " INT64_FORMAT, generation));
}

/* see mailman.h */
void
secrets_find(int64 newsletter_id, Secrets *secrets)
{
	static Statement get = {
		.sql = "SELECT generation::int8, key, wrapped_by,"
		" expires_at IS NULL OR expires_at > clock_timestamp()"
		" FROM mailman.secret WHERE newsletter_id = $1 ORDER BY generation",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};
	bool		isnull;
	int			i;

	secrets->count = (int) statement_run_now(&get, SPI_OK_SELECT, values, NULL);
	if (secrets->count == 0)
		return;
	secrets->list = palloc(secrets->count * sizeof(Secret));
	secrets->live = palloc(secrets->count * sizeof(bool));
	for (i = 0; i < secrets->count; i++)
	{
		Stored		stored = {DatumGetByteaPP(row_datum(i, 2, &isnull)),
		row_text(i, 3)};

		secrets->list[i].key =
			key_file_unwrap(&stored, secret_owner(newsletter_id,
												  row_int64(i, 1, 0)),
							&secrets->list[i].len);
		secrets->live[i] = row_bool(i, 4);
	}
}

/* see mailman.h */
void
secret_make(int64 newsletter_id, int64 generation)
{
	static Statement make = {
		.sql = "INSERT INTO mailman.secret (newsletter_id, generation, key,"
		" wrapped_by) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, BYTEAOID, TEXTOID}
	};
	Datum		values[4] = {Int64GetDatum(newsletter_id),
	Int64GetDatum(generation)};
	char		nulls[4] = {' ', ' ', ' ', ' '};
	uint8		key[SECRET_BYTES];
	Stored		stored;

	if (!pg_strong_random(key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a secret for newsletter " INT64_FORMAT,
						newsletter_id)));
	key_file_wrap(&stored, secret_owner(newsletter_id, generation), key,
				  sizeof(key));
	explicit_bzero(key, sizeof(key));
	stored_columns(&stored, &values[2], &nulls[2]);
	statement_run(&make, SPI_OK_INSERT, values, nulls);
}

/* see mailman.h */
void
secrets_load(int64 newsletter_id, Secrets *secrets)
{
	Writing		writing = extension_writing();

	secrets_find(newsletter_id, secrets);
	if (secrets->count > 0)
		return;
	extension_may_write(&use_secret);
	secret_make(newsletter_id, 1);
	extension_set_writing(writing);
	secrets_find(newsletter_id, secrets);
	if (secrets->count == 0)
		elog(ERROR, "newsletter " INT64_FORMAT " has no secret",
			 newsletter_id);
}
