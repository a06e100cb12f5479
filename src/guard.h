/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the triggers that guard the tables share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_GUARD_H
#define MAILMAN_GUARD_H

#include "commands/trigger.h"
#include "fmgr.h"

extern TriggerData *guard_trigger(FunctionCallInfo fcinfo);

/* The row to let through */
extern HeapTuple guard_row(TriggerData *trigger);

/* Has the current user the rights of the extension's owner? */
extern bool guard_is_owner(void);

/*
 * May he load rows as pg_restore does?  Not into a database that was armed:
 * the rows of a restore come before that, and later ones would be in no tally.
 */
extern bool guard_loads(void);

/* Logical replication applying what was checked elsewhere */
extern bool guard_is_replica(void);

/* We ourselves, or logical replication applying what we wrote elsewhere */
extern bool guard_lets_pass(void);

extern int	guard_column(TriggerData *trigger, const char *column);
extern Datum guard_value(TriggerData *trigger, HeapTuple row,
						 const char *column, bool *isnull);
extern char *guard_text(TriggerData *trigger, HeapTuple row,
						const char *column);

/* Does the UPDATE change this column?  (byte-wise: TOASTed as they are) */
extern bool guard_changes(TriggerData *trigger, const char *column);

/* ---- guard_owned.c: ERROR 42501 unless what is written is the user's ---- */

/* Does everything count as the user's?  Asked once per statement. */
extern bool guard_is_admin(FunctionCallInfo fcinfo);

extern void guard_check_newsletter(FunctionCallInfo fcinfo,
								   int64 newsletter_id);
extern void guard_check_letter(FunctionCallInfo fcinfo, int64 letter_id);

/* Ids come from the sequence, which says nothing of those of others */
extern void guard_check_id(FunctionCallInfo fcinfo);

/* By its newsletter_id; the second: of the row, or both, a trigger fires for */
extern void guard_check_row(FunctionCallInfo fcinfo, HeapTuple row);
extern void guard_check_rows(FunctionCallInfo fcinfo);

/* ---- role.c ---- */

/* The role in a column of oids, if it is still there */
extern Oid	guard_role(TriggerData *trigger, HeapTuple row,
					   const char *column);

/* The row, with the oid of the role it names, and the name of its oid */
extern HeapTuple guard_remember_role(TriggerData *trigger, HeapTuple row,
									 const char *name_column,
									 const char *oid_column);

/* ---- event.c ---- */

/* To be called for each row of letters that we write ourselves */
extern HeapTuple letter_moved(TriggerData *trigger, HeapTuple row);

#endif							/* MAILMAN_GUARD_H */
