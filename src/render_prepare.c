/*-------------------------------------------------------------------------
 *
 * render_prepare.c
 *	  What all mails of a letter have in common, worked out once.
 *
 * Whatever can be wrong with the letter itself shows here, before it could be
 * counted against a recipient.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "mime.h"
#include "render.h"

/* see render.h */
bool
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

/* The addresses of the letter; false with *error if one is none */
static bool
prepare_addresses(RenderFixed *fixed, const RenderLetter *letter,
				  const char **error)
{
	const char *return_path = letter->return_path;
	const char *why;
	StringInfoData address;

	initStringInfo(&address);
	if (!render_address(&address, "From", letter->from_address,
						&fixed->smtputf8, error))
		return false;
	mime_header_address(&fixed->senders, "From", letter->from_name,
						address.data);
	fixed->domain = pstrdup(strrchr(address.data, '@') + 1);

	if (return_path == NULL)
		return_path = letter->from_address;
	if (!render_address(&fixed->mail_from, "return path", return_path,
						&fixed->smtputf8, error))
		return false;
	if (!verp_has_room(fixed->mail_from.data, &why))
	{
		*error = psprintf("invalid return path address: %s", why);
		return false;
	}
	fixed->tagged = letter->unsubscribe_mailto != NULL ||
		strstr(fixed->mail_from.data, VERP_PLACEHOLDER) != NULL;
	if (letter->reply_to != NULL)
	{
		resetStringInfo(&address);
		if (!render_address(&address, "Reply-To", letter->reply_to,
							&fixed->smtputf8, error))
			return false;
		mime_header_address(&fixed->senders, "Reply-To", NULL, address.data);
	}
	pfree(address.data);

	/* In a URL no character needs SMTPUTF8 */
	return letter->unsubscribe_mailto == NULL ||
		render_address(&fixed->mailto, "unsubscribe",
					   letter->unsubscribe_mailto, NULL, error);
}

/* The fields that are the same for all, and the names of the letter's own */
static bool
prepare_fields(RenderFixed *fixed, const RenderLetter *letter,
			   const char **error)
{
	const char *why;
	int			i;

	for (i = 0; i < letter->nheaders; i++)
	{
		if (!header_name_is_allowed(letter->headers[i].name, &why))
		{
			*error = psprintf("invalid header field \"%s\": %s",
							  letter->headers[i].name, why);
			return false;
		}
	}
	if (letter->list_id != NULL)
	{
		if (!list_id_is_valid(letter->list_id, &why))
		{
			*error = psprintf("invalid list id: %s", why);
			return false;
		}
		mime_header_list_id(&fixed->fields, letter->list_id);
	}
	if (letter->feedback_id != NULL)
		mime_header_text(&fixed->fields, "Feedback-ID", letter->feedback_id);
	if (letter->precedence != NULL)
		mime_header_text(&fixed->fields, "Precedence", letter->precedence);
	return true;
}

/*
 * One of them.  It goes to the wire as it is: none of its lines may be one that
 * had to be stuffed, which mime_part.c sees to.
 */
static bool
encode_file(Piece *piece, Work *work, const Attachment *file,
			const char **error)
{
	StringInfoData part;
	const char *why;

	initStringInfo(&part);
	if (!mime_attachment(work, &part, file, &why))
	{
		*error = psprintf("invalid attachment \"%s\": %s", file->name, why);
		return false;
	}
	if (mime_has_dot_line(part.data, part.len))
	{
		*error = psprintf("attachment \"%s\" was encoded with a line that begins with a dot",
						  file->name);
		return false;
	}
	piece->data = part.data;
	piece->len = part.len;
	return true;
}

/* see pure.h; without an HTML body nothing refers to inline ones */
RenderFiles *
render_encode(const RenderLetter *letter, const char **error)
{
	RenderFiles *files = palloc0(sizeof(RenderFiles));
	size_t		room = sizeof(Piece) * letter->nattachments;
	int			i;

	if (letter->nattachments == 0)
		return files;
	files->inlines.list = palloc(room);
	files->attached.list = palloc(room);
	for (i = 0; i < letter->nattachments; i++)
	{
		const Attachment *file = &letter->attachments[i];
		Parts	   *parts = file->content_id && letter->html_body ?
			&files->inlines : &files->attached;

		if (!encode_file(&parts->list[parts->count++], letter->work, file,
						 error))
			return NULL;
		files->size += parts->list[parts->count - 1].len;
	}
	return files;
}

/* see pure.h */
RenderFixed *
render_prepare(const RenderLetter *letter, const char **error)
{
	RenderFixed *fixed = palloc0(sizeof(RenderFixed));

	initStringInfo(&fixed->mail_from);
	initStringInfo(&fixed->senders);
	initStringInfo(&fixed->fields);
	initStringInfo(&fixed->mailto);
	if (!prepare_addresses(fixed, letter, error) ||
		!prepare_fields(fixed, letter, error))
		return NULL;
	fixed->files = letter->files ? letter->files :
		render_encode(letter, error);
	return fixed->files != NULL ? fixed : NULL;
}
