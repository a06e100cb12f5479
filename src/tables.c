/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  The tables we write: locked together, and with nobody's code on them.
 *
 * Which they are table_use.c says; whose code may run there, code.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "code.h"
#include "fmgr.h"
#include "key_file.h"
#include "mailman.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"

PG_FUNCTION_INFO_V1(mailman_obstacle);

/* How often we wait empty-handed; each time somebody's lock was in the way */
#define LOCK_TRIES	10

/* The relations of a use, with the locks it needs */
typedef struct TableLocks
{
	int			count;
	Oid			relids[OUR_TABLES];
	LOCKMODE	modes[OUR_TABLES];
} TableLocks;

static void
tables_find(TableLocks *locks, const TableUse *use, Oid schema)
{
	int			table;

	locks->count = 0;
	for (table = 0; table < OUR_TABLES; table++)
	{
		bool		writes = (use->writes & TABLE_BIT(table)) != 0;

		if (!writes && (use->reads & TABLE_BIT(table)) == 0)
			continue;
		locks->relids[locks->count] = get_relname_relid(table_names[table],
														schema);
		locks->modes[locks->count++] = writes ? RowExclusiveLock :
			RowShareLock;
	}
}

/* Lock them all, or none; returns how many could be, before one could not */
static int
tables_try_lock(const TableLocks *locks)
{
	int			i;
	int			n;

	for (i = 0; i < locks->count; i++)
	{
		if (OidIsValid(locks->relids[i]) &&
			ConditionalLockRelationOid(locks->relids[i], locks->modes[i]))
			continue;
		for (n = i; n-- > 0;)
			UnlockRelationOid(locks->relids[n], locks->modes[n]);
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
tables_lock(const TableUse *use, Oid schema)
{
	TableLocks	locks;
	int			busy;
	int			tries;
	int			i;

	tables_find(&locks, use, schema);
	for (tries = 0; tries < LOCK_TRIES; tries++)
	{
		busy = tables_try_lock(&locks);
		if (busy == locks.count)
			return;
		if (!OidIsValid(locks.relids[busy]))
			break;
		LockRelationOid(locks.relids[busy], locks.modes[busy]);
		UnlockRelationOid(locks.relids[busy], locks.modes[busy]);
	}
	for (i = 0; i < locks.count; i++)
	{
		if (OidIsValid(locks.relids[i]))
			LockRelationOid(locks.relids[i], locks.modes[i]);
	}
}

/* Whose locks we have: an ERROR if anybody's code would run there */
static void
tables_check(const TableUse *use, Oid schema, Oid owner)
{
	TableSet	deletes = table_use_deletes(use);
	int			table;

	for (table = 0; table < OUR_TABLES; table++)
	{
		if ((use->writes & TABLE_BIT(table)) != 0)
			code_check((OurTable) table, schema, owner,
					   (deletes & TABLE_BIT(table)) != 0);
	}
}

/* see txn.h */
void
extension_check_tables(const TableUse *use)
{
	Oid			schema = get_namespace_oid("mailman", false);

	tables_lock(use, schema);
	tables_check(use, schema, extension_owner());
}

/* From now on we may write these tables, too */
static void
extension_adds(TableSet tables)
{
	Writing		writing = extension_writing();

	writing.role = GetUserId();
	writing.tables |= tables;
	extension_set_writing(writing);
}

/* see txn.h */
void
extension_may_write(const TableUse *use)
{
	Oid			schema = get_namespace_oid("mailman", false);

	tables_lock(use, schema);
	tables_check(use, schema, GetUserId());
	extension_adds(use->writes);
}

/* see txn.h */
bool
extension_may_write_nowait(const TableUse *use)
{
	Oid			schema = get_namespace_oid("mailman", false);
	TableLocks	locks;

	tables_find(&locks, use, schema);
	if (tables_try_lock(&locks) < locks.count)
		return false;
	tables_check(use, schema, GetUserId());
	extension_adds(use->writes);
	return true;
}

/* ---- what a statement writes ---- */

static TableSet
query_writes(const Query *query, Oid schema)
{
	TableSet	set = 0;
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		const RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_RELATION &&
			entry->rellockmode == RowExclusiveLock)
			set |= table_set_of(entry->relid, schema);
	}
	foreach(cell, query->cteList)
	{
		const CommonTableExpr *cte = lfirst_node(CommonTableExpr, cell);

		set |= query_writes(castNode(Query, cte->ctequery), schema);
	}
	return set;
}

/* see txn.h */
TableSet
tables_written(SPIPlanPtr plan)
{
	Oid			schema = get_namespace_oid("mailman", true);
	TableSet	set = 0;
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(plan))
	{
		/* a copy: names are looked up, and that may make the plan anew */
		List	   *queries =
			copyObject(((CachedPlanSource *) lfirst(source))->query_list);
		ListCell   *cell;

		foreach(cell, queries)
			set |= query_writes(lfirst_node(Query, cell), schema);
	}
	return set;
}

/* see txn.h */
void
tables_cover(const char *sql, TableSet writes)
{
	TableUse	missing = {writes & ~extension_writing().tables, 0};
	int			table;

	if (missing.writes == 0)
		return;
	for (table = 0; table < OUR_TABLES; table++)
	{
		if ((missing.writes & TABLE_BIT(table)) != 0)
			elog(WARNING, "table \"mailman.%s\" was not locked before \"%s\"",
				 table_names[table], sql);
	}
	extension_may_write(&missing);
}

/* ---- mailman.obstacle() ---- */

/* What keeps secrets from being unwrapped, or NULL; in a scope */
static char *
obstacle_of_secrets(void)
{
	static Statement find = {
		.sql = "SELECT wrapped_by FROM mailman.secret"
		" WHERE wrapped_by IS NOT NULL UNION SELECT wrapped_by"
		" FROM mailman.dkim_key WHERE wrapped_by IS NOT NULL"
	};
	uint64		rows = statement_look(&find, NULL, NULL);
	char	   *fault = NULL;
	uint64		row;

	for (row = 0; row < rows && fault == NULL; row++)
		fault = key_file_fault(row_text(row, 1));
	return fault;
}

/*
 * mailman.obstacle() RETURNS text
 *
 * What keeps letters from being sent: the database is a copy, somebody's code
 * is on a table that their workers write, or mailman.key_file cannot be used.
 * NULL: nothing does.
 */
Datum
mailman_obstacle(PG_FUNCTION_ARGS)
{
	TableUse	use = table_use_of(&use_turn, &use_first);
	TableSet	deletes = table_use_deletes(&use);
	Oid			schema = get_namespace_oid("mailman", true);
	Oid			extension = extension_oid(true);
	Oid			owner = InvalidOid;
	MemoryContext caller = CurrentMemoryContext;
	ExtensionScope scope;
	CodeFault	fault;
	char	   *secrets;
	bool		ours;
	int			table;

	use = table_use_of(&use, &use_record_email);
	use = table_use_of(&use, &use_record_bounce);
	if (!OidIsValid(extension) || !extension_fits(extension, &owner))
		PG_RETURN_NULL();		/* its tables are not those we know */
	extension_enter_reading_as(&scope, owner);
	ours = origin_is_ours();
	secrets = obstacle_of_secrets();
	if (secrets != NULL)
		secrets = MemoryContextStrdup(caller, secrets);
	extension_leave(&scope);
	if (!ours)
		PG_RETURN_TEXT_P(cstring_to_text("this database is a copy that was not adopted"));
	if (secrets != NULL)
		PG_RETURN_TEXT_P(cstring_to_text(secrets));
	for (table = 0; table < OUR_TABLES; table++)
	{
		if ((use.writes & TABLE_BIT(table)) != 0 &&
			!code_is_ours((OurTable) table, schema, owner,
						  (deletes & TABLE_BIT(table)) != 0, &fault))
			PG_RETURN_TEXT_P(cstring_to_text(fault.message));
	}
	PG_RETURN_NULL();
}
