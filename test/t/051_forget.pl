
#-------------------------------------------------------------------------
#
# 051_forget.pl
#	  Readers who are forgotten while a letter is being sent.
#
# A mail on its way is a refusal; a claim that waits for mailman_forget() does
# not mail whom it saw active before; and clients who forget readers at random
# meet no deadlock, leave no address behind and do not disturb the sums.
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

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	conf => { 'mailman.lock_timeout' => '60s', 'mailman.turn_size' => 10 });

$node->relay('relay', $relay->url, connections => 3);
my $newsletter = $node->newsletter(
	relays          => ['relay'],
	subscriptions   => 60,
	unsubscribe_url => 'https://example.com/u/{{token}}');
my $letter = $node->letter($newsletter);

# everything that is known of a reader: empty if nothing is
sub traces
{
	my ($number) = @_;
	return $node->sql(
		join(
			' UNION ALL ',
			map {
				"SELECT '$_' FROM mailman.$_ t WHERE t::text ~ "
				  . "'[( ,\"]r$number\@example|Reader $number\[\"),]'"
			} qw(subscription delivery newsletter_email forgotten)));
}

# ---- one on its way, one that waits

$relay->gate(5);
my $from = $node->sql("SELECT min(id) FROM mailman.subscription");
my ($first, $last) = ($from, $from + 59);
$node->send($letter);
ok($relay->wait_for_held(3), 'the letter is on its way');

# the first five are answered: not one of those
$node->wait_for("SELECT count(*) >= 5 FROM mailman.newsletter_email"
	  . " WHERE letter_id = $letter", 't');
my $flying = $node->sql("SELECT min(subscription_id) FROM mailman.delivery"
	  . " WHERE letter_id = $letter AND state = 'sending'");
my ($output, $error) = $node->session->try("SELECT mailman_forget($flying)");
like($error, qr/55006:.*cannot be forgotten at this moment/,
	'who is being sent a mail cannot be forgotten');

my $forgetter = $node->session;
$forgetter->query('BEGIN');
$forgetter->query("SELECT mailman_forget($last)");
isnt(traces(60), '', 'not committed');
$relay->open_gate;
my $waits = "SELECT count(*) FROM pg_stat_activity"
  . " WHERE backend_type = 'mailman letter' AND wait_event_type = 'Lock'";
ok($node->wait_for($waits, 1), 'the claim waits for it');
is( $node->sql(
		    "SELECT state FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND subscription_id = $last"),
	'pending', 'which saw an active subscription');
$forgetter->query('COMMIT');
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
is( $node->sql(
		    "SELECT state, reason, variables FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND subscription_id = $last"),
	'skipped|subscription was forgotten|', 'and who was forgotten is skipped');
is($relay->recipients->{'r60@example.com'}, undef, 'the relay has not seen it');
is(traces(60), '', 'nothing is known of it any more');
$node->assert_sums($letter, 'after one was forgotten');
is($node->sql("SELECT mailman_forget($flying)"),
	'', 'when it has arrived, the first can be forgotten too');
is(traces($flying - $from + 1), '', 'and nothing is known of it any more');
is($node->tally($letter)->{delivered}, 59, 'the tally stays');

# ---- a claim that is in nobody's way yet: locked rows are a refusal

my $second = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 day'"
	  . " WHERE id = $second");
my $other = $node->session;
$other->query('BEGIN');
$other->query("SELECT mailman_send($second, '{@{[ $first + 20 ]}}')");
($output, $error) =
  $forgetter->try("SELECT mailman_forget(@{[ $first + 20 ]})");
like($error, qr/55006:.*cannot be forgotten at this moment/,
	'nor who is just being posted a letter');
$other->query('ROLLBACK');
is($forgetter->query("SELECT mailman_forget(@{[ $first + 20 ]})"),
	'', 'but when that is undone');
$_->quit foreach $forgetter, $other;

# ---- clients at random

my $many = 3000;
my $big  = $node->newsletter(
	relays          => ['relay'],
	subscriptions   => $many,
	unsubscribe_url => 'https://example.com/u/{{token}}');
my $third = $node->letter($big);
$node->sql("ALTER SERVER relay OPTIONS (SET connections '10')");
$node->append_conf('postgresql.conf', 'mailman.turn_size = 100');
$node->sql(q{
	CREATE TABLE refused (subscription bigint);
	CREATE FUNCTION forget(reader bigint) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM mailman_forget(reader);
	EXCEPTION WHEN object_in_use THEN
		INSERT INTO refused VALUES (reader);
	END $$
});
$node->reload;
my $base = $node->sql(
	"SELECT min(id) FROM mailman.subscription WHERE newsletter_id = $big");
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/forget.sql",
	    "\\set n random(0, $many - 1)\n"
	  . "BEGIN;\n"
	  . "SELECT forget($base + :n);\n"
	  . "SELECT forget($base + (:n + 17) % $many);\n"
	  . "COMMIT;\n");
$relay->gate(300);
$node->send($third);
ok($relay->wait_for_held(3), 'a long letter is on its way');
my $pid = fork;
die "fork: $!" unless defined $pid;
if ($pid == 0)
{
	open(STDOUT, '>', "$dir/pgbench.log") or POSIX::_exit(127);
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
	exec('pgbench', '-n', '-c', 4, '-t', 400, '-f', "$dir/forget.sql",
		$node->connstr('postgres'))
	  or POSIX::_exit(127);
}
ok( $node->wait_for(
		'SELECT count(*) >= 100 FROM mailman.subscription'
		  . " WHERE newsletter_id = $big AND forgotten_at IS NOT NULL", 't'),
	'readers are forgotten');
$relay->open_gate;
waitpid($pid, 0);
ok($node->wait_for_letter($third, 'sent'), 'it is sent');
unlike(slurp_file("$dir/pgbench.log"),
	qr/deadlock|40P01|FATAL/, 'no deadlock');
$node->assert_sums($third, 'after many were forgotten');
note('refused: ' . $node->sql('SELECT count(*) FROM refused'));
my $states = $node->states($third);
note(join(', ', map { "$_ $states->{$_}" } sort keys %$states));
is($states->{delivered} + $states->{skipped},
	$many, 'everybody is delivered or skipped');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $third"),
	'0', 'without a doubt');
is( $node->sql(
		    'SELECT count(*) FROM mailman.newsletter_email e'
		  . ' JOIN mailman.subscription s ON s.id = e.subscription_id'
		  . ' WHERE (s.forgotten_at IS NOT NULL)'
		  . " <> (e.address LIKE 'forgotten.%')"),
	'0', 'no address of a forgotten reader is left, and no other is gone');
is_deeply([ $relay->duplicates ], [], 'nobody got anything twice');

$node->stop;
$relay->stop;
done_testing();
