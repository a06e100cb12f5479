
#-------------------------------------------------------------------------
#
# Mailman::Rates
#	  Was a rate kept?  By the log of the relay.
#
#	my $peak = peak(1, map { $_->{time} } $relay->messages);
#	my $round = Mailman::Rates->run($node, $relay,
#		relay => 'relay', rate => 20, seconds => 1, number => 400);
#	is_deeply($round->{problems}, [], 'kept');
#
# A round sends two letters at once through a relay with a rate, kills a worker
# of theirs with signal 9 when a third is sent, and restarts the server when
# two thirds are.  In no sliding window of the rate's unit may the relay have
# taken more than 1.1 times the rate and one mail per session.  That holds
# whatever the machine does.  The least that must have left, 90 %, does not: so
# it is asked only of the time outside the two gaps, and neither of the time in
# which the machine did not even let this process look every second.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Rates;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(peak overlap);

# Nothing is a measurement but the log
use constant PATIENCE => $ENV{PATIENCE} || 180;

# Our look takes longer: the machine stands still
use constant STALL => 1;

# How soon after a blow the last mails of before come in
use constant SETTLES => 10;

# The most events in any window of so many seconds
sub peak
{
	my ($seconds, @times) = @_;
	my $first = 0;
	my $most  = 0;

	@times = sort { $a <=> $b } @times;
	foreach my $last (0 .. $#times)
	{
		$first++ while $times[$first] <= $times[$last] - $seconds;
		$most = $last - $first + 1 if $last - $first + 1 > $most;
	}
	return $most;
}

# How long the two intervals [from, to] have in common
sub overlap
{
	my ($a, $b) = @_;
	my $from = $a->[0] > $b->[0] ? $a->[0] : $b->[0];
	my $to   = $a->[1] < $b->[1] ? $a->[1] : $b->[1];
	return $to > $from ? $to - $from : 0;
}

# ---- a round

# Look every 50 ms until it is so; remember when that took far too long
sub _watch
{
	my ($self, $name, $is_so) = @_;
	my $until = time + PATIENCE + $self->{takes};

	while (1)
	{
		my $before = time;
		return 1 if $is_so->();
		die "waited in vain: $name\n" if $before > $until;
		sleep 0.05;
		push @{ $self->{stalls} }, [ $before, time ]
		  if time - $before > STALL;
	}
}

sub _wait_for_mails
{
	my ($self, $number) = @_;
	return $self->_watch(
		"$number mails",
		sub {
			return $self->{relay}->status->{accepted} - $self->{before} >=
			  $number;
		});
}

sub _kill
{
	my ($self) = @_;
	my $node   = $self->{node};
	my $from   = $node->log_position;
	my ($pid)  = $node->workers($self->{letters}[0]);

	die "there is no worker to kill\n" unless defined $pid;
	push @{ $self->{blows} }, time;
	kill 'KILL', $pid;
	$node->wait_for_log('all server processes terminated; reinit', $from)
	  or die "the server did not notice\n";
	return;
}

sub _restart
{
	my ($self) = @_;
	push @{ $self->{blows} }, time;
	$self->{node}->restart;
	return;
}

sub _send
{
	my ($self) = @_;
	my $node   = $self->{node};
	my $third  = int($self->{number} / 3);

	$node->send($_) foreach @{ $self->{letters} };
	$self->_wait_for_mails($third);
	$self->_kill;
	$self->_wait_for_mails(2 * $third);
	$self->_restart;
	$node->patiently(
		sub {
			foreach my $letter (@{ $self->{letters} })
			{
				$self->_watch("letter $letter",
					sub { return $node->letter_state($letter) eq 'sent' });
			}
		});
	return;
}

# ---- what the log says

# The longest silence that begins about when the blow fell: [last, first]
sub _gap
{
	my ($blow, @times) = @_;
	my $longest;

	foreach my $i (0 .. $#times - 1)
	{
		next
		  if $times[ $i + 1 ] < $blow
		  || $times[$i] > $blow + SETTLES;
		$longest = [ @times[ $i, $i + 1 ] ]
		  if !$longest
		  || $times[ $i + 1 ] - $times[$i] > $longest->[1] - $longest->[0];
	}
	return $longest;
}

# Mails per second outside of the gaps, and not counting stalls
sub _speed
{
	my ($self, @times) = @_;
	my ($mails, $seconds, $stalled) = (0, 0, 0);
	my @gaps = map { _gap($_, @times) } @{ $self->{blows} };
	my $from = $times[0];

	foreach my $gap (@gaps, [ $times[-1], undef ])
	{
		my $to    = $gap->[0];
		my $stall = 0;

		$stall += overlap($_, [ $from, $to ]) foreach @{ $self->{stalls} };
		$mails += (grep { $_ >= $from && $_ <= $to } @times) - 1;
		$seconds += $to - $from - $stall;
		$stalled += $stall;
		$from = $gap->[1];
	}
	$self->{told} = join(
		', ',
		sprintf('%.1f s', $seconds),
		(map { sprintf('down for %.1f s', $_->[1] - $_->[0]) } @gaps),
		($stalled > 0 ? sprintf('stalled for %.1f s', $stalled) : ()));
	return $mails / $seconds;
}

# The smaller part of the two letters while both were being sent, before the
# first blow
sub _smaller_part
{
	my ($self, @messages) = @_;
	my %began;
	my @both;
	my %count = (a => 0, b => 0);

	foreach my $message (grep { $_->{time} < $self->{blows}[0] } @messages)
	{
		my $letter = substr($message->{to}[0], 0, 1);
		$began{$letter} = 1;
		push @both, $letter if keys %began == 2;
	}
	return 0 unless @both;
	$count{$_}++ foreach @both;
	return ($count{a} < $count{b} ? $count{a} : $count{b}) / @both;
}

sub _judge
{
	my ($self) = @_;
	my @messages = splice(@{ [ $self->{relay}->messages ] }, $self->{before});
	my @times    = sort { $a <=> $b } map { $_->{time} } @messages;
	my $rate     = $self->{rate} / $self->{seconds};
	my $most     = 1.1 * $self->{rate} + $self->{sessions};

	$self->{peak}  = peak($self->{seconds}, @times);
	$self->{speed} = $self->_speed(@times);
	$self->{part}  = $self->_smaller_part(@messages);
	push @{ $self->{problems} },
	  "$self->{peak} in a window, $most at most"
	  if $self->{peak} > $most;
	push @{ $self->{slow} }, sprintf('%.2f/s of %.2f/s', $self->{speed}, $rate)
	  if $self->{speed} < 0.9 * $rate;
	push @{ $self->{problems} },
	  sprintf('one letter had %.0f %% only', 100 * $self->{part})
	  if $self->{part} < 0.25;
	foreach my $letter (@{ $self->{letters} })
	{
		my $delivered = $self->{node}->states($letter)->{delivered};
		push @{ $self->{problems} }, "letter $letter: $delivered delivered"
		  if $delivered != $self->{number} / 2;
		my $wrong = $self->{node}->sql($self->{node}->sums_sql($letter));
		push @{ $self->{problems} }, "letter $letter: $wrong" if $wrong ne '';
	}
	return $self;
}

# One round, see above.  rate mails in seconds are the relay's; sessions its
# connections; number the mails of both letters together.  {problems} is empty
# if all was well, {slow} if 90 % of the rate were reached.
sub run
{
	my ($class, $node, $relay, %options) = @_;
	my $self = bless {
		%options,
		node     => $node,
		relay    => $relay,
		before   => $relay->status->{accepted},
		takes    => $options{number} * $options{seconds} / $options{rate},
		letters  => [],
		stalls   => [],
		blows    => [],
		problems => [],
		slow     => []
	}, $class;

	foreach my $name ('a', 'b')
	{
		my $newsletter = $node->newsletter(
			relays        => [ $options{server} ],
			subscriptions => $options{number} / 2,
			pattern       => "$name%s\@example.com");
		push @{ $self->{letters} }, $node->letter($newsletter);
	}
	$self->_send;
	return $self->_judge;
}

# A line about it
sub line
{
	my ($self) = @_;
	return sprintf(
		'%d in %d s: at most %d in a window, %.2f/s; smaller part %.0f %%; %s',
		@{$self}{qw(rate seconds peak speed)},
		100 * $self->{part},
		$self->{told});
}

# Tests: a round, and another if it was only slow
sub ok_rounds
{
	my ($class, $node, $relay, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $round;

	foreach my $try (1, 2)
	{
		$round = $class->run($node, $relay, %options);
		diag($round->line);
		is_deeply($round->{problems}, [], "round $try: the rate is kept");
		last unless @{ $round->{slow} };
	}
	is_deeply($round->{slow}, [], 'and used');
	return $round;
}

1;
