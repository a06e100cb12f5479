/*-------------------------------------------------------------------------
 *
 * wrap.h
 *	  Secrets at rest: wrapped with a key that is not in the database.
 *	  Pure: see pure.h.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_WRAP_H
#define MAILMAN_WRAP_H

#include "pure.h"

#define WRAP_KEY_BYTES	32		/* of AES-256 */
#define WRAP_KEYS_MAX	16		/* of a file */
#define WRAP_ID_LENGTH	16		/* hexadecimal digits that name a key */
#define WRAP_NONCE_BYTES 12
#define WRAP_TAG_BYTES	16

/* What wrapping adds */
#define WRAP_OVERHEAD	(WRAP_NONCE_BYTES + WRAP_TAG_BYTES)

typedef struct WrapKey
{
	uint8		key[WRAP_KEY_BYTES];
	char		id[WRAP_ID_LENGTH + 1];
} WrapKey;

/* The keys of a file: the first wraps, all unwrap */
typedef struct WrapKeys
{
	int			count;
	WrapKey		keys[WRAP_KEYS_MAX];
} WrapKeys;

/*
 * Read a file's text: a key a line, 64 hexadecimal digits; empty lines and
 * those that begin with # do not count.  False with *why, in words, and the
 * line, or 0.
 */
extern bool wrap_keys_read(WrapKeys *keys, const char *text, size_t len,
						   const char **why, int *line);

/* The key of that id, or NULL */
extern const WrapKey *wrap_keys_find(const WrapKeys *keys, const char *id);

/* Nothing of them is left in memory */
extern void wrap_keys_forget(WrapKeys *keys);

/*
 * Wrap len bytes into len + WRAP_OVERHEAD.  The nonce must be random.  What
 * they belong to, as text, is not in them and must be the same to unwrap them.
 * False if OpenSSL fails.
 */
extern bool wrap_seal(uint8 *to, const WrapKey *key, const uint8 *nonce,
					  const char *belongs_to, const uint8 *from, size_t len);

/* Unwrap len bytes into len - WRAP_OVERHEAD; false if they are not genuine */
extern bool wrap_open(uint8 *to, const WrapKey *key, const char *belongs_to,
					  const uint8 *from, size_t len);

#endif							/* MAILMAN_WRAP_H */
