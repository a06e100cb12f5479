/*-------------------------------------------------------------------------
 *
 * sees.c
 *	  Whose rows does the current user see?  What the row-level policies ask.
 *
 * Members of newsletter.owner see a newsletter and what belongs to it.  Those
 * with 'admin' see everything, and so do superusers, the extension's owner, and
 * roles with BYPASSRLS: the policies do not bind those but for what they see
 * through views of the extension's owner.
 *
 * The policies call a function for each row, and an answer is found once in a
 * query for each newsletter or letter: the rows of one letter follow each other
 * most often, so mostly a number is compared.  A function, and no subquery,
 * plans as if it were not there: no index is lost by it, and nothing is read
 * that the query does not read.  Its support function says that it keeps all
 * rows, as it does in a query about what is one's own, and that it costs
 * nothing.  So it is the first condition that a row has to pass: a cheap one of
 * the query, as far as it is leakproof, would else choose the rows of others
 * for which we have to look up an owner, and EXPLAIN (ANALYZE, BUFFERS) counts
 * that, which tells whether such a row meets the condition.
 *
 * Nothing is kept from one query to the next, so there is nothing to forget.  A
 * newsletter whose owner is gone is seen by those alone who see everything.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "mailman.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "owned.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(mailman_sees_all);
PG_FUNCTION_INFO_V1(mailman_sees_owner);
PG_FUNCTION_INFO_V1(mailman_sees_newsletter);
PG_FUNCTION_INFO_V1(mailman_sees_letter);
PG_FUNCTION_INFO_V1(mailman_sees_relay);
PG_FUNCTION_INFO_V1(mailman_sees_support);

/* With so many answers it begins anew: some MB */
#define SIGHTS_MAX	100000

/* Is the row of this id, or what belongs to it, to be seen? */
typedef struct Sight
{
	int64		id;
	char		status;			/* simplehash's */
	bool		seen;
} Sight;

#define SH_PREFIX sights
#define SH_ELEMENT_TYPE Sight
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) \
	murmurhash32((uint32) (key) ^ (uint32) ((key) >> 32))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* What one call site of a query knows, in fn_extra */
typedef struct Eyes
{
	Oid			role;
	bool		asked;			/* whether it sees everything; then: */
	bool		all;
	bool		any;			/* the latest answer: */
	Sight		latest;
	MemoryContext context;
	sights_hash *sights;		/* all of them, from the second on */
} Eyes;

/* Does it see what is nobody's it is a member of? */
static bool
role_sees_all(Oid role)
{
	return has_bypassrls_privilege(role) || role_is_admin(role);
}

static bool
eyes_see_all(Eyes *eyes)
{
	if (!eyes->asked)
		eyes->all = role_sees_all(eyes->role);
	eyes->asked = true;
	return eyes->all;
}

static Eyes *
eyes_of(FunctionCallInfo fcinfo)
{
	Eyes	   *eyes = fcinfo->flinfo->fn_extra;

	if (likely(eyes != NULL && eyes->role == GetUserId()))
		return eyes;
	eyes = fcinfo->flinfo->fn_extra =
		MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Eyes));
	eyes->role = GetUserId();
	eyes->context = fcinfo->flinfo->fn_mcxt;
	/* of a superuser that is known without a look */
	eyes->asked = eyes->all = superuser_arg(eyes->role);
	return eyes;
}

static bool
eyes_see_owner(Eyes *eyes, Oid owner)
{
	return (OidIsValid(owner) && has_privs_of_role(eyes->role, owner)) ||
		eyes_see_all(eyes);
}

static bool
eyes_see_newsletter(Eyes *eyes, int64 newsletter_id)
{
	return eyes_see_owner(eyes, owned_newsletter_owner(newsletter_id,
													   GetActiveSnapshot()));
}

static bool
eyes_see_letter(Eyes *eyes, int64 letter_id)
{
	int64		newsletter_id;

	return owned_letter_newsletter(letter_id, GetActiveSnapshot(),
								   &newsletter_id) ?
		eyes_see_newsletter(eyes, newsletter_id) : eyes_see_all(eyes);
}

/* Keep the latest answer, as another is to come */
static void
eyes_remember(Eyes *eyes)
{
	bool		found;

	if (eyes->sights == NULL)
		eyes->sights = sights_create(eyes->context, 16, NULL);
	else if (eyes->sights->members >= SIGHTS_MAX)
		sights_reset(eyes->sights);
	sights_insert(eyes->sights, eyes->latest.id, &found)->seen =
		eyes->latest.seen;
}

/* Look, or remember */
static bool
eyes_see(Eyes *eyes, int64 id, bool (*look) (Eyes *, int64))
{
	Sight	   *sight = NULL;

	if (eyes->any && eyes->latest.id == id)
		return eyes->latest.seen;
	if (eyes->asked && eyes->all)
		return true;
	/* first, as it may move what is found */
	if (eyes->any)
		eyes_remember(eyes);
	if (eyes->sights != NULL)
		sight = sights_lookup(eyes->sights, id);
	eyes->latest.seen = sight != NULL ? sight->seen : look(eyes, id);
	eyes->latest.id = id;
	eyes->any = true;
	return eyes->latest.seen;
}

/* mailman.sees_all() RETURNS boolean */
Datum
mailman_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(eyes_see_all(eyes_of(fcinfo)));
}

/* mailman.sees_owner(owner_oid oid) RETURNS boolean */
Datum
mailman_sees_owner(PG_FUNCTION_ARGS)
{
	Oid			owner = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);

	PG_RETURN_BOOL(eyes_see_owner(eyes_of(fcinfo), owner));
}

/* Is what belongs to the id in the first argument to be seen? */
static Datum
eyes_answer(FunctionCallInfo fcinfo, bool (*look) (Eyes *, int64))
{
	Eyes	   *eyes = eyes_of(fcinfo);

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(eyes_see_all(eyes));
	PG_RETURN_BOOL(eyes_see(eyes, PG_GETARG_INT64(0), look));
}

/* mailman.sees_newsletter(newsletter_id bigint) RETURNS boolean */
Datum
mailman_sees_newsletter(PG_FUNCTION_ARGS)
{
	return eyes_answer(fcinfo, eyes_see_newsletter);
}

/* mailman.sees_letter(letter_id bigint) RETURNS boolean */
Datum
mailman_sees_letter(PG_FUNCTION_ARGS)
{
	return eyes_answer(fcinfo, eyes_see_letter);
}

/* mailman.sees_relay(relay text) RETURNS boolean: who has USAGE on it does */
Datum
mailman_sees_relay(PG_FUNCTION_ARGS)
{
	Eyes	   *eyes = eyes_of(fcinfo);
	ForeignServer *server = NULL;

	if (!PG_ARGISNULL(0))
		server = GetForeignServerByName(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										true);
	PG_RETURN_BOOL((server != NULL &&
					compat_server_aclcheck(server->serverid, eyes->role) ==
					ACLCHECK_OK) || eyes_see_all(eyes));
}

/*
 * mailman.sees_support(internal) RETURNS internal: see above.  Of conditions
 * that cost the same the planner puts those of policies first.
 */
Datum
mailman_sees_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSelectivity))
		((SupportRequestSelectivity *) request)->selectivity = 1.0;
	else if (IsA(request, SupportRequestCost))
	{
		((SupportRequestCost *) request)->startup = 0;
		((SupportRequestCost *) request)->per_tuple = 0;
	}
	else
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(request);
}
