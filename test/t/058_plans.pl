
#-------------------------------------------------------------------------
#
# 058_plans.pl
#	  No turn looks through all deliveries of a letter for those it is about.
#
# The worker's plans are made once, from what the statistics say then: nothing
# of the first letter of a database.  Whatever they say, the rows of a turn are
# to be fetched by their whole key, or each turn costs as much as the letter
# is large; and those of a claim where they were read, however few there were
# when the table was analyzed.  auto_explain tells how they were.
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

# A server, and the newsletter's relay
sub create
{
	my ($name) = @_;
	my $node = Mailman::Cluster->create(
		$name,
		conf => {
			autovacuum                     => 'off',
			shared_preload_libraries       => 'mailman,auto_explain',
			'auto_explain.log_min_duration' => 0
		});

	$node->relay('relay', $relay->url, connections => 10);
	return $node;
}

# A letter to so many
sub send_to
{
	my ($node, $number) = @_;
	my $letter = $node->letter(
		$node->newsletter(relays => ['relay'], subscriptions => $number));

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), "sent to $number");
	$node->wait_for_no_worker($letter);
	return;
}

# How the delivery rows were found: statements by place, by key, by a part of
# it, and by another index
sub scans
{
	my ($node) = @_;
	my %scans = map { $_ => {} } qw(place key letter other);
	my $query = '';
	my $scan  = 0;

	foreach my $line (split /\n/, slurp_file($node->logfile))
	{
		$query = substr($1, 0, 60) if $line =~ /Query Text: (.*)/;
		if ($scan && $line =~ /Index Cond: (.*)/)
		{
			my $by = $1 =~ /subscription_id/ ? 'key' : 'letter';
			$scans{$by}{$query}++;
		}
		$scan = $line =~ /Index Scan.* using delivery_pkey on delivery d\b/;
		next if $scan || $line !~ /\bScan\b.* on delivery d\b/;
		$scans{ $line =~ /Tid Scan/ ? 'place' : 'other' }{$query}++;
	}
	return \%scans;
}

my $node = create('main');
send_to($node, 3000);
my $scans    = scans($node);
my @by_key   = grep { /^UPDATE/ } keys %{ $scans->{key} };
my @by_place = keys %{ $scans->{place} };
is(scalar @by_key, 1, 'outcomes find their rows by key')
  or diag(explain($scans));
like($by_key[0] || '', qr/SET state = 'delivered'/, 'so they do');
is(scalar @by_place, 1, 'claims find theirs where they were read')
  or diag(explain($scans));
like($by_place[0] || '', qr/SET due_at = NULL/, 'so they do');
is_deeply($scans->{letter}, {}, 'no statement goes through the whole letter');
$node->stop;

$node = create('small');
send_to($node, 10);
$node->sql('ANALYZE');
send_to($node, 100);
$scans = scans($node);
my @not_by_place = grep { /SET due_at = NULL/ }
  map { keys %$_ } @{$scans}{qw(key letter other)};
is_deeply(\@not_by_place, [], 'claims do so where there are few, too')
  or diag(explain($scans));
cmp_ok((values %{ $scans->{place} })[0] || 0, '>', 1, 'all of them');
$node->stop;

$relay->stop;
done_testing();
