/*-------------------------------------------------------------------------
 *
 * policy_answer.c
 *	  What a policy answers, read, and put into words.
 *
 *	{"action": "send" | "skip" | "defer", "reason": text, "until": time,
 *	 "variables": {...}, "relay": name}
 *
 * Whatever is not in this form is an error: an answer that is half understood
 * would send mail that its owner has not meant to send.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "policy.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* They go into a row for people to read */
#define WORDS_MAX 500

char *
policy_words(const char *words, int len)
{
	int			max = pg_mbcliplen(words, len, WORDS_MAX);
	char	   *line = pnstrdup(words, max);
	char	   *p;

	for (p = line; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	return line;
}

static void
answer_error(const char *key, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" in the answer of the policy is not %s", key,
					expected)));
}

static char *
answer_text(const JsonbValue *value, const char *key)
{
	if (value->type != jbvString)
		answer_error(key, "a string");
	return policy_words(value->val.string.val, value->val.string.len);
}

static void
answer_action(const JsonbValue *value, PolicyAnswer *answer)
{
	char	   *action = answer_text(value, "action");

	if (strcmp(action, "send") == 0)
		answer->action = POLICY_SEND;
	else if (strcmp(action, "skip") == 0)
		answer->action = POLICY_SKIP;
	else if (strcmp(action, "defer") == 0)
		answer->action = POLICY_DEFER;
	else
		answer_error("action", "\"send\", \"skip\" or \"defer\"");
}

static void
answer_until(const JsonbValue *value, PolicyAnswer *answer)
{
	Datum		until;

	if (value->type != jbvString)
		answer_error("until", "a time");
	until = DirectFunctionCall3(timestamptz_in,
								CStringGetDatum(answer_text(value, "until")),
								ObjectIdGetDatum(InvalidOid),
								Int32GetDatum(-1));
	answer->until = DatumGetTimestampTz(until);
}

static void
answer_variables(JsonbValue *value, PolicyAnswer *answer)
{
	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		answer_error("variables", "an object");
	answer->variables = JsonbValueToJsonb(value);
}

static void
answer_member(const char *key, JsonbValue *value, PolicyAnswer *answer)
{
	if (value->type == jbvNull)
		return;					/* as if it were not there */
	if (strcmp(key, "action") == 0)
		answer_action(value, answer);
	else if (strcmp(key, "reason") == 0)
		answer->reason = answer_text(value, key);
	else if (strcmp(key, "until") == 0)
		answer_until(value, answer);
	else if (strcmp(key, "variables") == 0)
		answer_variables(value, answer);
	else if (strcmp(key, "relay") == 0)
	{
		if (value->type != jbvString)
			answer_error(key, "a string");
		answer->relay = pnstrdup(value->val.string.val,
								 value->val.string.len);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the policy answers with \"%s\", which means nothing",
						key),
				 errhint("An answer has action, reason, until, variables and relay.")));
}

void
policy_answer_read(Jsonb *jsonb, PolicyAnswer *answer)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = "";

	memset(answer, 0, sizeof(*answer));
	answer->until = DT_NOBEGIN;
	if (jsonb == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the answer of the policy is not an object"),
				 errhint("Return NULL to send, or an object such as {\"action\": \"skip\"}.")));
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			answer_member(key, &value, answer);
	}
	if (answer->action == POLICY_DEFER && answer->until == DT_NOBEGIN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the policy defers without \"until\"")));
}

char *
policy_describe_answer(const PolicyAnswer *answer)
{
	const char *what = answer->action == POLICY_SKIP ? "skipped by policy" :
		REASON_POLICY;

	if (answer->reason == NULL)
		return pstrdup(what);
	return psprintf("%s: %s", what, answer->reason);
}
