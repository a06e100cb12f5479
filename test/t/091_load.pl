
#-------------------------------------------------------------------------
#
# 091_load.pl
#	  A tenant loads a million readers and posts a letter to them, beside
#	  another tenant: each sees its own.
#
# COPY FROM is refused under row security, so the list goes through a table of
# the tenant's own.  How long things take is told, and not judged.
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

my $readers = 1_000_000;
my $node    = Mailman::Cluster->create(
	'main',
	conf => {
		'max_wal_size'  => '4GB',
		'work_mem'      => '64MB',
		'shared_buffers' => '256MB'
	});

$node->sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;'
	  . " SELECT mailman_grant('alice', 'send'), mailman_grant('bob', 'send')");
$node->relay('relay', 'smtp://127.0.0.1:1');
$node->sql('GRANT USAGE ON FOREIGN SERVER relay TO alice, bob');

# 1,000 newsletters; two of them are theirs
$node->sql('INSERT INTO mailman.newsletter (owner, name, from_address, relays,'
	  . ' unsubscribe_url)'
	  . " SELECT CASE i WHEN 500 THEN 'alice' WHEN 501 THEN 'bob'"
	  . " ELSE 'postgres' END, 'n' || i, 'a\@example.com', '{relay}',"
	  . " 'https://example.com/{{token}}'"
	  . ' FROM generate_series(1, 1000) i');
my %person = map { $_ => $node->session(user => $_) } qw(alice bob);

sub timed
{
	my ($what, $session, $sql) = @_;
	my $start  = time;
	my $output = $session->query($sql);
	note(sprintf('%s: %.1f s', $what, time - $start));
	return $output;
}

# alice's list comes by COPY, bob has the same readers
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->sql("COPY (SELECT 'r' || i || '\@example.com', 'Reader ' || i"
	  . " FROM generate_series(1, $readers) i UNION ALL"
	  . " SELECT 'no address', 'Nobody') TO '$dir/list'");
$person{bob}->query('INSERT INTO mailman.subscription (newsletter_id, email)'
	  . " SELECT 501, 'r' || i || '\@example.com'"
	  . ' FROM generate_series(1, 1000) i');
my ($output, $error) =
  $person{alice}->try("\\copy mailman.subscription (email, name) FROM '$dir/list'");
like($error, qr/COPY FROM not supported with row-level security/,
	'PostgreSQL refuses COPY FROM');
timed('a list by \copy', $person{alice},
	'CREATE TEMP TABLE list (email text, name text);'
	  . " \\copy list FROM '$dir/list'");
timed("a tenant's import of $readers",
	$person{alice},
	'INSERT INTO mailman.subscription (newsletter_id, email, name)'
	  . ' SELECT 500, email, name FROM list WHERE mailman_is_address(email)'
	  . ' ON CONFLICT DO NOTHING');
is($person{alice}->query('SELECT count(*) FROM mailman.subscription'),
	$readers, 'alice sees hers');
is($person{bob}->query('SELECT count(*) FROM mailman.subscription'),
	1000, 'and bob his');
is( $person{alice}->query(
		    "SELECT mailman_find(500, 'R77\@example.com')"
		  . " = (SELECT id FROM mailman.subscription WHERE email ="
		  . " 'r77\@example.com')"),
	't',
	'found by address, where both have it');

# a letter to them, and one to bob's
my %letter = map {
	$_ => $person{$_}->query(
		'INSERT INTO mailman.letter (newsletter_id, subject, text_body, send_at)'
		  . " SELECT id, 'Hello', 'Hello', 'infinity' FROM mailman.newsletter"
		  . ' RETURNING id')
} qw(alice bob);
is(timed("a letter to $readers", $person{alice},
		"SELECT mailman_send($letter{alice})"),
	$readers, 'posted to all of hers');
is($person{bob}->query("SELECT mailman_send($letter{bob})"),
	1000, 'and to his');
is($person{alice}->query('SELECT count(*), count(DISTINCT letter_id)'
		  . ' FROM mailman.delivery'),
	"$readers|1", 'alice sees what becomes of hers');
is($person{bob}->query('SELECT count(*) FROM mailman.recipient'),
	1000, 'and bob of his');

# usual questions, of a superuser and of the owner
$node->sql('VACUUM ANALYZE mailman.subscription, mailman.delivery,'
	  . ' mailman.letter, mailman.newsletter');
my %shown = (
	'a reader by id' => 'SELECT * FROM mailman.subscription WHERE id ='
	  . ' (SELECT max(id) FROM mailman.subscription WHERE newsletter_id = 500)',
	'readers by state' => 'SELECT state, count(*) FROM mailman.subscription'
	  . ' WHERE newsletter_id = 500 GROUP BY 1',
	'outcomes of a letter' => 'SELECT state, count(*) FROM mailman.delivery'
	  . " WHERE letter_id = $letter{alice} GROUP BY 1",
	'progress' => 'SELECT * FROM mailman.progress WHERE letter_id ='
	  . " $letter{alice}",
	'recipients' => 'SELECT count(*), max(address) FROM mailman.recipient'
	  . " WHERE letter_id = $letter{alice}");
foreach my $what (sort keys %shown)
{
	my %best;
	foreach my $round (1 .. 3)
	{
		foreach my $who ('superuser', 'owner')
		{
			my $session = $who eq 'owner' ? $person{alice} : $node;
			my $start   = time;
			my $answer =
			  $who eq 'owner'
			  ? $session->query($shown{$what})
			  : $session->sql($shown{$what});
			my $took = time - $start;
			$best{$who} = $took
			  if !defined $best{$who} || $took < $best{$who};
			$best{"answer of $who"} = join "\n", sort split /\n/, $answer;
		}
	}
	is($best{'answer of owner'}, $best{'answer of superuser'},
		"the same answer: $what");
	note(
		sprintf(
			'%s: superuser %.2f ms, owner %.2f ms, ratio %.2f',
			$what,
			$best{superuser} * 1000,
			$best{owner} * 1000,
			$best{owner} / $best{superuser}));
}

$_->quit foreach values %person;
$node->stop;
done_testing();
