/*-------------------------------------------------------------------------
 *
 * field_check.c
 *	  CHECK constraints on what becomes a header field.
 *
 * The pure layer knows what is right; here it is asked when a row is written,
 * so that whoever writes it learns what is wrong, and not when a letter is
 * sent.  It is asked again then.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mailman.h"
#include "utils/builtins.h"

/* No field is longer, nor has a letter as many, or all of them as much text */
#define VALUE_MAX	(64 * 1024)
#define HEADERS_MAX	100
#define HEADERS_SIZE_MAX	(1024 * 1024)

PG_FUNCTION_INFO_V1(mailman_check_value);
PG_FUNCTION_INFO_V1(mailman_check_headers);

static const struct
{
	const char *what;
	bool		(*is_valid) (const char *value, const char **why);
}			value_checks[] = {
	{"list_id", list_id_is_valid},
	{"feedback_id", feedback_id_is_valid},
	{"bounce_address", verp_has_room},
	{"dkim_domain", dkim_name_is_valid},
	{"dkim_selector", dkim_name_is_valid},
	{"content_type", mime_type_is_valid},
	{"content_id", mime_content_id_is_valid}
};

/* mailman.check_value(value, what): true, or ERROR 23514 */
Datum
mailman_check_value(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *what = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *why = "It is longer than 64 kB.";
	size_t		i;

	for (i = 0; i < lengthof(value_checks); i++)
	{
		if (strcmp(value_checks[i].what, what) == 0)
			break;
	}
	if (i == lengthof(value_checks))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing is known about the values of \"%s\"", what)));
	if (strlen(value) > VALUE_MAX || !value_checks[i].is_valid(value, &why))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"%s\" is not a valid %s",
						text_shown(value, strlen(value)), what),
				 errdetail("%s", why)));
	PG_RETURN_BOOL(true);
}

/* One member of letter.headers */
static void
check_header(const char *name, const JsonbValue *value)
{
	const char *why;

	if (!header_name_is_allowed(name, &why))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"%s\" cannot be a header field of a letter",
						text_shown(name, strlen(name))),
				 errdetail("%s", why),
				 errhint("Addresses, list and signature come from the columns of mailman.newsletter.")));
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("the value of header field \"%s\" must be a string",
						name),
				 errhint("It is a template: {\"X-Campaign\": \"{{data.campaign}}\"}.")));
}

/* mailman.check_headers(jsonb): true, or ERROR 23514 */
Datum
mailman_check_headers(PG_FUNCTION_ARGS)
{
	Jsonb	   *headers = PG_GETARG_JSONB_P(0);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *names = NIL;
	ListCell   *cell;

	/* Another constraint has something to say about that */
	if (!JB_ROOT_IS_OBJECT(headers))
		PG_RETURN_BOOL(true);
	if (JB_ROOT_COUNT(headers) > HEADERS_MAX ||
		VARSIZE(headers) > HEADERS_SIZE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("the header fields of a letter are too many or too long"),
				 errdetail("There are %u with %u bytes; at most %d with %d.",
						   JB_ROOT_COUNT(headers), VARSIZE(headers),
						   HEADERS_MAX, HEADERS_SIZE_MAX)));
	iterator = JsonbIteratorInit(&headers->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		JsonbIteratorNext(&iterator, &value, true);
		check_header(name, &value);
		foreach(cell, names)
		{
			if (pg_strcasecmp(lfirst(cell), name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_CHECK_VIOLATION),
						 errmsg("header fields \"%s\" and \"%s\" are the same",
								(char *) lfirst(cell), name),
						 errdetail("Upper and lower case make no difference.")));
		}
		names = lappend(names, name);
	}
	PG_RETURN_BOOL(true);
}
