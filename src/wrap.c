/*-------------------------------------------------------------------------
 *
 * wrap.c
 *	  Secrets at rest: AES-256-GCM with a key that is not in the database.
 *
 * A wrapped secret is
 *
 *		nonce (12 octets), ciphertext, tag (16 octets)
 *
 * and says nothing of what it belongs to: that is authenticated with it, so a
 * secret that was put into another row does not unwrap there.  By which key it
 * was wrapped is told by the key's id, a hash of it.
 *
 * A key wraps few secrets, so a random nonce will do.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "wrap.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

/* So that a key used elsewhere gives nothing away, and no later form is ours */
#define ID_LABEL		"mailman key id"
#define SECRET_LABEL	"mailman secret 1"

/* ---- keys ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
key_set_id(WrapKey *key)
{
	uint8		named[sizeof(ID_LABEL) - 1 + WRAP_KEY_BYTES];
	uint8		digest[EVP_MAX_MD_SIZE];
	unsigned int len;
	bool		ok;
	int			i;

	memcpy(named, ID_LABEL, sizeof(ID_LABEL) - 1);
	memcpy(named + sizeof(ID_LABEL) - 1, key->key, WRAP_KEY_BYTES);
	ok = EVP_Digest(named, sizeof(named), digest, &len, EVP_sha256(),
					NULL) == 1;
	OPENSSL_cleanse(named, sizeof(named));
	for (i = 0; ok && i < WRAP_ID_LENGTH / 2; i++)
		snprintf(key->id + 2 * i, 3, "%02x", digest[i]);
	return ok;
}

/* A line without white space at either end; NULL, or what is wrong with it */
static const char *
key_read(WrapKey *key, const char *s, size_t len)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		if (hex_digit(s[i]) < 0)
			return "is not hexadecimal digits";
	}
	if (len != 2 * WRAP_KEY_BYTES)
		return "does not have 64 hexadecimal digits";
	for (i = 0; i < WRAP_KEY_BYTES; i++)
		key->key[i] = (uint8) (hex_digit(s[2 * i]) << 4 |
							   hex_digit(s[2 * i + 1]));
	return key_set_id(key) ? NULL : "cannot be hashed by OpenSSL";
}

static inline bool
is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* see wrap.h */
bool
wrap_keys_read(WrapKeys *keys, const char *text, size_t len,
			   const char **why, int *line)
{
	const char *end = text + len;
	const char *s;
	const char *stop;

	keys->count = 0;
	*why = NULL;
	*line = 0;
	for (s = text; s < end; s = stop + 1)
	{
		const char *last;

		stop = memchr(s, '\n', end - s);
		if (stop == NULL)
			stop = end;
		++*line;
		while (s < stop && is_white(*s))
			s++;
		for (last = stop; last > s && is_white(last[-1]); last--)
			;
		if (s == last || *s == '#')
			continue;
		*why = keys->count == WRAP_KEYS_MAX ? "is one key too many" :
			key_read(&keys->keys[keys->count++], s, last - s);
		if (*why != NULL)
			return false;
	}
	*line = 0;
	*why = "it has no key in it";
	return keys->count > 0;
}

/* see wrap.h */
const WrapKey *
wrap_keys_find(const WrapKeys *keys, const char *id)
{
	int			i;

	for (i = 0; i < keys->count; i++)
	{
		if (strcmp(keys->keys[i].id, id) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

/* see wrap.h */
void
wrap_keys_forget(WrapKeys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

/* ---- secrets ---- */

/* What is authenticated and not encrypted goes in, then what is */
static bool
cipher_update(EVP_CIPHER_CTX *ctx, bool seals, uint8 *to,
			  const char *belongs_to, const uint8 *from, size_t len)
{
	int			(*update) (EVP_CIPHER_CTX *, unsigned char *, int *,
						   const unsigned char *, int) =
		seals ? EVP_EncryptUpdate : EVP_DecryptUpdate;
	int			written;

	return update(ctx, NULL, &written, (const uint8 *) SECRET_LABEL,
				  sizeof(SECRET_LABEL)) == 1 &&
		update(ctx, NULL, &written, (const uint8 *) belongs_to,
			   (int) strlen(belongs_to)) == 1 &&
		update(ctx, to, &written, from, (int) len) == 1 &&
		written == (int) len;
}

/* see wrap.h */
bool
wrap_seal(uint8 *to, const WrapKey *key, const uint8 *nonce,
		  const char *belongs_to, const uint8 *from, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8	   *body = to + WRAP_NONCE_BYTES;
	uint8		rest[EVP_MAX_BLOCK_LENGTH];
	int			written;
	bool		ok;

	memcpy(to, nonce, WRAP_NONCE_BYTES);
	ok = ctx != NULL &&
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key,
						   nonce) == 1 &&
		cipher_update(ctx, true, body, belongs_to, from, len) &&
		EVP_EncryptFinal_ex(ctx, rest, &written) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, WRAP_TAG_BYTES,
							body + len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* see wrap.h */
bool
wrap_open(uint8 *to, const WrapKey *key, const char *belongs_to,
		  const uint8 *from, size_t len)
{
	EVP_CIPHER_CTX *ctx;
	uint8		tag[WRAP_TAG_BYTES];
	uint8		rest[EVP_MAX_BLOCK_LENGTH];
	int			written;
	bool		ok;

	if (len < WRAP_OVERHEAD || len > PG_INT32_MAX)
		return false;
	ctx = EVP_CIPHER_CTX_new();
	len -= WRAP_OVERHEAD;
	memcpy(tag, from + WRAP_NONCE_BYTES + len, WRAP_TAG_BYTES);
	ok = ctx != NULL &&
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key,
						   from) == 1 &&
		cipher_update(ctx, false, to, belongs_to, from + WRAP_NONCE_BYTES,
					  len) &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, WRAP_TAG_BYTES,
							tag) == 1 &&
		EVP_DecryptFinal_ex(ctx, rest, &written) == 1;
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	if (!ok)
		OPENSSL_cleanse(to, len);
	return ok;
}
