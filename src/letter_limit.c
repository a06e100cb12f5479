/*-------------------------------------------------------------------------
 *
 * letter_limit.c
 *	  How much a letter and its recipients may be.
 *
 * Those who write letters and subscriptions need not be those who run the
 * server.  So a mail has a greatest size, and what it is made of is no larger:
 * that is looked at before a value is fetched from where it is stored, so that
 * it never is in memory.
 *
 * The pure layer counts what it does (work.c) and calls back: here is where
 * interrupts are heard then.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "mailman.h"
#include "miscadmin.h"

/*
 * Between two steps of rendering.  It may throw: what rendering holds is memory
 * of the server's.
 */
static void
letter_pulse(void)
{
	CHECK_FOR_INTERRUPTS();
}

/* see letter.h */
void
letter_limit(Letter *letter)
{
	RenderLetter *render = &letter->render;
	size_t		most = (size_t) mailman_max_message_size * 1024;
	bool		own = letter->max_message_size > 0 &&
		(size_t) letter->max_message_size < most;

	render->max_size = own ? (size_t) letter->max_message_size : most;
	render->max_size_of = own ? "newsletter.max_message_size" :
		"mailman.max_message_size";
	if (render->work == NULL)
		work_begin(&letter->work, WORK_STEPS_MAX, letter_pulse);
	render->work = &letter->work;
}

/* see letter.h */
size_t
datum_size(Datum value, bool isnull)
{
	return isnull ? 0 : toast_raw_datum_size(value) - VARHDRSZ;
}

/* see letter.h */
char *
letter_data_fault(const Letter *letter, size_t size)
{
	const RenderLetter *render = &letter->render;

	if (size <= render->max_size)
		return NULL;
	return psprintf("data and variables have %s, more than %s (%s)",
					render_size(size), render_size(render->max_size),
					render->max_size_of);
}

/* see letter.h */
void
letter_check_column(const Letter *letter, const char *what, uint64 row,
					int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);
	size_t		size = datum_size(value, isnull);

	if (size > letter->render.max_size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s of letter " INT64_FORMAT " is too large", what,
						letter->id),
				 errdetail("It has %s; a mail may have %s (%s).",
						   render_size(size),
						   render_size(letter->render.max_size),
						   letter->render.max_size_of)));
}

/* see letter.h */
void
letter_check_files(const Letter *letter, size_t size, bool encoded)
{
	if (size <= letter->render.max_size)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the attachments of letter " INT64_FORMAT " are too large",
					letter->id),
			 errdetail("They have %s%s; a mail may have %s (%s).",
					   render_size(size), encoded ? " as a mail carries them" :
					   "", render_size(letter->render.max_size),
					   letter->render.max_size_of),
			 errhint("Send a link instead, or raise the limit.")));
}
