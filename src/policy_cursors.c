/*-------------------------------------------------------------------------
 *
 * policy_cursors.c
 *	  Cursors that are open when a policy is called are not the policy's.
 *
 * A cursor has a name in its session, and no owner: FETCH asks for no right.
 * The session of a preview is that of the role that looks, so a policy could
 * read what a superuser has open, and move or close it.  While the policy runs
 * those cursors are active ones, which nobody can run or drop, and not shown
 * in pg_cursors.  A worker has none.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "miscadmin.h"
#include "policy.h"
#include "utils/portal.h"

/* see policy.h */
List *
policy_cursors_find(void)
{
	static Statement find = {
		.sql = "SELECT name FROM pg_catalog.pg_cursors"
	};
	List	   *cursors = NIL;
	uint64		count;
	uint64		i;

	if (MyBackendType == B_BG_WORKER)
		return NIL;
	count = statement_run(&find, SPI_OK_SELECT, NULL, NULL);
	for (i = 0; i < count; i++)
	{
		Portal		portal = GetPortalByName(row_text(i, 1));

		if (PortalIsValid(portal) && portal->status == PORTAL_READY)
			cursors = lappend(cursors, portal);
	}
	return cursors;
}

static void
policy_cursors_set(List *cursors, PortalStatus status, bool visible)
{
	ListCell   *cell;

	foreach(cell, cursors)
	{
		Portal		portal = lfirst(cell);

		portal->status = status;
		portal->visible = visible;
	}
}

/* see policy.h */
void
policy_cursors_hide(List *cursors)
{
	policy_cursors_set(cursors, PORTAL_ACTIVE, false);
}

/* see policy.h */
void
policy_cursors_show(List *cursors)
{
	policy_cursors_set(cursors, PORTAL_READY, true);
}
