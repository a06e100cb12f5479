/*-------------------------------------------------------------------------
 *
 * transfer.c
 *	  The pool: which session carries which mail, and when to open another.
 *
 * One relay, one queue, up to config.connections sessions.  A session takes
 * its next mail itself the moment it can use it, so a busy pool does nothing
 * per mail but unlink it from the queue; this file only opens sessions when
 * mails wait and none is free, and sorts what comes back.
 *
 * A relay is probed before it is trusted: until it has accepted a MAIL, at
 * most one session is opened (one refused login, not twenty).  If another
 * session is refused while some are up, those carry on, used-up ones among
 * them are replaced at once, and opening more backs off.  If none is up, the
 * relay is down: everything queued goes back and the caller decides when to
 * try again.
 *
 * Invariants: every submitted mail is in exactly one place: a queue, a
 * session, or the finished list.  A mail whose session was used up goes back
 * to the head, to a fresh session; at most three of these may fail it.
 * Sessions, with those still connecting, are never opened above the limit.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <time.h>

#include "pool.h"

int64_t
transfer_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- the step ---- */

static void
transfer_collect(Transfer *t)
{
	Connection *conn;
	Attempt		failure;
	bool		up;

	while ((conn = connect_finished(t->connector, &up, &failure)) != NULL)
	{
		Session    *s = connect_owner(conn);

		if (up)
			session_came_up(t, s);
		else
			session_failed(t, s, &failure);
	}
}

/* Whose time is over?  Looks at all sessions, but only when one may be. */
static void
transfer_expire(Transfer *t, int64_t now)
{
	int			i;

	if (t->deadline < 0 || now < t->deadline)
		return;
	t->deadline = -1;
	for (i = 0; i < t->config->connections; i++)
	{
		Session    *s = &t->sessions[i];
		Attempt		failure;
		int64_t		deadline;

		if (s->conn == NULL)
			continue;
		deadline = s->up ? s->smtp.deadline : s->connect_deadline;
		if (deadline >= 0 && deadline <= now)
		{
			if (s->up)
			{
				smtp_expire(&s->smtp, now);
				session_settle(t, s);
			}
			else
			{
				connect_expired(s->conn, &failure);
				session_failed(t, s, &failure);
			}
		}
		else if (deadline >= 0 && (t->deadline < 0 || deadline < t->deadline))
			t->deadline = deadline;
	}
}

/* Mails that neither an idle nor a coming session will take */
static int
transfer_unserved(const Transfer *t)
{
	int			waiting = t->queue.count - t->idle;

	if (t->stopped)
		return 0;
	return t->fresh.count + (waiting > 0 ? waiting : 0) -
		t->counts.connecting;
}

/* May one more session be opened now? */
static bool
transfer_may_open(const Transfer *t, int64_t now)
{
	int			open = t->counts.sessions + t->counts.connecting;

	if (!pool_has_place(t))
		return false;
	if (open == 0)
		return true;
	if (!t->proven)
		return false;
	if (t->refused == 0 || open < t->level)
		return true;
	return now >= t->open_after && t->counts.connecting == 0;
}

/* A mail needs a fresh session, but used ones fill the pool. */
static void
transfer_make_place(Transfer *t, int64_t now)
{
	Session    *used = NULL;
	int			i;

	if (t->fresh.count == 0 || t->stopped || pool_has_place(t) ||
		t->fresh.count <= t->counts.connecting + pool_leaving(t))
		return;
	for (i = 0; i < t->config->connections; i++)
	{
		Session    *s = &t->sessions[i];

		if (s->up && s->smtp.carried > 0 && !session_is_leaving(s) &&
			(used == NULL || s->idle))
			used = s;
	}
	if (used != NULL)
		session_retire(t, used, now);
}

void
transfer_step(Transfer *t)
{
	int64_t		now = transfer_now();

	t->stirred = false;
	connector_step(t->connector, now);
	transfer_collect(t);
	transfer_expire(t, now);
	while (t->idle_list != NULL && !t->stopped &&
		   (t->queue.count > 0 ||
			(t->fresh.count > 0 && t->idle_list->smtp.carried == 0)))
	{
		Session    *s = t->idle_list;

		session_leave_idle(t, s);
		smtp_begin(&s->smtp, now);
		session_settle(t, s);
		if (s->idle)
			break;
	}
	transfer_make_place(t, now);
	while (transfer_unserved(t) > 0 && transfer_may_open(t, now) &&
		   session_open(t))
		;
}

/* ---- the interface ---- */

Transfer *
transfer_create(const RelayConfig *config)
{
	Transfer   *t = calloc(1, sizeof(Transfer));
	int			i;

	if (t == NULL)
		return NULL;
	t->deadline = -1;
	t->seed = (unsigned) (transfer_now() ^ (int64_t) (uintptr_t) t);
	t->connector = connector_create(config, &t->sockets);
	if (t->connector == NULL)
	{
		free(t);
		return NULL;
	}
	t->config = connector_config(t->connector);
	t->sessions = calloc((size_t) t->config->connections, sizeof(Session));
	if (t->sessions == NULL)
	{
		connector_destroy(t->connector);
		free(t);
		return NULL;
	}
	t->limit = t->config->connections;
	for (i = t->config->connections - 1; i >= 0; i--)
	{
		t->sessions[i].next = t->free_list;
		t->free_list = &t->sessions[i];
	}
	return t;
}

bool
transfer_set_token(Transfer *t, const char *token)
{
	const char *before = t->config->token;

	if (!connector_set_token(t->connector, token))
		return false;
	if (t->config->token != before)
		t->health.down = t->health.permanent = t->health.refused = false;
	return true;
}

void
transfer_submit(Transfer *t, Mail *mail)
{
	mail->tries = 0;
	mail->started_us = 0;
	mail->finished_us = 0;
	t->stopped = false;
	t->stirred = true;
	queue_append(&t->queue, mail);
}

Mail *
transfer_finished(Transfer *t)
{
	return queue_pop(&t->finished);
}

const TransferSocket *
transfer_sockets(Transfer *t, int *count, uint32_t *generation)
{
	*count = t->sockets.count;
	*generation = t->sockets.generation;
	return t->sockets.list;
}

void
transfer_ready(Transfer *t, int fd, bool readable, bool writable)
{
	void	   *owner;

	if (!sockets_find(&t->sockets, fd, &owner))
		return;
	if (owner == NULL)
	{
		connector_ready(t->connector, fd, readable, writable);
		transfer_collect(t);
	}
	else
	{
		Session    *s = owner;

		smtp_ready(&s->smtp, transfer_now());
		session_settle(t, s);
	}
}

int64_t
transfer_deadline(Transfer *t)
{
	int64_t		deadline = t->deadline;
	int64_t		timer = connector_deadline(t->connector);

	if (t->stirred)
		return 0;
	if (timer >= 0 && (deadline < 0 || timer < deadline))
		deadline = timer;
	if (t->open_after > 0 && pool_has_place(t) &&
		transfer_unserved(t) > 0 && t->counts.connecting == 0 &&
		(deadline < 0 || t->open_after < deadline))
		deadline = t->open_after;
	return deadline;
}

void
transfer_limit(Transfer *t, int sessions)
{
	if (sessions < 0)
		sessions = 0;
	if (sessions > t->config->connections)
		sessions = t->config->connections;
	if (t->limit == sessions)
		return;					/* told often, and nothing is to be done */
	t->limit = sessions;
	t->stirred = true;
	pool_shrink(t, transfer_now());
}

void
transfer_recall(Transfer *t, bool stop)
{
	int64_t		now = transfer_now();
	int			i;

	t->stopped = true;			/* what sessions give back comes back */
	for (i = 0; i < t->config->connections; i++)
		if (t->sessions[i].up)
		{
			smtp_recall(&t->sessions[i].smtp, now);
			session_settle(t, &t->sessions[i]);
		}
	pool_return_queued(t);
	t->stopped = stop;
}

int
transfer_unanswered(const Transfer *t)
{
	int			unanswered = 0;
	int			i;

	for (i = 0; i < t->config->connections; i++)
		unanswered += t->sessions[i].up &&
			(t->sessions[i].smtp.state == SMTP_BODY ||
			 t->sessions[i].smtp.state == SMTP_DOT);
	return unanswered;
}

bool
transfer_give_up(Transfer *t, const Mail *mail)
{
	bool		stopped = t->stopped;
	bool		doubt = false;
	int			i;

	t->stopped = true;			/* what the session gives back comes back */
	for (i = 0; i < t->config->connections; i++)
	{
		Session    *s = &t->sessions[i];

		if (!s->up || s->smtp.mail != mail)
			continue;
		doubt = s->smtp.state == SMTP_DOT;
		smtp_give_up(&s->smtp, transfer_now());
		session_settle(t, s);
		break;
	}
	t->stopped = stopped;
	return doubt;
}

void
transfer_abort(Transfer *t)
{
	int64_t		now = transfer_now();
	int			i;

	t->stopped = true;
	for (i = 0; i < t->config->connections; i++)
	{
		Session    *s = &t->sessions[i];

		if (s->up)
		{
			smtp_abort(&s->smtp, now);
			session_settle(t, s);
		}
		else if (s->conn != NULL)
			session_drop(t, s);
	}
	pool_return_queued(t);
}

void
transfer_destroy(Transfer *t)
{
	int64_t		now = transfer_now();
	int			i;

	while (t->idle_list != NULL)
	{
		Session    *s = t->idle_list;

		smtp_quit(&s->smtp, now);
		session_settle(t, s);
	}
	transfer_abort(t);
	for (i = 0; i < t->config->connections; i++)
		smtp_free(&t->sessions[i].smtp);
	connector_destroy(t->connector);
	sockets_free(&t->sockets);
	free(t->sessions);
	free(t);
}

TransferCounts
transfer_counts(const Transfer *t)
{
	TransferCounts counts = t->counts;

	counts.busy = t->counts.sessions - t->idle;
	counts.queued = t->queue.count + t->fresh.count;
	counts.finished = t->finished.count;
	return counts;
}

const RelayHealth *
transfer_health(const Transfer *t)
{
	return &t->health;
}
