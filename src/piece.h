/*-------------------------------------------------------------------------
 *
 * piece.h
 *	  Some bytes of a message, wherever they lie.
 *
 * A message is a list of pieces, so that what many have in common, their
 * attachments, is in memory once.  A piece begins and ends where a line does:
 * what is done with it line by line needs to know nothing of its neighbours.
 * Its maker says how long it lives.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_PIECE_H
#define MAILMAN_PIECE_H

#include <stddef.h>

typedef struct Piece
{
	const char *data;
	size_t		len;
} Piece;

#endif							/* MAILMAN_PIECE_H */
