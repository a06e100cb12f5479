/*-------------------------------------------------------------------------
 *
 * template_render.c
 *	  Mustache templates, rendered.
 *
 * The context stack is a chain of frames on C's own stack, values are
 * handles into data that stays where it is, and text is copied from the
 * source: what a million recipients cost is the bytes that are written.
 *
 * What is true is what it is for !!data in JavaScript, the language of the
 * values; the specification leaves it to that.  So missing, null, false, 0,
 * the empty string and, by the specification, the empty list are false.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "template.h"

/* Items and partials in one rendering, and bytes: somewhere it must end */
#define RENDER_STEPS_MAX	1000000
#define RENDER_BYTES_MAX	(64 * 1024 * 1024)

/* A context, and the stack of those around it */
typedef struct Scope
{
	const struct Scope *outer;
	TemplateNode node;
} Scope;

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
} Frame;

static bool render_ops(Renderer *renderer, const Frame *frame, int from,
					   int to, const Scope *scope);

/* What is wrong, at an op's tag, for the caller to return */
#define render_fail(renderer, tmpl, op, ...) \
	(template_fault((renderer)->error, (tmpl)->source, (tmpl)->len, \
					(op)->tag, __VA_ARGS__), \
	 (renderer)->error->partial = (tmpl)->name, false)

/* see pure.h */
TemplateNode
template_string(const char *value)
{
	TemplateNode node = {0};

	if (value == NULL)
		return node;
	node.kind = TEMPLATE_STRING;
	node.len = (int) strlen(value);
	node.truth = node.len > 0;
	node.data = value;
	return node;
}

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
		appendBinaryStringInfo(out, bytes + run, i - run);
		appendStringInfoString(out, entity);
		run = i + 1;
	}
	appendBinaryStringInfo(out, bytes + run, len - run);
}

/* Append a value */
static void
render_node(Renderer *renderer, const TemplateNode *node, bool escape)
{
	StringInfoData shown;

	switch (node->kind)
	{
		case TEMPLATE_NULL:
			return;
		case TEMPLATE_STRING:
			if (escape)
				render_escaped(renderer->out, node->data, node->len);
			else
				appendBinaryStringInfo(renderer->out, node->data, node->len);
			return;
		case TEMPLATE_SCALAR:
			node->access->append(node, renderer->out);
			return;
		case TEMPLATE_LIST:
		case TEMPLATE_OBJECT:
			if (node->access->append == NULL)
				return;
			initStringInfo(&shown);
			node->access->append(node, &shown);
			if (escape)
				render_escaped(renderer->out, shown.data, shown.len);
			else
				appendBinaryStringInfo(renderer->out, shown.data, shown.len);
			pfree(shown.data);
			return;
	}
}

/*
 * Find a name: its first word in the innermost object that has it, the
 * others only in what was found before.
 */
static bool
render_find(const Scope *scope, const char *name, size_t len,
			TemplateNode *node)
{
	const char *end = name + len;
	const char *dot;

	if (len == 1 && *name == '.')
	{
		*node = scope->node;
		return true;
	}
	dot = memchr(name, '.', len);
	if (dot != NULL)
		len = dot - name;
	while (scope->node.kind != TEMPLATE_OBJECT ||
		   !scope->node.access->get(&scope->node, name, len, node))
	{
		scope = scope->outer;
		if (scope == NULL)
			return false;
	}
	while (dot != NULL)
	{
		TemplateNode in = *node;

		if (in.kind != TEMPLATE_OBJECT && in.kind != TEMPLATE_LIST)
			return false;
		name = dot + 1;
		dot = memchr(name, '.', end - name);
		if (!in.access->get(&in, name, (dot ? dot : end) - name, node))
			return false;
	}
	return true;
}

static bool
render_variable(Renderer *renderer, const Template *tmpl, const Op *op,
				const Scope *scope)
{
	const char *name = tmpl->source + op->start;
	TemplateNode node;

	if (render_find(scope, name, op->len, &node) &&
		node.kind != TEMPLATE_NULL)
		render_node(renderer, &node,
					renderer->html && op->kind == OP_VALUE);
	else if (renderer->strict)
		return render_fail(renderer, tmpl, op, "{{%.*s}} has no value",
						   template_clip(name, op->len, 100), name);
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
			appendBinaryStringInfo(out, frame->indent, frame->indent_len);
		appendBinaryStringInfo(out, line, (int) (next - line));
		begins = true;
		line = next;
	}
	if (op->line_follows)
		appendBinaryStringInfo(out, frame->indent, frame->indent_len);
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
render_section(Renderer *renderer, const Frame *frame, int i,
			   const Scope *outer)
{
	const Op   *op = &frame->tmpl->ops[i];
	Scope		scope = {.outer = outer};
	TemplateNode node;
	int			n;

	if (!render_find(outer, frame->tmpl->source + op->start, op->len,
					 &node) || !node.truth)
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

/*
 * A partial that is alone in its line passes the blanks before it on to each
 * of its own lines, after those that it was given itself.
 */
static bool
render_partial(Renderer *renderer, const Frame *outer, const Op *op,
			   const Scope *scope)
{
	Frame		frame = {.tmpl = op->partial,.depth = outer->depth + 1};
	char	   *indent = NULL;
	bool		good;

	if (op->partial == NULL)
		return render_fail(renderer, outer->tmpl, op, "there is no partial");
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
render_ops(Renderer *renderer, const Frame *frame, int from, int to,
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
					appendBinaryStringInfo(renderer->out,
										   tmpl->source + op->start,
										   (int) op->len);
				break;
			case OP_VALUE:
			case OP_VERBATIM:
				if (!render_variable(renderer, tmpl, op, scope))
					return false;
				break;
			case OP_SECTION:
				if (!render_section(renderer, frame, i, scope))
					return false;
				i = op->end - 1;
				break;
			case OP_INVERTED:
				/* what it holds needs no context of its own: go on into it */
				if (render_find(scope, tmpl->source + op->start, op->len,
								&node) && node.truth)
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
	Frame		frame = {.tmpl = tmpl};

	enlargeStringInfo(out, (int) tmpl->text_len + 1);
	return render_ops(&renderer, &frame, 0, tmpl->nops, &scope);
}
