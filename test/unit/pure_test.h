/*-------------------------------------------------------------------------
 *
 * pure_test.h
 *	  What the files of the pure layer's unit test share.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef PURE_TEST_H
#define PURE_TEST_H

#include "hmac.h"
#include "pure.h"

#define COUNT(array)	((int) lengthof(array))

/* pure_test.c */
extern bool ok(bool pass, const char *fmt,...) pg_attribute_printf(2, 3);
extern void diag(const char *fmt,...) pg_attribute_printf(1, 2);

/* What goes over the wire; the caller frees it */
extern StringInfoData wire_of(const Rendered *rendered);

/* render_message(), and the message put together; a fault fails the test */
extern bool render_whole(const RenderLetter *letter,
						 const RenderRecipient *recipient, Rendered *result);

/* pure_tree.c: data for templates */
extern TemplateNode tree_parse(const char *json);
extern TemplateNode tree_strings(const StringInfoData *strings, int count);

/* What most tests have as data */
#define TEST_DATA \
	"{\"first\": \"Ann\", \"city\": \"Köln\", " \
	"\"html\": \"<b a=\\\"1\\\">Tom & 'Jerry'</b>\"}"

extern Template *parse(const char *text);

/* pure_emit.c */
extern void emit(int messages, uint64 seed);

/* pure_letter.c: a random letter with all that a letter can have */
typedef struct RandomLetter
{
	RenderLetter letter;
	RenderRecipient recipient;
	DkimSigner	signer;
	StringInfoData parts[5];	/* subject, name, text, html, header */
	RenderHeader headers[2];
	Attachment	files[4];
} RandomLetter;

extern void random_letter(RandomLetter *r, int number);

/* pure_keys.c */
extern const char key_rsa[];
extern const char key_rsa_pkcs1[];
extern const char key_ed25519[];
extern const char key_rsa_short[];
extern const char key_ec[];
extern const char key_encrypted[];
extern const char key_public[];

/* the groups of tests */
extern void test_addresses(void);
extern void test_templates(void);
extern void test_mustache(void);
extern void test_headers(void);
extern void test_bodies(void);
extern void test_render(void);
extern void test_parts(void);
extern void test_fields(void);
extern void test_verp(void);
extern void test_dkim(void);
extern void test_injections(void);
extern void test_clean(void);
extern void test_fuzz(void);
extern void test_pace(void);
extern void test_report(void);
extern void test_meter(void);
extern void test_work(void);
extern void test_token(void);
extern void test_wrap(void);

/* pure_random.c: the same for the same seed, on every machine */
extern void random_seed(uint64 seed);
extern uint32 random_below(uint32 n);
extern int	rounds(int n);
extern void random_text(StringInfo out, int chars, bool controls);
extern void random_body(StringInfo out, int bytes);

/*
 * pure_decode.c: the reading side, written apart from the code under test
 * and strict.  They return false if the input breaks a rule.
 */
extern bool decode_header(StringInfo out, const char *field,
						  const char *name, bool lenient);
extern bool decode_address(StringInfo display, StringInfo address,
						   const char *field, const char *name);
extern bool decode_part(StringInfo out, const char *part, size_t len,
						const char *subtype, char *encoding);
extern bool decode_wire(StringInfo out, const char *wire, size_t len);
extern bool is_clean_wire(const char *text, size_t len, bool ascii);
extern int	longest_line(const char *text, size_t len);
extern void expected_header(StringInfo out, const char *value);
extern void expected_body(StringInfo out, const char *body, size_t len);

#endif							/* PURE_TEST_H */
