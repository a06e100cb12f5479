/* src/mailman--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION mailman" to load this file. \quit

-- First of all, and in every script to come: names are looked up in pg_catalog
-- alone.  Otherwise cardinality(relays) would be a function that somebody has
-- made in the schema we are created in, as it fits text[] better than the one
-- that is built in.  It ends with the script.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Mail is written in UTF-8, and so is everything that goes into it.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE feature_not_supported
			USING MESSAGE = 'mailman needs a database with encoding UTF8',
				  DETAIL = pg_catalog.format('This database has %s.',
											 pg_catalog.getdatabaseencoding()),
				  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;

-- Who may create functions beside ours can make one that fits a call better
-- than ours does: mailman_send(1) is mailman_send(integer), if there is one.
DO $$
DECLARE
	place pg_catalog.name;
	others text;
BEGIN
	SELECT n.nspname, pg_catalog.string_agg(DISTINCT CASE
			WHEN m.role = 0 THEN 'PUBLIC'
			ELSE pg_catalog.quote_ident(coalesce(r.rolname, m.role::text))
			END, ', ')
	  INTO place, others
	  FROM pg_catalog.pg_extension e
	  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
	 CROSS JOIN LATERAL (
			SELECT n.nspowner AS role
			UNION
			SELECT a.grantee
			  FROM pg_catalog.aclexplode(n.nspacl) a
			 WHERE a.privilege_type = 'CREATE') g
	 CROSS JOIN LATERAL (
			SELECT CASE WHEN g.role = 'pg_database_owner'::pg_catalog.regrole
				   THEN d.datdba ELSE g.role END AS role
			  FROM pg_catalog.pg_database d
			 WHERE d.datname = pg_catalog.current_database()) m
	  LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.role
	 WHERE e.extname = 'mailman' AND r.rolsuper IS NOT TRUE
	 GROUP BY n.nspname;
	IF FOUND THEN
		RAISE WARNING 'others may create functions in schema "%", where mailman''s are', place
			USING DETAIL = pg_catalog.format('%s may. PostgreSQL calls what fits the arguments best: mailman_send(1) would be their mailman_send(integer), with the rights of the one who calls it.', others),
				  HINT = 'Better: DROP EXTENSION mailman; CREATE SCHEMA mail; CREATE EXTENSION mailman SCHEMA mail; then write mail.mailman_send(1), or have that schema alone in search_path.';
	END IF;
END
$$;

CREATE SCHEMA mailman;
COMMENT ON SCHEMA mailman IS
'tables of the mailman extension: newsletters, subscriptions, letters, deliveries';

-- ---------------------------------------------------------------------------
-- What a value must look like.  These look at nothing but their argument and
-- are used by CHECK constraints, which run with the rights of whoever writes
-- the row: so PUBLIC keeps EXECUTE on them, and on nothing else below.
-- ---------------------------------------------------------------------------

CREATE FUNCTION mailman.check_address(address text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_address';
COMMENT ON FUNCTION mailman.check_address(text) IS
'true for a mail address (RFC 5321, RFC 6531), else an error that says what is wrong with it';

CREATE FUNCTION mailman.check_line(value text, what text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_line';
COMMENT ON FUNCTION mailman.check_line(text, text) IS
'true for text without control characters, else an error that names what it was meant to be';

CREATE FUNCTION mailman.check_name(value text, what text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_name';
COMMENT ON FUNCTION mailman.check_name(text, text) IS
'true for text without control characters and without those that turn the direction of writing, else an error that names what it was meant to be';

CREATE FUNCTION mailman.check_unsubscribe_url(url text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_unsubscribe_url';
COMMENT ON FUNCTION mailman.check_unsubscribe_url(text) IS
'true for a URL with {{token}} in it, else an error that says what is wrong with it';

CREATE FUNCTION mailman.check_value(value text, what text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_value';
COMMENT ON FUNCTION mailman.check_value(text, text) IS
'true for a value that can stand in the header field it was made for, else an error that says what is wrong with it';

CREATE FUNCTION mailman.check_headers(headers jsonb) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_headers';
COMMENT ON FUNCTION mailman.check_headers(jsonb) IS
'true for an object of strings by names that header fields of one''s own may have, else an error that says what is wrong with it';

CREATE FUNCTION mailman.check_retry_schedule(schedule text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_retry_schedule';
COMMENT ON FUNCTION mailman.check_retry_schedule(text) IS
'true for durations with commas between them, else an error that says what is wrong with them';

CREATE FUNCTION mailman.check_rate(rate text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_rate';
COMMENT ON FUNCTION mailman.check_rate(text) IS
'true for a rate such as 14/s, else an error that says what is wrong with it';

CREATE FUNCTION mailman.check_domain_pattern(pattern text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_check_domain_pattern';
COMMENT ON FUNCTION mailman.check_domain_pattern(text) IS
'true for a domain or *.domain in lower-case A-labels, else an error that says what is wrong with it';

CREATE FUNCTION @extschema@.mailman_is_address(address text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_is_address';
COMMENT ON FUNCTION @extschema@.mailman_is_address(text) IS
'would a subscription accept this as its email? (RFC 5321, RFC 6531)';

-- ---------------------------------------------------------------------------
-- Tables
-- ---------------------------------------------------------------------------

-- Every index is paid for by each row, tens of millions of them in delivery and
-- newsletter_email; so a comment says what it is for.

CREATE TABLE mailman.newsletter (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	ref text,
	owner name NOT NULL DEFAULT current_user,
	owner_oid oid,
	name text NOT NULL CHECK (mailman.check_name(name, 'name')),
	from_name text CHECK (mailman.check_name(from_name, 'from_name')),
	from_address text NOT NULL CHECK (mailman.check_address(from_address)),
	reply_to text CHECK (mailman.check_address(reply_to)),
	relays text[] NOT NULL DEFAULT '{}'
		CHECK (CASE WHEN coalesce(array_ndims(relays), 1) = 1
			   THEN array_position(relays, NULL) IS NULL ELSE false END)
		CHECK (cardinality(relays) <= 16),
	policy text,
	list_id text CHECK (mailman.check_name(list_id, 'list_id'))
		CHECK (mailman.check_value(list_id, 'list_id')),
	unsubscribe_url text
		CHECK (mailman.check_unsubscribe_url(unsubscribe_url)),
	unsubscribe_mailto text CHECK (mailman.check_address(unsubscribe_mailto)),
	bounce_address text CHECK (mailman.check_address(bounce_address))
		CHECK (mailman.check_value(bounce_address, 'bounce_address')),
	feedback_id text CHECK (mailman.check_value(feedback_id, 'feedback_id')),
	precedence text DEFAULT 'bulk'
		CHECK (precedence IN ('bulk', 'list', 'junk')),
	dkim_domain text CHECK (mailman.check_value(dkim_domain, 'dkim_domain')),
	dkim_selector text
		CHECK (mailman.check_value(dkim_selector, 'dkim_selector')),
	max_attempts integer NOT NULL DEFAULT 20
		CHECK (max_attempts BETWEEN 1 AND 1000),
	max_age interval NOT NULL DEFAULT '72 hours'
		CHECK (max_age > interval '0' AND max_age <= interval '10 years'),
	retry_schedule text CHECK (mailman.check_retry_schedule(retry_schedule)),
	max_message_size integer
		CHECK (max_message_size BETWEEN 65536 AND 209715200),
	created_at timestamptz NOT NULL DEFAULT now(),
	-- the application finds its own; another owner's is in nobody's way
	UNIQUE (owner_oid, ref),
	CONSTRAINT newsletter_dkim_whole_check
		CHECK ((dkim_domain IS NULL) = (dkim_selector IS NULL))
);
COMMENT ON TABLE mailman.newsletter IS 'a newsletter: who sends, through which relays';
COMMENT ON COLUMN mailman.newsletter.ref IS 'the application''s own key, unique for its owner';
COMMENT ON COLUMN mailman.newsletter.owner IS 'members of this role may send its letters';
COMMENT ON COLUMN mailman.newsletter.owner_oid IS 'that role, whatever it is called now; null: there was none of that name when the row was loaded';
COMMENT ON COLUMN mailman.newsletter.from_address IS 'RFC 5322 From:, and the envelope sender if bounce_address is null';
COMMENT ON COLUMN mailman.newsletter.relays IS 'names of foreign servers of wrapper mailman_smtp, in order of preference';
COMMENT ON COLUMN mailman.newsletter.policy IS 'a function (mailman.letter, mailman.subscription) RETURNS jsonb, with its schema, that is asked per recipient if and how to send';
COMMENT ON COLUMN mailman.newsletter.list_id IS 'RFC 2919 List-Id: "weekly.example.com" or "Our Weekly <weekly.example.com>"';
COMMENT ON COLUMN mailman.newsletter.unsubscribe_url IS 'link to a page from which one leaves, with {{token}} in it: https://example.com/u/{{token}}; GET shows the page and changes nothing, as programs follow every link of a mail; POST calls mailman_unsubscribe(token); in List-Unsubscribe, with https for RFC 8058''s one click (a POST) too';
COMMENT ON COLUMN mailman.newsletter.unsubscribe_mailto IS 'RFC 2369 List-Unsubscribe address; the subject of such a mail carries a tag that tells who wants to leave';
COMMENT ON COLUMN mailman.newsletter.bounce_address IS 'RFC 5321 reverse-path: where relays report undeliverable mail; {{verp}} in it becomes a tag that tells which mail, as in bounces+{{verp}}@example.com';
COMMENT ON COLUMN mailman.newsletter.feedback_id IS 'SenderId at the end of Feedback-ID, by which feedback loops count; before it stand the ids of letter and newsletter';
COMMENT ON COLUMN mailman.newsletter.precedence IS 'Precedence: bulk, list or junk keeps automatic answers away; null: no such field';
COMMENT ON COLUMN mailman.newsletter.dkim_domain IS 'RFC 6376 d=, in A-labels: with it mails are signed, with the key of mailman_set_dkim_key()';
COMMENT ON COLUMN mailman.newsletter.dkim_selector IS 'RFC 6376 s=: the key is published at selector._domainkey.domain';
COMMENT ON COLUMN mailman.newsletter.max_attempts IS 'a delivery fails after so many attempts';
COMMENT ON COLUMN mailman.newsletter.max_age IS 'a delivery fails when it is deferred longer than this';
COMMENT ON COLUMN mailman.newsletter.max_message_size IS 'octets that a mail may have, with its files; a recipient of a larger one fails; null, or more than that: mailman.max_message_size';
COMMENT ON COLUMN mailman.newsletter.retry_schedule IS 'waits before a deferred delivery is tried again, such as "5min, 15min, 1h"; the last one repeats; null: mailman.retry_schedule';

CREATE TABLE mailman.subscription (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE RESTRICT,
	ref text,
	email text NOT NULL CHECK (mailman.check_address(email)),
	name text CHECK (mailman.check_name(name, 'name')),
	data jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(data) = 'object'),
	state text NOT NULL DEFAULT 'active'
		CHECK (state IN ('pending', 'active', 'unsubscribed', 'bounced',
						 'complained')),
	forgotten_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	-- the application finds its own; and the list of a newsletter
	UNIQUE (newsletter_id, ref),
	CONSTRAINT subscription_forgotten
		CHECK (forgotten_at IS NULL OR state NOT IN ('pending', 'active'))
);
-- nobody is on a list twice; mailman_subscribe() finds who is on it
CREATE UNIQUE INDEX subscription_newsletter_id_email_key
	ON mailman.subscription (newsletter_id, lower(email));
COMMENT ON TABLE mailman.subscription IS 'a reader of a newsletter; recipient of its letters while active';
COMMENT ON COLUMN mailman.subscription.ref IS 'the application''s own key, unique in the newsletter';
COMMENT ON COLUMN mailman.subscription.email IS 'mail address, unique in the newsletter whatever its case';
COMMENT ON COLUMN mailman.subscription.data IS 'whatever templates want to say: {{data.x}}';
COMMENT ON COLUMN mailman.subscription.state IS 'pending, active, unsubscribed, bounced or complained; only active ones get mail';
COMMENT ON COLUMN mailman.subscription.forgotten_at IS 'when mailman_forget() was called on it: what said who it was is gone';

CREATE TABLE mailman.letter (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE RESTRICT,
	ref text,
	subject text NOT NULL CHECK (mailman.check_line(subject, 'subject')),
	text_body text,
	html_body text,
	headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object')
		CHECK (mailman.check_headers(headers)),
	state text NOT NULL DEFAULT 'draft'
		CHECK (state IN ('draft', 'scheduled', 'sending', 'paused', 'sent',
						 'cancelled')),
	state_reason text,
	state_at timestamptz,
	send_at timestamptz,
	on_doubt text NOT NULL DEFAULT 'resend' CHECK (on_doubt IN ('resend', 'hold')),
	strict boolean NOT NULL DEFAULT false,
	revision integer NOT NULL DEFAULT 1,
	sender name,
	sender_oid oid,
	whole boolean NOT NULL DEFAULT false,
	cancelling boolean NOT NULL DEFAULT false,
	line_at timestamptz,
	run integer NOT NULL DEFAULT 0,
	run_at timestamptz,
	failed_runs integer NOT NULL DEFAULT 0,
	last_error text,
	resumed_at timestamptz,
	doubts bigint NOT NULL DEFAULT 0,
	rate real,
	rate_at timestamptz,
	mail_order jsonb NOT NULL
		DEFAULT '{"recipients": 0, "pending": 0, "sending": 0, "deferred": 0, "delivered": 0, "failed": 0, "skipped": 0, "doubtful": 0}',
	purged_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	-- the application finds its own; the letters of a newsletter, and the
	-- foreign key when that goes
	UNIQUE (newsletter_id, ref)
) WITH (fillfactor = 50);
-- what supervision looks through: few, and what it asks for changes seldom
CREATE INDEX letter_open_idx ON mailman.letter (id)
	WHERE state IN ('scheduled', 'sending', 'paused') OR cancelling;
COMMENT ON TABLE mailman.letter IS 'one issue of a newsletter';
COMMENT ON COLUMN mailman.letter.ref IS 'the application''s own key, unique in the newsletter';
COMMENT ON COLUMN mailman.letter.subject IS 'template (Mustache) of the Subject:';
COMMENT ON COLUMN mailman.letter.text_body IS 'template of the text/plain body';
COMMENT ON COLUMN mailman.letter.html_body IS 'template of the text/html body';
COMMENT ON COLUMN mailman.letter.headers IS 'header fields of one''s own: an object of templates by field name, such as {"X-Campaign": "{{data.city}}"}';
COMMENT ON COLUMN mailman.letter.state IS 'draft, scheduled, sending, paused, sent or cancelled; changed by mailman_send(), mailman_pause(), mailman_resume(), mailman_cancel() and the letter''s worker';
COMMENT ON COLUMN mailman.letter.state_reason IS 'why it is in this state, in words';
COMMENT ON COLUMN mailman.letter.state_at IS 'since when it is in this state; null: it was never sent';
COMMENT ON COLUMN mailman.letter.send_at IS 'not to be sent before';
COMMENT ON COLUMN mailman.letter.on_doubt IS 'the final dot was sent and no reply was recorded: resend (with the same Message-ID) or hold';
COMMENT ON COLUMN mailman.letter.strict IS 'a variable without value is an error, and that delivery fails';
COMMENT ON COLUMN mailman.letter.revision IS 'counts changes of the content';
COMMENT ON COLUMN mailman.letter.sender IS 'the role that sent it first, or took the place of one that was gone; its user mappings and rights count';
COMMENT ON COLUMN mailman.letter.sender_oid IS 'that role, whatever it is called now';
COMMENT ON COLUMN mailman.letter.whole IS 'scheduled for every active subscription: whoever subscribes until it starts gets it, too';
COMMENT ON COLUMN mailman.letter.cancelling IS 'cancelled, and its worker has not yet seen to it that nothing is left';
COMMENT ON COLUMN mailman.letter.line_at IS 'since when it waits for a worker; letters start in this order';
COMMENT ON COLUMN mailman.letter.run_at IS 'when its latest worker began';
COMMENT ON COLUMN mailman.letter.last_error IS 'what ended the latest worker that failed';
COMMENT ON COLUMN mailman.letter.resumed_at IS 'when mailman_resume() was last called on it: relays that were out before are tried again';
COMMENT ON COLUMN mailman.letter.run IS 'counts the workers it has had; only the latest may write';
COMMENT ON COLUMN mailman.letter.failed_runs IS 'workers in a row that ended without recording an outcome';
COMMENT ON COLUMN mailman.letter.doubts IS 'how often the final dot was sent and no reply was recorded';
COMMENT ON COLUMN mailman.letter.rate IS 'outcomes per second when the latest was recorded; see mailman.progress';
COMMENT ON COLUMN mailman.letter.rate_at IS 'when the latest outcome was recorded';
COMMENT ON COLUMN mailman.letter.mail_order IS 'exact tally of its deliveries by state, true at every commit (together with postings not yet folded)';
COMMENT ON COLUMN mailman.letter.purged_at IS 'when mailman_purge() began to delete its deliveries; mail_order is what they were';

CREATE TABLE mailman.attachment (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	letter_id bigint NOT NULL REFERENCES mailman.letter ON DELETE CASCADE,
	name text NOT NULL CHECK (mailman.check_name(name, 'name')),
	content_type text NOT NULL DEFAULT 'application/octet-stream'
		CHECK (mailman.check_line(content_type, 'content_type'))
		CHECK (mailman.check_value(content_type, 'content_type')),
	content bytea NOT NULL,
	content_id text CHECK (mailman.check_line(content_id, 'content_id'))
		CHECK (mailman.check_value(content_id, 'content_id')),
	-- one image per cid:; the files of a letter, and the foreign key
	UNIQUE (letter_id, content_id)
);
COMMENT ON TABLE mailman.attachment IS 'files that go with a letter, in the order of their ids';
COMMENT ON COLUMN mailman.attachment.name IS 'file name, in any script';
COMMENT ON COLUMN mailman.attachment.content_id IS 'null: attached; else shown by the HTML body, as in <img src="cid:logo">';

CREATE TABLE mailman.partial (
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE CASCADE,
	name text NOT NULL CHECK (mailman.check_name(name, 'name')),
	template text NOT NULL,
	PRIMARY KEY (newsletter_id, name)
);
COMMENT ON TABLE mailman.partial IS 'templates shared by the letters of a newsletter: {{>name}}; a change counts at once, even for a letter that is being sent';

-- A delivery is updated twice on its way (claimed, then its outcome).  Half
-- of each page is left free so that both updates stay HOT; no index names a
-- column they change, save due_at of the few that wait.
CREATE TABLE mailman.delivery (
	letter_id bigint NOT NULL REFERENCES mailman.letter ON DELETE RESTRICT,
	subscription_id bigint NOT NULL
		REFERENCES mailman.subscription ON DELETE RESTRICT,
	queued_at timestamptz NOT NULL DEFAULT now(),
	due_at timestamptz,
	attempts integer NOT NULL DEFAULT 0,
	code smallint,
	doubts smallint NOT NULL DEFAULT 0,
	state text NOT NULL DEFAULT 'pending'
		CHECK (state IN ('pending', 'sending', 'deferred', 'delivered',
						 'failed', 'skipped', 'doubtful')),
	enhanced text,
	reply text,
	reason text,
	variables jsonb,
	-- a turn goes through it; both foreign keys that lead here, and that to the
	-- letter when it goes
	PRIMARY KEY (letter_id, subscription_id)
) WITH (fillfactor = 50);
-- what waits for its time; finds retries and work handed back
CREATE INDEX delivery_due_idx ON mailman.delivery (letter_id, due_at)
	WHERE due_at IS NOT NULL;
-- what did this reader get; and the foreign key when a subscription goes
CREATE INDEX delivery_subscription_id_idx
	ON mailman.delivery (subscription_id);
COMMENT ON TABLE mailman.delivery IS 'one letter to one recipient; written by the extension only';
COMMENT ON COLUMN mailman.delivery.queued_at IS 'when mailman_send() queued it; the Date: of the mail unless the letter was scheduled for later';
COMMENT ON COLUMN mailman.delivery.due_at IS 'not before; null unless it waits';
COMMENT ON COLUMN mailman.delivery.attempts IS 'tries that counted against the recipient';
COMMENT ON COLUMN mailman.delivery.code IS 'RFC 5321 reply code of the last attempt';
COMMENT ON COLUMN mailman.delivery.doubts IS 'how often the final dot was sent and no reply was recorded: it may have that many copies more';
COMMENT ON COLUMN mailman.delivery.state IS 'pending, sending, deferred, delivered, failed, skipped or doubtful';
COMMENT ON COLUMN mailman.delivery.enhanced IS 'RFC 3463 status code of the last attempt';
COMMENT ON COLUMN mailman.delivery.reply IS 'the relay''s words; of a delivered mail see newsletter_email';
COMMENT ON COLUMN mailman.delivery.reason IS 'why it is in this state, in words';
COMMENT ON COLUMN mailman.delivery.variables IS 'given to mailman_send(): {{variables.x}}';

-- The key is that of the delivery, so one foreign key ties the record to both
-- letter and subscription, is checked against a row just written, and never
-- waits for somebody's lock on the subscription.
CREATE TABLE mailman.newsletter_email (
	-- what mailman_deliveries() names
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	letter_id bigint NOT NULL,
	subscription_id bigint NOT NULL,
	sent_at timestamptz NOT NULL,
	bytes integer NOT NULL,
	revision integer NOT NULL,
	attempts integer NOT NULL,
	code smallint NOT NULL,
	duration interval NOT NULL,
	address text NOT NULL,
	message_id text NOT NULL,
	relay text NOT NULL,
	reply text,
	-- one record of a mail; the foreign key when the delivery goes; by way of
	-- delivery_subscription_id_idx what a reader got
	UNIQUE (letter_id, subscription_id),
	FOREIGN KEY (letter_id, subscription_id)
		REFERENCES mailman.delivery ON DELETE RESTRICT
);
COMMENT ON TABLE mailman.newsletter_email IS 'one row per accepted mail; written by the extension only';
COMMENT ON COLUMN mailman.newsletter_email.address IS 'address as sent: RCPT TO';
COMMENT ON COLUMN mailman.newsletter_email.revision IS 'revision of the letter''s content';
COMMENT ON COLUMN mailman.newsletter_email.message_id IS 'RFC 5322 Message-ID, the same in every attempt';
COMMENT ON COLUMN mailman.newsletter_email.relay IS 'the foreign server it left through';
COMMENT ON COLUMN mailman.newsletter_email.attempts IS 'the attempt that was accepted, from 1';
COMMENT ON COLUMN mailman.newsletter_email.bytes IS 'size of the message in octets';
COMMENT ON COLUMN mailman.newsletter_email.duration IS 'from MAIL FROM to the reply to the final dot';
COMMENT ON COLUMN mailman.newsletter_email.sent_at IS 'when the relay accepted it';

CREATE TABLE mailman.posting (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	letter_id bigint NOT NULL REFERENCES mailman.letter ON DELETE RESTRICT,
	low bigint NOT NULL,
	high bigint NOT NULL,
	recipients bigint NOT NULL,
	skipped bigint NOT NULL DEFAULT 0,
	failed bigint NOT NULL DEFAULT 0,
	doubtful bigint NOT NULL DEFAULT 0,
	folded boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
-- what a turn reads first; and the foreign key when the letter goes
CREATE INDEX posting_letter_id_idx ON mailman.posting (letter_id, id);
COMMENT ON TABLE mailman.posting IS 'internal: calls of mailman_send() whose recipients were not all claimed yet';
COMMENT ON COLUMN mailman.posting.low IS 'no unclaimed subscription of it is below';
COMMENT ON COLUMN mailman.posting.high IS 'no unclaimed subscription of it is above';
COMMENT ON COLUMN mailman.posting.recipients IS 'deliveries it made';
COMMENT ON COLUMN mailman.posting.skipped IS 'those of them that were skipped at once';
COMMENT ON COLUMN mailman.posting.failed IS 'failed deliveries that mailman_retry() made pending';
COMMENT ON COLUMN mailman.posting.doubtful IS 'doubtful deliveries that mailman_retry() made pending';
COMMENT ON COLUMN mailman.posting.folded IS 'counted in letter.mail_order';

-- Apart from the accounts: a test is no delivery and is in no tally.  It keeps
-- nobody from being deleted, hence no foreign key on the subscription.
CREATE TABLE mailman.test (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	letter_id bigint NOT NULL REFERENCES mailman.letter ON DELETE CASCADE,
	subscription_id bigint,
	address text NOT NULL CHECK (mailman.check_address(address)),
	requested_by name NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT now(),
	state text NOT NULL DEFAULT 'pending'
		CHECK (state IN ('pending', 'sending', 'delivered', 'failed',
						 'doubtful')),
	code smallint,
	enhanced text,
	reply text,
	reason text,
	relay text,
	message_id text,
	sent_at timestamptz,
	variables jsonb
);
CREATE INDEX test_letter_id_idx ON mailman.test (letter_id);
-- what is still to be sent, or is on its way: few
CREATE INDEX test_open_idx ON mailman.test (letter_id, id)
	WHERE state IN ('pending', 'sending');
COMMENT ON TABLE mailman.test IS 'copies of letters that mailman_test() was asked for; written by the extension only';
COMMENT ON COLUMN mailman.test.subscription_id IS 'whose name and data it shows';
COMMENT ON COLUMN mailman.test.address IS 'where it goes';
COMMENT ON COLUMN mailman.test.requested_by IS 'the role that asked for it; of a draft, its user mappings and rights count';
COMMENT ON COLUMN mailman.test.requested_at IS 'when; also the Date: of the mail';
COMMENT ON COLUMN mailman.test.state IS 'pending, sending, delivered, failed or doubtful; there is one attempt';
COMMENT ON COLUMN mailman.test.enhanced IS 'RFC 3463 status code';
COMMENT ON COLUMN mailman.test.reason IS 'why it is in this state, or still is, in words';
COMMENT ON COLUMN mailman.test.relay IS 'the foreign server it went to';
COMMENT ON COLUMN mailman.test.message_id IS 'RFC 5322 Message-ID, its own';
COMMENT ON COLUMN mailman.test.sent_at IS 'when the relay accepted it';
COMMENT ON COLUMN mailman.test.variables IS '{{variables.x}}: those of the delivery, and what the policy added when it was asked for';

CREATE TABLE mailman.secret (
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE CASCADE,
	key bytea NOT NULL CHECK (length(key) >= 32),
	wrapped_by text,
	generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
	expires_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (newsletter_id, generation)
);
COMMENT ON TABLE mailman.secret IS 'internal: keys of a newsletter''s message ids, unsubscribe tokens and tags, see mailman_rotate_secret(); granted to nobody';
COMMENT ON COLUMN mailman.secret.wrapped_by IS 'id of the key in mailman.key_file that it is wrapped with; null: it lies plain';
COMMENT ON COLUMN mailman.secret.generation IS 'the latest makes tokens and tags; the first, message ids and the hashes of who was forgotten';
COMMENT ON COLUMN mailman.secret.expires_at IS 'tokens and tags that it made are not good any more; null: it is the latest';

CREATE TABLE mailman.forgotten (
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE CASCADE,
	hash bytea NOT NULL,
	state text NOT NULL
		CHECK (state IN ('unsubscribed', 'bounced', 'complained')),
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (newsletter_id, hash)
);
COMMENT ON TABLE mailman.forgotten IS 'internal: addresses that mailman_forget() was called on, so that an old list does not revive them';
COMMENT ON COLUMN mailman.forgotten.hash IS 'HMAC-SHA-256 of the address under the newsletter''s secret';
COMMENT ON COLUMN mailman.forgotten.state IS 'state of a subscription with this address that is loaded again';

CREATE TABLE mailman.dkim_key (
	newsletter_id bigint NOT NULL
		REFERENCES mailman.newsletter ON DELETE CASCADE,
	selector text NOT NULL CHECK (mailman.check_value(selector, 'dkim_selector')),
	key bytea NOT NULL,
	wrapped_by text,
	PRIMARY KEY (newsletter_id, selector)
);
COMMENT ON TABLE mailman.dkim_key IS 'internal: private keys for DKIM, set by mailman_set_dkim_key(); granted to nobody';
COMMENT ON COLUMN mailman.dkim_key.selector IS 'mails are signed with the key whose selector is newsletter.dkim_selector';
COMMENT ON COLUMN mailman.dkim_key.key IS 'RSA or Ed25519, in PEM';
COMMENT ON COLUMN mailman.dkim_key.wrapped_by IS 'id of the key in mailman.key_file that it is wrapped with; null: it lies plain';

-- What the workers of this database tell each other about a relay.  A row is
-- locked for an instant only, in a transaction of its own that is not flushed.
-- By server, so that one that is made anew begins anew; no copy needs it.
CREATE TABLE mailman.relay_state (
	server oid PRIMARY KEY,
	failures integer NOT NULL DEFAULT 0,
	failed_at timestamptz,
	retry_at timestamptz,
	error text,
	out_key bigint,
	out_mapping oid,
	out_until timestamptz,
	out_tries integer NOT NULL DEFAULT 0,
	arrival timestamptz,
	slow_rate float8,
	slow_from float8,
	slowed_at timestamptz,
	counted_at timestamptz,
	sent bigint NOT NULL DEFAULT 0,
	rejected bigint NOT NULL DEFAULT 0,
	sent_before bigint NOT NULL DEFAULT 0,
	rejected_before bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 25);
COMMENT ON TABLE mailman.relay_state IS 'internal: health and rate of relays; see mailman.relay_status';
COMMENT ON COLUMN mailman.relay_state.server IS 'oid of the foreign server';
COMMENT ON COLUMN mailman.relay_state.failures IS 'in a row; 0: it is well';
COMMENT ON COLUMN mailman.relay_state.failed_at IS 'the last time';
COMMENT ON COLUMN mailman.relay_state.retry_at IS 'not to be tried before';
COMMENT ON COLUMN mailman.relay_state.error IS 'what was wrong the last time, in words';
COMMENT ON COLUMN mailman.relay_state.out_key IS 'it is out for those with these options and credentials, until a person acts';
COMMENT ON COLUMN mailman.relay_state.out_mapping IS 'oid of their user mapping';
COMMENT ON COLUMN mailman.relay_state.out_until IS 'it was their token that was refused, which is not to be tried again before, unless there is another one';
COMMENT ON COLUMN mailman.relay_state.out_tries IS 'how often that was, in a row';
COMMENT ON COLUMN mailman.relay_state.arrival IS 'theoretical arrival time of the next mail (generic cell rate algorithm)';
COMMENT ON COLUMN mailman.relay_state.slow_rate IS 'mails per second it was slowed down to, as it asked for less';
COMMENT ON COLUMN mailman.relay_state.slow_from IS 'mails per second before that';
COMMENT ON COLUMN mailman.relay_state.slowed_at IS 'since when; the rate doubles each minute';
COMMENT ON COLUMN mailman.relay_state.counted_at IS 'start of the half minute that is being counted';
COMMENT ON COLUMN mailman.relay_state.sent IS 'mails accepted in it';
COMMENT ON COLUMN mailman.relay_state.rejected IS 'mails not accepted in it';
COMMENT ON COLUMN mailman.relay_state.sent_before IS 'mails accepted in the half minute before';
COMMENT ON COLUMN mailman.relay_state.rejected_before IS 'mails not accepted in the half minute before';

CREATE TABLE mailman.domain_limit (
	-- locks and domain_state know it by that
	id integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
	pattern text PRIMARY KEY CHECK (mailman.check_domain_pattern(pattern)),
	rate text CHECK (mailman.check_rate(rate)),
	connections integer CHECK (connections BETWEEN 1 AND 1000),
	CHECK (rate IS NOT NULL OR connections IS NOT NULL)
);
COMMENT ON TABLE mailman.domain_limit IS 'how much mail the domains of recipients get, through whichever relay';
COMMENT ON COLUMN mailman.domain_limit.pattern IS 'example.com, or *.example.com for all domains below it: they share one limit; the longest that fits counts';
COMMENT ON COLUMN mailman.domain_limit.rate IS 'mails per time: 2/s, 100/min, 500/h, 1000/d';
COMMENT ON COLUMN mailman.domain_limit.connections IS 'most mails under way to it at once';

CREATE TABLE mailman.domain_state (
	id integer PRIMARY KEY,
	arrival timestamptz
) WITH (fillfactor = 25);
COMMENT ON TABLE mailman.domain_state IS 'internal: rate of limited domains';
COMMENT ON COLUMN mailman.domain_state.id IS 'of the limit';
COMMENT ON COLUMN mailman.domain_state.arrival IS 'theoretical arrival time of the next mail (generic cell rate algorithm)';

-- The database that may send, armed by its first mailman_send().  A copy carries
-- the row along and finds that it is not the one.  No key but a number: the
-- first may be several, and none of them waits for another.
CREATE TABLE mailman.origin (
	-- so that a publication FOR ALL TABLES lets mailman_adopt() delete
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	system_identifier bigint NOT NULL,
	database oid NOT NULL,
	armed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mailman.origin IS 'internal: the database that was armed to send; see mailman_adopt()';
COMMENT ON COLUMN mailman.origin.system_identifier IS 'of the cluster';
COMMENT ON COLUMN mailman.origin.database IS 'in the cluster; 0: the row was restored from a dump';

-- What happened, written with the change itself.  No foreign key: a letter that
-- is deleted has been, and no event waits for anybody's lock on its letter.
-- bounce and test are reserved.
CREATE TABLE mailman.event (
	-- in this order listeners are told, and purged
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	kind text NOT NULL CHECK (kind IN ('letter', 'sender', 'relay', 'doubt',
									   'adopt', 'newsletter', 'key', 'right',
									   'bounce', 'test')),
	letter_id bigint,
	newsletter_id bigint,
	actor jsonb,
	notified boolean NOT NULL DEFAULT false,
	detail jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
-- who listens is still to be told: few, however long the table
CREATE INDEX event_untold_idx ON mailman.event (id) WHERE NOT notified;
COMMENT ON TABLE mailman.event IS 'what happened to letters, relays, newsletters, keys and rights; NOTIFY on channel mailman tells of each';
COMMENT ON COLUMN mailman.event.id IS 'identifies it; not the order of commits';
COMMENT ON COLUMN mailman.event.at IS 'when it was written';
COMMENT ON COLUMN mailman.event.kind IS 'letter: its state changed (from, to, reason), or what it says after it was first scheduled (changed); newsletter: changed (columns; partial; * when it is deleted); key: changed (dkim_key, secret); right: mailman_grant() or mailman_revoke() (granted or revoked, role); sender: somebody took the place of its sender, who was gone (before, sender); relay: its health changed (relay, state, reason); doubt: final dots without a reply on record (doubts in all, new); adopt: mailman_adopt()';
COMMENT ON COLUMN mailman.event.letter_id IS 'the letter it is about; null: none';
COMMENT ON COLUMN mailman.event.newsletter_id IS 'the newsletter whose row, partials or keys it is about; null: none';
COMMENT ON COLUMN mailman.event.actor IS 'who did it: names of the session''s user and of the current one (session, current); null: a worker';
COMMENT ON COLUMN mailman.event.notified IS 'channel mailman was told';
COMMENT ON COLUMN mailman.event.detail IS 'by kind';

-- what every table calls alike
DO $$
DECLARE
	col record;
BEGIN
	FOR col IN
		SELECT c.oid::pg_catalog.regclass AS relation, a.attname AS name, v.text
		  FROM pg_catalog.pg_class c
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		  JOIN (VALUES ('id', 'identifies it'),
					   ('created_at', 'when it was made'),
					   ('newsletter_id', 'the newsletter it belongs to'),
					   ('letter_id', 'the letter it belongs to'),
					   ('subscription_id', 'the recipient'),
					   ('name', 'what it is called'),
					   ('from_name', 'RFC 5322 display name of From:'),
					   ('reply_to', 'RFC 5322 Reply-To:'),
					   ('code', 'RFC 5321 reply code'),
					   ('reply', 'the relay''s words'),
					   ('content_type', 'RFC 2045 media type'),
					   ('content', 'the bytes'),
					   ('content_id', 'RFC 2392 cid: of an inline image'),
					   ('template', 'the text'),
					   ('armed_at', 'since when'),
					   ('key', 'random bytes')) AS v(name, text)
			ON v.name = a.attname
		 WHERE c.relnamespace = 'mailman'::pg_catalog.regnamespace
		   AND c.relkind = 'r' AND a.attnum > 0
		   AND pg_catalog.col_description(c.oid, a.attnum) IS NULL
	LOOP
		EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L',
								  col.relation, col.name, col.text);
	END LOOP;
END
$$;

-- pg_dump carries what they hold, and where their sequences stand
DO $$
DECLARE
	relation pg_catalog.regclass;
BEGIN
	FOR relation IN
		SELECT c.oid FROM pg_catalog.pg_class c
		 WHERE c.relnamespace = 'mailman'::pg_catalog.regnamespace
		   AND c.relkind IN ('r', 'S')
		   AND c.relname NOT IN ('relay_state', 'domain_state')
		 ORDER BY c.oid
	LOOP
		PERFORM pg_catalog.pg_extension_config_dump(relation, '');
	END LOOP;
END
$$;

-- ---------------------------------------------------------------------------
-- Guards: who may change what, whatever was granted and however it is written
-- ---------------------------------------------------------------------------

-- A right and no more: to have EXECUTE on it is to see and write everybody's.
CREATE FUNCTION mailman.admin() RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_admin';
COMMENT ON FUNCTION mailman.admin() IS
'does nothing; roles with EXECUTE on it see and write everybody''s newsletters: mailman_grant(role, ''admin'')';

CREATE FUNCTION mailman.guard_newsletter() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_newsletter';
COMMENT ON FUNCTION mailman.guard_newsletter() IS
'a newsletter is written by members of its owner only; owner, relays and policy by members of the owner, old and new';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON mailman.newsletter
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_newsletter();
ALTER TABLE mailman.newsletter ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION mailman.guard_subscription() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_subscription';
COMMENT ON FUNCTION mailman.guard_subscription() IS
'subscriptions are written by members of the newsletter''s owner only, and do not change newsletters';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON mailman.subscription
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_subscription();
ALTER TABLE mailman.subscription ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION mailman.guard_forgotten() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_forgotten';
COMMENT ON FUNCTION mailman.guard_forgotten() IS
'an address that was forgotten is let in, and gets no mail';
CREATE TRIGGER forgotten BEFORE INSERT OR UPDATE OF email, forgotten_at
	ON mailman.subscription
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_forgotten();
ALTER TABLE mailman.subscription ENABLE ALWAYS TRIGGER forgotten;

CREATE FUNCTION mailman.guard_partial() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_partial';
COMMENT ON FUNCTION mailman.guard_partial() IS
'partials are written by members of the newsletter''s owner only';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON mailman.partial
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_partial();
ALTER TABLE mailman.partial ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION mailman.guard_letter() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_letter';
COMMENT ON FUNCTION mailman.guard_letter() IS
'a letter is written by members of the newsletter''s owner only, and not while it is in the post; its state and tally are the extension''s';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON mailman.letter
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_letter();
ALTER TABLE mailman.letter ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION mailman.guard_attachment() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_attachment';
COMMENT ON FUNCTION mailman.guard_attachment() IS
'files change as the content of their letter does, and raise its revision';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON mailman.attachment
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_attachment();
ALTER TABLE mailman.attachment ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION mailman.guard_accounts() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_accounts';
COMMENT ON FUNCTION mailman.guard_accounts() IS
'accounts are written by the extension only (its owner may load them into a database that is not armed, as pg_restore does)';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.delivery
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.newsletter_email
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.posting
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.test
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.secret
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.forgotten
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.dkim_key
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.relay_state
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.domain_state
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.origin
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON mailman.event
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE FUNCTION mailman.guard_origin() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_origin';
COMMENT ON FUNCTION mailman.guard_origin() IS
'a row that is restored arms no database';
CREATE TRIGGER loaded BEFORE INSERT ON mailman.origin
	FOR EACH ROW EXECUTE FUNCTION mailman.guard_origin();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON mailman.letter
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON mailman.attachment
	FOR EACH STATEMENT EXECUTE FUNCTION mailman.guard_accounts();
ALTER TABLE mailman.delivery ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.newsletter_email ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.posting ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.test ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.secret ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.forgotten ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.dkim_key ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.relay_state ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.domain_state ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.origin ENABLE ALWAYS TRIGGER guard;
ALTER TABLE mailman.origin ENABLE ALWAYS TRIGGER loaded;
ALTER TABLE mailman.event ENABLE ALWAYS TRIGGER guard;

-- What people change is told, after the guards have let it pass.  Only of these
-- columns: a turn writes others.
CREATE FUNCTION mailman.audit_newsletter() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_audit_newsletter';
COMMENT ON FUNCTION mailman.audit_newsletter() IS
'writes an event when a newsletter changes whose it is, or in whose name and through what it sends';
CREATE TRIGGER mailman_audit AFTER DELETE OR UPDATE OF owner, relays, policy,
	from_name, from_address, reply_to, bounce_address, unsubscribe_url,
	unsubscribe_mailto, dkim_domain, dkim_selector ON mailman.newsletter
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_newsletter();
ALTER TABLE mailman.newsletter ENABLE ALWAYS TRIGGER mailman_audit;

CREATE FUNCTION mailman.audit_letter() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_audit_letter';
COMMENT ON FUNCTION mailman.audit_letter() IS
'writes an event when a letter changes after it was first scheduled';
CREATE TRIGGER mailman_audit AFTER UPDATE OF subject, text_body, html_body, headers,
	strict, send_at ON mailman.letter
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_letter();
ALTER TABLE mailman.letter ENABLE ALWAYS TRIGGER mailman_audit;

CREATE FUNCTION mailman.audit_part() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_audit_part';
COMMENT ON FUNCTION mailman.audit_part() IS
'writes an event when files of a letter change after it was first scheduled, or partials';
CREATE TRIGGER mailman_audit AFTER INSERT OR UPDATE OR DELETE ON mailman.attachment
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_part();
ALTER TABLE mailman.attachment ENABLE ALWAYS TRIGGER mailman_audit;
CREATE TRIGGER mailman_audit AFTER INSERT OR UPDATE OR DELETE ON mailman.partial
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_part();
ALTER TABLE mailman.partial ENABLE ALWAYS TRIGGER mailman_audit;

CREATE FUNCTION mailman.audit_key() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_audit_key';
COMMENT ON FUNCTION mailman.audit_key() IS
'writes an event when a key of a newsletter is set, changed or removed';
CREATE TRIGGER mailman_audit AFTER INSERT OR UPDATE OR DELETE ON mailman.dkim_key
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_key();
ALTER TABLE mailman.dkim_key ENABLE ALWAYS TRIGGER mailman_audit;
CREATE TRIGGER mailman_audit AFTER UPDATE ON mailman.secret
	FOR EACH ROW EXECUTE FUNCTION mailman.audit_key();
ALTER TABLE mailman.secret ENABLE ALWAYS TRIGGER mailman_audit;
ALTER TABLE mailman.letter ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE mailman.attachment ENABLE ALWAYS TRIGGER guard_truncate;

-- Roles that may read the view of letters need to execute this; it tells which
-- trigger, say, is in the way, and of whom.
CREATE FUNCTION mailman.obstacle() RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mailman_obstacle';
COMMENT ON FUNCTION mailman.obstacle() IS
'what keeps letters from being sent: the database is a copy, code of somebody''s is on a table that workers write, or mailman.key_file cannot be used; null: nothing';

-- ---------------------------------------------------------------------------
-- Who sees what: policies of row security on every table.  pg_dump carries none
-- of what a user adds to tables of an extension, but these come with CREATE
-- EXTENSION.  What may be written the guards say, as they name what is wrong.
-- The functions look at the role that asks, so everybody may call them, and what is
-- somebody else's is to them as what is not there.
-- ---------------------------------------------------------------------------

CREATE FUNCTION mailman.sees_support(internal) RETURNS internal
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_sees_support';
COMMENT ON FUNCTION mailman.sees_support(internal) IS
'internal: what the planner may think of those that follow';

CREATE FUNCTION mailman.sees_all() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE SUPPORT mailman.sees_support
AS 'MODULE_PATHNAME', 'mailman_sees_all';
COMMENT ON FUNCTION mailman.sees_all() IS
'does the current user see everybody''s newsletters? superusers, the extension''s owner, those with BYPASSRLS or mailman_grant(role, ''admin'')';

CREATE FUNCTION mailman.sees_owner(owner_oid oid) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE SUPPORT mailman.sees_support
AS 'MODULE_PATHNAME', 'mailman_sees_owner';
COMMENT ON FUNCTION mailman.sees_owner(oid) IS
'does the current user see what belongs to this role?';

CREATE FUNCTION mailman.sees_newsletter(newsletter_id bigint) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE SUPPORT mailman.sees_support
AS 'MODULE_PATHNAME', 'mailman_sees_newsletter';
COMMENT ON FUNCTION mailman.sees_newsletter(bigint) IS
'does the current user see what belongs to this newsletter?';

CREATE FUNCTION mailman.sees_letter(letter_id bigint) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE SUPPORT mailman.sees_support
AS 'MODULE_PATHNAME', 'mailman_sees_letter';
COMMENT ON FUNCTION mailman.sees_letter(bigint) IS
'does the current user see what belongs to this letter?';

CREATE FUNCTION mailman.sees_relay(relay text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE SUPPORT mailman.sees_support
AS 'MODULE_PATHNAME', 'mailman_sees_relay';
COMMENT ON FUNCTION mailman.sees_relay(text) IS
'does the current user see how this relay is? who has USAGE on it does';

CREATE POLICY seen ON mailman.newsletter
	USING (mailman.sees_owner(owner_oid)) WITH CHECK (true);
CREATE POLICY seen ON mailman.subscription
	USING (mailman.sees_newsletter(newsletter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.letter
	USING (mailman.sees_newsletter(newsletter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.partial
	USING (mailman.sees_newsletter(newsletter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.attachment
	USING (mailman.sees_letter(letter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.delivery
	USING (mailman.sees_letter(letter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.newsletter_email
	USING (mailman.sees_letter(letter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.posting
	USING (mailman.sees_letter(letter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.test
	USING (mailman.sees_letter(letter_id)) WITH CHECK (true);
CREATE POLICY seen ON mailman.event
	USING (CASE WHEN letter_id IS NOT NULL THEN mailman.sees_letter(letter_id)
				WHEN newsletter_id IS NOT NULL
				THEN mailman.sees_newsletter(newsletter_id)
				WHEN kind = 'relay' THEN mailman.sees_relay(detail->>'relay')
				WHEN kind = 'adopt' THEN true
				ELSE mailman.sees_all() END) WITH CHECK (true);
-- it concerns everybody, and says nothing of anybody
CREATE POLICY seen ON mailman.domain_limit USING (true);

-- Estimates of EXPLAIN come from samples of everybody's rows, and a policy does
-- not keep a leakproof condition from them: name = 'x' told whether many are
-- called so, email > 'x' where addresses are.  No plan of ours needs samples of
-- what persons are called or letters say.
DO $$
DECLARE
	col record;
BEGIN
	FOR col IN
		SELECT c.oid::pg_catalog.regclass AS relation, a.attname AS name
		  FROM pg_catalog.pg_class c
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		  JOIN (VALUES ('newsletter', NULL),
					   ('subscription', '{email,name,data}'),
					   ('letter', '{subject,text_body,html_body,headers,state_reason,last_error}'),
					   ('partial', '{name,template}'),
					   ('attachment', '{name,content_type,content,content_id}'),
					   ('delivery', '{reply,reason,variables}'),
					   ('newsletter_email', '{address,reply}'),
					   ('posting', '{variables}'),
					   ('test', '{address,reply,reason,variables}'),
					   ('event', '{actor,detail}')) v (name, columns)
			ON v.name = c.relname
		 WHERE c.relnamespace = 'mailman'::pg_catalog.regnamespace
		   AND a.attnum > 0 AND NOT a.attisdropped
		   AND CASE WHEN v.columns IS NULL
			   THEN a.attname NOT IN ('id', 'ref', 'owner_oid', 'created_at')
			   ELSE a.attname = ANY (v.columns::name[]) END
	LOOP
		EXECUTE pg_catalog.format('ALTER TABLE %s ALTER %I SET STATISTICS 0',
								  col.relation, col.name);
	END LOOP;
END
$$;

-- All tables: of those without a policy nobody sees a row, whatever he was
-- granted, pg_read_all_data, say.  Their owner does, as whom we read them.
DO $$
DECLARE
	relation pg_catalog.regclass;
BEGIN
	FOR relation IN
		SELECT c.oid FROM pg_catalog.pg_class c
		 WHERE c.relnamespace = 'mailman'::pg_catalog.regnamespace
		   AND c.relkind = 'r'
		 ORDER BY c.oid
	LOOP
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY',
								  relation);
	END LOOP;
END
$$;

-- ---------------------------------------------------------------------------
-- Relays are foreign servers
-- ---------------------------------------------------------------------------

CREATE FUNCTION mailman.smtp_validator(options text[], catalog oid)
RETURNS void
LANGUAGE c STRICT
AS 'MODULE_PATHNAME', 'mailman_smtp_validator';
COMMENT ON FUNCTION mailman.smtp_validator(text[], oid) IS
'checks the options of relays and of their user mappings';

CREATE FOREIGN DATA WRAPPER mailman_smtp VALIDATOR mailman.smtp_validator;
COMMENT ON FOREIGN DATA WRAPPER mailman_smtp IS
'servers of this wrapper are SMTP relays for mailman';

CREATE FUNCTION @extschema@.mailman_check(server text,
	OUT step text, OUT ok boolean, OUT reply text)
RETURNS SETOF record
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_check';
COMMENT ON FUNCTION @extschema@.mailman_check(text) IS
'is this relay usable by me? connects, TLS, EHLO, AUTH, QUIT; a row per step';

-- Whoever may read the view needs to execute this; it tells no more than the
-- view does.
CREATE FUNCTION mailman.relay_rate(server oid, slow_rate float8,
	slow_from float8, slowed_at timestamptz)
RETURNS float8
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mailman_relay_rate';
COMMENT ON FUNCTION mailman.relay_rate(oid, float8, float8, timestamptz) IS
'mails per second a relay may be given now, after its rate, its warm-up and what it was slowed down to; null: no limit';

CREATE VIEW mailman.relay_status WITH (security_barrier = true) AS
SELECT f.srvname AS relay,
	   CASE WHEN r.out_until IS NOT NULL THEN 'token refused'
			WHEN r.out_key IS NOT NULL THEN 'out'
			WHEN r.failures > 0 THEN 'backing off' ELSE 'up' END AS state,
	   CASE WHEN r.out_until IS NOT NULL THEN r.out_until
			WHEN r.out_key IS NULL AND r.failures > 0
			THEN r.retry_at END AS until,
	   CASE WHEN r.out_key IS NOT NULL OR r.failures > 0
			THEN r.error END AS reason,
	   r.error AS last_error,
	   r.failed_at AS last_error_at,
	   coalesce(l.letters, 0) AS letters,
	   coalesce(l.sessions, 0) AS sessions,
	   -- a number as settings have it, 1e2 too; but 0x10 numeric cannot read
	   (SELECT CASE WHEN o.option_value IS NULL THEN 10
			   WHEN o.option_value !~ '^ *[+]?0'
			   THEN pg_catalog.round(o.option_value::numeric)::integer END
		  FROM (VALUES ('connections')) AS v(name)
		  LEFT JOIN pg_catalog.pg_options_to_table(f.srvoptions) o
			ON o.option_name = v.name) AS connections,
	   (SELECT option_value FROM pg_catalog.pg_options_to_table(f.srvoptions)
		 WHERE option_name = 'rate') AS rate,
	   mailman.relay_rate(f.oid, r.slow_rate, r.slow_from, r.slowed_at)
		   AS current_rate,
	   CASE WHEN r.slow_rate IS NOT NULL THEN r.slowed_at END AS slowed_at,
	   CASE WHEN r.counted_at > pg_catalog.now() - interval '30 s'
			THEN r.sent + r.sent_before
			WHEN r.counted_at > pg_catalog.now() - interval '60 s'
			THEN r.sent ELSE 0 END AS sent_lately,
	   CASE WHEN r.counted_at > pg_catalog.now() - interval '30 s'
			THEN r.rejected + r.rejected_before
			WHEN r.counted_at > pg_catalog.now() - interval '60 s'
			THEN r.rejected ELSE 0 END AS rejected_lately
  FROM pg_catalog.pg_foreign_server f
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = f.srvfdw
  LEFT JOIN mailman.relay_state r ON r.server = f.oid
  LEFT JOIN (SELECT classid AS server,
					count(*) FILTER (WHERE objid = 0) AS letters,
					count(*) FILTER (WHERE objid > 0) AS sessions
			   FROM pg_catalog.pg_locks
			  WHERE locktype = 'advisory' AND granted
				AND database = (SELECT oid FROM pg_catalog.pg_database
								 WHERE datname = pg_catalog.current_database())
				AND objsubid = x'6d72'::integer
			  GROUP BY classid) l ON l.server = f.oid
 WHERE w.fdwname = 'mailman_smtp' AND mailman.sees_relay(f.srvname);
COMMENT ON VIEW mailman.relay_status IS 'how the relays are: a line for each that one may use';
COMMENT ON COLUMN mailman.relay_status.relay IS 'the foreign server';
COMMENT ON COLUMN mailman.relay_status.state IS 'up; backing off (it failed and will be tried again); token refused (it waits for a new one in the user mapping, and tries the old one now and then); out (it will not heal by itself: mend it, then mailman_resume() the letters)';
COMMENT ON COLUMN mailman.relay_status.until IS 'when it is tried again';
COMMENT ON COLUMN mailman.relay_status.reason IS 'why it is not up, in words';
COMMENT ON COLUMN mailman.relay_status.last_error IS 'what was wrong the last time, even if it is up now';
COMMENT ON COLUMN mailman.relay_status.last_error_at IS 'when that was';
COMMENT ON COLUMN mailman.relay_status.letters IS 'letters that are being sent through it';
COMMENT ON COLUMN mailman.relay_status.sessions IS 'sessions in use, of all letters';
COMMENT ON COLUMN mailman.relay_status.connections IS 'most sessions at once, of all letters';
COMMENT ON COLUMN mailman.relay_status.rate IS 'the option rate';
COMMENT ON COLUMN mailman.relay_status.current_rate IS 'mails per second it may be given now, after rate, warm-up and what it was slowed down to; null: no limit';
COMMENT ON COLUMN mailman.relay_status.slowed_at IS 'when it was last slowed down, as it asked for less; the rate doubles each minute since';
COMMENT ON COLUMN mailman.relay_status.sent_lately IS 'mails it accepted in the last minute, at most';
COMMENT ON COLUMN mailman.relay_status.rejected_lately IS 'mails it did not accept in the last minute, at most';

-- ---------------------------------------------------------------------------
-- What is to be done
-- ---------------------------------------------------------------------------

-- What there is to do for a letter, and from when on: the one rule by which a
-- scout starts a worker, a worker stays or ends, and an operator is told what
-- a letter waits for.  Read once per turn, hence by keys only; OFFSET 0 keeps
-- what is looked up from being looked up anew for each use.  It shows what is
-- not granted to anybody, and is not granted itself.
CREATE VIEW mailman.work AS
SELECT l.id AS letter_id, l.run, l.state, l.send_at, l.whole, l.failed_runs,
	   f.sending, f.waiting, f.posted_at, f.due_at,
	   t.tests, t.tested_at, t.asked_at, t.testing,
	   CASE WHEN t.tests > 0 OR t.testing THEN timestamptz '-infinity'
			WHEN l.state IN ('scheduled', 'sending', 'sent')
			THEN greatest(CASE WHEN l.state = 'scheduled' THEN l.send_at END,
						  CASE WHEN f.sending OR f.posted_at IS NOT NULL
									OR l.whole
							   THEN timestamptz '-infinity'
							   WHEN f.due_at IS NOT NULL THEN f.due_at
							   WHEN l.state <> 'sent'
							   THEN timestamptz '-infinity' END)
			WHEN f.sending OR l.cancelling
				 OR l.state = 'cancelled' AND (f.posted_at IS NOT NULL
											   OR f.due_at IS NOT NULL)
			THEN timestamptz '-infinity' END AS ready_at,
	   f.ran_at,
	   CASE WHEN l.failed_runs > 1
			THEN f.ran_at + interval '1 s'
				 * least(1 << least(l.failed_runs - 2, 20), 300)
			END AS barred_until,
	   greatest(l.line_at, CASE WHEN l.failed_runs > 0 THEN f.ran_at END,
				CASE WHEN t.tests > 0 OR t.testing THEN t.tested_at
					 ELSE greatest(CASE WHEN l.state = 'scheduled'
										THEN l.send_at END,
								   coalesce(least(f.posted_at, f.due_at),
											l.rate_at, l.run_at,
											l.state_at)) END) AS since
  FROM mailman.letter l
  CROSS JOIN LATERAL (
	SELECT (l.mail_order->>'sending')::bigint > 0 AS sending,
		   (l.mail_order->>'pending')::bigint > 0
		   OR (l.mail_order->>'deferred')::bigint > 0 AS waiting,
		   (SELECT p.created_at FROM mailman.posting p
			 WHERE p.letter_id = l.id ORDER BY p.id LIMIT 1) AS posted_at,
		   (SELECT min(d.due_at) FROM mailman.delivery d
			 WHERE d.letter_id = l.id AND d.due_at IS NOT NULL) AS due_at,
		   -- if the clock was set back, it is not known how long ago it was
		   CASE WHEN l.run_at <= pg_catalog.statement_timestamp()
				THEN l.run_at END AS ran_at
	OFFSET 0) f
  CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE x.state = 'pending') AS tests,
		   min(x.requested_at) AS tested_at,
		   max(x.requested_at) FILTER (WHERE x.state = 'pending') AS asked_at,
		   coalesce(bool_or(x.state = 'sending'), false) AS testing
	  FROM mailman.test x
	 WHERE x.letter_id = l.id AND x.state IN ('pending', 'sending')) t;
COMMENT ON VIEW mailman.work IS 'internal: what there is to do for each letter, and when';
COMMENT ON COLUMN mailman.work.run IS 'as in mailman.letter';
COMMENT ON COLUMN mailman.work.state IS 'as in mailman.letter';
COMMENT ON COLUMN mailman.work.send_at IS 'as in mailman.letter';
COMMENT ON COLUMN mailman.work.whole IS 'as in mailman.letter';
COMMENT ON COLUMN mailman.work.failed_runs IS 'as in mailman.letter';
COMMENT ON COLUMN mailman.work.sending IS 'the tally knows deliveries that are sending';
COMMENT ON COLUMN mailman.work.waiting IS 'the tally knows deliveries that wait';
COMMENT ON COLUMN mailman.work.posted_at IS 'when the first posting was made that is not claimed yet';
COMMENT ON COLUMN mailman.work.due_at IS 'when the first of those who wait is due';
COMMENT ON COLUMN mailman.work.tests IS 'tests that wait';
COMMENT ON COLUMN mailman.work.tested_at IS 'since when the first test is open';
COMMENT ON COLUMN mailman.work.asked_at IS 'when the latest test that waits was asked for';
COMMENT ON COLUMN mailman.work.testing IS 'a test is on its way';
COMMENT ON COLUMN mailman.work.ready_at IS 'when there is something to do for a worker; null: not before something happens';
COMMENT ON COLUMN mailman.work.ran_at IS 'when its latest worker began';
COMMENT ON COLUMN mailman.work.barred_until IS 'workers before have failed: no other before that';
COMMENT ON COLUMN mailman.work.since IS 'since when it waits for a worker; letters start in this order';

-- With the rights of its owner, as a position counts everybody's letters.
CREATE VIEW mailman.line WITH (security_barrier = true) AS
SELECT o.letter_id, o.ready_at,
	   CASE WHEN o.waits THEN o.since END AS since,
	   CASE WHEN o.waits
			THEN pg_catalog.row_number()
				 OVER (PARTITION BY o.waits ORDER BY o.since, o.letter_id)
			END AS position
  FROM (SELECT w.letter_id, w.since,
			   greatest(w.ready_at, w.barred_until) AS ready_at,
			   greatest(w.ready_at, w.barred_until) <= pg_catalog.now()
			   AND k.letter_id IS NULL
			   AND NOT pg_catalog.pg_is_in_recovery()
			   AND coalesce(pg_catalog.current_setting('mailman.enabled',
													   true), 'on') <> 'off'
				   AS waits
		  FROM mailman.work w
		  -- those at work: they hold the letter's lock, and that of a place
		  LEFT JOIN (SELECT DISTINCT (m.classid::bigint << 32)
							| m.objid::bigint AS letter_id
					   FROM pg_catalog.pg_locks m
					   JOIN pg_catalog.pg_locks p ON p.pid = m.pid
					  WHERE m.locktype = 'advisory' AND m.granted
						AND m.database = (SELECT oid
											FROM pg_catalog.pg_database
										   WHERE datname
											   = pg_catalog.current_database())
						AND m.objsubid = x'6d6c'::integer
						AND p.locktype = 'advisory' AND p.granted
						AND p.database = 0
						AND p.objsubid = x'6d73'::integer) k
			ON k.letter_id = w.letter_id
		 WHERE w.letter_id IN (SELECT id FROM mailman.letter
								WHERE state IN ('scheduled', 'sending',
												'paused') OR cancelling
							   UNION ALL
							   SELECT letter_id FROM mailman.posting
							   UNION ALL
							   SELECT letter_id FROM mailman.test
								WHERE state IN ('pending', 'sending'))
		   AND w.ready_at IS NOT NULL) o
 WHERE mailman.sees_letter(o.letter_id);
COMMENT ON VIEW mailman.line IS 'letters for which there is something to do: when, and which of them wait for a place';
COMMENT ON COLUMN mailman.line.letter_id IS 'the letter';
COMMENT ON COLUMN mailman.line.ready_at IS 'from when on; -infinity: now';
COMMENT ON COLUMN mailman.line.since IS 'it waits for a place, since then; null: it has one, or needs none yet';
COMMENT ON COLUMN mailman.line.position IS 'its position among those of this database that wait, from 1';

-- ---------------------------------------------------------------------------
-- The operator's views.  Those that show rows of tables do so with the rights
-- of whoever asks, row security included; those of processes show what
-- pg_stat_activity shows him.
-- ---------------------------------------------------------------------------

CREATE VIEW mailman.progress WITH (security_invoker = true) AS
SELECT l.id AS letter_id,
	   pg_catalog.left(coalesce(l.ref, l.subject), 24) AS letter,
	   s.state,
	   pg_catalog.trunc(p.percent, 1) AS percent,
	   pg_catalog.repeat(b.full, p.cells)
		   || pg_catalog.repeat(b.empty, 20 - p.cells) AS bar,
	   pg_catalog.round(r.rate::numeric,
						CASE WHEN r.rate >= 10 THEN 0 WHEN r.rate >= 1 THEN 1
							 WHEN r.rate > 0 THEN 4 ELSE 0 END) AS rate,
	   CASE WHEN s.state = 'sending' AND t.pending + t.sending = 0
			THEN pg_catalog.date_trunc('second',
									   greatest(d.due_at - pg_catalog.now(),
												'0'))
			WHEN r.rate > 0
			THEN greatest(pg_catalog.make_interval(secs =>
						  pg_catalog.ceil((t.pending + t.sending)
										  / r.rate::numeric)::float8),
						  pg_catalog.date_trunc('second',
												d.due_at - pg_catalog.now()))
			END AS eta,
	   t.recipients,
	   t.delivered,
	   t.pending,
	   t.deferred,
	   t.failed,
	   t.sending,
	   t.skipped,
	   t.doubtful,
	   CASE WHEN s.state = 'scheduled'
			THEN greatest(l.send_at, d.due_at) ELSE d.due_at END AS next_due,
	   o.since AS waits_since,
	   o.position,
	   k.pid AS worker,
	   coalesce(l.state_reason,
				-- asked once, whatever the number of letters
				CASE WHEN s.state = 'sending' OR s.state = 'scheduled'
						  AND l.send_at <= pg_catalog.now()
					 THEN (SELECT mailman.obstacle()) END,
				CASE WHEN s.state NOT IN ('scheduled', 'sending')
						  OR s.state = 'scheduled'
						  AND l.send_at > pg_catalog.now() THEN NULL
					 WHEN o.ready_at > pg_catalog.now() AND d.code IS NOT NULL
					 THEN pg_catalog.format('waits until %s to try %s deferred again',
						  pg_catalog.to_char(o.ready_at,
							CASE WHEN o.ready_at::date
									  = pg_catalog.now()::date
								 THEN 'HH24:MI' ELSE 'YYYY-MM-DD HH24:MI' END),
						  t.deferred)
					 WHEN r.rate > 0 THEN NULL
					 WHEN d.due_at > pg_catalog.now() AND d.code IS NULL
					 THEN d.reason
					 WHEN k.pid IS NOT NULL AND o.since IS NULL THEN NULL
					 WHEN pg_catalog.current_setting('mailman.enabled', true)
						  = 'off'
					 THEN 'mailman.enabled is off'
					 WHEN l.failed_runs > 0
					 THEN 'the latest worker failed: '
						  || coalesce(l.last_error, 'see the server''s log')
					 WHEN o.since IS NOT NULL AND c.are_taken
					 THEN pg_catalog.format('waits for a place since %s, %s before it',
						  pg_catalog.to_char(o.since, 'HH24:MI:SS'),
						  o.position - 1)
					 ELSE 'waits for a worker' END) AS reason
  FROM mailman.letter l
  -- what was posted and the letter's worker has not counted yet
  LEFT JOIN (SELECT letter_id,
					sum(recipients) FILTER (WHERE NOT folded) AS recipients,
					sum(skipped) FILTER (WHERE NOT folded) AS skipped,
					sum(failed) FILTER (WHERE NOT folded) AS failed,
					sum(doubtful) FILTER (WHERE NOT folded) AS doubtful
			   FROM mailman.posting
			  GROUP BY letter_id) u ON u.letter_id = l.id
  CROSS JOIN LATERAL (
	SELECT (l.mail_order->>'recipients')::bigint
		   + coalesce(u.recipients, 0)::bigint AS recipients,
		   (l.mail_order->>'pending')::bigint
		   + coalesce(u.recipients - u.skipped + u.failed + u.doubtful,
					  0)::bigint AS pending,
		   (l.mail_order->>'sending')::bigint AS sending,
		   (l.mail_order->>'deferred')::bigint AS deferred,
		   (l.mail_order->>'delivered')::bigint AS delivered,
		   (l.mail_order->>'failed')::bigint
		   - coalesce(u.failed, 0)::bigint AS failed,
		   (l.mail_order->>'skipped')::bigint
		   + coalesce(u.skipped, 0)::bigint AS skipped,
		   (l.mail_order->>'doubtful')::bigint
		   - coalesce(u.doubtful, 0)::bigint AS doubtful) t
  -- a sent letter that was posted again is on its way; one that stays
  -- 'sending' as more may be posted any moment is as good as sent
  CROSS JOIN LATERAL (
	SELECT CASE WHEN l.state = 'sent' AND u.letter_id IS NOT NULL
				THEN 'sending'
				WHEN l.state = 'sending' AND u.letter_id IS NULL
				 AND NOT l.whole AND t.recipients > 0
				 AND t.pending + t.sending + t.deferred = 0
				THEN 'sent' ELSE l.state END AS state) s
  CROSS JOIN LATERAL (
	SELECT q.percent, pg_catalog.floor(coalesce(q.percent, 0) / 5)::integer
		   AS cells
	  FROM (SELECT 100.0 * (t.delivered + t.failed + t.skipped + t.doubtful)
				   / nullif(t.recipients, 0) AS percent) q) p
  -- the rate counts until more mails are overdue than chance explains
  CROSS JOIN LATERAL (
	SELECT CASE WHEN s.state <> 'sending' THEN NULL
				WHEN q.quiet > greatest(interval '5 s', 2 *
					 pg_catalog.current_setting('mailman.turn_interval',
												true)::interval)
				 AND l.rate * extract(epoch FROM q.quiet) > 10 THEN 0
				ELSE l.rate END AS rate
	  FROM (SELECT pg_catalog.now() - l.rate_at AS quiet) q) r
  LEFT JOIN LATERAL (
	SELECT x.due_at, x.code, x.reason
	  FROM mailman.delivery x
	 WHERE x.letter_id = l.id AND x.due_at IS NOT NULL
	   AND l.state NOT IN ('draft', 'sent')
	 ORDER BY x.due_at LIMIT 1) d ON true
  LEFT JOIN (SELECT (classid::bigint << 32) | objid::bigint AS letter_id, pid
			   FROM pg_catalog.pg_locks
			  WHERE locktype = 'advisory' AND granted
				AND database = (SELECT oid FROM pg_catalog.pg_database
								 WHERE datname = pg_catalog.current_database())
				AND objsubid = x'6d6c'::integer) k ON k.letter_id = l.id
  LEFT JOIN mailman.line o ON o.letter_id = l.id
  -- the places, in all databases
  CROSS JOIN (SELECT count(*) >= pg_catalog.current_setting(
									'mailman.max_workers', true)::integer
					 AS are_taken
				FROM pg_catalog.pg_locks
			   WHERE locktype = 'advisory' AND granted AND database = 0
				 AND objsubid = x'6d73'::integer) c
  -- of those who can show them
  CROSS JOIN (SELECT CASE WHEN utf8 THEN pg_catalog.chr(9608) ELSE '#' END AS full,
					 CASE WHEN utf8 THEN pg_catalog.chr(9617) ELSE '.' END AS empty
				FROM (SELECT pg_catalog.current_setting('client_encoding')
							 = 'UTF8' AS utf8) e) b
 WHERE l.state <> 'draft'
 ORDER BY l.id;
COMMENT ON VIEW mailman.progress IS 'a line for each letter that is no draft; made for \watch';
COMMENT ON COLUMN mailman.progress.letter IS 'ref of the letter, or its subject; as much as fits';
COMMENT ON COLUMN mailman.progress.state IS 'state of the letter; a sent one that was posted again is sending, and one of which nobody is left is sent';
COMMENT ON COLUMN mailman.progress.percent IS 'of its recipients that are done with: delivered, failed, skipped or doubtful; 100 only if all are';
COMMENT ON COLUMN mailman.progress.bar IS 'the same, to look at';
COMMENT ON COLUMN mailman.progress.rate IS 'outcomes (delivered, deferred, failed) per second over the last 5 s, or the last ten if those took longer; 0 if it has come to a halt; null unless it is being sent';
COMMENT ON COLUMN mailman.progress.eta IS 'until all have been tried at this rate, and not before the next is due; who is deferred again is not foreseen; null if that cannot be told';
COMMENT ON COLUMN mailman.progress.recipients IS 'the sum of those that follow';
COMMENT ON COLUMN mailman.progress.delivered IS 'accepted by a relay';
COMMENT ON COLUMN mailman.progress.pending IS 'still to be tried';
COMMENT ON COLUMN mailman.progress.deferred IS 'to be tried again';
COMMENT ON COLUMN mailman.progress.failed IS 'given up';
COMMENT ON COLUMN mailman.progress.sending IS 'on their way now';
COMMENT ON COLUMN mailman.progress.skipped IS 'not to be sent: left meanwhile, or the letter was cancelled';
COMMENT ON COLUMN mailman.progress.doubtful IS 'perhaps delivered, and not sent again';
COMMENT ON COLUMN mailman.progress.next_due IS 'when the first of those who wait is due, or the letter';
COMMENT ON COLUMN mailman.progress.waits_since IS 'since when it waits for a place; null: it does not';
COMMENT ON COLUMN mailman.progress.position IS 'its position in line, from 1';
COMMENT ON COLUMN mailman.progress.worker IS 'pid of its worker; null: none';
COMMENT ON COLUMN mailman.progress.reason IS 'why it is in this state, or what it waits for';

CREATE VIEW mailman.worker WITH (security_invoker = true) AS
SELECT a.pid,
	   a.datname AS database,
	   i.letter_id,
	   CASE WHEN k.pid IS NULL THEN 'starting'
			WHEN a.state = 'active' THEN 'sending'
			WHEN a.state = 'idle' THEN 'waiting' END AS state,
	   a.wait_event_type,
	   a.wait_event,
	   a.query AS activity,
	   a.backend_start AS since
  FROM pg_catalog.pg_stat_activity a
  LEFT JOIN (SELECT (classid::bigint << 32) | objid::bigint AS letter_id, pid
			   FROM pg_catalog.pg_locks
			  WHERE locktype = 'advisory' AND granted
				AND objsubid = x'6d6c'::integer) k ON k.pid = a.pid
  CROSS JOIN LATERAL (
	SELECT coalesce(k.letter_id,
					pg_catalog."substring"(a.application_name,
										   '^mailman letter (-?[0-9]+)$')::bigint)
		   AS letter_id
	OFFSET 0) i
 WHERE (k.pid IS NOT NULL OR a.backend_type = 'mailman letter')
   AND CASE WHEN a.datname = pg_catalog.current_database()
			THEN mailman.sees_letter(i.letter_id) ELSE mailman.sees_all() END
 ORDER BY a.backend_start, a.pid;
COMMENT ON VIEW mailman.worker IS 'the workers that are alive; those who see everything see those of all databases; details are for those who may see them in pg_stat_activity (pg_read_all_stats)';
COMMENT ON COLUMN mailman.worker.pid IS 'of the process';
COMMENT ON COLUMN mailman.worker.database IS 'where the letter is';
COMMENT ON COLUMN mailman.worker.letter_id IS 'the letter';
COMMENT ON COLUMN mailman.worker.state IS 'starting: has not got the letter yet; sending: mails are on their way; waiting: see wait_event';
COMMENT ON COLUMN mailman.worker.wait_event_type IS 'Extension: one of ours; as in pg_stat_activity';
COMMENT ON COLUMN mailman.worker.wait_event IS 'what it waits for; our own have names since PostgreSQL 17';
COMMENT ON COLUMN mailman.worker.activity IS 'what it said in its last turn';
COMMENT ON COLUMN mailman.worker.since IS 'when it started';

CREATE VIEW mailman.recipient WITH (security_invoker = true) AS
SELECT d.letter_id,
	   d.subscription_id,
	   coalesce(e.address, s.email) AS address,
	   d.state,
	   d.attempts,
	   d.code,
	   d.enhanced AS enhanced_code,
	   coalesce(e.reply, d.reply) AS reply,
	   d.reason,
	   d.due_at,
	   e.sent_at,
	   e.relay
  FROM mailman.delivery d
  JOIN mailman.subscription s ON s.id = d.subscription_id
  LEFT JOIN mailman.newsletter_email e
	ON e.letter_id = d.letter_id AND e.subscription_id = d.subscription_id;
COMMENT ON VIEW mailman.recipient IS 'what became of each recipient of each letter; made for \copy';
COMMENT ON COLUMN mailman.recipient.address IS 'as it was sent to, or else as it is now';
COMMENT ON COLUMN mailman.recipient.state IS 'pending, sending, deferred, delivered, failed, skipped or doubtful';
COMMENT ON COLUMN mailman.recipient.attempts IS 'tries that counted against the recipient';
COMMENT ON COLUMN mailman.recipient.enhanced_code IS 'RFC 3463 status code; null of the delivered';
COMMENT ON COLUMN mailman.recipient.reason IS 'why it is in this state, in words';
COMMENT ON COLUMN mailman.recipient.due_at IS 'not before; null unless it waits';
COMMENT ON COLUMN mailman.recipient.sent_at IS 'when the relay accepted it';
COMMENT ON COLUMN mailman.recipient.relay IS 'the foreign server it left through';

CREATE VIEW mailman.failure_summary WITH (security_invoker = true) AS
SELECT d.letter_id,
	   d.state,
	   d.code,
	   d.enhanced AS enhanced_code,
	   pg_catalog.lower(pg_catalog."substring"(s.email, '[^@]*$')) AS domain,
	   min(coalesce(d.reply, d.reason)) AS sample_reply,
	   count(*) AS count
  FROM mailman.delivery d
  JOIN mailman.subscription s ON s.id = d.subscription_id
 WHERE d.state IN ('deferred', 'failed', 'doubtful')
 GROUP BY d.letter_id, d.state, d.code, d.enhanced, 5
 ORDER BY d.letter_id, count DESC;
COMMENT ON VIEW mailman.failure_summary IS 'deliveries that are deferred, failed or doubtful, counted by what the relay said and the recipient''s domain';
COMMENT ON COLUMN mailman.failure_summary.state IS 'deferred, failed or doubtful';
COMMENT ON COLUMN mailman.failure_summary.enhanced_code IS 'RFC 3463 status code';
COMMENT ON COLUMN mailman.failure_summary.domain IS 'of the address as it is now';
COMMENT ON COLUMN mailman.failure_summary.sample_reply IS 'the relay''s words to one of them, or the reason if it said none';
COMMENT ON COLUMN mailman.failure_summary.count IS 'how many';

-- what these call like the tables
DO $$
DECLARE
	col record;
BEGIN
	FOR col IN
		SELECT c.oid::pg_catalog.regclass AS relation, a.attname AS name, v.text
		  FROM pg_catalog.pg_class c
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		  JOIN (VALUES ('letter_id', 'the letter'),
					   ('subscription_id', 'the recipient'),
					   ('code', 'RFC 5321 reply code'),
					   ('reply', 'the relay''s words')) AS v(name, text)
			ON v.name = a.attname
		 WHERE c.relnamespace = 'mailman'::pg_catalog.regnamespace
		   AND c.relkind = 'v' AND a.attnum > 0
		   AND pg_catalog.col_description(c.oid, a.attnum) IS NULL
	LOOP
		EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L',
								  col.relation, col.name, col.text);
	END LOOP;
END
$$;

-- ---------------------------------------------------------------------------
-- The interface
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.mailman_subscribe(newsletter_id bigint, email text,
	name text DEFAULT NULL, data jsonb DEFAULT NULL,
	again boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_subscribe';
COMMENT ON FUNCTION @extschema@.mailman_subscribe(bigint, text, text, jsonb, boolean) IS
'subscribe an address or update what is known of it; returns the subscription''s id; again revives the unsubscribed and the forgotten';

CREATE FUNCTION @extschema@.mailman_find(newsletter_id bigint, email text)
RETURNS bigint
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mailman_find';
COMMENT ON FUNCTION @extschema@.mailman_find(bigint, text) IS
'the subscription of an address, whatever its case; null: none; by the index, which under row security a query cannot use for lower(email)';

-- For whoever got a mail: the token is the right.  Grant it to the role that
-- the web server connects as; no right on any table is needed.
CREATE FUNCTION @extschema@.mailman_unsubscribe(token text) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_unsubscribe';
COMMENT ON FUNCTION @extschema@.mailman_unsubscribe(text) IS
'end the subscription a token stands for, called for a POST and never for a GET; true, the second time too; an error if the token is not genuine';

CREATE FUNCTION @extschema@.mailman_unsubscribe_url(letter_id bigint,
	subscription_id bigint)
RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_unsubscribe_url';
COMMENT ON FUNCTION @extschema@.mailman_unsubscribe_url(bigint, bigint) IS
'the link in that recipient''s mail, to a page from which a POST leaves; null if newsletter.unsubscribe_url is null';

CREATE FUNCTION @extschema@.mailman_forget(subscription_id bigint) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_forget';
COMMENT ON FUNCTION @extschema@.mailman_forget(bigint) IS
'blank address, name, data, variables and replies of a reader, for good; accounts stay, and the address does not come back with an old list';

CREATE FUNCTION @extschema@.mailman_set_dkim_key(newsletter_id bigint, key text,
	selector text DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_set_dkim_key';
COMMENT ON FUNCTION @extschema@.mailman_set_dkim_key(bigint, text, text) IS
'set the private key (RSA or Ed25519, PEM) that signs a newsletter''s mails when its dkim_selector is selector (by default it is), or remove it with null; returns the TXT record to publish at selector._domainkey.domain';

CREATE FUNCTION @extschema@.mailman_rotate_secret(newsletter_id bigint,
	keep interval DEFAULT '90 days')
RETURNS timestamptz
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_rotate_secret';
COMMENT ON FUNCTION @extschema@.mailman_rotate_secret(bigint, interval) IS
'make the tokens of a newsletter with another secret from now on; those in mails that were sent before are good that long; returns until when';

CREATE FUNCTION @extschema@.mailman_rewrap(plain boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_rewrap';
COMMENT ON FUNCTION @extschema@.mailman_rewrap(boolean) IS
'wrap all secrets and DKIM keys with the first key of mailman.key_file, whatever they are wrapped with, or unwrap them if plain; returns how many';

CREATE FUNCTION @extschema@.mailman_send(letter_id bigint) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_send_all';
COMMENT ON FUNCTION @extschema@.mailman_send(bigint) IS
'post a letter to every active subscription; it leaves at COMMIT; returns how many were newly queued';

CREATE FUNCTION @extschema@.mailman_send(letter_id bigint,
	recipients bigint[], variables jsonb DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_send_some';
COMMENT ON FUNCTION @extschema@.mailman_send(bigint, bigint[], jsonb) IS
'post a letter to these subscriptions; it leaves at COMMIT; returns how many were newly queued';

CREATE FUNCTION @extschema@.mailman_test(letter_id bigint, address text,
	subscription_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_test';
COMMENT ON FUNCTION @extschema@.mailman_test(bigint, text, bigint) IS
'send a marked copy of a letter to an address, as that subscription would get it, else the first active one; it leaves at COMMIT; returns its id in mailman.test';

CREATE FUNCTION @extschema@.mailman_pause(letter_id bigint) RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_pause';
COMMENT ON FUNCTION @extschema@.mailman_pause(bigint) IS
'stop a letter; what is in flight has mailman.shutdown_grace to be answered; returns its state';

CREATE FUNCTION @extschema@.mailman_resume(letter_id bigint) RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_resume';
COMMENT ON FUNCTION @extschema@.mailman_resume(bigint) IS
'let a paused letter go on, or start the worker of one that has none; returns its state';

CREATE FUNCTION @extschema@.mailman_cancel(letter_id bigint) RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_cancel';
COMMENT ON FUNCTION @extschema@.mailman_cancel(bigint) IS
'call a letter back: to draft if it is still scheduled, else everyone it was not sent to is skipped, for good; returns its state';

CREATE FUNCTION @extschema@.mailman_retry(letter_id bigint,
	states text[] DEFAULT '{failed}')
RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_retry';
COMMENT ON FUNCTION @extschema@.mailman_retry(bigint, text[]) IS
'queue deliveries in these states (failed, doubtful) again, or try those that are deferred now, of subscriptions that are active; returns how many';

CREATE FUNCTION @extschema@.mailman_retry_delay(attempts integer,
	schedule text DEFAULT NULL, jitter double precision DEFAULT 0)
RETURNS interval
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mailman_retry_delay';
COMMENT ON FUNCTION @extschema@.mailman_retry_delay(integer, text, double precision) IS
'how long a deferred delivery waits after so many attempts, by a retry schedule or the setting; jitter from -1 (20 % less) to 1 (20 % more)';

CREATE FUNCTION @extschema@.mailman_wake() RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_wake';
COMMENT ON FUNCTION @extschema@.mailman_wake() IS
'start the workers of letters that are due or were left behind; returns how many; needed only without shared_preload_libraries';

CREATE FUNCTION @extschema@.mailman_adopt() RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_adopt';
COMMENT ON FUNCTION @extschema@.mailman_adopt() IS
'this copy of a database may send from now on; letters that were in the post are paused';

-- A procedure, as it commits; so it cannot be SECURITY DEFINER either.
CREATE PROCEDURE @extschema@.mailman_purge(older_than interval,
	batch integer DEFAULT 5000)
LANGUAGE c
AS 'MODULE_PATHNAME', 'mailman_purge';
COMMENT ON PROCEDURE @extschema@.mailman_purge(interval, integer) IS
'delete deliveries and records of mails of letters that ended longer ago, and events; the letters stay, with their tally; batch rows at once';

CREATE FUNCTION @extschema@.mailman_preview(letter_id bigint,
	subscription_id bigint DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_preview';
COMMENT ON FUNCTION @extschema@.mailman_preview(bigint, bigint) IS
'the exact message (RFC 5322) that recipient gets; without one, the first active subscription';

CREATE FUNCTION @extschema@.mailman_preview_all(letter_id bigint)
RETURNS TABLE (subscription_id bigint, email text, subject text, error text,
	size bigint)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_preview_all';
COMMENT ON FUNCTION @extschema@.mailman_preview_all(bigint) IS
'a row for each who has been or would be queued: subject and size of the message that mailman_preview() shows, or the error that makes this delivery fail';

CREATE FUNCTION @extschema@.mailman_deliveries(letter_id bigint) RETURNS jsonb
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mailman_deliveries';
COMMENT ON FUNCTION @extschema@.mailman_deliveries(bigint) IS
'{"1": "pending", "2": {"delivered": newsletter_email id}, "3": {"failed": reason}} by subscription id; null if the letter was purged';

CREATE FUNCTION @extschema@.mailman_report(letter_id bigint) RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mailman_report';
COMMENT ON FUNCTION @extschema@.mailman_report(bigint) IS
'a self-contained HTML page about a letter: outcomes, times, failures, relays, settings; no addresses of recipients';

CREATE PROCEDURE @extschema@.mailman_wait(letter_id bigint,
	timeout interval DEFAULT NULL, INOUT state text DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'mailman_wait';
COMMENT ON PROCEDURE @extschema@.mailman_wait(bigint, interval, text) IS
'wait until nothing of a letter is to come; tells its state then (sent, paused, cancelled or draft), or after timeout the one it is in';

CREATE FUNCTION @extschema@.mailman_grant(role name, what text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_grant';
COMMENT ON FUNCTION @extschema@.mailman_grant(name, text) IS
'give a role what an application needs to read, to send (and read), or to be admin: see and write everybody''s; for the extension''s owner';

CREATE FUNCTION @extschema@.mailman_revoke(role name, what text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mailman_revoke';
COMMENT ON FUNCTION @extschema@.mailman_revoke(name, text) IS
'take back what mailman_grant() gave: admin (the role may still send), send (it may still read), or read and all';

REVOKE EXECUTE ON PROCEDURE
	@extschema@.mailman_wait(bigint, interval, text)
FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION
	@extschema@.mailman_grant(name, text),
	@extschema@.mailman_revoke(name, text),
	mailman.admin(),
	mailman.guard_newsletter(), mailman.guard_subscription(),
	mailman.guard_forgotten(), mailman.guard_partial(),
	mailman.guard_letter(), mailman.guard_attachment(),
	mailman.guard_accounts(), mailman.guard_origin(),
	mailman.audit_newsletter(), mailman.audit_letter(),
	mailman.audit_part(), mailman.audit_key(),
	mailman.smtp_validator(text[], oid),
	@extschema@.mailman_is_address(text),
	@extschema@.mailman_check(text),
	@extschema@.mailman_subscribe(bigint, text, text, jsonb, boolean),
	@extschema@.mailman_find(bigint, text),
	@extschema@.mailman_unsubscribe(text),
	@extschema@.mailman_unsubscribe_url(bigint, bigint),
	@extschema@.mailman_forget(bigint),
	@extschema@.mailman_set_dkim_key(bigint, text, text),
	@extschema@.mailman_rotate_secret(bigint, interval),
	@extschema@.mailman_rewrap(boolean),
	@extschema@.mailman_send(bigint),
	@extschema@.mailman_send(bigint, bigint[], jsonb),
	@extschema@.mailman_test(bigint, text, bigint),
	@extschema@.mailman_pause(bigint),
	@extschema@.mailman_resume(bigint),
	@extschema@.mailman_cancel(bigint),
	@extschema@.mailman_retry(bigint, text[]),
	@extschema@.mailman_retry_delay(integer, text, double precision),
	@extschema@.mailman_wake(),
	@extschema@.mailman_adopt(),
	@extschema@.mailman_preview(bigint, bigint),
	@extschema@.mailman_preview_all(bigint),
	@extschema@.mailman_deliveries(bigint),
	@extschema@.mailman_report(bigint)
FROM PUBLIC;

REVOKE EXECUTE ON PROCEDURE @extschema@.mailman_purge(interval, integer)
FROM PUBLIC;

-- ---------------------------------------------------------------------------
-- The last trigger of all, as it looks at every one that is made from here on
-- ---------------------------------------------------------------------------

CREATE FUNCTION mailman.guard_triggers() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_triggers';
COMMENT ON FUNCTION mailman.guard_triggers() IS
'triggers on tables of mailman are made by superusers, out of functions of superusers';
REVOKE EXECUTE ON FUNCTION mailman.guard_triggers() FROM PUBLIC;
CREATE EVENT TRIGGER mailman_guard_triggers ON ddl_command_end
	WHEN TAG IN ('CREATE TRIGGER')
	EXECUTE FUNCTION mailman.guard_triggers();
ALTER EVENT TRIGGER mailman_guard_triggers ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER mailman_guard_triggers IS
'a trigger on a table of mailman would run with the rights of the extension''s owner';

CREATE FUNCTION mailman.guard_relays() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'mailman_guard_relays';
COMMENT ON FUNCTION mailman.guard_relays() IS
'options of relays and user mappings that name files are set by those who may read the server''s files';
REVOKE EXECUTE ON FUNCTION mailman.guard_relays() FROM PUBLIC;
CREATE EVENT TRIGGER mailman_guard_relays ON ddl_command_end
	WHEN TAG IN ('CREATE SERVER', 'ALTER SERVER', 'CREATE USER MAPPING',
				 'ALTER USER MAPPING')
	EXECUTE FUNCTION mailman.guard_relays();
ALTER EVENT TRIGGER mailman_guard_relays ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER mailman_guard_relays IS
'anybody could have files of the server read, and sent to a relay';

-- ---------------------------------------------------------------------------
-- Who may what does not depend on ALTER DEFAULT PRIVILEGES
-- ---------------------------------------------------------------------------

-- What it gave to anybody is taken back: mailman_grant() gives what an
-- application needs, and nobody reads secrets.  What PUBLIC has of functions was
-- seen to above.
DO $$
DECLARE
	given record;
BEGIN
	FOR given IN
		SELECT DISTINCT m.what, i.identity,
			   CASE x.grantee WHEN 0 THEN 'PUBLIC'
			   ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee))
			   END AS grantee
		  FROM (SELECT c.tableoid AS catalog, c.oid, c.relowner AS owner,
					   CASE c.relkind WHEN 'S' THEN 'SEQUENCE'
					   ELSE 'TABLE' END AS what, c.relacl AS acl
				  FROM pg_catalog.pg_class c
				 UNION ALL
				SELECT p.tableoid, p.oid, p.proowner, 'ROUTINE', p.proacl
				  FROM pg_catalog.pg_proc p
				 UNION ALL
				SELECT n.tableoid, n.oid, n.nspowner, 'SCHEMA', n.nspacl
				  FROM pg_catalog.pg_namespace n) m
		  JOIN pg_catalog.pg_depend d
			ON d.classid = m.catalog AND d.objid = m.oid AND d.deptype = 'e'
		  JOIN pg_catalog.pg_extension e
			ON d.refclassid = e.tableoid AND d.refobjid = e.oid
		   AND e.extname = 'mailman'
		 CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) x
		 CROSS JOIN LATERAL
			   pg_catalog.pg_identify_object(m.catalog, m.oid, 0) i
		 WHERE x.grantee <> m.owner
		   AND (x.grantee <> 0 OR m.what <> 'ROUTINE')
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE',
								  given.what, given.identity, given.grantee);
	END LOOP;
END
$$;

-- and what it took from PUBLIC is given
GRANT EXECUTE ON FUNCTION
	mailman.check_address(text), mailman.check_line(text, text),
	mailman.check_name(text, text),
	mailman.check_unsubscribe_url(text), mailman.check_value(text, text),
	mailman.check_headers(jsonb), mailman.check_retry_schedule(text),
	mailman.check_rate(text), mailman.check_domain_pattern(text),
	mailman.sees_support(internal), mailman.sees_all(),
	mailman.sees_owner(oid), mailman.sees_newsletter(bigint),
	mailman.sees_letter(bigint), mailman.sees_relay(text),
	mailman.obstacle(),
	mailman.relay_rate(oid, float8, float8, timestamptz)
TO PUBLIC;

-- Secrets are nobody's even if somebody is granted all tables, as members of
-- pg_read_all_data are: there is no policy that would show him a row.  They go
-- past it who have BYPASSRLS; the extension's owner, as whom its functions run,
-- does.
ALTER TABLE mailman.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE mailman.dkim_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE mailman.forgotten ENABLE ROW LEVEL SECURITY;
ALTER TABLE mailman.origin ENABLE ROW LEVEL SECURITY;
