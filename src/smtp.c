/*-------------------------------------------------------------------------
 *
 * smtp.c
 *	  The dialogue of one session (RFC 5321 4.1.1).
 *
 * The state is the reply that is awaited.  With PIPELINING (RFC 2920) only
 * the writing runs ahead of it: MAIL, RCPT and DATA go out together, and the
 * next mail's behind a message, one round trip per mail; the replies still
 * come one by one and in order, so both ways of writing share one machine:
 *
 *	IDLE -> MAIL -> RCPT -> DATA -> BODY -> DOT -> (the rider's) MAIL | IDLE
 *	         |       |       |                |
 *	         +-------+-------+-- refused: swallow what was asked already,
 *	                             RSET if a transaction is open, go on
 *	any -> CLOSED on 421, disorder, a timeout, a closed connection
 *
 * Invariants: a mail leaves the session exactly once, by smtp_tell() or
 * smtp_return().  Only in SMTP_DOT can a mail be in doubt, and that state is
 * entered when libcurl took the last byte of the dot.  A lone dot is written
 * only if RCPT was refused, else it would deliver an empty message.  Bytes
 * once offered to libcurl are offered again from the same place until taken.
 * A reply has one deadline, from when it is due: from when its command was
 * taken whole or, as it was written ahead, the reply before it was complete.
 * What comes in meanwhile does not put it off.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp_private.h"

#define SMTP_READ_SIZE	8192
#define SMTP_QUIT_MS	2000

/* So much of a message is one block to data_timeout */
#define SMTP_BLOCK_SIZE	(256 * 1024)

/* ---- state ---- */

static int
smtp_timeout_ms(const Smtp *s)
{
	switch (s->state)
	{
		case SMTP_DATA:
		case SMTP_BODY:
			return s->config->data_timeout_ms;
		case SMTP_DOT:
		case SMTP_LONE_DOT:
			return s->config->dot_timeout_ms;
		case SMTP_QUIT:
			return SMTP_QUIT_MS;
		default:
			return s->config->reply_timeout_ms;
	}
}

/*
 * What is awaited is due now.  Not to be called because something has come in
 * or gone out: a relay that drips, or sips, would have time for ever.
 */
static void
smtp_arm(Smtp *s)
{
	if (s->state == SMTP_IDLE || s->state == SMTP_CLOSED)
		s->deadline = -1;
	else
		s->deadline = s->now + (int64_t) smtp_timeout_ms(s) * 1000;
}

/* This is the only way to change the state. */
void
smtp_set_state(Smtp *s, SmtpState state)
{
	s->state = state;
	if (state == SMTP_MAIL)
	{
		s->open = false;
		s->rcpt_ok = false;
	}
	smtp_arm(s);
}

static SmtpStage
smtp_stage(const Smtp *s)
{
	static const SmtpStage stages[] = {
		[SMTP_CLOSED] = STAGE_NONE,
		[SMTP_IDLE] = STAGE_NONE,
		[SMTP_RSET] = STAGE_RSET,
		[SMTP_MAIL] = STAGE_MAIL,
		[SMTP_RCPT] = STAGE_RCPT,
		[SMTP_DATA] = STAGE_DATA,
		[SMTP_BODY] = STAGE_BODY,
		[SMTP_DOT] = STAGE_DOT,
		[SMTP_LONE_DOT] = STAGE_DOT,
		[SMTP_QUIT] = STAGE_QUIT,
	};

	return stages[s->state];
}

/* ---- mails leave ---- */

void
smtp_hand_over(Smtp *s, Mail *mail)
{
	mail->judgement = outcome_judge(&mail->attempt);
	mail->finished_us = s->now;
	if (mail->judgement.scope == SCOPE_SESSION ||
		mail->judgement.scope == SCOPE_RELAY)
		s->used_up = true;
	s->calls->done(s->pool, s, mail);
}

/* The transaction's mail ended here and so. */
static void
smtp_tell(Smtp *s, AttemptEnd end, const char *text)
{
	Mail	   *mail = s->mail;
	Attempt    *a;
	size_t		len;

	if (mail == NULL)
		return;
	a = &mail->attempt;
	s->mail = NULL;
	a->stage = smtp_stage(s);
	a->end = end;
	a->fresh = s->carried == (s->open ? 1 : 0);
	a->repeated = mail->tries > 0;
	a->code = end == END_REPLY ? s->reply.code : 0;
	memset(a->enhanced, 0, sizeof(a->enhanced));
	if (end == END_REPLY)
	{
		memcpy(a->enhanced, s->reply.enhanced, sizeof(a->enhanced));
		text = s->reply.text;
	}
	len = strnlen(text, sizeof(a->text) - 1);
	memcpy(a->text, text, len);
	a->text[len] = '\0';
	smtp_hand_over(s, mail);
}

void
smtp_tell_reply(Smtp *s)
{
	smtp_tell(s, END_REPLY, NULL);
}

static void
smtp_return(Smtp *s, Mail **mail)
{
	Mail	   *m = *mail;

	*mail = NULL;
	if (m != NULL)
		s->calls->back(s->pool, s, m);
}

/* The session is over; what it holds is told or goes back. */
void
smtp_lost(Smtp *s, AttemptEnd end, const char *text)
{
	if (s->state == SMTP_RSET)
		smtp_return(s, &s->mail);	/* its envelope only rode along */
	smtp_tell(s, end, text);
	smtp_return(s, &s->rider);
	smtp_set_state(s, SMTP_CLOSED);
}

void
smtp_disorder(Smtp *s)
{
	smtp_lost(s, END_DISORDER, s->reply.text);
}

/* ---- writing ---- */

/*
 * Before anything is asked: has the relay said more than it was asked?  Then
 * nobody can tell any more which reply is whose, and it is all over.
 */
bool
smtp_talks_ahead(Smtp *s)
{
	if (s->out.len == 0 && !s->unread)
		return false;
	smtp_lost(s, END_DISORDER, "more replies than commands");
	return true;
}

/* Write one command, or several in s->commands, and await the reply. */
void
smtp_command(Smtp *s, size_t len, SmtpState state)
{
	if (smtp_talks_ahead(s))
		return;
	s->out.data = s->commands;
	s->out.len = len;
	smtp_set_state(s, state);
	smtp_flush(s);
}

void
smtp_command_text(Smtp *s, const char *command, SmtpState state)
{
	size_t		len = strlen(command);

	if (s->out.len == 0)
		memcpy(s->commands, command, len);
	smtp_command(s, len, state);
}

/*
 * n bytes were taken.  The reply to a command is due from when all of it was.
 * Of a message each block has its time, whatever pieces of it are taken, so
 * that its size bounds the whole (RFC 5321 4.5.3.2.5).
 */
static void
smtp_sent(Smtp *s, size_t n)
{
	size_t		blocks = s->until_dot / SMTP_BLOCK_SIZE;

	s->out.data += n;
	s->out.len -= n;
	if (s->out.len == 0)
		smtp_load(s);
	if (s->until_dot > n)
	{
		s->until_dot -= n;
		if (s->until_dot / SMTP_BLOCK_SIZE != blocks)
			smtp_arm(s);
	}
	else if (s->until_dot > 0)
	{
		s->until_dot = 0;
		smtp_set_state(s, SMTP_DOT);
	}
	else if (s->out.len == 0 && s->state != SMTP_DOT)
		smtp_arm(s);			/* not what rode behind the dot */
}

/* Write as much as the connection takes. */
void
smtp_flush(Smtp *s)
{
	s->blocked = false;
	while (s->out.len > 0 && !s->broken)
	{
		size_t		n;
		ConnectIO	io = connect_send(s->conn, s->out.data, s->out.len, &n);

		if (io == CONNECT_AGAIN)
		{
			s->blocked = true;
			return;
		}
		if (io == CONNECT_BROKEN)
		{
			s->broken = true;	/* smtp_settle() sees to it */
			return;
		}
		smtp_sent(s, n);
	}
}

/* ---- reading ---- */

static void
smtp_feed(Smtp *s, const char *data, size_t len)
{
	size_t		used = 0;

	while (used < len && s->state != SMTP_CLOSED)
	{
		switch (reply_feed(&s->reply, data, len, &used))
		{
			case REPLY_DONE:
				s->unread = used < len;
				smtp_handle_reply(s);
				s->unread = false;
				if (s->state != SMTP_CLOSED)
					reply_reset(&s->reply);
				break;
			case REPLY_BAD:
				smtp_disorder(s);
				break;
			case REPLY_MORE:
				break;
		}
	}
}

/*
 * Read until there is no more.  A short read is the end on a plain socket;
 * over TLS whole records may wait inside libcurl, unseen by poll().
 */
static void
smtp_receive(Smtp *s)
{
	char		buf[SMTP_READ_SIZE];
	char		error[128];
	size_t		n;

	while (s->state != SMTP_CLOSED)
	{
		switch (connect_recv(s->conn, buf, sizeof(buf), &n))
		{
			case CONNECT_AGAIN:
				return;
			case CONNECT_BROKEN:
				connect_error(s->conn, error, sizeof(error));
				smtp_lost(s, END_CLOSED, error);
				return;
			case CONNECT_OK:
				smtp_feed(s, buf, n);
				break;
		}
		if (n < sizeof(buf) && !s->broken && !connect_is_tls(s->conn))
			return;
	}
}

/* After every entry: a broken connection may still hold a last word. */
static void
smtp_settle(Smtp *s)
{
	if (!s->broken || s->state == SMTP_CLOSED)
		return;
	smtp_receive(s);
	if (s->state != SMTP_CLOSED)
		smtp_lost(s, END_CLOSED, "");
}

/* ---- entries ---- */

void
smtp_start(Smtp *s, Connection *conn, const SmtpPool *calls, void *pool,
		   const RelayConfig *config)
{
	char	   *joined = s->joined;

	memset(s, 0, offsetof(Smtp, commands));
	s->joined = joined;
	s->conn = conn;
	s->calls = calls;
	s->pool = pool;
	s->config = config;
	reply_reset(&s->reply);
	smtp_set_state(s, SMTP_IDLE);
}

void
smtp_begin(Smtp *s, int64_t now)
{
	s->now = now;
	if (s->state == SMTP_IDLE)
		smtp_next(s);
	smtp_settle(s);
}

void
smtp_ready(Smtp *s, int64_t now)
{
	s->now = now;
	smtp_receive(s);
	if (s->blocked && s->state != SMTP_CLOSED)
		smtp_flush(s);
	smtp_settle(s);
}

void
smtp_expire(Smtp *s, int64_t now)
{
	char		text[64];

	s->now = now;
	reply_reset(&s->reply);		/* half a reply does not count */
	snprintf(text, sizeof(text), "within %g s", smtp_timeout_ms(s) / 1000.0);
	smtp_lost(s, END_TIMEOUT, text);
}

void
smtp_recall(Smtp *s, int64_t now)
{
	s->now = now;
	smtp_return(s, &s->rider);
	if (s->state == SMTP_RSET || s->state == SMTP_MAIL ||
		s->state == SMTP_RCPT || s->state == SMTP_DATA)
	{
		/* the envelope behind RSET is still to be answered */
		if (s->state == SMTP_RSET && s->mail != NULL)
			s->ahead = true;
		smtp_return(s, &s->mail);
	}
}

void
smtp_quit(Smtp *s, int64_t now)
{
	s->now = now;
	if (s->state == SMTP_IDLE)
		smtp_command_text(s, "QUIT\r\n", SMTP_QUIT);
	smtp_settle(s);
}

void
smtp_retire(Smtp *s, int64_t now)
{
	s->used_up = true;
	smtp_return(s, &s->rider);
	smtp_quit(s, now);
}

/* What is not in doubt goes back. */
static void
smtp_leave(Smtp *s, int64_t now, AttemptEnd end)
{
	s->now = now;
	if (s->state != SMTP_DOT)
		smtp_return(s, &s->mail);
	smtp_lost(s, end, "");
}

void
smtp_give_up(Smtp *s, int64_t now)
{
	smtp_leave(s, now, END_TIMEOUT);
}

void
smtp_abort(Smtp *s, int64_t now)
{
	smtp_leave(s, now, END_CLOSED);
}

void
smtp_free(Smtp *s)
{
	free(s->joined);
	s->joined = NULL;
}
