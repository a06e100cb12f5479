/*-------------------------------------------------------------------------
 *
 * policy_fence.c
 *	  What a policy finds when it is called, and cannot touch.
 *
 * It is nobody but the newsletter's owner: not only current_user, by which
 * rights are judged, but session_user as well.  An application may guard its
 * own SECURITY DEFINER functions with that, and a worker's session is a
 * superuser's, a preview's that of the role that looks.
 *
 * What it does is rolled back with its subtransaction.  Two things are not
 * rolled back, or come too late if they are: advisory locks of the session,
 * which it may neither take nor release, be they a worker's or those of who
 * asked for a preview; and that it only reads, which RESET ended before
 * PostgreSQL 16.  Cursors of the session: policy_cursors.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "policy.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"

/* Another module that wants to know what is called, while the fence stands */
static object_access_hook_type next_hook = NULL;

/* ---- locks of the session ---- */

/*
 * pg_advisory_lock(), pg_try_advisory_lock(), pg_advisory_unlock() in all their
 * forms and pg_advisory_unlock_all() have oids in a row, and in no other
 * version of PostgreSQL others.
 */
static bool
policy_function_locks(Oid function)
{
	return function >= F_PG_ADVISORY_LOCK_INT8 &&
		function <= F_PG_ADVISORY_UNLOCK_ALL;
}

/* The executor asks before it calls a function, however that was named */
static void
policy_fence_hook(ObjectAccessType access, Oid class, Oid object,
				  int subobject, void *arg)
{
	if (next_hook != NULL)
		next_hook(access, class, object, subobject, arg);
	if (access == OAT_FUNCTION_EXECUTE && policy_function_locks(object))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a policy cannot take or release advisory locks of its session"),
				 errhint("pg_advisory_xact_lock() takes one until the policy is over.")));
}

/* ---- settings ---- */

/* As the server has it, whatever we have pinned for our own statements */
static void
policy_unpin(const char *name)
{
	const char *value = GetConfigOptionResetString(name);

	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Ours end with the subtransaction.  Not SET LOCAL of the caller's: what the
 * function finds is the same for each role that asks it.
 */
static void
policy_set(void)
{
	static const char *const pinned[] = {
		"row_security", "jit", "plan_cache_mode", "enable_seqscan",
		"enable_bitmapscan", "enable_hashjoin", "enable_mergejoin",
		"enable_material", "enable_memoize", "enable_tidscan"
	};
	size_t		i;

	for (i = 0; i < lengthof(pinned); i++)
		policy_unpin(pinned[i]);
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	(void) set_config_option("transaction_read_only", "on", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* ---- the session ---- */

/*
 * Become the session of that role, with this one by SET ROLE.  The server wants
 * that done without restrictions, and makes it the current user, too: both as
 * before afterwards.
 *
 * Releases of PostgreSQL before 15.9 forget the role of SET ROLE with the
 * session that it was set in.
 */
static void
policy_set_session(Oid session, bool is_superuser, Oid role)
{
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(userid, 0);
	SetSessionAuthorization(session, is_superuser);
	if (GetCurrentRoleId() != role)
		SetCurrentRoleId(role, superuser_arg(role));
	SetUserIdAndSecContext(userid, sec_context);
}

/* see policy.h */
void
policy_fence_measure(PolicyFence *fence)
{
	fence->cursors = policy_cursors_find();
	fence->session = GetSessionUserId();
	fence->session_is_superuser = GetSessionUserIsSuperuser();
	fence->role = GetCurrentRoleId();
	fence->read_only_reset = compat_set_read_only_reset(true);
	fence->hook = object_access_hook;
	if (object_access_hook != policy_fence_hook)
		next_hook = object_access_hook;
}

/* see policy.h */
void
policy_fence_raise(const PolicyFence *fence, const Policy *policy)
{
	Oid			userid;
	int			sec_context;

	policy_set();
	GetUserIdAndSecContext(&userid, &sec_context);
	policy_set_session(policy->owner, superuser_arg(policy->owner),
					   GetCurrentRoleId());
	SetUserIdAndSecContext(policy->owner, sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	object_access_hook = policy_fence_hook;
	policy_cursors_hide(fence->cursors);
}

/* see policy.h */
void
policy_fence_lower(const PolicyFence *fence)
{
	policy_cursors_show(fence->cursors);
	object_access_hook = fence->hook;
	(void) compat_set_read_only_reset(fence->read_only_reset);
	policy_set_session(fence->session, fence->session_is_superuser,
					   fence->role);
}
