
#-------------------------------------------------------------------------
#
# 061_events.pl
#	  Events: each is told once, and not before what it tells is committed.
#
# A session listens to channel mailman all the time.  Turns that fail, and
# transactions that are rolled back, show it nothing; and when nobody can be
# told, as somebody hangs in his own NOTIFY or ours fails, letters are sent all
# the same, and all of it is told afterwards.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload   => 1,
	streaming => 1,
	conf      => {
		restart_after_crash         => 'on',
		synchronous_commit          => 'local',
		max_prepared_transactions   => 5,
		max_worker_processes        => 16,
		'mailman.retry_schedule'    => '1s',
		'mailman.shutdown_grace'    => '1s'
	});

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 20);

# ---- a listener

my ($listener, @heard);

sub listen_to
{
	$listener = $node->session;
	$listener->query('LISTEN mailman');
	return;
}

# What was told since: psql shows it after every command
sub hear
{
	my $output = $listener->query('SELECT 1');
	while ($output =~ /^Asynchronous notification "mailman" with payload "(.*)" received from server process/mg)
	{
		push @heard, JSON::PP->new->decode($1);
	}
	return @heard;
}

# An event in a few words
sub words
{
	my ($event) = @_;
	return join(' ',
		map { "$_=$event->{$_}" }
		grep { defined $event->{$_} } qw(kind from to relay state doubts));
}

sub of_letter
{
	my ($letter) = @_;
	return join(', ',
		map { words($_) }
		grep { ($_->{letter_id} || 0) == $letter } @heard);
}

# Wait until that was heard of a letter, no more and no less
sub ok_heard
{
	my ($letter, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + 180;

	while (time < $until)
	{
		hear();
		last if of_letter($letter) eq $expected;
		sleep 0.02;
	}
	return is(of_letter($letter), $expected, $name)
	  || $node->explain_letter($letter);
}

# Nothing is heard of it for so long
sub ok_silent
{
	my ($letter, $seconds, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = of_letter($letter);
	my $until = time + $seconds;

	while (time < $until)
	{
		hear();
		sleep 0.05;
	}
	return is(of_letter($letter), $before, $name);
}

sub untold
{
	return 'SELECT count(*) FROM mailman.event WHERE NOT notified';
}

my $sent = 'kind=letter from=draft to=sending, kind=letter from=sending to=sent';

listen_to();

# ---- a letter

my $letter = $node->letter($newsletter);
$node->send($letter);
ok_heard($letter, $sent, 'a letter is sent: told twice');
is( $node->sql(
		"SELECT string_agg(detail->>'to', ' ' ORDER BY id),"
		  . ' bool_and(notified) FROM mailman.event'
		  . " WHERE letter_id = $letter"),
	'sending sent|t',
	'as it is in the table');
is( $node->sql(
		'SELECT abs(extract(epoch FROM state_at - (SELECT max(at)'
		  . ' FROM mailman.event WHERE letter_id = l.id))) < 1'
		  . " FROM mailman.letter l WHERE id = $letter"),
	't',
	'state_at is when that was');
$node->subscribe($newsletter, 1);
$node->send($letter);
ok_heard(
	$letter,
	"$sent, kind=letter from=sent to=sending, kind=letter from=sending to=sent",
	'sent again, to one more: opened, and sent');

# ---- not before COMMIT, not after ROLLBACK

my $person = $node->session;
my $later = $node->letter($newsletter,
	send_at => $node->sql("SELECT now() + interval '1 h'"));
$node->send($later);
my $told = 'kind=letter from=draft to=scheduled';
ok_heard($later, $told, 'a scheduled letter, which has no worker');
$person->query("BEGIN; SELECT mailman_pause($later)");
ok_silent($later, 2, 'while its pause is not committed, nobody is told');
$person->query('ROLLBACK');
ok_silent($later, 2, 'nor when it is rolled back');
is( $node->sql("SELECT count(*) FROM mailman.event WHERE letter_id = $later"),
	'1', 'there is no event');
$person->query("BEGIN; SELECT mailman_pause($later)");
ok_silent($later, 1, 'again not before COMMIT');
$person->query('COMMIT');
$told .= ', kind=letter from=scheduled to=paused';
ok_heard($later, $told, 'but after it');
like(
	$node->sql("SELECT detail->>'reason' FROM mailman.event"
		  . " WHERE letter_id = $later ORDER BY id DESC LIMIT 1"),
	qr/^paused by "/,
	'the reason is in the table');
is((grep { exists $_->{reason} } @heard), 0, 'and not told');
$node->sql("SELECT mailman_resume($later)");
$told .= ', kind=letter from=paused to=scheduled';
ok_heard($later, $told, 'resumed');
$node->sql("SELECT mailman_cancel($later)");
$told .= ', kind=letter from=scheduled to=draft';
ok_heard($later, $told, 'called back');

# ---- PREPARE TRANSACTION

$letter = $node->letter($newsletter);
$person->query('BEGIN');
$person->query("SELECT mailman_send($letter)");
is(($person->try("PREPARE TRANSACTION 'letter'"))[1],
	undef, 'a letter can be sent in a prepared transaction');
ok_silent($letter, 2, 'of which nobody is told');
$person->query("COMMIT PREPARED 'letter'");
ok_heard($letter, $sent, 'until it is committed');

# ---- a turn that fails after it has written its event

$node->sql('ALTER TABLE mailman.letter'
	  . " ADD CONSTRAINT not_yet CHECK (state <> 'sent') NOT VALID");
my $log = $node->log_position;
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_log("letter $letter: a turn failed and is repeated", $log),
	'a turn fails');
my ($number) = $node->sql(
	"SELECT last_value FROM pg_sequences WHERE sequencename = 'event_id_seq'");
ok( $node->wait_for(
		"SELECT last_value > $number + 2 FROM pg_sequences"
		  . " WHERE sequencename = 'event_id_seq'", 't'),
	'over and over, each time with an event');
hear();
is(of_letter($letter), 'kind=letter from=draft to=sending',
	'of which none is told');
is( $node->sql("SELECT count(*) FROM mailman.event WHERE letter_id = $letter"),
	'1', 'or kept');
$node->sql('ALTER TABLE mailman.letter DROP CONSTRAINT not_yet');
ok_heard($letter, $sent, 'until it commits');
$node->assert_sums($letter, 'after it');

# ---- an event that cannot be written: the letter is sent without it

$node->sql('ALTER TABLE mailman.event'
	  . " ADD CONSTRAINT no_end CHECK (detail->>'to' <> 'sent') NOT VALID");
$log = $node->log_position;
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'no event, and sent all the same');
is(scalar($node->log_lines('an event of kind "letter" could not be', $log)),
	1, 'the log has it, once');
is($node->sql("SELECT run FROM mailman.letter WHERE id = $letter"),
	'1', 'by its first worker');
$node->assert_sums($letter, 'without an event');
$node->sql('ALTER TABLE mailman.event DROP CONSTRAINT no_end');

# ---- somebody locks the table for long

my $accepted = $relay->status->{accepted};
$relay->gate(0);
$letter = $node->letter($newsletter);
$node->send($letter);
ok($relay->wait_for_held(4), 'a letter on its way');
$person->query('BEGIN; LOCK TABLE mailman.event');
$log = $node->log_position;
$relay->open_gate;
ok($relay->wait_for_messages($accepted + 21),
	'the table is locked, and mail leaves');
ok($node->wait_for_log("letter $letter: .*lock timeout", $log),
	'the last turn has met the lock');
$person->query('ROLLBACK');
ok_heard($letter, $sent, 'and is repeated');
is( $node->sql(
		    'SELECT run, doubts, failed_runs FROM mailman.letter'
		  . " WHERE id = $letter"),
	'1|0|0',
	'by the same worker, without a doubt');

# ---- telling fails: a full queue does it like that

$node->sql('ALTER TABLE mailman.event'
	  . ' ADD CONSTRAINT untold CHECK (NOT notified) NOT VALID');
$log = $node->log_position;
my @letters = map { $node->letter($newsletter) } 1 .. 3;
foreach my $each (@letters)
{
	$node->send($each);
	ok($node->wait_for_letter($each, 'sent'), 'nobody can be told, and sent');
	$node->assert_sums($each, 'nobody can be told');
}
is( $node->sql(
		    'SELECT sum(run), sum(doubts), sum(failed_runs)'
		  . ' FROM mailman.letter WHERE id IN ('
		  . join(',', @letters) . ')'),
	'3|0|0',
	'by the first worker of each, without a doubt');
is($node->sql(untold()), '6', 'six events wait');
ok($node->wait_for_no_worker(undef), 'no worker waits with them');
ok_silent($letters[0], 1, 'nothing is heard of them');
is(scalar($node->log_lines('could not notify of events', $log)),
	1, 'the log says so once');

# the server dies before they are told
$node->kill9;
ok(defined $node->start_again, 'killed, and started again');
@heard = ();
listen_to();
is($node->sql(untold()), '6', 'they still wait');
$node->sql('ALTER TABLE mailman.event DROP CONSTRAINT untold');
ok_heard($_, $sent, 'told, once it is possible') foreach @letters;

# ---- somebody hangs in his own NOTIFY, with the lock of the whole cluster

$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->wait_for('SHOW synchronous_standby_names', 'nobody');
my $hanging = $node->session;
$hanging->query('SET synchronous_commit = on');
$hanging->start("BEGIN; SELECT pg_current_xact_id(); CREATE TEMP TABLE t ();"
	  . " NOTIFY other; COMMIT");
ok( $node->wait_for(
		"SELECT count(*) FROM pg_locks WHERE locktype = 'object'"
		  . " AND classid = 'pg_database'::regclass AND objid = 0"
		  . " AND mode = 'AccessExclusiveLock' AND granted", '1'),
	'somebody has the lock that NOTIFY takes, for long');
@letters = map { $node->letter($newsletter) } 1 .. 2;
$log = $node->log_position;
foreach my $each (@letters)
{
	$node->send($each);
	ok($node->wait_for_letter($each, 'sent'), 'a letter is sent meanwhile');
}
is( $node->sql(
		    'SELECT count(*) FROM pg_locks WHERE NOT granted'), '0',
	'nobody waits for the lock');
is(scalar($node->log_lines('could not notify|a turn failed', $log)),
	0, 'which is no error');
is($node->sql(untold()), '4', 'its events wait');
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
$hanging->result;
ok_heard($_, $sent, 'they are told when it is free') foreach @letters;

# ---- relays

my $solo = Mailman::Relay->new->start;
$node->relay('solo', $solo->url, connections => 3);
my $other = $node->newsletter(relays => ['solo'], subscriptions => 60,
	pattern => 's%s@example.com');

sub of_relay
{
	return join(', ',
		map { $_->{state} }
		grep { ($_->{relay} || '') eq $_[0] } hear());
}

sub ok_relay
{
	my ($name, $expected, $text) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + 180;
	sleep 0.05 while time < $until && of_relay($name) ne $expected;
	return is(of_relay($name), $expected, $text);
}
$solo->set(rules => [ { step => 'MAIL', skip => 20, gate => 'mail' } ]);
$letter = $node->letter($other);
$node->send($letter);
ok($solo->wait_for_held(3), 'a letter on its way');
is(of_relay('solo'), '', 'a relay that is well is no event');
$solo->stop;
ok_relay('solo', 'backing off', 'it goes down');
$node->wait_for(
	"SELECT failures > 1 FROM mailman.relay_state r JOIN pg_foreign_server f"
	  . " ON f.oid = r.server WHERE srvname = 'solo'", 't');
is(of_relay('solo'), 'backing off', 'and is still down: one event');
$solo->set(rules => []);
$solo->start;
ok($node->wait_for_letter($letter, 'sent'), 'it is back: sent');
ok_relay('solo', 'backing off, up', 'it comes up: one event');
like(
	$node->sql(
		    "SELECT string_agg(detail->>'reason', ' ') FROM mailman.event"
		  . " WHERE detail->>'relay' = 'solo'"),
	qr/^relay "solo": /,
	'in words');

# it asks for less
$solo->set(rules =>
	  [ { step => 'RCPT', first => 8, reply => '450 4.7.0 Slow down' } ]);
$letter = $node->letter($other);
$node->send($letter);
ok_relay('solo', 'backing off, up, slowed', 'it asks for less: slowed');
ok_heard($letter, 'kind=letter from=draft to=sending', 'the letter goes on');

# a login refused: out, and the letter pauses
my $strict = Mailman::Relay->new(
	auth          => ['PLAIN'],
	user          => 'news',
	password      => 'right',
	auth_required => 1,
	rules =>
	  [ { step => 'AUTH', reply => '535 5.7.8 Never seen x@example.com' } ])
  ->start;
$node->relay('strict', $strict->url, username => 'news', password => 'wrong');
my $stuck = $node->newsletter(relays => ['strict'], subscriptions => 3,
	pattern => 'p%s@example.com');
my $paused = $node->letter($stuck);
$node->send($paused);
ok_relay('strict', 'out', 'a relay is out');
ok_heard(
	$paused,
	'kind=letter from=draft to=sending, kind=letter from=sending to=paused',
	'and its letter pauses');
like(
	$node->sql("SELECT detail->>'reason' FROM mailman.event"
		  . " WHERE letter_id = $paused ORDER BY id DESC LIMIT 1"),
	qr/535 5\.7\.8/,
	'the reason is in the table');

# ---- doubt

my $rude = Mailman::Relay->new(
	rules => [ { step => 'dot', first => 3, drop => 1 } ])->start;
$node->relay('rude', $rude->url, connections => 1);
my $doubted = $node->newsletter(relays => ['rude'], subscriptions => 5,
	pattern => 'd%s@example.com');
$letter = $node->letter($doubted);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'three are in doubt, and sent');
$node->wait_for(untold(), '0');
hear();
my @doubts = grep { $_->{kind} eq 'doubt' } @heard;
cmp_ok(scalar(@doubts), '>=', 1, 'doubt is told');
cmp_ok(scalar(@doubts), '<=', 3, 'and not at length');
is($doubts[0]{letter_id}, $letter, 'whose it is');

# ---- what all of that has in common

is((grep { JSON::PP->new->encode($_) =~ /@/ } @heard), 0,
	'no address was told');
is((grep { exists $_->{reason} } @heard), 0, 'and no words of relays');
my %times;
$times{ $_->{id} }++ foreach @heard;
is((grep { $_ > 1 } values %times), 0, 'nothing was told twice');
my ($first) = sort { $a <=> $b } keys %times;
is( join(',', sort { $a <=> $b } keys %times),
	$node->sql("SELECT string_agg(id::text, ',' ORDER BY id)"
		  . " FROM mailman.event WHERE id >= $first"),
	'and all that is in the table was told');

# ---- who may write them

like(
	$node->sql_error("INSERT INTO mailman.event (kind) VALUES ('adopt')"),
	qr/written by the extension only/, 'nobody makes one up');
like($node->sql_error('UPDATE mailman.event SET notified = false'),
	qr/written by the extension only/, 'or rewrites them');

$node->stop;
$_->stop foreach $relay, $solo, $strict, $rude;
done_testing();
