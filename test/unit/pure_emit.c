/*-------------------------------------------------------------------------
 *
 * pure_emit.c
 *	  Messages and what they were made from, for readers of other making.
 *
 * A record is a number of fields and ends with "end".  Most are letters; each
 * tenth is a message that render.c would never make, signed all the same: its
 * lines begin with dots and end with blanks.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

/* A field of the framing: "name length LF bytes LF" */
static void
emit_field(const char *name, const char *value, size_t len)
{
	printf("%s %zu\n", name, len);
	fwrite(value, 1, len, stdout);
	putchar('\n');
}

static void
emit_string(const char *name, const char *value)
{
	emit_field(name, value, strlen(value));
}

/* The record that a verifier would find in the DNS */
static void
emit_dkim(const DkimSigner *signer)
{
	StringInfoData record;

	initStringInfo(&record);
	if (!dkim_key_record(&record, signer->key))
		exit(2);
	emit_string("dkim", record.data);
	pfree(record.data);
}

/* A random letter to one recipient */
static void
emit_letter(int number)
{
	static const char *const names[] = {"subject", "name", "text", "html",
		"header"
	};
	RandomLetter r;
	Rendered	result;
	StringInfoData wire;
	int			i;

	random_letter(&r, number);
	if (!render_whole(&r.letter, &r.recipient, &result))
	{
		fprintf(stderr, "message %d: %s\n", number, result.error);
		exit(2);
	}
	emit_string("ids", psprintf(INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT,
								r.letter.letter_id,
								r.recipient.subscription_id,
								r.recipient.date));
	emit_field("secret", (const char *) r.letter.secret, r.letter.secret_len);
	for (i = 0; i < 5; i++)
	{
		if ((i != 2 || r.letter.text_body) && (i != 3 || r.letter.html_body) &&
			(i != 4 || r.letter.nheaders > 0))
			emit_field(names[i], r.parts[i].data, r.parts[i].len);
	}
	for (i = 0; i < r.letter.nattachments; i++)
	{
		emit_string(psprintf("file%d_name", i), r.files[i].name);
		emit_string(psprintf("file%d_type", i), r.files[i].content_type);
		if (r.files[i].content_id != NULL)
			emit_string(psprintf("file%d_cid", i), r.files[i].content_id);
		emit_field(psprintf("file%d_content", i), r.files[i].content,
				   r.files[i].len);
	}
	if (r.letter.dkim)
		emit_dkim(r.letter.dkim);
	emit_string("mail_from", result.mail_from);
	emit_field("message", result.message.data, result.message.len);
	wire = wire_of(&result);
	emit_field("wire", wire.data, wire.len);
	printf("end 0\n\n");
}

/* A message of hard lines, signed */
static void
emit_raw(int number)
{
	static const char *const tails[] = {"", "\r\n", "\r\n\r\n \r\n\t\r\n", " ",
		".", "\r\n.\r\n", "x \t \r\n\r\n"
	};
	RandomLetter r;
	StringInfoData text;
	StringInfoData message;
	StringInfoData all;
	StringInfoData wire;
	Piece		whole;

	random_letter(&r, number);
	initStringInfo(&text);
	initStringInfo(&message);
	initStringInfo(&all);
	initStringInfo(&wire);
	random_body(&text, random_below(3) ? random_below(3000) : 0);
	appendStringInfoString(&text, tails[random_below(lengthof(tails))]);
	appendStringInfoString(&message, "From:  =?UTF-8?Q?=C3=BC?=\t <a@b.example> \r\n"
						   "X-Not-Signed: 1\r\n"
						   "SUBJECT:folded\r\n \t over\r\n\tlines\t\r\n"
						   "To: 用户@xn--fsqu00a.xn--4rr70v\r\nMIME-Version: 1.0\r\n"
						   "Content-Type: text/plain; charset=utf-8\r\n"
						   "Content-Transfer-Encoding: 8bit\r\n\r\n");
	expected_body(&message, text.data, text.len);
	whole.data = message.data;
	whole.len = message.len;
	if (!dkim_sign(NULL, &all, &r.signer, r.recipient.date, &whole, 1))
		exit(2);
	appendBinaryStringInfo(&all, message.data, message.len);
	mime_wire(&wire, all.data, all.len);
	emit_string("raw", "1");
	emit_dkim(&r.signer);
	emit_field("message", all.data, all.len);
	emit_field("wire", wire.data, wire.len);
	printf("end 0\n\n");
}

void
emit(int messages, uint64 seed)
{
	int			i;

	random_seed(seed);
	for (i = 1; i <= messages; i++)
	{
		if (i % 10 == 5 || i % 10 == 6)
			emit_raw(i);
		else
			emit_letter(i);
	}
}
