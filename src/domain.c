/*-------------------------------------------------------------------------
 *
 * domain.c
 *	  Limits of recipients' domains, so that one that is slow or strict does
 *	  not hold the others back.
 *
 * A recipient whose domain has a limit needs a slot of its rate before it is
 * claimed and a seat before its mail is begun; who has no slot is set aside
 * until there is likely to be one, and the others go on.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "worker.h"

#define DOMAIN_MAX 253			/* RFC 1035 3.1, written with dots */

PG_FUNCTION_INFO_V1(mailman_check_rate);
PG_FUNCTION_INFO_V1(mailman_check_domain_pattern);

/* ---- what a limit must look like ---- */

static void
limit_refuse(const char *what, const char *value, const char *detail,
			 const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("invalid %s: \"%s\"", what, value),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* mailman.check_rate(rate text) RETURNS boolean */
Datum
mailman_check_rate(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		why[256];
	Rate		rate;

	if (!rate_parse(value, strlen(value), &rate, why, sizeof(why)))
		limit_refuse("rate", value, why,
					 RATE_HINT);
	PG_RETURN_BOOL(true);
}

/* A label of RFC 1035 2.3.1, as domains of mail have them */
static bool
pattern_has_labels(const char *domain)
{
	int			length = 0;

	if (domain[0] == '\0' || strlen(domain) > DOMAIN_MAX)
		return false;
	for (; *domain; domain++)
	{
		unsigned char c = (unsigned char) *domain;

		if (c == '.')
		{
			if (length == 0 || domain[-1] == '-')
				return false;
			length = 0;
			continue;
		}
		if (c == '-' && length == 0)
			return false;
		if (!islower(c) && !isdigit(c) && c != '-')
			return false;
		if (++length > 63)
			return false;
	}
	return length > 0 && domain[-1] != '-';
}

/* mailman.check_domain_pattern(pattern text) RETURNS boolean */
Datum
mailman_check_domain_pattern(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *domain = strncmp(value, "*.", 2) == 0 ? value + 2 : value;

	if (!pattern_has_labels(domain))
		limit_refuse("domain pattern", value,
					 "It is neither a domain nor \"*.\" and a domain, in lower-case ASCII.",
					 "Write example.com, or *.example.com for all below it; other scripts as xn-- labels.");
	PG_RETURN_BOOL(true);
}

/* ---- the limits ---- */

static Domain *
domain_create(int id)
{
	Domain	   *domain = MemoryContextAllocZero(TopMemoryContext,
												sizeof(Domain));

	domain->id = id;
	seats_init(&domain->seats, DOMAIN_SEAT_CLASS, (uint32) id, SEATS_MAX);
	return domain;
}

static Domain *
domains_by_id(Worker *w, int id)
{
	int			i;

	for (i = 0; i < w->ndomains; i++)
	{
		if (w->domains[i]->id == id)
			return w->domains[i];
	}
	return NULL;
}

static Domain *
domains_add(Worker *w, int id)
{
	Size		size = (w->ndomains + 1) * sizeof(Domain *);
	Domain	   *domain = domain_create(id);

	w->domains = w->domains == NULL ?
		MemoryContextAlloc(TopMemoryContext, size) :
		repalloc(w->domains, size);
	w->domains[w->ndomains++] = domain;
	return domain;
}

/* One row, as SPI returned it */
static void
domain_read(Worker *w, uint64 row)
{
	int			id = (int) row_int64(row, 1, 0);
	char	   *pattern = row_text(row, 2);
	char	   *rate = row_text(row, 3);
	Domain	   *domain = domains_by_id(w, id);
	Rate		before;
	int			connections;
	char		why[256];

	if (domain == NULL)
		domain = domains_add(w, id);
	if (domain->pattern == NULL || strcmp(domain->pattern, pattern) != 0)
	{
		if (domain->pattern != NULL)
			pfree(domain->pattern);
		domain->pattern = MemoryContextStrdup(TopMemoryContext, pattern);
	}
	before = domain->rate;
	connections = domain->connections;
	if (rate == NULL ||
		!rate_parse(rate, strlen(rate), &domain->rate, why, sizeof(why)))
		domain->rate.count = 0;
	domain->connections = (int) row_int64(row, 4, 0);
	seats_resize(&domain->seats, domain->connections > 0 ?
				 domain->connections : SEATS_MAX);
	domain->seats.share = domain->seats.capacity;
	domain->current = true;
	if (before.count == domain->rate.count &&
		before.unit_us == domain->rate.unit_us &&
		connections == domain->connections)
		return;
	domain->aside_until = 0;
	w->lifted = true;
}

/* Those of which we have no recipient now; those deleted are forgotten */
static void
domains_forget(Worker *w)
{
	int			i;

	for (i = w->ndomains - 1; i >= 0; i--)
	{
		Domain	   *domain = w->domains[i];

		if (domain->claimed + domain->begun > 0)
			continue;
		seats_close(&domain->seats);
		if (domain->current)
			continue;
		w->lifted = true;
		pfree(domain->pattern);
		pfree(domain);
		w->domains[i] = w->domains[--w->ndomains];
	}
}

static int
domain_compare(const void *a, const void *b)
{
	return (*(Domain *const *) a)->id - (*(Domain *const *) b)->id;
}

/* Read the limits, in order of id: in this order their rows are locked */
void
domains_load(Worker *w)
{
	static Statement load = {
		.sql = "SELECT id::int8, pattern, rate, connections::int8"
		" FROM mailman.domain_limit ORDER BY id"
	};
	uint64		rows = statement_run(&load, SPI_OK_SELECT, NULL, NULL);
	uint64		row;
	int			i;

	for (i = 0; i < w->ndomains; i++)
		w->domains[i]->current = false;
	for (row = 0; row < rows; row++)
		domain_read(w, row);
	domains_forget(w);
	if (w->ndomains > 1)
		qsort(w->domains, w->ndomains, sizeof(Domain *), domain_compare);
}

/* Does the pattern fit?  How much of the domain it names; 0: it does not. */
static size_t
domain_fits(const char *pattern, const char *domain, size_t len)
{
	size_t		fixed = strlen(pattern);

	if (strncmp(pattern, "*.", 2) != 0)
		return len == fixed && memcmp(pattern, domain, len) == 0 ?
			len + 1 : 0;
	fixed--;					/* with the dot */
	return len > fixed &&
		memcmp(pattern + 1, domain + len - fixed, fixed) == 0 ? fixed : 0;
}

/* The domain of an address as the wire has it; false: there is none */
static bool
domain_of(const char *email, StringInfo wire, const char **domain)
{
	bool		smtputf8 = false;
	const char *why;
	const char *at;

	resetStringInfo(wire);
	if (!address_to_wire(wire, email, strlen(email), &smtputf8, &why) ||
		(at = strrchr(wire->data, '@')) == NULL)
		return false;
	*domain = at + 1;
	return true;
}

/* The limit a recipient is under: the longest pattern that fits, or NULL */
Domain *
domains_find(Worker *w, const char *email)
{
	StringInfoData wire;
	const char *domain;
	size_t		best_length = 0;
	Domain	   *best = NULL;
	int			i;

	if (w->ndomains == 0)
		return NULL;
	initStringInfo(&wire);
	if (!domain_of(email, &wire, &domain))
		return NULL;
	for (i = 0; i < w->ndomains; i++)
	{
		size_t		length = domain_fits(w->domains[i]->pattern, domain,
										 strlen(domain));

		if (w->domains[i]->current && length > best_length)
		{
			best_length = length;
			best = w->domains[i];
		}
	}
	pfree(wire.data);
	return best;
}

/* Is it time for a mail to it, and is there a seat? */
bool
domain_may_begin(Domain *domain, int64 now)
{
	if (domain->rate.count > 0 && domain->slots.ngrants > 0 &&
		slots_next(&domain->slots) > now)
		return false;
	return domain->connections == 0 || domain->seats.held > domain->begun ||
		seats_take(&domain->seats, domain->begun + 1) > domain->begun;
}

void
domain_begin(Domain *domain, int64 now)
{
	(void) slots_pop(&domain->slots, now);
	domain->claimed--;
	domain->begun++;
}

/* A mail to it has ended, or was given back */
void
domain_end(Domain *domain)
{
	domain->begun--;
	seats_keep(&domain->seats, domain->begun);
}
