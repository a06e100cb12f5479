/*-------------------------------------------------------------------------
 *
 * table_use.c
 *	  Our tables, and which of them each function writes and reads: the one
 *	  list.
 *
 * A function that writes a table holds RowExclusiveLock on it, as the server
 * would take it anyway, and has seen that nobody's code runs there.  One that
 * reads a table, or refers to it by a foreign key, holds RowShareLock.  All of
 * them are locked before the first row is touched: see tables.c.  So what a
 * function does not use is in nobody's way, and an index that is built on one
 * table does not stop those who write another.
 *
 * What a foreign key does counts, too: an INSERT looks at the row referred to,
 * a DELETE looks for rows that refer to it, or deletes them.
 *
 * A statement that writes a table which is not in its function's set is a
 * mistake in this list: tables_cover() locks it then, and says so.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "table_use.h"
#include "utils/lsyscache.h"

const char *const table_names[OUR_TABLES] = {
	[TABLE_NEWSLETTER] = "newsletter",
	[TABLE_LETTER] = "letter",
	[TABLE_SUBSCRIPTION] = "subscription",
	[TABLE_DELIVERY] = "delivery",
	[TABLE_NEWSLETTER_EMAIL] = "newsletter_email",
	[TABLE_POSTING] = "posting",
	[TABLE_TEST] = "test",
	[TABLE_SECRET] = "secret",
	[TABLE_FORGOTTEN] = "forgotten",
	[TABLE_DKIM_KEY] = "dkim_key",
	[TABLE_ORIGIN] = "origin",
	[TABLE_RELAY_STATE] = "relay_state",
	[TABLE_DOMAIN_LIMIT] = "domain_limit",
	[TABLE_DOMAIN_STATE] = "domain_state",
	[TABLE_ATTACHMENT] = "attachment",
	[TABLE_PARTIAL] = "partial",
	[TABLE_EVENT] = "event",
};

#define NEWSLETTER		TABLE_BIT(TABLE_NEWSLETTER)
#define LETTER			TABLE_BIT(TABLE_LETTER)
#define SUBSCRIPTION	TABLE_BIT(TABLE_SUBSCRIPTION)
#define DELIVERY		TABLE_BIT(TABLE_DELIVERY)
#define NEWSLETTER_EMAIL TABLE_BIT(TABLE_NEWSLETTER_EMAIL)
#define POSTING			TABLE_BIT(TABLE_POSTING)
#define TEST			TABLE_BIT(TABLE_TEST)
#define SECRET			TABLE_BIT(TABLE_SECRET)
#define FORGOTTEN		TABLE_BIT(TABLE_FORGOTTEN)
#define DKIM_KEY		TABLE_BIT(TABLE_DKIM_KEY)
#define ORIGIN			TABLE_BIT(TABLE_ORIGIN)
#define RELAY_STATE		TABLE_BIT(TABLE_RELAY_STATE)
#define DOMAIN_LIMIT	TABLE_BIT(TABLE_DOMAIN_LIMIT)
#define DOMAIN_STATE	TABLE_BIT(TABLE_DOMAIN_STATE)
#define ATTACHMENT		TABLE_BIT(TABLE_ATTACHMENT)
#define PARTIAL			TABLE_BIT(TABLE_PARTIAL)
#define EVENT			TABLE_BIT(TABLE_EVENT)

/* All that letter_load_content() looks at, to see whether it can be sent */
#define CONTENT (NEWSLETTER | LETTER | PARTIAL | ATTACHMENT | DKIM_KEY | SECRET)

/* What turn_fence() and look_at() look at */
#define FENCE (NEWSLETTER | LETTER | DKIM_KEY | PARTIAL | TEST | POSTING | \
			   ORIGIN)
#define LOOK (LETTER | POSTING | DELIVERY | TEST)

/* ---- readers ---- */

const TableUse use_subscribe = {SUBSCRIPTION,
NEWSLETTER | FORGOTTEN | SECRET};
const TableUse use_revive = {SUBSCRIPTION | FORGOTTEN, NEWSLETTER | SECRET};
const TableUse use_unsubscribe = {SUBSCRIPTION, SECRET};
const TableUse use_forget = {SUBSCRIPTION | DELIVERY | NEWSLETTER_EMAIL |
	TEST | FORGOTTEN,
NEWSLETTER | LETTER | SECRET};

/* ---- newsletters ---- */

const TableUse use_dkim_key = {DKIM_KEY, NEWSLETTER};
const TableUse use_secret = {SECRET, NEWSLETTER};
const TableUse use_rotate = {SECRET | NEWSLETTER, 0};
const TableUse use_rewrap = {SECRET | DKIM_KEY, 0};
const TableUse use_newsletter_goes = {PARTIAL | SECRET | FORGOTTEN | DKIM_KEY,
SUBSCRIPTION | LETTER};

/* ---- letters; their state is an event, which is written when it moves ---- */

const TableUse use_send = {LETTER | DELIVERY | POSTING | ORIGIN,
CONTENT | SUBSCRIPTION};
const TableUse use_test = {TEST | ORIGIN, CONTENT | SUBSCRIPTION | DELIVERY};
const TableUse use_pause = {LETTER, NEWSLETTER | POSTING};
const TableUse use_resume = {LETTER | DELIVERY, CONTENT};
const TableUse use_cancel = {LETTER | DELIVERY | POSTING,
NEWSLETTER | NEWSLETTER_EMAIL};
const TableUse use_retry = {DELIVERY | POSTING,
NEWSLETTER | LETTER | SUBSCRIPTION};
const TableUse use_adopt = {LETTER | TEST | ORIGIN, POSTING};
const TableUse use_purge = {LETTER | DELIVERY | NEWSLETTER_EMAIL |
	RELAY_STATE | DOMAIN_STATE | EVENT,
NEWSLETTER | POSTING | DOMAIN_LIMIT};
const TableUse use_files = {LETTER, ORIGIN};
const TableUse use_letter_goes = {ATTACHMENT | TEST, DELIVERY | POSTING};

/* ---- a worker ---- */

const TableUse use_first = {LETTER | DELIVERY, LOOK | ORIGIN};
const TableUse use_turn = {LETTER | DELIVERY | POSTING,
FENCE | CONTENT | SUBSCRIPTION};
const TableUse use_record_email = {NEWSLETTER_EMAIL, 0};
const TableUse use_record_bounce = {SUBSCRIPTION, 0};
const TableUse use_record_test = {TEST, 0};
const TableUse use_top_up = {LETTER | DELIVERY | POSTING,
FENCE | SUBSCRIPTION};
const TableUse use_hurry = {DELIVERY, FENCE};
const TableUse use_reserve = {RELAY_STATE | DOMAIN_STATE,
DOMAIN_LIMIT | DELIVERY | POSTING | SUBSCRIPTION};
const TableUse use_done = {LETTER, LOOK};

const TableUse use_event = {EVENT, 0};

TableUse
table_use_of(const TableUse *use, const TableUse *more)
{
	TableUse	both = {use->writes | more->writes, use->reads | more->reads};

	return both;
}

/*
 * Where rows are deleted sooner or later a foreign key of somebody else's is
 * refused by all that write: a letter is not to find out when it is called
 * back.  Of newsletter_email that is mailman_purge() alone.
 */
TableSet
table_use_deletes(const TableUse *use)
{
	const TableSet deleted = DELIVERY | POSTING | TEST | SECRET | FORGOTTEN |
		DKIM_KEY | ORIGIN | RELAY_STATE | DOMAIN_STATE | EVENT;
	TableSet	set = use->writes & deleted;

	if (use->writes == use_purge.writes)
		set |= NEWSLETTER_EMAIL;
	return set;
}

TableSet
table_set_of(Oid relid, Oid schema)
{
	char	   *name;
	int			table;

	if (get_rel_namespace(relid) != schema)
		return 0;
	name = get_rel_name(relid);
	for (table = 0; name != NULL && table < OUR_TABLES; table++)
	{
		if (strcmp(name, table_names[table]) == 0)
			return TABLE_BIT(table);
	}
	return 0;
}
