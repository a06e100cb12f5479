/*-------------------------------------------------------------------------
 *
 * smtp_write.c
 *	  What of a message goes out in one write.
 *
 * A message comes in pieces.  Small ones are copied together, with the next
 * envelope if one rides behind: body, dot and envelope of a usual mail are one
 * write, and one round trip.  A large one, an attachment that all mails of a
 * letter have in common, is never copied.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "smtp_private.h"

/*
 * So much can be copied together to save a write.  What is larger goes out
 * from where it lies.
 */
#define SMTP_JOIN_MAX	65536

/* Copy the next so many pieces together, perhaps with the envelope */
static bool
smtp_join(Smtp *s, int count, size_t envelope)
{
	size_t		len = 0;
	int			i;

	if (s->joined == NULL)
		s->joined = malloc(SMTP_JOIN_MAX);
	if (s->joined == NULL)
		return false;
	for (i = 0; i < count; i++)
	{
		memcpy(s->joined + len, s->pieces[i].data, s->pieces[i].len);
		len += s->pieces[i].len;
	}
	memcpy(s->joined + len, s->commands, envelope);
	s->out.data = s->joined;
	s->out.len = len + envelope;
	s->pieces += count;
	s->npieces -= count;
	s->envelope -= envelope;
	return true;
}

/* What comes first, as it lies */
static void
smtp_take_piece(Smtp *s)
{
	if (s->npieces > 0)
	{
		s->out = *s->pieces++;
		s->npieces--;
	}
	else
	{
		s->out.data = s->commands;
		s->out.len = s->envelope;
		s->envelope = 0;
	}
}

/* see smtp_private.h */
void
smtp_load(Smtp *s)
{
	while (s->out.len == 0 && (s->npieces > 0 || s->envelope > 0))
	{
		size_t		len = 0;
		size_t		envelope = 0;
		int			count = 0;

		while (count < s->npieces &&
			   len + s->pieces[count].len <= SMTP_JOIN_MAX)
			len += s->pieces[count++].len;
		if (count == s->npieces && len + s->envelope <= SMTP_JOIN_MAX)
			envelope = s->envelope;
		if (count + (envelope > 0) < 2 || !smtp_join(s, count, envelope))
			smtp_take_piece(s);
	}
}

/* see smtp_private.h */
void
smtp_write_message(Smtp *s, const Mail *mail, size_t envelope)
{
	s->pieces = mail->pieces;
	s->npieces = mail->npieces;
	s->envelope = envelope;
	s->until_dot = mail->wire_len;
	smtp_load(s);
	smtp_flush(s);
}
