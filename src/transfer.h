/*-------------------------------------------------------------------------
 *
 * transfer.h
 *	  The network layer: a pool of SMTP sessions with one relay.
 *
 * Knows nothing of PostgreSQL: no palloc, no ereport, no latch.  Nothing here
 * blocks and nothing here sleeps: the caller (wait.c) watches the sockets
 * named by transfer_sockets() until transfer_deadline(), then calls
 * transfer_step().  Every function returns; errors are values.
 *
 * A Mail belongs to the caller.  Between transfer_submit() and the moment it
 * comes back from transfer_finished() the caller must leave it and all it
 * points to alone, the pieces of its message, too, which other mails may have
 * in common with it.  Every submitted mail comes back exactly once.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TRANSFER_H
#define MAILMAN_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "outcome.h"
#include "piece.h"

/*
 * So many sessions have one mail of the queue kept for whichever of them is
 * free first; what is more may ride behind another.
 */
#define TRANSFER_SPARE 4

/* Of a password in a file, with the NUL */
#define TRANSFER_PASSWORD_MAX 1024

/* How to reach a relay.  Copied by transfer_create(). */
typedef struct RelayConfig
{
	const char *url;			/* smtp://host[:port] or smtps://host[:port] */
	const char *username;		/* NULL: no AUTH */
	const char *password;
	const char *password_file;	/* instead: read for each session */
	const char *token;			/* instead: see transfer_set_token() */
	const char *cert_file;		/* our own; NULL: none */
	const char *key_file;		/* NULL: the key is in cert_file */
	const char *ca_file;		/* NULL: the system's */
	const char *helo;			/* NULL: the host's name */
	bool		tls_required;	/* smtp://: STARTTLS or nothing; false: clear
								 * text, even if TLS is offered */
	bool		tls13;			/* TLS 1.3 or nothing; false: 1.2 will do */
	int			connections;	/* most sessions at once, >= 1 */
	int			messages;		/* most mails per session, 0: no limit */
	int			connect_timeout_ms; /* up to and with AUTH */
	int			reply_timeout_ms;	/* MAIL, RCPT, RSET: RFC 5321 4.5.3.2 says
									 * 5 min */
	int			data_timeout_ms;	/* DATA's 354: 2 min; also each 256 kB of
									 * the body: 3 min */
	int			dot_timeout_ms; /* reply to the final dot: 10 min */
} RelayConfig;

typedef struct Mail
{
	/* set by the caller */
	const char *from;			/* envelope sender, "" for the null sender */
	const char *to;				/* envelope recipient, domain in A-labels */
	const Piece *pieces;		/* message dot-stuffed, with the final dot */
	int			npieces;
	Piece		whole;			/* room for one, if there is only one */
	size_t		wire_len;		/* of all of them */
	size_t		size;			/* message size for SIZE= (before stuffing) */
	bool		smtputf8;		/* needs SMTPUTF8 (RFC 6531) */

	/* set by the network layer */
	Attempt		attempt;
	Judgement	judgement;		/* outcome_judge(&attempt) */
	int64_t		started_us;		/* monotonic: MAIL written */
	int64_t		finished_us;	/* monotonic: verdict known */

	/* the network layer's while submitted */
	struct Mail *next;
	int			tries;			/* fresh sessions that failed it */
} Mail;

typedef struct Transfer Transfer;

/* One socket to watch */
typedef struct TransferSocket
{
	int			fd;
	bool		read;
	bool		write;
} TransferSocket;

/* Is the relay of use at all? */
typedef struct RelayHealth
{
	bool		down;			/* no session could be made and none is up */
	bool		permanent;		/* AUTH refused or not offered: a person must
								 * act */
	bool		refused;		/* by the relay, in so many words */
	int			failures;		/* in a row, with no mail answered between */
	Attempt		last;			/* the last such failure */
	char		description[REPLY_TEXT_MAX + 128];	/* of it, in words */
	char		throttled[REPLY_TEXT_MAX + 128];	/* the last time it asked
													 * for less, in words */
} RelayHealth;

typedef struct TransferCounts
{
	int			sessions;		/* up, with or without a mail */
	int			connecting;
	int			busy;			/* sessions that hold a mail */
	int			queued;			/* mails submitted and not begun */
	int			in_flight;		/* mails begun and not finished */
	int			finished;		/* waiting in transfer_finished() */
	uint64_t	opened;			/* sessions ever established */
	uint64_t	throttled;		/* attempts that were judged so, with those
								 * tried again here */
} TransferCounts;

/* Once per process, before anything else; returns false if libcurl fails. */
extern bool transfer_global_init(void);

/* NULL: out of memory or libcurl failed. */
extern Transfer *transfer_create(const RelayConfig *config);

/*
 * Sessions that are made from now on log in with that token; it may be NULL if
 * it was before.  What the old one was refused for counts no more.  False: out
 * of memory.
 */
extern bool transfer_set_token(Transfer *t, const char *token);

/* Queue a mail.  Nothing is written before the next transfer_step(). */
extern void transfer_submit(Transfer *t, Mail *mail);

/*
 * The next mail whose fate is known, or NULL.  A refusal that is the
 * session's fault (SCOPE_SESSION), or the relay's while other sessions are
 * well, is tried again here and comes back only if three fresh sessions
 * failed; used ones that end cost nothing, however many.  When the
 * relay is down everything queued comes back as END_RETURNED; so it does, and
 * nothing is begun until the next transfer_submit(), when the relay refuses
 * the sender (SCOPE_LETTER).
 */
extern Mail *transfer_finished(Transfer *t);

/*
 * The sockets to watch.  *generation changes whenever a descriptor was added,
 * removed or replaced (even by one of the same number), and not when only
 * read/write interest changed.  The array is valid until the next call of any
 * function on t.
 */
extern const TransferSocket *transfer_sockets(Transfer *t, int *count,
											  uint32_t *generation);

/* Tell that fd (one of the above) is readable and/or writable. */
extern void transfer_ready(Transfer *t, int fd, bool readable, bool writable);

/* Monotonic microseconds at which transfer_step() must run again even if no
 * socket is ready; -1: none. */
extern int64_t transfer_deadline(Transfer *t);

/*
 * Make progress: give queued mails to idle sessions, open sessions, handle
 * libcurl's timers, judge deadlines.  Call it after transfer_ready() was told
 * all sockets that were ready, so that a reply which is already there is read
 * before its deadline is judged.
 */
extern void transfer_step(Transfer *t);

/*
 * From now on at most so many sessions, 0 .. config.connections (which it is
 * at first).  Of those above, idle ones QUIT at once, those still connecting
 * are dropped, and busy ones end after the mail they carry; an envelope that
 * rides behind it goes back to the queue.  Until the last has ended they are
 * in transfer_counts().  With 0 what is queued stays there.
 */
extern void transfer_limit(Transfer *t, int sessions);

/*
 * Hand back every mail of which no byte of the message text was sent: the
 * queue, and envelopes not yet past DATA's 354.  They come back from
 * transfer_finished() as END_RETURNED.  Sessions stay open where that is
 * possible (RSET).  With stop, no further session is opened and nothing new
 * is begun until transfer_submit() is called again.
 */
extern void transfer_recall(Transfer *t, bool stop);

/*
 * Such mails as transfer_recall() cannot hand back: their text is on its way,
 * or they wait for the reply to the final dot.
 */
extern int	transfer_unanswered(const Transfer *t);

/*
 * Wait no longer for this one, which could not be recalled: its session is
 * ended at once.  It comes back as END_TIMEOUT at STAGE_DOT
 * (doubt), and true is returned, if its dot was sent, else as END_RETURNED; so
 * does what rides behind it.
 */
extern bool transfer_give_up(Transfer *t, const Mail *mail);

/*
 * End every session at once, without waiting.  Mails whose dot was sent come
 * back as END_CLOSED at STAGE_DOT (doubt), others as END_RETURNED.
 */
extern void transfer_abort(Transfer *t);

/* Send QUIT on idle sessions as far as the sockets take it, close all, free
 * t.  Mails still submitted must have been taken back before. */
extern void transfer_destroy(Transfer *t);

extern TransferCounts transfer_counts(const Transfer *t);
extern const RelayHealth *transfer_health(const Transfer *t);

/*
 * The one line of a file, without waiting.  Returns NULL, or what is wrong
 * with it.
 */
extern const char *transfer_read_password(const char *path, char *buf,
										  size_t size);

/*
 * Monotonic clock in microseconds (CLOCK_MONOTONIC), the only clock of this
 * layer.
 */
extern int64_t transfer_now(void);

/*
 * mailman_check(): one session, step by step.  Ends after QUIT or at the
 * first failure.  The probe reports each finished step through the callback,
 * in order, with ok and the relay's own words.
 */
typedef void (*ProbeReport) (void *context, const char *step, bool ok,
							 const char *reply);
typedef struct Probe Probe;
extern Probe *probe_create(const RelayConfig *config, ProbeReport report,
						   void *context);
extern const TransferSocket *probe_sockets(Probe *p, int *count,
										   uint32_t *generation);
extern void probe_ready(Probe *p, int fd, bool readable, bool writable);
extern int64_t probe_deadline(Probe *p);
extern bool probe_step(Probe *p);	/* true when done */
extern void probe_destroy(Probe *p);

#endif							/* MAILMAN_TRANSFER_H */
