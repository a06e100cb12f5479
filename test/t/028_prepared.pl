
#-------------------------------------------------------------------------
#
# 028_prepared.pl
#	  mailman_send() in a prepared transaction.
#
# ROLLBACK PREPARED sends nothing, COMMIT PREPARED sends, by itself; even if
# the server was restarted in between.
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

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_prepared_transactions => 10,
		max_worker_processes      => 16
	});
$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 20);

sub prepare
{
	my ($name, @letters) = @_;
	$node->sql('BEGIN');
	$node->send($_) foreach @letters;
	$node->sql("PREPARE TRANSACTION '$name'");
	return;
}

# ---- ROLLBACK PREPARED

my $letter = $node->letter($newsletter);
prepare('one', $letter);
ok( $node->stays(
		'SELECT (SELECT count(*) FROM mailman.delivery),'
		  . " (SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter')",
		'0|0', 2),
	'prepared: nothing happens');
$node->sql("ROLLBACK PREPARED 'one'");
ok( $node->stays(
		"SELECT state FROM mailman.letter WHERE id = $letter", 'draft', 3),
	'ROLLBACK PREPARED: nor then');
is($relay->status->{accepted}, 0, 'the relay has got nothing');
is($relay->status->{opened}, 0, 'nobody has even called it');

# ---- COMMIT PREPARED, ten times at moments that differ

my @seconds;
foreach my $round (1 .. 10)
{
	my $next = $node->letter($newsletter);
	prepare("round $round", $next);

	# somewhere between two looks of the dispatcher
	sleep 0.13 * $round;
	my $start = time;
	$node->sql("COMMIT PREPARED 'round $round'");
	ok($node->wait_for_letter($next, 'sent'),
		"COMMIT PREPARED $round: sent by itself");
	my ($first) = sort { $a <=> $b }
	  map { $_->{time} } ($relay->messages)[ -20 .. -1 ];
	push @seconds, $first - $start;
}
my ($worst) = sort { $b <=> $a } @seconds;
diag('COMMIT PREPARED, first mail after '
	  . join(', ', map { sprintf '%.1f s', $_ } @seconds));
cmp_ok($worst, '<', 20, 'within seconds');
is($relay->pairs, 200, 'to everybody');

# ---- several at once, one of them rolled back, a savepoint too

my @letters = map { $node->letter($newsletter) } 1 .. 4;
prepare('first',  $letters[0]);
prepare('second', $letters[1]);
$node->sql('BEGIN');
$node->send($letters[2]);
$node->sql('SAVEPOINT s');
$node->send($letters[3]);
$node->sql('ROLLBACK TO s');
$node->sql("PREPARE TRANSACTION 'third'");
$node->sql("ROLLBACK PREPARED 'first'");
$node->sql("COMMIT PREPARED 'second'");
ok($node->wait_for_letter($letters[1], 'sent'), 'the committed one');
$node->sql("COMMIT PREPARED 'third'");
ok($node->wait_for_letter($letters[2], 'sent'), 'the other one');
is($node->letter_state($letters[0]), 'draft', 'not the one rolled back');
is($node->letter_state($letters[3]), 'draft', 'nor the one to a savepoint');
is($relay->pairs, 240, 'to everybody');

# ---- the server is restarted in between, once by force

foreach my $mode (qw(fast immediate))
{
	my $next = $node->letter($newsletter);
	prepare("over $mode", $next);
	$node->stop($mode);
	$node->start;
	ok( $node->stays(
			"SELECT state FROM mailman.letter WHERE id = $next",
			'draft', 1.5),
		"restart ($mode): still only prepared");
	my $start = time;
	$node->sql("COMMIT PREPARED 'over $mode'");
	ok($node->wait_for_letter($next, 'sent'),
		"COMMIT PREPARED after it: sent by itself");
	cmp_ok(time - $start, '<', 30, sprintf 'after %.1f s', time - $start);
	$node->assert_sums($next, "after $mode");
}

# ---- no prepared transaction left: nobody keeps looking

ok( $node->wait_for(
		    "SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type IN ('mailman letter', 'mailman scout')",
		'0'),
	'quiet');
my $until  = time + 5;
my %seen;
while (time < $until)
{
	$seen{$_} = 1
	  foreach split(
		/\n/,
		$node->sql("SELECT pid FROM pg_stat_activity"
			  . " WHERE backend_type = 'mailman scout'"));
	sleep 0.003;
}
cmp_ok(scalar(keys %seen), '<=', 1,
	scalar(keys %seen) . ' scouts in 5 s when nothing is prepared');

is_deeply([ $relay->duplicates ], [], 'nobody twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
