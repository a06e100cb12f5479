/*-------------------------------------------------------------------------
 *
 * outcome.h
 *	  What became of one attempt to hand one mail to a relay, and whose
 *	  fault it was.
 *
 * Pure: no server, no socket.  The network layer describes what happened
 * (Attempt), outcome_judge() says what it means (Judgement), the SQL layer
 * acts on it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_OUTCOME_H
#define MAILMAN_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>

/* The steps of RFC 5321, in the order a session meets them */
typedef enum SmtpStage
{
	STAGE_NONE,					/* the mail was not begun */
	STAGE_CONNECT,				/* name resolution and TCP */
	STAGE_TLS,					/* implicit TLS or after STARTTLS */
	STAGE_GREETING,
	STAGE_EHLO,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_BODY,					/* after 354, before the final dot was sent */
	STAGE_DOT,					/* the final dot was sent */
	STAGE_RSET,
	STAGE_QUIT
} SmtpStage;

/* How the step ended */
typedef enum AttemptEnd
{
	END_REPLY,					/* the relay answered: code, enhanced, text */
	END_CLOSED,					/* connection closed or reset */
	END_TIMEOUT,				/* no answer within the RFC 5321 time */
	END_DISORDER,				/* an answer that is not SMTP */
	END_LOCAL,					/* refused here: SIZE or SMTPUTF8 not offered */
	END_RETURNED				/* handed back, nothing of it was sent */
} AttemptEnd;

#define REPLY_TEXT_MAX	512		/* bytes of reply text kept, with the NUL */

typedef struct Attempt
{
	SmtpStage	stage;
	AttemptEnd	end;
	int			code;			/* RFC 5321 basic code, 0 if none */
	short		enhanced[3];	/* RFC 3463 class.subject.detail, 0s if none */
	bool		fresh;			/* the session had carried no mail before */
	bool		repeated;		/* the mail failed on a fresh session before */
	char		text[REPLY_TEXT_MAX];	/* reply or error, cleaned: printable
										 * UTF-8, lines joined by spaces */
} Attempt;

/* Whose fault it was */
typedef enum Scope
{
	SCOPE_NONE,					/* nobody's: accepted, or never begun */
	SCOPE_RECIPIENT,
	SCOPE_MESSAGE,				/* this rendered message */
	SCOPE_CONTENT,				/* the letter's content or policy */
	SCOPE_LETTER,				/* the envelope sender: every mail of it */
	SCOPE_SESSION,
	SCOPE_RELAY,
	SCOPE_UNKNOWN				/* the dot was sent and nobody knows */
} Scope;

/* What to do with the recipient */
typedef enum Verdict
{
	VERDICT_DELIVERED,
	VERDICT_FAILED,				/* final */
	VERDICT_DEFERRED,			/* try again by the recipient's backoff */
	VERDICT_AGAIN,				/* try again, at no cost to the recipient */
	VERDICT_DOUBT				/* the letter's on_doubt decides */
} Verdict;

typedef struct Judgement
{
	Scope		scope;
	Verdict		verdict;
	bool		costs_attempt;
	bool		permanent;		/* SCOPE_RELAY, SCOPE_LETTER: will not heal by
								 * itself */
	bool		refused;		/* if permanent: our login, by a reply */
	bool		throttled;		/* the relay asked for less speed; any scope */
	bool		dead_address;	/* the mailbox does not exist */
} Judgement;

/*
 * Judge one attempt, after the table in the README ("Outcomes").  Total: any
 * combination of fields gets an answer.
 */
extern Judgement outcome_judge(const Attempt *attempt);

/* The name of a stage for messages: "RCPT", "final dot", ... */
extern const char *outcome_stage_name(SmtpStage stage);

/*
 * Write "x.y.z" of an enhanced status code into buf (at least 16 bytes);
 * returns buf, or NULL if there is none.
 */
extern const char *outcome_enhanced(const Attempt *attempt, char *buf);

/*
 * Copy text, but every address in it as "[address]": relays like to quote
 * them back, and logs name no addresses.
 */
extern void outcome_mask(char *dst, size_t size, const char *src);

/*
 * One line in words for delivery.reason and the log: what failed and how,
 * e.g. "RCPT: 550 5.1.1 no such user", "no reply to the final dot within
 * 600 s", "connection closed after DATA".  Never holds an address of ours.
 */
extern void outcome_describe(const Attempt *attempt, char *buf, size_t size);

#endif							/* MAILMAN_OUTCOME_H */
