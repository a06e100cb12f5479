/*-------------------------------------------------------------------------
 *
 * pure_render_test.c
 *	  Tests of render.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static const uint8 secret[] = "0123456789abcdef0123456789abcdef";

static void
fill(RenderLetter *letter, RenderRecipient *recipient)
{
	memset(letter, 0, sizeof(RenderLetter));
	letter->letter_id = 42;
	letter->from_name = "The News";
	letter->from_address = "news@München.example";
	letter->reply_to = "office@sender.example";
	letter->return_path = "bounces@sender.example";
	letter->subject = parse("For {{name}}");
	letter->text_body = parse("Dear {{name}} <{{email}}>,\n");
	letter->html_body = parse("<p>Dear {{name}} &lt;{{email}}&gt;,</p>\n");
	letter->secret = secret;
	letter->secret_len = sizeof(secret) - 1;

	memset(recipient, 0, sizeof(RenderRecipient));
	recipient->subscription_id = 7;
	recipient->email = "ann@Customer.example";
	recipient->name = "Ann & <Lee>";
	recipient->date = 1795345351;
	recipient->data = tree_parse(TEST_DATA);
}

/* HMAC-SHA-256 of openssl dgst, base32 of its first 30 bytes */
#define ID			"66rkpzxsccsfjrqbbbnd5fr4hu5udxfq"
#define BOUNDARY	"=_fsjysmlr3eecqgy4"

static const char expected[] =
"Date: Sun, 22 Nov 2026 11:02:31 +0000\r\n"
"From: The News <news@xn--mnchen-3ya.example>\r\n"
"Reply-To: office@sender.example\r\n"
"To: \"Ann & <Lee>\" <ann@customer.example>\r\n"
"Subject: For Ann & <Lee>\r\n"
"Message-ID: <" ID "@xn--mnchen-3ya.example>\r\n"
"MIME-Version: 1.0\r\n"
"Content-Type: multipart/alternative;\r\n"
" boundary=\"" BOUNDARY "\"\r\n"
"\r\n"
"--" BOUNDARY "\r\n"
"Content-Type: text/plain; charset=utf-8\r\n"
"Content-Transfer-Encoding: 7bit\r\n"
"\r\n"
"Dear Ann & <Lee> <ann@Customer.example>,\r\n"
"\r\n"
"--" BOUNDARY "\r\n"
"Content-Type: text/html; charset=utf-8\r\n"
"Content-Transfer-Encoding: 7bit\r\n"
"\r\n"
"<p>Dear Ann &amp; &lt;Lee&gt; &lt;ann@Customer.example&gt;,</p>\r\n"
"\r\n"
"--" BOUNDARY "--\r\n";

static void
test_render_whole(void)
{
	RenderLetter letter;
	RenderRecipient recipient;
	Rendered	one,
				two;
	StringInfoData wire;
	const char *error = NULL;

	fill(&letter, &recipient);
	ok(render_whole(&letter, &recipient, &one) && one.error == NULL,
	   "a message is rendered");
	if (!ok(strcmp(one.message.data, expected) == 0, "byte for byte"))
		printf("%s", one.message.data);
	ok(strcmp(one.mail_from, "bounces@sender.example") == 0, "MAIL FROM");
	ok(strcmp(one.rcpt_to, "ann@customer.example") == 0, "RCPT TO");
	ok(strcmp(one.message_id, "<" ID "@xn--mnchen-3ya.example>") == 0,
	   "Message-ID");
	ok(!one.smtputf8, "no SMTPUTF8");
	wire = wire_of(&one);
	ok(wire.len == one.message.len + 3 &&
	   strncmp(wire.data, expected, one.message.len) == 0 &&
	   strcmp(wire.data + one.message.len, ".\r\n") == 0, "wire");

	letter.fixed = render_prepare(&letter, &error);
	ok(letter.fixed != NULL && render_whole(&letter, &recipient, &two) &&
	   strcmp(two.message.data, expected) == 0 &&
	   strcmp(two.mail_from, one.mail_from) == 0, "the same when prepared");

	recipient.subscription_id++;
	ok(render_whole(&letter, &recipient, &two) &&
	   strcmp(two.message_id, one.message_id) != 0,
	   "another recipient, another Message-ID");
	recipient.subscription_id--;
	letter.letter_id++;
	ok(render_whole(&letter, &recipient, &two) &&
	   strcmp(two.message_id, one.message_id) != 0,
	   "another letter, another Message-ID");
}

static void
test_render_variants(void)
{
	RenderLetter letter;
	RenderRecipient recipient;
	Rendered	result;

	fill(&letter, &recipient);
	letter.html_body = NULL;
	letter.return_path = letter.reply_to = letter.from_name = NULL;
	letter.subject = parse("a\r\n{{name}}");
	recipient.name = "x\r\nBcc: y@z.example";
	ok(render_whole(&letter, &recipient, &result) &&
	   strstr(result.message.data, "multipart") == NULL &&
	   strstr(result.message.data, "Reply-To") == NULL &&
	   strstr(result.message.data, "\r\nBcc") > strstr(result.message.data,
													   "\r\n\r\n") &&
	   strstr(result.message.data, "Subject: a x Bcc: y@z.example\r\n") &&
	   strstr(result.message.data, "From: news@xn--mnchen-3ya.example\r\n") &&
	   strcmp(result.mail_from, "news@xn--mnchen-3ya.example") == 0,
	   "text alone, without options, with an injection");

	letter.html_body = letter.text_body;
	letter.text_body = NULL;
	recipient.name = NULL;
	memset(&recipient.data, 0, sizeof(TemplateNode));
	letter.html_body = parse("[{{name}}{{data.x}}]");
	ok(render_whole(&letter, &recipient, &result) &&
	   strstr(result.message.data, "text/html") &&
	   strstr(result.message.data, "\r\n\r\n[]\r\n") &&
	   strstr(result.message.data, "To: ann@customer.example\r\n"),
	   "html alone, no name, no data");

	recipient.email = "用户@例子.广告";
	ok(render_whole(&letter, &recipient, &result) && result.smtputf8 &&
	   strcmp(result.rcpt_to, "用户@xn--fsqu00a.xn--4rr70v") == 0 &&
	   strstr(result.message.data, "To: 用户@xn--fsqu00a.xn--4rr70v\r\n"),
	   "a local part that is not ASCII needs SMTPUTF8");
	recipient.email = "ann@例子.广告";
	ok(render_whole(&letter, &recipient, &result) && !result.smtputf8,
	   "a domain that is not ASCII does not");
}

/* A marked copy: to another address, and its marks are nobody's */
static void
test_render_copy(void)
{
	RenderLetter letter;
	RenderRecipient recipient;
	Rendered	real;
	Rendered	copy;
	Rendered	other;
	VerpTag		tag;

	fill(&letter, &recipient);
	letter.return_path = "b+{{verp}}@sender.example";
	ok(render_whole(&letter, &recipient, &real) &&
	   strcmp(real.subject, "For Ann & <Lee>") == 0, "the subject as it is read");
	recipient.test_id = 7;
	recipient.test_address = "boss@Office.example";
	ok(render_whole(&letter, &recipient, &copy) &&
	   strcmp(copy.rcpt_to, "boss@office.example") == 0 &&
	   strstr(copy.message.data, "\r\nTo: boss@office.example\r\n") &&
	   strstr(copy.message.data, "\r\nSubject: [Test] For Ann & <Lee>\r\n") &&
	   strstr(copy.message.data, "Dear Ann & <Lee> <ann@Customer.example>,"),
	   "a test goes elsewhere and is marked, else it is the same");
	ok(strcmp(copy.message_id, real.message_id) != 0,
	   "its Message-ID is another, though the ids are the same");
	ok(verp_parse(real.mail_from, strlen(real.mail_from), &tag) &&
	   strncmp(copy.mail_from, "b+42-0-", 7) == 0 &&
	   !verp_parse(copy.mail_from, strlen(copy.mail_from), &tag),
	   "its return path has no tag of anybody's");
	recipient.test_id = 8;
	ok(render_whole(&letter, &recipient, &other) &&
	   strcmp(copy.message_id, other.message_id) != 0, "the next has one, too");
	recipient.test_address = "nobody";
	ok(!render_whole(&letter, &recipient, &other), "a bad address fails");
}

static void
test_render_errors(void)
{
	RenderLetter letter;
	RenderRecipient recipient;
	Rendered	result;
	const char *error;

	fill(&letter, &recipient);
	recipient.email = "ann@";
	ok(!render_whole(&letter, &recipient, &result) &&
	   strcmp(result.error, "invalid recipient address: "
			  "The domain part is empty.") == 0, "bad recipient");
	fill(&letter, &recipient);
	recipient.email = NULL;
	ok(!render_whole(&letter, &recipient, &result) &&
	   strcmp(result.error, "invalid recipient address: It is not set.") == 0,
	   "no recipient");
	fill(&letter, &recipient);
	letter.from_address = "";
	ok(!render_whole(&letter, &recipient, &result) &&
	   strcmp(result.error, "invalid From address: "
			  "The address is empty.") == 0, "empty From");
	ok(render_prepare(&letter, &error) == NULL &&
	   strstr(error, "From") != NULL, "empty From shows when prepared");
	fill(&letter, &recipient);
	letter.return_path = "x";
	ok(!render_whole(&letter, &recipient, &result) &&
	   strstr(result.error, "return path") != NULL, "bad return path");
	fill(&letter, &recipient);
	letter.return_path = "a.rather.long.local.part+{{verp}}@c.example";
	recipient.subscription_id = PG_INT64_MAX;
	ok(render_whole(&letter, &recipient, &result) &&
	   strcspn(result.mail_from, "@") <= 64, "a long return path");
	letter.letter_id = PG_INT64_MAX;
	ok(!render_whole(&letter, &recipient, &result) &&
	   strstr(result.error, "return path") != NULL, "too long with its tag");
	fill(&letter, &recipient);
	letter.reply_to = "a\r\nb@c.example";
	ok(!render_whole(&letter, &recipient, &result) &&
	   strstr(result.error, "Reply-To") != NULL, "bad Reply-To");
	fill(&letter, &recipient);
	letter.text_body = letter.html_body = NULL;
	ok(!render_whole(&letter, &recipient, &result) &&
	   strstr(result.error, "neither") != NULL, "no body");
}

/* Whatever is in it, a message is fit for the wire */
static void
test_render_random(void)
{
	RenderLetter letter;
	RenderRecipient recipient;
	Rendered	result;
	StringInfoData name,
				back;
	StringInfoData wire;
	bool		good = true;
	int			i;

	initStringInfo(&name);
	initStringInfo(&back);
	for (i = 0; good && i < 500; i++)
	{
		fill(&letter, &recipient);
		resetStringInfo(&name);
		resetStringInfo(&back);
		random_body(&name, random_below(2000));
		recipient.name = name.data;
		good = render_whole(&letter, &recipient, &result) &&
			is_clean_wire(result.message.data, result.message.len, true);
		if (!good)
			break;
		wire = wire_of(&result);
		good = decode_wire(&back, wire.data, wire.len) &&
			strcmp(back.data, result.message.data) == 0;
		pfree(wire.data);
	}
	ok(good, "random names make messages fit for the wire");
	pfree(name.data);
	pfree(back.data);
}

void
test_render(void)
{
	test_render_whole();
	test_render_variants();
	test_render_copy();
	test_render_errors();
	test_render_random();
}
