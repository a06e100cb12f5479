/*-------------------------------------------------------------------------
 *
 * pure_template_test.c
 *	  Tests of template*.c beside the specification: faults and their places,
 *	  strictness, what has no end.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

typedef struct TemplateCase
{
	const char *source;
	const char *plain;
	const char *html;			/* NULL: the same */
} TemplateCase;

static const TemplateCase templates[] = {
	{"", ""},
	{"plain", "plain"},
	{"{", "{"},
	{"a { b } }} {", "a { b } }} {"},
	{"{{data.first}}", "Ann"},
	{"Dear {{data.first}}, of {{data.city}}!", "Dear Ann, of Köln!"},
	{"{{ data.first }}{{\n\tdata.city\r\n}}", "AnnKöln"},
	{"{{nothing}}|{{data.nothing}}|{{{data.x}}}", "||"},
	{"{{data.html}}", "<b a=\"1\">Tom & 'Jerry'</b>",
	"&lt;b a=&quot;1&quot;&gt;Tom &amp; &#39;Jerry&#39;&lt;/b&gt;"},
	{"{{{data.html}}}{{{ data.first }}}", "<b a=\"1\">Tom & 'Jerry'</b>Ann"},
	{"{{&data.html}}", "<b a=\"1\">Tom & 'Jerry'</b>"},
	{"{{ & data.html }}", "<b a=\"1\">Tom & 'Jerry'</b>"},
	{"a{{! a comment }}b", "ab"},
	{"a{{!}}b{{ ! with } and { and\nlines }}c", "abc"},
	{"{{data.first}}}", "Ann}"},
	{"{ {{data.first}} }", "{ Ann }"},
	{"<a href='{{data.first}}'>&", "<a href='Ann'>&"},
	{"{{größe}}{{data.items.0.the-name}}{{_x}}{{@x}}{{a$:/%+~}}", ""},
	{"{{#data}}{{first}} {{data.city}}{{/data}}", "Ann Köln"},
	{"{{# data.first}}{{.}}{{/data.first}}{{^data.x}}-{{/ data.x }}", "Ann-"},
};

static void
test_template_values(void)
{
	StringInfoData json;
	TemplateNode root;
	int			i;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"data\": %s}", TEST_DATA);
	root = tree_parse(json.data);
	for (i = 0; i < COUNT(templates); i++)
	{
		const TemplateCase *t = &templates[i];
		TemplateError error;
		Template   *tmpl = template_parse(NULL, t->source, strlen(t->source),
										  &error);
		int			html;

		if (!ok(tmpl && template_link(NULL, tmpl, NULL, 0, &error),
				"template %d", i))
		{
			diag("%s", error.message);
			continue;
		}
		for (html = 0; html < 2; html++)
		{
			const char *wanted = html && t->html ? t->html : t->plain;
			StringInfoData out;

			initStringInfo(&out);
			if (!ok(template_render(NULL, tmpl, &root,
									html ? TEMPLATE_HTML : TEMPLATE_PLAIN,
									false, &out, &error) &&
					strcmp(out.data, wanted) == 0, "template %d, %s", i,
					html ? "html" : "plain"))
				diag("%s -> %s", t->source, out.data);
		}
		pfree(tmpl);
	}
}

typedef struct TemplateFault
{
	const char *source;
	int			line;
	int			column;
	const char *message;
} TemplateFault;

#define NO_TAG		"unclosed tag, expected \"}}\""
#define NO_CLOSE	"expected \"}}\" after the variable name"
#define NO_VARIABLE	"expected a variable name"
#define EMPTY		"empty tag, expected a variable name"
#define DELIMITERS	"expected two delimiters, as in \"{{=<% %>=}}\""

static const TemplateFault faults[] = {
	{"{{", 1, 1, NO_TAG},
	{"a\nbü {{name", 2, 4, NO_TAG},
	{"{{name}", 1, 7, NO_CLOSE},
	{"{{name} }", 1, 7, NO_CLOSE},
	{"{{{name}}", 1, 8, "expected \"}}}\" after the variable name"},
	{"{{{name} }}", 1, 8, "expected \"}}}\" after the variable name"},
	{"{{{name", 1, 1, "unclosed tag, expected \"}}}\""},
	{"{{first name}}", 1, 9, NO_CLOSE},
	{"{{name|upper}}", 1, 7, NO_CLOSE},
	{"x {{}}", 1, 3, EMPTY},
	{"x\r\ny\rz {{  }}", 3, 3, EMPTY},
	{"{{{}}}", 1, 1, EMPTY},
	{"{{&}}", 1, 1, EMPTY},
	{"{{#}}", 1, 1, "empty tag, expected a section name"},
	{"{{/ }}", 1, 1, "empty tag, expected a section name"},
	{"{{>}}", 1, 1, "empty tag, expected a partial name"},
	{"{{.x}}", 1, 4, NO_CLOSE},
	{"{{..}}", 1, 4, NO_CLOSE},
	{"{{ \"x\" }}", 1, 4, NO_VARIABLE},
	{"{{data.}}", 1, 8, "expected a name after \".\""},
	{"{{data..x}}", 1, 8, "expected a name after \".\""},
	{"{{data. x}}", 1, 8, "expected a name after \".\""},
	{"{{a}} {{name\n\nx}}", 3, 1, NO_CLOSE},
	{"{{! never closed }", 1, 1, "unclosed comment, expected \"}}\""},
	{"a {{#if x}}b{{/if}}", 1, 9, "expected \"}}\" after the section name"},
	{"{{{{x}}}}", 1, 4, NO_VARIABLE},
	{"{{#a}}", 1, 1, "unclosed section, expected the end of \"a\""},
	{"a\n {{^b.c}} {{#d}}{{/d}}", 2, 2,
	"unclosed section, expected the end of \"b.c\""},
	{"{{#a}}\n{{#b}}\n{{/a}}\n{{/b}}", 3, 1,
	"expected the end of section \"b\" of line 2, not of \"a\""},
	{"{{#a}}{{/a}}\n{{/a}}", 2, 1,
	"unexpected end of section \"a\", none is open"},
	{"{{=x=}}", 1, 1, DELIMITERS},
	{"{{=x y z=}}", 1, 1, DELIMITERS},
	{"{{= =}}", 1, 1, DELIMITERS},
	{"\n{{=<% %>}}", 2, 1, "unclosed change of delimiters, expected \"=}}\""},
	{"{{=<% %>=}}<%x", 1, 12, "unclosed tag, expected \"%>\""},
	{"{{=<% %>=}}<%x }}", 1, 16, "expected \"%>\" after the variable name"},
	{"{{=<% %>=}}<%=[ ]=}}", 1, 12,
	"unclosed change of delimiters, expected \"=%>\""},
	{"{{$block}}{{/block}}", 1, 1,
	"inheritance of templates is not supported"},
	{"{{<parent}}{{/parent}}", 1, 1,
	"inheritance of templates is not supported"},
	{"{{>*name}}", 1, 4, "expected a partial name"},
	{"{{#a_name_of_more_than_thirty-two_bytes}}", 1, 1,
		"unclosed section, expected the end of"
	" \"a_name_of_more_than_thirty-two_b\""},
	{"{{/ööööööööööööööööx}}", 1, 1,
	"unexpected end of section \"öööööööööööööööö\", none is open"},
	{"{{/xöööööööööööööööö}}", 1, 1,
	"unexpected end of section \"xööööööööööööööö\", none is open"},
};

static void
test_template_faults(void)
{
	StringInfoData deep;
	TemplateError error;
	int			i;

	for (i = 0; i < COUNT(faults); i++)
	{
		const TemplateFault *f = &faults[i];
		size_t		len = strlen(f->source);
		char	   *exact = malloc(len);	/* no NUL behind it */

		memcpy(exact, f->source, len);
		memset(&error, 0, sizeof(error));
		if (!ok(template_parse(NULL, exact, len, &error) == NULL &&
				error.line == f->line && error.column == f->column &&
				error.partial == NULL &&
				strcmp(error.message, f->message) == 0,
				"template fault %d: %s", i, f->message))
			diag("%s: %d:%d: %s", f->source, error.line, error.column,
				 error.message);
		free(exact);
	}

	initStringInfo(&deep);
	for (i = 0; i < 101; i++)
		appendStringInfoString(&deep, "{{#a}}");
	ok(template_parse(NULL, deep.data, deep.len, &error) == NULL &&
	   error.column == 601 &&
	   strcmp(error.message, "sections are nested deeper than 100") == 0,
	   "sections in sections in ...");
}

typedef struct PartialFault
{
	const char *source;
	const char *partials[6];
	const char *partial;		/* where the fault is */
	int			line;
	int			column;
	const char *message;		/* NULL: there is none */
} PartialFault;

static const PartialFault partial_faults[] = {
	{"a {{>b}}", {NULL}, NULL, 1, 3, "there is no partial \"b\""},
	{"{{>a}}", {"a", "x\n {{>b}}"}, "a", 2, 2, "there is no partial \"b\""},
	{"{{#x}}{{>a}}{{/x}}", {"a", "x\n {{#b}}"}, "a", 2, 2,
	"unclosed section, expected the end of \"b\""},
	{"{{>a}}", {"a", "", "b", "{{"}, NULL, 0, 0, NULL},
	{"{{>a}}", {"a", "{{>a}}"}, "a", 1, 1,
	"partial \"a\" is in itself without end"},
	{"{{>a}}", {"a", "{{>b}}", "b", "\n\n  {{>a}}"}, "b", 3, 3,
	"partial \"a\" is in itself without end"},
	{"{{#x}}{{>a}}{{/x}}", {"a", "{{#x}}{{>b}}{{/x}}", "b", "{{>a}}"}, NULL,
	0, 0, NULL},
	{"{{>a}}{{>b}}", {"a", "{{>b}}{{>b}}", "b", "x"}, NULL, 0, 0, NULL},
};

static int
fill_partials(TemplatePartial *list, const char *const *from)
{
	int			n;

	memset(list, 0, 3 * sizeof(TemplatePartial));
	for (n = 0; n < 3 && from[2 * n] != NULL; n++)
	{
		list[n].name = from[2 * n];
		list[n].source = from[2 * n + 1];
		list[n].len = strlen(list[n].source);
	}
	template_sort_partials(list, n);
	return n;
}

static void
test_partial_faults(void)
{
	int			i;

	for (i = 0; i < COUNT(partial_faults); i++)
	{
		const PartialFault *f = &partial_faults[i];
		Template   *tmpl;
		TemplatePartial list[3];
		TemplateError error = {0};
		int			n = fill_partials(list, f->partials);
		bool		linked;

		tmpl = template_parse(NULL, f->source, strlen(f->source), &error);
		linked = template_link(NULL, tmpl, list, n, &error);
		if (f->message == NULL)
			ok(linked, "partial fault %d is none", i);
		else if (!ok(!linked && error.line == f->line &&
					 error.column == f->column &&
					 strcmp(error.message, f->message) == 0 &&
					 (f->partial ? error.partial &&
					  strcmp(f->partial, error.partial) == 0 :
					  error.partial == NULL),
					 "partial fault %d: %s", i, f->message))
			diag("%s:%d:%d: %s", error.partial ? error.partial : "",
				 error.line, error.column, error.message);
	}
}

/* A chain of partials, each in the one before, is as long as is allowed */
static void
test_partial_chain(void)
{
	TemplatePartial list[33];
	TemplateNode root = tree_parse("{}");
	TemplateError error;
	Template   *tmpl;
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < 33; i++)
	{
		list[i].name = psprintf("p%d", i);
		list[i].source = i < 32 ? psprintf("{{>p%d}}", i + 1) : "end";
		list[i].len = strlen(list[i].source);
		list[i].tmpl = NULL;
	}
	template_sort_partials(list, 33);
	tmpl = template_parse(NULL, "{{>p1}}", 7, &error);
	ok(template_link(NULL, tmpl, list, 33, &error) &&
	   template_render(NULL, tmpl, &root, TEMPLATE_PLAIN, true, &out, &error) &&
	   strcmp(out.data, "end") == 0, "partials may be 32 deep");
	tmpl = template_parse(NULL, "{{>p0}}", 7, &error);
	ok(!template_link(NULL, tmpl, list, 33, &error) &&
	   strcmp(error.message, "partials are nested deeper than 32") == 0,
	   "and no deeper, known before");
}

typedef struct RenderFault
{
	const char *source;
	const char *partials[6];
	bool		strict;
	const char *shown;			/* NULL: it fails */
	const char *partial;		/* where */
	int			line;
	int			column;
	const char *message;
} RenderFault;

#define HUNDRED	\
	"ööööööööööööööööööööööööööööööööööööööööööööööööööö"

static const RenderFault render_faults[] = {
	{"a\n  {{x}}", {NULL}, true, NULL, NULL, 2, 3, "{{x}} has no value"},
	{"a\n  {{x}}", {NULL}, false, "a\n  "},
	{"{{{n}}}", {NULL}, true, NULL, NULL, 1, 1, "{{n}} has no value"},
	{"{{t.x.y}}", {NULL}, true, NULL, NULL, 1, 1, "{{t.x.y}} has no value"},
	{"{{l.2}}{{l.7}}", {NULL}, true, NULL, NULL, 1, 8, "{{l.7}} has no value"},
	{"{{#l}}{{.}}{{/l}}", {NULL}, true, "123"},
	{"{{e}}{{f}}{{#x}}{{x}}{{/x}}{{^x}}-{{/x}}", {NULL}, true, "false-"},
	{"{{" HUNDRED "}}", {NULL}, true, NULL, NULL, 1, 1, NULL},
	{"{{=[ ]=}}\n[>p]", {"p", "\n {{x}}"}, true, NULL, "p", 2, 2,
	"{{x}} has no value"},
	{"{{#t}}{{>p}}{{/t}}", {"p", "x{{#t}}{{>p}}{{/t}}"}, false, NULL, "p",
	1, 8, "partials are nested deeper than 32"},
	{"{{#t}}{{>p}}{{/t}}",
		{"p", "{{#l}}{{#l}}{{>p}}{{/l}}{{/l}}"}, false, NULL, "p",
	1, 13, "partials are nested deeper than 32"},
	{"{{#l}}{{>p}}{{/l}}", {"p", "{{#l}}{{>q}}{{/l}}",
			"q", "{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}"
			"{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}"
	"{{/l}}{{/l}}{{/l}}"}, false, NULL, "q", 1, 67,
	"more than 10000000 steps"},
};

static void
test_render_faults(void)
{
	TemplateNode root = tree_parse("{\"n\": null, \"e\": \"\", \"f\": false,"
								   " \"t\": {\"x\": 1}, \"l\": [1, 2, 3]}");
	int			i;

	for (i = 0; i < COUNT(render_faults); i++)
	{
		const RenderFault *f = &render_faults[i];
		TemplateError error = {0};
		TemplatePartial list[3];
		int			n = fill_partials(list, f->partials);
		Template   *tmpl = template_parse(NULL, f->source, strlen(f->source),
										  &error);
		StringInfoData out;
		bool		good;

		initStringInfo(&out);
		good = tmpl && template_link(NULL, tmpl, list, n, &error) &&
			template_render(NULL, tmpl, &root, TEMPLATE_PLAIN, f->strict, &out,
							&error);
		if (f->shown != NULL)
			good = good && strcmp(out.data, f->shown) == 0;
		else
			good = !good && error.line == f->line &&
				error.column == f->column &&
				(f->message == NULL ? strlen(error.message) < 120 :
				 strcmp(error.message, f->message) == 0) &&
				(f->partial ? error.partial &&
				 strcmp(error.partial, f->partial) == 0 :
				 error.partial == NULL);
		if (!ok(good, "rendering fault %d: %s", i,
				f->message ? f->message : "none"))
			diag("%s; %s:%d:%d: %s", f->shown ? out.data : "",
				 error.partial ? error.partial : "", error.line,
				 error.column, error.message);
	}
}

/* What nobody can have shows without any recipient */
static const struct
{
	const char *source;
	const char *variable;		/* NULL: all may have a value */
	const char *section;
	const char *partial;		/* where it is */
	int			column;
}			name_faults[] =
{
	{"{{email}}{{name}}{{data.a.b}}{{variables.x}}{{.}}", NULL, NULL, NULL, 0},
	{"{{subscription.data.x}}{{unsubscribe_url}}", NULL, NULL, NULL, 0},
	{"{{newsletter.ref}}{{newsletter.ref.x}}{{letter.id}}", NULL, NULL, NULL, 0},
	{"\303\251 {{nme}}", "{{nme}}", NULL, NULL, 3},
	{"{{&nme}}{{{mail}}}", "{{nme}}", NULL, NULL, 1},
	{"{{subscription}}{{subscription.city}}", "{{subscription.city}}", NULL,
	NULL, 17},
	{"{{letter.subject}}", "{{letter.subject}}", NULL, NULL, 1},
	{"{{newsletter.name.x}}", "{{newsletter.name.x}}", NULL, NULL, 1},
	{"{{#data}}{{nme}}{{>bad}}{{/data}}{{>good}}", NULL, NULL, NULL, 0},
	{"{{#promo}}{{nme}}{{/promo}}", NULL, "{{#promo}}", NULL, 1},
	{"{{^promo}}{{nme}}{{/promo}}", "{{nme}}", "{{^promo}}", NULL, 11},
	{"{{^name}}{{>bad}}{{/name}}", "{{nme}}", NULL, "bad", 3},
	{"{{>good}}{{>bad}}{{>bad}}", "{{nme}}", NULL, "bad", 3},
	{"{{^name}}{{>self}}{{/name}}", "{{nme}}", NULL, "self", 28}
};

static void
test_name_fault(int i)
{
	TemplatePartial partials[] = {
		{.name = "good",.source = "{{name}}"},
		{.name = "bad",.source = "- {{nme}}"},
		{.name = "self",.source = "{{^name}}{{>self}}{{/name}}{{nme}}"}
	};
	const char *source = name_faults[i].source;
	const char *partial = name_faults[i].partial;
	RenderLetter letter = {0};
	TemplateError error;
	TemplateError section;
	Template   *tmpl = template_parse(NULL, source, strlen(source), &error);
	bool		good;
	int			n;

	for (n = 0; n < (int) lengthof(partials); n++)
		partials[n].len = strlen(partials[n].source);
	template_sort_partials(partials, (int) lengthof(partials));
	letter.newsletter = tree_parse("{\"name\": \"Weekly\", \"ref\": null}");
	letter.letter = tree_parse("{\"id\": 1}");
	good = template_link(NULL, tmpl, partials, lengthof(partials), &error);
	if (name_faults[i].variable == NULL)
		good = good && template_check_variables(&letter, tmpl, &error);
	else
		good = good && !template_check_variables(&letter, tmpl, &error) &&
			strcmp(error.message, psprintf("%s never has a value",
										   name_faults[i].variable)) == 0 &&
			error.column == name_faults[i].column &&
			(partial ? error.partial && strcmp(error.partial, partial) == 0 :
			 error.partial == NULL);
	if (name_faults[i].section == NULL)
		good = good && template_check_sections(&letter, tmpl, &section);
	else
		good = good && !template_check_sections(&letter, tmpl, &section) &&
			strcmp(section.message, psprintf("%s never has a value",
											 name_faults[i].section)) == 0;
	if (!ok(good, "names: %s", source))
		diag("%d: %s", error.column, error.message);
}

void
test_templates(void)
{
	int			i;

	for (i = 0; i < (int) lengthof(name_faults); i++)
		test_name_fault(i);
	test_template_values();
	test_template_faults();
	test_partial_faults();
	test_partial_chain();
	test_render_faults();
}
