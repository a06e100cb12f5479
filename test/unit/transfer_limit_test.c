/*-------------------------------------------------------------------------
 *
 * transfer_limit_test.c
 *	  transfer_limit(): fewer sessions and more, at any time.
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

static int
count_open(void)
{
	return transfer_counts(run.t).sessions +
		transfer_counts(run.t).connecting;
}

/* Wait until so many are up. */
static bool
await(int sessions)
{
	int64_t		end = transfer_now() + 10000000;

	while (transfer_counts(run.t).sessions < sessions &&
		   transfer_now() < end)
		driver_turn(&run.driver, 5);
	return transfer_counts(run.t).sessions == sessions;
}

/* Wait until the surplus is gone. */
static bool
settle(int limit)
{
	int64_t		end = transfer_now() + 10000000;

	while (count_open() > limit && transfer_now() < end)
		driver_turn(&run.driver, 5);
	return count_open() == limit;
}

static void
test_idle(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	run_all(&run, &script, 5, 20);
	transfer_limit(run.t, 2);
	ok(settle(2) && run.fake.stats->quits == 3, "idle sessions QUIT at once");
	run_submit(&run, 8);
	ok(run_wait(&run) && run_exact(&run) &&
	   run.fake.stats->connections == 5, "two carry on");
	transfer_limit(run.t, 9);
	ok(transfer_counts(run.t).sessions == 2, "more, when there are mails");
	run_submit(&run, 20);
	ok(run_wait(&run) && run_exact(&run) && count_open() == 5 &&
	   run.fake.stats->connections == 8 && run.fake.stats->most_open == 5,
	   "and no more than configured");
	transfer_limit(run.t, -1);
	ok(settle(0) && run.fake.stats->quits == 8, "none");
	run_end(&run);
}

static void
test_none(void)
{
	FakeScript	script = {.pipelining = true};

	run_start(&run, &script, 4);
	run_open(&run);
	transfer_limit(run.t, 0);
	run_submit(&run, 10);
	driver_idle(&run.driver, 100);
	ok(transfer_counts(run.t).queued == 10 &&
	   run.fake.stats->connections == 0, "0: nothing is opened");
	ok(transfer_deadline(run.t) == -1, "nor is there a deadline");
	transfer_limit(run.t, 1);
	ok(transfer_deadline(run.t) == 0 && run_wait(&run) && run_exact(&run) &&
	   run.fake.stats->connections == 1, "1: one carries all");
	transfer_limit(run.t, 0);
	run_submit(&run, 10);
	ok(settle(0) && transfer_counts(run.t).queued == 10, "0 again");
	transfer_recall(run.t, false);
	ok(run_wait(&run) && run_count_end(&run, END_RETURNED) == 10,
	   "what is queued can be recalled");
	run_end(&run);
}

/* Sessions that carry a mail end after it; its rider loses nothing. */
static void
test_busy(const char *verb, bool pipelining, int limit)
{
	FakeScript	script = {.pipelining = pipelining};
	char		title[128];
	TransferCounts counts;
	int			done;

	script.rules[0] = (FakeRule) {verb, 5, 1, false, strcmp(verb,
		"DATA") == 0 ? "@slow 354 ok" : "@slow 250 ok"};
	run_start(&run, &script, 4);
	run_submit(&run, 24);
	await(4);
	transfer_limit(run.t, limit);
	ok(count_open() == 4 && transfer_counts(run.t).busy == 4,
	   "busy sessions end later");
	settle(limit);
	done = run.fake.stats->accepted;
	snprintf(title, sizeof(title), "from 4 to %d at %s%s", limit, verb,
			 pipelining ? "" : ", lock-step");
	counts = transfer_counts(run.t);
	ok(count_open() == limit && counts.finished <= done &&
	   counts.finished >= done - limit &&
	   counts.queued + counts.in_flight == 24 - counts.finished &&
	   counts.queued > 0 && run.fake.stats->connections == 4, title);
	driver_idle(&run.driver, 250);
	ok((limit == 0) == (run.fake.stats->accepted == done),
	   limit == 0 ? "then nothing leaves" : "then it goes on");
	printf("# %d sent, %d queued\n", done, transfer_counts(run.t).queued);
	transfer_limit(run.t, 4);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 24 &&
	   run.fake.stats->most_open == 4 && run.fake.stats->disorder == 0,
	   "and all again");
	run_end(&run);
}

static void
test_connecting(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"CONNECT", 1, 1, false, "@slow 220 hello"};
	run_start(&run, &script, 4);
	run_submit(&run, 20);
	driver_turn(&run.driver, 50);
	ok(transfer_counts(run.t).connecting == 1, "the first connects");
	transfer_limit(run.t, 0);
	ok(count_open() == 0, "and is dropped");
	driver_idle(&run.driver, 300);
	ok(run.fake.stats->connections <= 1 && !transfer_health(run.t)->down &&
	   transfer_counts(run.t).queued == 20, "blaming nobody");
	transfer_limit(run.t, 4);
	driver_idle(&run.driver, 100);
	ok(count_open() == 1 && run.fake.stats->connections <= 2,
	   "a relay not proven gets one session, whatever the limit");
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 20, "and then its mails");
	run_end(&run);

	script.rules[1] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	run_start(&run, &script, 4);
	run_submit(&run, 10);
	await(1);
	driver_idle(&run.driver, 50);
	ok(transfer_counts(run.t).connecting == 3, "the others connect");
	transfer_limit(run.t, 2);
	ok(transfer_counts(run.t).connecting == 1 &&
	   transfer_counts(run.t).sessions == 1, "two of them are dropped");
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 10 &&
	   transfer_counts(run.t).opened == 2, "two carry all");
	run_end(&run);
}

/* A mail that needs a fresh session gets one, if used ones fill the limit. */
static void
test_fresh(void)
{
	FakeScript	script = {.pipelining = true};
	int64_t		end = transfer_now() + 5000000;

	script.rules[0] = (FakeRule) {"MAIL", 5, 0, false, "550 5.7.1 enough"};
	script.rules[1] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	script.rules[2] = (FakeRule) {"QUIT", 1, 1, false, "@slow 221 bye"};
	run_start(&run, &script, 2);
	run_submit(&run, 12);
	while (run.fake.stats->quits == 0 && transfer_now() < end)
		driver_turn(&run.driver, 5);
	transfer_limit(run.t, 1);
	while (transfer_counts(run.t).opened < 3 && transfer_now() < end)
		driver_turn(&run.driver, 5);
	ok(transfer_counts(run.t).queued > 0 && count_open() == 1,
	   "a mail that needs a fresh session gets the place of a used one");
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 12 &&
	   run.fake.stats->connections == 3, "which carries the rest");
	run_end(&run);
}

/* Any limit at any time, under a relay that says anything */
static void
test_chaos(unsigned seed, bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining,.chaos = 15};
	char		title[80];
	int64_t		end = transfer_now() + 15000000;
	bool		kept = true;
	int			limit = 6;
	int			left = 500;

	srand(seed);
	run_start(&run, &script, 6);
	run.config.reply_timeout_ms = 200;
	run.config.data_timeout_ms = 200;
	run.config.dot_timeout_ms = 200;
	run_submit(&run, 500);
	while (left > 0 && transfer_now() < end)
	{
		Mail	   *mail;
		int			before = count_open();

		driver_turn(&run.driver, 5);
		kept = kept && (count_open() <= limit || count_open() <= before);
		if (rand() % 10 == 0)
			transfer_limit(run.t, limit = rand() % 7);
		while ((mail = transfer_finished(run.t)) != NULL)
			if (mail->judgement.verdict == VERDICT_AGAIN)
				transfer_submit(run.t, mail);
			else
				left--;
	}
	snprintf(title, sizeof(title), "limits at random %u%s", seed,
			 pipelining ? "" : ", lock-step");
	ok(left == 0 && kept && run_exact(&run), title);
	transfer_limit(run.t, 0);
	ok(settle(0) && transfer_counts(run.t).in_flight == 0, "and none");
	printf("# %d connections\n", run.fake.stats->connections);
	run_end(&run);
}

void
test_limits(void)
{
	static const char *const verbs[] = {"MAIL", "RCPT", "DATA", "DOT"};
	int			i;

	test_idle();
	test_none();
	for (i = 0; i < 4; i++)
	{
		test_busy(verbs[i], true, 0);
		test_busy(verbs[i], false, 1);
	}
	test_connecting();
	test_fresh();
	for (i = 1; i <= 3; i++)
	{
		test_chaos((unsigned) i, true);
		test_chaos((unsigned) i, false);
	}
}
