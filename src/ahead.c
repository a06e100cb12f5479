/*-------------------------------------------------------------------------
 *
 * ahead.c
 *	  How much of mails a worker has made and not yet got rid of.
 *
 * Mails are made ahead of the sessions, so that none of these waits.  Of some
 * kB that is nothing, of 25 MB it would be gigabytes.  So there is a budget of
 * bytes.  What is beyond is made when others have left; one at a time is made
 * whatever it weighs.  A mail is gone when its outcome is known, not only when
 * the turn has recorded that.
 *
 * What all mails of a letter have in common is in no budget: it is in memory
 * once.  A mail holds it as long as it is on its way.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "mailman.h"
#include "worker.h"

/* Bytes of mails, if it is more than one */
#define AHEAD_MAX	((size_t) 64 * 1024 * 1024)

/* What is smaller lies in the first block of the slot, and stays there */
#define AHEAD_SMALL	8192

/* Blocks from this size on are no part of the heap, as glibc has it at first */
#define AHEAD_LARGE	(128 * 1024)

/* So much that is free at the heap's end may stay */
#define AHEAD_TRIM	(1024 * 1024)

/*
 * Else glibc, having seen a large mail freed, would keep the room of twice as
 * much for those to come.
 */
void
ahead_begin(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, AHEAD_LARGE);
	mallopt(M_TRIM_THRESHOLD, AHEAD_TRIM);
#endif
}

/* see sending.h; the next is likely to weigh what the last did */
bool
ahead_has_room(const Worker *w)
{
	return w->ahead_size == 0 || w->ahead_size + w->ahead_last <= AHEAD_MAX;
}

/* see sending.h */
void
ahead_add(Worker *w, Delivery *d, const StringInfoData *wire)
{
	d->wire = wire->data;
	d->wire_size = wire->maxlen;
	w->ahead_last = d->wire_size;
	w->ahead_size += d->wire_size;
	d->files = w->files;
	letter_files_hold(d->files);
}

/* see sending.h */
void
ahead_drop(Worker *w, Delivery *d)
{
	if (d->wire == NULL)
		return;
	w->ahead_size -= d->wire_size;
	letter_files_release(d->files);
	if (d->wire_size > AHEAD_SMALL)
		pfree(d->wire);
	d->wire = NULL;
	d->wire_size = 0;
	d->files = NULL;
	d->mail.pieces = NULL;
	d->mail.npieces = 0;
}
