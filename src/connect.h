/*-------------------------------------------------------------------------
 *
 * connect.h
 *	  Making connections with a relay: everything up to and with AUTH.
 *
 * A Connector is libcurl's multi handle for one relay; a Connection is one
 * attempt to reach the relay and, if it succeeds, the byte stream.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_CONNECT_H
#define MAILMAN_CONNECT_H

#include "reply.h"
#include "sockets.h"

typedef struct Connector Connector;
typedef struct Connection Connection;

/* What the relay's EHLO reply offers (RFC 5321 4.1.1.1) */
typedef struct Capabilities
{
	bool		pipelining;		/* RFC 2920 */
	bool		smtputf8;		/* RFC 6531 */
	bool		eightbitmime;	/* RFC 6152 */
	bool		enhanced;		/* RFC 2034 */
	bool		auth;			/* RFC 4954 */
	bool		starttls;		/* RFC 3207 */
	bool		size;			/* RFC 1870 */
	uint64_t	size_limit;		/* 0: none told */
} Capabilities;

typedef enum ConnectIO
{
	CONNECT_OK,
	CONNECT_AGAIN,				/* wait for the socket */
	CONNECT_BROKEN				/* closed or failed */
} ConnectIO;

/* What a probe tells of a connection */
typedef struct ConnectWords
{
	char		greeting[REPLY_TEXT_MAX];
	char		tls[128];		/* "" if not in use */
	char		ehlo[REPLY_TEXT_MAX];
	char		auth[REPLY_TEXT_MAX];
} ConnectWords;

/* Copies config; NULL: out of memory. */
extern Connector *connector_create(const RelayConfig *config,
								   SocketSet *sockets);

/* All connections must have been closed. */
extern void connector_destroy(Connector *c);
extern const RelayConfig *connector_config(const Connector *c);

/* A socket without owner is ready. */
extern void connector_ready(Connector *c, int fd, bool readable,
							bool writable);
extern void connector_step(Connector *c, int64_t now);
extern int64_t connector_deadline(const Connector *c);

/*
 * Sessions that begin from now on log in with that token; false: out of
 * memory, and nothing has changed.
 */
extern bool connector_set_token(Connector *c, const char *token);

/*
 * Begin; NULL: not possible, *failure says why.  words may be NULL and must
 * outlive it.
 */
extern Connection *connect_open(Connector *c, void *owner,
								ConnectWords *words, Attempt *failure);

/* Did it begin with another password or token than one would now? */
extern bool connect_is_outdated(const Connection *conn);

/*
 * A connection that came up or failed since, or NULL.  *failure is untouched
 * if it is up, *up tells.
 */
extern Connection *connect_finished(Connector *c, bool *up,
									Attempt *failure);

/* Its time is over before it came up: describe how far it got. */
extern void connect_expired(Connection *conn, Attempt *failure);

extern void connect_close(Connection *conn);

extern void *connect_owner(const Connection *conn);
extern const Capabilities *connect_capabilities(const Connection *conn);
extern int	connect_socket(const Connection *conn);
extern bool connect_is_tls(const Connection *conn);

extern ConnectIO connect_send(Connection *conn, const char *data, size_t len,
							  size_t *sent);

/* The bytes behind *got == 0 are none: then it is CONNECT_BROKEN. */
extern ConnectIO connect_recv(Connection *conn, char *buf, size_t size,
							  size_t *got);

/* libcurl's words for what went wrong last, cleaned. */
extern void connect_error(const Connection *conn, char *buf, size_t size);

#endif							/* MAILMAN_CONNECT_H */
