
#-------------------------------------------------------------------------
#
# 020_kill_rounds.pl
#	  Something is killed in the middle of a letter: a few rounds.
#
# See Mailman::KillRound; the full number is test/long/kill_rounds.pl.
# SEED=n replays a run.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::KillRound;

my $seed = defined $ENV{SEED} ? $ENV{SEED} : int(rand(1_000_000));
diag("SEED=$seed");

my @plan   = Mailman::KillRound->plan_rounds(4, $seed);
my $rounds = Mailman::KillRound->new;
my ($sending) = $rounds->run_all(@plan);
cmp_ok($sending, '>=', 3, "$sending rounds had rows that were sending");

$rounds->stop;
done_testing();
