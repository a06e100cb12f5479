/*-------------------------------------------------------------------------
 *
 * pure_letter.c
 *	  Random letters for the pure layer's unit test: every kind of body, list
 *	  fields, fields of one's own, attachments, inline images, signatures.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

/* The bytes of a file: any, or text, with CRLF or not */
static void
random_content(Attachment *file, int number, int kind)
{
	static const char *const types[] = {
		"application/octet-stream", "image/png", "text/csv; charset=utf-8",
		"text/plain;charset=\"utf-8\";  format=flowed",
		"application/vnd.openxmlformats-officedocument.presentationml"
		".slideshow"
	};
	StringInfoData bytes;
	StringInfoData text;
	int			n = random_below(3000);

	initStringInfo(&bytes);
	initStringInfo(&text);
	file->content_type = types[(number + kind) % lengthof(types)];
	if (random_below(2) && strncmp(file->content_type, "text/", 5) == 0)
	{
		random_body(&text, n);
		if (random_below(2))
			expected_body(&bytes, text.data, text.len);
		else
			appendBinaryStringInfo(&bytes, text.data, text.len);
	}
	else
		while (n-- > 0)
			appendStringInfoChar(&bytes, (char) random_below(256));
	file->content = bytes.data;
	file->len = bytes.len;
	pfree(text.data);
}

static void
random_files(RandomLetter *r, int number)
{
	StringInfoData name;
	int			i;

	for (i = 0; i < number % 5; i++)
	{
		Attachment *file = &r->files[i];

		initStringInfo(&name);
		random_text(&name, random_below(random_below(3) ? 30 : 200), true);
		file->name = name.data;
		file->content_id = (number + i) % 3 == 0 ?
			psprintf("image%d@cid.example", i) : NULL;
		random_content(file, number, i);
	}
	r->letter.attachments = r->files;
	r->letter.nattachments = number % 5;
}

static void
random_dkim(RandomLetter *r, int number)
{
	static DkimKey *keys[2];
	char	   *why;

	if (keys[0] == NULL)
	{
		keys[0] = dkim_key_load(key_rsa, &why);
		keys[1] = dkim_key_load(key_ed25519, &why);
	}
	r->signer.key = keys[number % 2];
	r->signer.domain = "xn--mnchen-3ya.example";
	r->signer.selector = number % 2 ? "brisbane" : "test";
	if (number % 7 != 0)
		r->letter.dkim = &r->signer;
}

/* What does not depend on chance alone depends on the number */
void
random_letter(RandomLetter *r, int number)
{
	static const uint8 secret[] = "a secret of the newsletter";
	static const int lengths[] = {120, 40, 5000, 5000, 200};
	int			i;

	memset(r, 0, sizeof(RandomLetter));
	for (i = 0; i < 5; i++)
	{
		initStringInfo(&r->parts[i]);
		if (i == 2 || i == 3)
			random_body(&r->parts[i], random_below(lengths[i]));
		else
			random_text(&r->parts[i], random_below(lengths[i]), true);
	}
	r->letter.letter_id = number;
	r->letter.from_name = "Die Grüße";
	r->letter.from_address = "news@münchen.example";
	r->letter.subject = parse("{{{data.0}}}");
	r->letter.text_body = number % 5 == 3 ? NULL : parse("{{{data.2}}}");
	r->letter.html_body = number % 5 == 4 ? NULL : parse("{{{data.3}}}");
	r->letter.secret = secret;
	r->letter.secret_len = sizeof(secret) - 1;
	r->recipient.subscription_id = (int64) number * 1000000007;
	r->recipient.email = "ann.lee@customer.example";
	r->recipient.name = r->parts[1].data;
	r->recipient.date = (int64) number * 86399;
	r->recipient.data = tree_strings(r->parts, lengthof(r->parts));

	if (number % 2)
	{
		r->letter.return_path = "bounces+{{verp}}@münchen.example";
		r->letter.list_id = "Unsere Woche, \"neu\" <woche.news.example>";
		r->letter.feedback_id = "42:7:newsletter:sender";
		r->letter.precedence = "bulk";
		r->letter.unsubscribe_mailto = number % 3 ? "leave@münchen.example" :
			NULL;
		r->recipient.unsubscribe_url = number % 4 == 1 ?
			"https://news.example/u?t=abc&x=ü" : NULL;
		r->headers[0].name = "X-Campaign";
		r->headers[0].value = parse("{{{data.4}}}");
		r->headers[1].name = "X-Empty";
		r->letter.headers = r->headers;
		r->letter.nheaders = 2;
	}
	random_files(r, number);
	random_dkim(r, number);
}
