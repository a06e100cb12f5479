/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  The only place that sleeps.
 *
 * One wait event set for the latch, the postmaster's death and every socket
 * of the relay.  The set cannot drop a single event, so it is made anew when
 * sockets come or go, which is rare: sessions live for many mails.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#define WAIT_EVENTS_AT_ONCE 64
#define WAIT_FIXED_EVENTS 2		/* latch and postmaster death */

struct Waiter
{
	WaitEventSet *set;
	const void *owner;			/* whose sockets are in the set */
	uint32		generation;
	int			sockets;
	uint32	   *masks;			/* what each socket's event waits for */
	int			room;			/* of masks */
	uint32		wait_event;
};

Waiter *
waiter_create(void)
{
	Waiter	   *waiter = MemoryContextAllocZero(TopMemoryContext,
												sizeof(Waiter));

	waiter->wait_event = COMPAT_WAIT_EVENT("MailmanRelay");
	return waiter;
}

void
waiter_forget(Waiter *waiter)
{
	if (waiter->set != NULL)
		FreeWaitEventSet(waiter->set);
	waiter->set = NULL;
	waiter->owner = NULL;
}

static uint32
socket_mask(const TransferSocket *socket)
{
	return (socket->read ? WL_SOCKET_READABLE : 0) |
		(socket->write ? WL_SOCKET_WRITEABLE : 0);
}

/* Make the set anew for these sockets */
static void
waiter_rebuild(Waiter *waiter, const TransferSocket *sockets, int count)
{
	int			i;

	waiter_forget(waiter);
	if (count > waiter->room)
	{
		int			room = count + 16;

		waiter->masks = waiter->masks == NULL ?
			MemoryContextAlloc(TopMemoryContext, room * sizeof(uint32)) :
			repalloc(waiter->masks, room * sizeof(uint32));
		waiter->room = room;
	}
	waiter->set = compat_create_wait_event_set(WAIT_FIXED_EVENTS + count);
	AddWaitEventToSet(waiter->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(waiter->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	for (i = 0; i < count; i++)
	{
		/* a socket may be idle for us; the set insists on an event */
		uint32		mask = socket_mask(&sockets[i]);

		if (mask == 0)
			mask = WL_SOCKET_READABLE;
		AddWaitEventToSet(waiter->set, mask, sockets[i].fd, NULL, NULL);
		waiter->masks[i] = mask;
	}
	waiter->sockets = count;
}

/* Bring the set in line with what the owner of the sockets wants to hear of */
static void
waiter_prepare(Waiter *waiter, const void *owner,
			   const TransferSocket *sockets, int count, uint32 generation)
{
	int			i;

	if (waiter->set == NULL || waiter->owner != owner ||
		waiter->generation != generation || waiter->sockets != count)
	{
		waiter_rebuild(waiter, sockets, count);
		waiter->owner = owner;
		waiter->generation = generation;
		return;
	}
	for (i = 0; i < count; i++)
	{
		uint32		mask = socket_mask(&sockets[i]);

		if (mask != 0 && mask != waiter->masks[i])
		{
			ModifyWaitEvent(waiter->set, WAIT_FIXED_EVENTS + i, mask, NULL);
			waiter->masks[i] = mask;
		}
	}
}

/* Sleep for timeout ms or until the network layer's deadline */
static int
waiter_sleep(Waiter *waiter, int64 timeout, int64 deadline, WaitEvent *events)
{
	if (deadline >= 0)
	{
		int64		left = (deadline - transfer_now() + 999) / 1000;

		timeout = Min(timeout, Max(left, 0));
	}
	return WaitEventSetWait(waiter->set, (long) Min(timeout, 3600 * 1000L),
							events, WAIT_EVENTS_AT_ONCE, waiter->wait_event);
}

static bool
event_is_latch(const WaitEvent *event)
{
	if ((event->events & WL_LATCH_SET) == 0)
		return false;
	ResetLatch(MyLatch);
	return true;
}

bool
waiter_wait(Waiter *waiter, Transfer *t, int64 timeout)
{
	WaitEvent	events[WAIT_EVENTS_AT_ONCE];
	const TransferSocket *sockets = NULL;
	uint32_t	generation = 0;
	int			count = 0;
	bool		latched = false;
	int			happened;
	int			i;

	if (t != NULL)
		sockets = transfer_sockets(t, &count, &generation);
	waiter_prepare(waiter, t, sockets, count, generation);
	happened = waiter_sleep(waiter, timeout,
							t != NULL ? transfer_deadline(t) : -1, events);
	for (i = 0; i < happened; i++)
	{
		if (event_is_latch(&events[i]))
			latched = true;
		else
			transfer_ready(t, events[i].fd,
						   (events[i].events & WL_SOCKET_READABLE) != 0,
						   (events[i].events & WL_SOCKET_WRITEABLE) != 0);
	}
	if (t != NULL)
		transfer_step(t);
	return latched;
}

void
waiter_wait_probe(Waiter *waiter, Probe *probe)
{
	WaitEvent	events[WAIT_EVENTS_AT_ONCE];
	const TransferSocket *sockets;
	uint32_t	generation;
	int			count;
	int			happened;
	int			i;

	sockets = probe_sockets(probe, &count, &generation);
	waiter_prepare(waiter, probe, sockets, count, generation);
	happened = waiter_sleep(waiter, 1000, probe_deadline(probe), events);
	for (i = 0; i < happened; i++)
	{
		if (!event_is_latch(&events[i]))
			probe_ready(probe, events[i].fd,
						(events[i].events & WL_SOCKET_READABLE) != 0,
						(events[i].events & WL_SOCKET_WRITEABLE) != 0);
	}
}
