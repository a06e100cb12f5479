/*-------------------------------------------------------------------------
 *
 * rendered.c
 *	  A message and its pieces.
 *
 * What is a mail's own lies in one place, and what all mails of the letter
 * have in common, the attachments, in another.  They are put together only for
 * somebody who wants to see the whole, mailman_preview().
 *
 * Both the bytes before a file and those behind it are whole lines, and no line
 * of a file begins with a dot: so the files go to the wire as they are, and
 * what is around them is stuffed piece by piece.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mime.h"

/* Bytes of a mail's own before its file i, from the one before it */
static int
own_length(const Rendered *rendered, int i)
{
	int			from = i > 0 ? rendered->files_at[i - 1] : 0;
	int			to = i < rendered->nfiles ? rendered->files_at[i] :
		rendered->message.len;

	return to - from;
}

/* see pure.h */
void
rendered_pieces(const Rendered *rendered, Piece *pieces)
{
	const char *own = rendered->message.data;
	int			i;

	for (i = 0; i <= rendered->nfiles; i++)
	{
		pieces[2 * i].data = own;
		pieces[2 * i].len = own_length(rendered, i);
		own += pieces[2 * i].len;
		if (i < rendered->nfiles)
			pieces[2 * i + 1] = rendered->files[i];
	}
}

/* see pure.h */
void
rendered_wire(const Rendered *rendered, StringInfo out, Piece *pieces)
{
	const StringInfoData *message = &rendered->message;
	int			last = 2 * rendered->nfiles;
	int			start = out->len;
	int			i;

	append_reserve(out, message->len + MIME_WIRE_MORE - 1);
	rendered_pieces(rendered, pieces);
	for (i = 0; i <= last; i += 2)
	{
		int			before = out->len;

		if (i < last)
			mime_stuff(out, pieces[i].data, pieces[i].len);
		else
			mime_wire(out, pieces[i].data, pieces[i].len);
		pieces[i].len = out->len - before;
	}
	for (i = 0; i <= last; i += 2)
	{
		pieces[i].data = out->data + start;
		start += pieces[i].len;
	}
}
