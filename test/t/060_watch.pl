
#-------------------------------------------------------------------------
#
# 060_watch.pl
#	  What an operator sees of a letter that is being sent, and a script that
#	  waits for it.
#
# The relay holds the letter at a gate, so what the views say of that moment
# is known.  Every wait of a worker is brought about and looked for; before
# PostgreSQL 17 they have no names.
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

my $number = 200;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create('main', preload => 1,
	conf => { 'mailman.shutdown_grace' => '120s' });
my $named = $node->sql('SHOW server_version_num') >= 170000;

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# The letter's worker waits so
sub waits
{
	my ($where, $letter, $name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $expected = 'Extension|' . ($named ? $name : 'Extension');
	return ok(
		$where->wait_for(
			"SELECT coalesce(string_agg(wait_event_type || '|' || wait_event,"
			  . " ' '), '') FROM mailman.worker WHERE letter_id = $letter",
			qr/(^| )\Q$expected\E( |$)/),
		"$what: $expected");
}

sub line
{
	my ($letter, @columns) = @_;
	return $node->sql('SELECT '
		  . join(', ', @columns)
		  . " FROM mailman.progress WHERE letter_id = $letter");
}

# A session that waits for a letter
sub waiting
{
	my ($letter, @arguments) = @_;
	my $session = $node->session;
	$session->start(
		'CALL mailman_wait(' . join(', ', $letter, @arguments) . ')');
	return $session;
}

# It has looked, and waits
sub is_waiting
{
	my ($session) = @_;
	return $node->wait_for(
		'SELECT wait_event FROM pg_stat_activity WHERE pid = '
		  . $session->backend,
		$named ? 'MailmanLetter' : 'Extension');
}

# ---- a letter in the middle

my $letter = $node->letter($newsletter, ref => 'spring');
is($node->sql('SELECT count(*) FROM mailman.progress'), '0', 'a draft: no line');
$relay->gate(100);
$node->send($letter);
my $script = waiting($letter);
my $worker = $node->wait_for_worker($letter);
ok($relay->wait_for_held(4), 'all sessions wait for the relay');
ok( $node->wait_for(
		"SELECT delivered FROM mailman.progress WHERE letter_id = $letter",
		100),
	'what has left is recorded');
is(line($letter, qw(letter state percent delivered failed recipients worker)),
	"spring|sending|50.0|100|0|$number|$worker", 'progress in the middle');
is(line($letter, "length(bar) || ' ' || position(chr(9617) IN bar)"),
	'20 11', 'half of the bar is full');
is(line($letter, 'pending + sending + deferred + delivered + failed + skipped'
		  . ' + doubtful = recipients AND sending >= 4'),
	't', 'the counts sum');
is( $node->sql(
		"SELECT pid, database, letter_id, state FROM mailman.worker"
		  . " WHERE state <> 'starting'"),
	"$worker|postgres|$letter|sending", 'its worker');
like(
	$node->sql('SELECT activity FROM mailman.worker'),
	qr/^letter $letter: 100 of $number delivered/,
	'what it says');
waits($node, $letter, 'MailmanReply', 'the relay is silent');
ok(is_waiting($script), 'who waits for the letter, waits');
ok(!$script->done, 'as it is not sent');
is( $node->sql(
		'SELECT backend_xmin IS NULL AND backend_xid IS NULL'
		  . ' FROM pg_stat_activity WHERE pid = '
		  . $script->backend),
	't', 'and holds back no vacuum');
ok( $node->wait_for(
		"SELECT rate = 0 AND eta IS NULL FROM mailman.progress"
		  . " WHERE letter_id = $letter", 't'),
	'it has come to a halt');

# without rights to see the activity of others
$node->sql('CREATE ROLE reader LOGIN BYPASSRLS');
$node->sql("SELECT mailman_grant('reader', 'read')");
my $reader = $node->session(user => 'reader');
is( $reader->query(
		'SELECT pid, letter_id, wait_event IS NULL FROM mailman.worker'),
	"$worker|$letter|t", 'a reader sees which workers there are');
is( $reader->query('SELECT delivered, worker FROM mailman.progress'),
	"100|$worker", 'and how the letter is');
is(($reader->try("CALL mailman_wait($letter)"))[1] =~ /42501/ ? 1 : 0,
	1, 'but waits for no letter of a newsletter that is not theirs');
$reader->quit;

# ---- those who do not wait to the end

my $impatient = waiting($letter, "'300 ms'");
is($impatient->result, 'sending', 'after the timeout: the state it is in');
$impatient->start("CALL mailman_wait($letter)");
ok(is_waiting($impatient), 'without: it waits');
$node->sql('SELECT pg_cancel_backend(' . $impatient->backend . ')');
like(($impatient->try_result)[1], qr/57014/, 'until it is cancelled');
is($impatient->query("CALL mailman_wait($letter, '0')"),
	'sending', 'the session is well after that');
is( $impatient->query(
		    "BEGIN; CALL mailman_wait($letter, '20 ms'); COMMIT"),
	'sending', 'and may wait in a transaction');
$impatient->start("CALL mailman_wait($letter)");
ok(is_waiting($impatient), 'it waits again');
$node->sql('SELECT pg_terminate_backend(' . $impatient->backend . ')');
like(($impatient->try_result)[1], qr/57P01|connection lost/,
	'until it is told to go');
$impatient->quit;

# ---- paused: not before what is in flight is recorded

my $pause = waiting($letter);
ok(is_waiting($pause), 'another waits');
$node->sql("SELECT mailman_pause($letter)");
is(line($letter, 'state'), 'paused', 'it is paused');
is( $node->sql("CALL mailman_wait($letter, '500 ms')"),
	'paused', 'in flight: the timeout ends the wait');
ok(!$pause->done && !$script->done, 'the others wait');
$relay->open_gate;
is($pause->result,  'paused', 'those in flight are recorded: paused');
is($script->result, 'paused', 'for everybody');
is(line($letter, 'sending'), '0', 'nobody is on the way');
$node->sql("SELECT mailman_resume($letter)");
is($node->sql("CALL mailman_wait($letter)"), 'sent', 'resumed: sent');
is(line($letter, qw(state percent delivered rate eta)),
	"sent|100.0|$number||", 'with everybody');

# ---- sent, and posted again

$relay->gate(0);
$node->subscribe($newsletter, 10);
$node->send($letter);
$script = waiting($letter);
ok(is_waiting($script), 'sent and posted again: it waits');
is(line($letter, qw(state percent recipients)),
	'sending|95.2|210', 'as it is on its way');
$relay->open_gate;
is($script->result, 'sent', 'until all is sent again');
is(line($letter, 'delivered'), '210', 'all');

# ---- cancelled: not before the rest is skipped

$letter = $node->letter($newsletter);
$relay->gate(20);
$node->send($letter);
ok($relay->wait_for_held(4), 'a letter is held');
$node->sql("SELECT mailman_cancel($letter)");
$script = waiting($letter);
ok(is_waiting($script), 'cancelled: it waits for what is in flight');
$relay->open_gate;
is($script->result, 'cancelled', 'cancelled');
is(line($letter, qw(pending sending deferred percent)),
	'0|0|0|100.0', 'and nothing of it is to come');
is( line($letter, 'delivered + skipped = 210 AND delivered >= 20'),
	't', 'all are accounted for');

# ---- what became of whom

$letter = $node->letter($newsletter);
$relay->set(
	rules => [
		{ step => 'RCPT', match => '^r1?.@', reply => '550 5.7.1 go away' },
		{ step => 'RCPT', match => '^r2.@',  reply => '450 4.2.2 full' }
	]);
$node->send($letter);
ok( $node->wait_for(
		"SELECT deferred, pending + sending FROM mailman.progress"
		  . " WHERE letter_id = $letter", '10|0'),
	'some are deferred');
is( line(
		$letter,
		"eta BETWEEN '3 min' AND '6 min'",
		"next_due - now() BETWEEN '3 min' AND '6 min'"),
	't|t', 'they are due in five minutes, more or less');
is( $node->sql(
		"SELECT state, code, enhanced_code, domain, sample_reply, count"
		  . " FROM mailman.failure_summary WHERE letter_id = $letter"),
	"failed|550|5.7.1|example.com|go away|19\n"
	  . 'deferred|450|4.2.2|example.com|full|10',
	'failure_summary');
my $file = "$PostgreSQL::Test::Utils::tmp_check/recipients.csv";
$node->session->query(
	"\\copy (SELECT * FROM mailman.recipient WHERE letter_id = $letter"
	  . " ORDER BY subscription_id) TO '$file' CSV HEADER");
my @lines = split(/\n/, slurp_file($file));
is(scalar @lines, 211, '\copy of recipients: a line for each');
is( $lines[0],
	'letter_id,subscription_id,address,state,attempts,code,enhanced_code,'
	  . 'reply,reason,due_at,sent_at,relay',
	'under a head line');
like($lines[1], qr/^$letter,\d+,r1\@example.com,failed,1,550,5.7.1,go away,RCPT: 550 5.7.1 go away,,,$/,
	'one that failed');
like($lines[20], qr/^$letter,\d+,r20\@example.com,deferred,1,450,4.2.2,full,RCPT: 450 4.2.2 full,\d{4}-[^,]+,,$/,
	'one that is deferred');
like($lines[210], qr/^$letter,\d+,r210\@example.com,delivered,1,250,,Ok: queued as \d+,,,\d{4}-[^,]+,relay$/,
	'one that was delivered');
$node->sql("SELECT mailman_cancel($letter)");
is($node->sql("CALL mailman_wait($letter)"), 'cancelled',
	'without the deferred');
$relay->open_gate;

# ---- every wait has a name

ok( $node->wait_for(
		"SELECT wait_event FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman dispatcher'",
		$named ? 'MailmanDispatcher' : 'Extension'),
	'the dispatcher has nothing to do');

# a relay that does not greet
my $mute = IO::Socket::INET->new(
	LocalAddr => '127.0.0.1',
	Listen    => 100,
	Proto     => 'tcp') or die "no free port: $@";
my $mute_url = 'smtp://127.0.0.1:' . $mute->sockport;
$node->relay('mute', $mute_url, connections => 2);
my $other = $node->newsletter(relays => ['mute'], subscriptions => 30);
$letter = $node->letter($other);
$node->send($letter);
waits($node, $letter, 'MailmanConnect', 'the relay does not greet');
my $checking = $node->session;
$checking->start("SELECT * FROM mailman_check('mute')");
ok( $node->wait_for(
		'SELECT wait_event FROM pg_stat_activity WHERE pid = '
		  . $checking->backend,
		$named ? 'MailmanCheck' : 'Extension'),
	'nor does it greet mailman_check()');
$node->sql('SELECT pg_cancel_backend(' . $checking->backend . ')');
like(($checking->try_result)[1], qr/57014/, 'which can be cancelled');
$checking->quit;

# and one that refuses
close($mute);
$node->sql("UPDATE mailman.newsletter SET relays = '{relay}'");
$node->sql("SELECT mailman_pause($letter), mailman_resume($letter)");
$node->sql("ALTER SERVER relay OPTIONS (ADD rate '1/h')");
waits($node, $letter, 'MailmanSlot', 'the rate is used up');
ok( $node->wait_for(
		"SELECT reason IS NULL AND worker IS NOT NULL FROM mailman.progress"
		  . " WHERE letter_id = $letter", 't'),
	'which needs no reason');
$node->sql("ALTER SERVER relay OPTIONS (DROP rate)");
is($node->sql("CALL mailman_wait($letter)"), 'sent', 'the limit is lifted');

# more may be posted: a second, so it may be over before we look
my $seen = 0;
for (my $tries = 0; $tries < 30 && !$seen; $tries++)
{
	$letter = $node->letter($other);
	$node->send($letter);
	my $until = time + 60;
	while (time < $until)
	{
		my $now = $node->sql(
			    "SELECT state, (SELECT wait_event FROM mailman.worker w"
			  . " WHERE w.pid = p.worker) FROM mailman.progress p"
			  . " WHERE letter_id = $letter");
		$seen = 1
		  if $now eq 'sent|' . ($named ? 'MailmanWork' : 'Extension');
		last if $seen || $now eq 'sent|';
	}
}
ok($seen, 'all is sent: the worker waits for more');

$relay->stop;
$letter = $node->letter($other);
$node->send($letter);
waits($node, $letter, 'MailmanRelay', 'the relay is down');
ok( $node->wait_for(
		"SELECT reason FROM mailman.progress WHERE letter_id = $letter",
		qr/^relay "relay": /),
	'which is the reason that is shown');
$node->sql("SELECT mailman_cancel($letter)");
$node->stop;
$relay->start;

# without a dispatcher the worker itself waits for hours, or for its place
my $plain = Mailman::Cluster->create(
	'plain',
	conf => {
		'mailman.max_workers'    => 1,
		'mailman.lock_timeout'   => '100ms',
		'mailman.retry_schedule' => '1h'
	});
$plain->relay('relay', $relay->url);
$newsletter = $plain->newsletter(relays => ['relay'], subscriptions => 3);
$relay->set(
	rules => [ { step => 'RCPT', match => '^r2@', reply => '450 4.2.2 full' } ]
);
$letter = $plain->letter($newsletter);
$plain->send($letter);
waits($plain, $letter, 'MailmanDue', 'a retry is not due yet');
ok( $plain->wait_for(
		"SELECT state FROM mailman.worker WHERE letter_id = $letter",
		'waiting'),
	'it waits');
$relay->gate(0);
my $first = $plain->letter($newsletter);
$plain->send($first);
ok($relay->wait_for_held(1), 'one has the only place');
my $second = $plain->letter($newsletter);
$plain->send($second);
waits($plain, $second, 'MailmanPlace', 'another waits for it');
is( $plain->sql("SELECT state FROM mailman.worker WHERE letter_id = $second"),
	'waiting', 'and has not begun');
like(
	$plain->sql("SELECT reason FROM mailman.progress WHERE letter_id = $second"),
	qr/^waits for a place since \d\d:\d\d:\d\d, 0 before it$/,
	'as progress shows');
my $holder = $plain->session;
$holder->query("BEGIN; SELECT FROM mailman.letter WHERE id = $first FOR UPDATE");
$relay->open_gate;
waits($plain, $first, 'MailmanLock', 'somebody holds the letter');
$holder->query('ROLLBACK');
$holder->quit;
is($plain->sql("CALL mailman_wait($first)"), 'sent', 'and lets go');
is($plain->sql("CALL mailman_wait($second)"), 'sent', 'the other follows');

$plain->stop;
$relay->stop;
done_testing();
