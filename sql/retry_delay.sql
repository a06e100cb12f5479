--
-- Retry schedules: how long a delivery waits, by the setting, by a newsletter's
-- own schedule and by one that is given; and what is no schedule.
--
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set sqlstate '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
\pset null '(null)'
BEGIN;
CREATE EXTENSION mailman;

-- the setting's default: after so many attempts, as it says and as the dice
-- may have it; total is what has been waited before the next attempt
SHOW mailman.retry_schedule;
SELECT n AS attempts, mailman_retry_delay(n) AS delay,
	   mailman_retry_delay(n, jitter => -1) AS shortest,
	   mailman_retry_delay(n, jitter => 1) AS longest,
	   sum(mailman_retry_delay(n)) OVER (ORDER BY n) AS total
  FROM generate_series(1, 25) n;
SELECT mailman_retry_delay(2147483647) AS "for ever",
	   mailman_retry_delay(1, jitter => 0.25) AS "a little longer";
-- 20 attempts, the default of newsletter.max_attempts, have 19 waits between
-- them; newsletter.max_age is 72 hours
SELECT sum(mailman_retry_delay(n)) AS waits,
	   sum(mailman_retry_delay(n, jitter => -1)) AS shortest,
	   sum(mailman_retry_delay(n, jitter => 1)) AS longest
  FROM generate_series(1, 19) n;

-- another schedule
SELECT n AS attempts, mailman_retry_delay(n, ' 30s,1.5h ,2d'),
	   mailman_retry_delay(n, '90', -0.5)
  FROM generate_series(1, 4) n;
SELECT mailman_retry_delay(32, repeat('1s,', 31) || '1min') AS "32 steps",
	   mailman_retry_delay(1, '2147483647s', 1) AS "a very long one";
SELECT mailman_retry_delay(1, NULL);

-- a newsletter's own
INSERT INTO mailman.newsletter (name, from_address, retry_schedule) VALUES
	('Weekly', 'weekly@example.com', NULL),
	('Daily', 'daily@example.com', '1min, 10min, 1h');
SELECT name, string_agg(mailman_retry_delay(n, retry_schedule)::text, ', '
						ORDER BY n)
  FROM mailman.newsletter, generate_series(1, 7) n GROUP BY name ORDER BY name;

-- what is none is refused as a newsletter's own and as a given one; the
-- message is the same, but the SQLSTATEs differ
CREATE FUNCTION try_schedule(schedule text, OUT own text, OUT given text,
							 OUT detail text, OUT hint text) AS $$
DECLARE
	message text;
BEGIN
	BEGIN
		UPDATE mailman.newsletter SET retry_schedule = schedule WHERE id = 1;
		own := 'ok';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		own := SQLSTATE;
	END;
	PERFORM mailman_retry_delay(1, schedule);
	given := 'ok';
EXCEPTION WHEN OTHERS THEN
	given := SQLSTATE
		|| CASE WHEN SQLERRM = message THEN '' ELSE ' ' || SQLERRM END;
END
$$ LANGUAGE plpgsql;
SELECT left(schedule, 30) AS schedule, t.*
  FROM unnest(ARRAY['1s', '5min, 15min', E'1h,\t2h', '600ms',
	'', ' ', ',', '5min,', ',5min', '5min,,15min', 'soon', '5min, soon',
	'5 minutes', '5min; 15min', '5min 15min', '0', '-1min', '100ms',
	'5min, 100ms', '2147483648s', '1y', 'NaN', '1h/2h', repeat('x', 200),
	repeat('1s,', 32) || '1min'])
	WITH ORDINALITY AS s(schedule, n), try_schedule(schedule) t ORDER BY n;
INSERT INTO mailman.newsletter (name, from_address, retry_schedule)
VALUES ('Hourly', 'hourly@example.com', '5min, sometime');
:sqlstate
SELECT mailman_retry_delay(1, repeat('x', 200));
:sqlstate
SELECT mailman_retry_delay(0);
:sqlstate
SELECT mailman_retry_delay(-2147483648);
:sqlstate
SELECT mailman_retry_delay(1, NULL, 1.01);
:sqlstate
SELECT mailman_retry_delay(1, NULL, '-Infinity');
:sqlstate
SELECT mailman_retry_delay(1, NULL, 'NaN');
:sqlstate

-- it is for those it was granted to
CREATE ROLE regress_mailman_guest;
SET ROLE regress_mailman_guest;
SELECT mailman_retry_delay(1);
:sqlstate
RESET ROLE;
GRANT EXECUTE ON FUNCTION mailman_retry_delay TO regress_mailman_guest;
SET ROLE regress_mailman_guest;
SELECT mailman_retry_delay(1);
RESET ROLE;
ROLLBACK;
