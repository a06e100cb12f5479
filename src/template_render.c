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

/* Items and partials in one rendering, and bytes: somewhere it must end */
#define RENDER_STEPS_MAX	1000000
#define RENDER_BYTES_MAX	(64 * 1024 * 1024)

/* A context, and the stack of those around it that have names */
typedef struct Scope
{
	const struct Scope *outer;
	TemplateNode node;
} Scope;

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
	int			steps;
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
	 (renderer)->error->partial = (tmpl)->name, false)

/* The entity that stands for a character in HTML, or NULL */
static inline const char *
html_entity(char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
		default:
			return NULL;
	}
}

static void
render_escaped(StringInfo out, const char *bytes, int len)
{
	int			run = 0;
	int			i;

	for (i = 0; i < len; i++)
	{
		const char *entity = html_entity(bytes[i]);

		if (entity == NULL)
			continue;
		append_bytes(out, bytes + run, i - run);
		append_string(out, entity);
		run = i + 1;
	}
	append_bytes(out, bytes + run, len - run);
}

static inline void
render_bytes(Renderer *renderer, const char *bytes, int len, bool escape)
{
	if (escape)
		render_escaped(renderer->out, bytes, len);
	else
		append_bytes(renderer->out, bytes, len);
}

/* Append a number, boolean, list or object */
static void
render_other(Renderer *renderer, const TemplateNode *node, bool escape)
{
	StringInfoData shown;

	if (node->access->append == NULL)
		return;
	if (node->kind == TEMPLATE_SCALAR)
	{
		node->access->append(node, renderer->out);
		return;
	}
	initStringInfo(&shown);
	node->access->append(node, &shown);
	render_bytes(renderer, shown.data, shown.len, escape);
	pfree(shown.data);
}

/* The words behind the first: each only in what was found before */
static bool
render_find_rest(const Template *tmpl, const Op *op, TemplateNode *node)
{
	const char *word = tmpl->source + op->start + op->word + 1;
	const char *end = tmpl->source + op->start + op->len;
	uint32		dots;

	for (dots = op->dots; dots > 0; dots--)
	{
		TemplateNode in = *node;
		const char *dot = dots > 1 ? memchr(word, '.', end - word) : end;

		if ((in.kind != TEMPLATE_OBJECT && in.kind != TEMPLATE_LIST) ||
			!in.access->get(&in, word, dot - word, node))
			return false;
		word = dot + 1;
	}
	return true;
}

/* Where names are looked for first: a string or a list has none */
static inline const Scope *
scope_names(const Scope *scope)
{
	return scope->node.kind == TEMPLATE_OBJECT ? scope : scope->outer;
}

/* Find what an op names: its first word in the innermost object that has it */
static inline bool
render_find(const Template *tmpl, const Op *op, const Scope *scope,
			TemplateNode *node)
{
	const char *name = tmpl->source + op->start;

	if (op->len == 1 && *name == '.')
	{
		*node = scope->node;
		return true;
	}
	for (scope = scope_names(scope); scope != NULL; scope = scope->outer)
	{
		if (scope->node.access->get(&scope->node, name, op->word, node))
			return op->dots == 0 || render_find_rest(tmpl, op, node);
	}
	return false;
}

static bool
render_value(Renderer *renderer, const Template *tmpl, const Op *op,
			 const Scope *scope)
{
	const char *name = tmpl->source + op->start;
	bool		escape = renderer->html && op->kind == OP_VALUE;
	TemplateNode node;

	if (!render_find(tmpl, op, scope, &node))
		node.kind = TEMPLATE_NULL;
	if (node.kind == TEMPLATE_STRING)
		render_bytes(renderer, node.data, node.len, escape);
	else if (node.kind != TEMPLATE_NULL)
		render_other(renderer, &node, escape);
	else if (renderer->strict)
		return render_fail(renderer, tmpl, op, "{{%.*s}} has no value",
						   template_clip(name, op->len, 100), name);
	return true;
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

		append_again(out, shown->at, shown->len);
		return true;
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
static void
render_indented(StringInfo out, const Frame *frame, const Op *op)
{
	const char *line = frame->tmpl->source + op->start;
	const char *end = line + op->len;
	bool		begins = op->line_start;

	while (line < end)
	{
		const char *newline = memchr(line, '\n', end - line);
		const char *next = newline ? newline + 1 : end;

		if (begins)
			append_bytes(out, frame->indent, frame->indent_len);
		append_bytes(out, line, (int) (next - line));
		begins = true;
		line = next;
	}
	if (op->line_follows)
		append_bytes(out, frame->indent, frame->indent_len);
}

/* Count an item or partial: there may be no end to them */
static bool
render_step(Renderer *renderer, const Template *tmpl, const Op *op)
{
	if (++renderer->steps > RENDER_STEPS_MAX)
		return render_fail(renderer, tmpl, op,
						   "more than %d items and partials",
						   RENDER_STEPS_MAX);
	if (renderer->out->len - renderer->start > RENDER_BYTES_MAX)
		return render_fail(renderer, tmpl, op, "more than %d MB",
						   RENDER_BYTES_MAX / (1024 * 1024));
	return true;
}

/* The ops of a section: once per item of a list, once if it is true */
static bool
render_section(Renderer *renderer, Frame *frame, int i, const Scope *outer)
{
	const Op   *op = &frame->tmpl->ops[i];
	Scope		scope = {.outer = scope_names(outer)};
	TemplateNode node;
	int			n;

	if (!render_find(frame->tmpl, op, outer, &node) || !node.truth)
		return true;
	if (node.kind != TEMPLATE_LIST)
	{
		scope.node = node;
		return render_step(renderer, frame->tmpl, op) &&
			render_ops(renderer, frame, i + 1, op->end, &scope);
	}
	for (n = 0; n < node.len; n++)
	{
		node.access->item(&node, n, &scope.node);
		if (!render_step(renderer, frame->tmpl, op) ||
			!render_ops(renderer, frame, i + 1, op->end, &scope))
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
	if (!render_step(renderer, outer->tmpl, op))
		return false;
	if (op->alone && outer->indent_len + (int) op->indent > 0)
	{
		frame.indent_len = outer->indent_len + (int) op->indent;
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

static bool
render_ops(Renderer *renderer, Frame *frame, int from, int to,
		   const Scope *scope)
{
	const Template *tmpl = frame->tmpl;
	TemplateNode node;
	int			i;

	for (i = from; i < to; i++)
	{
		const Op   *op = &tmpl->ops[i];

		switch (op->kind)
		{
			case OP_TEXT:
				if (frame->indent_len > 0)
					render_indented(renderer->out, frame, op);
				else
					append_bytes(renderer->out, tmpl->source + op->start,
								 (int) op->len);
				break;
			case OP_VALUE:
			case OP_VERBATIM:
				if (!render_variable(renderer, frame, op, scope))
					return false;
				break;
			case OP_SECTION:
				if (!render_section(renderer, frame, i, scope))
					return false;
				i = op->end - 1;
				break;
			case OP_INVERTED:
				/* what it holds needs no context of its own: go on into it */
				if (render_find(tmpl, op, scope, &node) && node.truth)
					i = op->end - 1;
				break;
			case OP_PARTIAL:
				if (!render_partial(renderer, frame, op, scope))
					return false;
				break;
		}
	}
	return true;
}

/* see pure.h */
bool
template_render(const Template *tmpl, const TemplateNode *root,
				TemplateMode mode, bool strict, StringInfo out,
				TemplateError *error)
{
	Renderer	renderer = {
		.out = out,.html = mode == TEMPLATE_HTML,.strict = strict,
		.start = out->len,.error = error
	};
	Scope		scope = {.node = *root};
	Frame		frame;

	frame_begin(&frame, tmpl, 0, &scope);
	enlargeStringInfo(out, (int) tmpl->text_len + 1);
	return render_ops(&renderer, &frame, 0, tmpl->nops, &scope);
}
