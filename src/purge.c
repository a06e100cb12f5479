/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  mailman_purge(): what became of each recipient, long ago, is deleted.
 *
 * Of letters that have ended, the deliveries and the records of their mails
 * go; the letter stays, with its exact tally.  Batch by batch, each in a
 * transaction of its own: what is done stays done, whatever ends it, and the
 * next call goes on there.  After each batch it rests as long as that took, so
 * that letters which are being sent have the disk, too.
 *
 * Only a letter that nobody holds is begun: the lock on its row keeps every
 * mailman_send() and mailman_retry() of it out until purged_at says that it is
 * too late.  No row that a letter in the post needs is touched.
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
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* It rests no longer than this */
#define REST_MAX_US		INT64CONST(5000000)

PG_FUNCTION_INFO_V1(mailman_purge);

typedef struct Purge
{
	Oid			role;			/* who has called */
	bool		all;			/* and may purge everything */
	TimestampTz before;			/* what has ended before then */
	int			batch;			/* rows at once */
	int64		letter_id;		/* the one at hand, and no more below it */
	bool		open;			/* it has rows, maybe */
	int64		subscription_id;	/* of its rows none is below */
	int64		event_id;		/* none of the events is below */
	bool		no_events;		/* nor above */
	int64		letters;		/* so far */
	int64		deliveries;
	int64		events;
} Purge;

/*
 * The next letter that has ended long ago, marked as purged.  One that an
 * earlier call has left half done has rows still.  Who is a member of its
 * newsletter's owner may purge it.
 */
static bool
purge_next_letter(Purge *p)
{
	static Statement next = {
		.sql = "SELECT l.id FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" WHERE l.id > $1 AND l.state IN ('sent', 'cancelled')"
		" AND l.state_at < $2"
		" AND ($4 OR pg_catalog.pg_has_role($3, (SELECT r.oid"
		" FROM pg_catalog.pg_roles r WHERE r.oid = n.owner_oid), 'USAGE'))"
		" AND (l.mail_order->>'pending')::int8 = 0"
		" AND (l.mail_order->>'sending')::int8 = 0"
		" AND (l.mail_order->>'deferred')::int8 = 0"
		" AND NOT EXISTS (SELECT FROM mailman.posting p"
		" WHERE p.letter_id = l.id)"
		" AND (l.purged_at IS NULL OR EXISTS (SELECT FROM mailman.delivery d"
		" WHERE d.letter_id = l.id))"
		" ORDER BY l.id LIMIT 1 FOR UPDATE OF l SKIP LOCKED",
		.nargs = 4,
		.argtypes = {INT8OID, TIMESTAMPTZOID, OIDOID, BOOLOID}
	};
	static Statement mark = {
		.sql = "UPDATE mailman.letter SET purged_at = now()"
		" WHERE id = $1 AND purged_at IS NULL"
		" AND NOT EXISTS (SELECT FROM mailman.posting p WHERE p.letter_id = $1)",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static Statement look = {
		.sql = "SELECT FROM mailman.letter WHERE id = $1"
		" AND purged_at IS NOT NULL",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[4] = {Int64GetDatum(p->letter_id),
		TimestampTzGetDatum(p->before), ObjectIdGetDatum(p->role),
	BoolGetDatum(p->all)};

	if (statement_run(&next, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	p->letter_id = row_int64(0, 1, 0);
	p->subscription_id = PG_INT64_MIN;
	values[0] = Int64GetDatum(p->letter_id);
	/* posted between the snapshot and the lock?  Then not now. */
	statement_run(&mark, SPI_OK_UPDATE, values, NULL);
	p->open = statement_run(&look, SPI_OK_SELECT, values, NULL) > 0;
	p->letters += p->open;
	return true;
}

/*
 * The next rows of the letter at hand.  Deliveries are locked first, as
 * mailman_forget() does.
 */
static void
purge_deliveries(Purge *p)
{
	static Statement range = {
		.sql = "SELECT max(subscription_id), count(*) FROM"
		" (SELECT subscription_id FROM mailman.delivery WHERE letter_id = $1"
		" AND subscription_id >= $2 ORDER BY subscription_id LIMIT $3"
		" FOR UPDATE) d",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	static Statement emails = {
		.sql = "DELETE FROM mailman.newsletter_email WHERE letter_id = $1"
		" AND subscription_id >= $2 AND subscription_id <= $3",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	static Statement deliveries = {
		.sql = "DELETE FROM mailman.delivery WHERE letter_id = $1"
		" AND subscription_id >= $2 AND subscription_id <= $3",
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(p->letter_id),
	Int64GetDatum(p->subscription_id), Int64GetDatum(p->batch)};
	int64		high;
	int64		rows;

	statement_run(&range, SPI_OK_SELECT, values, NULL);
	high = row_int64(0, 1, 0);
	rows = row_int64(0, 2, 0);
	if (rows > 0)
	{
		values[2] = Int64GetDatum(high);
		statement_run(&emails, SPI_OK_DELETE, values, NULL);
		p->deliveries += (int64) statement_run(&deliveries, SPI_OK_DELETE,
											   values, NULL);
	}
	p->open = rows == p->batch && high < PG_INT64_MAX;
	p->subscription_id = high + p->open;
}

/*
 * The next events that are old.  Ids are about in the order of time: the first
 * batch without an old one is the last.
 */
static void
purge_events(Purge *p)
{
	static Statement range = {
		.sql = "SELECT max(id), count(*), min(at) FROM (SELECT id, at"
		" FROM mailman.event WHERE id >= $1 ORDER BY id LIMIT $2) e",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	static Statement events = {
		.sql = "DELETE FROM mailman.event WHERE id IN (SELECT e.id"
		" FROM mailman.event e WHERE e.id >= $1 AND e.id <= $2 AND e.at < $3"
		" AND ($5 OR EXISTS (SELECT FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" JOIN pg_catalog.pg_roles r ON r.oid = n.owner_oid"
		" WHERE l.id = e.letter_id"
		" AND pg_catalog.pg_has_role($4, r.oid, 'USAGE')))"
		" FOR UPDATE SKIP LOCKED)",
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, OIDOID, BOOLOID}
	};
	Datum		values[5] = {Int64GetDatum(p->event_id),
		Int64GetDatum(p->batch), TimestampTzGetDatum(p->before),
	ObjectIdGetDatum(p->role), BoolGetDatum(p->all)};
	int64		high;
	int64		rows;
	bool		old;

	statement_run(&range, SPI_OK_SELECT, values, NULL);
	high = row_int64(0, 1, 0);
	rows = row_int64(0, 2, 0);
	old = row_int64(0, 3, PG_INT64_MAX) < p->before;
	if (old)
	{
		values[1] = Int64GetDatum(high);
		p->events += (int64) statement_run(&events, SPI_OK_DELETE, values,
										   NULL);
	}
	p->event_id = high + 1;
	p->no_events = !old || rows < p->batch;
}

/* What is known of relays and limits that are no more: few rows, at the end */
static void
purge_relays(void)
{
	static Statement relays = {
		.sql = "DELETE FROM mailman.relay_state WHERE server IN"
		" (SELECT r.server FROM mailman.relay_state r WHERE NOT EXISTS"
		" (SELECT FROM pg_catalog.pg_foreign_server f WHERE f.oid = r.server)"
		" FOR UPDATE SKIP LOCKED)"
	};
	static Statement domains = {
		.sql = "DELETE FROM mailman.domain_state WHERE id IN"
		" (SELECT d.id FROM mailman.domain_state d WHERE NOT EXISTS"
		" (SELECT FROM mailman.domain_limit l WHERE l.id = d.id)"
		" FOR UPDATE SKIP LOCKED)"
	};

	statement_run(&relays, SPI_OK_DELETE, NULL, NULL);
	statement_run(&domains, SPI_OK_DELETE, NULL, NULL);
}

/* One transaction's worth; false: nothing is left */
static bool
purge_batch(Purge *p)
{
	ExtensionScope scope;
	bool		more = true;

	extension_enter(&scope, &use_purge);
	if (p->open)
		purge_deliveries(p);
	else if (purge_next_letter(p))
		;						/* committed before the first row goes */
	else if (!p->no_events)
		purge_events(p);
	else
	{
		if (p->all)
			purge_relays();
		more = false;
	}
	extension_leave(&scope);
	return more;
}

/*
 * What was posted must be seen as soon as the letter is locked: at any other
 * level, which a role or a driver may have as its default, a batch would see
 * the tables as they were when its transaction began.  So the level is ours,
 * in transactions that end with their batch; and nothing is looked at before
 * the rest is over.
 */
static void
purge_begin(void)
{
	(void) set_config_option("transaction_isolation", "read committed",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	EnsurePortalSnapshotExists();
}

/* One line for pg_stat_activity */
static void
purge_report(const Purge *p)
{
	char		line[256];

	snprintf(line, sizeof(line), "mailman_purge(): " INT64_FORMAT
			 " deliveries of " INT64_FORMAT " letters, " INT64_FORMAT
			 " events; at letter " INT64_FORMAT, p->deliveries, p->letters,
			 p->events, p->letter_id);
	pgstat_report_activity(STATE_RUNNING, line);
}

/* Leave the disk to the others for as long as we have had it */
static void
purge_rest(TimestampTz since)
{
	int64		rest = Min(GetCurrentTimestamp() - since, REST_MAX_US);
	TimestampTz until = GetCurrentTimestamp() + rest;

	while (rest > 0)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, (long) (rest / 1000 + 1),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		rest = until - GetCurrentTimestamp();
	}
}

/* now() - older_than; a negative one would be about the future */
static TimestampTz
purge_before(Interval *older_than)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz before =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												TimestampTzGetDatum(now),
												PointerGetDatum(older_than)));

	if (before > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative")));
	return before;
}

/* Only a CALL that is not in anybody's transaction can commit */
static void
purge_check_context(FunctionCallInfo fcinfo)
{
	if (fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg("mailman_purge() cannot run inside a transaction block"),
			 errdetail("It commits after each batch."),
			 errhint("CALL it by itself.")));
}

/*
 * CALL mailman_purge(older_than interval, batch integer DEFAULT 5000)
 *
 * Letters sent or cancelled longer ago than older_than; batch rows (1 to
 * 1000000) in a transaction.  The extension's owner purges everything, others
 * the letters of newsletters whose owner they are members of.
 */
Datum
mailman_purge(PG_FUNCTION_ARGS)
{
	Purge		p = {.letter_id = PG_INT64_MIN,.event_id = PG_INT64_MIN};
	bool		more = true;

	argument_check(fcinfo, 0, "older_than");
	argument_check(fcinfo, 1, "batch");
	purge_check_context(fcinfo);
	p.before = purge_before(PG_GETARG_INTERVAL_P(0));
	p.batch = PG_GETARG_INT32(1);
	if (p.batch < 1 || p.batch > 1000000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be between 1 and 1000000")));
	p.role = GetUserId();
	p.all = role_is_admin(p.role);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();				/* the caller's transaction ends here */
	while (more)
	{
		TimestampTz since = GetCurrentTimestamp();

		purge_begin();
		more = purge_batch(&p);
		SPI_commit();
		purge_report(&p);
		if (more)
			purge_rest(since);
	}
	SPI_finish();
	ereport(NOTICE,
			(errmsg("purged " INT64_FORMAT " deliveries of " INT64_FORMAT " letters, and " INT64_FORMAT " events",
					p.deliveries, p.letters, p.events)));
	PG_RETURN_VOID();
}
