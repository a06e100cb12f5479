/*-------------------------------------------------------------------------
 *
 * letter.c
 *	  A letter and its newsletter: what is the same for every recipient.
 *
 * Loaded by mailman_send() to see that the letter can be sent before anything
 * is queued, by mailman_preview(), and by the worker once per run: content
 * does not change while a letter is being sent.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* What a row of letter_load() holds, from 1 */
enum
{
	COL_NEWSLETTER = 1, COL_STATE, COL_OWNER, COL_SENDER, COL_RELAYS,
	COL_HAS_BODY, COL_HOLD, COL_REVISION, COL_MAX_ATTEMPTS, COL_MAX_AGE,
	COL_SEND_AT, COL_RESUMED_AT, COL_UNBUILT, COL_RETRY_SCHEDULE
};

static List *
row_text_list(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			i;
	List	   *list = NIL;

	if (isnull)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		if (!nulls[i])
			list = lappend(list, TextDatumGetCString(elements[i]));
	}
	return list;
}

/* The newsletter's own schedule; a CHECK has let it in */
static void
letter_read_retry(Letter *letter)
{
	const char *hint;
	char	   *why;

	if (letter->retry_schedule == NULL)
		return;
	letter->retry = palloc(sizeof(RetrySchedule));
	if (!retry_schedule_parse(letter->retry_schedule, letter->retry, &why,
							  &hint))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("retry_schedule of newsletter " INT64_FORMAT " is none",
						letter->newsletter_id),
				 errdetail("%s", why)));
}

Letter *
letter_load(int64 letter_id)
{
	static Statement load = {
		.sql = "SELECT l.newsletter_id, l.state, n.owner::text, l.sender::text,"
		" n.relays,"
		" coalesce(l.text_body, '') <> '' OR coalesce(l.html_body, '') <> '',"
		" l.on_doubt = 'hold', l.revision::int8, n.max_attempts::int8,"
		" (extract(epoch FROM n.max_age) * 1000000)::int8, l.send_at,"
		" l.resumed_at,"
		" CASE WHEN n.policy IS NOT NULL THEN 'newsletter.policy'"
		" WHEN n.unsubscribe_url IS NOT NULL"
		" THEN 'newsletter.unsubscribe_url'"
		" WHEN l.strict THEN 'letter.strict' END,"
		" n.retry_schedule"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	Letter	   *letter;

	if (statement_run(&load, SPI_OK_SELECT, values, NULL) == 0)
		return NULL;
	letter = palloc0(sizeof(Letter));
	letter->id = letter_id;
	letter->newsletter_id = row_int64(0, COL_NEWSLETTER, 0);
	letter->state = row_text(0, COL_STATE);
	letter->owner = row_text(0, COL_OWNER);
	letter->sender = row_text(0, COL_SENDER);
	letter->relays = row_text_list(0, COL_RELAYS);
	letter->has_body = row_bool(0, COL_HAS_BODY);
	letter->hold = row_bool(0, COL_HOLD);
	letter->revision = (int) row_int64(0, COL_REVISION, 1);
	letter->max_attempts = (int) row_int64(0, COL_MAX_ATTEMPTS, 1);
	letter->max_age = row_int64(0, COL_MAX_AGE, 0);
	letter->send_at = row_int64(0, COL_SEND_AT, 0);
	letter->resumed_at = row_int64(0, COL_RESUMED_AT, 0);
	letter->unbuilt = row_text(0, COL_UNBUILT);
	letter->retry_schedule = row_text(0, COL_RETRY_SCHEDULE);
	letter_read_retry(letter);
	return letter;
}

/* The same; an ERROR if there is none */
Letter *
letter_find(int64 letter_id)
{
	Letter	   *letter = letter_load(letter_id);

	if (letter == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("letter " INT64_FORMAT " does not exist", letter_id),
				 errhint("Letters are rows of mailman.letter.")));
	return letter;
}

Template *
letter_parse(int64 letter_id, const char *what, const char *text)
{
	TemplateError error;
	Template   *tmpl;

	if (text == NULL || text[0] == '\0')
		return NULL;
	tmpl = template_parse(text, strlen(text), &error);
	if (tmpl == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s of letter " INT64_FORMAT " is not a valid template",
						what, letter_id),
				 errdetail("Line %d, column %d: %s.", error.line, error.column,
						   error.message),
				 errhint("Tags are {{name}}, {{email}}, {{data.x}} and {{variables.x}}.")));
	return tmpl;
}

/* The newsletter's secret, made at its first use */
static void
letter_load_secret(Letter *letter)
{
	static Statement make = {
		.sql = "INSERT INTO mailman.secret (newsletter_id, key) VALUES ($1, $2)"
		" ON CONFLICT DO NOTHING",
		.nargs = 2,
		.argtypes = {INT8OID, BYTEAOID}
	};
	static Statement get = {
		.sql = "SELECT key FROM mailman.secret WHERE newsletter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(letter->newsletter_id), 0};
	bool		isnull;
	bytea	   *key;

	if (statement_run(&get, SPI_OK_SELECT, values, NULL) == 0)
	{
		key = palloc(VARHDRSZ + 32);
		SET_VARSIZE(key, VARHDRSZ + 32);
		if (!pg_strong_random(VARDATA(key), 32))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a secret for newsletter " INT64_FORMAT,
							letter->newsletter_id)));
		values[1] = PointerGetDatum(key);
		extension_may_write();
		statement_run(&make, SPI_OK_INSERT, values, NULL);
		statement_run(&get, SPI_OK_SELECT, values, NULL);
	}
	if (SPI_processed != 1)
		elog(ERROR, "newsletter " INT64_FORMAT " has no secret",
			 letter->newsletter_id);
	key = DatumGetByteaPCopy(row_datum(0, 1, &isnull));
	letter->render.secret = (uint8 *) VARDATA(key);
	letter->render.secret_len = VARSIZE(key) - VARHDRSZ;
}

void
letter_load_content(Letter *letter)
{
	static Statement load = {
		.sql = "SELECT n.from_name, n.from_address, n.reply_to, n.bounce_address,"
		" l.subject, l.text_body, l.html_body"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};
	RenderLetter *render = &letter->render;
	const char *fault;

	if (!letter->has_body)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("letter " INT64_FORMAT " has no body", letter->id),
				 errhint("Set text_body, html_body or both.")));
	if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "letter " INT64_FORMAT " is gone", letter->id);
	render->letter_id = letter->id;
	render->from_name = row_text(0, 1);
	render->from_address = row_text(0, 2);
	render->reply_to = row_text(0, 3);
	render->return_path = row_text(0, 4);
	render->subject = letter_parse(letter->id, "subject", row_text(0, 5));
	render->text_body = letter_parse(letter->id, "text_body", row_text(0, 6));
	render->html_body = letter_parse(letter->id, "html_body", row_text(0, 7));
	letter_load_fields(letter);
	letter_load_secret(letter);
	render->fixed = render_prepare(render, &fault);
	if (render->fixed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("letter " INT64_FORMAT " cannot be rendered",
						letter->id),
				 errdetail("%s", fault)));
	letter_free_attachments(letter);
}

void
letter_check_member(const Letter *letter, Oid role)
{
	Oid			owner = get_role_oid(letter->owner, true);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("owner \"%s\" of newsletter " INT64_FORMAT " does not exist",
						letter->owner, letter->newsletter_id),
				 errhint("Set newsletter.owner to a role that exists.")));
	if (!has_privs_of_role(role, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for letter " INT64_FORMAT,
						letter->id),
				 errdetail("Role \"%s\" does not have the privileges of \"%s\", the owner of newsletter " INT64_FORMAT ".",
						   GetUserNameFromId(role, false), letter->owner,
						   letter->newsletter_id),
				 errhint("Let newsletter.owner be a role whose members may send.")));
}

void
letter_check_sendable(Letter *letter, Oid role)
{
	ListCell   *cell;

	if (letter->unbuilt != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("letter " INT64_FORMAT " uses %s, which this version of mailman does not honour yet",
						letter->id, letter->unbuilt),
				 errhint("Leave it empty.")));
	if (letter->relays == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("newsletter " INT64_FORMAT " of letter " INT64_FORMAT " has no relay",
						letter->newsletter_id, letter->id),
				 errhint("CREATE SERVER ... FOREIGN DATA WRAPPER mailman_smtp, and put its name into newsletter.relays.")));
	foreach(cell, letter->relays)
		relay_check(lfirst(cell), role);
	letter_load_content(letter);
}

/* Append a jsonb value as a template shows it; false if it shows nothing */
static bool
lookup_append(JsonbValue *value, StringInfo out)
{
	char	   *text;

	switch (value->type)
	{
		case jbvString:
			appendBinaryStringInfo(out, value->val.string.val,
								   value->val.string.len);
			return true;
		case jbvNumeric:
			appendStringInfoString(out,
								   DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
			return true;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			return true;
		case jbvBinary:
			text = JsonbToCString(NULL, value->val.binary.data,
								  value->val.binary.len);

			appendStringInfoString(out, text);
			return true;
		default:
			return false;
	}
}

/*
 * "data.x.y" or "variables.x.y": walk down the objects by key (lists by
 * number).
 */
bool
lookup_value(void *context, const char *name, size_t len, StringInfo value)
{
	LookupContext *lookup = context;
	char	   *path = pnstrdup(name, len);
	char	   *save = NULL;
	char	   *key = strtok_r(path, ".", &save);
	Jsonb	   *root = NULL;
	JsonbContainer *container;
	JsonbValue	found;

	if (key != NULL && strcmp(key, "data") == 0)
		root = lookup->data;
	else if (key != NULL && strcmp(key, "variables") == 0)
		root = lookup->variables;
	if (root == NULL)
		return false;
	container = &root->root;
	found.type = jbvBinary;
	found.val.binary.data = container;
	found.val.binary.len = VARSIZE(root) - VARHDRSZ;
	while ((key = strtok_r(NULL, ".", &save)) != NULL)
	{
		JsonbValue *next = NULL;

		if (found.type != jbvBinary)
			return false;
		container = found.val.binary.data;
		if (JsonContainerIsObject(container))
			next = getKeyJsonValueFromContainer(container, key, strlen(key),
												NULL);
		else if (JsonContainerIsArray(container) &&
				 strspn(key, "0123456789") == strlen(key) && strlen(key) < 10)
			next = getIthJsonbValueFromContainer(container, atoi(key));
		if (next == NULL)
			return false;
		found = *next;
	}
	return lookup_append(&found, value);
}

int64
letter_date(const Letter *letter, TimestampTz queued_at)
{
	TimestampTz when = Max(queued_at, letter->send_at);

	return timestamptz_to_time_t(when);
}
