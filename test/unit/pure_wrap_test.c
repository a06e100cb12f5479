/*-------------------------------------------------------------------------
 *
 * pure_wrap_test.c
 *	  Tests of wrap.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"
#include "wrap.h"

#define ONE "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TWO "FFFEFDFCFBFAF9F8F7F6F5F4F3F2F1F0EFEEEDECEBEAE9E8E7E6E5E4E3E2E1E0"
#define OWNER "mailman.secret, newsletter 7, generation 1"
#define PLAIN "-----BEGIN PRIVATE KEY-----"
#define PLAIN_LEN (sizeof(PLAIN) - 1)

/* Written by another program: Python's cryptography and hashlib */
static const char one_id[] = "f89415cdb13c6e9b";
static const uint8 one_wrapped[] = {
	0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37,
	0x38, 0x39, 0x61, 0x00, 0x96, 0x3c, 0xde, 0xf6,
	0xb1, 0xf8, 0x5f, 0xd4, 0x46, 0xd6, 0x44, 0x25,
	0xfd, 0xb7, 0xc5, 0x0d, 0xf6, 0x57, 0xc1, 0x86,
	0x2e, 0xe6, 0xc0, 0x7a, 0xd1, 0x8b, 0x87, 0xb5,
	0x62, 0xe0, 0xab, 0x8d, 0x77, 0xb0, 0x5c, 0x2f,
	0x78, 0x6d, 0x6b, 0x47, 0xaa, 0xb9, 0x47
};

static const uint8 nonce[WRAP_NONCE_BYTES] = "0123456789a";

static const struct
{
	const char *text;
	int			count;			/* 0: refused */
	int			line;
}			files[] = {
	{ONE, 1},
	{ONE "\n", 1},
	{ONE "\r\n" TWO "\r\n", 2},
	{"# made on Monday\n\n  " ONE "\t \n" TWO, 2},
	{"", 0, 0},
	{"# nothing\n", 0, 0},
	{ONE "00\n", 0, 1},
	{"\n" ONE " " TWO "\n", 0, 2},
	{ONE "\n0123\n", 0, 2},
	{"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0, 1},
	{"-----BEGIN PRIVATE KEY-----", 0, 1}
};

static void
test_wrap_files(void)
{
	WrapKeys	keys;
	const char *why;
	char	   *many = palloc(WRAP_KEYS_MAX * 65 + 66);
	int			line;
	int			i;

	for (i = 0; i < COUNT(files); i++)
	{
		bool		read = wrap_keys_read(&keys, files[i].text,
										  strlen(files[i].text), &why, &line);

		ok(read == (files[i].count > 0) &&
		   (read ? keys.count == files[i].count :
			why != NULL && line == files[i].line), "key file %d", i);
	}
	many[0] = '\0';
	for (i = 0; i < WRAP_KEYS_MAX; i++)
		strcat(many, ONE "\n");
	ok(wrap_keys_read(&keys, many, strlen(many), &why, &line),
	   "as many keys as there may be");
	strcat(many, ONE);
	ok(!wrap_keys_read(&keys, many, strlen(many), &why, &line) &&
	   line == WRAP_KEYS_MAX + 1, "and one too many");
	pfree(many);
}

static void
test_wrap_bytes(const WrapKeys *keys)
{
	uint8		wrapped[PLAIN_LEN + WRAP_OVERHEAD];
	uint8		opened[PLAIN_LEN];
	int			changed = 0;
	size_t		i;

	ok(wrap_seal(wrapped, &keys->keys[0], nonce, OWNER,
				 (const uint8 *) PLAIN, PLAIN_LEN) &&
	   memcmp(wrapped, one_wrapped, sizeof(wrapped)) == 0,
	   "wrapped as another program does");
	ok(wrap_open(opened, &keys->keys[0], OWNER, wrapped, sizeof(wrapped)) &&
	   memcmp(opened, PLAIN, PLAIN_LEN) == 0, "and unwrapped");
	ok(!wrap_open(opened, &keys->keys[1], OWNER, wrapped, sizeof(wrapped)),
	   "not with another key");
	ok(!wrap_open(opened, &keys->keys[0],
				  "mailman.secret, newsletter 8, generation 1", wrapped,
				  sizeof(wrapped)), "nor in another row");
	for (i = 0; i < 8 * sizeof(wrapped); i++)
	{
		wrapped[i / 8] ^= 1 << i % 8;
		changed += wrap_open(opened, &keys->keys[0], OWNER, wrapped,
							 sizeof(wrapped));
		wrapped[i / 8] ^= 1 << i % 8;
	}
	ok(changed == 0, "nor with any bit changed");
	for (i = 0; i < sizeof(wrapped); i++)
		changed += wrap_open(opened, &keys->keys[0], OWNER, wrapped, i);
	ok(changed == 0, "nor cut short");
}

void
test_wrap(void)
{
	WrapKeys	keys;
	const char *why;
	int			line;

	test_wrap_files();
	ok(wrap_keys_read(&keys, ONE "\n" TWO, 2 * 64 + 1, &why, &line) &&
	   strcmp(keys.keys[0].id, one_id) == 0, "a key's id");
	ok(wrap_keys_find(&keys, one_id) == &keys.keys[0] &&
	   wrap_keys_find(&keys, keys.keys[1].id) == &keys.keys[1] &&
	   wrap_keys_find(&keys, "0123456789abcdef") == NULL, "by which it is found");
	test_wrap_bytes(&keys);
	wrap_keys_forget(&keys);
	ok(keys.count == 0 && keys.keys[0].id[0] == '\0', "and forgotten");
}
