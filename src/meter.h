/*-------------------------------------------------------------------------
 *
 * meter.h
 *	  How fast a letter is being sent, over the last seconds.
 *
 * Pure: no server, no socket, no clock; times are microseconds of a clock
 * that never goes back.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_METER_H
#define MAILMAN_METER_H

#include <stdint.h>

/*
 * The window reaches back so far, and further if that holds no more than a
 * few outcomes: a rate of ten a day has one, too.
 */
#define METER_WINDOW_US	INT64_C(5000000)
#define METER_FEW		10

/* It moves by parts of at least so long */
#define METER_PART_US	INT64_C(500000)
#define METER_PARTS		(METER_WINDOW_US / METER_PART_US + 2)

typedef struct MeterPart
{
	int64_t		from_us;
	int			count;
} MeterPart;

typedef struct Meter
{
	MeterPart	parts[METER_PARTS]; /* the oldest first */
	int			nparts;			/* 0: not begun */
	int64_t		until_us;		/* when something was last counted */
} Meter;

/* So many have ended until now, maybe none */
extern void meter_add(Meter *meter, int64_t now_us, int count);

/* Outcomes per second until then; 0: none were counted */
extern double meter_rate(const Meter *meter);

#endif							/* MAILMAN_METER_H */
