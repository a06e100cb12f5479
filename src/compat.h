/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every difference between PostgreSQL 15, 16, 17 and 18 that mailman
 *	  meets, so that no other file has to ask for a version.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_COMPAT_H
#define MAILMAN_COMPAT_H

#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/relcache.h"
#include "utils/resowner.h"

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM < 160000
#include "utils/guc_tables.h"
#endif

#if PG_VERSION_NUM < 150000
#error mailman needs PostgreSQL 15 or newer
#endif

/* 17: the set belongs to a resource owner, not to a memory context */
static inline WaitEventSet *
compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/* 16: one aclcheck for all kinds of object */
static inline AclResult
compat_server_aclcheck(Oid serverid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, roleid,
						   ACL_USAGE);
#else
	return pg_foreign_server_aclcheck(serverid, roleid, ACL_USAGE);
#endif
}

static inline AclResult
compat_function_aclcheck(Oid function, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, roleid,
						   ACL_EXECUTE);
#else
	return pg_proc_aclcheck(function, roleid, ACL_EXECUTE);
#endif
}

/* 16: whoever asks may get errors instead of an ERROR */
#if PG_VERSION_NUM >= 160000
#define compat_qualified_name_list(s) stringToQualifiedNameList(s, NULL)
#else
#define compat_qualified_name_list(s) stringToQualifiedNameList(s)
#endif

/* 17: a stronger lock may count, too */
#if PG_VERSION_NUM >= 170000
#define compat_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define compat_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 18: a primary key may be deferrable */
static inline Oid
compat_primary_key(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

/* Late in 15 and 16: a database whose DROP was interrupted */
#ifdef DATCONNLIMIT_INVALID_DB
#define COMPAT_DATCONNLIMIT_INVALID DATCONNLIMIT_INVALID_DB
#else
#define COMPAT_DATCONNLIMIT_INVALID (-2)
#endif

/*
 * 16: nothing resets it within a transaction.  Before, RESET gave it this
 * value; returns the one that it had.
 */
static inline bool
compat_set_read_only_reset(bool value)
{
#if PG_VERSION_NUM < 160000
	static struct config_bool *setting = NULL;
	bool		before;
	int			i;

	for (i = 0; setting == NULL; i++)
	{
		if (strcmp(get_guc_variables()[i]->name, "transaction_read_only") == 0)
			setting = (struct config_bool *) get_guc_variables()[i];
	}
	before = setting->reset_val;
	setting->reset_val = value;
	return before;
#else
	return value;
#endif
}

/* 16: what a check hook hands to its assign hook has an allocator */
#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, size)
#define compat_guc_free(p) guc_free(p)
#else
#define compat_guc_malloc(size) malloc(size)
#define compat_guc_free(p) free(p)
#endif

/* 18: what is not to be had may be logged.  Neither is a lack of memory. */
static inline LockAcquireResult
compat_lock_try(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 180000
	return LockAcquireExtended(tag, mode, true, true, false, NULL, false);
#else
	return LockAcquireExtended(tag, mode, true, true, false, NULL);
#endif
}

/* 17: custom wait events have names */
#if PG_VERSION_NUM >= 170000
#define COMPAT_WAIT_EVENT(name)	WaitEventExtensionNew(name)
#else
#define COMPAT_WAIT_EVENT(name)	((void) (name), PG_WAIT_EXTENSION)
#endif

/* 18: the module says who it is */
#ifdef PG_MODULE_MAGIC_EXT
#define COMPAT_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "mailman", .version = MAILMAN_VERSION)
#else
#define COMPAT_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18: of the standard's form, before the declaration */
#ifdef pg_noreturn
#define compat_noreturn pg_noreturn
#else
#define compat_noreturn pg_attribute_noreturn()
#endif

/* 17: the session's own settings that could end a turn */
#if PG_VERSION_NUM >= 170000
#define COMPAT_HAS_TRANSACTION_TIMEOUT 1
#else
#define COMPAT_HAS_TRANSACTION_TIMEOUT 0
#endif

#endif							/* MAILMAN_COMPAT_H */
