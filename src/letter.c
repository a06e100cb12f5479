/*-------------------------------------------------------------------------
 *
 * letter.c
 *	  A letter and its newsletter: what is the same for every recipient.
 *
 * Loaded by mailman_send() to see that the letter can be sent before anything
 * is queued, by mailman_preview(), and by the worker once per run: content
 * does not change while a letter is being sent.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mailman.h"
#include "miscadmin.h"
#include "policy.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* What a row of letter_load() holds, from 1 */
enum
{
	COL_NEWSLETTER = 1, COL_STATE, COL_OWNER, COL_SENDER, COL_RELAYS,
	COL_HAS_BODY, COL_HOLD, COL_REVISION, COL_MAX_ATTEMPTS, COL_MAX_AGE,
	COL_SEND_AT, COL_RESUMED_AT, COL_POLICY, COL_RETRY_SCHEDULE,
	COL_CAN_UNSUBSCRIBE, COL_PURGED, COL_OWNER_OID, COL_SENDER_OID,
	COL_MAX_MESSAGE_SIZE,
	/* of letter_hold() only */
	COL_XMIN, COL_CTID
};

static List *
row_text_list(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			i;
	List	   *list = NIL;

	if (isnull)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		if (!nulls[i])
			list = lappend(list, TextDatumGetCString(elements[i]));
	}
	return list;
}

/* The newsletter's own schedule; a CHECK has let it in */
static void
letter_read_retry(Letter *letter)
{
	const char *hint;
	char	   *why;

	if (letter->retry_schedule == NULL)
		return;
	letter->retry = palloc(sizeof(RetrySchedule));
	if (!retry_schedule_parse(letter->retry_schedule, letter->retry, &why,
							  &hint))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("retry_schedule of newsletter " INT64_FORMAT " is none",
						letter->newsletter_id),
				 errdetail("%s", why)));
}

#define LETTER_COLUMNS \
	"SELECT l.newsletter_id, l.state, n.owner::text, l.sender::text," \
	" n.relays," \
	" coalesce(octet_length(l.text_body), 0)" \
	" + coalesce(octet_length(l.html_body), 0) > 0," \
	" l.on_doubt = 'hold', l.revision::int8, n.max_attempts::int8," \
	" (extract(epoch FROM n.max_age) * 1000000)::int8, l.send_at," \
	" l.resumed_at," \
	" n.policy, n.retry_schedule," \
	" num_nonnulls(n.unsubscribe_url, n.unsubscribe_mailto) > 0," \
	" l.purged_at IS NOT NULL, n.owner_oid, l.sender_oid," \
	" n.max_message_size::int8"
#define LETTER_FROM \
	" FROM mailman.letter l" \
	" JOIN mailman.newsletter n ON n.id = l.newsletter_id"

/* The letter in the only row of SPI_tuptable */
static Letter *
letter_read(int64 letter_id)
{
	Letter	   *letter;

	letter = palloc0(sizeof(Letter));
	letter->id = letter_id;
	letter->newsletter_id = row_int64(0, COL_NEWSLETTER, 0);
	letter->state = row_text(0, COL_STATE);
	letter->owner_oid = role_known(row_oid(0, COL_OWNER_OID));
	letter->owner = role_called(letter->owner_oid, row_text(0, COL_OWNER));
	letter->sender_oid = role_known(row_oid(0, COL_SENDER_OID));
	letter->sender = role_called(letter->sender_oid, row_text(0, COL_SENDER));
	letter->relays = row_text_list(0, COL_RELAYS);
	letter->has_body = row_bool(0, COL_HAS_BODY);
	letter->hold = row_bool(0, COL_HOLD);
	letter->revision = (int) row_int64(0, COL_REVISION, 1);
	letter->max_attempts = (int) row_int64(0, COL_MAX_ATTEMPTS, 1);
	letter->max_age = row_int64(0, COL_MAX_AGE, 0);
	letter->send_at = row_int64(0, COL_SEND_AT, 0);
	letter->resumed_at = row_int64(0, COL_RESUMED_AT, 0);
	letter->policy = row_text(0, COL_POLICY);
	letter->retry_schedule = row_text(0, COL_RETRY_SCHEDULE);
	letter->can_unsubscribe = row_bool(0, COL_CAN_UNSUBSCRIBE);
	letter->purged = row_bool(0, COL_PURGED);
	letter->max_message_size = row_int64(0, COL_MAX_MESSAGE_SIZE, 0);
	letter_read_retry(letter);
	return letter;
}

static Letter *
letter_load_by(int64 letter_id,
			   uint64 (*run) (Statement *, int, const Datum *, const char *))
{
	static Statement load = {
		.sql = LETTER_COLUMNS LETTER_FROM " WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};

	return run(&load, SPI_OK_SELECT, values, NULL) > 0 ?
		letter_read(letter_id) : NULL;
}

Letter *
letter_load(int64 letter_id)
{
	return letter_load_by(letter_id, statement_run);
}

bool
letter_share(int64 letter_id)
{
	static Statement share = {
		.sql = "SELECT FROM mailman.letter WHERE id = $1 FOR KEY SHARE",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};

	return statement_run(&share, SPI_OK_SELECT, values, NULL) > 0;
}

void
letter_check_not_purged(const Letter *letter)
{
	if (letter->purged)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("letter " INT64_FORMAT " was purged", letter->id),
				 errdetail("Who has got it is not known any more."),
				 errhint("Make a new letter.")));
}

/* In the same words if there is no such letter: ids of others are not told */
void
letter_deny(int64 letter_id, Oid role)
{
	const char *name = GetUserNameFromId(role, false);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for letter " INT64_FORMAT, letter_id),
			 errdetail("No newsletter whose owner role \"%s\" is a member of has such a letter.",
					   name),
			 errhint("Let newsletter.owner be a role whose members may send.")));
}

static Letter *
letter_exists(int64 letter_id, Letter *letter)
{
	if (letter == NULL && !role_is_admin(extension_caller()))
		letter_deny(letter_id, extension_caller());
	if (letter == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("letter " INT64_FORMAT " does not exist", letter_id),
				 errhint("Letters are rows of mailman.letter.")));
	return letter;
}

/* Of what letter_hold() has read; what is loaded later is as new or newer */
static void
letter_read_mark(Letter *letter)
{
	bool		isnull;
	TransactionId xmin =
		DatumGetTransactionId(row_datum(0, COL_XMIN, &isnull));
	ItemPointerData place =
		*(ItemPointer) DatumGetPointer(row_datum(0, COL_CTID, &isnull));

	letter_mark_read(letter->newsletter_id, letter->revision, &letter->mark);
	letter_mark_newsletter(&letter->mark, xmin, &place);
}

/*
 * If it is not known: one statement that finds the letter and keeps it, and
 * then what tells whether anything it is made of has changed.  If the letter's
 * row is locked by somebody, nothing is read before that is over, or it might
 * be out of date.
 */
Letter *
letter_hold(int64 letter_id)
{
	static Statement hold = {
		.sql = LETTER_COLUMNS ", n.xmin, n.ctid" LETTER_FROM
		" WHERE l.id = $1 FOR KEY SHARE OF l SKIP LOCKED",
		.nargs = 1,
		.argtypes = {INT8OID},
		.generic = true
	};
	Datum		values[1] = {Int64GetDatum(letter_id)};
	Letter	   *letter = letter_known_hold(letter_id);

	if (letter != NULL)
	{
		letter->origin = origin_look();
		return control_foresee(letter);
	}
	if (!IsolationUsesXactSnapshot() &&
		statement_run(&hold, SPI_OK_SELECT, values, NULL) > 0)
		letter = letter_read(letter_id);
	else if (letter_share(letter_id) &&
			 statement_run_now(&hold, SPI_OK_SELECT, values, NULL) > 0)
		letter = letter_read(letter_id);
	letter = letter_exists(letter_id, letter);
	letter_read_mark(letter);
	letter->origin = origin_look();
	return control_foresee(letter);
}

/* see letter.h */
Letter *
letter_find(int64 letter_id)
{
	return letter_exists(letter_id, letter_load(letter_id));
}

/* see letter.h */
Letter *
letter_find_now(int64 letter_id)
{
	return letter_exists(letter_id,
						 letter_load_by(letter_id, statement_run_now));
}

/* see letter.h */
Letter *
letter_find_shared(int64 letter_id)
{
	Letter	   *letter = NULL;

	if (letter_share(letter_id))
		letter = letter_load_by(letter_id, statement_run_now);
	return control_foresee(letter_exists(letter_id, letter));
}

/* see letter.h */
void
letter_load_links(Letter *letter)
{
	static Statement load = {
		.sql = "SELECT unsubscribe_url FROM mailman.newsletter WHERE id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->newsletter_id)};
	Secrets		secrets;
	const Secret *latest;

	if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "newsletter " INT64_FORMAT " is gone",
			 letter->newsletter_id);
	letter->render.letter_id = letter->id;
	letter->render.newsletter_id = letter->newsletter_id;
	letter->render.unsubscribe_url = row_text(0, 1);
	secrets_load(letter->newsletter_id, &secrets);
	latest = &secrets.list[secrets.count - 1];
	letter->render.secret = latest->key;
	letter->render.secret_len = latest->len;
	letter->render.first_secret = secrets.list[0].key;
	letter->render.first_secret_len = secrets.list[0].len;
}

/* A column of jsonb as templates see it */
static TemplateNode
row_node(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return lookup_node(isnull ? NULL : DatumGetJsonbPCopy(value));
}

/* see letter.h */
void
letter_refuse(const Letter *letter, const char *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("letter " INT64_FORMAT " cannot be rendered", letter->id),
			 errdetail("%s", fault)));
}

/*
 * {{newsletter.x}} and {{letter.x}} are made here; no times, which would be
 * written as the session likes.
 */
void
letter_load_content(Letter *letter)
{
	static Statement load = {
		.sql = "SELECT n.from_name, n.from_address, n.reply_to, n.bounce_address,"
		" l.subject, l.text_body, l.html_body, l.strict,"
		" jsonb_build_object('id', n.id, 'ref', n.ref, 'name', n.name,"
		" 'from_name', n.from_name, 'from_address', n.from_address),"
		" jsonb_build_object('id', l.id, 'ref', l.ref)"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" WHERE l.id = $1",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	Datum		values[1] = {Int64GetDatum(letter->id)};
	RenderLetter *render = &letter->render;
	const Partials *partials;
	const char *fault;

	if (!letter->has_body)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("letter " INT64_FORMAT " has no body", letter->id),
				 errhint("Set text_body, html_body or both.")));
	letter_limit(letter);
	work_renew(render->work, WORK_STEPS_MAX);
	partials = partials_load(letter->newsletter_id);
	if (statement_run(&load, SPI_OK_SELECT, values, NULL) != 1)
		elog(ERROR, "letter " INT64_FORMAT " is gone", letter->id);
	render->from_name = row_text(0, 1);
	render->from_address = row_text(0, 2);
	render->reply_to = row_text(0, 3);
	render->return_path = row_text(0, 4);
	render->strict = row_bool(0, 8);
	render->newsletter = row_node(0, 9);
	render->letter = row_node(0, 10);
	letter_check_column(letter, "text_body", 0, 6);
	letter_check_column(letter, "html_body", 0, 7);
	render->subject = letter_parse(letter, "subject", row_text(0, 5),
								   partials);
	render->text_body = letter_parse(letter, "text_body", row_text(0, 6),
									 partials);
	render->html_body = letter_parse(letter, "html_body", row_text(0, 7),
									 partials);
	letter_load_fields(letter, partials);
	letter_load_links(letter);
	letter_encode_files(letter);
	render->fixed = render_prepare(render, &fault);
	if (render->fixed == NULL)
		letter_refuse(letter, fault);
	letter_check_files(letter, render_fixed_size(render->fixed), true);
}

void
letter_check_member(const Letter *letter, Oid role)
{
	if (!role_may(role, letter->owner_oid))
		letter_deny(letter->id, role);
	owner_check_exists(letter->newsletter_id, letter->owner,
					   letter->owner_oid);
}

void
letter_check_rights(const Letter *letter, Oid role)
{
	ListCell   *cell;
	Policy		policy;

	if (letter->relays == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("newsletter " INT64_FORMAT " of letter " INT64_FORMAT " has no relay",
						letter->newsletter_id, letter->id),
				 errhint("CREATE SERVER ... FOREIGN DATA WRAPPER mailman_smtp, and put its name into newsletter.relays.")));
	foreach(cell, letter->relays)
	{
		const char *from = relay_check(lfirst(cell), role);

		if (from != NULL)
			letter_check_from(letter, lfirst(cell), from);
	}
	(void) policy_find(letter, &policy);
}

void
letter_check_sendable(Letter *letter, Oid role)
{
	/* first what is to be sent: the relays are asked about just that */
	letter_load_content(letter);
	letter_check_rights(letter, role);
}

/* Nobody is sent to before send_at, and nobody waits before it */
static TimestampTz
letter_starts_at(const Letter *letter, TimestampTz queued_at)
{
	return Max(queued_at, letter->send_at);
}

int64
letter_date(const Letter *letter, TimestampTz queued_at)
{
	return timestamptz_to_time_t(letter_starts_at(letter, queued_at));
}

TimestampTz
letter_too_old_at(const Letter *letter, TimestampTz queued_at)
{
	return letter_starts_at(letter, queued_at) + letter->max_age;
}
