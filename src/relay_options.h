/*-------------------------------------------------------------------------
 *
 * relay_options.h
 *	  What relay_options.c and relay_option_check.c share.
 *
 * name is that of the option, for the message.  The first kind looks at a
 * value, the second returns it as well; each is an ERROR if it is bad.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_RELAY_OPTIONS_H
#define MAILMAN_RELAY_OPTIONS_H

#include "nodes/pg_list.h"
#include "pace.h"
#include "transfer.h"

/* Is it one that names a file of the server? */
extern bool relay_option_is_file(const char *name);

/* Does it say where mail goes, or how well it is protected? */
extern bool relay_option_is_way(const char *name);

/* The ERROR; hint may be NULL */
extern void relay_option_bad(const char *name, const char *detail,
							 const char *hint);

/* The ERROR if one is missing */
extern void relay_option_missing(const char *name, const char *hint);

/* No control bytes: they would end up in the dialogue */
extern void relay_check_line(const char *name, const char *value);

/* smtp://host[:port] or smtps://host[:port], and nothing else in it */
extern void relay_check_url(const char *name, const char *url);
extern void relay_check_host(const char *name, const char *host);

/* An absolute path; guard_relay.c sees to who sets it */
extern void relay_check_file(const char *name, const char *path);

extern void relay_check_token(const char *name, const char *token);

extern int	relay_read_number(const char *name, const char *value, int min,
							  int max);

/* As settings have it, "30s"; in ms */
extern int	relay_read_time(const char *name, const char *value, int min,
							int max);

/* Is nothing older than TLS 1.3 good enough? */
extern bool relay_read_tls_min(const char *name, const char *value);

/* As settings have it, "on" */
extern bool relay_read_switch(const char *name, const char *value);
extern Rate relay_read_rate(const char *name, const char *value);
extern void relay_read_warm_up(const char *name, const char *value,
							   RatePlan *plan);

/* Midnight UTC of a day, Unix time in microseconds, never 0 */
extern int64 relay_read_date(const char *name, const char *value);

/* Domains and addresses: relay_from.c */
extern void relay_check_from(const char *name, const char *value);

/* ---- relay_login.c ---- */

/* ERROR if the credentials of a user mapping do not make a login */
extern void relay_check_login(const RelayConfig *config);

/* A number that is another one if they are, and what is in files */
extern int64 relay_login_key(const RelayConfig *config, int64 seed);

/* One of those options, as it was written; NULL: it is not among them */
extern const char *relay_option_text(List *options, const char *name);

/* ERROR if the relay of that name would get credentials in clear text */
extern void relay_check_clear(const char *name, List *server, List *mapping);

#endif							/* MAILMAN_RELAY_OPTIONS_H */
