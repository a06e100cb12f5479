/*-------------------------------------------------------------------------
 *
 * fuzz_reply.c
 *	  Fuzz target: what a relay says.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "../../src/outcome.h"
#include "../../src/reply.h"

#include "fuzz.h"

/* Valid UTF-8 of nothing that a terminal or a log would act on */
static void
check_text(const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *) text;
	int			more = 0;

	CHECK(strnlen(text, size) < size);
	for (; *s != '\0'; s++)
	{
		CHECK(*s >= ' ' && *s != 0x7F);
		if (more > 0)
		{
			CHECK((*s & 0xC0) == 0x80);
			more--;
			continue;
		}
		CHECK(*s < 0x80 || (*s >= 0xC2 && *s <= 0xF4));
		more = *s < 0x80 ? 0 : *s < 0xE0 ? 1 : *s < 0xF0 ? 2 : 3;
	}
	CHECK(more == 0);
}

/* Read in pieces of so many bytes; how many were used */
static ReplyStatus
feed(Reply *reply, const char *data, size_t size, size_t step, size_t *used)
{
	ReplyStatus status = REPLY_MORE;

	reply_reset(reply);
	*used = 0;
	while (status == REPLY_MORE && *used < size)
	{
		size_t		end = size - *used > step ? *used + step : size;
		size_t		before = *used;

		status = reply_feed(reply, data, end, used);
		CHECK(*used > before && *used <= end);
		CHECK(status != REPLY_MORE || *used == end);
	}
	return status;
}

/* What becomes of a mail that got this reply, at each step */
static void
judge(const Reply *reply, ReplyStatus status)
{
	Attempt		attempt = {0};
	char		line[1024];
	char		code[16];
	int			stage;

	attempt.end = status == REPLY_DONE ? END_REPLY : END_DISORDER;
	attempt.code = reply->code;
	memcpy(attempt.enhanced, reply->enhanced, sizeof(attempt.enhanced));
	memcpy(attempt.text, reply->text, sizeof(attempt.text));
	for (stage = STAGE_NONE; stage <= STAGE_QUIT; stage++)
	{
		Judgement	judgement;

		attempt.stage = stage;
		judgement = outcome_judge(&attempt);
		CHECK(judgement.verdict <= VERDICT_DOUBT);
		CHECK(judgement.verdict != VERDICT_DELIVERED ||
			  (stage == STAGE_DOT && status == REPLY_DONE &&
			   reply->code / 100 == 2));
		outcome_describe(&attempt, line, sizeof(line));
		check_text(line, sizeof(line));
		outcome_enhanced(&attempt, code);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static Reply whole;
	static Reply pieces;
	const char *data = (const char *) bytes + 1;
	char		line[REPLY_TEXT_MAX + 32];
	ReplyStatus status;
	size_t		used;
	size_t		used_again;

	if (size < 2)
		return 0;
	size--;
	status = feed(&whole, data, size, size, &used);
	CHECK(feed(&pieces, data, size, 1 + bytes[0] % 16, &used_again) == status);
	if (status == REPLY_MORE)
		return 0;
	check_text(whole.text, sizeof(whole.text));
	check_text(pieces.text, sizeof(pieces.text));
	if (status == REPLY_DONE)
	{
		CHECK(used == used_again && strcmp(whole.text, pieces.text) == 0);
		CHECK(whole.code >= 200 && whole.code <= 599);
		CHECK(whole.code == pieces.code && whole.lines == pieces.lines);
		CHECK(memcmp(whole.enhanced, pieces.enhanced,
					 sizeof(whole.enhanced)) == 0);
	}
	reply_format(&whole, line, sizeof(line));
	check_text(line, sizeof(line));
	judge(&whole, status);
	return 0;
}
