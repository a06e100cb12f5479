/*-------------------------------------------------------------------------
 *
 * preview_policy.c
 *	  What newsletter.policy would say of a recipient now.
 *
 * Asked in the session of whoever wants to see the mail, behind the same fence
 * as in a worker; how long it may take is for that session to say.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "policy.h"
#include "utils/timestamp.h"

static bool
preview_has_relay(const Letter *letter, const char *name)
{
	ListCell   *cell;

	foreach(cell, letter->relays)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* The verdict as the row of a delivery would have it; NULL: it is sent */
static char *
preview_verdict(const Letter *letter, const Policy *policy,
				const PolicyAnswer *answer)
{
	if (answer->oversize > 0)
		return policy_describe_oversize(policy, answer->oversize);
	if (answer->action == POLICY_SEND && answer->relay != NULL &&
		!preview_has_relay(letter, answer->relay))
		return policy_describe_relay(policy, answer->relay);
	if (answer->action == POLICY_SEND)
		return NULL;
	return policy_describe_answer(answer);
}

/*
 * Ask about one recipient, unless a first attempt was made: then the variables
 * are those that it was made with, and NULL is returned.  An error of the
 * policy is a verdict, too.
 */
char *
preview_decide(const Letter *letter, int64 subscription_id, Jsonb **variables)
{
	static Statement load = {
		.sql = "SELECT l, s FROM mailman.letter l"
		" JOIN mailman.subscription s ON s.id = $2"
		" WHERE l.id = $1 AND s.state = 'active' AND NOT EXISTS"
		" (SELECT FROM mailman.delivery d WHERE d.letter_id = $1"
		" AND d.subscription_id = $2 AND (d.attempts > 0 OR d.doubts > 0"
		" OR d.state NOT IN ('pending', 'deferred')))",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(letter->id),
	Int64GetDatum(subscription_id)};
	Policy		policy;
	PolicyAnswer answer;
	SPITupleTable *loaded;
	ErrorData  *error;
	Datum		rows[2];
	bool		isnull;
	int			answered;

	if (!policy_find(letter, &policy) ||
		statement_run(&load, SPI_OK_SELECT, values, NULL) == 0)
		return NULL;
	loaded = SPI_tuptable;
	rows[0] = row_datum(0, 1, &isnull);
	rows[1] = row_datum(0, 2, &isnull);
	answered = policy_ask(&policy, rows[0], &rows[1], 1, 0, &answer, &error);
	SPI_freetuptable(loaded);
	if (answered == 0)
	{
		if (policy_is_late(error))
			ReThrowError(error);
		return policy_describe(&policy, error);
	}
	*variables = policy_merge(*variables, answer.variables);
	return preview_verdict(letter, &policy, &answer);
}
