
#-------------------------------------------------------------------------
#
# 062_purge.pl
#	  What ended long ago is deleted, beside a letter that is being sent.
#
# Who sends is not held up, and what has not ended, or not long enough ago, is
# not touched.  A purge that is ended in the middle has done what it has done,
# and the next one goes on there.
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
use Mailman::Sink;

plan skip_all => 'smtp-sink (package postfix) is not installed'
  unless Mailman::Sink->available;

my $number = 25_000;
my $relay  = Mailman::Relay->new->start;
my $sink   = Mailman::Sink->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => { max_prepared_transactions => 5 });

$node->relay('sink',  $sink->url,  connections => 10);
$node->relay('relay', $relay->url, connections => 2);
my $big = $node->newsletter(relays => ['sink'], subscriptions => $number);
my $small = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 30,
	pattern       => 's%s@example.com');
my $person = $node->session(notices => 1, timeout => 600);
$node->sql('ANALYZE mailman.subscription');

sub rows
{
	my ($letter) = @_;
	return $node->sql(
		    'SELECT (SELECT count(*) FROM mailman.delivery'
		  . " WHERE letter_id = $letter), (SELECT count(*)"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter)");
}

# As if it had ended so many days ago
sub age
{
	my ($days, @letters) = @_;
	my $list = join(',', @letters);
	$node->sql(
		    'BEGIN; SET LOCAL session_replication_role = replica;'
		  . " UPDATE mailman.letter SET state_at = state_at - interval"
		  . " '$days days' WHERE id IN ($list);"
		  . " UPDATE mailman.event SET at = at - interval '$days days'"
		  . " WHERE letter_id IN ($list); COMMIT");
	return;
}

# ---- two letters of long ago, and one of each other kind

my @old = map { $node->letter($big) } 1 .. 2;
foreach my $letter (@old)
{
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'a letter of long ago');
	$node->wait_for_no_worker($letter);
}
my $tally = $node->tally($old[0]);
my %other;
foreach my $kind (qw(recent cancelled paused posted held))
{
	$other{$kind} = $node->letter($small);
	next if $kind eq 'cancelled' || $kind eq 'paused';
	$node->send($other{$kind});
	ok($node->wait_for_letter($other{$kind}, 'sent'), "$kind: sent");
}
$node->wait_for_no_worker(undef);
foreach my $kind (qw(cancelled paused))
{
	$relay->gate(0);
	$node->send($other{$kind});
	ok($relay->wait_for_held(2), "$kind: on its way");
	$node->sql('SELECT mailman_'
		  . ($kind eq 'paused' ? 'pause' : 'cancel')
		  . "($other{$kind})");
	$relay->open_gate;
	$node->wait_for_no_worker($other{$kind});
}
like($node->tally($other{cancelled})->{skipped},
	qr/^[1-9]/, 'who was cancelled is skipped');
age(100, @old, @other{qw(cancelled paused posted held)});

# somebody is about to send one of them again
$node->subscribe($small, 1);
my $sender = $node->session;
$sender->query('BEGIN');
is($sender->query("SELECT mailman_send($other{posted})"),
	'1', 'posted: again, in an open transaction');
my %before = map { $_ => rows($other{$_}) } keys %other;

# ---- purged beside a letter that is being sent

my $current = $node->letter($big);
$node->send($current);
ok( $node->wait_for(
		"SELECT count(*) > 500 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $current", 't'),
	'a letter is being sent');
my ($delivered) = split(/\|/, rows($current));
$person->start("CALL mailman_purge('90 days', 1000)");
my (@wrong, %seen);
while (!$person->done)
{
	foreach my $letter (@old, $current)
	{
		my $sums = $node->sql($node->sums_sql($letter));
		push @wrong, "$letter: $sums" if $sums ne '';
	}
	my $line = $node->sql('SELECT query FROM pg_stat_activity WHERE pid = '
		  . $person->backend);
	$seen{progress} = 1 if $line =~ /^mailman_purge\(\): \d+ deliveries/;
	sleep 0.05;
}
my $output = $person->result;
is(join('; ', @wrong), '', 'the sums hold at every look');
ok($seen{progress}, 'pg_stat_activity tells how far it is');
my $deliveries = 2 * $number + (split /\|/, $before{cancelled})[0]
  + (split /\|/, $before{held})[0];
like($output, qr/purged $deliveries deliveries of 4 letters, and \d+ events/,
	'all that is old and has ended');
ok($node->wait_for_letter($current, 'sent'), 'the other one is sent');
is(rows($current), "$number|$number", 'to all');
is( $node->sql(
		    'SELECT run, doubts, failed_runs FROM mailman.letter'
		  . " WHERE id = $current"),
	'1|0|0',
	'by its first worker');
$node->assert_sums($current, 'sent beside it');
foreach my $letter (@old, @other{qw(cancelled held)})
{
	is(rows($letter), '0|0', 'its rows are gone');
	$node->assert_sums($letter, 'purged');
}
is_deeply($node->tally($old[0]), $tally, 'the tally stays');
is(rows($other{$_}), $before{$_}, "$_: not purged")
  foreach qw(recent paused posted);
is( $node->sql(
		    'SELECT count(*) FROM mailman.letter WHERE purged_at IS NOT NULL'),
	'4', 'and nothing else is marked');
is( $node->sql(
		    'SELECT count(*) FROM mailman.event'
		  . " WHERE at < now() - interval '90 days'"),
	'0', 'events of then are gone');
cmp_ok(
	$node->sql('SELECT count(*) FROM mailman.event'), '>', 0,
	'and those of now are not');

# ---- who was about to send goes on, and is spared

$sender->query('COMMIT');
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $other{posted}", '31'),
	'posted: sent to one more');
$node->wait_for_no_worker($other{posted});
$person->query("CALL mailman_purge('90 days')");
is(rows($other{posted}), '31|31', 'and ended just now');
age(100, $other{posted});
$person->query("CALL mailman_purge('90 days')");
is(rows($other{posted}), '0|0', 'until that is long ago');
$node->assert_sums($other{posted}, 'purged at last');

# ---- what a purged letter still is

foreach my $call ('send', 'retry')
{
	my (undef, $error) = $person->try("SELECT mailman_$call($old[0])");
	like($error, qr/55006: letter $old[0] was purged.*HINT:/s,
		"mailman_$call() refuses it");
}
is($node->sql("SELECT mailman_deliveries($old[0]) IS NULL"),
	't', 'mailman_deliveries() is null');
is($node->sql("SELECT mailman_deliveries($other{recent}) IS NULL"),
	'f', 'but of no other');
like($node->sql("SELECT mailman_preview($old[0])"),
	qr/^Subject: /m, 'mailman_preview() shows it');
my $reader = $node->sql(
	    'INSERT INTO mailman.subscription (newsletter_id, email)'
	  . " VALUES ($small, 'gone\@example.com') RETURNING id");
my $last = $node->letter($small);
$node->send($last, $reader);
ok($node->wait_for_letter($last, 'sent'), 'a letter to one reader');
$node->wait_for_no_worker($last);
like(
	$node->sql_error("DELETE FROM mailman.subscription WHERE id = $reader"),
	qr/foreign key/, 'who has deliveries cannot be deleted');
age(100, $last);
$person->query("CALL mailman_purge('90 days')");
is($node->sql_error("DELETE FROM mailman.subscription WHERE id = $reader"),
	undef, 'who has none any more can');
is($node->sql_error("DELETE FROM mailman.letter WHERE id = $last"),
	undef, 'nor is its letter held');

# ---- ended in the middle: what is done stays done

age(100, $current);
$person->start("CALL mailman_purge('90 days', 1)");
ok( $node->wait_for(
		"SELECT count(*) < $number FROM mailman.delivery"
		  . " WHERE letter_id = $current", 't'),
	'a purge in very small steps');
$node->sql('SELECT pg_cancel_backend(' . $person->backend . ')');
my (undef, $error) = $person->try_result;
like($error, qr/57014: canceling statement/, 'is called off');
my ($left) = split(/\|/, rows($current));
cmp_ok($left, '>', 0,       'not all of it is gone');
cmp_ok($left, '<', $number, 'what is done is done');
$node->assert_sums($current, 'purged in part');
$person->query("CALL mailman_purge('90 days')");
is(rows($current), '0|0', 'the next one goes on');
$node->assert_sums($current, 'purged at last');

# ---- by whom, and how

like(($person->try("BEGIN; CALL mailman_purge('1 day'); ROLLBACK"))[0],
	qr/2D000: mailman_purge\(\) cannot run inside a transaction block/,
	'not in a transaction');
$person->try('ROLLBACK');
like(($person->try("CALL mailman_purge('-1 day')"))[1],
	qr/22023: older_than must not be negative/, 'not of the future');
like(($person->try("CALL mailman_purge(NULL)"))[1],
	qr/22004: older_than must not be null/, 'not of no time');
like(($person->try("CALL mailman_purge('1 day', 0)"))[1],
	qr/22023: batch must be/, 'not nothing at once');

$node->sql("CREATE ROLE editor LOGIN; CREATE ROLE stranger LOGIN;"
	  . " GRANT USAGE ON FOREIGN SERVER relay TO editor");
my $own = $node->newsletter(
	owner         => 'editor',
	relays        => ['relay'],
	subscriptions => 5,
	pattern       => 'e%s@example.com');
my $his = $node->letter($own);
$node->send($his);
ok($node->wait_for_letter($his, 'sent'), 'a letter of somebody else');
$node->wait_for_no_worker(undef);
age(100, $his, $other{recent});
my $events = $node->sql('SELECT count(*) FROM mailman.event');
like(($node->session(user => 'stranger')->try("CALL mailman_purge('1 day')"))[1],
	qr/42501: permission denied for procedure/, 'EXECUTE is not for all');
$node->sql('GRANT EXECUTE ON PROCEDURE mailman_purge TO editor, stranger');
is(($node->session(user => 'stranger')->try("CALL mailman_purge('1 day')"))[1],
	undef, 'a stranger purges');
is(rows($his), '5|5', 'nothing');
is($node->sql('SELECT count(*) FROM mailman.event'), $events,
	'not even events');
my $editor = $node->session(user => 'editor', notices => 1);
like($editor->query("CALL mailman_purge('1 day')"),
	qr/purged 5 deliveries of 1 letters, and 2 events/,
	'a member of the owner purges his');
is(rows($his), '0|0', 'his letter');
is(rows($other{recent}), '30|30', 'and no other');
is($editor->query('SELECT current_user'), 'editor', 'and is who he was');
like(($editor->try('DELETE FROM mailman.event'))[1],
	qr/42501: permission denied/, 'with the rights he had');

# ---- somebody's code is not run

$node->sql('CREATE TABLE click (email bigint'
	  . ' REFERENCES mailman.newsletter_email ON DELETE CASCADE)');
like(($person->try("CALL mailman_purge('1 day')"))[1],
	qr/42501: a foreign key of table "click" refers to "mailman.newsletter_email"/,
	'a foreign key on what is deleted is refused');
my $free = $node->letter($small);
$node->send($free);
ok($node->wait_for_letter($free, 'sent'), 'but holds up no letter');

$_->quit foreach $person, $sender, $editor;
$node->stop;
$relay->stop;
$sink->stop;
done_testing();
