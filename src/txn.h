/*-------------------------------------------------------------------------
 *
 * txn.h
 *	  Who we are while we write, and statements.
 *
 * All SQL of the extension goes through these.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TXN_H
#define MAILMAN_TXN_H

#include "postgres.h"

#include "executor/spi.h"

#include "table_use.h"

/* ---- txn.c: who we are while we write ---- */

/* As whom, and which tables: we have locked them and seen who runs there */
typedef struct Writing
{
	Oid			role;			/* InvalidOid: we do not write */
	TableSet	tables;
} Writing;

typedef struct ExtensionScope
{
	Oid			userid;
	int			sec_context;
	int			guc_nest;
	Writing		writing;
	Oid			caller;
} ExtensionScope;

/*
 * Between enter and leave: SPI connected, current user is the extension's
 * owner (security-restricted), search_path pinned, and the guards let us
 * write the tables of that use.  An error leaves the scope by itself.  The
 * first form is for callers that only read: it waits for nobody's lock on a
 * table; the second for those of them that have just read who the owner is.
 */
extern void extension_enter_reading(ExtensionScope *scope);
extern void extension_enter_reading_as(ExtensionScope *scope, Oid owner);
extern void extension_enter(ExtensionScope *scope, const TableUse *use);
extern void extension_leave(ExtensionScope *scope);
extern bool extension_is_writing(void);

/* Within a scope: the role that called us, from outside of all scopes */
extern Oid	extension_caller(void);

/* To be kept over a subtransaction that fails, and set again after it */
extern Writing extension_writing(void);
extern void extension_set_writing(Writing writing);

extern Oid	extension_oid(bool missing_ok);
extern Oid	extension_hold(Oid known, bool wait);
extern bool extension_fits(Oid extension, Oid *owner);
extern Oid	extension_owner(void);
extern void extension_callbacks_register(void);

/* ---- statement.c ---- */

extern void statement_callbacks_register(void);

#define STATEMENT_MAX_ARGS 18

/* One SQL text, planned once per process */
typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[STATEMENT_MAX_ARGS];
	bool		generic;		/* never worth planning for its arguments */
	SPIPlanPtr	plan;
	TableSet	writes;			/* known with the plan */
} Statement;

/*
 * Run it; an unexpected result is an ERROR.  Rows are in SPI_tuptable,
 * their number is returned.  nulls as SPI has it, or NULL.
 */
extern uint64 statement_run(Statement *statement, int expected,
							const Datum *values, const char *nulls);

/*
 * The same for rows that refer to rows which this transaction holds, or that
 * keep the keys they have.
 */
extern uint64 statement_run_referring(Statement *statement, int expected,
									  const Datum *values, const char *nulls);

/*
 * The same for a SELECT with the snapshot of the query that called us: several
 * of them see one state of the tables.
 */
extern uint64 statement_look(Statement *statement, const Datum *values,
							 const char *nulls);

/*
 * The same in a transaction of somebody else's, whose snapshot may be old: with
 * what is committed now.  The second form is an UPDATE or DELETE that must not
 * change a row which the transaction does not see: ERROR 40001, as for its own.
 */
extern uint64 statement_run_now(Statement *statement, int expected,
								const Datum *values, const char *nulls);
extern uint64 statement_change_seen(Statement *statement, int expected,
									const Datum *values, const char *nulls);

/* Columns of SPI_tuptable; text is copied into CurrentMemoryContext */
extern Datum row_datum(uint64 row, int column, bool *isnull);
extern int64 row_int64(uint64 row, int column, int64 if_null);
extern double row_float8(uint64 row, int column);	/* 0 if null */
extern bool row_bool(uint64 row, int column);
extern Oid	row_oid(uint64 row, int column);	/* InvalidOid if null */
extern char *row_text(uint64 row, int column);	/* NULL if null */

/* All of a row at once, which is cheaper for one of many columns */
extern void row_all(uint64 row, Datum *values, bool *nulls);

/* ---- tables.c: what we write ---- */

/*
 * In a scope, maybe one that reads: lock these tables, see that nobody's code
 * runs on those we write (else an ERROR), and let us write them, too.  The
 * second form waits for nobody: false if somebody is in the way.
 */
extern void extension_may_write(const TableUse *use);
extern bool extension_may_write_nowait(const TableUse *use);

/* The same checks for what foreign keys are about to write as the owner */
extern void extension_check_tables(const TableUse *use);

/* Our tables that a plan of ours writes */
extern TableSet tables_written(SPIPlanPtr plan);

/* Lock those of them that should have been and are not: see table_use.c */
extern void tables_cover(const char *sql, TableSet writes);

#endif							/* MAILMAN_TXN_H */
