
#-------------------------------------------------------------------------
#
# 047_sessions.pl
#	  The sessions of a relay, shared by all letters.
#
# The option connections holds for all of them together, at any moment and
# by the relay's own count.  Each has its fair share, whoever has more use
# for sessions gets what the others leave, and nobody waits for a giant.
# Relays that are equals share the mails by their weights.
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

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => { max_worker_processes => 24, 'mailman.max_workers' => 12 });
my %relay;

sub relay
{
	my ($name, $options, %server) = @_;
	$relay{$name} = Mailman::Relay->new(%$options)->start;
	$node->relay($name, $relay{$name}->url, %server);
	return $relay{$name};
}

# A letter to so many, whose addresses begin with its number
my $number = 0;

sub letter
{
	my ($recipients, @relays) = @_;
	$number++;
	return $node->letter(
		$node->newsletter(
			relays => \@relays,
			subscriptions => $recipients,
			pattern => "l$number-%s\@example.com"));
}

# How many seats at a relay each letter has: "letter:seats", by letter
sub seats_sql
{
	my ($name) = @_;
	return qq{
		SELECT string_agg(letter || ':' || seats, ' ' ORDER BY letter)
		  FROM (SELECT split_part(application_name, ' ', 3)::int AS letter,
					   count(*) AS seats
				  FROM pg_locks l
				  JOIN pg_stat_activity a USING (pid)
				  JOIN pg_foreign_server f ON f.oid = l.classid
				 WHERE l.locktype = 'advisory' AND l.granted
				   AND l.objsubid = x'6d72'::int AND l.objid > 0
				   AND f.srvname = '$name'
				 GROUP BY 1) AS s};
}

sub wait_for_seats
{
	my ($name, $expected) = @_;
	return $node->wait_for(seats_sql($name), $expected);
}

# All letters are sent, and everybody has his mail once, by one of the relays
sub is_finished
{
	my ($name, $relays, %letters) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($sent, $pairs, $twice, $expected) = (1, 0, 0, 0);

	foreach my $letter (sort { $a <=> $b } keys %letters)
	{
		$sent = 0 unless $node->wait_for_letter($letter, 'sent');
		$expected += $letters{$letter};
		$node->assert_sums($letter, "$name, letter $letter");
	}
	ok($sent, "$name: sent");
	$pairs += $_->pairs      foreach @$relays;
	$twice += $_->duplicates foreach @$relays;
	is($pairs, $expected, "$name: everybody has it");
	is($twice, 0, "$name: nobody twice");
	is( $node->sql(
				'SELECT count(*), max(attempts) FROM mailman.newsletter_email'
			  . ' WHERE letter_id IN ('
			  . join(',', keys %letters) . ')'),
		"$expected|1",
		"$name: at the first attempt");
	return;
}

# ---- two letters, six sessions

my $six = relay('six', { slow => 0.1 }, connections => 6);
my $first = letter(400, 'six');
my $second = letter(1000, 'six');
$node->send($first);
ok(wait_for_seats('six', "$first:6"), 'alone, a letter has all sessions');
ok( $node->wait_for(
		"SELECT sessions, letters, connections FROM mailman.relay_status"
		  . " WHERE relay = 'six'",
		'6|1|6'),
	'relay_status: so many sessions, of one letter');
ok($six->wait_for_status('active', 6), 'by the count of the relay, too');
my $start = time;
$node->send($second);
ok( wait_for_seats('six', "$first:3 $second:3"),
	'a second letter: each has half of them');
diag(sprintf 'shared after %.2f s', time - $start);
is( $node->sql(
			"SELECT sessions <= 6, letters FROM mailman.relay_status"
		  . " WHERE relay = 'six'"),
	't|2',
	'relay_status: of two letters');
ok($node->wait_for_letter($first, 'sent'), 'the first one ends');
$start = time;
ok(wait_for_seats('six', "$second:6"), 'the second one has all');
diag(sprintf 'all taken %.2f s after the other letter was sent',
	time - $start);

# ---- a small letter beside a giant that has them all

my $small = letter(5, 'six');
$start = time;
$node->send($small);
ok($node->wait_for_letter($small, 'sent'), 'a small letter beside it: sent');
my ($mail) = grep { $_->{to}[0] =~ /^l3-/ } $six->messages;
diag(sprintf 'its first mail left after %.2f s', $mail->{time} - $start);
cmp_ok($mail->{time} - $start, '<', 20, 'its first mail leaves soon');
is($node->letter_state($second), 'sending', 'the giant is not done yet');
$six->set(slow => 0);
is_finished(
	'six sessions', [$six],
	$first => 400,
	$second => 1000,
	$small => 5);
is($six->status->{peak}, 6, 'never more than six sessions');

# ---- more letters than sessions

my $two = relay('two', { slow => 0.1 }, connections => 2);
my %four = map { letter(150, 'two') => 150 } 1 .. 4;
my $four = join(',', keys %four);
$start = time;
$node->sql("SELECT mailman_send(id) FROM mailman.letter WHERE id IN ($four)");
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE id IN ($four)"
		  . " AND (mail_order->>'delivered')::int > 0",
		'4'),
	'four letters, two sessions: all make progress');
diag(sprintf 'four letters, two sessions: the last one begins after %.2f s',
	time - $start);
is( $node->sql(
			"SELECT count(*) FROM mailman.letter WHERE id IN ($four)"
		  . " AND state = 'sending'"),
	'4',
	'four letters, two sessions: before any of them is done');
$two->set(slow => 0);
is_finished('two sessions', [$two], %four);
is($two->status->{peak}, 2, 'never more than two sessions');

# ---- equals share by weight, while neither has all it can take

$node->sql('INSERT INTO mailman.domain_limit (pattern, rate)'
	  . " VALUES ('example.com', '100/s')");
my @weighted = (
	relay('heavy', { slow => 0.02 }, weight => 3),
	relay('light', { slow => 0.02 }, weight => 1));
my $letter = letter(200, 'heavy', 'light');
$node->send($letter);
is_finished('weights 3 and 1', \@weighted, $letter => 200);
$node->sql('DELETE FROM mailman.domain_limit');
my @shares = map { scalar $_->pairs } @weighted;
diag("weights 3 and 1: @shares");
cmp_ok($shares[0] / ($shares[1] || 0.1), '>=', 2, 'weights: at least 2:1');
cmp_ok($shares[0] / ($shares[1] || 0.1), '<=', 5, 'weights: at most 5:1');

# ---- one of them dies

my @equal = (
	relay('dying', { slow => 0.02 }, weight => 1, connections => 3),
	relay('living', { slow => 0.02 }, weight => 1, connections => 3));
$equal[0]->set(rules => [ { step => 'MAIL', skip => 20, gate => 'mail' } ]);
$letter = letter(200, 'dying', 'living');
$node->send($letter);
ok($equal[0]->wait_for_held(3), 'equals: one of them hangs');
$start = time;
$equal[0]->stop;
is_finished('one of the equals dies', \@equal, $letter => 200);
diag(sprintf 'one of the equals dies: all sent %.2f s later', time - $start);
is($equal[0]->pairs, 20, 'one of the equals dies: the other takes the rest');
like(
	$node->sql(
		"SELECT state FROM mailman.relay_status WHERE relay = 'dying'"),
	qr/^backing off$/,
	'relay_status: one of the equals');

# ---- the slower one does not hold up the faster one

my @unequal = (
	relay('slow', { slow => 1 }, weight => 1, connections => 5),
	relay('fast', { slow => 0.01 }, weight => 1, connections => 5));
$letter = letter(300, 'slow', 'fast');
$start = time;
$node->send($letter);
is_finished('a slow and a fast one', \@unequal, $letter => 300);
diag(
	sprintf 'a slow and a fast one: %d and %d in %.2f s',
	(map { scalar $_->pairs } @unequal),
	time - $start);
cmp_ok($unequal[0]->pairs, '<', 75, 'the slower one does not get half');
my ($last) = reverse $unequal[1]->messages;
diag(sprintf 'the fast one was done after %.2f s', $last->{time} - $start);

is_deeply([ map { $_->violations } values %relay ],
	[], 'nothing against the protocol');
$node->stop;
$_->stop foreach values %relay;
done_testing();
