/*-------------------------------------------------------------------------
 *
 * mime_field.c
 *	  Header fields of mailing lists (RFC 2919, 2369, 8058), and which names
 *	  a letter's own fields may have.
 *
 * Who writes a letter adds fields to it, but takes none over from us: two
 * From: fields, or a second Content-Type:, are the stuff that forged and
 * broken mail is made of.  So every name that we write ourselves, that other
 * hosts write on the way, or that carries an address, is refused.  What stands
 * in the value of any other cannot hurt: mime_header.c sees to that.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"

#define NAME_MAX_LENGTH	76
#define LIST_ID_MAX		255		/* RFC 2919 2 */
#define URL_MAX			900		/* so that a line of 998 holds it */

/* Field names that are not to be had; a final "-" stands for all with it */
static const char *const reserved_names[] = {
	/* written by mailman */
	"Date", "From", "Reply-To", "To", "Subject", "Message-ID", "List-Id",
	"List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID", "Precedence",
	"MIME-Version", "Content-", "DKIM-Signature",
	/* addresses, which no text is */
	"Sender", "Cc", "Bcc", "Resent-", "Apparently-To", "Errors-To",
	"Return-Receipt-To", "Disposition-Notification-To",
	/* written by those who carry the mail */
	"Return-Path", "Received", "Received-SPF", "Authentication-Results", "ARC-",
	"DomainKey-Signature", "Delivered-To", "Envelope-To", "X-Original-To",
	"X-Envelope-To", "X-Envelope-From", "Lines", "Status"
};

/* see pure.h */
bool
header_name_is_allowed(const char *name, const char **why)
{
	size_t		len = strlen(name);
	size_t		i;

	if (len == 0 || len > NAME_MAX_LENGTH)
	{
		*why = "A field name has 1 to 76 characters.";
		return false;
	}
	for (i = 0; i < len; i++)
	{
		/* ftext, RFC 5322 3.6.8 */
		if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
		{
			*why = "A field name consists of printable ASCII characters without spaces and colons.";
			return false;
		}
	}
	for (i = 0; i < lengthof(reserved_names); i++)
	{
		size_t		n = strlen(reserved_names[i]);

		if ((reserved_names[i][n - 1] == '-' ? len >= n : len == n) &&
			pg_strncasecmp(name, reserved_names[i], n) == 0)
		{
			*why = "This field is written by mailman or by mail servers.";
			return false;
		}
	}
	return true;
}

/*
 * Find the id in "id" or "any words <id>"; *display_len is that of the words.
 */
static const char *
list_id_find(const char *value, size_t *len, size_t *display_len)
{
	const char *angle = strrchr(value, '<');

	*len = strlen(value);
	*display_len = 0;
	if (angle == NULL || value[*len - 1] != '>')
		return value;
	*len -= angle + 2 - value;
	*display_len = angle - value;
	while (*display_len > 0 && value[*display_len - 1] == ' ')
		(*display_len)--;
	return angle + 1;
}

/* see pure.h */
bool
list_id_is_valid(const char *value, const char **why)
{
	size_t		len;
	size_t		display_len;
	const char *id = list_id_find(value, &len, &display_len);
	bool		dot = false;
	size_t		i;

	/* dot-atom-text, RFC 5322 3.2.3, with a dot in it */
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) id[i];

		if (c == '.' && i > 0 && i + 1 < len && id[i + 1] != '.')
			dot = true;
		else if (c <= ' ' || c >= 0x7F || strchr("()<>[]:;@\\,.\"", c))
			break;
	}
	if (i == len && dot && len <= LIST_ID_MAX)
		return true;
	*why = "A list id looks like a host name, \"weekly.example.com\", or like \"Our Weekly <weekly.example.com>\".";
	return false;
}

/* see pure.h */
void
mime_header_list_id(StringInfo out, const char *value)
{
	size_t		len;
	size_t		display_len;
	const char *found = list_id_find(value, &len, &display_len);
	char	   *display = pnstrdup(value, display_len);
	char	   *id = pnstrdup(found, len);

	mime_header_angle(out, "List-Id", display, id);
	pfree(display);
	pfree(id);
}

/* see pure.h */
bool
feedback_id_is_valid(const char *value, const char **why)
{
	size_t		len = strspn(value, "abcdefghijklmnopqrstuvwxyz"
							 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (len > 0 && len <= 64 && value[len] == '\0')
		return true;
	*why = "It has 1 to 64 letters, digits and characters of \"._-\".";
	return false;
}

/*
 * Append text as a part of a URL: characters that are not of keep, letters or
 * digits become %XX (RFC 3986 2.1).
 */
static void
url_append(StringInfo out, const char *text, const char *keep)
{
	char	   *to;

	append_reserve(out, 3 * strlen(text));
	to = out->data + out->len;
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr(keep, c) != NULL)
			*to++ = (char) c;
		else
		{
			to = mime_put_hex(to, c);
			to[-3] = '%';
		}
	}
	out->len = (int) (to - out->data);
	*to = '\0';
}

/* see pure.h */
void
mailto_url(StringInfo out, const char *address, const char *subject)
{
	append_literal(out, "mailto:");
	url_append(out, address, "-._~!$'*+@"); /* RFC 6068 2 */
	append_literal(out, "?subject=");
	url_append(out, subject, "-._~");
}

/* see pure.h */
bool
mime_header_unsubscribe(StringInfo out, const char *url, const char *mailto,
						const char **why)
{
	int			start = out->len;
	bool		https = url != NULL &&
		pg_strncasecmp(url, "https://", 8) == 0;

	if (url == NULL && mailto == NULL)
		return true;
	append_literal(out, "List-Unsubscribe: <");
	if (url != NULL)
	{
		int			from = out->len;

		if (!https && pg_strncasecmp(url, "http://", 7) != 0)
			*why = "The unsubscribe URL begins neither with https:// nor with http://.";
		else
		{
			/* RFC 3986 2.2 and 2.3; what is escaped already stays so */
			url_append(out, url, "-._~:/?#[]@!$&'()*+,;=%");
			*why = "The unsubscribe URL is longer than 900 characters.";
			https = https && out->len - from > 8;
		}
		if (out->len - from > URL_MAX || out->len == from)
		{
			out->len = start;
			out->data[start] = '\0';
			return false;
		}
	}
	if (mailto != NULL)
	{
		if (url != NULL)
			append_literal(out, ">,\r\n <");
		append_string(out, mailto);
	}
	append_literal(out, ">\r\n");

	/* RFC 8058 3.1: with an HTTPS URL, and with no other */
	if (https)
		append_literal(out, "List-Unsubscribe-Post:"
					   " List-Unsubscribe=One-Click\r\n");
	return true;
}
