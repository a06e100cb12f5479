/*-------------------------------------------------------------------------
 *
 * forget.c
 *	  mailman_forget(): a reader is forgotten, the accounts stay.
 *
 * The subscription and the deliveries keep their ids and states, so every
 * tally stays true; whatever says who it was goes.  A hash of the address
 * under the newsletter's secret is kept: if an old list is loaded again, the
 * address comes back in the state it ended in, and gets no mail.
 *
 * A turn that runs meanwhile must neither mail them nor write the address
 * into newsletter_email after we have blanked it.  So their deliveries are
 * locked first.  One that is being sent, or that a turn holds at this moment,
 * is a refusal: we wait for nobody, and so deadlock with nobody.  A claim that
 * began before we commit waits for us, then still sees the subscription as it
 * was, but the delivery as we leave it: its reason tells the claim
 * (DELIVERY_FORGOTTEN; see claim.c).
 *
 * A transaction that is REPEATABLE READ or SERIALIZABLE does not see what was
 * sent to them since its snapshot was taken.  That must not be left behind: it
 * is looked for as it is now, and if any of it is there, the error is 40001.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "forgotten.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(mailman_forget);

/* Tests of the newsletter $1 that concern subscription $2 */
#define FORGET_TESTS \
	" JOIN mailman.test t ON t.letter_id = l.id" \
	" JOIN mailman.subscription s ON s.id = $2" \
	" WHERE l.newsletter_id = $1" \
	" AND (t.subscription_id = s.id OR lower(t.address) = lower(s.email))"

/* Somebody is at work on it right now */
static void
forget_refuse(int64 subscription_id, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("subscription " INT64_FORMAT " cannot be forgotten at this moment",
					subscription_id),
			 errdetail("%s", why),
			 errhint("Try again in a moment; while it is unsubscribed, no other mail is begun.")));
}

/* The newsletter of a subscription that role may forget */
static int64
forget_find(int64 subscription_id, Oid role)
{
	static Statement find = {
		.sql = "SELECT newsletter_id FROM mailman.subscription WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(subscription_id)};
	bool		found = statement_run(&find, SPI_OK_SELECT, values, NULL) > 0;
	int64		newsletter_id = found ? row_int64(0, 1, 0) : 0;

	if (!newsletter_may(newsletter_id, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for subscription " INT64_FORMAT,
						subscription_id),
				 errdetail("No newsletter whose owner role \"%s\" is a member of has such a subscription.",
						   GetUserNameFromId(role, false))));
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription " INT64_FORMAT " does not exist",
						subscription_id),
				 errhint("Subscriptions are rows of mailman.subscription.")));
	newsletter_check_member(newsletter_id, role);
	return newsletter_id;
}

/*
 * Lock the subscription, so that nothing new is queued for it, and then its
 * deliveries; all of them, or it is a refusal.
 */
static void
forget_lock(int64 subscription_id)
{
	static Statement subscription = {
		.sql = "SELECT FROM mailman.subscription WHERE id = $1"
		" FOR UPDATE SKIP LOCKED",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement deliveries = {
		.sql = "SELECT FROM mailman.delivery WHERE subscription_id = $1"
		" FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement look = {
		.sql = "SELECT count(*), coalesce(bool_or(state = 'sending'), false)"
		" FROM mailman.delivery WHERE subscription_id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(subscription_id)};
	int64		locked;

	if (statement_run_now(&subscription, SPI_OK_SELECT, values, NULL) == 0)
		forget_refuse(subscription_id,
					  "Somebody else is changing it, or is sending it a letter.");
	locked = (int64) statement_run_now(&deliveries, SPI_OK_SELECT, values,
									   NULL);
	statement_run_now(&look, SPI_OK_SELECT, values, NULL);
	if (row_bool(0, 2) || row_int64(0, 1, 0) != locked)
		forget_refuse(subscription_id, "A letter is being sent to it.");
}

/*
 * Tests to the address, or with what is known of the reader: none may be on
 * its way, nor may a worker claim one meanwhile.
 */
static void
forget_lock_tests(int64 newsletter_id, int64 subscription_id)
{
	static Statement lock = {
		.sql = "SELECT FROM mailman.letter l" FORGET_TESTS
		" FOR NO KEY UPDATE OF t SKIP LOCKED",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	static Statement look = {
		.sql = "SELECT count(*),"
		" coalesce(bool_or(t.state = 'sending'), false)"
		" FROM mailman.letter l" FORGET_TESTS,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id),
	Int64GetDatum(subscription_id)};
	int64		locked = (int64) statement_run_now(&lock, SPI_OK_SELECT,
												   values, NULL);

	statement_run_now(&look, SPI_OK_SELECT, values, NULL);
	if (row_bool(0, 2) || row_int64(0, 1, 0) != locked)
		forget_refuse(subscription_id, "A test is being sent.");
}

/* Those to the address are blanked; none goes out any more */
static void
forget_blank_tests(int64 newsletter_id, int64 subscription_id)
{
	static Statement blank = {
		.sql = "UPDATE mailman.test b SET"
		" address = CASE WHEN t.to_them"
		" THEN 'forgotten.' || $2 || '" FORGOTTEN_DOMAIN "' ELSE b.address END,"
		" reply = CASE WHEN t.to_them THEN NULL ELSE b.reply END,"
		" variables = NULL,"
		" state = CASE b.state WHEN 'pending' THEN 'failed' ELSE b.state END,"
		" reason = CASE WHEN b.state = 'pending'"
		" OR t.to_them AND b.state <> 'delivered'"
		" THEN '" DELIVERY_FORGOTTEN "' ELSE b.reason END"
		" FROM (SELECT t.id, lower(t.address) = lower(s.email) AS to_them"
		" FROM mailman.letter l" FORGET_TESTS ") AS t WHERE b.id = t.id",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(newsletter_id),
	Int64GetDatum(subscription_id)};

	statement_change_seen(&blank, SPI_OK_UPDATE, values, NULL);
}

/* Keep the hash of the address, and how its subscription ended */
static void
forget_keep_hash(int64 newsletter_id, int64 subscription_id)
{
	static Statement load = {
		.sql = "SELECT email, CASE WHEN state IN ('bounced', 'complained')"
		" THEN state ELSE 'unsubscribed' END FROM mailman.subscription"
		" WHERE id = $1 AND forgotten_at IS NULL",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement keep = {
		.sql = "INSERT INTO mailman.forgotten (newsletter_id, hash, state)"
		" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		.nargs = 3,
		.argtypes = {INT8OID, BYTEAOID, TEXTOID}
	};
	Datum		values[3] = {Int64GetDatum(subscription_id)};
	char	   *email;
	Secrets		secrets;
	bytea	   *hash;

	if (statement_run_now(&load, SPI_OK_SELECT, values, NULL) == 0)
		return;
	email = row_text(0, 1);
	values[2] = CStringGetTextDatum(row_text(0, 2));
	secrets_load(newsletter_id, &secrets);
	if ((hash = forgotten_hash(email, &secrets.list[0])) == NULL)
		elog(ERROR, "subscription " INT64_FORMAT " has no valid address",
			 subscription_id);
	values[0] = Int64GetDatum(newsletter_id);
	values[1] = PointerGetDatum(hash);
	statement_run(&keep, SPI_OK_INSERT, values, NULL);
}

/* Blank what says who it was; all that is counted stays */
static void
forget_blank(int64 subscription_id)
{
	static Statement statements[] = {
		{
			.sql = "UPDATE mailman.newsletter_email e SET reply = NULL,"
			" address = 'forgotten.' || $1 || '" FORGOTTEN_DOMAIN "'"
			" FROM mailman.delivery d WHERE d.subscription_id = $1"
			" AND e.letter_id = d.letter_id AND e.subscription_id = $1",
			.nargs = 1,
			.argtypes = {INT8OID}
		},
		{
			.sql = "UPDATE mailman.delivery SET variables = NULL,"
			" reply = NULL, reason = CASE WHEN state <> 'delivered'"
			" THEN '" DELIVERY_FORGOTTEN "' END WHERE subscription_id = $1",
			.nargs = 1,
			.argtypes = {INT8OID}
		},
		{
			.sql = "UPDATE mailman.subscription SET state = 'unsubscribed',"
			" email = 'forgotten.' || $1 || '" FORGOTTEN_DOMAIN "',"
			" name = NULL, data = '{}', ref = NULL,"
			" forgotten_at = coalesce(forgotten_at, now()) WHERE id = $1",
			.nargs = 1,
			.argtypes = {INT8OID}
		}
	};
	Datum		values[1] = {Int64GetDatum(subscription_id)};
	size_t		i;

	for (i = 0; i < lengthof(statements); i++)
		statement_change_seen(&statements[i], SPI_OK_UPDATE, values,
							  NULL);
}

/* mailman_forget(subscription_id bigint) RETURNS void; again is harmless */
Datum
mailman_forget(PG_FUNCTION_ARGS)
{
	Oid			role = GetUserId();
	ExtensionScope scope;
	int64		subscription_id;
	int64		newsletter_id;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subscription_id must not be null")));
	subscription_id = PG_GETARG_INT64(0);
	extension_enter(&scope, &use_forget);
	newsletter_id = forget_find(subscription_id, role);
	forget_lock(subscription_id);
	forget_lock_tests(newsletter_id, subscription_id);
	forget_keep_hash(newsletter_id, subscription_id);
	forget_blank_tests(newsletter_id, subscription_id);
	forget_blank(subscription_id);
	extension_leave(&scope);
	PG_RETURN_VOID();
}
