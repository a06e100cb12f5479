
#-------------------------------------------------------------------------
#
# 014_rejections.pl
#	  Every fifth recipient is refused, and nobody else notices.
#
# A refusal costs neither a connection nor another recipient's mail, and the
# refused delivery carries the relay's code and words.
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

my $number = 200;
my $relay  = Mailman::Relay->new(slow => 0.01)->start;
my $node   = Mailman::Cluster->create('main');

$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# every fifth: half of them by policy, half because nobody is there
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^r\d*5@',
			reply => [ '550-5.7.1 We do not like', '550 5.7.1 this one' ]
		},
		{
			step  => 'RCPT',
			match => '^r\d*0@',
			reply => '550 5.1.1 No such user here'
		}
	]);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');

is($relay->connections_opened, 5, 'as many connections as the pool has');
is($relay->pairs, $number * 4 / 5, 'the others are delivered');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
is(scalar(grep { /^r\d*[05]@/ } keys %{ $relay->recipients }),
	0, 'the refused ones are not');
is( scalar(grep { $_->{step} eq 'RCPT' } $relay->events('rule')),
	$number / 5, 'each was tried once');

$node->assert_sums($letter, 'after refusals');
my $tally = $node->tally($letter);
is($tally->{delivered}, $number * 4 / 5, 'tally: delivered');
is($tally->{failed},    $number / 5,     'tally: failed');

is( $node->sql(
		    "SELECT DISTINCT d.state, d.code, d.enhanced, d.attempts,"
		  . " d.due_at IS NULL FROM mailman.delivery d"
		  . " JOIN mailman.subscription s ON s.id = d.subscription_id"
		  . " WHERE letter_id = $letter AND email ~ '^r[0-9]*5\@'"),
	'failed|550|5.7.1|1|t',
	'refused by policy: state, code, enhanced code');
is( $node->sql(
		    "SELECT DISTINCT d.state, d.code, d.enhanced, d.attempts,"
		  . " d.due_at IS NULL FROM mailman.delivery d"
		  . " JOIN mailman.subscription s ON s.id = d.subscription_id"
		  . " WHERE letter_id = $letter AND email ~ '^r[0-9]*0\@'"),
	'failed|550|5.1.1|1|t',
	'nobody there: state, code, enhanced code');
is( $node->sql(
		    "SELECT count(*) FROM mailman.delivery d"
		  . " JOIN mailman.subscription s ON s.id = d.subscription_id"
		  . " WHERE letter_id = $letter AND email ~ '^r[0-9]*5\@'"
		  . " AND reply ~ 'We do not like' AND reply ~ 'this one'"),
	$number / 10,
	'the reply, all its lines');
is( $node->sql(
		    "SELECT count(*) FROM mailman.delivery d"
		  . " WHERE letter_id = $letter AND reply ~ 'No such user here'"),
	$number / 10,
	'the other reply');
is( $node->sql(
		    "SELECT count(*) FROM mailman.delivery d WHERE letter_id = $letter"
		  . " AND state = 'delivered' AND (reason IS NOT NULL OR attempts <> 1)"
	),
	'0',
	'the delivered carry nothing of it');
is( $node->sql(
		"SELECT count(*), count(*) FILTER (WHERE jsonb_typeof(value->'failed')"
		  . " = 'string'), count(*) FILTER (WHERE jsonb_typeof("
		  . "value->'delivered') = 'number')"
		  . " FROM jsonb_each(mailman_deliveries($letter))"),
	join('|', $number, $number / 5, $number * 4 / 5),
	'mailman_deliveries() has them all');

# a dead address is not written to again; another refusal is no death
is( $node->sql(
		    "SELECT state, count(*) FROM mailman.subscription"
		  . " WHERE newsletter_id = $newsletter GROUP BY 1 ORDER BY 1"),
	join("\n", 'active|' . $number * 9 / 10, 'bounced|' . $number / 10),
	'dead addresses are bounced subscriptions');

# ---- everybody refused: the letter ends, and fast

$relay->set(
	rules => [ { step => 'RCPT', reply => '550 5.7.1 Nobody at all' } ]);
my $before = $relay->connections_opened;
my $second = $node->letter($newsletter);
my $queued = $node->send($second);
ok($node->wait_for_letter($second, 'sent'), 'everybody refused: it ends');
is($node->tally($second)->{failed}, $queued, 'all failed');
cmp_ok($relay->connections_opened - $before,
	'<=', 5, 'over one pool of connections');
$node->assert_sums($second, 'everybody refused');

$node->stop;
$relay->stop;
done_testing();
