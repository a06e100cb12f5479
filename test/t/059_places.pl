
#-------------------------------------------------------------------------
#
# 059_places.pl
#	  Whoever was chosen is claimed wherever their row is by then.
#
# A claim looks for rows where they were read.  While somebody's domain has a
# limit that was in an earlier transaction, and before the turn's all of them
# may move: VACUUM FULL lets in by lock_timeout writes the table anew, so that
# in each place there is nobody, or somebody else.
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

my $number = 300;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	conf => {
		autovacuum                      => 'off',
		shared_preload_libraries        => 'mailman,auto_explain',
		'auto_explain.log_min_duration' => 0,
		'mailman.lock_timeout'          => '100ms'
	});

# How many claims looked for rows where they were read, and how many by key
sub claims
{
	my %claims = (place => 0, key => 0);
	my $claims;
	foreach my $line (split /\n/, slurp_file($node->logfile))
	{
		$claims = $1 =~ /^UPDATE mailman\.delivery d SET due_at = NULL/
		  if $line =~ /Query Text: (.*)/;
		next unless $claims && $line =~ /(Tid|Index) Scan.* on delivery d\b/;
		$claims{ $1 eq 'Tid' ? 'place' : 'key' }++;
	}
	return \%claims;
}

$node->relay('relay', $relay->url, connections => 10);
$node->sql("INSERT INTO mailman.domain_limit (pattern, rate)"
	  . " VALUES ('example.net', '1000/s')");
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# what is purged leaves room in front of the next letter's rows
my $before = $node->letter($newsletter);
$node->send($before);
ok($node->wait_for_letter($before, 'sent'), 'a letter before it');
$node->wait_for_no_worker($before);
$node->sql("CALL mailman_purge('0 s')");
is( $node->sql(
		"SELECT count(*) FROM mailman.delivery WHERE letter_id = $before"),
	0, 'is purged');
cmp_ok(claims()->{place}, '>', 0, 'its claims found rows where they were');
is(claims()->{key}, 0, 'all of them');

my $letter = $node->letter($newsletter);
$node->send_to_gate($relay, $letter);
my $holder = $node->session;
$holder->query('BEGIN');
$holder->query("SELECT FROM mailman.letter WHERE id = $letter FOR UPDATE");
$relay->open_gate;
ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity"
		  . " WHERE application_name = 'mailman letter $letter'"
		  . " AND wait_event_type = 'Lock'", 1),
	'its turn has to wait');
my $place = "SELECT min(ctid) FROM mailman.delivery"
  . " WHERE letter_id = $letter AND state = 'pending'";
my $was = $node->sql($place);
$node->sql('VACUUM FULL mailman.delivery');
isnt($node->sql($place), $was, 'meanwhile the rows move');
$holder->query('COMMIT');

ok($node->wait_for_letter($letter, 'sent'), 'it is sent');
cmp_ok(claims()->{key}, '>=', 1, 'those chosen before were found by key');
is($node->tally($letter)->{delivered}, $number, 'everybody has it');
my %times;
$times{ $_->{to}[0] }++
  foreach grep { $_->{to}[0] =~ /@/ } $relay->messages;
is_deeply([ grep { $times{$_} != 2 } sort keys %times ],
	[], 'once, as the letter before');
is(scalar keys %times, $number, 'nobody is missing');
$node->assert_sums($letter, 'when it is sent');

$node->stop;
$relay->stop;
done_testing();
