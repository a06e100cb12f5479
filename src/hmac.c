/*-------------------------------------------------------------------------
 *
 * hmac.c
 *	  What can be derived from a newsletter's secret, and from nothing else.
 *
 * One secret serves several purposes: what is computed for one must never
 * pass for another, nor tell anything about it.  So every input begins with
 * the label of its purpose, and no label is the beginning of another.
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

StaticAssertDecl(HMAC_BYTES == PG_SHA256_DIGEST_LENGTH, "it is SHA-256");

/*
 * See pure.h.  In the server OpenSSL's contexts belong to a resource owner,
 * and a worker has none between two transactions.
 */
bool
hmac_sha256(uint8 *digest, const uint8 *secret, size_t secret_len,
			const char *label, const void *data, size_t len)
{
	pg_hmac_ctx *ctx;
	bool		ok;
#ifndef FRONTEND
	ResourceOwner own = NULL;

	if (CurrentResourceOwner == NULL)
		own = CurrentResourceOwner = ResourceOwnerCreate(NULL, "mailman");
#endif

	ctx = pg_hmac_create(PG_SHA256);
	ok = ctx != NULL &&
		pg_hmac_init(ctx, secret, secret_len) == 0 &&
		pg_hmac_update(ctx, (const uint8 *) label, strlen(label)) == 0 &&
		pg_hmac_update(ctx, data, len) == 0 &&
		pg_hmac_final(ctx, digest, HMAC_BYTES) == 0;
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

/* An id as the HMAC takes it: eight octets, most significant first */
static void
put_id(uint8 *to, int64 id)
{
	int			i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8) ((uint64) id >> (56 - 8 * i));
}

/* see pure.h */
bool
hmac_ids(uint8 *digest, const uint8 *secret, size_t secret_len,
		 const char *label, int64 letter_id, int64 subscription_id)
{
	uint8		ids[16];

	put_id(ids, letter_id);
	put_id(ids + 8, subscription_id);
	return hmac_sha256(digest, secret, secret_len, label, ids, sizeof(ids));
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
