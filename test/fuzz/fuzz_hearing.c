/*-------------------------------------------------------------------------
 *
 * fuzz_hearing.c
 *	  Fuzz target: a relay's lines while a session is opened.
 *
 * The first byte chooses the relay's configuration; then each line is what
 * libcurl's header callback is given, or, if it begins with a byte that no line
 * of a relay's begins with here, what libcurl tells of the connection.  Whatever
 * is said: no session is up without the TLS and the login that were asked for,
 * and nothing counts that was said before STARTTLS's 220.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "../../src/hearing.h"

#include "fuzz.h"

#define CONFIG_IMPLICIT_TLS	1	/* smtps:// */
#define CONFIG_TLS			2	/* tls 'require' */
#define CONFIG_LOGIN		4
#define CONFIG_QUIET		8	/* nobody asks for the words */
#define CONFIG_TOKEN		16	/* the login is a token's */

#define EVENT_TCP	1			/* the first byte of a line that is not one */
#define EVENT_TLS	2

static bool
no_capabilities(const Capabilities *caps)
{
	return !caps->pipelining && !caps->smtputf8 && !caps->eightbitmime &&
		!caps->enhanced && !caps->auth && !caps->starttls && !caps->size &&
		caps->size_limit == 0;
}

/* A string in so many bytes, of nothing that a terminal would act on */
static void
check_text(const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *) text;

	CHECK(strnlen(text, size) < size);
	for (; *s != '\0'; s++)
		CHECK(*s >= ' ' && *s != 0x7F);
}

static void
check_words(const ConnectWords *words)
{
	check_text(words->greeting, sizeof(words->greeting));
	check_text(words->ehlo, sizeof(words->ehlo));
	check_text(words->auth, sizeof(words->auth));
}

/* What is so at any moment */
static void
check_state(const Hearing *h, int config)
{
	bool		implicit = (config & CONFIG_IMPLICIT_TLS) != 0;
	bool		starttls = (config & CONFIG_TLS) != 0 && !implicit;

	CHECK(h->stage <= STAGE_QUIT);
	CHECK(!hearing_is_up(h, false));
	if (hearing_is_up(h, true))
	{
		CHECK(h->secured || !(implicit || starttls));
		CHECK(h->authenticated || !(config & CONFIG_LOGIN));
	}
	CHECK(!h->secured || implicit || h->asked_tls);
	CHECK(!h->asked_tls || starttls);
	/* no login is asked for, nor one believed, before TLS is up */
	if (starttls && (h->stage == STAGE_AUTH || h->authenticated))
		CHECK(h->secured);
	CHECK(h->caps.size || h->caps.size_limit == 0);
}

static void
check_failure(const Hearing *h)
{
	int			end;

	for (end = HEARING_UP; end <= HEARING_DISORDER; end++)
	{
		Attempt		failure;
		char		line[1024];

		hearing_failure(h, (HearingEnd) end, "libcurl's words", &failure);
		CHECK(failure.stage <= STAGE_QUIT);
		CHECK(failure.fresh);
		check_text(failure.text, sizeof(failure.text));
		CHECK(failure.end != END_REPLY ||
			  (failure.code >= 300 && failure.code <= 599));
		CHECK(outcome_judge(&failure).verdict != VERDICT_DELIVERED);
		outcome_describe(&failure, line, sizeof(line));
		check_text(line, sizeof(line));
	}
}

/* One line, CR LF and all; lines of a relay are not longer than libcurl's */
static void
hear(Hearing *h, const char *line, size_t len)
{
	bool		asked = h->asked_tls;
	char	   *copy;

	if (line[0] == EVENT_TCP || line[0] == EVENT_TLS)
	{
		hearing_connected(h, true, line[0] == EVENT_TLS);
		return;
	}

	/* exactly its bytes, so that one more is found */
	copy = malloc(len);
	CHECK(copy != NULL);
	memcpy(copy, line, len);
	hearing_line(h, copy, len);
	free(copy);
	if (!asked && h->asked_tls)
	{
		CHECK(no_capabilities(&h->caps));
		CHECK(!h->authenticated);
		CHECK(h->words == NULL || h->words->ehlo[0] == '\0');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static ConnectWords words;
	const char *s = (const char *) bytes + 1;
	const char *end = (const char *) bytes + size;
	RelayConfig config = {0};
	Hearing		h;
	int			flags;

	if (size < 2)
		return 0;
	flags = bytes[0];
	config.url = flags & CONFIG_IMPLICIT_TLS ? "smtps://relay.example.com" :
		"smtp://relay.example.com";
	config.tls_required = (flags & (CONFIG_TLS | CONFIG_IMPLICIT_TLS)) != 0;
	config.username = flags & CONFIG_LOGIN ? "me" : NULL;
	config.token = (flags & CONFIG_LOGIN) && (flags & CONFIG_TOKEN) ? "t" : NULL;
	memset(&words, 0, sizeof(words));
	hearing_init(&h, &config, flags & CONFIG_QUIET ? NULL : &words);
	while (s < end)
	{
		const char *newline = memchr(s, '\n', (size_t) (end - s));
		const char *next = newline != NULL ? newline + 1 : end;

		hear(&h, s, (size_t) (next - s));
		check_state(&h, flags);
		s = next;
	}
	check_words(&words);
	check_failure(&h);
	return 0;
}
