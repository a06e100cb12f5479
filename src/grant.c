/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  mailman_grant(), mailman_revoke(): what an application role needs.
 *
 * One list says what it is.  All of it could be granted by hand, and is kept
 * and dumped as any other grant; what is in no list is granted to nobody.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_grant);
PG_FUNCTION_INFO_V1(mailman_revoke);

/* Each has what those before it have */
typedef enum RightsLevel
{
	RIGHTS_READ,
	RIGHTS_SEND,
	RIGHTS_ADMIN,
	RIGHTS_LEVELS
} RightsLevel;

static const char *const rights_names[RIGHTS_LEVELS] = {
	"read", "send", "admin"
};

/*
 * The list.  Never in it: secret, dkim_key, origin, forgotten (who they were
 * could be guessed), what only workers read, and mailman_adopt().
 *
 * To read and to send is to see and write what belongs to newsletters of whose
 * owner one is a member; to be admin, what is everybody's.
 */
static const struct
{
	RightsLevel level;
	const char *privileges;
	const char *object;			/* a function's is in the extension's schema */
}			rights[] =

{
	{RIGHTS_READ, "USAGE", "SCHEMA mailman"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.newsletter"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.subscription"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.letter"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.attachment"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.partial"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.delivery"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.newsletter_email"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.posting"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.domain_limit"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.line"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.progress"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.worker"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.recipient"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.failure_summary"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.relay_status"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.event"},
	{RIGHTS_READ, "SELECT", "TABLE mailman.test"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_is_address(text)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_retry_delay(integer, text, double precision)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_find(bigint, text)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_preview(bigint, bigint)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_preview_all(bigint)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_report(bigint)"},
	{RIGHTS_READ, "EXECUTE", "FUNCTION mailman_deliveries(bigint)"},
	{RIGHTS_READ, "EXECUTE", "PROCEDURE mailman_wait(bigint, interval, text)"},

	{RIGHTS_SEND, "INSERT, UPDATE, DELETE", "TABLE mailman.newsletter"},
	{RIGHTS_SEND, "INSERT, UPDATE, DELETE", "TABLE mailman.subscription"},
	{RIGHTS_SEND, "INSERT, UPDATE, DELETE", "TABLE mailman.letter"},
	{RIGHTS_SEND, "INSERT, UPDATE, DELETE", "TABLE mailman.attachment"},
	{RIGHTS_SEND, "INSERT, UPDATE, DELETE", "TABLE mailman.partial"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_subscribe(bigint, text, text, jsonb, boolean)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_unsubscribe(text)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_unsubscribe_url(bigint, bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_forget(bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_check(text)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_test(bigint, text, bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_send(bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_send(bigint, bigint[], jsonb)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_pause(bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_resume(bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_cancel(bigint)"},
	{RIGHTS_SEND, "EXECUTE", "FUNCTION mailman_retry(bigint, text[])"},

	{RIGHTS_ADMIN, "EXECUTE", "FUNCTION mailman.admin()"},
	{RIGHTS_ADMIN, "INSERT, UPDATE, DELETE", "TABLE mailman.domain_limit"},
	{RIGHTS_ADMIN, "EXECUTE", "FUNCTION mailman_set_dkim_key(bigint, text, text)"},
	{RIGHTS_ADMIN, "EXECUTE", "FUNCTION mailman_rotate_secret(bigint, interval)"},
	{RIGHTS_ADMIN, "EXECUTE", "FUNCTION mailman_wake()"},
	{RIGHTS_ADMIN, "EXECUTE", "PROCEDURE mailman_purge(interval, integer)"},
};

static RightsLevel
rights_level(const char *what)
{
	int			level;

	for (level = 0; level < RIGHTS_LEVELS; level++)
	{
		if (strcmp(what, rights_names[level]) == 0)
			return (RightsLevel) level;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown set of rights \"%s\"", what),
			 errhint("There are read, send and admin.")));
}

/*
 * The extension's schema, quoted.  It is not ours to grant, as other things
 * are in it; tell if the role cannot use it.
 */
static const char *
rights_schema(const char *role, bool grant)
{
	static Statement find = {
		.sql = "SELECT n.nspname::text,"
		" pg_catalog.has_schema_privilege($2, n.oid, 'USAGE')"
		" FROM pg_catalog.pg_extension e"
		" JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
		" WHERE e.oid = $1",
		.nargs = 2,
		.argtypes = {OIDOID, NAMEOID}
	};
	NameData	name;
	Datum		values[2] = {ObjectIdGetDatum(extension_oid(false))};
	char	   *schema;

	namestrcpy(&name, role);
	values[1] = NameGetDatum(&name);
	if (statement_run(&find, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "extension mailman has no schema");
	schema = row_text(0, 1);
	if (grant && !row_bool(0, 2))
		ereport(NOTICE,
				(errmsg("role \"%s\" cannot call the functions yet", role),
				 errhint("GRANT USAGE ON SCHEMA %s TO %s.",
						 quote_identifier(schema), quote_identifier(role))));
	return quote_identifier(schema);
}

/* One entry of the list, granted or revoked */
static void
rights_run(size_t entry, const char *schema, const char *role, bool grant)
{
	const char *object = rights[entry].object;
	const char *name = strchr(object, ' ') + 1;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s %s ON %.*s", grant ? "GRANT" : "REVOKE",
					 rights[entry].privileges, (int) (name - object), object);
	if (strncmp(name, "mailman_", strlen("mailman_")) == 0)
		appendStringInfo(&sql, "%s.", schema);
	appendStringInfo(&sql, "%s %s %s", name, grant ? "TO" : "FROM",
					 quote_identifier(role));
	if (SPI_execute(sql.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not run \"%s\"", sql.data);
	pfree(sql.data);
}

static Datum
rights_change(FunctionCallInfo fcinfo, bool grant)
{
	Oid			caller = GetUserId();
	ExtensionScope scope;
	RightsLevel level;
	const char *schema;
	char	   *role;
	size_t		i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role and what must not be null")));
	if (!has_privs_of_role(caller, extension_owner()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 grant ? errmsg("permission denied to grant rights on extension mailman") :
				 errmsg("permission denied to revoke rights on extension mailman"),
				 errdetail("Only the owner of extension mailman may.")));
	level = rights_level(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	role = NameStr(*PG_GETARG_NAME(0));
	(void) get_role_oid(role, false);	/* which PUBLIC is not */
	extension_enter_reading(&scope);
	schema = rights_schema(role, grant);
	for (i = 0; i < lengthof(rights); i++)
	{
		if (grant ? rights[i].level <= level : rights[i].level >= level)
			rights_run(i, schema, role, grant);
	}
	event_right(role, rights_names[level], grant);
	extension_leave(&scope);
	PG_RETURN_VOID();
}

/* mailman_grant(role name, what text) RETURNS void */
Datum
mailman_grant(PG_FUNCTION_ARGS)
{
	return rights_change(fcinfo, true);
}

/*
 * mailman_revoke(role name, what text) RETURNS void
 *
 * What a set has beyond the sets before it goes, and the sets after it: who
 * is no admin any more may still send, who may not read may do nothing.
 */
Datum
mailman_revoke(PG_FUNCTION_ARGS)
{
	return rights_change(fcinfo, false);
}
