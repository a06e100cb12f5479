
#-------------------------------------------------------------------------
#
# 049_retry_now.pl
#	  A person ends the wait of who is deferred.
#
# The relay told everybody to come back later, and is mended long before the
# schedule says so: mailman_retry() tries them now, whether or not a worker is
# there, and it costs nobody more than the attempt that is made.
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

my $number = 12;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create('main', preload => 1);

$node->relay('relay', $relay->url, connections => 3);
my $newsletter = $node->newsletter(
	relays         => ['relay'],
	retry_schedule => '4h',
	subscriptions  => $number);
my $letter = $node->letter($newsletter);

$relay->set(rules => [ { step => 'RCPT', reply => '450 4.2.0 Come later' } ]);
$node->send($letter);
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = 'deferred'", $number),
	'everybody is to come later');
ok($node->wait_for_no_worker($letter), 'nobody stays to wait');
like(
	$node->sql(
		"SELECT reason FROM mailman.progress WHERE letter_id = $letter"),
	qr/^waits until [-0-9 ]*\d\d:\d\d to try $number deferred again$/,
	'progress says what it waits for');

# one who has left does not come back
$node->sql("UPDATE mailman.subscription SET state = 'unsubscribed'"
	  . " WHERE id = (SELECT max(id) FROM mailman.subscription)");
$relay->open_gate;
is($node->sql("SELECT mailman_retry($letter, '{deferred}')"),
	$number - 1, 'those who are still there are tried now');
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter", $number - 1),
	'they have it');
is( $node->sql(
		"SELECT DISTINCT attempts FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter"),
	2, 'at the second attempt');
$node->assert_sums($letter, 'while one waits');
is( $node->sql("SELECT mailman_retry($letter, '{deferred}')"),
	0, 'nobody else is waiting to be tried');

# all of it again while the worker is there: some of them are held
my $second = $node->letter($newsletter);
$relay->set(
	rules => [
		{ step => 'RCPT', first => 5, reply => '450 4.2.0 Come later' },
		{ step => 'dot', gate => 'held' }
	]);
$node->send($second);
ok($relay->wait_for_held(3), 'three are with the relay');
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $second AND state = 'deferred'", 5),
	'five are to come later');
is($node->sql("SELECT mailman_retry($second, '{deferred}')"),
	5, 'they are tried by the worker that is there');
$relay->open_gate;
ok($node->wait_for_letter($second, 'sent'), 'it is sent');
$node->assert_sums($second, 'when it is sent');

$node->stop;
$relay->stop;
done_testing();
