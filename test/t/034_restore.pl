
#-------------------------------------------------------------------------
#
# 034_restore.pl
#	  A restore that takes its time: nothing leaves from the copy meanwhile.
#
# pg_restore commits table by table, and the letters come before the row that
# says which database may send them.  A dispatcher that looks in between must
# not take the copy for the original.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => { 'mailman.max_workers' => 8 });

$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 60);
my $letter = $node->letter($newsletter);
$relay->gate(4);
$node->send($letter);
ok($relay->wait_for_held(2), 'a letter on its way');

my $dir = PostgreSQL::Test::Utils::tempdir();
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'dumped in the middle of it');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'the original goes on');
is($relay->status->{accepted}, 60, 'to all');

# the list of contents, cut before the row of mailman.origin
my ($list) = run_command([ 'pg_restore', '-l', "$dir/dump" ]);
my @entries = grep { /^\d/ } split /\n/, $list;
my ($cut) = grep { $entries[$_] =~ /TABLE DATA mailman origin/ } 0 .. $#entries;
my ($of_letters) =
  grep { $entries[$_] =~ /TABLE DATA mailman letter/ } 0 .. $#entries;
ok(defined $cut && defined $of_letters, 'the dump has letters and an origin');
my @late = splice(@entries, $cut, 1);
append_to_file("$dir/first", join("\n", @entries) . "\n");
append_to_file("$dir/then",  join("\n", @late) . "\n");

$node->sql('CREATE DATABASE copy');
$node->command_ok(
	[
		'pg_restore', '-d', $node->connstr('copy'), '-L', "$dir/first",
		"$dir/dump"
	],
	'restored, all but the origin');

# somebody wakes the dispatcher for that database
my $copy = $node->session(dbname => 'copy');
is($copy->query('SELECT mailman_wake()'), '0', 'nothing is started');
ok( $node->stays(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE backend_type = 'mailman letter' AND datname = 'copy'",
		'0', 3),
	'nor by the dispatcher');
$node->command_ok(
	[
		'pg_restore', '-d', $node->connstr('copy'), '-L', "$dir/then",
		"$dir/dump"
	],
	'the rest is restored');
is($copy->query('SELECT mailman_wake()'), '0', 'it is a copy');
sleep 1;
is($relay->status->{accepted}, 60, 'the relay has received nothing from it');

# adopted, the letter pauses and goes on by hand, its rest and what was in doubt
$copy->query('SELECT mailman_adopt()');
is($copy->query("SELECT state FROM mailman.letter WHERE id = $letter"),
	'paused', 'adopted: the letter pauses');
$copy->query("SELECT mailman_resume($letter)");
my $until = time + 180;
sleep 0.1
  while time < $until
  && $copy->query("SELECT state FROM mailman.letter WHERE id = $letter") ne
  'sent';
is( $copy->query(
		    "SELECT state, mail_order ->> 'delivered' FROM mailman.letter"
		  . " WHERE id = $letter"),
	'sent|60',
	'and then it is sent');

$copy->quit;
$node->stop;
$relay->stop;
done_testing();
