/*-------------------------------------------------------------------------
 *
 * report_facts.c
 *	  What a report says of a letter that is not counted: how it was to be
 *	  sent.
 *
 * Named one by one, so that nothing becomes public because a column or an
 * option is new.  No secrets: no key, no user mapping, no template but the
 * subject's.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mailman.h"
#include "report.h"
#include "utils/builtins.h"

#define TIME_FORMAT "'YYYY-MM-DD HH24:MI:SS TZ'"

/* Rows of name and value */
static void
load_facts(Statement *statement, int64 letter_id, ReportFacts *facts)
{
	Datum		values[1] = {Int64GetDatum(letter_id)};
	int			i;

	facts->count = (int) statement_look(statement, values, NULL);
	facts->facts = palloc0(Max(facts->count, 1) * sizeof(ReportFact));
	for (i = 0; i < facts->count; i++)
	{
		facts->facts[i].name = row_text(i, 1);
		facts->facts[i].value = row_text(i, 2);
	}
}

/* What ended its last worker may quote a row, and so an address */
static void
load_letter(Report *r)
{
	static Statement load = {
		.sql = "SELECT f.name, f.value FROM mailman.letter l,"
		" LATERAL (VALUES ('Reference', l.ref),"
		" ('Made', to_char(l.created_at, " TIME_FORMAT ")),"
		" ('To be sent from', to_char(l.send_at, " TIME_FORMAT ")),"
		" ('Sent by', coalesce((SELECT rolname FROM pg_roles"
		" WHERE oid = l.sender_oid), l.sender)::text),"
		" ('Resumed', to_char(l.resumed_at, " TIME_FORMAT ")),"
		" ('Revision of the content', l.revision::text),"
		" ('Parts', concat_ws(', ', CASE WHEN l.text_body <> ''"
		" THEN 'text/plain' END, CASE WHEN l.html_body <> ''"
		" THEN 'text/html' END)),"
		" ('Attachments', (SELECT count(*) || ', '"
		" || pg_size_pretty(sum(octet_length(content)))"
		" FROM mailman.attachment WHERE letter_id = $1 HAVING count(*) > 0)),"
		" ('Own header fields', (SELECT string_agg(k, ', ')"
		" FROM jsonb_object_keys(l.headers) k)),"
		" ('Missing variables', CASE WHEN l.strict THEN 'an error'"
		" ELSE 'empty' END),"
		" ('In doubt', CASE l.on_doubt WHEN 'hold' THEN 'hold'"
		" ELSE 'send again, with the same Message-ID' END),"
		" ('Times in doubt', l.doubts::text),"
		" ('Workers', l.run::text),"
		" ('Last error of a worker', l.last_error)) f(name, value)"
		" WHERE l.id = $1 AND f.value <> ''",
		.nargs = 1,
		.argtypes = {INT8OID}
	};
	int			i;

	load_facts(&load, r->letter_id, &r->letter);
	for (i = 0; i < r->letter.count; i++)
	{
		ReportFact *fact = &r->letter.facts[i];

		if (strcmp(fact->name, "Last error of a worker") == 0)
			fact->value = report_mask(fact->value, NULL);
	}
}

static void
load_newsletter(Report *r)
{
	static Statement load = {
		.sql = "SELECT f.name, f.value FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id,"
		" LATERAL (VALUES ('Name', n.name), ('Reference', n.ref),"
		" ('Owner', coalesce((SELECT rolname FROM pg_roles"
		" WHERE oid = n.owner_oid), n.owner)::text),"
		" ('From', concat_ws(' ', n.from_name, '<' || n.from_address || '>')),"
		" ('Reply-To', n.reply_to),"
		" ('Envelope sender', coalesce(n.bounce_address, n.from_address)),"
		" ('List-Id', n.list_id),"
		" ('Unsubscribe URL', n.unsubscribe_url),"
		" ('Unsubscribe address', n.unsubscribe_mailto),"
		" ('Feedback-ID', n.feedback_id), ('Precedence', n.precedence),"
		" ('DKIM domain', n.dkim_domain), ('DKIM selector', n.dkim_selector),"
		" ('Policy', n.policy),"
		" ('Retry schedule', coalesce(n.retry_schedule,"
		" current_setting('mailman.retry_schedule', true))),"
		" ('Most attempts', n.max_attempts::text),"
		" ('Given up after', n.max_age::text)) f(name, value)"
		" WHERE l.id = $1 AND f.value <> ''",
		.nargs = 1,
		.argtypes = {INT8OID}
	};

	load_facts(&load, r->letter_id, &r->newsletter_facts);
}

/* Options of servers are for all to see; those of user mappings are not */
static void
load_servers(Report *r)
{
	static Statement load = {
		.sql = "SELECT u.name, CASE WHEN f.oid IS NULL"
		" THEN 'does not exist any more' ELSE (SELECT string_agg("
		"CASE WHEN option_name = 'url' THEN option_value"
		" ELSE option_name || ' ' || option_value END, ', '"
		" ORDER BY option_name <> 'url', option_name)"
		" FROM pg_options_to_table(f.srvoptions) WHERE option_name IN ('url',"
		" 'tls', 'connections', 'messages', 'rate', 'warm_up',"
		" 'warm_up_start', 'weight')) END"
		" FROM mailman.letter l"
		" JOIN mailman.newsletter n ON n.id = l.newsletter_id"
		" CROSS JOIN unnest(n.relays) WITH ORDINALITY AS u(name, i)"
		" LEFT JOIN pg_foreign_server f ON f.srvname = u.name"
		" WHERE l.id = $1 ORDER BY u.i",
		.nargs = 1,
		.argtypes = {INT8OID}
	};

	load_facts(&load, r->letter_id, &r->servers);
}

static void
load_settings(Report *r)
{
	static Statement load = {
		.sql = "SELECT name, current_setting(name, true)"
		" FROM unnest(ARRAY['mailman.enabled', 'mailman.max_workers',"
		" 'mailman.turn_size', 'mailman.turn_interval',"
		" 'mailman.retry_schedule', 'mailman.pause_rejections',"
		" 'mailman.pause_failures', 'mailman.shutdown_grace'])"
		" WITH ORDINALITY AS s(name, i) WHERE $1 IS NOT NULL ORDER BY i",
		.nargs = 1,
		.argtypes = {INT8OID}
	};

	load_facts(&load, r->letter_id, &r->settings);
}

/* see report.h */
void
report_load_facts(Report *r)
{
	load_letter(r);
	load_newsletter(r);
	load_servers(r);
	load_settings(r);
}
