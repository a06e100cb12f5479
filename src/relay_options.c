/*-------------------------------------------------------------------------
 *
 * relay_options.c
 *	  The options of relays and of their user mappings.
 *
 * The validator knows every option, so that a mistake is an error at CREATE
 * SERVER and not a surprise at three in the morning.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "mailman.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/varlena.h"

typedef enum RelayOptionKind
{
	OPTION_URL,
	OPTION_TLS,
	OPTION_FILE,
	OPTION_HOST,
	OPTION_NUMBER,
	OPTION_TIME,				/* an interval as settings have it: "30s" */
	OPTION_SECRET,				/* any line of text */
	OPTION_LATER				/* known, not built yet */
} RelayOptionKind;

typedef struct RelayOption
{
	const char *name;
	Oid			catalog;		/* where it may stand */
	RelayOptionKind kind;
	int			min;			/* OPTION_NUMBER; OPTION_TIME: ms */
	int			max;
	size_t		offset;			/* in RelayConfig */
} RelayOption;

#define IN_SERVER ForeignServerRelationId
#define IN_MAPPING UserMappingRelationId
#define AT(field) offsetof(RelayConfig, field)

static const RelayOption relay_options[] = {
	{"url", IN_SERVER, OPTION_URL, 0, 0, AT(url)},
	{"tls", IN_SERVER, OPTION_TLS, 0, 0, AT(tls_required)},
	{"ca_file", IN_SERVER, OPTION_FILE, 0, 0, AT(ca_file)},
	{"helo", IN_SERVER, OPTION_HOST, 0, 0, AT(helo)},
	{"connections", IN_SERVER, OPTION_NUMBER, 1, 1000, AT(connections)},
	{"messages", IN_SERVER, OPTION_NUMBER, 0, 1000000, AT(messages)},
	{"connect_timeout", IN_SERVER, OPTION_TIME, 1000, 600000,
	AT(connect_timeout_ms)},
	{"reply_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(reply_timeout_ms)},
	{"data_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(data_timeout_ms)},
	{"dot_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(dot_timeout_ms)},
	{"rate", IN_SERVER, OPTION_LATER, 0, 0, 0},
	{"weight", IN_SERVER, OPTION_LATER, 0, 0, 0},
	{"username", IN_MAPPING, OPTION_SECRET, 0, 0, AT(username)},
	{"password", IN_MAPPING, OPTION_SECRET, 0, 0, AT(password)},
};

static const RelayConfig relay_defaults = {
	.tls_required = true,
	.connections = 10,
	.connect_timeout_ms = 30 * 1000,
	.reply_timeout_ms = 5 * 60 * 1000,
	.data_timeout_ms = 3 * 60 * 1000,
	.dot_timeout_ms = 10 * 60 * 1000
};

PG_FUNCTION_INFO_V1(mailman_smtp_validator);

/* An unknown option: name the nearest one we know, else all */
static void
relay_option_unknown(const char *name, Oid catalog)
{
	const char *nearest = NULL;
	int			nearest_distance = 4;
	StringInfoData all;
	size_t		i;

	initStringInfo(&all);
	for (i = 0; i < lengthof(relay_options); i++)
	{
		const RelayOption *option = &relay_options[i];
		int			distance;

		if (option->catalog != catalog || option->kind == OPTION_LATER)
			continue;
		appendStringInfo(&all, "%s%s", all.len > 0 ? ", " : "", option->name);
		if (strlen(name) > 63)
			continue;
		distance = varstr_levenshtein_less_equal(name, strlen(name),
												 option->name,
												 strlen(option->name),
												 1, 1, 1,
												 nearest_distance, true);
		if ((distance < nearest_distance ||
			 (distance == nearest_distance && nearest != NULL &&
			  option->name[0] == name[0])) &&
			distance < (int) strlen(option->name))
		{
			nearest = option->name;
			nearest_distance = distance;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 nearest ? errhint("Perhaps you meant the option \"%s\".", nearest)
			 : all.len > 0 ? errhint("Valid options here are: %s.", all.data)
			 : errhint("There are no valid options here.")));
}

static const RelayOption *
relay_option_find(const char *name, Oid catalog)
{
	size_t		i;

	for (i = 0; i < lengthof(relay_options); i++)
	{
		if (relay_options[i].catalog == catalog &&
			strcmp(relay_options[i].name, name) == 0)
			return &relay_options[i];
	}
	return NULL;
}

static void
relay_option_bad(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

/* [A-Za-z0-9.-] or an IPv6 literal in brackets */
static bool
relay_host_is_valid(const char *host, size_t len)
{
	size_t		i;

	if (len == 0 || len > 253)
		return false;
	if (host[0] == '[' && host[len - 1] == ']' && len > 2)
	{
		for (i = 1; i < len - 1; i++)
		{
			if (!isxdigit((unsigned char) host[i]) && host[i] != ':' &&
				host[i] != '.')
				return false;
		}
		return true;
	}
	for (i = 0; i < len; i++)
	{
		if (!isalnum((unsigned char) host[i]) && host[i] != '.' &&
			host[i] != '-')
			return false;
	}
	return host[0] != '-' && host[0] != '.';
}

/* smtp://host[:port] or smtps://host[:port], and nothing else in it */
static void
relay_check_url(const char *name, const char *url)
{
	const char *hint = "Write smtp://host:port or smtps://host:port; "
		"credentials belong into a user mapping.";
	const char *host;
	const char *port;
	size_t		host_len;

	if (pg_strncasecmp(url, "smtp://", 7) == 0)
		host = url + 7;
	else if (pg_strncasecmp(url, "smtps://", 8) == 0)
		host = url + 8;
	else
	{
		relay_option_bad(name, "The URL begins with neither smtp:// nor smtps://.",
						 hint);
		return;
	}
	if (strchr(host, '@') != NULL)
		relay_option_bad(name, "The URL has a user name in it.", hint);
	port = host[0] == '[' ? strstr(host, "]:") : strchr(host, ':');
	if (port != NULL && port[0] == ']')
		port++;
	host_len = port != NULL ? (size_t) (port - host) : strlen(host);
	if (!relay_host_is_valid(host, host_len))
		relay_option_bad(name, "The URL has no valid host.", hint);
	if (port != NULL)
	{
		size_t		digits = strspn(port + 1, "0123456789");
		long		number = atol(port + 1);

		if (digits == 0 || digits > 5 || port[1 + digits] != '\0' ||
			number < 1 || number > 65535)
			relay_option_bad(name, "The port is not a number from 1 to 65535.",
							 hint);
	}
}

static void
relay_check_file(const char *name, const char *path)
{
	if (path[0] != '/')
		relay_option_bad(name, "It is not an absolute path.", NULL);
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errdetail("Only roles with privileges of the \"%s\" role may set it.",
						   "pg_read_server_files"),
				 errhint("Without it the system's certificates are used.")));
}

/* A number in its range; of OPTION_TIME in ms, written with a unit */
static int
relay_option_number(const RelayOption *option, const char *value)
{
	const char *hint = NULL;
	int			flags = option->kind == OPTION_TIME ? GUC_UNIT_MS : 0;
	int			number;

	if (!parse_int(value, &number, flags, &hint))
		relay_option_bad(option->name, option->kind == OPTION_TIME ?
						 "It is not a time." : "It is not a number.",
						 option->kind == OPTION_TIME ?
						 "Write a number with a unit, such as \"30s\"." : hint);
	if (number < option->min || number > option->max)
		relay_option_bad(option->name,
						 option->kind == OPTION_TIME ?
						 psprintf("It must be from %ds to %ds.",
								  option->min / 1000, option->max / 1000) :
						 psprintf("It must be from %d to %d.",
								  option->min, option->max),
						 option->kind == OPTION_TIME ?
						 "Write a number with a unit, such as \"30s\"." : NULL);
	return number;
}

/* Control bytes would end up in the dialogue */
static void
relay_check_line(const char *name, const char *value)
{
	for (; *value; value++)
	{
		if ((unsigned char) *value < 0x20 || *value == 0x7f)
			relay_option_bad(name, "It has control characters in it.", NULL);
	}
}

/* Check one option and put it into config */
static void
relay_option_set(const RelayOption *option, char *value, RelayConfig *config,
				 bool check)
{
	char	   *field = (char *) config + option->offset;

	if (check)
		relay_check_line(option->name, value);
	switch (option->kind)
	{
		case OPTION_URL:
			if (check)
				relay_check_url(option->name, value);
			break;
		case OPTION_TLS:
			if (strcmp(value, "require") != 0 && strcmp(value, "none") != 0)
				relay_option_bad(option->name,
								 "It must be \"require\" or \"none\".", NULL);
			*(bool *) field = strcmp(value, "require") == 0;
			return;
		case OPTION_FILE:
			if (check)
				relay_check_file(option->name, value);
			break;
		case OPTION_HOST:
			if (check && !relay_host_is_valid(value, strlen(value)))
				relay_option_bad(option->name, "It is no host name.", NULL);
			break;
		case OPTION_NUMBER:
		case OPTION_TIME:
			*(int *) field = relay_option_number(option, value);
			return;
		case OPTION_SECRET:
			if (value[0] == '\0')
				relay_option_bad(option->name, "It is empty.", NULL);
			break;
		case OPTION_LATER:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("option \"%s\" is not available in this version of mailman",
							option->name)));
	}
	*(char **) field = value;
}

Datum
mailman_smtp_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	RelayConfig config = relay_defaults;
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = (DefElem *) lfirst(cell);
		const RelayOption *option = relay_option_find(def->defname, catalog);

		if (option == NULL)
			relay_option_unknown(def->defname, catalog);
		else
			relay_option_set(option, defGetString(def), &config, true);
	}
	if (catalog == ForeignServerRelationId && config.url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"url\" is required"),
				 errhint("Write OPTIONS (url 'smtps://host:465').")));
	if (catalog == UserMappingRelationId &&
		(config.username == NULL) != (config.password == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is required",
						config.username ? "password" : "username"),
				 errhint("Credentials are a username and a password.")));
	PG_RETURN_VOID();
}

/* A relay without options */
void
relay_defaults_set(Relay *relay)
{
	relay->fingerprint = relay->name;
	relay->config = relay_defaults;
}

/* Options as they are stored, into the relay: checked when they were set */
void
relay_apply(Relay *relay, List *options, Oid catalog)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = (DefElem *) lfirst(cell);
		const RelayOption *option = relay_option_find(def->defname, catalog);

		if (option == NULL)
			continue;
		relay_option_set(option, defGetString(def), &relay->config, false);
		relay->fingerprint = psprintf("%s%s=%s\n", relay->fingerprint,
									  def->defname, defGetString(def));
	}
}
