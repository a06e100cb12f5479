/*-------------------------------------------------------------------------
 *
 * transfer_pool_test.c
 *	  The pool: how many sessions, when another, recall and abort.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transfer_test.h"

static Run	run;

static void
test_sizes(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	ok(run_all(&run, &script, 10, 3) && run_exact(&run) &&
	   run.fake.stats->connections <= 3, "no more sessions than mails");
	run_end(&run);

	ok(run_all(&run, &script, 4, 40) && run_exact(&run) &&
	   run.fake.stats->connections == 4 && run.fake.stats->most_open == 4,
	   "no more sessions than allowed, all of them used");
	ok(transfer_counts(run.t).sessions == 4 &&
	   transfer_counts(run.t).busy == 0 &&
	   transfer_counts(run.t).in_flight == 0 &&
	   transfer_counts(run.t).opened == 4, "and counted");
	run_submit(&run, 8);
	ok(run_wait(&run) && run_exact(&run) && run.fake.stats->connections == 4,
	   "idle sessions are used again");
	transfer_destroy(run.t);
	driver_free(&run.driver);
	run.t = NULL;
	ok(run_until(&run, &run.fake.stats->quits, 4) &&
	   run.fake.stats->quits == 4, "QUIT at the end");
	run_end(&run);
}

/* Sessions that are used up cost nobody anything. */
static void
test_used_up(void)
{
	FakeScript	script = {.pipelining = true};

	run_start(&run, &script, 2);
	run.config.messages = 5;
	run_submit(&run, 50);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 50 &&
	   run.fake.stats->connections >= 10 && run.fake.stats->most_open <= 2,
	   "at most 5 mails a session");
	run_end(&run);

	script.rules[0] = (FakeRule) {"MAIL", 6, 1, true,
		"421 4.7.0 too many messages"};
	ok(run_all(&run, &script, 3, 60) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 60 &&
	   run.fake.stats->connections >= 12, "421 at the sixth MAIL");
	ok(!transfer_health(run.t)->down, "does not make the relay bad");
	run_end(&run);

	script.rules[0].reply = "450 4.7.1 enough";
	script.pipelining = false;
	ok(run_all(&run, &script, 3, 60) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 60, "450 at the sixth MAIL");
	run_end(&run);

	script.rules[0] = (FakeRule) {"MAIL", 4, 1, true, "550 5.7.1 enough"};
	script.pipelining = true;
	ok(run_all(&run, &script, 3, 30) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 30,
	   "550 at the fourth MAIL: once more on a fresh session");
	run_end(&run);
}

static void
test_few_taken(void)
{
	FakeScript	script = {.pipelining = true,.max_connections = 3};

	ok(run_all(&run, &script, 8, 300) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 300,
	   "a relay that takes only three sessions");
	ok(!transfer_health(run.t)->down && transfer_counts(run.t).sessions == 3 &&
	   run.fake.stats->connections <= 10, "and no storm of connections");
	printf("# %d connections\n", run.fake.stats->connections);
	run_end(&run);
}

/* A relay that is down gets one connection, then the rest. */
static void
test_half_open(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"CONNECT", 1, 0, false, "421 4.3.2 no"};
	script.rules[1] = (FakeRule) {"CONNECT", 2, 0, false, "421 4.3.2 no"};
	script.rules[2] = (FakeRule) {"MAIL", 1, 0, false, "@slow 250 ok"};
	script.rules[3] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	ok(run_all(&run, &script, 5, 10) && run_count_end(&run, END_RETURNED) == 10 &&
	   transfer_health(run.t)->failures == 1 &&
	   run.fake.stats->connections == 1, "down");
	run.got = run.submitted = 0;
	run_submit(&run, 10);
	ok(run_wait(&run) && transfer_health(run.t)->failures == 2 &&
	   run.fake.stats->connections == 2, "still down");
	run.got = run.submitted = 0;
	run_submit(&run, 10);
	ok(run_until(&run, &run.fake.stats->connections, 3) &&
	   run.fake.stats->connections == 3 &&
	   transfer_counts(run.t).sessions == 1, "one probing session");
	ok(run_wait(&run) && run_exact(&run) &&
	   run.fake.stats->connections == 7 && !transfer_health(run.t)->down &&
	   transfer_health(run.t)->failures == 0, "then all of them");
	run_end(&run);
}

static void
test_closed_idle(void)
{
	FakeScript	script = {.pipelining = true};
	int			i;

	script.rules[0] = (FakeRule) {"DOT", 2, 2, true, "@last 250 ok"};
	ok(run_all(&run, &script, 1, 2) && run_exact(&run), "closed while idle");
	for (i = 0; i < 18000 && transfer_counts(run.t).sessions > 0; i++)
		driver_idle(&run.driver, 10);
	ok(transfer_counts(run.t).sessions == 0, "is noticed");
	run_submit(&run, 2);
	ok(run_wait(&run) && run_exact(&run) &&
	   run.fake.stats->connections == 2, "and replaced");
	run_end(&run);
}

/* Recall while mails are at every stage */
static void
test_recall(const char *verb, bool pipelining, bool stop)
{
	FakeScript	script = {.pipelining = pipelining};
	char		title[128];
	int			returned;

	script.rules[0] = (FakeRule) {verb, 3, 1, false, strcmp(verb,
		"DATA") == 0 ? "@slow 354 ok" : "@slow 250 ok"};
	run_start(&run, &script, 2);
	run_submit(&run, 20);
	driver_idle(&run.driver, 100);
	transfer_recall(run.t, stop);
	run_wait(&run);
	returned = run_count_end(&run, END_RETURNED);
	snprintf(title, sizeof(title), "recall at %s%s%s", verb,
			 pipelining ? "" : ", lock-step", stop ? ", stop" : "");
	ok(run.got == 20 && returned >= 10 && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) + returned == 20, title);
	driver_idle(&run.driver, 500);
	run_submit(&run, 4);
	ok(run_wait(&run) && run_exact(&run) && run.fake.stats->disorder == 0,
	   "and on again");
	printf("# %d returned, %d connections\n", returned,
		   run.fake.stats->connections);
	run_end(&run);
}

static void
test_abort(const char *verb, bool doubt)
{
	FakeScript	script = {.pipelining = true};
	char		title[128];
	int			i;
	int			sure = 0;

	script.rules[0] = (FakeRule) {verb, 3, 1, false, "@silent"};
	run_start(&run, &script, 2);
	run_submit(&run, 20);
	run_until(&run, &run.fake.stats->silent, 2);
	transfer_abort(run.t);
	ok(transfer_counts(run.t).sessions == 0 &&
	   transfer_counts(run.t).in_flight == 0, "abort ends all at once");
	run_wait(&run);
	for (i = 0; i < run.got; i++)
		sure += run.back[i]->judgement.verdict != VERDICT_DOUBT;
	snprintf(title, sizeof(title), "abort at %s", verb);
	ok(run.got == 20 && run.got - sure == (doubt ? 2 : 0) &&
	   run_exact(&run), title);
	run_end(&run);
}

/* A riding envelope whose session dies goes back, at no cost. */
static void
test_rider(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"DOT", 1, 0, false, "@close"};
	ok(run_all(&run, &script, 1, 6) && run_exact(&run) &&
	   run_count(&run, VERDICT_DOUBT) == 1 &&
	   run_count(&run, VERDICT_DELIVERED) == 5,
	   "only the mail whose dot was sent is in doubt");
	run_end(&run);

	script.rules[0] = (FakeRule) {"DOT", 2, 3, false, "550 5.7.1 spam"};
	ok(run_all(&run, &script, 2, 60) && run_exact(&run) &&
	   run_count(&run, VERDICT_FAILED) == 20 &&
	   run.fake.stats->connections == 2,
	   "a refused dot does not disturb the next mail");
	run_end(&run);
}

/*
 * A relay that says anything at any time: every mail comes back once, and is
 * called delivered exactly if the relay took it.
 */
static void
test_chaos(unsigned seed, bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining,.chaos = 30};
	char		title[80];
	int			rounds;
	bool		all = true;

	srand(seed);
	script.eager_data = seed % 2 == 0;
	script.bytewise = seed % 3 == 0;
	run_start(&run, &script, 6);
	run.config.reply_timeout_ms = 300;
	run.config.data_timeout_ms = 300;
	run.config.dot_timeout_ms = 300;
	run.config.messages = seed % 2 == 0 ? 20 : 0;
	run_submit(&run, 300);
	for (rounds = 0; all && rounds < 200; rounds++)
	{
		int			open = 0;
		int			i;

		all = run_wait(&run);
		run.got = 0;
		for (i = 0; i < run.submitted; i++)
			if (run.mails[i].judgement.verdict == VERDICT_AGAIN)
				transfer_submit(run.t, &run.mails[i]), open++;
			else
				run.back[run.got++] = &run.mails[i];
		if (open == 0)
			break;
	}
	snprintf(title, sizeof(title), "chaos %u%s", seed,
			 pipelining ? "" : ", lock-step");
	ok(all && run.got == 300 && run_exact(&run), title);
	printf("# %d rounds, %d connections, %d delivered, %d in doubt\n", rounds,
		   run.fake.stats->connections, run_count(&run, VERDICT_DELIVERED),
		   run_count(&run, VERDICT_DOUBT));
	run_end(&run);
}

/* The generation changes with the set, not with interest. */
static void
test_deadline(void)
{
	FakeScript	script = {.pipelining = true};
	uint32_t	before;
	uint32_t	after;
	int			count;

	run_start(&run, &script, 1);
	run_open(&run);
	ok(transfer_deadline(run.t) == -1, "no deadline without work");
	run_submit(&run, 1);
	ok(transfer_deadline(run.t) == 0, "work is due at once");
	run_wait(&run);
	driver_idle(&run.driver, 10);
	transfer_sockets(run.t, &count, &before);
	run_submit(&run, 5);
	run_wait(&run);
	transfer_sockets(run.t, &count, &after);
	ok(count == 1 && before == after, "a session keeps its place");
	ok(transfer_deadline(run.t) > 0 || transfer_deadline(run.t) == -1,
	   "an idle pool does not spin");
	run_end(&run);
}

void
test_pool(void)
{
	static const char *const verbs[] = {"MAIL", "RCPT", "DATA", "DOT"};
	int			i;

	test_sizes();
	test_used_up();
	test_few_taken();
	test_half_open();
	test_closed_idle();
	for (i = 0; i < 4; i++)
	{
		test_recall(verbs[i], true, true);
		test_recall(verbs[i], false, false);
	}
	test_abort("MAIL", false);
	test_abort("DATA", false);
	test_abort("DOT", true);
	test_rider();
	test_deadline();
	for (i = 1; i <= 3; i++)
	{
		test_chaos((unsigned) i, true);
		test_chaos((unsigned) i, false);
	}
}
