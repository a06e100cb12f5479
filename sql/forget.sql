--
-- mailman_forget(): what is blanked, what stays, and how a forgotten address
-- comes back.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_other;
CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none');
INSERT INTO mailman.newsletter (owner, name, from_address, relays,
								unsubscribe_url)
SELECT 'regress_mailman_app', name, 'news@example.com', '{relay}',
	   'https://example.com/u/{{token}}'
  FROM unnest(ARRAY['Weekly', 'Daily']) AS name;
INSERT INTO mailman.subscription (newsletter_id, ref, email, name, data)
VALUES (1, 'customer-ada', 'Ada@example.com', 'Ada Lovelace',
		'{"city": "London of Ada"}'),
	(1, 'customer-bob', 'bob@example.com', 'Bob', '{"city": "Paris"}'),
	(1, NULL, 'cyd@münchen.example', 'Cyd', '{}'),
	(1, NULL, 'dan@example.com', 'Dan', '{}'),
	(2, NULL, 'ada@example.com', 'Other', '{}');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
SELECT 1, 'Issue ' || n, 'Hello' FROM generate_series(1, 7) n;
-- a delivery in every state but 'sending', with traces of whom it went to
SELECT sum(mailman_send(id, '{1,2}', '{"greeting": "Dear Ada"}'))
  FROM mailman.letter;
SET LOCAL session_replication_role = replica;
UPDATE mailman.delivery d SET state = s.state,
	due_at = CASE WHEN s.state = 'deferred' THEN 'infinity'::timestamptz END,
	reply = CASE WHEN s.state <> 'delivered'
			THEN 'no such user <ada@example.com>' END,
	reason = CASE WHEN s.state NOT IN ('pending', 'delivered')
			 THEN 'RCPT TO:<ada@example.com>' END
  FROM unnest(ARRAY['pending', 'deferred', 'delivered', 'failed', 'skipped',
					'doubtful', 'delivered'])
	WITH ORDINALITY AS s(state, letter)
 WHERE d.letter_id = s.letter;
INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
	bytes, revision, attempts, code, duration, address, message_id, relay,
	reply)
SELECT letter_id, subscription_id, now(), 1000, 1, 1, 250, '1 s',
	   'Ada@example.com', '<1@example.com>', 'relay', 'mailbox of ada: ok'
  FROM mailman.delivery WHERE state = 'delivered';
SET LOCAL session_replication_role = origin;
-- wherever a word occurs
CREATE FUNCTION traces(word text, OUT "table" text, OUT rows bigint)
RETURNS SETOF record AS $$
BEGIN
	FOR "table" IN SELECT c.relname FROM pg_class c
		WHERE c.relnamespace = 'mailman'::regnamespace AND c.relkind = 'r'
		ORDER BY c.relname
	LOOP
		-- not in the hexadecimal digits of bytea, which may spell it
		EXECUTE format('SELECT nullif(count(*), 0) FROM mailman.%I AS t'
					   ' WHERE regexp_replace(t::text, %L, '''', ''g'')'
					   ' ILIKE %L', "table", '\\x[0-9a-f]+',
					   '%' || word || '%')
			INTO rows;
		IF rows > 0 THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$ LANGUAGE plpgsql;
SELECT * FROM traces('ada');
CREATE TEMP TABLE before AS
SELECT state, count(*) FROM mailman.delivery GROUP BY state;

--
-- Who may
--
GRANT EXECUTE ON FUNCTION mailman_forget(bigint) TO regress_mailman_other;
SELECT mailman_forget(NULL);
:sqlstate
SELECT mailman_forget(99);
:sqlstate
SET ROLE regress_mailman_app;
SELECT mailman_forget(1);
:sqlstate
RESET ROLE;
SET ROLE regress_mailman_other;
SELECT mailman_forget(1);
:sqlstate
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_forget(bigint) TO regress_mailman_app;
-- not while a letter is being sent
SET LOCAL session_replication_role = replica;
UPDATE mailman.delivery SET state = 'sending'
 WHERE letter_id = 7 AND subscription_id = 1;
SET LOCAL session_replication_role = origin;
SELECT mailman_forget(1);
:sqlstate
SET LOCAL session_replication_role = replica;
UPDATE mailman.delivery SET state = 'delivered'
 WHERE letter_id = 7 AND subscription_id = 1;
SET LOCAL session_replication_role = origin;
SELECT id, email, state FROM mailman.subscription WHERE id = 1;

--
-- What goes and what stays
--
SET ROLE regress_mailman_app;
SELECT mailman_forget(1);
RESET ROLE;
SELECT id, newsletter_id, ref, email, name, data, state,
	   forgotten_at = now() AS now
  FROM mailman.subscription ORDER BY id;
SELECT letter_id, state, due_at, reply, reason, variables
  FROM mailman.delivery WHERE subscription_id = 1 ORDER BY letter_id;
SELECT letter_id, state, reply IS NOT NULL AS reply, reason, variables
  FROM mailman.delivery WHERE subscription_id = 2 ORDER BY letter_id;
SELECT letter_id, subscription_id, address, message_id, relay, reply
  FROM mailman.newsletter_email ORDER BY 1, 2;
SELECT state, count(*) FROM mailman.delivery GROUP BY state
EXCEPT TABLE before;
SELECT newsletter_id, length(hash), state FROM mailman.forgotten;
-- only the other reader's, and the other newsletter's
SELECT * FROM traces('ada');
SELECT subscription_id FROM mailman.delivery d
 WHERE d::text ILIKE '%ada%' GROUP BY 1;
SELECT mailman_deliveries(1), mailman_deliveries(4);
-- again is harmless
SELECT mailman_forget(1);
SELECT count(*) FROM mailman.forgotten;
-- and their link still leads somewhere
CREATE FUNCTION token(letter bigint, subscription bigint) RETURNS text AS $$
SELECT split_part(mailman_unsubscribe_url(letter, subscription), '/u/', 2)
$$ LANGUAGE sql;
SELECT mailman_unsubscribe(token(1, 1));
SELECT state FROM mailman.subscription WHERE id = 1;

--
-- It stays forgotten
--
\set VERBOSITY terse
UPDATE mailman.subscription SET state = 'active' WHERE id = 1;
:sqlstate
\set VERBOSITY default
UPDATE mailman.subscription SET email = 'ada@example.com' WHERE id = 1;
:sqlstate
CREATE ROLE regress_mailman_loader;
GRANT USAGE ON SCHEMA mailman TO regress_mailman_loader;
GRANT ALL ON mailman.subscription, mailman.newsletter TO regress_mailman_loader;
GRANT regress_mailman_app TO regress_mailman_loader;
SET ROLE regress_mailman_loader;
UPDATE mailman.subscription SET forgotten_at = NULL WHERE id = 1;
:sqlstate
UPDATE mailman.subscription SET forgotten_at = now() WHERE id = 2;
:sqlstate
INSERT INTO mailman.subscription (newsletter_id, email, state, forgotten_at)
VALUES (1, 'eve@example.com', 'unsubscribed', now());
:sqlstate
INSERT INTO mailman.subscription (newsletter_id, email)
VALUES (1, 'Forgotten.2@Forgotten.INVALID');
:sqlstate
RESET ROLE;
SELECT mailman_subscribe(1, 'forgotten.2@forgotten.invalid');
:sqlstate
-- variables given for it later are not kept
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (1, 'Issue 8', 'Hello');
SELECT mailman_send(8, '{1,2}', '{"greeting": "Dear Ada"}');
SELECT subscription_id, state, reason, variables FROM mailman.delivery
 WHERE letter_id = 8 ORDER BY 1;

--
-- How it comes back
--
SELECT mailman_forget(3);
UPDATE mailman.subscription SET state = 'complained' WHERE id = 4;
SELECT mailman_forget(4);
SELECT newsletter_id, state, count(*) FROM mailman.forgotten GROUP BY 1, 2
 ORDER BY 2;
-- with an old list, loaded by who may not even read what is forgotten
SET ROLE regress_mailman_loader;
INSERT INTO mailman.subscription (newsletter_id, email, state) VALUES
	(1, 'ADA@EXAMPLE.COM', 'active'),
	(1, 'cyd@xn--mnchen-3ya.example', 'pending'),
	(1, 'dan@example.com', 'active'),
	(1, 'eve@example.com', 'active'),
	(2, 'cyd@xn--mnchen-3ya.example', 'active'),
	(1, 'fay@example.com', 'bounced');
RESET ROLE;
SELECT id - min(id) OVER () AS n, newsletter_id, email, state
  FROM mailman.subscription WHERE forgotten_at IS NULL AND id > 5 ORDER BY id;
-- not by mailman_subscribe() either, nor by a change of address
SELECT mailman_subscribe(1, 'ada@example.com') =
	(SELECT id FROM mailman.subscription
	  WHERE newsletter_id = 1 AND lower(email) = 'ada@example.com') AS same;
SELECT email, state FROM mailman.subscription
 WHERE newsletter_id = 1 AND email ILIKE 'ada@%';
DELETE FROM mailman.subscription
 WHERE newsletter_id = 1 AND email ILIKE ANY ('{ada@%,dan@%}');
UPDATE mailman.subscription SET email = 'ada@example.com'
 WHERE email = 'eve@example.com';
SELECT email, state FROM mailman.subscription
 WHERE newsletter_id = 1 AND email ILIKE 'ada@%';
DELETE FROM mailman.subscription WHERE newsletter_id = 1 AND email ILIKE 'ada@%';
-- but by their own will, unless they complained
SELECT mailman_subscribe(1, 'ada@example.com', 'Ada', again => true) > 5 AS new,
	   mailman_subscribe(1, 'dan@example.com', again => true) > 5 AS dan,
	   mailman_subscribe(1, 'not an address', again => true);
:sqlstate
SELECT mailman_subscribe(1, 'ada@example.com', 'Ada', again => true) > 5 AS new,
	   mailman_subscribe(1, 'dan@example.com', again => true) > 5 AS dan;
SELECT email, name, state FROM mailman.subscription
 WHERE newsletter_id = 1 AND email ~ '^(ada|dan)@' ORDER BY 1;
SELECT state FROM mailman.forgotten ORDER BY 1;

--
-- The table is the extension's; it goes with its newsletter
--
GRANT ALL ON mailman.forgotten TO regress_mailman_loader;
SET ROLE regress_mailman_loader;
DELETE FROM mailman.forgotten;
:sqlstate
RESET ROLE;
INSERT INTO mailman.newsletter (name, from_address)
VALUES ('Short', 'short@example.com');
SELECT mailman_subscribe(3, 'ada@example.com') AS short \gset
SELECT mailman_forget(:short);
DELETE FROM mailman.subscription WHERE id = :short;
SELECT count(*) FROM mailman.forgotten WHERE newsletter_id = 3;
DELETE FROM mailman.newsletter WHERE id = 3;
SELECT count(*) FROM mailman.forgotten WHERE newsletter_id = 3;
ROLLBACK;
