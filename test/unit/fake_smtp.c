/*-------------------------------------------------------------------------
 *
 * fake_smtp.c
 *	  A scripted SMTP server in a child process, for transfer_test.
 *
 * Strict where a relay may be strict (sequence, no commands ahead without
 * PIPELINING), and as wrong as its rules say.  Binds to 127.0.0.1 only.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake_smtp.h"

#define MAX_CONNS	64
#define IN_MAX		65536
#define DRIP_TIME	0.02
#define SIP_SIZE	4096

enum
{
	CONNECT, EHLO, MAIL, RCPT, DATA, BODY, DOT, RSET, QUIT, VERBS
};

static const char *const verbs[VERBS] = {
	"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT", "RSET", "QUIT"
};

typedef struct Conn
{
	int			fd;
	char		in[IN_MAX];
	size_t		pos;			/* handled */
	size_t		len;
	int			count[VERBS];
	bool		has_mail;
	bool		has_rcpt;
	bool		in_body;
	size_t		body_len;
	unsigned	sum;
	int			rcpt;
	bool		closing;
	bool		mute;
	const char *drip;			/* what is said for ever */
	size_t		drip_pos;
	bool		sip;
	double		next;			/* drip, sip: not before */
	double		resume;			/* slow: the reply is due then */
	char		later[256];
} Conn;

typedef struct Server
{
	const FakeScript *script;
	FakeStats  *stats;
	int			listener;
	int			count[VERBS];
	Conn	   *conns[MAX_CONNS];
} Server;

/* FNV-1a */
unsigned
fake_sum(unsigned sum, const char *bytes, size_t len)
{
	for (; len > 0; len--)
		sum = (sum ^ (unsigned char) *bytes++) * 16777619u;
	return sum;
}

static double
fake_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
fake_put(const Server *srv, Conn *c, const char *s, size_t len)
{
	if (!srv->script->bytewise)
	{
		if (send(c->fd, s, len, MSG_NOSIGNAL) < 0)
			c->closing = true;
		return;
	}
	for (; len > 0; s++, len--)
	{
		if (send(c->fd, s, 1, MSG_NOSIGNAL) < 0)
			c->closing = true;
		usleep(20);
	}
}

/* "250 ok" as one line or three */
static void
fake_say(const Server *srv, Conn *c, const char *reply)
{
	char		buf[512];

	if (srv->script->multiline)
		snprintf(buf, sizeof(buf), "%.3s-%s\r\n%.3s-second\r\n%.3s third\r\n",
				 reply, reply + 4, reply, reply);
	else
		snprintf(buf, sizeof(buf), "%s\r\n", reply);
	fake_put(srv, c, buf, strlen(buf));
}

static void
fake_endless(const Server *srv, Conn *c)
{
	char		buf[1024];
	int			i;

	memset(buf, 'x', sizeof(buf));
	for (i = 0; i < 64 && !c->closing; i++)
		fake_put(srv, c, buf, sizeof(buf));
}

/* What does the script say to this verb?  NULL: nothing */
static const char *
fake_rule(Server *srv, Conn *c, int verb)
{
	int			i;

	srv->count[verb]++;
	c->count[verb]++;
	for (i = 0; i < FAKE_RULES; i++)
	{
		const FakeRule *r = &srv->script->rules[i];
		int			n;

		if (r->verb == NULL || strcmp(r->verb, verbs[verb]) != 0)
			continue;
		n = r->per_connection ? c->count[verb] : srv->count[verb];
		if (n == r->first ||
			(r->every > 0 && n > r->first && (n - r->first) % r->every == 0))
			return r->reply;
	}
	return NULL;
}

static bool
fake_positive(int verb, const char *reply)
{
	return reply[0] == (verb == DATA ? '3' : '2');
}

/* Anything a relay should or should not say */
static const char *
fake_chaos(void)
{
	static const char *const replies[] = {
		"421 4.3.2 chaos", "450 4.2.1 chaos", "550 5.1.1 chaos",
		"554 5.7.1 chaos", "452 4.5.3 chaos", "250 chaos", "354 chaos",
		"@close", "@silent", "@raw chaos\r\n", "@raw 250-", "@endless",
		"@last 250 chaos", "@last 450 chaos", "@last 421 4.3.2 chaos",
		"@slow 250 chaos", "@slow 451 chaos"
	};

	return replies[(size_t) rand() % (sizeof(replies) / sizeof(replies[0]))];
}

/* Do as the rule says; returns whether that was a positive reply. */
static bool
fake_answer(Server *srv, Conn *c, int verb, const char *normal)
{
	const char *reply = fake_rule(srv, c, verb);

	if (reply == NULL)
		reply = normal;
	if (reply == NULL)
		return true;
	if (verb >= MAIL && rand() % 1000 < srv->script->chaos)
		reply = fake_chaos();
	if (strcmp(reply, "@close") == 0)
		c->closing = true;
	else if (strcmp(reply, "@silent") == 0)
	{
		c->mute = true;
		srv->stats->silent++;
	}
	else if (strcmp(reply, "@endless") == 0)
		fake_endless(srv, c);
	else if (strncmp(reply, "@drip ", 6) == 0)
	{
		c->mute = true;
		c->drip = reply + 6;
	}
	else if (strcmp(reply, "@sip") == 0)
	{
		c->sip = true;
		if (normal != NULL)
			fake_say(srv, c, normal);
		return true;
	}
	else if (strncmp(reply, "@raw ", 5) == 0)
	{
		fake_put(srv, c, reply + 5, strlen(reply + 5));
		c->mute = true;
	}
	else if (strncmp(reply, "@last ", 6) == 0)
	{
		fake_say(srv, c, reply + 6);
		c->closing = true;
		return fake_positive(verb, reply + 6);
	}
	else if (strncmp(reply, "@then ", 6) == 0)
	{
		fake_say(srv, c, normal);
		fake_say(srv, c, reply + 6);
		c->closing = true;
		return true;
	}
	else if (strncmp(reply, "@slow ", 6) == 0)
	{
		c->resume = fake_now() + 0.2;
		snprintf(c->later, sizeof(c->later), "%s", reply + 6);
		return fake_positive(verb, reply + 6);
	}
	else if (reply[0] != '@')
	{
		fake_say(srv, c, reply);
		return fake_positive(verb, reply);
	}
	return false;
}

static void
fake_ehlo(Server *srv, Conn *c)
{
	char		buf[1024];
	char		words[512];
	char	   *word;
	size_t		n;

	n = (size_t) sprintf(buf, "250-fake.test hello\r\n");
	snprintf(words, sizeof(words), "%s",
			 srv->script->ehlo ? srv->script->ehlo : "");
	for (word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
	{
		char	   *p;

		for (p = word; *p; p++)
			if (*p == '_')
				*p = ' ';
		n += (size_t) sprintf(buf + n, "250-%s\r\n", word);
	}
	if (srv->script->pipelining)
		n += (size_t) sprintf(buf + n, "250-PIPELINING\r\n");
	n += (size_t) sprintf(buf + n, "250 ENHANCEDSTATUSCODES\r\n");
	if (fake_rule(srv, c, EHLO) == NULL)
		fake_put(srv, c, buf, n);
	else
	{
		srv->count[EHLO]--;
		c->count[EHLO]--;
		fake_answer(srv, c, EHLO, NULL);
	}
}

static void
fake_reset(Conn *c)
{
	c->has_mail = c->has_rcpt = c->in_body = false;
	c->body_len = 0;
}

static void
fake_bad_sequence(Server *srv, Conn *c)
{
	fake_say(srv, c, "503 5.5.1 bad sequence");
	if (!srv->script->pipelining)
		srv->stats->disorder++;
}

static void
fake_data(Server *srv, Conn *c)
{
	if (!c->has_rcpt && !srv->script->eager_data)
		fake_bad_sequence(srv, c);
	else if (fake_answer(srv, c, DATA, "354 go ahead"))
	{
		c->in_body = true;
		c->sum = FAKE_SUM;
	}
}

static void
fake_command(Server *srv, Conn *c, const char *line)
{
	if (strncasecmp(line, "EHLO ", 5) == 0 || strncasecmp(line, "HELO ", 5) == 0)
		fake_ehlo(srv, c);
	else if (strncasecmp(line, "MAIL FROM:<", 11) == 0)
	{
		if (c->has_mail)
		{
			srv->stats->disorder++;
			fake_say(srv, c, "503 5.5.1 nested MAIL");
			return;
		}
		if (strstr(line, " SMTPUTF8") != NULL)
			srv->stats->smtputf8++;
		c->has_mail = fake_answer(srv, c, MAIL, "250 2.1.0 ok");
	}
	else if (strncasecmp(line, "RCPT TO:<", 9) == 0)
	{
		c->rcpt = atoi(line + 9);
		if (!c->has_mail)
			fake_bad_sequence(srv, c);
		else
			c->has_rcpt = fake_answer(srv, c, RCPT, "250 2.1.5 ok");
	}
	else if (strcasecmp(line, "DATA") == 0)
		fake_data(srv, c);
	else if (strcasecmp(line, "RSET") == 0)
	{
		srv->stats->rsets++;
		fake_reset(c);
		fake_answer(srv, c, RSET, "250 2.0.0 ok");
	}
	else if (strcasecmp(line, "QUIT") == 0)
	{
		srv->stats->quits++;
		fake_answer(srv, c, QUIT, "221 2.0.0 bye");
		c->closing = c->drip == NULL;
	}
	else
	{
		srv->stats->disorder++;
		fake_say(srv, c, "500 5.5.2 what?");
	}
}

static void
fake_dot(Server *srv, Conn *c)
{
	bool		empty = c->body_len == 0;
	bool		has_rcpt = c->has_rcpt;
	unsigned	sum = c->sum;
	int			rcpt = c->rcpt;

	fake_reset(c);
	if (!has_rcpt)
	{
		srv->stats->lone_dots++;
		fake_say(srv, c, "554 5.5.1 no valid recipients");
	}
	else if (fake_answer(srv, c, DOT, "250 2.0.0 queued as 4711"))
	{
		srv->stats->accepted++;
		srv->stats->empty += empty;
		if (rcpt >= 0 && rcpt < FAKE_RCPTS)
		{
			srv->stats->sums[rcpt] = sum;
			srv->stats->delivered[rcpt]++;
		}
	}
}

/* One line of input, if there is a whole one */
static bool
fake_line(Server *srv, Conn *c)
{
	char	   *in = c->in + c->pos;
	char	   *lf = memchr(in, '\n', c->len - c->pos);
	size_t		n;
	char		line[2048];

	if (lf == NULL || c->closing || c->mute || c->resume > 0)
		return false;
	n = (size_t) (lf - in) + 1;
	snprintf(line, sizeof(line), "%.*s", (int) (n - 1), in);
	line[strcspn(line, "\r")] = '\0';
	c->pos += n;
	if (!c->in_body)
	{
		if (!srv->script->pipelining && c->len > c->pos)
			srv->stats->disorder++;
		fake_command(srv, c, line);
	}
	else if (strcmp(line, ".") == 0)
		fake_dot(srv, c);
	else
	{
		if (c->body_len == 0 && !fake_answer(srv, c, BODY, NULL))
			return true;
		c->body_len += n;
		c->sum = fake_sum(c->sum, in, n);
	}
	return true;
}

static void
fake_close(Server *srv, int i)
{
	close(srv->conns[i]->fd);
	free(srv->conns[i]);
	srv->conns[i] = NULL;
	srv->stats->open--;
}

static void
fake_accept(Server *srv)
{
	int			fd = accept(srv->listener, NULL, NULL);
	int			one = 1;
	int			i = 0;

	while (i < MAX_CONNS && srv->conns[i] != NULL)
		i++;
	if (i == MAX_CONNS || fd < 0)
	{
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	srv->conns[i] = calloc(1, sizeof(Conn));
	srv->conns[i]->fd = fd;
	srv->stats->connections++;
	srv->stats->open++;
	if (srv->stats->open > srv->stats->most_open)
		srv->stats->most_open = srv->stats->open;
	if (srv->script->max_connections > 0 &&
		srv->stats->open > srv->script->max_connections)
	{
		fake_say(srv, srv->conns[i], "421 4.7.0 too many connections");
		srv->conns[i]->closing = true;
	}
	else
		fake_answer(srv, srv->conns[i], CONNECT, "220 fake.test ESMTP");
}

static void
fake_drip(Server *srv, Conn *c)
{
	const char *text = c->drip;

	if (fake_now() < c->next)
		return;
	c->next = fake_now() + DRIP_TIME;
	if (text[c->drip_pos] == '\0')
	{
		fake_put(srv, c, "\r\n", 2);
		c->drip_pos = 0;
	}
	else
		fake_put(srv, c, text + c->drip_pos++, 1);
	srv->stats->drips++;
}

/* How much to read from it now */
static size_t
fake_appetite(Conn *c)
{
	size_t		room = IN_MAX - c->len;

	if (!c->sip)
		return room;
	if (fake_now() < c->next)
		return 0;
	c->next = fake_now() + DRIP_TIME;
	return room < SIP_SIZE ? room : SIP_SIZE;
}

static void
fake_serve_conn(Server *srv, int i, bool readable)
{
	Conn	   *c = srv->conns[i];
	size_t		room;
	ssize_t		n;

	if (c->drip != NULL)
		fake_drip(srv, c);

	if (c->resume > 0 && fake_now() >= c->resume)
	{
		c->resume = 0;
		fake_say(srv, c, c->later);
	}
	memmove(c->in, c->in + c->pos, c->len - c->pos);
	c->len -= c->pos;
	c->pos = 0;
	if (readable && (room = fake_appetite(c)) > 0)
	{
		n = recv(c->fd, c->in + c->len, room, MSG_DONTWAIT);
		if (n == 0)
			c->closing = true;
		else if (n > 0)
		{
			c->len += (size_t) n;
			srv->stats->reads++;
		}
	}
	while (fake_line(srv, c))
		;
	if (c->closing)
		fake_close(srv, i);
}

static void
fake_serve(Server *srv)
{
	for (;;)
	{
		struct pollfd p[MAX_CONNS + 1];
		int			place[MAX_CONNS + 1];
		int			n = 1;
		int			i;

		p[0].fd = srv->listener;
		p[0].events = POLLIN;
		for (i = 0; i < MAX_CONNS; i++)
			if (srv->conns[i] != NULL)
			{
				place[n] = i;
				p[n].fd = srv->conns[i]->fd;
				p[n].revents = 0;
				p[n++].events = srv->conns[i]->next > fake_now() ? 0 : POLLIN;
			}
		poll(p, (nfds_t) n, 20);
		for (i = 1; i < n; i++)
			fake_serve_conn(srv, place[i], p[i].revents != 0);
		if (p[0].revents != 0)
			fake_accept(srv);
	}
}

void
fake_start(Fake *fake, const FakeScript *script)
{
	fake_start_at(fake, script, 0);
}

void
fake_start_at(Fake *fake, const FakeScript *script, int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int			one = 1;
	socklen_t	len = sizeof(addr);
	Server		srv = {.script = script};
	pid_t		parent = getpid();

	srv.stats = mmap(NULL, sizeof(FakeStats), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	srv.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(srv.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons((uint16_t) port);
	if (srv.stats == MAP_FAILED ||
		bind(srv.listener, (struct sockaddr *) &addr, sizeof(addr)) != 0 ||
		listen(srv.listener, 128) != 0 ||
		getsockname(srv.listener, (struct sockaddr *) &addr, &len) != 0)
	{
		perror("fake_smtp");
		exit(2);
	}
	fake->stats = srv.stats;
	fake->port = ntohs(addr.sin_port);
	snprintf(fake->url, sizeof(fake->url), "smtp://127.0.0.1:%d", fake->port);
	fflush(NULL);
	fake->pid = fork();
	if (fake->pid == 0)
	{
		alarm(60);				/* never outlives its test for long */
		if (getppid() == parent)
			fake_serve(&srv);
		_exit(0);
	}
	close(srv.listener);
}

void
fake_stop(Fake *fake)
{
	if (fake->pid > 0)
	{
		kill(fake->pid, SIGKILL);
		waitpid(fake->pid, NULL, 0);
	}
	munmap((void *) fake->stats, sizeof(FakeStats));
	fake->pid = 0;
}
