/*-------------------------------------------------------------------------
 *
 * guard_owned.c
 *	  Whose newsletter is it that somebody writes to?
 *
 * Members of newsletter.owner write the newsletter and what belongs to it, and
 * so do roles that see and write everybody's.  A role that is neither is told
 * the same whether there is such a newsletter or not.
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
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
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

/* Has this session just been given that id by the table's own sequence? */
static bool
guard_id_was_given(Relation rel, int64 id)
{
	char	   *name = psprintf("%s_id_seq", RelationGetRelationName(rel));
	Datum		sequence =
		ObjectIdGetDatum(get_relname_relid(name, RelationGetNamespace(rel)));
	MemoryContext context = CurrentMemoryContext;
	volatile bool given = false;
	Oid			role;
	int			sec_context;

	/* it is granted to nobody */
	GetUserIdAndSecContext(&role, &sec_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		given = DatumGetInt64(DirectFunctionCall1(currval_oid,
												  sequence)) == id;
	}
	PG_CATCH();
	{
		/* it has given none; what is left open goes with the error to come */
		if (geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	SetUserIdAndSecContext(role, sec_context);
	return given;
}

/* see guard.h */
void
guard_check_id(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel = trigger->tg_relation;
	bool		isnull;
	Datum		id;

	if (guard_is_admin(fcinfo) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return;
	id = guard_value(trigger, guard_row(trigger), "id", &isnull);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		!guard_changes(trigger, "id") :
		isnull || guard_id_was_given(rel, DatumGetInt64(id)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to choose the id of a %s",
					RelationGetRelationName(rel)),
			 errdetail("Ids are of all owners: one that is taken, or will be, could be somebody else's."),
			 errhint("Leave the id out, and read it with RETURNING; roles that were granted 'admin' choose ids.")));
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
