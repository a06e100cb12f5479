
#-------------------------------------------------------------------------
#
# 065_upgrade.pl
#	  Another version of the extension, while letters are in the post.
#
# Two versions to come are made here, of the library as it is but for its
# name of the version, and of scripts that change tables and rows.  They are
# installed in a directory of the test's own.  The library may come first, with
# a restart, or the script, by ALTER EXTENSION UPDATE under a library that runs:
# as long as the two differ nothing is sent and nothing is lost, and the hint
# tells what is missing.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use File::Copy qw(copy);
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

# ---- the versions

my $config = $ENV{PG_CONFIG} || 'pg_config';
chomp(my $version   = `$config --version`);
chomp(my $sharedir  = `$config --sharedir`);
chomp(my $pkglibdir = `$config --pkglibdir`);
my ($major) = $version =~ /^PostgreSQL (\d+)/;
my $debian  = $version =~ /Debian|Ubuntu/;
plan skip_all => 'this PostgreSQL finds extensions in one directory only'
  unless $major >= 18 || $debian;
plan skip_all => 'no headers, no compiler: nothing to make a version with'
  unless -e "$pkglibdir/pgxs/src/makefiles/pgxs.mk" && `make --version`;

my $dir    = PostgreSQL::Test::Utils::tempdir();
my $extdir = "$dir$sharedir/extension";
my $libdir = "$dir$pkglibdir";
make_path($extdir, $libdir, "$dir/build");

sub run_or_die
{
	my (@command) = @_;
	my ($out, $err) = run_command(\@command);
	die "@command: $out$err" if $? != 0;
	return;
}

# Compiled so far: {version => library}
my %library;

sub make_library
{
	my ($number) = @_;

	# what depends on the version; objects are nothing to make by themselves
	unlink "$dir/build/mailman.so",
	  map { "$dir/build/src/$_.o" } qw(mailman txn);
	run_or_die('make', '-s', '-j2', '-C', "$dir/build", "PG_CONFIG=$config",
		"COPT=-O0 -DMAILMAN_VERSION='\"$number\"'", 'all');
	$library{$number} = "$dir/mailman-$number.so";
	copy("$dir/build/mailman.so", $library{$number}) or die $!;
	return;
}

# A file that runs is replaced, not written
sub install_library
{
	my ($number) = @_;
	copy($library{$number}, "$libdir/mailman.new") or die $!;
	chmod 0755, "$libdir/mailman.new";
	rename("$libdir/mailman.new", "$libdir/mailman.so") or die $!;
	return;
}

run_or_die('cp', '-r', 'src', 'sql', 'Makefile', 'mailman.control',
	"$dir/build/");
unlink glob("$dir/build/src/*.o");
make_library($_) foreach '1.0', '1.1-test', '1.2-test';

copy($_, $extdir) or die "$_: $!"
  foreach 'mailman.control', 'src/mailman--1.0.sql';
append_to_file("$extdir/mailman--1.0--1.1-test.sql", <<'END');
\echo Use "ALTER EXTENSION mailman UPDATE" to load this file. \quit
ALTER TABLE mailman.subscription ADD COLUMN colour text;
UPDATE mailman.subscription SET colour = 'blue';
UPDATE mailman.letter SET headers = headers;
END
append_to_file("$extdir/mailman--1.1-test--1.2-test.sql", <<'END');
\echo Use "ALTER EXTENSION mailman UPDATE" to load this file. \quit
UPDATE mailman.subscription SET colour = colour || ' again';
CREATE FUNCTION mailman_colour(bigint) RETURNS text
LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
	SELECT colour FROM mailman.subscription WHERE id = $1;
END;
END

# ---- a letter on its way

install_library('1.0');
my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		(
			$major >= 18
			? (extension_control_path => "$dir$sharedir:\$system")
			: (extension_destdir => $dir)),
		dynamic_library_path     => "$libdir:\$libdir",
		'mailman.retry_schedule' => '1s',
		'mailman.shutdown_grace' => '1s'
	});
$node->relay('relay', $relay->url, connections => 5);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 300);

# Script and library do not fit
sub refused
{
	my ($sql, $script, $library) = @_;
	like(
		$node->sql_error($sql),
		qr/extension mailman is version \Q$script\E, its library \Q$library\E/,
		"script $script, library $library: $sql is refused");
	return;
}

# ---- the library first

my $letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter, 'the library first');
install_library('1.1-test');
$node->stop('fast');
$relay->open_gate;
my $log_from = $node->log_position;
$node->start;
ok( $node->wait_for_log(
		qr/extension mailman is version 1\.0, its library 1\.1-test/,
		$log_from),
	'the scout cannot start anything, and says why');
refused("SELECT mailman_send($letter)", '1.0', '1.1-test');
refused("SELECT mailman_subscribe($newsletter, 'late\@example.com')",
	'1.0', '1.1-test');
like($node->told("SELECT mailman_send($letter)"),
	qr/HINT:.*ALTER EXTENSION mailman UPDATE/, 'with a hint');
is(scalar($node->workers), 0, 'no worker meanwhile');
is($node->sql("SELECT failed_runs FROM mailman.letter WHERE id = $letter"),
	'0', 'and no run that failed');

$node->sql("ALTER EXTENSION mailman UPDATE TO '1.1-test'");
is($node->sql("SELECT count(*) FROM mailman.subscription"
		  . " WHERE colour = 'blue'"),
	'300', 'the script may change our rows');
ok($node->wait_for_letter($letter, 'sent'),
	'after the update the letter is sent, by itself');
is($node->tally($letter)->{delivered}, 300, 'to everybody');
is($relay->pairs, 300, 'says the relay');
$node->assert_sums($letter, 'after the update');
my $doubts =
  $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
my $twice = $relay->duplicates;
cmp_ok($twice, '<=', $doubts, "twice no more than $doubts in doubt");

# ---- the script first, under a worker

$letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter, 'the script first');
my ($worker) = $node->workers($letter);
ok($worker, 'it has a worker');
$log_from = $node->log_position;
$node->sql("ALTER EXTENSION mailman UPDATE TO '1.2-test'");
$relay->open_gate;
ok($node->wait_for_no_worker($letter), 'whose extension is another now: gone');
ok( $node->wait_for_log(
		qr/letter $letter: extension mailman was updated, its worker ends/,
		$log_from),
	'and says so');
refused("SELECT mailman_send($letter)", '1.2-test', '1.1-test');
like($node->told("SELECT mailman_send($letter)"),
	qr/HINT:.*restart the server/, 'with a hint');
is(scalar($node->log_lines(qr/PANIC|TRAP|terminated by signal/, $log_from)),
	0, 'nothing has crashed');

install_library('1.2-test');
$node->restart;
ok($node->wait_for_letter($letter, 'sent'),
	'after the restart the letter is sent, by itself');
is($node->tally($letter)->{delivered}, 300, 'to everybody');
$node->assert_sums($letter, 'after the restart');
$doubts = $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter");
cmp_ok($relay->duplicates - $twice, '<=', $doubts,
	"twice no more than $doubts in doubt");
is($node->sql('SELECT mailman_colour(1)'), 'blue again', 'both scripts ran');

# ---- two steps at once

$node->sql('CREATE DATABASE other');
my $session = $node->session(dbname => 'other');
$session->query("CREATE EXTENSION mailman VERSION '1.0'");
my (undef, $error) = $session->try('SELECT mailman_wake()');
like($error, qr/version 1\.0, its library 1\.2-test/,
	'another database is refused too');
$session->query("ALTER EXTENSION mailman UPDATE TO '1.2-test'");
$session->query("INSERT INTO mailman.newsletter (name, from_address)"
	  . " VALUES ('x', 'x\@example.com')");
is($session->query('SELECT mailman_wake()'),
	'0', 'updated through the version between, it works');
$session->quit;

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
