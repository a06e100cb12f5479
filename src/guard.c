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

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(mailman_guard_newsletter);
PG_FUNCTION_INFO_V1(mailman_guard_subscription);
PG_FUNCTION_INFO_V1(mailman_guard_partial);
PG_FUNCTION_INFO_V1(mailman_guard_letter);
PG_FUNCTION_INFO_V1(mailman_guard_attachment);
PG_FUNCTION_INFO_V1(mailman_guard_accounts);

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
							 extension_owner(extension_oid(false)));
}

/* see guard.h */
bool
guard_is_replica(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		guard_is_owner();
}

/* We ourselves, or logical replication applying what we wrote elsewhere */
static bool
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

/* The current user must be a member of the role a newsletter names as owner */
static void
guard_owner_member(const char *owner, const char *what)
{
	Oid			role = get_role_oid(owner, true);

	if (!OidIsValid(role))
	{
		if (superuser())
			return;				/* a restore may come before its roles */
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", owner),
				 errhint("newsletter.owner is the name of a role.")));
	}
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set %s of a newsletter", what),
				 errdetail("Role \"%s\" is not a member of \"%s\", the newsletter's owner.",
						   GetUserNameFromId(GetUserId(), false), owner),
				 errhint("Only members of the old and the new owner set owner, relays and policy.")));
}

/*
 * owner, relays and policy decide whose rights, servers and code are used:
 * they are set by members of the owner, old and new.
 */
Datum
mailman_guard_newsletter(PG_FUNCTION_ARGS)
{
	static const char *const columns[] = {"owner", "relays", "policy"};
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);
	char	   *owner = guard_text(trigger, row, "owner");
	size_t		i;

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		extension_check_tables();	/* foreign keys delete as the owner */
		return PointerGetDatum(row);
	}
	if (owner == NULL)
		return PointerGetDatum(row);	/* NOT NULL will say so */
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		guard_owner_member(owner, "the owner");
		return PointerGetDatum(row);
	}
	for (i = 0; i < lengthof(columns); i++)
	{
		if (!guard_changes(trigger, columns[i]))
			continue;
		guard_owner_member(guard_text(trigger, trigger->tg_trigtuple, "owner"),
						   columns[i]);
		guard_owner_member(owner, columns[i]);
	}
	return PointerGetDatum(row);
}

/* Deliveries refer to it: its identity stays */
Datum
mailman_guard_subscription(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);

	if (guard_changes(trigger, "newsletter_id") ||
		guard_changes(trigger, "id"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("subscription %s cannot change its id or newsletter",
						guard_text(trigger, trigger->tg_trigtuple, "id")),
				 errhint("Subscribe the address to the other newsletter.")));
	return PointerGetDatum(guard_row(trigger));
}

/* The owner of a newsletter; NULL if there is none of that id */
static char *
guard_find_owner(Datum newsletter_id)
{
	static Statement find = {
		.sql = "SELECT owner::text FROM mailman.newsletter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	MemoryContext caller = CurrentMemoryContext;
	ExtensionScope scope;
	char	   *owner = NULL;

	extension_enter_reading(&scope);
	if (statement_run(&find, SPI_OK_SELECT, &newsletter_id, NULL) > 0)
	{
		MemoryContextSwitchTo(caller);
		owner = row_text(0, 1);
	}
	extension_leave(&scope);
	return owner;
}

/* The current user must be a member of the owner of the partial's newsletter */
static void
guard_partial_row(TriggerData *trigger, HeapTuple row)
{
	bool		isnull;
	Datum		newsletter = guard_value(trigger, row, "newsletter_id",
										 &isnull);
	char	   *owner = guard_find_owner(newsletter);

	if (owner == NULL ||
		has_privs_of_role(GetUserId(), get_role_oid(owner, true)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for partial \"%s\" of newsletter " INT64_FORMAT,
					guard_text(trigger, row, "name"),
					DatumGetInt64(newsletter)),
			 errdetail("Role \"%s\" is not a member of \"%s\", the newsletter's owner.",
					   GetUserNameFromId(GetUserId(), false), owner),
			 errhint("Only members of newsletter.owner write its partials.")));
}

/*
 * What a partial says goes out in the name of the newsletter.  AFTER the
 * foreign key has seen to it that there is one: before, somebody else's might
 * not be visible yet.
 */
Datum
mailman_guard_partial(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);

	if (guard_lets_pass() || guard_is_owner())
		return PointerGetDatum(NULL);
	guard_partial_row(trigger, trigger->tg_trigtuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		guard_partial_row(trigger, trigger->tg_newtuple);
	return PointerGetDatum(NULL);
}

/* Columns of a letter that the extension alone writes, and what a new one has */
static const char *const letter_accounts[][2] = {
	{"state", "draft"}, {"state_reason", NULL}, {"state_at", NULL},
	{"purged_at", NULL}, {"sender", NULL},
	{"whole", "f"}, {"line_at", NULL}, {"run", "0"}, {"run_at", NULL},
	{"failed_runs", "0"}, {"last_error", NULL}, {"resumed_at", NULL},
	{"doubts", "0"}, {"rate", NULL}, {"rate_at", NULL},
	{"revision", "1"}
};

/* Columns that make up the content */
static const char *const letter_content[] = {
	"subject", "text_body", "html_body", "headers", "strict"
};

/* Is the tally of a new letter the column's default? */
static bool
guard_tally_is_empty(TriggerData *trigger, HeapTuple row)
{
	Tally		tally = {{0}};
	Datum		empty = tally_to_jsonb(&tally);
	bool		isnull;
	Datum		value = guard_value(trigger, row, "mail_order", &isnull);

	return !isnull &&
		compareJsonbContainers(&DatumGetJsonbP(value)->root,
							   &DatumGetJsonbP(empty)->root) == 0;
}

static void
guard_letter_insert(TriggerData *trigger, HeapTuple row)
{
	const char *forged = NULL;
	size_t		i;

	for (i = 0; forged == NULL && i < lengthof(letter_accounts); i++)
	{
		const char *wanted = letter_accounts[i][1];
		const char *value = guard_text(trigger, row, letter_accounts[i][0]);

		if (wanted == NULL ? value != NULL :
			value == NULL || strcmp(value, wanted) != 0)
			forged = letter_accounts[i][0];
	}
	if (forged == NULL && !guard_tally_is_empty(trigger, row))
		forged = "mail_order";
	if (forged != NULL && !guard_is_owner())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a new letter is a draft"),
				 errdetail("Column \"%s\" is written by the extension only.",
						   forged),
				 errhint("Leave it out, and send the letter with mailman_send().")));
}

static void
guard_letter_delete(TriggerData *trigger)
{
	char	   *state = guard_text(trigger, trigger->tg_trigtuple, "state");

	if (strcmp(state, "scheduled") == 0 || strcmp(state, "sending") == 0 ||
		strcmp(state, "paused") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("letter %s is in the post and cannot be deleted",
						guard_text(trigger, trigger->tg_trigtuple, "id")),
				 errdetail("Its state is \"%s\".", state),
				 errhint("Call it back with mailman_cancel().")));
	extension_check_tables();	/* foreign keys delete as the owner */
}

/* Raise revision in the new row */
static HeapTuple
guard_letter_revised(TriggerData *trigger, HeapTuple row)
{
	int			column = guard_column(trigger, "revision");
	bool		isnull;
	Datum		value = guard_value(trigger, row, "revision", &isnull);
	bool		no_null = false;

	value = Int32GetDatum(DatumGetInt32(value) + 1);
	return heap_modify_tuple_by_cols(row, RelationGetDescr(trigger->tg_relation),
									 1, &column, &value, &no_null);
}

static HeapTuple
guard_letter_update(TriggerData *trigger, HeapTuple row)
{
	char	   *id = guard_text(trigger, trigger->tg_trigtuple, "id");
	char	   *state = guard_text(trigger, trigger->tg_trigtuple, "state");
	const char *changed = NULL;
	size_t		i;

	for (i = 0; changed == NULL && i < lengthof(letter_accounts); i++)
	{
		if (guard_changes(trigger, letter_accounts[i][0]))
			changed = letter_accounts[i][0];
	}
	if (changed == NULL && guard_changes(trigger, "mail_order"))
		changed = "mail_order";
	if (changed != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("column \"%s\" of letter %s is written by the extension only",
						changed, id),
				 errhint("Use mailman_send(), mailman_pause(), mailman_resume() or mailman_cancel().")));
	for (i = 0; changed == NULL && i < lengthof(letter_content); i++)
	{
		if (guard_changes(trigger, letter_content[i]))
			changed = letter_content[i];
	}
	if (guard_changes(trigger, "newsletter_id") || guard_changes(trigger, "id"))
	{
		if (strcmp(state, "draft") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("letter %s cannot change its id or newsletter",
							id),
					 errdetail("Its state is \"%s\".", state),
					 errhint("Only a draft can.")));
	}
	if (strcmp(state, "draft") != 0 && strcmp(state, "scheduled") != 0 &&
		strcmp(state, "paused") != 0 &&
		(changed != NULL || guard_changes(trigger, "send_at")))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("letter %s cannot be changed: it is %s", id, state),
				 errdetail("Column \"%s\" changes in a draft, a scheduled or a paused letter only.",
						   changed ? changed : "send_at"),
				 strcmp(state, "sending") == 0 ?
				 errhint("Pause it with mailman_pause() first.") :
				 errhint("Make a new letter.")));
	if (guard_changes(trigger, "send_at"))
		launch_wake_at_commit();
	return changed != NULL ? guard_letter_revised(trigger, row) : row;
}

Datum
mailman_guard_letter(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);

	if (guard_lets_pass())
		return PointerGetDatum(letter_moved(trigger, row));
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		guard_letter_insert(trigger, row);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		guard_letter_delete(trigger);
	else
		row = guard_letter_update(trigger, row);
	return PointerGetDatum(row);
}

/*
 * A file of this letter changes: raise the revision, or refuse it.  Who owns
 * the extension loads rows as pg_restore does, into a database that is not
 * armed: no worker has seen the letter there.
 */
static void
guard_letter_files(int64 letter_id, bool loads)
{
	static Statement raise = {
		.sql = "UPDATE mailman.letter SET revision = revision + 1"
		" WHERE id = $1 AND state IN ('draft', 'scheduled', 'paused')",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement look = {
		.sql = "SELECT state FROM mailman.letter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	ExtensionScope scope;

	extension_enter(&scope);
	/* No such letter: the foreign key will say so, or is deleting them both */
	if ((!loads || origin_is_ours()) &&
		statement_run(&raise, SPI_OK_UPDATE, values, NULL) == 0 &&
		statement_run(&look, SPI_OK_SELECT, values, NULL) > 0)
	{
		char	   *state = row_text(0, 1);

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("attachments of letter " INT64_FORMAT " cannot be changed: it is %s",
						letter_id, state),
				 strcmp(state, "sending") == 0 ?
				 errhint("Pause it with mailman_pause() first.") :
				 errhint("Make a new letter.")));
	}
	extension_leave(&scope);
}

/* Files change as the content of their letter does */
Datum
mailman_guard_attachment(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);
	int64		letter_id;
	bool		isnull;

	if (guard_lets_pass())
		return PointerGetDatum(row);
	letter_id = DatumGetInt64(guard_value(trigger, trigger->tg_trigtuple,
										  "letter_id", &isnull));
	if (!isnull)
		guard_letter_files(letter_id,
						   TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
						   guard_is_owner());
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		guard_changes(trigger, "letter_id"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an attachment cannot move to another letter"),
				 errhint("Insert it there.")));
	return PointerGetDatum(row);
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
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && guard_is_owner())
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
