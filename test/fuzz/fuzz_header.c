/*-------------------------------------------------------------------------
 *
 * fuzz_header.c
 *	  Fuzz target: header fields out of any text.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "mb/pg_wchar.h"

#include "fuzz.h"

/* One field, in short lines of 7 bits */
static void
check_field(const StringInfoData *field)
{
	const char *s = strstr(field->data, "\r\n");

	CHECK(is_clean_wire(field->data, field->len, true));
	CHECK(longest_line(field->data, field->len) <= 998);
	CHECK(s != NULL);
	for (; s[2] != '\0'; s = strstr(s + 2, "\r\n"))
		CHECK(s[2] == ' ' && s[3] != '\r' && s[3] != ' ' && s[3] != '\0');
}

/* It says what was put into it, read by a reader of our own */
static void
check_reading(const StringInfoData *field, const char *text, bool address)
{
	StringInfoData wanted;
	StringInfoData read;
	StringInfoData mailbox;

	initStringInfo(&wanted);
	initStringInfo(&read);
	initStringInfo(&mailbox);
	expected_header(&wanted, text);
	if (address)
		CHECK(decode_address(&read, &mailbox, field->data, "To") &&
			  strcmp(mailbox.data, "a@b.example") == 0);
	else
		CHECK(decode_header(&read, field->data, "Subject", false));
	CHECK(strcmp(read.data, wanted.data) == 0);
	pfree(wanted.data);
	pfree(read.data);
	pfree(mailbox.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	StringInfoData field;
	char	   *text;
	bool		valid;
	bool		address;

	if (size < 1)
		return 0;
	address = bytes[0] & 1;
	text = pnstrdup((const char *) bytes + 1, size - 1);
	valid = pg_encoding_verifymbstr(PG_UTF8, text, strlen(text)) ==
		strlen(text);
	initStringInfo(&field);
	if (address)
		mime_header_address(&field, "To", text, "a@b.example");
	else
		mime_header_text(&field, "Subject", text);
	check_field(&field);
	if (valid)
		check_reading(&field, text, address);
	pfree(field.data);
	pfree(text);
	return 0;
}
