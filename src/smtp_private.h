/*-------------------------------------------------------------------------
 *
 * smtp_private.h
 *	  What smtp.c, smtp_write.c, smtp_dialogue.c and smtp_envelope.c share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_SMTP_PRIVATE_H
#define MAILMAN_SMTP_PRIVATE_H

#include "smtp.h"

/* ---- smtp.c ---- */

/* The only way to change the state; arms the deadline. */
extern void smtp_set_state(Smtp *s, SmtpState state);

/* Judge the mail, whose attempt is filled in, and give it to the pool. */
extern void smtp_hand_over(Smtp *s, Mail *mail);

/* The transaction's mail ended with the reply just heard. */
extern void smtp_tell_reply(Smtp *s);

/* The session is over; what it holds is told or goes back. */
extern void smtp_lost(Smtp *s, AttemptEnd end, const char *text);
extern void smtp_disorder(Smtp *s);

/* Write as much as the connection takes. */
extern void smtp_flush(Smtp *s);

/* Write what stands in s->commands, or the text, and await the reply. */
extern bool smtp_talks_ahead(Smtp *s);
extern void smtp_command(Smtp *s, size_t len, SmtpState state);
extern void smtp_command_text(Smtp *s, const char *command, SmtpState state);

/* ---- smtp_write.c ---- */

/*
 * All that was offered is sent: on with as much as goes in one write.  What is
 * offered stays where it is until it is sent, as libcurl wants it.
 */
extern void smtp_load(Smtp *s);

/*
 * Write a message, and behind it so many bytes of s->commands.  All of it
 * stays where it is until sent.
 */
extern void smtp_write_message(Smtp *s, const Mail *mail, size_t envelope);

/* ---- smtp_dialogue.c ---- */

/* The last transaction is over and all its replies are in: what now? */
extern void smtp_next(Smtp *s);

extern void smtp_handle_reply(Smtp *s);

/* ---- smtp_envelope.c ---- */

/* Can the relay take this mail?  If not, the reason goes to mail->attempt. */
extern bool smtp_accepts(const Smtp *s, Mail *mail);

/* Write the commands; return their length. */
extern size_t smtp_format_mail(const Smtp *s, const Mail *mail, char *buf);
extern size_t smtp_format_rcpt(const Mail *mail, char *buf);

#endif							/* MAILMAN_SMTP_PRIVATE_H */
