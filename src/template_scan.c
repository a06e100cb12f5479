/*-------------------------------------------------------------------------
 *
 * template_scan.c
 *	  One tag of a template: from "{{" to "}}", or whatever they are now.
 *
 * What a tag looks like is known here and nowhere else; what it does, in
 * template.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "template.h"

/* see template.h */
int
template_clip(const char *name, size_t len, int max)
{
	int			n = (int) Min(len, (size_t) max);

	if ((size_t) n < len)
	{
		while (n > 0 && ((unsigned char) name[n] & 0xC0) == 0x80)
			n--;
	}
	return n;
}

/* see template.h */
void
template_fault(TemplateError *error, const char *source, size_t len,
			   size_t offset, const char *fmt,...)
{
	va_list		args;
	size_t		i;

	error->partial = NULL;
	error->line = 1;
	error->column = 1;
	for (i = 0; i < offset; i++)
	{
		char		c = source[i];

		if (c == '\n' || (c == '\r' && i + 1 < len && source[i + 1] != '\n'))
		{
			error->line++;
			error->column = 1;
		}
		else if (((unsigned char) c & 0xC0) != 0x80)
			error->column++;
	}
	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
}

/* The byte at the scanner's position, NUL at the end */
static inline char
scanner_peek(const Scanner *scanner)
{
	return scanner->pos < scanner->len ? scanner->source[scanner->pos] : '\0';
}

static bool
scanner_sees(const Scanner *scanner, const char *bytes, size_t len)
{
	return scanner->len - scanner->pos >= len &&
		memcmp(scanner->source + scanner->pos, bytes, len) == 0;
}

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
scanner_skip_blanks(Scanner *scanner)
{
	while (scanner->pos < scanner->len && is_blank(scanner_peek(scanner)))
		scanner_tick(scanner, ++scanner->pos);
}

/* see template.h */
size_t
scanner_find(const Scanner *scanner, const char *bytes, size_t len)
{
	size_t		pos = scanner->pos;

	while (pos + len <= scanner->len)
	{
		size_t		stop = Min(scanner->len - len + 1,
							   (pos / WORK_SLICE + 1) * WORK_SLICE);
		const char *first = memchr(scanner->source + pos, bytes[0],
								   stop - pos);

		pos = first ? (size_t) (first - scanner->source) : stop;
		if (first && memcmp(first, bytes, len) == 0)
			return pos;
		pos += first != NULL;
		scanner_tick(scanner, pos);
	}
	return scanner->len;
}

static inline bool
is_name_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c >= 0x80 ||
		(c != '\0' && strchr("_-$@:/%+~", c) != NULL);
}

/* What a tag names, for messages */
static const char *
tag_what(const Tag *tag)
{
	switch (tag->sigil)
	{
		case '#':
		case '^':
		case '/':
			return "section name";
		case '>':
			return "partial name";
		default:
			return "variable name";
	}
}

/* The tag has no name, or a bad one, at the scanner's position */
static bool
scanner_no_name(Scanner *scanner, const Tag *tag)
{
	if (scanner->pos >= scanner->len)
		return scanner_fail(scanner, scanner->tag,
							"unclosed tag, expected \"%.*s\"",
							SHOWN(scanner->close, scanner->close_len));
	if (scanner->pos > tag->start)
		return scanner_fail(scanner, scanner->pos,
							"expected a name after \".\"");
	if (scanner_sees(scanner, scanner->close, scanner->close_len) ||
		scanner_peek(scanner) == '}')
		return scanner_fail(scanner, scanner->tag, "empty tag, expected a %s",
							tag_what(tag));
	return scanner_fail(scanner, scanner->pos, "expected a %s", tag_what(tag));
}

/*
 * Read a name: "." alone, or words with dots between.  In the name of a
 * partial a dot is like any other character.
 */
static bool
scanner_name(Scanner *scanner, Tag *tag)
{
	bool		partial = tag->sigil == '>';

	tag->start = scanner->pos;
	if (scanner_peek(scanner) == '.' && !partial)
		scanner->pos++;
	else
	{
		for (;;)
		{
			size_t		word = scanner->pos;

			while (!scanner_sees(scanner, scanner->close, scanner->close_len) &&
				   (is_name_char(scanner_peek(scanner)) ||
					(partial && scanner_peek(scanner) == '.')) &&
				   scanner->pos - tag->start <= TEMPLATE_NAME_MAX)
				scanner->pos++;
			if (scanner->pos - tag->start > TEMPLATE_NAME_MAX)
				return scanner_fail(scanner, tag->start,
									"a %s is longer than %d bytes",
									tag_what(tag), TEMPLATE_NAME_MAX);
			if (scanner->pos == word)
				return scanner_no_name(scanner, tag);
			if (scanner_peek(scanner) != '.' ||
				scanner_sees(scanner, scanner->close, scanner->close_len))
				break;
			scanner->pos++;
		}
	}
	tag->len = scanner->pos - tag->start;
	return true;
}

/* Pass what closes a tag; braces: "}" comes first */
static bool
scanner_close(Scanner *scanner, const Tag *tag, bool braces)
{
	const char *brace = braces ? "}" : "";

	scanner_skip_blanks(scanner);
	if (scanner->pos >= scanner->len)
		return scanner_fail(scanner, scanner->tag,
							"unclosed tag, expected \"%s%.*s\"", brace,
							SHOWN(scanner->close, scanner->close_len));
	if (!braces || scanner_peek(scanner) == '}')
	{
		size_t		at = scanner->pos;

		scanner->pos += braces;
		if (scanner_sees(scanner, scanner->close, scanner->close_len))
		{
			scanner->pos += scanner->close_len;
			return true;
		}
		scanner->pos = at;
	}
	return scanner_fail(scanner, scanner->pos,
						"expected \"%s%.*s\" after the %s", brace,
						SHOWN(scanner->close, scanner->close_len),
						tag_what(tag));
}

/* Pass a comment, which ends at the first closing delimiter */
static bool
scanner_comment(Scanner *scanner)
{
	size_t		end = scanner_find(scanner, scanner->close,
								   scanner->close_len);

	if (end == scanner->len)
		return scanner_fail(scanner, scanner->tag,
							"unclosed comment, expected \"%.*s\"",
							SHOWN(scanner->close, scanner->close_len));
	scanner->pos = end + scanner->close_len;
	return true;
}

/* A word of a set delimiter tag that ends at the given offset */
static const char *
scanner_word(Scanner *scanner, size_t end, size_t *len)
{
	const char *word = scanner->source + scanner->pos;

	*len = 0;
	while (scanner->pos < end && !is_blank(scanner_peek(scanner)))
	{
		scanner->pos++;
		(*len)++;
	}
	while (scanner->pos < end && is_blank(scanner_peek(scanner)))
		scanner->pos++;
	return word;
}

/* {{=<% %>=}}: two words, and an equals sign before the old closing one */
static bool
scanner_delimiters(Scanner *scanner)
{
	char	   *closing = psprintf("=%.*s", (int) scanner->close_len,
								   scanner->close);
	size_t		end;
	const char *open;
	const char *close;
	size_t		open_len;
	size_t		close_len;

	scanner_skip_blanks(scanner);
	end = scanner_find(scanner, closing, scanner->close_len + 1);
	pfree(closing);
	if (end == scanner->len)
		return scanner_fail(scanner, scanner->tag,
							"unclosed change of delimiters, expected \"=%.*s\"",
							SHOWN(scanner->close, scanner->close_len));
	open = scanner_word(scanner, end, &open_len);
	close = scanner_word(scanner, end, &close_len);
	if (open_len == 0 || close_len == 0 || scanner->pos != end)
		return scanner_fail(scanner, scanner->tag,
							"expected two delimiters, as in \"{{=<%% %%>=}}\"");
	if (open_len > TEMPLATE_DELIMITER_MAX ||
		close_len > TEMPLATE_DELIMITER_MAX)
		return scanner_fail(scanner, scanner->tag,
							"a delimiter is longer than %d bytes",
							TEMPLATE_DELIMITER_MAX);
	scanner->pos = end + 1 + scanner->close_len;
	scanner->open = open;
	scanner->open_len = open_len;
	scanner->close = close;
	scanner->close_len = close_len;
	return true;
}

/* see template.h */
bool
scanner_tag(Scanner *scanner, Tag *tag)
{
	bool		braces = scanner_peek(scanner) == '{';

	memset(tag, 0, sizeof(*tag));
	if (braces)
	{
		tag->sigil = '&';
		scanner->pos++;
	}
	scanner_skip_blanks(scanner);
	if (!braces && scanner->pos < scanner->len &&
		!scanner_sees(scanner, scanner->close, scanner->close_len) &&
		strchr("!#^/>=&$<", scanner_peek(scanner)) != NULL)
	{
		tag->sigil = scanner_peek(scanner);
		scanner->pos++;
	}
	switch (tag->sigil)
	{
		case '!':
			return scanner_comment(scanner);
		case '=':
			return scanner_delimiters(scanner);
		case '$':
		case '<':
			return scanner_fail(scanner, scanner->tag,
								"inheritance of templates is not supported");
		default:
			scanner_skip_blanks(scanner);
			return scanner_name(scanner, tag) &&
				scanner_close(scanner, tag, braces);
	}
}
