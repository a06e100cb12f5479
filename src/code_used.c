/*-------------------------------------------------------------------------
 *
 * code_used.c
 *	  What something uses, as pg_depend has it, and whose that is.
 *
 * What is built in is not listed there.  Who owns a function may replace it at
 * any time, and so on; so what counts is the owner.
 *
 * A superuser's function is harmless where it was made, and not of itself where
 * others call it: whatever search_path is, a relation or a type that it names
 * without its schema may be found among the temporary ones of the session, and
 * those have triggers and constraints of the role that made them, which would
 * get our rights.  So it needs a search_path of its own, with pg_temp at the
 * end, as one that is SECURITY DEFINER does.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "code.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* see code.h */
bool
role_is_ours(Oid role, Oid owner)
{
	return role == owner || superuser_arg(role);
}

/* see code.h */
Oid
object_owner(int cacheid, Oid oid, AttrNumber column)
{
	HeapTuple	tuple = SearchSysCache1(cacheid, ObjectIdGetDatum(oid));
	bool		isnull;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = DatumGetObjectId(SysCacheGetAttr(cacheid, tuple, column, &isnull));
	ReleaseSysCache(tuple);
	return owner;
}

/* The role that may change what it does; InvalidOid: none, or it is gone */
static Oid
reference_owner(Oid class, Oid oid, Oid owner)
{
	Oid			role;

	switch (class)
	{
		case ProcedureRelationId:
			return object_owner(PROCOID, oid, Anum_pg_proc_proowner);
		case TypeRelationId:
			return object_owner(TYPEOID, oid, Anum_pg_type_typowner);
		case OperatorRelationId:
			role = object_owner(OPEROID, oid, Anum_pg_operator_oprowner);
			if (OidIsValid(role) && !role_is_ours(role, owner))
				return role;
			return object_owner(PROCOID, get_opcode(oid),
								Anum_pg_proc_proowner);
		default:
			return InvalidOid;
	}
}

/* Is pg_temp the last of a search_path, and no other? */
static bool
path_is_safe(const char *path)
{
	List	   *names;
	int			i;

	if (!SplitIdentifierString(pstrdup(path), ',', &names))
		return false;
	for (i = 0; i < list_length(names); i++)
	{
		if (strcmp(list_nth(names, i), "pg_temp") == 0)
			return i == list_length(names) - 1;
	}
	return false;
}

/* The settings of a function, as pg_proc has them */
static bool
settings_are_safe(Datum settings)
{
	const char *prefix = "search_path=";
	Datum	   *elements;
	int			count;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &count);
	for (i = 0; i < count; i++)
	{
		char	   *setting = TextDatumGetCString(elements[i]);

		if (strncmp(setting, prefix, strlen(prefix)) == 0)
			return path_is_safe(setting + strlen(prefix));
	}
	return false;
}

/*
 * Does it find what it was meant to find, whatever calls it?  C does not look
 * for names, or knows what it does; what is written BEGIN ATOMIC was looked up
 * when it was made.
 */
static bool
function_is_safe(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			language;
	Datum		settings;
	bool		no_body;
	bool		no_settings;
	bool		safe;

	if (!HeapTupleIsValid(tuple))
		return true;
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &no_body);
	settings = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig,
							   &no_settings);
	safe = language == INTERNALlanguageId || language == ClanguageId ||
		!no_body || (!no_settings && settings_are_safe(settings));
	ReleaseSysCache(tuple);
	return safe;
}

/* Words about what is used, if it is not as it should be */
static bool
reference_is_ours(const ObjectAddress *used, Oid owner, CodeFault *fault)
{
	Oid			role = reference_owner(used->classId, used->objectId, owner);
	Oid			function = used->classId == ProcedureRelationId ?
		used->objectId : InvalidOid;

	if (used->classId == OperatorRelationId)
		function = get_opcode(used->objectId);
	if (OidIsValid(role) && !role_is_ours(role, owner))
		fault->detail = psprintf("It uses %s, which belongs to role \"%s\".",
								 getObjectDescription(used, false),
								 GetUserNameFromId(role, true));
	else if (OidIsValid(function) && !function_is_safe(function))
	{
		fault->detail = psprintf("It uses %s, which may find temporary tables of its caller.",
								 getObjectDescription(used, false));
		fault->hint = "ALTER FUNCTION ... SET search_path = ..., pg_temp.";
	}
	return fault->detail == NULL;
}

/* see code.h */
bool
object_is_ours(Oid class, Oid oid, Oid owner, CodeFault *fault)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		ours = true;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2,
							  keys);
	while (ours && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress used = {row->refclassid, row->refobjid, 0};

		ours = reference_is_ours(&used, owner, fault);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return ours;
}
