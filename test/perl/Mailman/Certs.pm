
#-------------------------------------------------------------------------
#
# Mailman::Certs
#	  A certificate authority of our own and a server certificate for
#	  "localhost", for the tests that speak TLS.
#
# Made anew for every run, so that no private key lies in the repository and
# none expires there.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Certs;

use strict;
use warnings;

use IO::Socket::SSL::Utils;

# Write ca.pem, server.pem, server.key, client.pem and client.key into an
# existing directory.  names: the subject's alternative names (localhost and
# 127.0.0.1).  Returns the paths as a hash: ca, cert, key, client_cert,
# client_key.
sub make
{
	my ($class, $dir, %options) = @_;
	my @names = @{ $options{names} || [ 'localhost', '127.0.0.1' ] };
	my %file  = (
		ca   => "$dir/ca.pem",
		cert => "$dir/server.pem",
		key  => "$dir/server.key",
		client_cert => "$dir/client.pem",
		client_key  => "$dir/client.key");

	my $ca_key = KEY_create_ec();
	my ($ca) = CERT_create(
		CA      => 1,
		key     => $ca_key,
		subject => { commonName => 'mailman test CA' });
	my $key = KEY_create_ec();
	my ($cert) = CERT_create(
		key             => $key,
		issuer          => [ $ca, $ca_key ],
		subject         => { commonName => $names[0] },
		subjectAltNames => [
			map { [ (/^[\d.]+$/ ? 'IP' : 'DNS') => $_ ] } @names
		],
		purpose => 'server');
	my $client_key = KEY_create_ec();
	my ($client) = CERT_create(
		key     => $client_key,
		issuer  => [ $ca, $ca_key ],
		subject => { commonName => 'mailman test client' },
		purpose => 'client');

	PEM_cert2file($ca,   $file{ca});
	PEM_cert2file($cert, $file{cert});
	PEM_key2file($key, $file{key});
	PEM_cert2file($client, $file{client_cert});
	PEM_key2file($client_key, $file{client_key});
	chmod 0644, @file{qw(ca cert client_cert)};
	chmod 0600, @file{qw(key client_key)};

	CERT_free($_) foreach $ca, $cert, $client;
	KEY_free($_) foreach $ca_key, $key, $client_key;
	return %file;
}

1;
