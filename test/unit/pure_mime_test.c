/*-------------------------------------------------------------------------
 *
 * pure_mime_test.c
 *	  Tests of mime_header.c, mime_body.c and mime_date.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static const char *const headers[][2] = {
	{"", "Subject:\r\n"},
	{"News", "Subject: News\r\n"},
	{"two  blanks", "Subject: two  blanks\r\n"},
	{" leading", "Subject: =?UTF-8?Q?_leading?=\r\n"},
	{"trailing ", "Subject: =?UTF-8?Q?trailing_?=\r\n"},
	{"a\r\nBcc: x@y.example", "Subject: a Bcc: x@y.example\r\n"},
	{"a\t\x01\x7F" "b\xC2\x85" "c", "Subject: a b c\r\n"},
	{"Grüße, alle!", "Subject: =?UTF-8?B?R3LDvMOfZSwgYWxsZSE=?=\r\n"},
	{"Grüße an alle, die da lesen?",
	"Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_an_alle,_die_da_lesen=3F?=\r\n"},
	{"通讯", "Subject: =?UTF-8?B?6YCa6K6v?=\r\n"},
	{"=?x", "Subject: =?UTF-8?B?PT94?=\r\n"},
	{"a=b?", "Subject: a=b?\r\n"},
	{"aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa 1234567",
		"Subject: aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa "
	"aaaaaaaaa 1234567\r\n"},
	{"aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa 12345678",
		"Subject: aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa aaaaaaaaa "
	"aaaaaaaaa\r\n 12345678\r\n"},
};

/* display, field */
static const char *const addresses[][2] = {
	{NULL, "To: a@b.example\r\n"},
	{"", "To: a@b.example\r\n"},
	{"Ann Lee", "To: Ann Lee <a@b.example>\r\n"},
	{"Lee, Ann", "To: \"Lee, Ann\" <a@b.example>\r\n"},
	{"A. \"Q\" \\Lee", "To: \"A. \\\"Q\\\" \\\\Lee\" <a@b.example>\r\n"},
	{" Ann", "To: \" Ann\" <a@b.example>\r\n"},
	{"Jürgen, Grob",
	"To: =?UTF-8?Q?J=C3=BCrgen=2C_Grob?= <a@b.example>\r\n"},
	{"=?q?", "To: =?UTF-8?B?PT9xPw==?= <a@b.example>\r\n"},
	{"x> <evil@z.example", "To: \"x> <evil@z.example\" <a@b.example>\r\n"},
	{"a\r\nBcc: x@y.example", "To: \"a Bcc: x@y.example\" <a@b.example>\r\n"},
};

static void
test_header_tables(void)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < COUNT(headers); i++)
	{
		resetStringInfo(&out);
		mime_header_text(&out, "Subject", headers[i][0]);
		if (!ok(strcmp(out.data, headers[i][1]) == 0, "header %d", i))
			diag("%s", out.data);
	}
	for (i = 0; i < COUNT(addresses); i++)
	{
		resetStringInfo(&out);
		mime_header_address(&out, "To", addresses[i][0], "a@b.example");
		if (!ok(strcmp(out.data, addresses[i][1]) == 0, "To %d", i))
			diag("%s", out.data);
	}
	resetStringInfo(&out);
	mime_header_raw(&out, "Message-ID", "<a@b>");
	ok(strcmp(out.data, "Message-ID: <a@b>\r\n") == 0, "raw header");
	pfree(out.data);
}

/* Does a value come back, to the strict and to the lenient? */
static bool
header_returns(const char *name, const char *value)
{
	StringInfoData field,
				back,
				expected;
	bool		good = true;
	int			lenient;

	initStringInfo(&field);
	initStringInfo(&back);
	initStringInfo(&expected);
	mime_header_text(&field, name, value);
	expected_header(&expected, value);
	for (lenient = 0; good && lenient <= 1; lenient++)
	{
		resetStringInfo(&back);
		good = decode_header(&back, field.data, name, lenient) &&
			strcmp(back.data, expected.data) == 0;
	}
	good = good && is_clean_wire(field.data, field.len, true) &&
		(strstr(field.data, "=?") == NULL ||
		 longest_line(field.data, field.len) <= 76);
	if (!good)
	{
		diag("value %s", value);
		diag("field %s", field.data);
		diag("back  %s", back.data);
	}
	pfree(field.data);
	pfree(back.data);
	pfree(expected.data);
	return good;
}

/* Does a display name come back? */
static bool
display_returns(const char *display, const char *address)
{
	StringInfoData field,
				back,
				back_address,
				expected;
	bool		good;

	initStringInfo(&field);
	initStringInfo(&back);
	initStringInfo(&back_address);
	initStringInfo(&expected);
	mime_header_address(&field, "To", display, address);
	expected_header(&expected, display);
	good = decode_address(&back, &back_address, field.data, "To") &&
		strcmp(back.data, expected.data) == 0 &&
		strcmp(back_address.data, address) == 0 &&
		is_clean_wire(field.data, field.len, true) &&
		longest_line(field.data, field.len) <=
		Max(76, (int) strlen(address) + 3);
	if (!good)
	{
		diag("display %s", display);
		diag("field   %s", field.data);
		diag("back    %s", back.data);
	}
	pfree(field.data);
	pfree(back.data);
	pfree(back_address.data);
	pfree(expected.data);
	return good;
}

/* Random values of every length */
static void
test_header_random(void)
{
	static const char *const to[] = {
		"a@b.example", "\"a b<>\"@example.com",
		"a.rather.long.local.part.that.fills.its.line@a.long.domain.example"
	};
	static const char name[] =
		"X-A-Header-Field-With-A-Rather-Long-Name-So-That-No-Room-Is-Left";
	StringInfoData value;
	int			chars;
	int			round;
	bool		plain = true;
	bool		display = true;

	initStringInfo(&value);
	for (chars = 0; chars <= 300; chars++)
	{
		for (round = 0; round < 20; round++)
		{
			resetStringInfo(&value);
			random_text(&value, chars, round >= 10);
			plain = plain && header_returns("Subject", value.data) &&
				header_returns(name + random_below(strlen(name)), value.data);
			display = display && display_returns(value.data,
												 to[round % 3]);
		}
	}
	ok(plain, "random values of 0 to 300 characters come back");
	ok(display, "random display names of 0 to 300 characters come back");
	pfree(value.data);
}

/* Where folding goes wrong: every length of one repeated thing */
static void
test_header_lengths(void)
{
	static const char *const units[] = {
		"a", "a ", "ab ", "abcdefghij ", "=", "ü", "aü", "中", "😀", "_",
		"\"", " ", "a  b ", ".", "\r\n", "=?", "?="
	};
	StringInfoData value;
	bool		plain = true;
	bool		display = true;
	int			i;
	int			n;

	initStringInfo(&value);
	for (i = 0; i < COUNT(units); i++)
	{
		resetStringInfo(&value);
		for (n = 0; n < (i == 0 ? 2100 : 300); n++)
		{
			plain = plain && header_returns("Subject", value.data) &&
				header_returns("X", value.data);
			display = display && display_returns(value.data, "a@b.example");
			appendStringInfoString(&value, units[i]);
		}
	}
	ok(plain, "repeated characters of every length come back");
	ok(display, "display names of repeated characters come back");

	resetStringInfo(&value);
	appendStringInfoString(&value, "see ");
	while (value.len < 900)
		appendStringInfoChar(&value, 'x');
	ok(header_returns("Subject", value.data), "a word of 900 characters");
	while (value.len < 2004)
		appendStringInfoChar(&value, 'x');
	ok(header_returns("Subject", value.data), "a word of 2,000 characters");
	pfree(value.data);
}

void
test_headers(void)
{
	static const struct
	{
		int64		seconds;
		const char *date;
	}			dates[] =
	{
		{0, "Thu, 01 Jan 1970 00:00:00 +0000"},
		{-1, "Wed, 31 Dec 1969 23:59:59 +0000"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
		{1795345351, "Sun, 22 Nov 2026 11:02:31 +0000"},
		{4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
		{253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
		{253402300800, "Sat, 01 Jan 10000 00:00:00 +0000"},
		{-62135596800, "Mon, 01 Jan 0001 00:00:00 +0000"},
		{-62167219201, "Fri, 31 Dec -001 23:59:59 +0000"},
	};
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < COUNT(dates); i++)
	{
		resetStringInfo(&out);
		mime_date(&out, dates[i].seconds);
		if (!ok(strcmp(out.data, dates[i].date) == 0, "date %d", i))
			diag("%s", out.data);
	}
	pfree(out.data);
	test_header_tables();
	test_header_random();
	test_header_lengths();
}

/* Does a body come back, and in the encoding that was wanted, if any? */
static bool
body_returns(const char *body, size_t len, const char *encoding)
{
	StringInfoData part,
				back,
				expected;
	char		used[20] = "none";
	bool		good;

	initStringInfo(&part);
	initStringInfo(&back);
	initStringInfo(&expected);
	mime_text_part(NULL, &part, "plain", body, len);
	expected_body(&expected, body, len);
	good = decode_part(&back, part.data, part.len, "plain", used) &&
		back.len == expected.len &&
		memcmp(back.data, expected.data, back.len) == 0 &&
		is_clean_wire(part.data, part.len, true) &&
		longest_line(part.data, part.len) <= 76 &&
		strstr(part.data, "\n.") == NULL &&
		strstr(part.data, "\nFrom ") == NULL &&
		strstr(part.data, "\n--=_") == NULL &&
		strstr(part.data, " \r\n") == NULL &&
		strstr(part.data, "\t\r\n") == NULL &&
		(encoding == NULL || strcmp(encoding, used) == 0);
	if (!good)
	{
		diag("body %s", body);
		diag("%s: %s", used, part.data);
	}
	pfree(part.data);
	pfree(back.data);
	pfree(expected.data);
	return good;
}

#define SEVEN	"7bit"
#define QP		"quoted-printable"
#define B64		"base64"
#define A75		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaa"

static const struct
{
	const char *body;
	const char *encoding;
}			bodies[] =
{
	{"", SEVEN},
	{"\n", SEVEN},
	{"\r", SEVEN},
	{"\r\n\r\n", SEVEN},
	{"hello", SEVEN},
	{"a\nb\rc\r\nd\n\re", SEVEN},
	{"a\r", SEVEN},
	{"a long line and no CR but at its end\r", SEVEN},
	{"a\n\r", SEVEN},
	{"a \r\nb", QP},
	{"a \r", QP},
	{"a\r.b", QP},
	{"a\rFrom b\r", QP},
	{A75 "a\r\n" A75 "a\r\nb", SEVEN},
	{A75 "a\r" A75 "aa\r", QP},
	{"中中\r中中\r\n中中\r", B64},
	{"a\tb = c {}~", SEVEN},
	{"From", SEVEN},
	{"Fromage\n>From x\nx From y\n", SEVEN},
	{A75 "a", SEVEN},
	{A75 "aa", QP},
	{A75 "=", SEVEN},
	{A75 "a=", QP},
	{A75 " ", QP},
	{A75 A75 "a", QP},
	{A75 A75 "aa", QP},
	{A75 ".aaa", QP},
	{A75 "From a", QP},
	{A75 "F" "From a", QP},
	{A75 ".", SEVEN},
	{A75 "..", QP},
	{".", QP},
	{"a\n.\nb", QP},
	{"..\n.a", QP},
	{"From me", QP},
	{"x\nFrom \n", QP},
	{"trailing \nblank\t\n", QP},
	{" ", QP},
	{"-- \nAnn", QP},
	{"--=_x and more", QP},
	{"-- =_x", SEVEN},
	{"bell \a and del \x7F in a longer text", QP},
	{"Grüße aus München, an alle miteinander, die das lesen", QP},
	{"通讯录：每周新闻与更新，敬请关注。", B64},
	{"😀😀😀", B64},
	{"שלום לכולם, זה הניוזלטר", B64},
};

static void
test_body_random(void)
{
	StringInfoData body;
	bool		good = true;
	int			n;
	int			round;

	initStringInfo(&body);
	for (round = 0; good && round < rounds(4000); round++)
	{
		resetStringInfo(&body);
		random_body(&body, random_below(round % 100 == 0 ? 20000 : 2000));
		good = body_returns(body.data, body.len, NULL);
	}
	ok(good, "random bodies come back");

	/* Every column at which something can meet the end of a line */
	for (n = 0; good && n < 400; n++)
	{
		static const char *const tails[] = {
			"", "=", "ü", " ", ".", "From x", "==", " =", "中", "a\n.", "x"
		};
		int			i;

		for (i = 0; i < COUNT(tails) * 2; i++)
		{
			resetStringInfo(&body);
			while (body.len < n)
				appendStringInfoChar(&body, i % 2 ? '.' : 'a');
			appendStringInfoString(&body, tails[i / 2]);
			good = good && body_returns(body.data, body.len, NULL);
			appendStringInfoString(&body, "aaa\n");
			good = good && body_returns(body.data, body.len, NULL);
		}
	}
	ok(good, "bodies come back whatever meets the end of a line");

	for (n = 0; good && n < 256 * 24; n++)
	{
		char		line[] = "aaaaaaaaaaaaaaaaaaaaaaaa\n";

		line[n % 24] = (char) (n / 24);
		good = body_returns(line, sizeof(line) - 1, NULL);
	}
	ok(good, "every byte comes back from every place");

	for (n = 0; good && n < rounds(5000); n++)
	{
		int			i;

		resetStringInfo(&body);
		for (i = random_below(300); i > 0; i--)
			appendStringInfoChar(&body, (char) random_below(256));
		good = body_returns(body.data, body.len, NULL);
	}
	ok(good, "random bytes come back, NUL and bad UTF-8 too");
	pfree(body.data);
}

static void
test_wire(void)
{
	static const char *const cases[][2] = {
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
		{"..a\r\n.\r\n.", "...a\r\n..\r\n..\r\n.\r\n"},
		{"\r\n", "\r\n.\r\n"},
		{"a.b\r\n", "a.b\r\n.\r\n"},
	};
	StringInfoData body,
				message,
				wire,
				back;
	bool		good = true;
	int			i;

	initStringInfo(&body);
	initStringInfo(&message);
	initStringInfo(&wire);
	initStringInfo(&back);
	for (i = 0; i < COUNT(cases); i++)
	{
		resetStringInfo(&wire);
		mime_wire(&wire, cases[i][0], strlen(cases[i][0]));
		ok(strcmp(wire.data, cases[i][1]) == 0, "wire %d", i);
	}
	for (i = 0; good && i < rounds(2000); i++)
	{
		resetStringInfo(&body);
		resetStringInfo(&message);
		resetStringInfo(&wire);
		resetStringInfo(&back);
		random_body(&body, random_below(1000));
		expected_body(&message, body.data, body.len);
		mime_wire(&wire, message.data, message.len);
		good = decode_wire(&back, wire.data, wire.len) &&
			strcmp(back.data, message.data) == 0;
	}
	ok(good, "random messages come back from the wire");
	pfree(body.data);
	pfree(message.data);
	pfree(wire.data);
	pfree(back.data);
}

void
test_bodies(void)
{
	int			i;

	for (i = 0; i < COUNT(bodies); i++)
		ok(body_returns(bodies[i].body, strlen(bodies[i].body),
						bodies[i].encoding), "body %d", i);
	test_body_random();
	test_wire();
}
