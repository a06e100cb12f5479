/*-------------------------------------------------------------------------
 *
 * append.h
 *	  Append to a StringInfo, without a call where there is room.
 *
 * A mail is put together from some hundred pieces, most of them short: what
 * appendBinaryStringInfo() does beside copying them would be most of it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_APPEND_H
#define MAILMAN_APPEND_H

#include "pure.h"

/*
 * Room for so many bytes and a NUL; what is beyond the limits of a StringInfo
 * must not wrap round.
 */
static inline void
append_reserve(StringInfo out, size_t len)
{
	if (len >= (size_t) (out->maxlen - out->len))
		enlargeStringInfo(out, (int) Min(len, PG_INT32_MAX));
}

static inline void
append_bytes(StringInfo out, const char *bytes, int len)
{
	append_reserve(out, len);
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
	out->data[out->len] = '\0';
}

static inline void
append_string(StringInfo out, const char *string)
{
	append_bytes(out, string, (int) strlen(string));
}

/* A string constant, whose length the compiler knows */
#define append_literal(out, literal) \
	append_bytes((out), "" literal, (int) sizeof(literal) - 1)

/* What stands in it already, once more */
static inline void
append_again(StringInfo out, int at, int len)
{
	append_reserve(out, len);
	append_bytes(out, out->data + at, len);
}

#endif							/* MAILMAN_APPEND_H */
