/*-------------------------------------------------------------------------
 *
 * letter_names.c
 *	  Tell whoever sends or previews a letter of names that mean nothing.
 *
 * The worker does not ask: what it could say is said when the letter goes
 * into the post, and a letter that is not strict is sent all the same.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"

static void
names_tell(const Letter *letter, const char *what, const TemplateError *fault,
		   int elevel)
{
	ereport(elevel,
			(errcode(elevel == ERROR ? ERRCODE_UNDEFINED_OBJECT :
					 ERRCODE_WARNING),
			 fault->partial ?
			 errmsg("partial \"%s\" of newsletter " INT64_FORMAT " names what no recipient of letter " INT64_FORMAT " has",
					fault->partial, letter->newsletter_id, letter->id) :
			 errmsg("%s of letter " INT64_FORMAT " names what no recipient has",
					what, letter->id),
			 errdetail("Line %d, column %d: %s.", fault->line, fault->column,
					   fault->message),
			 errhint("Write {{data.x}} for x of the subscription's data, {{variables.x}} for x of mailman_send()'s variables.")));
}

/* A section of nothing is no fault to a strict letter: it is just not shown */
static bool
names_check(const Letter *letter, const char *what, Template *tmpl,
			bool sends)
{
	TemplateError fault;
	bool		fine = true;

	if (!template_check_variables(&letter->render, tmpl, &fault))
	{
		names_tell(letter, what, &fault,
				   sends && letter->render.strict ? ERROR : WARNING);
		fine = false;
	}
	if (!template_check_sections(&letter->render, tmpl, &fault))
	{
		names_tell(letter, what, &fault, WARNING);
		fine = false;
	}
	return fine;
}

/* see letter.h */
bool
letter_check_names(const Letter *letter, bool sends)
{
	const RenderLetter *render = &letter->render;
	bool		fine;
	int			i;

	fine = names_check(letter, "subject", render->subject, sends);
	fine &= names_check(letter, "text_body", render->text_body, sends);
	fine &= names_check(letter, "html_body", render->html_body, sends);
	for (i = 0; i < render->nheaders; i++)
		fine &= names_check(letter, psprintf("header field \"%s\"",
											 render->headers[i].name),
							render->headers[i].value, sends);
	return fine;
}
