
#-------------------------------------------------------------------------
#
# 059_places.pl
#	  Whoever was chosen is claimed wherever their row is by then.
#
# A claim looks for rows where they were read.  While somebody's domain has a
# limit that was in an earlier transaction, and before the turn's all of them
# may move: CLUSTER, let in by lock_timeout, writes the table anew.  In their
# places there are then others, of this letter or of another, who must not be
# taken for them.
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

my $number = 1000;
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

my $before = $node->letter($newsletter);
$node->send($before);
ok($node->wait_for_letter($before, 'sent'), 'a letter before it');
$node->wait_for_no_worker($before);
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
$node->sql('CREATE TABLE chosen AS'
	  . ' SELECT ctid AS place, subscription_id AS id FROM mailman.delivery'
	  . " WHERE letter_id = $letter AND state = 'pending'"
	  . ' ORDER BY subscription_id LIMIT 10');
$node->sql(
	'CLUSTER mailman.delivery USING delivery_subscription_id_idx');
my ($same, $wait, $other) = split /\|/,
  $node->sql("SELECT count(*) FILTER (WHERE d.letter_id = $letter"
	  . " AND d.subscription_id = c.id),"
	  . " count(*) FILTER (WHERE d.letter_id = $letter"
	  . " AND d.state = 'pending'),"
	  . " count(*) FILTER (WHERE d.letter_id = $before)"
	  . ' FROM mailman.delivery d JOIN chosen c ON d.ctid = c.place');
is($same, 0, 'meanwhile the rows move');
cmp_ok($wait, '>', 0, 'in their places are others who wait');
cmp_ok($other, '>', 0, 'and some who have the letter before it');
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
