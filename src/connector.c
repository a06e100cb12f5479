/*-------------------------------------------------------------------------
 *
 * connector.c
 *	  libcurl's multi handle for one relay, its sockets and its timer.
 *
 * Invariants: libcurl is called from transfer_ready() and transfer_step()
 * only, never from its own callbacks.  Every call that may start libcurl's
 * resolver thread runs with all signals blocked, so that the thread inherits
 * a blocked mask: the process's signal handlers belong to its main thread.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect_private.h"

void
signals_block(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

void
signals_restore(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

bool
transfer_global_init(void)
{
	sigset_t	saved;
	struct sigaction pipe;
	CURLcode	rc;

	/* OpenSSL's own writes, in older libcurls, do not use MSG_NOSIGNAL */
	if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);

	signals_block(&saved);
	rc = curl_global_init(CURL_GLOBAL_DEFAULT);
	signals_restore(&saved);
	return rc == CURLE_OK;
}

/* CURLMOPT_SOCKETFUNCTION */
static int
connector_socket(CURL *easy, curl_socket_t fd, int what, void *userp,
				 void *socketp)
{
	Connector  *c = userp;

	(void) easy;
	(void) socketp;
	if (what == CURL_POLL_REMOVE)
		sockets_forget(c->sockets, fd);
	else if (!sockets_watch(c->sockets, fd, (what & CURL_POLL_IN) != 0,
							(what & CURL_POLL_OUT) != 0, NULL))
		return -1;
	return 0;
}

/* CURLMOPT_TIMERFUNCTION; libcurl must not be called from here */
static int
connector_timer(CURLM *multi, long timeout_ms, void *userp)
{
	Connector  *c = userp;

	(void) multi;
	c->timer = timeout_ms < 0 ? -1 : transfer_now() + timeout_ms * 1000;
	return 0;
}

/* libcurl takes the EHLO name from the URL's path (percent-encoded). */
static char *
connector_url(const RelayConfig *config)
{
	CURLU	   *u = curl_url();
	char	   *url = NULL;
	char	   *copy = NULL;
	char		path[300];
	bool		ok;

	snprintf(path, sizeof(path), "/%s", config->helo ? config->helo : "");
	ok = u != NULL &&
		curl_url_set(u, CURLUPART_URL, config->url, 0) == CURLUE_OK &&
		curl_url_set(u, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
		curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
		curl_url_set(u, CURLUPART_OPTIONS, NULL, 0) == CURLUE_OK &&
		curl_url_set(u, CURLUPART_PATH, path, CURLU_URLENCODE) == CURLUE_OK &&
		curl_url_get(u, CURLUPART_URL, &url, 0) == CURLUE_OK;
	/* a URL that is none: let libcurl say so when it connects */
	copy = strdup(ok ? url : config->url);
	curl_free(url);
	curl_url_cleanup(u);
	return copy;
}

/* see connect_private.h */
const char *
config_copy(const char *s, bool *ok)
{
	char	   *copy;

	if (s == NULL)
		return NULL;
	copy = strdup(s);
	if (copy == NULL)
		*ok = false;
	return copy;
}

Connector *
connector_create(const RelayConfig *config, SocketSet *sockets)
{
	Connector  *c = calloc(1, sizeof(Connector));
	bool		ok = true;

	if (c == NULL)
		return NULL;
	c->sockets = sockets;
	c->timer = -1;
	c->config = *config;
	if (c->config.connections < 1)
		c->config.connections = 1;
	c->config.url = config_copy(config->url, &ok);
	c->config.username = config_copy(config->username, &ok);
	c->config.password = config_copy(config->password, &ok);
	c->config.password_file = config_copy(config->password_file, &ok);
	c->config.token = config_copy(config->token, &ok);
	c->config.cert_file = config_copy(config->cert_file, &ok);
	c->config.key_file = config_copy(config->key_file, &ok);
	c->config.ca_file = config_copy(config->ca_file, &ok);
	c->config.helo = config_copy(config->helo, &ok);
	c->url = connector_url(config);
	c->multi = curl_multi_init();
	if (!ok || c->url == NULL || c->multi == NULL)
	{
		connector_destroy(c);
		return NULL;
	}
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, connector_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, connector_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	return c;
}

void
connector_destroy(Connector *c)
{
	sigset_t	saved;

	signals_block(&saved);
	if (c->multi != NULL)
		curl_multi_cleanup(c->multi);
	signals_restore(&saved);
	free((char *) c->config.url);
	free((char *) c->config.username);
	free((char *) c->config.password);
	free((char *) c->config.password_file);
	free((char *) c->config.token);
	free((char *) c->config.cert_file);
	free((char *) c->config.key_file);
	free((char *) c->config.ca_file);
	free((char *) c->config.helo);
	free(c->url);
	free(c);
}

const RelayConfig *
connector_config(const Connector *c)
{
	return &c->config;
}

static void
connector_action(Connector *c, int fd, int events)
{
	sigset_t	saved;
	int			running;

	signals_block(&saved);
	curl_multi_socket_action(c->multi, fd, events, &running);
	signals_restore(&saved);
}

void
connector_ready(Connector *c, int fd, bool readable, bool writable)
{
	connector_action(c, fd, (readable ? CURL_CSELECT_IN : 0) |
					 (writable ? CURL_CSELECT_OUT : 0));
}

void
connector_step(Connector *c, int64_t now)
{
	int			i;

	/* its timer is often 0 several times in a row; never spin on it */
	for (i = 0; i < 16 && c->timer >= 0 && c->timer <= now; i++)
	{
		c->timer = -1;
		connector_action(c, CURL_SOCKET_TIMEOUT, 0);
	}
}

int64_t
connector_deadline(const Connector *c)
{
	return c->timer;
}
