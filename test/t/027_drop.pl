
#-------------------------------------------------------------------------
#
# 027_drop.pl
#	  What an administrator wants gone goes, and stopping is quick.
#
# DROP DATABASE while the dispatcher runs, DROP DATABASE (FORCE) and DROP
# EXTENSION in the middle of a letter, a fast shutdown under a synchronous
# standby that never answers; and two databases that know nothing of each
# other.
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
	preload   => 1,
	streaming => 1,
	conf      => { max_connections => 20, max_worker_processes => 16 });
$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 100);

# The extension in a database, with so many subscriptions and a letter (1, 1)
sub make_extension
{
	my ($session, $name, $number) = @_;
	my $url = $relay->url;

	$session->query('CREATE EXTENSION mailman');
	$session->query("CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp"
		  . " OPTIONS (url '$url', tls 'none', connections '5')");
	$session->query("INSERT INTO mailman.newsletter"
		  . " (name, from_address, relays, unsubscribe_url)"
		  . " VALUES ('$name', '$name\@example.com', '{relay}',"
		  . " 'https://example.com/u/{{token}}')");
	$session->query("INSERT INTO mailman.subscription (newsletter_id, email)"
		  . " SELECT 1, 'r' || n || '\@$name.example'"
		  . " FROM generate_series(1, $number) n");
	return new_letter($session);
}

sub make_database
{
	my ($name, $number) = @_;

	$node->sql("CREATE DATABASE $name TEMPLATE template0");
	my $session = $node->session(dbname => $name);
	make_extension($session, $name, $number);
	return $session;
}

sub new_letter
{
	my ($session) = @_;
	return $session->query(
		"INSERT INTO mailman.letter (newsletter_id, subject, text_body)"
		  . " VALUES (1, 'A', 'B') RETURNING id");
}

# Poll in any session
sub wait_until
{
	my ($session, $sql, $expected) = @_;
	my $until = time + 180;
	my $last;

	while (time < $until)
	{
		$last = $session->query($sql);
		return 1 if $last eq $expected;
		sleep 0.01;
	}
	diag("\"$sql\" still gives \"$last\"");
	return 0;
}

# DROP DATABASE; its error, or undef.  It gives sessions that are ending five
# seconds itself, which is nothing on a machine that stalls.
sub drop_database
{
	my ($name, $with) = @_;
	my $error;

	foreach my $try (1 .. 3)
	{
		$error = $node->sql_error("DROP DATABASE $name" . ($with || ''));
		last unless defined $error && $error =~ /accessed by other users/;
		diag("DROP DATABASE $name, try $try: $error");
	}
	return $error;
}

# ---- two databases at once, with the same ids; the relay holds both

$relay->gate(50);
my %session = map { $_ => make_database($_, 100) } qw(north south);
$_->start('SELECT mailman_send(1)') foreach values %session;
is($_->result, '100', 'posted in two databases') foreach values %session;
my $both = 0;
my $until = time + 180;
while (time < $until && !$both)
{
	$both = 1
	  if $node->sql("SELECT count(DISTINCT datname) FROM pg_stat_activity"
		  . " WHERE application_name = 'mailman letter 1'"
		  . " AND state IS NOT NULL") eq '2';
	sleep 0.01;
}
$relay->open_gate;
is($both, 1, 'letter 1 of both is sent at the same time');
foreach my $name (sort keys %session)
{
	ok( wait_until(
			$session{$name}, 'SELECT state FROM mailman.letter',
			'sent'),
		"the letter of $name is sent");
	is($session{$name}->query($node->sums_sql(1)), '', "sums of $name");
	is(scalar(grep { $_->[1] =~ /\@$name\./ } $relay->pairs),
		100, "to everybody of $name");
	is( scalar(
			grep { $_->{from} ne "$name\@example.com" }
			grep { $_->{to}[0] =~ /\@$name\./ } $relay->messages),
		0,
		'by its own newsletter');
}
is_deeply([ $relay->duplicates ], [], 'nobody twice');

# ---- DROP DATABASE: with the extension, without open letters

$_->quit foreach values %session;
my @seconds;
foreach my $name (qw(north south))
{
	$node->wait_for(
		"SELECT count(*) FROM pg_stat_activity WHERE datname = '$name'"
		  . " AND backend_type <> 'mailman scout'", '0');
	my $start = time;
	is(drop_database($name), undef, "DROP DATABASE $name");
	push @seconds, time - $start;
}

# at any moment, with a letter of another database on its way
$relay->gate(50);
my $letter = $node->letter($newsletter);
$node->send($letter);
foreach my $round (1 .. 6)
{
	my $name    = "round$round";
	my $session = make_database($name, 3);
	$session->query('SELECT mailman_wake()');
	$session->quit;
	sleep rand(0.3);
	my $start = time;
	is(drop_database($name, $round % 2 ? '' : ' WITH (FORCE)'),
		undef,
		"DROP DATABASE $round"
		  . ($round % 2 ? '' : ' (FORCE)'));
	push @seconds, time - $start;
}
my ($worst) = sort { $b <=> $a } @seconds;
diag('DROP DATABASE took '
	  . join(', ', map { sprintf '%.0f ms', 1000 * $_ } @seconds));
cmp_ok($worst, '<', 20, 'at once');
ok($relay->wait_for_held(5), 'the other letter is still on its way');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'the other letter is sent');

# ---- DROP DATABASE (FORCE) in the middle of a letter

$relay->set(slow => 0.1);
my $doomed = make_database('doomed', 2000);
$doomed->query('SELECT mailman_send(1)');
ok(wait_until($doomed, 'SELECT count(*) >= 20 FROM mailman.newsletter_email',
		't'),
	'a letter on its way');
my $from  = $node->log_position;
my $start = time;
is(drop_database('doomed', ' WITH (FORCE)'),
	undef, 'DROP DATABASE (FORCE) in the middle of it');
my $took = time - $start;
diag(sprintf 'DROP DATABASE (FORCE) in the middle of a letter: %.1f s', $took);
cmp_ok($took, '<', 20, 'long before the letter would have ended');
ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'", '0'),
	'its worker is gone');
is(scalar($node->log_lines(qr/PANIC|TRAP|crash/, $from)), 0, 'without harm');
ok($relay->wait_for_silence, 'and so are its sessions');
my $accepted = $relay->status->{accepted};
sleep 1;
is($relay->status->{accepted}, $accepted, 'and sends no more');
undef $doomed;

# and while a relay holds its replies back, or drips them for ever
my %hang = (
	mute => { silence => 1 },
	drip => { reply => [ ('250-still thinking') x 120 ], split => 0.5 });
foreach my $round (1 .. $ENV{ROUNDS} || 2)
{
	foreach my $name (sort keys %hang)
	{
		$relay->reset_connections;
		ok($relay->wait_for_silence, 'the relay is free');
		$relay->set(rules => [ { step => 'dot', %{ $hang{$name} } } ]);
		my $session = make_database("$name$round", 100);
		$session->query('SELECT mailman_send(1)');
		ok($relay->wait_for_status('active', 5), "$name: a letter hangs");
		$from  = $node->log_position;
		$start = time;
		is(drop_database("$name$round", ' WITH (FORCE)'),
			undef, "$name: DROP DATABASE (FORCE)");
		diag(sprintf '%s: DROP DATABASE (FORCE) took %.1f s',
			$name, time - $start);
		ok( $node->wait_for(
				"SELECT count(*) FROM pg_stat_activity"
				  . " WHERE backend_type = 'mailman letter'", '0'),
			"$name: its worker is gone");
		my @lost = $node->log_lines(qr/FATAL: .*does not exist/, $from);
		is(scalar(@lost), 0, "$name: and nobody went there meanwhile")
		  or diag(join("\n", @lost));
	}
}
$relay->set(rules => []);

# a new database gets along
my $fresh = make_database('fresh', 10);
$fresh->query('SELECT mailman_send(1)');
ok(wait_until($fresh, 'SELECT state FROM mailman.letter', 'sent'),
	'a new database sends');
$fresh->quit;

# ---- DROP EXTENSION in the middle of a letter

my $second = make_database('second', 2000);
$second->query('SELECT mailman_send(1)');
ok(wait_until($second, 'SELECT count(*) >= 20 FROM mailman.newsletter_email',
		't'),
	'a letter on its way');
$from  = $node->log_position;
$start = time;
my (undef, $error) = $second->try('DROP EXTENSION mailman CASCADE');
is($error, undef, 'DROP EXTENSION in the middle of it');
$took = time - $start;
$start = time;
ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'", '0'),
	'its worker ends');
diag(
	sprintf 'DROP EXTENSION: %.2f s, its worker was gone %.2f s later', $took,
	time - $start);
cmp_ok($took + time - $start,
	'<', 20, 'long before the letter would have ended');
my @loud = $node->log_lines(qr/ERROR|FATAL|PANIC|WARNING|exit code 1/, $from);
is(scalar(@loud), 0, 'and quietly') or diag(join("\n", @loud));

# ---- made anew it is another one; and dropped at any moment

$relay->set(slow => 0.01);
$second->quit;
$second = $node->session(dbname => 'second');
make_extension($second, 'again', 10);
$second->query('SELECT mailman_send(1)');
ok(wait_until($second, 'SELECT state FROM mailman.letter', 'sent'),
	'CREATE EXTENSION again: sends');
$from = $node->log_position;
my @errors;
foreach my $round (1 .. 12)
{
	# one on its way, one for later: worker, dispatcher and scout are busy
	my $later = new_letter($second);
	$second->query("UPDATE mailman.letter SET send_at ="
		  . " clock_timestamp() + interval '50 ms' WHERE id = $later");
	$second->query("SELECT mailman_send($later)");
	$second->query('SELECT mailman_send(' . new_letter($second) . ')');
	sleep rand(0.08);
	foreach my $try (1 .. 3)
	{
		my (undef, $error) = $second->try('DROP EXTENSION mailman CASCADE');
		last unless defined $error;
		push @errors, $error;
	}
	sleep 0.1;
	$second->quit;
	$second = $node->session(dbname => 'second');
	make_extension($second, "round$round", 10);
}
is(join("\n", @errors), '', 'DROP EXTENSION, a dozen times');
ok( $node->wait_for(
		    "SELECT count(*) FROM pg_stat_activity WHERE backend_type"
		  . " IN ('mailman letter', 'mailman scout')", '0'),
	'all quiet after it');
@loud = $node->log_lines(qr/ERROR|FATAL|PANIC|WARNING|exit code 1/, $from);
is(scalar(@loud), 0, 'workers, scouts and dispatcher take it quietly')
  or diag(join("\n", @loud));
$second->quit;

# ---- DROP EXTENSION that is thought better of

$relay->set(slow => 0.1);
my $third = make_database('third', 200);
my $before = $relay->pairs;
$third->query('SELECT mailman_send(1)');
ok(wait_until($third, 'SELECT count(*) >= 20 FROM mailman.newsletter_email',
		't'),
	'a letter on its way');
$third->query('BEGIN');
$third->query('DROP EXTENSION mailman CASCADE');
sleep 3;
$third->query('ROLLBACK');
$start = time;
ok(wait_until($third, 'SELECT state FROM mailman.letter', 'sent'),
	'DROP EXTENSION, and ROLLBACK 3 s later: the letter goes on');
my ($doubts, $delivered) = split(
	/\|/,
	$third->query("SELECT doubts, mail_order->>'delivered'"
		  . " FROM mailman.letter"));
is($delivered, 200, 'everybody has it');
is($relay->pairs - $before, 200, 'says the relay');
my $twice = $relay->duplicates;
diag(
	sprintf 'DROP EXTENSION rolled back: done %.1f s later, '
	  . '%d duplicates, %d doubts', time - $start, $twice, $doubts);
cmp_ok($twice, '<=', $doubts, 'every duplicate is on record');
is($third->query($node->sums_sql(1)), '', 'sums');
$third->quit;

# ---- fast shutdown under a synchronous standby that never answers

$letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter);
my $witness = $node->session;
$node->append_conf('postgresql.conf',
	"synchronous_standby_names = 'nobody'");
$node->reload;

# the setting is in force when somebody else's COMMIT waits
$until = time + 180;
while (time < $until)
{
	$witness->start("SELECT pg_logical_emit_message(true, '', '')")
	  unless $witness->{marker};
	last
	  if $node->sql("SELECT wait_event FROM pg_stat_activity WHERE pid = "
		  . $witness->backend) eq 'SyncRep';
	$witness->result if $witness->done;
	sleep 0.05;
}
$relay->open_gate;
ok( $node->wait_for(
		    "SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter'"
		  . " AND wait_event = 'SyncRep'",
		'1'),
	'its worker waits for a standby that never answers');
$start = time;
$node->stop('fast');
$took = time - $start;
diag(sprintf 'fast shutdown under a deaf synchronous standby: %.1f s', $took);
cmp_ok($took, '<', 60, 'fast shutdown does not wait for it');
undef $witness;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->start;
ok($node->wait_for_letter($letter, 'sent'),
	'started again without it: the letter goes on');
$doubts =
  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
$twice = $relay->duplicates - $twice;
diag("after it: $twice duplicates, $doubts doubts");
cmp_ok($twice, '<=', $doubts, 'every duplicate is on record');
is($node->tally($letter)->{delivered}, 100, 'everybody has it');
$node->assert_sums($letter, 'in the end');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
