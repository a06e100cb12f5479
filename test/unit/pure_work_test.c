/*-------------------------------------------------------------------------
 *
 * pure_work_test.c
 *	  Tests of what a mail may cost: what is too much ends, whatever it is
 *	  made of; the callback is called often; and twice the input takes twice
 *	  the steps.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static int64 looks;

static void
look(void)
{
	looks++;
}

/* Some text, again and again */
static void
repeat(StringInfo out, const char *text, int times)
{
	while (times-- > 0)
		appendStringInfoString(out, text);
}

/* All steps that were counted */
static int64
work_used(const Work *work)
{
	return work->steps - work->left - work->quota;
}

/* ---- the count itself ---- */

static void
test_work_count(void)
{
	Work		work;
	int64		done = 0;

	work_begin(&work, 10 * WORK_PULSE + 7, look);
	looks = 0;
	while (work_do(&work, 1))
		done++;
	ok(done == 10 * WORK_PULSE + 7 && work.spent, "every step, and no more");
	ok(!work_do(&work, 1) && !work_do(&work, 5), "and none afterwards");
	ok(looks >= 10, "looked ten times meanwhile");
	work_renew(&work, 3);
	ok(work_do(&work, 3) && !work.spent && !work_do(&work, 1) && work.spent,
	   "again");
	work_begin(&work, 5, NULL);
	ok(!work_do(&work, 6) && work.spent, "more than there is at once");
	work_begin(&work, 100 * WORK_PULSE, look);
	looks = 0;
	ok(work_bytes(&work, 50 * WORK_PULSE * WORK_BYTES) && looks >= 25,
	   "bytes count, too, slice by slice");
}

/* ---- what ends ---- */

typedef struct Worst
{
	const char *name;
	const char *data;			/* the list of so many items of it is l */
	int			items;
	const char *begin;
	const char *middle;			/* so often */
	int			times;
	const char *end;
	const char *partial;		/* p */
} Worst;

#define TEN "{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}"
#define TEN_END "{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}"

static const Worst worst[] = {
	{"empty inverted sections", "1", 50000, "{{#l}}", "{{^x}}{{/x}}", 2000,
	"{{/l}}"},
	{"variables without value", "1", 50000, "{{#l}}", "{{x}}", 2000, "{{/l}}"},
	{"empty sections", "1", 50000, "{{#l}}", "{{#x}}{{/x}}", 2000, "{{/l}}"},
	{"empty items", "[]", 50000, "{{#l}}{{#l}}", "", 0, "{{/l}}{{/l}}"},
	{"comments", "1", 50000, "{{#l}}{{#l}}", "{{! x }}", 100, "{{/l}}{{/l}}"},
	{"empty partials", "1", 50000, "{{#l}}{{#l}}", "{{>p}}", 100,
	"{{/l}}{{/l}}", ""},
	{"partials far to the right", "1", 50000, "{{#l}}\n",
	"                                                  ", 20000,
	"{{>p}}\n{{/l}}", ""},
	{"dotted names", "1", 50000, "{{#l}}{{a.a.a.a.a.a.a.a.a.a.a}}", "{{a.x}}",
	2000, "{{/l}}"},
	{"names in many contexts", "1", 50000, "{{#a}}" TEN TEN TEN TEN, "{{x}}",
	300000, TEN_END TEN_END TEN_END TEN_END "{{/a}}"},
	{"lists in lists", "1", 50000, "{{#l}}{{#l}}{{#l}}{{#l}}", "", 0,
	"{{/l}}{{/l}}{{/l}}{{/l}}"},
	{"empty strings", "\"\"", 50000, "{{#l}}{{#l}}{{.}}", "", 0,
	"{{/l}}{{/l}}"}
};

static TemplateNode
worst_data(const Worst *w)
{
	StringInfoData json;
	int			i;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"a\": {\"a\": {\"a\": {}}}, \"l\": [");
	for (i = 0; i < w->items; i++)
		appendStringInfo(&json, "%s%s", i > 0 ? ", " : "", w->data);
	appendStringInfoString(&json, "]}");
	return tree_parse(json.data);
}

static void
test_work_ends(void)
{
	int			i;

	for (i = 0; i < COUNT(worst); i++)
	{
		const Worst *w = &worst[i];
		TemplateNode root = worst_data(w);
		TemplatePartial partial = {.name = "p",.source = w->partial};
		TemplateError error = {0};
		StringInfoData source;
		StringInfoData out;
		Template   *tmpl;
		Work		work;
		bool		good;

		initStringInfo(&source);
		initStringInfo(&out);
		appendStringInfoString(&source, w->begin);
		repeat(&source, w->middle, w->times);
		appendStringInfoString(&source, w->end);
		if (w->partial)
			partial.len = strlen(w->partial);
		tmpl = template_parse(NULL, source.data, source.len, &error);
		work_begin(&work, WORK_STEPS_MAX, look);
		looks = 0;
		good = tmpl && template_link(NULL, tmpl, &partial, w->partial ? 1 : 0,
									 &error) &&
			!template_render(&work, tmpl, &root, TEMPLATE_HTML, false, &out,
							 &error);
		if (!ok(good && work.spent && error.line > 0 &&
				strcmp(error.message, "more than 10000000 steps") == 0,
				"too much: %s", w->name))
			diag("%s", error.message);
		ok(looks >= work_used(&work) / (2 * WORK_PULSE + WORK_SLICE),
		   "and looked at");
		pfree(source.data);
		pfree(out.data);
	}
}

/* A letter of 100,000 items is none of these */
static void
test_work_suffices(void)
{
	static const char row[] =
		"{{#l}}<tr><td>{{a.a}}</td><td>{{.}}</td><td>{{x}}</td>"
		"<td>{{{.}}}</td>{{^x}}<td>none</td>{{/x}}</tr>\n{{/l}}";
	Worst		w = {.data = "\"Anna & Berta\"",.items = 100000};
	TemplateNode root = worst_data(&w);
	TemplateError error = {0};
	Template   *tmpl = template_parse(NULL, row, strlen(row), &error);
	StringInfoData out;
	Work		work;

	initStringInfo(&out);
	work_begin(&work, WORK_STEPS_MAX, NULL);
	work.room = 25 * 1024 * 1024;
	ok(template_link(NULL, tmpl, NULL, 0, &error) &&
	   template_render(&work, tmpl, &root, TEMPLATE_HTML, false, &out, &error),
	   "100,000 items");
	diag("100,000 items: " INT64_FORMAT " steps, %d bytes", work_used(&work),
		 out.len);
	pfree(out.data);
}

/* ---- room ---- */

static const char *const growing[] = {
	"{{#l}}0123456789abcdef0123456789abcdef0123456789abcdef{{/l}}",
	"{{#l}}{{s}}{{/l}}",
	"{{#l}}{{{s}}}{{s}}{{/l}}",
	"{{s}}{{s}}{{s}}{{s}}",
	"{{#l}}{{l}}{{/l}}",
	"{{#l}}\n            {{>p}}\n{{/l}}"
};

static void
test_work_room(void)
{
	StringInfoData json;
	TemplateNode root;
	int			i;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"s\": \"");
	repeat(&json, "<b>&\n", 100000);
	appendStringInfoString(&json, "\", \"l\": [1");
	repeat(&json, ", 1", 99999);
	appendStringInfoString(&json, "]}");
	root = tree_parse(json.data);
	for (i = 0; i < COUNT(growing); i++)
	{
		TemplatePartial partial = {.name = "p",.source = "x\nx\n",.len = 4};
		TemplateError error = {0};
		Template   *tmpl = template_parse(NULL, growing[i],
										  strlen(growing[i]), &error);
		StringInfoData out;
		Work		work;

		initStringInfo(&out);
		appendStringInfoString(&out, "what was there before");
		work_begin(&work, WORK_STEPS_MAX, NULL);
		work.room = 1024 * 1024;
		ok(template_link(NULL, tmpl, &partial, 1, &error) &&
		   !template_render(&work, tmpl, &root, TEMPLATE_HTML, false, &out,
							&error) &&
		   work.full && strcmp(error.message, "more than 1.0 MB") == 0 &&
		   out.maxlen <= 1024 * 1024 + 100, "no room: %d", i);
		pfree(out.data);
	}
}

/* As much as there is room for is no fault, one byte more is */
static void
test_work_room_exact(void)
{
	TemplateNode root = tree_parse("{\"s\": \"0123456789\"}");
	TemplateError error = {0};
	Template   *tmpl = template_parse(NULL, "{{s}}{{s}}", 10, &error);
	StringInfoData out;
	Work		work;

	initStringInfo(&out);
	work_begin(&work, 100, NULL);
	work.room = 20;
	ok(template_render(&work, tmpl, &root, TEMPLATE_PLAIN, false, &out,
					   &error) && out.len == 20, "exactly as much");
	work_begin(&work, 100, NULL);
	work.room = 19;
	ok(!template_render(&work, tmpl, &root, TEMPLATE_PLAIN, false, &out,
						&error) && work.full, "one more");
	pfree(out.data);
}

/* ---- bodies ---- */

static const struct
{
	const char *text;			/* again and again */
	const char *encoding;
}			bodies[] =
{
	{"plain words\n", "7bit"},
	{"\n", "7bit"},
	{"a", "quoted-printable"},
	{"caf\303\251 and something else\n", "quoted-printable"},
	{" \n", "quoted-printable"},
	{"From here\r\n", "quoted-printable"},
	{"=====", "base64"},
	{"\320\237\320\240\320\230", "base64"}
};

static void
test_work_bodies(void)
{
	int			i;

	for (i = 0; i < COUNT(bodies); i++)
	{
		StringInfoData body;
		StringInfoData whole;
		StringInfoData out;
		Work		work;

		initStringInfo(&body);
		initStringInfo(&whole);
		initStringInfo(&out);
		repeat(&body, bodies[i].text, 1000000 / (int) strlen(bodies[i].text));
		work_begin(&work, WORK_STEPS_MAX, look);
		looks = 0;
		ok(mime_text_part(&work, &whole, "plain", body.data, body.len) &&
		   strstr(whole.data, bodies[i].encoding) != NULL &&
		   looks >= body.len / (WORK_PULSE * WORK_BYTES),
		   "a body of %s: looked at", bodies[i].encoding);
		work.room = 400000;
		ok(!mime_text_part(&work, &out, "plain", body.data, body.len) &&
		   work.full && out.maxlen <= 3 * 400000, "no room for it");
		/* with exactly the room it takes, in slices or not, it is the same */
		resetStringInfo(&out);
		work.full = false;
		work.room = whole.len;
		ok(mime_text_part(&work, &out, "plain", body.data, body.len) &&
		   out.len == whole.len && memcmp(out.data, whole.data, out.len) == 0,
		   "room for it");
		pfree(body.data);
		pfree(whole.data);
		pfree(out.data);
	}
}

/* A body is hashed in small parts, whatever it is made of */
static void
test_work_signature(void)
{
	static const char *const lines[] = {"a\ta\ta\t\r\n", "\r\n", "0123456789"};
	DkimSigner	signer = {NULL, "b.example", "s"};
	char	   *why;
	int			i;

	signer.key = dkim_key_load(key_ed25519, &why);
	for (i = 0; i < COUNT(lines); i++)
	{
		StringInfoData message;
		StringInfoData field;
		Piece		whole;
		Work		work;

		initStringInfo(&message);
		initStringInfo(&field);
		appendStringInfoString(&message, "From: a@b.example\r\n\r\n");
		repeat(&message, lines[i], 1000000 / (int) strlen(lines[i]));
		appendStringInfoString(&message, ".\r\n");
		whole.data = message.data;
		whole.len = message.len;
		work_begin(&work, WORK_STEPS_MAX, look);
		looks = 0;
		ok(dkim_sign(&work, &field, &signer, 0, &whole, 1) &&
		   looks >= message.len / (WORK_PULSE * WORK_BYTES),
		   "a body that is signed, %d: looked at", i);
		work_begin(&work, 1000, look);
		ok(!dkim_sign(&work, &field, &signer, 0, &whole, 1) && work.spent,
		   "and too much work");
		pfree(message.data);
		pfree(field.data);
	}
	dkim_key_free(signer.key);
}

/* ---- twice as much takes twice as long ---- */

typedef struct Shape
{
	const char *name;
	const char *begin;
	const char *text;
	const char *end;
} Shape;

static const Shape shapes[] = {
	{"text", "", "abcdefgh\n", ""},
	{"braces", "", "{ ", ""},
	{"variables", "", "{{a}}", ""},
	{"other variables", "", "{{aaaaaaaaaaaaaaaaaaaaaaa}}{{b}}{{c}}", ""},
	{"comments", "", "{{!x}}\n", ""},
	{"one comment", "{{!", "abcdefgh", "}}"},
	{"blanks before tags", "", "         {{!x}}        \n", ""},
	{"blanks", "{{!x}}", "         ", "{{!x}}"},
	{"blanks in a tag", "{{", "          ", "a}}"},
	{"delimiters", "", "{{=<% %>=}}<%={{ }}=%>", ""},
	{"half a delimiter", "{{=aaaaaaab b=}}", "aaaaaaaaaaaa", ""},
	{"sections", "", "{{#a}}{{/a}}", ""},
	{"partials", "", "{{>p}}", ""},
	{"delimiters in a delimiter", "{{= a b", " ", "=}}"}
};

static void
test_work_linear(void)
{
	static char names[4000][8];
	static TemplatePartial partials[4000];
	int			i;
	int			n;

	for (i = 0; i < COUNT(partials); i++)
	{
		snprintf(names[i], sizeof(names[i]), "n%d", i);
		partials[i].name = i == 17 ? "p" : names[i];
		partials[i].source = "";
	}
	template_sort_partials(partials, COUNT(partials));
	for (i = 0; i < COUNT(shapes); i++)
	{
		const Shape *shape = &shapes[i];
		int64		used[4];
		bool		good = true;

		for (n = 0; n < 4; n++)
		{
			int			size = 200000 << n;
			StringInfoData source;
			TemplateError error = {0};
			Template   *tmpl;
			Work		work;

			initStringInfo(&source);
			appendStringInfoString(&source, shape->begin);
			repeat(&source, shape->text, size / (int) strlen(shape->text));
			appendStringInfoString(&source, shape->end);
			work_begin(&work, WORK_STEPS_MAX * 10, look);
			looks = 0;
			tmpl = template_parse(&work, source.data, source.len, &error);
			good = good && tmpl && template_link(&work, tmpl, partials,
												 COUNT(partials), &error) &&
				looks >= work_used(&work) / (2 * WORK_PULSE);
			if (!good)
				diag("%d: %s", size, error.message);
			used[n] = work_used(&work);
			if (tmpl)
				pfree(tmpl);
			pfree(source.data);
		}
		ok(good && used[3] <= 9 * Max(used[0], 100), "linear: %s, "
		   INT64_FORMAT " steps", shape->name, used[3]);
	}
}

/* So much of one is as much as of many: a letter has so many tags */
static void
test_work_tags(void)
{
	StringInfoData source;
	TemplateError error = {0};
	Work		work;

	initStringInfo(&source);
	repeat(&source, "{{a}}", 1000000);
	work_begin(&work, WORK_STEPS_MAX, NULL);
	ok(template_parse(&work, source.data, source.len, &error) == NULL &&
	   strcmp(error.message,
			  "the templates of the letter have too many tags") == 0 &&
	   error.line == 1 && error.column > 1000, "too many tags");
	pfree(source.data);
}

static void
test_work_names(void)
{
	StringInfoData source;
	TemplateError error = {0};

	initStringInfo(&source);
	appendStringInfoString(&source, "\n {{");
	repeat(&source, "a", 1000);
	appendStringInfoString(&source, "}}");
	ok(template_parse(NULL, source.data, source.len, &error) != NULL,
	   "a name of 1000 bytes");
	resetStringInfo(&source);
	appendStringInfoString(&source, "\n {{#");
	repeat(&source, "a.", 600);
	ok(template_parse(NULL, source.data, source.len, &error) == NULL &&
	   strcmp(error.message, "a section name is longer than 1000 bytes") == 0 &&
	   error.line == 2 && error.column == 5, "and one of more");
	ok(template_parse(NULL, "{{=1234567890123456 6543210987654321=}}", 39,
					  &error) != NULL, "delimiters of 16 bytes");
	ok(template_parse(NULL, "\n{{=1234567890123456 65432109876543210=}}", 41,
					  &error) == NULL &&
	   strcmp(error.message, "a delimiter is longer than 16 bytes") == 0 &&
	   error.line == 2 && error.column == 1, "and one of more");
}

/* ---- a message ---- */

static void
test_work_message(void)
{
	static RandomLetter t;
	Rendered	r;
	size_t		size;
	int			i;

	for (i = 0; i < 20; i++)
	{
		random_letter(&t, i);
		if (!ok(render_message(&t.letter, &t.recipient, &r), "message %d", i))
			continue;
		size = r.size;
		t.letter.max_size = size;
		t.letter.max_size_of = "the test";
		ok(render_message(&t.letter, &t.recipient, &r) &&
		   r.size == size, "exactly as large");
		t.letter.max_size = size - 1;
		if (!ok(!render_message(&t.letter, &t.recipient, &r) &&
				strstr(r.error, "message would exceed ") != NULL &&
				strstr(r.error, " (the test)") != NULL, "one octet more"))
			diag("%s", r.error);
	}
}

void
test_work(void)
{
	test_work_count();
	test_work_ends();
	test_work_suffices();
	test_work_room();
	test_work_room_exact();
	test_work_bodies();
	test_work_signature();
	test_work_linear();
	test_work_tags();
	test_work_names();
	test_work_message();
}
