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
#include "pure.h"

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

/* see pure.h */
void
mime_date(StringInfo out, int64 unix_seconds)
{
	static const char weekdays[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
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
	appendStringInfo(out, "%.3s, %02d %.3s %04lld %02d:%02d:%02d +0000",
					 weekdays + 3 * weekday, day, months + 3 * (month - 1),
					 (long long) year, second / 3600, second / 60 % 60,
					 second % 60);
}
