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
#include "hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

/* A secret that is longer is keyed with anew each time */
#define KEPT_KEY_MAX	64

/*
 * HMAC-SHA-256 without a key yet.  OpenSSL finds its algorithms by name, which
 * takes longer than to compute one of these: so it is asked once a process.
 */
static EVP_MAC_CTX *
hmac_create(void)
{
	EVP_MAC    *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
	OSSL_PARAM	params[2];

	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
												 OSSL_DIGEST_NAME_SHA2_256, 0);
	params[1] = OSSL_PARAM_construct_end();
	EVP_MAC_free(hmac);			/* the context keeps it */
	if (ctx != NULL && EVP_MAC_CTX_set_params(ctx, params) == 1)
		return ctx;
	EVP_MAC_CTX_free(ctx);
	return NULL;
}

/*
 * The context, keyed and about to begin; NULL if there is none.  All mails of
 * a letter are made with one secret, so what was derived from the last one is
 * kept: that is half of the work for so little data.
 */
static EVP_MAC_CTX *
hmac_begin(const uint8 *secret, size_t secret_len)
{
	static EVP_MAC_CTX *ctx = NULL;
	static uint8 key[KEPT_KEY_MAX];
	static size_t key_len = 0;	/* 0: not keyed */
	bool		same = key_len > 0 && key_len == secret_len &&
		memcmp(key, secret, key_len) == 0;

	if (ctx == NULL)
		ctx = hmac_create();
	if (ctx == NULL)
		return NULL;
	if (same && EVP_MAC_init(ctx, NULL, 0, NULL) == 1)
		return ctx;
	key_len = 0;
	if (EVP_MAC_init(ctx, secret, secret_len, NULL) != 1)
		return NULL;
	if (secret_len <= KEPT_KEY_MAX)
	{
		memcpy(key, secret, secret_len);
		key_len = secret_len;
	}
	return ctx;
}

/* see hmac.h */
bool
hmac_sha256(uint8 *digest, const uint8 *secret, size_t secret_len,
			const char *label, const void *data, size_t len)
{
	EVP_MAC_CTX *ctx = hmac_begin(secret, secret_len);
	size_t		written = 0;

	return ctx != NULL &&
		EVP_MAC_update(ctx, (const unsigned char *) label,
					   strlen(label)) == 1 &&
		EVP_MAC_update(ctx, data, len) == 1 &&
		EVP_MAC_final(ctx, digest, &written, HMAC_BYTES) == 1 &&
		written == HMAC_BYTES;
}

/* An id as the HMAC takes it: eight octets, most significant first */
static void
put_id(uint8 *to, int64 id)
{
	int			i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8) ((uint64) id >> (56 - 8 * i));
}

/* see hmac.h */
bool
hmac_ids(uint8 *digest, const uint8 *secret, size_t secret_len,
		 const char *label, int64 letter_id, int64 subscription_id)
{
	uint8		ids[16];

	put_id(ids, letter_id);
	put_id(ids + 8, subscription_id);
	return hmac_sha256(digest, secret, secret_len, label, ids, sizeof(ids));
}

/* see hmac.h */
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
