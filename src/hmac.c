/*-------------------------------------------------------------------------
 *
 * hmac.c
 *	  What can be derived from a newsletter's secret, and from nothing else.
 *
 * Each use has a label of its own, so that what one of them shows to the
 * world (a Message-ID, a return path) tells nothing about another.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "common/hmac.h"
#include "common/sha2.h"
#ifndef FRONTEND
#include "utils/resowner.h"
#endif

#define LABEL_MAX	32

StaticAssertDecl(IDS_HMAC_LENGTH == PG_SHA256_DIGEST_LENGTH,
				 "it is SHA-256");

/* An id as the HMAC takes it: eight octets, most significant first */
static void
put_id(uint8 *to, int64 id)
{
	int			i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8) ((uint64) id >> (56 - 8 * i));
}

/*
 * see pure.h
 *
 * In the server OpenSSL's contexts belong to a resource owner, and a worker
 * has none between two transactions.
 */
bool
ids_hmac(uint8 *digest, const char *label, int64 letter_id,
		 int64 subscription_id, const uint8 *secret, size_t secret_len)
{
	uint8		input[LABEL_MAX + 16];
	size_t		len = strlen(label);
	pg_hmac_ctx *ctx;
	bool		ok;
#ifndef FRONTEND
	ResourceOwner own = NULL;

	if (CurrentResourceOwner == NULL)
		own = CurrentResourceOwner = ResourceOwnerCreate(NULL, "mailman");
#endif

	Assert(len <= LABEL_MAX);
	memcpy(input, label, len);
	put_id(input + len, letter_id);
	put_id(input + len + 8, subscription_id);

	ctx = pg_hmac_create(PG_SHA256);
	ok = ctx != NULL &&
		pg_hmac_init(ctx, secret, secret_len) == 0 &&
		pg_hmac_update(ctx, input, len + 16) == 0 &&
		pg_hmac_final(ctx, digest, IDS_HMAC_LENGTH) == 0;
	pg_hmac_free(ctx);

#ifndef FRONTEND
	if (own != NULL)
	{
		CurrentResourceOwner = NULL;
		ResourceOwnerDelete(own);
	}
#endif
	return ok;
}

/* see pure.h */
void
put_base32(char *to, const uint8 *bytes, int len)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	int			i;
	int			shift;

	for (i = 0; i < len; i += 5)
	{
		uint64		bits = (uint64) bytes[i] << 32 |
			(uint64) bytes[i + 1] << 24 | (uint64) bytes[i + 2] << 16 |
			(uint64) bytes[i + 3] << 8 | (uint64) bytes[i + 4];

		for (shift = 35; shift >= 0; shift -= 5)
			*to++ = digits[bits >> shift & 31];
	}
	*to = '\0';
}
