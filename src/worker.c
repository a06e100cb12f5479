/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker of one letter.
 *
 * A letter is sent by turns: record the outcomes so far and claim the next
 * few recipients in one transaction, look up from it at the relay, look at the
 * recipients again, render their mails, exchange them with the relay, and
 * again.  A worker that finds nothing left to do gives up the
 * letter's lock and looks once more, so that what was posted meanwhile is
 * never left behind.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqsignal.h"
#include "mailman.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A slot's first block: a usual mail fits, so a reset frees nothing */
#define SLOT_BLOCK_SIZE (16 * 1024)

/* How often a worker tries to take its letter, if something is in the way */
#define START_RETRY_MS 250
#define START_RETRY_MAX_MS 1000

/* And for how long, if others wait for a place */
#define GIVE_WAY_US INT64CONST(5000000)

PGDLLEXPORT void mailman_letter_main(Datum arg);

static Worker *worker_start(int64 letter_id);
static bool worker_last_look(Worker *w);

void
mailman_letter_main(Datum arg)
{
	Worker	   *w = worker_start(DatumGetInt64(arg));

	do
	{
		while (turn(w))
		{
			sending_catch_up(w);
			recheck(w);
			sending_render(w);
			sending_transfer(w);
		}
	} while (worker_last_look(w));

	proc_exit(0);
}

void
delivery_move(Delivery *delivery, DeliveryList *from, DeliveryList *to)
{
	dlist_delete(&delivery->node);
	from->count--;
	dlist_push_tail(&to->head, &delivery->node);
	to->count++;
}

void
delivery_end(Worker *w, Delivery *delivery, DeliveryList *from)
{
	ahead_drop(w, delivery);
	delivery_let_go(w, delivery);
	delivery_move(delivery, from,
				  delivery->test_id != 0 ? &w->tested : &w->done);
}

void
delivery_free(Worker *w, Delivery *delivery, DeliveryList *from)
{
	MemoryContext context = delivery->context;
	dlist_node	node = delivery->node;

	if (from == &w->claimed && delivery->domain != NULL)
		delivery->domain->claimed--;
	if (delivery->test_id != 0)
		w->ntests--;

	delivery_let_go(w, delivery);
	ahead_drop(w, delivery);
	MemoryContextReset(context);
	memset(delivery, 0, sizeof(Delivery));
	delivery->context = context;
	delivery->node = node;
	delivery_move(delivery, from, &w->free);
}

static void
delivery_list_init(DeliveryList *list)
{
	dlist_init(&list->head);
	list->count = 0;
}

/*
 * Twice a turn's worth of rows are 'sending' at most; the slots of those that a
 * turn records are free only after its commit, so there are as many for those
 * it claims meanwhile.
 */
static void
worker_make_slots(Worker *w)
{
	int			i;

	delivery_list_init(&w->free);
	delivery_list_init(&w->claiming);
	delivery_list_init(&w->claimed);
	delivery_list_init(&w->begun);
	delivery_list_init(&w->done);
	delivery_list_init(&w->tested);
	delivery_list_init(&w->stuck);
	w->most = 2 * mailman_turn_size;
	w->nslots = w->most + mailman_turn_size;
	w->slots = MemoryContextAllocZero(TopMemoryContext,
									  w->nslots * sizeof(Delivery));
	for (i = 0; i < w->nslots; i++)
	{
		Delivery   *delivery = &w->slots[i];

		delivery->context = AllocSetContextCreate(TopMemoryContext,
												  "mailman delivery", 0,
												  SLOT_BLOCK_SIZE,
												  ALLOCSET_DEFAULT_MAXSIZE);
		dlist_push_tail(&w->free.head, &delivery->node);
		w->free.count++;
	}
}

/*
 * Settings that users may have changed for the whole database and that must
 * not reach a turn.  Every plan is by key or by place: nested loops, both sides
 * bounded, however the tables were analyzed.
 */
static void
worker_pin_settings(void)
{
	static const char *const pins[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"session_replication_role", "origin"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
#if COMPAT_HAS_TRANSACTION_TIMEOUT
		{"transaction_timeout", "0"},
#endif
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"row_security", "off"},
		{"jit", "off"},
		{"plan_cache_mode", "force_generic_plan"},
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"enable_material", "off"},
		{"enable_memoize", "off"},
		{"enable_tidscan", "on"},
		{NULL, NULL}
	};

	guc_pin(pins);
	/* what RESET gives: before 16 it would end a policy's being read-only */
	SetConfigOption("transaction_read_only", "on", PGC_SUSET, PGC_S_OVERRIDE);
	run_bound_locks();
}

/*
 * The relay's options or credentials may have changed, or what the sender may
 * do: as a member of the newsletter's owner and of roles that may use the
 * relays.  A hash of 0 means that any of it may: messages were missed.  Under
 * debug_discard_caches that is also said at each look for messages.  If none
 * has come since, nothing has changed, and a worker that believed it would
 * never send.
 */
static void
worker_may_differ(Datum arg, int cacheid, uint32 hashvalue)
{
	Worker	   *w = (Worker *) DatumGetPointer(arg);

	if (hashvalue == 0 && w->relay_messages == SharedInvalidMessageCounter)
		return;
	w->relay_messages = SharedInvalidMessageCounter;
	w->relay_stale = true;
}

/*
 * What turn_prepare() asks of, beside the rows: any change of a role may end
 * somebody's membership, as roles inherit from each other, or do not.
 */
static void
worker_watch(Worker *w)
{
	static const int caches[] = {
		FOREIGNSERVEROID, USERMAPPINGOID, AUTHMEMMEMROLE, AUTHOID
	};
	size_t		i;

	for (i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], worker_may_differ,
									  PointerGetDatum(w));
}

/*
 * We are gone, and so are our locks and what pg_stat_activity said of us: this
 * was registered before the callbacks that see to that, so it runs after them.
 * A process that looks now finds letter and place free.  One that found
 * mailman.enabled off lets somebody look: it may be on again, and a scout that
 * was sent for that has seen our place taken.
 */
static void
worker_gone(int code, Datum arg)
{
	Worker	   *w = (Worker *) DatumGetPointer(arg);
	bool		had_place = place_number() > 0;
	bool		marked = place_leave();

	if (code != 0 || marked || !mailman_enabled)
		w->wake_at = DT_NOBEGIN;
	else if (event_is_pending())
		w->wake_at = Min(w->wake_at,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 1000));
	if (w->wake_at != DT_NOEND)
		shmem_wake(w->database, w->wake_at);
	if (had_place)
		shmem_slot_free();
}

/*
 * Something is in the way, and others wait for a place: let one of them have
 * ours.  Nothing is lost, as nothing has begun; a worker that comes back again
 * does not stay as long as the first time.
 */
static bool
worker_gives_way(Worker *w, int64 since)
{
	bool		again = place_blocked_at(w->database, w->letter_id) != 0;

	if (transfer_now() - since < (again ? 0 : GIVE_WAY_US) ||
		!shmem_somebody_waits())
		return false;
	run_give_way(w, false);
	return true;
}

/*
 * Take the letter.  What is in the way, somebody's lock on a row or a table as
 * a rule, is waited out with the letter's lock and our place, so that nobody
 * else need try; and so is a slot, without a dispatcher that would start us
 * when there is one.
 */
static bool
worker_may_run(Worker *w)
{
	int64		since = transfer_now();
	int64		pause = START_RETRY_MS;
	RunStart	start;

	for (;;)
	{
		place_look();
		start = run_first(w);
		if (start == RUN_NOTHING && run_left_behind(w))
			continue;
		if (start == RUN_TAKEN || start == RUN_NOTHING)
			break;
		if (start == RUN_AGAIN && worker_gives_way(w, since))
			break;
		pgstat_report_activity(STATE_IDLE, start == RUN_WAITS ?
							   "waits for a worker slot" :
							   "waits for somebody's lock");
		errand_notify(w);
		run_wait(w, pause, start == RUN_WAITS ? WAIT_PLACE : WAIT_LOCK);
		if (start == RUN_AGAIN)
			pause = Min(2 * pause, START_RETRY_MAX_MS);
		run_reload();
	}
	return start == RUN_TAKEN;
}

/* One line for pg_stat_activity */
void
worker_report(Worker *w)
{
	char		line[1024];
	const int64 *n = w->tally.count;
	TransferCounts counts = routes_counts(w);
	const char *trouble = routes_trouble(w);

	snprintf(line, sizeof(line),
			 "letter " INT64_FORMAT ": " INT64_FORMAT " of " INT64_FORMAT " delivered, "
			 INT64_FORMAT " failed, " INT64_FORMAT " deferred, %d sessions, %d/s%s%s",
			 w->letter_id, n[DELIVERY_DELIVERED], tally_recipients(&w->tally),
			 n[DELIVERY_FAILED], n[DELIVERY_DEFERRED], counts.sessions,
			 sending_rate(w),
			 trouble ? "; " : "", trouble ? trouble : "");
	pgstat_report_activity(worker_outstanding(w) > 0 ? STATE_RUNNING :
						   STATE_IDLE, line);
}

/* Signals, a place, and an end that is noticed, before anything can fail */
static Worker *
worker_create(int64 letter_id)
{
	PlaceTicket ticket;
	Worker	   *w = MemoryContextAllocZero(TopMemoryContext, sizeof(Worker));

	w->letter_id = letter_id;
	memcpy(&w->database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	memcpy(&ticket, MyBgworkerEntry->bgw_extra + sizeof(Oid), sizeof(ticket));
	w->wake_at = DT_NOEND;
	on_shmem_exit(worker_gone, PointerGetDatum(w));
	if (!place_enter(w->database, letter_id, &ticket))
		proc_exit(0);			/* we are late: others were started */
	w->waiter = waiter_create();
	farewell_prepare();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	return w;
}

static Worker *
worker_start(int64 letter_id)
{
	Worker	   *w = worker_create(letter_id);
	char		name[NAMEDATALEN];

	BackgroundWorkerInitializeConnectionByOid(w->database, InvalidOid, 0);
	snprintf(name, sizeof(name), "mailman letter " INT64_FORMAT, letter_id);
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
	worker_pin_settings();
	ahead_begin();
	worker_make_slots(w);
	if (!worker_may_run(w))
	{
		errand_notify_last(w);
		proc_exit(0);
	}
	if (!transfer_global_init())
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not initialize libcurl")));
	worker_watch(w);
	farewell_arm(w);
	return w;
}

/*
 * Give up the lock and look once more: whoever posted while we held it saw it
 * taken and left the work to us.  True: go on.
 */
static bool
worker_last_look(Worker *w)
{
	bool		yielding = w->yielding || w->blocked;

	routes_close(w);
	w->armed = false;
	if (w->blocked)
		run_give_way(w, true);
	else if (w->mode != MODE_GONE)
	{
		errand_notify_last(w);
		run_done(w);
	}
	run_unlock(w);
	if (yielding || !worker_may_run(w))
		return false;
	w->armed = true;
	w->stopping = w->sparing = false;
	w->chosen = w->decided = NULL;
	w->pause_reason[0] = '\0';
	return true;
}
