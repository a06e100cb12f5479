
#-------------------------------------------------------------------------
#
# 024_schedule.pl
#	  Letters for later, and what may become of them before and after.
#
# Due, due while the server was down, moved, topped up, called back; retries
# that wait without a worker; and mailman_retry().
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

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes     => 16,
		'mailman.retry_schedule' => '15s'
	});
$node->relay('relay', $relay->url, connections => 5);

my $none = "SELECT count(*) FROM pg_stat_activity"
  . " WHERE backend_type = 'mailman letter'";

sub newsletter
{
	return $node->newsletter(relays => ['relay'], subscriptions => $_[0]);
}

# Who misses a moment and finds it by chance is a minute late, or more
my $lateness = 30;

# A letter scheduled in so many seconds
sub scheduled
{
	my ($newsletter, $seconds, @recipients) = @_;
	my $letter = $node->letter($newsletter);

	$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
		  . " + interval '$seconds s' WHERE id = $letter");
	$node->send($letter, @recipients);
	return $letter;
}

# Seconds from its send_at to its first mail
sub late
{
	my ($letter) = @_;
	return $node->sql(
		    "SELECT round(extract(epoch FROM min(e.sent_at) - l.send_at), 2)"
		  . " FROM mailman.letter l"
		  . " JOIN mailman.newsletter_email e ON e.letter_id = l.id"
		  . " WHERE l.id = $letter GROUP BY l.send_at");
}

sub ids
{
	my ($newsletter) = @_;
	return split(
		/\n/,
		$node->sql("SELECT id FROM mailman.subscription"
			  . " WHERE newsletter_id = $newsletter ORDER BY id"));
}

# Do something to a letter that is due in a few seconds, and not later; on a
# machine that is too slow for it, to another that has more time.  Returns the
# letter, when it was due, and what the action gave.
sub before_due
{
	my ($newsletter, $action, $again) = @_;

	foreach my $seconds (3, 6, 12, 24, 48)
	{
		my $letter = scheduled($newsletter, $seconds);
		my $due    = $node->sql("SELECT extract(epoch FROM send_at)"
			  . " FROM mailman.letter WHERE id = $letter");
		my $result = $action->($letter);
		return ($letter, $due, $result) if time < $due;
		$again->() if $again;
		$node->wait_for(
			"SELECT state <> 'sending' AND (state <> 'scheduled'"
			  . " OR send_at > clock_timestamp() + interval '10 min')"
			  . " FROM mailman.letter WHERE id = $letter", 't');
	}
	die 'the machine is too slow to do anything before a letter is due';
}

# Seconds until some time after that moment
sub until_after
{
	my ($due) = @_;
	my $left = $due + 1.5 - time;
	return $left > 0.1 ? $left : 0.1;
}

# ---- send_at: no worker meanwhile, and not before; topped up at the start

my $newsletter = newsletter(10);
my $whole      = scheduled($newsletter, 3600);
my @ids        = ids($newsletter);
my $some       = scheduled($newsletter, 3600, @ids[ 0 .. 4 ]);
is(join(' ', map { $node->letter_state($_) } $whole, $some),
	'scheduled scheduled', 'two letters are scheduled');
$node->assert_sums($whole, 'scheduled');
$node->subscribe($newsletter, 3);
$node->sql("UPDATE mailman.subscription SET state = 'unsubscribed'"
	  . " WHERE id = $ids[9]");
ok($node->wait_for($none, '0'), 'who looked at them has gone');

# one that was started for the second letter may have been late to look
my $quiet   = 0;
my $give_up = time + 60;
$quiet = $node->stays($none, '0', 1) until $quiet || time > $give_up;
ok($quiet, 'no worker waits');
$node->sql("UPDATE mailman.letter SET send_at = clock_timestamp()"
	  . " + interval '5 s' WHERE id IN ($whole, $some)");
ok( $node->stays_until_due(
		$whole, 'SELECT count(*) FROM mailman.newsletter_email', '0'),
	'nothing leaves before');
ok($node->wait_for_letter($_, 'sent'), "letter $_ starts by itself")
  foreach $whole, $some;
diag(
	sprintf 'scheduled letters left %s and %s s after their time',
	late($whole), late($some));
foreach my $letter ($whole, $some)
{
	cmp_ok(late($letter), '>=', 0, 'not early');
	cmp_ok(late($letter), '<', $lateness, 'nor late');
}
is($node->tally($whole)->{delivered},
	12, 'the whole list is who subscribes when it starts');
is($node->tally($whole)->{skipped}, 1, 'less who has left');
is($node->tally($some)->{delivered}, 5, 'an explicit list stays as it is');
$node->assert_sums($_, 'sent') foreach $whole, $some;

# ---- the server is down when it is due

my $later = scheduled($newsletter, 3600);
my ($due, $at) =
  before_due($newsletter, sub { $node->stop; }, sub { $node->start; });
sleep until_after($at);
my $start = time;
$node->start;
ok($node->wait_for_letter($due, 'sent'),
	'due while the server was down: sent when it is up');
diag(sprintf 'after the start: %.1f s', time - $start);
cmp_ok(time - $start, '<', $lateness, 'at once');
is($node->tally($due)->{delivered}, 12, 'to everybody');
is($node->letter_state($later), 'scheduled', 'the other is not due');

# ---- UPDATE of send_at

$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 s'"
	  . " WHERE id = $later");
ok($node->wait_for_letter($later, 'sent'), 'moved forward: sent');
my $late = late($later);
diag("moved from in an hour to in a second: $late s after that");
cmp_ok($late, '>=', 0, 'not at once');
cmp_ok($late, '<', $lateness, 'but when it should');

(my $put_off, $at) = before_due(
	$newsletter,
	sub {
		$node->sql("UPDATE mailman.letter SET"
			  . " send_at = now() + interval '1 hour' WHERE id = $_[0]");
	});
ok( $node->stays(
		"SELECT state, (SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $put_off) FROM mailman.letter"
		  . " WHERE id = $put_off",
		'scheduled|0', until_after($at)),
	'put off: it does not leave at the old time');
$node->sql("UPDATE mailman.letter SET send_at = NULL WHERE id = $put_off");
ok($node->wait_for_letter($put_off, 'sent'), 'send_at NULL: now');
$node->assert_sums($put_off, 'moved');

# ---- called back before it starts: a draft again

my $before;
(my $called, $at, my $state) = before_due(
	$newsletter,
	sub {
		$before = $relay->pairs;
		return $node->sql("SELECT mailman_cancel($_[0])");
	});
is($state, 'draft', 'cancelled before its start: a draft');
ok( $node->stays(
		"SELECT state, (SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $called AND state <> 'skipped')"
		  . " FROM mailman.letter WHERE id = $called",
		'draft|0', until_after($at)),
	'which does not leave when it was due');
is($relay->pairs, $before, 'nobody got it');
$node->assert_sums($called, 'a draft again');
$node->sql("UPDATE mailman.letter SET subject = 'Better', send_at = NULL"
	  . " WHERE id = $called");
is($node->send($called), '12', 'it can be changed and sent');
ok($node->wait_for_letter($called, 'sent'), 'and is');
is($relay->pairs - $before, 12, 'to everybody');
$node->assert_sums($called, 'sent after all');

# ---- called back in the middle: the rest is skipped, for good

my $many = newsletter(100);
my $slow = $node->letter($many);
$relay->gate(20);
$node->send($slow);
ok( $node->wait_for(
		"SELECT count(*) >= 10 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $slow", 't'),
	'a letter on its way');
ok($relay->wait_for_held(5), 'some of it in flight');
is($node->sql("SELECT mailman_cancel($slow)"), 'cancelled', 'cancelled');
ok($node->wait_for_handed_back($slow, 5), 'its worker begins no more');
$relay->open_gate;
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery WHERE letter_id = $slow"
		  . " AND state NOT IN ('delivered', 'skipped')", '0'),
	'the rest is skipped');
my $states = $node->states($slow);
diag("cancelled: $states->{delivered} delivered, $states->{skipped} skipped");
cmp_ok($states->{skipped}, '>', 50, 'most of them');
is( $node->sql(
		    "SELECT count(*) FROM mailman.delivery WHERE letter_id = $slow"
		  . " AND state = 'skipped' AND coalesce(reason, '') !~ 'cancel'"),
	'0', 'with the reason');
is($relay->pairs - $before - 12,
	$states->{delivered}, 'what the relay has is recorded');
ok($node->wait_for_no_worker($slow), 'its worker ends');
foreach my $call ("mailman_resume($slow)", "mailman_send($slow)",
	"mailman_retry($slow, '{failed,doubtful}')")
{
	my $error = $node->sql_error("SELECT $call");
	ok( (defined $error && $error =~ /cancelled/)
		  || $node->letter_state($slow) eq 'cancelled',
		"$call does not bring it back");
}
is($node->letter_state($slow), 'cancelled', 'it stays cancelled');
is($node->states($slow)->{skipped}, $states->{skipped}, 'so do they');
$node->assert_sums($slow, 'cancelled');

# ---- a retry due later costs no worker meanwhile

$newsletter = newsletter(5);
@ids        = ids($newsletter);
my $letter = $node->letter($newsletter);
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^r1@',
			first => 1,
			reply => '450 4.2.0 Come back later'
		}
	]);
$node->send($letter);
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND state = 'deferred'", '1'),
	'one is deferred');
my ($due_at, $right) = split(
	/\|/,
	$node->sql(
		"SELECT due_at, due_at - queued_at >= interval '12 s'"
		  . " FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = 'deferred'"));
is($right, 't', 'for as long as the schedule says, or nearly');
ok($node->wait_for($none, '0'), 'no worker waits for it');
my $run =
  $node->sql("SELECT run FROM mailman.letter WHERE id = $letter");
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter", '5'),
	'it is tried again by itself');
$late = $node->sql(
	"SELECT round(extract(epoch FROM sent_at - '$due_at'), 2)"
	  . " FROM mailman.newsletter_email"
	  . " WHERE letter_id = $letter AND attempts = 2");
diag("delivered $late s after it was due");
cmp_ok($late, '>=', 0, 'not before its time');
cmp_ok($late, '<', $lateness, 'nor much later');
cmp_ok($node->sql("SELECT run FROM mailman.letter WHERE id = $letter"),
	'>', $run, 'by another worker');
ok($node->wait_for_letter($letter, 'sent'), 'sent');
$node->assert_sums($letter, 'retried');

# ---- a deferred one survives a restart (looked at again at the end)

my $others = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 5,
	pattern       => 'd%s@example.com');
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^d2@',
			first => 1,
			reply => '450 4.2.0 Come back later'
		}
	]);
my $deferred = $node->letter($others);
$node->send($deferred);
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $deferred AND state = 'deferred'", '1'),
	'one is deferred');
$node->restart;

# ---- mailman_retry(): who failed, and, by name, who is in doubt

$newsletter = newsletter(6);
$relay->set(
	rules => [
		{
			step  => 'RCPT',
			match => '^r1@',
			first => 1,
			reply => '550 5.7.1 Not today'
		},
		{ step => 'RCPT', match => '^r2@', reply => '550 5.1.1 Unknown' },
		{ step => 'dot', match => '^r[34]@', first => 2, drop => 1 }
	]);
$letter = $node->letter($newsletter, on_doubt => 'hold');
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'failures of all kinds');
$states = $node->states($letter);
is("@{$states}{qw(delivered failed doubtful)}",
	'2 2 2', 'two failed, two in doubt');
$node->sql("UPDATE mailman.subscription SET state = 'bounced'"
	  . " WHERE newsletter_id = $newsletter AND email = 'r2\@example.com'");
$before = scalar(grep { $_->[1] =~ /^r/ } $relay->pairs);
is($node->sql("SELECT mailman_retry($letter)"),
	'1', 'mailman_retry(): who failed, but not the dead address');
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", '3'),
	'is delivered');
ok($node->wait_for_letter($letter, 'sent'), 'and the letter is done');
is($node->states($letter)->{doubtful}, 2, 'the doubtful are left alone');
$node->assert_sums($letter, 'after mailman_retry()');
is($node->sql("SELECT mailman_retry($letter, '{doubtful}')"),
	'2', 'the doubtful by name');
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $letter", '5'),
	'are delivered');
ok($node->wait_for_letter($letter, 'sent'), 'and the letter is done');
is(scalar(grep { $_->[1] =~ /^r/ } $relay->pairs) - $before,
	3, 'three more at the relay');
$states = $node->states($letter);
is("@{$states}{qw(delivered failed doubtful)}",
	'5 1 0', 'only the dead address is left');
is($node->sql("SELECT mailman_retry($letter, '{failed,doubtful}')"),
	'0', 'and stays so');
foreach my $wrong ("'{delivered}'", "'{pending}'", "'{skipped}'", "'{nonsense}'")
{
	ok(defined $node->sql_error("SELECT mailman_retry($letter, $wrong)"),
		"mailman_retry() refuses $wrong");
}
$node->sql('BEGIN');
$node->sql("SELECT mailman_retry($letter)");
$node->sql('ROLLBACK');
$node->assert_sums($letter, 'after all that');

# ---- the one that survived

ok($node->wait_for_letter($deferred, 'sent'),
	'after a restart it is tried when it is due');
is($node->tally($deferred)->{delivered}, 5, 'all delivered');

is_deeply([ $relay->duplicates ], [], 'nobody twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
