/*-------------------------------------------------------------------------
 *
 * report_html.c
 *	  The page of a report.
 *
 * Pure.  It is polyglot: the same bytes are HTML and XML, so that any XML
 * parser can check them.  Nothing is loaded and nothing runs, and a policy in
 * its head (CSP) forbids both, should escaping ever fail.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

static void
page_head(StringInfo out, const Report *r)
{
	appendStringInfoString(out,
						   "<!DOCTYPE html>\n"
						   "<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\" xml:lang=\"en\">\n"
						   "<head>\n<meta charset=\"utf-8\"/>\n"
						   "<meta http-equiv=\"Content-Security-Policy\""
						   " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n"
						   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
						   "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
						   "<meta name=\"robots\" content=\"noindex\"/>\n"
						   "<meta name=\"referrer\" content=\"no-referrer\"/>\n"
						   "<link rel=\"icon\" href=\"data:,\"/>\n<title>");
	appendStringInfo(out, "Letter " INT64_FORMAT ": ", r->letter_id);
	html_text(out, r->subject);
	appendStringInfoString(out, "</title>\n<style>\n");
	appendStringInfoString(out, report_style);
	appendStringInfoString(out, "</style>\n</head>\n<body>\n");
	svg_patterns(out);
}

/* What letter this is, and how it is */
static void
page_title(StringInfo out, const Report *r)
{
	appendStringInfo(out, "<header>\n<p class=\"over\">Delivery report"
					 " <span aria-hidden=\"true\">\xc2\xb7</span> letter "
					 INT64_FORMAT " of <bdi>", r->letter_id);
	html_text(out, r->newsletter);
	appendStringInfoString(out, "</bdi></p>\n<h1 dir=\"auto\">");
	html_text(out, r->subject);
	appendStringInfoString(out, "</h1>\n<p class=\"status\"><strong class=\"badge\">");
	html_text(out, r->state);
	appendStringInfoString(out, "</strong> ");
	if (r->state_reason != NULL)
	{
		appendStringInfoString(out, "<span class=\"why\"><bdi>");
		html_text(out, r->state_reason);
		appendStringInfoString(out, "</bdi></span>");
	}
	appendStringInfoString(out, "</p>\n</header>\n<main>\n");
}

static void
figure_begin(StringInfo out, const char *name)
{
	appendStringInfo(out, "<div><dt>%s</dt><dd>", name);
}

/* The number that is read first, and a line that qualifies it */
static void
figure_share(StringInfo out, const char *name, int64 part, int64 whole)
{
	figure_begin(out, name);
	html_count(out, part);
	appendStringInfoString(out, "<small>");
	if (whole > 0)
	{
		html_share(out, part, whole);
		appendStringInfoString(out, " of all");
	}
	else
		appendStringInfoString(out, "\xe2\x80\x93");
	appendStringInfoString(out, "</small></dd></div>\n");
}

/* The rate of the highest bar; the mean if it is higher */
static double
figure_best(const ReportTimes *times, double mean)
{
	double		best = mean;
	int			i;

	for (i = 0; i < times->count; i++)
		best = Max(best, times->bars[i].count / times->width);
	return best;
}

static void
figure_duration(StringInfo out, const Report *r)
{
	figure_begin(out, "Duration");
	if (r->mails > 0)
		html_seconds(out, r->span);
	else
		appendStringInfoString(out, "\xe2\x80\x93");
	appendStringInfoString(out, "<small>first to last mail</small></dd></div>\n");
	figure_begin(out, "Rate");
	if (r->mails > 1 && r->span > 0)
	{
		html_rate(out, (r->mails - 1) / r->span);
		appendStringInfoString(out, "<small>mails/s; at best ");
		html_rate(out, figure_best(&r->at_once, (r->mails - 1) / r->span));
		appendStringInfoString(out, "</small>");
	}
	else
		appendStringInfoString(out, "\xe2\x80\x93<small>too few mails</small>");
	appendStringInfoString(out, "</dd></div>\n");
}

static void
page_figures(StringInfo out, const Report *r)
{
	int64		waiting = r->states[REPORT_PENDING] +
		r->states[REPORT_SENDING] + r->states[REPORT_DEFERRED];

	appendStringInfoString(out, "<section aria-label=\"Key figures\">\n"
						   "<dl class=\"figures\">\n");
	figure_begin(out, "Recipients");
	html_count(out, r->recipients);
	appendStringInfoString(out, "<small>attempts: ");
	html_count(out, r->attempts);
	appendStringInfoString(out, "</small></dd></div>\n");
	figure_share(out, "Delivered", r->states[REPORT_DELIVERED], r->recipients);
	figure_share(out, "Failed", r->states[REPORT_FAILED], r->recipients);
	figure_share(out, "Waiting", waiting, r->recipients);
	figure_duration(out, r);
	appendStringInfoString(out, "</dl>\n</section>\n");
}

static void
outcome_row(StringInfo out, const Report *r, int state)
{
	appendStringInfoString(out, "<tr><th scope=\"row\" class=\"state\">");
	svg_swatch(out, state);
	appendStringInfo(out, "%s</th><td class=\"n\">",
					 report_state_names[state]);
	html_count(out, r->states[state]);
	appendStringInfoString(out, "</td><td class=\"n\">");
	html_share(out, r->states[state], r->recipients);
	appendStringInfoString(out, "</td></tr>\n");
}

static void
page_outcomes(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"State", "#Recipients", "#Share"};
	int			state;

	appendStringInfoString(out, "<section aria-labelledby=\"outcomes\">\n"
						   "<h2 id=\"outcomes\">Outcomes</h2>\n"
						   "<div class=\"outcomes\">\n");
	svg_donut(out, r);
	table_begin(out, "Recipients by outcome", columns, lengthof(columns));
	for (state = 0; state < REPORT_STATES; state++)
	{
		if (r->states[state] > 0 || state == REPORT_DELIVERED ||
			state == REPORT_FAILED)
			outcome_row(out, r, state);
	}
	table_end(out);
	appendStringInfoString(out, "</div>\n");
	if (r->doubts > 0)
	{
		appendStringInfoString(out, "<p class=\"note\">In doubt ");
		html_count(out, r->doubts);
		appendStringInfoString(out, " times: the final dot was sent and no reply"
							   " was recorded. That is the most there can be of"
							   " duplicates.</p>\n");
	}
	appendStringInfoString(out, "</section>\n");
}

/* The numbers of a histogram */
static void
times_table(StringInfo out, const ReportTimes *times)
{
	static const char *const columns[] = {"From", "#Mails"};
	int			i;

	appendStringInfoString(out, "<details><summary>The numbers, by ");
	html_seconds(out, times->width);
	appendStringInfoString(out, "</summary>\n");
	table_begin(out, "Mails by the time they were accepted at", columns,
				lengthof(columns));
	for (i = 0; i < times->count; i++)
	{
		if (times->bars[i].count == 0)
			continue;
		appendStringInfoString(out, "<tr><th scope=\"row\">");
		html_text(out, times->bars[i].from);
		appendStringInfoString(out, "</th><td class=\"n\">");
		html_count(out, times->bars[i].count);
		appendStringInfoString(out, "</td></tr>\n");
	}
	table_end(out);
	appendStringInfoString(out, "</details>\n");
}

static void
times_attempts(StringInfo out, const Report *r)
{
	int			attempt;

	appendStringInfoString(out, "<p class=\"note\">First mail ");
	html_text(out, r->first);
	appendStringInfoString(out, ", last ");
	html_text(out, r->last);
	appendStringInfoString(out, ". Mails accepted by attempt: ");
	for (attempt = 1; attempt <= REPORT_ATTEMPTS; attempt++)
	{
		if (r->needed[attempt - 1] == 0)
			continue;
		appendStringInfo(out, "<span class=\"pair\">%d%s: ", attempt,
						 attempt == REPORT_ATTEMPTS ? " or more" : "");
		html_count(out, r->needed[attempt - 1]);
		appendStringInfoString(out, "</span> ");
	}
	appendStringInfoString(out, "</p>\n");
}

static void
page_times(StringInfo out, const Report *r)
{
	appendStringInfoString(out, "<section aria-labelledby=\"times\">\n"
						   "<h2 id=\"times\">Over time</h2>\n");
	if (r->mails == 0)
		appendStringInfoString(out, "<p class=\"none\">No mail has been accepted"
							   " yet.</p>\n");
	if (r->at_once.count > 0)
	{
		appendStringInfoString(out, "<h3>Accepted at the first attempt</h3>\n");
		svg_histogram(out, &r->at_once, "at-once",
					  "Mails accepted at the first attempt, over time",
					  REPORT_DELIVERED);
		times_table(out, &r->at_once);
	}
	if (r->again.count > 0)
	{
		appendStringInfoString(out, "<h3>Accepted after being deferred</h3>\n");
		svg_histogram(out, &r->again, "again",
					  "Mails accepted at a later attempt, over time",
					  REPORT_DEFERRED);
		times_table(out, &r->again);
	}
	if (r->mails > 0)
		times_attempts(out, r);
	appendStringInfoString(out, "</section>\n");
}

static void
page_facts(StringInfo out, const char *heading, const ReportFacts *facts)
{
	int			i;

	if (facts->count == 0)
		return;
	appendStringInfo(out, "<div><h3>%s</h3>\n<dl class=\"facts\">\n", heading);
	for (i = 0; i < facts->count; i++)
	{
		if (facts->facts[i].value == NULL)
			continue;
		appendStringInfoString(out, "<div><dt>");
		html_text(out, facts->facts[i].name);
		appendStringInfoString(out, "</dt><dd dir=\"auto\">");
		html_text(out, facts->facts[i].value);
		appendStringInfoString(out, "</dd></div>\n");
	}
	appendStringInfoString(out, "</dl></div>\n");
}

static void
page_send(StringInfo out, const Report *r)
{
	appendStringInfoString(out, "<section aria-labelledby=\"send\">\n"
						   "<h2 id=\"send\">How it was sent</h2>\n"
						   "<div class=\"columns\">\n");
	page_facts(out, "Letter", &r->letter);
	page_facts(out, "Newsletter", &r->newsletter_facts);
	page_facts(out, "Relays of the newsletter, in order of preference",
			   &r->servers);
	page_facts(out, "Settings", &r->settings);
	appendStringInfoString(out, "<div>");
	report_postings(out, r);
	appendStringInfoString(out, "</div></div>\n</section>\n");
}

/* see report.h */
void
report_render(StringInfo out, const Report *r)
{
	page_head(out, r);
	page_title(out, r);
	page_figures(out, r);
	appendStringInfoString(out, "<div class=\"pair-of-sections\">\n");
	page_outcomes(out, r);
	page_times(out, r);
	appendStringInfoString(out, "</div>\n<section aria-labelledby=\"reasons\">\n"
						   "<h2 id=\"reasons\">Not delivered, and why</h2>\n");
	report_reasons(out, r);
	appendStringInfoString(out, "</section>\n"
						   "<section aria-labelledby=\"domains\">\n"
						   "<h2 id=\"domains\">Domains</h2>\n");
	report_domains(out, r);
	appendStringInfoString(out, "</section>\n"
						   "<section aria-labelledby=\"relays\">\n"
						   "<h2 id=\"relays\">Relays</h2>\n");
	report_relays(out, r);
	report_slow(out, r);
	appendStringInfoString(out, "</section>\n");
	page_send(out, r);
	appendStringInfoString(out, "</main>\n<footer><p>mailman, <time>");
	html_text(out, r->made_at);
	appendStringInfoString(out, "</time>. Recipients are named by the ids of"
						   " their subscriptions; addresses in replies are left"
						   " out. The settings are those of that moment."
						   "</p></footer>\n</body>\n</html>\n");
}
