
#-------------------------------------------------------------------------
#
# 020_crash.pl
#	  The server dies in the middle of a letter.
#
# Once its worker is killed, once the whole server is stopped at once.  What
# the tables say must be enough to go on: everybody is delivered, and what is
# sent twice (on_doubt = resend) or not at all (hold) was in doubt, is counted
# as such, and is no more than two turns.
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

my $number = 300;
my $turn   = 10;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	conf => {
		restart_after_crash      => 'on',
		'mailman.turn_size'      => $turn,
		'mailman.retry_schedule' => '1s'
	});

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# How often the server began anew by itself
sub crashes
{
	return scalar(() =
		  slurp_file($node->logfile) =~ /server processes terminated; reinit/g);
}

# Wait for the server to be back after so many crashes
sub wait_for_server
{
	my ($crashes) = @_;
	my $until = time + 180;
	while (time < $until)
	{
		if (crashes() < $crashes)
		{
			sleep 0.01;
			next;
		}

		# the kept session is gone; a new one may come too early
		delete $node->{mailman_session};
		my $now = eval { $node->sql('SELECT pg_is_in_recovery()') };
		return 1 if defined $now && $now eq 'f';
		sleep 0.05;
	}
	return 0;
}

foreach my $on_doubt ('resend', 'hold')
{
	foreach my $how ('worker killed', 'server stopped')
	{
		my $name   = "$how, $on_doubt";
		my $letter = $node->letter($newsletter, on_doubt => $on_doubt);
		my $before = $relay->pairs;
		my $twice  = $relay->duplicates;

		$relay->gate(60);
		$node->send($letter);
		ok($relay->wait_for_held(4), "$name: on its way");
		if ($how eq 'worker killed')
		{
			my ($worker) = $node->workers($letter);
			my $crashes = crashes();
			kill 'KILL', $worker;
			ok(wait_for_server($crashes + 1), "$name: the server comes back");
		}
		else
		{
			$node->stop('immediate');
			$node->start;
			ok(wait_for_server(0), "$name: the server is started again");
		}
		my $open = $node->states($letter);
		$node->assert_sums($letter, "$name: as it was left");
		cmp_ok($open->{sending}, '<=', 2 * $turn,
			"$name: at most two turns were on their way");
		cmp_ok($open->{sending}, '>=', 4, "$name: and those in flight were");
		cmp_ok($open->{delivered}, '<', $number, "$name: in the middle");
		cmp_ok($open->{delivered}, '<=', $relay->pairs - $before,
			"$name: nothing is recorded that did not happen");
		$relay->open_gate;
		ok($relay->wait_for_silence, "$name: the relay took what it had");
		$node->sql("SELECT mailman_resume($letter)");
		ok($node->wait_for_letter($letter, 'sent'), "$name: it goes on");
		$node->assert_sums($letter, "$name: at the end");

		my $doubts = $node->sql(
			"SELECT doubts FROM mailman.letter WHERE id = $letter");
		my $surplus = $relay->duplicates - $twice;
		my $states  = $node->states($letter);
		is($doubts, $open->{sending}, "$name: what was on its way is doubt");
		if ($on_doubt eq 'resend')
		{
			is($states->{delivered}, $number, "$name: everybody delivered");
			is($relay->pairs - $before, $number,
				"$name: with one Message-ID each");
			cmp_ok($surplus, '<=', $doubts,
				"$name: $surplus twice, of $doubts in doubt");
		}
		else
		{
			is($states->{doubtful}, $doubts, "$name: doubts are held");
			is($states->{delivered}, $number - $doubts,
				"$name: all others delivered");
			is($surplus, 0, "$name: nobody twice");
		}
	}
}
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$node->stop;
$relay->stop;
done_testing();
