/*-------------------------------------------------------------------------
 *
 * owned.h
 *	  Whose is a row: read without statements.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_OWNED_H
#define MAILMAN_OWNED_H

#include "utils/snapshot.h"

/* The newsletter's owner; InvalidOid: none, or there is no such newsletter */
extern Oid	owned_newsletter_owner(int64 newsletter_id, Snapshot snapshot);

/* The newsletter of a letter; false: there is no such letter */
extern bool owned_letter_newsletter(int64 letter_id, Snapshot snapshot,
									int64 *newsletter_id);

#endif							/* MAILMAN_OWNED_H */
