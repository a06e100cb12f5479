/*-------------------------------------------------------------------------
 *
 * relay_login.c
 *	  May a relay be told the credentials of a user mapping?
 *
 * The owner of a server writes where mail goes and whether it is encrypted,
 * and somebody else writes the user mapping: only when both are known can one
 * see that a password would travel in clear text.  So this is asked when a
 * relay is to be used, by whom it is to be used.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "commands/defrem.h"
#include "mailman.h"
#include "relay_options.h"
#include "utils/builtins.h"

/* see relay_options.h */
const char *
relay_option_text(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = (DefElem *) lfirst(cell);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

/*
 * Does mail to that URL stay on this machine?  A name is not looked up, as it
 * may mean something else a moment later; libcurl never asks for "localhost".
 */
static bool
relay_url_is_loopback(const char *url)
{
	const char *host = strstr(url, "://") + 3;
	bool		bracket = host[0] == '[';
	size_t		len = strcspn(host + bracket, bracket ? "]" : ":");
	struct in6_addr in6;
	struct in_addr in4;
	char		text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text))
		return false;
	memcpy(text, host + bracket, len);
	text[len] = '\0';
	if (bracket)
		return inet_pton(AF_INET6, text, &in6) == 1 &&
			IN6_IS_ADDR_LOOPBACK(&in6);
	if (inet_pton(AF_INET, text, &in4) == 1)
		return ntohl(in4.s_addr) >> 24 == 127;
	return pg_strcasecmp(text, "localhost") == 0;
}

/* see relay_options.h */
void
relay_check_clear(const char *name, List *server, List *mapping)
{
	const char *tls = relay_option_text(server, "tls");
	const char *url = relay_option_text(server, "url");
	const char *allow = relay_option_text(server, "allow_clear_password");

	if (tls == NULL || strcmp(tls, "none") != 0 || url == NULL ||
		pg_strncasecmp(url, "smtps:", 6) == 0 ||
		relay_option_text(mapping, "username") == NULL ||
		relay_url_is_loopback(url) ||
		(allow != NULL && relay_read_switch("allow_clear_password", allow)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relay \"%s\" would get credentials in clear text", name),
			 errdetail("Option \"tls\" is \"none\", and %s is no loopback address.",
					   url),
			 errhint("Use TLS; or, within a net you trust, ALTER SERVER %s OPTIONS (ADD allow_clear_password 'on').",
					 quote_identifier(name))));
}
