/*-------------------------------------------------------------------------
 *
 * transfer_test.h
 *	  What the parts of transfer_test share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TRANSFER_TEST_H
#define MAILMAN_TRANSFER_TEST_H

#include "driver.h"
#include "fake_smtp.h"

#define RUN_MAILS	FAKE_RCPTS

typedef struct Run
{
	Fake		fake;
	RelayConfig config;
	Transfer   *t;
	Driver		driver;
	Mail		mails[RUN_MAILS];
	char		to[RUN_MAILS][40];
	Mail	   *back[RUN_MAILS];
	int			submitted;
	int			got;
} Run;

extern void ok(bool good, const char *name);

extern void run_start(Run *run, const FakeScript *script, int connections);
extern void run_open(Run *run);
extern void run_submit(Run *run, int n);
extern bool run_wait(Run *run);
extern bool run_until(Run *run, volatile int *figure, int value);
extern bool run_all(Run *run, const FakeScript *script, int connections,
					int n);
extern void run_end(Run *run);
extern int	run_count(const Run *run, Verdict verdict);
extern int	run_count_end(const Run *run, AttemptEnd end);
extern void run_kill(Run *run);
extern bool run_exact(const Run *run);
extern bool run_first(const Run *run, SmtpStage stage, AttemptEnd end,
					  Scope scope, Verdict verdict);

extern void test_judgements(void);
extern void test_outcomes(void);
extern void test_dialogue(void);
extern void test_failures(void);
extern void test_pool(void);
extern void test_tired(void);
extern void test_limits(void);
extern void test_drips(void);
extern void test_in_pieces(void);
extern int	probe_main(const char *url, const char *username,
					   const char *password, const char *ca_file);

#endif							/* MAILMAN_TRANSFER_TEST_H */
