/*-------------------------------------------------------------------------
 *
 * relay_login.c
 *	  The credentials of a user mapping, and whether a relay may have them.
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
#include "common/hashfn.h"
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
		pg_strncasecmp(url, "smtps:", 6) == 0)
		return;
	if (relay_option_text(mapping, "cert_file") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relay \"%s\" cannot be shown a certificate in clear text",
						name),
				 errdetail("Option \"tls\" is \"none\", and the user mapping has a cert_file."),
				 errhint("Use TLS, or drop option cert_file of the user mapping.")));
	if (relay_option_text(mapping, "username") == NULL ||
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

/* see relay_options.h */
void
relay_check_login(const RelayConfig *config)
{
	const char *const names[] = {"password", "password_file", "token"};
	const char *const values[] = {config->password, config->password_file,
	config->token};
	const char *hint = "Credentials are a username and a password, a password_file or a token.";
	int			first = -1;
	int			i;

	for (i = 0; i < (int) lengthof(names); i++)
	{
		if (values[i] == NULL)
			continue;
		if (first >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("options \"%s\" and \"%s\" exclude each other",
							names[first], names[i]),
					 errhint("%s", hint)));
		first = i;
	}
	if (config->username == NULL && first >= 0)
		relay_option_missing("username", hint);
	if (config->username != NULL && first < 0)
		relay_option_missing("password", hint);
	if (config->key_file != NULL && config->cert_file == NULL)
		relay_option_missing("cert_file",
							 "A key is that of a certificate.");
	/* RFC 5801 4: to be written otherwise, which libcurl does not do */
	if (config->token != NULL && strpbrk(config->username, ",=") != NULL)
		relay_option_bad("username",
						 "With a token it must have no comma and no equals sign.",
						 NULL);
}

static int64
relay_hash(const char *text, int64 seed)
{
	return (int64) hash_bytes_extended((const unsigned char *) text,
									   (int) strlen(text), (uint64) seed);
}

/* see relay_options.h */
int64
relay_login_key(const RelayConfig *config, int64 seed)
{
	char		password[TRANSFER_PASSWORD_MAX];

	if (config->token != NULL)
		return relay_hash(config->token, seed);
	if (config->password_file != NULL &&
		transfer_read_password(config->password_file, password,
							   sizeof(password)) == NULL)
		return relay_hash(password, seed);
	return seed;
}
