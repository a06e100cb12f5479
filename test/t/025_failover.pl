
#-------------------------------------------------------------------------
#
# 025_failover.pl
#	  The primary is killed in the middle of a letter and a standby promoted.
#
# The letter goes on there by itself and nobody is lost.  With a synchronous
# standby every claim was replicated before its first byte was sent, so every
# duplicate is on record as doubt; with an asynchronous one that need not be.
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

my $number = 200;
my $turn   = 50;

sub failover
{
	my ($name, $synchronous, $on_doubt) = @_;
	my $relay   = Mailman::Relay->new(slow => 0.05)->start;
	$relay->gate(80);
	my $primary = Mailman::Cluster->create(
		"${name}_primary",
		preload   => 1,
		streaming => 1,
		conf      => {
			max_connections      => 20,
			max_worker_processes => 16,
			'mailman.turn_size'  => $turn
		});
	my $standby = $primary->standby("${name}_standby");

	if ($synchronous)
	{
		$primary->append_conf('postgresql.conf',
			"synchronous_standby_names = '*'");
		$primary->reload;
		$primary->wait_for("SELECT sync_state FROM pg_stat_replication",
			'sync')
		  or BAIL_OUT('no synchronous standby');
	}
	$primary->relay('relay', $relay->url, connections => 10);
	my $newsletter = $primary->newsletter(
		relays        => ['relay'],
		subscriptions => $number);

	# one letter for later, one on its way
	my $later = $primary->letter($newsletter);
	$primary->sql("UPDATE mailman.letter SET send_at ="
		  . " now() + interval '10 s' WHERE id = $later");
	$primary->send($later, $primary->sql(
			"SELECT min(id) FROM mailman.subscription"));
	my $letter = $primary->letter($newsletter, on_doubt => $on_doubt);
	$primary->send($letter);
	ok( $primary->wait_for(
			    "SELECT count(*) >= 60 FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter", 't'),
		"$name: a letter on its way");
	ok($relay->wait_for_held(10), "$name: some of it in flight");
	ok( $standby->wait_for(
			    "SELECT count(*) FROM mailman.delivery"
			  . " WHERE letter_id = $letter", $number),
		"$name: the standby knows of it");
	is( $standby->sql(
			    "SELECT pg_is_in_recovery(), count(*) FROM pg_stat_activity"
			  . " WHERE backend_type LIKE 'mailman%'"),
		't|0', "$name: nothing of ours runs on a standby");
	my $sending = $primary->sql("SELECT mail_order->>'sending'"
		  . " FROM mailman.letter WHERE id = $letter");

	$primary->kill9;
	my $hit = time;
	$standby->promote;
	my $promoted = time;
	$relay->open_gate;
	ok( $standby->wait_for(
			"SELECT run > 1 FROM mailman.letter WHERE id = $letter", 't'),
		"$name: a worker goes on, on the promoted standby");
	my $back = time - $promoted;
	ok($standby->wait_for_letter($letter, 'sent'), "$name: sent");
	ok($standby->wait_for_letter($later,  'sent'),
		"$name: the scheduled one too");

	# the last mail that was in flight may still lie at the relay
	my $id_of = $standby->sql(
		"SELECT string_agg(message_id, ' ') FROM mailman.newsletter_email"
		  . " WHERE letter_id = $later");
	my %times;
	my $before = 0;
	foreach my $message ($relay->messages)
	{
		next if $message->{message_id} eq $id_of;
		$times{ $message->{to}[0] }++;
		$before++ if $message->{time} < $hit;
	}
	my $twice = 0;
	$twice += $_ - 1 foreach values %times;
	my ($doubts, $doubtful) = split(
		/\|/,
		$standby->sql(
			    "SELECT doubts, mail_order->>'doubtful' FROM mailman.letter"
			  . " WHERE id = $letter"));
	diag(
		sprintf '%s, %s: %d mails before, %d sending; not at the relay %d, duplicate %d, '
		  . 'doubts %d, doubtful %d; back %.1f s after the promotion',
		$name, $on_doubt, $before, $sending, $number - keys %times,
		$twice, $doubts, $doubtful, $back);
	cmp_ok($before, '>',  0,       "$name: some mails before");
	cmp_ok($before, '<',  $number, "$name: and some after");
	cmp_ok($back,   '<',  30,      "$name: it came back at once");
	if ($on_doubt eq 'resend')
	{
		is(scalar(keys %times), $number, "$name: nobody is lost");
		is($standby->tally($letter)->{delivered},
			$number, "$name: and all are on record");
	}
	else
	{
		cmp_ok(keys(%times) + $doubtful,
			'>=', $number, "$name: nobody is lost, some are held");
		is($standby->tally($letter)->{delivered} + $doubtful,
			$number, "$name: and all are on record");
	}
	is($relay->pairs, keys(%times) + 1,
		"$name: with the same Message-IDs as before");
	if ($synchronous)
	{
		cmp_ok($twice, '<=', $doubts, "$name: every duplicate is on record");
		is($twice, 0, "$name: nobody twice") if $on_doubt eq 'hold';
		cmp_ok($doubts, '>', 0, "$name: and there was doubt");
	}
	cmp_ok($doubts, '<=', 2 * $turn, "$name: no more than two turns");
	$standby->assert_sums($letter, $name);

	# the promoted server is a whole one
	$relay->set(slow => 0);
	my $next = $standby->letter($newsletter);
	is($standby->send($next), $number, "$name: a new letter there");
	ok($standby->wait_for_letter($next, 'sent'), "$name: is sent");
	is_deeply([ $relay->violations ], [], "$name: nothing against SMTP");
	$standby->stop;
	$relay->stop;
	return;
}

failover('synchronous',  1, 'resend');
failover('held',         1, 'hold');
failover('asynchronous', 0, 'resend');
done_testing();
