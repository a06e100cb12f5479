/*-------------------------------------------------------------------------
 *
 * guard_relay.c
 *	  Options of relays and user mappings that name files of the server.
 *
 * Only those who may read the server's files may set them.  A validator sees
 * all options that there are then, and not which of them a statement changes:
 * it would refuse every change to a server that has such an option by now.  An
 * event trigger sees the statement.
 *
 * What a file has is told to the relay.  So where a mapping names one, the
 * server's owner must not turn mail another way, or take the encryption off.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_user_mapping.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "mailman.h"
#include "miscadmin.h"
#include "relay_options.h"
#include "utils/acl.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(mailman_guard_relays);

/* The statement, as far as it is of interest */
typedef struct RelayChange
{
	const char *server;
	List	   *options;
	bool		alters;			/* a server that is there already */
} RelayChange;

static bool
change_read(Node *tree, RelayChange *change)
{
	memset(change, 0, sizeof(*change));
	switch (nodeTag(tree))
	{
		case T_CreateForeignServerStmt:
			change->server = ((CreateForeignServerStmt *) tree)->servername;
			change->options = ((CreateForeignServerStmt *) tree)->options;
			return true;
		case T_AlterForeignServerStmt:
			change->server = ((AlterForeignServerStmt *) tree)->servername;
			change->options = ((AlterForeignServerStmt *) tree)->options;
			change->alters = true;
			return true;
		case T_CreateUserMappingStmt:
			change->server = ((CreateUserMappingStmt *) tree)->servername;
			change->options = ((CreateUserMappingStmt *) tree)->options;
			return true;
		case T_AlterUserMappingStmt:
			change->server = ((AlterUserMappingStmt *) tree)->servername;
			change->options = ((AlterUserMappingStmt *) tree)->options;
			return true;
		default:
			return false;
	}
}

/* Does any mapping of the server name a file? */
static bool
mappings_name_files(Oid serverid)
{
	Relation	rel = table_open(UserMappingRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0,
										  NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		options;
		ListCell   *cell;

		if (((Form_pg_user_mapping) GETSTRUCT(tuple))->umserver != serverid)
			continue;
		options = heap_getattr(tuple, Anum_pg_user_mapping_umoptions,
							   RelationGetDescr(rel), &isnull);
		if (isnull)
			continue;
		foreach(cell, untransformRelOptions(options))
			found |= relay_option_is_file(((DefElem *) lfirst(cell))->defname);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
change_check(const RelayChange *change, Oid serverid)
{
	bool		guarded = change->alters && mappings_name_files(serverid);
	ListCell   *cell;

	foreach(cell, change->options)
	{
		const DefElem *def = (DefElem *) lfirst(cell);
		bool		sets = relay_option_is_file(def->defname) &&
			def->defaction != DEFELEM_DROP;

		if (sets || (guarded && relay_option_is_way(def->defname)))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"",
							def->defname),
					 errdetail("Only roles with privileges of the \"%s\" role may set it%s.",
							   "pg_read_server_files",
							   sets ? "" : ", as a user mapping of the server names a file"),
					 sets && strcmp(def->defname, "ca_file") == 0 ?
					 errhint("Without it the system's certificates are used.") : 0));
	}
}

/* mailman.guard_relays() RETURNS event_trigger: at ddl_command_end */
Datum
mailman_guard_relays(PG_FUNCTION_ARGS)
{
	RelayChange change;
	Oid			serverid;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is an event trigger")));
	if (change_read(((EventTriggerData *) fcinfo->context)->parsetree,
					&change) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES) &&
		OidIsValid(serverid = relay_find(change.server)))
		change_check(&change, serverid);
	PG_RETURN_NULL();
}
