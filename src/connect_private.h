/*-------------------------------------------------------------------------
 *
 * connect_private.h
 *	  What connector.c and connect.c share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_CONNECT_PRIVATE_H
#define MAILMAN_CONNECT_PRIVATE_H

#include <curl/curl.h>
#include <signal.h>

#include "connect.h"
#include "hearing.h"

struct Connector
{
	CURLM	   *multi;
	SocketSet  *sockets;
	RelayConfig config;			/* strings owned */
	char	   *url;			/* with the EHLO name as path */
	int64_t		timer;			/* libcurl's, -1: none */
	unsigned	login;			/* changes with password or token */
};

struct Connection
{
	CURL	   *easy;
	Connector  *connector;
	void	   *owner;
	int			fd;				/* -1 before it is up */
	unsigned	login;			/* the connector's when it began */
	Hearing		hearing;
	char		error[CURL_ERROR_SIZE];
};

/* Around every libcurl call that may start or join a resolver thread */
extern void signals_block(sigset_t *saved);
extern void signals_restore(const sigset_t *saved);

/* ---- login.c ---- */

/* Read the password file, if there is one; false: it cannot be used. */
extern bool login_refresh(Connector *c, Attempt *failure);
extern void login_set_options(CURL *easy, const RelayConfig *config);

/* Copy a string of the configuration; *ok turns false without memory. */
extern const char *config_copy(const char *s, bool *ok);

#endif							/* MAILMAN_CONNECT_PRIVATE_H */
