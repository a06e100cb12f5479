
#-------------------------------------------------------------------------
#
# 094_revoked.pl
#	  What a sender may do is watched while the letter is being sent.
#
# A membership that ends, or a role that is superuser no more, stops a letter
# as REVOKE USAGE ON FOREIGN SERVER does: at once, though some of it is in
# flight.  Other roles' comings and goings stop nothing.
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
my $node  = Mailman::Cluster->create('main', preload => 1);

$node->relay('relay', $relay->url, connections => 2);
$node->sql(
	q{CREATE ROLE team; CREATE ROLE staff IN ROLE team; CREATE ROLE post;
	CREATE ROLE erin LOGIN IN ROLE team, post;
	CREATE ROLE ann LOGIN IN ROLE staff, post;
	CREATE ROLE bob LOGIN IN ROLE team, post;
	CREATE ROLE root LOGIN SUPERUSER;
	GRANT USAGE ON FOREIGN SERVER relay TO post});
$node->sql("SELECT mailman_grant('team', 'send')");
my $newsletter = $node->newsletter(
	owner         => 'team',
	relays        => ['relay'],
	subscriptions => 40);

# A letter that a role has sent to some, two of them in flight
sub begun
{
	my ($role) = @_;
	my $letter = $node->letter($newsletter);
	my $before = $relay->status->{accepted};

	$relay->gate(6);
	my $session = $node->session(user => $role);
	$session->query("SELECT mailman_send($letter)");
	$session->quit;
	$relay->wait_for_held(2) or die "nothing is in flight";
	return ($letter, $before);
}

# The letter pauses while the relay still keeps what it has
foreach my $case (
	[ 'erin', 'REVOKE team FROM erin', qr/^permission denied for letter/ ],
	[ 'ann', 'REVOKE team FROM staff', qr/^permission denied for letter/ ],
	[ 'bob', 'REVOKE post FROM bob', qr/^permission denied for relay "relay"/ ],
	[ 'root', 'ALTER ROLE root NOSUPERUSER', qr/^permission denied for letter/ ])
{
	my ($role, $sql, $reason) = @$case;
	my ($letter, $before) = begun($role);
	my $start = time;

	$node->sql($sql);
	ok($node->wait_for_letter($letter, 'paused'), "$sql: paused");
	diag(sprintf '%s: after %.2f s', $sql, time - $start);
	like(
		$node->sql(
			"SELECT state_reason FROM mailman.letter WHERE id = $letter"),
		$reason,
		"$sql: why");
	$relay->open_gate;
	$node->wait_for_no_worker($letter);
	my $had = $relay->status->{accepted} - $before;
	cmp_ok($had, '<=', 10, "$sql: what was in flight has left, of 40: $had");
	$node->assert_sums($letter, $sql);
	isnt(
		(($node->session(user => $role))
			->try("SELECT mailman_resume($letter)"))[1],
		'',
		"$sql: nor does the role resume it");
	$node->sql("SELECT mailman_cancel($letter)");
}

# What others may is of no concern
$node->sql('CREATE ROLE eve LOGIN IN ROLE team, post');
my ($letter, $before) = begun('eve');
foreach my $sql (
	'CREATE ROLE other LOGIN',  'GRANT team TO other',
	'REVOKE team FROM other',   "ALTER ROLE eve PASSWORD 'new'",
	'ALTER ROLE eve RENAME TO eva', 'DROP ROLE other')
{
	$node->sql($sql);
}
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'),
	'roles that come and go, a new name, a new password: sent');
is($relay->status->{accepted} - $before, 40, 'to all');
is(scalar($relay->duplicates), 0, 'to nobody twice');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
