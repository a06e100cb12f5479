/*-------------------------------------------------------------------------
 *
 * dkim_key.c
 *	  Private keys for DKIM: RSA (RFC 6376, 8301) and Ed25519 (RFC 8463).
 *
 * A key is read once per letter, and what OpenSSL needs to sign with it is
 * made then: signing is the dearest step of a message as it is.  Both kinds
 * sign deterministically (PKCS #1 v1.5 and PureEdDSA have no random part), so
 * a message has the same signature on every attempt.
 *
 * OpenSSL's memory is its own: whoever loads a key has to free it, a memory
 * context does not.  What it leaves in its error queue is of no use to
 * anybody else in the process, so nothing is left there.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "dkim.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "mime.h"

#define RSA_BITS_MIN	1024	/* RFC 8301 3.2: what signs must have */
#define RSA_BITS_GOOD	2048	/* and what it should have */
#define RSA_BITS_MAX	4096	/* what a verifier must be able to verify */

/* OpenSSL asks for a passphrase: there is none, and nobody to ask */
static int
key_passphrase(char *buffer pg_attribute_unused(),
			   int size pg_attribute_unused(),
			   int writing pg_attribute_unused(), void *asked)
{
	*(bool *) asked = true;
	return -1;
}

/* Read PEM: PKCS #8, or PKCS #1 for RSA */
static EVP_PKEY *
key_read(const char *pem, size_t len, char **why)
{
	BIO		   *bio = BIO_new_mem_buf(pem, (int) len);
	bool		asked = false;
	EVP_PKEY   *key;

	if (bio == NULL)
	{
		*why = pstrdup("OpenSSL is out of memory.");
		return NULL;
	}
	key = PEM_read_bio_PrivateKey(bio, NULL, key_passphrase, &asked);
	BIO_free(bio);
	if (key == NULL)
		*why = pstrdup(asked ? "The key is protected by a passphrase." :
					   strstr(pem, "PUBLIC KEY-----") != NULL ?
					   "This is a public key; the private one is needed." :
					   "It is no private key in PEM format.");
	return key;
}

/* What is wrong with it, or NULL */
static char *
key_fault(const EVP_PKEY *key)
{
	int			type = EVP_PKEY_base_id(key);
	int			bits = EVP_PKEY_bits(key);

	if (type == EVP_PKEY_ED25519)
		return NULL;
	if (type != EVP_PKEY_RSA)
		return pstrdup("The key is neither an RSA nor an Ed25519 key.");
	if (bits < RSA_BITS_MIN)
		return psprintf("The key is %d bits long, %d at least.", bits,
						RSA_BITS_MIN);
	if (bits > RSA_BITS_MAX)
		return psprintf("The key is %d bits long, %d at most.", bits,
						RSA_BITS_MAX);
	return NULL;
}

/* Make what signing needs; false if OpenSSL cannot */
static bool
key_prepare(DkimKey *key)
{
	key->hash = EVP_MD_CTX_new();
	if (key->hash == NULL ||
		EVP_DigestInit_ex(key->hash, EVP_sha256(), NULL) != 1)
		return false;
	if (key->ed25519)
	{
		key->ed = EVP_MD_CTX_new();
		return key->ed != NULL;
	}
	key->rsa = EVP_PKEY_CTX_new(key->key, NULL);
	return key->rsa != NULL && EVP_PKEY_sign_init(key->rsa) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(key->rsa, RSA_PKCS1_PADDING) == 1 &&
		EVP_PKEY_CTX_set_signature_md(key->rsa, EVP_sha256()) == 1;
}

/* see pure.h */
DkimKey *
dkim_key_load(const char *pem, char **why)
{
	DkimKey    *key;
	EVP_PKEY   *pkey;

	ERR_clear_error();
	pkey = key_read(pem, strlen(pem), why);
	if (pkey == NULL || (*why = key_fault(pkey)) != NULL)
	{
		EVP_PKEY_free(pkey);
		ERR_clear_error();
		return NULL;
	}
	key = palloc0(sizeof(DkimKey));
	key->key = pkey;
	key->ed25519 = EVP_PKEY_base_id(pkey) == EVP_PKEY_ED25519;
	if (!key_prepare(key))
	{
		*why = pstrdup("OpenSSL cannot sign with it.");
		dkim_key_free(key);
		return NULL;
	}
	return key;
}

/* see pure.h */
void
dkim_key_free(DkimKey *key)
{
	EVP_PKEY_CTX_free(key->rsa);
	EVP_MD_CTX_free(key->ed);
	EVP_MD_CTX_free(key->hash);
	EVP_PKEY_free(key->key);
	ERR_clear_error();
	pfree(key);
}

/* see pure.h */
int
dkim_key_weak_bits(const DkimKey *key)
{
	int			bits = EVP_PKEY_bits(key->key);

	return key->ed25519 || bits >= RSA_BITS_GOOD ? 0 : bits;
}

/* see dkim.h */
bool
dkim_key_sign(DkimKey *key, const uint8 *hash, uint8 *signature, size_t *len)
{
	bool		ok;

	*len = DKIM_SIGNATURE_MAX;
	if (key->ed25519)
		ok = EVP_MD_CTX_reset(key->ed) == 1 &&
			EVP_DigestSignInit(key->ed, NULL, NULL, NULL, key->key) == 1 &&
			EVP_DigestSign(key->ed, signature, len, hash,
						   DKIM_HASH_LENGTH) == 1;
	else
		ok = EVP_PKEY_sign(key->rsa, signature, len, hash,
						   DKIM_HASH_LENGTH) == 1;
	if (!ok)
		ERR_clear_error();
	return ok;
}

/* Append bytes in base64, in one line */
static void
append_base64(StringInfo out, const uint8 *bytes, size_t len)
{
	char	   *to;

	append_reserve(out, (len + 2) / 3 * 4 + 1);
	to = mime_put_base64(out->data + out->len, (const char *) bytes, len);
	*to = '\0';
	out->len = (int) (to - out->data);
}

/* see pure.h */
bool
dkim_key_record(StringInfo out, const DkimKey *key)
{
	uint8		raw[32];
	size_t		len = sizeof(raw);
	uint8	   *der = NULL;
	int			der_len;

	if (key->ed25519)
	{
		if (EVP_PKEY_get_raw_public_key(key->key, raw, &len) != 1)
			return false;
		appendStringInfoString(out, "v=DKIM1; k=ed25519; p=");
		append_base64(out, raw, len);
		return true;
	}
	der_len = i2d_PUBKEY(key->key, &der);
	if (der_len <= 0)
		return false;
	appendStringInfoString(out, "v=DKIM1; k=rsa; p=");
	append_base64(out, der, der_len);
	OPENSSL_free(der);
	return true;
}
