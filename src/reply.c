/*-------------------------------------------------------------------------
 *
 * reply.c
 *	  The reply parser: multi-line replies (RFC 5321 4.2.1), enhanced status
 *	  codes (RFC 2034, RFC 3463).
 *
 * What a relay says is untrusted and ends up in tables and logs.  Lines and
 * their number are bounded, text is cleaned as it is taken in, and a reply
 * may arrive in any pieces: the parser's state is the Reply alone.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "reply.h"
#include "unicode.h"

void
reply_reset(Reply *r)
{
	r->code = 0;
	memset(r->enhanced, 0, sizeof(r->enhanced));
	r->lines = 0;
	r->text_len = 0;
	r->line_len = 0;
	r->text[0] = '\0';
}

size_t
reply_clean(char *dst, size_t size, const char *src, size_t len)
{
	const unsigned char *s = (const unsigned char *) src;
	size_t		out = 0;
	size_t		i = 0;
	uint32_t	c;

	while (i < len && out + 1 < size)
	{
		size_t		n = 1;

		if (s[i] >= 0x20 && s[i] < 0x7f)
			dst[out++] = src[i];
		else if (s[i] < 0x80)
			dst[out++] = ' ';
		else if ((n = unicode_decode(s + i, len - i, &c)) == 0 ||
				 unicode_is_unfit(c))
		{
			dst[out++] = '?';
			n = n > 0 ? n : 1;
		}
		else if (out + n < size)
		{
			memcpy(dst + out, src + i, n);
			out += n;
		}
		else
			break;
		i += n;
	}
	while (out > 0 && dst[out - 1] == ' ')
		out--;
	dst[out] = '\0';
	return out;
}

/* One to three digits of an enhanced code, with no leading rubbish */
static size_t
reply_number(const char *s, size_t len, short *value)
{
	size_t		i = 0;

	*value = 0;
	while (i < len && i < 3 && s[i] >= '0' && s[i] <= '9')
		*value = (short) (*value * 10 + (s[i++] - '0'));
	return i;
}

/*
 * The length of "class.subject.detail" and the space behind it at the start
 * of a line's text, 0 if there is none.  The class must agree with the basic
 * code (RFC 2034 4).
 */
static size_t
reply_enhanced(int code, const char *s, size_t len, short *enhanced)
{
	size_t		i = 2;
	size_t		n;

	if (len < 5 || s[0] != '0' + code / 100 || s[0] == '3' || s[1] != '.')
		return 0;
	enhanced[0] = (short) (s[0] - '0');
	n = reply_number(s + i, len - i, &enhanced[1]);
	i += n;
	if (n == 0 || i >= len || s[i++] != '.')
		return 0;
	n = reply_number(s + i, len - i, &enhanced[2]);
	i += n;
	if (n == 0 || (i < len && s[i] != ' '))
		return 0;
	return i < len ? i + 1 : i;
}

static void
reply_add_text(Reply *r, const char *s, size_t len)
{
	short		enhanced[3];
	size_t		skip = reply_enhanced(r->code, s, len, enhanced);

	if (skip > 0 && r->enhanced[0] == 0)
		memcpy(r->enhanced, enhanced, sizeof(enhanced));
	s += skip;
	len -= skip;
	if (len == 0 || r->text_len + 2 >= sizeof(r->text))
		return;
	if (r->text_len > 0)
		r->text[r->text_len++] = ' ';
	r->text_len += reply_clean(r->text + r->text_len,
							   sizeof(r->text) - r->text_len, s, len);
}

/* What was heard, for the one who has to make sense of it */
static ReplyStatus
reply_bad(Reply *r, const char *line, size_t len)
{
	r->code = 0;
	memset(r->enhanced, 0, sizeof(r->enhanced));
	r->text_len = reply_clean(r->text, 128, line, len);
	return REPLY_BAD;
}

/* One line without its LF */
static ReplyStatus
reply_line(Reply *r, const char *s, size_t len)
{
	int			code;

	if (len > 0 && s[len - 1] == '\r')
		len--;
	if (len < 3 || s[0] < '2' || s[0] > '5' ||
		s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' ||
		(len > 3 && s[3] != ' ' && s[3] != '-') ||
		r->lines >= REPLY_LINES_MAX)
		return reply_bad(r, s, len);
	code = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	if (r->lines > 0 && code != r->code)
		return reply_bad(r, s, len);
	r->code = code;
	r->lines++;
	if (len > 4)
		reply_add_text(r, s + 4, len - 4);
	return len > 3 && s[3] == '-' ? REPLY_MORE : REPLY_DONE;
}

ReplyStatus
reply_feed(Reply *r, const char *data, size_t len, size_t *used)
{
	ReplyStatus status = REPLY_MORE;

	while (status == REPLY_MORE && *used < len)
	{
		const char *start = data + *used;
		const char *lf = memchr(start, '\n', len - *used);
		size_t		n = lf ? (size_t) (lf - start) : len - *used;

		if (r->line_len + n > REPLY_LINE_MAX)
			return reply_bad(r, r->line_len > 0 ? r->line : start,
							 r->line_len > 0 ? r->line_len : n);
		*used += lf ? n + 1 : n;
		if (lf != NULL && r->line_len == 0)
			status = reply_line(r, start, n);
		else
		{
			memcpy(r->line + r->line_len, start, n);
			r->line_len += n;
			if (lf == NULL)
				break;
			n = r->line_len;
			r->line_len = 0;
			status = reply_line(r, r->line, n);
		}
	}
	return status;
}

void
reply_format(const Reply *r, char *buf, size_t size)
{
	char		enhanced[16] = "";

	if (r->enhanced[0] != 0)
		snprintf(enhanced, sizeof(enhanced), " %d.%d.%d",
				 r->enhanced[0] % 10, r->enhanced[1] % 1000,
				 r->enhanced[2] % 1000);
	snprintf(buf, size, "%03d%s%s%s", r->code % 1000, enhanced,
			 r->text_len > 0 ? " " : "", r->text);
}
