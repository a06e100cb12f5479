/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  What an attempt's end means for the recipient, the letter and the
 *	  relay.
 *
 * Whoever reads only the reply code mistakes a tired session for a dead
 * mailbox.  So the judgement starts from the stage: up to AUTH it is the
 * relay's doing, at MAIL the sender's or the session's, at RCPT the
 * recipient's, after DATA the message's.  The basic code (RFC 5321 4.2.1)
 * decides whether to try again, the enhanced code (RFC 3463) whose fault it
 * was.
 *
 * Invariants: only an attempt whose final dot was sent can be in doubt; only
 * a 2xx to the final dot is a delivery; costs_attempt is set exactly for the
 * verdicts that are the recipient's own.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "outcome.h"

/* Does the enhanced code say class.subject.detail? */
static bool
outcome_is(const Attempt *a, int class, int subject, int detail)
{
	return a->enhanced[0] == class && a->enhanced[1] == subject &&
		a->enhanced[2] == detail;
}

static Judgement
judge(Scope scope, Verdict verdict)
{
	Judgement	j = {.scope = scope,.verdict = verdict};

	j.costs_attempt = (verdict != VERDICT_AGAIN);
	return j;
}

/* RFC 5321 3.8 (421), RFC 4954 6 (454), RFC 3463 X.7.0 */
static bool
outcome_is_throttled(const Attempt *a)
{
	return a->code == 421 || a->code == 454 ||
		(a->code / 100 == 4 && outcome_is(a, 4, 7, 0));
}

static Judgement
judge_relay(const Attempt *a)
{
	Judgement	j = judge(SCOPE_RELAY, VERDICT_AGAIN);

	j.throttled = outcome_is_throttled(a);
	return j;
}

/* A used session that fails is used up; a fresh one speaks for the relay. */
static Judgement
judge_session(const Attempt *a)
{
	if (a->fresh)
		return judge_relay(a);
	return judge(SCOPE_SESSION, VERDICT_AGAIN);
}

/* Everything up to and with AUTH */
static Judgement
judge_opening(const Attempt *a)
{
	Judgement	j = judge_relay(a);

	j.permanent = a->stage == STAGE_AUTH &&
		(a->end == END_LOCAL || a->code / 100 == 5);
	return j;
}

/* Closed, timed out, or an answer that is no verdict on this command */
static Judgement
judge_silence(const Attempt *a)
{
	switch (a->stage)
	{
		case STAGE_DOT:
			return judge(SCOPE_UNKNOWN, VERDICT_DOUBT);
		case STAGE_RCPT:
		case STAGE_DATA:
		case STAGE_BODY:
			/* a fresh session that dies here may well die of this mail */
			if (a->fresh)
				return judge(SCOPE_RECIPIENT, VERDICT_DEFERRED);
			return judge(SCOPE_SESSION, VERDICT_AGAIN);
		case STAGE_MAIL:
			return judge_session(a);
		default:
			return judge(SCOPE_SESSION, VERDICT_AGAIN);
	}
}

/* The envelope sender was refused: every mail of the letter has it. */
static Judgement
judge_sender(const Attempt *a)
{
	Judgement	j;

	if (!a->fresh)
		return judge(SCOPE_SESSION, VERDICT_AGAIN);
	j = judge(SCOPE_LETTER, VERDICT_AGAIN);
	j.permanent = true;
	return j;
}

/* RFC 1870 6.1 (552, 5.3.4), RFC 6531 3.5 (5.6.7): too big, not ASCII */
static Judgement
judge_mail(const Attempt *a)
{
	if (a->code / 100 == 4)
		return judge_session(a);
	if (a->code == 552 || outcome_is(a, 5, 3, 4) || outcome_is(a, 5, 6, 7))
		return judge(SCOPE_MESSAGE, VERDICT_FAILED);
	return judge_sender(a);
}

/*
 * RFC 3463 3.2: 5.1.x means the recipient's address, but 5.1.7 and 5.1.8 the
 * sender's, which most relays check no earlier than at RCPT.
 */
static bool
outcome_is_sender(const Attempt *a)
{
	return outcome_is(a, 5, 1, 7) || outcome_is(a, 5, 1, 8);
}

static bool
outcome_is_dead(const Attempt *a)
{
	return (a->enhanced[0] == 5 && a->enhanced[1] == 1) ||
		outcome_is(a, 5, 2, 1);
}

/* RCPT, DATA, early replies and the final dot */
static Judgement
judge_recipient(const Attempt *a)
{
	Judgement	j;

	if (a->code == 421)
		return judge_session(a);
	if (a->code / 100 == 4)
	{
		j = judge(SCOPE_RECIPIENT, VERDICT_DEFERRED);
		j.throttled = outcome_is_throttled(a);
		return j;
	}
	if (a->stage == STAGE_RCPT && outcome_is_sender(a))
		return judge_sender(a);
	j = judge(SCOPE_RECIPIENT, VERDICT_FAILED);
	j.dead_address = outcome_is_dead(a) && !outcome_is_sender(a);
	if (a->stage != STAGE_RCPT && !j.dead_address && a->enhanced[1] != 2)
		j.scope = SCOPE_CONTENT;
	return j;
}

Judgement
outcome_judge(const Attempt *a)
{
	if (a->end == END_RETURNED || a->stage == STAGE_NONE)
		return judge(SCOPE_NONE, VERDICT_AGAIN);
	if (a->stage <= STAGE_AUTH)
		return judge_opening(a);
	if (a->stage >= STAGE_RSET)
		return judge(SCOPE_SESSION, VERDICT_AGAIN);
	if (a->end != END_REPLY && a->end != END_LOCAL)
		return judge_silence(a);
	if (a->stage == STAGE_DOT && a->code / 100 == 2)
		return judge(SCOPE_NONE, VERDICT_DELIVERED);
	if (a->code / 100 != 4 && a->code / 100 != 5)
		return judge_silence(a);
	if (a->stage == STAGE_MAIL)
		return judge_mail(a);
	return judge_recipient(a);
}

const char *
outcome_stage_name(SmtpStage stage)
{
	static const char *const names[] = {
		"nothing", "connect", "TLS", "greeting", "EHLO", "AUTH", "MAIL",
		"RCPT", "DATA", "message text", "final dot", "RSET", "QUIT"
	};

	if ((size_t) stage >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[stage];
}

const char *
outcome_enhanced(const Attempt *a, char *buf)
{
	if (a->enhanced[0] == 0)
		return NULL;
	snprintf(buf, 16, "%d.%d.%d", a->enhanced[0] % 10,
			 a->enhanced[1] % 1000, a->enhanced[2] % 1000);
	return buf;
}

/*
 * Copy text, but every address in it as "[address]": relays like to quote
 * them back, and logs name no addresses.
 */
static void
outcome_mask(char *dst, size_t size, const char *src)
{
	static const char ends[] = " \t<>()[],;:\"'`";
	static const char mask[] = "[address]";
	size_t		out = 0;
	size_t		i = 0;

	while (src[i] != '\0' && out + sizeof(mask) < size)
	{
		size_t		word = strcspn(src + i, ends);

		/* a quoted local part (RFC 5321 4.1.2) belongs to the word after it */
		if (src[i] == '"')
		{
			size_t		quoted = strcspn(src + i + 1, "\"") + 2;

			if (src[i + quoted - 1] == '"' && src[i + quoted] == '@')
				word = quoted + strcspn(src + i + quoted, ends);
		}
		if (word > 0 && memchr(src + i, '@', word) != NULL)
		{
			memcpy(dst + out, mask, sizeof(mask) - 1);
			out += sizeof(mask) - 1;
			i += word;
			continue;
		}
		if (word == 0)
			word = 1;
		if (word > size - out - 1)
			break;
		memcpy(dst + out, src + i, word);
		out += word;
		i += word;
	}
	dst[out] = '\0';
}

/* What did not come in time? */
static const char *
outcome_missing(SmtpStage stage)
{
	switch (stage)
	{
		case STAGE_CONNECT:
			return "no connection";
		case STAGE_TLS:
			return "no TLS session";
		case STAGE_GREETING:
			return "no greeting";
		case STAGE_BODY:
			return "message text not taken";
		case STAGE_DOT:
			return "no reply to the final dot";
		default:
			return NULL;
	}
}

static void
outcome_describe_timeout(const Attempt *a, const char *text, char *buf,
						 size_t size)
{
	const char *missing = outcome_missing(a->stage);

	if (text[0] == '\0')
		text = "in time";

	if (missing != NULL)
		snprintf(buf, size, "%s %s", missing, text);
	else
		snprintf(buf, size, "no reply to %s %s",
				 outcome_stage_name(a->stage), text);
}

void
outcome_describe(const Attempt *a, char *buf, size_t size)
{
	const char *stage = outcome_stage_name(a->stage);
	const char *article = a->stage == STAGE_DOT || a->stage == STAGE_BODY ||
		a->stage == STAGE_GREETING ? "the " : "";
	char		enhanced[16];
	char text[	REPLY_TEXT_MAX + 32];
	bool		has_enhanced = outcome_enhanced(a, enhanced) != NULL;
	const char *gap;

	outcome_mask(text, sizeof(text), a->text);
	gap = text[ 0] != '\0' ? ": " : "";

	switch (a->end)
	{
		case END_REPLY:
			snprintf(buf, size, "%s: %03d%s%s%s%s", stage, a->code,
					 has_enhanced ? " " : "", has_enhanced ? enhanced : "",
					 text[0] != '\0' ? " " : "", text);
			break;
		case END_CLOSED:
			if (a->stage <= STAGE_TLS)
				snprintf(buf, size, "%s failed%s%s", stage, gap, text);
			else if (a->stage == STAGE_GREETING)
				snprintf(buf, size, "connection closed before the greeting"
						 "%s%s", gap, text);
			else
				snprintf(buf, size, "connection closed after %s%s%s%s",
						 article, stage, gap, text);
			break;
		case END_TIMEOUT:
			outcome_describe_timeout(a, text, buf, size);
			break;
		case END_DISORDER:
			snprintf(buf, size, "not an SMTP reply to %s%s%s%s", article,
					 stage, gap, text);
			break;
		case END_LOCAL:
			snprintf(buf, size, "%s: %s", stage, text);
			break;
		case END_RETURNED:
			snprintf(buf, size, "not sent%s%s", gap, text);
			break;
		default:
			snprintf(buf, size, "%s: unknown end", stage);
			break;
	}
}
