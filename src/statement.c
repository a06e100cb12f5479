/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  How statements run, and what they return.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "code.h"
#include "commands/trigger.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* Foreign keys are not looked up: statement_run_referring() */
static bool referring = false;
static int	role_before_referring;

static void
referring_end(void)
{
	if (referring)
		SessionReplicationRole = role_before_referring;
	referring = false;
}

static void
statement_xact_callback(XactEvent event, void *arg)
{
	referring_end();
}

static void
statement_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		referring_end();
}

void
statement_callbacks_register(void)
{
	RegisterXactCallback(statement_xact_callback, NULL);
	RegisterSubXactCallback(statement_subxact_callback, NULL);
}

/* Planned once; what it writes is known from then on */
static void
statement_prepare(Statement *statement)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(statement->sql, statement->nargs,
										  statement->argtypes,
										  statement->generic ?
										  CURSOR_OPT_GENERIC_PLAN : 0);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
			 SPI_result_code_string(SPI_result));
	statement->writes = tables_written(plan);
	SPI_keepplan(plan);
	statement->plan = plan;
}

/*
 * With the transaction's snapshot, or, if read_only, with that of the query
 * that called us, or else with the one given.
 */
static uint64
statement_execute(Statement *statement, int expected, const Datum *values,
				  const char *nulls, bool read_only, Snapshot snapshot,
				  Snapshot crosscheck)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	if (statement->plan == NULL)
		statement_prepare(statement);
	if (statement->writes != 0)
		tables_cover(statement->sql, statement->writes);
	result = snapshot == InvalidSnapshot ?
		SPI_execute_plan(statement->plan, unconstify(Datum *, values), nulls,
						 read_only, 0) :
		SPI_execute_snapshot(statement->plan, unconstify(Datum *, values),
							 nulls, snapshot, crosscheck, read_only, true, 0);
	/* SPI leaves us in its own context, which goes with SPI_finish() */
	MemoryContextSwitchTo(caller);
	if (result != expected)
		elog(ERROR, "unexpected result of \"%s\": %s", statement->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

uint64
statement_run(Statement *statement, int expected, const Datum *values,
			  const char *nulls)
{
	return statement_execute(statement, expected, values, nulls, false,
							 InvalidSnapshot, InvalidSnapshot);
}

/*
 * At READ COMMITTED each statement sees what is committed when it begins.  At
 * the other levels it is given a snapshot that does, as the triggers of foreign
 * keys give themselves one.
 */
uint64
statement_run_now(Statement *statement, int expected, const Datum *values,
				  const char *nulls)
{
	if (!IsolationUsesXactSnapshot())
		return statement_run(statement, expected, values, nulls);
	return statement_execute(statement, expected, values, nulls, false,
							 GetLatestSnapshot(), InvalidSnapshot);
}

uint64
statement_change_seen(Statement *statement, int expected, const Datum *values,
					  const char *nulls)
{
	if (!IsolationUsesXactSnapshot())
		return statement_run(statement, expected, values, nulls);
	return statement_execute(statement, expected, values, nulls, false,
							 GetLatestSnapshot(), GetTransactionSnapshot());
}

/*
 * The triggers of foreign keys do not fire in the role of a replica, as what
 * is replicated was looked up before; our guards do, being ENABLE ALWAYS.  If
 * somebody has a trigger on the table that minds the role, foreign keys are
 * looked up.  The variable is set and not the setting, which would throw all
 * plans away.  An error that ends the statement sets it back in the callbacks
 * above.
 */
uint64
statement_run_referring(Statement *statement, int expected,
						const Datum *values, const char *nulls)
{
	uint64		rows;

	if (statement->plan == NULL)
		statement_prepare(statement);
	if (referring || code_minds_role(statement->writes))
		return statement_run(statement, expected, values, nulls);
	role_before_referring = SessionReplicationRole;
	referring = true;
	SessionReplicationRole = SESSION_REPLICATION_ROLE_REPLICA;
	rows = statement_execute(statement, expected, values, nulls, false,
							 InvalidSnapshot, InvalidSnapshot);
	referring_end();
	return rows;
}

uint64
statement_look(Statement *statement, const Datum *values, const char *nulls)
{
	return statement_execute(statement, SPI_OK_SELECT, values, nulls, true,
							 InvalidSnapshot, InvalidSnapshot);
}

Datum
row_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

void
row_all(uint64 row, Datum *values, bool *nulls)
{
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
					  values, nulls);
}

int64
row_int64(uint64 row, int column, int64 if_null)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? if_null : DatumGetInt64(value);
}

double
row_float8(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(value);
}

bool
row_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

Oid
row_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

char *
row_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
