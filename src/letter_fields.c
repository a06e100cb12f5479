/*-------------------------------------------------------------------------
 *
 * letter_fields.c
 *	  What a letter carries beside its bodies: list fields, header fields of
 *	  its own, attachments, the signature.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* What a row of letter_load_fields() holds, from 1 */
enum
{
	COL_LIST_ID = 1, COL_MAILTO, COL_FEEDBACK_ID, COL_PRECEDENCE,
	COL_DKIM_DOMAIN, COL_DKIM_SELECTOR, COL_DKIM_KEY,
	COL_WRAPPED_BY, COL_HEADERS
};

/* letter.headers, which a CHECK has let in */
static void
letter_read_headers(Letter *letter, Jsonb *headers, const Partials *partials)
{
	RenderHeader *list = palloc0(sizeof(RenderHeader) *
								 Max(JB_ROOT_COUNT(headers), 1));
	JsonbIterator *iterator = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			count = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		JsonbIteratorNext(&iterator, &value, true);
		if (value.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("header field \"%s\" of letter " INT64_FORMAT " is no string",
							name, letter->id)));
		list[count].name = name;
		list[count++].value = letter_parse(letter,
										   psprintf("header field \"%s\"", name),
										   pnstrdup(value.val.string.val,
													value.val.string.len),
										   partials);
	}
	letter->render.headers = list;
	letter->render.nheaders = count;
}

/* OpenSSL's memory goes with the letter's */
static void
letter_free_key(void *key)
{
	dkim_key_free(key);
}

/* The key, if the newsletter signs at all */
static void
letter_read_dkim(Letter *letter, const char *domain, const char *selector,
				 const char *pem)
{
	MemoryContextCallback *callback;
	DkimSigner *signer;
	char	   *why;

	if (domain == NULL)
		return;
	if (pem == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("newsletter " INT64_FORMAT " has no DKIM key",
						letter->newsletter_id),
				 errdetail("Its dkim_domain is \"%s\", its dkim_selector \"%s\".",
						   domain, selector),
				 errhint("Set one with mailman_set_dkim_key(), or set dkim_domain and dkim_selector to null.")));
	callback = palloc0(sizeof(MemoryContextCallback));
	signer = palloc0(sizeof(DkimSigner));
	signer->domain = domain;
	signer->selector = selector;
	signer->key = dkim_key_load(pem, &why);
	if (signer->key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the DKIM key of newsletter " INT64_FORMAT " cannot be used",
						letter->newsletter_id),
				 errdetail("%s", why)));
	callback->func = letter_free_key;
	callback->arg = signer->key;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	letter->render.dkim = signer;
}

/* The files, in the order of their ids */
static void
letter_load_attachments(Letter *letter)
{
	static Statement measure = {
		.sql = "SELECT coalesce(sum(length(content)), 0)"
		" FROM mailman.attachment WHERE letter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement load = {
		.sql = "SELECT name, content_type, content_id, content"
		" FROM mailman.attachment WHERE letter_id = $1 ORDER BY id",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};
	Attachment *files;
	uint64		count;
	uint64		i;
	bool		isnull;

	statement_run(&measure, SPI_OK_SELECT, values, NULL);
	letter_check_files(letter, (size_t) row_int64(0, 1, 0), false);
	count = statement_run(&load, SPI_OK_SELECT, values, NULL);
	if (count == 0)
		return;
	files = palloc0(sizeof(Attachment) * count);
	for (i = 0; i < count; i++)
	{
		bytea	   *content = DatumGetByteaPCopy(row_datum(i, 4, &isnull));

		files[i].name = row_text(i, 1);
		files[i].content_type = row_text(i, 2);
		files[i].content_id = row_text(i, 3);
		files[i].content = VARDATA(content);
		files[i].len = VARSIZE(content) - VARHDRSZ;
	}
	letter->render.attachments = files;
	letter->render.nattachments = (int) count;
}

void
letter_load_fields(Letter *letter, const Partials *partials)
{
	static Statement load = {
		.sql = "SELECT n.list_id, n.unsubscribe_mailto, n.feedback_id,"
		" n.precedence, n.dkim_domain, n.dkim_selector, k.key,"
		" k.wrapped_by, l.headers"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" LEFT JOIN mailman.dkim_key k ON k.newsletter_id = n.id"
		" AND k.selector = n.dkim_selector"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};
	RenderLetter *render = &letter->render;
	char	   *sender_id;
	char	   *selector;
	Datum		key;
	Jsonb	   *headers;
	bool		isnull;

	if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "letter " INT64_FORMAT " is gone", letter->id);
	render->list_id = row_text(0, COL_LIST_ID);
	render->unsubscribe_mailto = row_text(0, COL_MAILTO);
	render->precedence = row_text(0, COL_PRECEDENCE);
	sender_id = row_text(0, COL_FEEDBACK_ID);
	if (sender_id != NULL)
		render->feedback_id = psprintf(INT64_FORMAT ":" INT64_FORMAT ":newsletter:%s",
									   letter->id, letter->newsletter_id,
									   sender_id);
	headers = DatumGetJsonbPCopy(row_datum(0, COL_HEADERS, &isnull));
	selector = row_text(0, COL_DKIM_SELECTOR);
	key = row_datum(0, COL_DKIM_KEY, &isnull);
	letter_read_dkim(letter, row_text(0, COL_DKIM_DOMAIN), selector,
					 isnull || selector == NULL ? NULL :
					 dkim_key_unwrap(letter->newsletter_id, selector,
									 DatumGetByteaPP(key),
									 row_text(0, COL_WRAPPED_BY)));
	letter_read_headers(letter, headers, partials);
	if (letter->files == NULL)
		letter_load_attachments(letter);
}

void
letter_free_attachments(Letter *letter)
{
	RenderLetter *render = &letter->render;
	int			i;

	for (i = 0; i < render->nattachments; i++)
		pfree(unconstify(char *, render->attachments[i].content) - VARHDRSZ);
	render->attachments = NULL;
	render->nattachments = 0;
}
