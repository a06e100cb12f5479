/*-------------------------------------------------------------------------
 *
 * sending.h
 *	  From those claimed to those sent: their mails, and the relays.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_SENDING_H
#define MAILMAN_SENDING_H

#include "delivery.h"
#include "mailman.h"
#include "route.h"

/* ---- ahead.c: how much of mails is made ---- */

/* Once per process: what is large goes back to the system when it is freed */
extern void ahead_begin(void);

/* Is there room for one more mail? */
extern bool ahead_has_room(const Worker *w);

/* The mail of one is made, with that of its own; and is not needed any more */
extern void ahead_add(Worker *w, Delivery *d, const StringInfoData *wire);
extern void ahead_drop(Worker *w, Delivery *d);

/* ---- rendering.c: their mails ---- */

/* After a turn: make what the sessions can take at once */
extern void sending_render(Worker *w);

/* Make the next few of those claimed; one that cannot be made fails alone */
extern void sending_render_more(Worker *w, int count);

/* ---- holding.c: what is known of them until then ---- */

/*
 * Data and variables of one just claimed, if there is room for them.  In its
 * memory context.
 */
extern void delivery_hold(Worker *w, Delivery *d, Datum data, bool data_null,
						  Datum variables, bool variables_null);

/* They are not needed any more */
extern void delivery_let_go(Worker *w, Delivery *d);

/* A claim was made of so many: how many may the next one be of? */
extern void holding_adapt(Worker *w, int claimed);

/* ---- sending.c: the relays ---- */

/* It was claimed and will not be begun */
extern void sending_unclaim(Delivery *d);

extern void sending_collect(Worker *w);
extern void sending_catch_up(Worker *w);
extern void sending_transfer(Worker *w);

/* Take back what was not begun; with wait_us, wait so long for replies, then
 * give up on the rest.  Afterwards all outcomes are in w->done. */
extern void sending_stop(Worker *w, int64 wait_us);

/* ---- sending_room.c: how many more to claim ---- */

/* So many have just left */
extern void sending_left(Worker *w, int left);

/* And so many in the last second */
extern int	sending_rate(Worker *w);
extern int	sending_most(Worker *w);
extern int	sending_room(Worker *w);

#endif							/* MAILMAN_SENDING_H */
