
#-------------------------------------------------------------------------
#
# 066_stuck.pl
#	  A row that makes turns fail delays itself alone.
#
# Somebody has locked the row of one recipient whose mail is in flight.  The
# turn that records it fails, again and again, and is then taken apart: all
# others are recorded and the letter goes on.  The one is recorded as soon as
# his row is free, and gets no second mail.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $number = 60;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => { 'mailman.lock_timeout' => '200ms' });
$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);
my $letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter, 'stuck');

# one of the five whose last reply is held
my $subscription = $node->sql(
	    "SELECT min(subscription_id) FROM mailman.delivery"
	  . " WHERE letter_id = $letter AND state = 'sending'");
my $locker = $node->session;
$locker->query("BEGIN; SELECT FROM mailman.delivery WHERE letter_id = $letter"
	  . " AND subscription_id = $subscription FOR UPDATE");
my $log_from = $node->log_position;
$relay->open_gate;

ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = 'delivered'",
		$number - 1),
	'all others are recorded while it is locked');
ok( $node->wait_for_log(
		qr/letter $letter, subscription $subscription: its outcome could not be recorded yet/,
		$log_from),
	'the log says which is not, and why');
is( $node->sql("SELECT state FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND subscription_id = $subscription"),
	'sending', 'it is on its way, as far as anybody knows');
is($node->letter_state($letter), 'sending', 'and so is the letter');
$node->assert_sums($letter, 'one is stuck');

# tried again while it is still locked, and after that
ok( $node->wait_for(
		"SELECT count(*) > 0 FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'"
		  . " AND wait_event_type = 'Lock'",
		't'),
	'it is tried again');
$locker->query('ROLLBACK');
$locker->quit;
ok($node->wait_for_letter($letter, 'sent'), 'free again: the letter is sent');
is($node->tally($letter)->{delivered}, $number, 'to everybody');
$node->assert_sums($letter, 'sent');
is($relay->duplicates, 0, 'to nobody twice');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
	'0', 'and nothing was in doubt');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
