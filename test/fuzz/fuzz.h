/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What the fuzz targets share.
 *
 * Each file here is one target for libFuzzer, built with AddressSanitizer and
 * UBSan: whatever bytes it is given, the code under test must stay whole and
 * keep its promises.  A promise that is broken ends in fuzz_fail().
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_FUZZ_H
#define MAILMAN_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			fuzz_fail(#condition, __FILE__, __LINE__); \
	} while (0)

static inline void
fuzz_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: promise broken: %s\n", file, line, condition);
	abort();
}

#endif							/* MAILMAN_FUZZ_H */
