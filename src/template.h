/*-------------------------------------------------------------------------
 *
 * template.h
 *	  What a parsed template is: shared by template*.c and nobody else.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TEMPLATE_H
#define MAILMAN_TEMPLATE_H

#include "pure.h"

/* A partial in a partial in a ...: no deeper */
#define TEMPLATE_PARTIALS_DEEP	32

/* Nor sections in sections: rendering them takes stack */
#define TEMPLATE_SECTIONS_DEEP	100

/* Nor names and delimiters as long: they are compared again and again */
#define TEMPLATE_NAME_MAX		1000
#define TEMPLATE_DELIMITER_MAX	16

#define TEMPLATE_TOO_MANY	"the templates of the letter have too many tags"

/* An op stays in memory: it counts as so many steps of parsing */
#define TEMPLATE_OP_STEPS		20

/* So many different variables of a template are known again when repeated */
#define TEMPLATE_SLOTS	32

typedef enum OpKind
{
	OP_TEXT,					/* bytes to copy */
	OP_VALUE,					/* a value, escaped in HTML */
	OP_VERBATIM,				/* a value as it is */
	OP_SECTION,					/* the ops up to end, for each item */
	OP_INVERTED,				/* the ops up to end, if there is no item */
	OP_PARTIAL					/* another template */
} OpKind;

/* Bytes lie in the source and are not copied again */
typedef struct Op
{
	OpKind		kind;
	bool		line_start;		/* text: it begins a line of the source */
	bool		line_follows;	/* text: the tag behind it begins one */
	bool		alone;			/* partial: nothing else is in its line */
	uint32		start;			/* of the text or name */
	uint32		len;
	uint32		word;			/* bytes of the first word of a dotted name */
	uint32		dots;			/* how many more there are */
	uint32		tag;			/* where the tag begins */
	uint32		indent;			/* partial: blanks before it, if alone */
	int			slot;			/* variable: which of those that differ, or -1 */
	int			end;			/* section: the op behind it */
	Template   *partial;		/* after template_link() */
} Op;

/* One chunk of memory, its source behind the ops: pfree() frees it */
struct Template
{
	char	   *source;
	size_t		len;
	const char *name;			/* of a partial, else NULL */
	size_t		text_len;		/* sum of all text, to size the output */
	bool		linked;
	int			checked;		/* by template_names.c, for what */
	bool		waiting;		/* to be linked */
	bool		visiting;		/* template_link() is on its way through */
	int			depth;			/* of partials, whatever the data; or -1 */
	int			nops;
	Op			ops[FLEXIBLE_ARRAY_MEMBER];
};

/* ---- template_find.c ---- */

/* A context, and the stack of those around it that have names */
typedef struct Scope
{
	const struct Scope *outer;
	TemplateNode node;
} Scope;

/* Where names are looked for first: a string or a list has none */
static inline const Scope *
scope_names(const Scope *scope)
{
	return scope->node.kind == TEMPLATE_OBJECT ? scope : scope->outer;
}

/*
 * Find what an op names: its first word in the innermost object that has it.
 * False if no object has it, or if no work is left: work->spent tells.
 */
extern bool template_find(Work *work, const Template *tmpl, const Op *op,
						  const Scope *scope, TemplateNode *node);

/* ---- template_scan.c ---- */

/* Where we are in a text, and what a tag looks like there */
typedef struct Scanner
{
	const char *source;
	size_t		len;
	size_t		pos;
	size_t		tag;			/* where the current tag begins */
	const char *open;			/* delimiters */
	size_t		open_len;
	const char *close;
	size_t		close_len;
	Work	   *work;
	TemplateError *error;
} Scanner;

/* What is between the delimiters */
typedef struct Tag
{
	char		sigil;			/* '\0' for a variable, '&' for {{{x}}} too */
	size_t		start;			/* of the name */
	size_t		len;
} Tag;

/*
 * A loop has come to this position: now and then it counts.  Whether there is
 * work left is asked for once a tag.
 */
static inline void
scanner_tick(const Scanner *scanner, size_t pos)
{
	if (pos % WORK_SLICE == 0)
		(void) work_do(scanner->work, WORK_SLICE / WORK_BYTES);
}

/* Find these bytes from the position on; len if they are not there */
extern size_t scanner_find(const Scanner *scanner, const char *bytes,
						   size_t len);

/*
 * Read one tag; the scanner stands behind its opening delimiter.  A change of
 * delimiters takes effect.  False with the scanner's error filled.
 */
extern bool scanner_tag(Scanner *scanner, Tag *tag);

/* A fault of the text, for the caller to return */
#define scanner_fail(scanner, offset, ...) \
	(template_fault((scanner)->error, (scanner)->source, (scanner)->len, \
					(offset), __VA_ARGS__), false)

/* Name or delimiter as the arguments of "%.*s" in a message */
#define SHOWN(bytes, len)	template_clip((bytes), (len), 32), (bytes)

/* Fill in a fault, at this offset of the source */
extern void template_fault(TemplateError *error, const char *source,
						   size_t len, size_t offset, const char *fmt,...)
			pg_attribute_printf(5, 6);

/* How much of a name a message shows: at most max bytes, whole characters */
extern int	template_clip(const char *name, size_t len, int max);

#endif							/* MAILMAN_TEMPLATE_H */
