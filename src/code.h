/*-------------------------------------------------------------------------
 *
 * code.h
 *	  Whose code runs when we write our tables.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_CODE_H
#define MAILMAN_CODE_H

#include "access/attnum.h"
#include "table_use.h"

/* What is wrong with a table */
typedef struct CodeFault
{
	const char *message;		/* NULL: nothing */
	const char *detail;			/* may be NULL */
	const char *hint;
} CodeFault;

/*
 * Would code run when this table is written that belongs neither to a
 * superuser nor to the extension's owner?  deletes: or when rows are deleted.
 * True: no.  What was found out counts until the table or its owner, say,
 * changes, so who is to rely on it has locked the table.
 */
extern bool code_is_ours(OurTable table, Oid schema, Oid owner, bool deletes,
						 CodeFault *fault);

/* The same; an ERROR if it would */
extern void code_check(OurTable table, Oid schema, Oid owner, bool deletes);
extern void code_refuse(const CodeFault *fault);

/*
 * Does any of these tables, which were checked, have a trigger of somebody?
 * Whether it fires depends on session_replication_role, or what it writes does.
 */
extern bool code_minds_role(TableSet tables);

/* ---- code_used.c ---- */

/* A superuser, or the extension's owner */
extern bool role_is_ours(Oid role, Oid owner);

/* By a syscache and its column; InvalidOid if the object is gone */
extern Oid	object_owner(int cacheid, Oid oid, AttrNumber column);

/* Does all that it uses belong to us?  Else detail and hint in the fault. */
extern bool object_is_ours(Oid class, Oid oid, Oid owner, CodeFault *fault);

#endif							/* MAILMAN_CODE_H */
