
#-------------------------------------------------------------------------
#
# 091_dump.pl
#	  Two tenants: a restored dump isolates like the original.
#
# pg_dump carries no policies of an extension's tables, and all the grants.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;

plan skip_all => 'pgTAP is not installed'
  unless -e `pg_config --sharedir` =~ s/\n//r . '/extension/pgtap.control';

my $node = Mailman::Cluster->create('main');
my $dir  = PostgreSQL::Test::Utils::tempdir();

$node->sql('CREATE EXTENSION pgtap');

# A file of test/pgtap in that database; what it said
sub run_file
{
	my ($dbname, @commands) = @_;
	my ($output, $error) = run_command(
		[
			'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr($dbname), @commands
		]);
	is($error, '', "no error in $dbname");
	return $output;
}

# Every line of tenants_seen.psql, as a test of ours
sub look
{
	my ($dbname) = @_;
	my $output = run_file(
		$dbname,
		-c => 'BEGIN; SET client_min_messages = error; SELECT no_plan()',
		-f => 'test/pgtap/tenants_seen.psql',
		-c => 'ROLLBACK');
	my @lines = grep { /^(not )?ok / } split /\n/, $output;
	my @bad   = grep { /^not/ } @lines;

	cmp_ok(scalar(@lines), '>', 150, "looked at all of $dbname");
	is_deeply(\@bad, [], "each sees its own in $dbname") or diag($output);
	return;
}

run_file(
	'postgres',
	-c => 'SET client_min_messages = error; BEGIN',
	-f => 'test/pgtap/tenants_made.psql',
	-c => 'COMMIT');
look('postgres');
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'dumped');
$node->sql('CREATE DATABASE copy');
$node->command_ok(
	[ 'pg_restore', '-e', '-d', $node->connstr('copy'), "$dir/dump" ],
	'restored');
look('copy');

# who dumps with a tenant's rights gets an error, and not a part that looks whole
$node->command_fails_like(
	[ 'pg_dump', '-U', 'tap_alice', '-t', 'mailman.subscription', '-f', '/dev/null',
		$node->connstr('copy') ],
	qr/row-level security|permission denied/,
	'a tenant does not dump');

$node->stop;
done_testing();
