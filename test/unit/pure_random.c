/*-------------------------------------------------------------------------
 *
 * pure_random.c
 *	  Random texts that are hard to mail, for the pure layer's unit test.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static uint64 random_state;

void
random_seed(uint64 seed)
{
	random_state = seed * UINT64CONST(0x9E3779B97F4A7C15) + 1;
}

/* xorshift64*, not pg_prng.h: PostgreSQL's may change */
uint32
random_below(uint32 n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32) ((random_state * UINT64CONST(0x2545F4914F6CDD1D)) >> 33) %
		n;
}

/* So many, or the part of them that FEWER says, under a tool that is slow */
int
rounds(int n)
{
	const char *fewer = getenv("FEWER");

	return fewer != NULL ? Max(n / Max(atoi(fewer), 1), 1) : n;
}

static const char *const ascii_bits[] = {
	"a", "e", "Z", "0", "word", "newsletter", " ", " ", " ", "  ", ".", ",",
	"=", "?", "_", "=?", "?=", "=?UTF-8?Q?x?=", "\"", "\\", "<", ">", "@",
	"(", ")", ":", ";", "'", "&", "+", "-", "--=_", "From ", "%s", "{{"
};

static const char *const wide_bits[] = {
	"ü", "ß", "é", "Ж", "λ", "中", "文", "通", "讯", "日本語", "한국어",
	"שלום", "مرحبا", "עברית", "\xE2\x80\x8F", "e\xCC\x81", "\xC2\xA0",
	"😀", "👩\xE2\x80\x8D👩\xE2\x80\x8D👧", "🇩🇪", "𝔘", "\xF4\x8F\xBF\xBD",
	"\xE2\x80\xA8", "\xEF\xBB\xBF"
};

static const char *const control_bits[] = {
	"\r\n", "\r", "\n", "\t", "\x01", "\x7F", "\xC2\x85", "\xC2\x9F",
	"\r\n Bcc: x@y.example\r\n", "\x1B"
};

#define PICK(bits)	(bits)[random_below(lengthof(bits))]

/* Append so many random characters or short strings, for a header value */
void
random_text(StringInfo out, int chars, bool controls)
{
	uint32		wide = random_below(4); /* none, some, half, most */

	while (chars-- > 0)
	{
		if (controls && random_below(20) == 0)
			appendStringInfoString(out, PICK(control_bits));
		else if (random_below(3) < wide)
			appendStringInfoString(out, PICK(wide_bits));
		else if (random_below(3) > 0)
			appendStringInfoChar(out, (char) ('a' + random_below(26)));
		else
			appendStringInfoString(out, PICK(ascii_bits));
	}
}

/* Append about so many bytes of lines of every kind */
void
random_body(StringInfo out, int bytes)
{
	static const char *const starts[] = {
		"", "", "", "", ".", "..", ". ", "From ", "From me", "--=_", "-- ",
		">From ", "From", "\t", "=", "=20", ".\r\n", "--"
	};
	static const char *const ends[] = {
		"\n", "\n", "\n", "\r\n", "\r", "\n\n", " \n", "\t\r\n", "  \n", ""
	};
	static const int lengths[] = {0, 1, 20, 60, 80, 200, 2000};
	int			target = out->len + bytes;
	bool		tame = random_below(4) == 0;
	uint32		wide = random_below(3);

	while (out->len < target)
	{
		int			n = tame ? random_below(70) :
			random_below(PICK(lengths) + 1);
		int			stop = out->len + n;

		if (!tame)
			appendStringInfoString(out, PICK(starts));
		while (out->len < stop)
		{
			if (!tame && random_below(4) < wide)
				appendStringInfoString(out, PICK(wide_bits));
			else if (random_below(5) > 0)
				appendStringInfoChar(out, (char) ('a' + random_below(26)));
			else if (!tame && random_below(4) == 0)
				appendStringInfoString(out, PICK(ascii_bits));
			else
				appendStringInfoChar(out, random_below(5) ? ' ' : '.');
		}
		appendStringInfoString(out, tame ? "x\n" : PICK(ends));
	}
}
