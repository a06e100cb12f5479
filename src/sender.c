/*-------------------------------------------------------------------------
 *
 * sender.c
 *	  The role in whose name a letter is sent.
 *
 * Its rights and user mappings count, and it is who put the letter in the post
 * first.  If that role is gone, or may not send the letter any more, the next
 * member of the newsletter's owner who resumes or sends it takes its place;
 * else a letter that was sent to half its readers could never go on.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

/* see letter.h */
bool
sender_may(const Letter *letter)
{
	ListCell   *cell;

	if (!OidIsValid(letter->sender_oid) ||
		!role_may(letter->sender_oid, letter->owner_oid))
		return false;
	foreach(cell, letter->relays)
	{
		if (!relay_may(lfirst(cell), letter->sender_oid))
			return false;
	}
	return true;
}

/* see letter.h */
void
sender_replace(int64 letter_id, Oid role)
{
	static Statement look = {
		.sql = "SELECT sender::text FROM mailman.letter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement replace = {
		.sql = "UPDATE mailman.letter SET sender = $2, sender_oid = $3"
		" WHERE id = $1",
		.nargs = 3,
		.argtypes = {INT8OID, NAMEOID, OIDOID}
	};
	Datum		values[3] = {Int64GetDatum(letter_id)};
	char	   *before = NULL;
	NameData	name;

	if (statement_run_now(&look, SPI_OK_SELECT, values, NULL) > 0)
		before = row_text(0, 1);
	namestrcpy(&name, GetUserNameFromId(role, false));
	values[1] = NameGetDatum(&name);
	values[2] = ObjectIdGetDatum(role);
	statement_run_now(&replace, SPI_OK_UPDATE, values, NULL);
	event_sender(letter_id, before, NameStr(name));
}

/* see letter.h */
void
sender_check_exists(const Letter *letter)
{
	if (OidIsValid(letter->sender_oid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" does not exist", letter->sender),
			 errdetail("It has sent letter " INT64_FORMAT ".", letter->id),
			 errhint("A member who resumes it with mailman_resume() takes its place.")));
}
