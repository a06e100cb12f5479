/*-------------------------------------------------------------------------
 *
 * mime_header.c
 *	  Header fields (RFC 5322 2.2) from values that may hold anything.
 *
 * Two promises bind here.  No value, whatever is in it, can end its field or
 * begin another: controls become spaces before anything else happens.  And a
 * reader that unfolds and decodes gets the very same text back.  So a value
 * is written plainly only if readers cannot differ about it, that is, if it
 * is printable ASCII, does not look like an encoded-word, neither begins nor
 * ends with a space, and folds at single spaces only (some readers squeeze
 * the white space at a fold).  Everything else becomes encoded-words (RFC
 * 2047), the whole of it, so that all white space is inside of them and the
 * blanks between them, which readers drop, are folds and nothing more.
 *
 * Addresses and values that are given as trusted are not looked at.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"
#include "mb/pg_wchar.h"
#include "mime.h"

#define LINE_GOOD	76			/* RFC 2047 2; RFC 5322 would have 78 */
#define LINE_LIMIT	998			/* RFC 5322 2.1.1 */
#define WORD_MAX	75			/* of an encoded-word, RFC 2047 2 */
#define WORD_PREFIX	"=?UTF-8?"
#define WORD_FRAME	12			/* "=?UTF-8?Q?" and "?=" */

/* What a character may be; a value's traits are all of them or'ed */
#define T_CONTROL	0x01
#define T_8BIT		0x02
#define T_SPACE		0x04
#define T_SPECIAL	0x08		/* printable, but no atext */
#define T_QTEXT		0x10		/* needs encoding in Q, in a text */
#define T_QPHRASE	0x20		/* needs encoding in Q, in a phrase */
#define T_ENCODED	0x40		/* value only: has "=?" */
#define T_ODD_SPACE	0x80		/* value only: leading, trailing or double */

/* A header field on its way out */
typedef struct Field
{
	StringInfo	out;
	int			column;			/* of the current line */
	uint8		unsafe;			/* T_QTEXT or T_QPHRASE */
} Field;

/* The traits of one character */
static inline uint8
char_traits(unsigned char c)
{
	if (c < 0x20 || c == 0x7F)
		return T_CONTROL | T_QTEXT | T_QPHRASE;
	if (c >= 0x80)
		return T_8BIT | T_QTEXT | T_QPHRASE;
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z'))
		return 0;
	switch (c)
	{
		case ' ':				/* becomes "_" */
			return T_SPACE;
		case '=':
		case '?':
		case '_':
			return T_QTEXT | T_QPHRASE;
		case '!':
		case '*':
		case '+':
		case '-':
		case '/':
			return 0;
		case '#':
		case '$':
		case '%':
		case '&':
		case '\'':
		case '^':
		case '`':
		case '{':
		case '|':
		case '}':
		case '~':
			return T_QPHRASE;
		default:
			return T_SPECIAL | T_QPHRASE;
	}
}

/* All traits of a value */
static uint8
value_traits(const char *value, size_t len)
{
	uint8		traits = 0;
	size_t		i;

	for (i = 0; i < len; i++)
	{
		uint8		own = char_traits((unsigned char) value[i]);

		if (own == 0)
			continue;
		traits |= own;
		if (value[i] == ' ' && (i == 0 || i + 1 == len || value[i - 1] == ' '))
			traits |= T_ODD_SPACE;
		if (value[i] == '=' && i + 1 < len && value[i + 1] == '?')
			traits |= T_ENCODED;
	}
	return traits;
}

/* The length of the control character at s (C1 takes two bytes), or 0 */
static inline int
control_length(const char *s, const char *end)
{
	unsigned char c = (unsigned char) s[0];

	if (c < 0x20 || c == 0x7F)
		return 1;
	if (c == 0xC2 && s + 1 < end && (unsigned char) s[1] >= 0x80 &&
		(unsigned char) s[1] < 0xA0)
		return 2;
	return 0;
}

/* see mime.h */
char *
mime_clean(const char *value, size_t *len)
{
	const char *end = value + *len;
	char	   *copy = palloc(*len + 1);
	char	   *to = copy;

	while (value < end)
	{
		int			n = control_length(value, end);

		if (n == 0)
		{
			*to++ = *value++;
			continue;
		}
		*to++ = ' ';
		while (value < end && (n = control_length(value, end)) > 0)
			value += n;
	}
	*to = '\0';
	*len = to - copy;
	return copy;
}

/* Begin a field: its name and the colon */
static void
field_begin(Field *field, StringInfo out, const char *name, uint8 unsafe)
{
	int			len = strlen(name);

	field->out = out;
	field->unsafe = unsafe;
	field->column = len + 1;
	append_bytes(out, name, len);
	append_literal(out, ":");
}

/* Append a word after a space, or after a fold if the line has no room */
static void
field_word(Field *field, const char *word, int len, bool may_fold)
{
	if (may_fold && field->column + 1 + len > LINE_GOOD)
	{
		append_literal(field->out, "\r\n ");
		field->column = 1;
	}
	else
	{
		append_literal(field->out, " ");
		field->column++;
	}
	append_bytes(field->out, word, len);
	field->column += len;
}

static void
field_end(Field *field)
{
	append_literal(field->out, "\r\n");
}

/*
 * Append a value as it is, folded at its single spaces.  The first word
 * stays beside the name: some readers take a line with nothing but the name
 * for an empty field.
 */
static void
field_plain(Field *field, const char *value, size_t len)
{
	const char *end = value + len;
	bool		first = true;

	while (value < end)
	{
		const char *space = memchr(value, ' ', end - value);
		const char *stop = space ? space : end;

		field_word(field, value, (int) (stop - value), !first);
		first = false;
		value = stop + 1;
	}
}

/* Can field_plain() keep all lines below the limit, and fold only well? */
static bool
plain_fits(int column, const char *value, size_t len, uint8 traits)
{
	const char *end = value + len;

	if (column + 1 + len <= LINE_GOOD)
		return true;
	if (traits & T_ODD_SPACE)
		return false;
	while (value < end)
	{
		const char *space = memchr(value, ' ', end - value);
		const char *stop = space ? space : end;

		if (column + 1 + (stop - value) > LINE_LIMIT)
			return false;
		column = 0;
		value = stop + 1;
	}
	return true;
}

/* The length of the character at s, never beyond end */
static inline int
char_length(const char *s, const char *end)
{
	return Min(pg_utf_mblen((const unsigned char *) s), (int) (end - s));
}

/* How long a character of n bytes gets in Q */
static inline int
q_length(const Field *field, const char *s, int n)
{
	if (n == 1 && !(char_traits((unsigned char) *s) & field->unsafe))
		return 1;
	return 3 * n;
}

/* Write a character of n bytes in Q (RFC 2047 4.2); returns its end */
static char *
q_encode(const Field *field, char *to, const char *s, int n)
{
	if (q_length(field, s, n) == 1)
	{
		*to++ = *s == ' ' ? '_' : *s;
		return to;
	}
	while (n-- > 0)
		to = mime_put_hex(to, (unsigned char) *s++);
	return to;
}

/* Is Q the shorter encoding of the value? */
static bool
q_is_shorter(const Field *field, const char *value, size_t len)
{
	size_t		q = 0;
	size_t		i;

	for (i = 0; i < len; i++)
		q += q_length(field, value + i, 1);
	return q <= (len + 2) / 3 * 4;
}

/*
 * Append a value as encoded-words, each as long as its line allows and none
 * ending inside of a character.
 */
static void
field_encoded(Field *field, const char *value, size_t len)
{
	const char *end = value + len;
	bool		q = q_is_shorter(field, value, len);

	while (value < end)
	{
		char		word[WORD_MAX + 1] = WORD_PREFIX "Q?";
		char	   *to = word + WORD_FRAME - 2;
		int			room = Min(WORD_MAX, LINE_GOOD - 1 - field->column) -
			WORD_FRAME;
		const char *start = value;

		/* A character takes up to 12; else a line of its own */
		if (room < 12)
			room = WORD_MAX - WORD_FRAME;
		if (!q)
			room = room / 4 * 3;	/* bytes that B can carry */
		while (value < end)
		{
			int			n = char_length(value, end);
			int			cost = q ? q_length(field, value, n) : n;

			if (cost > room)
				break;
			if (q)
				to = q_encode(field, to, value, n);
			room -= cost;
			value += n;
		}
		if (!q)
		{
			word[sizeof(WORD_PREFIX) - 1] = 'B';
			to = mime_put_base64(to, start, value - start);
		}
		*to++ = '?';
		*to++ = '=';
		field_word(field, word, (int) (to - word), true);
	}
}

/* see pure.h */
void
mime_header_text(StringInfo out, const char *name, const char *value)
{
	Field		field;
	size_t		len = strlen(value);
	uint8		traits = value_traits(value, len);
	char	   *clean = NULL;

	field_begin(&field, out, name, T_QTEXT);
	if (traits & (T_CONTROL | T_8BIT))
	{
		value = clean = mime_clean(value, &len);
		traits = value_traits(value, len);
	}

	if ((traits & (T_8BIT | T_ENCODED)) == 0 &&
		(len == 0 || (value[0] != ' ' && value[len - 1] != ' ')) &&
		plain_fits(field.column, value, len, traits))
		field_plain(&field, value, len);
	else
		field_encoded(&field, value, len);
	field_end(&field);
	if (clean)
		pfree(clean);
}

/* How long a display name is in quotes */
static size_t
quoted_length(const char *value, size_t len)
{
	size_t		n = len + 2;
	size_t		i;

	for (i = 0; i < len; i++)
		n += value[i] == '"' || value[i] == '\\';
	return n;
}

/* Append a printable ASCII display name in quotes (RFC 5322 3.2.4) */
static void
field_quoted(Field *field, const char *value, size_t len)
{
	int			start = field->out->len;
	size_t		i;

	append_literal(field->out, " \"");
	for (i = 0; i < len; i++)
	{
		if (value[i] == '"' || value[i] == '\\')
			appendStringInfoChar(field->out, '\\');
		appendStringInfoChar(field->out, value[i]);
	}
	append_literal(field->out, "\"");
	field->column += field->out->len - start;
}

/*
 * Append a display name: as it is if it is atoms, else in quotes, else (not
 * ASCII, or longer than the line) as encoded-words.
 */
static void
field_display(Field *field, const char *value, size_t len)
{
	uint8		traits = value_traits(value, len);

	if ((traits & (T_8BIT | T_ENCODED)) != 0 ||
		field->column + 1 + quoted_length(value, len) > LINE_GOOD)
		field_encoded(field, value, len);
	else if ((traits & (T_SPECIAL | T_ODD_SPACE)) != 0)
		field_quoted(field, value, len);
	else
		field_word(field, value, len, false);
}

/* see mime.h */
void
mime_header_angle(StringInfo out, const char *name, const char *display,
				  const char *inside)
{
	Field		field;
	size_t		len = display ? strlen(display) : 0;

	field_begin(&field, out, name, T_QPHRASE);
	if (len > 0)
	{
		char	   *clean = mime_clean(display, &len);

		field_display(&field, clean, len);
		pfree(clean);
	}

	/* As field_word(), with the angle brackets */
	if (len > 0 && field.column + 3 + strlen(inside) > LINE_GOOD)
		append_literal(out, "\r\n <");
	else
		append_literal(out, " <");
	append_string(out, inside);
	append_literal(out, ">");
	field_end(&field);
}

/* see pure.h */
void
mime_header_address(StringInfo out, const char *name, const char *display,
					const char *address)
{
	Field		field;

	if (display != NULL && display[0] != '\0')
	{
		mime_header_angle(out, name, display, address);
		return;
	}
	field_begin(&field, out, name, T_QPHRASE);
	field_word(&field, address, strlen(address), true);
	field_end(&field);
}

/* see pure.h */
void
mime_header_raw(StringInfo out, const char *name, const char *value)
{
	Field		field;

	field_begin(&field, out, name, 0);
	field_word(&field, value, strlen(value), false);
	field_end(&field);
}
