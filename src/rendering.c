/*-------------------------------------------------------------------------
 *
 * rendering.c
 *	  Make the mails of those who were claimed.
 *
 * The glue of the worker with the pure layer: rows in, RFC 5322 bytes out.
 * One that cannot be rendered fails alone.  What the process is told while one
 * is made is heard, and between two of them, if they take long, so are the
 * relays.
 *
 * A turn claims many, and while their mails are made the relay would have
 * nothing to do.  So what the sessions can take is made first, the others
 * while the relay is at work: sending_transfer().
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A usual mail is made within it */
#define SCRATCH_SIZE (64 * 1024)

/* Made before the first is handed over, beside one a session and the riders */
#define RENDER_AHEAD 4

/* When so long has passed the sessions come first */
#define RENDER_US INT64CONST(20000)

/* There is no query to cancel while a mail is made */
static void
rendering_pulse(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/*
 * What the wire carries of it, at once where it is to stay.  The letter's files
 * are not copied.
 */
static void
render_wire(Worker *w, Delivery *d)
{
	const Rendered *rendered = &d->rendered;
	int			count = RENDERED_PIECES(rendered);
	Mail	   *mail = &d->mail;
	Piece	   *pieces = &mail->whole;
	StringInfoData wire = {0};
	int			i;

	wire.maxlen = rendered->message.len + MIME_WIRE_MORE;
	wire.data = MemoryContextAlloc(d->context, wire.maxlen);
	if (count > 1)
		pieces = MemoryContextAlloc(d->context, count * sizeof(Piece));
	rendered_wire(rendered, &wire, pieces);
	ahead_add(w, d, &wire);
	mail->pieces = pieces;
	mail->npieces = count;
	mail->wire_len = 0;
	for (i = 0; i < count; i++)
		mail->wire_len += pieces[i].len;
}

/* With d, make what goes over the wire as well */
static bool
render_or_fault(const Letter *letter, const RenderRecipient *recipient,
				Rendered *rendered, Worker *w, Delivery *d)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = false;

	PG_TRY();
	{
		ok = render_message(&letter->render, recipient, rendered);
		if (ok && d != NULL)
			render_wire(w, d);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_INSUFFICIENT_RESOURCES ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		FlushErrorState();
		rendered->error = error->message;
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

/* see letter.h */
bool
letter_render(const Letter *letter, const RenderRecipient *recipient,
			  Rendered *rendered)
{
	return render_or_fault(letter, recipient, rendered, NULL, NULL);
}

/*
 * What of a mail is recorded moves from the scratch memory it was made in to
 * the delivery's own.
 */
static void
sending_keep(Delivery *d)
{
	Rendered   *r = &d->rendered;

	r->message.data = NULL;
	r->files = NULL;
	r->files_at = NULL;
	r->subject = NULL;
	if (r->message_id != NULL)
		r->message_id = MemoryContextStrdup(d->context, r->message_id);
	if (r->mail_from != NULL)
		r->mail_from = MemoryContextStrdup(d->context, r->mail_from);
	if (r->rcpt_to != NULL)
		r->rcpt_to = MemoryContextStrdup(d->context, r->rcpt_to);
	if (r->error != NULL)
		r->error = MemoryContextStrdup(d->context, r->error);
}

/* Make one in the current memory context */
static bool
sending_render_one(Worker *w, Delivery *d)
{
	bool		test = d->test_id != 0;
	RenderRecipient recipient = {
		.subscription_id = d->subscription_id,
		.email = d->email,
		.name = d->name,
		.date = test ? timestamptz_to_time_t(d->queued_at) :
		letter_date(w->letter, d->queued_at),
		.unsubscribe_url = unsubscribe_url(&w->letter->render,
										   d->subscription_id, test),
		.data = d->data,
		.variables = d->variables,
		.test_id = d->test_id,
		.test_address = d->test_address,
		.fault = d->fault
	};
	bool		ok;

	letter_limit(w->letter);
	w->letter->work.pulse = rendering_pulse;
	ok = render_or_fault(w->letter, &recipient, &d->rendered, w, d);
	delivery_let_go(w, d);
	sending_keep(d);
	d->revision = w->letter->revision;
	d->mail.from = d->rendered.mail_from;
	d->mail.to = d->rendered.rcpt_to;
	d->mail.size = d->rendered.size;
	d->mail.smtputf8 = d->rendered.smtputf8;
	return ok;
}

/* It cannot be made: that is its outcome */
static void
sending_render_failed(Worker *w, Delivery *d)
{
	d->ended_at = GetCurrentTimestamp();
	sending_unclaim(d);
	outcome_set(d, DELIVERY_FAILED, 0, d->rendered.error);
	delivery_end(w, d, &w->claimed);
}

/* Nothing is known of whom it is for: the next claim may have room for that */
static void
sending_hand_back(Worker *w, Delivery *d)
{
	d->ended_at = GetCurrentTimestamp();
	sending_unclaim(d);
	if (d->test_id != 0)
		test_wait(w, d);
	else
		outcome_hand_back(d, d->ended_at, NULL);
	delivery_end(w, d, &w->claimed);
}

/* One in the scratch memory, which is used again and again */
static void
sending_render_next(Worker *w, Delivery *d)
{
	MemoryContext old;
	bool		ok;

	if (d->unread)
	{
		sending_hand_back(w, d);
		return;
	}
	old = MemoryContextSwitchTo(w->scratch_context);
	ok = sending_render_one(w, d);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->scratch_context);
	if (!ok)
		sending_render_failed(w, d);
}

/* see sending.h */
void
sending_render_more(Worker *w, int count)
{
	int64		until = transfer_now() + RENDER_US;
	dlist_mutable_iter iter;

	if (w->scratch_context == NULL)
		w->scratch_context = AllocSetContextCreate(TopMemoryContext,
												   "mailman rendering", 0,
												   SCRATCH_SIZE,
												   ALLOCSET_DEFAULT_MAXSIZE);
	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->wire != NULL)
			continue;
		if (count-- == 0 || transfer_now() >= until || !ahead_has_room(w))
			return;
		sending_render_next(w, d);
	}
	w->unrendered = false;
}

/* see sending.h */
void
sending_render(Worker *w)
{
	int			enough = routes_sessions(w) * 5 / 4 + RENDER_AHEAD;
	int			queued = routes_counts(w).queued;

	if (w->unrendered && queued < enough)
		sending_render_more(w, enough - queued);
}
