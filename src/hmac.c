/*-------------------------------------------------------------------------
 *
 * hmac.c
 *	  HMAC-SHA-256 under a newsletter's secret.
 *
 * One secret serves several purposes: what is computed for one must never
 * pass for another.  So every input begins with the label of its purpose, and
 * no label is the beginning of another.
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

	StaticAssertStmt(HMAC_BYTES == PG_SHA256_DIGEST_LENGTH, "digest length");

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
