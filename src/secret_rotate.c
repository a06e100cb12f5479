/*-------------------------------------------------------------------------
 *
 * secret_rotate.c
 *	  mailman_rotate_secret(), mailman_rewrap(): other secrets, or the same
 *	  wrapped with other keys.
 *
 * A newsletter's latest secret makes the tokens of its mails; what was made
 * with those before is good until they expire.  A worker at it takes the new
 * one with its next turn, as the newsletter's row has changed (letter_mark.c).
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
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(mailman_rotate_secret);
PG_FUNCTION_INFO_V1(mailman_rewrap);

/* ---- another secret ---- */

/*
 * The generation that comes next; one rotation of a newsletter at a time.  Its
 * row becomes another version, so that workers look what has changed.
 */
static int64
rotation_begin(int64 newsletter_id)
{
	static Statement lock = {
		.sql = "UPDATE mailman.newsletter SET name = name WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement next = {
		.sql = "SELECT count(*), max(generation)::int8 + 1"
		" FROM mailman.secret WHERE newsletter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};
	Secrets		secrets;

	statement_run(&lock, SPI_OK_UPDATE, values, NULL);
	secrets_load(newsletter_id, &secrets);
	statement_run_now(&next, SPI_OK_SELECT, values, NULL);
	if (row_int64(0, 1, 0) >= SECRETS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("newsletter " INT64_FORMAT " has %d secrets already",
						newsletter_id, SECRETS_MAX),
				 errdetail("Old ones are kept until they expire."),
				 errhint("Let them expire sooner, by a shorter keep.")));
	return row_int64(0, 2, 0);
}

/* What was made before is good that long, and no longer than it was */
static TimestampTz
rotation_expire(int64 newsletter_id, Datum keep)
{
	static Statement expire = {
		.sql = "UPDATE mailman.secret SET expires_at ="
		" least(expires_at, clock_timestamp() + $2) WHERE newsletter_id = $1"
		" RETURNING expires_at",
		.nargs = 2,
		.argtypes = {INT8OID, INTERVALOID}
	};
	static Statement remove = {
		.sql = "DELETE FROM mailman.secret WHERE newsletter_id = $1"
		" AND generation > 1 AND expires_at <= clock_timestamp()",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id), keep};
	TimestampTz until = DT_NOBEGIN;
	uint64		rows = statement_change_seen(&expire, SPI_OK_UPDATE_RETURNING,
											 values, NULL);
	uint64		row;

	for (row = 0; row < rows; row++)
		until = Max(until, row_int64(row, 1, 0));
	statement_change_seen(&remove, SPI_OK_DELETE, values, NULL);
	return until;
}

/* Not before now, and not in an age that no timestamp reaches */
static void
keep_check(const Interval *keep)
{
	double		days = keep->month * (365.25 / 12) + keep->day +
		keep->time / (double) USECS_PER_DAY;

	if (days < 0 || days > 36525)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keep is not between 0 and 100 years"),
				 errhint("It is how long links in mails that were sent before go on working.")));
}

/* mailman_rotate_secret(newsletter_id bigint, keep interval) RETURNS timestamptz */
Datum
mailman_rotate_secret(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	int64		newsletter_id;
	int64		generation;
	TimestampTz until;

	argument_check(fcinfo, 0, "newsletter_id");
	argument_check(fcinfo, 1, "keep");
	newsletter_id = PG_GETARG_INT64(0);
	keep_check(PG_GETARG_INTERVAL_P(1));
	extension_enter(&scope, &use_rotate);
	newsletter_check_member(newsletter_id, role);
	generation = rotation_begin(newsletter_id);
	until = rotation_expire(newsletter_id, PG_GETARG_DATUM(1));
	secret_make(newsletter_id, generation);
	extension_leave(&scope);
	PG_RETURN_TIMESTAMPTZ(until);
}

/* ---- the same, wrapped anew ---- */

/* Write a row as it is to be from now on; false: somebody has, meanwhile */
static bool
rewrap_row(Statement *update, Datum *values, const char *owner, bool plain)
{
	Stored		stored = {DatumGetByteaPP(values[2]),
	DatumGetPointer(values[3])};
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};
	size_t		len;
	uint8	   *secret = key_file_unwrap(&stored, owner, &len);

	if (plain)
	{
		stored.wrapped_by = NULL;
		stored.bytes = palloc(VARHDRSZ + len);
		SET_VARSIZE(stored.bytes, VARHDRSZ + len);
		memcpy(VARDATA(stored.bytes), secret, len);
	}
	else
		key_file_wrap(&stored, owner, secret, len);
	stored_columns(&stored, &values[3], &nulls[3]);
	return statement_run(update, SPI_OK_UPDATE, values, nulls) == 1;
}

/* All rows that the first statement finds, by the second; how many */
static int64
rewrap_table(Statement *find, Statement *update, const char *table,
			 const char *name, bool plain)
{
	uint64		rows = statement_run(find, SPI_OK_SELECT, NULL, NULL);
	Datum		(*values)[5] = palloc(Max(rows, 1) * sizeof(*values));
	char	  **owners = palloc(Max(rows, 1) * sizeof(char *));
	int64		count = 0;
	bool		isnull;
	uint64		i;

	for (i = 0; i < rows; i++)
	{
		char	   *what = row_text(i, 2);

		values[i][0] = row_datum(i, 1, &isnull);
		values[i][1] = CStringGetTextDatum(what);
		values[i][2] =
			PointerGetDatum(DatumGetByteaPCopy(row_datum(i, 3, &isnull)));
		values[i][3] = PointerGetDatum(row_text(i, 4));
		owners[i] = key_file_owner(table, DatumGetInt64(values[i][0]),
								   psprintf("%s %s", name, what));
	}
	for (i = 0; i < rows; i++)
		count += rewrap_row(update, values[i], owners[i], plain);
	return count;
}

/* mailman_rewrap(plain boolean) RETURNS bigint */
Datum
mailman_rewrap(PG_FUNCTION_ARGS)
{
	static Statement secrets = {
		.sql = "SELECT newsletter_id, generation::text, key, wrapped_by"
		" FROM mailman.secret"
	};
	static Statement secret = {
		.sql = "UPDATE mailman.secret SET key = $4, wrapped_by = $5"
		" WHERE newsletter_id = $1 AND generation = $2::int AND key = $3",
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, BYTEAOID, BYTEAOID, TEXTOID}
	};
	static Statement keys = {
		.sql = "SELECT newsletter_id, selector, key, wrapped_by"
		" FROM mailman.dkim_key"
	};
	static Statement key = {
		.sql = "UPDATE mailman.dkim_key SET key = $4, wrapped_by = $5"
		" WHERE newsletter_id = $1 AND selector = $2 AND key = $3",
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, BYTEAOID, BYTEAOID, TEXTOID}
	};
	Oid			role = GetUserId();
	ExtensionScope scope;
	bool		plain;
	int64		count;

	argument_check(fcinfo, 0, "plain");
	plain = PG_GETARG_BOOL(0);
	if (!has_privs_of_role(role, extension_owner()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to rewrap secrets"),
				 errdetail("Only the owner of extension mailman may.")));
	if (!plain && !key_file_is_set())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("mailman.key_file is not set"),
				 errhint("Set it, and reload the configuration.")));
	extension_enter(&scope, &use_rewrap);
	count = rewrap_table(&secrets, &secret, "secret", "generation", plain) +
		rewrap_table(&keys, &key, "dkim_key", "selector", plain);
	extension_leave(&scope);
	PG_RETURN_INT64(count);
}
