/*-------------------------------------------------------------------------
 *
 * template_link.c
 *	  Partials: templates that templates name.
 *
 * Only those that a letter needs are parsed, so one that is broken stops the
 * letters that use it and no others.
 *
 * Partials may name themselves, for trees in the data; what ends there is for
 * the data to say, so rendering counts how deep it is.  But a partial that is
 * in itself outside of any section never ends, and that shows here.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "template.h"

/* A fault at an op's tag, for the caller to return */
#define link_fail(error, tmpl, op, ...) \
	(template_fault((error), (tmpl)->source, (tmpl)->len, (op)->tag, \
					__VA_ARGS__), (error)->partial = (tmpl)->name, false)

static TemplatePartial *
link_find(TemplatePartial *partials, int npartials, const char *name,
		  size_t len)
{
	int			i;

	for (i = 0; i < npartials; i++)
	{
		if (strlen(partials[i].name) == len &&
			memcmp(partials[i].name, name, len) == 0)
			return &partials[i];
	}
	return NULL;
}

/* Tie the tags of one template; what they name is parsed, not yet tied */
static bool
link_one(Template *tmpl, TemplatePartial *partials, int npartials,
		 TemplateError *error)
{
	int			i;

	for (i = 0; i < tmpl->nops; i++)
	{
		Op		   *op = &tmpl->ops[i];
		const char *name = tmpl->source + op->start;
		TemplatePartial *partial;

		if (op->kind != OP_PARTIAL)
			continue;
		partial = link_find(partials, npartials, name, op->len);
		if (partial == NULL)
			return link_fail(error, tmpl, op, "there is no partial \"%.*s\"",
							 SHOWN(name, op->len));
		if (partial->tmpl == NULL)
		{
			partial->tmpl = template_parse(partial->source, partial->len,
										   error);
			if (partial->tmpl == NULL)
			{
				error->partial = partial->name;
				return false;
			}
			partial->tmpl->name = partial->name;
		}
		op->partial = partial->tmpl;
	}
	tmpl->linked = true;
	return true;
}

/*
 * How deep are its partials nested whatever the data, that is, outside of
 * sections?  Left in tmpl->depth.
 */
static bool
link_depth(Template *tmpl, int level, TemplateError *error)
{
	int			depth = 0;
	int			i;

	tmpl->visiting = true;
	for (i = 0; i < tmpl->nops; i++)
	{
		Op		   *op = &tmpl->ops[i];

		if (op->kind == OP_SECTION || op->kind == OP_INVERTED)
			i = op->end - 1;
		if (op->kind != OP_PARTIAL)
			continue;
		if (op->partial->visiting)
			return link_fail(error, tmpl, op,
							 "partial \"%.*s\" is in itself without end",
							 SHOWN(op->partial->name,
								   strlen(op->partial->name)));
		if (level + Max(op->partial->depth, 0) >= TEMPLATE_PARTIALS_DEEP)
			return link_fail(error, tmpl, op,
							 "partials are nested deeper than %d",
							 TEMPLATE_PARTIALS_DEEP);
		if (op->partial->depth < 0 &&
			!link_depth(op->partial, level + 1, error))
			return false;
		depth = Max(depth, op->partial->depth + 1);
	}
	tmpl->visiting = false;
	tmpl->depth = depth;
	return true;
}

/* see pure.h */
bool
template_link(Template *tmpl, TemplatePartial *partials, int npartials,
			  TemplateError *error)
{
	bool		more = true;
	int			i;

	if (!link_one(tmpl, partials, npartials, error))
		return false;
	while (more)
	{
		more = false;
		for (i = 0; i < npartials; i++)
		{
			if (partials[i].tmpl == NULL || partials[i].tmpl->linked)
				continue;
			if (!link_one(partials[i].tmpl, partials, npartials, error))
				return false;
			more = true;
		}
	}
	return link_depth(tmpl, 0, error);
}
