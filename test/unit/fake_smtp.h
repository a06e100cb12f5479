/*-------------------------------------------------------------------------
 *
 * fake_smtp.h
 *	  A scripted SMTP server in a child process, for transfer_test.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_FAKE_SMTP_H
#define MAILMAN_FAKE_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define FAKE_RULES	8
#define FAKE_RCPTS	1024

/*
 * The n-th verb (from 1) is answered by reply if n = first, or with every > 0
 * also each so many after it.  Verbs: CONNECT EHLO MAIL RCPT DATA BODY DOT
 * RSET QUIT.  Special replies:
 *	"@close"	close the connection; "@silent" say nothing more
 *	"@slow TEXT" TEXT after 200 ms; "@endless" a line that does not end
 *	"@raw TEXT"	TEXT as it is, without CRLF, then nothing more
 *	"@last TEXT" TEXT, then close
 *	"@then TEXT" the normal reply, TEXT unasked, then close
 *	"@drip TEXT" TEXT again and again, a byte each 20 ms, for ever
 *	"@sip"		the normal reply; from now on read 4 kB each 20 ms
 * CONNECT and BODY do nothing unless a rule says so.
 */
typedef struct FakeRule
{
	const char *verb;
	int			first;
	int			every;
	bool		per_connection; /* count within the connection */
	const char *reply;
} FakeRule;

typedef struct FakeScript
{
	bool		pipelining;
	bool		bytewise;		/* replies one byte at a time */
	bool		multiline;		/* replies of three lines */
	bool		eager_data;		/* 354 even without a recipient */
	int			chaos;			/* of 1000 replies so many are at random */
	int			max_connections;	/* 421 to the greeting beyond */
	const char *ehlo;			/* further keywords, separated by spaces; "_"
								 * stands for a space within one */
	FakeRule	rules[FAKE_RULES];
} FakeScript;

/* Counted by the server, in shared memory */
typedef struct FakeStats
{
	int			connections;
	int			open;
	int			most_open;
	int			quits;
	int			rsets;
	int			reads;			/* pieces of input: about round trips */
	int			accepted;
	int			empty;			/* accepted messages without a byte */
	int			lone_dots;		/* for nobody */
	int			disorder;		/* bad sequence; ahead without PIPELINING */
	int			smtputf8;
	int			silent;			/* replies that never come */
	int			drips;			/* bytes of replies that never end */
	unsigned char delivered[FAKE_RCPTS];	/* by N in <N@...> */
	unsigned	sums[FAKE_RCPTS];	/* fake_sum() of the last, as on the wire */
} FakeStats;

typedef struct Fake
{
	pid_t		pid;
	int			port;
	char		url[64];
	volatile FakeStats *stats;
} Fake;

/* Add bytes to a sum, which begins with FAKE_SUM */
#define FAKE_SUM	2166136261u
extern unsigned fake_sum(unsigned sum, const char *bytes, size_t len);

extern void fake_start(Fake *fake, const FakeScript *script);

/* On this port, 0: a free one */
extern void fake_start_at(Fake *fake, const FakeScript *script, int port);
extern void fake_stop(Fake *fake);

#endif							/* MAILMAN_FAKE_SMTP_H */
