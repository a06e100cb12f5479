/*-------------------------------------------------------------------------
 *
 * unicode.c
 *	  What there is to know of a character, by its Unicode properties.
 *
 * PostgreSQL has tables of them only from 17 on, and not of these; so there
 * is a small one of our own.  What it is made of hardly changes from one
 * version of Unicode to the next: reserved code points that will be ignored
 * by default are in it already.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "unicode.h"

#include "unicode_table.h"

/* see unicode.h */
size_t
unicode_decode(const unsigned char *s, size_t len, uint32_t *character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t		n;
	size_t		i;
	uint32_t	c;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
	{
		*character = s[0];
		return 1;
	}
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
		return 0;
	c = s[0] & (0x7f >> n);
	for (i = 1; i < n; i++)
	{
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return n;
}

/* see unicode.h */
bool
unicode_is_unseen(uint32_t c)
{
	size_t		low = 0;
	size_t		high = sizeof(unseen) / sizeof(unseen[0]);

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (c > unseen[middle].last)
			low = middle + 1;
		else if (c < unseen[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}

/* see unicode.h */
bool
unicode_is_noncharacter(uint32_t c)
{
	return (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

/* see unicode.h */
bool
unicode_turns(uint32_t c)
{
	return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* see unicode.h */
bool
unicode_is_unfit(uint32_t c)
{
	return (c >= 0x80 && c <= 0x9f) || unicode_is_noncharacter(c) ||
		unicode_turns(c) || c == 0x200e || c == 0x200f || c == 0x061c ||
		c == 0x2028 || c == 0x2029 || c == 0xfeff;
}
