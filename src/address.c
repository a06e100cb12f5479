/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which addresses we mail, and how they stand on the wire.
 *
 * The grammar is that of an SMTP mailbox (RFC 5321 4.1.2, with UTF-8 after
 * RFC 6531 3.3), not of an RFC 5322 header: no comments, no folding, no
 * display name, no address literal.  Whatever passes here is put into SMTP
 * commands and header fields as it is, so nothing passes that could end a
 * line or a path there.
 *
 * Domains go through libidn2 (RFC 5890 to 5893) with UTF-8 in and out, since
 * its locale-dependent entry points would make the result depend on how the
 * server was started.  The mapping of Unicode TR46 can yield any ASCII
 * character (a full-width "@", for one), so its result is checked again.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include <idn2.h>

#include "unicode.h"

#define ADDRESS_MAX	254			/* 4.5.3.1.3, less the angle brackets */
#define LABEL_MAX	63			/* RFC 1035 2.3.4 */

/* An address cut in two, with its domain as the wire carries it */
typedef struct Mailbox
{
	size_t		local_len;
	bool		local_ascii;
	char		domain[ADDRESS_MAX + 1];
} Mailbox;

/* RFC 5322 3.2.3, and UTF-8 after RFC 6532 3.2 */
static inline bool
is_atext(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c >= 0x80 ||
		(c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* The fault of a Dot-string local part, or NULL */
static const char *
address_dot_string_fault(const unsigned char *s, size_t len)
{
	size_t		i;

	if (s[0] == '.')
		return "The local part begins with a dot.";
	if (s[len - 1] == '.')
		return "The local part ends with a dot.";
	for (i = 0; i < len; i++)
	{
		if (s[i] == '.')
		{
			if (s[i - 1] == '.')
				return "The local part contains two dots in a row.";
		}
		else if (s[i] == ' ')
			return "The local part contains a space.";
		else if (!is_atext(s[i]))
			return "The local part contains a character to be quoted.";
	}
	return NULL;
}

/* The fault of a Quoted-string local part, or NULL */
static const char *
address_quoted_fault(const unsigned char *s, size_t len)
{
	size_t		i;

	if (len < 2 || s[len - 1] != '"')
		return "The quoted local part is not closed.";
	for (i = 1; i < len - 1; i++)
	{
		if (s[i] == '"')
			return "The quoted local part contains a bare quote.";
		if (s[i] == '\\')
		{
			i++;
			if (i == len - 1)
				return "The quoted local part is not closed.";
			if (s[i] >= 0x80)
				return "The quoted local part escapes a non-ASCII letter.";
		}
	}
	return NULL;
}

/*
 * Find the @ that ends the local part: the first one outside of quotes.
 * Returns len if there is none.
 */
static size_t
address_local_length(const char *s, size_t len)
{
	size_t		i = 0;

	if (len > 0 && s[0] == '"')
	{
		for (i = 1; i < len && s[i] != '"'; i++)
		{
			if (s[i] == '\\')
				i++;
		}
	}
	while (i < len && s[i] != '@')
		i++;
	return Min(i, len);
}

/* The fault of a domain of ASCII letters, digits and hyphens, or NULL */
static const char *
address_domain_fault(const char *domain)
{
	const char *label = domain;
	const char *p;
	bool		digits = true;

	for (p = domain;; p++)
	{
		if (*p == '.' || *p == '\0')
		{
			if (p == domain && *p == '\0')
				return "The domain part is empty.";
			if (p == label)
				return "The domain part contains an empty label.";
			if (p - label > LABEL_MAX)
				return "A domain label is longer than 63 octets.";
			if (*label == '-' || p[-1] == '-')
				return "A domain label begins or ends with a hyphen.";
			if (*p == '\0')
				break;
			label = p + 1;
			digits = true;
		}
		else if ((*p >= 'a' && *p <= 'z') || *p == '-')
			digits = false;
		else if (!(*p >= '0' && *p <= '9'))
			return "The domain part contains a character no host name has.";
	}

	if (label == domain)
		return "The domain part has no top-level domain.";
	if (digits)
		return "The top-level domain is a number.";
	return NULL;
}

/*
 * Convert a domain to lower-case A-labels.  Plain ASCII takes no trip through
 * libidn2, which is slow and refuses host names that do exist ("r3---sn");
 * but what claims to be an A-label already must be a true one.
 */
static const char *
address_convert_domain(char *wire, const char *domain, size_t len)
{
	bool		plain = true;
	char	   *converted;
	size_t		i;

	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) domain[i];

		wire[i] = (c >= 'A' && c <= 'Z') ? c + ('a' - 'A') : c;
		if (c >= 0x80)
			plain = false;
	}
	wire[len] = '\0';
	if (plain && strstr(wire, "xn--") == NULL)
		return NULL;

	if (idn2_lookup_u8((const uint8_t *) wire, (uint8_t **) &converted,
					   IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return "The domain part is no valid internationalized name.";
	len = strlen(converted);
	if (len <= ADDRESS_MAX)
		memcpy(wire, converted, len + 1);
	idn2_free(converted);
	if (len > ADDRESS_MAX)
		return "The address is longer than 254 octets.";
	return NULL;
}

/*
 * What is wrong with any single character of the address, or NULL.  Characters
 * that nobody sees are legal by RFC 6531, but in practice debris of copy and
 * paste that makes a known mailbox unknown, or a way to disguise an address.
 */
static const char *
address_text_fault(const unsigned char *s, size_t len)
{
	const char *fault = NULL;
	size_t		i;
	size_t		n;
	uint32_t	c;

	for (i = 0; i < len; i++)
	{
		if (s[i] < 0x20 || s[i] == 0x7F)
			return "The address contains a control character.";
	}
	for (i = 0; i < len; i += n)
	{
		if ((n = unicode_decode(s + i, len - i, &c)) == 0)
			return "The address is not valid UTF-8.";
		if (unicode_is_noncharacter(c))
			fault = "The address contains a code point that is not a character.";
		else if (unicode_is_unseen(c))
			fault = "The address contains an invisible character.";
	}
	return fault;
}

/*
 * Does the local part hold what looks like an encoded-word?  It is none there
 * (RFC 2047 5), but some hosts decode it all the same, and so find another
 * address in it: "=?utf-8?q?eve=40evil.example=3E?=@example.com".
 */
static bool
has_encoded_word(const unsigned char *s, size_t len)
{
	bool		begun = false;
	size_t		i;

	for (i = 0; i + 1 < len; i++)
	{
		if (!begun && s[i] == '=' && s[i + 1] == '?')
		{
			begun = true;
			i++;
		}
		else if (begun && s[i] == '?' && s[i + 1] == '=')
			return true;
	}
	return false;
}

/* Take the address apart; returns its fault, or NULL with *box filled */
static const char *
address_parse(Mailbox *box, const char *address, size_t len)
{
	const unsigned char *s = (const unsigned char *) address;
	const char *fault;
	size_t		local_len;
	size_t		i;

	if (len == 0)
		return "The address is empty.";
	if (len > ADDRESS_MAX)
		return "The address is longer than 254 octets.";
	if ((fault = address_text_fault(s, len)) != NULL)
		return fault;

	local_len = address_local_length(address, len);
	if (local_len == len)
		return "The address has no @.";
	if (local_len == 0)
		return "The local part is empty.";
	if (local_len > LOCAL_PART_MAX)
		return "The local part is longer than 64 octets.";
	fault = s[0] == '"' ? address_quoted_fault(s, local_len) :
		address_dot_string_fault(s, local_len);
	if (fault != NULL)
		return fault;
	if (has_encoded_word(s, local_len))
		return "The local part contains an encoded-word.";

	box->local_len = local_len;
	box->local_ascii = true;
	for (i = 0; i < local_len; i++)
	{
		if (s[i] >= 0x80)
			box->local_ascii = false;
	}

	address += local_len + 1;
	len -= local_len + 1;
	if (len > 0 && address[0] == '[')
		return "The domain part is an address literal.";
	if ((fault = address_convert_domain(box->domain, address, len)) != NULL ||
		(fault = address_domain_fault(box->domain)) != NULL)
		return fault;
	if (local_len + 1 + strlen(box->domain) > ADDRESS_MAX)
		return "The address is longer than 254 octets.";
	return NULL;
}

/* see pure.h */
bool
address_is_valid(const char *address, size_t len, const char **why)
{
	Mailbox		box;
	const char *fault = address_parse(&box, address, len);

	if (fault != NULL && why != NULL)
		*why = fault;
	return fault == NULL;
}

/* see pure.h */
bool
address_to_wire(StringInfo out, const char *address, size_t len,
				bool *smtputf8, const char **why)
{
	Mailbox		box;
	const char *fault = address_parse(&box, address, len);

	if (fault != NULL)
	{
		if (why != NULL)
			*why = fault;
		return false;
	}
	appendBinaryStringInfo(out, address, (int) box.local_len + 1);
	appendStringInfoString(out, box.domain);
	if (!box.local_ascii && smtputf8 != NULL)
		*smtputf8 = true;
	return true;
}
