/*-------------------------------------------------------------------------
 *
 * render.h
 *	  What the files render*.c share.
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

/* ---- render.c ---- */

#define MESSAGE_ID_BYTES	20	/* of the HMAC, 32 characters */
#define BOUNDARY_BYTES		10	/* the ones after, 16 characters */

/* What is one recipient's alone */
typedef struct Marks
{
	char		id[MESSAGE_ID_BYTES / 5 * 8 + 1];
	char		boundary[BOUNDARY_BYTES / 5 * 8 + 1];
	char		tag[VERP_TAG_SIZE];
} Marks;

/*
 * Render a template of the letter, to so many bytes at most; on failure the
 * error says where in what.
 */
extern bool render_template(StringInfo out, const Template *tmpl,
							const char *what, TemplateMode mode,
							const RenderContext *context, size_t room,
							const char **error);

/* ---- render_content.c ---- */

/*
 * Append the content: the text, within multipart/related with what its HTML
 * shows (RFC 2387), within multipart/mixed with what is attached; no level
 * that is not needed.
 */
extern bool render_content(Rendered *result, const RenderContext *context,
						   const RenderFiles *files, const Marks *marks);

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
