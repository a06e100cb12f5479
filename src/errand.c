/*-------------------------------------------------------------------------
 *
 * errand.c
 *	  What a worker has to do beside its turns, in transactions of their own.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "worker.h"

/* see mailman.h */
void
letter_hurry(int64 letter_id, bool in_doubt)
{
	static Statement hurry = {
		.sql = "UPDATE mailman.delivery SET due_at = now()"
		" WHERE letter_id = $1 AND due_at > now() AND code IS NULL"
		" AND ($2 OR doubts = 0)"
		" AND reason IS DISTINCT FROM '" REASON_ASIDE "'"
		" AND ($2 OR NOT coalesce(starts_with(reason, '" REASON_POLICY "'),"
		" false))",
		.nargs = 2,
		.argtypes = {INT8OID, BOOLOID}
	};
	Datum		values[2] = {Int64GetDatum(letter_id), BoolGetDatum(in_doubt)};

	statement_run_now(&hurry, SPI_OK_UPDATE, values, NULL);
}

/*
 * A relay is well again, maybe sooner than was thought when others were told
 * to wait for it: they need not wait any longer.  Few rows.
 */
static void
hurry_transaction(Worker *w, void *arg)
{
	ExtensionScope scope;
	Look		look;

	run_begin(w, &scope, &use_hurry);
	if (turn_fence(w, &look))
		letter_hurry(w->letter_id, false);
	run_commit(&scope);
	w->hurry = false;
}

void
errand_hurry(Worker *w)
{
	if (w->hurry && w->mode == MODE_SEND)
		(void) run_try(w, hurry_transaction, NULL, NULL);
}
