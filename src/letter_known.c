/*-------------------------------------------------------------------------
 *
 * letter_known.c
 *	  Letters whose templates this session has found to be in order.
 *
 * The sender of a letter is told at once if it cannot be rendered, at each
 * call.  To read and to parse all that it is made of costs much more than to
 * queue one recipient, and finds the same as before unless something has
 * changed: then its mark has, see letter_hold().  What the caller may do is no
 * part of that, and is looked at each time.
 *
 * What a transaction has seen of its own changes may never have been: when
 * one is rolled back, to a savepoint too, all is forgotten.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mailman.h"

/* Letters remembered; one that comes takes the place of another */
#define KNOWN_LETTERS	64

typedef struct KnownLetter
{
	int64		id;
	bool		valid;
	LetterMark	mark;
} KnownLetter;

static KnownLetter known[KNOWN_LETTERS];

static KnownLetter *
known_place(const Letter *letter)
{
	return &known[(uint64) letter->id % KNOWN_LETTERS];
}

/* The marks are made by letter_hold(), from zeroes */
static bool
mark_equals(const LetterMark *a, const LetterMark *b)
{
	return memcmp(a, b, sizeof(LetterMark)) == 0;
}

/* see letter.h */
bool
letter_is_known(const Letter *letter)
{
	const KnownLetter *place = known_place(letter);

	return place->valid && place->id == letter->id &&
		mark_equals(&place->mark, &letter->mark);
}

/* see letter.h */
void
letter_remember(const Letter *letter)
{
	KnownLetter *place = known_place(letter);

	place->id = letter->id;
	place->mark = letter->mark;
	place->valid = true;
}

static void
known_forget(void)
{
	int			i;

	for (i = 0; i < KNOWN_LETTERS; i++)
		known[i].valid = false;
}

static void
known_xact_callback(XactEvent event, void *arg)
{
	/* what is prepared may still be rolled back */
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		known_forget();
}

static void
known_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
					   SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		known_forget();
}

void
letter_known_register(void)
{
	RegisterXactCallback(known_xact_callback, NULL);
	RegisterSubXactCallback(known_subxact_callback, NULL);
}
