/*-------------------------------------------------------------------------
 *
 * verp.c
 *	  Tags that tell which mail an answer is about: 42-1007-k3v5q2ab.
 *
 * A tag is made of the ids of letter and subscription and a check cut from
 * an HMAC under the newsletter's secret, so that nobody can make up the
 * bounce of a mail he has not seen.  It stands in the envelope sender
 * (variable envelope return path) where the newsletter's bounce_address says
 * {{verp}}, bounces+{{verp}}@example.com: only who knows that the mailbox
 * takes such addresses can decide on that.  And it stands in the subject of
 * the mailto: of List-Unsubscribe.
 *
 * Some servers fold the case of a local part, so a tag has no upper case and
 * is read in either.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "hmac.h"

#define VERP_LABEL		"verp"
#define VERP_BYTES		5		/* of the HMAC; makes the check's eight
								 * characters */
#define TAG_USUAL		34		/* with ids of up to twelve digits */

/* Is it one of base32's, in either case? */
static inline bool
is_base32(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '2' && c <= '7');
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_alnum(char c)
{
	return is_base32(c) || is_digit(c);
}

/* see hmac.h */
bool
verp_tag(char *tag, int64 letter_id, int64 subscription_id,
		 const uint8 *secret, size_t secret_len)
{
	uint8		digest[HMAC_BYTES];
	char		check[VERP_CHECK_LENGTH + 1];

	if (!hmac_ids(digest, secret, secret_len, VERP_LABEL, letter_id,
				  subscription_id))
		return false;
	put_base32(check, digest, VERP_BYTES);
	snprintf(tag, VERP_TAG_SIZE, INT64_FORMAT "-" INT64_FORMAT "-%s",
			 letter_id, subscription_id, check);
	return true;
}

/* Read a positive number that begins at s; NULL if it is none */
static const char *
verp_number(const char *s, const char *end, int64 *number)
{
	const char *start = s;
	uint64		value = 0;

	for (; s < end && is_digit(*s); s++)
	{
		if (s - start == 19)
			return NULL;
		value = value * 10 + (*s - '0');
	}
	*number = (int64) value;
	return s > start && start[0] != '0' && value <= PG_INT64_MAX ? s : NULL;
}

/* Is there a tag at s? */
static bool
verp_read(const char *s, const char *end, VerpTag *tag)
{
	int			i;

	s = verp_number(s, end, &tag->letter_id);
	if (s == NULL || s == end || *s != '-')
		return false;
	s = verp_number(s + 1, end, &tag->subscription_id);
	if (s == NULL || s == end || *s != '-' ||
		end - ++s < VERP_CHECK_LENGTH)
		return false;
	for (i = 0; i < VERP_CHECK_LENGTH; i++, s++)
	{
		if (!is_base32(*s))
			return false;
		tag->check[i] = pg_ascii_tolower((unsigned char) *s);
	}
	tag->check[i] = '\0';
	return s == end || !is_alnum(*s);
}

/* see hmac.h */
bool
verp_parse(const char *text, size_t len, VerpTag *tag)
{
	const char *end = text + len;
	const char *s;

	for (s = text; s < end; s++)
	{
		if (is_digit(*s) && (s == text || !is_alnum(s[-1])) &&
			verp_read(s, end, tag))
			return true;
	}
	return false;
}

/* see hmac.h */
bool
verp_is_true(const VerpTag *tag, const uint8 *secret, size_t secret_len)
{
	char		expected[VERP_TAG_SIZE];
	const char *check;
	int			differs = 0;
	int			i;

	if (!verp_tag(expected, tag->letter_id, tag->subscription_id, secret,
				  secret_len))
		return false;
	check = strrchr(expected, '-') + 1;
	for (i = 0; i < VERP_CHECK_LENGTH; i++)
		differs |= check[i] ^ tag->check[i];
	return differs == 0;
}

/* see hmac.h */
bool
verp_has_room(const char *address, const char **why)
{
	const char *place = strstr(address, VERP_PLACEHOLDER);
	const char *at = strrchr(address, '@');

	if (place == NULL || at == NULL)
		return true;
	if (place > at || address[0] == '"')
		*why = "{{verp}} stands outside of the local part, or in quotes.";
	else if (strstr(place + 1, VERP_PLACEHOLDER) != NULL)
		*why = "{{verp}} stands there twice.";
	else if (at - address - strlen(VERP_PLACEHOLDER) + TAG_USUAL >
			 LOCAL_PART_MAX)
		*why = "Beside {{verp}} the local part has room for 30 characters.";
	else
		return true;
	return false;
}
