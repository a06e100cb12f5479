/*-------------------------------------------------------------------------
 *
 * smtp_envelope.c
 *	  Envelope commands, and what is refused before a byte is written.
 *
 * Whatever goes between the angle brackets of MAIL and RCPT comes from
 * tables that users fill: an address that could end the command or start
 * another never gets onto the wire, whatever was checked before.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "smtp_private.h"

/*
 * May this stand in a path (RFC 5321 4.1.2)?  Not the whole grammar, only
 * what keeps the command one command: no control bytes; no spaces and
 * brackets outside a quoted string, which must be closed; and only ASCII
 * where SMTPUTF8 was not asked for (RFC 6531 3.4).
 */
static bool
smtp_path_is_safe(const char *path, bool utf8)
{
	bool		quoted = false;
	size_t		i;

	for (i = 0; path[i] != '\0'; i++)
	{
		unsigned char c = (unsigned char) path[i];

		if (i >= SMTP_PATH_MAX || c < 0x20 || c == 0x7f ||
			(c >= 0x80 && !utf8))
			return false;
		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted)
		{
			c = (unsigned char) path[++i];
			if (c < 0x20 || c >= 0x7f)
				return false;
		}
		else if (!quoted && (c == ' ' || c == '<' || c == '>'))
			return false;
	}
	return !quoted;
}

/* Does it end with the line of a single dot, wherever its last bytes lie? */
static bool
smtp_is_terminated(const Mail *mail)
{
	static const char dot[] = "\r\n.\r\n";
	size_t		left = mail->wire_len == 3 ? 3 : 5;
	int			i;

	for (i = mail->npieces - 1; i >= 0 && left > 0; i--)
	{
		const Piece *piece = &mail->pieces[i];
		size_t		n = piece->len < left ? piece->len : left;

		left -= n;
		if (memcmp(piece->data + piece->len - n,
				   dot + (mail->wire_len == 3 ? 2 : 0) + left, n) != 0)
			return false;
	}
	return left == 0;
}

/* Refused here, as a relay would refuse it */
static bool
smtp_refuse(Mail *mail, SmtpStage stage, int code, short subject,
			short detail, const char *text)
{
	Attempt    *a = &mail->attempt;

	a->stage = stage;
	a->end = END_LOCAL;
	a->code = code;
	a->enhanced[0] = 5;
	a->enhanced[1] = subject;
	a->enhanced[2] = detail;
	a->fresh = true;
	snprintf(a->text, sizeof(a->text), "%s", text);
	return false;
}

bool
smtp_accepts(const Smtp *s, Mail *mail)
{
	const Capabilities *caps = connect_capabilities(s->conn);
	char		text[128];

	if (!smtp_path_is_safe(mail->from, mail->smtputf8))
		return smtp_refuse(mail, STAGE_MAIL, 553, 1, 7,
						   "the envelope sender is not an address");
	if (mail->to[0] == '\0' || !smtp_path_is_safe(mail->to, mail->smtputf8))
		return smtp_refuse(mail, STAGE_RCPT, 553, 1, 3,
						   "the recipient is not an address");
	if (!smtp_is_terminated(mail))
		return smtp_refuse(mail, STAGE_BODY, 554, 6, 0,
						   "the message has no final dot line");
	if (mail->smtputf8 && !caps->smtputf8)
		return smtp_refuse(mail, STAGE_MAIL, 553, 6, 7,
						   "the relay does not take addresses that are not "
						   "ASCII (SMTPUTF8)");
	if (caps->size && caps->size_limit > 0 && mail->size > caps->size_limit)
	{
		snprintf(text, sizeof(text), "the message has %zu bytes, the relay "
				 "takes at most %llu", mail->size,
				 (unsigned long long) caps->size_limit);
		return smtp_refuse(mail, STAGE_MAIL, 552, 3, 4, text);
	}
	return true;
}

/* sprintf, and what it knows of padding, is too slow for every mail */
static char *
smtp_put(char *p, const char *s, size_t len)
{
	memcpy(p, s, len);
	return p + len;
}

static char *
smtp_put_number(char *p, size_t value)
{
	char		digits[24];
	size_t		n = sizeof(digits);

	do
		digits[--n] = (char) ('0' + value % 10);
	while ((value /= 10) > 0);
	return smtp_put(p, digits + n, sizeof(digits) - n);
}

size_t
smtp_format_mail(const Smtp *s, const Mail *mail, char *buf)
{
	char	   *p = buf;

	p = smtp_put(p, "MAIL FROM:<", 11);
	p = smtp_put(p, mail->from, strlen(mail->from));
	p = smtp_put(p, ">", 1);
	if (connect_capabilities(s->conn)->size)
	{
		p = smtp_put(p, " SIZE=", 6);
		p = smtp_put_number(p, mail->size);
	}
	if (mail->smtputf8)
		p = smtp_put(p, " SMTPUTF8", 9);
	p = smtp_put(p, "\r\n", 2);
	return (size_t) (p - buf);
}

size_t
smtp_format_rcpt(const Mail *mail, char *buf)
{
	char	   *p = buf;

	p = smtp_put(p, "RCPT TO:<", 9);
	p = smtp_put(p, mail->to, strlen(mail->to));
	p = smtp_put(p, ">\r\n", 3);
	return (size_t) (p - buf);
}
