/*-------------------------------------------------------------------------
 *
 * turn.h
 *	  A turn: record the outcomes so far, claim the next few.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TURN_H
#define MAILMAN_TURN_H

#include "candidates.h"
#include "delivery.h"
#include "look.h"
#include "meter.h"

/* What a turn changes, kept apart until it has committed */
typedef struct Turn
{
	Tally		tally;
	int64		doubts;
	Meter		meter;			/* how fast, with them */
	int			recorded;		/* outcomes, without what was handed back */
	int			given_up;		/* so many of them we have made ourselves */
	int			folded;			/* postings taken into the tally, */
	bool		reopens;		/* the letter was sent before it */
	bool		fed;			/* and a few were posted to a letter that was
								 * being sent or had been */
	bool		changed;		/* tally or doubts */
	bool		recalled;		/* those set aside were called back */
	bool		claimed;		/* a claim was made */
	bool		more;			/* it left something behind */
	bool		aside;			/* it set some aside */
} Turn;

/* ---- turn.c ---- */

/* Record the outcomes so far, claim the next few; false: nothing left */
extern bool turn(Worker *w);

/* ---- fence.c: the letter's row; in the last transaction of a run, too ---- */

extern bool turn_fence(Worker *w, Look *look);
extern void turn_prepare(Worker *w, const Look *look);
extern void turn_write(Worker *w, const Turn *turn, Look *look);

/* ---- record.c: one half of a turn's statements ---- */

/*
 * SQL: delivery d of the letter in $1 and the recipient in alias.id.  Said so
 * that the letter cannot be looked for without the recipient.  Else a plan may
 * fetch all deliveries of the letter to find these few among them, and does
 * when statistics are older than a letter, or it is much larger than others.
 */
#define DELIVERY_IS_OF(alias) \
	"d.letter_id = $1 + 0 * " alias ".id AND d.subscription_id = " alias ".id"

/*
 * The same, looked for at alias.place only, which takes no search: said so that
 * no index can be used, as one is thought cheaper where a table is small, or
 * was when it was analyzed.  The row may have moved, and another may lie there:
 * if fewer than expected are found, the others are looked for by key.
 */
#define DELIVERY_IS_AT(alias) \
	"d.ctid = " alias ".place AND d.letter_id + 0 = $1" \
	" AND d.subscription_id + 0 = " alias ".id"

extern void turn_move(Turn *turn, DeliveryState from, DeliveryState to,
					  int64 count);

/* By the rows of a statement: the state that each had, and the one it has */
extern void turn_move_rows(Turn *turn, uint64 rows);
extern Datum array_of(Datum *values, bool *nulls, int count, Oid type);

/* What a turn writes that records these */
extern TableUse delivery_record_use(DeliveryList *list);
extern void delivery_record(Worker *w, Turn *turn, DeliveryList *list);

/* Of those in the list whose mailbox does not exist */
extern void delivery_bounce(Worker *w, DeliveryList *list);

/* Lock the rows of w->done that nobody else has; the others become stuck */
extern void delivery_lock_nowait(Worker *w);
extern void delivery_resolve_doubt(Worker *w, Turn *turn, bool hold);

/* ---- claim.c: the other half ---- */

extern void delivery_fold(Worker *w, Turn *turn);
extern void delivery_claim(Worker *w, Turn *turn, int limit);
extern int	delivery_skip_rest(Worker *w, Turn *turn, int limit);

/* ---- settle.c: those who are chosen and not claimed ---- */

extern void candidates_settle(Worker *w, Turn *turn, const Candidates *c);

/* Those set aside need not wait any longer: a limit has changed */
extern void delivery_recall_aside(Worker *w);

/* ---- recheck.c ---- */

/* Hand back who has unsubscribed while being claimed */
extern void recheck(Worker *w);

#endif							/* MAILMAN_TURN_H */
