/*-------------------------------------------------------------------------
 *
 * relay_state_row.c
 *	  The row of a relay that all workers of a database share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "relay_state.h"
#include "utils/builtins.h"

enum
{
	COL_FAILURES = 1, COL_FAILED_AT, COL_RETRY_AT, COL_ERROR, COL_OUT_KEY,
	COL_ARRIVAL, COL_SLOW_RATE, COL_SLOW_FROM, COL_SLOWED_AT, COL_COUNTED_AT,
	COL_SENT, COL_REJECTED, COL_SENT_BEFORE, COL_REJECTED_BEFORE,
	COL_OUT_MAPPING, COL_OUT_UNTIL, COL_OUT_TRIES
};

#define COLUMNS "failures::int8, failed_at, retry_at, error, out_key, arrival," \
	" slow_rate, slow_from, slowed_at, counted_at, sent, rejected," \
	" sent_before, rejected_before, out_mapping, out_until," \
	" out_tries::int8"

static void
relay_state_read(RelayState *s)
{
	char	   *error = row_text(0, COL_ERROR);
	bool		isnull;

	s->failures = (int) row_int64(0, COL_FAILURES, 0);
	s->failed_at = row_int64(0, COL_FAILED_AT, 0);
	s->retry_at = row_int64(0, COL_RETRY_AT, 0);
	strlcpy(s->error, error ? error : "", sizeof(s->error));
	(void) row_datum(0, COL_OUT_KEY, &isnull);
	s->out = !isnull;
	s->out_key = row_int64(0, COL_OUT_KEY, 0);
	s->arrival = row_int64(0, COL_ARRIVAL, 0);
	s->slow_rate = row_float8(0, COL_SLOW_RATE);
	s->slow_from = row_float8(0, COL_SLOW_FROM);
	s->slowed_at = row_int64(0, COL_SLOWED_AT, 0);
	s->counted_at = row_int64(0, COL_COUNTED_AT, 0);
	s->sent = row_int64(0, COL_SENT, 0);
	s->rejected = row_int64(0, COL_REJECTED, 0);
	s->sent_before = row_int64(0, COL_SENT_BEFORE, 0);
	s->rejected_before = row_int64(0, COL_REJECTED_BEFORE, 0);
	s->out_mapping = row_oid(0, COL_OUT_MAPPING);
	s->out_until = row_int64(0, COL_OUT_UNTIL, 0);
	s->out_tries = (int) row_int64(0, COL_OUT_TRIES, 0);
}

/* Read it without a lock; a relay nobody has used yet is well */
void
relay_state_look(Oid server, RelayState *s)
{
	static Statement look = {
		.sql = "SELECT " COLUMNS " FROM mailman.relay_state WHERE server = $1",
		.nargs = 1,
		.argtypes = {OIDOID}
	};
	Datum		values[1] = {ObjectIdGetDatum(server)};

	memset(s, 0, sizeof(*s));
	s->server = server;
	if (statement_run(&look, SPI_OK_SELECT, values, NULL) > 0)
		relay_state_read(s);
}

/* The first to use a relay makes its row, and forgets relays that are gone */
static void
relay_state_make(Oid server)
{
	static Statement forget = {
		.sql = "DELETE FROM mailman.relay_state WHERE server IN"
		" (SELECT server FROM mailman.relay_state r WHERE NOT EXISTS"
		" (SELECT FROM pg_catalog.pg_foreign_server f WHERE f.oid = r.server)"
		" FOR UPDATE SKIP LOCKED)"
	};
	static Statement make = {
		.sql = "INSERT INTO mailman.relay_state (server) VALUES ($1)"
		" ON CONFLICT DO NOTHING",
		.nargs = 1,
		.argtypes = {OIDOID}
	};
	Datum		values[1] = {ObjectIdGetDatum(server)};

	statement_run(&forget, SPI_OK_DELETE, NULL, NULL);
	statement_run(&make, SPI_OK_INSERT, values, NULL);
}

/* Lock the row, which others hold for an instant only, and read it */
void
relay_state_lock(Oid server, RelayState *s)
{
	static Statement lock = {
		.sql = "SELECT " COLUMNS " FROM mailman.relay_state WHERE server = $1"
		" FOR NO KEY UPDATE",
		.nargs = 1,
		.argtypes = {OIDOID}
	};
	Datum		values[1] = {ObjectIdGetDatum(server)};

	memset(s, 0, sizeof(*s));
	s->server = server;
	if (statement_run(&lock, SPI_OK_SELECT, values, NULL) == 0)
	{
		relay_state_make(server);
		if (statement_run(&lock, SPI_OK_SELECT, values, NULL) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("relay %u was just dropped", server)));
	}
	relay_state_read(s);
}

static void
state_set(Datum *values, char *nulls, int column, Datum value, bool isnull)
{
	values[column] = value;
	nulls[column] = isnull ? 'n' : ' ';
}

static void
state_set_time(Datum *values, char *nulls, int column, TimestampTz time)
{
	state_set(values, nulls, column, TimestampTzGetDatum(time), time == 0);
}

void
relay_state_write(const RelayState *s)
{
	static Statement write = {
		.sql = "UPDATE mailman.relay_state SET failures = $2, failed_at = $3,"
		" retry_at = $4, error = $5, out_key = $6, arrival = $7,"
		" slow_rate = $8, slow_from = $9, slowed_at = $10, counted_at = $11,"
		" sent = $12, rejected = $13, sent_before = $14,"
		" rejected_before = $15, out_mapping = $16, out_until = $17,"
		" out_tries = $18 WHERE server = $1",
		.nargs = 18,
		.argtypes = {OIDOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
			INT8OID, TIMESTAMPTZOID, FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID,
			TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT8OID,
		OIDOID, TIMESTAMPTZOID, INT4OID}
	};
	Datum		values[18] = {ObjectIdGetDatum(s->server)};
	char		nulls[18] = {' '};

	state_set(values, nulls, COL_FAILURES, Int32GetDatum(s->failures), false);
	state_set_time(values, nulls, COL_FAILED_AT, s->failed_at);
	state_set_time(values, nulls, COL_RETRY_AT, s->retry_at);
	state_set(values, nulls, COL_ERROR, CStringGetTextDatum(s->error),
			  s->error[0] == '\0');
	state_set(values, nulls, COL_OUT_KEY, Int64GetDatum(s->out_key), !s->out);
	state_set_time(values, nulls, COL_ARRIVAL, s->arrival);
	state_set(values, nulls, COL_SLOW_RATE, Float8GetDatum(s->slow_rate),
			  s->slow_rate == 0);
	state_set(values, nulls, COL_SLOW_FROM, Float8GetDatum(s->slow_from),
			  s->slow_rate == 0);
	state_set_time(values, nulls, COL_SLOWED_AT, s->slowed_at);
	state_set_time(values, nulls, COL_COUNTED_AT, s->counted_at);
	state_set(values, nulls, COL_SENT, Int64GetDatum(s->sent), false);
	state_set(values, nulls, COL_REJECTED, Int64GetDatum(s->rejected), false);
	state_set(values, nulls, COL_SENT_BEFORE, Int64GetDatum(s->sent_before),
			  false);
	state_set(values, nulls, COL_REJECTED_BEFORE,
			  Int64GetDatum(s->rejected_before), false);
	state_set(values, nulls, COL_OUT_MAPPING,
			  ObjectIdGetDatum(s->out_mapping), !OidIsValid(s->out_mapping));
	state_set_time(values, nulls, COL_OUT_UNTIL, s->out_until);
	state_set(values, nulls, COL_OUT_TRIES, Int32GetDatum(s->out_tries), false);
	statement_run(&write, SPI_OK_UPDATE, values, nulls);
}
