/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Texts with {{tags}} in them, after Mustache.
 *
 * A letter goes to a million recipients but is parsed once: parsing cuts the
 * text into segments, rendering walks them in one pass and looks at nothing
 * but the values.  So every fault of a template shows when it is parsed, and
 * rendering cannot fail.
 *
 * Tags: {{name}} and {{data.x.y}} (escaped in HTML), {{{name}}} and
 * {{& name}} (verbatim), {{! comment}}.  Blanks inside a tag do not count.
 * The rest of Mustache is refused, not passed through: a letter that went
 * out with a raw "{{#if}}" in it cannot be called back.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mb/pg_wchar.h"

typedef enum SegmentKind
{
	SEGMENT_LITERAL,			/* text to copy */
	SEGMENT_VALUE,				/* name of a value, escaped in HTML */
	SEGMENT_VERBATIM			/* name of a value, never escaped */
} SegmentKind;

/* Where in the source; the bytes themselves are not copied again */
typedef struct Segment
{
	SegmentKind kind;
	size_t		start;
	size_t		len;
} Segment;

/* One chunk of memory, its source behind the segments: pfree() frees it */
struct Template
{
	char	   *source;
	size_t		literal_len;	/* sum of all literals, to size the output */
	int			nsegments;
	Segment		segments[FLEXIBLE_ARRAY_MEMBER];
};

typedef struct Parser
{
	const char *source;
	size_t		len;
	size_t		pos;
	size_t		tag;			/* where the current tag begins */
	StringInfoData segments;	/* of Segment */
	TemplateError *error;
} Parser;

/* Note the fault at an offset; returns false for the caller to return */
static bool
parser_fail(Parser *parser, size_t offset, const char *message)
{
	TemplateError *error = parser->error;
	size_t		i = 0;

	error->line = 1;
	error->column = 1;
	while (i < offset)
	{
		char		c = parser->source[i];

		if (c == '\n' || (c == '\r' && i + 1 < parser->len &&
						  parser->source[i + 1] != '\n'))
		{
			error->line++;
			error->column = 1;
		}
		else if (((unsigned char) c & 0xC0) != 0x80)
			error->column++;
		i++;
	}
	strlcpy(error->message, message, sizeof(error->message));
	return false;
}

static void
parser_add(Parser *parser, SegmentKind kind, size_t start, size_t len)
{
	Segment		segment;

	segment.kind = kind;
	segment.start = start;
	segment.len = len;
	appendBinaryStringInfo(&parser->segments, (char *) &segment,
						   sizeof(segment));
}

/* The byte at the parser's position, NUL at the end */
static inline char
parser_peek(const Parser *parser)
{
	return parser->pos < parser->len ? parser->source[parser->pos] : '\0';
}

static void
parser_skip_blanks(Parser *parser)
{
	while (parser->pos < parser->len &&
		   strchr(" \t\r\n", parser->source[parser->pos]) != NULL)
		parser->pos++;
}

/* Letters, digits, "_" and "-", and whatever is not ASCII */
static inline bool
is_name_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '-' || c >= 0x80;
}

/* Read a dotted name */
static bool
parser_name(Parser *parser, Segment *name)
{
	name->start = parser->pos;
	name->len = 0;
	for (;;)
	{
		size_t		part = parser->pos;

		while (is_name_char(parser_peek(parser)))
			parser->pos++;
		if (parser->pos == part)
		{
			if (parser->pos >= parser->len)
				return parser_fail(parser, parser->tag,
								   "unclosed tag, expected \"}}\"");
			if (part > name->start)
				return parser_fail(parser, part,
								   "expected a name after \".\"");
			if (parser_peek(parser) == '}')
				return parser_fail(parser, parser->tag,
								   "empty tag, expected a variable name");
			return parser_fail(parser, part, "expected a variable name");
		}
		if (parser_peek(parser) != '.')
			break;
		parser->pos++;
	}
	name->len = parser->pos - name->start;
	return true;
}

/* Pass the braces that close a tag */
static bool
parser_close(Parser *parser, const char *braces)
{
	size_t		n = strlen(braces);
	char		message[80];

	parser_skip_blanks(parser);
	if (parser->len - parser->pos >= n &&
		memcmp(parser->source + parser->pos, braces, n) == 0)
	{
		parser->pos += n;
		return true;
	}
	if (parser->pos >= parser->len)
	{
		snprintf(message, sizeof(message), "unclosed tag, expected \"%s\"",
				 braces);
		return parser_fail(parser, parser->tag, message);
	}
	snprintf(message, sizeof(message),
			 "expected \"%s\" after the variable name", braces);
	return parser_fail(parser, parser->pos, message);
}

/* Pass a comment, which ends at the first closing braces */
static bool
parser_comment(Parser *parser)
{
	while (parser->pos < parser->len)
	{
		const char *s = parser->source + parser->pos;
		const char *brace = memchr(s, '}', parser->len - parser->pos);

		if (brace == NULL)
			break;
		parser->pos = brace - parser->source + 1;
		if (parser_peek(parser) == '}')
		{
			parser->pos++;
			return true;
		}
	}
	return parser_fail(parser, parser->tag,
					   "unclosed comment, expected \"}}\"");
}

/* Parse one tag; the parser stands behind its opening braces */
static bool
parser_tag(Parser *parser)
{
	SegmentKind kind = SEGMENT_VALUE;
	const char *braces = "}}";
	Segment		name;

	if (parser_peek(parser) == '{')
	{
		parser->pos++;
		kind = SEGMENT_VERBATIM;
		braces = "}}}";
	}
	parser_skip_blanks(parser);

	switch (kind == SEGMENT_VALUE ? parser_peek(parser) : '\0')
	{
		case '!':
			return parser_comment(parser);
		case '#':
		case '^':
		case '/':
			return parser_fail(parser, parser->tag,
							   "sections are not supported");
		case '>':
			return parser_fail(parser, parser->tag,
							   "partials are not supported");
		case '=':
			return parser_fail(parser, parser->tag,
							   "changing the delimiters is not supported");
		case '&':
			parser->pos++;
			kind = SEGMENT_VERBATIM;
			parser_skip_blanks(parser);
			break;
		default:
			break;
	}

	if (!parser_name(parser, &name) || !parser_close(parser, braces))
		return false;
	parser_add(parser, kind, name.start, name.len);
	return true;
}

/* Find the next "{{" from the parser's position; len if there is none */
static size_t
parser_find_tag(const Parser *parser)
{
	size_t		pos = parser->pos;

	while (pos + 1 < parser->len)
	{
		const char *brace = memchr(parser->source + pos, '{',
								   parser->len - pos - 1);

		if (brace == NULL)
			break;
		pos = brace - parser->source;
		if (brace[1] == '{')
			return pos;
		pos++;
	}
	return parser->len;
}

/* Pack source and segments into one chunk */
static Template *
parser_finish(const Parser *parser)
{
	int			nsegments = parser->segments.len / sizeof(Segment);
	size_t		size = offsetof(Template, segments) + parser->segments.len;
	Template   *tmpl = palloc(size + parser->len + 1);
	int			i;

	tmpl->source = (char *) tmpl + size;
	memcpy(tmpl->source, parser->source, parser->len);
	tmpl->source[parser->len] = '\0';
	tmpl->nsegments = nsegments;
	memcpy(tmpl->segments, parser->segments.data, parser->segments.len);

	tmpl->literal_len = 0;
	for (i = 0; i < nsegments; i++)
	{
		if (tmpl->segments[i].kind == SEGMENT_LITERAL)
			tmpl->literal_len += tmpl->segments[i].len;
	}
	return tmpl;
}

/* see pure.h */
Template *
template_parse(const char *source, size_t len, TemplateError *error)
{
	Parser		parser;
	Template   *tmpl = NULL;
	bool		ok = true;

	parser.source = source;
	parser.len = len;
	parser.pos = 0;
	parser.tag = 0;
	parser.error = error;
	initStringInfo(&parser.segments);

	while (ok && parser.pos < len)
	{
		parser.tag = parser_find_tag(&parser);
		if (parser.tag > parser.pos)
			parser_add(&parser, SEGMENT_LITERAL, parser.pos,
					   parser.tag - parser.pos);
		parser.pos = parser.tag;
		if (parser.pos < len)
		{
			parser.pos += 2;
			ok = parser_tag(&parser);
		}
	}

	if (ok)
		tmpl = parser_finish(&parser);
	pfree(parser.segments.data);
	return tmpl;
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

/*
 * Escape what stands in out from start on.  Nearly every value has nothing
 * to escape and stays where the lookup put it; only the tail from the first
 * special character on is written again.
 */
static void
template_escape(StringInfo out, int start)
{
	char	   *tail;
	int			len;
	int			run = 0;
	int			i = start;

	while (i < out->len && html_entity(out->data[i]) == NULL)
		i++;
	if (i == out->len)
		return;

	len = out->len - i;
	tail = palloc(len);
	memcpy(tail, out->data + i, len);
	out->len = i;
	for (i = 0; i < len; i++)
	{
		const char *entity = html_entity(tail[i]);

		if (entity == NULL)
			continue;
		appendBinaryStringInfo(out, tail + run, i - run);
		appendStringInfoString(out, entity);
		run = i + 1;
	}
	appendBinaryStringInfo(out, tail + run, len - run);
	pfree(tail);
}

/* see pure.h */
void
template_render(const Template *tmpl, TemplateLookup lookup, void *context,
				bool html, StringInfo out)
{
	int			i;

	enlargeStringInfo(out, (int) tmpl->literal_len + 1);
	for (i = 0; i < tmpl->nsegments; i++)
	{
		const Segment *segment = &tmpl->segments[i];
		const char *bytes = tmpl->source + segment->start;
		int			start = out->len;

		if (segment->kind == SEGMENT_LITERAL)
			appendBinaryStringInfo(out, bytes, (int) segment->len);
		else if (!lookup(context, bytes, segment->len, out))
		{
			out->len = start;
			out->data[start] = '\0';
		}
		else if (html && segment->kind == SEGMENT_VALUE)
			template_escape(out, start);
	}
}
