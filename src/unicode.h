/*-------------------------------------------------------------------------
 *
 * unicode.h
 *	  What there is to know of a character, by its Unicode properties.
 *
 * Pure, and without a header of PostgreSQL's, as the network layer asks too.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_UNICODE_H
#define MAILMAN_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The character at s, if it is well-formed UTF-8 (RFC 3629) of at most len
 * bytes, ASCII included: its length, and itself; else 0.
 */
extern size_t unicode_decode(const unsigned char *s, size_t len,
							 uint32_t *character);

/*
 * Does nobody see it?  Controls, spaces, format controls, and what is
 * ignored by default (Default_Ignorable_Code_Point); not of ASCII.
 */
extern bool unicode_is_unseen(uint32_t c);

/* A code point that never is a character: Noncharacter_Code_Point */
extern bool unicode_is_noncharacter(uint32_t c);

/*
 * Does it set the direction of what follows, perhaps beyond the text that it
 * is in?  Embeddings, overrides and isolates (UAX 9, explicit formatting); not
 * the marks, which are no more than a letter of their direction.
 */
extern bool unicode_turns(uint32_t c);

/*
 * Would it change what stands around it when somebody else's words are shown,
 * or has XML 1.0 no place for it?  C1 controls, noncharacters, ends of lines,
 * the byte order mark, and all that has to do with direction.
 */
extern bool unicode_is_unfit(uint32_t c);

#endif							/* MAILMAN_UNICODE_H */
