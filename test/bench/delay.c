/*-------------------------------------------------------------------------
 *
 * delay.c
 *	  A relay that is far away: a TCP proxy that holds every byte for half a
 *	  round trip, each way.
 *
 *	delay LISTEN_PORT TARGET_PORT ONE_WAY_MS
 *
 * Both on 127.0.0.1.  Bandwidth is not limited, and what is read is never held
 * longer than the delay: each piece carries the time at which it may leave.
 * What the handshake of TCP would take is added to the first byte: the kernel
 * takes a connection at once, but the greeting comes two round trips later.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PIECE_SIZE	65536

/* Bytes on their way; len 0: the sender has closed */
typedef struct Piece
{
	struct Piece *next;
	int64_t		due_us;
	size_t		len;
	size_t		sent;
	char		data[];
} Piece;

/* One end of a connection, and what is on its way to it */
typedef struct End
{
	int			fd;
	struct End *peer;
	struct End *next;			/* of all */
	Piece	   *first;
	Piece	   *last;
	int64_t		opened_us;		/* before this nothing arrives */
	bool		blocked;		/* the socket takes no more */
	bool		closed;			/* nothing more comes from it */
} End;

static int	epoll;
static int	clock_fd;
static int64_t delay_us;
static End *ends;

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in
address(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,.sin_port = htons(port)};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static void
watch(int fd, void *owner, uint32_t events)
{
	struct epoll_event e = {.events = events,.data.ptr = owner};

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0)
		fail("epoll_ctl");
}

static End *
end_add(int fd, int64_t opened_us)
{
	End		   *end = calloc(1, sizeof(End));
	int			on = 1;

	if (end == NULL)
		fail("calloc");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	end->fd = fd;
	end->opened_us = opened_us;
	end->next = ends;
	ends = end;
	return end;
}

/* Somebody comes: go on to the target */
static void
proxy_accept(int listener, int target)
{
	struct sockaddr_in to = address(target);
	int			in = accept(listener, NULL, NULL);
	int			out;
	End		   *a;
	End		   *b;

	if (in < 0)
		return;
	out = socket(AF_INET, SOCK_STREAM, 0);
	if (out < 0 || connect(out, (struct sockaddr *) &to, sizeof(to)) != 0)
		fail("connect");
	a = end_add(in, now_us() + 4 * delay_us);
	b = end_add(out, now_us());
	a->peer = b;
	b->peer = a;
	watch(in, a, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	watch(out, b, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Put a piece on its way to the other end */
static void
end_queue(End *to, const char *data, size_t len, int64_t now)
{
	Piece	   *piece = malloc(sizeof(Piece) + len);

	if (piece == NULL)
		fail("malloc");
	memcpy(piece->data, data, len);
	piece->len = len;
	piece->sent = 0;
	piece->next = NULL;
	piece->due_us = now + delay_us;
	if (piece->due_us < to->opened_us)
		piece->due_us = to->opened_us;
	if (to->last != NULL)
		to->last->next = piece;
	else
		to->first = piece;
	to->last = piece;
}

static void
end_read(End *from, int64_t now)
{
	static char buffer[PIECE_SIZE];
	ssize_t		n;

	while (!from->closed)
	{
		n = recv(from->fd, buffer, sizeof(buffer), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		from->closed = n <= 0;
		end_queue(from->peer, buffer, n > 0 ? (size_t) n : 0, now);
	}
}

/* Deliver what is due */
static void
end_write(End *to, int64_t now)
{
	while (to->first != NULL && to->first->due_us <= now)
	{
		Piece	   *piece = to->first;
		ssize_t		n = 0;

		if (piece->len == 0)
			shutdown(to->fd, SHUT_WR);
		else
			n = send(to->fd, piece->data + piece->sent,
					 piece->len - piece->sent, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
		{
			to->blocked = true;
			return;
		}
		piece->sent += n > 0 ? (size_t) n : 0;
		if (n >= 0 && piece->sent < piece->len)
			continue;
		to->first = piece->next;
		if (to->first == NULL)
			to->last = NULL;
		free(piece);
	}
	to->blocked = false;
}

/* Both sides have said all there is: forget them */
static void
ends_sweep(void)
{
	End		  **at = &ends;

	while (*at != NULL)
	{
		End		   *end = *at;

		if (end->closed && end->first == NULL &&
			(end->peer == NULL ||
			 (end->peer->closed && end->peer->first == NULL)))
		{
			if (end->peer != NULL)
				end->peer->peer = NULL;
			*at = end->next;
			close(end->fd);
			free(end);
		}
		else
			at = &end->next;
	}
}

/* Wake us when the next piece is due, by a clock finer than epoll's */
static void
clock_set(int64_t now)
{
	struct itimerspec when;
	int64_t		next = -1;
	End		   *end;

	memset(&when, 0, sizeof(when));
	for (end = ends; end != NULL; end = end->next)
	{
		if (end->first != NULL && !end->blocked &&
			(next < 0 || end->first->due_us < next))
			next = end->first->due_us;
	}
	if (next >= 0)
	{
		int64_t		left = next > now ? next - now : 1;

		when.it_value.tv_sec = left / 1000000;
		when.it_value.tv_nsec = left % 1000000 * 1000;
	}
	timerfd_settime(clock_fd, 0, &when, NULL);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[256];
	struct sockaddr_in here;
	int			listener;
	int			on = 1;

	if (argc != 4)
	{
		fprintf(stderr, "usage: delay LISTEN_PORT TARGET_PORT ONE_WAY_MS\n");
		return 1;
	}
	here = address(atoi(argv[1]));
	delay_us = (int64_t) (atof(argv[3]) * 1000);
	epoll = epoll_create1(0);
	clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *) &here, sizeof(here)) != 0 ||
		listen(listener, 500) != 0)
		fail("listen");
	watch(listener, &listener, EPOLLIN);
	watch(clock_fd, &clock_fd, EPOLLIN);
	for (;;)
	{
		int			n = epoll_wait(epoll, events, 256, -1);
		int64_t		now = now_us();
		uint64_t	ticks;
		End		   *end;
		int			i;

		for (i = 0; i < n; i++)
		{
			if (events[i].data.ptr == &listener)
				proxy_accept(listener, atoi(argv[2]));
			else if (events[i].data.ptr == &clock_fd)
			{
				if (read(clock_fd, &ticks, sizeof(ticks)) < 0)
					continue;
			}
			else
				end_read(events[i].data.ptr, now);
		}
		for (end = ends; end != NULL; end = end->next)
			end_write(end, now);
		ends_sweep();
		clock_set(now);
	}
}
