
#-------------------------------------------------------------------------
#
# Mailman::Policy
#	  What tests of newsletter.policy begin with: a server, two relays, and a
#	  role that owns newsletters and their policies.
#
#	my ($node, %relays) = policy_cluster(save => 1);
#	my $policy = policy($node, 'mixed', q{RETURN NULL;});
#	my $letter = letter_with($node, $policy, 60,
#		newsletter => { max_age => '2 seconds' },
#		letter => { subject => 'Mixed' });
#
# The options are those of the relays, a and b.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Policy;

use strict;
use warnings;

use Exporter qw(import);

use Mailman::Cluster;
use Mailman::Relay;

our @EXPORT_OK = qw(policy_cluster policy letter_with);

# A policy has little time, and turns are small, so that there are several
sub policy_cluster
{
	my (%options) = @_;
	my $node = Mailman::Cluster->create(
		'main',
		preload => 1,
		conf => {
			max_worker_processes => 24,
			'mailman.max_workers' => 12,
			'mailman.turn_size' => 20,
			'mailman.policy_timeout' => '300ms'
		});
	my %relays;

	foreach my $name ('a', 'b')
	{
		$relays{$name} = Mailman::Relay->new(%options)->start;
		$node->relay($name, $relays{$name}->url, connections => 6);
	}
	$node->sql(
		q{
		CREATE ROLE editor;
		CREATE SCHEMA app AUTHORIZATION editor;
		CREATE TABLE app.seen (id bigint);
		ALTER TABLE app.seen OWNER TO editor;
	});
	return ($node, %relays);
}

# A policy of that name, plpgsql; s is the subscription, l the letter
sub policy
{
	my ($node, $name, $body, $declare) = @_;

	$declare = $declare ? "DECLARE $declare" : '';
	$node->sql(
		qq{
		CREATE OR REPLACE FUNCTION app.$name
			(l mailman.letter, s mailman.subscription)
		RETURNS jsonb LANGUAGE plpgsql AS \$f\$
		$declare
		BEGIN
			$body
		END \$f\$;
		ALTER FUNCTION app.$name OWNER TO editor});
	return "app.$name";
}

# A letter to so many, whose newsletter has that policy
sub letter_with
{
	my ($node, $policy, $number, %options) = @_;
	my $newsletter = $node->newsletter(
		relays => [ 'a', 'b' ],
		owner => 'editor',
		policy => $policy,
		subscriptions => $number,
		%{ $options{newsletter} || {} });

	return $node->letter($newsletter, %{ $options{letter} || {} });
}

1;
