/*-------------------------------------------------------------------------
 *
 * relay_option_check.c
 *	  What the value of a relay's option must look like.
 *
 * Every fault is an ERROR that names the option, what is wrong with its value
 * and what to write instead.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "mailman.h"
#include "relay_options.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"

/* see relay_options.h */
void
relay_option_bad(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

/* see relay_options.h */
void
relay_option_missing(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("option \"%s\" is required", name),
			 errhint("%s", hint)));
}

/* [A-Za-z0-9.-] or an IPv6 literal in brackets */
static bool
relay_host_is_valid(const char *host, size_t len)
{
	size_t		i;

	if (len == 0 || len > 253)
		return false;
	if (host[0] == '[' && host[len - 1] == ']' && len > 2)
	{
		for (i = 1; i < len - 1; i++)
		{
			if (!isxdigit((unsigned char) host[i]) && host[i] != ':' &&
				host[i] != '.')
				return false;
		}
		return true;
	}
	for (i = 0; i < len; i++)
	{
		if (!isalnum((unsigned char) host[i]) && host[i] != '.' &&
			host[i] != '-')
			return false;
	}
	return host[0] != '-' && host[0] != '.';
}

void
relay_check_host(const char *name, const char *host)
{
	if (!relay_host_is_valid(host, strlen(host)))
		relay_option_bad(name, "It is no host name.", NULL);
}

void
relay_check_url(const char *name, const char *url)
{
	const char *hint = "Write smtp://host:port or smtps://host:port; "
		"credentials belong into a user mapping.";
	const char *host;
	const char *port;
	size_t		host_len;

	if (pg_strncasecmp(url, "smtp://", 7) == 0)
		host = url + 7;
	else if (pg_strncasecmp(url, "smtps://", 8) == 0)
		host = url + 8;
	else
	{
		relay_option_bad(name, "The URL begins with neither smtp:// nor smtps://.",
						 hint);
		return;
	}
	if (strchr(host, '@') != NULL)
		relay_option_bad(name, "The URL has a user name in it.", hint);
	port = host[0] == '[' ? strstr(host, "]:") : strchr(host, ':');
	if (port != NULL && port[0] == ']')
		port++;
	host_len = port != NULL ? (size_t) (port - host) : strlen(host);
	if (!relay_host_is_valid(host, host_len))
		relay_option_bad(name, "The URL has no valid host.", hint);
	if (port != NULL)
	{
		size_t		digits = strspn(port + 1, "0123456789");
		long		number = atol(port + 1);

		if (digits == 0 || digits > 5 || port[1 + digits] != '\0' ||
			number < 1 || number > 65535)
			relay_option_bad(name, "The port is not a number from 1 to 65535.",
							 hint);
	}
}

void
relay_check_file(const char *name, const char *path)
{
	if (path[0] != '/')
		relay_option_bad(name, "It is not an absolute path.", NULL);
}

/* RFC 6750 2.1 has less; some have more */
void
relay_check_token(const char *name, const char *token)
{
	const char *hint = "Write the access token alone, as the provider gives it.";
	const char *at;

	if (token[0] == '\0')
		relay_option_bad(name, "It is empty.", hint);
	for (at = token; *at; at++)
	{
		if (*at <= ' ' || *at > '~')
			relay_option_bad(name, "It has characters in it that no token has.",
							 hint);
	}
}

int
relay_read_number(const char *name, const char *value, int min, int max)
{
	const char *hint = NULL;
	int			number;

	if (!parse_int(value, &number, 0, &hint))
		relay_option_bad(name, "It is not a number.", hint);
	if (number < min || number > max)
		relay_option_bad(name, psprintf("It must be from %d to %d.", min, max),
						 NULL);
	return number;
}

int
relay_read_time(const char *name, const char *value, int min, int max)
{
	const char *hint = "Write a number with a unit, such as \"30s\".";
	int			ms;

	if (!parse_int(value, &ms, GUC_UNIT_MS, NULL))
		relay_option_bad(name, "It is not a time.", hint);
	if (ms < min || ms > max)
		relay_option_bad(name, psprintf("It must be from %ds to %ds.",
										min / 1000, max / 1000), hint);
	return ms;
}

bool
relay_read_tls_min(const char *name, const char *value)
{
	if (strcmp(value, "1.2") != 0 && strcmp(value, "1.3") != 0)
		relay_option_bad(name, "It must be \"1.2\" or \"1.3\".",
						 "Versions before 1.2 protect nothing (RFC 8996).");
	return strcmp(value, "1.3") == 0;
}

bool
relay_read_switch(const char *name, const char *value)
{
	bool		on;

	if (!parse_bool(value, &on))
		relay_option_bad(name, "It must be \"on\" or \"off\".", NULL);
	return on;
}

Rate
relay_read_rate(const char *name, const char *value)
{
	Rate		rate = {0};
	char		why[80];

	if (!rate_parse(value, strlen(value), &rate, why, sizeof(why)))
		relay_option_bad(name, why, RATE_HINT);
	return rate;
}

void
relay_read_warm_up(const char *name, const char *value, RatePlan *plan)
{
	char		why[80];

	if (!rate_plan_parse_days(value, plan, why, sizeof(why)))
		relay_option_bad(name, why, "Write a rate for each day, such as "
						 "\"200/d, 500/d, 1000/d\".");
}

int64
relay_read_date(const char *name, const char *value)
{
	const char *hint = "Write YYYY-MM-DD; the day begins at midnight UTC.";
	int			year = 0;
	int			month = 0;
	int			day = 0;
	int			read[3];
	int			julian;

	if (strlen(value) != 10 || strspn(value, "0123456789-") != 10 ||
		value[4] != '-' || value[7] != '-' ||
		sscanf(value, "%4d-%2d-%2d", &year, &month, &day) != 3)
		relay_option_bad(name, "It is not a date.", hint);
	julian = date2j(year, month, day);
	j2date(julian, &read[0], &read[1], &read[2]);
	if (read[0] != year || read[1] != month || read[2] != day)
		relay_option_bad(name, "There is no such day.", hint);
	if (year < 2000)
		relay_option_bad(name, "It is before the year 2000.", hint);
	return (julian - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

void
relay_check_line(const char *name, const char *value)
{
	for (; *value; value++)
	{
		if ((unsigned char) *value < 0x20 || *value == 0x7f)
			relay_option_bad(name, "It has control characters in it.", NULL);
	}
}
