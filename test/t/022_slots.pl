
#-------------------------------------------------------------------------
#
# 022_slots.pl
#	  More letters than room for workers.
#
# They wait in line and all get their turn, one line of the log tells, and
# nobody waits for a giant: a worker that has run for a while yields.
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

my $waits = qr/LOG: .*(?:wait|slot)/;

my $relay = Mailman::Relay->new(slow => 0.1)->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes  => 16,
		'mailman.max_workers' => 2
	});
$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 1000);
my @ids = split(/\n/,
	$node->sql('SELECT id FROM mailman.subscription ORDER BY id'));

# Post letters while the relay holds what comes first, so that no letter is
# done before the last one is posted and waits
sub post_all
{
	my ($node, $relay, $held, $from, @posts) = @_;

	$relay->gate(0);
	$node->send(@$_) foreach @posts;
	ok($relay->wait_for_held($held), "$held mails on their way");
	ok($node->wait_for_log($waits, $from), 'the others wait');
	$relay->open_gate;
	return;
}

# Look until all these are sent; (most with mails on their way, seconds)
sub watch
{
	my ($node, @letters) = @_;
	my $list  = join(',', @letters);
	my $start = time;
	my $most  = 0;

	while (time - $start < 180)
	{
		my ($open, $workers) = split(
			/\|/,
			$node->sql(
				    "SELECT (SELECT count(*) FROM mailman.letter"
				  . " WHERE id IN ($list) AND state <> 'sent'),"
				  . " (SELECT count(*) FROM mailman.letter"
				  . " WHERE (mail_order->>'sending')::int > 0)"));
		$most = $workers if $workers > $most;
		last if $open == 0;
		sleep 0.02;
	}
	return ($most, time - $start);
}

# ---- five letters, room for two

my $from = $node->log_position;
my @letters = map { $node->letter($newsletter) } 1 .. 5;
post_all($node, $relay, 2, $from, map { [ $_, @ids[ 0 .. 19 ] ] } @letters);
my ($most, $seconds) = watch($node, @letters);
diag(sprintf '5 letters of 2 s, 2 workers: %.1f s, %d at once', $seconds,
	$most);
is(join(' ', map { $node->letter_state($_) } @letters),
	'sent sent sent sent sent', 'five letters, room for two: all are sent');
cmp_ok($most, '<=', 2, 'no more than two at once');
is($relay->status->{peak}, 2, 'says the relay, too');
cmp_ok($seconds, '<', 60, 'without long pauses between them');
is($relay->pairs, 100, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
my @lines = $node->log_lines($waits, $from);
is(scalar(@lines), 1, 'one line in the log') or diag(join("\n", @lines));
$node->assert_sums($_, "letter $_") foreach @letters;

# who comes last gets a place last, or beside the one before him, who may then
# be slower to begin
is( $node->sql(
		'SELECT count(*) >= 3 FROM mailman.letter WHERE run_at <'
		  . " (SELECT run_at FROM mailman.letter WHERE id = $letters[4])"),
	't', 'in the order of the line');

# ---- an episode later, the log says so again

ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type IN ('mailman letter', 'mailman scout')",
		'0'),
	'quiet');
$from    = $node->log_position;
@letters = map { $node->letter($newsletter) } 1 .. 3;
post_all($node, $relay, 2, $from, map { [ $_, @ids[ 0 .. 4 ] ] } @letters);
watch($node, @letters);
@lines = $node->log_lines($waits, $from);
is(scalar(@lines), 1, 'the next episode: one more line')
  or diag(join("\n", @lines));

# ---- letters that wait are shown: since when, and behind how many

$relay->gate(0);
@letters = map { $node->letter($newsletter) } 1 .. 5;
$node->send($_, @ids[ 0 .. 4 ]) foreach @letters;
ok($relay->wait_for_held(2), 'two of five on their way');
my @waiting;
ok( $node->wait_for(
		"SELECT string_agg(position::text, ' ' ORDER BY position)"
		  . ' FROM mailman.line WHERE since IS NOT NULL', '1 2 3'),
	'three stand in line');
@waiting = split(
	/\n/,
	$node->sql(
		'SELECT letter_id FROM mailman.line WHERE since IS NOT NULL'
		  . ' ORDER BY position'));
is("@waiting", join(' ', sort { $a <=> $b } @waiting), 'as they have come');
is( $node->sql(
		'SELECT bool_and(p.waits_since = l.since AND p.position = l.position'
		  . " AND l.since BETWEEN now() - interval '5 min' AND now())"
		  . ' FROM mailman.line l JOIN mailman.progress p USING (letter_id)'
		  . ' WHERE l.since IS NOT NULL'),
	't', 'progress has the same');
like(
	$node->sql(
		"SELECT reason FROM mailman.progress WHERE letter_id = $waiting[2]"),
	qr/^waits for a place since \d\d:\d\d:\d\d, 2 before it$/,
	'in words, too');
is( $node->sql(
		'SELECT count(*) FROM mailman.progress'
		  . ' WHERE worker IS NOT NULL AND position IS NULL'),
	'2', 'those who have a place do not wait');
$relay->open_gate;
watch($node, @letters);
is($node->sql('SELECT count(*) FROM mailman.line'), '0', 'nobody is left in it');

# ---- two giants, and a welcome mail

my @giants = map { $node->letter($newsletter) } 1 .. 2;
$node->send($_) foreach @giants;
ok( $node->wait_for(
		    "SELECT count(DISTINCT letter_id) FROM mailman.newsletter_email"
		  . " WHERE letter_id IN ($giants[0], $giants[1])", '2'),
	'two letters of 100 s each fill the room');
my $welcome = $node->letter($newsletter);
my $start   = time;
$node->send($welcome, $ids[0]);
ok($node->wait_for_letter($welcome, 'sent'), 'a letter to one leaves');
$seconds = time - $start;
diag(sprintf 'behind two giants, a letter to one left after %.1f s', $seconds);
is( $node->sql(
		    "SELECT count(*) FROM mailman.newsletter_email g,"
		  . " mailman.newsletter_email w WHERE w.letter_id = $welcome"
		  . " AND g.letter_id IN ($giants[0], $giants[1])"
		  . " AND g.sent_at < w.sent_at HAVING count(*) FILTER"
		  . " (WHERE g.letter_id = $giants[0]) < 900 AND count(*) FILTER"
		  . " (WHERE g.letter_id = $giants[1]) < 900") ne '',
	1,
	'when both giants had a tenth and more still to send');

# both go on; nobody has been in doubt, and no run has failed
my %now = map { split(/\|/, $_) } split(
	/\n/,
	$node->sql(
		    "SELECT letter_id, count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id IN ($giants[0], $giants[1]) GROUP BY 1"));
foreach my $giant (@giants)
{
	ok( $node->wait_for(
			    "SELECT count(*) > $now{$giant} + 15"
			  . " FROM mailman.newsletter_email WHERE letter_id = $giant",
			't'),
		"giant $giant goes on");
	is( $node->sql(
			"SELECT doubts, failed_runs FROM mailman.letter WHERE id = $giant"
		),
		'0|0', 'without a doubt or a failed run');
}
cmp_ok(
	$node->sql("SELECT max(run) FROM mailman.letter"
		  . " WHERE id IN ($giants[0], $giants[1])"),
	'>=', 2, 'one of them had given up its place');
cmp_ok($relay->status->{peak}, '<=', 2, 'never more than two at once');
$node->sql("SELECT mailman_cancel($_)") foreach @giants;
foreach my $giant (@giants)
{
	ok( $node->wait_for(
			"SELECT count(*) FROM mailman.delivery WHERE letter_id = $giant"
			  . " AND state NOT IN ('delivered', 'skipped')", '0'),
		'cancelled');
	$node->assert_sums($giant, 'cancelled');
}
is_deeply([ $relay->duplicates ], [], 'nobody twice');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;

# ---- max_worker_processes exhausted: room for one beside the scout

my $small = Mailman::Cluster->create(
	'small',
	preload => 1,
	conf    => { max_worker_processes => 4 });
my $sink = Mailman::Relay->new(slow => 0.1)->start;
$small->relay('relay', $sink->url, connections => 5);
$newsletter = $small->newsletter(relays => ['relay'], subscriptions => 50);
$from       = $small->log_position;
@letters    = map { $small->letter($newsletter) } 1 .. 5;
post_all($small, $sink, 5, $from, map { [$_] } @letters);
($most, $seconds) = watch($small, @letters);
diag(sprintf 'max_worker_processes = 4: 5 letters of 1 s in %.1f s, %d at once',
	$seconds, $most);
is(join(' ', map { $small->letter_state($_) } @letters),
	'sent sent sent sent sent',
	'max_worker_processes exhausted: all are sent');
is($sink->pairs, 250, 'to everybody');
is_deeply([ $sink->duplicates ], [], 'nobody twice');
@lines = $small->log_lines($waits, $from);
is(scalar(@lines), 1, 'one line in the log') or diag(join("\n", @lines));
$small->assert_sums($_, "letter $_") foreach @letters;

$small->stop;
$_->stop foreach $relay, $sink;
done_testing();
