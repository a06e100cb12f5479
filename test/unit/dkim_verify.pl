#!/usr/bin/perl
#
# dkim_verify.pl
#	  Does Mail::DKIM find our signatures good, and no other?
#
# Reads what "pure_test emit N SEED" prints, from file $EMITTED or standard
# input, takes each message from its wire form as a receiving server does, and
# verifies it; the DNS is the "dkim" field of the record.  A message of which
# one thing was changed must fail.  Mail::DKIM knows RSA only: for Ed25519 it
# parses, canonicalises and hashes, and "openssl pkeyutl" verifies the
# signature (RFC 8463 3).  TAP output.
#
# Copyright (c) 2026, the mailman authors

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use Mail::DKIM::Verifier;
use MIME::Base64;
use Test::More;

use lib $FindBin::Bin;
use Emitted qw(read_record);

# A public key of 1024 bits
my $rsa = 'MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkX/x6Jjka36BVp3nNQttCbuNy'
  . 'N3CePmNSRQkT555bw0C3zcJwO2+dVmV39Qmo5W+fP3jR5z1O2HLcrSyLOHjt2Iy2'
  . 'ZOIyfzurOXHLoe6IptOHYQb9683OCtmXf5i/7dtzJSu4nYVFSExlJlIjhoaeP61d'
  . '94f4b15kfx94qYf56wIDAQAB';
my $record;
my $dir = tempdir(CLEANUP => 1);

# An algorithm of Mail::DKIM's for Ed25519
package Ed25519;
use parent -norequire, 'Mail::DKIM::Algorithm::rsa_sha256';

sub verify
{
	my $self = shift;
	my ($key) = $record =~ /^v=DKIM1; k=ed25519; p=(\S+)$/ or return;

	# SubjectPublicKeyInfo of RFC 8410 4
	main::write_file('key', pack('H*', '302a300506032b6570032100') .
		MIME::Base64::decode($key));
	main::write_file('hash', $self->{header_digest}->digest);
	main::write_file('sig', MIME::Base64::decode($self->signature->data));
	return system("openssl pkeyutl -verify -pubin -keyform DER -rawin"
		  . " -inkey $dir/key -in $dir/hash -sigfile $dir/sig"
		  . " >/dev/null 2>&1") == 0 && $self->check_body_hash;
}

package main;

{
	no warnings 'redefine';
	my $class = \&Mail::DKIM::Signature::get_algorithm_class;
	my $hash = \&Mail::DKIM::Signature::hash_algorithm;
	*Mail::DKIM::Signature::get_algorithm_class = sub {
		$_[1] eq 'ed25519-sha256' ? 'Ed25519' : $class->(@_);
	};
	*Mail::DKIM::Signature::hash_algorithm = sub {
		$_[0]->algorithm eq 'ed25519-sha256' ? 'sha256' : $hash->(@_);
	};
	*Mail::DKIM::Signature::fetch_public_key = sub {
		my $self = shift;
		$self->{public_key_query} = sub { };
		$self->{public} = Mail::DKIM::PublicKey->parse($record);
		# so that its check of the length is one that it understands
		$self->{public}->set_tag('p', $rsa) if $record =~ /k=ed25519/;
		$self->{public}{Selector} = $self->selector;
		$self->{public}{Domain} = $self->domain;
	};
}

sub write_file
{
	my ($name, $bytes) = @_;
	open my $file, '>:raw', "$dir/$name" or die "$name: $!";
	print $file $bytes;
	close $file or die "$name: $!";
	return;
}

sub verify
{
	my $verifier = Mail::DKIM::Verifier->new;
	$verifier->PRINT(shift);
	$verifier->CLOSE;
	return $verifier;
}

# The same with one thing changed: what must not be possible unnoticed
sub forgeries
{
	my $message = shift;
	my ($header, $body) = split /(?<=\r\n)\r\n/, $message, 2;
	my @forged = (
		["a second From: above", "From: eve\@evil.example\r\n$message"],
		["another time", $message =~ s/ t=(\d+);/ t=1$1;/r],
		["a line more", "$message.\r\n"]);
	push @forged, ["a $_: above", "$_: evil\r\n$message"]
	  foreach qw(Reply-To To Cc Subject),
	  grep { $header =~ /^$_:/mi } qw(Date Message-ID MIME-Version
	  Content-Type Content-Transfer-Encoding List-Id List-Unsubscribe
	  List-Unsubscribe-Post);
	push @forged, ["another Subject:", $message =~ s/^Subject: ?/Subject: x/imr];
	push @forged, ["another byte", "$header\r\n" . $body =~ s/(\w)(?=\W*\z)/_/r]
	  if $body =~ /\w\W*\z/;
	push @forged,
	  ["another List-Unsubscribe:", $message =~ s/(^List-Unsubscribe: .)/$1x/mr]
	  if $message =~ /^List-Unsubscribe:/m;
	push @forged,
	  ["no one-click", $message =~ s/^List-Unsubscribe-Post:.*\r\n//mr]
	  if $message =~ /^List-Unsubscribe-Post:/m;
	return @forged;
}

my %verified;
while (my $r = read_record())
{
	$record = $r->{dkim} or next;
	my $message = $r->{wire};
	$message =~ s/(?<=\r\n)\.\r\n\z// or fail('final dot');
	$message =~ s/^\.//mg;
	$message eq $r->{message} or fail('wire');
	my $verifier = verify($message);
	my ($signature) = $verifier->signatures;
	my $algorithm = $signature ? $signature->algorithm : 'none';
	is($verifier->result, 'pass', join ' ', $algorithm,
		$r->{raw} ? 'raw' : "letter $r->{ids}",
		$verifier->result_detail) or next;

	# Mail::DKIM takes the last of several, so it cannot be fooled: but it
	# must not call a message good to which a second field was added
	if ($verified{$algorithm}++ < 8)
	{
		isnt(verify($_->[1])->result, 'pass', "$algorithm: $_->[0]")
		  for forgeries($message);
	}
}
ok($verified{$_}, "$_ was verified") for qw(rsa-sha256 ed25519-sha256);
done_testing();
