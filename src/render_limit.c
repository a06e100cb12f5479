/*-------------------------------------------------------------------------
 *
 * render_limit.c
 *	  How large a message may be, how much work, and what to say of one that
 *	  would be more.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "render.h"

/* The text of a message is gone through so often, whatever is done to it */
#define PASSES	8

/* see render.h */
void
render_limit(RenderContext *context, Work *own)
{
	const RenderLetter *letter = context->letter;
	int64		steps = WORK_STEPS_MAX +
		PASSES * (int64) (letter->max_size / WORK_BYTES);

	context->work = letter->work ? letter->work : own;
	if (letter->work == NULL)
		work_begin(own, steps, NULL);
	else
		work_renew(letter->work, steps);
}

/* see render.h */
size_t
render_room(const RenderContext *context, const StringInfoData *message)
{
	size_t		max = context->letter->max_size;
	size_t		used = message->len + context->fixed->files->size;

	if (max == 0)
		return WORK_ROOM_MAX;
	return max > used ? max - used : 0;
}

/* see pure.h */
size_t
render_fixed_size(const RenderFixed *fixed)
{
	return fixed->files->size + fixed->senders.len + fixed->fields.len;
}

/* see pure.h */
char *
render_size(size_t bytes)
{
	if (bytes >= 1024 * 1024 && bytes % (1024 * 1024) == 0)
		return psprintf("%d MB", (int) (bytes / (1024 * 1024)));
	if (bytes >= 10 * 1024 * 1024)
		return psprintf("%.1f MB", bytes / (1024.0 * 1024.0));
	return psprintf("%d kB", (int) ((bytes + 1023) / 1024));
}

/* see render.h */
char *
render_exceeds(const RenderContext *context)
{
	const RenderLetter *letter = context->letter;

	if (context->work->spent)
		return psprintf("too much work for one mail, more than "
						INT64_FORMAT " steps", context->work->steps);
	if (letter->max_size == 0)
		return pstrdup("message would be too large");
	return psprintf("message would exceed %s (%s)",
					render_size(letter->max_size), letter->max_size_of);
}
