/*-------------------------------------------------------------------------
 *
 * fuzz_dkim_sign.c
 *	  Fuzz target: signatures of any message, in one piece and in several.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

#define PIECES_MAX	8

/* Cut a message where lines begin, some behind its header */
static int
cut(Piece *pieces, const StringInfoData *message, size_t every)
{
	const char *end = message->data + message->len;
	const char *s = strstr(message->data, "\r\n\r\n");
	int			count = 1;
	size_t		lines = 0;

	pieces[0].data = message->data;
	s = s != NULL ? s + 4 : end;
	while (s < end && count < PIECES_MAX)
	{
		const char *lf = memchr(s, '\n', end - s);

		if (lines++ % every == 0)
		{
			pieces[count - 1].len = s - pieces[count - 1].data;
			pieces[count++].data = s;
		}
		s = lf != NULL ? lf + 1 : end;
	}
	pieces[count - 1].len = end - pieces[count - 1].data;
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static DkimKey *key;
	DkimSigner	signer = {NULL, "b.example", "s"};
	StringInfoData message;
	StringInfoData first;
	StringInfoData second;
	Piece		pieces[PIECES_MAX];
	char	   *why;

	if (key == NULL)
		key = dkim_key_load(key_ed25519, &why);
	signer.key = key;
	initStringInfo(&message);
	initStringInfo(&first);
	initStringInfo(&second);
	appendStringInfoString(&message, "From: a@b.example\r\n");
	expected_body(&message, (const char *) bytes, size);
	pieces[0].data = message.data;
	pieces[0].len = message.len;
	CHECK(dkim_sign(NULL, &first, &signer, 1, pieces, 1));
	CHECK(dkim_sign(NULL, &second, &signer, 1, pieces,
					cut(pieces, &message, size % 5 + 1)));
	CHECK(strcmp(first.data, second.data) == 0);
	CHECK(is_clean_wire(first.data, first.len, true));
	CHECK(longest_line(first.data, first.len) <= 998);
	pfree(message.data);
	pfree(first.data);
	pfree(second.data);
	return 0;
}
