/*-------------------------------------------------------------------------
 *
 * transfer_dialogue_test.c
 *	  One session's dialogue: pipelining, refusals, what is refused here.
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
test_happy(const char *name, const FakeScript *script, int connections, int n)
{
	char		title[128];
	bool		all = run_all(&run, script, connections, n);

	snprintf(title, sizeof(title), "%s: %d mails delivered once", name, n);
	ok(all && run_exact(&run) && run_count(&run, VERDICT_DELIVERED) == n,
	   title);
	snprintf(title, sizeof(title), "%s: in order", name);
	ok(run.fake.stats->disorder == 0, title);
	run_end(&run);
}

static void
test_refused_rcpt(const char *name, FakeScript script)
{
	char		title[128];
	bool		all;

	script.rules[0] = (FakeRule) {"RCPT", 5, 5, false,
		"550 5.1.1 <x@there.test>: no such user"};
	all = run_all(&run, &script, 5, 200);
	snprintf(title, sizeof(title), "%s: every fifth RCPT refused, exactly",
			 name);
	ok(all && run_exact(&run) && run_count(&run, VERDICT_DELIVERED) == 160 &&
	   run_count(&run, VERDICT_FAILED) == 40, title);
	snprintf(title, sizeof(title), "%s: without reconnecting", name);
	ok(run.fake.stats->connections == 5 && run.fake.stats->disorder == 0,
	   title);
	printf("# %d connections, %d RSET, %d lone dots, %d disorder\n",
		   run.fake.stats->connections, run.fake.stats->rsets,
		   run.fake.stats->lone_dots, run.fake.stats->disorder);
	run_end(&run);
}

static void
test_reply(const char *name, FakeScript script, FakeRule rule,
		   SmtpStage stage, AttemptEnd end, Scope scope, Verdict verdict)
{
	char		title[160];
	bool		all;

	script.rules[0] = rule;
	all = run_all(&run, &script, 1, 4);
	snprintf(title, sizeof(title), "%s%s: %s", name,
			 script.pipelining ? "" : ", lock-step", rule.reply);
	ok(all && run_first(&run, stage, end, scope, verdict) &&
	   run_exact(&run) && run_count(&run, VERDICT_DELIVERED) >= 3, title);
	ok(run.fake.stats->connections == 1 && run.fake.stats->disorder == 0,
	   "and the session goes on");
	run_end(&run);
}

static void
test_replies(bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};

	test_reply("RCPT", script,
			   (FakeRule) {"RCPT", 1, 0, false, "450 4.2.1 greylisted"},
			   STAGE_RCPT, END_REPLY, SCOPE_RECIPIENT, VERDICT_DEFERRED);
	test_reply("DATA", script,
			   (FakeRule) {"DATA", 1, 0, false, "451 4.3.0 not now"},
			   STAGE_DATA, END_REPLY, SCOPE_RECIPIENT, VERDICT_DEFERRED);
	test_reply("dot", script,
			   (FakeRule) {"DOT", 1, 0, false, "450 4.3.0 not now"},
			   STAGE_DOT, END_REPLY, SCOPE_RECIPIENT, VERDICT_DEFERRED);
	test_reply("dot", script,
			   (FakeRule) {"DOT", 1, 0, false, "550 5.7.1 spam"},
			   STAGE_DOT, END_REPLY, SCOPE_CONTENT, VERDICT_FAILED);
	test_reply("MAIL", script,
			   (FakeRule) {"MAIL", 1, 0, false, "552 5.3.4 too big"},
			   STAGE_MAIL, END_REPLY, SCOPE_MESSAGE, VERDICT_FAILED);
	script.eager_data = true;
	test_reply("RCPT, DATA 354", script,
			   (FakeRule) {"RCPT", 1, 0, false, "550 5.1.1 nobody"},
			   STAGE_RCPT, END_REPLY, SCOPE_RECIPIENT, VERDICT_FAILED);
}

/* Mails that are refused before a byte is written */
static void
test_local(void)
{
	FakeScript	script = {.pipelining = true, .ehlo = "SIZE_1000"};

	run_start(&run, &script, 2);
	run_submit(&run, 8);
	run.mails[0].size = 1001;
	run.mails[1].smtputf8 = true;
	run.mails[2].to = "a@b.test>\r\nRCPT TO:<c@d.test";
	run.mails[3].to = "a b@c.test";
	run.mails[4].from = "<x@y.test>";
	run.mails[5].to = "\"a b\"@c.test";
	run.mails[6].to = "";
	driver_whole(&run.mails[7], "no dot\r\n", 8);
	ok(run_wait(&run) && run_first(&run, STAGE_MAIL, END_LOCAL,
								   SCOPE_MESSAGE, VERDICT_FAILED),
	   "SIZE: refused here");
	ok(run.mails[1].attempt.enhanced[1] == 6 &&
	   run.mails[1].judgement.verdict == VERDICT_FAILED,
	   "SMTPUTF8 not offered: refused here");
	ok(run.mails[2].judgement.dead_address &&
	   run.mails[3].judgement.dead_address &&
	   run.mails[6].judgement.dead_address, "no command in an address");
	ok(run.mails[4].judgement.scope == SCOPE_LETTER, "nor in the sender");
	ok(run.mails[5].judgement.scope != SCOPE_RECIPIENT,
	   "a quoted space is no harm");
	ok(run.mails[7].judgement.verdict != VERDICT_DELIVERED,
	   "a message without its dot is not sent");
	ok(run.fake.stats->disorder == 0 && run.fake.stats->connections <= 2,
	   "the relay saw nothing of it");
	run_end(&run);
}

static void
test_smtputf8(void)
{
	FakeScript	script = {.ehlo = "SMTPUTF8 SIZE", .pipelining = true};

	run_start(&run, &script, 1);
	run_submit(&run, 2);
	run.mails[1].smtputf8 = true;
	run.mails[1].size = 1u << 30;
	ok(run_wait(&run) && run_exact(&run) && run.fake.stats->smtputf8 == 1,
	   "SMTPUTF8 where it is needed; SIZE without a limit");
	run_end(&run);
}

static void
test_large(bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};
	size_t		size = 1000000;
	char	   *wire = malloc(size + 1);
	size_t		i;

	for (i = 0; i < size; i++)
		wire[i] = i % 100 == 98 ? '\r' : i % 100 == 99 ? '\n' : 'x';
	memcpy(wire + size - 5, "\r\n.\r\n", 6);
	run_start(&run, &script, 1);
	run_submit(&run, 4);
	for (i = 0; i < 4; i++)
		driver_whole(&run.mails[i], wire, size);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 4, "messages of 1 MB");
	run_end(&run);
	free(wire);
}

void
test_dialogue(void)
{
	FakeScript	plain = {.pipelining = true};
	FakeScript	lockstep = {.pipelining = false};
	FakeScript	bytes = {.pipelining = true, .bytewise = true};
	FakeScript	lines = {.pipelining = true, .multiline = true};
	FakeScript	both = {.bytewise = true, .multiline = true};
	FakeScript	eager = {.pipelining = true, .eager_data = true};

	test_happy("pipelined", &plain, 5, 500);
	test_happy("lock-step", &lockstep, 5, 200);
	test_happy("byte by byte", &bytes, 2, 20);
	test_happy("multi-line", &lines, 2, 50);
	test_happy("lock-step, bytes, lines", &both, 2, 10);
	test_refused_rcpt("pipelined", plain);
	test_refused_rcpt("lock-step", lockstep);
	test_refused_rcpt("354 after it", eager);
	test_replies(true);
	test_replies(false);
	test_local();
	test_smtputf8();
	test_large(true);
	test_large(false);
}
