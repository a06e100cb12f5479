/*-------------------------------------------------------------------------
 *
 * relay_from.c
 *	  Whose mail a relay takes: its option "from".
 *
 * A relay that many share signs and vouches for what goes through it, so its
 * owner may say for which domains and addresses that is.  They are what a mail
 * says it is from, and what its envelope says.
 *
 * Both sides are compared as they are on the wire: domains as A-labels, in
 * lower case.  Upper and lower case make no difference in a local part, as no
 * mailbox in use tells them apart.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "relay_options.h"
#include "utils/builtins.h"

/* On the wire; NULL: it is not an address, *why says why */
static char *
from_wire(const char *address, const char **why)
{
	StringInfoData wire;
	bool		smtputf8 = false;

	initStringInfo(&wire);
	return address_to_wire(&wire, address, strlen(address), &smtputf8, why) ?
		wire.data : NULL;
}

/*
 * An entry as it is compared: user@domain, @domain, or .domain for all those
 * below it.
 */
static char *
from_entry(const char *entry, const char **why)
{
	bool		below = strncmp(entry, "*.", 2) == 0;
	char	   *wire;

	*why = "Write the domain alone.";
	if (strncmp(entry, "*@", 2) == 0)
		return NULL;
	if (strchr(entry, '@') != NULL)
		return from_wire(entry, why);
	/* any local part will do to find out what the domain is on the wire */
	wire = from_wire(psprintf("x@%s", below ? entry + 2 : entry), why);
	if (wire == NULL)
		return NULL;
	wire++;
	if (below)
		wire[0] = '.';
	return wire;
}

/* The next entry of a list, without blanks around it; NULL: no more */
static char *
from_next(const char **list)
{
	const char *begin = *list;
	size_t		len;

	if (begin == NULL)
		return NULL;
	len = strcspn(begin, ",");
	*list = begin[len] == ',' ? begin + len + 1 : NULL;
	while (len > 0 && *begin == ' ')
	{
		begin++;
		len--;
	}
	while (len > 0 && begin[len - 1] == ' ')
		len--;
	return pnstrdup(begin, len);
}

/* see relay_options.h */
void
relay_check_from(const char *name, const char *value)
{
	const char *why;
	char	   *entry;

	while ((entry = from_next(&value)) != NULL)
	{
		if (from_entry(entry, &why) == NULL)
			relay_option_bad(name,
							 psprintf("\"%s\" is neither a domain nor an address: %s",
									  entry, why),
							 "Write domains, *.domain for all below one, and addresses, with commas in between.");
	}
}

/* Does an entry fit an address, both as they are on the wire? */
static bool
from_fits(const char *entry, const char *address)
{
	const char *domain = strrchr(address, '@');
	size_t		entry_len = strlen(entry);
	size_t		len = strlen(domain);

	if (entry[0] == '@')
		return strcmp(entry, domain) == 0;
	if (entry[0] == '.')
		return len > entry_len + 1 &&
			strcmp(domain + len - entry_len, entry) == 0;
	return pg_strcasecmp(entry, address) == 0;
}

static bool
from_allows(const char *from, const char *address)
{
	const char *why;
	char	   *wire = from_wire(address, &why);
	char	   *entry;

	while (wire != NULL && (entry = from_next(&from)) != NULL)
	{
		entry = from_entry(entry, &why);
		if (entry != NULL && from_fits(entry, wire))
			return true;
	}
	return false;
}

/*
 * see letter.h.  If the content is loaded, its addresses count: those in the
 * table may be others a moment later.
 */
void
letter_check_from(const Letter *letter, const char *relay, const char *from)
{
	static Statement load = {
		.sql = "SELECT from_address, bounce_address FROM mailman.newsletter"
		" WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	static const char *const columns[] = {"from_address", "bounce_address"};
	const char *addresses[] = {letter->render.from_address,
	letter->render.return_path};
	Datum		values[1] = {Int64GetDatum(letter->newsletter_id)};
	int			i;

	if (addresses[0] == NULL)
	{
		if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
			elog(ERROR, "newsletter " INT64_FORMAT " is gone",
				 letter->newsletter_id);
		addresses[0] = row_text(0, 1);
		addresses[1] = row_text(0, 2);
	}
	for (i = 0; i < (int) lengthof(columns); i++)
	{
		if (addresses[i] != NULL && !from_allows(from, addresses[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("relay \"%s\" does not take mail from the %s of newsletter " INT64_FORMAT,
							relay, columns[i], letter->newsletter_id),
					 errdetail("Its option \"from\" is \"%s\".", from),
					 errhint("Change mailman.newsletter.%s; or let the relay's owner change the option.",
							 columns[i])));
	}
}
