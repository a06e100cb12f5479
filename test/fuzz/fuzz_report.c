/*-------------------------------------------------------------------------
 *
 * fuzz_report.c
 *	  Fuzz target: what somebody else has written, in a report's page.
 *
 * The first bytes are the local part of a reader's address, up to a NUL, and
 * numbers; the rest is a relay's words.  What html_text() makes of anything is
 * text of UTF-8 in an element as in an attribute; report_mask() leaves neither
 * an address nor that local part by itself.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "../../src/report.h"

#include "fuzz.h"

#define LOCAL_PART	16
#define ELLIPSIS		3		/* bytes */
#define LONGEST_ENTITY	6		/* &quot; */

static const char mask[] = "[address]";

/* Nothing that ends a text or begins something else, and well-formed UTF-8 */
static void
check_page(const StringInfoData *page)
{
	const unsigned char *s = (const unsigned char *) page->data;
	int			more = 0;

	CHECK(strlen(page->data) == (size_t) page->len);
	for (; *s != '\0'; s++)
	{
		CHECK(*s >= ' ' && *s != 0x7F && strchr("<>\"'", *s) == NULL);
		if (*s == '&')
			CHECK(strncmp((const char *) s, "&amp;", 5) == 0 ||
				  strncmp((const char *) s, "&lt;", 4) == 0 ||
				  strncmp((const char *) s, "&gt;", 4) == 0 ||
				  strncmp((const char *) s, "&quot;", 6) == 0 ||
				  strncmp((const char *) s, "&#39;", 5) == 0);
		if (more > 0)
		{
			CHECK((*s & 0xC0) == 0x80);
			more--;
			continue;
		}
		CHECK(*s < 0x80 || (*s >= 0xC2 && *s <= 0xF4));
		more = *s < 0x80 ? 0 : *s < 0xE0 ? 1 : *s < 0xF0 ? 2 : 3;
	}
	CHECK(more == 0);
}

static void
check_escaped(const char *text)
{
	StringInfoData page;

	initStringInfo(&page);
	html_text(&page, text);
	check_page(&page);
	CHECK(page.len <= (HTML_TEXT_MAX + 4) * LONGEST_ENTITY + ELLIPSIS);
	pfree(page.data);
}

static bool
is_word(char c)
{
	return (unsigned char) c >= 0x80 || isalnum((unsigned char) c) || c == '_';
}

static void
check_masked(const char *text, const char *local_part)
{
	char	   *masked = report_mask(text, local_part);
	size_t		len = local_part != NULL ? strlen(local_part) : 0;
	const char *s = masked;

	CHECK(strchr(masked, '@') == NULL);
	while (len > 0 && *s != '\0')
	{
		if (strncmp(s, mask, sizeof(mask) - 1) == 0)
		{
			s += sizeof(mask) - 1;
			continue;
		}
		CHECK(strncasecmp(s, local_part, len) != 0 || is_word(s[len]) ||
			  (s > masked && is_word(s[-1])));
		s++;
	}
	check_escaped(masked);
	pfree(masked);
}

/* Figures, of any size that a table or a clock can have */
static void
check_numbers(const char *bytes)
{
	StringInfoData page;
	int64		n[2];
	double		seconds;

	memcpy(n, bytes, sizeof(n));
	seconds = (double) (n[0] % INT64CONST(1000000000000)) / 1000;
	initStringInfo(&page);
	html_count(&page, n[0]);
	html_share(&page, n[0], n[1]);
	html_bytes(&page, n[1]);
	html_seconds(&page, seconds);
	html_rate(&page, seconds);
	check_page(&page);
	pfree(page.data);
}

/* As an address has it: letters and digits, with one of ".-+" between them */
static void
make_local_part(char *local_part)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t		len = strlen(local_part);
	size_t		i;

	for (i = 0; i < len; i++)
	{
		bool		inside = i > 0 && i + 1 < len;

		if (!(inside && strchr(".-+", local_part[i]) != NULL) &&
			!isalnum((unsigned char) local_part[i]))
			local_part[i] = letters[(unsigned char) local_part[i] %
									(sizeof(letters) - 1)];
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char		local_part[LOCAL_PART + 1] = "";
	char	   *text;

	if (size < LOCAL_PART)
		return 0;
	memcpy(local_part, bytes, LOCAL_PART);
	check_numbers((const char *) bytes);
	make_local_part(local_part);
	size -= LOCAL_PART;
	text = malloc(size + 1);
	CHECK(text != NULL);
	memcpy(text, bytes + LOCAL_PART, size);
	text[size] = '\0';
	check_escaped(text);
	check_masked(text, local_part);
	check_masked(text, NULL);
	free(text);
	return 0;
}
