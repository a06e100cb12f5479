/*-------------------------------------------------------------------------
 *
 * transfer_outcome_test.c
 *	  outcome_judge() row by row, outcome_describe(), the reply parser, and
 *	  a probe to be run by hand.
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

typedef struct Row
{
	SmtpStage	stage;
	AttemptEnd	end;
	int			code;
	short		enhanced[3];
	bool		fresh;
	Scope		scope;
	Verdict		verdict;
	const char *flags;			/* p permanent, t throttled, d dead */
} Row;

static const Row rows[] = {
	{STAGE_CONNECT, END_CLOSED, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_TLS, END_CLOSED, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_GREETING, END_REPLY, 421, {4, 7, 0}, true,
		SCOPE_RELAY, VERDICT_AGAIN, "t"},
	{STAGE_GREETING, END_REPLY, 554, {0}, true,
		SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_EHLO, END_TIMEOUT, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_AUTH, END_REPLY, 535, {5, 7, 8}, true,
		SCOPE_RELAY, VERDICT_AGAIN, "p"},
	{STAGE_AUTH, END_REPLY, 454, {4, 7, 0}, true,
		SCOPE_RELAY, VERDICT_AGAIN, "t"},
	{STAGE_AUTH, END_LOCAL, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, "p"},
	{STAGE_AUTH, END_CLOSED, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_REPLY, 421, {4, 7, 0}, false,
		SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_REPLY, 451, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_REPLY, 421, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, "t"},
	{STAGE_MAIL, END_REPLY, 451, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_REPLY, 550, {5, 7, 1}, false,
		SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_REPLY, 550, {5, 7, 1}, true,
		SCOPE_LETTER, VERDICT_AGAIN, "p"},
	{STAGE_MAIL, END_REPLY, 552, {0}, false,
		SCOPE_MESSAGE, VERDICT_FAILED, ""},
	{STAGE_MAIL, END_REPLY, 554, {5, 3, 4}, false,
		SCOPE_MESSAGE, VERDICT_FAILED, ""},
	{STAGE_MAIL, END_LOCAL, 553, {5, 6, 7}, true,
		SCOPE_MESSAGE, VERDICT_FAILED, ""},
	{STAGE_MAIL, END_CLOSED, 0, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_MAIL, END_CLOSED, 0, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, ""},
	{STAGE_RCPT, END_REPLY, 450, {4, 2, 1}, false,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, ""},
	{STAGE_RCPT, END_REPLY, 454, {0}, false,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, "t"},
	{STAGE_RCPT, END_REPLY, 450, {4, 7, 0}, true,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, "t"},
	{STAGE_RCPT, END_REPLY, 421, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_RCPT, END_REPLY, 421, {0}, true, SCOPE_RELAY, VERDICT_AGAIN, "t"},
	{STAGE_RCPT, END_REPLY, 550, {5, 1, 1}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, "d"},
	{STAGE_RCPT, END_REPLY, 550, {5, 1, 10}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, "d"},
	{STAGE_RCPT, END_REPLY, 550, {5, 2, 1}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, "d"},
	{STAGE_RCPT, END_REPLY, 552, {5, 2, 2}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, ""},
	{STAGE_RCPT, END_REPLY, 550, {0}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, ""},
	{STAGE_RCPT, END_REPLY, 550, {5, 1, 8}, true,
		SCOPE_LETTER, VERDICT_AGAIN, "p"},
	{STAGE_RCPT, END_REPLY, 450, {5, 1, 1}, false,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, ""},
	{STAGE_RCPT, END_TIMEOUT, 0, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_RCPT, END_TIMEOUT, 0, {0}, true,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, ""},
	{STAGE_DATA, END_REPLY, 451, {0}, false,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, ""},
	{STAGE_DATA, END_REPLY, 554, {5, 7, 1}, false,
		SCOPE_CONTENT, VERDICT_FAILED, ""},
	{STAGE_BODY, END_CLOSED, 0, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_BODY, END_REPLY, 250, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_DOT, END_REPLY, 250, {2, 0, 0}, false,
		SCOPE_NONE, VERDICT_DELIVERED, ""},
	{STAGE_DOT, END_REPLY, 299, {0}, true, SCOPE_NONE, VERDICT_DELIVERED, ""},
	{STAGE_DOT, END_REPLY, 450, {0}, false,
		SCOPE_RECIPIENT, VERDICT_DEFERRED, ""},
	{STAGE_DOT, END_REPLY, 421, {0}, false, SCOPE_SESSION, VERDICT_AGAIN, ""},
	{STAGE_DOT, END_REPLY, 550, {5, 7, 1}, false,
		SCOPE_CONTENT, VERDICT_FAILED, ""},
	{STAGE_DOT, END_REPLY, 550, {5, 1, 1}, false,
		SCOPE_RECIPIENT, VERDICT_FAILED, "d"},
	{STAGE_DOT, END_REPLY, 354, {0}, false, SCOPE_UNKNOWN, VERDICT_DOUBT, ""},
	{STAGE_DOT, END_CLOSED, 0, {0}, true, SCOPE_UNKNOWN, VERDICT_DOUBT, ""},
	{STAGE_DOT, END_TIMEOUT, 0, {0}, false, SCOPE_UNKNOWN, VERDICT_DOUBT, ""},
	{STAGE_DOT, END_DISORDER, 0, {0}, false, SCOPE_UNKNOWN, VERDICT_DOUBT, ""},
	{STAGE_NONE, END_RETURNED, 0, {0}, false, SCOPE_NONE, VERDICT_AGAIN, ""},
	{STAGE_DOT, END_RETURNED, 0, {0}, false, SCOPE_NONE, VERDICT_AGAIN, ""},
};

static void
test_rows(void)
{
	size_t		i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		const Row  *r = &rows[i];
		Attempt		a = {.stage = r->stage, .end = r->end, .code = r->code,
			.fresh = r->fresh};
		Judgement	j;
		char		title[100];

		memcpy(a.enhanced, r->enhanced, sizeof(a.enhanced));
		j = outcome_judge(&a);
		snprintf(title, sizeof(title), "%s, end %d: %d %d.%d.%d%s",
				 outcome_stage_name(r->stage), r->end, r->code,
				 r->enhanced[0], r->enhanced[1], r->enhanced[2],
				 r->fresh ? ", fresh" : "");
		ok(j.scope == r->scope && j.verdict == r->verdict &&
		   j.costs_attempt == (r->verdict != VERDICT_AGAIN) &&
		   j.permanent == (strchr(r->flags, 'p') != NULL) &&
		   j.throttled == (strchr(r->flags, 't') != NULL) &&
		   j.dead_address == (strchr(r->flags, 'd') != NULL), title);
	}
}

static void
described(SmtpStage stage, AttemptEnd end, int code, const char *text,
		  const char *expected)
{
	Attempt		a = {.stage = stage, .end = end, .code = code};
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
		   "na\303\257ve? ??x");
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
	test_rows();
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
