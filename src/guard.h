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

/* May the current user load rows as pg_restore does? */
extern bool guard_is_owner(void);

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

/* ---- event.c ---- */

/* To be called for each row of letters that we write ourselves */
extern HeapTuple letter_moved(TriggerData *trigger, HeapTuple row);

#endif							/* MAILMAN_GUARD_H */
