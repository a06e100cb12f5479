/*-------------------------------------------------------------------------
 *
 * guard_ddl.c
 *	  Triggers on our tables are refused when they are made, unless those who
 *	  make them gain nothing by it.
 *
 * A role that has TRIGGER on a table may hang any function on it that it may
 * execute, with arguments and a condition of its own, and nothing tells later
 * which role it was.  So only those with the rights of the extension's owner
 * make triggers there, out of functions that belong to a superuser or to that
 * owner.  That holds for mailman.newsletter, too, which we do not write: a
 * trigger that fires after our guard could change the owner there.
 *
 * An event trigger, ENABLE ALWAYS, is what every session meets, whether mailman
 * is preloaded or not, and only a superuser gets around it.  It looks at
 * triggers alone; all else that can hang on a table is made by its owner.
 *
 * What becomes of a trigger later, as its function is given away, say, is seen
 * when the table is written: code.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "code.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"

PG_FUNCTION_INFO_V1(mailman_guard_triggers);

/* One that was just made; maker is who has made it */
static void
guard_trigger_made(const char *name, TableSet set, Oid schema, Oid owner,
				   Oid maker)
{
	CodeFault	fault;
	int			table;

	for (table = 0; table < OUR_TABLES; table++)
	{
		if ((set & TABLE_BIT(table)) == 0 || table == TABLE_DOMAIN_LIMIT)
			continue;
		if (!has_privs_of_role(maker, owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to create trigger \"%s\" on table \"mailman.%s\"",
							name, table_names[table]),
					 table == TABLE_NEWSLETTER ?
					 errdetail("It could change the owner of a newsletter.") :
					 errdetail("It would run with the rights of the extension's owner."),
					 errhint("Let a superuser create it, with a function that belongs to a superuser.")));
		if (!code_is_ours((OurTable) table, schema, owner, false, &fault))
			code_refuse(&fault);
	}
}

/* mailman.guard_triggers() RETURNS event_trigger: at ddl_command_end */
Datum
mailman_guard_triggers(PG_FUNCTION_ARGS)
{
	static Statement made = {
		.sql = "SELECT t.tgname::text, t.tgrelid"
		" FROM pg_catalog.pg_event_trigger_ddl_commands() d"
		" JOIN pg_catalog.pg_trigger t ON t.oid = d.objid"
		" WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass"
	};
	Oid			maker = GetUserId();
	Oid			extension = extension_oid(true);
	Oid			schema = get_namespace_oid("mailman", true);
	Oid			owner = InvalidOid;
	ExtensionScope scope;
	uint64		rows;
	uint64		row;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is an event trigger")));
	/* whatever its version: a script of ours makes our own */
	(void) extension_fits(extension, &owner);
	if (!OidIsValid(owner) || !OidIsValid(schema) ||
		(creating_extension && CurrentExtensionObject == extension))
		PG_RETURN_NULL();
	extension_enter_reading_as(&scope, owner);
	rows = statement_run(&made, SPI_OK_SELECT, NULL, NULL);
	for (row = 0; row < rows; row++)
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(row_datum(row, 2, &isnull));

		guard_trigger_made(row_text(row, 1), table_set_of(relid, schema),
						   schema, owner, maker);
	}
	extension_leave(&scope);
	PG_RETURN_NULL();
}
