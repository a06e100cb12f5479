/*-------------------------------------------------------------------------
 *
 * farewell.c
 *	  The end of a worker by an error, by pg_terminate_backend() or by a
 *	  shutdown.
 *
 * Mails whose final dot is out get a short grace for the reply; then what is
 * known is recorded and what was not sent is handed back.  How long the grace
 * may be depends on who sent SIGTERM.  A shutdown waits for us, so it is the
 * administrator's mailman.shutdown_grace.  DROP DATABASE ... WITH (FORCE)
 * waits five seconds and then fails, and it cannot be told from any other
 * pg_terminate_backend(); so after a signal that is not the postmaster's we
 * are gone well before that.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "mailman.h"
#include "miscadmin.h"
#include "policy.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "worker.h"

/* CountOtherDBBackends() gives 5000; the rest is for the last transaction */
#define TERMINATED_GRACE_MS 3000

/* What ended this process, if it was an error; of its end, hence its own */
static char farewell_error[512];
static emit_log_hook_type previous_log_hook = NULL;

/* Somebody other than the postmaster wants us gone */
static volatile sig_atomic_t terminated = false;

static void
farewell_signal(int signal_number, siginfo_t *info, void *context)
{
	int			save_errno = errno;

	if (info->si_pid != PostmasterPid)
		terminated = true;
	die(signal_number);
	errno = save_errno;
}

/* Remember the error that ends us, as nothing else does */
static void
farewell_log_hook(ErrorData *edata)
{
	if (edata->elevel >= ERROR)
		strlcpy(farewell_error, edata->message, sizeof(farewell_error));
	if (previous_log_hook)
		previous_log_hook(edata);
}

/*
 * SIGTERM is die(), as the server sets it up, and beside it we see who sent
 * it.  Before signals are unblocked.
 */
void
farewell_prepare(void)
{
	struct sigaction action;

	previous_log_hook = emit_log_hook;
	emit_log_hook = farewell_log_hook;
	pqsignal(SIGTERM, die);
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = farewell_signal;
	sigemptyset(&action.sa_mask);
	action.sa_flags = SA_RESTART | SA_SIGINFO;
	if (sigaction(SIGTERM, &action, NULL) != 0)
		elog(ERROR, "could not set the handler of SIGTERM: %m");
}

static void
farewell(int code, Datum arg)
{
	Worker	   *w = (Worker *) DatumGetPointer(arg);
	int			grace_ms = mailman_shutdown_grace;
	dlist_mutable_iter iter;

	if (!w->armed)
		return;
	w->armed = false;
	if (terminated)
		grace_ms = Min(grace_ms, TERMINATED_GRACE_MS);
	AbortOutOfAnyTransaction();
	dlist_foreach_modify(iter, &w->claiming.head)
		delivery_free(w, dlist_container(Delivery, node, iter.cur),
					  &w->claiming);
	sending_stop(w, grace_ms * INT64CONST(1000));
	if (policy_overran() != NULL)
		strlcpy(w->pause_reason, policy_overran(), sizeof(w->pause_reason));
	run_last(w, farewell_error);
}

/* From now on there is something to say it to */
void
farewell_arm(Worker *w)
{
	before_shmem_exit(farewell, PointerGetDatum(w));
	w->armed = true;
}
