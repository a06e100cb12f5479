
#-------------------------------------------------------------------------
#
# 011_transaction.pl
#	  mailman_send() belongs to its transaction.
#
# Nothing happens before COMMIT and nothing happens without it.  That no
# worker was started is read from the server's log, which names every one
# (debug1), so there is no waiting for something not to happen.  A letter
# committed afterwards shows that the way out was open.
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
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main', conf => { log_min_messages => 'debug1' });

$node->relay('relay', $relay->url, connections => 3);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 3);
my $session = $node->session;

# How often a worker was started for a letter
sub starts
{
	my ($letter) = @_;
	my $log = slurp_file($node->logfile);
	return scalar(() =
		  $log =~ /starting background worker process "mailman letter $letter"/g);
}

# A letter that was not sent: no worker, no mail, no row
sub not_sent
{
	my ($letter, $name) = @_;
	is(starts($letter), 0, "$name: no worker was started");
	is( $node->sql(
			"SELECT state, run FROM mailman.letter WHERE id = $letter"),
		'draft|0', "$name: still a draft");
	is( $node->sql(
			"SELECT (SELECT count(*) FROM mailman.delivery"
			  . " WHERE letter_id = $letter), (SELECT count(*)"
			  . " FROM mailman.posting WHERE letter_id = $letter)"),
		'0|0', "$name: nothing queued");
	return;
}

# ---- ROLLBACK

my %letter = map { $_ => $node->letter($newsletter) }
  qw(rollback savepoint inner error kept open marker);

$session->query('BEGIN');
is($session->query("SELECT mailman_send($letter{rollback})"),
	'3', 'queued, inside the transaction');
is( $session->query(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $letter{rollback}"),
	'3', 'and to be seen there');
is( $node->sql(
		"SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $letter{rollback}"),
	'0', 'but not from outside');
$session->query('ROLLBACK');

# ---- ROLLBACK TO SAVEPOINT, one letter before it, two after

$session->query('BEGIN');
$session->query("SELECT mailman_send($letter{kept})");
$session->query('SAVEPOINT s');
$session->query("SELECT mailman_send($letter{savepoint})");
$session->query('SAVEPOINT t');
$session->query("SELECT mailman_send($letter{inner})");
$session->query('RELEASE t');
$session->query('ROLLBACK TO s');
$session->query('COMMIT');
ok($node->wait_for_letter($letter{kept}, 'sent'),
	'sent before the savepoint: goes out');

# ---- an error after mailman_send()

my (undef, $error) = $session->try(
	"DO \$\$ BEGIN PERFORM mailman_send($letter{error}); PERFORM 1/0; END \$\$"
);
like($error, qr/division by zero/, 'an error after mailman_send()');

# one that is caught takes its letter with it
$session->query(
	"DO \$\$ BEGIN BEGIN PERFORM mailman_send($letter{error});"
	  . ' PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$'
);

# ---- a transaction that is still open

my $opened = $node->session;
$opened->query('BEGIN');
$opened->query("SELECT mailman_send($letter{open})");

# ---- a letter that does go out, and then nothing else has

$node->send($letter{marker});
ok($node->wait_for_letter($letter{marker}, 'sent'), 'the marker is sent');
not_sent($letter{rollback},  'ROLLBACK');
not_sent($letter{savepoint}, 'ROLLBACK TO SAVEPOINT');
not_sent($letter{inner},     'released into a rolled back savepoint');
not_sent($letter{error},     'error');
not_sent($letter{open},      'open transaction');
is($relay->pairs, 6, 'the relay has two letters to three recipients');
is_deeply([ $relay->duplicates ], [], 'nobody twice');

$opened->query('COMMIT');
ok($node->wait_for_letter($letter{open}, 'sent'),
	'open transaction: goes out at COMMIT');
is($relay->pairs, 9, 'to everybody');

# ---- twice in one transaction, and from a function

my $twice = $node->letter($newsletter);
$session->query('BEGIN');
is( join(',', map { $session->query("SELECT mailman_send($twice)") } 1 .. 2),
	'3,0', 'sent twice in one transaction');
$session->query('COMMIT');
ok($node->wait_for_letter($twice, 'sent'), 'it goes out');
is($relay->pairs, 12, 'once');
is(starts($twice), 1, 'by one worker');

# ---- how soon after COMMIT

my (@seen, @begun);
foreach my $try (1 .. 10)
{
	my $quick = $node->letter($newsletter);
	my $sql   = "SELECT count(*) FROM pg_stat_activity"
	  . " WHERE backend_type = 'mailman letter'"
	  . " AND application_name = 'mailman letter $quick'";

	# the relay holds it until it was seen
	$relay->gate(0);
	$session->query('BEGIN');
	$session->query("SELECT mailman_send($quick)");
	my $before =
	  $session->query('SELECT extract(epoch FROM clock_timestamp())');
	my $start = time;
	$session->query('COMMIT');
	my $until = $start + 180;
	while ($node->sql($sql) eq '0' && time < $until) { }
	push @seen, time - $start;
	push @begun,
	  $node->sql(
		    "SELECT extract(epoch FROM backend_start) - $before"
		  . " FROM pg_stat_activity"
		  . " WHERE application_name = 'mailman letter $quick'");
	$relay->open_gate;
	$node->wait_for_letter($quick, 'sent') or last;
}
@seen  = sort { $a <=> $b } @seen;
@begun = sort { $a <=> $b } grep { $_ ne '' } @begun;
diag(
	sprintf(
		'worker visible after COMMIT: median %.1f ms, most %.1f ms;'
		  . ' process started after: median %.1f ms',
		1000 * $seen[5],
		1000 * $seen[-1], 1000 * $begun[ @begun / 2 ]));
is(scalar @seen, 10, 'ten letters');
cmp_ok($seen[5],  '<', 10, 'a worker as soon as COMMIT is done (median)');
cmp_ok($seen[-1], '<', 60, 'and each time');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$opened->quit;
$session->quit;
$node->stop;
$relay->stop;
done_testing();
