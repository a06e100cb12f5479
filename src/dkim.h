/*-------------------------------------------------------------------------
 *
 * dkim.h
 *	  What dkim_key.c and dkim.c share: a private key, ready to sign.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_DKIM_H
#define MAILMAN_DKIM_H

#include "pure.h"

#include <openssl/evp.h>

#define DKIM_HASH_LENGTH	32	/* of SHA-256 */
#define DKIM_SIGNATURE_MAX	512 /* of an RSA key of 4096 bits */

/* Made once per letter; no message allocates anything anew */
struct DkimKey
{
	EVP_PKEY   *key;
	bool		ed25519;		/* else RSA */
	EVP_MD_CTX *hash;			/* SHA-256 */
	EVP_PKEY_CTX *rsa;			/* PKCS #1 v1.5 with SHA-256, or NULL */
	EVP_MD_CTX *ed;				/* or NULL */
};

/* Sign a hash (RFC 8463 3: Ed25519, too, signs the hash) */
extern bool dkim_key_sign(DkimKey *key, const uint8 *hash, uint8 *signature,
						  size_t *len);

#endif							/* MAILMAN_DKIM_H */
