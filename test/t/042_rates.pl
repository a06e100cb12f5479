
#-------------------------------------------------------------------------
#
# 042_rates.pl
#	  The rate of a relay, shared by letters and kept over crashes.
#
# The judge is the relay's log: sliding windows over the times at which it took
# the mails.  See Mailman::Rates; longer, and by the minute, it is
# test/long/rates.pl.
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
use Mailman::Rates qw(peak);
use Mailman::Relay;

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash      => 'on',
		max_worker_processes     => 24,
		'mailman.max_workers'    => 8,
		'mailman.poll_interval'  => '200ms',
		'mailman.retry_schedule' => '1s'
	});

# ---- two letters, a kill -9 and a restart

my $relay = Mailman::Relay->new->start;
$node->relay('relay', $relay->url, connections => 4, rate => '20/s');
Mailman::Rates->ok_rounds(
	$node, $relay,
	server   => 'relay',
	rate     => 20,
	seconds  => 1,
	sessions => 4,
	number   => 320);
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

# ---- a rate of so many an hour

sub current_rate
{
	my ($name) = @_;
	return $node->sql('SELECT current_rate FROM mailman.relay_status'
		  . " WHERE relay = '$name'");
}

sub accepted
{
	my ($from) = @_;
	return $from->status->{accepted};
}

my $hourly = Mailman::Relay->new->start;
$node->relay('hourly', $hourly->url, connections => 2, rate => '10/h');
my $newsletter =
  $node->newsletter(relays => ['hourly'], subscriptions => 200);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($hourly->wait_for_messages(1), '10/h: the first leaves at once');
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", '1'),
	'10/h: it is recorded');
ok( $node->stays(
		"SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND state = 'sending'", '0', 3),
	'10/h: the second is not claimed');
is(accepted($hourly), 1, '10/h: nor sent');
cmp_ok(abs(current_rate('hourly') - 10 / 3600),
	'<', 1e-9, '10/h: the view says so');
$node->assert_sums($letter, '10/h');

# ---- another rate while it sends

# So many mails and seconds from now on, by the log
sub measure
{
	my ($from, $seconds) = @_;
	my $start = time;

	sleep 0.1 while time - $start < $seconds;
	my $now = time;
	my @times = grep { $_ >= $start && $_ < $now }
	  map { $_->{time} } $from->messages;
	return (scalar(@times), $now - $start, peak(1, @times));
}

sub set_rate
{
	my ($name, $rate) = @_;
	$node->sql("ALTER SERVER $name OPTIONS (SET rate '$rate')");
	return;
}

set_rate('hourly', '20/s');
my $start = time;
ok($hourly->wait_for_messages(5, 60), '20/s: goes on');
my $seconds = time - $start;
diag(sprintf 'faster: after %.1f s', $seconds);
cmp_ok($seconds, '<', 60, '20/s: in seconds, not when 10/h would have');
is(current_rate('hourly'), '20', '20/s: the view says so');
ok($hourly->wait_for_messages(30), '20/s: goes on');

set_rate('hourly', '2/s');
is(current_rate('hourly'), '2', '2/s: the view says so');

# a few times as long as a worker needs to notice
sleep 3;
my ($mails, $took, $peak) = measure($hourly, 4);
diag(sprintf 'slower: %d mails in %.1f s', $mails, $took);
cmp_ok($mails, '<=', 1.1 * 2 * $took + 2, '2/s: no more than that');
cmp_ok($peak,  '<=', 1.1 * 2 + 2,         '2/s: in no second');
cmp_ok($mails, '>=', 1,                   '2/s: but some');
$node->assert_sums($letter, '2/s');
set_rate('hourly', '100/s');
ok($node->wait_for_letter($letter, 'sent'), '100/s: sent');
my $last = ($hourly->messages)[-1]{time};
is(scalar(grep { $_->{time} < $last } $hourly->events('close')),
	0, 'no session was torn down for it');
is($hourly->pairs, 200, 'to everybody');
is(scalar($hourly->duplicates), 0, 'once');
is_deeply([ $hourly->violations ], [], 'nothing against the protocol');

# ---- a relay that stood still gets no more afterwards

my $stopping = Mailman::Relay->new->start;
$node->relay('stopping', $stopping->url, connections => 4, rate => '20/s');
$newsletter = $node->newsletter(relays => ['stopping'], subscriptions => 120);
$letter = $node->letter($newsletter);
$stopping->gate(20);
$node->send($letter);
ok($stopping->wait_for_held(4), 'it stands still');
sleep 3;
$stopping->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'it goes on');
$peak = peak(1, map { $_->{time} } $stopping->messages);
diag("after a stop: $peak in a second");
# the relay writes down when it has read a mail, which may be late by two
cmp_ok($peak, '<=', 1.1 * 20 + 4 + 2, 'no more than its rate then');
is($stopping->pairs, 120, 'to everybody');

# ---- relays and domains, four workers

my @two = map { Mailman::Relay->new->start } 1 .. 2;
$node->relay(
	"equal$_", $two[ $_ - 1 ]->url,
	connections => 4,
	rate        => '30/s',
	weight      => 1) foreach 1 .. 2;
$node->sql(q{
	INSERT INTO mailman.domain_limit (pattern, rate, connections)
	VALUES ('one.example.com', '10/s', NULL), ('*.two.example.com', '10/s', 2)
});
my $log = $node->log_position;
my @letters;
foreach my $number (1 .. 4)
{
	$newsletter = $node->newsletter(relays => [ 'equal1', 'equal2' ]);
	foreach my $i (1 .. 10)
	{
		$node->subscribe($newsletter, 2, pattern => 'r%s@one.example.com');
		$node->subscribe($newsletter, 2, pattern => 'r%s@x.two.example.com');
		$node->subscribe($newsletter, 8, pattern => 'r%s@example.com');
	}
	push @letters, $node->letter($newsletter);
}
$node->send($_) foreach @letters;
foreach my $letter (@letters)
{
	ok($node->wait_for_letter($letter, 'sent'), 'four letters: sent');
	is($node->states($letter)->{delivered}, 120, 'four letters: to everybody');
	$node->assert_sums($letter, 'four letters');
}
is( $node->sql(
		'SELECT sum(deadlocks) FROM pg_stat_database'),
	'0', 'four letters: no deadlock');
is_deeply([ $node->log_lines('deadlock', $log) ],
	[], 'four letters: nor in the log');
my @all = map { $_->messages } @two;
is(scalar(@all), 480, 'four letters: once');
foreach my $i (0, 1)
{
	my @times = map { $_->{time} } $two[$i]->messages;
	$peak = peak(1, @times);
	diag(scalar(@times) . " through relay $i, $peak in a second");
	cmp_ok($peak, '<=', 1.1 * 30 + 4, "four letters: the rate of relay $i");
	cmp_ok(scalar(@times), '>=', 50, "four letters: relay $i is used");
}
# what is late may wait for any of the eight sessions
foreach my $domain ('one.example.com', 'x.two.example.com')
{
	my @times =
	  map { $_->{time} } grep { $_->{to}[0] =~ /\@\Q$domain\E$/ } @all;
	$peak = peak(1, @times);
	diag(scalar(@times) . " to $domain, $peak in a second");
	cmp_ok($peak, '<=', 1.1 * 10 + 8,
		"four letters: the limit of $domain");
	is(scalar(@times), 80, "four letters: all of $domain");
}
$node->sql('DELETE FROM mailman.domain_limit');

# ---- the first days of a relay

# The day that many days from today, by UTC
sub day
{
	my ($days) = @_;
	return $node->sql(
		"SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date + $days");
}

my $new = Mailman::Relay->new->start;
$node->relay(
	'new', $new->url,
	connections   => 2,
	warm_up       => '5/s, 10/s, 10/s',
	warm_up_start => day(5));
foreach my $case ([ -1, 10, 'its second day' ], [ 1, 5, 'before its first day' ])
{
	my ($days, $rate, $name) = @$case;
	my $had = $new->pairs;

	$node->sql("ALTER SERVER new OPTIONS (SET warm_up_start '"
		  . day($days)
		  . "')");
	is(current_rate('new'), $rate, "warm-up, $name: $rate/s");
	$newsletter = $node->newsletter(relays => ['new'], subscriptions => 25);
	$letter     = $node->letter($newsletter);
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), "warm-up, $name: sent");
	my @times = map { $_->{time} } splice(@{ [ $new->messages ] }, $had);
	$peak = peak(1, @times);
	diag("warm-up, $name: $peak in a second");
	cmp_ok($peak, '<=', 1.1 * $rate + 2, "warm-up, $name: kept");
	is(scalar(@times), 25, "warm-up, $name: to everybody");
}

$node->stop;
$_->stop foreach $relay, $hourly, $stopping, @two, $new;
done_testing();
