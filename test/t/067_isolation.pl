
#-------------------------------------------------------------------------
#
# 067_isolation.pl
#	  At every isolation level: what is asked for is obeyed, and nothing lost.
#
# A role, a driver or an application may have REPEATABLE READ or SERIALIZABLE
# as its default, and its snapshot may be minutes old.  A letter that is being
# sent changes with every turn since.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;
use Mailman::Sink;

plan skip_all => 'smtp-sink (package postfix) is not installed'
  unless Mailman::Sink->available;

my $rounds = 100;
my $sink   = Mailman::Sink->new->start;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_prepared_transactions => 5,
		'mailman.turn_size'       => 20
	});

$node->relay('sink',  $sink->url,  connections => 5);
$node->relay('relay', $relay->url, connections => 2);
my $big = $node->newsletter(relays => ['sink'], subscriptions => 20_000);
my $small = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 10,
	pattern       => 's%s@example.com');
my @reader = split /\n/,
  $node->sql('SELECT id FROM mailman.subscription'
	  . " WHERE newsletter_id = $small ORDER BY id");
$node->sql('ANALYZE mailman.subscription');

sub tally_of
{
	my ($letter, $state) = @_;
	return $node->sql(
		"SELECT mail_order->>'$state' FROM mailman.letter WHERE id = $letter");
}

# As if it had ended so many days ago
sub age
{
	my ($days, @letters) = @_;
	my $list = join(',', @letters);
	$node->sql(
		    'BEGIN; SET LOCAL session_replication_role = replica;'
		  . " UPDATE mailman.letter SET state_at = state_at - interval"
		  . " '$days days' WHERE id IN ($list); COMMIT");
	return;
}

# One that is being sent
sub running
{
	my ($had) = @_;
	my $letter = $node->letter($big);
	$node->send($letter);
	$node->wait_for(
		    "SELECT (mail_order->>'delivered')::int > 20"
		  . " FROM mailman.letter WHERE id = $letter", 't');
	return $letter;
}

foreach my $level ('repeatable read', 'serializable')
{
	my $person = $node->session;
	$person->query("SET default_transaction_isolation = '$level'");

	# ---- 100 times, in statements by themselves

	my %wrong  = (pause => 0, resume => 0, stops => 0, goes => 0);
	my $letter = running();
	my $start  = time;
	foreach my $round (1 .. $rounds)
	{
		if ($node->letter_state($letter) ne 'sending')
		{
			$node->wait_for_letter($letter, 'sent');
			$letter = running();
		}
		my ($state, $error) = $person->try("SELECT mailman_pause($letter)");
		diag($error) if defined $error;
		$wrong{pause}++ if defined $error || $state ne 'paused';
		$wrong{stops}++
		  unless $node->wait_for(
			    "SELECT state || (mail_order->>'sending')"
			  . " FROM mailman.letter WHERE id = $letter", 'paused0');
		my $had = tally_of($letter, 'delivered');
		sleep 0.01;
		$wrong{stops}++ unless tally_of($letter, 'delivered') == $had;
		($state, $error) = $person->try("SELECT mailman_resume($letter)");
		diag($error) if defined $error;
		$wrong{resume}++ if defined $error || $state ne 'sending';
		$wrong{goes}++
		  unless $node->wait_for(
			    "SELECT (mail_order->>'delivered')::int > $had"
			  . " OR state = 'sent' FROM mailman.letter WHERE id = $letter",
			't');
	}
	diag(sprintf "%s: $rounds rounds in %.1f s", $level, time - $start);
	is_deeply(
		\%wrong,
		{ pause => 0, resume => 0, stops => 0, goes => 0 },
		"$level: $rounds pauses and resumes, all obeyed");

	# ---- in a transaction whose snapshot is old

	$letter = running();
	my $from = $node->sql('SELECT max(id) FROM mailman.event');
	my $look =
	  "SELECT count(*), min(state) FROM mailman.letter WHERE id = $letter";
	my $turns = tally_of($letter, 'delivered');
	$person->query('BEGIN');
	is($person->query($look), '1|sending', "$level, old: it sees the letter");
	$node->wait_for(
		    "SELECT (mail_order->>'delivered')::int > $turns + 50"
		  . " FROM mailman.letter WHERE id = $letter", 't');
	is($person->query("SELECT mailman_pause($letter)"),
		'paused', "$level, old: paused");
	is($person->query($look), '1|sending',
		"$level, old: and sees it once, as it was");
	is($person->query("SELECT mailman_resume($letter)"),
		'sending', "$level, old: resumed");
	$person->query('SAVEPOINT before');
	is($person->query("SELECT mailman_cancel($letter)"),
		'cancelled', "$level, old: cancelled");
	like(
		($person->try("SELECT mailman_pause($letter)"))[1],
		qr/55000: letter $letter cannot be paused: it is cancelled/,
		"$level, old: which it knows");
	$person->query('ROLLBACK TO before');
	is($person->query("SELECT mailman_pause($letter)"),
		'paused', "$level, old: but paused after all");
	my $had = tally_of($letter, 'delivered');
	sleep 0.3;
	is(tally_of($letter, 'delivered'),
		$had, "$level, old: it waits for the transaction");
	$person->query('COMMIT');
	is($node->letter_state($letter), 'paused', "$level, old: COMMIT");
	ok( $node->wait_for(
			"SELECT mail_order->>'sending' FROM mailman.letter"
			  . " WHERE id = $letter", '0'),
		"$level, old: obeyed");
	is( $node->sql(
			"SELECT string_agg(detail->>'to', ' ' ORDER BY id)"
			  . " FROM mailman.event WHERE id > $from AND letter_id = $letter"
			  . " AND kind = 'letter'"),
		'paused sending paused',
		"$level, old: events");
	$node->assert_sums($letter, "$level, old");
	$person->query("SELECT mailman_resume($letter)");

	# what is rolled back was never asked for
	$person->query('BEGIN');
	$person->query($look);
	$turns = tally_of($letter, 'delivered');
	$node->wait_for(
		    "SELECT (mail_order->>'delivered')::int > $turns + 50"
		  . " FROM mailman.letter WHERE id = $letter", 't');
	$person->query("SAVEPOINT before; SELECT mailman_pause($letter);"
		  . ' ROLLBACK TO before; COMMIT');
	is($node->letter_state($letter),
		'sending', "$level, old: rolled back to a savepoint");

	# prepared
	$person->query('BEGIN');
	$person->query($look);
	$turns = tally_of($letter, 'delivered');
	$node->wait_for(
		    "SELECT (mail_order->>'delivered')::int > $turns + 50"
		  . " FROM mailman.letter WHERE id = $letter", 't');
	$person->query("SELECT mailman_pause($letter)");
	$person->query("PREPARE TRANSACTION 'pause'");
	is($node->letter_state($letter), 'sending', "$level, old: prepared");
	$person->query("COMMIT PREPARED 'pause'");
	is($node->letter_state($letter),
		'paused', "$level, old: and committed");
	$person->query("SELECT mailman_resume($letter)");

	# from a procedure that commits
	$turns = tally_of($letter, 'delivered');
	$person->query(
		"DO \$\$
		BEGIN
			PERFORM FROM mailman.letter WHERE id = $letter;
			PERFORM pg_sleep(0.2);
			PERFORM mailman_pause($letter);
			COMMIT;
			IF (SELECT state FROM mailman.letter WHERE id = $letter) <> 'paused'
			THEN
				RAISE 'not paused';
			END IF;
		END \$\$");
	is($node->letter_state($letter), 'paused', "$level, old: a procedure");
	$person->query('BEGIN');
	$person->query($look);
	$node->sql("SELECT mailman_resume($letter)");
	is($person->query("SELECT mailman_cancel($letter)"),
		'cancelled', "$level, old: cancelled for good");
	$person->query('COMMIT');
	ok( $node->wait_for(
			"SELECT state, mail_order->>'pending', mail_order->>'sending'"
			  . " FROM mailman.letter WHERE id = $letter", 'cancelled|0|0'),
		"$level, old: nobody is left");
	$node->assert_sums($letter, "$level, cancelled");

	# ---- a scheduled letter is called back whole

	my $draft = $node->letter($small, send_at => 'infinity');
	$node->send($draft, @reader[ 0 .. 2 ]);
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.delivery');
	$node->send($draft, @reader[ 3 .. 4 ]);
	is($person->query("SELECT mailman_cancel($draft)"),
		'draft', "$level, call back: a draft");
	$person->query('COMMIT');
	is( $node->sql(
			"SELECT state, sender IS NULL, (SELECT count(*)"
			  . " FROM mailman.delivery WHERE letter_id = $draft),"
			  . " (SELECT count(*) FROM mailman.posting"
			  . " WHERE letter_id = $draft)"
			  . " FROM mailman.letter WHERE id = $draft"),
		'draft|t|0|0',
		"$level, call back: empty, whatever was queued meanwhile");

	# one that has changed meanwhile becomes a draft at COMMIT
	$node->send($draft, $reader[0]);
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.delivery');
	$node->send($draft);
	$person->query("SAVEPOINT s; SELECT mailman_cancel($draft)");
	like(
		($person->try("SELECT mailman_send($draft)"))[1],
		qr/55000: letter $draft is called back by this transaction/,
		"$level, call back: not to be sent before that");
	$person->query("ROLLBACK TO s; SELECT mailman_cancel($draft); COMMIT");
	is( $node->sql(
			"SELECT state, whole, (SELECT count(*)"
			  . " FROM mailman.delivery WHERE letter_id = $draft)"
			  . " FROM mailman.letter WHERE id = $draft"),
		'draft|f|0',
		"$level, call back: at COMMIT");
	my $sent = scalar $relay->pairs;
	$node->sql("UPDATE mailman.letter SET send_at = NULL WHERE id = $draft");
	$node->send($draft, $reader[7]);
	ok($node->wait_for_letter($draft, 'sent'), "$level, call back: sent");
	is(scalar($relay->pairs) - $sent, 1, "$level, call back: to the one");

	# ---- a sender sees whom it saw, and the letter as it is

	my $gone = $node->letter($small, send_at => 'infinity');
	$node->send($gone, $reader[0]);
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.letter');
	$node->sql("SELECT mailman_pause($gone)");
	$node->sql("SELECT mailman_cancel($gone)");
	like(($person->try("SELECT mailman_send($gone)"))[1],
		qr/55000: letter $gone is cancelled/, "$level, send: cancelled since");
	$person->query('ROLLBACK');
	my $back = $node->letter($small, send_at => 'infinity');
	$node->send($back, $reader[0]);
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.letter');
	$node->sql("SELECT mailman_cancel($back)");
	like(($person->try("SELECT mailman_send($back, '{$reader[1]}')"))[1],
		qr/40001:/, "$level, send: called back since");
	$person->query('ROLLBACK');

	# ---- a reader may leave, and one that was forgotten stays so

	my $letter_of = $node->letter($small);
	$node->send($letter_of, @reader[ 0 .. 9 ]);
	ok($node->wait_for_letter($letter_of, 'sent'), "$level, readers: sent");
	my $who = $node->sql(
		'INSERT INTO mailman.subscription (newsletter_id, email)'
		  . " VALUES ($small, 'leaves\@example.com') RETURNING id");
	my ($token) =
	  $node->sql("SELECT mailman_unsubscribe_url($letter_of, $who)") =~
	  m{/u/(.*)};
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.letter');
	$node->sql("UPDATE mailman.subscription SET name = 'X' WHERE id = $who");
	is($person->query("SELECT mailman_unsubscribe('$token')"),
		't', "$level, unsubscribe");
	is( $person->query(
			"SELECT count(*) FROM mailman.subscription WHERE id = $who"),
		'1',
		"$level, unsubscribe: one row is seen");
	$person->query('COMMIT');
	is( $node->sql(
			"SELECT state, name FROM mailman.subscription WHERE id = $who"),
		'unsubscribed|X',
		"$level, unsubscribe: at COMMIT");

	$node->sql("UPDATE mailman.subscription SET state = 'active'"
		  . " WHERE id = $who");
	my $last = $node->letter($small);
	$person->query('BEGIN');
	$person->query('SELECT count(*) FROM mailman.letter');
	$node->send($last, $who);
	ok($node->wait_for_letter($last, 'sent'), "$level, forget: a mail since");
	$node->wait_for_no_worker($last);
	like(($person->try("SELECT mailman_forget($who)"))[1],
		qr/40001:/, "$level, forget: not half of it");
	$person->query('ROLLBACK');
	my $loader = $node->session;
	$loader->query("BEGIN ISOLATION LEVEL $level");
	$loader->query('SELECT count(*) FROM mailman.forgotten');
	$person->query("SELECT mailman_forget($who)");
	is( $node->sql(
			'SELECT count(*) FROM mailman.newsletter_email'
			  . " WHERE address = 'leaves\@example.com'"),
		'0',
		"$level, forget: the address is gone");
	$loader->query('INSERT INTO mailman.subscription (newsletter_id, email)'
		  . " VALUES ($small, 'leaves\@example.com')");
	$loader->query('COMMIT');
	$loader->quit;
	is( $node->sql(
			'SELECT state FROM mailman.subscription'
			  . " WHERE email = 'leaves\@example.com'"),
		'unsubscribed',
		"$level, forget: an old list does not bring it back");
	$node->sql('DELETE FROM mailman.subscription'
		  . " WHERE email = 'leaves\@example.com'");

	# ---- purged beside 200 sends of letters of long ago

	my @old = map { $node->letter($small) } 1 .. 200;
	$node->send($_, $reader[0]) foreach @old;
	ok( $node->wait_for(
			"SELECT count(*) FROM mailman.letter WHERE state = 'sent'"
			  . ' AND id IN (' . join(',', @old) . ')', '200'),
		"$level, purge: 200 letters");
	$node->wait_for_no_worker(undef);
	age(100, @old);
	# queued, and not yet begun
	$node->sql('ALTER SYSTEM SET mailman.enabled = off');
	$node->sql('SELECT pg_reload_conf()');
	$node->wait_for('SHOW mailman.enabled', 'off');
	my $purger = $node->session(timeout => 600);
	$purger->query("SET default_transaction_isolation = '$level'");
	$purger->start("CALL mailman_purge('90 days', 1)");
	my @sent;
	my %why;
	foreach my $old (reverse @old)
	{
		my ($queued, $error) =
		  $person->try("SELECT mailman_send($old, '{$reader[1]}')");
		push @sent, $old if !defined $error;
		$why{ substr $error, 0, 15 }++ if defined $error;
	}
	my (undef, $ended) = $purger->try_result;
	is($ended, undef, "$level, purge: comes to its end");
	diag("$level, purge: queued " . @sent . ', ',
		join(', ', map { "$_ $why{$_}" } sort keys %why));
	cmp_ok(scalar(@sent), '>', 0,   "$level, purge: some were quicker");
	cmp_ok(scalar(@sent), '<', 200, "$level, purge: and some were not");
	is( $node->sql(
			'SELECT count(*) FROM mailman.letter l WHERE l.id IN ('
			  . join(',', @sent)
			  . ') AND (purged_at IS NOT NULL OR NOT EXISTS (SELECT'
			  . ' FROM mailman.delivery d WHERE d.letter_id = l.id'
			  . " AND d.subscription_id = $reader[1]))"),
		'0',
		"$level, purge: nothing that was queued is lost");
	$purger->quit;
	$node->sql('ALTER SYSTEM RESET mailman.enabled');
	$node->sql('SELECT pg_reload_conf()');
	$node->wait_for('SHOW mailman.enabled', 'on');
	$node->sql('SELECT mailman_wake()');
	ok( $node->wait_for(
			"SELECT count(*) FROM mailman.delivery WHERE state = 'delivered'"
			  . " AND subscription_id = $reader[1] AND letter_id IN ("
			  . join(',', @sent) . ')', scalar(@sent)),
		"$level, purge: all of it is sent");
	is($person->query('SHOW transaction_isolation'),
		$level, "$level: as it was");
	$person->quit;
}

$node->stop;
$relay->stop;
$sink->stop;
done_testing();
