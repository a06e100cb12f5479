/*-------------------------------------------------------------------------
 *
 * partial.c
 *	  The templates of a letter, and the partials of its newsletter.
 *
 * Parsed when a letter is sent, previewed, and once per run of its worker.
 * A change of a partial counts for the letters that are in the post from
 * their worker's next turn on (see letter_mark.c), and is no new revision
 * of them: a partial belongs to the newsletter, as from_name does.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"

/* All of a newsletter's, in bytes: they are in memory, though few are needed */
#define PARTIALS_MAX	(32 * 1024 * 1024)

struct Partials
{
	TemplatePartial *list;
	int			count;
};

Partials *
partials_load(int64 newsletter_id)
{
	static Statement load = {
		.sql = "SELECT name, template FROM mailman.partial"
		" WHERE newsletter_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(newsletter_id)};
	uint64		rows = statement_run(&load, SPI_OK_SELECT, values, NULL);
	Partials   *partials = palloc(sizeof(Partials));
	size_t		size = 0;
	uint64		row;

	partials->count = (int) rows;
	partials->list = palloc0(sizeof(TemplatePartial) * Max(rows, 1));
	for (row = 0; row < rows; row++)
	{
		bool		isnull;
		Datum		source = row_datum(row, 2, &isnull);

		size += datum_size(source, isnull);
	}
	if (size > PARTIALS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the partials of newsletter " INT64_FORMAT " are too large",
						newsletter_id),
				 errdetail("They have %s, %s at most.", render_size(size),
						   render_size(PARTIALS_MAX))));
	for (row = 0; row < rows; row++)
	{
		TemplatePartial *partial = &partials->list[row];

		partial->name = row_text(row, 1);
		partial->source = row_text(row, 2);
		partial->len = strlen(partial->source);
	}
	template_sort_partials(partials->list, partials->count);
	return partials;
}

/* An ERROR that says what is wrong, and where */
static void
partials_refuse(const Letter *letter, const char *what,
				const TemplateError *error)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 error->partial ?
			 errmsg("partial \"%s\" of newsletter " INT64_FORMAT " is not a valid template",
					error->partial, letter->newsletter_id) :
			 errmsg("%s of letter " INT64_FORMAT " is not a valid template",
					what, letter->id),
			 errdetail("Line %d, column %d: %s.", error->line, error->column,
					   error->message),
			 errhint("Templates are Mustache: {{name}}, {{data.x}}, {{#data.list}}...{{/data.list}}, {{>partial}}.")));
}

Template *
letter_parse(const Letter *letter, const char *what, const char *source,
			 const Partials *partials)
{
	TemplateError error;
	Template   *tmpl;

	if (source == NULL || source[0] == '\0')
		return NULL;
	tmpl = template_parse(letter->render.work, source, strlen(source),
						  &error);
	if (tmpl == NULL ||
		!template_link(letter->render.work, tmpl, partials->list,
					   partials->count, &error))
		partials_refuse(letter, what, &error);
	return tmpl;
}
