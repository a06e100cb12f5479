/*-------------------------------------------------------------------------
 *
 * smtp.h
 *	  The dialogue of one session: MAIL, RCPT, DATA, RSET, QUIT.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_SMTP_H
#define MAILMAN_SMTP_H

#include "connect.h"

/* Which reply is awaited; replies come in the order of the commands. */
typedef enum SmtpState
{
	SMTP_CLOSED,				/* to be closed by the owner */
	SMTP_IDLE,
	SMTP_RSET,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BODY,					/* none: the message is being written */
	SMTP_DOT,
	SMTP_LONE_DOT,				/* the message that nobody gets */
	SMTP_QUIT
} SmtpState;

typedef struct Smtp Smtp;

/* What a session asks and tells its pool */
typedef struct SmtpPool
{
	/* The next mail, or NULL; riding: to go along behind a body. */
	Mail	   *(*take) (void *pool, Smtp *s, bool riding);
	/* Its fate is known: attempt and judgement are filled in. */
	void		(*done) (void *pool, Smtp *s, Mail *mail);
	/* It was taken, but nothing became of it: put it back. */
	void		(*back) (void *pool, Smtp *s, Mail *mail);
	/* The relay has accepted a MAIL command. */
	void		(*works) (void *pool, Smtp *s);
} SmtpPool;

/* Both commands at their longest, RSET and DATA */
#define SMTP_PATH_MAX	320		/* RFC 5321 4.5.3.1: 64 + 1 + 255 */
#define SMTP_COMMANDS_MAX	(2 * SMTP_PATH_MAX + 128)

struct Smtp
{
	SmtpState	state;			/* changed by smtp_set_state() alone */
	Connection *conn;
	const RelayConfig *config;
	const SmtpPool *calls;
	void	   *pool;
	int64_t		now;			/* of the event being handled */
	int64_t		deadline;		/* -1: none */

	Mail	   *mail;			/* the transaction's; NULL if given up */
	Mail	   *rider;			/* its envelope is written behind a body */
	bool		ahead;			/* an envelope is written behind the body */
	bool		open;			/* MAIL was accepted: RSET needed */
	bool		rcpt_ok;		/* RCPT was accepted: no lone dot! */
	bool		sent_all;		/* MAIL, RCPT and DATA went in one write */
	bool		used_up;		/* nothing more to begin: QUIT */
	bool		unread;			/* more was received than the reply at hand */
	bool		broken;			/* writing failed: read what is left, close */
	bool		blocked;		/* wants to write */
	int			begun;			/* mails */
	int			carried;		/* transactions the relay took up */

	Reply		reply;
	Piece		out;			/* on its way; not moved before it is sent */
	const Piece *pieces;		/* of the message, to be written behind it */
	int			npieces;
	size_t		envelope;		/* bytes of commands, behind these */
	size_t		until_dot;		/* bytes of the message still to be sent */
	char	   *joined;			/* small pieces and envelope, for one write */
	char		commands[SMTP_COMMANDS_MAX];
};

/* Take over a connection that is up.  s is zeroed or has been used. */
extern void smtp_start(Smtp *s, Connection *conn, const SmtpPool *calls,
					   void *pool, const RelayConfig *config);

/* Begin a mail if the session is idle and the pool has one. */
extern void smtp_begin(Smtp *s, int64_t now);

/* The socket is ready. */
extern void smtp_ready(Smtp *s, int64_t now);

/* The deadline has passed. */
extern void smtp_expire(Smtp *s, int64_t now);

/* Give back what has sent no byte of its message. */
extern void smtp_recall(Smtp *s, int64_t now);

/* Say goodbye, if idle. */
extern void smtp_quit(Smtp *s, int64_t now);

/* Begin nothing more: end after the mail at hand, at once if idle. */
extern void smtp_retire(Smtp *s, int64_t now);

/* End as its patience is over, which is before the deadline. */
extern void smtp_give_up(Smtp *s, int64_t now);

/* End without waiting; the mails are told as transfer_abort() says. */
extern void smtp_abort(Smtp *s, int64_t now);

/* Free what the session holds beside the connection. */
extern void smtp_free(Smtp *s);

#endif							/* MAILMAN_SMTP_H */
