/*-------------------------------------------------------------------------
 *
 * hold.h
 *	  Rows as they are now, and what is done to them at COMMIT.
 *
 * A transaction with an old snapshot does not see the newest version of a row:
 * hold.c locks that version, and what would change it waits in wish.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_HOLD_H
#define MAILMAN_HOLD_H

#include "postgres.h"

#include "nodes/lockoptions.h"

#include "table_use.h"

/* ---- hold.c: a row as it is now, whatever its transaction sees ---- */

typedef enum HoldTable
{
	HOLD_LETTER,
	HOLD_SUBSCRIPTION
} HoldTable;

typedef enum Held
{
	HELD_NONE,					/* there is no such row */
	HELD_SEEN,
	HELD_UNSEEN					/* locked, but as the transaction does not see
								 * it: changed only at its end, see wish.c */
} Held;

/* Lock its newest version, waiting for others who have; in a scope */
extern Held row_hold(HoldTable table, int64 id, LockTupleMode mode);

/* ---- wish.c: done at COMMIT, as the transaction cannot see it ---- */

typedef struct Wish Wish;
typedef void (*WishFulfil) (const Wish *wish);

struct Wish
{
	WishFulfil	fulfil;			/* called in a scope */
	const TableUse *use;		/* that writes this */
	int64		id;				/* of what is to be changed */
	int64		newsletter_id;
	char		state[16];		/* what the row is to say; "": as it does */
	char	   *reason;			/* may be NULL */
	bool		hurry;			/* nobody waits any longer */
	Oid			sender;			/* who takes the place of the one who is gone;
								 * InvalidOid: nobody */
};

/* The row is locked; the wish is copied */
extern void wish_at_commit(const Wish *wish);

/* The latest of that kind and id that changes the state, or NULL */
extern const Wish *wish_find(WishFulfil fulfil, int64 id);

extern void wish_callbacks_register(void);

#endif							/* MAILMAN_HOLD_H */
