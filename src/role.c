/*-------------------------------------------------------------------------
 *
 * role.c
 *	  Roles that rows name: the owner of a newsletter, the sender of a letter.
 *
 * A role has no foreign key, and DROP ROLE knows nothing of the rows of other
 * databases.  A name alone would give a newsletter to anybody who makes a role
 * of that name later.  So the oid stands beside it: the role counts as long as
 * the oid is one, whatever it is called now.  A dump carries the name, and the
 * guards find the oid of the row that is loaded; what is written into that
 * column is ignored.
 *
 * Members of the owner write a newsletter and what belongs to it.  The right to
 * write everybody's is EXECUTE on mailman.admin(): a plain grant, which a dump
 * carries, and of which no role has anything that it was not given.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "guard.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(mailman_admin);

/* see mailman.h */
Oid
role_known(Oid role)
{
	return OidIsValid(role) &&
		SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)) ?
		role : InvalidOid;
}

/* see mailman.h */
char *
role_called(Oid role, char *name)
{
	char	   *now = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

	return now ? now : name;
}

/* Has it EXECUTE on mailman.admin(), which mailman_grant() gives? */
static bool
role_has_admin(Oid role)
{
	Oid			schema = get_namespace_oid("mailman", true);
	oidvector  *none = buildoidvector(NULL, 0);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										   CStringGetDatum("admin"),
										   PointerGetDatum(none),
										   ObjectIdGetDatum(schema));

	pfree(none);
	return OidIsValid(function) &&
		compat_function_aclcheck(function, role) == ACLCHECK_OK;
}

/* mailman.admin() RETURNS void: to be granted, not to be called */
Datum
mailman_admin(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}

/* see mailman.h */
bool
role_is_admin(Oid role)
{
	return superuser_arg(role) || role_has_admin(role) ||
		has_privs_of_role(role, extension_owner());
}

/* see mailman.h */
bool
role_may(Oid role, Oid owner)
{
	return (OidIsValid(owner) && has_privs_of_role(role, owner)) ||
		role_is_admin(role);
}

/* see mailman.h */
void
newsletter_deny(int64 newsletter_id, Oid role)
{
	const char *name = GetUserNameFromId(role, false);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for newsletter " INT64_FORMAT,
					newsletter_id),
			 errdetail("Role \"%s\" is not a member of the owner of a newsletter of that id.",
					   name),
			 errhint("Members of newsletter.owner write it and what belongs to it, and roles that were granted 'admin'.")));
}

/* see mailman.h */
void
owner_check_exists(int64 newsletter_id, const char *name, Oid owner)
{
	if (OidIsValid(owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("owner \"%s\" of newsletter " INT64_FORMAT " does not exist",
					name, newsletter_id),
			 OidIsValid(get_role_oid(name, true)) ?
			 errdetail("There is a role of that name, but the newsletter was not given to it.") : 0,
			 errhint("Somebody who owns the extension gives it to another: UPDATE mailman.newsletter SET owner = ... WHERE id = " INT64_FORMAT ".",
					 newsletter_id)));
}

/* see mailman.h */
bool
newsletter_find_owner(int64 newsletter_id, char **name, Oid *owner)
{
	static Statement find = {
		.sql = "SELECT owner::text, owner_oid FROM mailman.newsletter"
		" WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};

	if (statement_run_now(&find, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	*owner = role_known(row_oid(0, 2));
	*name = role_called(*owner, row_text(0, 1));
	return true;
}

/* ---- in the guards ---- */

/* see guard.h */
Oid
guard_role(TriggerData *trigger, HeapTuple row, const char *column)
{
	bool		isnull;
	Datum		value = guard_value(trigger, row, column, &isnull);

	return isnull ? InvalidOid : role_known(DatumGetObjectId(value));
}

/* The row, with the role of that name */
static HeapTuple
guard_name_role(TriggerData *trigger, HeapTuple row, const char *name_column,
				const char *oid_column, const char *name, Oid role)
{
	int			columns[2] = {guard_column(trigger, name_column),
	guard_column(trigger, oid_column)};
	NameData	data;
	Datum		values[2] = {NameGetDatum(&data), ObjectIdGetDatum(role)};
	bool		nulls[2] = {name == NULL, !OidIsValid(role)};

	namestrcpy(&data, name ? name : "");
	return heap_modify_tuple_by_cols(row,
									 RelationGetDescr(trigger->tg_relation),
									 2, columns, values, nulls);
}

/*
 * see guard.h
 *
 * A role that a row has named already keeps its place, under the name that it
 * has now.  One that was not there when the row was loaded is looked for again
 * when somebody who may give newsletters away writes the row.
 */
HeapTuple
guard_remember_role(TriggerData *trigger, HeapTuple row,
					const char *name_column, const char *oid_column)
{
	char	   *name = guard_text(trigger, row, name_column);
	bool		named = name != NULL &&
		(TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		 guard_changes(trigger, name_column));
	Oid			role = InvalidOid;

	if (!named && name != NULL)
	{
		bool		isnull;
		Datum		value = guard_value(trigger, trigger->tg_trigtuple,
										oid_column, &isnull);

		role = isnull ? InvalidOid : DatumGetObjectId(value);
		name = role_called(role, name);
		named = isnull && (superuser() || guard_is_owner());
	}
	if (named)
		role = get_role_oid(name, true);
	return guard_name_role(trigger, row, name_column, oid_column, name, role);
}
