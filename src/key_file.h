/*-------------------------------------------------------------------------
 *
 * key_file.h
 *	  mailman.key_file: what lies in a table, wrapped and unwrapped.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_KEY_FILE_H
#define MAILMAN_KEY_FILE_H

#include "postgres.h"

/* A secret as it lies in a row */
typedef struct Stored
{
	bytea	   *bytes;
	char	   *wrapped_by;		/* id of a key of the file; NULL: plain */
} Stored;

extern bool key_file_is_set(void);

/* As two columns of a row, side by side; only the second may be null */
extern void stored_columns(const Stored *stored, Datum *values, char *nulls);

/* The row that a secret belongs to, in words: it unwraps nowhere else */
extern char *key_file_owner(const char *table, int64 newsletter_id,
							const char *name);

/*
 * Wrap with the first key of the file, or leave plain if mailman.key_file is
 * not set; an ERROR if the file cannot be used.
 */
extern void key_file_wrap(Stored *to, const char *owner, const uint8 *secret,
						  size_t len);

/* As palloc'd bytes with a NUL behind them; an ERROR why it cannot be done */
extern uint8 *key_file_unwrap(const Stored *from, const char *owner,
							  size_t *len);

/* Why what was wrapped with that key cannot be unwrapped now, or NULL */
extern char *key_file_fault(const char *wrapped_by);

#endif							/* MAILMAN_KEY_FILE_H */
