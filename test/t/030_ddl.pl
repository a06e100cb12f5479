
#-------------------------------------------------------------------------
#
# 030_ddl.pl
#	  Somebody locks several of our tables, as DROP TABLE of a table with
#	  foreign keys to them does, in an order of their own.
#
# Who waits for one of our tables must hold none of the others: else it is a
# deadlock, and the migration may be what fails.  mailman.lock_timeout is long
# here, so that nobody gets out of it that way.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	conf => {
		deadlock_timeout       => '100ms',
		'mailman.lock_timeout' => '10min'
	});

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 8);
my $locker     = $node->session;
my $sender     = $node->session;
my $log        = $node->log_position;

# Lock one table, wait for who waits for it, then lock the other
sub lock_both
{
	my ($name, $first, $second, $begin, $waits) = @_;
	$locker->query("BEGIN; LOCK TABLE mailman.$first");
	$begin->();
	ok( $node->wait_for(
			'SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a'
			  . " USING (pid) WHERE NOT l.granted AND $waits"
			  . " AND l.relation = 'mailman.$first'::regclass",
			't'),
		"$name: waits for $first");
	my (undef, $error) = $locker->try("LOCK TABLE mailman.$second");
	is($error, undef, "$name: and holds up nobody at $second");
	$locker->query('ROLLBACK');
}

# the first of them mailman_send() does not use
my @pairs = (
	[ newsletter_email => 'letter' ],
	[ posting          => 'delivery' ],
	[ letter           => 'newsletter_email' ],
	[ newsletter       => 'subscription' ],
	[ partial          => 'newsletter' ]);

foreach my $pair (@pairs)
{
	my ($first, $second) = @$pair;
	my $letter = $node->letter($newsletter);
	my $mine = 'a.pid = ' . $sender->backend;

	if ($first ne 'newsletter_email')
	{
		lock_both("mailman_send(), $first", $first, $second,
			sub { $sender->start("SELECT mailman_send($letter)") }, $mine);
		is(($sender->try_result)[0],
			'8', "mailman_send(), $first: then queues");
		ok($node->wait_for_letter($letter, 'sent'), "$first: it is sent");
	}

	$letter = $node->letter($newsletter);
	$relay->gate(0);
	$node->send($letter);
	ok($relay->wait_for_held(4), "worker, $first: mails in flight");
	lock_both("worker, $first", $first, $second,
		sub { $relay->open_gate },
		"a.application_name = 'mailman letter $letter'");
	ok($node->wait_for_letter($letter, 'sent'), "worker, $first: then sends");
	$node->assert_sums($letter, "worker, $first");
}

# as people do it
my $letter = $node->letter($newsletter);
foreach my $i (1 .. 20)
{
	$sender->start("SELECT mailman_send($letter)");
	my (undef, $error) = $locker->try(
		'CREATE TABLE ref (a bigint REFERENCES mailman.letter,'
		  . ' b bigint REFERENCES mailman.newsletter_email); DROP TABLE ref');
	is($error, undef, "a table comes and goes ($i)");
	is(($sender->try_result)[1], undef, "mailman_send() ($i)");
}
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
is($node->log_lines('deadlock detected', $log), 0, 'no deadlock');

$node->stop;
$relay->stop;
done_testing();
