
#-------------------------------------------------------------------------
#
# 048_clock.pl
#	  A retry in four hours, with a clock that can be moved.
#
# The server runs under libfaketime, so a schedule of hours passes in
# seconds: nothing is tried before its time, the retry comes when the clock
# says so, and no process waits for it meanwhile.
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

my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless defined $library;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $clock = "$dir/clock";

# While a process is in select(), libfaketime fakes no time.  Before PostgreSQL
# 16 the postmaster starts background workers from signal handlers that
# interrupt its select(), so they would have the true time for ever: let it
# have the C library's select() instead.
my $select = "$dir/select";
open(my $fh, '>', "$select.c") or die "could not write \"$select.c\": $!";
print {$fh} <<'END';
#include <dlfcn.h>
#include <sys/select.h>

int
select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	static int (*libc) (int, fd_set *, fd_set *, fd_set *, struct timeval *);

	if (!libc)
		*(void **) &libc = dlsym(dlopen("libc.so.6", RTLD_LAZY), "select");
	return libc(n, r, w, e, timeout);
}
END
close($fh) or die "could not write \"$select.c\": $!";
system_or_bail($ENV{CC} || 'cc',
	'-shared', '-fPIC', '-o', "$select.so", "$select.c", '-ldl');

# Move the server's clock to that far from the true one: "+180m", of one unit
sub move_clock
{
	my ($offset) = @_;
	open(my $fh, '>', "$clock.new") or die "could not write the clock: $!";
	print {$fh} "$offset\n";
	close($fh)                   or die "could not write the clock: $!";
	rename("$clock.new", $clock) or die "could not set the clock: $!";
	return;
}

my $relay = Mailman::Relay->new->start;
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => { 'mailman.retry_schedule' => '4h' });

move_clock('+0');
{
	local $ENV{LD_PRELOAD} = "$select.so $library";
	local $ENV{FAKETIME_TIMESTAMP_FILE} = $clock;
	local $ENV{FAKETIME_NO_CACHE} = 1;
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	$node->restart;
}

# Let the clock jump.  The dispatcher sleeps for a minute at most, and a jump
# does not wake it: a reload does, and it looks everywhere.
sub jump
{
	my ($offset) = @_;
	my $before = $node->sql('SELECT clock_timestamp()');

	move_clock($offset);
	$node->sql('SELECT pg_reload_conf()');
	return $node->sql("SELECT clock_timestamp() - '$before'");
}

# ---- two of five are told to come back

$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(
	relays => ['relay'],
	subscriptions => 5);
$relay->set(
	rules => [
		{
			step => 'RCPT',
			match => '^r[24]@',
			first => 2,
			reply => '450 4.2.0 Come back later'
		}
	]);
my $letter = $node->letter($newsletter);
$node->send($letter);

my $counts =
	"SELECT count(*) FILTER (WHERE state = 'delivered'),"
  . " count(*) FILTER (WHERE state = 'deferred' AND attempts = 1)"
  . " FROM mailman.delivery WHERE letter_id = $letter";
my $none =
  "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mailman letter'";
ok($node->wait_for($counts, '3|2'), 'three are delivered, two deferred');
is( $node->sql(
			"SELECT DISTINCT due_at - now() BETWEEN interval '3 h 11 min'"
		  . " AND interval '4 h 48 min' FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = 'deferred'"),
	't',
	'for four hours, give or take 20 %');
diag(
	$node->sql(
		"SELECT string_agg(date_trunc('second', due_at - now())::text, ', ')"
		  . " FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND state = 'deferred'"));
ok($node->wait_for($none, '0'), 'no process waits for it');
my $run = $node->sql("SELECT run FROM mailman.letter WHERE id = $letter");

# ---- three hours later

like(jump('+180m'), qr/^03:00:/, 'three hours later by the clock');
ok( $node->stays(
		"SELECT ($none), (SELECT count(*) FROM mailman.delivery"
		  . " WHERE letter_id = $letter AND state = 'deferred')",
		'0|2',
		3),
	'nothing is tried, and still no process waits');
is($relay->pairs, 3, 'the relay has heard nothing more');
is($node->letter_state($letter), 'sending', 'the letter is in the post');
is($node->sql("SELECT run FROM mailman.letter WHERE id = $letter"),
	$run, 'nobody was started in vain');

# ---- when both are due, whatever the jitter

like(jump('+290m'), qr/^01:50:/, 'four hours and fifty minutes later');
ok($node->wait_for_letter($letter, 'sent'), 'they are tried, and delivered');
is($relay->pairs, 5, 'the relay has all');
is(scalar($relay->duplicates), 0, 'nobody twice');
is( $node->sql(
			"SELECT count(*), min(e.attempts), max(e.attempts),"
		  . " bool_and(e.sent_at >= d.queued_at + interval '4 h 50 min')"
		  . ' FROM mailman.newsletter_email e'
		  . ' JOIN mailman.delivery d USING (letter_id, subscription_id)'
		  . " WHERE letter_id = $letter AND e.attempts > 1"),
	'2|2|2|t',
	'at the second attempt, by that clock');
cmp_ok($node->sql("SELECT run FROM mailman.letter WHERE id = $letter"),
	'>', $run, 'by another worker');
ok($node->wait_for($none, '0'), 'which is gone again');
$node->assert_sums($letter, 'after it');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$node->stop;
$relay->stop;
done_testing();
