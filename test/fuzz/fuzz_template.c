/*-------------------------------------------------------------------------
 *
 * fuzz_template.c
 *	  Fuzz target: templates, parsed, linked with partials and rendered.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

/* Lists, objects, scalars, nothing, and a list in a list */
#define DATA \
	"{\"a\": [{\"b\": [1, \"<&>\"]}, {\"a\": []}, {\"b\": {\"b\": [0]}}]," \
	" \"b\": null, \"ab\": \"x\\ny\", \"t\": true, \"f\": false}"

/* A fault says where it is; partials may be named in it */
static void
check_error(const TemplateError *error)
{
	CHECK(error->line >= 1 && error->column >= 1);
	CHECK(error->message[0] != '\0');
	CHECK(strnlen(error->message, sizeof(error->message)) <
		  sizeof(error->message));
}

/* The same input, the same output */
static void
render_twice(const Template *tmpl, const TemplateNode *data,
			 TemplateMode mode, bool strict)
{
	StringInfoData first;
	StringInfoData second;
	TemplateError error = {0};
	bool		done;

	initStringInfo(&first);
	initStringInfo(&second);
	done = template_render(NULL, tmpl, data, mode, strict, &first, &error);
	if (!done)
		check_error(&error);
	CHECK(template_render(NULL, tmpl, data, mode, strict, &second,
						  &error) == done);
	CHECK(first.len == second.len &&
		  memcmp(first.data, second.data, first.len) == 0);
	pfree(first.data);
	pfree(second.data);
}

/*
 * Behind a line of so many other variables, none of which has a value, no
 * variable is known again when it is repeated: that must not show.
 */
static void
render_afresh(const char *source, size_t len, TemplatePartial *partials,
			  const Template *tmpl, const TemplateNode *data,
			  TemplateMode mode)
{
	Template   *behind = NULL;
	StringInfoData text;
	StringInfoData first;
	StringInfoData second;
	TemplateError error = {0};
	int			i;

	initStringInfo(&text);
	initStringInfo(&first);
	initStringInfo(&second);
	for (i = 0; i < 100; i++)
		appendStringInfo(&text, "{{none%d}}", i);
	appendStringInfoChar(&text, '\n');
	appendBinaryStringInfo(&text, source, (int) len);
	behind = template_parse(NULL, text.data, text.len, &error);
	CHECK(behind != NULL && template_link(NULL, behind, partials, 2, &error));
	if (template_render(NULL, tmpl, data, mode, false, &first, &error))
	{
		CHECK(template_render(NULL, behind, data, mode, false, &second,
							  &error));
		CHECK(second.len == first.len + 1 &&
			  memcmp(second.data + 1, first.data, first.len) == 0);
	}
	pfree(behind);
	pfree(text.data);
	pfree(first.data);
	pfree(second.data);
}

/* The template, NUL, the partial "a", NUL, the partial "ab" */
static void
cut(const char *text, size_t size, const char **parts, size_t *lens)
{
	int			i;

	for (i = 0; i < 3; i++)
	{
		const char *end = size > 0 ? memchr(text, '\0', size) : NULL;
		size_t		len = i < 2 && end != NULL ? end - text : size;

		parts[i] = text;
		lens[i] = len;
		text += len;
		size -= len;
		if (size > 0)
		{
			text++;
			size--;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static TemplateNode data;
	const char *parts[3];
	size_t		lens[3];
	TemplatePartial partials[2] = {{"a"}, {"ab"}};
	TemplateError error = {0};
	Template   *tmpl;
	int			flags;
	int			i;

	if (size < 1)
		return 0;
	if (data.kind == TEMPLATE_NULL)
		data = tree_parse(DATA);
	flags = bytes[0];
	cut((const char *) bytes + 1, size - 1, parts, lens);
	tmpl = template_parse(NULL, parts[0], lens[0], &error);
	if (tmpl == NULL)
	{
		check_error(&error);
		CHECK(error.line + error.column <= lens[0] + 2);
		return 0;
	}
	for (i = 0; i < 2; i++)
	{
		partials[i].source = parts[i + 1];
		partials[i].len = lens[i + 1];
	}
	if (template_link(NULL, tmpl, partials, 2, &error))
	{
		TemplateMode mode = flags & 1 ? TEMPLATE_HTML : TEMPLATE_PLAIN;

		render_twice(tmpl, &data, mode, flags & 2);
		render_afresh(parts[0], lens[0], partials, tmpl, &data, mode);
	}
	else
		check_error(&error);
	for (i = 0; i < 2; i++)
	{
		if (partials[i].tmpl != NULL)
			pfree(partials[i].tmpl);
	}
	pfree(tmpl);
	return 0;
}
