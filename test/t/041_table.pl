
#-------------------------------------------------------------------------
#
# 041_table.pl
#	  The table of outcomes, row by row.
#
# Whose fault was it, what is done about it, and what does it cost the
# recipient: one subtest for each row, by the row's own words.  Single faults
# at every step are in 040_matrix.pl.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $patience = 150;
my $node     = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes     => 30,
		restart_after_crash      => 'on',
		'mailman.max_workers'    => 20,
		'mailman.retry_schedule' => '1s, 3s'
	});

my $number = 0;
my @relays;

# A server of ours that speaks so, as a relay; (Mailman::Relay, name)
sub relay
{
	my ($server, %options) = @_;
	my $relay = Mailman::Relay->new(%$server)->start;
	my $name  = 'relay' . ++$number;

	push @relays, $relay;
	if ($relay->ca_file && !exists $options{tls})
	{
		$options{tls}     = 'require';
		$options{ca_file} = $relay->ca_file;
	}
	$node->relay($name, $relay->url('localhost'), connections => 1, %options);
	return ($relay, $name);
}

# A letter to so many (5), being sent; (letter, newsletter)
sub post
{
	my ($relays, %options) = @_;
	my $on_doubt   = delete $options{on_doubt} || 'resend';
	my $newsletter = $node->newsletter(
		subscriptions => 5,
		%options,
		relays => ref $relays ? $relays : [$relays]);
	my $letter = $node->letter($newsletter, on_doubt => $on_doubt);

	$node->send($letter);
	return ($letter, $newsletter);
}

sub sent
{
	my ($letter) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($node->wait_for_letter($letter, 'sent', $patience),
		'the letter is sent');
	$node->assert_sums($letter, 'at the end');
	return;
}

# state|attempts|code|enhanced of recipient number n
sub delivery
{
	my ($letter, $n, $columns) = @_;
	$columns = 'state, attempts, code, enhanced' unless defined $columns;
	return $node->sql("SELECT $columns FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND subscription_id ="
		  . " (SELECT s.id FROM mailman.subscription s"
		  . " JOIN mailman.letter l USING (newsletter_id)"
		  . " WHERE l.id = $letter AND s.email LIKE 'r$n\@%')");
}

# How many were delivered, through whom, and at which attempt at the latest
sub delivered
{
	my ($letter) = @_;
	return $node->sql(
		    "SELECT count(*), string_agg(DISTINCT relay, ','), max(attempts)"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter");
}

sub reason
{
	my ($letter) = @_;
	return $node->sql(
		"SELECT state_reason FROM mailman.letter WHERE id = $letter");
}

# Paused, in these words and at nobody's cost
sub paused
{
	my ($letter, $words) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($node->wait_for_letter($letter, 'paused', $patience),
		'the letter is paused');
	like(reason($letter), $words, 'with the reason');
	is( $node->sql(
			"SELECT count(*), max(attempts), max(doubts) FROM mailman.delivery"
			  . " WHERE letter_id = $letter AND state IN ('pending', 'deferred')"
		),
		'5|0|0',
		'nobody has lost anything');
	$node->assert_sums($letter, 'paused');
	return;
}

# How often the server did as the rules say, at that step
sub fired
{
	my ($relay, $step) = @_;
	return scalar(grep { $_->{step} eq $step } $relay->events('rule'));
}

sub log_of
{
	my ($letter) = @_;
	return join("\n", $node->log_lines(qr/letter $letter: relay/));
}

# ----

subtest 'resolve, connect, TLS, greeting, EHLO: the relay' => sub {
	my $bound = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		Proto     => 'tcp') or die "no free port: $@";
	my (undef, $good) = relay({});

	$node->relay(
		'no_name', 'smtp://no-such-host.invalid',
		connect_timeout => '5s');
	$node->relay('refused', 'smtp://127.0.0.1:' . $bound->sockport);
	my %bad = (
		resolve => [ undef, 'no_name', qr/not resolve|no connection/ ],
		connect => [ undef, 'refused', qr/connect failed/ ],
		TLS     => [ relay({}, tls => 'require'), qr/TLS/ ],
		'TLS, certificate' => [
			relay({ tls => 1, starttls => 1 }, tls => 'require'),
			qr/TLS/
		],
		greeting => [
			relay(
				{ rules => [ { step => 'connect', reply => '554 No' } ] }),
			qr/greeting: 554 No/
		],
		EHLO => [
			relay({ rules => [ { step => 'EHLO', reply => '550 No' } ] }),
			qr/EHLO: 550 No/
		]);
	my %letter;

	# the next relay takes over, and nobody loses an attempt
	foreach my $what (sort keys %bad)
	{
		($letter{$what}) = post([ $bad{$what}[1], $good ]);
	}
	foreach my $what (sort keys %bad)
	{
		my ($relay, undef, $words) = @{ $bad{$what} };

		ok($node->wait_for_letter($letter{$what}, 'sent', $patience),
			"$what: sent");
		is(delivered($letter{$what}), "5|$good|1",
			"$what: by the next relay, at the first attempt");
		like(log_of($letter{$what}), $words, "$what: and the log says why");
		is(scalar $relay->messages, 0, "$what: nothing by the bad one")
		  if $relay;
		$node->assert_sums($letter{$what}, $what);
	}

	# nobody else is there: it is left alone for longer and longer
	my ($busy, $name) = relay(
		{ rules => [ { step => 'connect', reply => '421 4.3.2 Busy' } ] });
	my ($letter) = post($name);
	ok( $node->stays(
			    "SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND attempts > 0", '0', 4),
		'alone: no attempt is lost');
	cmp_ok(fired($busy, 'connect'), '>=', 1, 'alone: it was tried');
	my @times = map { $_->{time} } $busy->events('open');
	cmp_ok($times[1] - $times[0], '>=', 0.7, 'alone: after about a second')
	  if @times > 1;
	cmp_ok($times[2] - $times[1], '>=', 1.5, 'alone: then two')
	  if @times > 2;
	$busy->set(rules => []);
	sent($letter);
	is(delivered($letter), "5|$name|1", 'alone: all at the first attempt');
};

subtest 'AUTH 535, AUTH not offered: the relay, for good' => sub {
	my %login = (username => 'news', password => 'wrong');
	my ($strict, $name) = relay(
		{ auth => ['PLAIN'], user => 'news', password => 'right' }, %login);
	my ($plain, $none) = relay({}, %login);
	my (undef, $good) = relay({});
	my ($first)  = post($name);
	my ($second) = post($none);
	my ($third)  = post([ $name, $none, $good ]);

	paused($first, qr/"$name": AUTH: 535 5\.7\.8/);
	paused($second, qr/"$none": AUTH: .*not offered/);
	sent($third);
	is(delivered($third), "5|$good|1", 'another one left: it is used');
	is(scalar($strict->messages) + $plain->messages,
		0, 'nothing was sent without it');
};

subtest 'MAIL 4xx or 421 on a session that has carried mail' => sub {
	foreach my $reply ('451 4.3.0 Enough', '421 4.7.0 Enough')
	{
		my ($relay, $name) = relay(
			{ rules => [ { step => 'MAIL', after => 2, reply => $reply } ] });
		my ($letter) = post($name);

		sent($letter);
		is(delivered($letter), "5|$name|1", "$reply: at nobody's cost");
		is($relay->connections_opened, 3, "$reply: a fresh session");
		is(log_of($letter), '', "$reply: the relay is not to blame");
	}
};

subtest 'MAIL 4xx on a fresh session: the relay' => sub {
	my ($relay, $name) = relay(
		{
			rules =>
			  [ { step => 'MAIL', first => 2, reply => '451 4.3.0 Not now' } ]
		});
	my ($letter) = post($name);

	sent($letter);
	is(delivered($letter), "5|$name|1", 'at nobody\'s cost');
	like(log_of($letter), qr/MAIL: 451 4\.3\.0 Not now/, 'backed off');
	my @times = map { $_->{time} } $relay->events('open');
	is(scalar @times, 3, 'three sessions');
	cmp_ok($times[1] - $times[0], '>=', 0.7, 'after about a second');
	cmp_ok($times[2] - $times[1], '>=', 1.5, 'then two');
};

subtest 'MAIL 5xx: the letter' => sub {
	my $reply = '550 5.7.1 Not from you';
	my ($relay, $name) =
	  relay({ rules => [ { step => 'MAIL', reply => $reply } ] });
	my ($letter) = post($name);

	paused($letter, qr/"$name": MAIL: 550 5\.7\.1 Not from you/);
	is(scalar $relay->messages, 0, 'the list was not burnt');
	is(fired($relay, 'MAIL'), 2, 'once more, on a fresh session');

	# a session that has carried mail says little about the sender
	my ($used, $other) = relay(
		{
			rules =>
			  [ { step => 'MAIL', after => 2, first => 1, reply => $reply } ]
		});
	my ($again) = post($other);
	sent($again);
	is(delivered($again), "5|$other|1", 'used session: a fresh one');
	is($used->connections_opened, 2, 'used session: one more');

	# and then for good
	my ($late, $third) =
	  relay({ rules => [ { step => 'MAIL', skip => 2, reply => $reply } ] });
	my ($half) = post($third);
	ok($node->wait_for_letter($half, 'paused', $patience),
		'refused again in a fresh session: paused');
	is(delivered($half), "2|$third|1", 'in the middle');
	cmp_ok($late->connections_opened, '>=', 2, 'after a fresh session');
	cmp_ok($late->connections_opened, '<=', 3, 'or two');
	$late->set(rules => []);
	$node->sql("SELECT mailman_resume($half)");
	sent($half);
	is(delivered($half), "5|$third|1", 'resumed: at nobody\'s cost');
};

subtest 'MAIL 552, 5.3.4, 5.6.7: this message' => sub {
	my @replies = (
		'552 Too much', '554 5.3.4 Too big', '550 5.6.7 Not without SMTPUTF8');
	my ($relay, $name) = relay(
		{
			rules => [
				map { { step => 'MAIL', first => 1, reply => $_ } } @replies
			]
		});
	my ($letter) = post($name);

	sent($letter);
	is(delivery($letter, 1), 'failed|1|552|',      '552: failed');
	is(delivery($letter, 2), 'failed|1|554|5.3.4', '5.3.4: failed');
	is(delivery($letter, 3), 'failed|1|550|5.6.7', '5.6.7: failed');
	is(delivered($letter), "2|$name|1", 'the others are delivered');
};

subtest '421, 454, 4.7.0 from several in a row: slow down' => sub {
	foreach my $case (
		[ '421 4.3.2 Slower', 3 ],
		[ '454 Slower',       8 ],
		[ '450 4.7.0 Slower', 8 ])
	{
		# 421 ends the session, and a fresh one that ends so is backed off
		my ($reply, $times) = @$case;
		my ($relay, $name) = relay(
			{
				rules => [
					{
						step  => 'RCPT',
						skip  => 5,
						first => $times,
						reply => $reply
					}
				]
			});
		my ($letter) = post($name, subscriptions => 30);

		# the first few cannot be told from what is the recipient's fault
		sent($letter);
		is($node->states($letter)->{delivered}, 30, "$reply: all delivered");
		cmp_ok(
			$node->sql(
				    "SELECT count(*) FROM mailman.newsletter_email"
				  . " WHERE letter_id = $letter AND attempts > 1"),
			'<=', 5, "$reply: those in a row lose no attempt");
		is($node->letter_state($letter), 'sent', "$reply: never paused");
	}
};

subtest 'RCPT or DATA 4xx: the recipient, later' => sub {
	is( $node->sql(
			"SELECT boot_val FROM pg_settings"
			  . " WHERE name = 'mailman.retry_schedule'"),
		'5min, 15min, 30min, 1h, 2h, 4h',
		'the schedule, unless set otherwise');
	is( $node->sql(
			"SELECT string_agg(column_default, ' ' ORDER BY column_name)"
			  . ' FROM information_schema.columns'
			  . " WHERE table_schema = 'mailman' AND table_name = 'newsletter'"
			  . " AND column_name IN ('max_age', 'max_attempts')"),
		"'72:00:00'::interval 20",
		'until max_age or max_attempts');
	my ($relay, $name) = relay(
		{
			rules => [
				{
					step  => 'RCPT',
					match => '^r1@',
					first => 2,
					reply => '450 4.2.1 Not now'
				},
				{
					step  => 'DATA',
					match => '^r2@',
					first => 2,
					reply => '451 4.3.0 Not now'
				},
				{
					step  => 'dot',
					match => '^r3@',
					first => 2,
					reply => '452 4.3.1 Not now'
				}
			]
		});
	my ($letter) = post($name);
	my ($brief, $brief_name) = relay(
		{
			rules => [
				{
					step  => 'RCPT',
					match => '^r1@',
					reply => '450 4.2.1 Never now'
				}
			]
		});
	my ($gives_up) = post($brief_name, max_attempts => 2);
	my ($old)      = post($brief_name, max_age      => '1 ms');

	sent($letter);
	is(delivered($letter), "5|$name|3", 'all delivered, at last');
	foreach my $n (1 .. 3)
	{
		my $step = (qw(- RCPT DATA dot))[$n];
		my @times =
		  map { $_->{time} }
		  grep { $_->{step} eq $step } $relay->events('rule');
		my ($mail) =
		  grep { $_->{to}[0] eq "r$n\@example.com" } $relay->messages;

		push @times, $mail->{time};
		is( $node->sql(
				"SELECT attempts FROM mailman.newsletter_email"
				  . " WHERE letter_id = $letter AND address LIKE 'r$n\@%'"),
			3,
			"$step: two attempts lost");
		cmp_ok($times[1] - $times[0], '>=', 0.79, "$step: by the schedule");
		cmp_ok($times[2] - $times[1], '>=', 2.39, "$step: and its next step");
	}
	is( $node->sql(
			"SELECT max(attempts) FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter AND address ~ '^r[45]\@'"),
		1,
		'the others at the first attempt');
	foreach my $case ([ $gives_up, 2, qr/gave up after 2 attempts/ ],
		[ $old, 1, qr/gave up as too old/ ])
	{
		my ($which, $attempts, $words) = @$case;
		sent($which);
		is(delivery($which, 1), "failed|$attempts|450|4.2.1", 'gives up');
		like(delivery($which, 1, 'reason'),
			qr/$words: RCPT: 450 4\.2\.1 Never now/, 'and says why');
	}
};

# Refused at RCPT or later, each in his own words
sub refused
{
	my ($step, @replies) = @_;
	my $n = 0;
	my ($relay, $name) = relay(
		{
			rules => [
				map { {
						step  => $step,
						match => '^r' . ++$n . '@',
						reply => $_
				} } @replies
			]
		});
	my ($letter, $newsletter) = post($name);

	sent($letter);
	$n = 0;
	foreach my $reply (@replies)
	{
		my ($code, $enhanced, $words) = $reply =~ /^(\d+) ([\d.]+ )?(.*)/;
		($enhanced = defined $enhanced ? $enhanced : '') =~ s/ $//;
		is(delivery($letter, ++$n), "failed|1|$code|$enhanced",
			"$step $reply: failed");
		is(delivery($letter, $n, 'reply'), $words, "$step $reply: the words");
	}
	is(fired($relay, $step), scalar @replies, "$step: none tried again");
	is(delivered($letter), (5 - @replies) . "|$name|1",
		"$step: the others are delivered");
	is($relay->connections_opened, 1, "$step: over the same session");
	return $node->sql("SELECT string_agg(state, ' ' ORDER BY id)"
		  . " FROM mailman.subscription WHERE newsletter_id = $newsletter");
}

subtest 'RCPT 5xx 5.1.x, 5.2.1: the recipient, dead' => sub {
	my $states = refused('RCPT',
		'550 5.1.1 Nobody', '550 5.1.10 Null MX', '550 5.2.1 Disabled');

	is($states, 'bounced bounced bounced active active',
		'the subscriptions are bounced');
};

subtest 'RCPT 5xx, other: the recipient' => sub {
	is( refused(
			'RCPT',                '550 5.7.1 Not you',
			'552 5.2.2 Over quota', '550 No reason'),
		'active active active active active',
		'the subscriptions stay as they are');
};

subtest 'DATA or dot 5xx: content or policy' => sub {
	my @replies =
	  ('554 5.7.1 Spam', '554 5.6.0 Ugly', '552 5.3.4 Too big after all');
	foreach my $step (qw(DATA dot))
	{
		is( refused($step, @replies),
			'active active active active active',
			"$step: the subscriptions stay as they are");
	}

	my ($relay, $name) =
	  relay({ rules => [ { step => 'dot', reply => '554 5.7.1 Spam' } ] });
	my ($letter) = post($name, subscriptions => 500);

	ok($node->wait_for_letter($letter, 'paused', $patience),
		'many in a row: the letter is paused');
	like(reason($letter), qr/554 5\.7\.1 Spam/, 'with the reply');
	cmp_ok($node->states($letter)->{failed},
		'<', 250, 'the list was not burnt');
	$node->assert_sums($letter, 'paused');
};

subtest 'dot sent, no reply: nobody knows' => sub {
	my %letter;
	my %rule = (step => 'dot', match => '^r3@', first => 1, accept => 1);
	my %how  = (drop => { drop => 1 }, timeout => { silence => 1 });
	foreach my $how (sort keys %how)
	{
		foreach my $on_doubt (qw(resend hold))
		{
			my @relay = relay({ rules => [ { %rule, %{ $how{$how} } } ] },
				dot_timeout => $how eq 'timeout' ? '3s' : '60s');
			my ($letter) = post($relay[1], on_doubt => $on_doubt);
			$letter{"$how, $on_doubt"} = [ $letter, @relay ];
		}
	}
	foreach my $case (sort keys %letter)
	{
		my ($letter, $relay, $name) = @{ $letter{$case} };
		my $held = $case =~ /hold/;

		sent($letter);
		is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
			1, "$case: one doubt");
		is(delivered($letter), $held ? "4|$name|1" : "5|$name|2",
			"$case: who is delivered, and when");
		is(delivery($letter, 3, 'state, doubts'),
			$held ? 'doubtful|1' : 'delivered|1',
			"$case: what became of it");
		is($relay->pairs, 5, "$case: one Message-ID for each");
		is_deeply(
			[ map { [ @$_[ 1, 2 ] ] } $relay->duplicates ],
			$held ? [] : [ [ 'r3@example.com', 2 ] ],
			"$case: copies");
	}

	# the worker is killed while it waits for the reply
	foreach my $on_doubt (qw(resend hold))
	{
		my ($relay, $name) = relay({ slow => 60 });
		my ($letter) = post($name, on_doubt => $on_doubt);
		my $worker = $node->wait_for_worker($letter, $patience);
		my $until = time + $patience;
		my $known = 0;

		# the dot is out when the relay has begun to think about it
		while (!$known && time < $until)
		{
			sleep 0.05;
			$known = $node->sql(
				"SELECT mail_order->>'sending' FROM mailman.letter"
				  . " WHERE id = $letter") > 0
			  && $relay->status->{active} > 0;
		}
		sleep 1;
		kill 'KILL', $worker;
		$relay->set(slow => 0);
		$relay->reset_connections;
		sleep 0.1 until $node->log_lines(qr/reinitializing/)
		  || time > $until;
		$node->patiently(
			sub {
				ok($node->wait_for_letter($letter, 'sent', $patience),
					"crash, $on_doubt: the letter is sent");
			});
		my $doubts =
		  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
		cmp_ok($doubts, '>=', 1, "crash, $on_doubt: in doubt");
		my $states = $node->states($letter);
		is($on_doubt eq 'hold' ? $states->{doubtful} : $states->{delivered},
			$on_doubt eq 'hold' ? $doubts : 5,
			"crash, $on_doubt: what became of it");
		$node->assert_sums($letter, "crash, $on_doubt");
	}
};

subtest 'policy or template error: this delivery' => sub {
	my ($relay, $name) = relay({});
	my $newsletter = $node->newsletter(relays => [$name], subscriptions => 5);
	my $letter     = $node->letter($newsletter);

	# what the table would not take cannot be written to either
	$node->sql('ALTER TABLE mailman.subscription'
		  . ' DROP CONSTRAINT subscription_email_check');
	$node->sql("UPDATE mailman.subscription SET email = 'r2\@'"
		  . " WHERE newsletter_id = $newsletter AND email LIKE 'r2\@%'");
	$node->send($letter);
	sent($letter);
	is(delivery($letter, 2, 'state, code'), 'failed|', 'failed');
	like(delivery($letter, 2, 'reason'),
		qr/invalid recipient address/, 'with the error\'s text');
	is(delivered($letter), "4|$name|1", 'the others are delivered');
};

subtest 'unsubscribed, bounced since: skipped' => sub {
	my ($relay, $name) = relay({ slow => 0.3 });
	my ($letter, $newsletter) = post($name, subscriptions => 12);
	my %gone = (10 => 'unsubscribed', 11 => 'bounced', 12 => 'complained');

	ok($relay->wait_for_messages(1, $patience), 'it is on its way');
	foreach my $n (sort keys %gone)
	{
		$node->sql("UPDATE mailman.subscription SET state = '$gone{$n}'"
			  . " WHERE newsletter_id = $newsletter AND email LIKE 'r$n\@%'");
	}
	$relay->set(slow => 0);
	sent($letter);
	foreach my $n (sort keys %gone)
	{
		is(delivery($letter, $n, 'state, attempts'),
			'skipped|0', "$gone{$n}: skipped, without an attempt");
	}
	is(delivered($letter), "9|$name|1", 'the others are delivered');
};

subtest '"no attempt" never outlives max_age' => sub {
	my ($busy, $name) = relay(
		{ rules => [ { step => 'connect', reply => '421 4.3.2 Busy' } ] });
	my ($letter) = post($name, max_age => '2 s', subscriptions => 2);
	my ($many) = post($name, max_age => '2 s', subscriptions => 20);

	sent($letter);
	is($node->states($letter)->{failed}, 2, 'all failed');
	my $reason = delivery($letter, 1, 'reason');
	like($reason, qr/^gave up as too old: /, 'of age');
	like($reason, qr/421 4\.3\.2 Busy/, 'and what was wrong is told');
	sent($many);
	is($node->states($many)->{failed}, 20, 'so do many, however few sessions');
};

subtest 'the basic code decides retry, the enhanced code fault' => sub {
	my ($relay, $name) = relay(
		{
			rules => [
				{
					step  => 'RCPT',
					match => '^r1@',
					first => 1,
					reply => '450 5.1.1 Nobody, perhaps'
				},
				{
					step  => 'RCPT',
					match => '^r2@',
					reply => '550 4.1.1 Nobody, for good'
				}
			]
		});
	my ($letter, $newsletter) = post($name);

	sent($letter);
	is(delivery($letter, 1, 'state, attempts'),
		'delivered|2', '450 5.1.1: put off');
	is(delivery($letter, 2), 'failed|1|550|', '550 4.1.1: failed');
	is( $node->sql(
			    "SELECT count(*) FROM mailman.subscription"
			  . " WHERE newsletter_id = $newsletter AND state = 'active'"),
		5,
		'nobody is dead');
};

is_deeply([ map { $_->violations } @relays ],
	[], 'nothing against the protocol');
$node->stop;
$_->stop foreach @relays;
done_testing();
