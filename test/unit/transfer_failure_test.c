/*-------------------------------------------------------------------------
 *
 * transfer_failure_test.c
 *	  Sessions that die, hang or talk nonsense, at every stage.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "transfer_test.h"

static Run	run;

/* Short is the wait for what never comes, and for that only. */
static int
patience_ms(const char *reply)
{
	return strcmp(reply, "@silent") == 0 ? 1000 : 30000;
}

/* A fault in the opening: the relay is down, nobody's attempt is spent. */
static void
test_opening(const char *verb, const char *reply, SmtpStage stage,
			 AttemptEnd end, int code)
{
	FakeScript	script = {.pipelining = true};
	const RelayHealth *h;
	char		title[160];

	script.rules[0] = (FakeRule) {verb, 1, 1, false, reply};
	run_start(&run, &script, 5);
	run.config.connect_timeout_ms = patience_ms(reply);
	run_submit(&run, 10);
	run_wait(&run);
	h = transfer_health(run.t);
	snprintf(title, sizeof(title), "%s %.30s: down, mails returned", verb,
			 reply);
	ok(run.got == 10 && h->down && h->failures == 1 && !h->permanent &&
	   h->last.stage == stage && h->last.end == end && h->last.code == code &&
	   run_first(&run, STAGE_NONE, END_RETURNED, SCOPE_NONE, VERDICT_AGAIN),
	   title);
	printf("# %s\n", h->description);
	ok(run.fake.stats->connections == 1, "after one try");
	run_end(&run);
}

/*
 * The second mail's session dies, hangs or babbles; nothing is lost, nothing
 * doubled, and only a sent dot is in doubt.
 */
static void
test_death(const char *verb, const char *reply, bool pipelining,
		   AttemptEnd end)
{
	FakeScript	script = {.pipelining = pipelining};
	char		title[160];
	bool		doubt = strcmp(verb, "DOT") == 0 || strcmp(verb, "BODY") == 0;
	bool		all;
	int			n = 0;

	script.rules[0] = (FakeRule) {verb, 2, 0, false, reply};
	run_start(&run, &script, 1);
	run.config.reply_timeout_ms = patience_ms(reply);
	run.config.data_timeout_ms = patience_ms(reply);
	run.config.dot_timeout_ms = patience_ms(reply);
	run_submit(&run, 10);
	all = run_wait(&run);
	snprintf(title, sizeof(title), "%s %s%s", verb, reply,
			 pipelining ? "" : ", lock-step");
	if (doubt)
	{
		n = run_count(&run, VERDICT_DOUBT);
		ok(all && n == 1 && run_exact(&run) &&
		   run_count(&run, VERDICT_DELIVERED) == 9, title);
	}
	else
		ok(all && run_exact(&run) &&
		   run_count(&run, VERDICT_DELIVERED) == 10, title);
	for (n = 0; n < run.got; n++)
		if (run.back[n]->judgement.verdict == VERDICT_DOUBT)
			ok(run.back[n]->attempt.end == end &&
			   run.back[n]->attempt.stage == STAGE_DOT, "so it ended");
	run_end(&run);
}

/* One session, always the same fault: it comes back, judged as is. */
static void
test_always(const char *verb, const char *reply, SmtpStage stage,
			AttemptEnd end, Scope scope, Verdict verdict, int connections)
{
	FakeScript	script = {.pipelining = true};
	char		title[160];
	bool		all;

	script.rules[0] = (FakeRule) {verb, 1, 1, false, reply};
	run_start(&run, &script, 1);
	run.config.reply_timeout_ms = patience_ms(reply);
	run.config.data_timeout_ms = patience_ms(reply);
	run.config.dot_timeout_ms = patience_ms(reply);
	run_submit(&run, 1);
	all = run_wait(&run);
	snprintf(title, sizeof(title), "always %s %.40s", verb, reply);
	ok(all && run_first(&run, stage, end, scope, verdict), title);
	snprintf(title, sizeof(title), "on %d connection(s)", connections);
	ok(run.fake.stats->connections == connections, title);
	run_end(&run);
}

static void
test_each_stage(bool pipelining)
{
	static const char *const stages[] = {
		"MAIL", "RCPT", "DATA", "BODY", "DOT"
	};
	size_t		i;

	for (i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
	{
		test_death(stages[i], "@close", pipelining, END_CLOSED);
		if (strcmp(stages[i], "BODY") == 0)
			continue;
		test_death(stages[i], "@silent", pipelining, END_TIMEOUT);
		test_death(stages[i], "@raw hello world\r\n", pipelining,
				   END_DISORDER);
		test_death(stages[i], "@endless", pipelining, END_DISORDER);
	}
	test_death("DOT", "354 what", pipelining, END_DISORDER);
	test_death("MAIL", "421 4.3.2 closing", pipelining, END_REPLY);
	test_death("MAIL", "@last 421 4.3.2 closing", pipelining, END_REPLY);
	test_death("RCPT", "@last 421 4.3.2 closing", pipelining, END_REPLY);
	test_death("DATA", "@last 421 4.3.2 closing", pipelining, END_REPLY);
}

static void
test_early_reply(void)
{
	FakeScript	script = {.pipelining = true};

	script.rules[0] = (FakeRule) {"BODY", 1, 0, false,
		"@last 552 5.3.4 too big"};
	run_all(&run, &script, 1, 3);
	ok(run_count(&run, VERDICT_DELIVERED) >= 2 && run_exact(&run) &&
	   run.mails[0].attempt.code == 552 &&
	   run.mails[0].judgement.verdict == VERDICT_FAILED,
	   "a message refused while it is sent");
	run_end(&run);
}

static void
test_refused_connection(void)
{
	FakeScript	script = {.pipelining = true};
	const RelayHealth *h;

	run_start(&run, &script, 3);
	run_kill(&run);
	run_submit(&run, 3);
	run_wait(&run);
	h = transfer_health(run.t);
	ok(run.got == 3 && h->down && h->last.stage == STAGE_CONNECT &&
	   h->last.end == END_CLOSED, "connection refused");
	printf("# %s\n", h->description);
	run_end(&run);
}

/* Refused, then it listens again: one session asks, then all of them. */
static void
test_comes_back(void)
{
	FakeScript	script = {.pipelining = true};
	int			port;

	script.rules[0] = (FakeRule) {"MAIL", 1, 0, false, "@slow 250 ok"};
	script.rules[1] = (FakeRule) {"DOT", 1, 1, false, "@slow 250 ok"};
	run_start(&run, &script, 4);
	run_kill(&run);
	run_submit(&run, 10);
	ok(run_wait(&run) && run_count_end(&run, END_RETURNED) == 10 &&
	   transfer_health(run.t)->down, "nobody listens");
	run.got = run.submitted = 0;
	run_submit(&run, 10);
	ok(run_wait(&run) && run_count_end(&run, END_RETURNED) == 10 &&
	   transfer_health(run.t)->failures == 2, "nor later");

	port = run.fake.port;
	munmap((void *) run.fake.stats, sizeof(FakeStats));
	fake_start_at(&run.fake, &script, port);
	run.got = run.submitted = 0;
	run_submit(&run, 10);
	driver_idle(&run.driver, 100);
	ok(run.fake.stats->connections == 1 &&
	   transfer_counts(run.t).connecting == 0, "it listens: one asks");
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 10 &&
	   run.fake.stats->connections == 4 && !transfer_health(run.t)->down &&
	   transfer_health(run.t)->failures == 0, "then all");
	run_end(&run);
}

/* MAIL is taken, then it says no: each time it is down counts. */
static void
test_down_late(void)
{
	FakeScript	script = {.pipelining = true};
	int			i;

	script.rules[0] = (FakeRule) {"RCPT", 1, 1, false, "530 5.7.0 log in"};
	run_start(&run, &script, 1);
	for (i = 1; i <= 3; i++)
	{
		run.got = run.submitted = 0;
		run_submit(&run, 5);
		ok(run_wait(&run) && run_count_end(&run, END_RETURNED) == 4 &&
		   transfer_health(run.t)->down &&
		   transfer_health(run.t)->permanent &&
		   transfer_health(run.t)->failures == i &&
		   run.fake.stats->connections == i, "530 to RCPT: down");
	}
	run_end(&run);
}

/* A message that no socket buffers hold */
static char *
make_large(size_t size)
{
	char	   *wire = malloc(size + 1);
	size_t		i;

	memset(wire, 'x', size);
	for (i = 50000; i < size; i += 50000)
		memcpy(wire + i, "\r\n", 2);
	memcpy(wire + size - 5, "\r\n.\r\n", 6);
	return wire;
}

/* Every mail is back, in doubt only with its dot sent, else at no cost. */
static bool
is_free(void)
{
	int			i;

	for (i = 0; i < run.got; i++)
	{
		const Mail *m = run.back[i];

		if (m->judgement.verdict == VERDICT_DOUBT
			? m->attempt.stage != STAGE_DOT
			: m->judgement.verdict == VERDICT_DELIVERED
			? m->attempt.code != 250
			: (m->judgement.verdict != VERDICT_AGAIN ||
			   m->judgement.costs_attempt ||
			   (m->attempt.end != END_RETURNED &&
				m->judgement.scope != SCOPE_SESSION &&
				m->judgement.scope != SCOPE_RELAY)))
			return false;
	}
	return run.got == run.submitted;
}

/* The relay dies under sessions that wait for each kind of reply. */
static void
test_dies(bool used, bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};
	size_t		size = 8 << 20;
	char	   *wire = make_large(size);
	int			n = used ? 6 : 1;
	int64_t		start;
	int			reads;
	int			i;

	script.rules[0] = (FakeRule) {"RCPT", n, 0, false, "@silent"};
	script.rules[1] = (FakeRule) {"DATA", n, 0, false, "@silent"};
	script.rules[2] = (FakeRule) {"BODY", n, 0, false, "@silent"};
	script.rules[3] = (FakeRule) {"DOT", n, 0, false, "@silent"};
	script.rules[4] = (FakeRule) {"MAIL", n + 4, 1, false, "@silent"};
	run_start(&run, &script, 5);
	run_submit(&run, 40);
	for (i = used ? 5 : 0; i < 40; i++)
		driver_whole(&run.mails[i], wire, size);
	start = transfer_now();
	do
	{
		reads = run.fake.stats->reads;
		driver_idle(&run.driver, 300);
	} while (run.fake.stats->reads != reads ||
			 transfer_counts(run.t).connecting > 0 ||
			 (run.fake.stats->silent < 5 &&
			  transfer_now() - start < 60000000));
	ok(transfer_counts(run.t).busy == 5 && run.fake.stats->silent == 5,
	   "five sessions wait");
	run_kill(&run);
	start = transfer_now();
	run_wait(&run);
	ok(is_free() && run_exact(&run) && transfer_now() - start < 10000000,
	   "the relay dies: all is back at once");
	ok(run_count(&run, VERDICT_DOUBT) == 1 && transfer_health(run.t)->down,
	   "and in doubt what had its dot sent");
	printf("# %d returned, %d delivered, %d ms\n",
		   run_count_end(&run, END_RETURNED),
		   run_count(&run, VERDICT_DELIVERED),
		   (int) ((transfer_now() - start) / 1000));
	run_end(&run);
	free(wire);
}

static void
test_opening_local(const char *url, const char *username, SmtpStage stage,
				   bool tls, bool permanent, const char *title)
{
	FakeScript	script = {.pipelining = true,.ehlo = "SIZE"};
	const RelayHealth *h;

	run_start(&run, &script, 3);
	if (url != NULL)
		run.config.url = url;
	run.config.tls_required = tls;
	run.config.username = username;
	run.config.password = username;
	run_submit(&run, 3);
	run_wait(&run);
	h = transfer_health(run.t);
	ok(run.got == 3 && h->down && h->last.stage == stage &&
	   h->permanent == permanent, title);
	printf("# %s\n", h->description);
	run_end(&run);
}

void
test_failures(void)
{
	test_opening("CONNECT", "554 5.3.2 no", STAGE_GREETING, END_REPLY, 554);
	test_opening("CONNECT", "@close", STAGE_GREETING, END_CLOSED, 0);
	test_opening("CONNECT", "@silent", STAGE_GREETING, END_TIMEOUT, 0);
	test_opening("EHLO", "421 4.3.2 no", STAGE_EHLO, END_REPLY, 421);
	test_opening("EHLO", "@close", STAGE_EHLO, END_CLOSED, 0);
	test_opening("EHLO", "@silent", STAGE_EHLO, END_TIMEOUT, 0);
	test_refused_connection();
	test_comes_back();
	test_down_late();
	test_dies(false, true);
	test_dies(false, false);
	test_dies(true, true);
	test_dies(true, false);
	test_opening_local("smtp://relay.invalid:25", NULL, STAGE_CONNECT, false,
					   false, "a host that does not exist");
	test_opening_local("http://127.0.0.1:25", NULL, STAGE_CONNECT, false,
					   false, "no mail over http");
	test_opening_local(NULL, "me", STAGE_AUTH, false, true,
					   "login not offered");
	test_opening_local(NULL, NULL, STAGE_TLS, true, false,
					   "STARTTLS not offered");
	test_each_stage(true);
	test_each_stage(false);
	test_early_reply();
	test_always("MAIL", "451 4.3.0 no", STAGE_MAIL, END_REPLY, SCOPE_RELAY,
				VERDICT_AGAIN, 1);
	test_always("MAIL", "550 5.7.1 no", STAGE_MAIL, END_REPLY, SCOPE_LETTER,
				VERDICT_AGAIN, 2);
	test_always("RCPT", "@close", STAGE_RCPT, END_CLOSED, SCOPE_RECIPIENT,
				VERDICT_DEFERRED, 2);
	test_always("DOT", "@silent", STAGE_DOT, END_TIMEOUT, SCOPE_UNKNOWN,
				VERDICT_DOUBT, 1);
	test_always("DOT", "@last 421 4.7.0 slow down", STAGE_DOT, END_REPLY,
				SCOPE_RELAY, VERDICT_AGAIN, 1);
}
