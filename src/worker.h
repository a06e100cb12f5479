/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What a letter's worker knows.
 *
 * It holds no truth: everything here can be lost and is found again in the
 * tables, save the outcomes not yet committed, which become doubt.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_WORKER_H
#define MAILMAN_WORKER_H

#include "lib/ilist.h"
#include "mailman.h"

/*
 * One recipient while its row is 'sending': a slot, used again and again, in
 * one of the worker's lists.
 *
 *	free -> claiming -> claimed -> begun -> done -> free
 *			(turn)		(render)   (transfer)   (turn)
 */
typedef struct Delivery
{
	dlist_node	node;
	MemoryContext context;		/* all its memory; reset when freed */

	/* as claimed */
	int64		subscription_id;
	char	   *email;			/* UTF-8 */
	char	   *name;			/* UTF-8, may be NULL */
	LookupContext lookup;
	int			attempts;
	TimestampTz queued_at;

	/* as sent */
	Rendered	rendered;
	Mail		mail;
	char	   *relay;			/* through which */
	int			revision;		/* of the letter's content */

	/* its outcome */
	DeliveryState state;
	TimestampTz due_at;			/* 0: none */
	bool		costs_attempt;
	bool		doubt;			/* counts in letter.doubts */
	int			code;			/* 0: none */
	char		enhanced[16];	/* "": none */
	char	   *reply;			/* NULL: none */
	char	   *reason;			/* NULL: none */
	TimestampTz ended_at;
} Delivery;

typedef struct DeliveryList
{
	dlist_head	head;
	int			count;
} DeliveryList;

/* What the letter's row said in the last turn */
typedef enum LetterMode
{
	MODE_SEND,					/* sending, or sent and posted again */
	MODE_WAIT,					/* scheduled, not due */
	MODE_STOP,					/* paused or called back: drain and end */
	MODE_CANCEL,				/* cancelled: drain, skip the rest, end */
	MODE_GONE					/* not ours any more: end at once */
} LetterMode;

typedef struct Worker
{
	int64		letter_id;
	int64		run;
	Oid			extension;		/* the one seen at start */

	Letter	   *letter;			/* loaded content, or NULL */
	MemoryContext letter_context;
	Relay	   *relay;			/* the one in use */
	int			relay_index;	/* in letter->relays */
	int			relay_failures; /* in a row, over all relays */
	int			relay_permanent;	/* of these, permanent ones in a row */
	int64		relay_retry_us; /* not to be tried before (monotonic) */
	int			relay_seen;		/* connects failed that we have acted on */
	bool		relay_stale;	/* its options may have changed */
	char		pause_reason[640];	/* not empty: the letter must pause */
	char		relay_trouble[640]; /* for the line of progress */

	Transfer   *transfer;
	char	   *transfer_fingerprint;	/* of the relay it was made for */
	Waiter	   *waiter;

	LetterMode	mode;
	Tally		tally;			/* as committed */
	int64		doubts;			/* as committed */

	Delivery   *slots;
	int			nslots;
	DeliveryList free;
	DeliveryList claiming;		/* in a turn that has not committed */
	DeliveryList claimed;
	DeliveryList begun;
	DeliveryList done;
	DeliveryList stuck;			/* done, but their rows make turns fail */
	int64		stuck_retry_us;

	bool		more;			/* the last claim left something behind */
	bool		poked;			/* somebody set our latch */
	bool		stopping;		/* nothing new is begun */
	bool		ended;			/* nothing left to do */
	bool		armed;			/* the farewell has something to save */
	int64		last_turn_us;
	int64		look_us;		/* when to look for work if idle */
	int64		idle_since_us;	/* 0: not idle */
	int64		window_start_us;	/* what left lately: two half windows */
	int			window_left;
	int			window_left_before;
} Worker;

/* ---- worker.c ---- */

extern void delivery_move(Delivery *delivery, DeliveryList *from,
						  DeliveryList *to);
extern void delivery_free(Worker *w, Delivery *delivery, DeliveryList *from);

/* ---- turn.c: transactions ---- */

extern void turn_bound_locks(void);

/* First transaction of a run; false: there is nothing to do */
extern bool turn_first(Worker *w);

/* Record the outcomes so far, claim the next few; false: nothing left */
extern bool turn(Worker *w);

/* Is there work for this letter?  Asked with and without its lock. */
extern bool turn_has_work(Worker *w);

/* The last transaction of a worker that is ending by force */
extern void turn_last(Worker *w);

/* ---- delivery.c: the statements of a turn, in its transaction ---- */

/* What a turn changes, kept apart until it has committed */
typedef struct Turn
{
	Tally		tally;
	int64		doubts;
	int			recorded;
	bool		changed;		/* tally or doubts */
	bool		more;			/* the claim left something behind */
} Turn;

extern void delivery_record(Worker *w, Turn *turn, DeliveryList *list);
extern void delivery_claim(Worker *w, Turn *turn, int limit);
extern int	delivery_skip_rest(Worker *w, Turn *turn, int limit);
extern void delivery_resolve_doubt(Worker *w, Turn *turn, bool hold);

/* ---- sending.c: rendering and the relay ---- */

extern void sending_render(Worker *w);
extern void sending_transfer(Worker *w);
extern int	sending_room(Worker *w);
extern int	sending_rate(Worker *w);

/* Take back what was not begun; with wait_us, wait so long for replies, then
 * give up on the rest.  Afterwards all outcomes are in w->done. */
extern void sending_stop(Worker *w, int64 wait_us);
extern void sending_close(Worker *w);

#endif							/* MAILMAN_WORKER_H */
