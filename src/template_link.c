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

static int
link_compare(const void *a, const void *b)
{
	return strcmp(((const TemplatePartial *) a)->name,
				  ((const TemplatePartial *) b)->name);
}

/* see pure.h */
void
template_sort_partials(TemplatePartial *partials, int npartials)
{
	if (npartials > 1)
		qsort(partials, npartials, sizeof(TemplatePartial), link_compare);
}

static TemplatePartial *
link_find(TemplatePartial *partials, int npartials, const char *name,
		  size_t len)
{
	int			low = 0;
	int			high = npartials;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const char *found = partials[middle].name;
		int			order = strncmp(found, name, len);

		if (order == 0 && found[len] == '\0')
			return &partials[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Partials to be linked, and what is needed to find others */
typedef struct Linker
{
	Work	   *work;
	TemplatePartial *partials;
	int			npartials;
	TemplatePartial *first;		/* of those parsed and not yet tied */
	TemplateError *error;
} Linker;

/* A partial is needed: parse it, if it was not before */
static bool
link_need(Linker *linker, TemplatePartial *partial)
{
	if (partial->tmpl == NULL)
	{
		partial->tmpl = template_parse(linker->work, partial->source,
									   partial->len, linker->error);
		if (partial->tmpl == NULL)
		{
			linker->error->partial = partial->name;
			return false;
		}
		partial->tmpl->name = partial->name;
	}
	if (!partial->tmpl->linked && !partial->tmpl->waiting)
	{
		partial->tmpl->waiting = true;
		partial->next = linker->first;
		linker->first = partial;
	}
	return true;
}

/* Tie the tags of one template; what they name is parsed, not yet tied */
static bool
link_one(Linker *linker, Template *tmpl)
{
	int			i;

	for (i = 0; i < tmpl->nops; i++)
	{
		Op		   *op = &tmpl->ops[i];
		const char *name = tmpl->source + op->start;
		TemplatePartial *partial;

		if (!work_do(linker->work, 1))
			return link_fail(linker->error, tmpl, op, TEMPLATE_TOO_MANY);
		if (op->kind != OP_PARTIAL)
			continue;
		partial = link_find(linker->partials, linker->npartials, name,
							op->len);
		if (partial == NULL)
			return link_fail(linker->error, tmpl, op,
							 "there is no partial \"%.*s\"",
							 SHOWN(name, op->len));
		if (!link_need(linker, partial))
			return false;
		op->partial = partial->tmpl;
	}
	tmpl->linked = true;
	return true;
}

/* Tie a template, and whatever it needs; no partial waits afterwards */
static bool
link_all(Linker *linker, Template *tmpl)
{
	bool		good = link_one(linker, tmpl);

	while (linker->first != NULL)
	{
		TemplatePartial *partial = linker->first;

		linker->first = partial->next;
		partial->tmpl->waiting = false;
		good = good && link_one(linker, partial->tmpl);
	}
	return good;
}

/*
 * How deep are its partials nested whatever the data, that is, outside of
 * sections?  Left in tmpl->depth.
 */
static bool
link_depth(Linker *linker, Template *tmpl, int level)
{
	TemplateError *error = linker->error;
	int			depth = 0;
	int			i;

	tmpl->visiting = true;
	for (i = 0; i < tmpl->nops; i++)
	{
		Op		   *op = &tmpl->ops[i];

		if (!work_do(linker->work, 1))
			return link_fail(error, tmpl, op, TEMPLATE_TOO_MANY);
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
			!link_depth(linker, op->partial, level + 1))
			return false;
		depth = Max(depth, op->partial->depth + 1);
	}
	tmpl->visiting = false;
	tmpl->depth = depth;
	return true;
}

/* see pure.h */
bool
template_link(Work *work, Template *tmpl, TemplatePartial *partials,
			  int npartials, TemplateError *error)
{
	Work		own;
	Linker		linker = {
		.work = work_given(work, &own),.partials = partials,
		.npartials = npartials,.error = error
	};

	return link_all(&linker, tmpl) &&
		link_depth(&linker, tmpl, 0);
}
