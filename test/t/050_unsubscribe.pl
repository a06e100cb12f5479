
#-------------------------------------------------------------------------
#
# 050_unsubscribe.pl
#	  Readers who unsubscribe, and are forgotten, while a letter to 20,000 is
#	  being sent.
#
# Clients unsubscribe readers at random by their tokens, as a web server
# would: with no right but that to call mailman_unsubscribe().  As soon as the
# COMMIT is acknowledged each looks what has become of the delivery, in a
# transaction of its own.  If it was still waiting then, it was not claimed
# yet, and the relay must never see the mail.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $recipients = 20_000;
my $clients    = 6;
my $relay      = Mailman::Relay->new->start;
my $node       = Mailman::Cluster->create('main');

$node->relay('relay', $relay->url, connections => 20);
my $newsletter = $node->newsletter(
	relays          => ['relay'],
	subscriptions   => $recipients,
	unsubscribe_url => 'https://example.com/u/{{token}}');
my $letter = $node->letter($newsletter);

# what each mail says: one token for each reader
$node->sql(q{
	CREATE ROLE web LOGIN;
	GRANT EXECUTE ON FUNCTION mailman_unsubscribe(text) TO web;
	CREATE TABLE link (n int PRIMARY KEY, subscription bigint, token text);
	CREATE TABLE seen (subscription bigint, state text);
	CREATE FUNCTION look(subscription bigint) RETURNS void
	LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC
		INSERT INTO seen SELECT subscription, d.state
		  FROM mailman.delivery d WHERE d.subscription_id = subscription;
	END;
	GRANT SELECT ON link TO web;
});
$node->sql(qq{
	INSERT INTO link
	SELECT row_number() OVER (ORDER BY id), id,
		   substr(mailman_unsubscribe_url($letter, id), 23)
	  FROM mailman.subscription WHERE newsletter_id = $newsletter});
is( $node->sql('SELECT count(DISTINCT token), max(length(token)) < 64 FROM link'),
	"$recipients|t", 'everybody has a short token of their own');

# ---- clients at random, while it is being sent

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/unsubscribe.sql", <<'END');
\set n random(1, :recipients)
SELECT subscription, mailman_unsubscribe(token) AS ended FROM link WHERE n = :n \gset
SELECT look(:subscription);
END

sub pgbench
{
	my ($seconds) = @_;
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	return $pid if $pid;
	open(STDOUT, '>', "$dir/pgbench.log") or POSIX::_exit(127);
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
	exec('pgbench', '-n', '-c', $clients, '-j', 2, '-T', $seconds,
		'-D', "recipients=$recipients", '-f', "$dir/unsubscribe.sql",
		'-U', 'web', $node->connstr('postgres'))
	  or POSIX::_exit(127);
}

# Half of it waits at a gate until the clients are at work, whoever is faster
$relay->gate($recipients / 4);
$node->send($letter);
my $pid = pgbench(600);
ok($relay->wait_for_held(20), 'the letter is on its way');
ok( $node->wait_for('SELECT count(*) >= 4000 FROM seen', 't'),
	'and readers unsubscribe');
$relay->open_gate;
ok( $node->wait_for(
		'SELECT count(*) < 300 FROM mailman.delivery'
		  . " WHERE letter_id = $letter AND state = 'pending'", 't'),
	'they go on to its end');
kill 'TERM', $pid;
waitpid($pid, 0);
unlike(slurp_file("$dir/pgbench.log"), qr/ERROR|FATAL|aborted/,
	'nobody was refused or had a deadlock');
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
$node->assert_sums($letter, 'readers unsubscribed meanwhile');

my $got    = $relay->recipients;
my %seen   = map { split /\|/ } split /\n/, $node->sql(q{
	SELECT s.email, string_agg(DISTINCT seen.state, ',')
	  FROM seen JOIN mailman.subscription s ON s.id = seen.subscription
	 GROUP BY 1});
my @early = grep { $seen{$_} =~ /pending|skipped/ } keys %seen;
my @wrong = grep { $got->{$_} } @early;
cmp_ok(scalar(@early), '>', 1000,
	scalar(@early) . ' unsubscribed before their mail was claimed');
is_deeply(\@wrong, [], 'the relay has seen none of them')
  or diag(scalar(@wrong) . ' of them: ' . join(' ', map { "$_ ($seen{$_})" } @wrong));
is_deeply([ $relay->duplicates ], [], 'nobody twice');
my $states = $node->states($letter);
note(join(', ', map { "$_ $states->{$_}" } sort keys %$states));
is($states->{delivered} + $states->{skipped},
	$recipients, 'everybody is delivered or skipped');
is($states->{delivered}, scalar(keys %$got), 'as the relay has it');
is( $node->sql(
		"SELECT count(*) FROM mailman.delivery d JOIN mailman.subscription s"
		  . " ON s.id = d.subscription_id WHERE d.letter_id = $letter"
		  . " AND (d.state = 'skipped') AND (s.state <> 'unsubscribed'"
		  . " OR d.reason <> 'subscription is unsubscribed')"),
	'0', 'skipped is who has unsubscribed, and the reason says so');
is( $node->sql(
		'SELECT count(*) FROM seen JOIN mailman.subscription s'
		  . " ON s.id = seen.subscription WHERE s.state <> 'unsubscribed'"),
	'0', 'who asked for it is unsubscribed');
cmp_ok(
	$node->sql(
		"SELECT count(*) FROM mailman.subscription s WHERE"
		  . " state <> 'active' AND NOT EXISTS (SELECT FROM seen"
		  . ' WHERE subscription = s.id)'),
	'<=', $clients, 'and nobody else, but who did not come to look');

# ---- a letter after that goes to those who are left

my $next = $node->letter($newsletter);
is( $node->send($next),
	$node->sql("SELECT count(*) FROM mailman.subscription"
		  . " WHERE state = 'active'"),
	'the next letter is for the others only');
ok($node->wait_for_letter($next, 'sent'), 'and is sent');

$node->stop;
$relay->stop;
done_testing();
