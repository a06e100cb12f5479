/*-------------------------------------------------------------------------
 *
 * letter_mark.c
 *	  What tells whether anything that a letter is made of has changed.
 *
 * Beside its own content, which counts its revisions, that is the row of its
 * newsletter, and those of the newsletter's key and partials.  A row that was
 * changed is another version, which somebody else has inserted or which lies
 * elsewhere: so nobody need count, and no lock is needed.
 *
 * Each mailman_send() of one recipient looks at them, and so does each turn.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "key_scan.h"
#include "mailman.h"
#include "utils/snapmgr.h"

/* Where a version of a row lies, and who has inserted it */
typedef struct RowVersion
{
	TransactionId xmin;
	ItemPointerData place;
} RowVersion;

static void
mark_row(RowsMark *mark, TransactionId xmin, ItemPointer place)
{
	RowVersion	version;

	memset(&version, 0, sizeof(version));	/* its padding, too */
	version.xmin = xmin;
	version.place = *place;
	mark->count++;
	mark->hash ^= hash_bytes_extended((const unsigned char *) &version,
									  sizeof(version), 0);
}

/* The rows of a table whose key begins with the newsletter, in any order */
static void
mark_rows(OurTable table, int64 newsletter_id, Snapshot snapshot,
		  RowsMark *mark)
{
	KeyScan		scan;
	HeapTuple	tuple;

	key_scan_begin(&scan, table, &newsletter_id, NULL, snapshot);
	while (HeapTupleIsValid(tuple = key_scan_next(&scan)))
		mark_row(mark, HeapTupleHeaderGetRawXmin(tuple->t_data),
				 &tuple->t_self);
	key_scan_end(&scan);
}

/* see letter.h */
void
letter_mark_read(int64 newsletter_id, int revision, LetterMark *mark)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	memset(mark, 0, sizeof(*mark));
	mark->revision = revision;
	mark->max_message_size = mailman_max_message_size;
	mark_rows(TABLE_NEWSLETTER, newsletter_id, snapshot, &mark->newsletter);
	mark_rows(TABLE_DKIM_KEY, newsletter_id, snapshot, &mark->key);
	mark_rows(TABLE_PARTIAL, newsletter_id, snapshot, &mark->partials);
	UnregisterSnapshot(snapshot);
}

/* see letter.h */
void
letter_mark_newsletter(LetterMark *mark, TransactionId xmin, ItemPointer place)
{
	memset(&mark->newsletter, 0, sizeof(mark->newsletter));
	mark_row(&mark->newsletter, xmin, place);
}

/* see letter.h */
bool
letter_mark_equals(const LetterMark *a, const LetterMark *b)
{
	return memcmp(a, b, sizeof(LetterMark)) == 0;
}
