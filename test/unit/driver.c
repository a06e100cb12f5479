/*-------------------------------------------------------------------------
 *
 * driver.c
 *	  An epoll loop around a Transfer, in place of the server's wait.c.
 *
 * Follows the rules a caller has to follow: rebuild the wait set when the
 * generation changes, tell all ready sockets before stepping.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "driver.h"

#define DRIVER_EVENTS	64

void
driver_config(RelayConfig *config, const char *url, int connections)
{
	memset(config, 0, sizeof(*config));
	config->url = url;
	config->helo = "client.test";
	config->connections = connections;
	config->connect_timeout_ms = 30000;
	config->reply_timeout_ms = 30000;
	config->data_timeout_ms = 30000;
	config->dot_timeout_ms = 30000;
}

void
driver_mail(Mail *mail, const char *from, const char *to, const char *wire)
{
	memset(mail, 0, sizeof(*mail));
	mail->from = from;
	mail->to = to;
	driver_whole(mail, wire, strlen(wire));
	mail->size = mail->wire_len - 3;
}

/* A message in one piece */
void
driver_whole(Mail *mail, const char *wire, size_t len)
{
	mail->whole.data = wire;
	mail->whole.len = len;
	mail->pieces = &mail->whole;
	mail->npieces = 1;
	mail->wire_len = len;
}

void
driver_init(Driver *d, Transfer *t)
{
	memset(d, 0, sizeof(*d));
	d->t = t;
	d->epoll = -1;
	d->generation = UINT32_MAX;
}

void
driver_free(Driver *d)
{
	if (d->epoll >= 0)
		close(d->epoll);
	free(d->known);
}

static void
driver_register(Driver *d, int op, const TransferSocket *s)
{
	struct epoll_event event = {.data.fd = s->fd};

	event.events = (s->read ? EPOLLIN : 0) | (s->write ? EPOLLOUT : 0);
	epoll_ctl(d->epoll, op, s->fd, &event);
}

/* Bring the wait set in line with what the transfer wants watched. */
static void
driver_watch(Driver *d)
{
	int			count;
	uint32_t	generation;
	const TransferSocket *list = transfer_sockets(d->t, &count, &generation);
	int			i;

	if (generation != d->generation)
	{
		if (d->epoll >= 0)
			close(d->epoll);
		d->epoll = epoll_create1(EPOLL_CLOEXEC);
		d->generation = generation;
		d->known = realloc(d->known, sizeof(*list) * (size_t) (count + 1));
		for (i = 0; i < count; i++)
			driver_register(d, EPOLL_CTL_ADD, &list[i]);
	}
	else
		for (i = 0; i < count; i++)
			if (d->known[i].read != list[i].read ||
				d->known[i].write != list[i].write)
				driver_register(d, EPOLL_CTL_MOD, &list[i]);
	if (count > 0)
		memcpy(d->known, list, sizeof(*list) * (size_t) count);
	d->count = count;
}

void
driver_turn(Driver *d, int timeout_ms)
{
	struct epoll_event events[DRIVER_EVENTS];
	int64_t		deadline;
	int			n;
	int			i;

	transfer_step(d->t);
	driver_watch(d);
	deadline = transfer_deadline(d->t);
	if (deadline >= 0)
	{
		int64_t		left = (deadline - transfer_now() + 999) / 1000;

		if (left < 0)
			left = 0;
		if (left < timeout_ms)
			timeout_ms = (int) left;
	}
	n = epoll_wait(d->epoll, events, DRIVER_EVENTS, timeout_ms);
	for (i = 0; i < n; i++)
	{
		uint32_t	e = events[i].events;
		bool		bad = (e & (EPOLLERR | EPOLLHUP)) != 0;

		transfer_ready(d->t, events[i].data.fd, bad || (e & EPOLLIN) != 0,
					   bad || (e & EPOLLOUT) != 0);
	}
	transfer_step(d->t);
}

int
driver_run(Driver *d, Mail **list, int n, int timeout_ms)
{
	int64_t		end = transfer_now() + (int64_t) timeout_ms * 1000;
	int			got = 0;

	for (;;)
	{
		Mail	   *mail;

		while (got < n && (mail = transfer_finished(d->t)) != NULL)
			list[got++] = mail;
		if (got >= n || transfer_now() >= end)
			return got;
		driver_turn(d, 50);
	}
}

void
driver_idle(Driver *d, int ms)
{
	int64_t		end = transfer_now() + (int64_t) ms * 1000;

	while (transfer_now() < end)
		if (d != NULL)
			driver_turn(d, 5);
}
