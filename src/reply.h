/*-------------------------------------------------------------------------
 *
 * reply.h
 *	  SMTP replies (RFC 5321 4.2) out of a stream of bytes.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_REPLY_H
#define MAILMAN_REPLY_H

#include "outcome.h"

#define REPLY_LINE_MAX	2048	/* RFC 5321 4.5.3.1.5 says 512 */
#define REPLY_LINES_MAX 128

typedef enum ReplyStatus
{
	REPLY_MORE,					/* not complete yet */
	REPLY_DONE,
	REPLY_BAD					/* not SMTP; text says what was heard */
} ReplyStatus;

typedef struct Reply
{
	int			code;
	short		enhanced[3];
	int			lines;			/* heard so far */
	size_t		text_len;
	size_t		line_len;
	char		text[REPLY_TEXT_MAX];	/* cleaned, without the codes */
	char		line[REPLY_LINE_MAX];	/* an incomplete line */
} Reply;

/* Ready for the next reply. */
extern void reply_reset(Reply *reply);

/*
 * Take bytes from data[*used ..] up to the end of the reply or of the data;
 * *used is moved on.
 */
extern ReplyStatus reply_feed(Reply *reply, const char *data, size_t len,
							  size_t *used);

/*
 * Copy src as printable, valid UTF-8, never cutting a character: controls
 * become spaces; bytes that are not UTF-8, and characters that would change
 * what stands around them (unicode_is_unfit()), "?".  NUL-terminates; returns
 * the length.  size must be at least 1.
 */
extern size_t reply_clean(char *dst, size_t size, const char *src,
						  size_t len);

/* The reply as the relay gave it, on one line. */
extern void reply_format(const Reply *reply, char *buf, size_t size);

#endif							/* MAILMAN_REPLY_H */
