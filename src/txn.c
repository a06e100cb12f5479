/*-------------------------------------------------------------------------
 *
 * txn.c
 *	  Who we are while we write, and how statements run.
 *
 * Everything mailman writes, it writes as the owner of the extension with
 * constant SQL, whoever called (DESIGN: checks in C, writes as the owner).
 * extension_enter() switches to that role, security-restricted, and raises
 * the flag by which the guard triggers know us; the flag falls with any
 * transaction or subtransaction that fails.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Are we inside extension_enter() .. extension_leave()? */
static bool writing = false;

static void
extension_xact_callback(XactEvent event, void *arg)
{
	writing = false;
}

static void
extension_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		writing = false;
}

void
extension_callbacks_register(void)
{
	RegisterXactCallback(extension_xact_callback, NULL);
	RegisterSubXactCallback(extension_subxact_callback, NULL);
}

bool
extension_is_writing(void)
{
	return writing;
}

Oid
extension_oid(bool missing_ok)
{
	return get_extension_oid("mailman", missing_ok);
}

static Oid
function_owner(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The role that owns the extension; InvalidOid if it is gone */
Oid
extension_owner(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

/*
 * Triggers on what we write would run with our rights: those that others may
 * have made, as GRANT ALL lets them, are refused.  The lock keeps new ones
 * out until the end of the transaction.
 */
static void
extension_check_triggers(Oid owner)
{
	static const char *const tables[] = {
		"letter", "subscription", "delivery", "newsletter_email", "posting",
		"secret", "origin"
	};
	Oid			schema = get_namespace_oid("mailman", false);
	size_t		i;
	int			n;

	for (i = 0; i < lengthof(tables); i++)
	{
		Relation	rel = table_open(get_relname_relid(tables[i], schema),
									 RowExclusiveLock);

		for (n = 0; rel->trigdesc && n < rel->trigdesc->numtriggers; n++)
		{
			Trigger    *trigger = &rel->trigdesc->triggers[n];
			Oid			author = function_owner(trigger->tgfoid);

			if (trigger->tgisinternal || author == owner ||
				superuser_arg(author))
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("trigger \"%s\" on table \"mailman.%s\" would run with the rights of the extension's owner",
							trigger->tgname, tables[i]),
					 errdetail("Its function belongs to role \"%s\".",
							   GetUserNameFromId(author, true)),
					 errhint("Drop the trigger, and revoke TRIGGER on the table.")));
		}
		table_close(rel, NoLock);
	}
}

void
extension_enter(ExtensionScope *scope)
{
	Oid			owner = extension_owner(extension_oid(false));

	extension_check_triggers(owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->guc_nest = NewGUCNestLevel();
	SetUserIdAndSecContext(owner, scope->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	writing = true;
}

void
extension_leave(ExtensionScope *scope)
{
	writing = false;
	AtEOXact_GUC(true, scope->guc_nest);
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
	SPI_finish();
}

uint64
statement_run(Statement *statement, int expected, const Datum *values,
			  const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->sql, statement->nargs,
									   statement->argtypes);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		statement->plan = plan;
	}
	result = SPI_execute_plan(statement->plan, unconstify(Datum *, values),
							  nulls, false, 0);
	/* SPI leaves us in its own context, which goes with SPI_finish() */
	MemoryContextSwitchTo(caller);
	if (result != expected)
		elog(ERROR, "unexpected result of \"%s\": %s", statement->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

Datum
row_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

int64
row_int64(uint64 row, int column, int64 if_null)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? if_null : DatumGetInt64(value);
}

bool
row_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

char *
row_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
