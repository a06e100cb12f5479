
#-------------------------------------------------------------------------
#
# 016_tally.pl
#	  The tally is true at every commit, and the worker does not grow.
#
# 20,000 recipients through smtp-sink, the fastest way there is, while a
# second session looks as often as it can: in each snapshot the states of the
# deliveries must be those of letter.mail_order and the postings it does not
# hold yet.  Meanwhile the worker's own memory is read.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Mailman::Cluster;
use Mailman::Sink;

plan skip_all => 'smtp-sink (package postfix) is not installed'
  unless Mailman::Sink->available;

my $number = 20_000;
my $sink   = Mailman::Sink->new->start;
my $node   = Mailman::Cluster->create('main');

$node->relay('relay', $sink->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);
my $letter = $node->letter($newsletter,
	text_body => 'Dear {{name}}, ' . ('some more text for you, ' x 100));

# half of them first, the others while it is on its way: a posting that is
# not folded when they come
my $half    = $number / 2;
my $session = $node->session;
my $poster  = $node->session;
my $sums    = $node->sums_sql($letter);
my $done    = "SELECT count(*) FILTER (WHERE state = 'delivered'), count(*)"
  . " FROM mailman.delivery WHERE letter_id = $letter";
my (@samples, @memory, $bad, $worker);

$node->sql('ANALYZE mailman.subscription');
my $start = time;
is( $node->sql(
		"SELECT mailman_send($letter, ARRAY(SELECT id"
		  . " FROM mailman.subscription WHERE newsletter_id = $newsletter"
		  . " ORDER BY id LIMIT $half))"),
	$half, 'half of them posted');
$worker = $node->wait_for_worker($letter);
$poster->start("SELECT mailman_send($letter)");

my $until = $start + 180;
while (time < $until)
{
	my $wrong = $session->query($sums);
	$bad = $wrong if $wrong ne '' && !defined $bad;
	my ($delivered, $queued) = split(/\|/, $session->query($done));
	push @samples, $delivered;
	my $size = Mailman::Cluster::private_memory($worker);
	push @memory, [ $delivered, $size ] if defined $size;
	last if $delivered == $number;
}
my $seconds = time - $start;
is($poster->result, $half, 'the other half posted meanwhile');
is($samples[-1], $number, 'all delivered')
  or $node->explain_letter($letter);
is($bad, undef, 'the sums were right at every look');
my $between = grep { $_ > 0 && $_ < $number } @samples;
cmp_ok($between, '>=', 5, "looked $between times in the middle");
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
$node->assert_sums($letter, 'at the end');
ok($sink->wait_for_messages($number), 'the sink has them');
is($sink->count, $number, 'and none more');
is( $node->sql(
		    "SELECT count(*), count(DISTINCT message_id)"
		  . " FROM mailman.newsletter_email WHERE letter_id = $letter"),
	"$number|$number", 'a record of each');
note(sprintf '%d mails in %.1f s (%.0f/s), watched %d times',
	$number, $seconds, $number / $seconds, scalar @samples);

# ---- memory: from the first tenth on it stays where it is

my @settled = grep { $_->[0] >= $number / 10 && $_->[0] < $number } @memory;
note('worker memory: '
	  . join(', ', map { "$_->[1] kB at $_->[0]" } @settled[ grep
		  { $_ % (int(@settled / 8) || 1) == 0 } 0 .. $#settled ]));
cmp_ok(scalar @settled, '>=', 3, 'the worker was measured');
my ($least, $most) = (sort { $a <=> $b } map { $_->[1] } @settled)[ 0, -1 ];
cmp_ok($most - $least, '<', 2048,
	"the worker's memory is flat ($least to $most kB)");

# ---- most updates are HOT: the table does not grow with the work.  Without
# somebody watching, for a snapshot held open keeps pages from being pruned.

my $counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
  . " WHERE relname = 'delivery'";
my $few = 5000;
$node->wait_for_no_worker($letter);
$node->wait_for($counts, qr/^[^0]/);
my ($updates_before, $hot_before) = split(/\|/, $node->sql($counts));
my $second = $node->letter($newsletter);
$node->sql("SELECT mailman_send($second, ARRAY(SELECT id"
	  . " FROM mailman.subscription ORDER BY id LIMIT $few))");
ok($node->wait_for_letter($second, 'sent'), 'another letter is sent');
$node->wait_for_no_worker($second);
ok( $node->wait_for(
		"SELECT n_tup_upd - $updates_before >= 2 * $few"
		  . " FROM pg_stat_user_tables WHERE relname = 'delivery'",
		't'),
	'claims and outcomes are updates');
my ($updates, $hot) = split(/\|/, $node->sql($counts));
$updates -= $updates_before;
$hot     -= $hot_before;
cmp_ok($hot / $updates,
	'>', 0.95, sprintf('%.1f %% of them are HOT', 100 * $hot / $updates));

$_->quit foreach $session, $poster;
$node->stop;
$sink->stop;
done_testing();
