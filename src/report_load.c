/*-------------------------------------------------------------------------
 *
 * report_load.c
 *	  What a report counts: recipients by outcome, reply and domain, mails by
 *	  relay and time.
 *
 * Each is one pass over a letter's rows, ends in a LIMIT, and tells how much
 * it left out.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "report.h"
#include "utils/builtins.h"

#define TIME_FORMAT "'YYYY-MM-DD HH24:MI:SS'"

static void
load_states(Report *r)
{
	static Statement count = {
		.sql = "SELECT state, count(*), sum(attempts)::int8"
		" FROM mailman.delivery WHERE letter_id = $1 GROUP BY state",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(r->letter_id)};
	uint64		rows = statement_look(&count, values, NULL);
	uint64		row;
	int			state;

	for (row = 0; row < rows; row++)
	{
		char	   *name = row_text(row, 1);

		for (state = 0; state < REPORT_STATES; state++)
		{
			if (strcmp(name, report_state_names[state]) == 0)
				r->states[state] = row_int64(row, 2, 0);
		}
		r->recipients += row_int64(row, 2, 0);
		r->attempts += row_int64(row, 3, 0);
	}
}

/*
 * By reply where there was one, else by reason.  The sample is that of the
 * recipient with the lowest id who is not forgotten.
 */
static void
load_reasons(Report *r)
{
	static Statement count = {
		.sql = "WITH g AS (SELECT state, code, enhanced,"
		" CASE WHEN code IS NULL THEN left(reason, 200) END AS reason,"
		" count(*) AS n, coalesce(min(subscription_id)"
		" FILTER (WHERE reply IS NOT NULL), min(subscription_id)) AS sample"
		" FROM mailman.delivery WHERE letter_id = $1"
		" AND state <> 'delivered' AND coalesce(reason, reply) IS NOT NULL"
		" GROUP BY 1, 2, 3, 4), o AS (SELECT *, count(*) OVER () AS groups,"
		" (sum(n) OVER ())::int8 AS total FROM g"
		" ORDER BY n DESC, state, code, enhanced, sample LIMIT $2)"
		" SELECT o.state, o.code::int8, o.enhanced, o.n, o.sample, o.groups,"
		" o.total, left(coalesce(d.reason, d.reply), 600),"
		" regexp_replace(s.email, '@[^@]*$', '')"
		" FROM o JOIN mailman.delivery d"
		" ON d.letter_id = $1 AND d.subscription_id = o.sample"
		" JOIN mailman.subscription s ON s.id = o.sample"
		" ORDER BY o.n DESC, o.state, o.code, o.enhanced, o.sample",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_REASONS)};
	int64		listed = 0;
	int			i;

	r->nreasons = (int) statement_look(&count, values, NULL);
	for (i = 0; i < r->nreasons; i++)
	{
		ReportReason *reason = &r->reasons[i];

		reason->state = row_text(i, 1);
		reason->code = (int) row_int64(i, 2, 0);
		reason->enhanced = row_text(i, 3);
		reason->recipients = row_int64(i, 4, 0);
		reason->subscription_id = row_int64(i, 5, 0);
		r->more_reasons = row_int64(i, 6, 0) - r->nreasons;
		r->more_reason_recipients = row_int64(i, 7, 0);
		reason->sample = report_mask(row_text(i, 8), row_text(i, 9));
		listed += reason->recipients;
	}
	r->more_reason_recipients -= listed;
}

static void
load_domains(Report *r)
{
	static Statement count = {
		.sql = "SELECT split_part(lower(s.email), '@', -1) COLLATE \"C\", count(*),"
		" count(*) FILTER (WHERE d.state = 'delivered'),"
		" count(*) FILTER (WHERE d.state = 'failed'),"
		" count(*) FILTER (WHERE d.state IN ('pending', 'sending', 'deferred')),"
		" count(*) OVER ()"
		" FROM mailman.delivery d"
		" JOIN mailman.subscription s ON s.id = d.subscription_id"
		" WHERE d.letter_id = $1 GROUP BY 1"
		" ORDER BY 4 DESC, 5 DESC, 2 DESC, 1 LIMIT $2",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_DOMAINS)};
	int			i;

	r->ndomains = (int) statement_look(&count, values, NULL);
	for (i = 0; i < r->ndomains; i++)
	{
		r->domains[i].name = row_text(i, 1);
		r->domains[i].recipients = row_int64(i, 2, 0);
		r->domains[i].delivered = row_int64(i, 3, 0);
		r->domains[i].failed = row_int64(i, 4, 0);
		r->domains[i].waiting = row_int64(i, 5, 0);
		r->more_domains = row_int64(i, 6, 0) - r->ndomains;
	}
}

/* The largest, in the order of time */
static void
load_postings(Report *r)
{
	static Statement count = {
		.sql = "SELECT to_char(queued_at, " TIME_FORMAT "), n, postings"
		" FROM (SELECT queued_at, count(*) AS n, count(*) OVER () AS postings"
		" FROM mailman.delivery WHERE letter_id = $1 GROUP BY queued_at"
		" ORDER BY n DESC, queued_at LIMIT $2) p ORDER BY queued_at",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_POSTINGS)};
	int			i;

	r->npostings = (int) statement_look(&count, values, NULL);
	for (i = 0; i < r->npostings; i++)
	{
		r->postings[i].queued_at = row_text(i, 1);
		r->postings[i].recipients = row_int64(i, 2, 0);
		r->more_postings = row_int64(i, 3, 0) - r->npostings;
	}
}

/* see report.h */
void
report_load_outcomes(Report *r)
{
	load_states(r);
	load_reasons(r);
	load_domains(r);
	load_postings(r);
}

static void
load_relays(Report *r)
{
	static Statement count = {
		.sql = "SELECT relay COLLATE \"C\", count(*), sum(bytes)::int8,"
		" extract(epoch FROM avg(duration))::float8,"
		" extract(epoch FROM max(duration))::float8"
		" FROM mailman.newsletter_email WHERE letter_id = $1 GROUP BY relay"
		" ORDER BY 2 DESC, 1 LIMIT $2",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_RELAYS)};
	int			i;

	r->nrelays = (int) statement_look(&count, values, NULL);
	for (i = 0; i < r->nrelays; i++)
	{
		r->relays[i].name = row_text(i, 1);
		r->relays[i].mails = row_int64(i, 2, 0);
		r->relays[i].bytes = row_int64(i, 3, 0);
		r->relays[i].mean = row_float8(i, 4);
		r->relays[i].slowest = row_float8(i, 5);
	}
}

/* Of all mails together, and by the attempt that was accepted */
static void
load_totals(Report *r)
{
	static Statement count = {
		.sql = "SELECT least(attempts, $2)::int8, count(*),"
		" to_char(min(min(sent_at)) OVER (), " TIME_FORMAT "),"
		" to_char(max(max(sent_at)) OVER (), " TIME_FORMAT "),"
		" extract(epoch FROM max(max(sent_at)) OVER ()"
		" - min(min(sent_at)) OVER ())::float8"
		" FROM mailman.newsletter_email WHERE letter_id = $1 GROUP BY 1",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_ATTEMPTS)};
	uint64		rows = statement_look(&count, values, NULL);
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		int64		attempt = Max(row_int64(row, 1, 1), 1);

		r->needed[attempt - 1] += row_int64(row, 2, 0);
		r->mails += row_int64(row, 2, 0);
		r->first = row_text(row, 3);
		r->last = row_text(row, 4);
		r->span = row_float8(row, 5);
	}
}

static void
load_slow(Report *r)
{
	static Statement list = {
		.sql = "SELECT subscription_id, id, relay,"
		" extract(epoch FROM duration)::float8, bytes::int8,"
		" to_char(sent_at, " TIME_FORMAT ")"
		" FROM mailman.newsletter_email WHERE letter_id = $1"
		" ORDER BY duration DESC, id LIMIT $2",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(r->letter_id),
	Int64GetDatum(REPORT_SLOW)};
	int			i;

	r->nslow = (int) statement_look(&list, values, NULL);
	for (i = 0; i < r->nslow; i++)
	{
		r->slow[i].subscription_id = row_int64(i, 1, 0);
		r->slow[i].email_id = row_int64(i, 2, 0);
		r->slow[i].relay = row_text(i, 3);
		r->slow[i].duration = row_float8(i, 4);
		r->slow[i].bytes = row_int64(i, 5, 0);
		r->slow[i].sent_at = row_text(i, 6);
	}
}

/*
 * A histogram of the mails accepted at the first, or at a later attempt.  Its
 * bars are of a round length of time, counted from midnight where the session
 * is, and REPORT_BARS of them (or one more) span what there is.
 */
static void
load_times(Report *r, ReportTimes *times, bool again)
{
	static Statement count = {
		.sql = "WITH span AS (SELECT min(sent_at) AS low,"
		" max(sent_at) AS high, date_trunc('day', min(sent_at)) AS day"
		" FROM mailman.newsletter_email"
		" WHERE letter_id = $1 AND (attempts > 1) = $2),"
		" bar AS (SELECT day, low, high, w::float8 FROM span,"
		" unnest(ARRAY[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30,"
		" 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,"
		" 172800, 604800, 2419200, 31536000, 3153600000]) w"
		" WHERE w * $3 >= extract(epoch FROM high - low) ORDER BY w LIMIT 1),"
		" counted AS (SELECT"
		" floor(extract(epoch FROM sent_at - day)::float8 / w)::int8 AS i,"
		" count(*) AS n FROM mailman.newsletter_email, bar"
		" WHERE letter_id = $1 AND (attempts > 1) = $2 GROUP BY 1)"
		" SELECT to_char(day + i * w * interval '1 s',"
		" CASE WHEN w >= 86400 THEN 'YYYY-MM-DD'"
		" WHEN date_trunc('day', high) > day THEN 'YYYY-MM-DD HH24:MI'"
		" WHEN w >= 60 THEN 'HH24:MI' WHEN w >= 1 THEN 'HH24:MI:SS'"
		" ELSE 'HH24:MI:SS.MS' END), coalesce(n, 0), w"
		" FROM bar CROSS JOIN generate_series("
		"(SELECT min(i) FROM counted), (SELECT max(i) FROM counted)) i"
		" LEFT JOIN counted USING (i) ORDER BY i LIMIT $3 + 2",
		.nargs = 3,
		.argtypes = {INT8OID, BOOLOID, INT8OID}
	};
	Datum		values[3] = {Int64GetDatum(r->letter_id), BoolGetDatum(again),
	Int64GetDatum(REPORT_BARS)};
	int			i;

	times->count = (int) statement_look(&count, values, NULL);
	for (i = 0; i < times->count; i++)
	{
		times->bars[i].from = row_text(i, 1);
		times->bars[i].count = row_int64(i, 2, 0);
		times->width = row_float8(i, 3);
	}
}

/* see report.h */
void
report_load_mails(Report *r)
{
	load_relays(r);
	load_totals(r);
	load_slow(r);
	load_times(r, &r->at_once, false);
	load_times(r, &r->again, true);
}
