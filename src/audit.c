/*-------------------------------------------------------------------------
 *
 * audit.c
 *	  What people change, beside states: events with who did it.
 *
 * Whose a newsletter is, where its mail leaves and in whose name, its keys,
 * and what a letter says once it was scheduled: a change of these changes
 * what readers get.  These triggers only tell, after the change was let
 * through; the guards are others.  They name what has changed and show no
 * value.
 *
 * A restore loads rows and changes none, so it tells nothing, which would take
 * the ids of events that are loaded later; nor does replication, as these
 * events come with it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "guard.h"
#include "mailman.h"

PG_FUNCTION_INFO_V1(mailman_audit_newsletter);
PG_FUNCTION_INFO_V1(mailman_audit_letter);
PG_FUNCTION_INFO_V1(mailman_audit_part);
PG_FUNCTION_INFO_V1(mailman_audit_key);

/* Of a newsletter: whose it is, and in whose name and by what it sends */
static const char *const newsletter_columns[] = {
	"owner", "relays", "policy", "from_name", "from_address", "reply_to",
	"bounce_address", "unsubscribe_url", "unsubscribe_mailto", "dkim_domain",
	"dkim_selector"
};

/* Of a letter: its content, and when it leaves */
static const char *const letter_columns[] = {
	"subject", "text_body", "html_body", "headers", "strict", "send_at"
};

#define AUDIT_COLUMNS_MAX 16

StaticAssertDecl(lengthof(newsletter_columns) <= AUDIT_COLUMNS_MAX &&
				 lengthof(letter_columns) <= AUDIT_COLUMNS_MAX,
				 "too many columns for an event");

static int64
audit_id(TriggerData *trigger, const char *column)
{
	bool		isnull;
	Datum		value = guard_value(trigger, trigger->tg_trigtuple, column,
									&isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static void
audit_tell(const char *kind, EventAbout about, const char *const *columns,
		   int count)
{
	ExtensionScope scope;

	if (count == 0)
		return;
	extension_enter_reading(&scope);
	event_changed(kind, about, columns, count);
	extension_leave(&scope);
}

/* Which of these columns does the UPDATE change? */
static int
audit_changed(TriggerData *trigger, const char *const *columns, int count,
			  const char **changed)
{
	int			n = 0;
	int			i;

	for (i = 0; i < count; i++)
	{
		if (guard_changes(trigger, columns[i]))
			changed[n++] = columns[i];
	}
	return n;
}

/* AFTER UPDATE OR DELETE ON mailman.newsletter FOR EACH ROW */
Datum
mailman_audit_newsletter(PG_FUNCTION_ARGS)
{
	static const char *const gone[] = {"*"};
	TriggerData *trigger = guard_trigger(fcinfo);
	EventAbout	about = {.newsletter_id = audit_id(trigger, "id")};
	const char *changed[AUDIT_COLUMNS_MAX];

	if (guard_is_replica())
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		audit_tell("newsletter", about, gone, lengthof(gone));
	else
		audit_tell("newsletter", about, changed,
				   audit_changed(trigger, newsletter_columns,
								 lengthof(newsletter_columns), changed));
	return PointerGetDatum(NULL);
}

/*
 * AFTER UPDATE OF these columns ON mailman.letter FOR EACH ROW: a worker writes
 * others.  Before it was first scheduled a letter is nobody's concern.
 */
Datum
mailman_audit_letter(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	EventAbout	about = {.letter_id = audit_id(trigger, "id")};
	const char *changed[AUDIT_COLUMNS_MAX];
	bool		never_sent;

	(void) guard_value(trigger, trigger->tg_trigtuple, "state_at",
					   &never_sent);
	if (never_sent || guard_is_replica())
		return PointerGetDatum(NULL);
	audit_tell("letter", about, changed,
			   audit_changed(trigger, letter_columns,
							 lengthof(letter_columns), changed));
	return PointerGetDatum(NULL);
}

/* Was it ever scheduled? */
static bool
audit_letter_was_sent(int64 letter_id)
{
	static Statement look = {
		.sql = "SELECT FROM mailman.letter WHERE id = $1"
		" AND state_at IS NOT NULL",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	ExtensionScope scope;
	bool		was_sent;

	extension_enter_reading(&scope);
	was_sent = statement_run(&look, SPI_OK_SELECT, values, NULL) > 0;
	extension_leave(&scope);
	return was_sent;
}

/*
 * AFTER INSERT OR UPDATE OR DELETE ON mailman.attachment, mailman.partial FOR
 * EACH ROW.  What goes with its letter is not told.
 */
Datum
mailman_audit_part(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);
	EventAbout	about = {0};

	if (guard_is_replica() ||
		(TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && guard_loads()))
		return PointerGetDatum(NULL);
	if (strcmp(table, "partial") == 0)
		about.newsletter_id = audit_id(trigger, "newsletter_id");
	else
	{
		about.letter_id = audit_id(trigger, "letter_id");
		if (!audit_letter_was_sent(about.letter_id))
			return PointerGetDatum(NULL);
	}
	audit_tell(about.letter_id != 0 ? "letter" : "newsletter", about, &table,
			   1);
	return PointerGetDatum(NULL);
}

/*
 * AFTER INSERT OR UPDATE OR DELETE ON mailman.dkim_key, AFTER UPDATE ON
 * mailman.secret FOR EACH ROW.  It is we who write, in a function that somebody
 * called; what goes with its newsletter is not told.
 */
Datum
mailman_audit_key(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);
	EventAbout	about = {.newsletter_id = audit_id(trigger, "newsletter_id")};

	if (extension_is_writing())
		audit_tell("key", about, &table, 1);
	return PointerGetDatum(NULL);
}
