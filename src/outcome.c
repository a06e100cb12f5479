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
 * was, and one that contradicts the basic code nothing.
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

/*
 * The enhanced code's subject; -1 if there is none, or if its class
 * contradicts the basic code (RFC 2034 4): then it says nothing.
 */
static int
outcome_subject(const Attempt *a)
{
	return a->enhanced[0] == a->code / 100 ? a->enhanced[1] : -1;
}

/* Does the enhanced code say x.subject.detail, of the basic code's class? */
static bool
outcome_is(const Attempt *a, int subject, int detail)
{
	return outcome_subject(a) == subject && a->enhanced[2] == detail;
}

static Judgement
judge(Scope scope, Verdict verdict)
{
	Judgement	j = {.scope = scope,.verdict = verdict};

	j.costs_attempt = (verdict != VERDICT_AGAIN);
	return j;
}

/*
 * RFC 5321 3.8 (421), RFC 4954 6 (454), RFC 3463 X.7.0, and X.7.28 of IANA's
 * list ("mail flood detected"), which the largest receivers use for it.  But
 * 454 to STARTTLS tells of the relay's TLS (RFC 3207 4), and 421 to a later
 * MAIL that the session is used up: if it means more, a fresh one hears it.
 */
static bool
outcome_is_throttled(const Attempt *a)
{
	if (a->code == 421)
		return a->stage != STAGE_MAIL || a->fresh;
	if (a->code == 454)
		return a->stage != STAGE_TLS;
	return a->code / 100 == 4 &&
		(outcome_is(a, 7, 0) || outcome_is(a, 7, 28));
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
	Judgement	j = judge_relay(a);

	if (!a->fresh)
		j.scope = SCOPE_SESSION;
	return j;
}

/*
 * Everything up to and with AUTH.  A greeting or EHLO with 5xx (RFC 5321 3.1,
 * RFC 7504) is no matter for a person yet: relays say 554 under load, too.  A
 * login refused is; 503 to AUTH is not a refusal, and 504 is one of the
 * mechanism.  To XOAUTH2 a refusal is a challenge, 334, that tells why.
 */
static Judgement
judge_opening(const Attempt *a)
{
	Judgement	j = judge_relay(a);

	j.refused = a->stage == STAGE_AUTH && a->end == END_REPLY &&
		((a->code / 100 == 5 && a->code != 503 && a->code != 504) ||
		 a->code == 334);
	j.permanent = a->stage == STAGE_AUTH &&
		(a->end == END_LOCAL || a->code == 504 || j.refused);
	return j;
}

/*
 * No verdict on the command: the session closed, timed out or lost its place
 * in the dialogue, before the dot or with a refusal of it.  A fresh session
 * that fails after MAIL may well fail of this mail: the second one decides.
 */
static Judgement
judge_trouble(const Attempt *a)
{
	if (a->stage == STAGE_MAIL)
		return judge_session(a);
	if (a->fresh && a->repeated)
		return judge(SCOPE_RECIPIENT, VERDICT_DEFERRED);
	return judge(SCOPE_SESSION, VERDICT_AGAIN);
}

/*
 * RFC 4954 6: authentication required, at any command, or the login's other
 * replies to MAIL: the session has lost its login, or it takes one.
 */
static bool
outcome_is_login(const Attempt *a)
{
	if (a->code == 530)
		return true;
	return a->stage == STAGE_MAIL &&
		(a->code == 534 || a->code == 535 || a->code == 538);
}

/* As AUTH refused, but a used session may have forgotten its login. */
static Judgement
judge_login(const Attempt *a)
{
	Judgement	j = judge_session(a);

	j.permanent = j.refused = a->fresh;
	return j;
}

/*
 * The envelope sender was refused: every mail of the letter has it.  It is
 * asked once more on a fresh session before the letter is judged by it.
 */
static Judgement
judge_sender(const Attempt *a)
{
	Judgement	j;

	if (a->end == END_REPLY && (!a->fresh || !a->repeated))
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
	if (a->code == 552 || outcome_is(a, 3, 4) || outcome_is(a, 6, 7))
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
	return outcome_is(a, 1, 7) || outcome_is(a, 1, 8);
}

static bool
outcome_is_dead(const Attempt *a)
{
	return (outcome_subject(a) == 1 && !outcome_is_sender(a)) ||
		outcome_is(a, 2, 1);
}

/*
 * RCPT, DATA, early replies and the final dot.  Odd codes (551, 553, 571) go
 * by their first digit (RFC 5321 4.3.2).  Too many recipients (452 or, RFC
 * 5321 4.5.3.1.10, 552 with x.5.3) can only be the session's sum, as a
 * transaction has one.  5.7.1 at RCPT is a policy about this recipient, after
 * it about what is sent.
 */
static Judgement
judge_recipient(const Attempt *a)
{
	Judgement	j;

	if (a->code == 421 || (outcome_is(a, 5, 3) && !a->fresh))
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
	j.dead_address = outcome_is_dead(a);
	if (a->stage != STAGE_RCPT && !j.dead_address && outcome_subject(a) != 2)
		j.scope = SCOPE_CONTENT;
	return j;
}

Judgement
outcome_judge(const Attempt *a)
{
	int			class = a->code / 100;
	bool		reply = a->end == END_REPLY || a->end == END_LOCAL;

	if (a->end == END_RETURNED || a->stage == STAGE_NONE)
		return judge(SCOPE_NONE, VERDICT_AGAIN);
	if (a->stage <= STAGE_AUTH)
		return judge_opening(a);
	if (a->stage >= STAGE_RSET)
		return judge(SCOPE_SESSION, VERDICT_AGAIN);
	if (reply && class == 2 && a->stage == STAGE_DOT)
		return judge(SCOPE_NONE, VERDICT_DELIVERED);
	if (!reply || (class != 4 && class != 5))
		return a->stage == STAGE_DOT ?
			judge(SCOPE_UNKNOWN, VERDICT_DOUBT) : judge_trouble(a);
	if (a->code == 503)			/* bad sequence: of the session */
		return judge_trouble(a);
	if (outcome_is_login(a))
		return judge_login(a);
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
	/* nearly always 2.0.0, once a mail: snprintf() would take longer */
	if (a->enhanced[1] < 10 && a->enhanced[2] < 10)
	{
		buf[0] = (char) ('0' + a->enhanced[0] % 10);
		buf[1] = buf[3] = '.';
		buf[2] = (char) ('0' + a->enhanced[1]);
		buf[4] = (char) ('0' + a->enhanced[2]);
		buf[5] = '\0';
		return buf;
	}
	snprintf(buf, 16, "%d.%d.%d", a->enhanced[0] % 10,
			 a->enhanced[1] % 1000, a->enhanced[2] % 1000);
	return buf;
}

/* see outcome.h */
void
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
	char		text[REPLY_TEXT_MAX + 32];
	bool		has_enhanced = outcome_enhanced(a, enhanced) != NULL;
	const char *gap;

	outcome_mask(text, sizeof(text), a->text);
	gap = text[0] != '\0' ? ": " : "";

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
