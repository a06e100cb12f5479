/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What a letter's worker knows.
 *
 * It holds no truth: everything here can be lost and is found again in the
 * tables, save the outcomes not yet committed, which become doubt.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_WORKER_H
#define MAILMAN_WORKER_H

#include "candidates.h"
#include "delivery.h"
#include "look.h"
#include "mailman.h"
#include "meter.h"
#include "route.h"
#include "sending.h"
#include "turn.h"

/* Whom a list is to be topped up with: topup.c */
typedef struct TopUp
{
	int64	   *ids;			/* NULL: they were not looked up yet */
	int			count;
	int			next;			/* the first that was not tried yet */
	int			left;			/* so many, at the front, are tried again */
	int			most;			/* so many at once */
	int64		not_before_us;
} TopUp;

struct Worker
{
	int64		letter_id;
	Oid			database;
	int64		run;
	Oid			extension;		/* the one seen at start */
	bool		locked;			/* the letter's lock is ours */
	bool		found_nothing;	/* with it, when it was last taken */

	Letter	   *letter;			/* loaded content, or NULL */
	LetterVersion letter_version;	/* of what was loaded */
	MemoryContext letter_context;
	LetterFiles *files;			/* of it */
	MemoryContext scratch_context;	/* where mails are made */
	Route	   *routes[TRANSFERS_MAX];	/* by rank; then those retired */
	int			nroutes;
	Domain	  **domains;		/* limits, if there are any */
	int			ndomains;
	Candidates *chosen;			/* whom the next turn claims, if limited */
	MemoryContext chosen_context;
	Candidates *decided;		/* what the policy has said of them */
	MemoryContext decided_context;
	int			policy_batch;	/* how many to ask about at once */
	int			policy_row;		/* errors of it, in a row */
	bool		policy_works;	/* it has answered in this run */
	int64		reserve_us;		/* when to talk to the others again */
	int64		reserved_us;	/* when we last did */
	int64		reserve_failed_us;	/* it has failed: not before */
	bool		work;			/* there are recipients to claim */
	bool		folded;			/* this run has taken in a posting */
	int64		fed_us;			/* when a few more were last posted, 0: never */
	bool		lifted;			/* a limit has changed: ask again who waits */
	bool		progressed;		/* this run has recorded an outcome */
	bool		relay_stale;	/* its options may have changed */
	uint64		relay_messages; /* SharedInvalidMessageCounter, as last told */
	char		pause_reason[640];	/* not empty: the letter must pause */
	int			content_row;	/* rejected for their content, in a row */
	bool		sparing;		/* too many: who follows is not to blame */
	bool		recent[200];	/* did they fail, the last so many? */
	bool		hurry;			/* a relay is back: so are those who wait for
								 * it */
	int			nrecent;
	int			recent_next;
	int			recent_failed;
	char		failure[256];	/* of the last turn that failed, as logged */
	int64		failure_us;		/* and when */
	int			failure_code;	/* its SQLSTATE */
	bool		recovered;		/* a turn has succeeded since */
	TopUp		top_up;
	int64		notify_us;		/* events are not to be told before */
	int64		notify_wait_us; /* as it has failed, and will again; or 0 */

	Waiter	   *waiter;

	LetterMode	mode;
	bool		whole;			/* the list is still to be topped up */
	int			tests;			/* that wait, as last seen */
	int			ntests;			/* slots that hold one */
	int64		tests_us;		/* not to be claimed before */
	Tally		tally;			/* as committed */
	int64		doubts;			/* as committed */
	Meter		meter;			/* as committed */

	Delivery   *slots;
	int			nslots;
	int			most;			/* rows 'sending' at any commit */
	DeliveryList free;
	DeliveryList claiming;		/* in a turn that has not committed */
	DeliveryList claimed;
	bool		unrendered;		/* some of them may have no mail yet */
	size_t		jsonb_size;		/* bytes of data and variables they hold */
	int			claim_most;		/* of whom there is room for these; 0: all */
	size_t		ahead_size;		/* bytes of mails, without the letter's files */
	size_t		ahead_last;		/* of the one made last */
	DeliveryList begun;
	DeliveryList done;
	DeliveryList tested;		/* done, but tests: mailman.test knows them */
	DeliveryList stuck;			/* done, but their rows make turns fail */
	int64		stuck_retry_us;

	int64		started_us;		/* of this run */
	bool		yielding;		/* others wait for a slot: go to the end of
								 * the line */
	int64		line_us;		/* since when they do; 0: nobody does */
	int64		heard_us;		/* when a mail was last answered */
	int64		slowest_us;		/* the longest a reply has taken in this run */
	bool		told;			/* to stop, as the letter is paused, say */
	int64		give_up_us;		/* what is not answered by then is given up */
	char		unanswered[256];	/* not empty: it was, as others waited */
	bool		blocked;		/* and somebody's lock is in our way, so that
								 * nothing can be written */
	TimestampTz wake_at;		/* when somebody must look at the letter after
								 * we have ended; DT_NOEND: nobody */

	bool		more;			/* the last claim left something behind */
	bool		aside;			/* and set some aside: others may follow */
	bool		poked;			/* somebody set our latch */
	bool		stopping;		/* nothing new is begun */
	bool		ended;			/* nothing left to do */
	bool		armed;			/* the farewell has something to save */
	int64		last_turn_us;
	int64		look_us;		/* when to look for work if idle */
	int64		idle_since_us;	/* 0: not idle */
	WaitKind	idle_kind;		/* what it waits for if it is */
	int64		window_start_us;	/* what left lately: two half windows */
	int			window_left;
	int			window_left_before;
};

/* ---- worker.c ---- */

extern void delivery_move(Delivery *delivery, DeliveryList *from,
						  DeliveryList *to);
extern void delivery_free(Worker *w, Delivery *delivery, DeliveryList *from);

/* Its outcome is known: it is to be recorded */
extern void delivery_end(Worker *w, Delivery *delivery, DeliveryList *from);

/* One line for pg_stat_activity */
extern void worker_report(Worker *w);

/* Recipients claimed whose outcome is not known yet */
static inline int
worker_outstanding(const Worker *w)
{
	return w->claimed.count + w->begun.count;
}

/* Outcomes to record */
static inline int
worker_recordable(const Worker *w)
{
	return w->done.count + w->tested.count;
}

/* ---- farewell.c: an end by force ---- */

/* SIGTERM, and the error to be remembered; and from when it has a say */
extern void farewell_prepare(void);
extern void farewell_arm(Worker *w);

/* ---- fed.c: a letter that is sent to a few more, again and again ---- */

/* Is it, and more may be posted any moment?  It stays 'sending' then. */
extern bool worker_is_fed(const Worker *w);

/* So long; monotonic */
extern int64 worker_fed_until(const Worker *w);

/* Most recipients of a posting that are a few */
#define FED_AT_ONCE	10

/* After COMMIT: was it posted to in this turn? */
extern void worker_note_fed(Worker *w, const Turn *turn);

/* Is it too soon for a turn, as a few more may come first? */
extern bool worker_gathers(const Worker *w, int64 now);

/* Until then; monotonic */
extern int64 worker_gathers_until(const Worker *w);

/* ---- run.c, run_end.c: transactions of a worker ---- */

extern void run_bound_locks(void);

/* Read the settings again, if we were told to */
extern void run_reload(void);
extern void run_begin(Worker *w, ExtensionScope *scope, const TableUse *use);
extern void run_begin_reading(Worker *w, ExtensionScope *scope);
extern void run_commit(ExtensionScope *scope);

typedef enum RunStart
{
	RUN_TAKEN,
	RUN_NOTHING,				/* somebody has it, or there is no work now */
	RUN_WAITS,					/* there is no slot for it */
	RUN_AGAIN					/* somebody's lock is in the way */
} RunStart;

/* Take the letter, if it is free and there is work.  With the last two answers
 * we hold its lock, so that nobody else tries. */
extern RunStart run_first(Worker *w);

/* It found nothing: was something posted before the lock was given up? */
extern bool run_left_behind(Worker *w);

/* Somebody's lock is in the way, and others need our place; had we taken it? */
extern void run_give_way(Worker *w, bool taken);

extern void run_unlock(Worker *w);

/* A run that ends well leaves the letter at peace */
extern void run_done(Worker *w);

/* The last transaction of a worker that is ending by force */
extern void run_last(Worker *w, const char *error);

/*
 * Run a transaction of the worker's.  False: it failed and was rolled back;
 * *error is a copy of what happened, or logged here if NULL.
 */
typedef void (*RunTransaction) (Worker *w, void *arg);
extern bool run_try(Worker *w, RunTransaction transaction, void *arg,
					ErrorData **error);

/* Nothing would be lost if it ended now */
static inline bool
worker_is_free(const Worker *w)
{
	return worker_outstanding(w) + worker_recordable(w) + w->stuck.count == 0;
}

/* A transaction failed: log it, but not over and over */
extern void run_log_failure(Worker *w, const char *what,
							const ErrorData *error);

/* Sleep with the sessions open, as somebody is in our way */
extern void run_wait(Worker *w, int64 ms, WaitKind kind);

/* ---- stuck.c: one bad row delays itself alone ---- */

/* Record the outcomes in the list one by one; who fails is stuck */
extern void stuck_sort(Worker *w, DeliveryList *from);

/* ---- topup.c: beside the turns, too ---- */

/* A whole list that was scheduled: those who subscribed since get it, too */
extern void errand_top_up(Worker *w);

/* ---- errand.c: beside the turns ---- */

/* A relay is back: so are those who wait for it */
extern void errand_hurry(Worker *w);

/* ---- notify.c ---- */

/* Those who listen are told what has happened */
extern void errand_notify(Worker *w);
extern void errand_notify_last(Worker *w);

/* ---- test_copy.c: mailman_test()'s, beside the deliveries ---- */

/* Is there anything for the relays, whatever state the letter is in? */
static inline bool
worker_sends(const Worker *w)
{
	return w->mode == MODE_SEND || w->tests > 0 || w->ntests > 0;
}

/* So many may be claimed now */
extern int	tests_room(const Worker *w);

/* Do those that wait call for a turn? */
extern bool tests_call(Worker *w, const Look *look);

/* Whose rights and relays count; NULL: there is nobody */
extern const char *tests_sender(const Worker *w, const Letter *letter,
								const Look *look);

/* In a turn: what became of them, and the next few */
extern void tests_turn(Worker *w, const Look *look, int room);
extern void tests_record(Worker *w);
extern void tests_lock_nowait(Worker *w);
extern void tests_committed(Worker *w, const Look *look);

/* Those an earlier run has left 'sending' */
extern void tests_resolve(Worker *w);

/* What an answer means for one; true: to another relay, at once */
extern bool test_answer(Worker *w, Delivery *d, const char *reason);

/* No relay can be used now, or we must stop */
extern void test_wait(Worker *w, Delivery *d);
extern bool test_must_stop(const Worker *w);

/* ---- answer.c: from the relay's answers to outcomes ---- */

extern void outcome_set(Delivery *d, DeliveryState state, TimestampTz due_at,
						const char *reason);

/* Back to the queue as it was, at no cost */
extern void outcome_hand_back(Delivery *d, TimestampTz due_at,
							  const char *reason);
extern void answer_returned(Worker *w, Delivery *d);
extern void answer_outcome(Worker *w, Delivery *d);

/* No relay can be used now */
extern void answer_wait(Worker *w, Delivery *d);

/* ---- patience.c: how long one that is to stop waits for the relays ---- */

/* A worker may have its place so long while others wait for one */
#define YIELD_AFTER_US	INT64CONST(10000000)

/* It goes on: with as much patience as the relays' timeouts tell */
extern void patience_renew(Worker *w);

/* Must it give its place to others? */
extern bool patience_yields(Worker *w);

/* It stops: what is under way is waited for, but not for ever */
extern void patience_stop(Worker *w);
extern bool patience_spares_tests(const Worker *w);

#endif							/* MAILMAN_WORKER_H */
