/*-------------------------------------------------------------------------
 *
 * pure_decode.c
 *	  The reading side of MIME and SMTP, for the pure layer's unit test.
 *
 * Written apart from the code under test and simply, a byte at a time.  As
 * strict as the RFCs: what a lenient reader would forgive is a failure here.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

#include "mb/pg_wchar.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decode base64 without any line ends in it */
static bool
decode_base64(StringInfo out, const char *s, size_t len)
{
	size_t		i;
	int			j;

	if (len % 4 != 0)
		return false;
	for (i = 0; i < len; i += 4)
	{
		uint32		bits = 0;
		int			pad = 0;

		for (j = 0; j < 4; j++)
		{
			int			v = base64_value(s[i + j]);

			if (s[i + j] == '=' && i + 4 == len && j >= 2)
				pad++, v = 0;
			else if (v < 0 || pad > 0)
				return false;
			bits = bits << 6 | (uint32) v;
		}
		for (j = 0; j < 3 - pad; j++)
			appendStringInfoChar(out, (char) (bits >> (16 - 8 * j) & 0xFF));
	}
	return true;
}

/* Decode the text of a Q encoded-word */
static bool
decode_q(StringInfo out, const char *s, size_t len)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		if (s[i] == '_')
			appendStringInfoChar(out, ' ');
		else if (s[i] != '=')
			appendStringInfoChar(out, s[i]);
		else if (i + 2 < len && hex_value(s[i + 1]) >= 0 &&
				 hex_value(s[i + 2]) >= 0)
		{
			appendStringInfoChar(out, (char) (hex_value(s[i + 1]) * 16 +
											  hex_value(s[i + 2])));
			i += 2;
		}
		else
			return false;
	}
	return true;
}

/*
 * Decode the encoded-word at s; returns its length, 0 if there is none, or
 * -1 if it is a bad one: too long, or no whole characters.
 */
static int
decode_word(StringInfo out, const char *s)
{
	const char *text = s + 10;
	const char *end;
	int			start = out->len;
	bool		good;

	if (strncmp(s, "=?UTF-8?Q?", 10) != 0 && strncmp(s, "=?UTF-8?B?", 10) != 0)
		return 0;
	end = strchr(text, '?');
	if (end == NULL || end[1] != '=')
		return 0;
	if (end + 2 - s > 75 || memchr(s, ' ', end - s) != NULL || end == text)
		return -1;
	good = s[8] == 'Q' ? decode_q(out, text, end - text) :
		decode_base64(out, text, end - text);
	if (!good || pg_encoding_verifymbstr(PG_UTF8, out->data + start,
										 out->len - start) != out->len - start)
		return -1;
	return (int) (end + 2 - s);
}

/*
 * Decode unfolded text (RFC 2047 6.2).  A strict reader takes encoded-words
 * only between blanks, a lenient one anywhere.
 */
static bool
decode_text(StringInfo out, const char *s, bool lenient)
{
	bool		after_word = false;
	int			blanks = 0;
	int			n;

	for (; *s != '\0'; s++)
	{
		bool		boundary = lenient || blanks > 0 || out->len == 0;

		if (*s == ' ')
		{
			blanks++;
			continue;
		}
		n = 0;
		if (boundary)
		{
			StringInfoData word;

			initStringInfo(&word);
			n = decode_word(&word, s);
			if (n > 0 && !lenient && s[n] != ' ' && s[n] != '\0')
				n = 0;
			if (n > 0)
			{
				if (!after_word)
					appendStringInfoSpaces(out, blanks);
				appendBinaryStringInfo(out, word.data, word.len);
				s += n - 1;
			}
			pfree(word.data);
		}
		if (n < 0)
			return false;
		if (n == 0)
		{
			appendStringInfoSpaces(out, blanks);
			appendStringInfoChar(out, *s);
		}
		after_word = n > 0;
		blanks = 0;
	}
	appendStringInfoSpaces(out, blanks);
	return true;
}

/*
 * Unfold "name: value CRLF" and take its value.  A lenient reader makes the
 * white space at a fold a single blank.
 */
static bool
unfold(StringInfo out, const char *field, const char *name, bool lenient)
{
	size_t		len = strlen(name);
	const char *s = field + len + 1;

	if (strncmp(field, name, len) != 0 || field[len] != ':')
		return false;
	while (strcmp(s, "\r\n") != 0)
	{
		if (*s == '\0')
			return false;
		if (s[0] == '\r')
		{
			if (s[1] != '\n' || s[2] != ' ')
				return false;
			s += 2;
			if (lenient)
			{
				while (s[1] == ' ')
					s++;
			}
		}
		else
			appendStringInfoChar(out, *s++);
	}
	if (out->len > 0)
	{
		if (out->data[0] != ' ')
			return false;
		memmove(out->data, out->data + 1, out->len--);
	}
	return true;
}

bool
decode_header(StringInfo out, const char *field, const char *name,
			  bool lenient)
{
	StringInfoData value;
	bool		good;

	initStringInfo(&value);
	good = unfold(&value, field, name, lenient) &&
		decode_text(out, value.data, lenient);
	pfree(value.data);
	return good;
}

/* Take a quoted-string's content */
static bool
decode_quoted(StringInfo out, const char *s)
{
	for (s++; *s != '"'; s++)
	{
		if (*s == '\\')
			s++;
		if (*s == '\0')
			return false;
		appendStringInfoChar(out, *s);
	}
	return s[1] == '\0';
}

/* Atoms and single blanks, or encoded-words, which look the same */
static bool
is_phrase(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"0123456789!#$%&'*+-/=?^_`{|}~ ")] == '\0' &&
		strstr(s, "  ") == NULL;
}

bool
decode_address(StringInfo display, StringInfo address, const char *field,
			   const char *name)
{
	StringInfoData value;
	char	   *angle;
	bool		good = false;

	initStringInfo(&value);
	if (unfold(&value, field, name, false))
	{
		for (angle = strstr(value.data, " <");
			 angle != NULL && strstr(angle + 1, " <") != NULL;)
			angle = strstr(angle + 1, " <");
		if (angle == NULL || value.data[value.len - 1] != '>')
		{
			appendStringInfoString(address, value.data);
			good = true;
		}
		else
		{
			appendBinaryStringInfo(address, angle + 2, strlen(angle) - 3);
			angle[0] = '\0';
			good = value.data[0] == '"' ?
				decode_quoted(display, value.data) :
				is_phrase(value.data) &&
				decode_text(display, value.data, false);
		}
	}
	pfree(value.data);
	return good;
}

/* Decode quoted-printable (RFC 2045 6.7), strictly */
static bool
decode_qp(StringInfo out, const char *s, size_t len)
{
	const char *end = s + len;

	if (longest_line(s, len) > 76)
		return false;
	while (s < end)
	{
		const char *stop = strstr(s, "\r\n");

		if (stop == NULL || (stop > s && (stop[-1] == ' ' || stop[-1] == '\t')))
			return false;
		if (*s == '.' || strncmp(s, "From ", 5) == 0)
			return false;
		for (; s < stop; s++)
		{
			if (*s != '=')
				appendStringInfoChar(out, *s);
			else if (s + 1 == stop)
				break;
			else if (s + 2 < stop && decode_q(out, s, 3))
				s += 2;
			else
				return false;
		}
		if (s == stop)
			appendStringInfoString(out, "\r\n");
		s = stop + 2;
	}
	return true;
}

/* Decode a base64 body: lines of 76, the last one shorter */
static bool
decode_base64_body(StringInfo out, const char *s, size_t len)
{
	StringInfoData joined;
	const char *end = s + len;
	bool		good = true;

	initStringInfo(&joined);
	while (good && s < end)
	{
		const char *stop = strstr(s, "\r\n");

		good = stop != NULL && (stop - s == 76 ||
								(stop - s < 76 && stop + 2 == end));
		if (good)
		{
			appendBinaryStringInfo(&joined, s, stop - s);
			s = stop + 2;
		}
	}
	good = good && decode_base64(out, joined.data, joined.len);
	pfree(joined.data);
	return good;
}

bool
decode_part(StringInfo out, const char *part, size_t len, const char *subtype,
			char *encoding)
{
	char		type[100];
	const char *body = strstr(part, "\r\n\r\n");
	size_t		body_len;

	snprintf(type, sizeof(type), "Content-Type: text/%s; charset=utf-8\r\n"
			 "Content-Transfer-Encoding: ", subtype);
	if (body == NULL || strncmp(part, type, strlen(type)) != 0)
		return false;
	part += strlen(type);
	snprintf(encoding, 20, "%.*s", (int) Min(body - part, 19), part);
	len -= body + 4 - part + strlen(type);
	body += 4;
	body_len = len;

	if (strcmp(encoding, "quoted-printable") == 0)
		return decode_qp(out, body, body_len);
	if (strcmp(encoding, "base64") == 0)
		return decode_base64_body(out, body, body_len);
	appendBinaryStringInfo(out, body, body_len);
	return strcmp(encoding, "7bit") == 0;
}

/* What a server keeps of the DATA it was sent; the dot only at the end */
bool
decode_wire(StringInfo out, const char *wire, size_t len)
{
	size_t		i;
	bool		line_start = true;

	for (i = 0; i < len; i++)
	{
		if (line_start && wire[i] == '.')
		{
			if (i + 3 == len)
				return memcmp(wire + i, ".\r\n", 3) == 0;
			if (wire[++i] == '\r')
				return false;
		}
		appendStringInfoChar(out, wire[i]);
		line_start = wire[i] == '\n' && i > 0 && wire[i - 1] == '\r';
	}
	return false;
}

/* CRLF only, no NUL, no line over 998, perhaps no byte over 126 */
bool
is_clean_wire(const char *text, size_t len, bool ascii)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == '\0' || (ascii && c > 126) ||
			(c == '\n' && (i == 0 || text[i - 1] != '\r')) ||
			(c == '\r' && (i + 1 == len || text[i + 1] != '\n')))
			return false;
	}
	return len >= 2 && text[len - 1] == '\n' && longest_line(text, len) <= 998;
}

int
longest_line(const char *text, size_t len)
{
	size_t		i;
	int			n = 0;
	int			longest = 0;

	for (i = 0; i < len; i++)
	{
		n++;
		if (text[i] == '\n')
			n = 0;
		else if (text[i] != '\r')
			longest = Max(longest, n);
	}
	return longest;
}

/* What a reader gets of a header value: each run of controls one space */
void
expected_header(StringInfo out, const char *value)
{
	bool		control = false;

	for (; *value != '\0'; value++)
	{
		unsigned char c = (unsigned char) *value;
		bool		c1 = c == 0xC2 && (unsigned char) value[1] < 0xA0;

		if (c < 32 || c == 127 || c1)
		{
			if (!control)
				appendStringInfoChar(out, ' ');
			control = true;
			value += c1;
			continue;
		}
		control = false;
		appendStringInfoChar(out, *value);
	}
}

/* What a reader gets of a body: lines that end with CRLF, the last one too */
void
expected_body(StringInfo out, const char *body, size_t len)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		if (body[i] == '\r' || body[i] == '\n')
		{
			appendStringInfoString(out, "\r\n");
			if (body[i] == '\r' && i + 1 < len && body[i + 1] == '\n')
				i++;
		}
		else
			appendStringInfoChar(out, body[i]);
	}
	if (len > 0 && body[len - 1] != '\r' && body[len - 1] != '\n')
		appendStringInfoString(out, "\r\n");
}
