/*-------------------------------------------------------------------------
 *
 * transfer_test.c
 *	  Tests of the network layer against a scripted SMTP server.
 *
 * The oracle is what the server counted, beside the verdicts: what it
 * accepted, how often for whom, and on how many connections.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"
#include "fake_smtp.h"
#include "transfer_test.h"

static int	tests;
static int	failures;

void
ok(bool good, const char *name)
{
	tests++;
	failures += !good;
	printf("%sok %d - ", good ? "" : "not ", tests);
	for (; *name != '\0'; name++)
		if (*name != '\r' && *name != '\n')
			putchar(*name);
	putchar('\n');
}

/* ---- one server, one transfer, some mails ---- */

void
run_start(Run *run, const FakeScript *script, int connections)
{
	memset(run, 0, sizeof(*run));
	fake_start(&run->fake, script);
	driver_config(&run->config, run->fake.url, connections);
}

void
run_open(Run *run)
{
	run->t = transfer_create(&run->config);
	driver_init(&run->driver, run->t);
}

void
run_submit(Run *run, int n)
{
	int			i;

	if (run->t == NULL)
		run_open(run);
	for (i = 0; i < n; i++)
	{
		Mail	   *mail = &run->mails[run->submitted];

		sprintf(run->to[run->submitted], "%d@there.test", run->submitted);
		driver_mail(mail, "news@here.test", run->to[run->submitted],
					"Subject: hello\r\n\r\nhello\r\n.\r\n");
		transfer_submit(run->t, mail);
		run->submitted++;
	}
}

/* Wait for those submitted; false if some did not come back. */
bool
run_wait(Run *run)
{
	int			left = run->submitted - run->got;

	run->got += driver_run(&run->driver, run->back + run->got, left, 180000);
	return run->got == run->submitted;
}

/* Go on until the server has counted so far; false if it never does. */
bool
run_until(Run *run, volatile int *figure, int value)
{
	int			i;

	for (i = 0; i < 18000 && *figure < value; i++)
		driver_idle(run->t != NULL ? &run->driver : NULL, 10);
	return *figure >= value;
}

bool
run_all(Run *run, const FakeScript *script, int connections, int n)
{
	run_start(run, script, connections);
	run_submit(run, n);
	return run_wait(run);
}

void
run_end(Run *run)
{
	if (run->t != NULL)
	{
		transfer_abort(run->t);
		while (transfer_finished(run->t) != NULL)
			;
		transfer_destroy(run->t);
		driver_free(&run->driver);
	}
	fake_stop(&run->fake);
}

int
run_count(const Run *run, Verdict verdict)
{
	int			n = 0;
	int			i;

	for (i = 0; i < run->got; i++)
		n += run->back[i]->judgement.verdict == verdict;
	return n;
}

int
run_count_end(const Run *run, AttemptEnd end)
{
	int			n = 0;
	int			i;

	for (i = 0; i < run->got; i++)
		n += run->back[i]->attempt.end == end;
	return n;
}

/* The relay dies: no listener, all sessions closed by its kernel */
void
run_kill(Run *run)
{
	kill(run->fake.pid, SIGKILL);
	waitpid(run->fake.pid, NULL, 0);
	run->fake.pid = 0;
}

/* A mail in doubt may have been accepted: that is what doubt means. */
static bool
run_matches(const Run *run, bool tell)
{
	bool		good = run->fake.stats->empty == 0;
	int			i;

	for (i = 0; i < run->submitted; i++)
	{
		Verdict		verdict = run->mails[i].judgement.verdict;
		int			copies = run->fake.stats->delivered[i];

		if (copies == (verdict == VERDICT_DELIVERED) ||
			(copies == 1 && verdict == VERDICT_DOUBT))
			continue;
		good = false;
		if (tell)
			printf("# mail %d: verdict %d, stage %d, end %d, code %d %s, "
				   "%d copies\n", i, verdict, run->mails[i].attempt.stage,
				   run->mails[i].attempt.end, run->mails[i].attempt.code,
				   run->mails[i].attempt.text, copies);
	}
	return good;
}

/*
 * Every mail the client calls delivered was accepted exactly once, and nobody
 * got an empty one.  The server counts after it has answered: give it time.
 */
bool
run_exact(const Run *run)
{
	int			i;

	for (i = 0; i < 5000 && !run_matches(run, false); i++)
		usleep(2000);
	return run_matches(run, true);
}

/* The first mail ended so? */
bool
run_first(const Run *run, SmtpStage stage, AttemptEnd end, Scope scope,
		  Verdict verdict)
{
	const Mail *m = &run->mails[0];
	char text[	REPLY_TEXT_MAX + 128];

	if (m->attempt.stage == stage && m->attempt.end == end &&
		m->judgement.scope == scope && m->judgement.verdict == verdict)
		return true;
	outcome_describe(&m->attempt, text, sizeof(text));
	printf("# stage %d end %d scope %d verdict %d: %s\n", m->attempt.stage,
		   m->attempt.end, m->judgement.scope, m->judgement.verdict, text);
	return false;
}

int
main(int argc, char **argv)
{
	if (!transfer_global_init())
		return 2;
	if (argc == 7 && strcmp(argv[1], "bench") == 0)
		return bench_main(argv[2], atoi(argv[3]), atoi(argv[4]),
						  atoi(argv[5]), (size_t) atol(argv[6]));
	if (argc >= 3 && strcmp(argv[1], "probe") == 0)
		return probe_main(argv[2], argc > 3 ? argv[3] : NULL,
						  argc > 4 ? argv[4] : NULL,
						  argc > 5 ? argv[5] : NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_judgements();
	test_outcomes();
	test_dialogue();
	test_failures();
	test_pool();
	test_tired();
	test_limits();
	test_drips();
	test_in_pieces();
	printf("1..%d\n", tests);
	return failures > 0;
}
