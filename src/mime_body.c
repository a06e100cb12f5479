/*-------------------------------------------------------------------------
 *
 * mime_body.c
 *	  Text parts in 7 bits (RFC 2045), and messages as the wire carries them.
 *
 * A body never depends on what a relay offers (8BITMIME): every attempt must
 * send the same bytes.  And it must arrive as it was written, through any
 * gateway.  So a body goes out untouched only if there is nothing in it that
 * a relay, a mailbox or a gateway is known to change:
 *
 *	- a byte that is not printable ASCII or a tab
 *	- a line over 76 octets, which may be wrapped
 *	- white space at the end of a line, which may be dropped
 *	- a line that begins with ".", which some relays stuff twice or never
 *	  (RFC 5321 4.5.2)
 *	- a line that begins with "From ", which an mbox turns into ">From "
 *	- a line that begins like one of our boundaries, "--=_"
 *
 * All else is encoded: quoted-printable while that is shorter, else base64.
 * Both, too, yield no line with any of these, which is why no boundary can
 * occur in a body.
 *
 * Inside, lines end with LF alone; CRLF is written with the encoding.  What a
 * body costs is the bytes that matter in it, which mime_scan.h finds: the ends
 * of lines, and what does not stand for itself.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"
#include "mime_scan.h"

#define LINE_GOOD		76		/* RFC 2045 6.8 */
#define BASE64_INPUT	57		/* makes a line of 76 */

typedef enum Encoding
{
	ENCODING_7BIT,
	ENCODING_QUOTED_PRINTABLE,
	ENCODING_BASE64
} Encoding;

/* What decides on the encoding of a body */
typedef struct BodyTraits
{
	size_t		lines;
	size_t		encode;			/* bytes quoted-printable has to encode */
	bool		fragile;		/* not safe as it is */
} BodyTraits;

/* A loop has come to s, and counted at *ticked; what is spent shows later */
static inline void
body_tick(Work *work, const char **ticked, const char *s)
{
	if (s - *ticked < WORK_SLICE)
		return;
	(void) work_bytes(work, s - *ticked);
	*ticked = s;
}

/* Make CRLF and bare CR a LF; returns a copy the caller frees */
static char *
body_normalise(const char *body, size_t *len)
{
	const char *end = body + *len;
	const char *cr;
	char	   *copy = palloc(*len + 1);
	char	   *to = copy;

	while ((cr = memchr(body, '\r', end - body)) != NULL)
	{
		memcpy(to, body, cr - body);
		to += cr - body;
		*to++ = '\n';
		body = cr + 1;
		if (body < end && *body == '\n')
			body++;
	}
	memcpy(to, body, end - body);
	to += end - body;
	*len = to - copy;
	return copy;
}

/* A line of the text ends here */
static inline void
traits_add_line(BodyTraits *traits, const char *line, const char *end)
{
	traits->lines++;
	if (end > line &&
		(end - line > LINE_GOOD || is_blank(end[-1]) ||
		 begins_badly(line, end) ||
		 (end - line >= 4 && memcmp(line, "--=_", 4) == 0)))
		traits->fragile = true;
}

/* A body that is looked at */
typedef struct Inspection
{
	BodyTraits	traits;
	const char *line;			/* where the line we are in begins */
	size_t		weight;
	size_t		equals;
} Inspection;

/* Look at some of it; false if there is a CR in it */
static inline bool
inspect_slice(Inspection *in, const char *body, const char *end)
{
	size_t		weight = 0;
	size_t		equals = 0;

	while (body < end)
	{
		uint8		class = byte_class[(unsigned char) *body];

		if (class == 0)
		{
			body = literals_end(body + 1, end);
			continue;
		}
		if (*body == '\r')
			return false;
		if (*body == '\n')
		{
			traits_add_line(&in->traits, in->line, body);
			in->line = body + 1;
		}
		else
		{
			weight += class;
			equals += class & 1;
		}
		body++;
	}
	in->weight += weight;
	in->equals += equals;
	return true;
}

/*
 * Look at a body once.  False if there is a CR in it: then it is to be
 * normalised before.
 */
static bool
body_inspect(Work *work, BodyTraits *traits, const char *body, size_t len)
{
	Inspection	in = {.line = body};
	const char *end = body + len;

	while (body < end)
	{
		const char *stop = body_slice(body, end);

		if (!inspect_slice(&in, body, stop))
			return false;
		(void) work_bytes(work, stop - body);
		body = stop;
	}
	if (in.line < end)
		traits_add_line(&in.traits, in.line, end);
	*traits = in.traits;
	traits->encode = in.equals + (in.weight - in.equals) / 2;
	if (traits->encode > in.equals)
		traits->fragile = true;
	return true;
}

/* Quoted-printable adds two octets a byte it encodes, base64 a third */
static Encoding
body_encoding(const BodyTraits *traits, size_t len)
{
	if (!traits->fragile)
		return ENCODING_7BIT;
	return traits->encode * 6 <= len ? ENCODING_QUOTED_PRINTABLE :
		ENCODING_BASE64;
}

/* How long a text is with CRLF at the end of each line, the last one, too */
static size_t
body_crlf_length(const char *body, size_t len, size_t lines)
{
	return len + lines + (len > 0 && body[len - 1] != '\n');
}

/* Append lines that end with LF, or not at all, with CRLF */
static bool
body_append_crlf(Work *work, StringInfo out, const char *body, size_t len,
				 size_t lines)
{
	const char *end = body + len;
	const char *ticked = body;
	size_t		size = body_crlf_length(body, len, lines);
	char	   *to;

	if (size > work->room)
		return !(work->full = true);
	append_reserve(out, size);
	to = out->data + out->len;
	while (body < end)
	{
		const char *stop = line_end(body, end);

		memcpy(to, body, stop - body);
		to += stop - body;
		*to++ = '\r';
		*to++ = '\n';
		body = stop + 1;
		body_tick(work, &ticked, body);
	}
	out->len = (int) (to - out->data);
	out->data[out->len] = '\0';
	return !work->spent;
}

/* see mime.h */
char *
mime_put_base64(char *to, const char *from, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *) from;

	for (; len >= 3; len -= 3, s += 3, to += 4)
	{
		uint32		bits = (uint32) s[0] << 16 | s[1] << 8 | s[2];

		to[0] = digits[bits >> 18];
		to[1] = digits[bits >> 12 & 63];
		to[2] = digits[bits >> 6 & 63];
		to[3] = digits[bits & 63];
	}
	if (len > 0)
	{
		uint32		bits = (uint32) s[0] << 16 | (len > 1 ? s[1] << 8 : 0);

		to[0] = digits[bits >> 18];
		to[1] = digits[bits >> 12 & 63];
		to[2] = len > 1 ? digits[bits >> 6 & 63] : '=';
		to[3] = '=';
		to += 4;
	}
	return to;
}

/* see mime.h */
bool
mime_append_base64(Work *work, StringInfo out, const char *from, size_t len)
{
	const char *end = from + len;
	const char *ticked = from;
	size_t		room = (len / BASE64_INPUT + 1) * (LINE_GOOD + 2);
	char	   *to;

	if (room - (LINE_GOOD + 2) > work->room)
		return !(work->full = true);
	append_reserve(out, room);
	to = out->data + out->len;
	while (from < end)
	{
		size_t		n = Min(end - from, BASE64_INPUT);

		to = mime_put_base64(to, from, n);
		*to++ = '\r';
		*to++ = '\n';
		from += n;
		body_tick(work, &ticked, from);
	}
	Assert(to - out->data < out->maxlen);
	out->len = (int) (to - out->data);
	out->data[out->len] = '\0';
	return !work->spent;
}

/* Append a body in base64; line ends inside of it are CRLF, too */
static bool
body_append_base64(Work *work, StringInfo out, const char *body, size_t len,
				   size_t lines)
{
	StringInfoData crlf;
	bool		good;

	initStringInfo(&crlf);
	good = body_append_crlf(work, &crlf, body, len, lines) &&
		mime_append_base64(work, out, crlf.data, crlf.len);
	pfree(crlf.data);
	return good;
}

/* Append a body that was looked at */
static bool
body_append(Work *work, StringInfo out, Encoding encoding, const char *body,
			size_t len, const BodyTraits *traits)
{
	switch (encoding)
	{
		case ENCODING_7BIT:
			return body_append_crlf(work, out, body, len, traits->lines);
		case ENCODING_QUOTED_PRINTABLE:
			return mime_append_quoted(work, out, body, len, traits->encode,
									  traits->lines);
		case ENCODING_BASE64:
			return body_append_base64(work, out, body, len, traits->lines);
	}
	return false;
}

/* see mime.h */
bool
mime_text_body(Work *work, StringInfo out, const char *body, size_t len)
{
	static const char *const names[] = {"7bit", "quoted-printable", "base64"};
	char	   *copy = NULL;
	BodyTraits	traits;
	Encoding	encoding;
	bool		good;

	if (!body_inspect(work, &traits, body, len))
	{
		body = copy = body_normalise(body, &len);
		(void) body_inspect(work, &traits, body, len);
	}
	encoding = body_encoding(&traits, len);
	append_literal(out, "Content-Transfer-Encoding: ");
	append_string(out, names[encoding]);
	append_literal(out, "\r\n\r\n");
	good = body_append(work, out, encoding, body, len, &traits);
	if (copy)
		pfree(copy);
	return good;
}

/* see pure.h */
bool
mime_text_part(Work *work, StringInfo out, const char *subtype,
			   const char *body, size_t len)
{
	Work		own;

	append_literal(out, "Content-Type: text/");
	append_string(out, subtype);
	append_literal(out, "; charset=utf-8\r\n");
	return mime_text_body(work_given(work, &own), out, body, len);
}

/* The first dot at the beginning of a line; end if there is none */
static inline const char *
first_dot(const char *lines, const char *end)
{
	if (lines == end || *lines == '.')
		return lines;
	return leading_dot(lines + 1, end);
}

/* see mime.h */
bool
mime_has_dot_line(const char *lines, size_t len)
{
	return first_dot(lines, lines + len) < lines + len;
}

/*
 * see mime.h
 *
 * Text parts of ours have no line to stuff, so nearly always this is one
 * search and one copy.
 */
void
mime_stuff(StringInfo out, const char *lines, size_t len)
{
	const char *end = lines + len;
	const char *run = lines;
	const char *dot = first_dot(lines, end);

	while (dot < end)
	{
		append_bytes(out, run, (int) (dot - run));
		append_literal(out, ".");
		run = dot;
		dot = leading_dot(dot + 1, end);
	}
	append_bytes(out, run, (int) (end - run));
}

/* see pure.h */
void
mime_wire(StringInfo out, const char *message, size_t len)
{
	const char *end = message + len;

	append_reserve(out, len + MIME_WIRE_MORE - 1);
	mime_stuff(out, message, len);
	if (len > 0 && (len < 2 || memcmp(end - 2, "\r\n", 2) != 0))
		append_literal(out, "\r\n");
	append_literal(out, ".\r\n");
}
