/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  newsletter.policy: the owner's own logic, asked who gets a letter, when,
 *	  with what and through which relay.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_POLICY_H
#define MAILMAN_POLICY_H

#include "catalog/objectaccess.h"
#include "mailman.h"

typedef enum PolicyAction
{
	POLICY_SEND,
	POLICY_SKIP,
	POLICY_DEFER
} PolicyAction;

/* What it has said of one recipient */
typedef struct PolicyAnswer
{
	PolicyAction action;
	char	   *reason;			/* in the owner's words, or NULL */
	TimestampTz until;			/* of a defer */
	Jsonb	   *variables;		/* an object, or NULL */
	size_t		oversize;		/* not read, as it has so many bytes; or 0 */
	char	   *relay;			/* a name, or NULL: as the newsletter lists */
} PolicyAnswer;

/* A function that may be asked */
typedef struct Policy
{
	const char *name;			/* as newsletter.policy has it */
	Oid			function;
	Oid			owner;			/* of the newsletter; it runs as this role */
} Policy;

/* An answer may have so many bytes; and those that are kept at once */
#define POLICY_ANSWER_MAX	((size_t) 4 * 1024 * 1024)
#define POLICY_ANSWERS_MAX	((size_t) 16 * 1024 * 1024)

/* ---- policy_fence.c ---- */

/* Who the session was before */
typedef struct PolicyFence
{
	Oid			session;
	bool		session_is_superuser;
	Oid			role;			/* of SET ROLE, or InvalidOid */
	bool		read_only_reset;	/* what RESET gave */
	object_access_hook_type hook;
	List	   *cursors;		/* of the session, see policy_cursors.c */
} PolicyFence;

/*
 * In a subtransaction: remember how things are, raise the fence, and when the
 * subtransaction was rolled back, lower it.  In between run as the newsletter's
 * owner and nobody else, read only.
 */
extern void policy_fence_measure(PolicyFence *fence);
extern void policy_fence_raise(const PolicyFence *fence, const Policy *policy);
extern void policy_fence_lower(const PolicyFence *fence);

/* ---- policy_cursors.c ---- */

/* Those that are open and could be fetched from */
extern List *policy_cursors_find(void);

/* Nothing is thrown by these; no cursor of the list can be gone in between */
extern void policy_cursors_hide(List *cursors);
extern void policy_cursors_show(List *cursors);

/* ---- policy.c ---- */

/*
 * The letter's policy; an ERROR if its newsletter names a function that its
 * owner could not call.  False: it names none.
 */
extern bool policy_find(const Letter *letter, Policy *policy);

/*
 * Ask it about some subscriptions of a letter, both whole rows, in order.
 * Returns how many were answered; if not all, *error says why the next one was
 * not, and nothing of what was done for it stays; NULL: more answers would take
 * too much memory.  deadline 0: none.
 */
extern int	policy_ask(const Policy *policy, Datum letter,
					   const Datum *subscriptions, int count,
					   TimestampTz deadline, PolicyAnswer *answers,
					   ErrorData **error);

/* An error of it, in the words that stand in the row of the delivery */
extern char *policy_describe(const Policy *policy, const ErrorData *error);

/* The same, if it names a relay that is not in the newsletter's list */
extern char *policy_describe_relay(const Policy *policy, const char *name);

/* The same, if its answer is too large */
extern char *policy_describe_oversize(const Policy *policy, size_t size);

/* Was it that there was no time left? */
extern bool policy_is_late(const ErrorData *error);

/* What made this process end, if it was a policy that did not; else NULL */
extern const char *policy_overran(void);

/* Variables as a mail has them: what the policy says goes before what
 * mailman_send() was given.  Either may be NULL. */
extern Jsonb *policy_merge(Jsonb *given, Jsonb *added);

/* ---- preview_policy.c ---- */

/*
 * What it says of one recipient now, as the row of the delivery would have it;
 * NULL: it is sent.  *variables, which may be NULL, get what it adds.
 */
extern char *preview_decide(const Letter *letter, int64 subscription_id,
							Jsonb **variables);

/* ---- policy_answer.c ---- */

/* Somebody's words as one line that a row can hold */
extern char *policy_words(const char *words, int len);

/* Read an answer; an ERROR if it is none.  NULL sends. */
extern void policy_answer_read(Jsonb *jsonb, PolicyAnswer *answer);

/* Of one that does not send: what the row of the delivery has as its reason */
extern char *policy_describe_answer(const PolicyAnswer *answer);

#endif							/* MAILMAN_POLICY_H */
