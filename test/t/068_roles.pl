
#-------------------------------------------------------------------------
#
# 068_roles.pl
#	  Roles that are dropped, renamed, or made anew under an old name.
#
# A letter whose sender is gone goes on with the member who resumes it, to those who
# have not got it yet.  A newsletter belongs to the role it was given to, and
# to no other of that name.
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
my $node  = Mailman::Cluster->create('main', preload => 1);

$node->relay('relay', $relay->url, connections => 2);
$node->sql(
	q{CREATE ROLE team; CREATE ROLE creator LOGIN CREATEROLE;
	CREATE ROLE "Bob" LOGIN IN ROLE team; CREATE ROLE amy LOGIN IN ROLE team;
	GRANT CREATE ON DATABASE postgres TO "Bob";
	GRANT USAGE ON FOREIGN SERVER relay TO team});
$node->sql("SELECT mailman_grant('team', 'send')");
my $newsletter = $node->newsletter(
	owner         => 'team',
	relays        => ['relay'],
	subscriptions => 20);
my %person = map { $_ => $node->session(user => $_) } qw(Bob amy creator);

sub drop_role
{
	my ($role) = @_;
	$person{$role}->quit if $person{$role};
	$node->sql(qq{DROP OWNED BY "$role"; DROP ROLE "$role"});
	return;
}

# ---- the sender is dropped while the letter is being sent

my $letter = $node->letter($newsletter);
$relay->gate(6);
$person{Bob}->query("SELECT mailman_send($letter)");
ok($relay->wait_for_held(2), 'sent by a role, to some');
my $later = $node->letter($newsletter,
	send_at => $node->sql("SELECT now() + interval '1 h'"));
$person{Bob}->query("SELECT mailman_send($later)");
my $done = $node->letter($newsletter);
drop_role('Bob');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'paused'), 'which is dropped: paused');
is( $node->sql("SELECT state_reason FROM mailman.letter WHERE id = $letter"),
	'role "Bob" does not exist',
	'and says why');
$node->wait_for_no_worker($letter);
my $had = $relay->status->{accepted};
cmp_ok($had, '<', 20, 'before all have got it');

# made anew by somebody, it has nothing of it
$person{creator}->query('CREATE ROLE "Bob" LOGIN');
$node->sql("SELECT mailman_grant('Bob', 'send')");
my $new = $node->session(user => 'Bob');
like(
	($new->try("SELECT mailman_resume($letter)"))[1],
	qr/42501: permission denied for letter/,
	'a new role of that name may not resume it');
is($person{amy}->query("SELECT mailman_resume($letter)"),
	'sending', 'a member of the owner may');
ok($node->wait_for_letter($letter, 'sent'), 'and it goes on');
is($node->sql("SELECT sender FROM mailman.letter WHERE id = $letter"),
	'amy', 'with the member as its sender');
is( $node->sql(
		    "SELECT detail->>'before', detail->>'sender' FROM mailman.event"
		  . " WHERE letter_id = $letter AND kind = 'sender'"),
	'Bob|amy',
	'which is an event');
is(scalar($relay->pairs),      20, 'to all');
is(scalar($relay->duplicates), 0,  'to nobody twice');
$node->assert_sums($letter, 'sent by two');

# scheduled
is($person{amy}->query("SELECT mailman_resume($later)"),
	'scheduled', 'a scheduled one need not fall due before');
is($node->sql("SELECT sender FROM mailman.letter WHERE id = $later"),
	'amy', 'to get another sender');
$person{amy}->query("SELECT mailman_cancel($later)");

# ---- the sender may not any more

$node->sql('CREATE ROLE eve LOGIN IN ROLE team');
$person{eve} = $node->session(user => 'eve');
$person{eve}->query("SELECT mailman_send($done, ARRAY[(SELECT min(id) FROM"
	  . " mailman.subscription WHERE newsletter_id = $newsletter)])");
ok($node->wait_for_letter($done, 'sent'), 'sent by another');
$node->sql('REVOKE team FROM eve');
$person{amy}->query("SELECT mailman_send($done)");
ok( $node->wait_for(
		"SELECT state, mail_order->>'delivered' FROM mailman.letter"
		  . " WHERE id = $done", 'sent|20'),
	'who is no member any more: sent again by one');
is($node->sql("SELECT sender FROM mailman.letter WHERE id = $done"),
	'amy', 'who takes the place');
my $mine = $node->letter($newsletter);
$person{amy}->query("SELECT mailman_send($mine); SELECT mailman_pause($mine)");
$node->sql("SELECT mailman_resume($mine)");
is($node->sql("SELECT sender FROM mailman.letter WHERE id = $mine"),
	'amy', 'a sender who may stays when others resume');
ok($node->wait_for_letter($mine, 'sent'), 'and sends');

# ---- renamed

my $renamed = $node->letter($newsletter);
$relay->gate(4);
$person{amy}->query("SELECT mailman_send($renamed)");
ok($relay->wait_for_held(2), 'another letter on its way');
$node->sql('ALTER ROLE team RENAME TO staff');
$node->sql('ALTER ROLE amy RENAME TO ann');
$node->sql("ALTER SERVER relay OPTIONS (SET connections '2')");
$relay->open_gate;
ok($node->wait_for_letter($renamed, 'sent'), 'owner and sender renamed: sent');
like($node->sql("SELECT mailman_report($renamed)"),
	qr/staff/, 'the report has the name of now');
$node->sql('CREATE ROLE team; GRANT team TO creator');
$node->sql("SELECT mailman_grant('creator', 'send')");
like(
	($person{creator}->try("SELECT mailman_preview($renamed)"))[1],
	qr/42501: permission denied for letter $renamed\b/,
	'a new role of the old name owns nothing');
my $row = $node->sql('SELECT n FROM mailman.newsletter n');
$person{creator}->query("UPDATE mailman.newsletter SET policy = 'public.x'");
is($node->sql('SELECT n FROM mailman.newsletter n'), $row,
	'and sets no policy');
$person{ann} = $node->session(user => 'ann');
$person{ann}->query("UPDATE mailman.newsletter SET name = 'New', owner = 'team',"
	  . ' owner_oid = 10');
is( $node->sql('SELECT owner, owner_oid = (SELECT oid FROM pg_roles'
		  . " WHERE rolname = 'staff') FROM mailman.newsletter"),
	'staff|t',
	'a row that is written shows the name; nobody writes the oid');

# ---- the owner is dropped

$node->sql('CREATE ROLE carol LOGIN');
$node->sql("SELECT mailman_grant('carol', 'send')");
$node->sql('GRANT USAGE ON FOREIGN SERVER relay TO carol');
$node->sql("UPDATE mailman.newsletter SET owner = 'carol'");
my $orphan = $node->letter($newsletter);
drop_role('carol');
like($node->sql_error("SELECT mailman_send($orphan)"),
	qr/42704: owner "carol" of newsletter $newsletter does not exist/,
	'an owner that is gone is named to those who may mend it');
my ($output, $said) = $person{ann}->try("SELECT mailman_send($orphan)");
like(
	$said,
	qr/42501: permission denied for letter $orphan\b/,
	'and to nobody else');
$person{creator}->query('CREATE ROLE carol LOGIN');
$node->sql("SELECT mailman_grant('carol', 'send')");
$node->sql('GRANT USAGE ON FOREIGN SERVER relay TO carol');
my $carol = $node->session(user => 'carol');
like(
	($carol->try("SELECT mailman_send($orphan)"))[1],
	qr/42501: permission denied for letter $orphan\b/,
	'a new role of that name owns nothing');
$row = $node->sql('SELECT n FROM mailman.newsletter n');
foreach my $set (
	"owner = 'carol'", "policy = 'public.x'",
	"relays = '{x}'",  "owner_oid = 'carol'::regrole")
{
	$carol->query("UPDATE mailman.newsletter SET $set");
	is($node->sql('SELECT n FROM mailman.newsletter n'),
		$row, "nor may it set $set");
}
is( $node->sql('SELECT owner_oid IN (SELECT oid FROM pg_roles)'
		  . ' FROM mailman.newsletter'),
	'f',
	'nor has it become the owner by any of that');
like(
	($carol->try("SELECT mailman_subscribe($newsletter, 'x\@example.com')"))
	[1],
	qr/42501: permission denied for newsletter $newsletter\b/,
	'nor may it subscribe anybody');

# the owner of the extension gives it away
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->sql("UPDATE mailman.newsletter SET owner = 'staff'");
$person{ann}->query("SELECT mailman_send($orphan)");
ok($node->wait_for_letter($orphan, 'sent'), 'given away: sent');

# ---- a dump carries the names

my $held = $node->letter($newsletter);
$node->sql("UPDATE mailman.letter SET send_at = 'infinity' WHERE id = $held");
$person{ann}->query("SELECT mailman_send($held)");
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'dumped');
my $other = Mailman::Cluster->create('other', extension => 0);
# oids are others there
$other->sql('CREATE ROLE a; CREATE ROLE b; CREATE ROLE ann LOGIN;'
	  . ' CREATE ROLE carol; CREATE ROLE creator; CREATE ROLE "Bob"');
$other->command_ok(
	[
		'pg_restore', '-x', '-O', '-d',
		$other->connstr('postgres'), "$dir/dump"
	],
	'restored where the sender is, and the owner is not yet');
is( $other->sql(
		'SELECT n.owner, n.owner_oid IS NULL, l.sender, (SELECT rolname'
		  . ' FROM pg_roles WHERE oid = l.sender_oid)'
		  . ' FROM mailman.newsletter n JOIN mailman.letter l'
		  . " ON l.newsletter_id = n.id WHERE l.id = $held"),
	'staff|t|ann|ann',
	'by name');
$other->sql('CREATE ROLE staff');
like($other->sql_error("SELECT mailman_preview($held)"),
	qr/42704: owner "staff"/, 'the role that comes later owns nothing');
$other->sql('UPDATE mailman.newsletter SET owner = owner');
is( $other->sql(
		'SELECT owner_oid = (SELECT oid FROM pg_roles'
		  . " WHERE rolname = 'staff') FROM mailman.newsletter"),
	't',
	'before somebody who may says so');

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$_->quit foreach $carol, $new, @person{qw(amy eve ann creator)};
$other->stop;
$node->stop;
$relay->stop;
done_testing();
