/*-------------------------------------------------------------------------
 *
 * mime_part.c
 *	  Attachments and inline parts (RFC 2045, 2183, 2392), and parameters of
 *	  any length and script (RFC 2231).
 *
 * A file must arrive as it was given, byte by byte.  So it goes out in
 * base64, unless it is text all of whose lines end with CRLF already: that is
 * what text looks like on the wire (RFC 2046 4.1.1), and then mime_body.c's
 * encodings change nothing either, and people can read it.
 *
 * What is written here depends on the letter alone: render.c has it made once
 * and copies it behind each recipient's own text.  Like every part of ours it
 * has no line that begins with "--=_", so no boundary can occur in it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mb/pg_wchar.h"
#include "mime.h"

#define LINE_GOOD	76
#define TYPE_MAX	200			/* of a media type with its parameters */
#define ID_MAX		200

/* RFC 2045 5.1: printable ASCII but space and tspecials */
static inline bool
is_token_char(unsigned char c)
{
	return c > ' ' && c < 0x7F && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* RFC 2231 7: may stand in an extended value; and nobody quotes it */
static inline bool
is_plain_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || (c != '\0' && strchr("-._~", c) != NULL);
}

static const char *
skip_token(const char *s)
{
	while (is_token_char((unsigned char) *s))
		s++;
	return s;
}

static const char *
skip_blanks(const char *s)
{
	while (*s == ' ')
		s++;
	return s;
}

/* The end of a token or quoted-string, or s itself if there is none */
static const char *
skip_value(const char *s)
{
	const char *p = s + 1;

	if (*s != '"')
		return skip_token(s);
	while (*p != '"')
	{
		if (*p == '\\')
			p++;
		if ((unsigned char) *p < ' ' || (unsigned char) *p >= 0x7F)
			return s;
		p++;
	}
	return p + 1;
}

/* The fault of the parameters of a media type, from the first ";" on */
static const char *
type_parameters_fault(const char *s)
{
	while (*s != '\0')
	{
		const char *name;
		const char *end;

		if (*s != ';')
			return "Behind the media type there is something that is no parameter.";
		name = skip_blanks(s + 1);
		end = skip_token(name);
		if (end == name || *end != '=')
			return "A parameter of the media type has no name or no value.";
		if (end - name >= 4 && pg_strncasecmp(name, "name", 4) == 0 &&
			(end - name == 4 || name[4] == '*'))
			return "The parameter \"name\" is written by mailman, from the file's name.";
		s = skip_value(end + 1);
		if (s == end + 1)
			return "A parameter of the media type has no value, or one to be quoted.";
		s = skip_blanks(s);
	}
	return NULL;
}

/* see pure.h */
bool
mime_type_is_valid(const char *type, const char **why)
{
	const char *slash = skip_token(type);
	const char *end = *slash == '/' ? skip_token(slash + 1) : slash;

	if (slash == type || end <= slash + 1)
		*why = "A media type has the form \"type/subtype\".";
	else if (strlen(type) > TYPE_MAX)
		*why = "The media type is longer than 200 characters.";
	else if (pg_strncasecmp(type, "multipart/", 10) == 0)
		*why = "An attachment is one part, not a \"multipart\".";
	else if (pg_strncasecmp(type, "message/", 8) == 0)
		/* RFC 2046 5.2.1: not to be encoded */
		*why = "A \"message\" cannot be encoded; use application/octet-stream.";
	else
		return (*why = type_parameters_fault(skip_blanks(end))) == NULL;
	return false;
}

/* see pure.h */
bool
mime_content_id_is_valid(const char *id, const char **why)
{
	const char *s;
	int			ats = 0;

	for (s = id; *s != '\0'; s++)
	{
		unsigned char c = (unsigned char) *s;

		ats += c == '@';
		if ((c == '.' || c == '@') &&
			(s == id || s[1] == '\0' || s[1] == '.' || s[1] == '@'))
			break;
		if (!is_plain_char(c) && c != '@' && c != '+')
			break;
	}
	if (*s == '\0' && s > id && ats <= 1 && s - id <= ID_MAX)
		return true;
	*why = "A content id is up to 200 letters, digits and characters of \"-._~+\", with at most one \"@\" inside.";
	return false;
}

/* How long a character of n bytes gets */
static inline int
parameter_cost(const char *s, int n, bool extended)
{
	return !extended || is_plain_char((unsigned char) *s) ? n : 3 * n;
}

/*
 * Append as many whole characters as there is room for, percent-encoded if
 * extended; returns what is left.
 */
static const char *
parameter_piece(StringInfo out, const char *value, const char *end,
				bool extended, int room)
{
	while (value < end)
	{
		int			n = Min(pg_utf_mblen((const unsigned char *) value),
							(int) (end - value));
		bool		plain = is_plain_char((unsigned char) *value);

		room -= parameter_cost(value, n, extended);
		if (room < 0)
			break;
		for (; n > 0; n--, value++)
		{
			if (extended && !plain)
				appendStringInfo(out, "%%%02X", (unsigned char) *value);
			else
				appendStringInfoChar(out, *value);
		}
	}
	return value;
}

/*
 * see mime.h
 *
 * Quotes and backslashes are percent-encoded rather than escaped, which some
 * readers undo wrongly; what looks like an encoded-word, too, as many decode
 * it within quotes, against RFC 2047 5 (3).
 */
void
mime_append_parameter(StringInfo out, const char *name, const char *value)
{
	size_t		len = strlen(value);
	char	   *clean = mime_clean(value, &len);
	const char *end = clean + len;
	const char *rest = clean;
	int			room = LINE_GOOD - 1 - (int) strlen(name);
	bool		extended = strstr(clean, "=?") != NULL;
	size_t		cost = 0;
	const char *s;
	int			part;

	for (s = clean; s < end; s++)
		extended = extended || (unsigned char) *s >= 0x80 || *s == '"' ||
			*s == '\\';
	for (s = clean; s < end; s++)
		cost += parameter_cost(s, 1, extended);
	if (!extended && (int) (cost + strlen("=\"\";")) <= room)
		appendStringInfo(out, ";\r\n %s=\"%s\"", name, clean);
	else if (extended && (int) (cost + strlen("*=utf-8'';")) <= room)
	{
		appendStringInfo(out, ";\r\n %s*=utf-8''", name);
		parameter_piece(out, clean, end, true, room);
	}
	else
	{
		for (part = 0; rest < end; part++)
		{
			int			start = out->len + strlen(";\r\n");

			appendStringInfo(out, ";\r\n %s*%d%s", name, part, !extended ?
							 "=\"" : part == 0 ? "*=utf-8''" : "*=");
			rest = parameter_piece(out, rest, end, extended,
								   LINE_GOOD - (int) strlen("\";") -
								   (out->len - start));
			if (!extended)
				appendStringInfoChar(out, '"');
		}
	}
	pfree(clean);
}

/* Append "Content-Type: type; parameters", a parameter on each line */
static void
part_type(StringInfo out, const char *type)
{
	const char *s = skip_token(skip_token(type) + 1);

	appendStringInfoString(out, "Content-Type: ");
	appendBinaryStringInfo(out, type, (int) (s - type));
	while (*(s = skip_blanks(s)) == ';')
	{
		const char *name = skip_blanks(s + 1);

		s = skip_value(skip_token(name) + 1);
		appendBinaryStringInfo(out, ";\r\n ", 4);
		appendBinaryStringInfo(out, name, (int) (s - name));
	}
}

/* Is it text that the wire carries as it is, every line with its CRLF? */
static bool
is_wire_text(Work *work, const char *type, const char *content, size_t len)
{
	const char *end = content + len;
	const char *s = content;
	const char *counted = content;

	if (pg_strncasecmp(type, "text/", 5) != 0 || len < 2 ||
		memcmp(end - 2, "\r\n", 2) != 0 || memchr(content, '\0', len) != NULL)
		return false;
	while (s < end)
	{
		const char *lf = memchr(s, '\n', end - s);

		if (lf == s || memchr(s, '\r', end - s) != lf - 1)
			return false;
		s = lf + 1;
		if (s - counted < WORK_SLICE)
			continue;
		/* if no work is left, what encodes it finds out */
		(void) work_bytes(work, s - counted);
		counted = s;
	}
	return true;
}

/* see pure.h */
bool
mime_attachment(Work *work, StringInfo out, const Attachment *file,
				const char **why)
{
	Work		own;

	if (!mime_type_is_valid(file->content_type, why) ||
		(file->content_id != NULL &&
		 !mime_content_id_is_valid(file->content_id, why)))
		return false;

	*why = "It is too large.";
	work = work_given(work, &own);
	if (file->len > work->room)
		return !(work->full = true);
	append_reserve(out, file->len / 57 * 78 + 1024);
	part_type(out, file->content_type);
	if (file->name[0] != '\0')
		mime_append_parameter(out, "name", file->name);
	appendStringInfo(out, "\r\nContent-Disposition: %s",
					 file->content_id ? "inline" : "attachment");
	if (file->name[0] != '\0')
		mime_append_parameter(out, "filename", file->name);
	appendBinaryStringInfo(out, "\r\n", 2);
	if (file->content_id != NULL)
		appendStringInfo(out, "Content-ID: <%s>\r\n", file->content_id);

	if (is_wire_text(work, file->content_type, file->content, file->len))
		return mime_text_body(work, out, file->content, file->len);
	appendStringInfoString(out, "Content-Transfer-Encoding: base64\r\n\r\n");
	return mime_append_base64(work, out, file->content, file->len);
}
