/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  A copy of a database must not send.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_ORIGIN_H
#define MAILMAN_ORIGIN_H

#include "postgres.h"

typedef enum OriginState
{
	ORIGIN_NONE,				/* no database was armed */
	ORIGIN_OTHER,				/* another was: this is a copy */
	ORIGIN_OURS
} OriginState;

/* As it is now.  In an extension scope. */
extern OriginState origin_look(void);
extern bool origin_is_ours(void);

/* If none is, this one is from COMMIT on */
extern void origin_arm(void);

#endif							/* MAILMAN_ORIGIN_H */
