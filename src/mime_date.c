/*-------------------------------------------------------------------------
 *
 * mime_date.c
 *	  Dates as header fields carry them (RFC 5322 3.3).
 *
 * The C library would ask the locale for names and the server for a time
 * zone; the same letter must give the same bytes on every server, so neither
 * has a say here.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "append.h"

/* The days of the civil calendar, from 0000-03-01 on, by eras of 400 years */
static void
date_from_days(int64 days, int64 *year, int *month, int *day)
{
	int64		era;
	int			doe;			/* day of the era, from 0 */
	int			yoe;			/* year of the era, from 0 */
	int			doy;			/* day of the year, from March 1 */

	days += 719468;				/* from 1970-01-01 */
	era = (days >= 0 ? days : days - 146096) / 146097;
	doe = (int) (days - era * 146097);
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	*month = (5 * doy + 2) / 153;	/* from March = 0 */
	*day = doy - (153 * *month + 2) / 5 + 1;
	*month += *month < 10 ? 3 : -9;
	*year = yoe + era * 400 + (*month <= 2);
}

static inline void
put_two(char *to, int number)
{
	to[0] = (char) ('0' + number / 10);
	to[1] = (char) ('0' + number % 10);
}

/* see pure.h */
void
mime_date(StringInfo out, int64 unix_seconds)
{
	static const char weekdays[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char		text[] = "Thu, 01 Jan 1970 00:00:00 +0000";
	int64		days = unix_seconds / 86400;
	int			second = (int) (unix_seconds % 86400);
	int			weekday;
	int64		year;
	int			month;
	int			day;

	if (second < 0)
	{
		second += 86400;
		days--;
	}
	weekday = (int) (days % 7);
	if (weekday < 0)
		weekday += 7;
	date_from_days(days, &year, &month, &day);
	memcpy(text, weekdays + 3 * weekday, 3);
	put_two(text + 5, day);
	memcpy(text + 8, months + 3 * (month - 1), 3);
	put_two(text + 17, second / 3600);
	put_two(text + 20, second / 60 % 60);
	put_two(text + 23, second % 60);
	if (year >= 0 && year <= 9999)
	{
		put_two(text + 12, (int) year / 100);
		put_two(text + 14, (int) year % 100);
		append_bytes(out, text, sizeof(text) - 1);
	}
	else
		appendStringInfo(out, "%.12s%04lld%s", text, (long long) year,
						 text + 16);
}
