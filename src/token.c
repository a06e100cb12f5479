/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Unsubscribe tokens, and the links they stand in.
 *
 * A token says which subscription it ends, and proves that we made it:
 *
 *		base64url(version, newsletter, subscription, letter, HMAC)
 *
 * the ids as varints (seven bits a byte, the lowest first), the HMAC cut to
 * 128 bits.  It is all there is: no table of tokens, so none has to be kept,
 * and a link works as long as its newsletter does.  There is one way only to
 * write a token: whatever is not exactly what token_make() yields is refused.
 *
 * An inert token is genuine and ends nothing: for mails that nobody's
 * subscription stands behind.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "hmac.h"

#define TOKEN_LABEL		"unsubscribe"
#define TOKEN_VERSION	0x01
#define TOKEN_INERT		0x80	/* beside the version */
#define TOKEN_TAG		"{{token}}"

/* The longest link, with its token: it must fit into one line of a header */
#define URL_MAX			900

static const char base64url[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- bytes ---- */

static int
put_varint(uint8 *to, int64 id)
{
	uint64		rest = (uint64) id;
	int			n = 0;

	while (rest >= 0x80)
	{
		to[n++] = (uint8) (rest | 0x80);
		rest >>= 7;
	}
	to[n++] = (uint8) rest;
	return n;
}

/* Read an id at *at, in its shortest form; false if there is none */
static bool
get_varint(const uint8 *from, int len, int *at, int64 *id)
{
	uint64		value = 0;
	int			shift;

	for (shift = 0; *at < len && shift < 64; shift += 7)
	{
		uint8		byte = from[(*at)++];

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64) (byte & 0x7f) << shift;
		if (byte < 0x80)
		{
			*id = (int64) value;
			return byte != 0 || shift == 0;
		}
	}
	return false;
}

static void
put_base64url(char *to, const uint8 *bytes, int len)
{
	uint32		bits = 0;
	int			nbits = 0;
	int			i;

	for (i = 0; i < len; i++)
	{
		bits = bits << 8 | bytes[i];
		for (nbits += 8; nbits >= 6; nbits -= 6)
			*to++ = base64url[bits >> (nbits - 6) & 63];
	}
	if (nbits > 0)
		*to++ = base64url[bits << (6 - nbits) & 63];
	*to = '\0';
}

/* The number of bytes; -1 if it is no base64url, or not the only way */
static int
get_base64url(uint8 *to, const char *text, size_t len)
{
	uint32		bits = 0;
	int			nbits = 0;
	int			n = 0;
	size_t		i;

	for (i = 0; i < len; i++)
	{
		const char *digit = text[i] ? strchr(base64url, text[i]) : NULL;

		if (digit == NULL)
			return -1;
		bits = bits << 6 | (uint32) (digit - base64url);
		if ((nbits += 6) >= 8)
		{
			nbits -= 8;
			to[n++] = (uint8) (bits >> nbits);
		}
	}
	return nbits == 6 || (bits & ((1 << nbits) - 1)) != 0 ? -1 : n;
}

/* ---- tokens ---- */

/* see hmac.h */
bool
token_make(char *text, const Token *token, const uint8 *secret,
		   size_t secret_len)
{
	uint8		bytes[TOKEN_BYTES - TOKEN_HMAC_BYTES + HMAC_BYTES];
	int			len = 0;

	bytes[len++] = TOKEN_VERSION | (token->inert ? TOKEN_INERT : 0);
	len += put_varint(bytes + len, token->newsletter_id);
	len += put_varint(bytes + len, token->subscription_id);
	len += put_varint(bytes + len, token->letter_id);
	if (!hmac_sha256(bytes + len, secret, secret_len, TOKEN_LABEL, bytes, len))
		return false;
	put_base64url(text, bytes, len + TOKEN_HMAC_BYTES);
	return true;
}

/* Take the bytes apart */
static bool
token_read(Token *token, int len)
{
	const uint8 *bytes = token->bytes;
	int			at = 1;

	token->signed_len = len - TOKEN_HMAC_BYTES;
	token->inert = (bytes[0] & TOKEN_INERT) != 0;
	return len > TOKEN_HMAC_BYTES &&
		(bytes[0] & ~TOKEN_INERT) == TOKEN_VERSION &&
		get_varint(bytes, token->signed_len, &at, &token->newsletter_id) &&
		get_varint(bytes, token->signed_len, &at, &token->subscription_id) &&
		get_varint(bytes, token->signed_len, &at, &token->letter_id) &&
		at == token->signed_len;
}

/* see hmac.h */
bool
token_parse(Token *token, const char *text, size_t len)
{
	int			bytes;

	memset(token, 0, sizeof(Token));
	if (len <= TOKEN_LENGTH_MAX &&
		(bytes = get_base64url(token->bytes, text, len)) >= 0 &&
		token_read(token, bytes))
		return true;

	/* as much to verify as one that is well-formed */
	memset(token, 0, sizeof(Token));
	token->signed_len = TOKEN_BYTES - TOKEN_HMAC_BYTES;
	return false;
}

/* see hmac.h */
bool
token_verify(const Token *token, const uint8 *secret, size_t secret_len)
{
	const uint8 *claimed = token->bytes + token->signed_len;
	uint8		digest[HMAC_BYTES];
	uint8		different = 0;
	int			i;

	if (!hmac_sha256(digest, secret, secret_len, TOKEN_LABEL, token->bytes,
					 token->signed_len))
		return false;
	for (i = 0; i < TOKEN_HMAC_BYTES; i++)
		different |= claimed[i] ^ digest[i];
	return different == 0;
}

/* ---- links ---- */

/* Where the host and its port end; NULL if it is neither http nor https */
static const char *
url_path(const char *url)
{
	static const char *const schemes[] = {"https://", "http://"};
	size_t		i;

	for (i = 0; i < lengthof(schemes); i++)
	{
		size_t		len = strlen(schemes[i]);

		if (pg_strncasecmp(url, schemes[i], len) == 0)
			return url + len + strcspn(url + len, "/?#");
	}
	return NULL;
}

/* What RFC 3986 2 has no place for in a URL */
static const char *
url_character_fault(const char *url)
{
	const char *c;

	for (c = url; *c != '\0'; c++)
	{
		if (strncmp(c, TOKEN_TAG, strlen(TOKEN_TAG)) == 0)
			c += strlen(TOKEN_TAG) - 1;
		else if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return "It contains a control character.";
		else if (*c == ' ')
			return "It contains a space.";
		else if ((unsigned char) *c >= 0x80)
			return "It contains a character that is not ASCII; write it as %XX.";
		else if (*c == '{' || *c == '}')
			return "It contains a tag other than {{token}}.";
		else if (strchr("\"<>\\^`|", *c) != NULL)
			return "It contains a character that has no place in a URL; write it as %XX.";
	}
	return NULL;
}

/* see hmac.h */
const char *
unsubscribe_url_fault(const char *url)
{
	const char *path = url_path(url);
	const char *fault = url_character_fault(url);
	const char *tag;
	size_t		tags = 0;

	if (fault != NULL)
		return fault;
	if (path == NULL)
		return "It begins with neither https:// nor http://.";
	if (path[-1] == '/')
		return "It names no host.";
	for (tag = url; (tag = strstr(tag, TOKEN_TAG)) != NULL; tag++)
	{
		if (tag < path)
			return "{{token}} stands in the host, where letter case is lost.";
		tags++;
	}
	if (tags == 0)
		return "It does not contain {{token}}.";
	if (strlen(url) + tags * TOKEN_LENGTH_MAX > URL_MAX)
		return "It is longer than 900 octets with the token in it.";
	return NULL;
}

/* see hmac.h */
char *
unsubscribe_url(const RenderLetter *letter, int64 subscription_id, bool inert)
{
	Token		token = {
		.newsletter_id = letter->newsletter_id,
		.subscription_id = subscription_id,
		.letter_id = letter->letter_id,
		.inert = inert
	};
	char		text[TOKEN_LENGTH_MAX + 1];
	StringInfoData url;
	const char *from = letter->unsubscribe_url;
	const char *tag;

	if (from == NULL ||
		!token_make(text, &token, letter->secret, letter->secret_len))
		return NULL;
	initStringInfo(&url);
	while ((tag = strstr(from, TOKEN_TAG)) != NULL)
	{
		appendBinaryStringInfo(&url, from, (int) (tag - from));
		appendStringInfoString(&url, text);
		from = tag + strlen(TOKEN_TAG);
	}
	appendStringInfoString(&url, from);
	return url.data;
}
