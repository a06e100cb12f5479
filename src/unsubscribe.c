/*-------------------------------------------------------------------------
 *
 * unsubscribe.c
 *	  mailman_unsubscribe() and mailman_unsubscribe_url().
 *
 * mailman_unsubscribe() is for everybody who got a mail, through whatever
 * lies between them and the database: the token is all the right they need.
 * A text that is no genuine token is refused with one and the same error,
 * after the same work, whatever is wrong with it.
 *
 * It changes the subscription's row and nothing else, so it waits for no
 * worker (the one that marks a bounce leaves rows alone that somebody holds)
 * and holds up none: a claim reads the subscription without a lock, in a
 * statement of its own, whose snapshot sees everything committed before it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_check_unsubscribe_url);
PG_FUNCTION_INFO_V1(mailman_unsubscribe);
PG_FUNCTION_INFO_V1(mailman_unsubscribe_url);

/* mailman.check_unsubscribe_url(text): true, or ERROR 23514 */
Datum
mailman_check_unsubscribe_url(PG_FUNCTION_ARGS)
{
	char	   *url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *fault = unsubscribe_url_fault(url);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"%s\" is not an unsubscribe_url",
						text_shown(url, strlen(url))),
				 errdetail("%s", fault),
				 errhint("Write https://example.com/u/{{token}}.")));
	PG_RETURN_BOOL(true);
}

/* Did we make it?  The same work for what cannot be a token. */
static bool
token_is_genuine(Token *token, const char *text, size_t len)
{
	static const uint8 nobodys[HMAC_BYTES] = {0};
	bool		parsed = token_parse(token, text, len);
	bool		verified = false;
	Secrets		secrets;
	int			i;

	secrets_find(token->newsletter_id, &secrets);
	if (secrets.count == 0)
		(void) token_verify(token, nobodys, sizeof(nobodys));
	for (i = 0; i < secrets.count; i++)
		verified |= token_verify(token, secrets.list[i].key,
								 secrets.list[i].len) && secrets.live[i];
	return parsed && verified;
}

/* Bounced and complained stay what they are: they say more */
static void
subscription_end(const Wish *wish)
{
	static Statement end = {
		.sql = "UPDATE mailman.subscription SET state = 'unsubscribed'"
		" WHERE id = $1 AND newsletter_id = $2"
		" AND state IN ('active', 'pending')",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(wish->id),
	Int64GetDatum(wish->newsletter_id)};

	statement_run_now(&end, SPI_OK_UPDATE, values, NULL);
}

/* A reader who leaves is not told that somebody has just changed the row */
static void
subscription_leave(const Token *token)
{
	Wish		wish = {.fulfil = subscription_end,.use = &use_unsubscribe,
		.id = token->subscription_id,
	.newsletter_id = token->newsletter_id};

	if (IsolationUsesXactSnapshot() &&
		row_hold(HOLD_SUBSCRIPTION, wish.id,
				 LockTupleNoKeyExclusive) == HELD_UNSEEN)
		wish_at_commit(&wish);
	else
		subscription_end(&wish);
}

/*
 * mailman_unsubscribe(token text) RETURNS boolean
 *
 * True: this subscription gets no more mail, be it since now or before.  There
 * is no other answer; an error else.
 */
Datum
mailman_unsubscribe(PG_FUNCTION_ARGS)
{
	text	   *given = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	ExtensionScope scope;
	Token		token;

	extension_enter(&scope, &use_unsubscribe);
	if (!token_is_genuine(&token, given ? VARDATA_ANY(given) : "",
						  given ? VARSIZE_ANY_EXHDR(given) : 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid token")));
	if (!token.inert)
		subscription_leave(&token);
	extension_leave(&scope);
	PG_RETURN_BOOL(true);
}

/* A link is made only for those who could get the letter */
static void
url_check_subscription(const Letter *letter, int64 subscription_id)
{
	static Statement find = {
		.sql = "SELECT FROM mailman.subscription"
		" WHERE id = $1 AND newsletter_id = $2",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(subscription_id),
	Int64GetDatum(letter->newsletter_id)};

	if (statement_run(&find, SPI_OK_SELECT, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription " INT64_FORMAT " does not exist in newsletter " INT64_FORMAT,
						subscription_id, letter->newsletter_id)));
}

/*
 * mailman_unsubscribe_url(letter_id, subscription_id) RETURNS text
 *
 * The link that recipient's mail has; null if the newsletter has none.
 */
Datum
mailman_unsubscribe_url(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	MemoryContext caller = CurrentMemoryContext;
	int64		subscription_id;
	ExtensionScope scope;
	Letter	   *letter;
	char	   *url;
	text	   *result = NULL;

	argument_check(fcinfo, 0, "letter_id");
	argument_check(fcinfo, 1, "subscription_id");
	subscription_id = PG_GETARG_INT64(1);
	extension_enter_reading(&scope);
	letter = letter_find(PG_GETARG_INT64(0));
	letter_check_member(letter, role);
	url_check_subscription(letter, subscription_id);
	letter_load_links(letter);
	url = unsubscribe_url(&letter->render, subscription_id, false);
	MemoryContextSwitchTo(caller);
	if (url != NULL)
		result = cstring_to_text(url);
	extension_leave(&scope);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
