/*-------------------------------------------------------------------------
 *
 * send.h
 *	  Who is queued for a letter.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_SEND_H
#define MAILMAN_SEND_H

#include "postgres.h"

#include "letter.h"
#include "utils/array.h"

/* What one call queued */
typedef struct Posting
{
	int64		recipients;
	int64		skipped;
} Posting;

/* Every active subscription that has no delivery yet */
extern void send_queue_all(const Letter *letter, Posting *posting);

/*
 * Everybody in the list who has none; an ERROR if one of them is not a
 * subscription of the letter's newsletter.
 */
extern void send_queue_list(const Letter *letter, ArrayType *recipients,
							NullableDatum variables, Posting *posting);

#endif							/* MAILMAN_SEND_H */
