/*-------------------------------------------------------------------------
 *
 * fuzz_token.c
 *	  Fuzz target: tokens of unsubscribe links, tags of return paths.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

static const uint8 secret[] = "0123456789abcdef0123456789abcdef";

#define SECRET_LEN (sizeof(secret) - 1)

/* What is taken for genuine is what we would have written */
static void
check_token(const char *text, size_t len)
{
	Token		token;
	char		again[TOKEN_LENGTH_MAX + 1];
	bool		parsed = token_parse(&token, text, len);

	if (!token_verify(&token, secret, SECRET_LEN) || !parsed)
		return;
	CHECK(token_make(again, &token, secret, SECRET_LEN));
	CHECK(strlen(again) == len && memcmp(again, text, len) == 0);
}

static void
check_tag(const char *text, size_t len)
{
	VerpTag		tag;
	char		again[VERP_TAG_SIZE];

	if (!verp_parse(text, len, &tag) ||
		!verp_is_true(&tag, secret, SECRET_LEN))
		return;
	CHECK(verp_tag(again, tag.letter_id, tag.subscription_id, secret,
				   SECRET_LEN));
	CHECK(strstr(again, tag.check) != NULL);
}

/* What we write is taken for genuine, and with one bit changed it is not */
static void
check_made(const uint8_t *bytes)
{
	Token		token = {0};
	Token		read;
	char		text[TOKEN_LENGTH_MAX + 1];
	size_t		len;

	memcpy(&token.newsletter_id, bytes, 8);
	memcpy(&token.subscription_id, bytes + 8, 8);
	memcpy(&token.letter_id, bytes + 16, 8);
	token.inert = bytes[24] & 1;
	CHECK(token_make(text, &token, secret, SECRET_LEN));
	len = strlen(text);
	CHECK(token_parse(&read, text, len));
	CHECK(token_verify(&read, secret, SECRET_LEN));
	CHECK(read.newsletter_id == token.newsletter_id &&
		  read.subscription_id == token.subscription_id &&
		  read.letter_id == token.letter_id && read.inert == token.inert);
	text[bytes[25] % len] ^= 1 << (bytes[26] % 7);
	if (token_parse(&read, text, len))
		CHECK(!token_verify(&read, secret, SECRET_LEN));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	check_token((const char *) bytes, size);
	check_tag((const char *) bytes, size);
	if (size >= 27)
		check_made(bytes);
	return 0;
}
