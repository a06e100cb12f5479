/*-------------------------------------------------------------------------
 *
 * pure_report_test.c
 *	  Tests of the report's pure half: whatever bytes come, what html_text()
 *	  makes of them is text; numbers; what replies mean; no address is left.
 *
 * That whole pages are well-formed, a parser of other making tells in
 * sql/report.sql.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include "report.h"

static char *
escaped(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	html_text(&out, text);
	return out.data;
}

static const char *const texts[][2] = {
	{"plain", "plain"},
	{"<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"},
	{"\" onload='x' &amp; ]]>", "&quot; onload=&#39;x&#39; &amp;amp; ]]&gt;"},
	{"Zo\xc3\xab \xe4\xb8\xad \xf0\x9f\x98\x80", "Zo\xc3\xab \xe4\xb8\xad \xf0\x9f\x98\x80"},
	{"a\tb\r\nc", "a b  c"},
	{"\x01\x1b\x7f", "\xe2\x90\x81\xe2\x90\x9b\xe2\x90\xa1"},
	/* C1, noncharacters, overrides of direction */
	{"\xc2\x85", "\xef\xbf\xbd"},
	{"\xef\xbf\xbe", "\xef\xbf\xbd"},
	{"\xf4\x8f\xbf\xbf", "\xef\xbf\xbd"},
	{"\xe2\x80\xae", "\xef\xbf\xbd"},
	/* lone, short, overlong, a surrogate, too high */
	{"\x80", "\xef\xbf\xbd"},
	{"\xc3<", "\xef\xbf\xbd&lt;"},
	{"\xe4\xb8", "\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xf0\x9f\x98", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xc0\xbc", "\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xe0\x80\xbc", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xf5\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"}
};

/* Bytes that begin nothing, whatever precedes them, and no control */
static bool
is_inert(const char *text)
{
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c < 0x20 || c == 0x7f || strchr("<>\"'", c) != NULL)
			return false;
		if (c == '&' && strncmp(text, "&amp;", 5) != 0 &&
			strncmp(text, "&lt;", 4) != 0 && strncmp(text, "&gt;", 4) != 0 &&
			strncmp(text, "&quot;", 6) != 0 && strncmp(text, "&#39;", 5) != 0)
			return false;
	}
	return true;
}

/* A long text ends between two characters, with an ellipsis */
static void
test_report_length(void)
{
	StringInfoData text;
	char	   *got;

	initStringInfo(&text);
	appendStringInfoChar(&text, 'x');
	while (text.len < HTML_TEXT_MAX)
		appendStringInfoString(&text, "\xc3\xab");
	got = escaped(text.data);
	ok(strcmp(got, text.data) == 0, "a text that just fits");
	appendStringInfoString(&text, "<more>");
	got = escaped(text.data);
	ok(strlen(got) == HTML_TEXT_MAX + 4 &&
	   strcmp(got + HTML_TEXT_MAX + 1, "\xe2\x80\xa6") == 0,
	   "one that is too long");
}

static void
test_report_text(void)
{
	bool		inert = true;
	bool		stable = true;
	int			i;
	int			k;

	for (i = 0; i < COUNT(texts); i++)
	{
		char	   *got = escaped(texts[i][0]);

		if (!ok(strcmp(got, texts[i][1]) == 0, "html_text %d", i))
			diag("%s", got);
	}
	for (i = 0; i < 20000; i++)
	{
		char		bytes[40];
		char	   *got;

		for (k = 0; k < 39; k++)
		{
			bytes[k] = (char) (1 + random_below(255));
			if (random_below(3) == 0)
				bytes[k] = "<>&\"'\xed\xf4\xe0\xc2"[random_below(9)];
		}
		bytes[39] = '\0';
		got = escaped(bytes);
		inert = inert && is_inert(got);

		/* all of it is UTF-8: nothing is replaced a second time */
		for (k = 0; got[k] != '\0'; k++)
		{
			if (got[k] == '&')
				got[k] = '+';
		}
		stable = stable && strcmp(escaped(got), got) == 0;
		pfree(got);
	}
	ok(inert, "random bytes are inert");
	ok(stable, "and are UTF-8");
	ok(escaped(NULL)[0] == '\0', "NULL is nothing");
	test_report_length();
}

/* One number as it is shown, no-break spaces as spaces */
static bool
shows(StringInfo out, const char *expected)
{
	char		got[64];
	int			len = 0;
	int			i;
	bool		same;

	for (i = 0; i < out->len && len < 63; i++)
	{
		if (out->data[i] == '\xc2')
			continue;
		got[len++] = out->data[i] == '\xa0' ? ' ' : out->data[i];
	}
	got[len] = '\0';
	same = strcmp(got, expected) == 0;
	if (!same)
		diag("%s, not %s", got, expected);
	resetStringInfo(out);
	return same;
}

static void
test_report_numbers(void)
{
	StringInfoData out;

#define SHOWS(call, expected) \
	(call, ok(shows(&out, expected), "%s is %s", #call, expected))
	initStringInfo(&out);
	SHOWS(html_count(&out, 0), "0");
	SHOWS(html_count(&out, 999), "999");
	SHOWS(html_count(&out, 1000), "1,000");
	SHOWS(html_count(&out, -123456), "-123,456");
	SHOWS(html_count(&out, PG_INT64_MAX), "9,223,372,036,854,775,807");
	SHOWS(html_share(&out, 0, 0), "0 %");
	SHOWS(html_share(&out, 0, 7), "0 %");
	SHOWS(html_share(&out, 7, 7), "100 %");
	SHOWS(html_share(&out, 1, 3), "33.3 %");
	SHOWS(html_share(&out, 1, 1000000), "&lt; 0.1 %");
	SHOWS(html_share(&out, 999999, 1000000), "&gt; 99.9 %");
	SHOWS(html_bytes(&out, 1023), "1023 bytes");
	SHOWS(html_bytes(&out, 4096), "4.0 kB");
	SHOWS(html_bytes(&out, INT64CONST(5) << 30), "5.0 GB");
	SHOWS(html_seconds(&out, 0), "0 s");
	SHOWS(html_seconds(&out, 0.0004), "0.4 ms");
	SHOWS(html_seconds(&out, 0.85), "850 ms");
	SHOWS(html_seconds(&out, 0.9999), "1.0 s");
	SHOWS(html_seconds(&out, 3.25), "3.2 s");
	SHOWS(html_seconds(&out, 59.7), "1 min");
	SHOWS(html_seconds(&out, 250), "4 min 10 s");
	SHOWS(html_seconds(&out, 3600), "1 h");
	SHOWS(html_seconds(&out, 273600), "3 d 4 h");
	SHOWS(html_rate(&out, 0.02), "0.020");
	SHOWS(html_rate(&out, 4.25), "4.2");
	SHOWS(html_rate(&out, 20000.4), "20,000");
}

static bool
means(int code, const char *enhanced, const char *expected)
{
	const char *words = status_meaning(code, enhanced);

	if (words == NULL || expected == NULL)
		return words == expected;
	return strcmp(words, expected) == 0;
}

static void
test_report_meanings(void)
{
	ok(means(550, "5.1.1", "Bad destination mailbox address"), "5.1.1");
	ok(means(451, "4.2.2", "Mailbox full"), "x.2.2 whatever its class");
	ok(means(550, "5.7.999", "Security or policy status"),
	   "an unknown detail by its subject");
	ok(means(552, "5.9.1", "Exceeded storage allocation"),
	   "an unknown subject by the code");
	ok(means(550, "x", "Mailbox unavailable: not found, or refused by policy"),
	   "no enhanced code at all");
	ok(means(550, "5.-7.1", "Mailbox unavailable: not found, or refused by policy"),
	   "a subject below zero");
	ok(means(499, NULL, "Temporary failure"), "an unknown 4xx");
	ok(means(599, NULL, "Permanent failure"), "an unknown 5xx");
	ok(means(0, NULL, NULL), "nothing");
}

static const char *const masked[][3] = {
	{"<ana@example.org>: no ana here", "ana", "<[address]>: no [address] here"},
	{"ANA, banana, ana_2, Ana", "ana", "[address], banana, ana_2, [address]"},
	{"\"a b\"@example.org left", NULL, "[address] left"},
	{"address of address", "address", "[address] of [address]"},
	{"nobody", "", "nobody"}
};

static void
test_report_mask(void)
{
	int			i;

	for (i = 0; i < COUNT(masked); i++)
	{
		char	   *got = report_mask(masked[i][0], masked[i][1]);

		if (!ok(strcmp(got, masked[i][2]) == 0, "%s", masked[i][2]))
			diag("%s", got);
	}
}

void
test_report(void)
{
	test_report_text();
	test_report_numbers();
	test_report_meanings();
	test_report_mask();
}
