/*-------------------------------------------------------------------------
 *
 * fuzz_dkim_sign.c
 *	  Fuzz target: signatures of any message.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static DkimKey *key;
	DkimSigner	signer = {NULL, "b.example", "s"};
	StringInfoData message;
	StringInfoData first;
	StringInfoData second;
	char	   *why;

	if (key == NULL)
		key = dkim_key_load(key_ed25519, &why);
	signer.key = key;
	initStringInfo(&message);
	initStringInfo(&first);
	initStringInfo(&second);
	appendStringInfoString(&message, "From: a@b.example\r\n");
	expected_body(&message, (const char *) bytes, size);
	CHECK(dkim_sign(&first, &signer, 1, message.data, message.len));
	CHECK(dkim_sign(&second, &signer, 1, message.data, message.len));
	CHECK(strcmp(first.data, second.data) == 0);
	CHECK(is_clean_wire(first.data, first.len, true));
	CHECK(longest_line(first.data, first.len) <= 998);
	pfree(message.data);
	pfree(first.data);
	pfree(second.data);
	return 0;
}
