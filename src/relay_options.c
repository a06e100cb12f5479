/*-------------------------------------------------------------------------
 *
 * relay_options.c
 *	  The options of relays and of their user mappings.
 *
 * The validator knows every option, so that a mistake is an error at CREATE
 * SERVER and not a surprise at three in the morning.  Options are stored as
 * they were written and read again into a Relay when it is loaded.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "mailman.h"
#include "relay_options.h"
#include "utils/varlena.h"

typedef enum RelayOptionKind
{
	OPTION_URL,
	OPTION_TLS,
	OPTION_TLS_MIN,
	OPTION_FROM,				/* read by relay_from.c */
	OPTION_SWITCH,				/* read by relay_login.c */
	OPTION_FILE,
	OPTION_HOST,
	OPTION_NUMBER,
	OPTION_TIME,				/* an interval as settings have it: "30s" */
	OPTION_RATE,				/* "14/s" */
	OPTION_WARM_UP,				/* a rate per day */
	OPTION_DATE,
	OPTION_TOKEN,
	OPTION_SECRET				/* any line of text */
} RelayOptionKind;

typedef struct RelayOption
{
	const char *name;
	Oid			catalog;		/* where it may stand */
	RelayOptionKind kind;
	int			min;			/* OPTION_NUMBER; OPTION_TIME: ms */
	int			max;
	size_t		offset;			/* in Relay */
} RelayOption;

#define IN_SERVER ForeignServerRelationId
#define IN_MAPPING UserMappingRelationId
#define AT(field) offsetof(Relay, field)

static const RelayOption relay_options[] = {
	{"url", IN_SERVER, OPTION_URL, 0, 0, AT(config.url)},
	{"tls", IN_SERVER, OPTION_TLS, 0, 0, AT(config.tls_required)},
	{"tls_min", IN_SERVER, OPTION_TLS_MIN, 0, 0, AT(config.tls13)},
	{"allow_clear_password", IN_SERVER, OPTION_SWITCH, 0, 0, 0},
	{"ca_file", IN_SERVER, OPTION_FILE, 0, 0, AT(config.ca_file)},
	{"from", IN_SERVER, OPTION_FROM, 0, 0, 0},
	{"helo", IN_SERVER, OPTION_HOST, 0, 0, AT(config.helo)},
	{"connections", IN_SERVER, OPTION_NUMBER, 1, 1000, AT(config.connections)},
	{"messages", IN_SERVER, OPTION_NUMBER, 0, 1000000, AT(config.messages)},
	{"connect_timeout", IN_SERVER, OPTION_TIME, 1000, 600000,
	AT(config.connect_timeout_ms)},
	{"reply_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(config.reply_timeout_ms)},
	{"data_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(config.data_timeout_ms)},
	{"dot_timeout", IN_SERVER, OPTION_TIME, 1000, 3600000,
	AT(config.dot_timeout_ms)},
	{"rate", IN_SERVER, OPTION_RATE, 0, 0, AT(plan.rate)},
	{"warm_up", IN_SERVER, OPTION_WARM_UP, 0, 0, AT(plan)},
	{"warm_up_start", IN_SERVER, OPTION_DATE, 0, 0, AT(plan.start_us)},
	{"weight", IN_SERVER, OPTION_NUMBER, 1, 1000, AT(weight)},
	{"username", IN_MAPPING, OPTION_SECRET, 0, 0, AT(config.username)},
	{"password", IN_MAPPING, OPTION_SECRET, 0, 0, AT(config.password)},
	{"password_file", IN_MAPPING, OPTION_FILE, 0, 0, AT(config.password_file)},
	{"token", IN_MAPPING, OPTION_TOKEN, 0, 0, AT(config.token)},
	{"cert_file", IN_MAPPING, OPTION_FILE, 0, 0, AT(config.cert_file)},
	{"key_file", IN_MAPPING, OPTION_FILE, 0, 0, AT(config.key_file)},
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

/* What other wrappers call so, and where it is here */
static const char *
relay_option_elsewhere(const char *name, Oid catalog)
{
	if (catalog != ForeignServerRelationId)
		return NULL;
	if (strcmp(name, "host") == 0 || strcmp(name, "port") == 0)
		return "Write OPTIONS (url 'smtps://host:465').";
	if (strcmp(name, "user") == 0 || strcmp(name, "username") == 0 ||
		strcmp(name, "password") == 0)
		return "Credentials are options of a user mapping: CREATE USER MAPPING FOR role SERVER server OPTIONS (username '...', password '...').";
	return NULL;
}

/* An unknown option: say where it is, name the nearest one we know, else all */
static void
relay_option_unknown(const char *name, Oid catalog)
{
	const char *elsewhere = relay_option_elsewhere(name, catalog);
	const char *nearest = NULL;
	int			nearest_distance = 4;
	StringInfoData all;
	size_t		i;

	initStringInfo(&all);
	for (i = 0; i < lengthof(relay_options); i++)
	{
		const RelayOption *option = &relay_options[i];
		int			distance;

		if (option->catalog != catalog)
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
			 elsewhere ? errhint("%s", elsewhere) :
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

/* see relay_options.h */
bool
relay_option_is_file(const char *name)
{
	size_t		i;

	for (i = 0; i < lengthof(relay_options); i++)
	{
		if (relay_options[i].kind == OPTION_FILE &&
			strcmp(relay_options[i].name, name) == 0)
			return true;
	}
	return false;
}

/* see relay_options.h */
bool
relay_option_is_way(const char *name)
{
	const RelayOption *option = relay_option_find(name,
												  ForeignServerRelationId);

	return option != NULL &&
		(option->kind == OPTION_URL || option->kind == OPTION_TLS ||
		 option->kind == OPTION_TLS_MIN || option->kind == OPTION_SWITCH ||
		 option->kind == OPTION_FILE);
}

/*
 * Are sessions made of it?  Then a change replaces them; a new rate or weight
 * must not, nor a new token, which those need that are not made yet.
 */
static bool
relay_option_is_sessions(const RelayOption *option)
{
	return option->kind != OPTION_TOKEN &&
		option->offset >= offsetof(Relay, config) &&
		option->offset < offsetof(Relay, config) + sizeof(RelayConfig);
}

/* Read one option into the relay; check: somebody has just written it */
static void
relay_option_set(const RelayOption *option, char *value, Relay *relay,
				 bool check)
{
	const char *name = option->name;
	void	   *field = (char *) relay + option->offset;

	if (check)
		relay_check_line(name, value);
	switch (option->kind)
	{
		case OPTION_URL:
			if (check)
				relay_check_url(name, value);
			break;
		case OPTION_TLS:
			if (strcmp(value, "require") != 0 && strcmp(value, "none") != 0)
				relay_option_bad(name, "It must be \"require\" or \"none\".",
								 NULL);
			*(bool *) field = strcmp(value, "require") == 0;
			return;
		case OPTION_TLS_MIN:
			*(bool *) field = relay_read_tls_min(name, value);
			return;
		case OPTION_FROM:
			if (check)
				relay_check_from(name, value);
			return;
		case OPTION_SWITCH:
			(void) relay_read_switch(name, value);
			return;
		case OPTION_FILE:
			if (check)
				relay_check_file(name, value);
			break;
		case OPTION_HOST:
			if (check)
				relay_check_host(name, value);
			break;
		case OPTION_NUMBER:
			*(int *) field = relay_read_number(name, value, option->min,
											   option->max);
			return;
		case OPTION_TIME:
			*(int *) field = relay_read_time(name, value, option->min,
											 option->max);
			return;
		case OPTION_RATE:
			*(Rate *) field = relay_read_rate(name, value);
			return;
		case OPTION_WARM_UP:
			relay_read_warm_up(name, value, field);
			return;
		case OPTION_DATE:
			*(int64_t *) field = relay_read_date(name, value);
			return;
		case OPTION_TOKEN:
			if (check)
				relay_check_token(name, value);
			break;
		case OPTION_SECRET:
			if (value[0] == '\0')
				relay_option_bad(name, "It is empty.", NULL);
			break;
	}
	*(char **) field = value;
}

/* What is needed is there, and what belongs together */
static void
relay_check_whole(const Relay *relay, Oid catalog)
{
	const RelayConfig *config = &relay->config;
	const char *missing = NULL;
	const char *hint = NULL;

	if (catalog == ForeignServerRelationId && config->url == NULL)
	{
		missing = "url";
		hint = "Write OPTIONS (url 'smtps://host:465').";
	}
	else if ((relay->plan.days == 0) != (relay->plan.start_us == 0))
	{
		missing = relay->plan.days ? "warm_up_start" : "warm_up";
		hint = "A warm-up is a rate for each day and the date of the first.";
	}
	if (missing != NULL)
		relay_option_missing(missing, hint);
	if (catalog == UserMappingRelationId)
		relay_check_login(config);
}

Datum
mailman_smtp_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	Relay		relay = {0};
	ListCell   *cell;

	relay_defaults_set(&relay);
	foreach(cell, options)
	{
		DefElem    *def = (DefElem *) lfirst(cell);
		const RelayOption *option = relay_option_find(def->defname, catalog);

		if (option == NULL)
			relay_option_unknown(def->defname, catalog);
		else
			relay_option_set(option, defGetString(def), &relay, true);
	}
	relay_check_whole(&relay, catalog);
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
		relay_option_set(option, defGetString(def), relay, false);
		if (relay_option_is_sessions(option))
			relay->fingerprint = psprintf("%s%s=%s\n", relay->fingerprint,
										  def->defname, defGetString(def));
	}
}
