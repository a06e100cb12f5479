/*-------------------------------------------------------------------------
 *
 * pure_test.c
 *	  Unit test of the pure layer: no server, no network, TAP output.
 *
 *		pure_test [SEED]			the tests
 *		pure_test bench				messages per second of 4 KB
 *		pure_test emit N [SEED]		messages and what is in them, for
 *									mime_roundtrip.pl, mime_roundtrip.py and
 *									dkim_verify.pl to read
 *
 * Memory is not freed where it does not matter: in the server contexts do
 * that, and here the process ends.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include <time.h>

#ifdef __SANITIZE_ADDRESS__
extern const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static int	tests = 0;
static int	failures = 0;

/* One line of TAP */
bool
ok(bool pass, const char *fmt,...)
{
	va_list		args;

	printf("%sok %d - ", pass ? "" : "not ", ++tests);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	if (!pass)
		failures++;
	return pass;
}

/* see pure_test.h */
StringInfoData
wire_of(const Rendered *rendered)
{
	StringInfoData wire;

	initStringInfo(&wire);
	mime_wire(&wire, rendered->message.data, rendered->message.len);
	return wire;
}

/* Put the pieces together, of a message or, made in own, of the wire */
static StringInfoData
put_together(const Rendered *rendered, StringInfo own)
{
	int			count = RENDERED_PIECES(rendered);
	Piece	   *pieces = palloc(count * sizeof(Piece));
	StringInfoData whole;
	int			i;

	initStringInfo(&whole);
	if (own == NULL)
		rendered_pieces(rendered, pieces);
	else
		rendered_wire(rendered, own, pieces);
	for (i = 0; i < count; i++)
		appendBinaryStringInfo(&whole, pieces[i].data, (int) pieces[i].len);
	pfree(pieces);
	return whole;
}

/* see pure_test.h */
bool
render_whole(const RenderLetter *letter, const RenderRecipient *recipient,
			 Rendered *result)
{
	StringInfoData whole;
	StringInfoData own;
	StringInfoData pieces;
	StringInfoData wire;

	if (!render_message(letter, recipient, result))
		return false;
	initStringInfo(&own);
	whole = put_together(result, NULL);
	pieces = put_together(result, &own);
	pfree(own.data);
	if (whole.len != (int) result->size)
		ok(false, "the size of a message is %zu, and not %d", result->size,
		   whole.len);
	pfree(result->message.data);
	result->message = whole;
	result->nfiles = 0;
	wire = wire_of(result);
	if (wire.len != pieces.len || memcmp(wire.data, pieces.data, wire.len))
		ok(false, "the pieces of a message are the message");
	pfree(pieces.data);
	pfree(wire.data);
	return true;
}

/* What helps to find a fault; control characters made visible */
void
diag(const char *fmt,...)
{
	va_list		args;
	char		line[2000];
	char	   *s;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	printf("# ");
	for (s = line; *s != '\0'; s++)
	{
		if ((unsigned char) *s < 0x20)
			printf("\\x%02X", *s);
		else
			putchar(*s);
	}
	printf("\n");
}

/* A template that must be one */
Template *
parse(const char *text)
{
	TemplateError error;
	Template   *tmpl = template_parse(NULL, text, strlen(text), &error);

	if (tmpl == NULL)
	{
		fprintf(stderr, "%d:%d: %s\n", error.line, error.column,
				error.message);
		exit(2);
	}
	return tmpl;
}

static void
bench_letter(RenderLetter *letter, bool wide)
{
	StringInfoData text;
	StringInfoData html;

	initStringInfo(&text);
	initStringInfo(&html);
	appendStringInfoString(&text, wide ? "Grüße, {{name}},\n\n" :
						   "Dear {{name}},\n\n");
	appendStringInfoString(&html, "<html><body style=\"margin:0\">"
						   "<h1>Dear {{name}}</h1>\n");
	while (text.len < 1300)
		appendStringInfoString(&text, "this week in {{data.city}} we saw a "
							   "few things worth telling,\nand more.\n");
	while (html.len < 2200)
		appendStringInfoString(&html, "<p style=\"color:#333\">this week in "
							   "{{data.city}} we saw a few things worth "
							   "telling, and <a href=\"https://x.example/"
							   "a?b=c\">more</a>.</p>\n");
	letter->subject = parse("The news of the week for {{name}}");
	letter->text_body = parse(text.data);
	letter->html_body = parse(html.data);
}

/* Time render_message() */
static void
bench_run(const char *title, RenderLetter *letter, const char *name)
{
	RenderRecipient recipient = {0};
	Rendered	result;
	StringInfoData wire;
	struct timespec from,
				to;
	double		seconds;
	size_t		bytes = 0;
	int			i,
				n = letter->dkim ? 20000 : 200000;

	recipient.email = "ann.lee@customer.example";
	recipient.name = name;
	recipient.date = 1795345351;
	recipient.data = tree_parse(TEST_DATA);

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < n; i++)
	{
		recipient.subscription_id = i;
		if (!render_message(letter, &recipient, &result))
			exit(2);
		wire = wire_of(&result);
		bytes = wire.len;
		pfree(result.message.data);
		pfree(wire.data);
		pfree(result.message_id);
		pfree(result.mail_from);
		pfree(result.rcpt_to);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9;
	printf("%-36s %5zu bytes %8.0f messages/s %6.2f us each\n", title, bytes,
		   n / seconds, seconds / n * 1e6);
}

static int
bench(void)
{
	RenderLetter letter = {0};
	DkimSigner	signer = {NULL, "sender.example", "s1"};
	const char *error;
	char	   *why;

	letter.letter_id = 42;
	letter.from_name = "The Newsletter";
	letter.from_address = "news@sender.example";
	letter.secret = (const uint8 *) "0123456789abcdef0123456789abcdef";
	letter.secret_len = 32;

	bench_letter(&letter, false);
	bench_run("text + html, not prepared", &letter, "Ann Lee");
	letter.fixed = render_prepare(&letter, &error);
	bench_run("text + html, prepared", &letter, "Ann Lee");
	bench_letter(&letter, true);
	bench_run("text + html, not ASCII", &letter, "Jürgen Groß");
	letter.html_body = NULL;
	bench_run("text alone, not ASCII", &letter, "Jürgen Groß");
	bench_letter(&letter, false);
	signer.key = dkim_key_load(key_ed25519, &why);
	letter.dkim = &signer;
	bench_run("text + html, Ed25519", &letter, "Ann Lee");
	signer.key = dkim_key_load(key_rsa, &why);
	bench_run("text + html, RSA 2048", &letter, "Ann Lee");
	return 0;
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	uint64		seed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(mode, "bench") == 0)
		return bench();
	if (strcmp(mode, "emit") == 0)
	{
		setvbuf(stdout, NULL, _IOFBF, 1 << 16);
		emit(argc > 2 ? atoi(argv[2]) : 100,
			 argc > 3 ? strtoul(argv[3], NULL, 10) : 1);
		return 0;
	}

	seed = mode[0] != '\0' ? strtoul(mode, NULL, 10) : 1;
	diag("seed %llu", (unsigned long long) seed);
	random_seed(seed);
	test_addresses();
	test_templates();
	test_mustache();
	test_headers();
	test_bodies();
	test_render();
	test_parts();
	test_fields();
	test_verp();
	test_dkim();
	test_injections();
	test_clean();
	test_fuzz();
	test_pace();
	test_report();
	test_meter();
	test_work();
	test_token();
	test_wrap();
	printf("1..%d\n", tests);
	return failures > 0;
}
