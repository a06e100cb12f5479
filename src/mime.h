/*-------------------------------------------------------------------------
 *
 * mime.h
 *	  What mime_header.c and mime_body.c share: the encodings of bytes.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_MIME_H
#define MAILMAN_MIME_H

#include "pure.h"

/* Make room; what is beyond the limits of a StringInfo must not wrap round */
static inline void
mime_reserve(StringInfo out, size_t size)
{
	enlargeStringInfo(out, (int) Min(size, PG_INT32_MAX));
}

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

#endif							/* MAILMAN_MIME_H */
