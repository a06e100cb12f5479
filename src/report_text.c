/*-------------------------------------------------------------------------
 *
 * report_text.c
 *	  Text and numbers of a report, as they stand in its page.
 *
 * Pure: no SQL, no locale.  html_text() is the one gate for whatever somebody
 * else has written: names, templates, replies.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

#include <ctype.h>

#include "outcome.h"
#include "unicode.h"

#define REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

static void
html_ascii(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '&':
			appendStringInfoString(out, "&amp;");
			break;
		case '<':
			appendStringInfoString(out, "&lt;");
			break;
		case '>':
			appendStringInfoString(out, "&gt;");
			break;
		case '"':
			appendStringInfoString(out, "&quot;");
			break;
		case '\'':
			appendStringInfoString(out, "&#39;");
			break;
		case '\t':
		case '\n':
		case '\r':
			appendStringInfoChar(out, ' ');
			break;
		default:
			/* U+2400 and on are pictures of the controls, U+2421 of DEL */
			if (c < 0x20 || c == 0x7f)
			{
				appendStringInfoString(out, "\xe2\x90");
				appendStringInfoChar(out, c == 0x7f ? 0xa1 : 0x80 + c);
			}
			else
				appendStringInfoChar(out, (char) c);
	}
}

/* see report.h */
void
html_text(StringInfo out, const char *text)
{
	const unsigned char *s = (const unsigned char *) text;
	uint32_t	c;
	size_t		len;

	while (s != NULL && *s != '\0')
	{
		if (s - (const unsigned char *) text >= HTML_TEXT_MAX)
		{
			appendStringInfoString(out, "\xe2\x80\xa6");
			return;
		}
		if (*s < 0x80)
		{
			html_ascii(out, *s++);
			continue;
		}
		/* a NUL ends what is cut short */
		len = unicode_decode(s, 4, &c);
		if (len == 0 || unicode_is_unfit(c))
			appendStringInfoString(out, REPLACEMENT);
		else
			appendBinaryStringInfo(out, (const char *) s, len);
		s += Max(len, 1);
	}
}

/* 1,234,567 */
void
html_count(StringInfo out, int64 count)
{
	char		digits[32];
	int			len = snprintf(digits, sizeof(digits), INT64_FORMAT, count);
	int			i;

	for (i = 0; i < len; i++)
	{
		if (i > 0 && digits[i - 1] != '-' && (len - i) % 3 == 0)
			appendStringInfoChar(out, ',');
		appendStringInfoChar(out, digits[i]);
	}
}

/* A part that is not all is never shown as 100 %, nor one there is as 0 % */
void
html_share(StringInfo out, int64 part, int64 whole)
{
	double		percent = whole > 0 ? 100.0 * part / whole : 0;

	if (part > 0 && percent < 0.1)
		appendStringInfoString(out, "&lt;\xc2\xa0" "0.1\xc2\xa0%");
	else if (part < whole && percent > 99.9)
		appendStringInfoString(out, "&gt;\xc2\xa0" "99.9\xc2\xa0%");
	else
		appendStringInfo(out, part == 0 || part == whole ?
						 "%.0f\xc2\xa0%%" : "%.1f\xc2\xa0%%", percent);
}

void
html_bytes(StringInfo out, int64 bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB"};
	double		value = (double) bytes / 1024;
	int			unit = 0;

	if (bytes < 1024)
	{
		appendStringInfo(out, INT64_FORMAT "\xc2\xa0" "bytes", bytes);
		return;
	}
	while (value >= 1024 && unit < 3)
	{
		value /= 1024;
		unit++;
	}
	appendStringInfo(out, value < 10 ? "%.1f\xc2\xa0%s" : "%.0f\xc2\xa0%s",
					 value, units[unit]);
}

/* The second unit is left out if there is nothing of it */
static void
html_units(StringInfo out, int64 large, const char *large_unit, int small,
		   const char *small_unit)
{
	appendStringInfo(out, INT64_FORMAT "\xc2\xa0%s", large, large_unit);
	if (small > 0)
		appendStringInfo(out, " %d\xc2\xa0%s", small, small_unit);
}

/* Two units at most: 850 ms, 3.2 s, 4 min 10 s, 1 h 12 min, 3 d 4 h */
void
html_seconds(StringInfo out, double seconds)
{
	int64		s = (int64) (seconds + 0.5);

	if (seconds <= 0)
		appendStringInfoString(out, "0\xc2\xa0s");
	else if (seconds < 0.0095)
		appendStringInfo(out, "%.1f\xc2\xa0ms", seconds * 1000);
	else if (seconds < 0.9995)
		appendStringInfo(out, "%.0f\xc2\xa0ms", seconds * 1000);
	else if (seconds < 9.95 && seconds != (double) s)
		appendStringInfo(out, "%.1f\xc2\xa0s", seconds);
	else if (s < 60)
		appendStringInfo(out, "%d\xc2\xa0s", (int) s);
	else if (s < 3600)
		html_units(out, s / 60, "min", (int) (s % 60), "s");
	else if (s < 48 * 3600)
		html_units(out, s / 3600, "h", (int) (s % 3600 / 60), "min");
	else
		html_units(out, s / 86400, "d", (int) (s % 86400 / 3600), "h");
}

void
html_rate(StringInfo out, double rate)
{
	if (rate < 9.95)
		appendStringInfo(out, rate < 0.0995 ? "%.3f" : "%.1f", rate);
	else
		html_count(out, (int64) (rate + 0.5));
}

static bool
is_word(unsigned char c)
{
	return c >= 0x80 || isalnum(c) || c == '_';
}

/* Does the word, whatever its case, stand alone at this place? */
static bool
word_is_at(const char *text, size_t at, const char *word, size_t len)
{
	return pg_strncasecmp(text + at, word, len) == 0 &&
		(at == 0 || !is_word((unsigned char) text[at - 1])) &&
		!is_word((unsigned char) text[at + len]);
}

/* see report.h */
char *
report_mask(const char *text, const char *local_part)
{
	size_t		size = 10 * strlen(text) + 64;
	char	   *masked = palloc(size);
	size_t		len = local_part ? strlen(local_part) : 0;
	StringInfoData out;
	size_t		i = 0;

	outcome_mask(masked, size, text);
	if (len == 0)
		return masked;
	initStringInfo(&out);
	while (masked[i] != '\0')
	{
		if (strncmp(masked + i, "[address]", 9) == 0)
		{
			appendStringInfoString(&out, "[address]");
			i += 9;
		}
		else if (word_is_at(masked, i, local_part, len))
		{
			appendStringInfoString(&out, "[address]");
			i += len;
		}
		else
			appendStringInfoChar(&out, masked[i++]);
	}
	pfree(masked);
	return out.data;
}
