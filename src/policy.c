/*-------------------------------------------------------------------------
 *
 * policy.c
 *	  Call newsletter.policy, behind a fence.
 *
 * The function is code of the newsletter's owner, and it is called by a
 * process that could do anything, or by somebody who may do more than the
 * owner.  So it runs behind a fence (policy_fence.c), in a subtransaction that
 * is rolled back whatever it has done: settings, too, are as they were when it
 * is over.
 *
 * It has a time limit.  Code that catches the cancellation and goes on is
 * given as long again; then the process ends, which it cannot catch.
 *
 * Locks of the session are not rolled back, and one of them makes a worker the
 * only one of its letter.  The fence refuses the functions for them; a
 * worker that asks looks afterwards all the same: see decide.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "outcome.h"
#include "policy.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* More than is kept of an error in any case */
#define POLICY_MASKED_MAX	1024

static TimeoutId overrun_timeout;
static bool overrun_registered = false;
static volatile sig_atomic_t overran = false;

/* ---- which function? ---- */

static Oid
policy_row_type(const char *table)
{
	return get_rel_type_id(get_relname_relid(table,
											 get_namespace_oid("mailman",
															   false)));
}

static Oid
policy_lookup(const Letter *letter)
{
	Oid			argtypes[2] = {policy_row_type("letter"),
	policy_row_type("subscription")};
	List	   *names = compat_qualified_name_list(letter->policy);
	Oid			function = LookupFuncName(names, 2, argtypes, true);

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("policy %s(mailman.letter, mailman.subscription) of newsletter " INT64_FORMAT " does not exist",
						letter->policy, letter->newsletter_id),
				 list_length(names) == 1 ?
				 errhint("Write it with its schema: newsletter.policy = 'public.my_policy'.") :
				 errhint("CREATE FUNCTION %s(mailman.letter, mailman.subscription) RETURNS jsonb.",
						 letter->policy)));
	return function;
}

bool
policy_find(const Letter *letter, Policy *policy)
{
	if (letter->policy == NULL)
		return false;
	policy->name = letter->policy;
	owner_check_exists(letter->newsletter_id, letter->owner,
					   letter->owner_oid);
	policy->owner = letter->owner_oid;
	policy->function = policy_lookup(letter);
	if (get_func_rettype(policy->function) != JSONBOID ||
		get_func_retset(policy->function) ||
		get_func_prokind(policy->function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("policy %s of newsletter " INT64_FORMAT " is not a function that returns jsonb",
						letter->policy, letter->newsletter_id)));
	if (compat_function_aclcheck(policy->function,
								 policy->owner) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for policy %s of newsletter " INT64_FORMAT,
						letter->policy, letter->newsletter_id),
				 errdetail("Role \"%s\", the owner of the newsletter, may not call it.",
						   letter->owner),
				 errhint("GRANT EXECUTE ON FUNCTION %s TO %s.", letter->policy,
						 quote_identifier(letter->owner))));
	return true;
}

/* ---- behind the fence: policy_fence.c ---- */

static void
policy_overrun(void)
{
	overran = true;
	InterruptPending = true;
	ProcDiePending = true;
}

const char *
policy_overran(void)
{
	return overran ? "newsletter.policy did not end when its time was over" :
		NULL;
}

static void
policy_arm(TimestampTz deadline)
{
	if (deadline == 0)
		return;
	if (!overrun_registered)
		overrun_timeout = RegisterTimeout(USER_TIMEOUT, policy_overrun);
	overrun_registered = true;
	enable_timeout_at(STATEMENT_TIMEOUT, deadline);
	enable_timeout_at(overrun_timeout, deadline +
					  mailman_policy_timeout * INT64CONST(1000));
}

/* A cancellation that comes late is meant for nobody */
static void
policy_disarm(TimestampTz deadline)
{
	if (deadline == 0)
		return;
	disable_timeout(STATEMENT_TIMEOUT, false);
	disable_timeout(overrun_timeout, false);
	QueryCancelPending = false;
}

/* What it leaves behind goes with the call's own memory */
static void
policy_call(FmgrInfo *flinfo, Datum letter, Datum subscription,
			MemoryContext memory, PolicyAnswer *answer)
{
	LOCAL_FCINFO(fcinfo, 2);
	MemoryContext caller = CurrentMemoryContext;
	Datum		result;
	size_t		size;

	CHECK_FOR_INTERRUPTS();
	InitFunctionCallInfoData(*fcinfo, flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = letter;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = subscription;
	fcinfo->args[1].isnull = false;
	MemoryContextSwitchTo(memory);
	result = FunctionCallInvoke(fcinfo);
	size = datum_size(result, fcinfo->isnull);
	MemoryContextSwitchTo(caller);
	if (size > POLICY_ANSWER_MAX)
	{
		memset(answer, 0, sizeof(*answer));
		answer->oversize = size;
	}
	else
		policy_answer_read(fcinfo->isnull ? NULL : DatumGetJsonbP(result),
						   answer);
	MemoryContextReset(memory);
}

int
policy_ask(const Policy *policy, Datum letter, const Datum *subscriptions,
		   int count, TimestampTz deadline, PolicyAnswer *answers,
		   ErrorData **error)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int answered = 0;
	volatile size_t size = 0;
	MemoryContext memory = AllocSetContextCreate(caller, "mailman policy",
												 ALLOCSET_DEFAULT_SIZES);
	FmgrInfo	flinfo;
	PolicyFence fence;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	policy_fence_measure(&fence);
	PG_TRY();
	{
		policy_fence_raise(&fence, policy);
		fmgr_info(policy->function, &flinfo);
		policy_arm(deadline);
		while (answered < count && size < POLICY_ANSWERS_MAX)
		{
			PolicyAnswer *answer = &answers[answered];

			policy_call(&flinfo, letter, subscriptions[answered], memory,
						answer);
			size += answer->variables ? VARSIZE(answer->variables) : 0;
			answered++;
		}
		policy_disarm(deadline);
	}
	PG_CATCH();
	{
		policy_disarm(deadline);
		MemoryContextSwitchTo(caller);
		*error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	policy_fence_lower(&fence);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(memory);
	CurrentResourceOwner = owner;
	return answered;
}

/* ---- what it means ---- */

bool
policy_is_late(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED;
}

/*
 * An error often shows the value that it is about, so addresses are masked as
 * in the words of a relay: this goes to the log, letter.state_reason and
 * mailman.event, too.
 */
static char *
policy_masked(const char *words)
{
	char		masked[POLICY_MASKED_MAX];

	outcome_mask(masked, sizeof(masked), words);
	return policy_words(masked, strlen(masked));
}

char *
policy_describe(const Policy *policy, const ErrorData *error)
{
	StringInfoData words;

	initStringInfo(&words);
	appendStringInfo(&words, "policy %s: %s (SQLSTATE %s)", policy->name,
					 error->message, unpack_sql_state(error->sqlerrcode));
	if (error->detail)
		appendStringInfo(&words, " DETAIL: %s", error->detail);
	if (error->hint)
		appendStringInfo(&words, " HINT: %s", error->hint);
	return policy_masked(words.data);
}

char *
policy_describe_relay(const Policy *policy, const char *name)
{
	return psprintf("policy %s names relay \"%s\", which newsletter.relays does not list",
					policy->name, policy_masked(name));
}

char *
policy_describe_oversize(const Policy *policy, size_t size)
{
	return psprintf("the answer of policy %s has %s, more than %s",
					policy->name, render_size(size),
					render_size(POLICY_ANSWER_MAX));
}

Jsonb *
policy_merge(Jsonb *given, Jsonb *added)
{
	if (given == NULL || added == NULL)
		return added ? added : given;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  JsonbPGetDatum(given),
											  JsonbPGetDatum(added)));
}
