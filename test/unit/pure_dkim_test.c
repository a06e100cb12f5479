/*-------------------------------------------------------------------------
 *
 * pure_dkim_test.c
 *	  Tests of dkim_key.c and dkim.c, and of letters with all there is.
 *
 * Whether signatures are good is for others to say: dkim_verify.pl and
 * mime_roundtrip.py.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static void
test_dkim_keys(void)
{
	static const struct
	{
		const char *pem;
		const char *record;		/* how it begins */
		const char *why;
	}			keys[] =
	{
		{key_rsa, "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", NULL},
		{key_rsa_pkcs1, "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
		NULL},
		{key_ed25519, "v=DKIM1; k=ed25519; "
		"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", NULL},
		{key_rsa_short, NULL, "The key is 512 bits long, 1024 at least."},
		{key_ec, NULL, "The key is neither an RSA nor an Ed25519 key."},
		{key_encrypted, NULL, "The key is protected by a passphrase."},
		{key_public, NULL,
		"This is a public key; the private one is needed."},
		{"", NULL, "It is no private key in PEM format."},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		NULL, "It is no private key in PEM format."},
	};
	StringInfoData record;
	int			i;

	initStringInfo(&record);
	for (i = 0; i < COUNT(keys); i++)
	{
		char	   *why = NULL;
		DkimKey    *key = dkim_key_load(keys[i].pem, &why);

		resetStringInfo(&record);
		if (key == NULL)
			ok(keys[i].why != NULL && strcmp(why, keys[i].why) == 0,
			   "key %d is refused", i);
		else
			ok(keys[i].record != NULL && dkim_key_record(&record, key) &&
			   strncmp(record.data, keys[i].record,
					   strlen(keys[i].record)) == 0, "key %d and its record",
			   i);
		if (key != NULL)
			dkim_key_free(key);
	}
	pfree(record.data);
}

static void
test_dkim_names(void)
{
	static const struct
	{
		const char *name;
		bool		good;
	}			names[] =
	{
		{"example.com", true}, {"s1", true}, {"a-b.c_d.example", true},
		{"", false}, {".a", false}, {"a.", false}, {"a..b", false},
		{"-a.b", false}, {"a-.b", false}, {"a b", false}, {"a;b", false},
		{"münchen.example", false}, {"a\r\nb", false},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b",
		false},
	};
	const char *why;
	int			i;

	for (i = 0; i < COUNT(names); i++)
		ok(dkim_name_is_valid(names[i].name, &why) == names[i].good,
		   "domain or selector %d", i);
}

/* A message is signed as it stands, and the same again */
static void
test_dkim_signature(void)
{
	static const char *const starts[] = {
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; "
		"d=news.example; s=s1;\r\n t=1795345351; "
		"h=From:From:Reply-To:To:Cc:Subject:Subject;\r\n"
		" bh=", "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; "
		"d=news.example;\r\n s=s1; t=1795345351; "
		"h=From:From:Reply-To:To:Cc:Subject:Subject;\r\n"
		" bh="
	};
	static const char message[] = "X-Own: 1\r\nFrom: a@b.example\r\n"
		"Subject: x\r\n\r\nHello\r\n";
	static const Piece whole = {message, sizeof(message) - 1};
	static const Piece blank = {"From: a\r\n\r\n \r\n\r\n", 16};
	StringInfoData one,
				two;
	int			i;

	initStringInfo(&one);
	initStringInfo(&two);
	for (i = 0; i < COUNT(starts); i++)
	{
		char	   *why;
		DkimSigner	signer = {dkim_key_load(i ? key_ed25519 : key_rsa, &why),
		"news.example", "s1"};

		resetStringInfo(&one);
		resetStringInfo(&two);
		ok(dkim_sign(NULL, &one, &signer, 1795345351, &whole, 1) &&
		   strncmp(one.data, starts[i], strlen(starts[i])) == 0 &&
		   is_clean_wire(one.data, one.len, true) &&
		   longest_line(one.data, one.len) <= 76, "signature %d", i);
		ok(dkim_sign(NULL, &two, &signer, 1795345351, &whole, 1) &&
		   strcmp(one.data, two.data) == 0, "and the same again");
		dkim_key_free(signer.key);
	}

	/* RFC 6376 3.4.4: the empty body is empty; echo -n | openssl dgst */
	resetStringInfo(&one);
	{
		char	   *why;
		DkimSigner	signer = {dkim_key_load(key_ed25519, &why), "d", "s"};

		ok(dkim_sign(NULL, &one, &signer, 0, &blank, 1) &&
		   strstr(one.data, " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;"),
		   "the hash of an empty body");
		dkim_key_free(signer.key);
	}
	pfree(one.data);
	pfree(two.data);
}

/* In how many pieces a message lies changes nothing of its signature */
static void
test_dkim_pieces(void)
{
	static const char *const lines[] = {
		"", " ", "\t", "x", "x ", " x", "a  b\t c", "."
	};
	char	   *why;
	DkimSigner	signer = {dkim_key_load(key_ed25519, &why), "d", "s"};
	StringInfoData message;
	StringInfoData one;
	StringInfoData two;
	bool		same = true;
	int			i;

	initStringInfo(&message);
	initStringInfo(&one);
	initStringInfo(&two);
	for (i = 0; same && i < rounds(3000); i++)
	{
		Piece		pieces[9] = {{0}};
		int			starts[9] = {0};
		int			count = 1;
		int			line;

		resetStringInfo(&message);
		resetStringInfo(&one);
		resetStringInfo(&two);
		appendStringInfoString(&message, "From: a@b.example\r\n\r\n");
		for (line = random_below(9); line > 0; line--)
		{
			if (random_below(2))
				starts[count++] = message.len;
			appendStringInfo(&message, "%s\r\n",
							 lines[random_below(lengthof(lines))]);
		}
		for (line = 0; line < count; line++)
		{
			pieces[line].data = message.data + starts[line];
			pieces[line].len = (line + 1 < count ? starts[line + 1] :
								message.len) - starts[line];
		}
		same = dkim_sign(NULL, &two, &signer, 0, pieces, count);
		pieces[0].len = message.len;
		same = same && dkim_sign(NULL, &one, &signer, 0, pieces, 1) &&
			strcmp(one.data, two.data) == 0;
	}
	if (!ok(same, "a message in pieces has the signature of the whole"))
		diag("%s", message.data);
	dkim_key_free(signer.key);
	pfree(message.data);
	pfree(one.data);
	pfree(two.data);
}

void
test_dkim(void)
{
	test_dkim_keys();
	test_dkim_names();
	test_dkim_signature();
	test_dkim_pieces();
}

/*
 * Thousands of letters with all there is: nothing but short lines of ASCII,
 * and on a second attempt, prepared or not, the same bytes.
 */
void
test_clean(void)
{
	RandomLetter r;
	Rendered	one,
				two;
	const char *error;
	bool		clean = true;
	bool		same = true;
	int			i;

	for (i = 0; clean && same && i < rounds(3000); i++)
	{
		StringInfoData wire;

		random_letter(&r, i);
		r.letter.fixed = render_prepare(&r.letter, &error);
		clean = r.letter.fixed != NULL &&
			render_whole(&r.letter, &r.recipient, &one) &&
			is_clean_wire(one.message.data, one.message.len, true);
		if (!clean)
			break;
		wire = wire_of(&one);
		clean = is_clean_wire(wire.data, wire.len, true) &&
			strlen(wire.data) == (size_t) wire.len;
		pfree(wire.data);
		if (i % 10 != 0)
			continue;
		r.letter.fixed = NULL;
		same = render_whole(&r.letter, &r.recipient, &two) &&
			strcmp(one.message.data, two.message.data) == 0 &&
			strcmp(one.mail_from, two.mail_from) == 0;
	}
	ok(clean, "3,000 letters of all kinds are short lines of ASCII");
	ok(same, "a resend has the same bytes");

	/* 8-bit bytes: in the header of a mail that needs SMTPUTF8, only */
	random_letter(&r, 1);
	r.recipient.email = "用户@例子.广告";
	ok(render_whole(&r.letter, &r.recipient, &one) && one.smtputf8 &&
	   is_clean_wire(one.message.data, one.message.len, false) &&
	   is_clean_wire(strstr(one.message.data, "\r\n\r\n"),
					 strlen(strstr(one.message.data, "\r\n\r\n")), true),
	   "with an address in UTF-8 its header alone is not ASCII");
	r.recipient.email = "ann@例子.广告";
	ok(render_whole(&r.letter, &r.recipient, &one) && !one.smtputf8 &&
	   is_clean_wire(one.message.data, one.message.len, true),
	   "which a domain alone does not need");
}
