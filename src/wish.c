/*-------------------------------------------------------------------------
 *
 * wish.c
 *	  What is asked for in a transaction and done at its COMMIT.
 *
 * A REPEATABLE READ or SERIALIZABLE transaction may ask for a change of a row
 * that somebody has changed since its snapshot was taken.  If we changed it at
 * once, the transaction would see both the row of its snapshot and the new one
 * until its end.  So the row is locked at once (hold.c), which keeps everybody
 * else from changing it, and the change is made when nothing of the
 * transaction is to come but its COMMIT, or its PREPARE TRANSACTION.  Until
 * then our own functions know of the wish; a rollback, to a savepoint too,
 * drops it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mailman.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct Pending
{
	Wish		wish;
	int			nest_level;
	struct Pending *next;
} Pending;

/* Newest first, so a subtransaction's are ahead */
static Pending *pending = NULL;

/* see hold.h */
void
wish_at_commit(const Wish *wish)
{
	MemoryContext old;
	Pending    *entry;

	/* not only at COMMIT */
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot change a letter or a subscription in a read-only transaction")));
	old = MemoryContextSwitchTo(TopTransactionContext);
	entry = palloc(sizeof(Pending));

	entry->wish = *wish;
	if (wish->reason != NULL)
		entry->wish.reason = pstrdup(wish->reason);
	entry->nest_level = GetCurrentTransactionNestLevel();
	entry->next = pending;
	pending = entry;
	MemoryContextSwitchTo(old);
}

/* see hold.h */
const Wish *
wish_find(WishFulfil fulfil, int64 id)
{
	Pending    *entry;

	for (entry = pending; entry != NULL; entry = entry->next)
	{
		if (entry->wish.fulfil == fulfil && entry->wish.id == id &&
			entry->wish.state[0] != '\0')
			return &entry->wish;
	}
	return NULL;
}

/* The oldest first.  An error ends the transaction. */
static void
wishes_fulfil(void)
{
	Pending    *oldest = NULL;
	ExtensionScope scope;

	if (pending == NULL)
		return;
	while (pending != NULL)
	{
		Pending    *next = pending->next;

		pending->next = oldest;
		oldest = pending;
		pending = next;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	for (; oldest != NULL; oldest = oldest->next)
	{
		extension_enter(&scope, oldest->wish.use);
		oldest->wish.fulfil(&oldest->wish);
		extension_leave(&scope);
	}
	PopActiveSnapshot();
}

static void
wish_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		wishes_fulfil();
	else
		pending = NULL;			/* memory goes with the transaction */
}

static void
wish_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	Pending    *entry;

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (pending != NULL && pending->nest_level >= level)
			pending = pending->next;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (entry = pending;
			 entry != NULL && entry->nest_level >= level; entry = entry->next)
			entry->nest_level = level - 1;
	}
}

void
wish_callbacks_register(void)
{
	RegisterXactCallback(wish_xact_callback, NULL);
	RegisterSubXactCallback(wish_subxact_callback, NULL);
}
