
#-------------------------------------------------------------------------
#
# 058_plans.pl
#	  No turn looks through all deliveries of a letter for those it is about.
#
# The worker's plans are made once, from what the statistics say then: nothing
# of the first letter of a database.  Whatever they say, the rows of a turn are
# to be fetched by their whole key, or each turn costs as much as the letter
# is large.  auto_explain tells how they were.
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

my $number = 3000;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create(
	'main',
	conf => {
		autovacuum                     => 'off',
		shared_preload_libraries       => 'mailman,auto_explain',
		'auto_explain.log_min_duration' => 0
	});

$node->relay('relay', $relay->url, connections => 10);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'sent');

# How the delivery rows were found, by statement
my (%by_key, %by_place, %by_letter);
my $query = '';
my $scan  = 0;
foreach my $line (split /\n/, slurp_file($node->logfile))
{
	$query = substr($1, 0, 60) if $line =~ /Query Text: (.*)/;
	if ($scan && $line =~ /Index Cond: (.*)/)
	{
		my $of = $1 =~ /subscription_id/ ? \%by_key : \%by_letter;
		$of->{$query}++;
	}
	$by_place{$query}++ if $line =~ /Tid Scan on delivery d\b/;
	$scan = $line =~ /Index Scan.* using delivery_pkey on delivery d\b/;
}
my @by_key   = grep { /^UPDATE/ } keys %by_key;
my @by_place = keys %by_place;
is(scalar @by_key, 1, 'outcomes find their rows by key')
  or diag(explain(\%by_key));
like($by_key[0] || '', qr/SET state = 'delivered'/, 'so they do');
is(scalar @by_place, 1, 'claims find theirs where they were read')
  or diag(explain(\%by_place));
like($by_place[0] || '', qr/SET due_at = NULL/, 'so they do');
is_deeply(\%by_letter, {}, 'no statement goes through the whole letter');

$node->stop;
$relay->stop;
done_testing();
