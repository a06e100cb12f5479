/*-------------------------------------------------------------------------
 *
 * scout.c
 *	  A scout: one short visit to one database, to start what is due or
 *	  orphaned there.
 *
 * A letter is orphaned if there is work for it and nobody holds its lock:
 * exactly and at once, whatever the clock says.  Letters whose workers fail
 * without recording an outcome are left alone for a while, exponentially
 * longer each time.  mailman_wake() does the same from a session.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqsignal.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "process.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LOOK_AGAIN_MS		2000	/* whether what was started has come */
#define LOOK_SUSPECT_MS		250 /* whether the one before has cleared */
#define SUSPECT_MS			5000	/* crashes come soon, if at all */
#define LOOK_PREPARED_MS	1000	/* while a prepared transaction exists */
#define LOOK_RUNNING_MS		60000	/* while letters are being sent */

/* When a process that was to come has come, or its place is free again */
#define LOOK_COMING_MS		(PLACE_LAPSE_US / 1000 + 1000)

PG_FUNCTION_INFO_V1(mailman_wake);
PGDLLEXPORT void mailman_scout_main(Datum arg);

/* One letter with work for a worker, now or later */
typedef struct OpenLetter
{
	int64		id;
	TimestampTz ready_at;
	TimestampTz run_at;			/* when its latest worker began */
	TimestampTz line_at;		/* since when it waits in line */
	int			failed_runs;
} OpenLetter;

static int
scout_compare(const void *a, const void *b)
{
	const OpenLetter *one = a;
	const OpenLetter *other = b;

	if (one->line_at != other->line_at)
		return one->line_at < other->line_at ? -1 : 1;
	return one->id < other->id ? -1 : one->id > other->id;
}

/*
 * All letters with work, in the order of the line.  A worker whose predecessors
 * have failed waits as long as mailman.work says.
 */
static OpenLetter *
scout_letters(uint64 *count)
{
	static Statement open = {
		.sql = "SELECT letter_id, greatest(ready_at, barred_until), ran_at,"
		" since, failed_runs::int8 FROM mailman.work WHERE letter_id IN ("
		"SELECT id FROM mailman.letter"
		" WHERE state IN ('scheduled', 'sending', 'paused') OR cancelling"
		" UNION ALL SELECT letter_id FROM mailman.posting"
		" UNION ALL SELECT letter_id FROM mailman.test"
		" WHERE state IN ('pending', 'sending')) AND ready_at IS NOT NULL"
	};
	uint64		rows = statement_run(&open, SPI_OK_SELECT, NULL, NULL);
	OpenLetter *letters = palloc(Max(rows, 1) * sizeof(OpenLetter));
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		OpenLetter *letter = &letters[row];

		letter->id = row_int64(row, 1, 0);
		letter->ready_at = row_int64(row, 2, 0);
		letter->run_at = row_int64(row, 3, DT_NOBEGIN);
		letter->line_at = Max(row_int64(row, 4, DT_NOBEGIN),
							  place_blocked_at(MyDatabaseId, letter->id));
		letter->failed_runs = (int) row_int64(row, 5, 0);
	}
	qsort(letters, rows, sizeof(OpenLetter), scout_compare);
	*count = rows;
	return letters;
}

/* Is anything in this database prepared, and may be committed any moment? */
static bool
scout_is_prepared(void)
{
	static Statement prepared = {
		.sql = "SELECT FROM pg_catalog.pg_prepared_xacts"
		" WHERE database = pg_catalog.current_database() LIMIT 1"
	};

	return statement_run(&prepared, SPI_OK_SELECT, NULL, NULL) > 0;
}

/*
 * Is somebody at work on it, or about to be?  Where there are places they
 * tell, as trying the lock may keep from it who is about to take it.
 */
static bool
scout_is_running(int64 letter_id, bool *coming)
{
	*coming = false;
	if (shmem_is_there())
		return place_is_taken(MyDatabaseId, letter_id, coming);
	return letter_is_locked(letter_id);
}

/*
 * When a worker crashes, the server takes all others down with it, and nobody
 * knows whose fault it was.  So letters whose worker has failed are started
 * one at a time: the innocent record an outcome, which clears them.
 */
static bool
scout_is_suspect(const OpenLetter *letter, bool running, TimestampTz now)
{
	if (running)
		return letter->failed_runs > 1 && letter->run_at != DT_NOBEGIN &&
			now - letter->run_at < SUSPECT_MS * INT64CONST(1000);
	return letter->failed_runs > 0;
}

/* True: it has a process, started here or, just now, by somebody else */
static bool
scout_launch(int64 letter_id)
{
	LaunchAnswer answer = launch_letter(letter_id);

	if (answer == LAUNCH_NO_PLACE ||
		(answer == LAUNCH_NO_PROCESS &&
		 !shmem_wait_more(MyDatabaseId, LINE_WAITS)))
		launch_report_waiting(answer == LAUNCH_NO_PLACE);
	return answer == LAUNCHED || answer == LAUNCH_RUNNING;
}

/*
 * Start what is ready, as far as there are slots; the rest waits in line.
 * Returns how many were started.
 */
static int
scout_start(OpenLetter *letters, uint64 count, TimestampTz *next,
			LineState *line)
{
	TimestampTz now = GetCurrentTimestamp();
	int			slots = shmem_is_there() ? mailman_max_workers :
		mailman_max_workers - slot_count();
	bool	   *running = palloc0(count + 1);
	bool		suspect = false;
	int			started = 0;
	uint64		i;

	for (i = 0; i < count; i++)
	{
		bool		coming;

		running[i] = scout_is_running(letters[i].id, &coming);
		if (running[i])
			*next = Min(*next,
						TimestampTzPlusMilliseconds(now, coming ?
													LOOK_COMING_MS :
													LOOK_RUNNING_MS));
		suspect = suspect ||
			(running[i] && scout_is_suspect(&letters[i], true, now));
	}
	for (i = 0; i < count; i++)
	{
		bool		alone = scout_is_suspect(&letters[i], false, now);

		if (running[i])
			continue;
		if (letters[i].ready_at > now)
			*next = Min(*next, letters[i].ready_at);
		else if (alone && suspect)
			*next = Min(*next, TimestampTzPlusMilliseconds(now,
														   LOOK_SUSPECT_MS));
		else if (started < slots && scout_launch(letters[i].id))
		{
			started++;
			suspect = suspect || alone;
		}
		else
			*line = Max(*line, place_is_blocked(MyDatabaseId, letters[i].id) ?
						LINE_BLOCKED : LINE_WAITS);
	}
	if (started > 0 || *line != LINE_EMPTY)
		*next = Min(*next, TimestampTzPlusMilliseconds(now, LOOK_AGAIN_MS));
	return started;
}

int
scout_look(TimestampTz *next, LineState *line)
{
	OpenLetter *letters;
	uint64		count;

	*next = DT_NOEND;
	*line = LINE_EMPTY;
	if (!mailman_enabled)
		return 0;
	/* what is prepared may be the very first mailman_send(), which arms us */
	if (scout_is_prepared())
		*next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											LOOK_PREPARED_MS);
	if (!origin_is_ours())
		return 0;
	letters = scout_letters(&count);
	return scout_start(letters, count, next, line);
}

/* mailman_wake() RETURNS bigint */
Datum
mailman_wake(PG_FUNCTION_ARGS)
{
	ExtensionScope scope;
	TimestampTz next;
	LineState	line;
	int			started;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a standby does not send"),
				 errhint("It goes on by itself when it is promoted.")));
	extension_enter_reading(&scope);
	started = scout_look(&next, &line);
	if (!shmem_is_there() && event_waits_since() != 0)
		(void) launch_scout();
	extension_leave(&scope);
	shmem_wake(MyDatabaseId, GetCurrentTimestamp());
	PG_RETURN_INT64(started);
}

/* A visit must not hang, whatever users have set for their database */
static void
scout_pin_settings(void)
{
	static const char *const pins[][2] = {
		{"application_name", "mailman scout"},
		{"search_path", "pg_catalog, pg_temp"},
		{"statement_timeout", "20s"},
		{"lock_timeout", "1s"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"row_security", "off"},
		{"jit", "off"},
		{"enable_seqscan", "off"},
		{NULL, NULL}
	};

	guc_pin(pins);
}

static void
scout_visit(TimestampTz *next, LineState *line)
{
	ExtensionScope scope;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(extension_hold(InvalidOid, true)))
	{
		extension_enter_reading(&scope);
		(void) scout_look(next, line);
		extension_leave(&scope);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
mailman_scout_main(Datum arg)
{
	TimestampTz next = DT_NOEND;
	LineState	line = LINE_EMPTY;
	uint32		wakes;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg),
											  InvalidOid, 0);
	scout_pin_settings();
	pgstat_report_activity(STATE_RUNNING, "looking for letters to start");
	wakes = shmem_wakes(MyDatabaseId);
	PG_TRY();
	{
		scout_visit(&next, &line);
		(void) shmem_wait(MyDatabaseId, line);
	}
	PG_CATCH();
	{
		/* DROP EXTENSION, or somebody's lock, came in between */
		if (geterrcode() != ERRCODE_UNDEFINED_TABLE &&
			geterrcode() != ERRCODE_T_R_DEADLOCK_DETECTED &&
			geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		AbortCurrentTransaction();
		next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   LOOK_AGAIN_MS);
	}
	PG_END_TRY();
	next = Min(next, event_notify());
	shmem_report(MyDatabaseId, wakes, next);
	proc_exit(0);
}
