
#-------------------------------------------------------------------------
#
# 069_in_the_way.pl
#	  What is in the way of a few holds up no others, and is told once.
#
# One row of a new subscription is locked, and somebody is about to send the
# letter to another, while a scheduled letter is topped up.  Then a full disk:
# what says so names another file each time, and nothing is lost.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => { 'mailman.lock_timeout' => '200ms' });

$node->relay('relay', $relay->url, connections => 5);

# ---- a list is topped up: 3,000 newcomers, two of them in use

my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 10);
my $letter = $node->letter($newsletter,
	send_at => $node->sql("SELECT clock_timestamp() + interval '1 h'"));
$node->send($letter);
$node->subscribe($newsletter, 3000);
my @new = split /\n/,
  $node->sql('SELECT id FROM mailman.subscription WHERE newsletter_id ='
	  . " $newsletter ORDER BY id OFFSET 10");
my $locker = $node->session;
$locker->query('BEGIN; SELECT FROM mailman.subscription'
	  . " WHERE id = $new[1700] FOR UPDATE");
my $sender = $node->session;
$sender->query("BEGIN; SELECT mailman_send($letter, '{$new[2900]}')");

my $from = $node->log_position;
$node->sql('UPDATE mailman.letter SET send_at = clock_timestamp()'
	  . " WHERE id = $letter");
my $delivered =
  "SELECT mail_order->>'delivered' FROM mailman.letter WHERE id = $letter";
ok($node->wait_for($delivered, '3008'), 'top up: all but the two');
$node->assert_sums($letter, 'top up');
is($node->sql("SELECT state, whole FROM mailman.letter WHERE id = $letter"),
	'sending|t', 'top up: and it is not over');

# once it has been tried again, the list as a whole was not inserted again; a
# worker reports its statistics with a later try, every 5 s
my $inserted =
  "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'delivery'";
ok( $node->wait_for(
		"SELECT n_tup_ins >= 3010 FROM pg_stat_user_tables"
		  . " WHERE relname = 'delivery'",
		't'),
	'top up: statistics');
sleep 6;
my $tries = $node->sql($inserted);
sleep 6;
cmp_ok($node->sql($inserted),
	'<', $tries + 100, 'top up: nobody else is queued again');
$locker->query('ROLLBACK');
ok($node->wait_for($delivered, '3009'), 'top up: the one whose row is free');
$sender->query('ROLLBACK');
ok($node->wait_for_letter($letter, 'sent'), 'top up: and the last');
is($node->sql($delivered),     '3010', 'top up: to all');
is(scalar($relay->pairs),      3010,   'top up: they have it');
is(scalar($relay->duplicates), 0,      'top up: nobody twice');
is($node->sql("SELECT whole, run FROM mailman.letter WHERE id = $letter"),
	'f|1', 'top up: over, by the first worker');
is(scalar($node->log_lines('could not be topped up|a turn failed', $from)),
	0, 'top up: and not a word about it');
$node->assert_sums($letter, 'top up, over');

# ---- the disk is full while outcomes are recorded

$node->sql(
	q{CREATE TABLE public.disk (is_full boolean);
	CREATE FUNCTION public.extend(bigint) RETURNS boolean LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF EXISTS (SELECT FROM public.disk) THEN
			RAISE disk_full USING MESSAGE = format(
				'could not extend file "base/5/%s": No space left on device',
				(random() * 100000)::integer);
		END IF;
		RETURN true;
	END $$;
	ALTER TABLE mailman.newsletter_email
		ADD CONSTRAINT room CHECK (public.extend(id)) NOT VALID});
my $full = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 400,
	pattern       => 'f%s@example.com');
$letter = $node->letter($full);
my $had = $relay->status->{accepted};
$relay->gate(20);
$node->send($letter);
ok($relay->wait_for_held(5), 'disk: a letter on its way');
$from = $node->log_position;
$node->sql('INSERT INTO public.disk VALUES (true)');
$relay->open_gate;
ok($relay->wait_for_messages($had + 25), 'disk: mails are accepted');
ok($node->wait_for_log('No space left', $from), 'disk: it is full');
sleep 7;
is(scalar($node->log_lines('^.*LOG: .*No space left', $from)),
	1, 'disk: which is told once');
my $sent = $relay->status->{accepted} - $had;
cmp_ok($sent, '<=', 200, 'disk: no more is claimed than may be in doubt');
$node->sql('DELETE FROM public.disk');
ok($node->wait_for_letter($letter, 'sent'), 'disk: free again: sent');
is($relay->status->{accepted} - $had, 400, 'disk: to all, nobody twice');
is( $node->sql(
		'SELECT doubts, run, (SELECT count(*) FROM mailman.newsletter_email'
		  . " WHERE letter_id = $letter) FROM mailman.letter"
		  . " WHERE id = $letter"),
	'0|1|400',
	'disk: all on record, nothing in doubt');
$node->assert_sums($letter, 'disk');

# ---- rows that stay locked are told of once

$letter = $node->letter($full);
$node->send_to_gate($relay, $letter, 'locked');
$locker->query('BEGIN; SELECT FROM mailman.delivery WHERE letter_id ='
	  . " $letter AND state = 'sending' FOR UPDATE");
$from = $node->log_position;
$relay->open_gate;
ok($node->wait_for_log('its outcome could not be recorded yet', $from),
	'locked: told');
sleep 11;
my @lines = $node->log_lines(
	"letter $letter, subscription \\d+: its outcome could not", $from);
my %told;
$told{$_}++ foreach map { /subscription (\d+)/ } @lines;
is_deeply([ grep { $told{$_} != 1 } keys %told ],
	[], 'locked: of each once, in spite of two more tries');
$locker->query('ROLLBACK');
ok($node->wait_for_letter($letter, 'sent'), 'locked: free again: sent');
$node->assert_sums($letter, 'locked');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$_->quit foreach $locker, $sender;
$node->stop;
$relay->stop;
done_testing();
