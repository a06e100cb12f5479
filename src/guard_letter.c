/*-------------------------------------------------------------------------
 *
 * guard_letter.c
 *	  A letter and its files: what may be changed, by whom, and when.
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
#include "process.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_guard_letter);
PG_FUNCTION_INFO_V1(mailman_guard_attachment);

/* Columns that the extension alone writes, and what a new letter has there */
static const char *const letter_accounts[][2] = {
	{"state", "draft"}, {"state_reason", NULL}, {"state_at", NULL},
	{"purged_at", NULL}, {"sender", NULL}, {"sender_oid", NULL},
	{"whole", "f"}, {"cancelling", "f"}, {"line_at", NULL}, {"run", "0"},
	{"run_at", NULL},
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
	if (forged != NULL && !guard_loads())
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
	extension_check_tables(&use_letter_goes);
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
	return heap_modify_tuple_by_cols(row,
									 RelationGetDescr(trigger->tg_relation),
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

/* Loaded or replicated: the role is the one of that name here */
static HeapTuple
guard_letter_sender(TriggerData *trigger, HeapTuple row)
{
	return guard_remember_role(trigger, row, "sender", "sender_oid");
}

Datum
mailman_guard_letter(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);

	if (extension_is_writing())
		return PointerGetDatum(letter_moved(trigger, row));
	if (guard_is_replica())
		return PointerGetDatum(TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ?
							   row : guard_letter_sender(trigger, row));
	guard_check_rows(fcinfo);
	guard_check_id(fcinfo);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		guard_letter_insert(trigger, row);
		row = guard_letter_sender(trigger, row);
	}
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

	extension_enter(&scope, &use_files);
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
	{
		guard_check_letter(fcinfo, letter_id);
		guard_check_id(fcinfo);
		guard_letter_files(letter_id,
						   TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
						   guard_is_owner());
	}
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		guard_changes(trigger, "letter_id"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an attachment cannot move to another letter"),
				 errhint("Insert it there.")));
	return PointerGetDatum(row);
}
