
#-------------------------------------------------------------------------
#
# kill_rounds.pl
#	  Something is killed in the middle of a letter: 40 rounds.
#
#	TESTS=test/long/kill_rounds.pl test/run-tests
#
# Six minutes.  See Mailman::KillRound.  SEED=n replays a run, ROUNDS=n asks
# for another number of rounds.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::KillRound;

my $seed   = defined $ENV{SEED}   ? $ENV{SEED}   : int(rand(1_000_000));
my $number = defined $ENV{ROUNDS} ? $ENV{ROUNDS} : 40;
diag("SEED=$seed ROUNDS=$number");

my @plan   = Mailman::KillRound->plan_rounds($number, $seed);
my $rounds = Mailman::KillRound->new;
my ($sending, @done) = $rounds->run_all(@plan);
diag($rounds->line($_)) foreach @done;
cmp_ok($sending, '>=', $number * 2 / 3,
	"$sending rounds had rows that were sending");
foreach my $kind (@Mailman::KillRound::kinds)
{
	my @times = sort { $a <=> $b }
	  map { $_->{back} } grep { $_->{kind} eq $kind && $_->{back} } @done;
	diag(sprintf '%-10s back after %.1f s (median), %.1f s (worst)',
		$kind, $times[ @times / 2 ], $times[-1]) if @times;
}

$rounds->stop;
done_testing();
