/*-------------------------------------------------------------------------
 *
 * argument.c
 *	  Arguments of SQL functions that must not be null.
 *
 * A function that is STRICT answers NULL to NULL, and mailman_pause() of a
 * letter that a query has not found would look like success.  So none of those
 * that act or tell is STRICT; each asks here.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"

/* see mailman.h */
void
argument_check(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}
