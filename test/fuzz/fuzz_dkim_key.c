/*-------------------------------------------------------------------------
 *
 * fuzz_dkim_key.c
 *	  Fuzz target: private keys in PEM.
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
	static const char message[] = "From: a@b.example\r\n\r\nx\r\n";
	static const Piece whole = {message, sizeof(message) - 1};
	char	   *pem = pnstrdup((const char *) bytes, size);
	char	   *why = NULL;
	DkimSigner	signer = {NULL, "b.example", "s"};
	StringInfoData out;

	initStringInfo(&out);
	signer.key = dkim_key_load(pem, &why);
	if (signer.key == NULL)
	{
		CHECK(why != NULL && why[0] != '\0');
		pfree(why);
	}
	else
	{
		if (dkim_key_record(&out, signer.key))
			CHECK(is_clean_wire(out.data, out.len, true) ||
				  strchr(out.data, '\n') == NULL);
		resetStringInfo(&out);

		/* a broken key may be refused only now, but not half */
		if (dkim_sign(NULL, &out, &signer, 0, &whole, 1))
			CHECK(is_clean_wire(out.data, out.len, true));
		dkim_key_free(signer.key);
	}
	pfree(out.data);
	pfree(pem);
	return 0;
}
