/*-------------------------------------------------------------------------
 *
 * guard_newsletter.c
 *	  Whose newsletter is it, and are there its relays?
 *
 * A newsletter is written by members of its owner, and by roles that write
 * everybody's.  owner, relays and policy decide whose rights, servers and code
 * are used: they are set by members of the owner, old and new, and not even by
 * those others, who would get the rights of every owner.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_guard_newsletter);

/*
 * The current user must be a member of the newsletter's owner, old or new.  If
 * that role is gone, the owner of the extension gives the newsletter to
 * another; a restore may come before its roles.
 */
static void
guard_owner_member(const char *name, Oid role, bool was, const char *what)
{
	if (!OidIsValid(role))
	{
		if (superuser() || guard_is_owner())
			return;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", name),
				 OidIsValid(get_role_oid(name, true)) ?
				 errdetail("There is a role of that name, but the newsletter was not given to it.") : 0,
				 was ? errhint("Somebody who owns the extension sets another owner.") :
				 errhint("newsletter.owner is the name of a role.")));
	}
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set %s of a newsletter", what),
				 errdetail("Role \"%s\" is not a member of \"%s\", the newsletter's owner.",
						   GetUserNameFromId(GetUserId(), false), name),
				 errhint("Only members of the old and the new owner set owner, relays and policy.")));
}

/* May the current user write this newsletter at all? */
static void
guard_newsletter_writes(TriggerData *trigger, HeapTuple row)
{
	bool		isnull;
	Datum		id = guard_value(trigger, row, "id", &isnull);

	if (!role_may(GetUserId(), guard_role(trigger, row, "owner_oid")))
		newsletter_deny(DatumGetInt64(id), GetUserId());
}

/* With it go its partials, secret and key, and what it has forgotten */
static void
guard_newsletter_delete(TriggerData *trigger, HeapTuple row)
{
	guard_newsletter_writes(trigger, row);
	extension_check_tables(&use_newsletter_goes);
}

/*
 * A name is a name until the letter is sent, as a server may be made after
 * the newsletter; but most often it is misspelt.  pg_dump makes servers first.
 */
static void
guard_warn_relays(TriggerData *trigger, HeapTuple row)
{
	bool		isnull;
	Datum		relays = guard_value(trigger, row, "relays", &isnull);
	Datum	   *names;
	bool	   *nulls;
	int			count;
	int			i;

	if (isnull || guard_is_replica())
		return;
	deconstruct_array(DatumGetArrayTypeP(relays), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		if (!nulls[i])
			relay_warn(TextDatumGetCString(names[i]));
	}
}

static void
guard_newsletter_update(TriggerData *trigger, const char *owner, Oid role)
{
	static const char *const columns[] = {"owner", "relays", "policy"};
	size_t		i;

	for (i = 0; i < lengthof(columns); i++)
	{
		if (!guard_changes(trigger, columns[i]))
			continue;
		guard_owner_member(guard_text(trigger, trigger->tg_trigtuple, "owner"),
						   guard_role(trigger, trigger->tg_trigtuple,
									  "owner_oid"), true, columns[i]);
		guard_owner_member(owner, role, false, columns[i]);
	}
}

Datum
mailman_guard_newsletter(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);
	char	   *owner = guard_text(trigger, row, "owner");
	Oid			role;

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		guard_newsletter_delete(trigger, row);
		return PointerGetDatum(row);
	}
	if (owner == NULL)
		return PointerGetDatum(row);	/* NOT NULL will say so */
	row = guard_remember_role(trigger, row, "owner", "owner_oid");
	role = guard_role(trigger, row, "owner_oid");
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		guard_newsletter_writes(trigger, trigger->tg_trigtuple);
	guard_check_id(fcinfo);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		guard_owner_member(owner, role, false, "the owner");
	else
		guard_newsletter_update(trigger, owner, role);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		guard_changes(trigger, "relays"))
		guard_warn_relays(trigger, row);
	return PointerGetDatum(row);
}
