/*-------------------------------------------------------------------------
 *
 * holding.c
 *	  Data and variables of those who are claimed, until their mail is made.
 *
 * They may be as large as a mail, and hundreds are claimed at once.  So only so
 * many bytes are held; a recipient claimed beyond goes back to the queue, and
 * the next claims are of fewer.  How many there will be is not known before a
 * claim: that would have to fetch them, or to read every subscription twice.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/builtins.h"
#include "worker.h"

/* Bytes held, if it is more than one recipient's */
#define HOLDING_MAX ((size_t) 32 * 1024 * 1024)

static void
delivery_read(Delivery *d, int which, Datum value, bool isnull,
			  TemplateNode *node)
{
	d->jsonb[which] = isnull ? NULL : DatumGetJsonbPCopy(value);
	*node = lookup_node(d->jsonb[which]);
}

/* see sending.h */
void
delivery_hold(Worker *w, Delivery *d, Datum data, bool data_null,
			  Datum variables, bool variables_null)
{
	size_t		size = datum_size(data, data_null) +
		datum_size(variables, variables_null);

	d->fault = letter_data_fault(w->letter, size);
	if (d->fault != NULL)
		return;
	d->unread = w->jsonb_size > 0 && w->jsonb_size + size > HOLDING_MAX;
	if (d->unread)
		return;
	delivery_read(d, 0, data, data_null, &d->data);
	delivery_read(d, 1, variables, variables_null, &d->variables);
	d->jsonb_size = size;
	w->jsonb_size += size;
}

/* see sending.h */
void
delivery_let_go(Worker *w, Delivery *d)
{
	int			i;

	w->jsonb_size -= d->jsonb_size;
	d->jsonb_size = 0;
	for (i = 0; i < (int) lengthof(d->jsonb); i++)
	{
		if (d->jsonb[i] != NULL)
			pfree(d->jsonb[i]);
		d->jsonb[i] = NULL;
	}
	memset(&d->data, 0, sizeof(d->data));
	memset(&d->variables, 0, sizeof(d->variables));
}

/* see sending.h */
void
holding_adapt(Worker *w, int claimed)
{
	dlist_iter	iter;
	int			unread = 0;

	dlist_foreach(iter, &w->claiming.head)
		unread += dlist_container(Delivery, node, iter.cur)->unread;
	if (unread > 0)
		w->claim_most = Max(claimed - unread, 1);
	else if (w->claim_most > 0 && claimed >= w->claim_most)
		w->claim_most = w->claim_most < w->nslots ? 2 * w->claim_most : 0;
}
