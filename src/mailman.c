/*-------------------------------------------------------------------------
 *
 * mailman.c
 *	  Loading the library.
 *
 * Nothing is started here: a letter's worker is registered at COMMIT
 * (launch.c).
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mailman.h"

COMPAT_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	guc_define();
	extension_callbacks_register();
	launch_callbacks_register();
}
