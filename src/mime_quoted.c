/*-------------------------------------------------------------------------
 *
 * mime_quoted.c
 *	  Quoted-printable (RFC 2045 6.7) for texts; mime_body.c says what must not
 *	  stand in a line.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"
#include "mime_scan.h"

#define LINE_GOOD	76			/* 6.7 (5) */

/*
 * Quoted-printable on its way out (RFC 2045 6.7).  A line has room for 75
 * octets and the "=" of a soft break; the last one of a line of the text needs
 * no such break.
 */
typedef struct QuotedPrintable
{
	char	   *to;
	char	   *line;			/* of output, where it begins */
	const char *end;			/* of the text */
} QuotedPrintable;

/* Does a line of the text end at p? */
static inline bool
qp_at_end(const QuotedPrintable *qp, const char *p)
{
	return p == qp->end || *p == '\n';
}

/* Is there room for so many octets, if the text goes on at next? */
static inline bool
qp_fits(const QuotedPrintable *qp, ptrdiff_t size, const char *next)
{
	ptrdiff_t	column = qp->to - qp->line + size;

	return column < LINE_GOOD ||
		(column == LINE_GOOD && qp_at_end(qp, next));
}

static inline void
qp_soft_break(QuotedPrintable *qp)
{
	memcpy(qp->to, "=\r\n", 3);
	qp->line = qp->to += 3;
}

static inline void
qp_line_break(QuotedPrintable *qp)
{
	memcpy(qp->to, "\r\n", 2);
	qp->line = qp->to += 2;
}

static inline void
qp_encode(QuotedPrintable *qp, const char *p)
{
	if (!qp_fits(qp, 3, p + 1))
		qp_soft_break(qp);
	qp->to = mime_put_hex(qp->to, (unsigned char) *p);
}

/*
 * Where, up to an end, ends what stands for itself?  A blank does not at the
 * end of a line.
 */
static inline const char *
qp_literals_end(const QuotedPrintable *qp, const char *p, const char *end)
{
	const char *stop = p;

	if (byte_class[(unsigned char) *p] == 0)
		stop = literals_end(p + 1, end);
	if (stop > p && is_blank(stop[-1]) && qp_at_end(qp, stop))
		stop--;
	return stop;
}

/* Write what stands for itself, but perhaps not at the beginning of a line */
static inline void
qp_literals(QuotedPrintable *qp, const char *p, const char *stop)
{
	while (p < stop)
	{
		size_t		n = stop - p;

		if (qp->to == qp->line && begins_badly(p, qp->end))
		{
			qp_encode(qp, p++);
			continue;
		}
		if (!qp_fits(qp, n, stop))
			n = LINE_GOOD - 1 - (qp->to - qp->line);
		memcpy(qp->to, p, n);
		qp->to += n;
		p += n;
		if (p < stop)
			qp_soft_break(qp);
	}
}

/*
 * Write a text up to stop.  Whether it is cut there makes no difference: it is
 * looked beyond for the end of a line.
 */
static void
qp_text(QuotedPrintable *state, const char *p, const char *stop)
{
	QuotedPrintable qp = *state;

	while (p < stop)
	{
		const char *literals = qp_literals_end(&qp, p, stop);

		qp_literals(&qp, p, literals);
		if (literals == stop)
			break;
		if (*literals == '\n')
			qp_line_break(&qp);
		else
			qp_encode(&qp, literals);
		p = literals + 1;
	}
	*state = qp;
}

/*
 * The most that quoted-printable makes of a text: each line may add a CR and
 * encode its first and its last character beyond what was counted; each soft
 * break takes 3 octets, encodes perhaps the one after it, and comes at the
 * earliest after 70.
 */
static size_t
qp_room(size_t len, size_t encode, size_t lines)
{
	size_t		room = len + 2 * encode + 6 * lines;

	return room + (room / 70 + 1) * 5;
}

/*
 * see mime.h
 *
 * A long one is written slice by slice, as
 * the room for the worst case may be many times what it takes.
 */
bool
mime_append_quoted(Work *work, StringInfo out, const char *body, size_t len,
				   size_t encode, size_t lines)
{
	const char *end = body + len;
	size_t		start = out->len;
	ptrdiff_t	column = 0;
	QuotedPrintable qp = {.end = end};

	do
	{
		size_t		n = body_slice(body, end) - body;
		size_t		room = n < len ? qp_room(n, n, 1) :
			qp_room(len, encode, lines);

		append_reserve(out, room);
		qp.to = out->data + out->len;
		qp.line = qp.to - column;
		qp_text(&qp, body, body + n);
		body += n;
		if (body == end && qp.to > qp.line)
			qp_line_break(&qp);
		column = qp.to - qp.line;
		Assert(qp.to - out->data < out->maxlen);
		out->len = (int) (qp.to - out->data);
		out->data[out->len] = '\0';
		work->full |= out->len - start > work->room;
		if (work->full || !work_bytes(work, n))
			return false;
	} while (body < end);
	return true;
}
