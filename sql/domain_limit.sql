--
-- Limits of domains, and the view of relays: what is refused, in words.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;

-- rates are a limit, and so are mails under way at once
INSERT INTO mailman.domain_limit (pattern, rate, connections) VALUES
	('example.com', '100/min', 2), ('*.example.com', '1/s', NULL),
	('example.org', NULL, 5), ('xn--mnchen-3ya.de', ' 1000 / d ', 1000);
SELECT * FROM mailman.domain_limit ORDER BY id;

-- what is none
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('Example.net', '1/s');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('*', '1/s');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('münchen.de', '1/s');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('example.net', '100/m');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('example.net', '100');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('example.net', 'fast');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, rate) VALUES ('example.net', '0/s');
:sqlstate
\set VERBOSITY terse
INSERT INTO mailman.domain_limit (pattern) VALUES ('example.net');
:sqlstate
INSERT INTO mailman.domain_limit (pattern, connections)
VALUES ('example.net', 0);
:sqlstate
INSERT INTO mailman.domain_limit (pattern, connections)
VALUES ('example.net', 1001);
:sqlstate
INSERT INTO mailman.domain_limit (pattern, connections)
VALUES ('example.com', 1);
:sqlstate
\set VERBOSITY default

-- the relays of this database, well until one of them is not
CREATE SERVER one FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', weight '2', rate '14/s');
CREATE SERVER two FOREIGN DATA WRAPPER mailman_smtp
	OPTIONS (url 'smtp://127.0.0.1:1', tls 'none', weight '1',
			 connections '5', warm_up '864000/d', warm_up_start '9999-12-31');
SELECT * FROM mailman.relay_status ORDER BY relay;
-- a number of another kind than SQL has it does not stop the view
ALTER SERVER one OPTIONS (ADD connections '1e2');
ALTER SERVER two OPTIONS (SET connections '0x10');
SELECT relay, connections FROM mailman.relay_status ORDER BY relay;
\set VERBOSITY terse
UPDATE mailman.relay_status SET state = 'up';
:sqlstate
ROLLBACK;
