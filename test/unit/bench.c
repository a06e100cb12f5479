/*-------------------------------------------------------------------------
 *
 * bench.c
 *	  transfer_test bench HOST PORT N SESSIONS BYTES
 *
 * Sends N mails of BYTES to a plain relay and reports the rate.  Keeps a
 * bounded number of mails submitted, as the letter worker does.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define BENCH_WINDOW	400

static char *
bench_message(size_t size, size_t *len)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog, "
		"again and again and again.\r\n";
	char	   *message = malloc(size + sizeof(line) + 64);
	size_t		n = (size_t) sprintf(message, "Subject: bench\r\n\r\n");

	while (n + sizeof(line) < size)
	{
		memcpy(message + n, line, sizeof(line) - 1);
		n += sizeof(line) - 1;
	}
	memcpy(message + n, ".\r\n", 4);
	*len = n + 3;
	return message;
}

int
bench_main(const char *host, int port, int total, int sessions, size_t size)
{
	RelayConfig config;
	Transfer   *t;
	Driver		driver;
	Mail	   *mails = calloc(BENCH_WINDOW, sizeof(Mail));
	Mail	   *mail;
	size_t		len;
	char	   *wire = bench_message(size, &len);
	char		url[256];
	int			submitted = 0;
	int			delivered = 0;
	int			finished = 0;
	int64_t		start;
	double		seconds;

	snprintf(url, sizeof(url), "smtp://%s:%d", host, port);
	driver_config(&config, url, sessions);
	t = transfer_create(&config);
	driver_init(&driver, t);
	start = transfer_now();
	for (; submitted < BENCH_WINDOW && submitted < total; submitted++)
	{
		mail = &mails[submitted];
		driver_mail(mail, "sender@bench.test", "someone@bench.test", wire);
		driver_whole(mail, wire, len);
		mail->size = len - 3;
		transfer_submit(t, mail);
	}
	while (finished < total)
	{
		driver_turn(&driver, 1000);
		while ((mail = transfer_finished(t)) != NULL)
		{
			finished++;
			if (mail->judgement.verdict == VERDICT_DELIVERED)
				delivered++;
			if (submitted < total)
			{
				submitted++;
				transfer_submit(t, mail);
			}
		}
	}
	seconds = (double) (transfer_now() - start) / 1e6;
	printf("%d of %d delivered in %.3f s: %.0f mails/s, %d sessions opened\n",
		   delivered, total, seconds, total / seconds,
		   (int) transfer_counts(t).opened);
	transfer_destroy(t);
	driver_free(&driver);
	free(mails);
	free(wire);
	return delivered == total ? 0 : 1;
}
