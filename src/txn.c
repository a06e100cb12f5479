/*-------------------------------------------------------------------------
 *
 * txn.c
 *	  Who we are while we write.
 *
 * Everything mailman writes, it writes as the owner of the extension with
 * constant SQL, whoever called: what the caller may do is checked in C.
 * extension_enter() switches to that role, security-restricted, and raises
 * the flag by which the guard triggers know us; the flag falls with a
 * transaction that fails, and a subtransaction that fails leaves it as it was
 * before: an audit trigger may catch an error while we write.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "mailman.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/*
 * The role we write as, between extension_enter() and extension_leave(), and
 * what; the guards know us by it.
 */
static const Writing not_writing = {InvalidOid, 0};
static Writing now_writing = {InvalidOid, 0};

/* Who has called us, as long as we are in a scope */
static Oid	now_caller = InvalidOid;

/* How it was when a subtransaction began, the innermost first */
typedef struct WritingBefore
{
	Writing		writing;
	Oid			caller;
	int			nest_level;
	struct WritingBefore *next;
} WritingBefore;

static WritingBefore *before = NULL;

static void
extension_xact_callback(XactEvent event, void *arg)
{
	now_writing = not_writing;
	now_caller = InvalidOid;
	before = NULL;				/* memory goes with the transaction */
}

static void
before_push(void)
{
	WritingBefore *entry = MemoryContextAlloc(TopTransactionContext,
											  sizeof(WritingBefore));

	entry->writing = now_writing;
	entry->caller = now_caller;
	entry->nest_level = GetCurrentTransactionNestLevel();
	entry->next = before;
	before = entry;
}

/* Forget how it was when this subtransaction began; or, if it fails, go back */
static void
before_pop(bool back)
{
	WritingBefore now = {.writing = not_writing};
	int			level = GetCurrentTransactionNestLevel();

	while (before != NULL && before->nest_level >= level)
	{
		WritingBefore *entry = before;

		now = *entry;
		before = entry->next;
		pfree(entry);
	}
	if (!back)
		return;
	now_writing = now.writing;
	now_caller = now.caller;
}

static void
extension_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_START_SUB && OidIsValid(now_caller))
		before_push();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		before_pop(false);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		before_pop(true);
}

void
extension_callbacks_register(void)
{
	RegisterXactCallback(extension_xact_callback, NULL);
	RegisterSubXactCallback(extension_subxact_callback, NULL);
}

/*
 * Is it we who write, and not somebody's code that runs while we do?  A
 * foreign key of theirs on our tables may call it, with their rights.
 */
bool
extension_is_writing(void)
{
	return OidIsValid(now_writing.role) && GetUserId() == now_writing.role;
}

Oid
extension_caller(void)
{
	return now_caller;
}

Writing
extension_writing(void)
{
	return now_writing;
}

void
extension_set_writing(Writing writing)
{
	now_writing = writing;
}

Oid
extension_oid(bool missing_ok)
{
	return get_extension_oid("mailman", missing_ok);
}

/*
 * The extension, which nobody drops from now on until the end of the
 * transaction.  DROP EXTENSION locks it before its tables, and so do we, so
 * neither deadlocks with the other.  InvalidOid if it is gone or, unless we
 * wait, about to go.  Who knows it need not look for it first.
 */
Oid
extension_hold(Oid known, bool wait)
{
	Oid			extension = OidIsValid(known) ? known : extension_oid(true);
	LOCKTAG		tag;

	if (!OidIsValid(extension))
		return InvalidOid;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	if (LockAcquire(&tag, AccessShareLock, false, !wait) ==
		LOCKACQUIRE_NOT_AVAIL)
		return InvalidOid;
	AcceptInvalidationMessages();
	return extension_oid(true) == extension ? extension : InvalidOid;
}

/*
 * The extension of that name, its owner and the version of its script; false if
 * it is not there.
 */
static bool
extension_read(Oid *extension, Oid *owner, char **version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("mailman"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		*extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		*version = isnull ? pstrdup("") : TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/*
 * Is its script of the library's version?  If not, its tables are not those
 * that our statements were written for.
 */
bool
extension_fits(Oid extension, Oid *owner)
{
	char	   *version;
	Oid			found;

	return extension_read(&found, owner, &version) && found == extension &&
		strcmp(version, MAILMAN_VERSION) == 0;
}

/*
 * The role that owns the extension; an ERROR if there is none.  The library and
 * the script must be of one version, but while a script runs: an update that
 * takes several steps passes versions on its way, and may change our rows.
 */
Oid
extension_owner(void)
{
	Oid			extension = InvalidOid;
	Oid			owner = InvalidOid;
	char	   *version = NULL;

	if (!extension_read(&extension, &owner, &version))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"mailman\" does not exist")));
	if (strcmp(version, MAILMAN_VERSION) != 0 &&
		!(creating_extension && CurrentExtensionObject == extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension mailman is version %s, its library %s",
						version, MAILMAN_VERSION),
				 errhint("ALTER EXTENSION mailman UPDATE, or restart the server if the library is the older one.")));
	return owner;
}

void
extension_enter_reading_as(ExtensionScope *scope, Oid owner)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->writing = now_writing;
	scope->caller = now_caller;

	/*
	 * The extension's owner in a fence: we have called ourselves.  In a
	 * function of its that is SECURITY DEFINER, it is restricted in nothing.
	 */
	if (scope->userid != owner ||
		(scope->sec_context & SECURITY_RESTRICTED_OPERATION) == 0)
		now_caller = scope->userid;
	scope->guc_nest = NewGUCNestLevel();
	SetUserIdAndSecContext(owner, scope->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

void
extension_enter_reading(ExtensionScope *scope)
{
	extension_enter_reading_as(scope, extension_owner());
}

void
extension_enter(ExtensionScope *scope, const TableUse *use)
{
	extension_enter_reading(scope);
	extension_may_write(use);
}

void
extension_leave(ExtensionScope *scope)
{
	now_writing = scope->writing;
	now_caller = scope->caller;
	AtEOXact_GUC(true, scope->guc_nest);
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
	SPI_finish();
}
