/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  mailman_check(): is this relay usable, and if not, which step fails?
 *
 * One session through the same code as the mails', so that what it tells
 * holds for them; it ends with QUIT or with the first step that fails.  The
 * steps up to AUTH are libcurl's and become known together, when it is done;
 * they are reported in their order.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp.h"

struct Probe
{
	Connector  *connector;
	SocketSet	sockets;
	Connection *conn;
	const RelayConfig *config;
	ConnectWords words;
	Smtp		smtp;
	Attempt		failure;		/* if it could not begin */
	bool		up;
	bool		done;
	int64_t		deadline;		/* of connecting */
	ProbeReport report;
	void	   *context;
};

static void
probe_fail(Probe *p, const char *step, const Attempt *failure)
{
	char		text[REPLY_TEXT_MAX + 128];

	outcome_describe(failure, text, sizeof(text));
	p->report(p->context, step, false, text);
	p->done = true;
}

/* Report the steps that came before the one that failed, or all. */
static void
probe_report_opening(Probe *p, const Attempt *failure)
{
	SmtpStage	failed = failure != NULL ? failure->stage : STAGE_MAIL;
	bool		tls = p->config->tls_required ||
		strncmp(p->config->url, "smtps:", 6) == 0;

	if (failed == STAGE_CONNECT || failed == STAGE_GREETING)
	{
		probe_fail(p, "connect", failure);
		return;
	}
	p->report(p->context, "connect", true,
			  p->words.greeting[0] != '\0' ? p->words.greeting : "ok");
	if (failed == STAGE_EHLO && p->words.tls[0] == '\0' && tls)
		tls = false;			/* EHLO failed before STARTTLS */
	if (failed == STAGE_TLS)
		probe_fail(p, "tls", failure);
	else if (tls)
		p->report(p->context, "tls", true,
				  p->words.tls[0] != '\0' ? p->words.tls : "ok");
	if (failed == STAGE_TLS)
		return;
	if (failed == STAGE_EHLO)
	{
		probe_fail(p, "ehlo", failure);
		return;
	}
	p->report(p->context, "ehlo", true, p->words.ehlo);
	if (failed == STAGE_AUTH)
		probe_fail(p, "auth", failure);
	else if (p->config->username != NULL)
		p->report(p->context, "auth", true, p->words.auth);
}

static void
probe_failed(Probe *p, const Attempt *failure)
{
	probe_report_opening(p, failure);
	connect_close(p->conn);
	p->conn = NULL;
}

/* A probe carries no mail: its session asks for none. */
static Mail *
probe_take(void *pool, Smtp *s, bool riding)
{
	(void) pool;
	(void) s;
	(void) riding;
	return NULL;
}

static const SmtpPool probe_calls = {.take = probe_take};

static void
probe_came_up(Probe *p)
{
	p->up = true;
	probe_report_opening(p, NULL);
	smtp_start(&p->smtp, p->conn, &probe_calls, p, p->config);
	smtp_quit(&p->smtp, transfer_now());
}

static void
probe_collect(Probe *p)
{
	Attempt		failure;
	bool		up;

	while (!p->done && connect_finished(p->connector, &up, &failure) != NULL)
	{
		if (up)
			probe_came_up(p);
		else
			probe_failed(p, &failure);
	}
}

/* QUIT was answered, or was not. */
static void
probe_finish(Probe *p)
{
	const Reply *reply = &p->smtp.reply;
	char		text[REPLY_TEXT_MAX + 32];
	bool		ok = reply->code / 100 == 2;

	if (reply->code != 0)
		reply_format(reply, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "no reply to QUIT");
	p->report(p->context, "quit", ok, text);
	p->done = true;
	connect_close(p->conn);
	p->conn = NULL;
}

Probe *
probe_create(const RelayConfig *config, ProbeReport report, void *context)
{
	Probe	   *p = calloc(1, sizeof(Probe));

	if (p == NULL)
		return NULL;
	p->report = report;
	p->context = context;
	p->connector = connector_create(config, &p->sockets);
	if (p->connector == NULL)
	{
		free(p);
		return NULL;
	}
	p->config = connector_config(p->connector);
	p->conn = connect_open(p->connector, p, &p->words, &p->failure);
	p->deadline = transfer_now() +
		(int64_t) p->config->connect_timeout_ms * 1000;
	return p;
}

const TransferSocket *
probe_sockets(Probe *p, int *count, uint32_t *generation)
{
	*count = p->sockets.count;
	*generation = p->sockets.generation;
	return p->sockets.list;
}

void
probe_ready(Probe *p, int fd, bool readable, bool writable)
{
	void	   *owner;

	if (p->done || !sockets_find(&p->sockets, fd, &owner))
		return;
	if (owner != NULL)
		smtp_ready(&p->smtp, transfer_now());
	else
		connector_ready(p->connector, fd, readable, writable);
}

int64_t
probe_deadline(Probe *p)
{
	int64_t		deadline = p->up ? p->smtp.deadline : p->deadline;
	int64_t		timer = connector_deadline(p->connector);

	if (p->conn == NULL || (p->up && p->smtp.state == SMTP_CLOSED))
		return 0;
	if (timer >= 0 && (deadline < 0 || timer < deadline))
		return timer;
	return deadline;
}

bool
probe_step(Probe *p)
{
	int64_t		now = transfer_now();
	Attempt		failure;

	if (p->conn == NULL && !p->done)
		probe_fail(p, p->failure.stage == STAGE_AUTH ? "auth" : "connect",
				   &p->failure);
	connector_step(p->connector, now);
	probe_collect(p);
	if (p->done)
		return true;
	if (!p->up && now >= p->deadline)
	{
		connect_expired(p->conn, &failure);
		probe_failed(p, &failure);
	}
	else if (p->up)
	{
		if (p->smtp.state != SMTP_CLOSED && p->smtp.deadline >= 0 &&
			now >= p->smtp.deadline)
			smtp_expire(&p->smtp, now);
		if (p->smtp.state == SMTP_CLOSED)
			probe_finish(p);
		else
			sockets_watch(&p->sockets, connect_socket(p->conn), true,
						  p->smtp.blocked, p);
	}
	return p->done;
}

void
probe_destroy(Probe *p)
{
	if (p->conn != NULL)
		connect_close(p->conn);
	smtp_free(&p->smtp);
	connector_destroy(p->connector);
	sockets_free(&p->sockets);
	free(p);
}
