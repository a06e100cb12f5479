/*-------------------------------------------------------------------------
 *
 * template_render.c
 *	  Mustache templates, rendered.
 *
 * The context stack is a chain of frames on C's own stack, values are
 * handles into data that stays where it is, text is copied from the source,
 * and a variable that comes again from the output: what a million recipients
 * cost is the bytes that are written.
 *
 * It ends: there is only so much work for a mail (work.c), and only so much
 * room.  What writes looks for room only where its buffer is full, as the
 * buffer never grows beyond it.
 *
 * What is true is what it is for !!data in JavaScript, the language of the
 * values; the specification leaves it to that.  So missing, null, false, 0,
 * the empty string and, by the specification, the empty list are false.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "template.h"

/* What a variable became: these bytes of the output */
typedef struct Shown
{
	int			at;
	int			len;
} Shown;

typedef struct Renderer
{
	StringInfo	out;
	bool		html;
	bool		strict;
	int			start;			/* of what we append to out */
	Work	   *work;
	bool		told;			/* error is filled */
	TemplateError *error;
} Renderer;

/* A template while it is rendered */
typedef struct Frame
{
	const Template *tmpl;
	const char *indent;			/* goes before each line of its source */
	int			indent_len;
	int			depth;			/* how many partials we are in */
	const Scope *names;			/* where it finds names, outside of sections */
	uint32		known;			/* which slots were shown with these */
	Shown		shown[TEMPLATE_SLOTS];
} Frame;

static bool render_ops(Renderer *renderer, Frame *frame, int from, int to,
					   const Scope *scope);

/* What is wrong, at an op's tag, for the caller to return */
#define render_fail(renderer, tmpl, op, ...) \
	(template_fault((renderer)->error, (tmpl)->source, (tmpl)->len, \
					(op)->tag, __VA_ARGS__), \
	 (renderer)->error->partial = (tmpl)->name, \
	 (renderer)->told = true, false)

/* An op could not be done: there is no room for it, or no work left */
static bool
render_stopped(Renderer *renderer, const Template *tmpl, const Op *op)
{
	const Work *work = renderer->work;

	if (renderer->told)
		return false;
	if (work->full)
		return render_fail(renderer, tmpl, op, "more than %.1f MB",
						   work->room / (1024.0 * 1024.0));
	return render_fail(renderer, tmpl, op, "more than " INT64_FORMAT " steps",
					   work->steps);
}

/* Append, if there is room */
static inline bool
render_append(Renderer *renderer, const char *bytes, int len)
{
	StringInfo	out = renderer->out;

	if (unlikely(len >= out->maxlen - out->len) &&
		!work_grow(renderer->work, out, renderer->start, len))
		return false;
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
	out->data[out->len] = '\0';
	return true;
}

/* The same for what may be long */
static bool
render_long(Renderer *renderer, const char *bytes, int len)
{
	for (; len > WORK_SLICE; bytes += WORK_SLICE, len -= WORK_SLICE)
	{
		if (!work_do(renderer->work, WORK_SLICE / WORK_BYTES) ||
			!render_append(renderer, bytes, WORK_SLICE))
			return false;
	}
	return render_append(renderer, bytes, len);
}

/* The entity that stands for a character in HTML, or NULL */
static const char *const html_entities[256] = {
	['&'] = "&amp;",['<'] = "&lt;",['>'] = "&gt;",['"'] = "&quot;",
	['\''] = "&#39;"
};

static bool
render_escaped(Renderer *renderer, const char *bytes, int len)
{
	int			run = 0;
	int			i;

	for (i = 0; i < len; i++)
	{
		const char *entity = html_entities[(unsigned char) bytes[i]];

		if (entity == NULL)
			continue;
		if (!render_append(renderer, bytes + run, i - run) ||
			!render_append(renderer, entity, (int) strlen(entity)))
			return false;
		run = i + 1;
	}
	return render_append(renderer, bytes + run, len - run);
}

static inline bool
render_plain(Renderer *renderer, const char *bytes, int len)
{
	return likely(len <= WORK_SLICE) ? render_append(renderer, bytes, len) :
		render_long(renderer, bytes, len);
}

static bool
render_bytes(Renderer *renderer, const char *bytes, int len, bool escape)
{
	if (!escape)
		return render_plain(renderer, bytes, len);
	for (; len > WORK_SLICE; bytes += WORK_SLICE, len -= WORK_SLICE)
	{
		if (!work_do(renderer->work, WORK_SLICE / WORK_BYTES) ||
			!render_escaped(renderer, bytes, WORK_SLICE))
			return false;
	}
	return render_escaped(renderer, bytes, len);
}

/* Append a number, boolean, list or object */
static bool
render_other(Renderer *renderer, const TemplateNode *node, bool escape)
{
	StringInfoData shown;
	bool		good;

	if (node->access->append == NULL)
		return true;
	initStringInfo(&shown);
	good = node->access->append(renderer->work, node, &shown) &&
		render_bytes(renderer, shown.data, shown.len, escape);
	pfree(shown.data);
	return good;
}

static bool
render_value(Renderer *renderer, const Template *tmpl, const Op *op,
			 const Scope *scope)
{
	const char *name = tmpl->source + op->start;
	bool		escape = renderer->html && op->kind == OP_VALUE;
	TemplateNode node;

	if (!template_find(renderer->work, tmpl, op, scope, &node))
		node.kind = TEMPLATE_NULL;
	if (node.kind == TEMPLATE_STRING)
		return render_bytes(renderer, node.data, node.len, escape);
	if (node.kind != TEMPLATE_NULL)
		return render_other(renderer, &node, escape);
	if (renderer->work->spent)
		return false;
	if (renderer->strict)
		return render_fail(renderer, tmpl, op, "{{%.*s}} has no value",
						   template_clip(name, op->len, 100), name);
	return true;
}

/* What stands in the output already, once more */
static inline bool
render_again(Renderer *renderer, int at, int len)
{
	StringInfo	out = renderer->out;

	if (len >= out->maxlen - out->len &&
		!work_grow(renderer->work, out, renderer->start, len))
		return false;
	return render_plain(renderer, out->data + at, len);
}

/*
 * A variable.  The same one, looked for in the same place, has the same value:
 * when it comes again, it is copied from where it stands in the output.
 */
static inline bool
render_variable(Renderer *renderer, Frame *frame, const Op *op,
				const Scope *scope)
{
	StringInfo	out = renderer->out;
	bool		keep = op->slot >= 0 && scope_names(scope) == frame->names;
	int			at = out->len;

	if (keep && (frame->known >> op->slot & 1) != 0)
	{
		const Shown *shown = &frame->shown[op->slot];

		return render_again(renderer, shown->at, shown->len);
	}
	if (!render_value(renderer, frame->tmpl, op, scope))
		return false;
	if (keep)
	{
		frame->shown[op->slot].at = at;
		frame->shown[op->slot].len = out->len - at;
		frame->known |= (uint32) 1 << op->slot;
	}
	return true;
}

/* Text of a partial that stands indented: each line of it begins so */
static bool
render_indented(Renderer *renderer, const Frame *frame, const Op *op)
{
	const char *line = frame->tmpl->source + op->start;
	const char *end = line + op->len;
	bool		begins = op->line_start;

	while (line < end)
	{
		const char *newline = memchr(line, '\n', end - line);
		const char *next = newline ? newline + 1 : end;

		if (!work_do(renderer->work, 1) ||
			(begins && !render_bytes(renderer, frame->indent,
									 frame->indent_len, false)) ||
			!render_bytes(renderer, line, (int) (next - line), false))
			return false;
		begins = true;
		line = next;
	}
	return !op->line_follows ||
		render_bytes(renderer, frame->indent, frame->indent_len, false);
}

/* The ops of a section: once per item of a list, once if it is true */
static bool
render_section(Renderer *renderer, Frame *frame, int i, const Scope *outer)
{
	const Op   *op = &frame->tmpl->ops[i];
	Scope		scope = {.outer = scope_names(outer)};
	TemplateNode node;
	int			n;

	if (!template_find(renderer->work, frame->tmpl, op, outer, &node) ||
		!node.truth)
		return !renderer->work->spent;
	if (node.kind != TEMPLATE_LIST)
	{
		scope.node = node;
		return render_ops(renderer, frame, i + 1, op->end, &scope);
	}
	for (n = 0; n < node.len; n++)
	{
		if (!work_do(renderer->work, 1))
			return false;
		node.access->item(&node, n, &scope.node);
		if (!render_ops(renderer, frame, i + 1, op->end, &scope))
			return false;
	}
	return true;
}

/* A template begins; what it has shown is filled in as it goes on */
static inline void
frame_begin(Frame *frame, const Template *tmpl, int depth, const Scope *scope)
{
	frame->tmpl = tmpl;
	frame->indent = NULL;
	frame->indent_len = 0;
	frame->depth = depth;
	frame->names = scope_names(scope);
	frame->known = 0;
}

/*
 * A partial that is alone in its line passes the blanks before it on to each
 * of its own lines, after those that it was given itself.
 */
static bool
render_partial(Renderer *renderer, const Frame *outer, const Op *op,
			   const Scope *scope)
{
	Frame		frame;
	char	   *indent = NULL;
	bool		good;

	if (op->partial == NULL)
		return render_fail(renderer, outer->tmpl, op, "there is no partial");
	frame_begin(&frame, op->partial, outer->depth + 1, scope);
	if (frame.depth > TEMPLATE_PARTIALS_DEEP)
		return render_fail(renderer, outer->tmpl, op,
						   "partials are nested deeper than %d",
						   TEMPLATE_PARTIALS_DEEP);
	if (op->alone && outer->indent_len + (int) op->indent > 0)
	{
		frame.indent_len = outer->indent_len + (int) op->indent;
		if (!work_bytes(renderer->work, frame.indent_len))
			return false;
		indent = palloc(frame.indent_len);
		if (outer->indent_len > 0)
			memcpy(indent, outer->indent, outer->indent_len);
		memcpy(indent + outer->indent_len,
			   outer->tmpl->source + op->tag - op->indent, op->indent);
		frame.indent = indent;
	}
	good = render_ops(renderer, &frame, 0, frame.tmpl->nops, scope);
	if (indent != NULL)
		pfree(indent);
	return good;
}

/* One op, at i; the last that is done with it, or -1 */
static inline int
render_op(Renderer *renderer, Frame *frame, const Op *op, int i,
		  const Scope *scope)
{
	TemplateNode node;

	switch (op->kind)
	{
		case OP_TEXT:
			if (frame->indent_len > 0)
				return render_indented(renderer, frame, op) ? i : -1;
			return render_plain(renderer, frame->tmpl->source + op->start,
								(int) op->len) ? i : -1;
		case OP_VALUE:
		case OP_VERBATIM:
			return render_variable(renderer, frame, op, scope) ? i : -1;
		case OP_SECTION:
			return render_section(renderer, frame, i, scope) ?
				op->end - 1 : -1;
		case OP_INVERTED:
			/* what it holds needs no context of its own: go on into it */
			return template_find(renderer->work, frame->tmpl, op, scope,
								 &node) && node.truth ? op->end - 1 : i;
		case OP_PARTIAL:
			return render_partial(renderer, frame, op, scope) ? i : -1;
	}
	return -1;
}

static bool
render_ops(Renderer *renderer, Frame *frame, int from, int to,
		   const Scope *scope)
{
	Work	   *work = renderer->work;
	int			i;

	for (i = from; i < to; i++)
	{
		const Op   *op = &frame->tmpl->ops[i];

		if (!work_do(work, 1) ||
			(i = render_op(renderer, frame, op, i, scope)) < 0)
			return render_stopped(renderer, frame->tmpl, op);
	}
	return true;
}

/* see pure.h */
bool
template_render(Work *work, const Template *tmpl, const TemplateNode *root,
				TemplateMode mode, bool strict, StringInfo out,
				TemplateError *error)
{
	Work		own;
	Renderer	renderer = {
		.out = out,.html = mode == TEMPLATE_HTML,.strict = strict,
		.start = out->len,.work = work_given(work, &own),.error = error
	};
	Scope		scope = {.node = *root};
	Frame		frame;

	frame_begin(&frame, tmpl, 0, &scope);
	append_reserve(out, Min(tmpl->text_len, renderer.work->room));
	if (!render_ops(&renderer, &frame, 0, tmpl->nops, &scope))
		return false;
	if ((size_t) (out->len - renderer.start) <= renderer.work->room)
		return true;
	/* the buffer was larger from the beginning */
	renderer.work->full = true;
	return tmpl->nops == 0 ||
		render_stopped(&renderer, tmpl, &tmpl->ops[tmpl->nops - 1]);
}
