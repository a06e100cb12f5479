/*-------------------------------------------------------------------------
 *
 * transfer_outcome_test.c
 *	  outcome_describe(), the reply parser, and a probe to be run by hand.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/reply.h"
#include "transfer_test.h"

static void
described(SmtpStage stage, AttemptEnd end, int code, const char *text,
		  const char *expected)
{
	Attempt		a = {.stage = stage,.end = end,.code = code};
	char		buf[REPLY_TEXT_MAX + 128];

	if (code == 550)
	{
		a.enhanced[0] = 5;
		a.enhanced[1] = 1;
		a.enhanced[2] = 1;
	}
	snprintf(a.text, sizeof(a.text), "%s", text);
	outcome_describe(&a, buf, sizeof(buf));
	ok(strcmp(buf, expected) == 0, expected);
	if (strcmp(buf, expected) != 0)
		printf("# %s\n", buf);
}

static void
test_descriptions(void)
{
	described(STAGE_RCPT, END_REPLY, 550, "no such user",
			  "RCPT: 550 5.1.1 no such user");
	described(STAGE_RCPT, END_REPLY, 550, "<joe@x.test>: unknown",
			  "RCPT: 550 5.1.1 <[address]>: unknown");
	described(STAGE_RCPT, END_REPLY, 553, "\"a b\"@x.test is unknown",
			  "RCPT: 553 [address] is unknown");
	described(STAGE_DOT, END_TIMEOUT, 0, "within 600 s",
			  "no reply to the final dot within 600 s");
	described(STAGE_DATA, END_CLOSED, 0, "", "connection closed after DATA");
	described(STAGE_CONNECT, END_CLOSED, 0, "Could not resolve host: x",
			  "connect failed: Could not resolve host: x");
	described(STAGE_AUTH, END_LOCAL, 0, "login is not offered",
			  "AUTH: login is not offered");
	described(STAGE_MAIL, END_DISORDER, 0, "hello",
			  "not an SMTP reply to MAIL: hello");
}

static void
parsed(const char *bytes, ReplyStatus status, int code, const char *text)
{
	size_t		len = strlen(bytes);
	size_t		cut;
	bool		good = true;

	for (cut = 0; cut <= len; cut++)
	{
		Reply		r;
		size_t		used = 0;
		ReplyStatus s;

		reply_reset(&r);
		s = reply_feed(&r, bytes, cut, &used);
		if (s == REPLY_MORE)
			s = reply_feed(&r, bytes, len, &used);
		good = good && s == status && r.code == code &&
			strcmp(r.text, text) == 0;
	}
	ok(good, text[0] != '\0' ? text : "no text");
}

static void
test_parser(void)
{
	char		line[REPLY_LINE_MAX * 2];
	char		cleaned[8];
	Reply		r;
	size_t		used = 0;
	int			i;

	parsed("250 ok\r\n", REPLY_DONE, 250, "ok");
	parsed("250\r\n", REPLY_DONE, 250, "");
	parsed("250-2.1.0 one\r\n250-2.1.0 two\r\n250 2.1.0 three\r\n",
		   REPLY_DONE, 250, "one two three");
	parsed("550 5.7.1 na\303\257ve\377\001\302\205x\n", REPLY_DONE, 550,
		   "na\303\257ve? ?x");
	/* what would turn the words around it, and the mark of an end */
	parsed("550 a\342\200\256b\342\201\251c\330\234d\342\200\250e\n",
		   REPLY_DONE, 550, "a?b?c?d?e");
	parsed("550 \360\237\214\261 \327\251\342\200\213\357\267\220\n",
		   REPLY_DONE, 550,
		   "\360\237\214\261 \327\251\342\200\213?");
	parsed("250-a\r\n251 b\r\n", REPLY_BAD, 0, "251 b");
	parsed("hello\r\n", REPLY_BAD, 0, "hello");
	parsed("150 no\r\n", REPLY_BAD, 0, "150 no");
	parsed("250x\r\n", REPLY_BAD, 0, "250x");
	parsed("450 5.1.1 not mine\r\n", REPLY_DONE, 450, "5.1.1 not mine");
	ok(reply_clean(cleaned, 4, "ab\303\251", 4) == 2, "no character is cut");
	memset(line, 'x', sizeof(line));
	reply_reset(&r);
	ok(reply_feed(&r, line, sizeof(line), &used) == REPLY_BAD, "a long line");
	reply_reset(&r);
	for (i = 0, used = 0; i < REPLY_LINES_MAX; i++, used = 0)
		reply_feed(&r, "250-x\r\n", 7, &used);
	ok(reply_feed(&r, "250-x\r\n", 7, &used) == REPLY_BAD, "many lines");
}

void
test_outcomes(void)
{
	test_descriptions();
	test_parser();
}

/* ---- by hand: transfer_test probe URL [USER [PASSWORD [CA_FILE]]] ---- */

static void
probe_report(void *context, const char *step, bool good, const char *reply)
{
	(void) context;
	printf("%-8s %-5s %s\n", step, good ? "ok" : "FAILS", reply);
}

int
probe_main(const char *url, const char *username, const char *password,
		   const char *ca_file)
{
	RelayConfig config;
	Probe	   *p;

	driver_config(&config, url, 1);
	config.tls_required = getenv("NOTLS") == NULL;
	config.username = username != NULL && username[0] ? username : NULL;
	config.password = password;
	config.ca_file = ca_file;
	p = probe_create(&config, probe_report, NULL);
	while (p != NULL && !probe_step(p))
	{
		struct pollfd fds[16];
		int			count;
		uint32_t	generation;
		const TransferSocket *list = probe_sockets(p, &count, &generation);
		int64_t		deadline = probe_deadline(p);
		int			i;
		int			timeout = 1000;

		for (i = 0; i < count && i < 16; i++)
		{
			fds[i].fd = list[i].fd;
			fds[i].events = (short) ((list[i].read ? POLLIN : 0) |
									 (list[i].write ? POLLOUT : 0));
		}
		count = i;
		if (deadline >= 0)
			timeout = (int) ((deadline - transfer_now() + 999) / 1000);
		poll(fds, (nfds_t) count, timeout < 0 ? 0 : timeout);
		for (i = 0; i < count; i++)
			if (fds[i].revents != 0)
				probe_ready(p, fds[i].fd,
							(fds[i].revents & ~POLLOUT) != 0,
							(fds[i].revents & ~POLLIN) != 0);
	}
	probe_destroy(p);
	return 0;
}
