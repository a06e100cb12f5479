/*-------------------------------------------------------------------------
 *
 * guard_owned.c
 *	  Whose newsletter is it that somebody writes to?
 *
 * Members of newsletter.owner write the newsletter and what belongs to it, and
 * so do roles that see and write everybody's.  Whoever is neither is told the
 * same whether there is such a newsletter or not.
 *
 * A statement that writes a million rows asks once for each newsletter, as
 * long as they come one after the other.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "owned.h"
#include "utils/snapmgr.h"

/* What a statement has found out, in fn_extra of its trigger */
typedef struct GuardSeen
{
	Oid			role;
	bool		admin;			/* everything is theirs */
	bool		any;			/* the last newsletter that was theirs: */
	int64		newsletter_id;
} GuardSeen;

static GuardSeen *
guard_seen(FunctionCallInfo fcinfo)
{
	GuardSeen  *seen = fcinfo->flinfo->fn_extra;

	if (seen != NULL && seen->role == GetUserId())
		return seen;
	if (seen == NULL)
		seen = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
								   sizeof(GuardSeen));
	seen->role = GetUserId();
	seen->admin = role_is_admin(seen->role);
	seen->any = false;
	return seen;
}

/* see guard.h */
bool
guard_is_admin(FunctionCallInfo fcinfo)
{
	return guard_seen(fcinfo)->admin;
}

/* see guard.h */
void
guard_check_newsletter(FunctionCallInfo fcinfo, int64 newsletter_id)
{
	GuardSeen  *seen = guard_seen(fcinfo);

	if (seen->admin || (seen->any && seen->newsletter_id == newsletter_id))
		return;
	if (!role_may(seen->role, owned_newsletter_owner(newsletter_id,
													 GetLatestSnapshot())))
		newsletter_deny(newsletter_id, seen->role);
	seen->any = true;
	seen->newsletter_id = newsletter_id;
}

/* see guard.h */
void
guard_check_row(FunctionCallInfo fcinfo, HeapTuple row)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		isnull;
	Datum		newsletter;

	if (guard_is_admin(fcinfo))
		return;
	newsletter = guard_value(trigger, row, "newsletter_id", &isnull);
	if (!isnull)				/* NOT NULL will say so */
		guard_check_newsletter(fcinfo, DatumGetInt64(newsletter));
}

/* see guard.h */
void
guard_check_rows(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	guard_check_row(fcinfo, trigger->tg_trigtuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		guard_check_row(fcinfo, trigger->tg_newtuple);
}

/* see guard.h */
void
guard_check_letter(FunctionCallInfo fcinfo, int64 letter_id)
{
	Oid			role = GetUserId();
	int64		newsletter_id;

	if (guard_is_admin(fcinfo) ||
		(owned_letter_newsletter(letter_id, GetLatestSnapshot(),
								 &newsletter_id) &&
		 role_may(role, owned_newsletter_owner(newsletter_id,
											   GetLatestSnapshot()))))
		return;
	letter_deny(letter_id, role);
}
