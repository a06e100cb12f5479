/*-------------------------------------------------------------------------
 *
 * fuzz_address.c
 *	  Fuzz target: mail addresses.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

/* What passes is fit for a command and a header field */
static void
check_wire(const StringInfoData *wire, bool smtputf8)
{
	const char *domain = strrchr(wire->data, '@');
	const char *s;

	CHECK(wire->len <= 254 && strlen(wire->data) == wire->len);
	CHECK(domain != NULL && domain - wire->data <= LOCAL_PART_MAX);
	CHECK(strpbrk(domain + 1, "@ <>\"\\,;:()[]") == NULL);
	CHECK(wire->data[0] == '"' ||
		  strpbrk(wire->data, " <>\"\\,;:()[]") == NULL);
	s = strstr(wire->data, "=?");
	CHECK(s == NULL || s > domain || strstr(s + 2, "?=") == NULL);
	for (s = wire->data; *s != '\0'; s++)
	{
		CHECK((unsigned char) *s >= ' ' && *s != 0x7F);
		CHECK((unsigned char) *s < 0x80 || (smtputf8 && s < domain));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *address = (const char *) bytes;
	StringInfoData wire;
	StringInfoData again;
	const char *why = NULL;
	bool		smtputf8 = false;
	bool		valid;

	initStringInfo(&wire);
	initStringInfo(&again);
	valid = address_is_valid(address, size, &why);
	CHECK(valid || (why != NULL && why[0] != '\0'));
	CHECK(address_to_wire(&wire, address, size, &smtputf8, &why) == valid);
	if (valid)
	{
		check_wire(&wire, smtputf8);
		CHECK(address_to_wire(&again, wire.data, wire.len, &smtputf8, &why));
		CHECK(strcmp(wire.data, again.data) == 0);
	}
	else
		CHECK(wire.len == 0);
	pfree(wire.data);
	pfree(again.data);
	return 0;
}
