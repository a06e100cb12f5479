/*-------------------------------------------------------------------------
 *
 * forgotten.c
 *	  Addresses that were forgotten, and come back.
 *
 * An import must not fail because of them, and must not revive them: a row
 * with such an address is let in, in the state the forgotten subscription
 * ended in.  That is what happens to an address that unsubscribed and was not
 * forgotten, too.  Only mailman_subscribe(..., again => true), or an UPDATE of
 * the state, makes it active again.
 *
 * The trigger runs for every row of a COPY, with the rights of whoever loads
 * it, so it looks into the table itself, by its index, without SPI; and not
 * at all for newsletters of which nobody was forgotten.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "forgotten.h"
#include "guard.h"
#include "key_scan.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(mailman_guard_forgotten);

#define HASH_LABEL "forgotten"

/* What a statement knows of the newsletter it writes to */
typedef struct Forgotten
{
	bool		known;
	int64		newsletter_id;
	bool		any;			/* was anybody forgotten? */
	Secret		secret;
} Forgotten;

/* see forgotten.h */
bytea *
forgotten_hash(const char *email, const Secret *secret)
{
	bytea	   *hash = palloc(VARHDRSZ + HMAC_BYTES);
	StringInfoData wire;
	char	   *lower;

	initStringInfo(&wire);
	if (!address_to_wire(&wire, email, strlen(email), NULL, NULL))
		return NULL;
	lower = str_tolower(wire.data, wire.len, DEFAULT_COLLATION_OID);
	SET_VARSIZE(hash, VARHDRSZ + HMAC_BYTES);
	if (!hmac_sha256((uint8 *) VARDATA(hash), secret->key, secret->len,
					 HASH_LABEL, lower, strlen(lower)))
		elog(ERROR, "could not compute HMAC-SHA-256");
	pfree(wire.data);
	pfree(lower);
	return hash;
}

/* see forgotten.h */
void
forgotten_revive(int64 newsletter_id, const char *email)
{
	static Statement revive = {
		.sql = "DELETE FROM mailman.forgotten WHERE newsletter_id = $1"
		" AND hash = $2 AND state <> 'complained'",
		.nargs = 2,
		.argtypes = {INT8OID, BYTEAOID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id)};
	Secrets		secrets;
	bytea	   *hash;

	secrets_find(newsletter_id, &secrets);
	if (secrets.count == 0 ||
		(hash = forgotten_hash(email, &secrets.list[0])) == NULL)
		return;
	values[1] = PointerGetDatum(hash);
	statement_run_now(&revive, SPI_OK_DELETE, values, NULL);
}

/*
 * The state an address of the newsletter was forgotten in, or NULL; hash NULL:
 * that of any.
 */
static char *
forgotten_look(int64 newsletter_id, bytea *hash)
{
	KeyScan		scan;
	HeapTuple	tuple;
	char	   *state = NULL;

	/* a row forgotten since an old snapshot was taken does not come back */
	key_scan_begin(&scan, TABLE_FORGOTTEN, &newsletter_id, hash,
				   IsolationUsesXactSnapshot() ?
				   GetLatestSnapshot() : GetActiveSnapshot());
	tuple = key_scan_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = key_scan_value(&scan, tuple, "state", &isnull);

		state = TextDatumGetCString(value);
	}
	key_scan_end(&scan);
	return state;
}

/* What the statement that fires the trigger found out at its first row */
static Forgotten *
forgotten_of_statement(FunctionCallInfo fcinfo, int64 newsletter_id)
{
	Forgotten  *f = fcinfo->flinfo->fn_extra;
	ExtensionScope scope;
	MemoryContext old;
	Secrets		secrets;

	if (f == NULL)
		f = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Forgotten));
	if (f->known && f->newsletter_id == newsletter_id)
		return f;
	f->known = false;
	f->newsletter_id = newsletter_id;
	f->any = forgotten_look(newsletter_id, NULL) != NULL;
	if (f->any)
	{
		extension_enter_reading(&scope);
		old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		secrets_find(newsletter_id, &secrets);
		f->any = secrets.count > 0;
		if (f->any)
			f->secret = secrets.list[0];
		MemoryContextSwitchTo(old);
		extension_leave(&scope);
	}
	f->known = true;
	return f;
}

/* What the extension alone writes, and what a forgotten row stays */
static void
forgotten_check(TriggerData *trigger, HeapTuple row, const char *email)
{
	bool		inserted = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	char	   *since = guard_text(trigger, row, "forgotten_at");
	size_t		len = strlen(email);
	size_t		domain = strlen(FORGOTTEN_DOMAIN);

	if (!extension_is_writing() &&
		(inserted ? since != NULL && !guard_is_owner() :
		 guard_changes(trigger, "forgotten_at")))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("column \"forgotten_at\" of a subscription is written by the extension only"),
				 errhint("Use mailman_forget().")));
	if (!extension_is_writing() && !inserted && since != NULL &&
		guard_changes(trigger, "email"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("subscription %s was forgotten",
						guard_text(trigger, row, "id")),
				 errhint("Subscribe the address anew.")));
	if (since == NULL && len >= domain &&
		pg_strcasecmp(email + len - domain, FORGOTTEN_DOMAIN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("addresses at forgotten.invalid are of those who were forgotten"),
				 errhint("No mail can be sent there.")));
}

/* The row, in the state its address was forgotten in, if it would get mail */
static HeapTuple
forgotten_end(TriggerData *trigger, HeapTuple row, const char *ended)
{
	const char *state = guard_text(trigger, row, "state");
	int			column = guard_column(trigger, "state");
	Datum		value = CStringGetTextDatum(ended);
	bool		no_null = false;

	if (state == NULL || (strcmp(state, "active") != 0 &&
						  strcmp(state, "pending") != 0))
		return row;
	return heap_modify_tuple_by_cols(row,
									 RelationGetDescr(trigger->tg_relation),
									 1, &column, &value, &no_null);
}

/* BEFORE INSERT OR UPDATE OF email, forgotten_at ON mailman.subscription */
Datum
mailman_guard_forgotten(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = guard_trigger(fcinfo);
	HeapTuple	row = guard_row(trigger);
	char	   *email = guard_text(trigger, row, "email");
	bool		no_newsletter;
	bool		not_forgotten;
	Datum		newsletter;
	Forgotten  *f;
	bytea	   *hash;
	char	   *state;

	newsletter = guard_value(trigger, row, "newsletter_id", &no_newsletter);
	if (guard_is_replica() || email == NULL || no_newsletter)
		return PointerGetDatum(row);
	forgotten_check(trigger, row, email);
	guard_value(trigger, row, "forgotten_at", &not_forgotten);
	if (!not_forgotten ||
		(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) &&
		 !guard_changes(trigger, "email")))
		return PointerGetDatum(row);
	f = forgotten_of_statement(fcinfo, DatumGetInt64(newsletter));
	if (f->any && (hash = forgotten_hash(email, &f->secret)) != NULL &&
		(state = forgotten_look(f->newsletter_id, hash)) != NULL)
		row = forgotten_end(trigger, row, state);
	return PointerGetDatum(row);
}
