/*-------------------------------------------------------------------------
 *
 * render_content.c
 *	  A message's content: its bodies, and where the files go.
 *
 * Boundaries begin with "=_", which quoted-printable and base64 cannot
 * yield, and mime_body.c sends no text with "--=_" at the start of a line as
 * it is; so no body needs to be searched for it.  No boundary is the beginning
 * of another: base32 has no "_".
 *
 * Attachments are encoded once per letter; a message only says where they go.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"
#include "render.h"

#define BOUNDARY_SIZE		(4 + BOUNDARY_BYTES / 5 * 8 + 1)	/* prefixed */

static void
put_boundary(char *to, const char *prefix, const Marks *marks)
{
	size_t		len = strlen(prefix);

	memcpy(to, prefix, len);
	memcpy(to + len, marks->boundary, sizeof(marks->boundary));
}

/* A delimiter behind its own CRLF, and what else is in its line */
static void
delimiter(StringInfo out, const char *boundary, const char *end)
{
	append_literal(out, "\r\n--");
	append_string(out, boundary);
	append_string(out, end);
}

/* The field of a multipart, and the delimiter of its first part */
static void
multipart_begin(StringInfo out, const char *type, const char *boundary)
{
	append_literal(out, "Content-Type: multipart/");
	append_string(out, type);
	append_literal(out, ";\r\n boundary=\"");
	append_string(out, boundary);
	append_literal(out, "\"\r\n");
	delimiter(out, boundary, "\r\n");
}

/*
 * The parts behind the first, and the end of the multipart.  The CRLF before
 * a delimiter is its own, not the part's (RFC 2046 5.1.1).
 */
static void
multipart_end(Rendered *result, const Parts *parts, const char *boundary)
{
	StringInfo	out = &result->message;
	int			i;

	for (i = 0; i < parts->count; i++)
	{
		delimiter(out, boundary, "\r\n");
		result->files[result->nfiles] = parts->list[i];
		result->files_at[result->nfiles++] = out->len;
	}
	delimiter(out, boundary, "--\r\n");
}

/* Render one body and append it */
static bool
render_body(StringInfo out, StringInfo body, const Template *tmpl,
			const char *what, const char *subtype, TemplateMode mode,
			const RenderContext *context, const char **error)
{
	resetStringInfo(body);
	if (!render_template(body, tmpl, what, mode, context,
						 render_room(context, out), error))
		return false;
	if (mime_text_part(context->work, out, subtype, body->data, body->len))
		return true;
	*error = render_exceeds(context);
	return false;
}

/* Append Content-Type and body: text, HTML, or both with the text first */
static bool
render_text(StringInfo out, const RenderContext *context,
			const char *boundary, const char **error)
{
	const RenderLetter *letter = context->letter;
	bool		both = letter->text_body && letter->html_body;
	StringInfoData body;

	initStringInfo(&body);
	if (both)
		multipart_begin(out, "alternative", boundary);
	if (letter->text_body &&
		!render_body(out, &body, letter->text_body, "text_body", "plain",
					 TEMPLATE_PLAIN, context, error))
		return false;
	if (both)
		delimiter(out, boundary, "\r\n");
	if (letter->html_body &&
		!render_body(out, &body, letter->html_body, "html_body", "html",
					 TEMPLATE_HTML, context, error))
		return false;
	if (both)
		delimiter(out, boundary, "--\r\n");
	pfree(body.data);
	return true;
}

/* see render.h */
bool
render_content(Rendered *result, const RenderContext *context,
			   const RenderFiles *files, const Marks *marks)
{
	StringInfo	out = &result->message;
	char		text[BOUNDARY_SIZE];
	char		related[BOUNDARY_SIZE];
	char		mixed[BOUNDARY_SIZE];

	put_boundary(text, "=_", marks);
	put_boundary(related, "=_r_", marks);
	put_boundary(mixed, "=_m_", marks);
	if (files->attached.count > 0)
		multipart_begin(out, "mixed", mixed);
	if (files->inlines.count > 0)
		multipart_begin(out, context->letter->text_body ?
						"related; type=\"multipart/alternative\"" :
						"related; type=\"text/html\"", related);
	if (!render_text(out, context, text, &result->error))
		return false;
	if (files->inlines.count > 0)
		multipart_end(result, &files->inlines, related);
	if (files->attached.count > 0)
		multipart_end(result, &files->attached, mixed);
	return true;
}
