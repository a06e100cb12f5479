/*-------------------------------------------------------------------------
 *
 * table_use.h
 *	  Our tables, and which of them each function writes and reads.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef MAILMAN_TABLE_USE_H
#define MAILMAN_TABLE_USE_H

/* In the order in which they are locked; their names are in table_use.c */
typedef enum OurTable
{
	TABLE_NEWSLETTER,
	TABLE_LETTER,
	TABLE_SUBSCRIPTION,
	TABLE_DELIVERY,
	TABLE_NEWSLETTER_EMAIL,
	TABLE_POSTING,
	TABLE_TEST,
	TABLE_SECRET,
	TABLE_FORGOTTEN,
	TABLE_DKIM_KEY,
	TABLE_ORIGIN,
	TABLE_RELAY_STATE,
	TABLE_DOMAIN_LIMIT,
	TABLE_DOMAIN_STATE,
	TABLE_ATTACHMENT,
	TABLE_PARTIAL,
	TABLE_EVENT,
	OUR_TABLES
} OurTable;

extern const char *const table_names[OUR_TABLES];

/* One bit for each of them */
typedef uint32 TableSet;

#define TABLE_BIT(table) ((TableSet) 1 << (table))

/* What a transaction, or a part of one, does with which tables */
typedef struct TableUse
{
	TableSet	writes;
	TableSet	reads;			/* beside those: looks at, or refers to */
} TableUse;

/* mailman_subscribe(); the second with "again" */
extern const TableUse use_subscribe;
extern const TableUse use_revive;
extern const TableUse use_unsubscribe;
extern const TableUse use_forget;
extern const TableUse use_dkim_key;
extern const TableUse use_secret;
extern const TableUse use_rotate;
extern const TableUse use_rewrap;
extern const TableUse use_send;
extern const TableUse use_test;
extern const TableUse use_pause;
extern const TableUse use_resume;
extern const TableUse use_cancel;
extern const TableUse use_retry;
extern const TableUse use_adopt;
extern const TableUse use_purge;

/* An attachment changes; what goes along with a letter, or a newsletter */
extern const TableUse use_files;
extern const TableUse use_letter_goes;
extern const TableUse use_newsletter_goes;

/* A worker's transactions */
extern const TableUse use_first;
extern const TableUse use_turn;
extern const TableUse use_top_up;
extern const TableUse use_hurry;
extern const TableUse use_reserve;
extern const TableUse use_done;

/* What some turns write, too */
extern const TableUse use_record_email;
extern const TableUse use_record_bounce;
extern const TableUse use_record_test;

/* For all that write an event */
extern const TableUse use_event;

extern TableUse table_use_of(const TableUse *use, const TableUse *more);

/* Tables from which such a transaction, or a later one of its kind, deletes */
extern TableSet table_use_deletes(const TableUse *use);

/* The set with this relation in it; empty if it is not one of ours */
extern TableSet table_set_of(Oid relid, Oid schema);

#endif							/* MAILMAN_TABLE_USE_H */
