/*-------------------------------------------------------------------------
 *
 * aside.c
 *	  Who may be claimed while domains have limits, and who is set aside.
 *
 * A part of the transaction in reserve.c: the candidates of the next turn are
 * chosen in it, those under a limit take slots of its rate, and who gets none
 * is set aside by the turn until there is likely to be one.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Who must wait for a domain without a rate is asked again after so long */
#define ASIDE_US USECS_PER_SEC

/* nobody longer than this because of others, as a limit may be lifted */
#define ASIDE_MAX_US (300 * USECS_PER_SEC)

/* How many of those wanted may be under way */
static int
domain_places(const Domain *domain)
{
	if (domain->connections == 0)
		return domain->wanted;
	return Min(domain->wanted, Max(2 * domain->connections -
								   domain->claimed - domain->begun, 0));
}

/* Slots we have that nobody claimed will use */
static int
domain_spare(const Domain *domain)
{
	return Max(slots_count(&domain->slots) - domain->claimed, 0);
}

/* How many of those wanted it can have now */
static int
domain_room(const Domain *domain, const PaceGrant *grant)
{
	int			room = domain_places(domain);

	if (domain->rate.count > 0)
		room = Min(room, domain_spare(domain) + grant->count);
	return room;
}

/* Take slots of a domain's rate */
static void
domain_negotiate(Domain *domain, PaceGrant *grant)
{
	static Statement make = {
		.sql = "INSERT INTO mailman.domain_state (id) VALUES ($1)"
		" ON CONFLICT DO NOTHING",
		.nargs = 1,
		.argtypes = {INT4OID}
	};
	static Statement lock = {
		.sql = "SELECT arrival FROM mailman.domain_state WHERE id = $1"
		" FOR NO KEY UPDATE",
		.nargs = 1,
		.argtypes = {INT4OID}
	};
	static Statement write = {
		.sql = "UPDATE mailman.domain_state SET arrival = $2 WHERE id = $1",
		.nargs = 2,
		.argtypes = {INT4OID, TIMESTAMPTZOID}
	};
	Datum		values[2] = {Int32GetDatum(domain->id)};
	Pace		pace = {.unit_us = domain->rate.unit_us,
	.horizon_us = SLOTS_HORIZON_US};

	seats_count(&domain->seats);
	domain->seats.share = domain->seats.capacity;	/* first come */
	if (statement_run(&lock, SPI_OK_SELECT, values, NULL) == 0)
	{
		statement_run(&make, SPI_OK_INSERT, values, NULL);
		statement_run(&lock, SPI_OK_SELECT, values, NULL);
	}
	pace.interval_us = rate_interval_us(&domain->rate);
	/* the clock is read after the row was locked, as for relays */
	*grant = pace_take(&pace, row_int64(0, 1, 0), GetCurrentTimestamp(),
					   Max(domain_places(domain) - domain_spare(domain), 0));
	values[1] = TimestampTzGetDatum(grant->tat_us);
	statement_run(&write, SPI_OK_UPDATE, values, NULL);
}

/* Whose domain has a limit?  As the candidates; NULL: none. */
static Domain **
candidates_domains(Worker *w, const Candidates *c)
{
	static Statement emails = {
		.sql = "SELECT u.n, s.email"
		" FROM unnest($1) WITH ORDINALITY AS u(id, n)"
		" JOIN mailman.subscription s ON s.id = u.id",
		.nargs = 1,
		.argtypes = {INT8ARRAYOID}
	};
	Domain	  **domains = palloc0(Max(c->count, 1) * sizeof(Domain *));
	Datum		values[1] = {array_of(c->ids, NULL, c->count, INT8OID)};
	uint64		rows = statement_run(&emails, SPI_OK_SELECT, values, NULL);
	uint64		row;

	for (row = 0; row < rows; row++)
	{
		int			n = (int) row_int64(row, 1, 1) - 1;

		domains[n] = domains_find(w, row_text(row, 2));
		if (domains[n] != NULL)
			domains[n]->wanted++;
	}
	return domains;
}

/*
 * When who is set aside for a domain is likely to have a turn: behind those
 * set aside before, or all of them would come again and again.
 */
static TimestampTz
domain_until(Domain *domain, const PaceGrant *grant, TimestampTz now,
			 int position)
{
	if (domain->rate.count > 0)
	{
		TimestampTz until = Max(grant->tat_us, now);

		until = Max(until, domain->aside_until);
		domain->aside_until =
			Min(until + (TimestampTz) rate_interval_us(&domain->rate),
				now + ASIDE_MAX_US);
		return until;
	}
	return now + ASIDE_US + position * ASIDE_US / (4 * domain->connections);
}

/* Keep those who may be claimed, set the others aside */
static void
candidates_sort(Worker *w, Candidates *c, Domain **domains,
				const PaceGrant *grants)
{
	int		   *room = palloc0(w->ndomains * sizeof(int));
	TimestampTz now = GetCurrentTimestamp();
	int			kept = 0;
	int			i;
	int			d;

	for (d = 0; d < w->ndomains; d++)
		room[d] = domain_room(w->domains[d], &grants[d]);
	c->aside = palloc(c->count * sizeof(Datum));
	c->aside_states = palloc(c->count * sizeof(Datum));
	c->aside_until = palloc(c->count * sizeof(Datum));
	for (i = 0; i < c->count; i++)
	{
		for (d = 0; d < w->ndomains && domains[i] != w->domains[d]; d++)
			;
		if (d < w->ndomains && room[d]-- <= 0)
		{
			c->aside[c->naside] = c->ids[i];
			c->aside_states[c->naside] = c->states[i];
			c->aside_until[c->naside++] =
				TimestampTzGetDatum(domain_until(w->domains[d],
												 &grants[d],
												 now, -room[d] - 1));
			continue;
		}
		candidates_keep(c, i, kept++);
	}
	c->count = kept;
}

/*
 * Choose whom to claim while somebody's domain is limited, and take slots for
 * them.  What the turn finds changed by then it leaves out.
 */
Candidates *
domains_choose(Worker *w, int room, PaceGrant **grants)
{
	MemoryContext old = MemoryContextSwitchTo(w->chosen_context);
	Candidates *c = palloc(sizeof(Candidates));
	Domain	  **domains;
	int			d;

	if (w->decided != NULL)
		*c = *w->decided;
	else
		candidates_choose(w, c, room, GetCurrentTimestamp());
	for (d = 0; d < w->ndomains; d++)
		w->domains[d]->wanted = 0;
	*grants = palloc0(w->ndomains * sizeof(PaceGrant));
	domains = candidates_domains(w, c);
	for (d = 0; d < w->ndomains; d++)
	{
		if (w->domains[d]->wanted > 0)
			(void) seats_open(&w->domains[d]->seats);
		if (w->domains[d]->wanted > 0 && w->domains[d]->rate.count > 0)
			domain_negotiate(w->domains[d], &(*grants)[d]);
	}
	candidates_sort(w, c, domains, *grants);
	MemoryContextSwitchTo(old);
	return c;
}
