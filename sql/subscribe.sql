--
-- mailman_subscribe(): the forgiving way to load subscriptions.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;
CREATE ROLE regress_mailman_app;
CREATE ROLE regress_mailman_boss IN ROLE regress_mailman_app;
CREATE ROLE regress_mailman_guest;
GRANT EXECUTE ON FUNCTION
	mailman_subscribe(bigint, text, text, jsonb, boolean)
	TO regress_mailman_app, regress_mailman_guest;
INSERT INTO mailman.newsletter (owner, name, from_address) VALUES
	('regress_mailman_app', 'Weekly', 'weekly@example.com'),
	('regress_mailman_app', 'Daily', 'daily@example.com');

-- a new address; no right on the table is needed
SET ROLE regress_mailman_app;
SELECT mailman_subscribe(1, 'ada@example.com');
SELECT mailman_subscribe(1, 'bob@example.com', 'Bob', '{"city": "Bonn"}');
RESET ROLE;
-- a member of the owner
SET ROLE regress_mailman_boss;
SELECT mailman_subscribe(1, 'cyd@example.com', data => '{"a": 1}');
RESET ROLE;
SELECT id, newsletter_id, email, name, data, state
  FROM mailman.subscription ORDER BY id;

-- a known one is updated: the address as written now, the name if given, the
-- data merged in
SELECT mailman_subscribe(1, 'Ada@Example.com', 'Ada', '{"x": 1}');
SELECT mailman_subscribe(1, 'ada@example.com', data => '{"y": 2}');
SELECT mailman_subscribe(1, 'BOB@example.com', NULL, '{"city": "Köln", "n": 1}');
SELECT id, email, name, data, state FROM mailman.subscription ORDER BY id;
-- the same address at another newsletter is another subscription
SELECT mailman_subscribe(2, 'ada@example.com') > 3 AS another;

-- who left comes back only with again, who complained never does
UPDATE mailman.subscription SET state = 'unsubscribed'
 WHERE email = 'Ada@Example.com' OR email = 'ada@example.com';
SELECT mailman_subscribe(1, 'ada@example.com');
SELECT mailman_subscribe(1, 'ada@example.com', again => NULL);
SELECT id, state FROM mailman.subscription WHERE id = 1;
SELECT mailman_subscribe(1, 'ada@example.com', again => true);
SELECT id, state FROM mailman.subscription WHERE id = 1;
SELECT s.state, mailman_subscribe(1, s.state || '@example.com') > 0 AS made
  FROM unnest(ARRAY['pending', 'active', 'unsubscribed', 'bounced',
					'complained']) AS s(state);
UPDATE mailman.subscription SET state = split_part(email, '@', 1)
 WHERE email IN ('pending@example.com', 'active@example.com',
				 'unsubscribed@example.com', 'bounced@example.com',
				 'complained@example.com');
SELECT count(mailman_subscribe(1, s.state || '@example.com', again => false))
  FROM unnest(ARRAY['pending', 'active', 'unsubscribed', 'bounced',
					'complained']) AS s(state);
SELECT email, state FROM mailman.subscription
 WHERE newsletter_id = 1 AND id > 4 ORDER BY email COLLATE "C";
SELECT count(mailman_subscribe(1, s.state || '@example.com', again => true))
  FROM unnest(ARRAY['pending', 'active', 'unsubscribed', 'bounced',
					'complained']) AS s(state);
SELECT email, state FROM mailman.subscription
 WHERE newsletter_id = 1 AND id > 4 ORDER BY email COLLATE "C";
SELECT count(*) FROM mailman.subscription;

--
-- Refused: nothing is stored, nothing known is changed
--
CREATE TABLE before AS SELECT * FROM mailman.subscription;
SELECT mailman_subscribe(NULL, 'eve@example.com');
:sqlstate
SELECT mailman_subscribe(1, NULL);
:sqlstate
SELECT mailman_subscribe(99, 'eve@example.com');
:sqlstate
SELECT mailman_subscribe(1, 'eve at example.com');
:sqlstate
SELECT mailman_subscribe(1, E'eve@example.com\r\nBcc: all@example.com');
:sqlstate
SELECT mailman_subscribe(1, 'eve@example.com', E'Eve\nBcc: all@example.com');
:sqlstate
SELECT mailman_subscribe(1, 'ada@example.com', E'Ada\x01');
:sqlstate
\set VERBOSITY terse
SELECT mailman_subscribe(1, 'eve@example.com', data => '["a"]');
:sqlstate
SELECT mailman_subscribe(1, 'ada@example.com', data => '"a"');
:sqlstate
\set VERBOSITY default
SELECT mailman_subscribe(1, 'eve@example.com', data => '{"a": "\u0000"}');
:sqlstate
SET ROLE regress_mailman_guest;
SELECT mailman_subscribe(1, 'eve@example.com');
:sqlstate
SELECT mailman_subscribe(1, 'ada@example.com', 'Not Ada');
:sqlstate
RESET ROLE;
SELECT count(*) AS changed FROM (
	(TABLE before EXCEPT TABLE mailman.subscription) UNION ALL
	(TABLE mailman.subscription EXCEPT TABLE before)) d;

-- the caller is the caller again afterwards, and its settings are its own
SET ROLE regress_mailman_app;
SET LOCAL search_path = pg_catalog, public;
SELECT mailman_subscribe(1, 'ada@example.com'), current_user;
SHOW search_path;
RESET search_path;
RESET ROLE;

-- an owner that is gone: only for those who need none
UPDATE mailman.newsletter SET owner = 'regress_mailman_gone' WHERE id = 2;
SET ROLE regress_mailman_app;
SELECT mailman_subscribe(2, 'eve@example.com');
:sqlstate
RESET ROLE;

-- no newsletter goes while it has readers; the reader does not change over
DO $$
BEGIN
	DELETE FROM mailman.newsletter WHERE id = 1;
EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
	RAISE NOTICE 'refused';
END
$$;
UPDATE mailman.subscription SET newsletter_id = 2 WHERE id = 1;
:sqlstate
UPDATE mailman.subscription SET id = 1000 WHERE id = 1;
:sqlstate
UPDATE mailman.subscription SET newsletter_id = 1, id = 1 WHERE id = 1;
-- nobody was written to: the subscription may go, and then the newsletter
DELETE FROM mailman.subscription;
DELETE FROM mailman.newsletter;
SELECT count(*) FROM mailman.newsletter;
ROLLBACK;
