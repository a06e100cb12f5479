/*-------------------------------------------------------------------------
 *
 * render.h
 *	  What render.c and render_context.c share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_RENDER_H
#define MAILMAN_RENDER_H

#include "pure.h"

/* Whose values a template shows */
typedef struct RenderContext
{
	const RenderLetter *letter;
	const RenderRecipient *recipient;
} RenderContext;

/* The outermost object of a template's names; context must outlive it */
extern TemplateNode render_context(const RenderContext *context);

#endif							/* MAILMAN_RENDER_H */
