
#-------------------------------------------------------------------------
#
# 023_lost_wakeups.pl
#	  A letter is finishing while somebody sends it to one more recipient.
#
# The moment is chosen anew each round: around the relay's answer, around the
# state "sent", around the end of the worker (whose habits are learnt by
# watching); and some transactions stay open for a moment.  A recipient that
# has not arrived after a minute is one left behind, and nobody may be; once
# with the dispatcher, and once without shared_preload_libraries, where there
# is nobody to find it later.
#
# ROUNDS=n asks for a number of rounds in all, else it takes as many as fit
# into 40 s, or a hundred.  SEED=n chooses the same moments.
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

my $lanes  = 12;
my $seed   = defined $ENV{SEED} ? $ENV{SEED} : int(rand(1_000_000));
my $rounds = defined $ENV{ROUNDS} ? int($ENV{ROUNDS} / 2) : 100_000;
my $limit  = defined $ENV{ROUNDS} ? 3600 : 18;
my $lost   = 60;
diag("SEED=$seed");

my ($node, $relay, @lane, @ends, @delays, $ended);

# Letters that are sent, and those that have a worker
sub look
{
	my ($sent, $working) = split(
		/\|/,
		$node->sql(
			"SELECT (SELECT string_agg(id::text, ' ') FROM mailman.letter"
			  . " WHERE state = 'sent'),"
			  . " (SELECT string_agg(application_name, ' ')"
			  . " FROM pg_stat_activity"
			  . " WHERE backend_type = 'mailman letter')"),
		-1);
	my %sent    = map { $_ => 1 } split(/ /, $sent);
	my %working = map { $_ => 1 } $working =~ /(\d+)/g;
	return (\%sent, \%working);
}

# The next thing a lane does; never waits
sub step
{
	my ($lane, $sent, $working) = @_;
	my ($session, $letter) = @{$lane}{qw(session letter)};
	my $now = time;

	if ($lane->{phase} eq 'post' && $now >= $lane->{at})
	{
		my $id = $lane->{ids}[ $lane->{sent}++ ];
		die 'out of recipients' unless defined $id;
		my $send = "SELECT mailman_send($letter, '{$id}')";
		my $open = rand() < 0.3 ? rand(0.008) : 0;
		$lane->{posted} = $now + $open;
		$session->start(
			$open
			? "BEGIN; $send; SELECT FROM pg_sleep($open); COMMIT"
			: $send);
		$lane->{phase} = 'posted';
	}
	elsif ($lane->{phase} eq 'posted' && $session->done)
	{
		die 'not queued' unless $session->result eq '1';
		$lane->{phase} = 'wait';
	}
	elsif ($lane->{phase} eq 'wait' && $lane->{arrived} == $lane->{sent})
	{
		# the relay has it: post the next now, when it is sent, or at the end
		$lane->{style} = int(rand(4));
		$lane->{phase} = 'finishing';
	}
	return unless $lane->{phase} eq 'finishing';

	if ($lane->{style} == 0)
	{
		post_at($lane, $now + rand(0.015));
	}
	elsif (!defined $lane->{sent_at})
	{
		return unless $sent->{$letter};
		$lane->{sent_at} = $now;
		post_at($lane, $now + rand(0.005)) if $lane->{style} == 1;
		post_at($lane,
			$now + $ends[ int(rand(@ends)) ] - 0.012 + rand(0.016))
		  if $lane->{style} == 2 && @ends;
	}
	elsif (!$working->{$letter} || $now - $lane->{sent_at} > 3)
	{
		if (!$working->{$letter})
		{
			push @ends, $now - $lane->{sent_at};
			$ended++;
		}
		shift @ends if @ends > 30;
		post_at($lane, $now + rand(0.003));
	}
	return;
}

sub post_at
{
	my ($lane, $at) = @_;
	@{$lane}{qw(phase at)} = ('post', $at);
	delete $lane->{sent_at};
	return;
}

# What has arrived at the relay
sub collect
{
	foreach my $message ($relay->new_messages)
	{
		my ($n) = $message->{to}[0] =~ /^l(\d+)\./;
		my $lane = $lane[ $n - 1 ];
		$lane->{arrived}++;
		push @delays, $message->{time} - $lane->{posted};
	}
	return;
}

sub make_lane
{
	my ($n) = @_;
	my $newsletter = $node->newsletter(relays => ['relay']);

	$node->subscribe($newsletter, 3000, pattern => "l$n.r%s\@example.com");
	return {
		letter => $node->letter($newsletter),
		ids    => [
			split(
				/\n/,
				$node->sql(
					"SELECT id FROM mailman.subscription"
					  . " WHERE newsletter_id = $newsletter ORDER BY id"))
		],
		session => $node->session,
		phase   => 'post',
		at      => 0,
		sent    => 0,
		arrived => 0
	};
}

sub play
{
	my ($name, %options) = @_;

	srand($seed);
	$relay = Mailman::Relay->new->start;
	$node  = Mailman::Cluster->create(
		$name, %options,
		conf => {
			max_worker_processes    => 24,
			'mailman.max_workers'   => 16,
			'mailman.poll_interval' => '10min'
		});
	$node->relay('relay', $relay->url, connections => 1);
	@lane = map { make_lane($_) } 1 .. $lanes;
	@ends = @delays = ();
	$ended = 0;

	my $start  = time;
	my $behind = 0;
	while (
		@delays + $lanes <= $rounds
		&& !$behind
		&& (time - $start < $limit
			|| ((@delays < 100 || !$ended) && time - $start < 10 * $limit)))
	{
		collect();
		my ($sent, $working) = look();
		foreach my $lane (@lane)
		{
			step($lane, $sent, $working);
			$behind++
			  if $lane->{sent} > $lane->{arrived}
			  && time - $lane->{posted} > $lost;
		}
		sleep 0.0005;
	}
	my $seconds = time - $start;

	# those under way
	my $until = time + $lost;
	while (time < $until && grep { $_->{sent} > $_->{arrived} } @lane)
	{
		collect();
		sleep 0.01;
	}
	$behind = grep { $_->{sent} > $_->{arrived} } @lane;
	$_->{session}->quit foreach @lane;
	my $done = @delays;
	@delays = sort { $a <=> $b } @delays;
	my $worst = $delays[-1];
	diag(
		sprintf '%s: %d rounds in %.0f s, arrived after %.0f ms (median), '
		  . '%.0f ms (worst), %d later than 0.5 s; '
		  . '%d ends of workers seen, %.1f s after "sent" (median)',
		$name, $done, $seconds, 1000 * $delays[ @delays / 2 ],
		1000 * $worst, scalar(grep { $_ > 0.5 } @delays),
		$ended, @ends ? (sort { $a <=> $b } @ends)[ @ends / 2 ] : -1);
	is($behind, 0, "$name: none of $done left behind");
	cmp_ok($done, '>=', defined $ENV{ROUNDS} ? $rounds - $lanes : 100,
		"$name: $done rounds");
	cmp_ok($ended, '>', 0, "$name: workers came to their end");
	foreach my $n (1 .. $lanes)
	{
		my $letter = $lane[ $n - 1 ]{letter};
		ok($node->wait_for_letter($letter, 'sent'),
			"$name: letter $n is sent in the end");
		$node->assert_sums($letter, "$name, letter $n");
		is($node->tally($letter)->{delivered},
			$lane[ $n - 1 ]{sent}, "$name: to everybody it was posted to");
	}
	is_deeply([ $relay->duplicates ], [], "$name: nobody twice");
	is_deeply([ $relay->violations ], [], "$name: nothing against SMTP");
	$node->stop;
	$relay->stop;
	return $done;
}

my $all = play('preload', preload => 1) + play('plain');
diag("$all rounds in all");
done_testing();
