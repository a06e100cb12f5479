/*-------------------------------------------------------------------------
 *
 * hearing.h
 *	  Following the relay's replies while libcurl opens a session.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_HEARING_H
#define MAILMAN_HEARING_H

#include "connect.h"

/* What libcurl says became of it */
typedef enum HearingEnd
{
	HEARING_UP,
	HEARING_CLOSED,				/* no name, no TCP, closed */
	HEARING_TIMEOUT,
	HEARING_TLS,				/* the handshake or the certificate failed */
	HEARING_NO_TLS,				/* STARTTLS not offered or refused */
	HEARING_NO_AUTH,			/* refused, or no mechanism in common */
	HEARING_DISORDER
} HearingEnd;

typedef struct Hearing
{
	SmtpStage	stage;			/* whose reply is awaited */
	bool		implicit_tls;	/* smtps:// */
	bool		want_tls;		/* STARTTLS is required */
	bool		want_auth;
	bool		has_token;		/* and by a token */
	bool		asked_tls;		/* STARTTLS answered by 220 */
	bool		secured;		/* TLS is up */
	bool		authenticated;	/* 235 heard */
	bool		answered;		/* reply is complete */
	Capabilities caps;
	Reply		reply;			/* the last one */
	ConnectWords *words;		/* NULL: nobody asks */
} Hearing;

extern void hearing_init(Hearing *h, const RelayConfig *config,
						 ConnectWords *words);
extern void hearing_line(Hearing *h, const char *line, size_t len);
extern void hearing_connected(Hearing *h, bool tcp, bool tls);
extern bool hearing_is_up(const Hearing *h, bool connected);
extern void hearing_failure(const Hearing *h, HearingEnd end,
							const char *text, Attempt *failure);

#endif							/* MAILMAN_HEARING_H */
