/*-------------------------------------------------------------------------
 *
 * report.c
 *	  mailman_report(): a page about a letter.
 *
 * All that is counted, the tables count, in one snapshot and with constant
 * SQL as the extension's owner; what comes here is a few dozen rows, however
 * many recipients there are.  report_html.c makes the page.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "report.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_report);

static void
report_load_title(Report *r)
{
	static Statement load = {
		.sql = "SELECT l.subject, n.name, l.state, l.state_reason, l.doubts,"
		" to_char(now(), 'YYYY-MM-DD HH24:MI:SS TZ')"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(r->letter_id)};
	char	   *reason;

	if (statement_look(&load, values, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("letter " INT64_FORMAT " does not exist",
						r->letter_id)));
	r->subject = row_text(0, 1);
	r->newsletter = row_text(0, 2);
	r->state = row_text(0, 3);
	reason = row_text(0, 4);
	r->state_reason = reason ? report_mask(reason, NULL) : NULL;
	r->doubts = row_int64(0, 5, 0);
	r->made_at = row_text(0, 6);
}

/*
 * mailman_report(letter_id bigint) RETURNS text
 *
 * HTML 5 in UTF-8, well-formed as XML too, of less than 300 kB; times are in
 * the time zone of the session.  ERROR 42704 if there is no such letter, 42501
 * if the caller is not a member of the newsletter's owner.
 */
Datum
mailman_report(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	ExtensionScope scope;
	Report	   *r;
	StringInfoData page;
	text	   *result;

	argument_check(fcinfo, 0, "letter_id");
	extension_enter_reading(&scope);
	letter_check_member(letter_find(PG_GETARG_INT64(0)), role);
	r = palloc0(sizeof(Report));
	r->letter_id = PG_GETARG_INT64(0);
	report_load_title(r);
	report_load_outcomes(r);
	report_load_mails(r);
	report_load_facts(r);
	initStringInfo(&page);
	report_render(&page, r);
	MemoryContextSwitchTo(caller);
	result = cstring_to_text_with_len(page.data, page.len);
	extension_leave(&scope);
	PG_RETURN_TEXT_P(result);
}
