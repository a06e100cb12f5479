/*-------------------------------------------------------------------------
 *
 * pure_fuzz_test.c
 *	  Input that is not even text: the pure layer must stay whole and keep
 *	  its promises to the wire.  Worth most with SANITIZE=1.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

/* Random bytes but NUL, rich in what the code under test looks for */
static void
random_bytes(StringInfo out, int len, const char *rich)
{
	resetStringInfo(out);
	while (len-- > 0)
	{
		if (random_below(3) > 0)
			appendStringInfoChar(out, rich[random_below(strlen(rich))]);
		else
			appendStringInfoChar(out, (char) (1 + random_below(255)));
	}
}

/* A header, whatever the bytes, is one field of 7 bits in short lines */
static void
fuzz_headers(StringInfo in)
{
	StringInfoData out;
	bool		good = true;
	int			i;

	initStringInfo(&out);
	for (i = 0; good && i < rounds(20000); i++)
	{
		const char *s;

		random_bytes(in, random_below(i % 50 == 0 ? 3000 : 100),
					 "a  =?\"\\\r\n\xC3\xE4\xF0\x9F\x80");
		resetStringInfo(&out);
		if (i % 2)
			mime_header_text(&out, "Subject", in->data);
		else
			mime_header_address(&out, "To", in->data, "a@b.example");
		good = is_clean_wire(out.data, out.len, true);
		for (s = strstr(out.data, "\r\n"); s[2] != '\0';
			 s = strstr(s + 2, "\r\n"))
			good = good && s[2] == ' ' && strchr("\r ", s[3]) == NULL;
		if (!good)
			diag("%s -> %s", in->data, out.data);
	}
	ok(good, "headers from random bytes");
	pfree(out.data);
}

/* An address that passes is fit for a command, and passes again */
static void
fuzz_addresses(StringInfo in)
{
	static const char *const seeds[] = {
		"ann.lee@example.com", "\"a b\"@example.com", "a@münchen.example",
		"a@xn--mnchen-3ya.example", "用户@例子.广告"
	};
	StringInfoData out,
				again;
	bool		good = true;
	int			passed = 0;
	int			i;

	initStringInfo(&out);
	initStringInfo(&again);
	for (i = 0; good && i < rounds(50000); i++)
	{
		const char *seed = seeds[random_below(COUNT(seeds))];
		bool		utf8 = false;
		const char *why = NULL;
		int			n;

		resetStringInfo(in);
		appendStringInfoString(in, seed);
		for (n = random_below(3); n >= 0; n--)
			in->data[random_below(in->len)] = random_below(2) ?
				"@.\"\\<> \r\n-"[random_below(10)] :
				(char) random_below(256);
		resetStringInfo(&out);
		resetStringInfo(&again);
		if (!address_to_wire(&out, in->data, in->len, &utf8, &why))
		{
			good = why != NULL && out.len == 0;
			continue;
		}
		passed++;
		good = address_to_wire(&again, out.data, out.len, &utf8, &why) &&
			strcmp(out.data, again.data) == 0 && out.len <= 254 &&
			strpbrk(out.data, "\r\n\t") == NULL &&
			strpbrk(strrchr(out.data, '@'), " <>\"\\") == NULL &&
			(out.data[0] == '"' || strpbrk(out.data, " <>\"\\") == NULL);
		if (!good)
			diag("%s -> %s", in->data, out.data);
	}
	ok(good && passed > 0, "addresses from random bytes");
	pfree(out.data);
	pfree(again.data);
}

#define FUZZ_PARTIAL "{{#b}}\n {{.}}{{>ab}}\n{{/b}}\n"

/* One that is a template comes to an end, whatever it says */
static bool
fuzz_render(Template *tmpl, StringInfo source, const TemplateNode *data,
			StringInfo out)
{
	TemplatePartial partials[] = {
		{"a", source->data, source->len, NULL},
		{"ab", FUZZ_PARTIAL, sizeof(FUZZ_PARTIAL) - 1, NULL}
	};
	TemplateError error = {0};
	int			i;
	bool		good = true;

	if (template_link(NULL, tmpl, partials, COUNT(partials), &error))
	{
		resetStringInfo(out);
		good = template_render(NULL, tmpl, data, random_below(2),
							   random_below(2), out, &error) ||
			error.message[0] != '\0';
	}
	else
		good = error.message[0] != '\0';
	for (i = 0; i < COUNT(partials); i++)
	{
		if (partials[i].tmpl != NULL)
			pfree(partials[i].tmpl);
	}
	return good;
}

/* A template is parsed, or its fault lies within the text */
static void
fuzz_templates(StringInfo in)
{
	static const char *const pieces[] = {
		"{{", "}}", "{{{", "}}}", "{{#a}}", "{{/a}}", "{{^b}}", "{{/b}}",
		"{{#b}}", "{{.}}", "{{a.b}}", "{{>a}}", "{{>ab}}", "{{!", "{{=| |=}}",
		"|a|", "|#a|", "|/a|", "|=", "=|", "\n", "\r\n", " ", "\t", "\xC3\xBC",
		"a", "&", "<"
	};
	TemplateNode data = tree_parse(
								   "{\"a\": [{\"b\": [1, \"<&>\"]}, {\"a\": []},"
								   " {\"b\": {\"b\": [0]}}], \"b\": null,"
								   " \"ab\": \"x\\ny\"}");
	StringInfoData out;
	bool		good = true;
	int			passed = 0;
	int			i;

	initStringInfo(&out);
	for (i = 0; good && i < rounds(50000); i++)
	{
		TemplateError error;
		Template   *tmpl;
		int			n;

		if (i % 2)
			random_bytes(in, random_below(20), "{{{}}}}ab.&! \n\xC3\xBC#^/>=|");
		else
		{
			resetStringInfo(in);
			for (n = random_below(8); n > 0; n--)
				appendStringInfoString(in,
									   pieces[random_below(COUNT(pieces))]);
		}
		tmpl = template_parse(NULL, in->data, in->len, &error);
		if (tmpl == NULL)
			good = error.line >= 1 && error.column >= 1 &&
				error.line + error.column <= in->len + 2 &&
				error.message[0] != '\0';
		else
		{
			passed++;
			good = fuzz_render(tmpl, in, &data, &out);
			pfree(tmpl);
		}
		if (!good)
			diag("%s", in->data);
	}
	ok(good && passed > rounds(10000), "templates from random bytes");
	pfree(out.data);
}

void
test_fuzz(void)
{
	StringInfoData in;

	initStringInfo(&in);
	fuzz_headers(&in);
	fuzz_addresses(&in);
	fuzz_templates(&in);
	pfree(in.data);
}
