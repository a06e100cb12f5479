/*-------------------------------------------------------------------------
 *
 * sockets.h
 *	  The set of sockets a transfer or a probe wants watched.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_SOCKETS_H
#define MAILMAN_SOCKETS_H

#include "transfer.h"

typedef struct SocketSet
{
	TransferSocket *list;		/* dense, in no order */
	void	  **owner;			/* of list[i]; NULL: libcurl */
	int			count;
	int			room;
	int		   *place;			/* fd -> index in list, -1 if not there */
	int			places;
	uint32_t	generation;		/* see transfer_sockets() */
} SocketSet;

/* Watch fd, or change what it is watched for; false: out of memory. */
extern bool sockets_watch(SocketSet *set, int fd, bool read, bool write,
						  void *owner);

/* Must be called before fd is closed; harmless if fd is not there. */
extern void sockets_forget(SocketSet *set, int fd);

/* Is fd in the set, and whose is it? */
extern bool sockets_find(const SocketSet *set, int fd, void **owner);

extern void sockets_free(SocketSet *set);

#endif							/* MAILMAN_SOCKETS_H */
