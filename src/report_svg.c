/*-------------------------------------------------------------------------
 *
 * report_svg.c
 *	  The pictures of a report: inline SVG.
 *
 * Pure.  Each state has a colour and, but for those that went as they should,
 * a hatching of its own, so that no picture needs colour to be read; and each
 * picture has its numbers in a table beside it.  What would not scale to the
 * width of a telephone (axis labels) is HTML around the picture.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

const char *const report_state_names[REPORT_STATES] = {
	[REPORT_DELIVERED] = "delivered",
	[REPORT_SENDING] = "sending",
	[REPORT_PENDING] = "pending",
	[REPORT_DEFERRED] = "deferred",
	[REPORT_FAILED] = "failed",
	[REPORT_DOUBTFUL] = "doubtful",
	[REPORT_SKIPPED] = "skipped"
};

/* What is drawn over the colour, in a tile of 6 by 6 */
static const char *const hatchings[REPORT_STATES] = {
	[REPORT_DELIVERED] = "",
	[REPORT_SENDING] = "<rect width=\"6\" height=\"2\"/>",
	[REPORT_PENDING] = "",
	[REPORT_DEFERRED] = "<circle cx=\"3\" cy=\"3\" r=\"1.3\"/>",
	[REPORT_FAILED] = "<path d=\"M-1 7L7-1M-1 1L1-1M5 7L7 5\"/>",
	[REPORT_DOUBTFUL] = "<path d=\"M0 0L6 6M0 6L6 0\"/>",
	[REPORT_SKIPPED] = "<path d=\"M-1-1L7 7M5-1L7 1M-1 5L1 7\"/>"
};

/* see report.h */
void
svg_patterns(StringInfo out)
{
	int			state;

	appendStringInfoString(out,
						   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"0\" height=\"0\""
						   " class=\"patterns\" aria-hidden=\"true\"><defs>\n");
	for (state = 0; state < REPORT_STATES; state++)
		appendStringInfo(out, "<pattern id=\"p%d\" width=\"6\" height=\"6\""
						 " patternUnits=\"userSpaceOnUse\">"
						 "<rect width=\"6\" height=\"6\" class=\"s%d\"/>"
						 "<g class=\"hatch\">%s</g></pattern>\n",
						 state, state, hatchings[state]);
	appendStringInfoString(out, "</defs></svg>\n");
}

/* see report.h */
void
svg_swatch(StringInfo out, int state)
{
	appendStringInfo(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"swatch\""
					 " width=\"14\" height=\"14\" aria-hidden=\"true\">"
					 "<rect width=\"14\" height=\"14\" rx=\"3\" fill=\"url(#p%d)\"/>"
					 "</svg>", state);
}

/* see report.h */
void
svg_bar(StringInfo out, double part, int state)
{
	/* what there is can be seen */
	if (part > 0 && part < 0.01)
		part = 0.01;
	appendStringInfo(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bar\""
					 " viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
					 "<rect class=\"track\" width=\"100\" height=\"8\"/>"
					 "<rect class=\"s%d\" width=\"%.1f\" height=\"8\"/></svg>",
					 state, 100 * Min(part, 1));
}

/* The shares in words, for those who do not see them */
static void
svg_shares(StringInfo out, const Report *r)
{
	const char *comma = "";
	int			state;

	for (state = 0; state < REPORT_STATES; state++)
	{
		if (r->states[state] == 0)
			continue;
		appendStringInfo(out, "%s%s ", comma, report_state_names[state]);
		html_count(out, r->states[state]);
		appendStringInfoString(out, " (");
		html_share(out, r->states[state], r->recipients);
		appendStringInfoChar(out, ')');
		comma = ", ";
	}
	appendStringInfoString(out, comma[0] == '\0' ? "no recipients yet" : ".");
}

/*
 * One arc: a dash of a circle whose circumference is called 100, so that no
 * trigonometry is needed.
 */
static void
svg_arc(StringInfo out, int state, double from, double length, double gap)
{
	double		dash = Max(length - gap, 0.3);

	appendStringInfo(out,
					 "<circle cx=\"100\" cy=\"100\" r=\"78\" pathLength=\"100\" fill=\"none\""
					 " stroke=\"url(#p%d)\" stroke-width=\"30\""
					 " stroke-dasharray=\"%.3f %.3f\" stroke-dashoffset=\"%.3f\""
					 " transform=\"rotate(-90 100 100)\"/>\n",
					 state, dash, 100 - dash, -from);
}

static void
svg_arcs(StringInfo out, const Report *r)
{
	double		length[REPORT_STATES];
	double		sum = 0;
	double		from = 0;
	int			arcs = 0;
	int			state;

	for (state = 0; state < REPORT_STATES; state++)
	{
		length[state] = 100.0 * r->states[state] / Max(r->recipients, 1);
		/* the smallest can be seen, too */
		if (r->states[state] > 0)
			length[state] = Max(length[state], 1.2);
		sum += length[state];
		arcs += r->states[state] > 0;
	}
	for (state = 0; state < REPORT_STATES; state++)
	{
		if (r->states[state] == 0)
			continue;
		svg_arc(out, state, from, 100 * length[state] / sum,
				arcs > 1 ? 0.5 : 0);
		from += 100 * length[state] / sum;
	}
}

/* see report.h */
void
svg_donut(StringInfo out, const Report *r)
{
	appendStringInfoString(out,
						   "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"donut\" width=\"200\""
						   " height=\"200\" viewBox=\"0 0 200 200\" role=\"img\""
						   " aria-labelledby=\"donut-title donut-desc\">"
						   "<title id=\"donut-title\">Recipients by outcome</title>"
						   "<desc id=\"donut-desc\">");
	svg_shares(out, r);
	appendStringInfoString(out, "</desc>\n<circle cx=\"100\" cy=\"100\" r=\"78\""
						   " fill=\"none\" class=\"ring\" stroke-width=\"30\"/>\n");
	svg_arcs(out, r);
	appendStringInfoString(out, "<text x=\"100\" y=\"102\" class=\"figure\">");
	if (r->recipients > 0)
		html_share(out, r->states[REPORT_DELIVERED], r->recipients);
	else
		appendStringInfoString(out, "0");
	appendStringInfoString(out, "</text><text x=\"100\" y=\"122\" class=\"unit\">");
	appendStringInfoString(out, r->recipients > 0 ? "delivered" : "recipients");
	appendStringInfoString(out, "</text></svg>\n");
}

/* The least number of the form 1, 2, 5 times ten to the n that is as large */
static int64
round_up(int64 number)
{
	int64		unit = 1;

	while (unit < PG_INT64_MAX / 100)
	{
		if (number <= unit)
			return unit;
		if (number <= 2 * unit)
			return 2 * unit;
		if (number <= 5 * unit)
			return 5 * unit;
		unit *= 10;
	}
	return number;
}

/* What the axes say, as HTML around the picture */
static void
histogram_axis(StringInfo out, const ReportTimes *times)
{
	appendStringInfoString(out, "<div class=\"axis\" aria-hidden=\"true\"><span>");
	html_text(out, times->bars[0].from);
	if (times->count > 4)
	{
		appendStringInfoString(out, "</span><span>");
		html_text(out, times->bars[times->count / 2].from);
	}
	if (times->count > 1)
	{
		appendStringInfoString(out, "</span><span>");
		html_text(out, times->bars[times->count - 1].from);
	}
	appendStringInfoString(out, "</span></div>\n");
}

/* The bars; with few of them none gets as wide as the page */
static void
histogram_bars(StringInfo out, const ReportTimes *times, int64 top, int state)
{
	int			i;

	for (i = 0; i < times->count; i++)
	{
		double		height = 100.0 * times->bars[i].count / top;

		if (times->bars[i].count == 0)
			continue;
		height = Max(height, 0.8);
		appendStringInfo(out, "<rect class=\"s%d\" x=\"%.2f\" y=\"%.2f\""
						 " width=\"0.84\" height=\"%.2f\"><title>",
						 state, i + 0.08, 100 - height, height);
		html_text(out, times->bars[i].from);
		appendStringInfoString(out, ": ");
		html_count(out, times->bars[i].count);
		appendStringInfoString(out, "</title></rect>\n");
	}
}

/*
 * A histogram of mails by time.  id is a word of ours, for the references
 * within the picture.
 */
void
svg_histogram(StringInfo out, const ReportTimes *times, const char *id,
			  const char *title, int state)
{
	int64		most = 0;
	int64		top;
	int			i;

	for (i = 0; i < times->count; i++)
		most = Max(most, times->bars[i].count);
	top = round_up(most);
	appendStringInfoString(out, "<div class=\"chart\"><div class=\"scale\""
						   " aria-hidden=\"true\"><span>");
	html_count(out, top);
	appendStringInfoString(out, "</span><span>");
	if (top % 2 == 0)
		html_count(out, top / 2);
	appendStringInfoString(out, "</span><span>0</span></div><div class=\"plot\">\n");
	appendStringInfo(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d 100\""
					 " preserveAspectRatio=\"none\" role=\"img\""
					 " aria-labelledby=\"%s-title %s-desc\"><title id=\"%s-title\">%s</title>"
					 "<desc id=\"%s-desc\">At most ",
					 Max(times->count, 12), id, id, id, title, id);
	html_count(out, most);
	appendStringInfoString(out, " mails in ");
	html_seconds(out, times->width);
	appendStringInfoString(out, "; all numbers are in the table that follows."
						   "</desc>\n");
	appendStringInfo(out, "<path class=\"grid\" d=\"M0 0H%dM0 50H%d\"/>\n",
					 Max(times->count, 12), Max(times->count, 12));
	histogram_bars(out, times, top, state);
	appendStringInfoString(out, "</svg>\n");
	histogram_axis(out, times);
	appendStringInfoString(out, "</div></div>\n");
}
