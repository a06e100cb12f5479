/*-------------------------------------------------------------------------
 *
 * mailman.h
 *	  What the files of the SQL layer share, some of it in headers of its own
 *	  (txn.h, hold.h, letter.h, retry.h); process.h and worker.h have what only
 *	  some of them do.
 *
 * Three layers never mix:
 *
 *	SQL		(this header)	transactions, tables, ereport(); no socket
 *	pure	(pure.h, pace.h, ...)	bytes in, bytes out; no SQL, no socket
 *	network	(transfer.h)	sockets; no SQL, returns codes, never throws
 *
 * worker.c is the one file that calls all three, one after the other.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_H
#define MAILMAN_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "hmac.h"
#include "hold.h"
#include "letter.h"
#include "origin.h"
#include "pace.h"
#include "pure.h"
#include "retry.h"
#include "table_use.h"
#include "transfer.h"
#include "txn.h"

/* Of the library; the script's is in pg_extension */
#ifndef MAILMAN_VERSION
#define MAILMAN_VERSION "1.0"
#endif

/* ---- guc.c: the only globals ---- */

extern bool mailman_enabled;	/* do letters leave at all? */
extern int	mailman_max_workers;	/* letters at once, in the cluster */
extern int	mailman_max_failed_runs;	/* then the letter pauses */
extern int	mailman_turn_size;	/* outcomes a turn records, at most */
extern int	mailman_turn_interval;	/* ms: a turn at least so often */
extern int	mailman_poll_interval;	/* ms: an idle worker looks so often */
extern int	mailman_shutdown_grace; /* ms for replies still to come */
extern int	mailman_lock_timeout;	/* ms a turn waits for a user's lock */
extern int	mailman_policy_timeout; /* ms a policy has for one batch */
extern int	mailman_pause_rejections;	/* mails rejected in a row */
extern int	mailman_pause_failures; /* percent of the latest mails */
extern int	mailman_max_message_size;	/* kB of a mail */
extern char *mailman_retry_schedule;	/* "5min, 15min, ..." */
extern char *mailman_key_file;	/* keys that wrap secrets; "": none */

extern void guc_define(void);

/* Pin settings of this process: name, value; the last one is NULL */
extern void guc_pin(const char *const pins[][2]);

/* mailman.retry_schedule, read; it lives until it is set again */
extern const RetrySchedule *guc_retry_schedule(void);

/* ---- log_mask.c: what this process logs shows no private key ---- */

extern void log_mask_register(void);

/* ---- argument.c ---- */

/* ERROR 22004 if the argument of that number, from 0, is null */
extern void argument_check(FunctionCallInfo fcinfo, int n, const char *name);

/* ---- role.c: roles that rows name ---- */

/* The role, if there still is one of that oid, else InvalidOid */
extern Oid	role_known(Oid role);

/* What it is called now; name if it is gone */
extern char *role_called(Oid role, char *name);

/*
 * May it see and write what is everybody's?  Superusers, the extension's owner,
 * and those with 'admin'.
 */
extern bool role_is_admin(Oid role);

/* The same, or is it a member of this owner, who may be gone? */
extern bool role_may(Oid role, Oid owner);

/* ERROR, the same whether there is such a newsletter or not */
extern void newsletter_deny(int64 newsletter_id, Oid role);

/* ERROR if it is gone, or was not there when the newsletter was loaded */
extern void owner_check_exists(int64 newsletter_id, const char *name,
							   Oid owner);

/* False: no such newsletter; InvalidOid: its owner is gone */
extern bool newsletter_find_owner(int64 newsletter_id, char **name,
								  Oid *owner);

/* ---- relay.c: foreign servers ---- */

typedef struct Relay
{
	char	   *name;
	Oid			server;
	Oid			mapping;		/* the user mapping; InvalidOid: none */
	int64		key;			/* of the fingerprint, and of secrets that may
								 * change while its sessions stay */
	char	   *fingerprint;	/* of what its sessions are made of */
	RelayConfig config;
	RatePlan	plan;			/* how fast */
	int			weight;			/* among equals; 0: it has none */
} Relay;

/* The relay of that name; InvalidOid: there is none */
extern Oid	relay_find(const char *name);

extern void relay_defaults_set(Relay *relay);
extern void relay_apply(Relay *relay, List *options, Oid catalog);

extern RatePlan *relay_plan(Oid serverid);

/* WARNING if there is no such relay; it may be made before it is needed. */
extern void relay_warn(const char *name);

/*
 * May this role send through it?  Else an ERROR that says why not.  Returns
 * its option "from", or NULL.
 */
extern const char *relay_check(const char *name, Oid role);

/* The same without an ERROR; whatever its mappings */
extern bool relay_may(const char *name, Oid role);

/* The same, and how to reach it with that role's credentials. */
extern Relay *relay_load(const char *name, Oid role);

/* ---- preview.c ---- */

/* The letter, if role may see it */
extern Letter *preview_letter(int64 letter_id, Oid role);

/*
 * The recipient in a row of SPI_tuptable: id, email, name and data of the
 * subscription, variables, when it was queued.  *verdict: what the policy says
 * if it is not sent now, or NULL.  Returns the variables, or NULL.
 */
extern Jsonb *preview_fill(const Letter *letter, uint64 row,
						   RenderRecipient *recipient, char **verdict);

/* The recipient of that id, else the first active one; else an ERROR */
extern Jsonb *preview_recipient(const Letter *letter,
								NullableDatum subscription,
								RenderRecipient *recipient);

/* ---- send.c ---- */

/*
 * The letter, if role may send it; every reason why not is an ERROR.  What it
 * is made of is loaded if it is wanted.
 */
extern Letter *send_prepare(int64 letter_id, Oid role, bool content);

/* Arm the database; WARNING or NOTICE if what is queued will not be sent, or
 * not resumed */
extern void send_tell(const Letter *letter, const char *what);

/* ---- lookup.c: jsonb as templates see it ---- */

/* NULL is no value; the jsonb must stay as long as the node */
extern TemplateNode lookup_node(Jsonb *jsonb);

/* ---- secret.c: what tokens and Message-IDs are made with ---- */

typedef struct Secret
{
	const uint8 *key;
	size_t		len;
} Secret;

/*
 * A newsletter's secrets.  The first lasts: Message-IDs and the hashes of who
 * was forgotten are made with it.  Tokens and tags are made with the latest,
 * and are good if they were made with any that is live.
 */
typedef struct Secrets
{
	int			count;			/* 0: none yet, or no such newsletter */
	Secret	   *list;			/* in the order they were made */
	bool	   *live;			/* neither replaced nor expired */
} Secrets;

#define SECRETS_MAX 16

/* Allocated in CurrentMemoryContext; an ERROR if they cannot be unwrapped */
extern void secrets_find(int64 newsletter_id, Secrets *secrets);

/* The same; made if there is none */
extern void secrets_load(int64 newsletter_id, Secrets *secrets);

/* In a scope that writes: wrap and keep a new one, of that generation */
extern void secret_make(int64 newsletter_id, int64 generation);

/* ---- dkim_sql.c ---- */

/* The private key in a row, in PEM */
extern char *dkim_key_unwrap(int64 newsletter_id, const char *selector,
							 bytea *key, char *wrapped_by);

/* ---- subscription.c ---- */

/* A piece of untrusted text that can stand in a message */
extern char *text_shown(const char *value, int len);

/* May role write it?  If there is no such newsletter, those may who may all */
extern bool newsletter_may(int64 newsletter_id, Oid role);

/* ERROR if not, or if it or its owner is gone */
extern void newsletter_check_member(int64 newsletter_id, Oid role);

/* ---- forget.c ---- */

/* delivery.reason of one whose recipient is not known any more */
#define DELIVERY_FORGOTTEN "subscription was forgotten"

/* ---- event.c: what happened ---- */

/* In an extension scope, in the transaction that makes the change */
extern void event_relay(const char *relay, const char *state,
						const char *reason);
extern void event_doubt(int64 letter_id, int64 doubts, int64 newly);
extern void event_adopt(void);
extern void event_sender(int64 letter_id, const char *before,
						 const char *sender);

/* What an event is about; 0: nothing of that kind */
typedef struct EventAbout
{
	int64		letter_id;
	int64		newsletter_id;
} EventAbout;

extern void event_changed(const char *kind, EventAbout about,
						  const char *const *columns, int count);
extern void event_right(const char *role, const char *what, bool granted);

/* Does this process know of events nobody was told of, or might there be? */
extern bool event_is_pending(void);
extern void event_set_pending(bool is_pending);

/* ---- notify.c: whoever listens is told ---- */

/* Since when does the first event wait to be told?  0: none does. */
extern TimestampTz event_waits_since(void);

/* Outside of a transaction; returns when to try again, DT_NOEND: all done */
extern TimestampTz event_notify(void);

/* ---- try.c ---- */

/* In PG_CATCH(): roll back, and return a copy of the error in that context */
extern ErrorData *try_abort(MemoryContext context);

/* ---- errand.c ---- */

/*
 * Who waits for a relay to come back need not wait any longer: few rows.
 * in_doubt: nor does who may have the mail already.
 */
extern void letter_hurry(int64 letter_id, bool in_doubt);

#endif							/* MAILMAN_H */
