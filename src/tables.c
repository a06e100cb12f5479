/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  The tables we write: locked together, and with nobody's code on them.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "mailman.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* How often we wait empty-handed; each time somebody's lock was in the way */
#define LOCK_TRIES	10

/* Is it one of the guards, as the script made them? */
static bool
trigger_is_ours(const Trigger *trigger, Oid schema, Oid owner)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID,
										ObjectIdGetDatum(trigger->tgfoid));
	Form_pg_proc function;
	bool		ours;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", trigger->tgfoid);
	function = (Form_pg_proc) GETSTRUCT(tuple);
	ours = function->pronamespace == schema && function->proowner == owner &&
		trigger->tgqual == NULL;
	ReleaseSysCache(tuple);
	return ours;
}

/*
 * The tables we write, in the order in which we lock them, and those that
 * foreign keys empty with their owner's rights
 */
typedef struct WrittenTable
{
	const char *name;
	bool		deleted_from;	/* do we delete rows? */
} WrittenTable;

static const WrittenTable written_tables[] = {
	{"letter", false}, {"subscription", false}, {"delivery", true},
	{"newsletter_email", false}, {"posting", true}, {"test", true},
	{"secret", true},
	{"forgotten", true}, {"dkim_key", true}, {"origin", true},
	{"relay_state", true}, {"domain_state", true}, {"attachment", false},
	{"partial", false}
};

/* Written when something happens, so a turn does not wait for a lock on it */
static const WrittenTable event_table = {"event", true};

/* mailman_purge() alone deletes from it */
static const WrittenTable purged_table = {"newsletter_email", true};

/* Is it of a foreign key by which a table of somebody else's refers to us? */
static bool
trigger_is_reference(const Trigger *trigger, Oid schema)
{
	return trigger->tgisinternal &&
		RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK &&
		get_rel_namespace(trigger->tgconstrrelid) != schema;
}

/*
 * A trigger of somebody else's would run with our rights; a foreign key of
 * theirs, where we delete, their code in the middle of our transaction.
 */
static void
extension_check_trigger(const Trigger *trigger, const WrittenTable *table,
						Oid schema, Oid owner)
{
	if (table->deleted_from && trigger_is_reference(trigger, schema))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a foreign key of table \"%s\" refers to \"mailman.%s\", where the extension deletes rows",
						get_rel_name(trigger->tgconstrrelid), table->name),
				 errhint("Drop the foreign key, and revoke REFERENCES on the table; refer to letters and subscriptions instead.")));
	if (!trigger->tgisinternal && !trigger_is_ours(trigger, schema, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("trigger \"%s\" on table \"mailman.%s\" would run with the rights of the extension's owner",
						trigger->tgname, table->name),
				 errhint("Drop the trigger, and revoke TRIGGER on the table.")));
}

/*
 * Nobody's code but ours runs when we write this table.  The lock keeps new
 * triggers and foreign keys out until the end of the transaction.  The checks
 * look into syscaches, and a miss there accepts invalidations, which rebuild
 * the relation and free its triggers: so they look at a copy.
 */
static void
extension_check_table(const WrittenTable *table, Oid schema, Oid owner)
{
	Relation	rel = table_open(get_relname_relid(table->name, schema),
								 RowExclusiveLock);
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);
	int			n;

	table_close(rel, NoLock);
	if (triggers == NULL)
		return;
	for (n = 0; n < triggers->numtriggers; n++)
		extension_check_trigger(&triggers->triggers[n], table, schema, owner);
	FreeTriggerDesc(triggers);
}

/*
 * What a transaction of ours locks: those it writes, and newsletters, which it
 * reads and refers to.
 */
#define LOCKED_TABLES	(lengthof(written_tables) + 1)

static LOCKMODE
table_mode(size_t i)
{
	return i == 0 ? RowShareLock : RowExclusiveLock;
}

static void
tables_find(Oid *relids, Oid schema)
{
	size_t		i;

	relids[0] = get_relname_relid("newsletter", schema);
	for (i = 0; i < lengthof(written_tables); i++)
		relids[i + 1] = get_relname_relid(written_tables[i].name, schema);
}

/* Lock them all, or none; returns how many could be, before one could not */
static size_t
tables_try_lock(const Oid *relids)
{
	size_t		i;
	size_t		n;

	for (i = 0; i < LOCKED_TABLES; i++)
	{
		if (OidIsValid(relids[i]) &&
			ConditionalLockRelationOid(relids[i], table_mode(i)))
			continue;
		for (n = i; n-- > 0;)
			UnlockRelationOid(relids[n], table_mode(n));
		return i;
	}
	return i;
}

/*
 * DROP TABLE of somebody's table locks each of ours that it refers to, in an
 * order that we do not know, and so does a migration.  To wait for one of them
 * with others in our hands would be a deadlock, and theirs may be what fails:
 * we wait empty-handed for the one that is in the way, then take them all.
 *
 * That comes to no end if the transaction has weaker locks on several of them
 * and somebody waits for each: then in order, as anybody locks tables.
 */
static void
tables_lock(Oid schema)
{
	Oid			relids[LOCKED_TABLES];
	size_t		busy;
	int			tries;

	tables_find(relids, schema);
	for (tries = 0; tries < LOCK_TRIES; tries++)
	{
		busy = tables_try_lock(relids);
		if (busy == LOCKED_TABLES || !OidIsValid(relids[busy]))
			return;
		LockRelationOid(relids[busy], table_mode(busy));
		UnlockRelationOid(relids[busy], table_mode(busy));
	}
}

static void
extension_check_triggers(Oid owner)
{
	Oid			schema = get_namespace_oid("mailman", false);
	size_t		i;

	tables_lock(schema);
	for (i = 0; i < lengthof(written_tables); i++)
		extension_check_table(&written_tables[i], schema, owner);
}

void
extension_check_events(void)
{
	extension_check_table(&event_table, get_namespace_oid("mailman", false),
						  GetUserId());
}

void
extension_check_purge(void)
{
	extension_check_table(&purged_table, get_namespace_oid("mailman", false),
						  GetUserId());
}

/* Lock one of them, if nobody is in the way */
static bool
extension_lock_nowait(const WrittenTable *table, Oid schema)
{
	Oid			relid = get_relname_relid(table->name, schema);

	return OidIsValid(relid) &&
		ConditionalLockRelationOid(relid, RowExclusiveLock);
}

/*
 * The locks of extension_may_write(), but only if nobody is in the way: for a
 * process that is ending and cannot be interrupted any more.
 */
bool
extension_lock_tables_nowait(void)
{
	Oid			schema = get_namespace_oid("mailman", true);
	Oid			relids[LOCKED_TABLES];

	tables_find(relids, schema);
	return tables_try_lock(relids) == LOCKED_TABLES &&
		extension_lock_nowait(&event_table, schema);
}

void
extension_check_tables(void)
{
	extension_check_triggers(extension_owner(extension_oid(false)));
}

void
extension_may_write(void)
{
	extension_check_triggers(GetUserId());
	extension_set_writer(GetUserId());
}

/* In a scope that reads: may we mark events?  False: somebody is in the way. */
bool
extension_may_notify(void)
{
	Oid			schema = get_namespace_oid("mailman", false);

	if (!extension_lock_nowait(&event_table, schema))
		return false;
	extension_check_table(&event_table, schema, GetUserId());
	extension_set_writer(GetUserId());
	return true;
}
