/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  What transfer.c and pool.c share: the pool of sessions.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_POOL_H
#define MAILMAN_POOL_H

#include "smtp.h"

typedef struct MailQueue
{
	Mail	   *head;
	Mail	   *tail;
	int			count;
} MailQueue;

/* A place for a session */
typedef struct Session
{
	Smtp		smtp;			/* must be first; state CLOSED unless up */
	Connection *conn;			/* NULL: the place is free */
	bool		up;
	bool		idle;			/* in the idle list */
	bool		writing;		/* as told to the socket set */
	bool		further;		/* opened above the level, see below */
	int64_t		began;
	int64_t		connect_deadline;
	struct Session *next;		/* in the free or the idle list */
} Session;

struct Transfer
{
	Connector  *connector;
	SocketSet	sockets;
	const RelayConfig *config;
	Session    *sessions;
	Session    *free_list;
	Session    *idle_list;
	MailQueue	queue;
	MailQueue	fresh;			/* for sessions that carried nothing yet */
	MailQueue	finished;
	TransferCounts counts;		/* kept: sessions, connecting, in_flight,
								 * opened, throttled */
	int			limit;			/* most sessions now */
	int			idle;
	RelayHealth health;
	bool		proven;			/* a MAIL was accepted since it was down */
	bool		stopped;		/* transfer_recall(stop) */
	bool		stirred;		/* transfer_step() has something to do */
	int			refused;		/* further sessions, in a row */
	int			level;			/* if any: so many the relay does take */
	int64_t		refused_at;		/* the last time */
	int64_t		open_after;		/* not before, while others are up */
	int64_t		deadline;		/* no session's is earlier; -1: none */
	unsigned	seed;
};

extern void queue_append(MailQueue *q, Mail *mail);
extern Mail *queue_pop(MailQueue *q);

/* Hand back everything queued. */
extern void pool_return_queued(Transfer *t);

/* Is there a place for one more session? */
extern bool pool_has_place(const Transfer *t);

/* Sessions that will end without another mail */
extern bool session_is_leaving(const Session *s);
extern int	pool_leaving(const Transfer *t);

/* End sessions until the limit is kept. */
extern void pool_shrink(Transfer *t, int64_t now);

/* Open one more session; there must be a free place. */
extern bool session_open(Transfer *t);
extern void session_came_up(Transfer *t, Session *s);
extern void session_failed(Transfer *t, Session *s, const Attempt *failure);

/* Bring the pool's books in line with what the session did. */
extern void session_settle(Transfer *t, Session *s);
extern void session_leave_idle(Transfer *t, Session *s);

/* Begin nothing more: end it, if it carries a mail then after that. */
extern void session_retire(Transfer *t, Session *s, int64_t now);

/* Give up connecting, blaming nobody. */
extern void session_drop(Transfer *t, Session *s);

/* Close the connection, whatever its state, and free the place. */
extern void session_release(Transfer *t, Session *s);

#endif							/* MAILMAN_POOL_H */
