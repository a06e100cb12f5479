/*-------------------------------------------------------------------------
 *
 * relay.c
 *	  Relays are foreign servers of the wrapper mailman_smtp.
 *
 * Credentials are user mappings; the right to send through a relay is USAGE
 * on the server.
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
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "common/hashfn.h"
#include "foreign/foreign.h"
#include "mailman.h"
#include "miscadmin.h"
#include "relay_options.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static bool
server_is_relay(const ForeignServer *server)
{
	return strcmp(GetForeignDataWrapper(server->fdwid)->fdwname,
				  "mailman_smtp") == 0;
}

/* The server of that name, if role may send through it */
static ForeignServer *
relay_server(const char *name, Oid role)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("relay \"%s\" does not exist", name),
				 errhint("Relays are made with CREATE SERVER ... FOREIGN DATA WRAPPER mailman_smtp.")));
	if (!server_is_relay(server))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a relay", name),
				 errhint("Relays are servers of the foreign-data wrapper mailman_smtp.")));
	if (compat_server_aclcheck(server->serverid, role) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for relay \"%s\"", name),
				 errdetail("Role \"%s\" has no USAGE on this server.",
						   GetUserNameFromId(role, false)),
				 errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s.",
						 quote_identifier(name),
						 quote_identifier(GetUserNameFromId(role, false)))));
	return server;
}

/* see mailman.h */
Oid
relay_find(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	return server != NULL && server_is_relay(server) ? server->serverid :
		InvalidOid;
}

/* One that is not there is nobody's fault */
bool
relay_may(const char *name, Oid role)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	return server == NULL ||
		compat_server_aclcheck(server->serverid, role) == ACLCHECK_OK;
}

/* see mailman.h */
void
relay_warn(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("relay \"%s\" does not exist", name),
				 errhint("Relays are made with CREATE SERVER ... FOREIGN DATA WRAPPER mailman_smtp; newsletter.relays has their names.")));
	else if (!server_is_relay(server))
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("server \"%s\" is not a relay", name),
				 errhint("Relays are servers of the foreign-data wrapper mailman_smtp.")));
}

/* Does the server have any user mapping? */
static bool
relay_has_mappings(Oid serverid)
{
	Relation	rel = table_open(UserMappingRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0,
										  NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = ((Form_pg_user_mapping) GETSTRUCT(tuple))->umserver == serverid;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * The options of the role's mapping, else of PUBLIC's.  A server without any
 * mapping asks for no credentials; one whose mappings do not fit is an error,
 * or mail would leave without AUTH where AUTH was meant.
 */
static List *
relay_mapping(ForeignServer *server, Oid role, Oid *mapping)
{
	HeapTuple	tuple;
	Datum		options;
	bool		isnull;
	List	   *list = NIL;

	*mapping = InvalidOid;
	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
							ObjectIdGetDatum(server->serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server->serverid));
	if (!HeapTupleIsValid(tuple))
	{
		if (relay_has_mappings(server->serverid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("no user mapping of relay \"%s\" fits role \"%s\"",
							server->servername,
							GetUserNameFromId(role, false)),
					 errhint("CREATE USER MAPPING FOR that role, or FOR PUBLIC.")));
		return NIL;
	}
	*mapping = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							  Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		list = untransformRelOptions(options);
	ReleaseSysCache(tuple);
	return list;
}

const char *
relay_check(const char *name, Oid role)
{
	ForeignServer *server = relay_server(name, role);

	Oid			mapping;

	relay_check_clear(name, server->options,
					  relay_mapping(server, role, &mapping));
	return relay_option_text(server->options, "from");
}

/* How fast mail may go to it, whoever asks; NULL: there is no such relay */
RatePlan *
relay_plan(Oid serverid)
{
	ForeignServer *server = GetForeignServerExtended(serverid, FSV_MISSING_OK);
	Relay	   *relay;

	if (server == NULL || !server_is_relay(server))
		return NULL;
	relay = palloc0(sizeof(Relay));
	relay->name = "";
	relay_defaults_set(relay);
	relay_apply(relay, server->options, ForeignServerRelationId);
	return &relay->plan;
}

Relay *
relay_load(const char *name, Oid role)
{
	ForeignServer *server = relay_server(name, role);
	Relay	   *relay = palloc0(sizeof(Relay));
	List	   *mapping = relay_mapping(server, role, &relay->mapping);

	relay_check_clear(name, server->options, mapping);
	relay->name = pstrdup(name);
	relay->server = server->serverid;
	relay_defaults_set(relay);
	relay_apply(relay, server->options, ForeignServerRelationId);
	relay_apply(relay, mapping, UserMappingRelationId);
	relay->key = (int64)
		hash_bytes_extended((const unsigned char *) relay->fingerprint,
							(int) strlen(relay->fingerprint), 0);
	relay->key = relay_login_key(&relay->config, relay->key);
	return relay;
}
