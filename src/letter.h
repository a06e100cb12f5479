/*-------------------------------------------------------------------------
 *
 * letter.h
 *	  A letter: what is the same for every recipient.
 *
 * It is loaded from its row, its newsletter and what these name, and rendered
 * by the pure layer.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_LETTER_H
#define MAILMAN_LETTER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"

#include "origin.h"
#include "pure.h"
#include "retry.h"

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

/* delivery.reason of a recipient that waits for mailman.domain_limit */
#define REASON_ASIDE "waits for the limit of its domain"

/* how it begins of one that waits because newsletter.policy says so */
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
typedef struct RowsMark
{
	int64		count;
	uint64		hash;			/* of their versions */
} RowsMark;

typedef struct LetterMark
{
	int			revision;
	int			max_message_size;	/* the setting */
	RowsMark	newsletter;
	RowsMark	key;
	RowsMark	partials;
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
	OriginState origin;			/* of the database */
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

/* The same; an ERROR if there is no such letter */
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

/* ERROR if a relay with that option "from" does not take its mail */
extern void letter_check_from(const Letter *letter, const char *relay,
							  const char *from);

/* ERROR, the same whether there is such a letter or not */
extern void letter_deny(int64 letter_id, Oid role);

/* ERROR if role may not send the letter: relays, policy */
extern void letter_check_rights(const Letter *letter, Oid role);

/* ERROR if the letter cannot be sent by role: that, and templates */
extern void letter_check_sendable(Letter *letter, Oid role);

/* The second of the Date: field, Unix time */
extern int64 letter_date(const Letter *letter, TimestampTz queued_at);

/* When who was queued then has waited as long as the newsletter allows */
extern TimestampTz letter_too_old_at(const Letter *letter,
									 TimestampTz queued_at);

/* ---- letter_mark.c: has anything changed? ---- */

/* As it is now.  In an extension scope, for what follows it to be as new. */
extern void letter_mark_read(int64 newsletter_id, int revision,
							 LetterMark *mark);

/* The newsletter's row is that version: what was read before is of it */
extern void letter_mark_newsletter(LetterMark *mark, TransactionId xmin,
								   ItemPointer place);
extern bool letter_mark_equals(const LetterMark *a, const LetterMark *b);

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

/* ---- partial.c ---- */

typedef struct Partials Partials;

extern Partials *partials_load(int64 newsletter_id);

/*
 * Parse one template of the letter, with what partials it names; an ERROR if
 * one of them is not a template.  Empty ones count as absent: NULL.
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

/* lock_table.c: LOCK TABLE of ours is for those who write everybody's */
extern void lock_table_register(void);

/* Its templates, after letter_hold(): parsed, and nothing to warn of */
extern bool letter_is_known(const Letter *letter);
extern void letter_remember(const Letter *letter);

/* The letter held and with its mark, if it is known; else NULL */
extern Letter *letter_known_hold(int64 letter_id);

/* ---- letter_row.c ---- */

/*
 * letter_share() of a letter that was read before, and what of it changes as it
 * is sent, read again.  False if that is not enough, or not to be had at once.
 */
extern bool letter_row_hold(Letter *letter);

/* ---- rendering.c ---- */

/*
 * render_message() in CurrentMemoryContext.  The pure layer reports faults as
 * values; what it can still throw, a message beyond PostgreSQL's limits, is
 * that recipient's failure alone, too.  A lack of memory is not.
 */
extern bool letter_render(const Letter *letter,
						  const RenderRecipient *recipient,
						  Rendered *rendered);

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

#endif							/* MAILMAN_LETTER_H */
