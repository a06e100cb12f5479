/*-------------------------------------------------------------------------
 *
 * fuzz_body.c
 *	  Fuzz target: bodies and files as parts, and messages on the wire.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

/* What a reader gets is what was put in, with CRLF at the ends of lines */
static void
check_text(const char *body, size_t len)
{
	StringInfoData part;
	StringInfoData wire;
	StringInfoData read;
	StringInfoData wanted;
	char		encoding[64];

	initStringInfo(&part);
	initStringInfo(&wire);
	initStringInfo(&read);
	initStringInfo(&wanted);
	mime_text_part(NULL, &part, "plain", body, len);
	CHECK(is_clean_wire(part.data, part.len, true));
	CHECK(longest_line(part.data, part.len) <= 76);
	CHECK(part.len >= 2 && strcmp(part.data + part.len - 2, "\r\n") == 0);
	CHECK(strstr(part.data, "\r\n--=_") == NULL);
	CHECK(strstr(part.data, "\r\nFrom ") == NULL);
	CHECK(strstr(part.data, "\r\n.") == NULL);
	expected_body(&wanted, body, len);
	CHECK(decode_part(&read, part.data, part.len, "plain", encoding));
	CHECK(read.len == wanted.len &&
		  memcmp(read.data, wanted.data, read.len) == 0);

	mime_wire(&wire, part.data, part.len);
	resetStringInfo(&read);
	CHECK(decode_wire(&read, wire.data, wire.len));
	CHECK(read.len == part.len &&
		  memcmp(read.data, part.data, read.len) == 0);
	pfree(part.data);
	pfree(wire.data);
	pfree(read.data);
	pfree(wanted.data);
}

/* A message that lines end in CRLF, whatever is in them, survives the wire */
static void
check_wire(const char *body, size_t len)
{
	StringInfoData message;
	StringInfoData wire;
	StringInfoData read;

	initStringInfo(&message);
	initStringInfo(&wire);
	initStringInfo(&read);
	expected_body(&message, body, len);
	mime_wire(&wire, message.data, message.len);
	CHECK(decode_wire(&read, wire.data, wire.len));
	CHECK(read.len == message.len &&
		  memcmp(read.data, message.data, read.len) == 0);
	pfree(message.data);
	pfree(wire.data);
	pfree(read.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char *const types[] = {"text/plain", "image/png"};
	const char *body = (const char *) bytes + 1;
	Attachment	file = {0};
	StringInfoData part;
	const char *why;

	if (size < 1)
		return 0;
	size--;
	check_text(body, size);
	check_wire(body, size);

	file.name = pnstrdup(body, size % 300 < size ? size % 300 : size);
	file.content_type = types[bytes[0] & 1];
	file.content_id = bytes[0] & 2 ? "a@b.example" : NULL;
	file.content = body;
	file.len = size;
	initStringInfo(&part);
	CHECK(mime_attachment(NULL, &part, &file, &why));
	CHECK(is_clean_wire(part.data, part.len, true));
	CHECK(strstr(part.data, "\r\n--=_") == NULL);
	pfree(part.data);
	pfree(unconstify(char *, file.name));
	return 0;
}
