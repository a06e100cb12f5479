/*-------------------------------------------------------------------------
 *
 * pure_injection_test.c
 *	  Attempts to smuggle in a header field, a recipient, a part or a command.
 *
 * Each puts something evil into one place of a letter.  Either render.c
 * refuses it and says why, or the message comes out with the very fields, the
 * parts and the envelope that it has without: only the text differs.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

typedef enum Place
{
	P_SUBJECT, P_TEXT, P_HTML, P_NAME, P_DATA, P_EMAIL, P_FROM_NAME, P_FROM,
	P_REPLY_TO, P_RETURN_PATH, P_LIST_ID, P_MAILTO, P_URL, P_FEEDBACK_ID,
	P_PRECEDENCE, P_FIELD_NAME, P_FIELD_VALUE, P_FILE_NAME, P_FILE_TYPE,
	P_FILE_ID, P_FILE
} Place;

static const struct
{
	Place		place;
	bool		refused;
	const char *value;
}			attempts[] =
{
	{P_SUBJECT, false, "x\r\nBcc: eve@evil.example"},
	{P_SUBJECT, false, "x\nBcc: eve@evil.example"},
	{P_SUBJECT, false, "x\rBcc: eve@evil.example"},
	{P_SUBJECT, false, "x\r\n\r\n<script>"},
	{P_SUBJECT, false, "x\r\n\tfolded\r\nX-Evil: 1"},
	{P_SUBJECT, false, "x\xC2\x85X-Evil: 1"},
	{P_SUBJECT, false, "x\xE2\x80\xA8X-Evil: 1"},
	{P_SUBJECT, false, "x\x0B\x0CX-Evil: 1"},
	{P_SUBJECT, false, "=?UTF-8?Q?x=0D=0AX-Evil:_1?="},
	{P_SUBJECT, false, "=?UTF-8?B?eA0KWC1FdmlsOiAx?="},
	{P_DATA, false, "x\r\nX-Evil: 1\r\n\r\n--=_\r\n"},
	{P_DATA, false, "{{name}}{{{data.0}}}{{#x}}"},
	{P_TEXT, false, "x\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n"},
	{P_TEXT, false, "x\n.\nMAIL FROM:<eve@evil.example>\n"},
	{P_TEXT, false, "x\r.\rRCPT TO:<eve@evil.example>\r"},
	{P_TEXT, false, "x\r\n.\n\r\n.\rDATA\r\n"},
	{P_TEXT, false, "--=_fsjysmlr3eecqgy4--\r\n"},
	{P_TEXT, false, "--=_m_fsjysmlr3eecqgy4\r\nContent-Type: text/html\r\n"},
	{P_TEXT, false, "From eve@evil.example\r\nX-Evil: 1\r\n"},
	{P_HTML, false, "</html>\r\n--=_r_fsjysmlr3eecqgy4--\r\n"},
	{P_NAME, false, "x\r\nBcc: eve@evil.example"},
	{P_NAME, false, "x> , <eve@evil.example"},
	{P_NAME, false, "\"x\" <eve@evil.example>,"},
	{P_NAME, false, "x\", eve@evil.example, \""},
	{P_NAME, false, "x\\"},
	{P_NAME, false, "x (comment"},
	{P_NAME, false, "=?UTF-8?Q?=22=2C_eve=40evil.example?="},
	{P_NAME, false, "group: eve@evil.example;"},
	{P_EMAIL, true, "ann@b.example\r\nRCPT TO:<eve@evil.example>"},
	{P_EMAIL, true, "ann@b.example\nDATA"},
	{P_EMAIL, true, "ann@b.example>\r\n"},
	{P_EMAIL, true, "ann@b.example, eve@evil.example"},
	{P_EMAIL, true, "ann@b.example> SIZE=1"},
	{P_EMAIL, true, "<ann@b.example>"},
	{P_EMAIL, true, "Ann <ann@b.example>"},
	{P_EMAIL, true, "ann@b.example (x)"},
	{P_EMAIL, true, "@evil.example:ann@b.example"},
	{P_EMAIL, true, "ann@[127.0.0.1]"},
	{P_EMAIL, true, "ann\t@b.example"},
	{P_EMAIL, true, "\"ann\r\n\"@b.example"},
	{P_EMAIL, true, "ann@b.example\xC2\x85"},
	{P_EMAIL, true, "ann@b\xEF\xBC\x9E.example"},
	{P_EMAIL, true, "ann\xE2\x80\xAE@b.example"},
	{P_EMAIL, false, "\"ann> RCPT TO:<eve\"@b.example"},
	{P_FROM_NAME, false, "x\r\nFrom: eve@evil.example"},
	{P_FROM_NAME, false, "x\" <eve@evil.example>, \""},
	{P_FROM, true, "a@b.example\r\nBcc: eve@evil.example"},
	{P_FROM, true, "a@b.example, eve@evil.example"},
	{P_REPLY_TO, true, "a@b.example\r\nBcc: eve@evil.example"},
	{P_REPLY_TO, true, "a@b.example,eve@evil.example"},
	{P_RETURN_PATH, true, "a@b.example>\r\nRCPT TO:<eve@evil.example"},
	{P_RETURN_PATH, true, "a@b.example> BODY=8BITMIME"},
	{P_RETURN_PATH, true, "a{{verp}}{{verp}}@b.example"},
	{P_LIST_ID, true, "a.b\r\nX-Evil: 1"},
	{P_LIST_ID, true, "x <a.b>\r\nX-Evil: 1"},
	{P_LIST_ID, false, "x\r\nX-Evil: 1 <a.b>"},
	{P_LIST_ID, false, "x\", <eve.evil.example>, \" <a.b>"},
	{P_MAILTO, true, "a@b.example>, <https://evil.example/"},
	{P_MAILTO, true, "a@b.example\r\nX-Evil: 1"},
	{P_MAILTO, false, "a?bcc=eve&x@b.example"},
	{P_URL, false, "https://a.example/>, <mailto:eve@evil.example"},
	{P_URL, false, "https://a.example/\r\nX-Evil: 1"},
	{P_URL, true, "javascript:alert(1)"},
	{P_URL, true, "\r\nX-Evil: 1"},
	{P_FEEDBACK_ID, false, "1:2:3\r\nX-Evil: 1"},
	{P_PRECEDENCE, false, "bulk\r\nX-Evil: 1"},
	{P_FIELD_NAME, true, "Bcc"},
	{P_FIELD_NAME, true, "X-Evil: 1\r\nBcc"},
	{P_FIELD_NAME, true, "X-Evil\r\n\r\n"},
	{P_FIELD_NAME, true, "From "},
	{P_FIELD_NAME, true, " Bcc"},
	{P_FIELD_NAME, true, "content-type"},
	{P_FIELD_NAME, true, "X:Y"},
	{P_FIELD_NAME, true, "X\xEF\xBC\x9AY"},
	{P_FIELD_NAME, true, ""},
	{P_FIELD_VALUE, false, "x\r\nBcc: eve@evil.example\r\n\r\nHello"},
	{P_FIELD_VALUE, false, "x\r\n X-Evil: 1\nX-Evil: 2\rX-Evil: 3"},
	{P_FILE_NAME, false, "a.pdf\"\r\nX-Evil: 1\r\n\r\n"},
	{P_FILE_NAME, false, "a.pdf\"; filename=\"evil.exe"},
	{P_FILE_NAME, false, "a.pdf\\"},
	{P_FILE_NAME, false, "ü.pdf;filename*=utf-8''evil.exe"},
	{P_FILE_TYPE, true, "text/html\r\nX-Evil: 1"},
	{P_FILE_TYPE, true, "text/html; x=\"\r\nX-Evil: 1\""},
	{P_FILE_TYPE, true, "multipart/mixed; boundary=x"},
	{P_FILE_TYPE, true, "message/rfc822"},
	{P_FILE_TYPE, true, "text/html; name=evil.exe"},
	{P_FILE_ID, true, "x>\r\nX-Evil: 1"},
	{P_FILE_ID, true, "x> <y"},
	{P_FILE, false, "--=_r_fsjysmlr3eecqgy4--\r\n\r\n.\r\nMAIL FROM:<>\r\n"},
	{P_FILE, false, "\r\n.\r\nQUIT\r\n"},
};

/* A letter with everything, and with one value in its place */
static void
injected_letter(RandomLetter *r, Place place, const char *value)
{
	static const uint8 secret[] = "0123456789abcdef0123456789abcdef";

	memset(r, 0, sizeof(RandomLetter));
#define VALUE(p, otherwise) ((p) == place ? value : (otherwise))
	r->letter.letter_id = 42;
	r->letter.secret = secret;
	r->letter.secret_len = 32;
	r->letter.subject = place == P_DATA ? parse("{{{data.0}}}") :
		parse("{{name}}");
	r->letter.text_body = place == P_TEXT ? parse(value) :
		parse("{{data.0}} and {{{data.0}}}\n");
	r->letter.html_body = place == P_HTML ? parse(value) :
		parse("<p>{{data.0}}</p>\n");
	r->letter.from_name = VALUE(P_FROM_NAME, "News");
	r->letter.from_address = VALUE(P_FROM, "news@a.example");
	r->letter.reply_to = VALUE(P_REPLY_TO, "office@a.example");
	r->letter.return_path = VALUE(P_RETURN_PATH, "b+{{verp}}@a.example");
	r->letter.list_id = VALUE(P_LIST_ID, "weekly.a.example");
	r->letter.unsubscribe_mailto = VALUE(P_MAILTO, "leave@a.example");
	r->letter.feedback_id = VALUE(P_FEEDBACK_ID, "1:2:3");
	r->letter.precedence = VALUE(P_PRECEDENCE, "bulk");
	r->headers[0].name = VALUE(P_FIELD_NAME, "X-Own");
	r->headers[0].value = parse("{{data.0}}");
	r->letter.headers = r->headers;
	r->letter.nheaders = 1;
	r->files[0].name = VALUE(P_FILE_NAME, "a.txt");
	r->files[0].content_type = VALUE(P_FILE_TYPE, "text/plain");
	r->files[0].content = VALUE(P_FILE, "content");
	r->files[0].len = strlen(r->files[0].content);
	r->files[1] = r->files[0];
	r->files[1].content_id = VALUE(P_FILE_ID, "logo");
	r->letter.attachments = r->files;
	r->letter.nattachments = 2;
	r->recipient.subscription_id = 7;
	r->recipient.email = VALUE(P_EMAIL, "ann@b.example");
	r->recipient.name = place == P_SUBJECT ? value : VALUE(P_NAME, "Ann");
	r->recipient.unsubscribe_url = VALUE(P_URL, "https://a.example/u");
	r->recipient.date = 1795345351;
	initStringInfo(&r->parts[0]);
	appendStringInfoString(&r->parts[0], place == P_DATA ||
						   place == P_FIELD_VALUE ? value : "x");
	r->recipient.data = tree_strings(r->parts, 1);
}

/* The names of the fields, and the lines that delimit or describe parts */
static void
skeleton(StringInfo out, const char *message)
{
	const char *s = message;
	const char *lf;
	bool		header = true;

	for (; (lf = strchr(s, '\n')) != NULL; s = lf + 1)
	{
		if (s[0] == '\r')
			header = false;
		if (strncmp(s, "--=_", 4) == 0)
		{
			appendBinaryStringInfo(out, s, lf - s);
			header = lf[-2] != '-' || lf[-3] != '-';
		}
		else if (header && *s != ' ' && *s != '\t')
			appendBinaryStringInfo(out, s, strcspn(s, ":\r") + 1);
	}
}

void
test_injections(void)
{
	RandomLetter r;
	Rendered	result;
	StringInfoData expected;
	StringInfoData found;
	int			i;

	initStringInfo(&expected);
	initStringInfo(&found);
	injected_letter(&r, P_DATA, "x");
	if (!ok(render_whole(&r.letter, &r.recipient, &result),
			"a letter with everything"))
		diag("%s", result.error);
	skeleton(&expected, result.message.data);
	for (i = 0; i < COUNT(attempts); i++)
	{
		StringInfoData wire;
		bool		rendered;
		bool		good;

		resetStringInfo(&found);
		injected_letter(&r, attempts[i].place, attempts[i].value);
		rendered = render_whole(&r.letter, &r.recipient, &result);
		if (rendered)
		{
			skeleton(&found, result.message.data);
			wire = wire_of(&result);
		}
		good = rendered ? !attempts[i].refused &&
			is_clean_wire(wire.data, wire.len, true) &&
			strpbrk(result.mail_from, "\r\n<> ") == NULL &&
			(result.rcpt_to[0] == '"' ||
			 strpbrk(result.rcpt_to, "\r\n<> ") == NULL) &&
			strcmp(found.data, expected.data) == 0 :
			attempts[i].refused && strlen(result.error) > 20;
		if (!ok(good, "injection %d is %s", i,
				attempts[i].refused ? "refused" : "harmless"))
			diag("%s: %s %s", attempts[i].value,
				 rendered ? found.data : result.error, result.rcpt_to);
	}
	pfree(expected.data);
	pfree(found.data);
}
