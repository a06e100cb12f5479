/*-------------------------------------------------------------------------
 *
 * stuck.c
 *	  One bad row delays itself alone.
 *
 * A turn that has failed three times is taken apart: each outcome is recorded
 * in a transaction of its own.  What still fails stays in memory, its row
 * 'sending', and is tried again after a while.  When the disk is full it is no
 * row's fault, and nothing is taken apart.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "worker.h"

/* How long a row that made turns fail is left alone */
#define STUCK_RETRY_US	INT64CONST(5000000)

/* Record a single outcome; it is in the list of its own */
static void
stuck_transaction(Worker *w, void *arg)
{
	DeliveryList *one = arg;
	Turn		turn = {.tally = w->tally,.doubts = w->doubts,
	.meter = w->meter};
	TableUse	use = delivery_record_use(one);
	ExtensionScope scope;
	Look		look;

	run_begin(w, &scope, &use);
	if (turn_fence(w, &look))
	{
		delivery_record(w, &turn, one);
		delivery_bounce(w, one);
		turn_write(w, &turn, &look);
	}
	run_commit(&scope);
	w->tally = turn.tally;
	w->doubts = turn.doubts;
	w->meter = turn.meter;
}

/* It is not about this row, nor any other */
static bool
error_is_of_all(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_DISK_FULL ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_OPERATOR_INTERVENTION;
}

/* Tell once of each */
static void
stuck_log(const Worker *w, Delivery *delivery, const ErrorData *error)
{
	if (delivery->stuck_told)
		return;
	delivery->stuck_told = true;
	HOLD_INTERRUPTS();
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("letter " INT64_FORMAT ", subscription " INT64_FORMAT ": its outcome could not be recorded yet: %s",
					w->letter_id, delivery->subscription_id,
					error->message)));
	RESUME_INTERRUPTS();
}

/*
 * Try the first of a list alone; if that fails it gets stuck for a while.
 * False: none of the others would fare better.
 */
static bool
stuck_try(Worker *w, DeliveryList *from)
{
	Delivery   *delivery = dlist_container(Delivery, node,
										   dlist_head_node(&from->head));
	DeliveryList one;
	ErrorData  *error;
	bool		of_all;

	dlist_init(&one.head);
	one.count = 0;
	delivery_move(delivery, from, &one);
	if (run_try(w, stuck_transaction, &one, &error))
	{
		delivery_free(w, delivery, &one);
		return true;
	}
	of_all = error_is_of_all(error);
	if (of_all)
		run_log_failure(w, "outcomes cannot be recorded", error);
	else
		stuck_log(w, delivery, error);
	FreeErrorData(error);
	delivery_move(delivery, &one, of_all ? from : &w->stuck);
	return !of_all;
}

void
stuck_sort(Worker *w, DeliveryList *from)
{
	int			count = from->count;

	while (count-- > 0 && stuck_try(w, from))
		;
	w->stuck_retry_us = transfer_now() + STUCK_RETRY_US;
}
