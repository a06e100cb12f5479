/*-------------------------------------------------------------------------
 *
 * relay_state.c
 *	  What the workers of a database tell each other about a relay.
 *
 * One row per relay holds its breaker (failures, when to try again, or that
 * it is out until a person acts), the arrival time of its next mail, how much
 * it was slowed down, and what it took lately (relay_state_row.c).  The
 * functions here know how events change it; when that happens is reserve.c's
 * business.
 *
 * The breaker is half open by lease: whoever finds that the time has come
 * puts it off a little and tries, with one session; the others wait for what
 * it finds.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mailman.h"
#include "relay_state.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Waits for a relay that is down: 1, 2, 4, ... up to this many seconds */
#define BACKOFF_MAX_S 300

/* The first wait for a token that was refused, in seconds */
#define TOKEN_AGAIN_S 10

/* No wait and no lease is longer */
#define RETRY_MOST_US (1000 * USECS_PER_SEC)

/* One of the two windows in which mails are counted */
#define WINDOW_US	(30 * USECS_PER_SEC)

/* One answer to many mails: slow down once for it */
#define SLOW_DOWN_AGAIN_US (5 * USECS_PER_SEC)

/* ---- what events do to it ---- */

/*
 * It could not be used.  Workers that were refused together report it one
 * after the other: that is one failure.
 */
void
relay_state_failed(RelayState *s, TimestampTz now, TimestampTz seen_at,
				   const char *error)
{
	double		seconds;

	strlcpy(s->error, error, sizeof(s->error));
	if (s->failures > 0 && s->failed_at >= seen_at)
		return;
	s->failures++;
	s->failed_at = now;
	seconds = retry_jittered(Min(1 << Min(s->failures - 1, 10),
								 BACKOFF_MAX_S));
	s->retry_at = now + (TimestampTz) (seconds * USECS_PER_SEC);
}

/* It is out for all who come with these options and credentials */
void
relay_state_out(RelayState *s, TimestampTz now, int64 key, Oid mapping,
				const char *error)
{
	strlcpy(s->error, error, sizeof(s->error));
	s->out = true;
	s->out_key = key;
	s->out_mapping = mapping;
	s->out_until = 0;
	s->out_tries = 0;
	s->failed_at = now;
}

/*
 * Their token is refused.  A new one heals that, and what makes them is at
 * work on it; or the relay could not find out whether it is good.  So it is
 * tried again now and then.  tries: how often it was for the one who says so.
 */
void
relay_state_expired(RelayState *s, TimestampTz now, TimestampTz seen_at,
					int64 key, Oid mapping, int tries, const char *error)
{
	bool		known = relay_state_is_expired(s, key);
	double		seconds;

	strlcpy(s->error, error, sizeof(s->error));
	if (known && s->failed_at >= seen_at)
		return;
	s->out_tries = Max(known ? s->out_tries + 1 : 1, tries);
	s->out = true;
	s->out_key = key;
	s->out_mapping = mapping;
	s->failed_at = now;
	seconds = retry_jittered(Min(TOKEN_AGAIN_S << Min(s->out_tries - 1, 10),
								 BACKOFF_MAX_S));
	s->out_until = now + (TimestampTz) (seconds * USECS_PER_SEC);
}

/* Is it refused to those who have that token? */
bool
relay_state_is_expired(const RelayState *s, int64 key)
{
	return s->out && s->out_until != 0 && s->out_key == key;
}

/*
 * It has answered about a recipient, with any role's credentials.  That says
 * nothing of another one's token, which is about to be tried again.
 */
void
relay_state_well(RelayState *s, TimestampTz now, Oid mapping)
{
	s->failures = 0;
	s->retry_at = 0;
	if (!s->out || (s->out_until > now && s->out_mapping != mapping))
		return;
	s->out = false;
	s->out_until = 0;
	s->out_tries = 0;
	s->out_mapping = InvalidOid;
}

/* A time that no wait or lease reaches is a clock that was set back */
static TimestampTz
relay_state_not_before(TimestampTz at, TimestampTz now)
{
	return at > now + RETRY_MOST_US ? now : at;
}

TimestampTz
relay_state_retry_at(const RelayState *s, TimestampTz now, int64 key)
{
	TimestampTz at = relay_state_not_before(s->retry_at, now);

	if (relay_state_is_expired(s, key))
		at = Max(at, relay_state_not_before(s->out_until, now));
	return at;
}

/*
 * May it be used, and if it was down, is it ours to find out?  Then the
 * others leave it alone for the time of the lease.
 */
bool
relay_state_enter(RelayState *s, TimestampTz now, int64 lease, int64 key)
{
	if (relay_state_retry_at(s, now, key) > now)
		return false;
	if (s->failures > 0)
		s->retry_at = now + lease;
	if (relay_state_is_expired(s, key))
		s->out_until = now + lease;
	return true;
}

/* Mails accepted and not accepted since the last time */
void
relay_state_count(RelayState *s, TimestampTz now, int sent, int rejected)
{
	int64		age = now - s->counted_at;

	if (age >= WINDOW_US || age < 0)
	{
		bool		follows = age >= 0 && age < 2 * WINDOW_US;

		s->sent_before = follows ? s->sent : 0;
		s->rejected_before = follows ? s->rejected : 0;
		s->sent = s->rejected = 0;
		s->counted_at = now;
	}
	s->sent += sent;
	s->rejected += rejected;
}

/* Mails per second it has taken lately */
static double
relay_state_speed(const RelayState *s, TimestampTz now)
{
	double		seconds = (now - s->counted_at) / (double) USECS_PER_SEC;
	double		count = s->sent;

	if (s->sent_before > 0)
	{
		seconds += WINDOW_US / (double) USECS_PER_SEC;
		count += s->sent_before;
	}
	return count / Max(seconds, 1);
}

/*
 * Mails per second by an administrator's plan; 0: no limit.  unit_us may be
 * NULL.
 */
double
relay_plan_rate(const RatePlan *plan, TimestampTz now, int64_t *unit_us)
{
	Rate		rate = rate_plan_at(plan, now +
									(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
									USECS_PER_DAY);

	if (unit_us != NULL)
		*unit_us = rate.count > 0 ? rate.unit_us : USECS_PER_SEC;
	return rate.count > 0 ? rate.count * (double) USECS_PER_SEC /
		rate.unit_us : 0;
}

/*
 * Mails per second it may be given now; 0: as many as it takes.  What it was
 * slowed down to doubles each minute until it is what it was before.
 */
double
relay_state_rate(const RelayState *s, double configured, TimestampTz now)
{
	double		slow;

	if (s->slow_rate == 0)
		return configured;
	slow = pace_slowed_at(s->slow_rate, s->slowed_at, now);
	if (slow >= s->slow_from)
		return configured;
	return configured > 0 ? Min(slow, configured) : slow;
}

/* It has asked for less speed, several times in a row: half of what it gets */
void
relay_state_throttled(RelayState *s, double configured, TimestampTz now,
					  const char *error)
{
	double		before = relay_state_rate(s, configured, now);

	strlcpy(s->error, error, sizeof(s->error));
	if (s->slow_rate > 0 && now >= s->slowed_at &&
		now - s->slowed_at < SLOW_DOWN_AGAIN_US)
		return;
	if (before == 0)
		before = Max(relay_state_speed(s, now), 1);
	if (s->slow_rate == 0 || before >= s->slow_from)
		s->slow_from = before;
	s->slow_rate = pace_slow_down(before, PACE_FLOOR_PER_S);
	s->slowed_at = now;
}

/* Has it slowed down, and not yet recovered? */
static bool
relay_state_is_slow(const RelayState *s, TimestampTz now)
{
	return s->slow_rate > 0 &&
		pace_slowed_at(s->slow_rate, s->slowed_at, now) < s->slow_from;
}

/* What has changed for the better or the worse is an event, each time once */
void
relay_state_tell(const RelayState *before, const RelayState *s,
				 const char *relay, TimestampTz now)
{
	if (s->out && (!before->out || before->out_key != s->out_key))
		event_relay(relay, s->out_until != 0 ? "token refused" : "out",
					s->error);
	else if (s->failures > 0 && before->failures == 0)
		event_relay(relay, "backing off", s->error);
	else if (s->failures == 0 && !s->out &&
			 (before->failures > 0 || before->out))
		event_relay(relay, "up", NULL);
	if (relay_state_is_slow(s, now) && !relay_state_is_slow(before, now))
		event_relay(relay, "slowed", s->error);
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(mailman_relay_rate);

/*
 * mailman.relay_rate(server, slow_rate, slow_from, slowed_at) RETURNS float8
 *
 * Mails per second a relay may be given now; NULL: no limit, or no such relay.
 */
Datum
mailman_relay_rate(PG_FUNCTION_ARGS)
{
	RelayState	s = {0};
	TimestampTz now = GetCurrentTimestamp();
	RatePlan   *plan;
	double		rate;

	if (PG_ARGISNULL(0) ||
		(plan = relay_plan(PG_GETARG_OID(0))) == NULL)
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3))
	{
		s.slow_rate = PG_GETARG_FLOAT8(1);
		s.slow_from = PG_GETARG_FLOAT8(2);
		s.slowed_at = PG_GETARG_TIMESTAMPTZ(3);
	}
	rate = relay_state_rate(&s, relay_plan_rate(plan, now, NULL), now);
	if (rate == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(rate);
}
