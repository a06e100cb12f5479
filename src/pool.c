/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The sessions of one relay: what they take, what becomes of it.
 *
 * Here a mail's judgement meets the pool: a used-up session costs its mail
 * nothing but another try on a fresh one, and is replaced at once; a refused
 * connection is the relay's fault (one more among several: open later; the
 * only one: it is down).  After each call into a session session_settle()
 * brings the books in line: idle list, counts, socket interest, earliest
 * deadline.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define TRIES_MAX		3
#define OPEN_DELAY_MIN	1000	/* ms, of opening one more session */
#define OPEN_DELAY_MAX	60000
#define REFUSED_MAX		3		/* then used sessions get the fresh queue */

/* ---- queues ---- */

void
queue_append(MailQueue *q, Mail *mail)
{
	mail->next = NULL;
	if (q->tail != NULL)
		q->tail->next = mail;
	else
		q->head = mail;
	q->tail = mail;
	q->count++;
}

static void
queue_push(MailQueue *q, Mail *mail)
{
	mail->next = q->head;
	q->head = mail;
	if (q->tail == NULL)
		q->tail = mail;
	q->count++;
}

Mail *
queue_pop(MailQueue *q)
{
	Mail	   *mail = q->head;

	if (mail == NULL)
		return NULL;
	q->head = mail->next;
	if (q->head == NULL)
		q->tail = NULL;
	q->count--;
	mail->next = NULL;
	return mail;
}

static void
pool_return(Transfer *t, Mail *mail)
{
	memset(&mail->attempt, 0, offsetof(Attempt, text));
	mail->attempt.end = END_RETURNED;
	mail->attempt.text[0] = '\0';
	mail->judgement = outcome_judge(&mail->attempt);
	queue_append(&t->finished, mail);
}

void
pool_return_queued(Transfer *t)
{
	Mail	   *mail;

	while ((mail = queue_pop(&t->fresh)) != NULL)
		pool_return(t, mail);
	while ((mail = queue_pop(&t->queue)) != NULL)
		pool_return(t, mail);
}

/* ---- health ---- */

/*
 * A session begun at that time could not be made, or was refused its first
 * MAIL.  Sessions that were begun together are refused together: that counts
 * once.
 */
static void
pool_blame(Transfer *t, const Attempt *attempt, int others, int64_t began)
{
	RelayHealth *h = &t->health;
	Judgement	judgement = outcome_judge(attempt);
	int64_t		delay = OPEN_DELAY_MIN;
	int			i;

	h->last = *attempt;
	h->permanent = judgement.permanent;
	h->refused = judgement.refused;
	outcome_describe(attempt, h->description, sizeof(h->description));
	if (others == 0)
	{
		h->down = true;
		h->failures++;
		t->proven = false;
		t->refused = 0;
		t->open_after = 0;
		pool_return_queued(t);
		return;
	}
	t->level = others - t->counts.connecting;
	if (began <= t->refused_at)
		return;
	for (i = 0; i < t->refused && delay < OPEN_DELAY_MAX; i++)
		delay *= 2;
	if (delay > OPEN_DELAY_MAX)
		delay = OPEN_DELAY_MAX;
	delay = delay * (800 + rand_r(&t->seed) % 401) / 1000;
	t->refused++;
	t->refused_at = transfer_now();
	t->open_after = t->refused_at + delay * 1000;

	/* no fresh session to be had: better a used one than none */
	if (t->refused >= REFUSED_MAX)
	{
		Mail	   *mail;

		while ((mail = queue_pop(&t->fresh)) != NULL)
			queue_push(&t->queue, mail);
	}
}

/* ---- what sessions ask and tell ---- */

static Mail *
pool_take(void *context, Smtp *s, bool riding)
{
	Transfer   *t = context;
	Mail	   *mail = NULL;

	if (t->stopped)
		return NULL;
	if (s->carried == 0 && !riding)
		mail = queue_pop(&t->fresh);

	/*
	 * A mail that rides waits for the dot before it; the last ones of a queue
	 * had better go to whichever session is free first.
	 */
	if (mail == NULL &&
		!(riding &&
		  t->queue.count <= t->counts.sessions / TRANSFER_SPARE +
		  t->counts.connecting))
		mail = queue_pop(&t->queue);
	if (mail != NULL)
		t->counts.in_flight++;
	return mail;
}

static void
pool_back(void *context, Smtp *s, Mail *mail)
{
	Transfer   *t = context;

	(void) s;
	t->counts.in_flight--;
	if (t->stopped)
		pool_return(t, mail);
	else
		queue_push(&t->queue, mail);
	t->stirred = true;
}

static void
pool_works(void *context, Smtp *s)
{
	Transfer   *t = context;

	(void) s;
	if (t->proven)
		return;
	t->proven = true;
	t->stirred = true;
}

/*
 * A mail that met a used-up session tries a fresh one; one that met a bad
 * session beside good ones, those.
 */
static bool
pool_try_again(Transfer *t, Mail *mail)
{
	Scope		scope = mail->judgement.scope;

	if (scope != SCOPE_SESSION && (scope != SCOPE_RELAY || t->health.down))
		return false;
	if (mail->attempt.fresh && ++mail->tries >= TRIES_MAX)
		return false;
	if (t->stopped)
		pool_return(t, mail);
	else
		queue_push(scope == SCOPE_SESSION ? &t->fresh : &t->queue, mail);
	t->stirred = true;
	return true;
}

static void
pool_done(void *context, Smtp *s, Mail *mail)
{
	Transfer   *t = context;
	Judgement  *j = &mail->judgement;

	(void) s;
	t->counts.in_flight--;
	if (j->throttled)
	{
		t->counts.throttled++;
		outcome_describe(&mail->attempt, t->health.throttled,
						 sizeof(t->health.throttled));
	}
	if (j->scope == SCOPE_RELAY)
		pool_blame(t, &mail->attempt,
				   t->counts.sessions - 1 + t->counts.connecting,
				   transfer_now());
	else if (j->scope != SCOPE_SESSION && mail->attempt.end == END_REPLY)
		t->health.failures = 0;
	if (pool_try_again(t, mail))
		return;
	queue_append(&t->finished, mail);
	if (j->scope == SCOPE_LETTER && mail->attempt.end == END_REPLY)
	{
		/* all of them would be refused: ask before going on */
		t->stopped = true;
		pool_return_queued(t);
	}
}

static const SmtpPool pool_calls = {
	.take = pool_take,
	.done = pool_done,
	.back = pool_back,
	.works = pool_works,
};

/* ---- sessions ---- */

void
session_release(Transfer *t, Session *s)
{
	if (s->conn != NULL)
		connect_close(s->conn);
	s->conn = NULL;
	s->up = false;
	s->next = t->free_list;
	t->free_list = s;
	t->stirred = true;
}

void
session_leave_idle(Transfer *t, Session *s)
{
	Session   **link = &t->idle_list;

	if (!s->idle)
		return;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	s->idle = false;
	t->idle--;
}

void
session_retire(Transfer *t, Session *s, int64_t now)
{
	smtp_retire(&s->smtp, now);
	session_settle(t, s);
}

void
session_drop(Transfer *t, Session *s)
{
	t->counts.connecting--;
	session_release(t, s);
}

/* Bring the pool's books in line with what the session did. */
void
session_settle(Transfer *t, Session *s)
{
	int64_t		deadline = s->smtp.deadline;

	if (s->smtp.state == SMTP_CLOSED)
	{
		session_leave_idle(t, s);
		t->counts.sessions--;
		session_release(t, s);
		return;
	}
	if (s->smtp.state != SMTP_IDLE)
		session_leave_idle(t, s);
	else if (!s->idle)
	{
		s->idle = true;
		s->next = t->idle_list;
		t->idle_list = s;
		t->idle++;
	}
	if (s->writing != s->smtp.blocked)
	{
		s->writing = s->smtp.blocked;
		sockets_watch(&t->sockets, connect_socket(s->conn), true, s->writing,
					  s);
	}
	if (deadline >= 0 && (t->deadline < 0 || deadline < t->deadline))
		t->deadline = deadline;
}

bool
session_open(Transfer *t)
{
	Session    *s = t->free_list;
	Attempt		failure;

	s->conn = connect_open(t->connector, s, NULL, &failure);
	if (s->conn == NULL)
	{
		pool_blame(t, &failure,
				   t->counts.sessions + t->counts.connecting,
				   transfer_now());
		return false;
	}
	t->free_list = s->next;
	s->further = t->refused > 0 &&
		t->counts.sessions + t->counts.connecting >= t->level;
	s->began = transfer_now();
	s->connect_deadline = s->began +
		(int64_t) t->config->connect_timeout_ms * 1000;
	if (t->deadline < 0 || s->connect_deadline < t->deadline)
		t->deadline = s->connect_deadline;
	t->counts.connecting++;
	return true;
}

void
session_failed(Transfer *t, Session *s, const Attempt *failure)
{
	bool		outdated = failure->stage == STAGE_AUTH &&
		connect_is_outdated(s->conn);

	session_drop(t, s);
	if (outdated)
		return;					/* the next one has a newer password */
	pool_blame(t, failure,
			   t->counts.sessions + t->counts.connecting, s->began);
}

void
session_came_up(Transfer *t, Session *s)
{
	int64_t		now = transfer_now();

	t->counts.connecting--;
	t->counts.sessions++;
	t->counts.opened++;
	t->health.down = false;
	t->health.permanent = false;
	t->health.refused = false;
	if (t->level < t->counts.sessions)
		t->level = t->counts.sessions;
	if (s->further && s->began > t->refused_at)
	{
		t->refused = 0;
		t->open_after = 0;
	}
	s->up = true;
	s->writing = false;
	smtp_start(&s->smtp, s->conn, &pool_calls, t, t->config);
	smtp_ready(&s->smtp, now);
	smtp_begin(&s->smtp, now);
	session_settle(t, s);
}

/* ---- how many ---- */

bool
pool_has_place(const Transfer *t)
{
	return t->counts.sessions + t->counts.connecting < t->limit;
}

bool
session_is_leaving(const Session *s)
{
	return s->up && (s->smtp.used_up || s->smtp.state == SMTP_QUIT);
}

int
pool_leaving(const Transfer *t)
{
	int			leaving = 0;
	int			i;

	for (i = 0; i < t->config->connections; i++)
		leaving += session_is_leaving(&t->sessions[i]);
	return leaving;
}

/* Those that would be missed least go first. */
void
pool_shrink(Transfer *t, int64_t now)
{
	int			surplus = t->counts.sessions + t->counts.connecting -
		t->limit - pool_leaving(t);
	int			i;

	for (i = 0; i < t->config->connections && surplus > 0; i++)
		if (t->sessions[i].conn != NULL && !t->sessions[i].up)
		{
			session_drop(t, &t->sessions[i]);
			surplus--;
		}
	for (; t->idle_list != NULL && surplus > 0; surplus--)
		session_retire(t, t->idle_list, now);
	for (i = 0; i < t->config->connections && surplus > 0; i++)
		if (t->sessions[i].up && !session_is_leaving(&t->sessions[i]))
		{
			session_retire(t, &t->sessions[i], now);
			surplus--;
		}
}
