/*-------------------------------------------------------------------------
 *
 * rendering.c
 *	  Make the mails of those who were claimed.
 *
 * The glue of the worker with the pure layer: rows in, RFC 5322 bytes out.
 * One that cannot be rendered fails alone.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* see mailman.h */
bool
letter_render(const Letter *letter, const RenderRecipient *recipient,
			  Rendered *rendered)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = false;

	PG_TRY();
	{
		ok = render_message(&letter->render, recipient, rendered);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_INSUFFICIENT_RESOURCES)
			PG_RE_THROW();
		FlushErrorState();
		rendered->error = error->message;
	}
	PG_END_TRY();
	return ok;
}

static bool
sending_render_one(Worker *w, Delivery *d)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
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
		.test_address = d->test_address
	};
	bool		ok = letter_render(w->letter, &recipient, &d->rendered);

	d->revision = w->letter->revision;
	d->mail.from = d->rendered.mail_from;
	d->mail.to = d->rendered.rcpt_to;
	d->mail.wire = d->rendered.wire.data;
	d->mail.wire_len = d->rendered.wire.len;
	d->mail.size = d->rendered.message.len;
	d->mail.smtputf8 = d->rendered.smtputf8;
	if (ok)
	{
		/* The wire form is what is sent: with attachments both are large */
		pfree(d->rendered.message.data);
		d->rendered.message.data = NULL;
	}
	MemoryContextSwitchTo(old);
	return ok;
}

/* Make the mails of all that were claimed; one that fails fails alone */
void
sending_render(Worker *w)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &w->claimed.head)
	{
		Delivery   *d = dlist_container(Delivery, node, iter.cur);

		if (d->mail.wire != NULL || sending_render_one(w, d))
			continue;
		d->ended_at = GetCurrentTimestamp();
		sending_unclaim(d);
		outcome_set(d, DELIVERY_FAILED, 0, d->rendered.error);
		delivery_end(w, d, &w->claimed);
	}
}
