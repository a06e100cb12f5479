/*-------------------------------------------------------------------------
 *
 * render.c
 *	  One recipient's message, from a letter and what is known of them.
 *
 * The same input gives the same bytes, on every attempt and after every
 * crash: a relay or mailbox that sees a message twice must be able to tell.
 * So nothing here asks a clock or a random source.  The Message-ID (RFC 5322
 * 3.6.4) and the boundary (RFC 2046 5.1.1) are cut from one HMAC-SHA-256 of
 * the ids: unique, the same again, and not to be guessed without the
 * newsletter's secret.
 *
 * The boundary begins with "=_", which quoted-printable and base64 cannot
 * yield, and mime_body.c sends no text with "--=_" at the start of a line as
 * it is; so no body needs to be searched for it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "render.h"

#define MESSAGE_ID_BYTES	20	/* of the HMAC, 32 characters */
#define BOUNDARY_BYTES		10	/* the ones after, 16 characters */
#define HMAC_LABEL			"message-id"

/* What render_prepare() works out once per letter */
struct RenderFixed
{
	StringInfoData mail_from;	/* wire form of the envelope sender */
	StringInfoData senders;		/* From: and Reply-To:, the header fields */
	char	   *domain;			/* of the From: address, for Message-ID */
	bool		smtputf8;
};

/*
 * Render a template of the letter; on failure the error says where in what.
 */
static bool
render_template(StringInfo out, const Template *tmpl, const char *what,
				TemplateMode mode, const RenderContext *context,
				const char **error)
{
	TemplateNode root = render_context(context);
	TemplateError fault;

	if (tmpl == NULL ||
		template_render(tmpl, &root, mode, context->letter->strict, out,
						&fault))
		return true;
	*error = fault.partial ?
		psprintf("%s, line %d, column %d of partial \"%s\"", fault.message,
				 fault.line, fault.column, fault.partial) :
		psprintf("%s, line %d, column %d of %s", fault.message, fault.line,
				 fault.column, what);
	return false;
}

/* Append an address in wire form; on failure *error says whose and why */
static bool
render_address(StringInfo out, const char *whose, const char *address,
			   bool *smtputf8, const char **error)
{
	const char *why = "It is not set.";

	if (address != NULL &&
		address_to_wire(out, address, strlen(address), smtputf8, &why))
		return true;
	*error = psprintf("invalid %s address: %s", whose, why);
	return false;
}

/* see pure.h */
RenderFixed *
render_prepare(const RenderLetter *letter, const char **error)
{
	RenderFixed *fixed = palloc0(sizeof(RenderFixed));
	StringInfoData address;

	initStringInfo(&address);
	initStringInfo(&fixed->mail_from);
	initStringInfo(&fixed->senders);

	if (!render_address(&address, "From", letter->from_address,
						&fixed->smtputf8, error))
		return NULL;
	mime_header_address(&fixed->senders, "From", letter->from_name,
						address.data);
	fixed->domain = pstrdup(strrchr(address.data, '@') + 1);

	if (letter->return_path == NULL)
		appendBinaryStringInfo(&fixed->mail_from, address.data, address.len);
	else if (!render_address(&fixed->mail_from, "return path",
							 letter->return_path, &fixed->smtputf8, error))
		return NULL;

	if (letter->reply_to != NULL)
	{
		resetStringInfo(&address);
		if (!render_address(&address, "Reply-To", letter->reply_to,
							&fixed->smtputf8, error))
			return NULL;
		mime_header_address(&fixed->senders, "Reply-To", NULL, address.data);
	}
	pfree(address.data);
	return fixed;
}

/* An id as the HMAC takes it: eight octets, most significant first */
static void
put_id(uint8 *to, int64 id)
{
	int			i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8) ((uint64) id >> (56 - 8 * i));
}

/* The HMAC-SHA-256 of the ids */
static bool
render_hmac(uint8 *digest, const RenderLetter *letter, int64 subscription_id)
{
	uint8		input[16];

	put_id(input, letter->letter_id);
	put_id(input + 8, subscription_id);
	return hmac_sha256(digest, letter->secret, letter->secret_len, HMAC_LABEL,
					   input, sizeof(input));
}

/* Write bytes, a multiple of five, in lower-case base32 (RFC 4648 6) */
static void
put_base32(char *to, const uint8 *bytes, int len)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	int			i;
	int			shift;

	for (i = 0; i < len; i += 5)
	{
		uint64		bits = (uint64) bytes[i] << 32 |
			(uint64) bytes[i + 1] << 24 | (uint64) bytes[i + 2] << 16 |
			(uint64) bytes[i + 3] << 8 | (uint64) bytes[i + 4];

		for (shift = 35; shift >= 0; shift -= 5)
			*to++ = digits[bits >> shift & 31];
	}
	*to = '\0';
}

/* Append Content-Type and body: text, HTML, or both with the text first */
static bool
render_content(StringInfo out, const RenderContext *context,
			   const char *boundary, const char **error)
{
	const RenderLetter *letter = context->letter;
	bool		both = letter->text_body && letter->html_body;
	StringInfoData body;

	initStringInfo(&body);
	if (both)
		appendStringInfo(out, "Content-Type: multipart/alternative;\r\n"
						 " boundary=\"%s\"\r\n\r\n--%s\r\n",
						 boundary, boundary);
	if (letter->text_body)
	{
		if (!render_template(&body, letter->text_body, "text_body",
							 TEMPLATE_PLAIN, context, error))
			return false;
		mime_text_part(out, "plain", body.data, body.len);
	}

	/* The CRLF before a delimiter is its own, not the body's (RFC 2046) */
	if (both)
		appendStringInfo(out, "\r\n--%s\r\n", boundary);
	if (letter->html_body)
	{
		resetStringInfo(&body);
		if (!render_template(&body, letter->html_body, "html_body",
							 TEMPLATE_HTML, context, error))
			return false;
		mime_text_part(out, "html", body.data, body.len);
	}
	if (both)
		appendStringInfo(out, "\r\n--%s--\r\n", boundary);
	pfree(body.data);
	return true;
}

/* Append all header fields that stand before the content's own */
static bool
render_header(StringInfo out, const RenderContext *context,
			  const RenderFixed *fixed, Rendered *result)
{
	const RenderRecipient *recipient = context->recipient;
	StringInfoData value;

	initStringInfo(&value);
	mime_date(&value, recipient->date);
	mime_header_raw(out, "Date", value.data);
	appendBinaryStringInfo(out, fixed->senders.data, fixed->senders.len);
	mime_header_address(out, "To", recipient->name, result->rcpt_to);

	resetStringInfo(&value);
	if (!render_template(&value, context->letter->subject, "subject",
						 TEMPLATE_PLAIN, context, &result->error))
		return false;
	mime_header_text(out, "Subject", value.data);
	mime_header_raw(out, "Message-ID", result->message_id);
	mime_header_raw(out, "MIME-Version", "1.0");
	pfree(value.data);
	return true;
}

/* Build the message; what can still fail are the templates */
static bool
render_build(Rendered *result, const RenderLetter *letter,
			 const RenderRecipient *recipient, const RenderFixed *fixed,
			 const uint8 *digest)
{
	RenderContext context = {.letter = letter,.recipient = recipient};
	char		id[MESSAGE_ID_BYTES / 5 * 8 + 1];
	char		boundary[2 + BOUNDARY_BYTES / 5 * 8 + 1] = "=_";

	StaticAssertStmt(MESSAGE_ID_BYTES + BOUNDARY_BYTES <=
					 HMAC_BYTES, "digest is too short");

	put_base32(id, digest, MESSAGE_ID_BYTES);
	put_base32(boundary + 2, digest + MESSAGE_ID_BYTES, BOUNDARY_BYTES);

	result->message_id = psprintf("<%s@%s>", id, fixed->domain);
	result->mail_from = pstrdup(fixed->mail_from.data);
	initStringInfo(&result->message);
	if (!render_header(&result->message, &context, fixed, result) ||
		!render_content(&result->message, &context, boundary,
						&result->error))
		return false;
	initStringInfo(&result->wire);
	mime_wire(&result->wire, result->message.data, result->message.len);
	return true;
}

/* see pure.h */
bool
render_message(const RenderLetter *letter, const RenderRecipient *recipient,
			   Rendered *result)
{
	const RenderFixed *fixed = letter->fixed;
	uint8		digest[HMAC_BYTES];
	StringInfoData address;

	memset(result, 0, sizeof(Rendered));
	if (letter->text_body == NULL && letter->html_body == NULL)
	{
		result->error = "the letter has neither a text nor an HTML body";
		return false;
	}
	if (fixed == NULL &&
		(fixed = render_prepare(letter, &result->error)) == NULL)
		return false;

	result->smtputf8 = fixed->smtputf8;
	initStringInfo(&address);
	if (!render_address(&address, "recipient", recipient->email,
						&result->smtputf8, &result->error))
		return false;
	result->rcpt_to = address.data;

	if (!render_hmac(digest, letter, recipient->subscription_id))
	{
		result->error = "could not compute HMAC-SHA-256";
		return false;
	}
	return render_build(result, letter, recipient, fixed, digest);
}
