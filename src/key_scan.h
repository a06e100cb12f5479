/*-------------------------------------------------------------------------
 *
 * key_scan.h
 *	  Rows of our tables by their keys, read without a statement.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_KEY_SCAN_H
#define MAILMAN_KEY_SCAN_H

#include "postgres.h"

#include "access/genam.h"
#include "table_use.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

typedef struct KeyScan
{
	Relation	rel;			/* with the lock of a reader */
	Snapshot	snapshot;		/* registered, if it is one of MVCC */
	SysScanDesc scan;
} KeyScan;

/*
 * The rows whose primary key begins with that id, all rows for NULL, and with
 * those bytes behind it unless they are NULL.  Nobody's rights are asked: it is
 * for what we have to know ourselves.
 */
extern void key_scan_begin(KeyScan *s, OurTable table, const int64 *id,
						   const bytea *more, Snapshot snapshot);

/* The next; NULL: no more.  It is gone with the one after it. */
extern HeapTuple key_scan_next(KeyScan *s);

/* A column of a row */
extern Datum key_scan_value(const KeyScan *s, HeapTuple row, const char *name,
							bool *isnull);
extern void key_scan_end(KeyScan *s);

#endif							/* MAILMAN_KEY_SCAN_H */
