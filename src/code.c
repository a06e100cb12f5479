/*-------------------------------------------------------------------------
 *
 * code.c
 *	  Whose code runs when we write our tables.
 *
 * We write as the extension's owner, who is a superuser, and whatever hangs on
 * a table runs with those rights: triggers and their conditions, expressions of
 * indexes, constraints, defaults, rules, extended statistics, and policies.
 * The owner of a function may replace it at any time.  So every function, type
 * and operator that is used there must belong to a superuser or to the
 * extension's owner, who gain nothing by it: an audit trigger of theirs is as
 * welcome as the one by which pg_repack follows a table.  What is used, and
 * whose it is, code_used.c knows.
 *
 * A trigger of a superuser's function could still be somebody's who chose its
 * arguments: guard_ddl.c refuses those when they are made.
 *
 * All is read from the catalogs, by their indexes, and nothing is kept of what
 * is read: a look into a syscache may accept an invalidation, which rebuilds
 * the relation and frees its triggers.  The finding is kept until anything
 * changes that could have led to another.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "code.h"
#include "commands/trigger.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* What is known of a table */
typedef struct Finding
{
	Oid			relid;
	Oid			owner;			/* of the extension, then */
	bool		valid;			/* it was looked at, and nothing was wrong */
	bool		doubtful;		/* something has changed meanwhile */
	bool		minds_role;
	Oid			referenced_by;	/* a table of somebody else's */
} Finding;

static Finding findings[OUR_TABLES];

/* Things that hang on a table, and the catalogs that list them */
typedef struct Hanging
{
	const char *kind;
	Oid			catalog;
	Oid			index;			/* by the table */
	AttrNumber	relation;
	AttrNumber	oid;
	AttrNumber	name;			/* 0: see hanging_name() */
	Oid			class;			/* what pg_depend calls them */
} Hanging;

static const Hanging hangings[] = {
	{"trigger", TriggerRelationId, TriggerRelidNameIndexId,
		Anum_pg_trigger_tgrelid, Anum_pg_trigger_oid,
	Anum_pg_trigger_tgname, TriggerRelationId},
	{"rule", RewriteRelationId, RewriteRelRulenameIndexId,
		Anum_pg_rewrite_ev_class, Anum_pg_rewrite_oid,
	Anum_pg_rewrite_rulename, RewriteRelationId},
	{"index", IndexRelationId, IndexIndrelidIndexId,
		Anum_pg_index_indrelid, Anum_pg_index_indexrelid,
	0, RelationRelationId},
	{"constraint", ConstraintRelationId, ConstraintRelidTypidNameIndexId,
		Anum_pg_constraint_conrelid, Anum_pg_constraint_oid,
	Anum_pg_constraint_conname, ConstraintRelationId},
	{"default", AttrDefaultRelationId, AttrDefaultIndexId,
		Anum_pg_attrdef_adrelid, Anum_pg_attrdef_oid,
	0, AttrDefaultRelationId},
	{"policy", PolicyRelationId, PolicyPolrelidPolnameIndexId,
		Anum_pg_policy_polrelid, Anum_pg_policy_oid,
	Anum_pg_policy_polname, PolicyRelationId},
	{"statistics object", StatisticExtRelationId, StatisticExtRelidIndexId,
		Anum_pg_statistic_ext_stxrelid, Anum_pg_statistic_ext_oid,
	Anum_pg_statistic_ext_stxname, StatisticExtRelationId}
};

/* ---- the finding, kept ---- */

static void
code_relation_changed(Datum arg, Oid relid)
{
	int			table;

	for (table = 0; table < OUR_TABLES; table++)
	{
		if (OidIsValid(relid) && findings[table].relid != relid)
			continue;
		findings[table].valid = false;
		findings[table].doubtful = true;
	}
}

/*
 * A function, type or operator has another owner, or a role is not a superuser
 * any more.
 */
static void
code_owner_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	code_relation_changed(arg, InvalidOid);
}

static void
code_watch(void)
{
	static const int caches[] = {PROCOID, TYPEOID, OPEROID, AUTHOID};
	static bool watches = false;
	size_t		i;

	if (watches)
		return;
	watches = true;
	CacheRegisterRelcacheCallback(code_relation_changed, (Datum) 0);
	for (i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], code_owner_changed,
									  (Datum) 0);
}

/* see code.h */
bool
code_minds_role(TableSet tables)
{
	int			table;

	for (table = 0; table < OUR_TABLES; table++)
	{
		if ((tables & TABLE_BIT(table)) != 0 &&
			(!findings[table].valid || findings[table].minds_role))
			return true;
	}
	return false;
}

/* ---- what hangs on a table ---- */

static const char *
hanging_name(const Hanging *h, HeapTuple tuple, TupleDesc desc, Oid oid)
{
	bool		isnull;
	const char *name = "?";

	if (h->name != 0)
		return pstrdup(NameStr(*DatumGetName(heap_getattr(tuple, h->name, desc,
														  &isnull))));
	if (h->class == RelationRelationId)
		name = get_rel_name(oid);
	else if (h->class == AttrDefaultRelationId)
	{
		Form_pg_attrdef row = (Form_pg_attrdef) GETSTRUCT(tuple);

		name = get_attname(row->adrelid, row->adnum, true);
	}
	return name ? name : "?";
}

/*
 * A trigger that can fire?  Those of foreign keys are the server's own; one by
 * which somebody's table refers to ours runs their code when we delete.  One of
 * somebody's that always fires minds the role in what it writes: the foreign
 * keys of an audit's table are to be looked up.
 */
static bool
trigger_counts(Form_pg_trigger trigger, Oid schema, Finding *v)
{
	if (trigger->tgisinternal)
	{
		if (RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK &&
			get_rel_namespace(trigger->tgconstrrelid) != schema)
			v->referenced_by = trigger->tgconstrrelid;
		return false;
	}
	if (trigger->tgenabled == TRIGGER_DISABLED)
		return false;
	if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
		getExtensionOfObject(ProcedureRelationId,
							 trigger->tgfoid) != extension_oid(true))
		v->minds_role = true;
	return true;
}

/*
 * A trigger that waits until COMMIT runs when the settings are the caller's
 * again, since 18 with our rights.
 */
static bool
trigger_is_at_once(Form_pg_trigger trigger, CodeFault *fault)
{
	if (!trigger->tgdeferrable)
		return true;
	fault->detail = "It can be deferred until COMMIT, when the extension has left its fence.";
	fault->hint = "Make it NOT DEFERRABLE.";
	return false;
}

/* Row security does not bind a superuser, so anybody may use code in it */
static bool
hanging_counts(const Hanging *h, HeapTuple tuple, Oid schema, Finding *v)
{
	if (h->class == TriggerRelationId)
		return trigger_counts((Form_pg_trigger) GETSTRUCT(tuple), schema, v);
	if (h->class == PolicyRelationId)
		return !superuser_arg(v->owner);
	if (h->class == RewriteRelationId)
		v->minds_role = true;
	return true;
}

static bool
hangings_are_ours(const Hanging *h, OurTable table, Oid schema, Oid owner,
				  CodeFault *fault)
{
	Finding    *v = &findings[table];
	Relation	catalog = table_open(h->catalog, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(catalog);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		ours = true;

	ScanKeyInit(&key, h->relation, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(v->relid));
	scan = systable_beginscan(catalog, h->index, true, NULL, 1, &key);
	while (ours && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			oid = DatumGetObjectId(heap_getattr(tuple, h->oid, desc,
														&isnull));

		if (!hanging_counts(h, tuple, schema, v))
			continue;
		ours = object_is_ours(h->class, oid, owner, fault);
		if (ours && h->class == TriggerRelationId)
			ours = trigger_is_at_once((Form_pg_trigger) GETSTRUCT(tuple),
									  fault);
		if (ours)
			continue;
		fault->message = psprintf("%s \"%s\" on table \"mailman.%s\" would run with the rights of the extension's owner",
								  h->kind,
								  hanging_name(h, tuple, desc, oid),
								  table_names[table]);
		if (fault->hint == NULL)
			fault->hint = h->class == TriggerRelationId ?
				"Drop the trigger, and revoke TRIGGER on the table; or let what it uses belong to a superuser." :
				"Drop it, or let what it uses belong to a superuser.";
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return ours;
}

/* What we write goes into its children, too, whosever they are */
static bool
table_has_child(Oid relid, Oid *child)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, InheritsParentIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*child = ((Form_pg_inherits) GETSTRUCT(tuple))->inhrelid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* The table itself: its owner, the types of its columns, its children */
static bool
table_is_ours(OurTable table, Oid relid, Oid owner, CodeFault *fault)
{
	const char *name = table_names[table];
	Oid			role = object_owner(RELOID, relid, Anum_pg_class_relowner);
	Oid			child;

	if (!role_is_ours(role, owner))
	{
		fault->message = psprintf("table \"mailman.%s\" belongs to role \"%s\"",
								  name, GetUserNameFromId(role, true));
		fault->detail = "Its owner's code would run with the rights of the extension's owner.";
		fault->hint = "Give it back to the extension's owner: ALTER TABLE ... OWNER TO.";
	}
	else if (table_has_child(relid, &child))
	{
		fault->message = psprintf("table \"%s\" inherits from \"mailman.%s\"",
								  get_rel_name(child), name);
		fault->detail = "What the extension writes would be written there, too.";
		fault->hint = "ALTER TABLE ... NO INHERIT, or drop it.";
	}
	else if (!object_is_ours(RelationRelationId, relid, owner, fault))
	{
		fault->message = psprintf("a column of table \"mailman.%s\" would run code with the rights of the extension's owner",
								  name);
		if (fault->hint == NULL)
			fault->hint = "Drop the column, or let its type belong to a superuser.";
	}
	return fault->message == NULL;
}

/* Look at all of it; sets the finding */
static bool
code_inspect(OurTable table, Oid relid, Oid schema, Oid owner,
			 CodeFault *fault)
{
	Finding    *v = &findings[table];
	size_t		i;

	memset(v, 0, sizeof(*v));
	v->relid = relid;
	v->owner = owner;
	if (!table_is_ours(table, relid, owner, fault))
		return false;
	for (i = 0; i < lengthof(hangings); i++)
	{
		if (!hangings_are_ours(&hangings[i], table, schema, owner, fault))
			return false;
	}
	v->valid = !v->doubtful;
	return true;
}

/* see code.h */
bool
code_is_ours(OurTable table, Oid schema, Oid owner, bool deletes,
			 CodeFault *fault)
{
	Oid			relid = get_relname_relid(table_names[table], schema);
	Finding    *v = &findings[table];

	memset(fault, 0, sizeof(*fault));
	code_watch();
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"mailman.%s\" does not exist",
						table_names[table])));
	if (!(v->valid && v->relid == relid && v->owner == owner) &&
		!code_inspect(table, relid, schema, owner, fault))
		return false;
	if (!deletes || !OidIsValid(v->referenced_by))
		return true;
	fault->message = psprintf("a foreign key of table \"%s\" refers to \"mailman.%s\", where the extension deletes rows",
							  get_rel_name(v->referenced_by),
							  table_names[table]);
	fault->hint = "Drop the foreign key, and revoke REFERENCES on the table; refer to letters and subscriptions instead.";
	return false;
}

/* see code.h */
void
code_refuse(const CodeFault *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s", fault->message),
			 fault->detail ? errdetail("%s", fault->detail) : 0,
			 errhint("%s", fault->hint)));
}

/* see code.h */
void
code_check(OurTable table, Oid schema, Oid owner, bool deletes)
{
	CodeFault	fault;

	if (!code_is_ours(table, schema, owner, deletes, &fault))
		code_refuse(&fault);
}
