/*-------------------------------------------------------------------------
 *
 * sockets.c
 *	  The set of sockets a transfer or a probe wants watched.
 *
 * libcurl's sockets, while a session is being made, and the sessions' own
 * afterwards stand in one dense array, so that the caller can hand it to
 * whatever it waits with.  Kernel wait sets forget a closed descriptor, and
 * the next socket often gets its number: so the generation counts every
 * arrival and departure, but not changes of interest.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "sockets.h"

static bool
sockets_grow_places(SocketSet *set, int fd)
{
	int			places = set->places > 0 ? set->places : 64;
	int		   *place;

	if (fd < set->places)
		return true;
	while (places <= fd)
		places *= 2;
	place = realloc(set->place, sizeof(int) * (size_t) places);
	if (place == NULL)
		return false;
	for (; set->places < places; set->places++)
		place[set->places] = -1;
	set->place = place;
	return true;
}

static bool
sockets_grow_list(SocketSet *set)
{
	int			room = set->room > 0 ? set->room * 2 : 16;
	TransferSocket *list;
	void	  **owner;

	if (set->count < set->room)
		return true;
	list = realloc(set->list, sizeof(TransferSocket) * (size_t) room);
	if (list == NULL)
		return false;
	set->list = list;
	owner = realloc(set->owner, sizeof(void *) * (size_t) room);
	if (owner == NULL)
		return false;
	set->owner = owner;
	set->room = room;
	return true;
}

bool
sockets_watch(SocketSet *set, int fd, bool read, bool write, void *owner)
{
	int			i;

	if (fd < 0 || !sockets_grow_places(set, fd))
		return false;
	i = set->place[fd];
	if (i < 0)
	{
		if (!sockets_grow_list(set))
			return false;
		i = set->count++;
		set->place[fd] = i;
		set->list[i].fd = fd;
		set->owner[i] = owner;
		set->generation++;
	}
	else if (set->owner[i] != owner)
	{
		set->owner[i] = owner;
		set->generation++;
	}
	set->list[i].read = read;
	set->list[i].write = write;
	return true;
}

void
sockets_forget(SocketSet *set, int fd)
{
	int			i;

	if (fd < 0 || fd >= set->places || set->place[fd] < 0)
		return;
	i = set->place[fd];
	set->place[fd] = -1;
	set->count--;
	set->generation++;
	if (i < set->count)
	{
		set->list[i] = set->list[set->count];
		set->owner[i] = set->owner[set->count];
		set->place[set->list[i].fd] = i;
	}
}

bool
sockets_find(const SocketSet *set, int fd, void **owner)
{
	if (fd < 0 || fd >= set->places || set->place[fd] < 0)
		return false;
	*owner = set->owner[set->place[fd]];
	return true;
}

void
sockets_free(SocketSet *set)
{
	free(set->list);
	free(set->owner);
	free(set->place);
}
