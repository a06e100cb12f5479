
#-------------------------------------------------------------------------
#
# 013_drip.pl
#	  Relays that never answer: they say nothing, or never come to an end.
#
# Without anybody waiting a letter has all the time that its relay's timeouts
# give it.  But one that is paused, or whose place others need, ends: with one
# place the others wait about ten seconds, a pause takes no longer than the
# grace, and what is in doubt is on record.  No wait here is a measurement: each
# is far longer than a machine takes, and far shorter than the relay's timeout.
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

my @still = ('250-still thinking') x 120;
my %rules = (
	mute => [ { step => 'dot', silence => 1 } ],
	drip => [ { step => 'dot', reply => [@still], split => 0.5 } ],
	slow_greeting =>
	  [ { step => 'connect', reply => [ ('220-still') x 120 ], split => 0.5 } ]);
my $good  = Mailman::Relay->new->start;
my %relay = map { $_ => Mailman::Relay->new(rules => $rules{$_})->start }
  sort keys %rules;
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes      => 16,
		'mailman.max_workers'     => 1,
		'mailman.max_failed_runs' => 2
	});

$node->relay('good', $good->url, connections => 5);
$node->relay(
	$_, $relay{$_}->url,
	connections     => 5,
	connect_timeout => '10min') foreach sort keys %relay;
my %newsletter = map {
	$_ => $node->newsletter(relays => [$_], subscriptions => 50)
} 'good', sort keys %relay;
my @ids = split(
	/\n/,
	$node->sql('SELECT id FROM mailman.subscription'
		  . " WHERE newsletter_id = $newsletter{good} ORDER BY id LIMIT 3"));

sub of_letter
{
	my ($letter, $what) = @_;
	return $node->sql("SELECT $what FROM mailman.letter WHERE id = $letter");
}

# A letter whose sessions all wait for their relay
sub send_in_vain
{
	my ($name, %options) = @_;
	my $letter = $node->letter($newsletter{$name}, %options);

	$node->send($letter);
	ok( $relay{$name}->wait_for_status('active', $name =~ /greet/ ? 1 : 5),
		"$name: a letter on its way");
	return $letter;
}

# What is not answered is in doubt, and nothing else
sub check_doubt
{
	my ($letter, $most, $name) = @_;
	my $doubts = of_letter($letter, 'doubts');
	my $states = $node->states($letter);

	cmp_ok($doubts, '<=', $most, "$name: at most $most in doubt");
	cmp_ok($doubts, '>=', 1, "$name: and one or more") if $most > 0;
	is($states->{sending}, 0, "$name: none is left half done");
	is($states->{doubtful} + $states->{pending},
		50, "$name: the others may still have it");
	is( $node->sql(
			    "SELECT max(attempts) FROM mailman.delivery"
			  . " WHERE letter_id = $letter AND state = 'pending'"),
		'0', "$name: which has cost them nothing");
	$node->assert_sums($letter, $name);
	return;
}

foreach my $name (sort keys %relay)
{
	my $per_run = $name =~ /greet/ ? 0 : 5;

	# ---- others get the place

	my $letter = send_in_vain($name, on_doubt => 'hold');
	my $other  = $node->letter($newsletter{good});
	my $start  = time;
	$node->send($other, @ids);
	ok($node->wait_for_letter($other, 'sent'),
		"$name: another letter is sent by the only place there is");
	diag(sprintf '%s: the other letter was sent after %.1f s',
		$name, time - $start);

	# ---- it has its turn again, and nobody waits: it stays until told

	my $pid = $node->wait_for_worker($letter);
	ok($relay{$name}->wait_for_status('active', $per_run || 1),
		"$name: it goes on when there is room");
	$start = time;
	$node->sql("SELECT mailman_pause($letter)");
	ok($node->wait_for_no_worker($letter), "$name: paused, its worker goes");
	diag(sprintf '%s: gone %.1f s after the pause', $name, time - $start);
	check_doubt($letter, 2 * $per_run, "$name, paused");
	like(
		$node->sql(
			    "SELECT coalesce(min(reason), 'none') FROM mailman.delivery"
			  . " WHERE letter_id = $letter AND state = 'doubtful'"),
		$per_run ? qr/no reply to the final dot in time/ : qr/^none$/,
		"$name: with the reason");

	# ---- cancelled

	$node->sql("SELECT mailman_resume($letter)");
	ok($relay{$name}->wait_for_status('active', $per_run || 1),
		"$name: resumed");
	$start = time;
	$node->sql("SELECT mailman_cancel($letter)");
	ok($node->wait_for_no_worker($letter),
		"$name: cancelled, its worker goes");
	diag(sprintf '%s: gone %.1f s after the cancel', $name, time - $start);
	my $states = $node->states($letter);
	is($states->{doubtful} + $states->{skipped},
		50, "$name: cancelled for everybody else");
	$node->assert_sums($letter, "$name, cancelled");

	# ---- terminated

	$letter = send_in_vain($name, on_doubt => 'hold');
	$pid    = $node->wait_for_worker($letter);
	$start  = time;
	$node->sql("SELECT pg_terminate_backend($pid)");
	ok( $node->wait_for(
			"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0'),
		"$name: terminated, it goes");
	diag(sprintf '%s: gone %.1f s after pg_terminate_backend()',
		$name, time - $start);
	$node->sql("SELECT mailman_pause($letter)");
	ok($node->wait_for_no_worker($letter), "$name: and so does the next");
	check_doubt($letter, 2 * $per_run, "$name, terminated");
}
is_deeply([ $good->duplicates ], [], 'nobody twice');

# ---- a test copy keeps nobody waiting either

my $draft = $node->letter($newsletter{mute});
$node->sql("SELECT mailman_test($draft, 'me\@example.com')");
ok($relay{mute}->wait_for_status('active', 1), 'a test on its way');
my $other = $node->letter($newsletter{good});
$node->send($other, @ids);
ok($node->wait_for_letter($other, 'sent'), 'another letter gets its place');
is( $node->sql("SELECT state FROM mailman.test WHERE letter_id = $draft"),
	'doubtful', 'the test is in doubt');

# ---- nothing but doubt, again and again: a person must look

my @crowd =
  map { $node->letter($newsletter{mute}, on_doubt => 'hold') } 1 .. 2;
$node->send($_) foreach @crowd;
foreach my $letter (@crowd)
{
	ok($node->wait_for_letter($letter, 'paused'),
		'two such letters, one place: given up');
	my ($failed, $reason) =
	  split(/\|/, of_letter($letter, 'failed_runs, state_reason'));
	is($failed, 2, 'after mailman.max_failed_runs goes');
	like(
		$reason,
		qr/^2 workers in a row .* relay "mute" had not answered \d mails/,
		'with the reason');
	check_doubt($letter, 10, 'given up');
}

# ---- mended, all goes on

$_->set(rules => []) foreach values %relay;
$relay{mute}->reset_connections;
foreach my $letter (@crowd)
{
	my $held = $node->states($letter)->{doubtful};
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), 'mended and resumed: sent');
	is($node->states($letter)->{delivered} + $held, 50, 'to the rest');
	is(of_letter($letter, 'failed_runs'), '0', 'and forgiven');
}

# ---- a fast shutdown waits for the grace, not for the relay

$relay{drip}->set(rules => $rules{drip});
send_in_vain('drip');
my $start = time;
$node->stop('fast');
diag(sprintf 'fast shutdown after %.1f s', time - $start);
pass('fast shutdown');

is_deeply([ map { $_->violations } $good, values %relay ],
	[], 'nothing against the protocol');
$_->stop foreach $good, values %relay;
done_testing();
