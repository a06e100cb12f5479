/*-------------------------------------------------------------------------
 *
 * report.h
 *	  What mailman_report() tells of a letter, and how it becomes a page.
 *
 * report.c and report_load.c fill a Report from the tables (SQL layer); the
 * others make HTML and SVG of it (pure layer).  Nothing of a Report but
 * numbers gets into the page other than through html_text().
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_REPORT_H
#define MAILMAN_REPORT_H

#include "pure.h"

/* States of deliveries, in the order in which they are shown */
typedef enum ReportState
{
	REPORT_DELIVERED,
	REPORT_SENDING,
	REPORT_PENDING,
	REPORT_DEFERRED,
	REPORT_FAILED,
	REPORT_DOUBTFUL,
	REPORT_SKIPPED
}			ReportState;

#define REPORT_STATES 7

extern const char *const report_state_names[REPORT_STATES];

/* Most rows of any list, and bars of a histogram */
#define REPORT_REASONS	20
#define REPORT_DOMAINS	15
#define REPORT_RELAYS	20
#define REPORT_SLOW		10
#define REPORT_POSTINGS 10
#define REPORT_ATTEMPTS 6
#define REPORT_BARS		60

/* A line of a list of facts; value NULL: not told */
typedef struct ReportFact
{
	const char *name;
	const char *value;
} ReportFact;

typedef struct ReportFacts
{
	ReportFact *facts;
	int			count;
} ReportFacts;

/* Why recipients did not get it (yet) */
typedef struct ReportReason
{
	const char *state;
	int			code;			/* RFC 5321; 0: none */
	const char *enhanced;		/* RFC 3463; NULL: none */
	int64		recipients;
	const char *sample;			/* of one of them, without addresses */
	int64		subscription_id;	/* whose */
} ReportReason;

typedef struct ReportDomain
{
	const char *name;
	int64		recipients;
	int64		delivered;
	int64		failed;
	int64		waiting;		/* pending, sending, deferred */
} ReportDomain;

typedef struct ReportRelay
{
	const char *name;
	int64		mails;
	int64		bytes;
	double		mean;			/* seconds a mail took */
	double		slowest;
} ReportRelay;

/* A mail whose reply was long in coming */
typedef struct ReportSlow
{
	int64		subscription_id;
	int64		email_id;
	const char *relay;
	const char *sent_at;
	double		duration;		/* seconds */
	int64		bytes;
} ReportSlow;

/* Those who were queued at the same moment */
typedef struct ReportPosting
{
	const char *queued_at;
	int64		recipients;
} ReportPosting;

typedef struct ReportBar
{
	const char *from;			/* start of its time */
	int64		count;
} ReportBar;

/* Mails accepted, by time */
typedef struct ReportTimes
{
	ReportBar	bars[REPORT_BARS + 2];
	int			count;
	double		width;			/* seconds of a bar */
} ReportTimes;

typedef struct Report
{
	int64		letter_id;
	const char *subject;		/* the template */
	const char *newsletter;
	const char *state;
	const char *state_reason;	/* may be NULL */
	const char *made_at;

	int64		states[REPORT_STATES];
	int64		recipients;
	int64		attempts;		/* that counted */
	int64		doubts;			/* of the letter */

	int64		mails;			/* accepted */
	const char *first;			/* when the first was; NULL: none yet */
	const char *last;
	double		span;			/* seconds between them */

	ReportTimes at_once;		/* at the first attempt */
	ReportTimes again;			/* at a later one */
	int64		needed[REPORT_ATTEMPTS];	/* mails by attempt, from 1; the
											 * last: or more */

	ReportReason reasons[REPORT_REASONS];
	int			nreasons;
	int64		more_reasons;	/* that are not listed, */
	int64		more_reason_recipients; /* and how many they concern */

	ReportDomain domains[REPORT_DOMAINS];
	int			ndomains;
	int64		more_domains;

	ReportRelay relays[REPORT_RELAYS];
	int			nrelays;

	ReportSlow	slow[REPORT_SLOW];
	int			nslow;

	ReportPosting postings[REPORT_POSTINGS];
	int			npostings;
	int64		more_postings;

	ReportFacts letter;
	ReportFacts newsletter_facts;
	ReportFacts servers;
	ReportFacts settings;
} Report;

/* ---- report_load.c (SQL layer) ---- */

/* Fill in the lists; in an extension scope */
extern void report_load_outcomes(Report *r);
extern void report_load_mails(Report *r);

/* ---- report_facts.c (SQL layer) ---- */

extern void report_load_facts(Report *r);

/* ---- report_html.c ---- */

/* Append the whole page: well-formed as HTML and as XML, in UTF-8 */
extern void report_render(StringInfo out, const Report *r);

/* ---- report_tables.c: its tables ---- */

extern void report_reasons(StringInfo out, const Report *r);
extern void report_domains(StringInfo out, const Report *r);
extern void report_relays(StringInfo out, const Report *r);
extern void report_slow(StringInfo out, const Report *r);
extern void report_postings(StringInfo out, const Report *r);

/* A heading, what the table is about, and the head of it; then the end */
extern void table_begin(StringInfo out, const char *caption,
						const char *const *columns, int ncolumns);
extern void table_end(StringInfo out);

/* ---- report_svg.c: its pictures ---- */

/* The patterns that stand for states, for all pictures of the page */
extern void svg_patterns(StringInfo out);
extern void svg_donut(StringInfo out, const Report *r);
extern void svg_swatch(StringInfo out, int state);
extern void svg_histogram(StringInfo out, const ReportTimes *times,
						  const char *id, const char *title, int state);

/* A bar as long as that part of its cell; part from 0 to 1 */
extern void svg_bar(StringInfo out, double part, int state);

/* ---- report_style.c ---- */

extern const char report_style[];

/* ---- report_text.c: the only ways into the page ---- */

#define HTML_TEXT_MAX	1000	/* bytes of a text; the rest is an ellipsis */

/*
 * Append any bytes as text: as good in an element as in an attribute, and
 * well-formed UTF-8 whatever they were.  What XML has no place for shows as
 * the picture of a control character or as U+FFFD.  NULL: nothing.
 */
extern void html_text(StringInfo out, const char *text);

extern void html_count(StringInfo out, int64 count);	/* 1,234,567 */
extern void html_share(StringInfo out, int64 part, int64 whole);	/* 98.2 % */
extern void html_bytes(StringInfo out, int64 bytes);	/* 1.2 MB */
extern void html_seconds(StringInfo out, double seconds);	/* 1 h 12 min */
extern void html_rate(StringInfo out, double rate); /* 12.3 */

/*
 * A copy of a relay's words without addresses, and without the local part of
 * one that is known (NULL: none), which some quote alone.
 */
extern char *report_mask(const char *text, const char *local_part);

/* ---- report_status.c: RFC 3463, RFC 5321 ---- */

/* What a reply means, a few words; NULL if nobody knows */
extern const char *status_meaning(int code, const char *enhanced);

#endif							/* MAILMAN_REPORT_H */
