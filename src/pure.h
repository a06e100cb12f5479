/*-------------------------------------------------------------------------
 *
 * pure.h
 *	  The pure layer: bytes in, bytes out.
 *
 * No SQL, no network, no clock, no settings; never ereport()s (palloc's
 * out-of-memory apart): what can be wrong with the input comes back as a
 * value.  Compiled into the extension and, with FRONTEND, into the unit test
 * and fuzz binaries.  All text is UTF-8; the SQL layer converts.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_PURE_H
#define MAILMAN_PURE_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "lib/stringinfo.h"

#include "piece.h"
#include "work.h"

/* ---- address.c: RFC 5321 4.1.2, RFC 6531, RFC 5890 ---- */

#define LOCAL_PART_MAX	64		/* octets, RFC 5321 4.5.3.1.1 */

/*
 * Is this an addr-spec we would mail?  dot-atom or quoted local part of at
 * most 64 octets (RFC 5321 4.5.3.1.1), a domain name of at least two labels
 * (no "localhost"), at most 254 octets in all, no address literal, no
 * comment, no encoded-word, no control or invisible character, and none that
 * Unicode says is no character; UTF-8 allowed in both halves (RFC 6531), domain
 * convertible by libidn2.  Else false, and
 * *why names the fault as a sentence for errdetail ("The domain part is
 * empty.").
 */
extern bool address_is_valid(const char *address, size_t len,
							 const char **why);

/*
 * Append the address as the envelope and headers carry it: the domain in
 * A-labels (IDNA2008 non-transitional), lower-cased; the local part
 * untouched.  *smtputf8 becomes true if the local part is not ASCII, else it
 * is left alone.  false with *why if invalid.
 */
extern bool address_to_wire(StringInfo out, const char *address, size_t len,
							bool *smtputf8, const char **why);

/* ---- template.c, template_link.c, template_render.c: Mustache ---- */

typedef struct Template Template;

typedef struct TemplateError
{
	const char *partial;		/* the partial it is in; NULL: the template */
	int			line;			/* from 1 */
	int			column;			/* from 1, in characters */
	char		message[160];	/* "unclosed tag, expected \"}}\"" */
} TemplateError;

/*
 * NULL with *error filled if the text is no template, or too much for work,
 * which may be NULL, as with the other functions.  The result is one chunk of
 * memory: pfree() frees it.
 */
extern Template *template_parse(Work *work, const char *source, size_t len,
								TemplateError *error);

typedef struct TemplatePartial
{
	const char *name;
	const char *source;
	size_t		len;
	Template   *tmpl;			/* NULL until a template needs it */
	struct TemplatePartial *next;	/* to be tied: template_link()'s own */
} TemplatePartial;

/* Put them in order: template_link() wants it */
extern void template_sort_partials(TemplatePartial *partials, int npartials);

/*
 * Tie each {{>name}} to its partial, and those of the partials; they are
 * parsed when they are first needed.  False with *error filled if there is
 * none of that name, or if it is no template, or if they are nested too deep
 * whatever the data.  To be called even if there are no partials.
 */
extern bool template_link(Work *work, Template *tmpl,
						  TemplatePartial *partials, int npartials,
						  TemplateError *error);

typedef enum TemplateKind
{
	TEMPLATE_NULL,				/* no value */
	TEMPLATE_STRING,
	TEMPLATE_SCALAR,			/* number or boolean */
	TEMPLATE_LIST,
	TEMPLATE_OBJECT
} TemplateKind;

typedef struct TemplateAccess TemplateAccess;

/*
 * A value, wherever it lives: a handle that is copied and never freed.  All
 * zeros is no value; of a string, access may be NULL.
 */
typedef struct TemplateNode
{
	TemplateKind kind;
	bool		truth;			/* does a section of it show? */
	int			len;			/* bytes of a string, items of a list */
	const void *data;			/* bytes of a string; else access knows */
	const TemplateAccess *access;
} TemplateNode;

/* How to look into lists and objects, and what else does not lie ready */
struct TemplateAccess
{
	/* Member of an object, or of a list by number; false if there is none */
	bool		(*get) (const TemplateNode *node, const char *key, size_t len,
						TemplateNode *member);

	/* Item i of a list, from 0; only asked for those there are */
	void		(*item) (const TemplateNode *list, int i, TemplateNode *item);

	/*
	 * Append what a variable shows of it, unescaped; not of strings.  False
	 * if that is too much, by work.  NULL for objects that show nothing.
	 */
	bool		(*append) (Work *work, const TemplateNode *node,
						   StringInfo out);
};

/* A string as a node; NULL: no value */
static inline void
template_string(TemplateNode *node, const char *value)
{
	node->kind = value ? TEMPLATE_STRING : TEMPLATE_NULL;
	node->len = value ? (int) strlen(value) : 0;
	node->truth = node->len > 0;
	node->data = value;
	node->access = NULL;
}

typedef enum TemplateMode
{
	TEMPLATE_PLAIN,				/* values as they are */
	TEMPLATE_HTML				/* & < > " ' escaped in {{name}} */
} TemplateMode;

/*
 * Append to out, at most work->room bytes.  The template must have been linked.
 * False with *error filled, and something in out, if a variable has no value
 * though strict, or if it does not come to an end: partials in partials, or
 * too much (work->full, work->spent).
 */
extern bool template_render(Work *work, const Template *tmpl,
							const TemplateNode *root, TemplateMode mode,
							bool strict, StringInfo out,
							TemplateError *error);

/* ---- mime_header.c, mime_body.c: RFC 5322, 2045, 2047, 6532 ---- */

/* "Sun, 22 Nov 2026 11:02:31 +0000" */
extern void mime_date(StringInfo out, int64 unix_seconds);

/*
 * "Name: value CRLF", unstructured (RFC 5322 2.2.1): RFC 2047 encoded-words
 * where the value is not printable ASCII, folded so that lines keep to 76
 * where possible and never exceed 998 octets; CR, LF, NUL and other controls
 * become one space, so that a value can never start a new header.
 */
extern void mime_header_text(StringInfo out, const char *name,
							 const char *value);

/*
 * "Name: display <address> CRLF", or "Name: address CRLF" if display is NULL
 * or empty; address is in wire form.  Atoms, quoted-string or encoded-words
 * as the display name needs.
 */
extern void mime_header_address(StringInfo out, const char *name,
								const char *display, const char *address);

/* "Name: value CRLF", value trusted (message ids, dates). */
extern void mime_header_raw(StringInfo out, const char *name,
							const char *value);

/*
 * The header fields and body of one text part: Content-Type (charset utf-8),
 * Content-Transfer-Encoding, blank line, body.  The encoding is chosen from
 * the content: 7bit if ASCII without long lines, quoted-printable if mostly
 * ASCII, base64 else.  Line ends of any kind become CRLF; ends with CRLF.
 * The result is always 7-bit with lines of at most 998 (encoded: 76) octets.
 * False, with something in out, if the text is too much for work: it would
 * have more than work->room octets, or no step is left.
 */
extern bool mime_text_part(Work *work, StringInfo out, const char *subtype,
						   const char *body, size_t len);

/* What the wire takes more, if no line begins with a dot; and a NUL */
#define MIME_WIRE_MORE	16

/*
 * Append the message as the wire carries it: dot-stuffed (RFC 5321 4.5.2) and
 * with the final dot line.  The message must be CRLF-normalised.
 */
extern void mime_wire(StringInfo out, const char *message, size_t len);

/* ---- mime_part.c: RFC 2183, 2231, 2392 ---- */

typedef struct Attachment
{
	const char *name;			/* of the file; may be empty */
	const char *content_type;	/* with parameters, if need be */
	const char *content_id;		/* NULL: attached, else inline as cid: */
	const char *content;
	size_t		len;
} Attachment;

/*
 * Append a part with its header fields.  false with *why (a sentence) if
 * content_type or content_id is invalid, or it is too much for work.
 */
extern bool mime_attachment(Work *work, StringInfo out,
							const Attachment *file, const char **why);

extern bool mime_type_is_valid(const char *type, const char **why);
extern bool mime_content_id_is_valid(const char *id, const char **why);

/* ---- mime_field.c: RFC 2919, 2369, 8058 ---- */

/* May a letter have a field of its own of this name?  Else *why, a sentence */
extern bool header_name_is_allowed(const char *name, const char **why);

/* "weekly.example.com", or "Our Weekly <weekly.example.com>" */
extern bool list_id_is_valid(const char *value, const char **why);
extern void mime_header_list_id(StringInfo out, const char *value);

/* Can it stand between the colons of Feedback-ID:? */
extern bool feedback_id_is_valid(const char *value, const char **why);

/* "mailto:address?subject=subject"; the address is in wire form */
extern void mailto_url(StringInfo out, const char *address,
					   const char *subject);

/*
 * List-Unsubscribe: with a URL, a mailto: URL or both, and with an HTTPS URL
 * List-Unsubscribe-Post:.  false with *why if the URL is none or too long.
 */
extern bool mime_header_unsubscribe(StringInfo out, const char *url,
									const char *mailto, const char **why);

/* ---- dkim_key.c, dkim.c: RFC 6376, 8301, 8463 ---- */

typedef struct DkimKey DkimKey;

/*
 * Read a private key in PEM; NULL with *why, a sentence.  It is OpenSSL's
 * memory: dkim_key_free() it.
 */
extern DkimKey *dkim_key_load(const char *pem, char **why);
extern void dkim_key_free(DkimKey *key);

/* Bits of an RSA key that are fewer than RFC 8301 wants; 0: it is strong */
extern int	dkim_key_weak_bits(const DkimKey *key);

/* Append the TXT record to publish: "v=DKIM1; k=rsa; p=..." */
extern bool dkim_key_record(StringInfo out, const DkimKey *key);

/* Can it stand as domain or selector? */
extern bool dkim_name_is_valid(const char *name, const char **why);

typedef struct DkimSigner
{
	DkimKey    *key;
	const char *domain;			/* in A-labels */
	const char *selector;
} DkimSigner;

/*
 * Append the field DKIM-Signature: of a message that is CRLF-normalised, in
 * pieces that begin where lines do; the first holds all of the header.
 * Deterministic.  false if OpenSSL fails or no work is left.
 */
extern bool dkim_sign(Work *work, StringInfo out, const DkimSigner *signer,
					  int64 date, const Piece *pieces, int count);

/* ---- render.c: one recipient's message ---- */

typedef struct RenderFixed RenderFixed;
typedef struct RenderFiles RenderFiles;

/* A header field of the letter's own; its name is allowed */
typedef struct RenderHeader
{
	const char *name;
	Template   *value;			/* NULL: empty */
} RenderHeader;

/* What is the same for every recipient; templates parsed once. */
typedef struct RenderLetter
{
	int64		letter_id;
	int64		newsletter_id;
	const char *unsubscribe_url;	/* with {{token}} in it; may be NULL */
	const char *from_name;		/* may be NULL */
	const char *from_address;
	const char *reply_to;		/* may be NULL */
	const char *return_path;	/* envelope sender, perhaps with {{verp}} in
								 * it; NULL: from_address */
	Template   *subject;
	Template   *text_body;		/* either body may be NULL */
	Template   *html_body;
	bool		strict;			/* a variable without value is an error */
	TemplateNode newsletter;	/* what {{newsletter.x}} and {{letter.x}} */
	TemplateNode letter;		/* find */
	const uint8 *secret;		/* of the newsletter, its latest */
	size_t		secret_len;
	const uint8 *first_secret;	/* which makes Message-IDs; NULL: the same */
	size_t		first_secret_len;
	const char *list_id;		/* the following may all be NULL, or 0 */
	const char *unsubscribe_mailto;
	const char *feedback_id;
	const char *precedence;
	const RenderHeader *headers;
	int			nheaders;
	const Attachment *attachments;	/* needed by render_encode() only */
	int			nattachments;
	const RenderFiles *files;	/* from render_encode(), or NULL: then
								 * render_prepare() sees to it */
	const DkimSigner *dkim;
	size_t		max_size;		/* octets a message may have; 0: as many as
								 * there is room for */
	const char *max_size_of;	/* what says so */
	Work	   *work;			/* where it is counted; or NULL */
	const RenderFixed *fixed;	/* from render_prepare(), or NULL: then it is
								 * worked out again for every message */
} RenderLetter;

typedef struct RenderRecipient
{
	int64		subscription_id;
	const char *email;
	const char *name;			/* may be NULL */
	int64		date;			/* Unix seconds, for Date: */
	TemplateNode data;			/* of the subscription */
	TemplateNode variables;		/* of the delivery */
	const char *unsubscribe_url;	/* theirs; NULL: there is none */
	int64		test_id;		/* not 0: a marked copy of what they get, */
	const char *test_address;	/* which goes there */
	const char *fault;			/* why no mail can be made; or NULL */
} RenderRecipient;

typedef struct Rendered
{
	StringInfoData message;		/* its own bytes, without the files */
	Piece	   *files;			/* the letter's, encoded, in their order; */
	int		   *files_at;		/* behind so many of its own bytes each */
	int			nfiles;
	size_t		size;			/* of the whole message */
	char	   *subject;		/* as a reader sees it, UTF-8 */
	char	   *message_id;		/* with angle brackets */
	char	   *mail_from;		/* wire form */
	char	   *rcpt_to;		/* wire form */
	bool		smtputf8;
	const char *error;			/* when render_message() returned false */
} Rendered;

/*
 * Encode the attachments, which all mails of the letter have in common: their
 * pieces are those in the result, and live as long.  NULL with *error if one
 * of them is invalid.
 */
extern RenderFiles *render_encode(const RenderLetter *letter,
								  const char **error);

/*
 * Work out what depends on the letter alone; the caller puts it into
 * letter->fixed.  NULL with *error if one of the letter's own addresses is
 * invalid, or another of its fields is, which so shows before it is counted
 * against a recipient.
 */
extern RenderFixed *render_prepare(const RenderLetter *letter,
								   const char **error);

/*
 * Build the message.  Deterministic: the same input gives the same bytes
 * (Message-ID and boundary are cut from an HMAC-SHA-256 of the letter and
 * subscription ids under the secret).  Allocates in CurrentMemoryContext.
 */
extern bool render_message(const RenderLetter *letter,
						   const RenderRecipient *recipient,
						   Rendered *result);

/* What every message of the letter has at least: the files, and some fields */
extern size_t render_fixed_size(const RenderFixed *fixed);

/* "25 MB" */
extern char *render_size(size_t bytes);

/* ---- rendered.c: a message and its pieces ---- */

/* So many pieces has a message, and what the wire carries of it */
#define RENDERED_PIECES(rendered) (2 * (rendered)->nfiles + 1)

/* The message in pieces: its own bytes and the letter's files */
extern void rendered_pieces(const Rendered *rendered, Piece *pieces);

/* What the wire carries, in pieces: what is its own is made in out */
extern void rendered_wire(const Rendered *rendered, StringInfo out,
						  Piece *pieces);

/* ---- template_names.c ---- */

/*
 * Does a template of the letter name, outside of sections, what never has a
 * value, as a variable or as a section?  Then false, with *error filled.
 * Each partial is looked at once for all templates of the letter.
 */
extern bool template_check_variables(const RenderLetter *letter,
									 Template *tmpl, TemplateError *error);
extern bool template_check_sections(const RenderLetter *letter,
									Template *tmpl, TemplateError *error);

#endif							/* MAILMAN_PURE_H */
