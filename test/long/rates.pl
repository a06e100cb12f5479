
#-------------------------------------------------------------------------
#
# rates.pl
#	  600 mails a minute, over a crash and a restart: three minutes.
#
#	TESTS=test/long/rates.pl test/run-tests
#
# See Mailman::Rates; the short one, by the second, is test/t/042_rates.pl.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Rates;
use Mailman::Relay;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash      => 'on',
		'mailman.retry_schedule' => '1s'
	});

$node->relay('relay', $relay->url, connections => 4, rate => '600/min');
Mailman::Rates->ok_rounds(
	$node, $relay,
	server   => 'relay',
	rate     => 600,
	seconds  => 60,
	sessions => 4,
	number   => 1800);
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

$node->stop;
$relay->stop;
done_testing();
