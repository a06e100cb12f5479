/*-------------------------------------------------------------------------
 *
 * event.c
 *	  What happened: rows of mailman.event.
 *
 * An event is written in the very transaction that makes the change, so it is
 * there if and only if the change is.  Whoever LISTENs hears of it later, from
 * a transaction of its own (notify.c).
 *
 * One event per change of state, never per mail: a relay that is down for an
 * hour is one event, a letter that is sent three.  What people change is one,
 * too: see audit.c.
 *
 * Mail comes first.  If an event cannot be written, the change is made without
 * it; only a lock on the table is waited for and tried again, like any other.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

/* This process has written one that nobody was told of, or may have */
static bool pending = true;

bool
event_is_pending(void)
{
	return pending;
}

void
event_set_pending(bool is_pending)
{
	pending = is_pending;
}

/* ---- the detail, a JSON object in the making ---- */

static void
detail_begin(StringInfo detail)
{
	initStringInfo(detail);
	appendStringInfoChar(detail, '{');
}

static void
detail_add_key(StringInfo detail, const char *key)
{
	appendStringInfo(detail, "%s\"%s\": ", detail->len > 1 ? ", " : "", key);
}

/* NULL: left out */
static void
detail_add(StringInfo detail, const char *key, const char *value)
{
	if (value == NULL)
		return;
	detail_add_key(detail, key);
	escape_json(detail, value);
}

static void
detail_add_number(StringInfo detail, const char *key, int64 value)
{
	detail_add_key(detail, key);
	appendStringInfo(detail, INT64_FORMAT, value);
}

/* ---- writing it ---- */

/*
 * Who did it: the user of the session, and the one whose rights counted, by
 * SET ROLE or in a function that is SECURITY DEFINER.  NULL: a process of ours.
 */
static char *
event_actor(void)
{
	StringInfoData actor;

	/* others' workers do what people have told them: those of pg_cron, say */
	if (MyBackendType == B_BG_WORKER &&
		strcmp(MyBgworkerEntry->bgw_library_name, "mailman") == 0)
		return NULL;
	detail_begin(&actor);
	detail_add(&actor, "session", GetUserNameFromId(GetSessionUserId(), true));
	detail_add(&actor, "current", GetUserNameFromId(extension_caller(), true));
	appendStringInfoChar(&actor, '}');
	return actor.data;
}

static void
event_insert(const char *kind, const EventAbout *about, const char *detail)
{
	static Statement insert = {
		.sql = "INSERT INTO mailman.event"
		" (kind, letter_id, newsletter_id, actor, detail)"
		" VALUES ($1, nullif($2, 0), nullif($3, 0), $4::jsonb, $5)",
		.nargs = 5,
		.argtypes = {TEXTOID, INT8OID, INT8OID, TEXTOID, JSONBOID}
	};
	char	   *actor = event_actor();
	Datum		values[5] = {0};
	char		nulls[5] = {' ', ' ', ' ', actor ? ' ' : 'n', ' '};

	values[0] = CStringGetTextDatum(kind);
	values[1] = Int64GetDatum(about->letter_id);
	values[2] = Int64GetDatum(about->newsletter_id);
	if (actor != NULL)
		values[3] = CStringGetTextDatum(actor);
	values[4] = DirectFunctionCall1(jsonb_in, CStringGetDatum(detail));
	extension_may_write(&use_event);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement_run(&insert, SPI_OK_INSERT, values, nulls);
	SPI_finish();
}

/*
 * Is it the moment that is wrong?  Then all of it is tried again.  Nor does a
 * change stand whose event fails as its maker has seen to that: a function of
 * theirs in an UPDATE makes the transaction read only, or leaves no stack.
 */
static bool
error_ends_all(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			return true;
		default:
			return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* In a subtransaction, so that an event which fails is all that fails */
static void
event_record(const char *kind, EventAbout about, StringInfo detail)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Writing		writing = extension_writing();

	appendStringInfoChar(detail, '}');
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		event_insert(kind, &about, detail->data);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* always: whoever catches it aborts the innermost level only */
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error_ends_all(error->sqlerrcode))
			ReThrowError(error);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("an event of kind \"%s\" could not be recorded: %s",
						kind, error->message),
				 error->hint ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	extension_set_writing(writing);
	pending = true;
}

/* ---- what there is to tell ---- */

/* A letter has changed its state; reason may be NULL */
static void
event_letter(int64 letter_id, const char *from, const char *to,
			 const char *reason)
{
	EventAbout	about = {.letter_id = letter_id};
	StringInfoData detail;

	detail_begin(&detail);
	detail_add(&detail, "from", from);
	detail_add(&detail, "to", to);
	detail_add(&detail, "reason", reason);
	event_record("letter", about, &detail);
}

/*
 * It is we who write: a change of state is dated and is an event, whichever
 * statement makes it.  The row is locked already, so it is made once.
 */
HeapTuple
letter_moved(TriggerData *trigger, HeapTuple row)
{
	int			column;
	Datum		value;
	bool		isnull;

	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!extension_is_writing() || !guard_changes(trigger, "state"))
		return row;
	value = guard_value(trigger, row, "id", &isnull);
	event_letter(DatumGetInt64(value),
				 guard_text(trigger, trigger->tg_trigtuple, "state"),
				 guard_text(trigger, row, "state"),
				 guard_text(trigger, row, "state_reason"));
	column = guard_column(trigger, "state_at");
	value = TimestampTzGetDatum(GetCurrentTimestamp());
	isnull = false;
	return heap_modify_tuple_by_cols(row,
									 RelationGetDescr(trigger->tg_relation),
									 1, &column, &value, &isnull);
}

/* A relay is better or worse than it was, in the words of relay_status */
void
event_relay(const char *relay, const char *state, const char *reason)
{
	EventAbout	about = {0};
	StringInfoData detail;

	detail_begin(&detail);
	detail_add(&detail, "relay", relay);
	detail_add(&detail, "state", state);
	detail_add(&detail, "reason", reason);
	event_record("relay", about, &detail);
}

/* So many of a letter are in doubt in all, so many of them newly */
void
event_doubt(int64 letter_id, int64 doubts, int64 newly)
{
	EventAbout	about = {.letter_id = letter_id};
	StringInfoData detail;

	detail_begin(&detail);
	detail_add_number(&detail, "doubts", doubts);
	detail_add_number(&detail, "new", newly);
	event_record("doubt", about, &detail);
}

/* Somebody has taken the place of a letter's sender */
void
event_sender(int64 letter_id, const char *before, const char *sender)
{
	EventAbout	about = {.letter_id = letter_id};
	StringInfoData detail;

	detail_begin(&detail);
	detail_add(&detail, "before", before);
	detail_add(&detail, "sender", sender);
	event_record("sender", about, &detail);
}

/* This copy of a database may send from now on */
void
event_adopt(void)
{
	EventAbout	about = {0};
	StringInfoData detail;

	detail_begin(&detail);
	event_record("adopt", about, &detail);
}

/* ---- what people have changed: audit.c ---- */

/* Names of columns, and no values: anybody who may read events reads these */
void
event_changed(const char *kind, EventAbout about, const char *const *columns,
			  int count)
{
	StringInfoData detail;
	int			i;

	detail_begin(&detail);
	detail_add_key(&detail, "changed");
	for (i = 0; i < count; i++)
	{
		appendStringInfoString(&detail, i == 0 ? "[" : ", ");
		escape_json(&detail, columns[i]);
	}
	appendStringInfoChar(&detail, ']');
	event_record(kind, about, &detail);
}

/* A role was given rights, or they were taken from it */
void
event_right(const char *role, const char *what, bool granted)
{
	EventAbout	about = {0};
	StringInfoData detail;

	detail_begin(&detail);
	detail_add(&detail, granted ? "granted" : "revoked", what);
	detail_add(&detail, "role", role);
	event_record("right", about, &detail);
}
