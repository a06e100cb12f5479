/*-------------------------------------------------------------------------
 *
 * lock_table.c
 *	  LOCK TABLE by those who may write only what is theirs.
 *
 * PostgreSQL lets a role that may UPDATE or DELETE some rows of a table lock
 * all of it, and then every letter of everybody's stands still for as long as
 * its transaction is open.  So only those who write everybody's lock our tables in
 * a mode that keeps others from writing; not by way of a view either, of which
 * LOCK TABLE locks what it reads.
 *
 * No trigger fires for LOCK TABLE, so this is a hook, in force where the
 * library is loaded: in every session, with shared_preload_libraries.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "mailman.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "table_use.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static ProcessUtility_hook_type next_hook = NULL;

/* Whose tables are asked about, and the view that is looked into */
typedef struct LockLook
{
	Oid			schema;
	Oid			view;
} LockLook;

static bool relation_is_ours(Oid relid, Oid schema);

/* Does it read a table of ours?  15 lists a view among what it reads itself. */
static bool
query_reads_ours(Node *node, LockLook *look)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		return entry->rtekind == RTE_RELATION && entry->relid != look->view &&
			relation_is_ours(entry->relid, look->schema);
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, query_reads_ours, look,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, query_reads_ours, look);
}

/* One of our tables, or a view that reads any */
static bool
relation_is_ours(Oid relid, Oid schema)
{
	LockLook	look = {schema, relid};
	Relation	view;
	bool		reads;

	/* views that read each other twice are many */
	CHECK_FOR_INTERRUPTS();
	check_stack_depth();
	if (get_rel_relkind(relid) != RELKIND_VIEW)
		return table_set_of(relid, schema) != 0;
	view = relation_open(relid, AccessShareLock);
	reads = query_reads_ours((Node *) get_view_query(view), &look);
	relation_close(view, AccessShareLock);
	return reads;
}

static void
lock_check(const LockStmt *stmt)
{
	Oid			schema = get_namespace_oid("mailman", true);
	ListCell   *cell;

	if (!OidIsValid(schema) || !OidIsValid(extension_oid(true)) ||
		stmt->mode <= RowExclusiveLock || superuser())
		return;
	foreach(cell, stmt->relations)
	{
		RangeVar   *name = lfirst_node(RangeVar, cell);
		Oid			relid = RangeVarGetRelid(name, NoLock, true);

		/* who is admin is not known while the library is of another version */
		if (OidIsValid(relid) && relation_is_ours(relid, schema) &&
			!role_is_admin(GetUserId()))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to lock table \"%s\"",
							name->relname),
					 errdetail("Letters of all owners would stand still until the transaction ends."),
					 errhint("Lock the rows: SELECT ... FOR UPDATE.")));
	}
}

static void
lock_process_utility(PlannedStmt *pstmt, const char *query, bool read_only,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *environment, DestReceiver *dest,
					 QueryCompletion *completion)
{
	if (IsA(pstmt->utilityStmt, LockStmt))
		lock_check((LockStmt *) pstmt->utilityStmt);
	if (next_hook != NULL)
		next_hook(pstmt, query, read_only, context, params, environment,
				  dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params,
								environment, dest, completion);
}

/* see letter.h */
void
lock_table_register(void)
{
	next_hook = ProcessUtility_hook;
	ProcessUtility_hook = lock_process_utility;
}
