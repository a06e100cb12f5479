
#-------------------------------------------------------------------------
#
# 030_orphans.pl
#	  What else may be found after a crash, and where nobody may work.
#
# Letters that were paused or cancelled when their worker died; a database
# with unfriendly settings; a letter somebody has locked; an extension of
# another version; pg_upgrade.
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

my $number = 100;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash  => 'on',
		max_worker_processes => 16
	});
$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# ---- paused, or cancelled, with mails in flight; then kill -9

foreach my $case ([ 'pause', 'resend' ], [ 'pause', 'hold' ],
	[ 'cancel', 'resend' ], [ 'cancel', 'hold' ])
{
	my ($what, $on_doubt) = @$case;
	my $name   = "${what}d, $on_doubt";
	my $letter = $node->letter($newsletter, on_doubt => $on_doubt);

	$name =~ s/canceld/cancelled/;
	$relay->gate(5);
	$node->send($letter);
	ok( $node->wait_for(
			"SELECT mail_order->>'sending' > '0' FROM mailman.letter"
			  . " WHERE id = $letter", 't'),
		"$name: a letter on its way");
	my $pid   = $node->wait_for_worker($letter);
	ok($relay->wait_for_held(5), "$name: five are sent, five in flight");
	my $state  = $node->sql("SELECT mailman_$what($letter)");
	my $paused = $node->states($letter);
	kill 'KILL', $pid;
	$node->patiently(
		sub {
			ok( $node->wait_for(
					"SELECT mail_order->>'sending', run > 1"
					  . " FROM mailman.letter WHERE id = $letter",
					'0|t'),
				"$name: what was in flight is resolved by itself");
			if ($what eq 'cancel')
			{
				ok( $node->wait_for(
						"SELECT count(*) FROM mailman.delivery"
						  . " WHERE letter_id = $letter AND state NOT IN"
						  . " ('delivered', 'skipped', 'doubtful')",
						'0'),
					"$name: and the rest is skipped");
			}
			ok($node->wait_for_no_worker($letter), "$name: no more is done");
		});
	is($node->letter_state($letter), $state, "$name: it stays $state");
	my $doubts =
	  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
	my $states = $node->states($letter);
	cmp_ok($doubts, '>=', 5, "$name: what was in flight is in doubt");
	cmp_ok($doubts, '<=', $paused->{sending}, "$name: and what was claimed");
	is($states->{doubtful}, $doubts, "$name: which are held")
	  if $on_doubt eq 'hold';
	$node->assert_sums($letter, $name);
	$relay->open_gate;
	ok($relay->wait_for_silence, "$name: the relay takes what it had");
	next if $what eq 'cancel';
	$node->sql("SELECT mailman_resume($letter)");

	# whom the crash left in doubt is due again by the backoff table
	ok( $node->wait_for(
			"SELECT count(*) FROM mailman.delivery WHERE letter_id = $letter"
			  . " AND state NOT IN ('delivered', 'doubtful', 'deferred')",
			'0'),
		"$name: resumed, it goes on");
	$node->assert_sums($letter, "$name, resumed");
}

# ---- settings of the database that must not reach us

$node->sql("ALTER DATABASE postgres SET $_") foreach (
	'default_transaction_read_only = on',
	"statement_timeout = '1ms'",
	"lock_timeout = '1ms'",
	"idle_in_transaction_session_timeout = '1ms'",
	"default_transaction_isolation = 'serializable'",
	"search_path = nowhere",
	'row_security = on',
	"log_statement = 'all'",
	"session_replication_role = 'replica'");
my $letter = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '2 s'"
	  . " WHERE id = $letter");
$node->send($letter);
$node->patiently(
	sub {
		my $until = time + 180;
		my $count = 0;
		$relay->new_messages;
		while (time < $until && $count < $number)
		{
			$count += () = $relay->new_messages;
			sleep 0.05;
		}
		is($count, $number, 'unfriendly settings: a letter is sent');
	});
my $admin = $node->session(dbname => 'template1');
$admin->query('ALTER DATABASE postgres RESET ALL');
$admin->quit;
delete $node->{mailman_session};
ok($node->wait_for_letter($letter, 'sent'), 'and recorded');

# ---- somebody has locked the table when a worker is told to end

$letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter);
my $pid    = $node->wait_for_worker($letter);
my $locker = $node->session;
$locker->query('BEGIN');
$locker->query('LOCK TABLE mailman.letter IN ACCESS EXCLUSIVE MODE');
$node->sql("SELECT pg_terminate_backend($pid)");

# what is in flight is answered, and what it may have begun before it knew;
# nothing that would come after that
$relay->gate(5);
my $start = time;
sleep 0.05 while kill(0, $pid) && time - $start < 180;
my $took = time - $start;
diag(sprintf 'terminated under LOCK TABLE: gone after %.1f s', $took);
ok(!kill(0, $pid), 'a worker that is told to end does not wait for a lock');
$locker->query('COMMIT');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'unlocked: the letter goes on');
$node->assert_sums($letter, 'after the lock');
$locker->quit;

# ---- an extension of another version

$node->sql("UPDATE pg_extension SET extversion = '0.1'"
	  . " WHERE extname = 'mailman'");
$letter = $node->letter($newsletter);
my $error = $node->sql_error("SELECT mailman_send($letter)");
like($error, qr/0\.1/,   'another version: mailman_send() refuses');
like($error, qr/HINT: /, 'with a hint');
$node->restart;
ok( $node->stays(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'", '0', 1),
	'nobody works');
$node->sql("UPDATE pg_extension SET extversion = '1.0'"
	  . " WHERE extname = 'mailman'");
$node->sql("SELECT mailman_send($letter)");
ok($node->wait_for_letter($letter, 'sent'), 'the right version: sent');

# ---- pg_upgrade, with a letter in the post and one that is due

$relay->gate(20);
my $open = $node->letter($newsletter);
$node->send($open);
ok( $node->wait_for(
		"SELECT count(*) >= 20 FROM mailman.newsletter_email"
		  . " WHERE letter_id = $open", 't'),
	'a letter on its way');
ok($relay->wait_for_held(5), 'some of it in flight');
my $due = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 h'"
	  . " WHERE id = $due");
$node->send($due);
$node->append_conf('postgresql.conf', 'mailman.enabled = off');
$node->reload;
ok($node->wait_for_handed_back($open, 5), 'nobody is to work any more');
$relay->open_gate;
ok($node->wait_for_no_worker($open), 'nor does anybody');
$node->sql("UPDATE mailman.letter SET send_at = now() WHERE id = $due");
$node->stop;
my $new = Mailman::Cluster->new('new');
$new->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'mailman'");
my $before = $relay->status->{accepted};
my $bindir = $node->config_data('--bindir');
chdir $new->basedir or die "chdir: $!";
$new->command_ok(
	[
		'pg_upgrade', '--no-sync',
		'-b', $bindir, '-B', $bindir,
		'-d', $node->data_dir, '-D', $new->data_dir,
		'-s', $new->host, '-p', $node->port, '-P', $new->port
	],
	'pg_upgrade');
is($relay->status->{accepted}, $before, 'nothing leaves meanwhile');
$new->start;
ok( $new->stays(
		    "SELECT count(*) FROM mailman.newsletter_email"
		  . " WHERE letter_id = $due", '0', 2),
	'nor after it');
is($relay->status->{accepted}, $before, 'says the relay');
my $said = $new->told("SELECT mailman_send($due)");
like($said, qr/WARNING: .*HINT: .*mailman_adopt/s, 'it asks to be adopted');
$new->sql('SELECT mailman_adopt()');
$new->sql("SELECT mailman_resume($_)") foreach $open, $due;
ok($new->wait_for_letter($_, 'sent'), "adopted, resumed: letter $_ is sent")
  foreach $open, $due;
is($new->tally($_)->{delivered}, $number, 'to everybody')
  foreach $open, $due;
$new->assert_sums($_, 'after pg_upgrade') foreach $open, $due;

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$new->stop;
$relay->stop;
done_testing();
