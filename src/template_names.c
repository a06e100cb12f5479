/*-------------------------------------------------------------------------
 *
 * template_names.c
 *	  Names in a template that never have a value, whoever gets the letter.
 *
 * A misspelt {{frist_name}} is, to Mustache, an empty value.  Outside of
 * sections it is looked up in the letter's own object and nowhere else, and
 * what that has is known before there is any recipient.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "render.h"
#include "template.h"

/* Which ops are looked at, a bit each of Template.checked */
#define PASS_VARIABLES	1
#define PASS_SECTIONS	2

/* May it have a value?  root is what it is for nobody: no value, who knows. */
static bool
name_is_known(const Template *tmpl, const Op *op, const TemplateNode *root)
{
	const char *word = tmpl->source + op->start;
	const char *end = word + op->len;
	TemplateNode node = *root;
	uint32		dots;

	if (op->len == 1 && *word == '.')
		return true;
	for (dots = op->dots + 1; dots > 0; dots--)
	{
		TemplateNode in = node;
		const char *dot = dots > 1 ? memchr(word, '.', end - word) : end;

		if (in.kind == TEMPLATE_NULL)
			return true;
		if ((in.kind != TEMPLATE_OBJECT && in.kind != TEMPLATE_LIST) ||
			!in.access->get(&in, word, dot - word, &node))
			return false;
		word = dot + 1;
	}
	return true;
}

static bool
names_fail(const Template *tmpl, const Op *op, const char *sigil,
		   TemplateError *error)
{
	const char *name = tmpl->source + op->start;

	template_fault(error, tmpl->source, tmpl->len, op->tag,
				   "{{%s%.*s}} never has a value", sigil,
				   template_clip(name, op->len, 100), name);
	error->partial = tmpl->name;
	return false;
}

/*
 * One template, and what partials it names outside of sections: each once.
 * What is in an inverted section sees what is around it.
 */
static bool
names_check(Work *work, Template *tmpl, const TemplateNode *root, int pass,
			int depth, TemplateError *error)
{
	bool		sections = pass == PASS_SECTIONS;
	int			i;

	if ((tmpl->checked & pass) != 0 || depth > TEMPLATE_PARTIALS_DEEP)
		return true;
	tmpl->checked |= pass;
	for (i = 0; i < tmpl->nops; i++)
	{
		const Op   *op = &tmpl->ops[i];
		bool		section = op->kind == OP_SECTION ||
			op->kind == OP_INVERTED;

		/* if no work is left, that shows when it is rendered */
		(void) work_do(work, op->dots + 1);
		if (op->kind == OP_PARTIAL)
		{
			if (op->partial != NULL &&
				!names_check(work, op->partial, root, pass, depth + 1, error))
				return false;
		}
		else if (op->kind != OP_TEXT && section == sections &&
				 !name_is_known(tmpl, op, root))
			return names_fail(tmpl, op, !section ? "" :
							  op->kind == OP_SECTION ? "#" : "^", error);
		if (op->kind == OP_SECTION)
			i = op->end - 1;
	}
	return true;
}

static bool
names_check_letter(const RenderLetter *letter, Template *tmpl, int pass,
				   TemplateError *error)
{
	RenderRecipient nobody = {0};
	RenderContext context = {.letter = letter,.recipient = &nobody};
	TemplateNode root = render_context(&context);
	Work		own;

	return tmpl == NULL || names_check(work_given(letter->work, &own), tmpl,
									   &root, pass, 0, error);
}

/* see pure.h */
bool
template_check_variables(const RenderLetter *letter, Template *tmpl,
						 TemplateError *error)
{
	return names_check_letter(letter, tmpl, PASS_VARIABLES, error);
}

/* see pure.h */
bool
template_check_sections(const RenderLetter *letter, Template *tmpl,
						TemplateError *error)
{
	return names_check_letter(letter, tmpl, PASS_SECTIONS, error);
}
