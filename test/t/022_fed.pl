
#-------------------------------------------------------------------------
#
# 022_fed.pl
#	  A letter that is sent to one more, again and again.
#
# Nothing is done per mail but the mail: no process is started, no event is
# written or told, no line is logged; and a letter beside it keeps its worker.
# It stays "sending" until nobody was posted for a while, and a session that waits for
# it need not wait for that.
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

my $calls  = 300;
my $starts = qr/starting background worker process "mailman/;

# So many calls, one recipient each, about a hundred a second; beside them
# somebody looks in which states the letter is
sub feed
{
	my ($node, $session, $letter, @ids) = @_;
	my $start = time;
	my $next  = $start;
	my %states;

	foreach my $id (@ids)
	{
		die 'not queued'
		  unless $session->query("SELECT mailman_send($letter, ARRAY[$id])") eq
		  '1';
		$states{ $node->letter_state($letter) }++ if rand() < 0.1;
		$next += 0.01;
		sleep($next - time) if $next > time;
	}
	diag(sprintf '%d calls in %.1f s', scalar @ids, time - $start);
	return \%states;
}

sub ids
{
	my ($node, $newsletter) = @_;
	return split(/\n/,
		$node->sql('SELECT id FROM mailman.subscription'
			  . " WHERE newsletter_id = $newsletter ORDER BY id"));
}

# ---- beside a letter that takes long, with places for both

my $relay = Mailman::Relay->new->start;
my $slow  = Mailman::Relay->new(slow => 0.1)->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		log_min_messages      => 'debug1',
		max_worker_processes  => 16,
		'mailman.max_workers' => 4
	});
$node->relay('relay', $relay->url, connections => 4);
$node->relay('slow', $slow->url, connections => 1);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 2 * $calls + 10);
my $patient = $node->newsletter(relays => ['slow'], subscriptions => 3000);
my @ids     = ids($node, $newsletter);
my $giant   = $node->letter($patient);
my $letter  = $node->letter($newsletter);

my $listener = $node->session;
$listener->query('LISTEN mailman');
$node->send($giant);
$node->send($letter, pop @ids);
ok( $node->wait_for(
		"SELECT run FROM mailman.letter WHERE id = $giant", '1'),
	'a letter that takes long');
ok($node->wait_for_letter($letter, 'sent'),
	'a letter that was posted once is sent when it is');

my $from    = $node->log_position;
my $session = $node->session;
my $states  = feed($node, $session, $letter, @ids[ 0 .. $calls - 1 ]);
is($node->sql("CALL mailman_wait($letter)"), 'sent', 'all of it is sent');
is( $node->sql("SELECT state FROM mailman.progress WHERE letter_id = $letter"),
	'sent', 'says the view, too');
is($relay->pairs, $calls + 1, 'everybody has it');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
ok($node->wait_for_letter($letter, 'sent'), 'and after a while its state is');
is( $node->sql(
		    "SELECT string_agg(detail->>'to', ' ' ORDER BY id)"
		  . " FROM mailman.event WHERE letter_id = $letter"),
	'sending sent sending sent',
	'events: posted, sent, posted again and again, sent');

# scouts look whether a worker has come, and after events; a slow machine may
# let it end in between
my @processes = $node->log_lines($starts, $from);
cmp_ok(scalar(@processes), '<=', 5, 'processes started')
  or diag(join("\n", @processes));
my @lines =
  grep { !/checkpoint/ } $node->log_lines(qr/(?:LOG|WARNING):  /, $from);
cmp_ok(scalar(@lines), '<=', 1, 'lines of the log')
  or diag(join("\n", @lines));
is( $node->sql("SELECT run FROM mailman.letter WHERE id = $giant"),
	1, 'nobody had to yield');
is( $node->sql("SELECT run <= 2 FROM mailman.letter WHERE id = $letter"),
	't', 'nor did its own worker');
$node->wait_for('SELECT count(*) FROM mailman.event WHERE NOT notified', '0');
my $told = () = $listener->query('SELECT 1') =~ /"letter_id": ?$letter\b/g;
is($told, 4, 'listeners were told of each event, once');
$node->assert_sums($letter, 'fed');

# ---- its worker is killed while it stays

feed($node, $session, $letter, splice(@ids, $calls, 20));
is($node->sql("CALL mailman_wait($letter)"), 'sent', 'posted again');
$node->sql('SELECT pg_terminate_backend(worker) FROM mailman.progress'
	  . " WHERE letter_id = $letter");
ok($node->wait_for_letter($letter, 'sent'),
	'if its worker ends while it stays, another one says that it is sent');
$node->sql("SELECT mailman_cancel($giant)");
$session->quit;
$listener->quit;
$node->stop;

# ---- with one place, which others want

$node->append_conf('postgresql.conf', "mailman.max_workers = 1\n");
$node->start;
my @letters = map { $node->letter($newsletter) } 1 .. 3;
$session = $node->session;
foreach my $round (0 .. 4)
{
	feed($node, $session, $_, @ids[ 10 * $round .. 10 * $round + 9 ])
	  foreach @letters;
}
foreach my $each (@letters)
{
	is($node->sql("CALL mailman_wait($each)"),
		'sent', 'each letter gets the only place');
}
$node->assert_sums($_, "letter $_") foreach @letters;
is( $node->sql(
		'SELECT count(*) FROM mailman.delivery'
		  . " WHERE letter_id IN ($letters[0], $letters[1], $letters[2])"
		  . " AND state = 'delivered'"),
	150, 'everybody has them');
$session->quit;
$node->stop;

# ---- without shared memory: nobody is started while somebody has the letter

my $plain = Mailman::Cluster->create('plain',
	conf => { log_min_messages => 'debug1', max_worker_processes => 16 });
$plain->relay('relay', $relay->url, connections => 4);
$newsletter = $plain->newsletter(
	relays        => ['relay'],
	subscriptions => 120,
	pattern       => 'plain%s@example.com');
@ids    = ids($plain, $newsletter);
$letter = $plain->letter($newsletter);
$session = $plain->session;
$from    = $plain->log_position;
feed($plain, $session, $letter, @ids);
is($plain->sql("CALL mailman_wait($letter)"), 'sent', 'all of it is sent');
$plain->assert_sums($letter, 'without shared memory');
@processes = $plain->log_lines($starts, $from);
cmp_ok(scalar(@processes), '<', 40,
	'processes started for 120 calls, most while the first was to come')
  or diag(join("\n", @processes));
diag(scalar(@processes) . ' processes');
$session->quit;
$plain->stop;

done_testing();
