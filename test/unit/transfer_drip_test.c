/*-------------------------------------------------------------------------
 *
 * transfer_drip_test.c
 *	  Relays that are never silent and never done.
 *
 * A byte each 20 ms, for ever, where a reply is due within a third of a
 * second: what times out is the reply, not the silence.  The same of a relay
 * that takes a message in small sips, and of sessions that are given up.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transfer_test.h"

#define DUE_MS		300
#define DRIPS_MAX	500			/* ten seconds of them, thirty times that */
#define LARGE		(16 << 20)

static Run	run;

static void
run_hurry(void)
{
	run.config.connect_timeout_ms = DUE_MS;
	run.config.reply_timeout_ms = DUE_MS;
	run.config.data_timeout_ms = DUE_MS;
	run.config.dot_timeout_ms = DUE_MS;
}

/* Whatever it drips, and wherever: one deadline, and as if it were silent. */
static void
test_drip(const char *verb, const char *text, bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};
	bool		dot = strcmp(verb, "DOT") == 0;
	bool		all;
	char		reply[80];
	char		title[160];

	snprintf(reply, sizeof(reply), "@drip %s", text);
	script.rules[0] = (FakeRule) {verb, 2, 0, false, reply};
	run_start(&run, &script, 1);
	run_hurry();
	run_submit(&run, 10);
	all = run_wait(&run);
	snprintf(title, sizeof(title), "%s drips \"%s\"%s", verb, text,
			 pipelining ? "" : ", lock-step");
	ok(all && run_exact(&run) && run.fake.stats->drips > 0 &&
	   run.fake.stats->drips < DRIPS_MAX &&
	   run_count(&run, VERDICT_DELIVERED) == (dot ? 9 : 10) &&
	   run_count(&run, VERDICT_DOUBT) == (dot ? 1 : 0), title);
	run_end(&run);
}

/* Each reply that comes in time gives the next its own. */
static void
test_patient(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"MAIL", 1, 1, false, "@slow 250 ok"};
	script.rules[1] = (FakeRule) {"RCPT", 1, 1, false, "@slow 250 ok"};
	script.rules[2] = (FakeRule) {"DATA", 1, 1, false, "@slow 354 ok"};
	script.rules[3] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	run_start(&run, &script, 1);
	run_hurry();
	run.config.reply_timeout_ms = run.config.data_timeout_ms = 600;
	run.config.dot_timeout_ms = run.config.connect_timeout_ms = 600;
	run_submit(&run, 2);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 2 &&
	   run.fake.stats->connections == 1,
	   "slow replies, each in its own time");
	run_end(&run);
}

static void
test_opening(const char *verb, const char *text, SmtpStage stage)
{
	FakeScript	script = {.pipelining = true};
	char		reply[80];
	char		title[160];
	const RelayHealth *h;

	snprintf(reply, sizeof(reply), "@drip %s", text);
	script.rules[0] = (FakeRule) {verb, 1, 1, false, reply};
	run_start(&run, &script, 3);
	run_hurry();
	run_submit(&run, 3);
	run_wait(&run);
	h = transfer_health(run.t);
	snprintf(title, sizeof(title), "%s drips \"%s\": the relay is down", verb,
			 text);
	ok(run.got == 3 && h->down && !h->permanent && h->last.stage == stage &&
	   run.fake.stats->drips < DRIPS_MAX && h->last.end == END_TIMEOUT && run.fake.stats->connections == 1, title);
	printf("# %s\n", h->description);
	run_end(&run);
}

static bool
probe_is_over(Probe *p, int ms)
{
	int64_t		end = transfer_now() + (int64_t) ms * 1000;

	while (transfer_now() < end)
	{
		const TransferSocket *list;
		uint32_t	generation;
		int			count;
		int			i;

		if (probe_step(p))
			return true;
		list = probe_sockets(p, &count, &generation);
		for (i = count - 1; i >= 0; i--)
			probe_ready(p, list[i].fd, true, list[i].write);
	}
	return false;
}

static void
probe_note(void *context, const char *step, bool good, const char *reply)
{
	printf("# %s: %s %s\n", step, good ? "ok" : "fails", reply);
	snprintf(context, 32, "%s %s", step, good ? "ok" : "fails");
}

static void
test_probe(const char *verb, const char *expected)
{
	FakeScript	script = {.pipelining = true};
	char		last[32] = "";
	char		title[80];
	Probe	   *p;

	script.rules[0] = (FakeRule) {verb, 1, 1, false, "@drip 250-still"};
	run_start(&run, &script, 1);
	run_hurry();
	p = probe_create(&run.config, probe_note, last);
	snprintf(title, sizeof(title), "mailman_check(), %s drips", verb);
	ok(probe_is_over(p, 30000) && strcmp(last, expected) == 0 &&
	   run.fake.stats->drips < DRIPS_MAX, title);
	probe_destroy(p);
	run_end(&run);
}

/* A message that no socket buffers hold */
static char *
make_large(void)
{
	char	   *wire = malloc(LARGE + 1);
	size_t		i;

	memset(wire, 'x', LARGE);
	for (i = 900; i < LARGE; i += 900)
		memcpy(wire + i, "\r\n", 2);
	memcpy(wire + LARGE - 5, "\r\n.\r\n", 6);
	return wire;
}

/* It takes some each time, and would for a minute and more. */
static void
test_sip(void)
{
	FakeScript	script = {.pipelining = true};
	char	   *wire = make_large();
	int64_t		start = transfer_now();

	script.rules[0] = (FakeRule) {"BODY", 1, 0, false, "@sip"};
	run_start(&run, &script, 1);
	run_hurry();
	run_submit(&run, 1);
	driver_whole(&run.mails[0], wire, LARGE);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 1 &&
	   run.fake.stats->connections == 2 &&
	   run.fake.stats->reads < DRIPS_MAX + LARGE / 65536,
	   "a message taken in sips: the session is given up, the mail is not");
	printf("# %d ms\n", (int) ((transfer_now() - start) / 1000));
	run_end(&run);
	free(wire);
}

/* Wait no longer: the one with its dot sent is in doubt, the other is not. */
static void
test_give_up(bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};
	char	   *wire = make_large();

	script.rules[0] = (FakeRule) {"DOT", 2, 0, false, "@drip 250-still"};
	script.rules[1] = (FakeRule) {"BODY", 3, 0, false, "@silent"};
	run_start(&run, &script, 1);
	run_submit(&run, 2);
	run_until(&run, &run.fake.stats->drips, 3);
	run_submit(&run, 1);
	ok(transfer_unanswered(run.t) == 1, "one mail cannot be taken back");
	transfer_recall(run.t, true);
	ok(!transfer_give_up(run.t, &run.mails[0]) &&
	   !transfer_give_up(run.t, &run.mails[2]) &&
	   transfer_unanswered(run.t) == 1, "nor is any other given up");
	ok(transfer_give_up(run.t, &run.mails[1]) &&
	   transfer_unanswered(run.t) == 0 && run_wait(&run) && run_exact(&run) &&
	   run.mails[1].attempt.end == END_TIMEOUT &&
	   run.mails[1].judgement.verdict == VERDICT_DOUBT &&
	   run.mails[2].attempt.end == END_RETURNED, "it is given up, in doubt");

	run.got = run.submitted = 0;
	run_submit(&run, 2);
	driver_whole(&run.mails[0], wire, LARGE);
	run_until(&run, &run.fake.stats->silent, 1);
	ok(transfer_unanswered(run.t) == 1 &&
	   !transfer_give_up(run.t, &run.mails[0]), "one whose text is on its way");
	run.got += driver_run(&run.driver, run.back, 1, 60000);
	ok(run.got == 1 && run.mails[0].attempt.end == END_RETURNED &&
	   run.mails[0].judgement.verdict == VERDICT_AGAIN, "is handed back");
	ok(run_wait(&run) && run.mails[1].judgement.verdict ==
	   (pipelining ? VERDICT_AGAIN : VERDICT_DELIVERED),
	   pipelining ? "with what rode behind it" : "and the others go on");
	run_end(&run);
	free(wire);
}

void
test_drips(void)
{
	static const char *const verbs[] = {"MAIL", "RCPT", "DATA", "DOT"};
	int			i;

	for (i = 0; i < 4; i++)
	{
		test_drip(verbs[i], "250-still thinking", true);
		test_drip(verbs[i], "250-still thinking", false);
	}
	test_drip("DOT", "2", true);
	test_drip("RCPT", "250 a line that comes to no end", false);
	test_patient();
	test_opening("CONNECT", "220-still", STAGE_GREETING);
	test_opening("EHLO", "250-still", STAGE_EHLO);
	test_probe("CONNECT", "connect fails");
	test_probe("EHLO", "ehlo fails");
	test_probe("QUIT", "quit fails");
	test_sip();
	test_give_up(true);
	test_give_up(false);
}
