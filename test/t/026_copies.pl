
#-------------------------------------------------------------------------
#
# 026_copies.pl
#	  A copy of a database must not send.
#
# A dump taken in the middle of a letter is restored beside the original and
# into another cluster; a paused letter is copied by CREATE DATABASE ...
# TEMPLATE.  The relay gets nothing from them until somebody adopts the copy
# and resumes the letter.  And mailman.enabled = off holds everything.
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

my $number = 60;
my %conf   = (max_worker_processes => 16);
my $relay  = Mailman::Relay->new->start;
my $node =
  Mailman::Cluster->create('main', preload => 1, conf => \%conf);
$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# Nothing leaves a copy, whatever is asked of it; then it is adopted
sub check_copy
{
	my ($where, $dbname, $name, $letter, $later) = @_;
	my $copy   = $where->session(dbname => $dbname);
	my $before = $relay->status->{accepted};

	# its scheduled letter is due here
	$copy->query("UPDATE mailman.letter SET send_at = now() - interval '1 s'"
		  . " WHERE id = $later");
	is( $copy->query("SELECT state FROM mailman.letter WHERE id = $later"),
		'scheduled', "$name: has a letter that is due");
	my $new = $copy->query(
		    "INSERT INTO mailman.letter (newsletter_id, subject, text_body)"
		  . " VALUES ($newsletter, 'New', 'New') RETURNING id");
	my $said = $where->told("SELECT mailman_send($new)", dbname => $dbname);
	like($said, qr/^WARNING: /m, "$name: mailman_send() warns");
	like($said, qr/^HINT: .*mailman_adopt/m, "$name: with a hint");
	like($said, qr/^$number$/m, "$name: and queues");
	my $woken = $copy->query('SELECT mailman_wake()');
	is($woken, '0', "$name: mailman_wake() starts nothing");
	$copy->try("SELECT mailman_resume($letter)");
	my $until = time + 4;

	sleep 0.1 while time < $until && $relay->status->{accepted} == $before;
	is($relay->status->{accepted}, $before, "$name: the relay gets nothing");
	is( $copy->query(
			"SELECT count(*) FROM mailman.newsletter_email"
			  . " WHERE letter_id = $new"),
		'0', "$name: nothing is recorded either");

	is( $copy->query(
			"SELECT reason FROM mailman.progress WHERE letter_id = $new"),
		'this database is a copy that was not adopted',
		"$name: which mailman.progress tells");

	$copy->query('SELECT mailman_adopt()');
	my $states = $copy->query(
		    "SELECT string_agg(state, ' ' ORDER BY id) FROM mailman.letter"
		  . " WHERE id IN ($letter, $later, $new)");
	is($states, 'paused paused paused',
		"$name: adopted: what was in the post is paused");
	sleep 1.5;
	is($relay->status->{accepted}, $before, "$name: and nothing leaves yet");
	foreach my $id ($letter, $later, $new)
	{
		$copy->query("SELECT mailman_resume($id)");
		my $until = time + 180;
		my $state = '';
		while (time < $until && $state ne 'sent')
		{
			$state = $copy->query(
				"SELECT state FROM mailman.letter WHERE id = $id");
			sleep 0.05;
		}
		is($state, 'sent', "$name: resumed: letter $id is sent");
		is( $copy->query(
				    "SELECT count(*), bool_and(state = 'delivered')"
				  . " FROM mailman.delivery WHERE letter_id = $id"),
			"$number|t",
			"$name: to everybody");
		is($copy->query($where->sums_sql($id)), '', "$name: sums of $id");
	}
	cmp_ok($relay->status->{accepted} - $before,
		'>=', 2 * $number, "$name: now the relay gets them");

	# an adopted copy sends like any other
	my $next = $copy->query(
		    "INSERT INTO mailman.letter (newsletter_id, subject, text_body)"
		  . " VALUES ($newsletter, 'Next', 'Next') RETURNING id");
	$said = $where->told("SELECT mailman_send($next)", dbname => $dbname);
	unlike($said, qr/WARNING/, "$name: no more warnings");
	$until = time + 180;
	sleep 0.05
	  while time < $until
	  && $copy->query("SELECT state FROM mailman.letter WHERE id = $next") ne
	  'sent';
	is($copy->query("SELECT state FROM mailman.letter WHERE id = $next"),
		'sent', "$name: a new letter is sent");
	$copy->quit;
	return;
}

# ---- a dump in the middle of a letter

my $dir    = PostgreSQL::Test::Utils::tempdir();
my $letter = $node->letter($newsletter);
my $later  = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 h'"
	  . " WHERE id = $later");
$node->send($later);
$relay->gate(30);
$node->send($letter);
ok( $node->wait_for(
		"SELECT count(*) >= 30 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter", 't'),
	'a letter on its way');
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'pg_dump meanwhile');
$relay->open_gate;
$node->sql("UPDATE mailman.letter SET send_at = now() WHERE id = $later");
ok($node->wait_for_letter($letter, 'sent'), 'the original is sent');
ok($node->wait_for_letter($later,  'sent'), 'and the scheduled one');
is($relay->pairs, 2 * $number, 'to everybody');
is_deeply([ $relay->duplicates ], [], 'nobody twice');

# ---- restored beside the original

$node->sql("CREATE DATABASE restored TEMPLATE template0");
$node->command_ok(
	[
		'pg_restore', '--exit-on-error',
		'-d', $node->connstr('restored'), "$dir/dump"
	],
	'pg_restore into the same cluster');
is( $node->session(dbname => 'restored')->query(
		"SELECT state FROM mailman.letter WHERE id = $letter"),
	'sending', 'where the letter is half sent');
check_copy($node, 'restored', 'restored', $letter, $later);

# the original sends as before
my $next = $node->letter($newsletter);
$node->send($next, $node->sql('SELECT min(id) FROM mailman.subscription'));
ok($node->wait_for_letter($next, 'sent'), 'the original sends as before');

# ---- restored into another cluster, where the database has the same oid

my $other = Mailman::Cluster->create(
	'other',
	preload   => 1,
	extension => 0,
	conf      => \%conf);
$other->command_ok(
	[
		'pg_restore', '--exit-on-error',
		'-d', $other->connstr('postgres'), "$dir/dump"
	],
	'pg_restore into another cluster');
is( $other->sql("SELECT oid FROM pg_database WHERE datname = 'postgres'"),
	$node->sql("SELECT oid FROM pg_database WHERE datname = 'postgres'"),
	'the database has the same oid there');
check_copy($other, 'postgres', 'other cluster', $letter, $later);

$other->stop;

# ---- a template copy of a paused letter

my $paused = $node->letter($newsletter);
my $due    = $node->letter($newsletter);
my $before = $relay->pairs;
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 hour'"
	  . " WHERE id = $due");
$node->send($due);
$node->send_to_gate($relay, $paused);
$node->sql("SELECT mailman_pause($paused)");
ok($node->wait_for_handed_back($paused, 5), 'is told to pause');
$relay->open_gate;
ok($node->wait_for_no_worker($paused), 'is paused');
my $sent = $relay->pairs - $before;
delete $node->{mailman_session};
my $session = $node->session(dbname => 'template1');
my $until   = time + 180;
sleep 0.05
  while time < $until
  && $session->query("SELECT count(*) FROM pg_stat_activity"
	  . " WHERE datname = 'postgres' AND backend_type = 'client backend'") ne
  '0';
my $error;
foreach my $try (1 .. 3)
{
	# it waits five seconds for others, which is nothing if all stalls
	(undef, $error) =
	  $session->try('CREATE DATABASE copy TEMPLATE postgres');
	last unless defined $error && $error =~ /accessed by other users/;
}
is($error, undef, 'CREATE DATABASE ... TEMPLATE');
$session->quit;

check_copy($node, 'copy', 'template copy', $paused, $due);

# in the original nothing has changed
is($node->letter_state($paused), 'paused', 'the original is still paused');
$node->sql("SELECT mailman_resume($paused)");
ok($node->wait_for_letter($paused, 'sent'), 'and goes on when resumed');
is($node->tally($paused)->{delivered}, $number, 'to everybody');
$node->sql("SELECT mailman_cancel($due)");

# ---- mailman.enabled = off

$relay->gate(20);
$before = $relay->status->{accepted};
my $running = $node->letter($newsletter);
$node->send($running);
ok( $node->wait_for(
		"SELECT count(*) >= 20 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $running", 't'),
	'a letter on its way');
ok($relay->wait_for_held(5), 'some of it in flight');
$node->append_conf('postgresql.conf', 'mailman.enabled = off');
$node->reload;
ok($node->wait_for_handed_back($running, 5),
	'mailman.enabled = off: no more is begun');
$relay->open_gate;
ok($node->wait_for_no_worker(undef), 'mailman.enabled = off: it stops');
$sent = $relay->status->{accepted};
is($sent - $before, 25, 'what was in flight has arrived');
my $queued = $node->letter($newsletter);
my $said   = $node->told("SELECT mailman_send($queued)");
like($said, qr/^$number$/m, 'mailman_send() queues');
$node->sql('SELECT mailman_wake()');

# the one that COMMIT has started looks, and ends
$node->wait_for_no_worker(undef);
ok( $node->stays(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter' AND state IS NOT NULL",
		'0', 3),
	'nobody works');
is($relay->status->{accepted}, $sent, 'nothing leaves');
is($node->states($running)->{sending}, 0, 'nothing is left half done');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $running"),
	'0', 'nor in doubt');
$node->assert_sums($_, 'off') foreach $running, $queued;
$node->restart;
ok( $node->stays(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'", '0', 2),
	'not after a restart either');
$node->append_conf('postgresql.conf', 'mailman.enabled = on');
$node->reload;
ok($node->wait_for_letter($_, 'sent'), 'on again: goes on by itself')
  foreach $running, $queued;
is($relay->status->{accepted} - $before, 2 * $number, 'to everybody, once');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
