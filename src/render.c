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
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"
#include "render.h"

#define MESSAGE_ROOM		8191	/* most mails fit; with a NUL, 8 kB */
#define HMAC_LABEL			"message-id"
#define TEST_LABEL			"test-message-id"
#define TEST_PREFIX			"[Test] "

/* A template could not be rendered: what is wrong, and where */
static const char *
render_fault(const RenderContext *context, const TemplateError *fault,
			 const char *what, size_t room)
{
	const char *words = fault->message;
	const char *place = fault->partial ?
		psprintf("partial \"%s\"", fault->partial) : what;

	if (context->work->full && room == RENDER_FIELD_MAX)
		words = psprintf("%s would exceed %s", what, render_size(room));
	else if (context->work->full || context->work->spent)
		words = render_exceeds(context);
	return psprintf("%s, line %d, column %d of %s", words, fault->line,
					fault->column, place);
}

/* see render.h */
bool
render_template(StringInfo out, const Template *tmpl, const char *what,
				TemplateMode mode, const RenderContext *context, size_t room,
				const char **error)
{
	TemplateNode root = render_context(context);
	TemplateError fault;

	context->work->room = room;
	if (tmpl == NULL ||
		template_render(context->work, tmpl, &root, mode,
						context->letter->strict, out, &fault))
		return true;
	*error = render_fault(context, &fault, what, room);
	return false;
}

/*
 * Cut what is the recipient's alone from HMACs of the ids: what a mail is known
 * by under the secret that lasts, what comes back under the latest.  A test has
 * others than the mail it is a copy of, and a tag that names nobody: no subscription
 * has id 0, and verp_parse() takes it for no tag.
 */
static bool
render_marks(Marks *marks, const RenderLetter *letter,
			 const RenderRecipient *recipient, const RenderFixed *fixed)
{
	bool		test = recipient->test_id != 0;
	bool		only = letter->first_secret == NULL;
	uint8		digest[HMAC_BYTES];

	StaticAssertStmt(MESSAGE_ID_BYTES + BOUNDARY_BYTES <= HMAC_BYTES,
					 "digest is too short");

	if (!hmac_ids(digest, only ? letter->secret : letter->first_secret,
				  only ? letter->secret_len : letter->first_secret_len,
				  test ? TEST_LABEL : HMAC_LABEL, letter->letter_id,
				  test ? recipient->test_id : recipient->subscription_id))
		return false;
	put_base32(marks->id, digest, MESSAGE_ID_BYTES);
	put_base32(marks->boundary, digest + MESSAGE_ID_BYTES, BOUNDARY_BYTES);
	marks->tag[0] = '\0';
	return !fixed->tagged ||
		verp_tag(marks->tag, letter->letter_id,
				 test ? 0 : recipient->subscription_id, letter->secret,
				 letter->secret_len);
}

/* "<id@domain>" */
static char *
render_message_id(const Marks *marks, const RenderFixed *fixed)
{
	StringInfoData id;

	initStringInfo(&id);
	append_literal(&id, "<");
	append_string(&id, marks->id);
	append_literal(&id, "@");
	append_string(&id, fixed->domain);
	append_literal(&id, ">");
	return id.data;
}

/* Append the fields of the list; false with *error if the URL is none */
static bool
render_list(StringInfo out, const RenderFixed *fixed,
			const RenderRecipient *recipient, const Marks *marks,
			const char **error)
{
	const char *why;
	StringInfoData mailto = {0};
	char	   *subject;
	bool		ok;

	append_bytes(out, fixed->fields.data, fixed->fields.len);
	if (fixed->mailto.len > 0)
	{
		initStringInfo(&mailto);
		subject = psprintf("unsubscribe %s", marks->tag);
		mailto_url(&mailto, fixed->mailto.data, subject);
		pfree(subject);
	}
	ok = mime_header_unsubscribe(out, recipient->unsubscribe_url,
								 mailto.data, &why);
	if (mailto.data != NULL)
		pfree(mailto.data);
	if (!ok)
		*error = psprintf("invalid unsubscribe URL: %s", why);
	return ok;
}

/* Append the letter's own fields */
static bool
render_headers(StringInfo out, const RenderContext *context,
			   const char **error)
{
	const RenderLetter *letter = context->letter;
	StringInfoData value;
	int			i;

	if (letter->nheaders == 0)
		return true;
	initStringInfo(&value);
	for (i = 0; i < letter->nheaders; i++)
	{
		const RenderHeader *header = &letter->headers[i];

		resetStringInfo(&value);
		if (!render_template(&value, header->value, header->name,
							 TEMPLATE_PLAIN, context, RENDER_FIELD_MAX, error))
			return false;
		mime_header_text(out, header->name, value.data);
	}
	pfree(value.data);
	return true;
}

/* Append all header fields that stand before the content's own */
static bool
render_header(Rendered *result, const RenderContext *context,
			  const RenderFixed *fixed, const Marks *marks)
{
	const RenderRecipient *recipient = context->recipient;
	StringInfo	out = &result->message;
	StringInfoData value;
	size_t		len;

	append_literal(out, "Date: ");
	mime_date(out, recipient->date);
	append_literal(out, "\r\n");
	append_bytes(out, fixed->senders.data, fixed->senders.len);
	mime_header_address(out, "To",
						recipient->test_id == 0 ? recipient->name : NULL,
						result->rcpt_to);

	initStringInfo(&value);
	if (recipient->test_id != 0)
		append_literal(&value, TEST_PREFIX);
	if (!render_template(&value, context->letter->subject, "subject",
						 TEMPLATE_PLAIN, context, RENDER_FIELD_MAX,
						 &result->error))
		return false;
	len = value.len;
	result->subject = mime_clean(value.data, &len);
	mime_header_text(out, "Subject", value.data);
	mime_header_raw(out, "Message-ID", result->message_id);
	if (!render_list(out, fixed, recipient, marks, &result->error))
		return false;
	if (!render_headers(out, context, &result->error))
		return false;
	append_literal(out, "MIME-Version: 1.0\r\n");
	pfree(value.data);
	return true;
}

/* The envelope sender, with the tag in its place; false if that is too long */
static bool
render_mail_from(Rendered *result, const char *address, const char *tag)
{
	const char *place = strstr(address, VERP_PLACEHOLDER);

	if (place == NULL)
	{
		result->mail_from = pstrdup(address);
		return true;
	}
	result->mail_from = psprintf("%.*s%s%s", (int) (place - address), address,
								 tag, place + strlen(VERP_PLACEHOLDER));
	if (strcspn(result->mail_from, "@") <= LOCAL_PART_MAX)
		return true;
	result->error = "invalid return path address: With its tag the local part is longer than 64 octets.";
	return false;
}

/* Put the signature in front of the message */
static bool
render_sign(Rendered *result, const RenderContext *context)
{
	const DkimSigner *dkim = context->letter->dkim;
	StringInfo	message = &result->message;
	int			count = RENDERED_PIECES(result);
	Piece	   *pieces = palloc(count * sizeof(Piece));
	StringInfoData field;
	int			i;

	initStringInfo(&field);
	rendered_pieces(result, pieces);
	if (!dkim_sign(context->work, &field, dkim, context->recipient->date,
				   pieces, count))
	{
		result->error = context->work->spent ? render_exceeds(context) :
			"could not sign the message with the DKIM key";
		return false;
	}
	pfree(pieces);
	append_reserve(message, field.len);
	memmove(message->data + field.len, message->data, message->len + 1);
	memcpy(message->data, field.data, field.len);
	message->len += field.len;
	for (i = 0; i < result->nfiles; i++)
		result->files_at[i] += field.len;
	pfree(field.data);
	return true;
}

/* Room to say where the letter's files go */
static void
render_make_room(Rendered *result, const RenderFiles *files)
{
	int			count = files->inlines.count + files->attached.count;

	if (count == 0)
		return;
	result->files = palloc(count * sizeof(Piece));
	result->files_at = palloc(count * sizeof(int));
}

/* How long it is with the files */
static void
render_measure(Rendered *result)
{
	int			i;

	result->size = result->message.len;
	for (i = 0; i < result->nfiles; i++)
		result->size += result->files[i].len;
}

/* Build the message, of addresses that are good */
static bool
render_build(Rendered *result, const RenderLetter *letter,
			 const RenderRecipient *recipient, const RenderFixed *fixed,
			 const Marks *marks)
{
	RenderContext context = {
		.letter = letter,.recipient = recipient,.fixed = fixed
	};
	Work		own;

	render_limit(&context, &own);
	result->message_id = render_message_id(marks, fixed);
	if (!render_mail_from(result, fixed->mail_from.data, marks->tag))
		return false;
	initStringInfo(&result->message);
	append_reserve(&result->message, MESSAGE_ROOM);
	render_make_room(result, fixed->files);
	if (!render_header(result, &context, fixed, marks) ||
		!render_content(result, &context, fixed->files, marks))
		return false;
	if (letter->dkim != NULL && !render_sign(result, &context))
		return false;
	render_measure(result);
	if (letter->max_size == 0 || result->size <= letter->max_size)
		return true;
	result->error = render_exceeds(&context);
	return false;
}

/* see pure.h */
bool
render_message(const RenderLetter *letter, const RenderRecipient *recipient,
			   Rendered *result)
{
	const RenderFixed *fixed = letter->fixed;
	Marks		marks;
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

	if (recipient->fault != NULL)
	{
		result->error = recipient->fault;
		return false;
	}
	if (recipient->name != NULL && strlen(recipient->name) > RENDER_FIELD_MAX)
	{
		result->error = psprintf("name exceeds %s",
								 render_size(RENDER_FIELD_MAX));
		return false;
	}
	result->smtputf8 = fixed->smtputf8;
	initStringInfo(&address);
	if (!render_address(&address, "recipient", recipient->test_id == 0 ?
						recipient->email : recipient->test_address,
						&result->smtputf8, &result->error))
		return false;
	result->rcpt_to = address.data;

	if (!render_marks(&marks, letter, recipient, fixed))
	{
		result->error = "could not compute HMAC-SHA-256";
		return false;
	}
	return render_build(result, letter, recipient, fixed, &marks);
}
