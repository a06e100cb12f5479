/*-------------------------------------------------------------------------
 *
 * pure_token_test.c
 *	  Tests of token.c and hmac.c.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

static const uint8 secret[] = "0123456789abcdef0123456789abcdef";
static const uint8 other[] = "0123456789abcdef0123456789abcdeg";

#define SECRET_LEN (sizeof(secret) - 1)

/* Written by another program: Python's hmac and base64 */
static const struct
{
	Token		token;
	const char *text;
}			known[] = {
	{{.newsletter_id = 3,.subscription_id = 1000000,.letter_id = 42},
	"AQPAhD0qVUFBL9IAW5_LzFXz_HZWxA"},
	{{.newsletter_id = 1,.subscription_id = 7,.letter_id = 42,.inert = true},
	"gQEHKrFF8lygJAKVot8MbBxO6kg"},
	{{.newsletter_id = -2,.subscription_id = PG_INT64_MIN,
	.letter_id = -1}, "Af7__________wGAgICAgICAgIAB____________AVAikkbDh42nPjg8qX_Gj40"},
	{{0}, "AQAAAMTgIctNaV5lRz7kbRRVDiQ"}
};

static bool
accepted(const char *text, size_t len, const uint8 *key)
{
	Token		token;
	bool		parsed = token_parse(&token, text, len);

	return token_verify(&token, key, SECRET_LEN) && parsed;
}

static bool
same(const Token *a, const Token *b)
{
	return a->newsletter_id == b->newsletter_id &&
		a->subscription_id == b->subscription_id &&
		a->letter_id == b->letter_id && a->inert == b->inert;
}

static void
test_token_known(void)
{
	char text[	TOKEN_LENGTH_MAX + 1];
	Token		token;
	int			i;

	for (i = 0; i < COUNT(known); i++)
	{
		const char *wanted = known[i].text;

		if (!ok(token_make(text, &known[i].token, secret, SECRET_LEN) &&
				strcmp(text, wanted) == 0, "token %d is written", i))
			diag("%s", text);
		ok(token_parse(&token, wanted, strlen(wanted)) &&
		   same(&token, &known[i].token), "and read");
		ok(accepted(wanted, strlen(wanted), secret), "and accepted");
		ok(!accepted(wanted, strlen(wanted), other),
		   "but not with another secret");
		ok(strspn(wanted, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
				  "wxyz0123456789-_") == strlen(wanted), "safe in a URL");
	}
	ok(strlen(known[0].text) < 36, "usual ids: %d characters",
	   (int) strlen(known[0].text));
	ok(strlen(known[2].text) == TOKEN_LENGTH_MAX,
	   "the longest: %d characters", TOKEN_LENGTH_MAX);
}

/* Every way to alter one character, to shorten and to lengthen it */
static void
test_token_altered(const char *genuine)
{
	size_t		len = strlen(genuine);
	char text[	TOKEN_LENGTH_MAX + 20];
	int			wrong = 0;
	size_t		i;
	int			c;

	for (i = 0; i < len; i++)
	{
		for (c = 0; c < 256; c++)
		{
			strlcpy(text, genuine, sizeof(text));
			text[		i] = (char) c;

			wrong += (char) c != genuine[i] && accepted(text, len, secret);
		}
	}
	ok(wrong == 0, "no other character anywhere");
	for (wrong = 0, i = 0; i < len; i++)
		wrong += accepted(genuine, i, secret);
	ok(wrong == 0, "nor less of it");
	for (wrong = 0, i = 1; i <= len; i++)
		wrong += accepted(genuine + i, len - i, secret);
	ok(wrong == 0, "nor its end alone");
	for (wrong = 0, c = 0; c < 256; c++)
	{
		snprintf(text, sizeof(text), "%s%c", genuine, c);
		wrong += accepted(text, len + 1, secret);
		snprintf(text, sizeof(text), "%c%s", c, genuine);
		wrong += c != 0 && accepted(text, len + 1, secret);
	}
	ok(wrong == 0, "nor more than it");
	snprintf(text, sizeof(text), "%s==", genuine);
	ok(!accepted(text, len + 1, secret) && !accepted(text, len + 2, secret),
	   "nor with padding");
}

/* Another one's HMAC, and another purpose's */
static void
test_token_mixed(void)
{
	Token		token = known[0].token;
	Token		good,
				bad;
	char text[	TOKEN_LENGTH_MAX + 1];
	uint8		digest[HMAC_BYTES];
	uint8		ids[16] = {0};
	int			i;

	(void) token_parse(&good, known[0].text, strlen(known[0].text));
	for (i = 0; i < 4; i++)
	{
		token = known[0].token;
		token.newsletter_id += i == 0;
		token.subscription_id += i == 1;
		token.letter_id += i == 2;
		token.inert = i == 3;
		(void) token_make(text, &token, secret, SECRET_LEN);
		(void) token_parse(&bad, text, strlen(text));
		memcpy(bad.bytes + bad.signed_len, good.bytes + good.signed_len,
			   TOKEN_HMAC_BYTES);
		ok(bad.signed_len == good.signed_len &&
		   !token_verify(&bad, secret, SECRET_LEN),
		   "the HMAC of another token, %d", i);
	}
	(void) hmac_sha256(digest, secret, SECRET_LEN, "message-id", ids, 16);
	bad = good;
	memcpy(bad.bytes + bad.signed_len, digest, TOKEN_HMAC_BYTES);
	ok(!token_verify(&bad, secret, SECRET_LEN), "a Message-ID's HMAC");
}

static void
test_token_rubbish(void)
{
	StringInfoData huge;
	int			wrong = 0;
	int			i;

	ok(!accepted("", 0, secret), "nothing");
	ok(!accepted("\0", 1, secret), "NUL");
	ok(!accepted("{{token}}", 9, secret), "a tag");
	initStringInfo(&huge);
	for (i = 0; i < rounds(1000000); i++)
		appendStringInfoString(&huge, known[0].text);
	ok(!accepted(huge.data, huge.len, secret), "%d MB", huge.len >> 20);
	pfree(huge.data);
	for (i = 0; i < rounds(200000); i++)
	{
		char text[	80];
		size_t		len = random_below(sizeof(text));
		size_t		k;

		for (k = 0; k < len; k++)
			text[		k] = (char) (random_below(2) ? random_below(256) :
									 'A' + random_below(26));

		wrong += accepted(text, len, secret);
	}
	ok(wrong == 0, "whatever chance makes");
}

static void
test_url_faults(void)
{
	static const struct
	{
		const char *url;
		const char *fault;		/* a piece of it, NULL: none */
	}			cases[] = {
		{"https://example.com/u/{{token}}", NULL},
		{"http://localhost:8080/?a=b&t={{token}}", NULL},
		{"HTTPS://example.com?{{token}}", NULL},
		{"https://example.com/{{token}}/{{token}}#{{token}}", NULL},
		{"https://[::1]/%20~(!$&'*+,;=:@-._)/{{token}}", NULL},
		{"", "neither https"},
		{"{{token}}", "neither https"},
		{"ftp://example.com/{{token}}", "neither https"},
		{"javascript://example.com/{{token}}", "neither https"},
		{"mailto:x@example.com?subject={{token}}", "neither https"},
		{" https://example.com/{{token}}", "space"},
		{"https:///{{token}}", "no host"},
		{"https://?{{token}}", "no host"},
		{"https://{{token}}.example.com/", "in the host"},
		{"https://{{token}}.example.com/{{token}}", "in the host"},
		{"https://example.com/u", "does not contain"},
		{"https://example.com/{{ token }}", "a tag other"},
		{"https://example.com/{{Token}}", "a tag other"},
		{"https://example.com/{{token}}/{{email}}", "a tag other"},
		{"https://example.com/{{{token}}}", "a tag other"},
		{"https://example.com/{token}", "a tag other"},
		{"https://example.com/{{token}}}", "a tag other"},
		{"https://example.com/a b/{{token}}", "space"},
		{"https://example.com/\r\nBcc: x/{{token}}", "control"},
		{"https://example.com/\x7f{{token}}", "control"},
		{"https://example.com/>{{token}}", "no place in a URL"},
		{"https://example.com/\"{{token}}", "no place in a URL"},
		{"https://m\xc3\xbcnchen.example/{{token}}", "not ASCII"}
	};
	StringInfoData url;
	int			i;

	for (i = 0; i < COUNT(cases); i++)
	{
		const char *fault = unsubscribe_url_fault(cases[i].url);

		if (!ok(cases[i].fault == NULL ? fault == NULL :
				fault != NULL && strstr(fault, cases[i].fault) != NULL,
				"unsubscribe_url %d: %s", i, cases[i].fault ?
				cases[i].fault : "fine"))
			diag("%s: %s", cases[i].url, fault ? fault : "no fault");
	}
	initStringInfo(&url);
	appendStringInfoString(&url, "https://example.com/{{token}}");
	while (url.len < 837)
		appendStringInfoChar(&url, 'x');
	ok(unsubscribe_url_fault(url.data) == NULL, "as long as can be");
	appendStringInfoChar(&url, 'x');
	ok(unsubscribe_url_fault(url.data) != NULL, "too long");
}

static void
test_url_made(void)
{
	RenderLetter letter = {
		.newsletter_id = 3,
		.letter_id = 42,
		.secret = secret,
		.secret_len = SECRET_LEN
	};
	StringInfoData wanted;
	char	   *url;

	ok(unsubscribe_url(&letter, 1000000, false) == NULL, "no link");
	letter.unsubscribe_url = "https://example.com/{{token}}?t={{token}}&x";
	initStringInfo(&wanted);
	appendStringInfo(&wanted, "https://example.com/%s?t=%s&x", known[0].text,
					 known[0].text);
	url = unsubscribe_url(&letter, 1000000, false);
	if (!ok(url != NULL && strcmp(url, wanted.data) == 0, "a link"))
		diag("%s", url ? url : "none");
	letter.newsletter_id = 1;
	letter.unsubscribe_url = "https://example.com/{{token}}";
	url = unsubscribe_url(&letter, 7, true);
	ok(url != NULL && strcmp(url + 20, known[1].text) == 0, "an inert link");
}

void
test_token(void)
{
	int			i;

	test_token_known();
	for (i = 0; i < COUNT(known); i++)
		test_token_altered(known[i].text);
	test_token_mixed();
	test_token_rubbish();
	test_url_faults();
	test_url_made();
}
