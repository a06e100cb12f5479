/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  The only place that sleeps.
 *
 * One wait event set for the latch, the postmaster's death and every socket
 * of the relays.  The set cannot drop a single event, so it is made anew when
 * sockets come or go, which is rare: sessions live for many mails.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#define WAIT_EVENTS_AT_ONCE 64
#define WAIT_FIXED_EVENTS 2		/* latch and postmaster death */

/* The sockets of one relay, as its transfer or probe names them */
typedef struct SocketGroup
{
	void	   *owner;
	const TransferSocket *sockets;
	int			count;
	uint32_t	generation;
} SocketGroup;

struct Waiter
{
	WaitEventSet *set;
	SocketGroup groups[TRANSFERS_MAX];	/* whose sockets are in the set */
	int			ngroups;
	uint32	   *masks;			/* what each socket's event waits for */
	int			room;			/* of masks */
};

/* As they stand in pg_stat_activity.wait_event */
static const char *const wait_names[WAIT_KINDS] = {
	[WAIT_CONNECT] = "MailmanConnect",
	[WAIT_REPLY] = "MailmanReply",
	[WAIT_SLOT] = "MailmanSlot",
	[WAIT_RELAY] = "MailmanRelay",
	[WAIT_DUE] = "MailmanDue",
	[WAIT_WORK] = "MailmanWork",
	[WAIT_PLACE] = "MailmanPlace",
	[WAIT_LOCK] = "MailmanLock",
	[WAIT_DISPATCHER] = "MailmanDispatcher",
	[WAIT_CHECK] = "MailmanCheck",
	[WAIT_LETTER] = "MailmanLetter",
};

/*
 * The number of a wait event.  The first call takes a lock and may throw, so
 * a worker makes all of them before anything is at stake.
 */
uint32
wait_event(WaitKind kind)
{
	static uint32 events[WAIT_KINDS];

	if (events[kind] == 0)
		events[kind] = COMPAT_WAIT_EVENT(wait_names[kind]);
	return events[kind];
}

Waiter *
waiter_create(void)
{
	Waiter	   *waiter = MemoryContextAllocZero(TopMemoryContext,
												sizeof(Waiter));
	int			kind;

	for (kind = 0; kind < WAIT_KINDS; kind++)
		(void) wait_event((WaitKind) kind);
	return waiter;
}

void
waiter_forget(Waiter *waiter)
{
	if (waiter->set != NULL)
		FreeWaitEventSet(waiter->set);
	waiter->set = NULL;
}

static uint32
socket_mask(const TransferSocket *socket)
{
	return (socket->read ? WL_SOCKET_READABLE : 0) |
		(socket->write ? WL_SOCKET_WRITEABLE : 0);
}

/* Room for so many sockets' masks */
static void
waiter_make_room(Waiter *waiter, int count)
{
	int			room = count + 16;

	if (count <= waiter->room)
		return;
	waiter->masks = waiter->masks == NULL ?
		MemoryContextAlloc(TopMemoryContext, room * sizeof(uint32)) :
		repalloc(waiter->masks, room * sizeof(uint32));
	waiter->room = room;
}

/* Make the set anew for these sockets */
static void
waiter_rebuild(Waiter *waiter, const SocketGroup *groups, int ngroups)
{
	int			count = 0;
	int			g;
	int			i;

	waiter_forget(waiter);
	for (g = 0; g < ngroups; g++)
		count += groups[g].count;
	waiter_make_room(waiter, count);
	waiter->set = compat_create_wait_event_set(WAIT_FIXED_EVENTS + count);
	AddWaitEventToSet(waiter->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(waiter->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	count = 0;
	for (g = 0; g < ngroups; g++)
	{
		for (i = 0; i < groups[g].count; i++)
		{
			const TransferSocket *socket = &groups[g].sockets[i];
			uint32		mask = socket_mask(socket);

			/* a socket may be idle for us; the set insists on an event */
			if (mask == 0)
				mask = WL_SOCKET_READABLE;
			AddWaitEventToSet(waiter->set, mask, socket->fd, NULL,
							  groups[g].owner);
			waiter->masks[count++] = mask;
		}
		waiter->groups[g] = groups[g];
	}
	waiter->ngroups = ngroups;
}

/* Are these the sockets the set was made for? */
static bool
waiter_is_of(const Waiter *waiter, const SocketGroup *groups, int ngroups)
{
	int			g;

	if (waiter->set == NULL || waiter->ngroups != ngroups)
		return false;
	for (g = 0; g < ngroups; g++)
	{
		if (waiter->groups[g].owner != groups[g].owner ||
			waiter->groups[g].generation != groups[g].generation ||
			waiter->groups[g].count != groups[g].count)
			return false;
	}
	return true;
}

/* Bring the set in line with what the owners of the sockets want to hear of */
static void
waiter_prepare(Waiter *waiter, const SocketGroup *groups, int ngroups)
{
	int			position = 0;
	int			g;
	int			i;

	if (!waiter_is_of(waiter, groups, ngroups))
	{
		waiter_rebuild(waiter, groups, ngroups);
		return;
	}
	for (g = 0; g < ngroups; g++)
	{
		for (i = 0; i < groups[g].count; i++, position++)
		{
			uint32		mask = socket_mask(&groups[g].sockets[i]);

			if (mask == 0 || mask == waiter->masks[position])
				continue;
			ModifyWaitEvent(waiter->set, WAIT_FIXED_EVENTS + position, mask,
							NULL);
			waiter->masks[position] = mask;
		}
	}
}

/* Sleep for timeout ms or until the network layer's deadline */
static int
waiter_sleep(Waiter *waiter, int64 timeout, int64 deadline, WaitKind kind,
			 WaitEvent *events)
{
	if (deadline >= 0)
	{
		int64		left = (deadline - transfer_now() + 999) / 1000;

		timeout = Min(timeout, left);
	}
	/* what is over is not waited for; a negative time would be for ever */
	timeout = Max(timeout, 0);
	return WaitEventSetWait(waiter->set, (long) Min(timeout, 3600 * 1000L),
							events, WAIT_EVENTS_AT_ONCE, wait_event(kind));
}

static bool
event_is_latch(const WaitEvent *event)
{
	if ((event->events & WL_LATCH_SET) == 0)
		return false;
	ResetLatch(MyLatch);
	return true;
}

/* The earliest of their deadlines; -1: none */
static int64
transfers_deadline(const Transfers *transfers)
{
	int64		earliest = -1;
	int			i;

	for (i = 0; i < transfers->count; i++)
	{
		int64		deadline = transfer_deadline(transfers->list[i]);

		if (deadline >= 0 && (earliest < 0 || deadline < earliest))
			earliest = deadline;
	}
	return earliest;
}

bool
waiter_wait(Waiter *waiter, const Transfers *transfers, int64 timeout,
			WaitKind kind)
{
	WaitEvent	events[WAIT_EVENTS_AT_ONCE];
	SocketGroup groups[TRANSFERS_MAX];
	bool		latched = false;
	int			happened;
	int			i;

	for (i = 0; i < transfers->count; i++)
	{
		groups[i].owner = transfers->list[i];
		groups[i].sockets = transfer_sockets(transfers->list[i],
											 &groups[i].count,
											 &groups[i].generation);
	}
	waiter_prepare(waiter, groups, transfers->count);
	happened = waiter_sleep(waiter, timeout, transfers_deadline(transfers),
							kind, events);
	for (i = 0; i < happened; i++)
	{
		if (event_is_latch(&events[i]))
			latched = true;
		else
			transfer_ready(events[i].user_data, events[i].fd,
						   (events[i].events & WL_SOCKET_READABLE) != 0,
						   (events[i].events & WL_SOCKET_WRITEABLE) != 0);
	}
	for (i = 0; i < transfers->count; i++)
		transfer_step(transfers->list[i]);
	return latched;
}

void
waiter_wait_probe(Waiter *waiter, Probe *probe)
{
	WaitEvent	events[WAIT_EVENTS_AT_ONCE];
	SocketGroup group = {.owner = probe};
	int			happened;
	int			i;

	group.sockets = probe_sockets(probe, &group.count, &group.generation);
	waiter_prepare(waiter, &group, 1);
	happened = waiter_sleep(waiter, 1000, probe_deadline(probe),
							WAIT_CHECK, events);
	for (i = 0; i < happened; i++)
	{
		if (!event_is_latch(&events[i]))
			probe_ready(probe, events[i].fd,
						(events[i].events & WL_SOCKET_READABLE) != 0,
						(events[i].events & WL_SOCKET_WRITEABLE) != 0);
	}
}
