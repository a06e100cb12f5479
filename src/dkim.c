/*-------------------------------------------------------------------------
 *
 * dkim.c
 *	  DKIM signatures (RFC 6376), canonicalised relaxed/relaxed.
 *
 * Signed are all header fields that say whose mail it is, how to read it and
 * how to leave the list (RFC 8058 4 asks for those two), as far as they are
 * there.  Most of them once more than they are there, so that whoever passes
 * our mail on cannot put a second one above ours, which many readers show
 * (RFC 6376 8.15); some even if they are not there, as a Reply-To: or a Cc: of
 * theirs is as bad.  What other hosts may add or change (Return-Path:,
 * Received:, Feedback-ID:, a letter's own fields) is not, or is left out.
 *
 * The time of the signature is the Date: of the message, not the clock's: a
 * message has the same bytes on every attempt.  For the same reason there is
 * no expiry.
 *
 * The body is hashed where it lies, piece by piece.  Only runs of white space
 * interrupt that.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "dkim.h"

#include "mime.h"

#define LINE_GOOD	76

/* Is one more of them signed? */
typedef enum Oversigned
{
	NEVER,
	IF_THERE,
	ALWAYS
} Oversigned;

/* In the order of h= */
static const struct
{
	const char *name;
	Oversigned	over;
}			signed_names[] =

{
	{"From", ALWAYS},
	{"Reply-To", ALWAYS},
	{"To", ALWAYS},
	{"Cc", ALWAYS},
	{"Subject", ALWAYS},
	{"Date", IF_THERE},
	{"Message-ID", IF_THERE},
	{"MIME-Version", IF_THERE},
	{"Content-Type", IF_THERE},
	{"Content-Transfer-Encoding", IF_THERE},
	{"List-Id", IF_THERE},
	{"List-Unsubscribe", IF_THERE},
	{"List-Unsubscribe-Post", IF_THERE},
	{"Feedback-ID", NEVER}
};

/* A header field of the message, with its CRLF */
typedef struct Signed
{
	const char *start;
	const char *end;
} Signed;

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The end of the header: of the CRLF before the empty line */
static const char *
header_end(const char *s, const char *end)
{
	while (s < end && *s != '\r')
	{
		const char *lf = memchr(s, '\n', end - s);

		s = lf ? lf + 1 : end;
	}
	return s;
}

/* The end of the field at s: of its last line */
static const char *
field_end(const char *s, const char *end)
{
	do
	{
		const char *lf = memchr(s, '\n', end - s);

		s = lf ? lf + 1 : end;
	} while (s < end && is_blank(*s));
	return s;
}

/* Find the fields to sign; of several with a name the last (5.4.2) */
static void
fields_find(Signed *fields, const char *s, const char *end)
{
	memset(fields, 0, sizeof(Signed) * lengthof(signed_names));
	while (s < end)
	{
		const char *stop = field_end(s, end);
		const char *colon = memchr(s, ':', stop - s);
		size_t		i;

		for (i = 0; colon != NULL && i < lengthof(signed_names); i++)
		{
			if (strlen(signed_names[i].name) == (size_t) (colon - s) &&
				pg_strncasecmp(s, signed_names[i].name, colon - s) == 0)
			{
				fields[i].start = s;
				fields[i].end = stop;
			}
		}
		s = stop;
	}
}

/*
 * Append a field in its relaxed form (3.4.2), without CRLF at its end: name
 * in lower case, unfolded, white space single and none around the value.
 */
static void
field_relax(StringInfo out, const char *s, const char *end)
{
	bool		blank = false;
	bool		begun = false;

	for (; s < end && *s != ':'; s++)
	{
		if (!is_blank(*s))
			appendStringInfoChar(out,
								 (char) pg_ascii_tolower((unsigned char) *s));
	}
	appendStringInfoChar(out, ':');
	for (s++; s < end; s++)
	{
		if (is_blank(*s))
			blank = true;
		else if (*s != '\r' && *s != '\n')
		{
			if (blank && begun)
				appendStringInfoChar(out, ' ');
			appendStringInfoChar(out, *s);
			begun = true;
			blank = false;
		}
	}
}

/*
 * Hash a piece of a body in its relaxed form (3.4.4): white space single, none
 * at the end of a line.
 */
static bool
piece_hash(EVP_MD_CTX *hash, const char *s, const char *end)
{
	const char *run = s;

	while (s < end)
	{
		const char *blanks = s;

		if (!is_blank(*s++))
			continue;
		while (is_blank(*s))
			s++;
		if (s == blanks + 1 && *blanks == ' ' && *s != '\r')
			continue;
		if (EVP_DigestUpdate(hash, run, blanks - run) != 1 ||
			(*s != '\r' && EVP_DigestUpdate(hash, " ", 1) != 1))
			return false;
		run = s;
	}
	return EVP_DigestUpdate(hash, run, end - run) == 1;
}

/* The end of a piece without the white space and the empty lines there */
static const char *
piece_end(const Piece *piece, const char *from)
{
	const char *end = piece->data + piece->len;

	while (end > from &&
		   (is_blank(end[-1]) || end[-1] == '\r' || end[-1] == '\n'))
		end--;
	return end;
}

/*
 * Hash a body, which begins in the first piece at s, without the empty lines at
 * its end.
 */
static bool
body_hash(DkimKey *key, uint8 *digest, const Piece *pieces, int count,
		  const char *s)
{
	EVP_MD_CTX *hash = key->hash;
	const char *from = s;
	const char *end;
	int			i;

	if (EVP_DigestInit_ex(hash, NULL, NULL) != 1)
		return false;
	for (; count > 0; count--)
	{
		from = count == 1 ? s : pieces[count - 1].data;
		end = piece_end(&pieces[count - 1], from);
		if (end > from)
			break;
	}
	for (i = 0; i < count; i++)
	{
		from = i == 0 ? s : pieces[i].data;
		if (!piece_hash(hash, from, i == count - 1 ? end :
						pieces[i].data + pieces[i].len))
			return false;
	}
	return (count == 0 || EVP_DigestUpdate(hash, "\r\n", 2) == 1) &&
		EVP_DigestFinal_ex(hash, digest, NULL) == 1;
}

/* Append a tag after a fold if the line has no room; *line is its start */
static void
append_folded(StringInfo out, int *line, const char *text)
{
	if (out->len - *line + 1 + (int) strlen(text) > LINE_GOOD)
	{
		appendBinaryStringInfo(out, "\r\n", 2);
		*line = out->len;
	}
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, text);
}

/* Append the name of a field to the list of h= */
static void
append_name(StringInfo out, int *line, const char *name)
{
	if (out->data[out->len - 1] != '=')
		appendStringInfoChar(out, ':');
	if (out->len - *line + strlen(name) + 2 > LINE_GOOD)
	{
		appendBinaryStringInfo(out, "\r\n ", 3);
		*line = out->len - 1;
	}
	appendStringInfoString(out, name);
}

/* Append base64, folded, behind "b=" */
static void
append_base64(StringInfo out, const uint8 *bytes, size_t len)
{
	char		text[(DKIM_SIGNATURE_MAX + 2) / 3 * 4 + 1];
	const char *end = mime_put_base64(text, (const char *) bytes, len);
	const char *s;

	for (s = text; s < end; s += LINE_GOOD - 4)
	{
		if (s > text)
			appendBinaryStringInfo(out, "\r\n ", 3);
		appendBinaryStringInfo(out, s, (int) Min(end - s, LINE_GOOD - 4));
	}
}

/* Append the signature's field up to "b=" */
static void
signature_begin(StringInfo out, const DkimSigner *signer, int64 date,
				const Signed *fields, const uint8 *digest)
{
	int			line = out->len;
	char	   *tag;
	size_t		i;

	appendStringInfo(out, "DKIM-Signature: v=1; a=%s-sha256; "
					 "c=relaxed/relaxed;",
					 signer->key->ed25519 ? "ed25519" : "rsa");
	tag = psprintf("d=%s;", signer->domain);
	append_folded(out, &line, tag);
	pfree(tag);
	tag = psprintf("s=%s;", signer->selector);
	append_folded(out, &line, tag);
	pfree(tag);
	tag = psprintf("t=" INT64_FORMAT ";", date);
	append_folded(out, &line, tag);
	pfree(tag);
	append_folded(out, &line, "h=");
	for (i = 0; i < lengthof(signed_names); i++)
	{
		int			times = fields[i].start != NULL;

		if (signed_names[i].over == ALWAYS ||
			(signed_names[i].over == IF_THERE && times > 0))
			times++;
		for (; times > 0; times--)
			append_name(out, &line, signed_names[i].name);
	}
	appendBinaryStringInfo(out, ";\r\n bh=", 7);
	append_reserve(out, DKIM_HASH_LENGTH * 2);
	*mime_put_base64(out->data + out->len, (const char *) digest,
					 DKIM_HASH_LENGTH) = '\0';
	out->len += strlen(out->data + out->len);
	appendBinaryStringInfo(out, ";\r\n b=", 6);
}

/* see pure.h */
bool
dkim_sign(StringInfo out, const DkimSigner *signer, int64 date,
		  const Piece *pieces, int count)
{
	const char *message = pieces[0].data;
	const char *end = message + pieces[0].len;
	const char *header = header_end(message, end);
	const char *body = end - header >= 2 ? header + 2 : end;
	Signed		fields[lengthof(signed_names)];
	uint8		digest[DKIM_HASH_LENGTH];
	uint8		signature[DKIM_SIGNATURE_MAX];
	size_t		signature_len;
	StringInfoData relaxed;
	EVP_MD_CTX *hash = signer->key->hash;
	int			start = out->len;
	bool		ok;
	size_t		i;

	fields_find(fields, message, header);
	if (!body_hash(signer->key, digest, pieces, count, body))
		return false;
	signature_begin(out, signer, date, fields, digest);

	initStringInfo(&relaxed);
	for (i = 0; i < lengthof(signed_names); i++)
	{
		if (fields[i].start == NULL)
			continue;
		field_relax(&relaxed, fields[i].start, fields[i].end);
		appendBinaryStringInfo(&relaxed, "\r\n", 2);
	}
	field_relax(&relaxed, out->data + start, out->data + out->len);
	ok = EVP_DigestInit_ex(hash, NULL, NULL) == 1 &&
		EVP_DigestUpdate(hash, relaxed.data, relaxed.len) == 1 &&
		EVP_DigestFinal_ex(hash, digest, NULL) == 1 &&
		dkim_key_sign(signer->key, digest, signature, &signature_len);
	pfree(relaxed.data);
	if (!ok)
		return false;
	append_base64(out, signature, signature_len);
	appendBinaryStringInfo(out, "\r\n", 2);
	return true;
}

/* see pure.h */
bool
dkim_name_is_valid(const char *name, const char **why)
{
	const char *label = name;
	const char *s;

	*why = "It has the form of a host name: letters, digits, hyphens and dots.";
	for (s = name;; s++)
	{
		if (*s == '.' || *s == '\0')
		{
			if (s == label || s - label > 63 || *label == '-' || s[-1] == '-')
				return false;
			if (*s == '\0')
				return s - name <= 200;
			label = s + 1;
		}
		else if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
				   (*s >= '0' && *s <= '9') || *s == '-' || *s == '_'))
			return false;
	}
}
