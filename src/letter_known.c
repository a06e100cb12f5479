/*-------------------------------------------------------------------------
 *
 * letter_known.c
 *	  Letters whose templates this session has found to be in order.
 *
 * The sender of a letter is told at once if it cannot be rendered, at each
 * call.  To read and to parse all that it is made of costs much more than to
 * queue one recipient, and finds the same as before unless something has
 * changed: then its mark has, see letter_mark.c.  So has what the newsletter
 * says; of the letter's own row the rest is read each time.  What the caller
 * may do is no part of that, and is looked at each time, too.
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
#include "utils/memutils.h"

/* Letters remembered; one that comes takes the place of another */
#define KNOWN_LETTERS	64

typedef struct KnownLetter
{
	MemoryContext context;		/* of what it is; NULL: never used */
	bool		valid;
	Letter		letter;			/* without its content */
} KnownLetter;

static KnownLetter known[KNOWN_LETTERS];

static KnownLetter *
known_place(int64 letter_id)
{
	return &known[(uint64) letter_id % KNOWN_LETTERS];
}

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static List *
copy_names(List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

/*
 * All that letter_read() has read, in the current memory context, and nothing
 * of its content.  Neither lives as long as the other.
 */
static void
known_copy(Letter *copy, const Letter *letter)
{
	*copy = *letter;
	memset(&copy->work, 0, sizeof(copy->work));
	memset(&copy->render, 0, sizeof(copy->render));
	copy->files = NULL;
	copy->unseen = false;		/* of this transaction */
	copy->state = copy_text(letter->state);
	copy->owner = copy_text(letter->owner);
	copy->sender = copy_text(letter->sender);
	copy->policy = copy_text(letter->policy);
	copy->retry_schedule = copy_text(letter->retry_schedule);
	copy->relays = copy_names(letter->relays);
	if (letter->retry != NULL)
		copy->retry = memcpy(palloc(sizeof(RetrySchedule)), letter->retry,
							 sizeof(RetrySchedule));
}

/* see letter.h */
bool
letter_is_known(const Letter *letter)
{
	const KnownLetter *place = known_place(letter->id);

	return place->valid && place->letter.id == letter->id &&
		letter_mark_equals(&place->letter.mark, &letter->mark);
}

/* see letter.h */
Letter *
letter_known_hold(int64 letter_id)
{
	const KnownLetter *place = known_place(letter_id);
	Letter	   *letter;

	if (!place->valid || place->letter.id != letter_id)
		return NULL;
	letter = palloc(sizeof(Letter));
	known_copy(letter, &place->letter);
	if (!letter_row_hold(letter))
		return NULL;
	letter_mark_read(letter->newsletter_id, letter->revision, &letter->mark);
	if (!letter_is_known(letter))
		return NULL;
	letter->owner_oid = role_known(letter->owner_oid);
	letter->owner = role_called(letter->owner_oid, letter->owner);
	return letter;
}

/*
 * see letter.h
 *
 * With a snapshot of its own a transaction may have read older rows than those
 * that the mark is of.
 */
void
letter_remember(const Letter *letter)
{
	KnownLetter *place = known_place(letter->id);
	MemoryContext old;

	place->valid = false;
	if (IsolationUsesXactSnapshot())
		return;
	if (place->context == NULL)
		place->context = AllocSetContextCreate(TopMemoryContext,
											   "mailman known letter",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(place->context);
	old = MemoryContextSwitchTo(place->context);
	known_copy(&place->letter, letter);
	MemoryContextSwitchTo(old);
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
