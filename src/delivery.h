/*-------------------------------------------------------------------------
 *
 * delivery.h
 *	  A recipient in a worker, from claim to outcome.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_DELIVERY_H
#define MAILMAN_DELIVERY_H

#include "lib/ilist.h"
#include "mailman.h"
#include "route.h"
#include "storage/itemptr.h"

/*
 * One recipient while its row is 'sending': a slot, used again and again, in
 * one of the worker's lists.
 *
 *	free -> claiming -> claimed -> begun -> done -> free
 *			(turn)		(render)   (transfer)   (turn)
 */
typedef struct Delivery
{
	dlist_node	node;
	MemoryContext context;		/* all its memory; reset when freed */

	/* as claimed */
	int64		test_id;		/* not 0: a row of mailman.test, no delivery */
	int64		subscription_id;
	ItemPointerData subscription_place; /* where its row was read */
	char	   *email;			/* UTF-8 */
	char	   *test_address;	/* where a test goes */
	char	   *name;			/* UTF-8, may be NULL */
	TemplateNode data;			/* of the subscription */
	TemplateNode variables;
	Jsonb	   *jsonb[2];		/* both, while they are needed */
	size_t		jsonb_size;		/* so many bytes, in worker.jsonb_size, too */
	bool		unread;			/* there was no room for them: hand it back */
	char	   *fault;			/* why no mail can be made of them, or NULL */
	int			attempts;
	TimestampTz queued_at;

	/* as sent */
	Rendered	rendered;
	Mail		mail;
	char	   *wire;			/* what of it is its own; NULL: nothing */
	size_t		wire_size;
	LetterFiles *files;			/* what it has in common with others */
	Oid			wish;			/* the relay it must take, if the policy says */
	Route	   *route;			/* through which */
	char	   *relay;			/* its name */
	Domain	   *domain;			/* whose limit it is under, or NULL */
	int			revision;		/* of the letter's content */

	/* its outcome */
	DeliveryState state;
	TimestampTz due_at;			/* 0: none */
	bool		costs_attempt;
	bool		doubt;			/* counts in letter.doubts */
	bool		handed_back;	/* no outcome: back to the queue as it was */
	bool		given_up;		/* not answered in time, as others waited */
	bool		stuck_told;		/* the log says that it is stuck */
	bool		dead;			/* no such mailbox: the subscription bounced */
	int			code;			/* 0: none */
	char		enhanced[16];	/* "": none */
	char	   *reply;			/* NULL: none */
	char	   *reason;			/* NULL: none */
	TimestampTz ended_at;
} Delivery;

typedef struct DeliveryList
{
	dlist_head	head;
	int			count;
} DeliveryList;

#endif							/* MAILMAN_DELIVERY_H */
