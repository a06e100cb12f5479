/*-------------------------------------------------------------------------
 *
 * mailman.h
 *	  What the files of the SQL layer share; process.h and worker.h have what
 *	  only some of them do.
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
#include "nodes/lockoptions.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "hmac.h"
#include "pace.h"
#include "pure.h"
#include "table_use.h"
#include "transfer.h"

/* Of the library; the script's is in pg_extension */
#ifndef MAILMAN_VERSION
#define MAILMAN_VERSION "1.0"
#endif

/* ---- retry.c: how long a deferred delivery waits ---- */

#define RETRY_STEPS_MAX 32

typedef struct RetrySchedule
{
	int			steps;
	int			seconds[RETRY_STEPS_MAX];
} RetrySchedule;

/*
 * Read "5min, 15min, 1h".  False if it is no schedule: *why is a sentence for
 * errdetail, in CurrentMemoryContext, and *hint one for errhint or NULL.
 */
extern bool retry_schedule_parse(const char *list, RetrySchedule *schedule,
								 char **why, const char **hint);

/* Seconds to wait after this many attempts (from 1); jitter from -1 to 1 */
extern double retry_delay_s(const RetrySchedule *schedule, int attempts,
							double jitter);

/* Any wait, give or take as much as a schedule's, by dice */
extern double retry_jittered(double wait);

/* retry_delay_s() in ms, with dice; schedule NULL: the setting's */
extern int64 retry_delay_ms(const RetrySchedule *schedule, int attempts);

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

extern void guc_define(void);

/* Pin settings of this process: name, value; the last one is NULL */
extern void guc_pin(const char *const pins[][2]);

/* mailman.retry_schedule, read; it lives until it is set again */
extern const RetrySchedule *guc_retry_schedule(void);

/* ---- txn.c: who we are while we write, and statements ---- */

/* As whom, and which tables: we have locked them and seen who runs there */
typedef struct Writing
{
	Oid			role;			/* InvalidOid: we do not write */
	TableSet	tables;
} Writing;

typedef struct ExtensionScope
{
	Oid			userid;
	int			sec_context;
	int			guc_nest;
	Writing		writing;
} ExtensionScope;

/*
 * Between enter and leave: SPI connected, current user is the extension's
 * owner (security-restricted), search_path pinned, and the guards let us
 * write the tables of that use.  An error leaves the scope by itself.  The
 * first form is for those who only read: it waits for nobody's lock on a table;
 * the second for who of them has just read who the owner is.
 */
extern void extension_enter_reading(ExtensionScope *scope);
extern void extension_enter_reading_as(ExtensionScope *scope, Oid owner);
extern void extension_enter(ExtensionScope *scope, const TableUse *use);
extern void extension_leave(ExtensionScope *scope);
extern bool extension_is_writing(void);

/* To be kept over a subtransaction that fails, and set again after it */
extern Writing extension_writing(void);
extern void extension_set_writing(Writing writing);

extern Oid	extension_oid(bool missing_ok);
extern Oid	extension_hold(Oid known, bool wait);
extern bool extension_fits(Oid extension, Oid *owner);
extern Oid	extension_owner(Oid extension);
extern void extension_callbacks_register(void);

#define STATEMENT_MAX_ARGS 16

/* One SQL text, planned once per process */
typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[STATEMENT_MAX_ARGS];
	bool		generic;		/* never worth planning for its arguments */
	SPIPlanPtr	plan;
	TableSet	writes;			/* known with the plan */
} Statement;

/*
 * Run it; an unexpected result is an ERROR.  Rows are in SPI_tuptable,
 * their number is returned.  nulls as SPI has it, or NULL.
 */
extern uint64 statement_run(Statement *statement, int expected,
							const Datum *values, const char *nulls);

/*
 * The same for rows that refer to rows which this transaction holds, or that
 * keep the keys they have.
 */
extern uint64 statement_run_referring(Statement *statement, int expected,
									  const Datum *values, const char *nulls);

/*
 * The same for a SELECT with the snapshot of the query that called us: several
 * of them see one state of the tables.
 */
extern uint64 statement_look(Statement *statement, const Datum *values,
							 const char *nulls);

/*
 * The same in a transaction of somebody else's, whose snapshot may be old: with
 * what is committed now.  The second form is an UPDATE or DELETE that must not
 * change a row which the transaction does not see: ERROR 40001, as for its own.
 */
extern uint64 statement_run_now(Statement *statement, int expected,
								const Datum *values, const char *nulls);
extern uint64 statement_change_seen(Statement *statement, int expected,
									const Datum *values, const char *nulls);

/* Columns of SPI_tuptable; text is copied into CurrentMemoryContext */
extern Datum row_datum(uint64 row, int column, bool *isnull);
extern int64 row_int64(uint64 row, int column, int64 if_null);
extern double row_float8(uint64 row, int column);	/* 0 if null */
extern bool row_bool(uint64 row, int column);
extern Oid	row_oid(uint64 row, int column);	/* InvalidOid if null */
extern char *row_text(uint64 row, int column);	/* NULL if null */

/* All of a row at once, which is cheaper for one of many columns */
extern void row_all(uint64 row, Datum *values, bool *nulls);

/* ---- hold.c: a row as it is now, whatever its transaction sees ---- */

typedef enum HoldTable
{
	HOLD_LETTER,
	HOLD_SUBSCRIPTION
} HoldTable;

typedef enum Held
{
	HELD_NONE,					/* there is no such row */
	HELD_SEEN,
	HELD_UNSEEN					/* locked, but as the transaction does not see
								 * it: changed only at its end, see wish.c */
} Held;

/* Lock its newest version, waiting for others who have; in a scope */
extern Held row_hold(HoldTable table, int64 id, LockTupleMode mode);

/* ---- wish.c: done at COMMIT, as the transaction cannot see it ---- */

typedef struct Wish Wish;
typedef void (*WishFulfil) (const Wish *wish);

struct Wish
{
	WishFulfil	fulfil;			/* called in a scope */
	const TableUse *use;		/* that writes this */
	int64		id;				/* of what is to be changed */
	int64		newsletter_id;
	char		state[16];		/* what the row is to say; "": as it does */
	char	   *reason;			/* may be NULL */
	bool		hurry;			/* nobody waits any longer */
	Oid			sender;			/* who takes the place of the one who is gone;
								 * InvalidOid: nobody */
};

/* The row is locked; the wish is copied */
extern void wish_at_commit(const Wish *wish);

/* The latest of that kind and id that changes the state, or NULL */
extern const Wish *wish_find(WishFulfil fulfil, int64 id);

extern void wish_callbacks_register(void);

/* ---- argument.c ---- */

/* ERROR 22004 if the argument of that number, from 0, is null */
extern void argument_check(FunctionCallInfo fcinfo, int n, const char *name);

/* ---- tables.c: what we write ---- */

/*
 * In a scope, maybe one that reads: lock these tables, see that nobody's code
 * runs on those we write (else an ERROR), and let us write them, too.  The
 * second form waits for nobody: false if somebody is in the way.
 */
extern void extension_may_write(const TableUse *use);
extern bool extension_may_write_nowait(const TableUse *use);

/* The same checks for what foreign keys are about to write as the owner */
extern void extension_check_tables(const TableUse *use);

/* Our tables that a plan of ours writes */
extern TableSet tables_written(SPIPlanPtr plan);

/* Lock those of them that should have been and are not: see table_use.c */
extern void tables_cover(const char *sql, TableSet writes);

/* ---- role.c: roles that rows name ---- */

/* The role, if there still is one of that oid, else InvalidOid */
extern Oid	role_known(Oid role);

/* What it is called now; name if it is gone */
extern char *role_called(Oid role, char *name);

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
	int64		key;			/* hash of the fingerprint */
	char	   *fingerprint;	/* of what its sessions are made of */
	RelayConfig config;
	RatePlan	plan;			/* how fast */
	int			weight;			/* among equals; 0: it has none */
} Relay;

extern void relay_defaults_set(Relay *relay);
extern void relay_apply(Relay *relay, List *options, Oid catalog);

extern RatePlan *relay_plan(Oid serverid);

/* WARNING if there is no such relay; it may be made before it is needed. */
extern void relay_warn(const char *name);

/* May this role send through it?  Else an ERROR that says why not. */
extern void relay_check(const char *name, Oid role);

/* The same without an ERROR; whatever its mappings */
extern bool relay_may(const char *name, Oid role);

/* The same, and how to reach it with that role's credentials. */
extern Relay *relay_load(const char *name, Oid role);

/* ---- letter.c: what is the same for every recipient ---- */

typedef enum DeliveryState
{
	DELIVERY_PENDING,
	DELIVERY_SENDING,
	DELIVERY_DEFERRED,
	DELIVERY_DELIVERED,
	DELIVERY_FAILED,
	DELIVERY_SKIPPED,
	DELIVERY_DOUBTFUL
} DeliveryState;

#define DELIVERY_STATES 7

extern const char *const delivery_state_names[DELIVERY_STATES];
extern DeliveryState delivery_state(Datum name);	/* text */

/* delivery.reason of who waits for mailman.domain_limit */
#define REASON_ASIDE "waits for the limit of its domain"

/* how it begins of who waits because newsletter.policy says so */
#define REASON_POLICY "deferred by policy"
#define REASON_WAITS REASON_POLICY ", relay \"%s\" is busy"

typedef struct Tally
{
	int64		count[DELIVERY_STATES];
} Tally;

extern int64 tally_recipients(const Tally *tally);
extern void tally_from_jsonb(Tally *tally, Jsonb *mail_order);
extern Datum tally_to_jsonb(const Tally *tally);

/* Alike: nothing that a letter is made of has changed in between */
typedef struct LetterMark
{
	int			revision;
	int			max_message_size;	/* the setting */
	TransactionId newsletter_xmin;
	ItemPointerData newsletter_place;
	bool		signs;
	TransactionId key_xmin;
	ItemPointerData key_place;
	int64		partials;
	int64		partials_hash;
} LetterMark;

/*
 * The attachments of a letter, encoded.  All its mails have them in common, so
 * they stay as long as anybody uses them, whatever has become of the letter.
 */
typedef struct LetterFiles
{
	MemoryContext context;		/* of all this */
	int			revision;		/* of the content they are part of */
	int			users;			/* letter_files_hold() */
	const RenderFiles *encoded;
} LetterFiles;

typedef struct Letter
{
	int64		id;
	int64		newsletter_id;
	char	   *state;
	char	   *owner;			/* of the newsletter */
	Oid			owner_oid;		/* InvalidOid: that role is gone */
	char	   *sender;			/* NULL while draft */
	Oid			sender_oid;		/* InvalidOid: none, or it is gone */
	List	   *relays;			/* names, char * */
	bool		has_body;
	bool		hold;			/* on_doubt */
	bool		can_unsubscribe;	/* recipients are told how to */
	bool		purged;			/* who got it is not known any more */
	bool		unseen;			/* its row is HELD_UNSEEN */
	int			revision;
	int			max_attempts;
	int64		max_age;		/* microseconds */
	char	   *retry_schedule; /* NULL: the setting */
	RetrySchedule *retry;		/* the same, read */
	TimestampTz send_at;		/* 0: at once */
	TimestampTz resumed_at;		/* 0: never */
	char	   *policy;			/* who decides about recipients; NULL: nobody */
	int64		max_message_size;	/* 0: the setting */
	Work		work;			/* of what is made of it now */
	RenderLetter render;		/* after letter_load_content() */
	/* after letter_hold() */
	LetterMark	mark;
	bool		armed;			/* the database, */
	bool		ours;			/* and it is this one */
	LetterFiles *files;			/* as well, or set before as they are known */
} Letter;

/*
 * Keep mailman_cancel() from making it a draft and mailman_purge() from
 * beginning with it until the end of the transaction.  The lock is that of the
 * foreign key, and in nobody else's way.  False: the transaction sees no such
 * letter; ERROR 40001 if one of the two was first, and it does not see that.
 */
extern bool letter_share(int64 letter_id);

/* ERROR if there is nothing left by which recipients could be told apart */
extern void letter_check_not_purged(const Letter *letter);

/* NULL if there is no such letter.  Call in an extension scope. */
extern Letter *letter_load(int64 letter_id);

/* The same; an ERROR if there is none */
extern Letter *letter_find(int64 letter_id);

/* As it is now, whatever the transaction sees */
extern Letter *letter_find_now(int64 letter_id);

/* The same after letter_share(), and as the transaction wants it to become */
extern Letter *letter_find_shared(int64 letter_id);

/* The same in one statement, with its mark */
extern Letter *letter_hold(int64 letter_id);

/* An ERROR: why it cannot be rendered for anybody */
extern void letter_refuse(const Letter *letter, const char *fault);

/* Templates, links and secret; an ERROR if they cannot be rendered. */
extern void letter_load_content(Letter *letter);

/* Of these what unsubscribe_url() needs */
extern void letter_load_links(Letter *letter);

/* ERROR if role is not a member of the newsletter's owner */
extern void letter_check_member(const Letter *letter, Oid role);

/* ERROR if role may not send the letter: relays, policy */
extern void letter_check_rights(const Letter *letter, Oid role);

/* ERROR if the letter cannot be sent by role: that, and templates */
extern void letter_check_sendable(Letter *letter, Oid role);

/* The second of the Date: field, Unix time */
extern int64 letter_date(const Letter *letter, TimestampTz queued_at);

/* When who was queued then has waited as long as the newsletter allows */
extern TimestampTz letter_too_old_at(const Letter *letter,
									 TimestampTz queued_at);

/* ---- sender.c ---- */

/* May its sender still send it? */
extern bool sender_may(const Letter *letter);

/* ERROR if that role is gone */
extern void sender_check_exists(const Letter *letter);

/* That role takes its place; in a scope that writes */
extern void sender_replace(int64 letter_id, Oid role);

/* ---- control.c ---- */

/* The letter with the state this transaction will give it at its COMMIT */
extern Letter *control_foresee(Letter *letter);

/* ERROR: it cannot be (what), as it is in that state */
extern void control_refuse(const Letter *letter, const char *what,
						   const char *hint);

/* ---- letter_limit.c: how much it may be ---- */

/* What a setting or a newsletter may say, in bytes */
#define LETTER_SIZE_MIN	(64 * 1024)
#define LETTER_SIZE_MAX	(200 * 1024 * 1024)

/* Begin to count, and hear of interrupts meanwhile: see work.c */
extern void letter_limit(Letter *letter);

/* Bytes of a value, without having them all in memory */
extern size_t datum_size(Datum value, bool isnull);

/*
 * What is wrong with a recipient of whom so many bytes are known, or NULL: of a
 * mail's worth and more no mail is made.
 */
extern char *letter_data_fault(const Letter *letter, size_t size);

/* ERROR if a column of the letter's is larger than any mail */
extern void letter_check_column(const Letter *letter, const char *what,
								uint64 row, int column);

/* ERROR if there is no room for anything but these files, encoded or not */
extern void letter_check_files(const Letter *letter, size_t size,
							   bool encoded);

/* ---- rendering.c ---- */

/*
 * render_message() in CurrentMemoryContext.  The pure layer reports faults as
 * values; what it can still throw, a message beyond PostgreSQL's limits, is
 * that recipient's failure alone, too.  A lack of memory is not.
 */
extern bool letter_render(const Letter *letter,
						  const RenderRecipient *recipient,
						  Rendered *rendered);

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

/* ---- partial.c ---- */

typedef struct Partials Partials;

extern Partials *partials_load(int64 newsletter_id);

/*
 * Parse one template of the letter, with what partials it names; an ERROR if
 * one is none.  Empty ones count as absent: NULL.
 */
extern Template *letter_parse(const Letter *letter, const char *what,
							  const char *source, const Partials *partials);

/* ---- letter_fields.c: what it carries beside its bodies ---- */

extern void letter_load_fields(Letter *letter, const Partials *partials);

/* Once they are encoded */
extern void letter_free_attachments(Letter *letter);

/* ---- letter_files.c ---- */

/* Encode the attachments that were loaded, unless letter->files are known */
extern void letter_encode_files(Letter *letter);

/* Take part in them; after the last release they are gone */
extern void letter_files_hold(LetterFiles *files);
extern void letter_files_release(LetterFiles *files);

/* ---- letter_names.c ---- */

/*
 * WARNING if a template names what never has a value; an ERROR if that would
 * fail every delivery and the letter is about to be sent.  True: neither.
 */
extern bool letter_check_names(const Letter *letter, bool sends);

/* ---- letter_known.c: what this session has found to be in order ---- */

extern void letter_known_register(void);

/* Its templates, after letter_hold(): parsed, and nothing to warn of */
extern bool letter_is_known(const Letter *letter);
extern void letter_remember(const Letter *letter);

/* ---- lookup.c: jsonb as templates see it ---- */

/* NULL is no value; the jsonb must stay as long as the node */
extern TemplateNode lookup_node(Jsonb *jsonb);

/* ---- secret.c: what tokens and Message-IDs are made with ---- */

typedef struct Secret
{
	const uint8 *key;
	size_t		len;
} Secret;

/* False if the newsletter has none yet, or there is no such newsletter */
extern bool secret_find(int64 newsletter_id, Secret *secret);

/* The same; made if there is none */
extern void secret_load(int64 newsletter_id, Secret *secret);

/* ---- subscription.c ---- */

/* A piece of untrusted text that can stand in a message */
extern char *text_shown(const char *value, int len);

/* ERROR if role is not a member of the newsletter's owner, or there is none */
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

/* ---- origin.c: a copy must not send ---- */

/* Is this the database that was armed?  In an extension scope. */
extern bool origin_is_ours(void);
extern void origin_arm(void);

#endif							/* MAILMAN_H */
