/*-------------------------------------------------------------------------
 *
 * mime.h
 *	  What the files that write MIME share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_MIME_H
#define MAILMAN_MIME_H

#include "append.h"

/* Write "=XX" (RFC 2045 6.7, RFC 2047 4.2); returns its end */
static inline char *
mime_put_hex(char *to, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	to[0] = '=';
	to[1] = hex[c >> 4];
	to[2] = hex[c & 15];
	return to + 3;
}

/* Write len bytes in base64, padded (RFC 4648 4); returns its end */
extern char *mime_put_base64(char *to, const char *from, size_t len);

/*
 * Append bytes as base64 in lines of 76 (RFC 2045 6.8); false as
 * mime_text_part()
 */
extern bool mime_append_base64(Work *work, StringInfo out, const char *from,
							   size_t len);

/*
 * Append a text, whose lines end with LF, in quoted-printable (RFC 2045 6.7):
 * so many of its bytes have to be encoded, and it has so many lines
 */
extern bool mime_append_quoted(Work *work, StringInfo out, const char *body,
							   size_t len, size_t encode, size_t lines);

/* Content-Transfer-Encoding:, blank line and text, as mime_text_part() */
extern bool mime_text_body(Work *work, StringInfo out, const char *body,
						   size_t len);

/* Append lines dot-stuffed (RFC 5321 4.5.2) */
extern void mime_stuff(StringInfo out, const char *lines, size_t len);

/* Is there one that begins with a dot? */
extern bool mime_has_dot_line(const char *lines, size_t len);

/*
 * Copy a value with every run of control characters made one space.  The
 * caller frees it.
 */
extern char *mime_clean(const char *value, size_t *len);

/* Append "; name=value" on lines of their own, after RFC 2231 if need be */
extern void mime_append_parameter(StringInfo out, const char *name,
								  const char *value);

/* "Name: display <inside> CRLF"; inside is trusted, display may be NULL */
extern void mime_header_angle(StringInfo out, const char *name,
							  const char *display, const char *inside);

#endif							/* MAILMAN_MIME_H */
