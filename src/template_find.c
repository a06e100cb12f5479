/*-------------------------------------------------------------------------
 *
 * template_find.c
 *	  Mustache templates: what a name stands for.
 *
 * A dotted name is resolved as the specification has it: its first word in the
 * innermost context that has it, the others only in what was found before.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "port/pg_bitutils.h"
#include "template.h"

/* What it takes to look into an object or list: it is searched by halves */
static inline int
find_steps(const TemplateNode *node)
{
	return node->len > 1 ? 1 + pg_leftmost_one_pos32((uint32) node->len) / 2 :
		1;
}

/* The words behind the first: each only in what was found before */
static bool
find_rest(Work *work, const Template *tmpl, const Op *op,
		  TemplateNode *node)
{
	const char *word = tmpl->source + op->start + op->word + 1;
	const char *end = tmpl->source + op->start + op->len;
	uint32		dots;

	for (dots = op->dots; dots > 0; dots--)
	{
		TemplateNode in = *node;
		const char *dot = dots > 1 ? memchr(word, '.', end - word) : end;

		if ((in.kind != TEMPLATE_OBJECT && in.kind != TEMPLATE_LIST) ||
			!work_do(work, find_steps(&in)) ||
			!in.access->get(&in, word, dot - word, node))
			return false;
		word = dot + 1;
	}
	return true;
}

/* see template.h */
bool
template_find(Work *work, const Template *tmpl, const Op *op,
			  const Scope *scope, TemplateNode *node)
{
	const char *name = tmpl->source + op->start;

	if (op->len == 1 && *name == '.')
	{
		*node = scope->node;
		return true;
	}
	for (scope = scope_names(scope); scope != NULL; scope = scope->outer)
	{
		if (!work_do(work, find_steps(&scope->node)))
			return false;
		if (scope->node.access->get(&scope->node, name, op->word, node))
			return op->dots == 0 || find_rest(work, tmpl, op, node);
	}
	return false;
}
