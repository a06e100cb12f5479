/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Triggers that keep the tables true, whatever was granted on them.
 *
 * Applications write newsletters, subscriptions and drafts with plain SQL;
 * what only the extension may write (state, sender, tally, deliveries) and
 * what gives rights (owner, relays, policy) is refused here, with a hint that
 * names the function to call.  ENABLE ALWAYS, so session_replication_role
 * does not turn them off.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(mailman_guard_subscription);
PG_FUNCTION_INFO_V1(mailman_guard_partial);
PG_FUNCTION_INFO_V1(mailman_guard_accounts);
PG_FUNCTION_INFO_V1(mailman_guard_origin);

TriggerData *
guard_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is a trigger")));
	return (TriggerData *) fcinfo->context;
}

/* see guard.h */
HeapTuple
guard_row(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
}

/* see guard.h */
bool
guard_is_owner(void)
{
	return has_privs_of_role(GetUserId(),
							 extension_owner());
}

/* see guard.h */
bool
guard_loads(void)
{
	ExtensionScope scope;
	bool		armed;

	if (!guard_is_owner())
		return false;
	extension_enter_reading(&scope);
	armed = origin_is_ours();
	extension_leave(&scope);
	return !armed;
}

/* see guard.h */
bool
guard_is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		guard_is_owner();
}

/* see guard.h */
bool
guard_lets_pass(void)
{
	return extension_is_writing() || guard_is_replica();
}

int
guard_column(TriggerData *trigger, const char *column)
{
	int			number = SPI_fnumber(RelationGetDescr(trigger->tg_relation),
									 column);

	if (number <= 0)
		elog(ERROR, "table \"%s\" has no column \"%s\"",
			 RelationGetRelationName(trigger->tg_relation), column);
	return number;
}

Datum
guard_value(TriggerData *trigger, HeapTuple row, const char *column,
			bool *isnull)
{
	return heap_getattr(row, guard_column(trigger, column),
						RelationGetDescr(trigger->tg_relation), isnull);
}

char *
guard_text(TriggerData *trigger, HeapTuple row, const char *column)
{
	return SPI_getvalue(row, RelationGetDescr(trigger->tg_relation),
						guard_column(trigger, column));
}

/* see guard.h */
bool
guard_changes(TriggerData *trigger, const char *column)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	Form_pg_attribute attribute;
	bool		old_null;
	bool		new_null;
	Datum		old_value = guard_value(trigger, trigger->tg_trigtuple,
										column, &old_null);
	Datum		new_value = guard_value(trigger, trigger->tg_newtuple,
										column, &new_null);

	if (old_null || new_null)
		return old_null != new_null;
	attribute = TupleDescAttr(desc, guard_column(trigger, column) - 1);
	return !datum_image_eq(old_value, new_value, attribute->attbyval,
						   attribute->attlen);
}

/*
 * Deliveries refer to it: its identity stays.  BEFORE INSERT OR UPDATE OR
 * DELETE ON mailman.subscription FOR EACH ROW
 */
Datum
mailman_guard_subscription(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		(guard_changes(trigger, "newsletter_id") ||
		 guard_changes(trigger, "id")))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("subscription %s cannot change its id or newsletter",
						guard_text(trigger, trigger->tg_trigtuple, "id")),
				 errhint("Subscribe the address to the other newsletter.")));
	if (!guard_lets_pass())
	{
		guard_check_rows(fcinfo);
		guard_check_id(fcinfo);
	}
	return PointerGetDatum(guard_row(trigger));
}

/*
 * What a partial says goes out in the name of the newsletter.  BEFORE INSERT OR
 * UPDATE OR DELETE ON mailman.partial FOR EACH ROW
 */
Datum
mailman_guard_partial(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);

	if (!guard_lets_pass())
		guard_check_rows(fcinfo);
	return PointerGetDatum(guard_row(trigger));
}

/* Which function is meant to be used instead? */
static const char *
guard_accounts_hint(const char *table)
{
	if (strcmp(table, "origin") == 0)
		return "Use mailman_adopt().";
	if (strcmp(table, "dkim_key") == 0)
		return "Use mailman_set_dkim_key().";
	if (strcmp(table, "forgotten") == 0)
		return "Use mailman_forget().";
	if (strcmp(table, "event") == 0)
		return "Use mailman_purge().";
	if (strcmp(table, "test") == 0)
		return "Use mailman_test().";
	if (strcmp(table, "attachment") == 0)
		return "Delete its rows one letter at a time.";
	return "Use mailman_send(), mailman_pause(), mailman_resume() or mailman_cancel().";
}

Datum
mailman_guard_accounts(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);

	if (guard_lets_pass())
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && guard_loads())
		return PointerGetDatum(NULL);
	/* these go with their newsletter or letter, by the foreign key */
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && guard_is_owner() &&
		(strcmp(table, "secret") == 0 || strcmp(table, "dkim_key") == 0 ||
		 strcmp(table, "forgotten") == 0 || strcmp(table, "test") == 0))
		return PointerGetDatum(NULL);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"mailman.%s\" is written by the extension only",
					table),
			 errhint("%s", guard_accounts_hint(table))));
}

/*
 * A row that is loaded arms nothing, not even in the database that it comes
 * from: to restore a dump there is to go back in time, and what was sent since
 * must not be sent again.  BEFORE INSERT ON mailman.origin FOR EACH ROW
 */
Datum
mailman_guard_origin(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);
	int			column = guard_column(trigger, "database");
	Datum		nowhere = ObjectIdGetDatum(InvalidOid);
	bool		no_null = false;
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);

	if (guard_lets_pass())
		return PointerGetDatum(row);
	return PointerGetDatum(heap_modify_tuple_by_cols(row, desc, 1, &column,
													 &nowhere, &no_null));
}
