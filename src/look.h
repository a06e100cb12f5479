/*-------------------------------------------------------------------------
 *
 * look.h
 *	  What a letter's row says, and what there is to do.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_LOOK_H
#define MAILMAN_LOOK_H

#include "mailman.h"
#include "route.h"

/* What the letter's row said in the last turn */
typedef enum LetterMode
{
	MODE_SEND,					/* sending, or sent and posted again */
	MODE_WAIT,					/* scheduled, not due */
	MODE_STOP,					/* paused or called back: drain and end */
	MODE_CANCEL,				/* cancelled: drain, skip the rest, end */
	MODE_GONE					/* not ours any more: end at once */
} LetterMode;

/* Alike: a letter that was loaded is what it would be loaded as now */
typedef struct LetterVersion
{
	LetterMark	mark;
	bool		hold;
	TimestampTz resumed_at;
	char		tester[NAMEDATALEN];	/* if only tests are sent */
	TimestampTz asked_at;
} LetterVersion;

/* ---- look.c: what is there to do? ---- */

typedef struct Look
{
	LetterMode	mode;
	char		state[16];
	bool		postings;
	TimestampTz posted_at;		/* the first of them, 0: none */
	bool		sending;		/* the tally knows rows 'sending' */
	bool		open;			/* the tally knows rows that wait */
	bool		whole;			/* it is still to be topped up */
	bool		paused;			/* by this turn: turn_write() */
	bool		moved;			/* so is its state */
	TimestampTz due_at;			/* of the first that waits, 0: none */
	TimestampTz send_at;		/* 0: at once */
	TimestampTz ready_at;		/* when it should have a worker; DT_NOEND:
								 * when something is posted */
	TimestampTz barred_until;	/* but not before, as others have failed */
	int			tests;			/* that wait */
	TimestampTz tested_at;		/* since when the first does */
	bool		testing;		/* some are 'sending' */
	char		tester[NAMEDATALEN];	/* who asked for the first that waits;
										 * "": the letter has a sender */
	TimestampTz asked_at;		/* when the last was asked for; turn_fence()
								 * fills in these two, and the following */
	LetterVersion version;		/* of what it is made of */
} Look;

extern LetterMode look_mode(const char *state, TimestampTz send_at);

/* Are those who wait since then too old, whatever is wrong? */
extern bool look_is_too_old(const Worker *w, TimestampTz since);

/* In a transaction; run 0: whatever worker has the letter */
extern void look_at(Worker *w, int64 run, Look *look);

/* Should a letter have a worker now? */
extern bool look_has_work(const Look *look);

/* Is there something to record or claim?  If not, w knows when to look next,
 * or that it has ended. */
extern bool look_calls_for_turn(Worker *w);

#endif							/* MAILMAN_LOOK_H */
