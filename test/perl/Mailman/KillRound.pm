
#-------------------------------------------------------------------------
#
# Mailman::KillRound
#	  Kill something in the middle of a letter, and account for everybody.
#
#	my $rounds = Mailman::KillRound->new;
#	my $result = $rounds->run(
#		seed => 42, kind => 'worker', on_doubt => 'resend');
#	is_deeply($result->{problems}, [], $rounds->line($result));
#
# A round is one letter to 360 recipients through ten sessions of a relay that
# thinks 0.2 s about every mail, so that it takes 7 s (5 s, if many are held).  The seed chooses the
# moment of the blow, between the first and the last mail, and the turn size.
# Nobody helps the letter afterwards, save that a server that was stopped is
# started.  The oracle is the relay's log.
#
# Kinds:
#	worker		kill -9 of the letter's worker; the server restarts itself
#	postmaster	kill -9 of the postmaster; then start, as soon as it can be
#	immediate	pg_ctl stop -m immediate, and start
#	terminate	pg_terminate_backend() of the worker
#
# The server runs with synchronous_commit = off: a claim must be durable all
# the same.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::KillRound;

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

use constant RECIPIENTS => 360;
use constant SESSIONS   => 10;
use constant THINKS     => 0.2;

# how long it takes without a blow, at least
use constant TAKES => RECIPIENTS / SESSIONS * THINKS;

our @kinds    = qw(worker postmaster immediate terminate);
our @policies = qw(resend hold);

sub new
{
	my ($class) = @_;
	my $relay = Mailman::Relay->new(slow => THINKS)->start;
	my $node = Mailman::Cluster->create(
		'main',
		preload => 1,
		conf    => {
			restart_after_crash  => 'on',
			synchronous_commit   => 'off',
			max_worker_processes => 16
		});

	$node->relay('relay', $relay->url, connections => SESSIONS);
	return bless {
		relay      => $relay,
		node       => $node,
		newsletter => $node->newsletter(
			relays        => ['relay'],
			subscriptions => RECIPIENTS)
	}, $class;
}

# A list of {seed, kind, on_doubt}, every kind with every policy by turns
sub plan_rounds
{
	my ($class, $number, $seed) = @_;
	my @plan;

	srand($seed);
	my $shift = int(rand(@kinds));
	foreach my $n (0 .. $number - 1)
	{
		push @plan,
		  {
			seed     => int(rand(2**31)),
			kind     => $kinds[ ($n + $shift) % @kinds ],
			on_doubt => $policies[ ($n + int($n / @kinds)) % @policies ]
		  };
	}
	return @plan;
}

sub run
{
	my ($self, %round) = @_;
	my $node = $self->{node};

	srand($round{seed});
	my $share = 0.02 + 0.85 * rand;
	my @sizes = (20, 50, 100);
	%round = (
		%round,
		share    => $share,
		turn     => $sizes[ int(rand(@sizes)) ],
		from     => scalar($self->{relay}->messages),
		problems => []);
	$node->append_conf('postgresql.conf',
		"mailman.turn_size = $round{turn}");
	$node->reload;
	$node->wait_for('SHOW mailman.turn_size', $round{turn});
	$round{letter} =
	  $node->letter($self->{newsletter}, on_doubt => $round{on_doubt});
	$node->send($round{letter});
	if (!$self->_hit(\%round))
	{
		# it must not reach into the next one
		$node->wait_for_letter($round{letter}, 'sent');
		$node->wait_for_no_worker($round{letter});
		return \%round;
	}
	$node->patiently(sub { $self->_recover(\%round); });
	$self->_account(\%round);
	return \%round;
}

# Strike.  False if that was not in the middle: the round does not count.
sub _hit
{
	my ($self, $round) = @_;
	my ($node, $letter) = ($self->{node}, $round->{letter});
	my $start = time;

	while ($self->{relay}->status->{accepted} <= $round->{from})
	{
		return 0 if time - $start > 180;
		sleep 0.002;
	}
	sleep TAKES * $round->{share};
	my $pid = $node->wait_for_worker($letter, 5);
	return 0 unless defined $pid;
	@{$round}{qw(sending run)} = split(
		/\|/,
		$node->sql(
			    "SELECT mail_order->>'sending', run FROM mailman.letter"
			  . " WHERE id = $letter"));
	$round->{hit} = time;
	if ($round->{kind} eq 'worker')
	{
		return 0 unless kill('KILL', $pid);
	}
	elsif ($round->{kind} eq 'terminate')
	{
		return 0
		  unless $node->sql("SELECT pg_terminate_backend($pid)") eq 't';
	}
	elsif ($round->{kind} eq 'postmaster')
	{
		$node->kill9;
		my $took = $node->start_again;
		push @{ $round->{problems} }, 'the server could not be started again'
		  unless defined $took;
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	$round->{up} = time;
	return 1;
}

# Wait until the letter is done, by itself; the sums hold at every look
sub _recover
{
	my ($self, $round) = @_;
	my ($node, $letter) = ($self->{node}, $round->{letter});
	my $until = time + 180;
	my ($state, $run) = ('', $round->{run});

	while (time < $until)
	{
		my $wrong = $node->sql($node->sums_sql($letter));
		push @{ $round->{problems} }, "sums: $wrong" if $wrong ne '';
		($state, $run) = split(
			/\|/,
			$node->sql(
				"SELECT state, run FROM mailman.letter WHERE id = $letter"));
		$round->{back} = time - $round->{up}
		  if !defined $round->{back} && $run > $round->{run};
		last if $state eq 'sent';
		sleep 0.05;
	}
	if ($state ne 'sent')
	{
		push @{ $round->{problems} }, "still $state after 180 s";
		$node->explain_letter($letter);
	}
	push @{ $round->{problems} }, 'no other worker took it'
	  unless defined $round->{back};
	return;
}

# The relay's log against the tables.  Lost is who has no mail and is not held
# as doubtful.
sub _account
{
	my ($self, $round) = @_;
	my ($node, $letter) = ($self->{node}, $round->{letter});
	my @messages = $self->{relay}->messages;
	my $number   = RECIPIENTS;
	my (%times, %pairs);

	splice(@messages, 0, $round->{from});
	foreach my $message (@messages)
	{
		my $to = $message->{to}[0];
		$times{$to}++;
		$pairs{"$message->{message_id} $to"} = 1;
	}
	my %state = map { split(/\|/, $_) } split(
		/\n/,
		$node->sql(
			    "SELECT s.email, d.state FROM mailman.delivery d"
			  . " JOIN mailman.subscription s ON s.id = d.subscription_id"
			  . " WHERE d.letter_id = $letter"));
	my @unsent = grep { !$times{$_} } sort keys %state;
	my @lost = grep { $state{$_} ne 'doubtful' } @unsent;
	my $doubts =
	  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
	my $twice = 0;
	$twice += $_ - 1 foreach values %times;

	# in the middle?
	my $before = grep { $_->{time} < $round->{hit} } @messages;
	my $after  = grep { $_->{time} > $round->{hit} } @messages;
	$round->{seconds} = $messages[-1]{time} - $messages[0]{time};
	$round->{valid}   = $before > 0 && $after > 0 && $before < $number;

	$round->{before}    = $before;
	$round->{lost}      = @lost;
	$round->{duplicate} = $twice;
	$round->{doubts}    = $doubts;
	$round->{doubtful}  = grep { $_ eq 'doubtful' } values %state;

	my $must = sub {
		my ($condition, $text) = @_;
		push @{ $round->{problems} }, $text unless $condition;
	};
	$must->(keys %state == $number, keys(%state) . ' recipients');
	$must->(
		!(grep { !/^(?:delivered|doubtful)$/ } values %state),
		'states: ' . join(' ', sort values %state));
	$must->(
		keys %pairs == keys %times,
		'somebody got it under two Message-IDs');
	$must->(
		!(grep { $state{$_} eq 'delivered' } @unsent),
		'delivered, says the table, but not the relay');
	$must->(
		$doubts <= 2 * $round->{turn},
		"$doubts doubts, more than two turns of $round->{turn}");
	$must->(
		$twice <= $doubts,
		"$twice duplicates, only $doubts doubts on record");
	$must->(@lost == 0, "lost: @lost");
	if ($round->{on_doubt} eq 'resend')
	{
		$must->($round->{doubtful} == 0, "$round->{doubtful} held");
	}
	else
	{
		$must->($twice == 0, "$twice sent twice under hold");
		$must->(
			$round->{doubtful} == $doubts,
			"$round->{doubtful} doubtful, $doubts doubts");
	}
	if ($round->{kind} eq 'terminate')
	{
		$must->($doubts == 0, "$doubts doubts after a graceful stop");
	}
	else
	{
		# nothing can be recorded between the look and the blow but a turn
		$must->(
			$doubts > 0 || $round->{sending} == 0,
			"$round->{sending} rows were sending, and no doubt is recorded");
	}
	my $emails = $node->sql(
		    "SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter");
	$must->(
		$emails == grep({ $_ eq 'delivered' } values %state),
		"$emails rows in newsletter_email");
	$must->($round->{seconds} >= 5, "it took only $round->{seconds} s")
	  if $round->{valid};
	return;
}

# A round in words
sub line
{
	my ($self, $round) = @_;
	return sprintf('seed %d: %s, %s, turn %d: the moment never came',
		@{$round}{qw(seed kind on_doubt turn)})
	  unless defined $round->{before};
	return sprintf(
		'seed %d: %s, %s, turn %d: after %d mails, %d sending; '
		  . 'lost %d, duplicate %d, doubts %d, doubtful %d; '
		  . 'back %.1f s after %.1f s down%s',
		@{$round}{
			qw(seed kind on_doubt turn before sending lost duplicate doubts
			  doubtful)
		},
		defined $round->{back} ? $round->{back} : -1,
		$round->{up} - $round->{hit},
		$round->{valid} ? '' : ' (missed)');
}

# Run the plan; a test per round.  Rounds that missed are made up for.
sub run_all
{
	my ($self, @plan) = @_;
	my ($spare, $wanted) = (5 * @plan, scalar(@plan));
	my @done;

	while (my $round = shift @plan)
	{
		my $result = $self->run(%$round);
		is(join('; ', @{ $result->{problems} }), '', $self->line($result));
		if ($result->{valid})
		{
			push @done, $result;
			next;
		}
		last if $spare-- == 0;
		push @plan, { %$round, seed => $round->{seed} + 1 };
	}
	is(scalar(@done), $wanted, "$wanted rounds struck in the middle");
	is_deeply([ $self->{relay}->violations ],
		[], 'nothing against the protocol');
	my %sum = map { $_ => 0 } qw(lost duplicate doubts doubtful);
	foreach my $result (@done)
	{
		$sum{$_} += $result->{$_} foreach keys %sum;
	}
	my $sending = grep { $_->{sending} > 0 } @done;
	diag(
		sprintf '%d rounds, %d with rows sending: %s',
		scalar(@done), $sending,
		join(', ', map { "$_ $sum{$_}" } sort keys %sum));
	return ($sending, @done);
}

sub stop
{
	my ($self) = @_;
	$self->{node}->stop;
	$self->{relay}->stop;
	return;
}

1;
