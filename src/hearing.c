/*-------------------------------------------------------------------------
 *
 * hearing.c
 *	  Following the relay's replies while libcurl opens a session.
 *
 * libcurl tells that a session failed, but not at which command nor with
 * which words, and it goes on without a login if AUTH is not offered.  The
 * sequence of replies is fixed (RFC 5321 3.1, RFC 3207, RFC 4954), so the
 * stage can be followed from the replies alone: greeting, EHLO, the reply to
 * STARTTLS, EHLO again, AUTH.
 *
 * Invariant: what was heard before STARTTLS's 220 counts for nothing (RFC
 * 3207 4.2): an attacker could have said it.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hearing.h"

void
hearing_init(Hearing *h, const RelayConfig *config, ConnectWords *words)
{
	memset(h, 0, sizeof(*h));
	h->stage = STAGE_CONNECT;
	h->implicit_tls = strncasecmp(config->url, "smtps:", 6) == 0;
	h->want_tls = config->tls_required && !h->implicit_tls;
	h->want_auth = config->username != NULL;
	h->has_token = h->want_auth && config->token != NULL;
	h->words = words;
	reply_reset(&h->reply);
}

/* Is the line's keyword this one?  *value points behind it. */
static bool
hearing_keyword(const char *line, size_t len, const char *keyword,
				const char **value)
{
	size_t		n = strlen(keyword);

	if (len < n || strncasecmp(line, keyword, n) != 0)
		return false;
	if (len > n && line[n] != ' ' && line[n] != '=')
		return false;
	*value = line + n;
	return true;
}

/* RFC 1870 3: SIZE [limit]; 0 means none */
static uint64_t
hearing_size(const char *s, const char *end)
{
	uint64_t	limit = 0;

	while (s < end && *s == ' ')
		s++;
	for (; s < end && *s >= '0' && *s <= '9'; s++)
	{
		if (limit > UINT64_MAX / 10 - 1)
			return 0;
		limit = limit * 10 + (uint64_t) (*s - '0');
	}
	return limit;
}

/* One keyword line of the EHLO reply (RFC 5321 4.1.1.1) */
static void
hearing_capability(Hearing *h, const char *line, size_t len)
{
	const char *value;

	if (hearing_keyword(line, len, "PIPELINING", &value))
		h->caps.pipelining = true;
	else if (hearing_keyword(line, len, "SMTPUTF8", &value))
		h->caps.smtputf8 = true;
	else if (hearing_keyword(line, len, "8BITMIME", &value))
		h->caps.eightbitmime = true;
	else if (hearing_keyword(line, len, "ENHANCEDSTATUSCODES", &value))
		h->caps.enhanced = true;
	else if (hearing_keyword(line, len, "STARTTLS", &value))
		h->caps.starttls = true;
	else if (hearing_keyword(line, len, "AUTH", &value))
		h->caps.auth = true;
	else if (hearing_keyword(line, len, "SIZE", &value))
	{
		h->caps.size = true;
		h->caps.size_limit = hearing_size(value, line + len);
	}
	if (h->words != NULL)
	{
		size_t		n = strlen(h->words->ehlo);

		if (n > 0 && n + 2 < sizeof(h->words->ehlo))
			h->words->ehlo[n++] = ' ';
		reply_clean(h->words->ehlo + n, sizeof(h->words->ehlo) - n, line,
					len);
	}
}

static void
hearing_forget(Hearing *h)
{
	memset(&h->caps, 0, sizeof(h->caps));
	if (h->words != NULL)
		h->words->ehlo[0] = '\0';
}

/* EHLO was accepted; what does libcurl ask for next? */
static SmtpStage
hearing_after_ehlo(const Hearing *h)
{
	if (h->want_tls && !h->asked_tls)
		return STAGE_TLS;
	return h->want_auth ? STAGE_AUTH : STAGE_EHLO;
}

/* A whole reply was heard. */
static void
hearing_reply(Hearing *h)
{
	bool		positive = h->reply.code / 100 == 2;

	switch (h->stage)
	{
		case STAGE_GREETING:
			if (h->words != NULL)
				reply_format(&h->reply, h->words->greeting, REPLY_TEXT_MAX);
			if (positive)
				h->stage = STAGE_EHLO;
			break;
		case STAGE_EHLO:
			/* refused: libcurl may try HELO, whose reply comes here too */
			if (positive)
				h->stage = hearing_after_ehlo(h);
			else
				hearing_forget(h);
			break;
		case STAGE_TLS:
			/* of smtps:// no line is heard before TLS is up, and none counts */
			if (h->reply.code != 220 || h->implicit_tls)
				break;
			h->asked_tls = true;
			hearing_forget(h);
			break;
		case STAGE_AUTH:
			if (h->words != NULL)
				reply_format(&h->reply, h->words->auth, REPLY_TEXT_MAX);
			h->authenticated = h->reply.code == 235;
			break;
		default:
			break;
	}
}

/* The next line begins a reply: to what? */
static void
hearing_begin(Hearing *h)
{
	reply_reset(&h->reply);
	h->answered = false;
	if (h->stage == STAGE_CONNECT)
		h->stage = STAGE_GREETING;
	else if (h->stage == STAGE_TLS && h->asked_tls)
	{
		h->secured = true;
		h->stage = STAGE_EHLO;
	}
}

void
hearing_line(Hearing *h, const char *line, size_t len)
{
	size_t		used = 0;
	ReplyStatus status;

	if (h->answered || h->reply.lines == 0)
		hearing_begin(h);
	status = reply_feed(&h->reply, line, len, &used);
	if (status == REPLY_BAD)
	{
		reply_reset(&h->reply);
		return;
	}

	/* the first line of EHLO's reply is the relay's name */
	if (h->stage == STAGE_EHLO && h->reply.lines > 1 && len > 4)
	{
		while (len > 4 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			len--;
		hearing_capability(h, line + 4, len - 4);
	}
	if (status == REPLY_DONE)
	{
		h->answered = true;
		hearing_reply(h);
	}
}

/* libcurl says TCP, and with smtps:// TLS, is up. */
void
hearing_connected(Hearing *h, bool tcp, bool tls)
{
	if (h->implicit_tls && tls)
		h->secured = true;
	if (h->stage != STAGE_CONNECT || !tcp)
		return;
	h->stage = h->implicit_tls && !tls ? STAGE_TLS : STAGE_GREETING;
}

bool
hearing_is_up(const Hearing *h, bool connected)
{
	if (!connected || (h->want_auth && !h->authenticated))
		return false;
	return h->secured || !(h->want_tls || h->implicit_tls);
}

/* The base64 (RFC 4648 4) of text, as clean text */
static void
hearing_decode(const char *text, char *buf, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char		bytes[REPLY_TEXT_MAX];
	size_t		len = 0;
	uint32_t	bits = 0;
	int			nbits = 0;
	const char *digit;

	for (; *text && (digit = strchr(digits, *text)) != NULL; text++)
	{
		bits = (bits << 6 | (uint32_t) (digit - digits)) & 0xfff;
		nbits += 6;
		if (nbits < 8)
			continue;
		nbits -= 8;
		bytes[len++] = (char) (bits >> nbits);
	}
	reply_clean(buf, size, bytes, len);
}

/*
 * A token was refused, with the reason as another challenge; libcurl hangs up
 * then.  A challenge that says nothing is no refusal.
 */
static bool
hearing_is_challenge(const Hearing *h, char *words, size_t size)
{
	if (!h->has_token || !h->answered || h->reply.code != 334)
		return false;
	hearing_decode(h->reply.text, words, size);
	return words[0] != '\0';
}

void
hearing_failure(const Hearing *h, HearingEnd end, const char *text,
				Attempt *failure)
{
	char		words[REPLY_TEXT_MAX];

	memset(failure, 0, sizeof(*failure));
	failure->fresh = true;
	failure->stage = h->stage;
	failure->end = end == HEARING_TIMEOUT ? END_TIMEOUT : END_CLOSED;

	/* libcurl's words for a closed connection, with a chance errno in them */
	if (strncmp(text, "response reading failed", 23) == 0)
		text = "";

	snprintf(failure->text, sizeof(failure->text), "%s", text);

	if (end == HEARING_TLS || end == HEARING_NO_TLS)
		failure->stage = STAGE_TLS;
	else if (end == HEARING_NO_AUTH)
		failure->stage = STAGE_AUTH;
	if (end == HEARING_NO_TLS || end == HEARING_NO_AUTH)
		failure->end = END_LOCAL;
	else if (end == HEARING_DISORDER)
		failure->end = END_DISORDER;

	/* libcurl calls it a refusal if the 235 comes before it is due */
	if (end == HEARING_NO_AUTH && h->authenticated)
		failure->end = END_DISORDER;

	if (end == HEARING_UP)
	{
		failure->end = END_LOCAL;
		snprintf(failure->text, sizeof(failure->text), "%s",
				 h->stage != STAGE_AUTH ? "no usable session" :
				 h->caps.auth ? "no login mechanism in common" :
				 "login is not offered");
	}

	/* libcurl's "Login denied", before it has tried */
	if (end == HEARING_NO_AUTH && h->stage == STAGE_AUTH && h->answered &&
		h->reply.code / 100 == 2 && !h->authenticated)
		snprintf(failure->text, sizeof(failure->text),
				 "no login mechanism in common");

	if (end == HEARING_NO_AUTH && hearing_is_challenge(h, words, sizeof(words)))
	{
		failure->end = END_REPLY;
		failure->code = h->reply.code;
		snprintf(failure->text, sizeof(failure->text), "%s", words);
	}

	/* the relay's own refusal says it best */
	if (h->answered && h->reply.code >= 400 && failure->stage == h->stage)
	{
		failure->end = END_REPLY;
		failure->code = h->reply.code;
		memcpy(failure->enhanced, h->reply.enhanced,
			   sizeof(failure->enhanced));
		snprintf(failure->text, sizeof(failure->text), "%s", h->reply.text);
	}
}
