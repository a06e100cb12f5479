/*-------------------------------------------------------------------------
 *
 * forgotten.h
 *	  Addresses that were forgotten: forget.c and forgotten.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_FORGOTTEN_H
#define MAILMAN_FORGOTTEN_H

#include "mailman.h"

/* Where the placeholders live; RFC 2606: never a real domain */
#define FORGOTTEN_DOMAIN "@forgotten.invalid"

/*
 * What an address is known by; case and the domain's spelling do not matter.
 * NULL if it is none.
 */
extern bytea *forgotten_hash(const char *email, const Secret *secret);

/* It may come back: forget that it was forgotten, unless it complained */
extern void forgotten_revive(int64 newsletter_id, const char *email);

#endif							/* MAILMAN_FORGOTTEN_H */
