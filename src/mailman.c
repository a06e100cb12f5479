/*-------------------------------------------------------------------------
 *
 * mailman.c
 *	  Loading the library.
 *
 * With shared_preload_libraries the dispatcher is registered here and a little
 * shared memory asked for.  Without, letters are sent all the same: their
 * workers are registered at COMMIT (launch.c).
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "process.h"

COMPAT_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	guc_define();
	log_mask_register();
	extension_callbacks_register();
	statement_callbacks_register();
	launch_callbacks_register();
	wish_callbacks_register();
	letter_known_register();
	lock_table_register();
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
	{
		shmem_define();
		dispatcher_register();
	}
}
