
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

# Write ca.pem, server.pem and server.key into an existing directory.
# names: the subject's alternative names (localhost and 127.0.0.1).
# Returns the paths as a hash: ca, cert, key.
sub make
{
	my ($class, $dir, %options) = @_;
	my @names = @{ $options{names} || [ 'localhost', '127.0.0.1' ] };
	my %file  = (
		ca   => "$dir/ca.pem",
		cert => "$dir/server.pem",
		key  => "$dir/server.key");

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

	PEM_cert2file($ca,   $file{ca});
	PEM_cert2file($cert, $file{cert});
	PEM_key2file($key, $file{key});
	chmod 0644, $file{ca}, $file{cert};
	chmod 0600, $file{key};

	CERT_free($_) foreach $ca, $cert;
	KEY_free($_) foreach $ca_key, $key;
	return %file;
}

1;
