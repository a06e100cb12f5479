/*-------------------------------------------------------------------------
 *
 * hmac.h
 *	  What is made with a newsletter's secret, and told by it when it comes
 *	  back: tags of addresses, unsubscribe tokens.  Pure: see pure.h.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_HMAC_H
#define MAILMAN_HMAC_H

#include "pure.h"

/* ---- hmac.c ---- */

#define HMAC_BYTES 32

/*
 * HMAC-SHA-256 of label and data; false if there is no memory.  Labels keep
 * the uses of a secret apart: "message-id", "unsubscribe", "forgotten",
 * "verp".
 */
extern bool hmac_sha256(uint8 *digest, const uint8 *secret, size_t secret_len,
						const char *label, const void *data, size_t len);

/* The same of label and two ids */
extern bool hmac_ids(uint8 *digest, const uint8 *secret, size_t secret_len,
					 const char *label, int64 letter_id,
					 int64 subscription_id);

/* Write bytes, a multiple of five, in lower-case base32 (RFC 4648 6) */
extern void put_base32(char *to, const uint8 *bytes, int len);

/* ---- verp.c: which mail is an answer about? ---- */

#define VERP_PLACEHOLDER	"{{verp}}"
#define VERP_CHECK_LENGTH	8
#define VERP_TAG_SIZE		51	/* two ids, the check, hyphens and NUL */

typedef struct VerpTag
{
	int64		letter_id;
	int64		subscription_id;
	char		check[VERP_CHECK_LENGTH + 1];
} VerpTag;

/* Write "42-1007-k3v5q2ab"; false if OpenSSL fails */
extern bool verp_tag(char *tag, int64 letter_id, int64 subscription_id,
					 const uint8 *secret, size_t secret_len);

/*
 * Find the first tag in a text, an address or a subject.  It may be forged:
 * look up the secret of the letter's newsletter, then ask verp_is_true().
 */
extern bool verp_parse(const char *text, size_t len, VerpTag *tag);
extern bool verp_is_true(const VerpTag *tag, const uint8 *secret,
						 size_t secret_len);

/* If {{verp}} is in an address, can a tag be put there?  Else *why */
extern bool verp_has_room(const char *address, const char **why);

/* ---- token.c: unsubscribe tokens and links ---- */

#define TOKEN_HMAC_BYTES 16

/* Version, three ids of at most ten bytes, HMAC; and that in base64url */
#define TOKEN_BYTES (1 + 3 * 10 + TOKEN_HMAC_BYTES)
#define TOKEN_LENGTH_MAX 63

typedef struct Token
{
	int64		newsletter_id;
	int64		subscription_id;
	int64		letter_id;
	bool		inert;			/* genuine, and ends nothing */
	int			signed_len;		/* token_parse(): the bytes before the HMAC */
	uint8		bytes[TOKEN_BYTES];
} Token;

/*
 * Write a token of these ids, at most TOKEN_LENGTH_MAX characters of
 * [A-Za-z0-9_-]; false if there is no memory.
 */
extern bool token_make(char *text, const Token *token, const uint8 *secret,
					   size_t secret_len);

/*
 * What a text says that looks like a token: whose secret to verify it with.
 * False if it cannot be one; verifying it is then the same work, in vain.
 */
extern bool token_parse(Token *token, const char *text, size_t len);

/* Was it made with this secret?  In constant time. */
extern bool token_verify(const Token *token, const uint8 *secret,
						 size_t secret_len);

/* What is wrong with newsletter.unsubscribe_url, a sentence, or NULL */
extern const char *unsubscribe_url_fault(const char *url);

/* The link of a recipient; NULL if the newsletter has none */
extern char *unsubscribe_url(const RenderLetter *letter,
							 int64 subscription_id, bool inert);

#endif							/* MAILMAN_HMAC_H */
