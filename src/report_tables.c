/*-------------------------------------------------------------------------
 *
 * report_tables.c
 *	  The tables of a report.
 *
 * Pure.  A table scrolls within itself where the page is narrow, and can be
 * reached by keyboard for that.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

/* Columns that begin with # hold numbers, those with | a bar */
void
table_begin(StringInfo out, const char *caption, const char *const *columns,
			int ncolumns)
{
	int			i;

	appendStringInfo(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\""
					 " aria-label=\"%s\"><table>\n<caption>%s</caption>\n"
					 "<thead><tr>", caption, caption);
	for (i = 0; i < ncolumns; i++)
	{
		const char *name = columns[i];

		if (name[0] == '#')
			appendStringInfo(out, "<th scope=\"col\" class=\"n\">%s</th>",
							 name + 1);
		else if (name[0] == '|')
			appendStringInfo(out, "<th scope=\"col\" class=\"b\">"
							 "<span class=\"hidden\">%s</span></th>", name + 1);
		else
			appendStringInfo(out, "<th scope=\"col\">%s</th>", name);
	}
	appendStringInfoString(out, "</tr></thead>\n<tbody>\n");
}

void
table_end(StringInfo out)
{
	appendStringInfoString(out, "</tbody></table></div>\n");
}

static void
cell_text(StringInfo out, const char *text)
{
	appendStringInfoString(out, "<td class=\"t\" dir=\"auto\">");
	html_text(out, text);
	appendStringInfoString(out, "</td>");
}

static void
cell_count(StringInfo out, int64 count)
{
	appendStringInfoString(out, "<td class=\"n\">");
	html_count(out, count);
	appendStringInfoString(out, "</td>");
}

static void
cell_share(StringInfo out, int64 part, int64 whole)
{
	appendStringInfoString(out, "<td class=\"n\">");
	html_share(out, part, whole);
	appendStringInfoString(out, "</td>");
}

static void
cell_seconds(StringInfo out, double seconds)
{
	appendStringInfoString(out, "<td class=\"n\">");
	html_seconds(out, seconds);
	appendStringInfoString(out, "</td>");
}

static void
cell_bytes(StringInfo out, int64 bytes)
{
	appendStringInfoString(out, "<td class=\"n\">");
	html_bytes(out, bytes);
	appendStringInfoString(out, "</td>");
}

static void
cell_bar(StringInfo out, double part, double whole, int state)
{
	appendStringInfoString(out, "<td class=\"b\">");
	svg_bar(out, whole > 0 ? part / whole : 0, state);
	appendStringInfoString(out, "</td>");
}

/* What heads a row; it may be of anybody's making */
static void
cell_head(StringInfo out, const char *text)
{
	appendStringInfoString(out, "<th scope=\"row\" dir=\"auto\">");
	html_text(out, text);
	appendStringInfoString(out, "</th>");
}

/* The number that colours a state; what is unknown is as pending */
static int
state_number(const char *name)
{
	int			state;

	for (state = 0; state < REPORT_STATES; state++)
	{
		if (strcmp(report_state_names[state], name) == 0)
			return state;
	}
	return REPORT_PENDING;
}

static void
reason_row(StringInfo out, const ReportReason *reason, int64 recipients)
{
	const char *meaning = status_meaning(reason->code, reason->enhanced);
	int			state = state_number(reason->state);

	appendStringInfoString(out, "<tr><th scope=\"row\" class=\"state\">");
	svg_swatch(out, state);
	html_text(out, reason->state);
	appendStringInfoString(out, "</th>");
	cell_count(out, reason->recipients);
	cell_share(out, reason->recipients, recipients);
	appendStringInfoString(out, "<td class=\"code\">");
	if (reason->code > 0)
		appendStringInfo(out, "%d ", reason->code);
	html_text(out, reason->enhanced);
	appendStringInfoString(out, "</td><td class=\"reason\">");
	if (meaning != NULL)
	{
		appendStringInfoString(out, "<span class=\"meaning\">");
		html_text(out, meaning);
		appendStringInfoString(out, "</span>");
	}
	if (reason->sample != NULL)
	{
		appendStringInfoString(out, "<q class=\"sample\" dir=\"auto\">");
		html_text(out, reason->sample);
		appendStringInfo(out, "</q> <span class=\"who\">subscription " INT64_FORMAT
						 "</span>", reason->subscription_id);
	}
	appendStringInfoString(out, "</td></tr>\n");
}

/* see report.h */
void
report_reasons(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"State", "#Recipients",
	"#Share", "Code", "Meaning, and one of the replies"};
	int			i;

	if (r->nreasons == 0)
	{
		appendStringInfoString(out, "<p class=\"none\">Nobody has failed, was"
							   " skipped or waits for another attempt.</p>\n");
		return;
	}
	table_begin(out, "Recipients without mail, by reply", columns,
				lengthof(columns));
	for (i = 0; i < r->nreasons; i++)
		reason_row(out, &r->reasons[i], r->recipients);
	table_end(out);
	if (r->more_reasons > 0)
	{
		appendStringInfoString(out, "<p class=\"note\">And ");
		html_count(out, r->more_reasons);
		appendStringInfoString(out, " further reasons, of ");
		html_count(out, r->more_reason_recipients);
		appendStringInfoString(out, " recipients.</p>\n");
	}
}

/* see report.h */
void
report_domains(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"Domain", "#Recipients",
	"#Delivered", "#Waiting", "#Failed", "#Failed of all", "|Failed of all"};
	int			i;

	if (r->ndomains == 0)
	{
		appendStringInfoString(out, "<p class=\"none\">No recipients yet.</p>\n");
		return;
	}
	table_begin(out, "Recipients by domain, most failures first", columns,
				lengthof(columns));
	for (i = 0; i < r->ndomains; i++)
	{
		const ReportDomain *d = &r->domains[i];

		appendStringInfoString(out, "<tr>");
		cell_head(out, d->name);
		cell_count(out, d->recipients);
		cell_count(out, d->delivered);
		cell_count(out, d->waiting);
		cell_count(out, d->failed);
		cell_share(out, d->failed, d->recipients);
		cell_bar(out, d->failed, d->recipients, REPORT_FAILED);
		appendStringInfoString(out, "</tr>\n");
	}
	table_end(out);
	if (r->more_domains > 0)
	{
		appendStringInfoString(out, "<p class=\"note\">And ");
		html_count(out, r->more_domains);
		appendStringInfoString(out, " further domains.</p>\n");
	}
}

/* see report.h */
void
report_relays(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"Relay", "#Mails", "#Share",
	"|Share of the mails", "#Mean reply", "#Slowest", "#Size"};
	int			i;

	if (r->nrelays == 0)
	{
		appendStringInfoString(out, "<p class=\"none\">No relay has accepted a"
							   " mail yet.</p>\n");
		return;
	}
	table_begin(out, "Accepted mails by relay", columns, lengthof(columns));
	for (i = 0; i < r->nrelays; i++)
	{
		const ReportRelay *relay = &r->relays[i];

		appendStringInfoString(out, "<tr>");
		cell_head(out, relay->name);
		cell_count(out, relay->mails);
		cell_share(out, relay->mails, r->mails);
		cell_bar(out, relay->mails, r->mails, REPORT_DELIVERED);
		cell_seconds(out, relay->mean);
		cell_seconds(out, relay->slowest);
		cell_bytes(out, relay->bytes);
		appendStringInfoString(out, "</tr>\n");
	}
	table_end(out);
	appendStringInfoString(out, "<p class=\"note\">A reply's time is that from"
						   " MAIL FROM to the reply to the final dot.</p>\n");
}

/* see report.h */
void
report_slow(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"Subscription", "#Mail", "Relay",
	"Accepted", "#Size", "#Time", "|Time"};
	int			i;

	if (r->nslow == 0)
		return;
	appendStringInfoString(out, "<h3>Slowest replies</h3>\n");
	table_begin(out, "Mails whose replies took longest", columns,
				lengthof(columns));
	for (i = 0; i < r->nslow; i++)
	{
		const ReportSlow *slow = &r->slow[i];

		appendStringInfo(out, "<tr><th scope=\"row\">" INT64_FORMAT "</th>"
						 "<td class=\"n\">" INT64_FORMAT "</td>",
						 slow->subscription_id, slow->email_id);
		cell_text(out, slow->relay);
		cell_text(out, slow->sent_at);
		cell_bytes(out, slow->bytes);
		cell_seconds(out, slow->duration);
		cell_bar(out, slow->duration, r->slow[0].duration, REPORT_DELIVERED);
		appendStringInfoString(out, "</tr>\n");
	}
	table_end(out);
}

/* see report.h */
void
report_postings(StringInfo out, const Report *r)
{
	static const char *const columns[] = {"Queued", "#Recipients"};
	int			i;

	if (r->npostings == 0)
		return;
	appendStringInfoString(out, "<h3>Postings</h3>\n");
	table_begin(out, "Recipients by the time they were queued at", columns,
				lengthof(columns));
	for (i = 0; i < r->npostings; i++)
	{
		appendStringInfoString(out, "<tr>");
		cell_head(out, r->postings[i].queued_at);
		cell_count(out, r->postings[i].recipients);
		appendStringInfoString(out, "</tr>\n");
	}
	table_end(out);
	if (r->more_postings > 0)
	{
		appendStringInfoString(out, "<p class=\"note\">These are the largest; ");
		html_count(out, r->more_postings);
		appendStringInfoString(out, " more are not listed.</p>\n");
	}
}
