/*-------------------------------------------------------------------------
 *
 * fuzz_field.c
 *	  Fuzz target: values that stand in a field only if they are fit for it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/pure_test.h"

#include "fuzz.h"

/* One field of printable ASCII */
static void
check_field(const StringInfoData *field)
{
	const char *s = strstr(field->data, "\r\n");

	CHECK(s != NULL && is_clean_wire(field->data, field->len, true));
	for (; s[2] != '\0'; s = strstr(s + 2, "\r\n"))
		CHECK(s[2] == ' ');
}

static void
check_file(const char *type, const char *id)
{
	Attachment	file = {"a.txt", type, id, "x\r\n", 3};
	StringInfoData part;
	const char *body;
	const char *why;

	initStringInfo(&part);
	CHECK(mime_attachment(NULL, &part, &file, &why));
	CHECK(is_clean_wire(part.data, part.len, true));
	body = strstr(part.data, "\r\n\r\n");
	CHECK(body != NULL && strstr(body + 4, "\r\n\r\n") == NULL);
	pfree(part.data);
}

static void
check_unsubscribe(const char *url)
{
	StringInfoData field;
	const char *why = NULL;
	const char *post;

	initStringInfo(&field);
	if (mime_header_unsubscribe(&field, url, "mailto:a@b.example", &why))
	{
		post = strstr(field.data, "\r\nList-Unsubscribe-Post: ");
		if (post != NULL)
		{
			field.len = post + 2 - field.data;
			field.data[field.len] = '\0';
		}
		check_field(&field);
		CHECK(strstr(field.data, "<mailto:a@b.example>") != NULL);
	}
	else
		CHECK(why != NULL);
	pfree(field.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	StringInfoData field;
	const char *why = NULL;
	char	   *text;
	bool		valid = false;

	if (size < 1)
		return 0;
	text = pnstrdup((const char *) bytes + 1, size - 1);
	initStringInfo(&field);
	switch (bytes[0] % 8)
	{
		case 0:
			if ((valid = list_id_is_valid(text, &why)))
				mime_header_list_id(&field, text);
			break;
		case 1:
			if ((valid = header_name_is_allowed(text, &why)))
				mime_header_text(&field, text, "x");
			break;
		case 2:
			if ((valid = mime_type_is_valid(text, &why)))
				check_file(text, NULL);
			break;
		case 3:
			if ((valid = mime_content_id_is_valid(text, &why)))
				check_file("image/png", text);
			break;
		case 4:
			if ((valid = feedback_id_is_valid(text, &why)))
				mime_header_raw(&field, "Feedback-ID", text);
			break;
		case 5:
			if ((valid = dkim_name_is_valid(text, &why)))
				mime_header_raw(&field, "X-Domain", text);
			break;
		case 6:
			valid = (why = unsubscribe_url_fault(text)) == NULL;
			break;
		case 7:
			check_unsubscribe(text);
			valid = true;
			break;
	}
	CHECK(valid || (why != NULL && why[0] != '\0'));
	if (field.len > 0)
		check_field(&field);
	pfree(field.data);
	pfree(text);
	return 0;
}
