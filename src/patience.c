/*-------------------------------------------------------------------------
 *
 * patience.c
 *	  How long a worker that is to stop waits for its relays.
 *
 * A worker stops when its letter is paused or cancelled, or when others need
 * its place.  What is not on the wire goes back to the queue.  A mail whose
 * text is out cannot go back, and its relay may take ten minutes to answer
 * (RFC 5321 4.5.3.2.6), or never do.  To wait for that without the place would
 * need a process beyond mailman.max_workers for every relay that hangs, and to
 * wait with it would make others wait as long.  So the wait is bounded, and a
 * mail that is not answered by then is in doubt.
 *
 * Doubt may become a duplicate, so as little as possible is made of it:
 *
 *	- A relay is waited for as long as the others can bear: until ten seconds
 *	  after they began to wait.  If it has not answered for half of that time
 *	  nothing more is begun, so that the rest is left for what is under way.
 *	  One that has answered in this run is given as long as it has taken, and
 *	  half of that again: it may be slow, but it does not hang.
 *	- A run that made nothing but doubt is a failed one.  The next is put off
 *	  longer each time, and after mailman.max_failed_runs the letter is paused
 *	  and a person must look: a relay too slow for the crowd behind it is not
 *	  sent the same mails for ever.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "worker.h"

/* So much of its time in a place a worker keeps for the last replies */
#define LAST_REPLIES_US	INT64CONST(5000000)

/* And so long it waits for them, if some have taken about as long */
#define LAST_MOST_US	INT64CONST(30000000)

void
patience_renew(Worker *w)
{
	w->told = false;
	w->give_up_us = PG_INT64_MAX;
}

/*
 * So long the last replies may take: a relay that is slow and answers is known
 * by those it has given in this run.
 */
static int64
patience_last_us(const Worker *w)
{
	return Max(LAST_REPLIES_US,
			   Min(w->slowest_us + w->slowest_us / 2, LAST_MOST_US));
}

/* Is nothing heard of mails that cannot be taken back, for so long? */
static bool
patience_is_tried(Worker *w, int64 since, int64 now)
{
	int64		after = YIELD_AFTER_US - LAST_REPLIES_US;

	return now - Max(since, w->heard_us) >= after && routes_unanswered(w) > 0;
}

/* Give the place to those who wait in line, after some time of our own */
bool
patience_yields(Worker *w)
{
	int64		now = transfer_now();
	int64		since;

	if (w->yielding)
		return true;
	if (!shmem_somebody_waits())
	{
		w->line_us = 0;
		return false;
	}
	if (w->line_us == 0)
		w->line_us = now;
	since = Max(w->line_us, w->started_us);
	if (now - w->started_us < YIELD_AFTER_US &&
		!patience_is_tried(w, since, now))
		return false;
	w->yielding = true;
	w->give_up_us = Min(w->give_up_us, Max(now + patience_last_us(w),
										   since + YIELD_AFTER_US));
	return true;
}

/* Tests of a letter that was paused, say, go on; but others need our place */
bool
patience_spares_tests(const Worker *w)
{
	return mailman_enabled && !w->yielding;
}

/* What is not answered yet is given up */
static void
patience_is_over(Worker *w)
{
	const char *relay = NULL;
	int			doubts = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &w->begun.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->test_id != 0 && patience_spares_tests(w))
			continue;
		d->given_up = w->yielding;
		if (!transfer_give_up(d->route->transfer, &d->mail))
			continue;
		doubts++;
		relay = d->relay;
	}
	if (doubts > 0)
	{
		if (w->yielding)
			snprintf(w->unanswered, sizeof(w->unanswered),
					 "relay \"%s\" had not answered %d mails after %d s, and other letters waited",
					 relay, doubts, (int) (YIELD_AFTER_US / USECS_PER_SEC));
		HOLD_INTERRUPTS();		/* a cancel is not to end us */
		ereport(LOG,
				(errmsg("letter " INT64_FORMAT ": %d mails are in doubt: relay \"%s\" has not answered",
						w->letter_id, doubts, relay),
				 w->yielding ? errdetail("Other letters wait for a worker.") :
				 errdetail("The letter was to stop, and mailman.shutdown_grace is over.")));
		RESUME_INTERRUPTS();
	}
	sending_collect(w);
}

/*
 * The worker is stopping, and has taken back what it could: so long it waits
 * for the rest.
 */
void
patience_stop(Worker *w)
{
	int64		now = transfer_now();

	if (!w->told && (w->mode == MODE_STOP || w->mode == MODE_CANCEL))
	{
		w->told = true;
		w->give_up_us = Min(w->give_up_us, now +
							mailman_shutdown_grace * INT64CONST(1000));
	}
	if (now < w->give_up_us)
		return;
	w->give_up_us = PG_INT64_MAX;
	patience_is_over(w);
}
