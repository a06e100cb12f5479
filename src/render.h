/*-------------------------------------------------------------------------
 *
 * render.h
 *	  What render.c, render_prepare.c and render_context.c share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_RENDER_H
#define MAILMAN_RENDER_H

#include "hmac.h"

/* Whose values a template shows, and what there is room and work for */
typedef struct RenderContext
{
	const RenderLetter *letter;
	const RenderRecipient *recipient;
	const struct RenderFixed *fixed;
	Work	   *work;
} RenderContext;

/* The outermost object of a template's names; context must outlive it */
extern TemplateNode render_context(const RenderContext *context);

/* Parts of a kind, ready to be sent */
typedef struct Parts
{
	Piece	   *list;
	int			count;
} Parts;

/* The attachments, encoded */
struct RenderFiles
{
	Parts		inlines;		/* that the HTML body refers to */
	Parts		attached;
	size_t		size;			/* of all of them */
};

/* What render_prepare() works out once per letter */
struct RenderFixed
{
	StringInfoData mail_from;	/* wire form of the envelope sender */
	StringInfoData senders;		/* From: and Reply-To:, the header fields */
	StringInfoData fields;		/* List-Id: and others, the same for all */
	StringInfoData mailto;		/* wire form of the address, or empty */
	char	   *domain;			/* of the From: address, for Message-ID */
	const RenderFiles *files;
	bool		tagged;			/* does a mail carry its verp.c tag? */
	bool		smtputf8;
};

/* ---- render_limit.c ---- */

/* A header field has so many bytes at most; few servers take as many */
#define RENDER_FIELD_MAX	((size_t) 64 * 1024)

/* Begin to count for a message; own is there for a letter that has no work */
extern void render_limit(RenderContext *context, Work *own);

/* So many bytes may be added to the message */
extern size_t render_room(const RenderContext *context,
						  const StringInfoData *message);

/* What is wrong with a message that would be more */
extern char *render_exceeds(const RenderContext *context);

/* Append an address in wire form; on failure *error says whose and why */
extern bool render_address(StringInfo out, const char *whose,
						   const char *address, bool *smtputf8,
						   const char **error);

#endif							/* MAILMAN_RENDER_H */
