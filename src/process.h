/*-------------------------------------------------------------------------
 *
 * process.h
 *	  Processes: who starts whom, what they tell each other, what they hold
 *	  together, and what they sleep for.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_PROCESS_H
#define MAILMAN_PROCESS_H

#include "mailman.h"
#include "postmaster/bgworker.h"
#include "storage/lwlock.h"

/* ---- launch.c: start at COMMIT ---- */

extern void launch_callbacks_register(void);
extern void launch_at_commit(int64 letter_id);

/* Has this transaction done something that its worker shall see? */
extern bool launch_is_pending(int64 letter_id);

/* At COMMIT, let the dispatcher look at this database */
extern void launch_wake_at_commit(void);

/* Fill in what all our background workers have in common */
extern void launch_define(BackgroundWorker *worker, const char *type,
						  const char *function);

/*
 * Start the worker of a letter now, if it has none; one that has it is woken,
 * and does not end without having looked at what is committed by now.
 */
typedef enum LaunchAnswer
{
	LAUNCHED,
	LAUNCH_RUNNING,				/* somebody has it */
	LAUNCH_NO_PLACE,			/* all places are taken: it waits in line */
	LAUNCH_NO_PLACE_STILL,		/* the same, and letters waited before */
	LAUNCH_NO_PROCESS			/* max_worker_processes are used up */
} LaunchAnswer;

extern LaunchAnswer launch_letter(int64 letter_id);

/* Log that letters wait, for a place or for a process; once per episode */
extern void launch_report_waiting(bool for_place);

/* A visit to this database now; false: no slot for it */
extern bool launch_scout(void);

/* ---- locks.c: of letters and slots ---- */

/* The lock that makes a letter's worker the only one */
extern bool letter_lock(int64 letter_id);
extern void letter_unlock(int64 letter_id);
extern bool letter_lock_is_ours(int64 letter_id);

/* Does anybody hold it?  Asking is in nobody's way but for an instant. */
extern bool letter_is_locked(int64 letter_id);

/*
 * The process that holds it, or did a moment ago; 0: none.  In an extension
 * scope.
 */
extern int	letter_holder(int64 letter_id);

/* Wake the worker that holds a letter's lock, if there is one */
extern void letter_wake(int64 letter_id);

/*
 * A place as everybody sees it in pg_locks, and without shared memory the
 * only one there is: one of mailman.max_workers locks.  slot_unlock() is true
 * if it was ours.
 */
extern bool slot_lock(void);
extern bool slot_unlock(void);

/* How many there are; in an extension scope */
extern int	slot_count(void);

/* ---- places.c: mailman.max_workers processes, and one for a letter ---- */

/* What a process shows to get the place that was reserved for it */
typedef struct PlaceTicket
{
	int			place;
	uint32		number;
} PlaceTicket;

typedef enum PlaceAnswer
{
	PLACE_RESERVED,
	PLACE_TAKEN,				/* the letter has one: its process is woken */
	PLACE_NONE,					/* all are taken: the letter waits in line */
	PLACE_NONE_STILL			/* the same, and letters waited before */
} PlaceAnswer;

extern Size places_size(void);
extern void places_startup(LWLock *lock);

/* Neither throws; a place that is not used is given back */
extern PlaceAnswer place_reserve(Oid database, int64 letter_id,
								 PlaceTicket *ticket);
extern void place_return(const PlaceTicket *ticket);

/* The process is there; false: there is no place for it any more */
extern bool place_enter(Oid database, int64 letter_id,
						const PlaceTicket *ticket);

/* It is about to look at the tables: forget who had work for it before */
extern void place_look(void);

/* The same of each turn: who comes from now on wakes it again */
extern void place_heed(void);

/* It could do without its place now; true: others need it */
extern bool place_spare(bool spare);

/* Which one it has, from 1; 0: none */
extern int	place_number(void);

/* It is gone; true: somebody has had work for it since it last looked */
extern bool place_leave(void);

/*
 * Has the letter a place?  Then its process does not end unseen; but one that
 * is still to come may never do.
 */
extern bool place_is_taken(Oid database, int64 letter_id, bool *coming);

/* A process that was registered and has not come after this will not */
#define PLACE_LAPSE_US	INT64CONST(10000000)

/* It had to go (or not), as a lock was in its way; when, 0: not; just now? */
extern void place_blocked(Oid database, int64 letter_id, bool blocked);
extern TimestampTz place_blocked_at(Oid database, int64 letter_id);
extern bool place_is_blocked(Oid database, int64 letter_id);

/* ---- dispatcher.c ---- */

extern void dispatcher_register(void);

/* ---- scout.c ---- */

/* Letters of a database that wait in line */
typedef enum LineState
{
	LINE_EMPTY,
	LINE_BLOCKED,				/* only such as had to go for somebody's lock */
	LINE_WAITS
} LineState;


/* Start what is due or orphaned in this database, in a transaction of the
 * caller; *next is when to look again (DT_NOEND: when woken). */
extern int	scout_look(TimestampTz *next, LineState *line);

/* ---- shmem.c: what dispatcher, scouts and workers tell each other ---- */

extern void shmem_define(void);
extern bool shmem_is_there(void);

/* Set the latch of a process, if it is still there; pid 0: of none */
extern void shmem_set_latch(int pid);

/*
 * Look at this database at that time, or before; sets the latch.  False: there
 * is no room to remember it (the dispatcher then goes through all).
 */
extern bool shmem_wake(Oid database, TimestampTz due);

/*
 * Do letters of this database wait in line?  Those that have just been in
 * somebody's way need no place at once.  Returns whether any was known to.
 */
extern bool shmem_wait(Oid database, LineState line);

/* One more letter does */
extern bool shmem_wait_more(Oid database, LineState line);

/* Was it logged that events of this database cannot be told?  Returns what
 * was known. */
extern bool shmem_mute(Oid database, bool mute);

/* Does any letter need a place that somebody has? */
extern bool shmem_somebody_waits(void);

/* A worker has ended: whoever waits may be looked at again */
extern void shmem_slot_free(void);

/* The scout's: how often was it woken; report unless woken since */
extern uint32 shmem_wakes(Oid database);
extern void shmem_report(Oid database, uint32 wakes, TimestampTz due);

/* A letter of this database is given a place: other databases go first now */
extern void shmem_serve(Oid database);

/* The dispatcher's */
extern void shmem_dispatcher(int pid);
extern int	shmem_visit(Oid database);
extern void shmem_visited(Oid database, bool late);
extern TimestampTz shmem_next(Oid *database);
extern void shmem_forget(Oid database);
extern bool shmem_overflowed(void);

/* ---- seats.c: what all workers of a database share ---- */

/* Fourth field of the locks, as in locks.c */
#define SESSION_SEAT_CLASS 0x6d72	/* sessions with a relay, by server */
#define DOMAIN_SEAT_CLASS 0x6d64	/* mails under way to a domain, by limit */

#define SEATS_MAX 1000

typedef struct Seats
{
	uint16		class;
	uint32		object;
	int			capacity;
	int			held;
	int			users;			/* how many are interested, with us */
	int			share;			/* how many seats are ours by right */
	int64		again_us;		/* when to ask for more, if others had them */
	int64		wake_us;		/* when to remind those others */
	int64		count_us;		/* when to count them again */
	int			others[32];		/* their pids, as many as fit */
	int			nothers;
	bool		open;
	bool		mine[SEATS_MAX + 1];
} Seats;

extern void seats_init(Seats *s, uint16 class, uint32 object, int capacity);
extern bool seats_open(Seats *s);
extern void seats_resize(Seats *s, int capacity);
extern int	seats_take(Seats *s, int wanted);
extern void seats_keep(Seats *s, int keep);
extern void seats_close(Seats *s);
extern void seats_count(Seats *s);
extern void seats_wake(const Seats *s);

/* ---- wait.c: the only place that sleeps ---- */

typedef struct Waiter Waiter;

/* What for?  As pg_stat_activity tells it, with names since PostgreSQL 17. */
typedef enum WaitKind
{
	WAIT_CONNECT,				/* a session that is being opened */
	WAIT_REPLY,					/* a relay's replies */
	WAIT_SLOT,					/* a slot of a rate, or a session of others */
	WAIT_RELAY,					/* no relay is of use */
	WAIT_DUE,					/* a retry's time, or the letter's */
	WAIT_WORK,					/* nothing is left: more may be posted */
	WAIT_PLACE,					/* one of mailman.max_workers places */
	WAIT_LOCK,					/* somebody's lock is in the way */
	WAIT_DISPATCHER,			/* nothing is to be done anywhere */
	WAIT_CHECK,					/* mailman_check() */
	WAIT_LETTER,				/* mailman_wait() */
	WAIT_KINDS
} WaitKind;

extern uint32 wait_event(WaitKind kind);

extern Waiter *waiter_create(void);

/* A transfer whose sockets it watches is about to go */
extern void waiter_forget(Waiter *waiter);

/* A newsletter lists no more; with those that were taken off the list */
#define RELAYS_MAX 16
#define TRANSFERS_MAX (4 * RELAYS_MAX)

typedef struct Transfers
{
	Transfer   *list[TRANSFERS_MAX];
	int			count;
} Transfers;

/*
 * Watch the transfers' sockets and the latch for at most timeout ms, tell the
 * transfers what is ready and let each make a step.
 * Returns true if the latch was set.  Never runs SQL; does not check for
 * interrupts: callers do, at a place where they can be left.
 */
extern bool waiter_wait(Waiter *waiter, const Transfers *transfers,
						int64 timeout, WaitKind kind);

/* The same for a probe, a second at most; the caller makes the step */
extern void waiter_wait_probe(Waiter *waiter, Probe *probe);

#endif							/* MAILMAN_PROCESS_H */
