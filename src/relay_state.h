/*-------------------------------------------------------------------------
 *
 * relay_state.h
 *	  The row that the workers of a database share about a relay.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_RELAY_STATE_H
#define MAILMAN_RELAY_STATE_H

#include "mailman.h"
#include "pace.h"

#define RELAY_ERROR_MAX 640

/* A row of mailman.relay_state; times are 0 where the column is null */
typedef struct RelayState
{
	Oid			server;
	int			failures;
	TimestampTz failed_at;
	TimestampTz retry_at;
	char		error[RELAY_ERROR_MAX];
	bool		out;
	int64		out_key;
	Oid			out_mapping;
	TimestampTz out_until;		/* a token was refused; 0: another login */
	int			out_tries;		/* how often, in a row */
	TimestampTz arrival;
	double		slow_rate;		/* per second; 0: not slowed down */
	double		slow_from;
	TimestampTz slowed_at;
	TimestampTz counted_at;
	int64		sent;
	int64		rejected;
	int64		sent_before;
	int64		rejected_before;
} RelayState;

/* In a transaction, in an extension scope */
extern void relay_state_look(Oid server, RelayState *s);
extern void relay_state_lock(Oid server, RelayState *s);
extern void relay_state_write(const RelayState *s);

extern void relay_state_failed(RelayState *s, TimestampTz now,
							   TimestampTz seen_at, const char *error);
extern void relay_state_out(RelayState *s, TimestampTz now, int64 key,
							Oid mapping, const char *error);
extern void relay_state_expired(RelayState *s, TimestampTz now,
								TimestampTz seen_at, int64 key, Oid mapping,
								int tries, const char *error);
extern bool relay_state_is_expired(const RelayState *s, int64 key);
extern void relay_state_well(RelayState *s, TimestampTz now, Oid mapping);
extern TimestampTz relay_state_retry_at(const RelayState *s, TimestampTz now,
										int64 key);
extern bool relay_state_enter(RelayState *s, TimestampTz now, int64 lease,
							  int64 key);
extern void relay_state_count(RelayState *s, TimestampTz now, int sent,
							  int rejected);
extern double relay_plan_rate(const RatePlan *plan, TimestampTz now,
							  int64_t *unit_us);
extern double relay_state_rate(const RelayState *s, double configured,
							   TimestampTz now);
extern void relay_state_throttled(RelayState *s, double configured,
								  TimestampTz now, const char *error);
extern void relay_state_tell(const RelayState *before, const RelayState *s,
							 const char *relay, TimestampTz now);

#endif							/* MAILMAN_RELAY_STATE_H */
