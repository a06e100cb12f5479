/*-------------------------------------------------------------------------
 *
 * driver.h
 *	  A poll() loop around a Transfer, in place of the server's wait.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_DRIVER_H
#define MAILMAN_DRIVER_H

#include "../../src/transfer.h"

typedef struct Driver
{
	Transfer   *t;
	int			epoll;
	uint32_t	generation;
	int			count;
	TransferSocket *known;		/* as registered */
} Driver;

extern void driver_config(RelayConfig *config, const char *url,
						  int connections);
extern void driver_mail(Mail *mail, const char *from, const char *to,
						const char *wire);
extern void driver_whole(Mail *mail, const char *wire, size_t len);
extern void driver_init(Driver *d, Transfer *t);
extern void driver_free(Driver *d);

/* Wait at most that long, tell what is ready, step. */
extern void driver_turn(Driver *d, int timeout_ms);

/* Until n mails have come back (in list) or the time is over. */
extern int	driver_run(Driver *d, Mail **list, int n, int timeout_ms);

/* Let the clock run: turns for so long, or until a mail is finished. */
extern void driver_idle(Driver *d, int ms);

extern int	bench_main(const char *host, int port, int total, int sessions,
					   size_t size);

#endif							/* MAILMAN_DRIVER_H */
