/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Mustache templates, parsed.
 *
 * A letter goes to a million recipients but is parsed once: one pass cuts
 * the text into ops, and rendering (template_render.c) walks them and looks
 * at nothing but the values.  Whatever depends on the text alone is settled
 * here: every fault of it, which tags stand alone in their line (the line
 * then vanishes with them), where a section ends.
 *
 * This is Mustache as its specification has it (github.com/mustache/spec):
 * variables, dotted names, {{.}}, sections, inverted sections, comments,
 * partials, set delimiters.  Three things differ, all to the side of care,
 * as a letter cannot be called back:
 *
 *	- A name is made of letters, digits, what is not ASCII, and _-$@:/%+~
 *	  only: {{name|upper}} is another language's and not an empty value.
 *	- A partial that does not exist is an error, not the empty string.
 *	- Lambdas, inheritance and dynamic names, which the specification calls
 *	  optional, are not there.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "template.h"

typedef struct Parser
{
	Scanner		scanner;
	int			section;		/* op of the innermost open one, or -1; its
								 * "end" is the one around it meanwhile */
	int			depth;			/* how many are open */
	int			nslots;
	int			slots[TEMPLATE_SLOTS];	/* the first op of each */
	StringInfoData ops;			/* of Op */
} Parser;

static inline Op *
parser_op(const Parser *parser, int i)
{
	return (Op *) parser->ops.data + i;
}

static inline int
parser_nops(const Parser *parser)
{
	return parser->ops.len / (int) sizeof(Op);
}

/* Begins a line at this offset? */
static inline bool
parser_line_start(const Parser *parser, size_t offset)
{
	return offset == 0 || parser->scanner.source[offset - 1] == '\n';
}

/*
 * Is the tag just parsed alone in its line, or lines?  Then *line is where
 * its first one begins, and the scanner moves to the next.  What stands before
 * it is looked at in the source: another tag there is no blank either.
 */
static bool
parser_alone(Parser *parser, size_t *line)
{
	Scanner    *scanner = &parser->scanner;
	size_t		before = scanner->tag;
	size_t		after = scanner->pos;

	while (before > 0 && (scanner->source[before - 1] == ' ' ||
						  scanner->source[before - 1] == '\t'))
		scanner_tick(scanner, --before);
	while (after < scanner->len && (scanner->source[after] == ' ' ||
									scanner->source[after] == '\t'))
		scanner_tick(scanner, ++after);
	if (!parser_line_start(parser, before))
		return false;
	if (after + 1 < scanner->len && scanner->source[after] == '\r')
		after++;
	if (after < scanner->len && scanner->source[after] != '\n')
		return false;
	*line = before;
	scanner->pos = Min(after + 1, scanner->len);
	return true;
}

static Op  *
parser_add(Parser *parser, OpKind kind, size_t start, size_t len)
{
	Op			op = {.kind = kind};

	op.start = (uint32) start;
	op.len = (uint32) len;
	op.tag = (uint32) parser->scanner.tag;
	(void) work_do(parser->scanner.work, TEMPLATE_OP_STEPS);
	appendBinaryStringInfo(&parser->ops, (char *) &op, sizeof(op));
	return parser_op(parser, parser_nops(parser) - 1);
}

/* The op of a tag that names a value */
static Op  *
parser_add_name(Parser *parser, OpKind kind, const Tag *tag)
{
	const char *name = parser->scanner.source + tag->start;
	Op		   *op = parser_add(parser, kind, tag->start, tag->len);
	size_t		i;

	op->word = op->len;
	for (i = tag->len; i > 0; i--)
	{
		if (name[i - 1] == '.' && tag->len > 1)
		{
			op->word = (uint32) (i - 1);
			op->dots++;
		}
	}
	return op;
}

/*
 * The slot of a variable: the one of an earlier op that shows the same, or one
 * of its own while there are any.  {{.}} has none, as it is no name.
 */
static int
parser_slot(Parser *parser, int i)
{
	const Op   *op = parser_op(parser, i);
	const char *source = parser->scanner.source;
	int			slot;

	if (op->len == 1 && source[op->start] == '.')
		return -1;
	for (slot = 0; slot < parser->nslots; slot++)
	{
		const Op   *first = parser_op(parser, parser->slots[slot]);

		if (first->kind == op->kind && first->len == op->len &&
			memcmp(source + first->start, source + op->start, op->len) == 0)
			return slot;
	}
	if (slot == TEMPLATE_SLOTS)
		return -1;
	parser->slots[parser->nslots++] = i;
	return slot;
}

static void
parser_add_variable(Parser *parser, OpKind kind, const Tag *tag)
{
	Op		   *op = parser_add_name(parser, kind, tag);

	op->slot = parser_slot(parser, parser_nops(parser) - 1);
}

/*
 * Text up to a tag, or to the end.  Where a tag that stays begins a line, it
 * says so even if it is empty: there goes the indentation of a partial.
 */
static void
parser_text(Parser *parser, size_t start, size_t end, bool tag_stays)
{
	bool		line_follows = tag_stays && parser_line_start(parser, end);
	Op		   *op;

	if (start == end && !line_follows)
		return;
	op = parser_add(parser, OP_TEXT, start, end - start);
	op->line_start = start < end && parser_line_start(parser, start);
	op->line_follows = line_follows;
}

/* A section begins */
static bool
parser_open_section(Parser *parser, const Tag *tag)
{
	if (++parser->depth > TEMPLATE_SECTIONS_DEEP)
		return scanner_fail(&parser->scanner, parser->scanner.tag,
							"sections are nested deeper than %d",
							TEMPLATE_SECTIONS_DEEP);
	parser_add_name(parser, tag->sigil == '#' ? OP_SECTION : OP_INVERTED,
					tag)->end = parser->section;
	parser->section = parser_nops(parser) - 1;
	return true;
}

/* The innermost section ends, if it is the one that is named */
static bool
parser_close_section(Parser *parser, const Tag *tag)
{
	const Scanner *scanner = &parser->scanner;
	const char *name = scanner->source + tag->start;
	const char *open;
	TemplateError place;
	Op		   *op;

	if (parser->section < 0)
		return scanner_fail(scanner, scanner->tag,
							"unexpected end of section \"%.*s\", none is open",
							SHOWN(name, tag->len));
	op = parser_op(parser, parser->section);
	open = scanner->source + op->start;
	if (op->len != tag->len || memcmp(open, name, tag->len) != 0)
	{
		template_fault(&place, scanner->source, scanner->len, op->tag, " ");
		return scanner_fail(scanner, scanner->tag,
							"expected the end of section \"%.*s\" of line %d,"
							" not of \"%.*s\"", SHOWN(open, op->len),
							place.line, SHOWN(name, tag->len));
	}
	parser->section = op->end;
	parser->depth--;
	op->end = parser_nops(parser);
	return true;
}

/* Make the op of a tag; comments and delimiters leave none */
static bool
parser_emit(Parser *parser, const Tag *tag, bool alone, size_t line)
{
	Op		   *op;

	switch (tag->sigil)
	{
		case '\0':
			parser_add_variable(parser, OP_VALUE, tag);
			return true;
		case '&':
			parser_add_variable(parser, OP_VERBATIM, tag);
			return true;
		case '#':
		case '^':
			return parser_open_section(parser, tag);
		case '/':
			return parser_close_section(parser, tag);
		case '>':
			op = parser_add(parser, OP_PARTIAL, tag->start, tag->len);
			op->alone = alone;
			op->indent = alone ? (uint32) (parser->scanner.tag - line) : 0;
			return true;
		default:
			return true;
	}
}

/* The text up to the next tag, and that tag */
static bool
parser_step(Parser *parser)
{
	Scanner    *scanner = &parser->scanner;
	size_t		start = scanner->pos;
	size_t		line = 0;
	bool		alone;
	Tag			tag;

	scanner->tag = scanner_find(scanner, scanner->open, scanner->open_len);
	scanner->pos = scanner->tag;
	if (scanner->tag == scanner->len)
	{
		parser_text(parser, start, scanner->len, false);
		return true;
	}
	scanner->pos += scanner->open_len;
	if (!scanner_tag(scanner, &tag))
		return false;
	alone = tag.sigil != '\0' && tag.sigil != '&' &&
		parser_alone(parser, &line);
	parser_text(parser, start, alone ? line : scanner->tag, !alone);
	if (!parser_emit(parser, &tag, alone, line))
		return false;
	if (!work_do(scanner->work, 1))
		return scanner_fail(scanner, scanner->tag, TEMPLATE_TOO_MANY);
	return true;
}

/* Pack source and ops into one chunk */
static Template *
parser_finish(const Parser *parser)
{
	const Scanner *scanner = &parser->scanner;
	size_t		size = offsetof(Template, ops) + parser->ops.len;
	Template   *tmpl = palloc0(size + scanner->len + 1);
	int			i;

	tmpl->source = (char *) tmpl + size;
	memcpy(tmpl->source, scanner->source, scanner->len);
	tmpl->len = scanner->len;
	tmpl->depth = -1;
	tmpl->nops = parser_nops(parser);
	memcpy(tmpl->ops, parser->ops.data, parser->ops.len);
	for (i = 0; i < tmpl->nops; i++)
	{
		if (tmpl->ops[i].kind == OP_TEXT)
			tmpl->text_len += tmpl->ops[i].len;
	}
	return tmpl;
}

/* see pure.h */
Template *
template_parse(Work *work, const char *source, size_t len,
			   TemplateError *error)
{
	Parser		parser = {.section = -1};
	Scanner    *scanner = &parser.scanner;
	Template   *tmpl = NULL;
	Work		own;
	bool		good = true;

	scanner->source = source;
	scanner->len = len;
	scanner->open = "{{";
	scanner->close = "}}";
	scanner->open_len = scanner->close_len = 2;
	scanner->work = work_given(work, &own);
	scanner->error = error;
	initStringInfo(&parser.ops);
	while (good && scanner->pos < len)
		good = parser_step(&parser);
	if (good && parser.section >= 0)
	{
		Op		   *op = parser_op(&parser, parser.section);

		good = scanner_fail(scanner, op->tag,
							"unclosed section, expected the end of \"%.*s\"",
							SHOWN(source + op->start, op->len));
	}
	if (good)
		tmpl = parser_finish(&parser);
	pfree(parser.ops.data);
	return tmpl;
}
