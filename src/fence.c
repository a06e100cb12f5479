/*-------------------------------------------------------------------------
 *
 * fence.c
 *	  The letter's row in a turn: locked first, written last.
 *
 * The fence is what shuts out every worker but the latest.  In between what
 * the letter is made of is loaded, if it is not what it was.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "port/pg_bitutils.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/*
 * Tests that wait.  While the letter itself is not sent, what is loaded for
 * them depends on who asked, and on when.
 */
static void
turn_look_tests(Worker *w, Look *look)
{
	static Statement tests = {
		.sql = "SELECT count(*), max(t.requested_at), CASE WHEN l.sender IS NULL"
		" THEN (array_agg(t.requested_by::text ORDER BY t.id))[1] END"
		" FROM mailman.letter l JOIN mailman.test t ON t.letter_id = l.id"
		" WHERE l.id = $1 AND t.state = 'pending' GROUP BY l.sender",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(w->letter_id)};
	const char *tester;

	if (statement_run(&tests, SPI_OK_SELECT, values, NULL) == 0)
		return;
	tester = row_text(0, 3);
	look->tests = mailman_enabled ? (int) row_int64(0, 1, 0) : 0;
	look->asked_at = row_int64(0, 2, 0);
	/* first those of one person, then those of the next */
	if (tester != NULL && w->ntests > 0 && w->letter != NULL)
		tester = w->letter->sender;
	if (tester != NULL)
		strlcpy(look->tester, tester, sizeof(look->tester));
	if (look->mode != MODE_SEND)
	{
		strlcpy(look->version.tester, look->tester,
				sizeof(look->version.tester));
		look->version.asked_at = look->asked_at;
	}
}

/* Lock the letter's row, if it is still ours, and see what it says */
bool
turn_fence(Worker *w, Look *look)
{
	static Statement fence = {
		.sql = "SELECT l.state, l.send_at, l.whole, l.newsletter_id,"
		" l.revision::int8, l.on_doubt = 'hold', l.resumed_at, EXISTS (SELECT"
		" FROM mailman.test t WHERE t.letter_id = l.id AND t.state = 'pending'),"
		" EXISTS (SELECT FROM mailman.posting p WHERE p.letter_id = l.id)"
		" FROM mailman.letter l"
		" WHERE l.id = $1 AND l.run = $2 FOR NO KEY UPDATE",
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID}
	};
	Datum		values[2] = {Int64GetDatum(w->letter_id),
	Int64GetDatum(w->run)};

	memset(look, 0, sizeof(*look));
	look->mode = MODE_GONE;
	if (statement_run(&fence, SPI_OK_SELECT, values, NULL) == 0)
		return false;
	strlcpy(look->state, row_text(0, 1), sizeof(look->state));
	look->send_at = row_int64(0, 2, 0);
	look->mode = look_mode(look->state, look->send_at);
	look->whole = row_bool(0, 3) && look->mode == MODE_SEND;
	look->version.hold = row_bool(0, 6);
	look->version.resumed_at = row_int64(0, 7, 0);
	look->postings = row_bool(0, 9);
	if (strcmp(look->state, "sent") == 0 && !look->postings)
		look->mode = MODE_STOP; /* all that is left are tests */
	letter_mark_read(row_int64(0, 4, 0), (int) row_int64(0, 5, 0),
					 &look->version.mark);
	if (row_bool(0, 8))
		turn_look_tests(w, look);
	if ((look->mode == MODE_SEND || look->tests > 0) && !origin_is_ours())
	{
		look->tests = 0;
		if (look->mode == MODE_SEND)
			look->mode = MODE_STOP;
	}
	return true;
}

/* They outlive the letter that was loaded, if a mail is on its way */
static void
turn_keep_files(Worker *w, LetterFiles *files)
{
	if (files == w->files)
		return;
	MemoryContextSetParent(files->context, TopMemoryContext);
	letter_files_hold(files);
	if (w->files != NULL)
		letter_files_release(w->files);
	w->files = files;
}

/*
 * Load what the letter and its relays are now, with the sender's rights.
 * Whoever asks for a test wants relays to be tried again that were out.  What
 * was loaded before stays until the new is complete.
 */
void
turn_prepare(Worker *w, const Look *look)
{
	MemoryContext context;
	MemoryContext old;
	Letter	   *letter;
	List	   *relays = NIL;
	ListCell   *cell;
	const char *name;
	Oid			sender;

	if (w->letter != NULL && !w->relay_stale &&
		memcmp(&w->letter_version, &look->version,
			   sizeof(LetterVersion)) == 0)
		return;
	w->relay_stale = false;		/* again true if anything changes meanwhile */
	context = AllocSetContextCreate(CurTransactionContext, "mailman letter",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	letter = letter_load(w->letter_id);
	name = letter ? tests_sender(w, letter, look) : NULL;
	if (name == NULL)
		elog(ERROR, "letter " INT64_FORMAT " has no sender", w->letter_id);
	if (name == letter->sender)
		sender_check_exists(letter);
	else
	{
		letter->sender = pstrdup(name);
		letter->sender_oid = get_role_oid(name, false);
	}
	sender = letter->sender_oid;
	if (w->files != NULL && w->files->revision == letter->revision)
		letter->files = w->files;
	if (look->mode != MODE_SEND)
		letter->resumed_at = Max(letter->resumed_at, look->asked_at);
	owner_check_exists(letter->newsletter_id, letter->owner,
					   letter->owner_oid);
	letter_check_member(letter, sender);
	letter_check_sendable(letter, sender);
	foreach(cell, letter->relays)
		relays = lappend(relays, relay_load(lfirst(cell), sender));
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, TopMemoryContext);
	turn_keep_files(w, letter->files);
	if (w->letter_context != NULL)
		MemoryContextDelete(w->letter_context);
	w->letter_context = context;
	w->letter = letter;
	w->chosen = w->decided = NULL;	/* by what was known before */
	memcpy(&w->letter_version, &look->version, sizeof(LetterVersion));
	routes_update(w, relays);
	domains_load(w);
}

/* The state a letter has after this turn */
static const char *
turn_next_state(Worker *w, const Turn *turn, const Look *look)
{
	const Tally *tally = &turn->tally;

	if (look->mode != MODE_SEND)
		return look->state;
	if (w->pause_reason[0] != '\0')
		return "paused";
	if (look->whole || tally->count[DELIVERY_PENDING] > 0 ||
		tally->count[DELIVERY_SENDING] > 0 ||
		tally->count[DELIVERY_DEFERRED] > 0)
		return "sending";
	/* more are about to come; but it is not opened again for nobody */
	if ((turn->fed || worker_is_fed(w)) && !turn->reopens)
		return "sending";
	return "sent";
}

/* An event when the letter's doubts have become 1, 2, 4, 8, ... */
static void
turn_tell_doubts(Worker *w, const Turn *turn)
{
	if (turn->doubts > w->doubts &&
		(w->doubts == 0 || pg_leftmost_one_pos64(turn->doubts) >
		 pg_leftmost_one_pos64(w->doubts)))
		event_doubt(w->letter_id, turn->doubts, turn->doubts - w->doubts);
}

/* Write the letter's row, if anything about it has changed */
void
turn_write(Worker *w, const Turn *turn, Look *look)
{
	static Statement write = {
		.sql = "UPDATE mailman.letter SET"
		" mail_order = $2, doubts = $3, state = $4,"
		" state_reason = CASE WHEN $4 = state THEN state_reason ELSE $5 END,"
		" failed_runs = CASE WHEN $6 THEN 0 ELSE failed_runs END,"
		" rate = coalesce($7, rate),"
		" rate_at = CASE WHEN $7 IS NULL THEN rate_at ELSE now() END"
		" WHERE id = $1",
		.nargs = 7,
		.argtypes = {INT8OID, JSONBOID, INT8OID, TEXTOID, TEXTOID, BOOLOID,
		FLOAT4OID}
	};
	const char *state = turn_next_state(w, turn, look);
	bool		moved = strcmp(state, look->state) != 0;
	bool		paused = moved && strcmp(state, "paused") == 0;
	bool		rated = turn->recorded > 0;
	Datum		values[7] = {Int64GetDatum(w->letter_id)};
	char		nulls[7] = {' ', ' ', ' ', ' ', paused ? ' ' : 'n', ' ',
	rated ? ' ' : 'n'};

	if (!turn->changed && !moved && turn->recorded == 0)
		return;
	values[1] = tally_to_jsonb(&turn->tally);
	values[2] = Int64GetDatum(turn->doubts);
	values[3] = CStringGetTextDatum(state);
	if (paused)
		values[4] = CStringGetTextDatum(w->pause_reason);
	values[5] = BoolGetDatum(turn->recorded > turn->given_up || paused);
	values[6] = Float4GetDatum((float4) meter_rate(&turn->meter));
	statement_run(&write, SPI_OK_UPDATE, values, nulls);
	turn_tell_doubts(w, turn);
	strlcpy(look->state, state, sizeof(look->state));
	look->paused = paused;
	look->moved = moved;
	if (paused)
		look->mode = MODE_STOP;
}
