
#-------------------------------------------------------------------------
#
# kills.pl
#	  Kill something while mails leave as fast as they can; count them.
#
# Test 020 kills at a relay that thinks about every mail.  Here nothing holds
# the worker up: as many mails as there can be are with the relay, and turns
# follow one another, when the blow falls.  The oracle is smtp-sink, which
# appends each mail to a file once its final dot has come.
#
#	worker		kill -9 of the letter's worker; the server restarts itself
#	postmaster	kill -9 of the postmaster; then start, as soon as it can be
#	immediate	pg_ctl stop -m immediate, and start
#	terminate	pg_terminate_backend() of the worker
#
# Each kind with each policy by turns.  Nobody may be lost: without a mail, and
# not held as doubtful.  Who has two is on record as doubt, and that is at most
# two turns' worth.
#
# ROUNDS: 12.  MAILS: 40000.  SEED replays a run's moments, more or less.
# Exits with 1 if an account does not come out.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;
use List::Util qw(sum);
use Time::HiRes qw(sleep time);

my $rounds = $ENV{ROUNDS} || 12;
my $mails  = $ENV{MAILS}  || 40_000;
my $seed   = defined $ENV{SEED} ? $ENV{SEED} : int(rand(1_000_000));
my @kinds  = qw(worker postmaster immediate terminate);

srand($seed);
$| = 1;
my $bench = Bench->new;
my $dump  = $bench->dir . '/mails';
my $sink  = $bench->sink(capture => $dump);
$bench->relay('relay', $sink->url, connections => 20);
my $newsletter = $bench->newsletter('relay', $mails);
my $turn       = $bench->one('SHOW mailman.turn_size');

# Strike, and have a server again
sub strike
{
	my ($kind, $letter) = @_;

	if ($kind eq 'worker')
	{
		kill 'KILL', $bench->worker($letter)->pid;
		my $until = time + 60;
		sleep 0.01
		  while time < $until && eval { $bench->db->do('SELECT'); 1 };
	}
	elsif ($kind eq 'terminate')
	{
		$bench->one('SELECT pg_terminate_backend(?)',
			$bench->worker($letter)->pid);
		return;
	}
	else
	{
		$bench->crash($kind);
	}
	$bench->connect_again;
	return;
}

# Who got how many, and whether somebody got it under two Message-IDs
sub read_mails
{
	my (%times, %ids);
	my $to = '';

	open(my $fh, '<', $dump) or return (\%times, 0);
	while (my $line = <$fh>)
	{
		if ($line =~ /^X-Rcpt-Args: <([^>]+)>/)
		{
			$times{ $to = $1 }++;
		}
		elsif ($line =~ /^Message-ID: (\S+)/)
		{
			$ids{"$to $1"} = 1;
		}
	}
	close($fh);
	unlink $dump;
	return (\%times, keys(%ids) - keys(%times));
}

# The sink's mails against the tables; what is wrong, in words
sub account
{
	my ($round) = @_;
	my ($times, $other_ids) = read_mails();
	my $rows = $bench->db->selectall_arrayref(
		q{SELECT s.email, d.state FROM mailman.delivery d
		JOIN mailman.subscription s ON s.id = d.subscription_id
		WHERE d.letter_id = ?}, undef, $round->{letter});
	my ($doubts, $tally, $runs) = $bench->db->selectrow_array(
		q{SELECT doubts, (mail_order->>'delivered')::int, run
		FROM mailman.letter WHERE id = ?}, undef, $round->{letter});
	my %state = map { @$_ } @$rows;
	my @wrong;
	my $must = sub { push @wrong, $_[1] unless $_[0]; return; };

	$round->{doubts} = $doubts;
	$round->{held}   = grep { $_ eq 'doubtful' } values %state;
	$round->{lost} =
	  grep { !$times->{$_} && $state{$_} ne 'doubtful' } keys %state;
	$round->{twice} = sum(0, map { $_ - 1 } values %$times);
	my $delivered = grep { $_ eq 'delivered' } values %state;

	$must->($runs > 1, 'the blow came when all was done');
	$must->($round->{lost} == 0, "$round->{lost} lost");
	$must->(keys %state == $mails, keys(%state) . ' recipients');
	$must->(
		$delivered + $round->{held} == $mails,
		"$delivered delivered, $round->{held} doubtful");
	$must->($tally == $delivered, "$tally delivered, says the tally");
	$must->($other_ids == 0, "$other_ids with another Message-ID");
	$must->(
		$round->{twice} <= $doubts,
		"$round->{twice} twice, $doubts doubts");
	$must->($doubts <= 2 * $turn, "$doubts doubts, turns of $turn");
	$must->(
		$round->{held} == ($round->{policy} eq 'hold' ? $doubts : 0),
		"$round->{held} held, $doubts doubts");
	$must->(
		$round->{kind} ne 'terminate' || $doubts == 0,
		"$doubts doubts after a graceful end");
	return @wrong;
}

sub run_round
{
	my (%round) = @_;
	my $letter = $round{letter} = $bench->letter($newsletter);
	my $before = $sink->count;
	my $when   = int($mails * (0.05 + 0.8 * rand));

	$bench->db->do('UPDATE mailman.letter SET on_doubt = ? WHERE id = ?',
		undef, $round{policy}, $letter);
	$bench->db->do('SELECT mailman_send(?)', undef, $letter);
	my $start = time;
	sleep 0.001 while $sink->count < $before + $when && time < $start + 120;
	my $struck = time;
	$round{after} = $sink->count - $before;
	strike($round{kind}, $letter);
	$round{down} = time - $struck;
	$round{rate} = $round{after} / ($struck - $start);
	$bench->wait_sent([$letter]);
	$round{took}  = time - $struck - $round{down};
	$round{wrong} = [ account(\%round) ];
	print @{ $round{wrong} } ? '!' : '.';
	return \%round;
}

machine($bench->db);
my @done;
foreach my $n (0 .. $rounds - 1)
{
	push @done,
	  run_round(
		kind   => $kinds[ $n % @kinds ],
		policy => int($n / @kinds) % 2 ? 'hold' : 'resend');
}
print "\n$rounds rounds of $mails mails, seed $seed\n\n";
table(
	[
		'blow', 'on_doubt', 'after mails', 'mails/s', 'lost', 'doubts',
		'sent twice', 'held', 's down', 's to the end'
	],
	map {
		[
			@{$_}{qw(kind policy after)}, sprintf('%.0f', $_->{rate}),
			@{$_}{qw(lost doubts twice held)}, sprintf('%.1f', $_->{down}),
			sprintf('%.1f', $_->{took})
		]
	} @done);
my @wrong = map { @{ $_->{wrong} } } @done;
print "wrong: $_\n" foreach @wrong;
exit(@wrong ? 1 : 0);
