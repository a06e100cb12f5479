/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings.
 *
 * What a worker reads is PGC_SIGHUP: a SET in somebody's session would change
 * nothing, so it is an error.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/guc.h"

bool		mailman_enabled = true;
int			mailman_max_workers = 4;
int			mailman_max_failed_runs = 10;
int			mailman_turn_size = 100;
int			mailman_turn_interval = 500;
int			mailman_poll_interval = 1000;
int			mailman_shutdown_grace = 5000;
int			mailman_lock_timeout = 1000;
int			mailman_policy_timeout = 1000;
int			mailman_pause_rejections = 10;
int			mailman_pause_failures = 50;
int			mailman_max_message_size = 25 * 1024;
char	   *mailman_retry_schedule = NULL;
char	   *mailman_key_file = NULL;

static const RetrySchedule *retry_schedule = NULL;

static bool
retry_schedule_check(char **newval, void **extra, GucSource source)
{
	RetrySchedule *schedule;
	const char *hint;
	char	   *why;

	schedule = compat_guc_malloc(sizeof(RetrySchedule));
	if (schedule == NULL)
		return false;
	if (retry_schedule_parse(*newval, schedule, &why, &hint))
	{
		*extra = schedule;
		return true;
	}
	GUC_check_errdetail("%s", why);
	if (hint)
		GUC_check_errhint("%s", hint);
	compat_guc_free(schedule);
	return false;
}

static void
retry_schedule_assign(const char *newval, void *extra)
{
	retry_schedule = extra;
}

const RetrySchedule *
guc_retry_schedule(void)
{
	return retry_schedule;
}

void
guc_pin(const char *const pins[][2])
{
	int			i;

	for (i = 0; pins[i][0] != NULL; i++)
		SetConfigOption(pins[i][0], pins[i][1], PGC_SUSET, PGC_S_SESSION);
}

void
guc_define(void)
{
	DefineCustomBoolVariable("mailman.enabled",
							 "Letters are sent.",
							 "Off: they are queued and stay; for clones and "
							 "restored copies.",
							 &mailman_enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.max_workers",
							"Most letters sent at once, in all databases.",
							NULL, &mailman_max_workers, 4, 1, 1000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.max_failed_runs",
							"Workers of a letter that may fail in a row "
							"before it is paused.",
							NULL, &mailman_max_failed_runs, 10, 1, 1000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.turn_size",
							"Most outcomes a turn records.",
							"At most twice as many deliveries of a letter "
							"are being sent at any moment.",
							&mailman_turn_size, 100, 1, 10000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.turn_interval",
							"Longest time between two turns of a letter "
							"that is being sent.",
							NULL, &mailman_turn_interval, 500, 10, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.poll_interval",
							"How often a worker with nothing to send looks "
							"for work.",
							NULL, &mailman_poll_interval, 1000, 10, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.shutdown_grace",
							"How long a worker that is told to end, or "
							"whose letter is paused, waits for replies.",
							"Mails that are not answered by then are in "
							"doubt.  After pg_terminate_backend() it waits "
							"3 s at most.",
							&mailman_shutdown_grace, 5000, 0, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.lock_timeout",
							"How long a turn waits for somebody's lock "
							"before it is tried again.",
							NULL, &mailman_lock_timeout, 1000, 10, 600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.policy_timeout",
							"How long newsletter.policy may take for the "
							"recipients of a turn.",
							"When it is over they are asked about one by "
							"one, and whoever takes as long alone fails.",
							&mailman_policy_timeout, 1000, 10, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.pause_rejections",
							"A letter pauses when so many mails in a row "
							"were rejected for their content.",
							"0: never.",
							&mailman_pause_rejections, 10, 0, 10000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.pause_failures",
							"A letter pauses when so many percent of its "
							"last 200 mails have failed.",
							"0: never.",
							&mailman_pause_failures, 50, 0, 100,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mailman.max_message_size",
							"Largest mail that is made, with its files.",
							"A recipient of a larger one fails.",
							&mailman_max_message_size, 25 * 1024,
							LETTER_SIZE_MIN / 1024, LETTER_SIZE_MAX / 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("mailman.retry_schedule",
							   "Waits before a deferred delivery is tried "
							   "again; the last one repeats.",
							   NULL, &mailman_retry_schedule,
							   "5min, 15min, 30min, 1h, 2h, 4h",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   retry_schedule_check, retry_schedule_assign,
							   NULL);
	DefineCustomStringVariable("mailman.key_file",
							   "File with the keys that wrap secrets and "
							   "private keys in the database.",
							   "A key a line, 64 hexadecimal digits: the "
							   "first wraps, all unwrap.",
							   &mailman_key_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	MarkGUCPrefixReserved("mailman");
}
