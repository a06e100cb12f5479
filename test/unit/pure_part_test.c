/*-------------------------------------------------------------------------
 *
 * pure_part_test.c
 *	  Tests of mime_part.c, mime_field.c and verp.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include "mime.h"

static const uint8 secret[] = "0123456789abcdef0123456789abcdef";

#define A65	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What a file name looks like as a parameter */
static const char *const parameters[][2] = {
	{"a.pdf", ";\r\n name=\"a.pdf\""},
	{"", ";\r\n name=\"\""},
	{"a b.pdf", ";\r\n name=\"a b.pdf\""},
	{"a\"b\\c.pdf", ";\r\n name*=utf-8''a%22b%5Cc.pdf"},
	{"a;b=c.pdf", ";\r\n name=\"a;b=c.pdf\""},
	{"=?UTF-8?Q?x?=", ";\r\n name*=utf-8''%3D%3FUTF-8%3FQ%3Fx%3F%3D"},
	{"a\r\nBcc: x.pdf", ";\r\n name=\"a Bcc: x.pdf\""},
	{"Grüße.pdf", ";\r\n name*=utf-8''Gr%C3%BC%C3%9Fe.pdf"},
	{"100%'*ü", ";\r\n name*=utf-8''100%25%27%2A%C3%BC"},
	{"通讯 1.pdf", ";\r\n name*=utf-8''%E9%80%9A%E8%AE%AF%201.pdf"},
	{A65 "aaaaaaaa", ";\r\n name*0=\"" A65 "\";\r\n name*1=\"aaaaaaaa\""},
	{A65, ";\r\n name=\"" A65 "\""},
	{"üüüüüüüüüüüü.pdf", ";\r\n name*0*=utf-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC"
	"%C3%BC%C3%BC%C3%BC%C3%BC;\r\n name*1*=%C3%BC%C3%BC%C3%BC.pdf"},
};

static const struct
{
	const char *type;
	bool		good;
}			types[] =
{
	{"text/plain", true}, {"image/svg+xml", true}, {"IMAGE/PNG", true},
	{"text/csv; charset=utf-8", true},
	{"text/csv;charset=\"utf-8\" ;header=present", true},
	{"application/x; a=\"b \\\" c\"", true},
	{"", false}, {"text", false}, {"text/", false}, {"/plain", false},
	{"text/plain;", false}, {"text/plain; ", false},
	{"text/plain; charset", false}, {"text/plain; charset=", false},
	{"text/plain; charset=\"utf", false}, {"text/plain; charset=\"u\\", false},
	{"text/plain; =utf-8", false}, {"text/plain x", false},
	{"text/plain, text/html", false}, {"te xt/plain", false},
	{"text/plain; name=a", false}, {"text/plain; NAME*0*=utf-8''a", false},
	{"text/plain; names=a", true},
	{"multipart/mixed; boundary=a", false}, {"message/rfc822", false},
	{"text/plain\r\nBcc: x@y.example", false},
	{"text/plain; a=\"b\r\nBcc: x@y.example\"", false},
	{"text/pläin", false}, {"text/plain; a=ü", false},
	{"text/plain; a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	"aaaaaaaaaa", false},
};

static const struct
{
	const char *id;
	bool		good;
}			content_ids[] =
{
	{"logo", true}, {"logo.1@news.example", true}, {"a+b-c_d~e", true},
	{"", false}, {"<logo>", false}, {"a b", false}, {"a@b@c", false},
	{"@b", false}, {"a@", false}, {".a", false}, {"a.", false},
	{"a..b", false}, {"a.@b", false}, {"a@.b", false}, {"a%20b", false},
	{"grün", false}, {"a\r\nBcc: x", false}, {"a>\r\nX: y", false},
};

static void
test_part_tables(void)
{
	StringInfoData out;
	const char *why;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < COUNT(parameters); i++)
	{
		resetStringInfo(&out);
		mime_append_parameter(&out, "name", parameters[i][0]);
		if (!ok(strcmp(out.data, parameters[i][1]) == 0, "parameter %d", i))
			diag("%s", out.data);
	}
	for (i = 0; i < COUNT(types); i++)
	{
		why = NULL;
		ok(mime_type_is_valid(types[i].type, &why) == types[i].good &&
		   (types[i].good || why != NULL), "media type %d", i);
	}
	for (i = 0; i < COUNT(content_ids); i++)
	{
		why = NULL;
		ok(mime_content_id_is_valid(content_ids[i].id, &why) ==
		   content_ids[i].good && (content_ids[i].good || why != NULL),
		   "content id %d", i);
	}
	pfree(out.data);
}

/* Which encoding a file gets, and that not one byte changes */
static void
test_attachments(void)
{
	static const char *const cases[][3] = {
		{"text/csv", "a,b\r\n1,2\r\n", "7bit\r\n\r\na,b\r\n1,2\r\n"},
		{"text/csv", "a,b\n1,2\n", "base64\r\n\r\nYSxiCjEsMgo=\r\n"},
		{"text/csv", "a,b\r\n1,2", "base64\r\n\r\nYSxiDQoxLDI=\r\n"},
		{"text/csv", "a\r\n\n", "base64\r\n\r\nYQ0KCg==\r\n"},
		{"text/csv", "a\rb\r\n", "base64\r\n\r\nYQ1iDQo=\r\n"},
		{"TEXT/csv", ".a b c d e f g h i\r\n",
		"quoted-printable\r\n\r\n=2Ea b c d e f g h i\r\n"},
		{"application/json", "{}\r\n", "base64\r\n\r\ne30NCg==\r\n"},
		{"text/csv", "", "base64\r\n\r\n"},
	};
	StringInfoData out;
	Attachment	file = {.name = "a.bin"};
	const char *why;
	const char *body;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < COUNT(cases); i++)
	{
		resetStringInfo(&out);
		file.content_type = cases[i][0];
		file.content = cases[i][1];
		file.len = strlen(cases[i][1]);
		body = mime_attachment(NULL, &out, &file, &why) ?
			strstr(out.data, "Encoding: ") : NULL;
		if (!ok(body != NULL && strcmp(body + 10, cases[i][2]) == 0,
				"attachment %d", i))
			diag("%s", out.data);
	}

	resetStringInfo(&out);
	file = (Attachment)
	{
		"Grüße.png", "image/png; a=b;c=\"d e\"", "logo@news.example", "x", 1
	};
	ok(mime_attachment(NULL, &out, &file, &why) &&
	   strcmp(out.data, "Content-Type: image/png;\r\n a=b;\r\n c=\"d e\";\r\n"
			  " name*=utf-8''Gr%C3%BC%C3%9Fe.png\r\n"
			  "Content-Disposition: inline;\r\n"
			  " filename*=utf-8''Gr%C3%BC%C3%9Fe.png\r\n"
			  "Content-ID: <logo@news.example>\r\n"
			  "Content-Transfer-Encoding: base64\r\n\r\neA==\r\n") == 0,
	   "an inline part");
	pfree(out.data);
}

void
test_parts(void)
{
	test_part_tables();
	test_attachments();
}

static void
test_field_names(void)
{
	static const struct
	{
		const char *name;
		bool		good;
	}			names[] =
	{
		{"X-Campaign", true}, {"List-Help", true}, {"References", true},
		{"X", true}, {"!#$%&'*+-./^_`{|}~\"(),;<=>?@[\\]", true},
		{"Contents", true}, {"Fromage", true}, {"Received-", true},
		{"", false}, {"X Y", false}, {"X:", false}, {"X\r\nY", false},
		{"Grün", false}, {"X\t", false}, {"X\x7F", false},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaa", false},
		{"From", false}, {"FROM", false}, {"to", false}, {"bcc", false},
		{"cc", false}, {"Sender", false}, {"Reply-To", false},
		{"Subject", false}, {"date", false}, {"message-id", false},
		{"mime-version", false}, {"Content-Type", false},
		{"content-anything", false}, {"Content-", false},
		{"Return-Path", false}, {"Received", false}, {"resent-to", false},
		{"DKIM-Signature", false}, {"ARC-Seal", false},
		{"Authentication-Results", false}, {"List-Id", false},
		{"List-Unsubscribe", false}, {"List-Unsubscribe-Post", false},
		{"Feedback-ID", false}, {"precedence", false},
	};
	const char *why;
	int			i;

	for (i = 0; i < COUNT(names); i++)
	{
		why = NULL;
		ok(header_name_is_allowed(names[i].name, &why) == names[i].good &&
		   (names[i].good || why != NULL), "field name %d", i);
	}
}

static void
test_list_ids(void)
{
	static const char *const ids[][2] = {
		{"weekly.example.com", "List-Id: <weekly.example.com>\r\n"},
		{"Our Weekly <weekly.example.com>",
		"List-Id: Our Weekly <weekly.example.com>\r\n"},
		{"<weekly.example.com>", "List-Id: <weekly.example.com>\r\n"},
		{"Grüße <w.example>", "List-Id: =?UTF-8?B?R3LDvMOfZQ==?= <w.example>\r\n"},
		{"a, b<w.example>", "List-Id: \"a, b\" <w.example>\r\n"},
		{"a <b> <w.example>", "List-Id: \"a <b>\" <w.example>\r\n"},
		{"", NULL}, {"weekly", NULL}, {"a b.example", NULL},
		{"a@b.example", NULL}, {".a.b", NULL}, {"a..b", NULL}, {"a.b.", NULL},
		{"<a.b", NULL}, {"a.b>", NULL}, {"x <>", NULL}, {"x <a.b> y", NULL},
		{"wöche.example", NULL}, {"a.b\r\nBcc: x@y.example", NULL},
		{"<a.b\r\nBcc: x@y.example>", NULL},
	};
	StringInfoData out;
	const char *why;
	int			i;

	initStringInfo(&out);
	for (i = 0; i < COUNT(ids); i++)
	{
		bool		good = list_id_is_valid(ids[i][0], &why);

		resetStringInfo(&out);
		if (good)
			mime_header_list_id(&out, ids[i][0]);
		if (!ok(good == (ids[i][1] != NULL) &&
				(!good || strcmp(out.data, ids[i][1]) == 0), "list id %d", i))
			diag("%s", out.data);
	}
	pfree(out.data);
}

static void
test_unsubscribe(void)
{
	static const char *const cases[][3] = {
		{NULL, NULL, ""},
		{"https://a.example/u?t=1&b=%20", NULL,
			"List-Unsubscribe: <https://a.example/u?t=1&b=%20>\r\n"
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"},
		{"http://a.example/u", NULL,
		"List-Unsubscribe: <http://a.example/u>\r\n"},
		{NULL, "mailto:a@b.example", "List-Unsubscribe: <mailto:a@b.example>\r\n"},
		{"HTTPS://a.example/", "mailto:a@b.example",
			"List-Unsubscribe: <HTTPS://a.example/>,\r\n"
			" <mailto:a@b.example>\r\n"
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"},
		{"http://a.example/", "mailto:a@b.example",
			"List-Unsubscribe: <http://a.example/>,\r\n"
		" <mailto:a@b.example>\r\n"},
		{"https://a.example/>\r\nBcc: x@y.example <ü\"", NULL,
			"List-Unsubscribe: <https://a.example/%3E%0D%0ABcc:%20x@y.example"
			"%20%3C%C3%BC%22>\r\n"
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"},
		{"ftp://a.example/", NULL, NULL}, {"", NULL, NULL},
		{"javascript:alert(1)", "mailto:a@b.example", NULL},
	};
	StringInfoData out;
	StringInfoData url;
	const char *why;
	int			i;

	initStringInfo(&out);
	initStringInfo(&url);
	for (i = 0; i < COUNT(cases); i++)
	{
		bool		good;

		resetStringInfo(&out);
		good = mime_header_unsubscribe(&out, cases[i][0], cases[i][1], &why);
		if (!ok(good == (cases[i][2] != NULL) &&
				strcmp(out.data, good ? cases[i][2] : "") == 0,
				"List-Unsubscribe %d", i))
			diag("%s", out.data);
	}
	appendStringInfoString(&url, "https://a.example/");
	while (url.len < 900)
		appendStringInfoChar(&url, 'a');
	resetStringInfo(&out);
	ok(mime_header_unsubscribe(&out, url.data, NULL, &why) &&
	   is_clean_wire(out.data, out.len, true), "a URL of 900 characters");
	appendStringInfoChar(&url, 'a');
	ok(!mime_header_unsubscribe(&out, url.data, NULL, &why), "and of 901");

	resetStringInfo(&url);
	mailto_url(&url, "a&b?c/ü@xn--mnchen-3ya.example", "leave 1-2");
	ok(strcmp(url.data, "mailto:a%26b%3Fc%2F%C3%BC@xn--mnchen-3ya.example"
			  "?subject=leave%201-2") == 0, "a mailto: URL");
	pfree(out.data);
	pfree(url.data);
}

void
test_fields(void)
{
	test_field_names();
	test_list_ids();
	test_unsubscribe();
}

static void
test_verp_forged(const char *tag)
{
	VerpTag		parsed;
	bool		good = true;
	const char *digit;
	int			i;

	for (i = 0; tag[i] != '\0'; i++)
	{
		char	   *forged = pstrdup(tag);

		digit = forged[i] == '2' ? "3" : "2";
		forged[i] = *digit;
		good = good && (!verp_parse(forged, strlen(forged), &parsed) ||
						!verp_is_true(&parsed, secret, 32));
		pfree(forged);
	}
	ok(good, "no character of a tag can be changed");
	ok(verp_parse(tag, strlen(tag), &parsed) &&
	   !verp_is_true(&parsed, secret, 31), "nor is it true by another secret");
}

void
test_verp(void)
{
	static const char *const none[] = {
		"", "a", "1-2", "1-2-", "1-2-abcdefg", "1-2-abcdefghi", "0-2-abcdefgh",
		"1-0-abcdefgh", "1--2-abcdefgh", "1-2-abcdefg1", "x1-2-abcdefgh",
		"1-99999999999999999999-abcdefgh", "9223372036854775808-1-abcdefgh",
		"+1-2-abcdefgh8@", "01-2-abcdefgh"
	};
	static const char *const places[] = {
		"a@b.example", "a+{{verp}}@b.example", "{{verp}}@b.example",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{verp}}@b.example"
	};
	static const char *const bad_places[] = {
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{verp}}@b.example", "{{verp}}{{verp}}@b.example",
		"\"a {{verp}}\"@b.example"
	};
	char		tag[VERP_TAG_SIZE];
	char		address[100];
	VerpTag		parsed;
	const char *why;
	int			i;

	/* openssl dgst -sha256 -hmac, base32 of its first 5 bytes */
	ok(verp_tag(tag, 42, 1007, secret, 32) &&
	   strcmp(tag, "42-1007-taj6tlqd") == 0, "a tag");
	snprintf(address, sizeof(address), "Bounces+%s@b.example", tag);
	ok(verp_parse(address, strlen(address), &parsed) &&
	   parsed.letter_id == 42 && parsed.subscription_id == 1007 &&
	   verp_is_true(&parsed, secret, 32), "comes back from an address");
	for (i = 0; address[i] != '\0'; i++)
		address[i] = pg_ascii_toupper((unsigned char) address[i]);
	ok(verp_parse(address, strlen(address), &parsed) &&
	   verp_is_true(&parsed, secret, 32), "in upper case, too");
	snprintf(address, sizeof(address), "Re: unsubscribe 2-x %s, please", tag);
	ok(verp_parse(address, strlen(address), &parsed) &&
	   verp_is_true(&parsed, secret, 32), "and from a subject");
	test_verp_forged(tag);
	ok(verp_tag(tag, PG_INT64_MAX, PG_INT64_MAX, secret, 32) &&
	   verp_parse(tag, strlen(tag), &parsed) &&
	   parsed.subscription_id == PG_INT64_MAX, "of the greatest ids");
	for (i = 0; i < COUNT(none); i++)
		ok(!verp_parse(none[i], strlen(none[i]), &parsed), "no tag %d", i);
	for (i = 0; i < COUNT(places); i++)
		ok(verp_has_room(places[i], &why), "room for a tag %d", i);
	for (i = 0; i < COUNT(bad_places); i++)
		ok(!verp_has_room(bad_places[i], &why), "no room for a tag %d", i);
}
