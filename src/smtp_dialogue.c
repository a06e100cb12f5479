/*-------------------------------------------------------------------------
 *
 * smtp_dialogue.c
 *	  What is said next, given what was answered (RFC 5321 4.1.1, 2920).
 *
 * One function for each reply that can be awaited.  smtp.c tells the states,
 * their order and what must hold; here are the refusals: a mail that is
 * refused is told at once, and the session goes on without it, swallowing the
 * replies to what was written ahead.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "smtp_private.h"

/* ---- beginning a mail ---- */

/* The next mail this session can carry, or NULL */
static Mail *
smtp_take(Smtp *s, bool riding)
{
	Mail	   *mail;

	while (!s->used_up && !s->broken &&
		   (s->config->messages <= 0 || s->begun < s->config->messages) &&
		   (mail = s->calls->take(s->pool, s, riding)) != NULL)
	{
		mail->started_us = s->now;
		if (smtp_accepts(s, mail))
		{
			s->begun++;
			return mail;
		}
		smtp_hand_over(s, mail);
	}
	return NULL;
}

/* Put the envelope at buf: all of it, or in lock-step MAIL alone. */
static size_t
smtp_format_envelope(Smtp *s, const Mail *mail, char *buf)
{
	size_t		len = smtp_format_mail(s, mail, buf);

	s->sent_all = connect_capabilities(s->conn)->pipelining;
	if (s->sent_all)
	{
		len += smtp_format_rcpt(mail, buf + len);
		memcpy(buf + len, "DATA\r\n", 6);
		len += 6;
	}
	return len;
}

/* The last transaction is over and all its replies are in: what now? */
void
smtp_next(Smtp *s)
{
	bool		reset = s->open;
	bool		pipelining = connect_capabilities(s->conn)->pipelining;
	size_t		len = 0;

	/* it would be taken for the next mail's reply */
	if (smtp_talks_ahead(s))
		return;
	s->open = false;
	if (!reset || pipelining)
		s->mail = smtp_take(s, false);
	if (s->used_up || (s->mail == NULL && s->config->messages > 0 &&
					   s->begun >= s->config->messages))
		smtp_command_text(s, "QUIT\r\n", SMTP_QUIT);
	else if (s->mail == NULL && !reset)
		smtp_set_state(s, SMTP_IDLE);
	else
	{
		if (reset)
		{
			memcpy(s->commands, "RSET\r\n", 6);
			len = 6;
		}
		if (s->mail != NULL)
			len += smtp_format_envelope(s, s->mail, s->commands + len);
		smtp_command(s, len, reset ? SMTP_RSET : SMTP_MAIL);
	}
}

/* 354: the message, its dot, and if there is plenty the next envelope */
static void
smtp_send_message(Smtp *s)
{
	size_t		len = 0;

	/* it would be taken for the reply to the dot */
	if (smtp_talks_ahead(s))
		return;
	if (s->sent_all)
		s->rider = smtp_take(s, true);
	s->ahead = s->rider != NULL;
	if (s->ahead)
		len = smtp_format_envelope(s, s->rider, s->commands);
	smtp_set_state(s, SMTP_BODY);
	smtp_write_message(s, s->mail, len);
}

/* ---- replies ---- */

static void
smtp_reply_rset(Smtp *s)
{
	if (s->reply.code / 100 != 2)
		smtp_disorder(s);
	else if (s->mail != NULL || s->ahead)
	{
		s->ahead = false;
		smtp_set_state(s, SMTP_MAIL);
	}
	else
		smtp_next(s);
}

static void
smtp_reply_mail(Smtp *s)
{
	if (s->reply.code / 100 == 2)
	{
		s->open = true;
		s->carried++;
		s->calls->works(s->pool, s);
	}
	else
		smtp_tell_reply(s);

	if (s->sent_all)
		smtp_set_state(s, SMTP_RCPT);
	else if (s->mail == NULL)
		smtp_next(s);
	else
		smtp_command(s, smtp_format_rcpt(s->mail, s->commands), SMTP_RCPT);
}

static void
smtp_reply_rcpt(Smtp *s)
{
	if (s->reply.code / 100 == 2)
		s->rcpt_ok = true;
	else
		smtp_tell_reply(s);

	if (s->sent_all)
		smtp_set_state(s, SMTP_DATA);
	else if (s->mail == NULL)
		smtp_next(s);
	else
		smtp_command_text(s, "DATA\r\n", SMTP_DATA);
}

static void
smtp_reply_data(Smtp *s)
{
	if (s->reply.code / 100 != 3)
	{
		smtp_tell_reply(s);
		smtp_next(s);
	}
	else if (s->mail != NULL)
		smtp_send_message(s);
	else if (!s->rcpt_ok)
		smtp_command_text(s, ".\r\n", SMTP_LONE_DOT);
	else
		smtp_lost(s, END_CLOSED, "");	/* recalled: nothing to send */
}

/* Refused or not, the transaction is over (RFC 5321 4.1.1.4). */
static void
smtp_reply_dot(Smtp *s)
{
	smtp_tell_reply(s);
	s->open = false;
	if (!s->ahead)
		smtp_next(s);
	else
	{
		s->ahead = false;
		s->mail = s->rider;
		s->rider = NULL;
		smtp_set_state(s, SMTP_MAIL);
	}
}

/* What may answer what: RFC 5321 4.3.2 */
static bool
smtp_reply_fits(const Smtp *s)
{
	int			class = s->reply.code / 100;

	switch (s->state)
	{
		case SMTP_IDLE:
		case SMTP_BODY:
			return false;
		case SMTP_DATA:
			return class >= 3;
		default:
			return class != 3;
	}
}

void
smtp_handle_reply(Smtp *s)
{
	if (s->state == SMTP_BODY && s->reply.code / 100 > 3)
		smtp_lost(s, END_REPLY, NULL);	/* refused before the dot */
	else if (s->reply.code == 421 && s->state != SMTP_RSET)
		smtp_lost(s, END_REPLY, NULL);
	else if (!smtp_reply_fits(s))
		smtp_disorder(s);
	else if (s->state == SMTP_RSET)
		smtp_reply_rset(s);
	else if (s->state == SMTP_MAIL)
		smtp_reply_mail(s);
	else if (s->state == SMTP_RCPT)
		smtp_reply_rcpt(s);
	else if (s->state == SMTP_DATA)
		smtp_reply_data(s);
	else if (s->state == SMTP_QUIT)
		smtp_set_state(s, SMTP_CLOSED);
	else
		smtp_reply_dot(s);
}
