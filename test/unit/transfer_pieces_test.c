/*-------------------------------------------------------------------------
 *
 * transfer_pieces_test.c
 *	  Messages in pieces: whatever their number and sizes, the relay gets
 *	  their bytes, one after the other.
 *
 * Pieces are of the sizes around which writing differs: none, few bytes, as
 * much as is copied together, and more than any socket takes at once.  They are
 * cut anywhere, even within the final dot.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "fake_smtp.h"
#include "transfer_test.h"

#define PIECES_MAX	40
#define MAILS		60
#define JOIN		65536		/* smtp_write.c copies so much together */

static Run run;
static Piece pieces[MAILS][PIECES_MAX];
static uint32_t seed;

static uint32_t
below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Lines without end */
static char *
make_lines(size_t size)
{
	char	   *lines = malloc(size + 100);
	size_t		n = 0;

	while (n < size)
		n += (size_t) sprintf(lines + n, "%zu %.*s\r\n", n, (int) (n % 70),
							  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
							  "xxxxxxxxxxxxxxxxxxxxxxxxx");
	return lines;
}

static size_t
piece_size(void)
{
	static const size_t sizes[] = {
		0, 1, 2, 80, 4000, JOIN - 4000, JOIN - 200, JOIN - 1, JOIN, JOIN + 1,
		3 << 20
	};

	return sizes[below(sizeof(sizes) / sizeof(sizes[0]))];
}

/* Cut the last so many bytes off as pieces of their own */
static int
cut_end(Piece *list, int count, size_t bytes)
{
	while (bytes-- > 0)
	{
		Piece	   *last = &list[count - 1];

		list[count].data = last->data + last->len - 1;
		list[count++].len = 1;
		last->len--;
		if (below(2))
			break;
	}
	return count;
}

/* Some pieces of the lines, and one with the dot */
static void
make_mail(Mail *mail, Piece *list, const char *lines, bool large)
{
	static const char end[] = "end\r\n.\r\n";
	int			count = 0;
	int			wanted = 1 + (int) below(large ? 4 : PIECES_MAX - 12);
	int			i;

	for (; count < wanted; count++)
	{
		list[count].len = large ? piece_size() : below(300);
		list[count].data = lines + below(1000);
		/* the lines after it begin with a digit: no line is a dot */
	}
	list[count].data = "\r\n";
	list[count++].len = 2;
	list[count].data = end;
	list[count++].len = sizeof(end) - 1;
	if (below(2))
		count = cut_end(list, count, 5);
	mail->pieces = list;
	mail->npieces = count;
	mail->wire_len = 0;
	for (i = 0; i < count; i++)
		mail->wire_len += list[i].len;
	mail->size = mail->wire_len - 3;
}

/* Of what the relay must have read before the dot */
static unsigned
mail_sum(const Mail *mail)
{
	size_t		left = mail->wire_len - 3;
	unsigned	sum = FAKE_SUM;
	int			i;

	for (i = 0; i < mail->npieces; i++)
	{
		size_t		n = mail->pieces[i].len < left ? mail->pieces[i].len : left;

		sum = fake_sum(sum, mail->pieces[i].data, n);
		left -= n;
	}
	return sum;
}

static bool
sums_match(void)
{
	int			i;

	for (i = 0; i < run.submitted; i++)
		if (run.fake.stats->sums[i] != mail_sum(&run.mails[i]))
		{
			printf("# mail %d of %zu bytes in %d pieces differs\n", i,
				   run.mails[i].wire_len, run.mails[i].npieces);
			return false;
		}
	return true;
}

static void
test_pieces(bool pipelining, bool large, const char *title)
{
	FakeScript	script = {.pipelining = pipelining};
	char	   *lines = make_lines(4 << 20);
	int			i;

	seed = 1;
	run_start(&run, &script, 3);
	run_submit(&run, MAILS);
	for (i = 0; i < MAILS; i++)
		make_mail(&run.mails[i], pieces[i], lines, large);
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == MAILS && sums_match(), title);
	ok(run.fake.stats->disorder == 0 && run.fake.stats->connections <= 3,
	   "in as many sessions as there are");
	run_end(&run);
	free(lines);
}

/* As many reads as with one piece: nothing small is written alone */
static void
test_joined(void)
{
	FakeScript	script = {.pipelining = true};
	int			reads[2];
	int			many;
	int			i;

	for (many = 0; many < 2; many++)
	{
		static const char wire[] = "a: b\r\n\r\nhello\r\nhello\r\n.\r\n";

		run_start(&run, &script, 1);
		run_submit(&run, MAILS);
		for (i = 0; i < MAILS; i++)
		{
			Mail	   *mail = &run.mails[i];

			driver_whole(mail, wire, sizeof(wire) - 1);
			if (!many)
				continue;
			pieces[i][0] = mail->whole;
			pieces[i][0].len = 10;
			pieces[i][1].data = wire + 10;
			pieces[i][1].len = mail->wire_len - 10;
			mail->pieces = pieces[i];
			mail->npieces = cut_end(pieces[i], 2, 5);
		}
		ok(run_wait(&run) && run_exact(&run) && sums_match(),
		   many ? "small pieces" : "one piece");
		reads[many] = run.fake.stats->reads;
		run_end(&run);
	}
	printf("# %d and %d reads\n", reads[0], reads[1]);
	ok(reads[1] < MAILS * 3 / 2 && reads[0] < MAILS * 3 / 2,
	   "body, dot and next envelope come together");
}

/* The relay goes away within a piece: free, and again elsewhere */
static void
test_dropped(bool pipelining)
{
	FakeScript	script = {.pipelining = pipelining};
	char	   *lines = make_lines(10 << 20);
	int			i;

	seed = 2;
	script.rules[0] = (FakeRule) {"BODY", 2, 3, false, "@close"};
	run_start(&run, &script, 3);
	run_submit(&run, 12);
	for (i = 0; i < 12; i++)
	{
		Mail	   *mail = &run.mails[i];

		make_mail(mail, pieces[i], lines, true);
		mail->wire_len += (8 << 20) - pieces[i][0].len;
		pieces[i][0].len = 8 << 20; /* more than the buffers of sockets */
	}
	run_wait(&run);
	printf("# %d delivered, %d in doubt, %d empty\n",
		   run_count(&run, VERDICT_DELIVERED), run_count(&run, VERDICT_DOUBT),
		   run.fake.stats->empty);
	ok(run_exact(&run) && run_count(&run, VERDICT_DOUBT) == 0 &&
	   run_count(&run, VERDICT_DELIVERED) > 0, "dropped within a piece");
	for (i = 0; i < 12; i++)
		if (run.mails[i].judgement.verdict == VERDICT_DELIVERED &&
			run.fake.stats->sums[i] != mail_sum(&run.mails[i]))
			break;
	ok(i == 12, "what was delivered is whole");
	run_end(&run);
	free(lines);
}

/* What does not end with the line of a dot is not begun */
static void
test_unterminated(void)
{
	static const char *const ends[][3] = {
		{"a\r\n", ".\r", ""}, {"a\r\n", "..\r\n", ""}, {".", "\r", ""},
		{"\n.", "\r", "\n"}, {"", "", ""}
	};
	FakeScript	script = {.pipelining = true};
	int			n = (int) (sizeof(ends) / sizeof(ends[0]));
	int			i;
	int			p;

	run_start(&run, &script, 1);
	run_submit(&run, n + 1);
	for (i = 0; i < n; i++)
	{
		Mail	   *mail = &run.mails[i];

		mail->wire_len = 0;
		for (p = 0; p < 3; p++)
		{
			pieces[i][p].data = ends[i][p];
			pieces[i][p].len = strlen(ends[i][p]);
			mail->wire_len += pieces[i][p].len;
		}
		mail->pieces = pieces[i];
		mail->npieces = 3;
	}
	ok(run_wait(&run) && run_exact(&run) &&
	   run_count(&run, VERDICT_DELIVERED) == 1 &&
	   run_count_end(&run, END_LOCAL) == n && run.fake.stats->accepted == 1,
	   "pieces that do not end with the line of a dot are not sent");
	run_end(&run);
}

void
test_in_pieces(void)
{
	test_pieces(true, false, "many small pieces");
	test_pieces(false, false, "many small pieces, lock-step");
	test_pieces(true, true, "pieces of all sizes");
	test_pieces(false, true, "pieces of all sizes, lock-step");
	test_joined();
	test_dropped(true);
	test_dropped(false);
	test_unterminated();
}
