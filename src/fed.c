/*-------------------------------------------------------------------------
 *
 * fed.c
 *	  A letter that is sent to a few more, again and again.
 *
 * A welcome mail, a receipt: somebody calls mailman_send() for one recipient
 * at a time, a hundred times a second or once a minute.  The letter would be
 * sent, be posted again, and be sent again with each of them: two changes of
 * state, each an event that listeners are told, and a line of the log.  So it
 * stays 'sending' until nothing was posted for a while.  And as each turn is a
 * transaction that is flushed, some time is left between two of them, in which
 * a few more may come.
 *
 * Neither is done to a letter that is posted at once, however long the list.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "process.h"
#include "worker.h"

/* It is not fed any more when nobody was posted for so long */
#define FED_US		INT64CONST(5000000)

/* Time between two turns if nothing waits but what has come since the last */
#define GATHER_US	INT64CONST(100000)

int64
worker_fed_until(const Worker *w)
{
	return w->fed_us == 0 ? 0 : w->fed_us + FED_US;
}

/* Its place may be wanted by those who wait in line */
bool
worker_is_fed(const Worker *w)
{
	return transfer_now() < worker_fed_until(w) && !shmem_somebody_waits();
}

void
worker_note_fed(Worker *w, const Turn *turn)
{
	if (turn->fed)
		w->fed_us = transfer_now();
	if (turn->folded > 0)
		w->folded = true;
}

int64
worker_gathers_until(const Worker *w)
{
	return w->last_turn_us +
		Min(GATHER_US, mailman_turn_interval * INT64CONST(1000));
}

/*
 * Only if all that waits is what a turn may do with the next: not if it left
 * somebody behind, nor if somebody waits for tests, or the letter is to stop.
 */
bool
worker_gathers(const Worker *w, int64 now)
{
	return now < worker_fed_until(w) && now < worker_gathers_until(w) &&
		w->mode == MODE_SEND && !w->more && !w->aside && !w->relay_stale &&
		w->pause_reason[0] == '\0' && !w->stopping && !w->yielding &&
		w->tests == 0 && w->ntests == 0 &&
		worker_recordable(w) < mailman_turn_size;
}
