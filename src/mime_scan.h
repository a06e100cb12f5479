/*-------------------------------------------------------------------------
 *
 * mime_scan.h
 *	  Find the bytes in a text that matter, many at a time.
 *
 * Nearly all of a text stands for itself; what is said of a mail's bytes here
 * is most of what it costs to encode one.  SSE2, which every x86-64 has, looks
 * at sixteen at once; elsewhere it is eight, with arithmetic.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_MIME_SCAN_H
#define MAILMAN_MIME_SCAN_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* 0: stands for itself, 1: only in 7bit ("="), 2: always to be encoded */
static const uint8 byte_class[256] = {
	2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2
};

/* The end of the line that begins at s: its LF, or the end of the text */
static inline const char *
line_end(const char *s, const char *end)
{
	const char *lf = memchr(s, '\n', end - s);

	return lf ? lf : end;
}

#ifdef __SSE2__

/* Which of the sixteen bytes at s have a class (a tab counts as one, too)? */
static inline unsigned
classes_of_16(const char *s)
{
	__m128i		bytes = _mm_loadu_si128((const __m128i *) s);
	__m128i		classes;

	/* compared as signed: below a space is what is above 0x7F, too */
	classes = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));
	classes = _mm_or_si128(classes,
						   _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)));
	classes = _mm_or_si128(classes, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('=')));
	return (unsigned) _mm_movemask_epi8(classes);
}

/* Pass over many bytes that stand for themselves, sixteen at a time */
static inline const char *
skip_literals(const char *s, const char *end)
{
	for (; end - s >= 16; s += 16)
	{
		unsigned	classes = classes_of_16(s);

		if (classes != 0)
			return s + __builtin_ctz(classes);
	}
	return s;
}

/* Which of the sixteen bytes at s are dots behind a LF? */
static inline unsigned
leading_dots_of_16(const char *s)
{
	__m128i		before = _mm_loadu_si128((const __m128i *) (s - 1));
	__m128i		bytes = _mm_loadu_si128((const __m128i *) s);

	return (unsigned)
		_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(before,
													   _mm_set1_epi8('\n')),
										_mm_cmpeq_epi8(bytes,
													   _mm_set1_epi8('.'))));
}

/* Pass over many bytes that are no such dots */
static inline const char *
skip_to_leading_dot(const char *s, const char *end)
{
	for (; end - s >= 16; s += 16)
	{
		unsigned	dots = leading_dots_of_16(s);

		if (dots != 0)
			return s + __builtin_ctz(dots);
	}
	return s;
}

#else

#define EACH(byte)	(UINT64CONST(0x0101010101010101) * (byte))

/* Has one of the eight bytes at s a class (a tab counts as one, too)? */
static inline bool
any_class(const char *s)
{
	uint64		bytes;
	uint64		equals;

	memcpy(&bytes, s, sizeof(bytes));
	equals = bytes ^ EACH('=');
	return ((bytes | (bytes + EACH(1)) |	/* 0x7F and above */
			 ((bytes - EACH(' ')) & ~bytes) |
			 ((equals - EACH(1)) & ~equals)) & EACH(0x80)) != 0;
}

static inline const char *
skip_literals(const char *s, const char *end)
{
	while (end - s >= 8 && !any_class(s))
		s += 8;
	return s;
}

static inline const char *
skip_to_leading_dot(const char *s, const char *end)
{
	while (s < end && !(s[-1] == '\n' && *s == '.'))
	{
		s = line_end(s, end);
		if (s < end)
			s++;
	}
	return s;
}

#endif							/* __SSE2__ */

/* The first byte from s on that does not stand for itself, or the end */
static inline const char *
literals_end(const char *s, const char *end)
{
	while ((s = skip_literals(s, end)) < end &&
		   byte_class[(unsigned char) *s] == 0)
		s++;
	return s;
}

/* The first dot from s on with a LF before it, or the end */
static inline const char *
leading_dot(const char *s, const char *end)
{
	s = skip_to_leading_dot(s, end);
	while (s < end && !(s[-1] == '\n' && *s == '.'))
		s++;
	return s;
}

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The end of the next few bytes of a text */
static inline const char *
body_slice(const char *s, const char *end)
{
	return end - s > WORK_SLICE ? s + WORK_SLICE : end;
}

/* Could what stands at s be mangled at the beginning of a line? */
static inline bool
begins_badly(const char *s, const char *end)
{
	return *s == '.' || (*s == 'F' && end - s >= 5 &&
						 memcmp(s, "From ", 5) == 0);
}

#endif							/* MAILMAN_MIME_SCAN_H */
