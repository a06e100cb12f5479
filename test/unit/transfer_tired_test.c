/*-------------------------------------------------------------------------
 *
 * transfer_tired_test.c
 *	  Relays that end every session after some mails: nobody pays for it,
 *	  and it goes on nearly as fast.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "transfer_test.h"

#define MAILS	1000

static Run	run;

static int
most_tries(void)
{
	int			most = 0;
	int			i;

	for (i = 0; i < run.submitted; i++)
		if (run.mails[i].tries > most)
			most = run.mails[i].tries;
	return most;
}

/*
 * each: so many mails the relay takes on a session.  Round trips: one for a
 * mail, four in lock-step, beside those that open a session and the one that
 * was in vain.
 */
static void
test_relay(FakeRule rule, int each, bool pipelining, int max_connections)
{
	FakeScript	script = {.pipelining = pipelining};
	int			connections = 4;
	int			fewest = MAILS / each;
	char		title[128];
	bool		all;
	int64_t		start = transfer_now();

	script.max_connections = max_connections;
	script.rules[0] = rule;
	if (max_connections > 0)
		connections = 8;
	all = run_all(&run, &script, connections, MAILS);
	snprintf(title, sizeof(title), "%s %d: %.30s%s%s", rule.verb, rule.first,
			 rule.reply, pipelining ? "" : ", lock-step",
			 max_connections > 0 ? ", few sessions" : "");
	ok(all && run_exact(&run) && run_count(&run, VERDICT_DELIVERED) == MAILS &&
	   run.fake.stats->accepted == MAILS && most_tries() == 0, title);
	ok(!transfer_health(run.t)->down &&
	   run.fake.stats->connections >= fewest &&
	   run.fake.stats->connections <= fewest + fewest / 20 +
	   3 * connections,
	   "and no more sessions than needed");
	ok(run.fake.stats->reads <= MAILS * (pipelining ? 1 : 4) +
	   4 * run.fake.stats->connections + 8, "nor round trips");
	printf("# %d connections, %d reads, %d ms, throttled %d\n",
		   run.fake.stats->connections, run.fake.stats->reads,
		   (int) ((transfer_now() - start) / 1000),
		   (int) transfer_counts(run.t).throttled);
	ok(transfer_now() - start < 10000000, "and without waiting");
	ok((transfer_counts(run.t).throttled > 0) ==
	   (strcmp(rule.verb, "DATA") == 0), "less speed is something else");
	run_end(&run);
}

static void
test_tired_relays(bool pipelining, int max)
{
	test_relay((FakeRule) {"DOT", 2000, 0, true, "@close"}, MAILS,
			   pipelining, max);
	test_relay((FakeRule) {"DOT", 100, 0, true, "@last 250 ok"}, 100,
			   pipelining, max);
	test_relay((FakeRule) {"DOT", 10, 0, true, "@then 421 4.7.0 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"MAIL", 11, 0, true, "421 4.7.0 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"MAIL", 11, 0, true, "@last 421 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"MAIL", 11, 0, true, "452 4.5.3 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"RCPT", 11, 0, true, "452 4.5.3 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"RCPT", 11, 0, true, "503 5.5.1 what"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"DATA", 11, 0, true, "@last 421 enough"}, 10,
			   pipelining, max);
	test_relay((FakeRule) {"DOT", 1, 0, true, "@last 250 ok"}, 1,
			   pipelining, max);
}

/* Few sessions, soon used up, and slow: the few are kept up all the time. */
static void
test_replaced(void)
{
	FakeScript	script = {.pipelining = true, .max_connections = 3};
	int64_t		start = transfer_now();

	script.rules[0] = (FakeRule) {"MAIL", 4, 0, true, "421 4.7.0 enough"};
	script.rules[1] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	ok(run_all(&run, &script, 8, 45) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 45 && most_tries() == 0 &&
	   run.fake.stats->connections <= 30,
	   "three sessions, each for three mails");
	printf("# %d connections, %d ms\n", run.fake.stats->connections,
		   (int) ((transfer_now() - start) / 1000));
	ok(transfer_now() - start < 5000000, "are replaced at once");
	run_end(&run);
}

/* One recipient whom fresh sessions die of does not keep the others. */
static void
test_poison(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"RCPT", 1, 1, false, "@close"};
	ok(run_all(&run, &script, 3, 20) &&
	   run_count(&run, VERDICT_DEFERRED) == 20 && most_tries() == 1 &&
	   run.fake.stats->connections <= 44, "sessions that die at RCPT");
	printf("# %d connections\n", run.fake.stats->connections);
	run_end(&run);
}

void
test_tired(void)
{
	test_tired_relays(true, 0);
	test_tired_relays(false, 0);
	test_tired_relays(true, 3);
	test_tired_relays(false, 3);
	test_replaced();
	test_poison();
}
