
#-------------------------------------------------------------------------
#
# 032_relays.pl
#	  Relays that are down, changed or dropped.
#
# The next relay of the list takes over at once, whatever is wrong with the
# first.  If none can be had, max_age counts for those who wait, too.  What
# ALTER SERVER and DROP SERVER do to a letter that is being sent.
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

my $node = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes    => 24,
		'mailman.max_workers'   => 12,
		'mailman.poll_interval' => '100ms'
	});

# Ports that are taken and refuse every connection, as nobody listens
my @refusing = map {
	IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp')
	  or die "no free port: $@"
} 1 .. 2;
$node->relay('dead' . ($_ + 1),
	'smtp://127.0.0.1:' . $refusing[$_]->sockport)
  foreach 0 .. 1;
my $no_login = Mailman::Relay->new(
	auth     => ['PLAIN'],
	user     => 'news',
	password => 'secret')->start;
$node->relay(
	'no_login', $no_login->url,
	username => 'news',
	password => 'wrong');
my $busy = Mailman::Relay->new(
	rules => [ { step => 'connect', reply => '421 4.3.2 Not now' } ])->start;
$node->relay('busy', $busy->url);

# ---- max_age, with nobody to take the mail (it is looked at further down)

my %old;
foreach my $relays ('dead1', 'dead1,dead2', 'busy')
{
	my $newsletter = $node->newsletter(
		relays        => [ split(/,/, $relays) ],
		max_age       => '20 s',
		subscriptions => 3);
	$old{$relays} = $node->letter($newsletter);
	$node->send($old{$relays});
}

# ---- the next one takes over

foreach my $list ('dead1,good', 'dead1,dead2,good', 'busy,good',
	'no_login,good')
{
	my $good = Mailman::Relay->new->start;
	$node->relay('good', $good->url, connections => 3);
	my $newsletter = $node->newsletter(
		relays        => [ split(/,/, $list) ],
		subscriptions => 20);
	my $letter = $node->letter($newsletter);
	my $start  = time;

	$node->send($letter);
	ok($good->wait_for_messages(1), "$list: the good one is asked");
	diag(sprintf '%s: after %.2f s', $list, time - $start);
	cmp_ok(time - $start, '<', 20, "$list: at once");
	ok($node->wait_for_letter($letter, 'sent'), "$list: sent");
	is($good->pairs, 20, "$list: the good one has all");
	is(scalar($good->duplicates), 0, "$list: none twice");
	is( $node->sql(
			"SELECT relay, count(*), max(attempts)"
			  . " FROM mailman.newsletter_email WHERE letter_id = $letter"
			  . ' GROUP BY relay'),
		'good|20|1',
		"$list: by the good one, in one attempt");
	$node->assert_sums($letter, $list);
	$good->stop;
	$node->sql('DROP SERVER good');
}

# ---- ALTER SERVER counts from the next session on

my $before = Mailman::Relay->new(slow => 0.2)->start;
my $after  = Mailman::Relay->new->start;
$before->gate(4);
$node->relay('moving', $before->url, connections => 2);
my $newsletter =
  $node->newsletter(relays => ['moving'], subscriptions => 40);
my $letter = $node->letter($newsletter);

$node->send($letter);
ok($before->wait_for_held(2), 'ALTER SERVER: on its way');
$node->sql("ALTER SERVER moving OPTIONS (SET url '" . $after->url . "')");
my $there = $before->status->{accepted};

# many times as long as a worker needs to notice
sleep 2;
$before->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'ALTER SERVER: sent');
my $rest = $before->pairs - $there;
cmp_ok($rest, '<=', 6, "ALTER SERVER: the old one gets what is begun: $rest");
is($before->pairs + $after->pairs, 40, 'ALTER SERVER: the new one the rest');
is(scalar($before->duplicates) + $after->duplicates,
	0, 'ALTER SERVER: none twice');
is(scalar(keys %{ { %{ $before->recipients }, %{ $after->recipients } } }),
	40, 'ALTER SERVER: not by both either');
is($before->connections_opened, 2, 'ALTER SERVER: no new session there');
is( $node->sql(
		"SELECT state, doubts, run FROM mailman.letter WHERE id = $letter"),
	'sent|0|1',
	'ALTER SERVER: no doubt');
$node->assert_sums($letter, 'ALTER SERVER');

# ---- a relay that is gone pauses the letter

my $late   = Mailman::Relay->new->start;
my $create = sub {
	$node->relay('leaving', $late->url, connections => 2);
};
my %leave = (
	'DROP SERVER' =>
	  [ sub { $node->sql('DROP SERVER leaving') }, $create ],
	'RENAME' => [
		sub { $node->sql('ALTER SERVER leaving RENAME TO gone') },
		sub { $node->sql('ALTER SERVER gone RENAME TO leaving') }
	]);

$create->();
$newsletter = $node->newsletter(relays => ['leaving'], subscriptions => 40);
foreach my $name (sort keys %leave)
{
	my ($leaves, $returns) = @{ $leave{$name} };
	my $had = $late->status->{accepted};

	$letter = $node->letter($newsletter);
	$late->gate(4);
	$node->send($letter);
	ok($late->wait_for_held(2), "$name: on its way");
	$leaves->();
	ok( $node->wait_for(
			"SELECT state, state_reason FROM mailman.letter"
			  . " WHERE id = $letter",
			'paused|relay "leaving" does not exist'),
		"$name: paused, with the reason");
	ok($node->wait_for_handed_back($letter, 2), "$name: no more is begun");
	$late->open_gate;
	ok($node->wait_for_no_worker($letter), "$name: the worker ends");
	my $count = $late->status->{accepted} - $had;
	is($count, 6, "$name: in the middle");
	is_deeply(
		[ @{ $node->states($letter) }{qw(delivered sending)} ],
		[ $count, 0 ],
		"$name: what was in flight is recorded");
	$node->assert_sums($letter, "$name, paused");
	like($node->sql_error("SELECT mailman_resume($letter)"),
		qr/relay "leaving" does not exist/, "$name: not to be resumed");
	$returns->();
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), "$name: resumed");
	is($late->status->{accepted} - $had, 40, "$name: everybody has it");
	is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
		'0', "$name: no doubt");
	$node->assert_sums($letter, $name);
}
is(scalar($late->duplicates), 0, 'nobody twice');

# ---- a relay that goes when everybody has the letter is no reason to pause it

{
	$node->relay('brief', $after->url);
	my $letter = $node->letter(
		$node->newsletter(relays => ['brief'], subscriptions => 3));

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), 'brief: sent');
	$node->sql('DROP SERVER brief');
	ok( $node->wait_for(
			    'SELECT count(*) FROM pg_stat_activity'
			  . " WHERE application_name = 'mailman letter $letter'",
			0),
		'brief: its worker has ended');
	is($node->letter_state($letter), 'sent', 'brief: it is still sent');
}

# ---- max_age again

foreach my $relays (sort keys %old)
{
	my $name = "max_age, $relays";

	ok($node->wait_for_letter($old{$relays}, 'sent'), "$name: it ends");
	is($node->states($old{$relays})->{failed}, 3, "$name: all failed");
	like(
		$node->sql(
			    'SELECT string_agg(DISTINCT reason, chr(10))'
			  . " FROM mailman.delivery WHERE letter_id = $old{$relays}"),
		qr/^gave up as too old: relay "(?:dead\d|busy)": [^\n]+$/,
		"$name: of age, and what was wrong is told");
	$node->assert_sums($old{$relays}, $name);
}
is_deeply(
	[ map { $_->violations } $before, $after, $late, $no_login, $busy ],
	[], 'nothing against the protocol');

$node->stop;
$_->stop foreach $before, $after, $late, $no_login, $busy;
done_testing();
