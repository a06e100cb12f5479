
#-------------------------------------------------------------------------
#
# 043_throttle.pl
#	  A relay that asks for less speed gets less.
#
# Several recipients in a row who are told to come later: that is the relay's
# doing and costs them nothing, and the relay is slowed down to half, for all
# letters, and recovers by itself.  One alone means nothing.
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

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes     => 24,
		'mailman.max_workers'    => 12,
		'mailman.poll_interval'  => '200ms',
		'mailman.retry_schedule' => '1s'
	});

sub status
{
	my ($relay, $columns) = @_;
	return $node->sql("SELECT $columns FROM mailman.relay_status"
		  . " WHERE relay = '$relay'");
}

# As if it had been slowed down an hour ago; not everybody may do that
sub recover
{
	my ($relay) = @_;
	$node->sql(qq{
		BEGIN;
		ALTER TABLE mailman.relay_state DISABLE TRIGGER guard;
		UPDATE mailman.relay_state
		   SET slowed_at = slowed_at - interval '1 hour'
		 WHERE slow_rate IS NOT NULL
		   AND server = (SELECT oid FROM pg_foreign_server
						  WHERE srvname = '$relay');
		ALTER TABLE mailman.relay_state ENABLE ALWAYS TRIGGER guard;
		COMMIT});
	return;
}

# ---- throttled for a while

# name => [ rate, step, reply ]
my %case = (
	'rated, RCPT 451'   => [ '20/s', 'RCPT', '451 4.7.0 Slow down, please' ],
	'rated, RCPT 421'   => [ '20/s', 'RCPT', '421 4.7.0 Too much at once' ],
	'rated, dot 454'    => [ '20/s', 'dot',  '454 4.7.0 Too many mails' ],
	'unrated, RCPT 451' => [ undef,  'RCPT', '451 4.7.28 Unusual rate' ],
	'unrated, dot 421'  => [ undef,  'dot',  '421 4.7.0 Too much at once' ]);

# They wait for ten seconds each, so all of them wait at once
my %run;
my $number = 0;
foreach my $name (sort keys %case)
{
	my ($rate, $step, $reply) = @{ $case{$name} };
	my $relay = Mailman::Relay->new(
		rules => [ { step => $step, skip => 10, reply => $reply } ])->start;
	my $server = 'relay' . ++$number;

	$node->relay(
		$server, $relay->url,
		connections => 2,
		(defined $rate ? (rate => $rate) : ()));
	my $newsletter =
	  $node->newsletter(relays => [$server], subscriptions => 40);
	my $letter = $node->letter($newsletter);
	$run{$name} = [ $relay, $server, $letter ];
	is(status($server, 'current_rate'),
		defined $rate ? '20' : '', "$name: not slowed down before");
	$node->send($letter);
}

foreach my $name (sort keys %case)
{
	my ($rate, $step, $reply) = @{ $case{$name} };
	my ($relay, $server, $letter) = @{ $run{$name} };

	ok($relay->wait_for_messages(10), "$name: the first ten pass");
	ok( $node->wait_for(
			'SELECT slowed_at IS NOT NULL FROM mailman.relay_status'
			  . " WHERE relay = '$server'", 't'),
		"$name: slowed down");

	# who was told so before it was three in a row has an attempt of it
	ok( $node->wait_for(
			'SELECT count(*) > 0 FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state = 'deferred'"
			  . ' AND attempts = 0', 't'),
		"$name: those after the third are handed back");
	my $slow = $node->sql(
		'SELECT slow_rate FROM mailman.relay_state WHERE server ='
		  . ' (SELECT oid FROM pg_foreign_server'
		  . " WHERE srvname = '$server')");
	my $now = status($server, 'current_rate');
	diag("$name: slowed down to $slow, now $now");
	if (defined $rate)
	{
		cmp_ok($slow, '<=', 10, "$name: to half at most");
	}
	else
	{
		cmp_ok($slow, '>', 0, "$name: to something");
	}
	cmp_ok($slow, '>=', 0.1, "$name: not below the floor");
	isnt($now, '', "$name: the view tells the rate");
	my (undef, $enhanced) = split(/ /, $reply);
	like(status($server, 'last_error'), qr/^relay "$server": .*\Q$enhanced\E/,
		"$name: and why");

	# 421 closes the session: that may be more than a matter of speed
	is(status($server, 'state'), 'up', "$name: it is not down")
	  unless $reply =~ /^421/;
	$node->assert_sums($letter, "$name, slowed down");
}

foreach my $name (sort keys %case)
{
	my ($relay, $server, $letter) = @{ $run{$name} };
	my $told = scalar(() = $relay->events('rule'));

	$relay->set(rules => []);
	my $paid = $node->sql(
		    'SELECT coalesce(sum(attempts), 0) FROM mailman.delivery'
		  . " WHERE letter_id = $letter AND state <> 'delivered'");
	diag("$name: told so $told times, $paid attempts");
	cmp_ok($paid, '<=', 8, "$name: few have paid with an attempt");

	# nobody waits for the minutes in which it recovers
	recover($server);
}
foreach my $name (sort keys %case)
{
	my ($rate)  = @{ $case{$name} };
	my ($relay, $server, $letter) = @{ $run{$name} };

	ok($node->wait_for_letter($letter, 'sent'), "$name: sent in the end");
	is($node->states($letter)->{delivered}, 40, "$name: to everybody");
	is($relay->pairs, 40, "$name: indeed");
	is(scalar($relay->duplicates), 0, "$name: once");
	recover($server);
	is(status($server, 'current_rate'),
		defined $rate ? '20' : '', "$name: as fast as before");
	$node->assert_sums($letter, $name);
	is_deeply([ $relay->violations ], [], "$name: the protocol is kept");
}

# ---- one alone

foreach my $rate ('50/s', undef)
{
	my $name  = defined $rate ? 'one alone, rated' : 'one alone';
	my $relay = Mailman::Relay->new(
		rules => [
			{
				step  => 'RCPT',
				match => '^r(?:7|17|27)@',
				first => 3,
				reply => '451 4.7.0 Not so fast'
			}
		])->start;
	my $server = 'relay' . ++$number;

	$node->relay(
		$server, $relay->url,
		connections => 1,
		(defined $rate ? (rate => $rate) : ()));
	my $newsletter =
	  $node->newsletter(relays => [$server], subscriptions => 40);
	my $letter = $node->letter($newsletter);
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), "$name: sent");
	is( $node->sql(
			'SELECT attempts, count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state = 'delivered'"
			  . ' GROUP BY attempts ORDER BY attempts'),
		"1|37\n2|3",
		"$name: it costs an attempt");
	is(status($server, 'slowed_at IS NULL'), 't', "$name: slows nothing");
	is(status($server, 'current_rate'),
		defined $rate ? '50' : '', "$name: as before");
	$node->assert_sums($letter, $name);
	$relay->stop;
}

# ---- how it recovers, by the clock of the view

$node->relay('rated', 'smtp://127.0.0.1:9', rate => '16/s');
$node->relay('free',  'smtp://127.0.0.1:9');

# The rate so many seconds after it was slowed down
sub rate_after
{
	my ($server, $slow, $from, $seconds) = @_;
	return $node->sql(
		"SELECT mailman.relay_rate(oid, $slow, $from,"
		  . " clock_timestamp() - interval '$seconds s')"
		  . " FROM pg_foreign_server WHERE srvname = '$server'");
}

# [ server, slow_rate, slow_from, seconds ago, expected or '' ]
foreach my $case (
	[ 'rated', 2,   16,   0,    2 ],
	[ 'rated', 2,   16,   60,   4 ],
	[ 'rated', 2,   16,   120,  8 ],
	[ 'rated', 2,   16,   181,  16 ],
	[ 'rated', 2,   16,   3600, 16 ],
	[ 'rated', 0.1, 16,   60,   0.2 ],
	[ 'rated', 9,   1000, 60,   16 ],
	[ 'free',  2,   16,   60,   4 ],
	[ 'free',  2,   16,   120,  8 ],
	[ 'free',  2,   16,   181,  '' ],
	[ 'free',  0.1, 0.1,  1,    '' ])
{
	my ($server, $slow, $from, $seconds, $expected) = @$case;
	my $name = "$server: $slow of $from/s $seconds s ago";
	my $rate = rate_after($server, $slow, $from, $seconds);

	if ($expected eq '')
	{
		is($rate, '', "$name: no limit");
		next;
	}

	# the statement takes its time, too
	cmp_ok($rate, '>=', $expected * 0.999, "$name: $rate");
	cmp_ok($rate, '<=', $expected * 1.2,   "$name: $rate");
}
is( $node->sql(
		'SELECT mailman.relay_rate(oid, NULL, NULL, NULL)'
		  . " FROM pg_foreign_server WHERE srvname = 'rated'"),
	'16', 'rated: never slowed down');

$node->stop;
$_->[0]->stop foreach values %run;
done_testing();
