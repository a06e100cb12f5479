/*-------------------------------------------------------------------------
 *
 * tally.c
 *	  The states of a delivery, and letter.mail_order: how many of a letter's
 *	  recipients are in each.
 *
 * The tally has one number per state whatever the size of the list, and moves
 * in the transaction that moves the rows, so it is exact at every commit.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

const char *const delivery_state_names[DELIVERY_STATES] = {
	[DELIVERY_PENDING] = "pending",
	[DELIVERY_SENDING] = "sending",
	[DELIVERY_DEFERRED] = "deferred",
	[DELIVERY_DELIVERED] = "delivered",
	[DELIVERY_FAILED] = "failed",
	[DELIVERY_SKIPPED] = "skipped",
	[DELIVERY_DOUBTFUL] = "doubtful",
};

DeliveryState
delivery_state(Datum name)
{
	text	   *packed = DatumGetTextPP(name);
	size_t		len = VARSIZE_ANY_EXHDR(packed);
	int			state;

	for (state = 0; state < DELIVERY_STATES; state++)
	{
		if (strlen(delivery_state_names[state]) == len &&
			memcmp(delivery_state_names[state], VARDATA_ANY(packed),
				   len) == 0)
			return (DeliveryState) state;
	}
	elog(ERROR, "unknown delivery state \"%s\"", TextDatumGetCString(name));
}

int64
tally_recipients(const Tally *tally)
{
	int64		sum = 0;
	int			state;

	for (state = 0; state < DELIVERY_STATES; state++)
		sum += tally->count[state];
	return sum;
}

void
tally_from_jsonb(Tally *tally, Jsonb *mail_order)
{
	int			state;

	if (!JB_ROOT_IS_OBJECT(mail_order))
		elog(ERROR, "mail_order is no object");
	for (state = 0; state < DELIVERY_STATES; state++)
	{
		const char *name = delivery_state_names[state];
		JsonbValue	value;
		Datum		number;

		if (getKeyJsonValueFromContainer(&mail_order->root, name, strlen(name),
										 &value) == NULL ||
			value.type != jbvNumeric)
			elog(ERROR, "mail_order has no number \"%s\"", name);
		number = NumericGetDatum(value.val.numeric);
		tally->count[state] =
			DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	}
}

Datum
tally_to_jsonb(const Tally *tally)
{
	StringInfoData text;
	int			state;

	initStringInfo(&text);
	appendStringInfo(&text, "{\"recipients\": " INT64_FORMAT,
					 tally_recipients(tally));
	for (state = 0; state < DELIVERY_STATES; state++)
		appendStringInfo(&text, ", \"%s\": " INT64_FORMAT,
						 delivery_state_names[state], tally->count[state]);
	appendStringInfoChar(&text, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}
