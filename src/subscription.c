/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  Subscriptions: what an address and a line of text may hold, and
 *	  mailman_subscribe().
 *
 * The checks are CHECK constraints, so they hold for INSERT, COPY and
 * everything else; they raise errors of their own because "violates check
 * constraint" does not say what is wrong with an address.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "forgotten.h"
#include "mailman.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "unicode.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_find);
PG_FUNCTION_INFO_V1(mailman_check_address);
PG_FUNCTION_INFO_V1(mailman_check_line);
PG_FUNCTION_INFO_V1(mailman_check_name);
PG_FUNCTION_INFO_V1(mailman_is_address);
PG_FUNCTION_INFO_V1(mailman_subscribe);

/* mailman_is_address(text) RETURNS boolean: RFC 5321 4.1.2, RFC 6531 */
Datum
mailman_is_address(PG_FUNCTION_ARGS)
{
	text	   *address = PG_GETARG_TEXT_PP(0);
	const char *why;

	PG_RETURN_BOOL(address_is_valid(VARDATA_ANY(address),
									VARSIZE_ANY_EXHDR(address), &why));
}

/* see mailman.h */
char *
text_shown(const char *value, int len)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	len = pg_mbcliplen(value, len, 100);
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) value[i];

		if (c < 0x20 || c == 0x7f)
			appendStringInfo(&out, "\\x%02x", c);
		else
			appendStringInfoChar(&out, (char) c);
	}
	return out.data;
}

/* mailman.check_address(text): true, or ERROR 23514 */
Datum
mailman_check_address(PG_FUNCTION_ARGS)
{
	text	   *address = PG_GETARG_TEXT_PP(0);
	const char *why = NULL;

	if (!address_is_valid(VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address),
						  &why))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"%s\" is not a mail address",
						text_shown(VARDATA_ANY(address),
								   VARSIZE_ANY_EXHDR(address))),
				 errdetail("%s", why),
				 errhint("Filter a list with mailman_is_address() before loading it.")));
	PG_RETURN_BOOL(true);
}

/* What becomes a field of a header need not be longer */
#define LINE_MAX_BYTES	(64 * 1024)

/* No control characters, and not too long; else ERROR 23514 */
static void
line_check(const char *bytes, int len, text *what)
{
	int			i;

	if (len > LINE_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("%s must not be longer than %d bytes",
						text_to_cstring(what), LINE_MAX_BYTES),
				 errdetail("It has %d.", len)));
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) bytes[i];

		if (c >= 0x20 && c != 0x7f)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("%s must not contain control characters",
						text_to_cstring(what)),
				 errdetail("Byte 0x%02x at position %d of \"%s\".", c, i + 1,
						   text_shown(bytes, len)),
				 errhint("It becomes part of a mail's header, where a line end would start another field.")));
	}
}

/* mailman.check_line(text, what): true, or ERROR 23514 */
Datum
mailman_check_line(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	line_check(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
			   PG_GETARG_TEXT_PP(1));
	PG_RETURN_BOOL(true);
}

/*
 * mailman.check_name(text, what): true, or ERROR 23514
 *
 * A name is shown beside other things: an address, a button, the end of a
 * file's name.  Whatever turns the direction of writing makes these look other
 * than they are.  Names in scripts from right to left need none of it.
 */
Datum
mailman_check_name(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const char *bytes = VARDATA_ANY(value);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	size_t		i;
	size_t		n;
	uint32_t	c;

	line_check(bytes, (int) len, PG_GETARG_TEXT_PP(1));
	for (i = 0; i < len; i += Max(n, 1))
	{
		n = unicode_decode((const unsigned char *) bytes + i, len - i, &c);
		if (n == 0 || !unicode_turns(c))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("%s must not contain characters that turn the direction of writing",
						text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 errdetail("U+%04X at byte %d.", (unsigned int) c,
						   (int) i + 1),
				 errhint("Remove them: regexp_replace(..., '[\\u202a-\\u202e\\u2066-\\u2069]', '', 'g').")));
	}
	PG_RETURN_BOOL(true);
}

/* see mailman.h */
bool
newsletter_may(int64 newsletter_id, Oid role)
{
	char	   *name;
	Oid			owner;

	return role_may(role, newsletter_find_owner(newsletter_id, &name, &owner) ?
					owner : InvalidOid);
}

/* see mailman.h */
void
newsletter_check_member(int64 newsletter_id, Oid role)
{
	char	   *name;
	Oid			owner;

	bool		found = newsletter_find_owner(newsletter_id, &name, &owner);

	if (!role_may(role, found ? owner : InvalidOid))
		newsletter_deny(newsletter_id, role);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("newsletter " INT64_FORMAT " does not exist",
						newsletter_id),
				 errhint("Newsletters are rows of mailman.newsletter.")));
	owner_check_exists(newsletter_id, name, owner);
}

/*
 * mailman_subscribe(newsletter_id, email, name, data, again) RETURNS bigint
 *
 * The forgiving way: a known address is updated (name if given, data merged
 * in).  Who unsubscribed, bounced or was forgotten comes back only with again,
 * who complained never.
 */
Datum
mailman_subscribe(PG_FUNCTION_ARGS)
{
	static Statement upsert = {
		.sql = "INSERT INTO mailman.subscription AS s"
		" (newsletter_id, email, name, data)"
		" VALUES ($1, $2, $3, coalesce($4, '{}'))"
		" ON CONFLICT (newsletter_id, lower(email)) DO UPDATE SET"
		" email = excluded.email, name = coalesce(excluded.name, s.name),"
		" data = s.data || excluded.data,"
		" state = CASE WHEN $5 AND s.state IN ('unsubscribed', 'bounced')"
		" THEN 'active' ELSE s.state END"
		" RETURNING s.id",
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, JSONBOID, BOOLOID}
	};
	Oid			role = GetUserId();
	Datum		values[5];
	char		nulls[5];
	ExtensionScope scope;
	bool		again;
	int64		id;
	int			i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null",
						PG_ARGISNULL(0) ? "newsletter_id" : "email")));
	if (!PG_ARGISNULL(3) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(3)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data must be a JSON object"),
				 errhint("Write {\"name\": value, ...}.")));
	for (i = 0; i < 5; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	again = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	extension_enter(&scope, again ? &use_revive : &use_subscribe);
	newsletter_check_member(PG_GETARG_INT64(0), role);
	if (again)
		forgotten_revive(PG_GETARG_INT64(0),
						 text_to_cstring(PG_GETARG_TEXT_PP(1)));
	statement_run(&upsert, SPI_OK_INSERT_RETURNING, values, nulls);
	id = row_int64(0, 1, 0);
	extension_leave(&scope);
	PG_RETURN_INT64(id);
}

/*
 * mailman_find(newsletter_id, email) RETURNS bigint
 *
 * The subscription of that address, or null.  lower() is not leakproof, so a
 * query of a tenant's would read all readers of the newsletter.
 */
Datum
mailman_find(PG_FUNCTION_ARGS)
{
	static Statement find = {
		.sql = "SELECT id FROM mailman.subscription"
		" WHERE newsletter_id = $1 AND lower(email) = lower($2)",
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID}
	};
	Oid			role = GetUserId();
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	ExtensionScope scope;
	bool		found;
	int64		id = 0;

	argument_check(fcinfo, 0, "newsletter_id");
	argument_check(fcinfo, 1, "email");
	extension_enter_reading(&scope);
	newsletter_check_member(PG_GETARG_INT64(0), role);
	found = statement_look(&find, values, NULL) > 0;
	if (found)
		id = row_int64(0, 1, 0);
	extension_leave(&scope);
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
