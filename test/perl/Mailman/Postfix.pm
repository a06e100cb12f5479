
#-------------------------------------------------------------------------
#
# Mailman::Postfix
#	  The Postfix and Dovecot that test/run-tests started, for the tests.
#
# A test runs as an ordinary user and Postfix's master cannot, so the runner
# starts it (see postfix-dovecot) and says where in MAILMAN_TEST_MAIL.
#
#	my ($postfix, $why) = Mailman::Postfix->find;
#	plan skip_all => $why unless $postfix;
#	... 'smtp://localhost:' . $postfix->submission, $postfix->ca_file ...
#	foreach my $mail ($postfix->mails) { $mail->header_str('Subject') ... }
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Postfix;

use strict;
use warnings;

use Carp;
use Digest::SHA ();
use MIME::Base64 ();
use Time::HiRes qw(sleep time);

# The object, or (undef, reason)
sub find
{
	my ($class) = @_;
	my $dir = $ENV{MAILMAN_TEST_MAIL};

	return (undef,
		'no Postfix: it must be started by root (run test/run-tests as root)')
	  unless defined $dir && $dir ne '';
	eval { require Email::MIME; 1 }
	  or return (undef, 'Email::MIME (package libemail-mime-perl) is missing');
	open(my $fh, '<', "$dir/info")
	  or return (undef, "MAILMAN_TEST_MAIL: $dir/info: $!");
	my %self = (dir => $dir);
	while (my $line = <$fh>)
	{
		$self{$1} = $2 if $line =~ /^(\w+) (.*)$/;
	}
	close($fh);
	return bless \%self, $class;
}

sub submission { return $_[0]->{submission}; }
sub smtps      { return $_[0]->{smtps}; }
sub user       { return $_[0]->{user}; }
sub password   { return $_[0]->{password}; }
sub domain     { return $_[0]->{domain}; }
sub ca_file    { return $_[0]->{ca_file}; }
sub maildir    { return $_[0]->{maildir}; }
sub certs      { return $_[0]->{certs}; }
sub client_cert { return $_[0]->{client_cert}; }
sub client_key  { return $_[0]->{client_key}; }

# Dovecot's submission: a port; or why there is none
sub tokens    { return $_[0]->{tokens}; }
sub no_tokens { return $_[0]->{no_tokens}; }

# A token for it, good for so many seconds (RFC 7519)
sub token
{
	my ($self, $seconds) = @_;
	my $now  = int time;
	my @part = map { MIME::Base64::encode_base64url($_) } (
		'{"alg":"HS256","typ":"JWT"}',
		sprintf('{"sub":"%s","email":"%s","iat":%d,"nbf":%d,"exp":%d}',
			$self->user, $self->user, $now - 10, $now - 10, $now + $seconds));
	my $text = join('.', @part);
	my $sign = Digest::SHA::hmac_sha256_base64($text, $self->{token_key});
	return "$text." . ($sign =~ tr,+/,-_,r);
}

# Files of mails delivered so far
sub files
{
	my ($self) = @_;
	return glob "$self->{maildir}/new/*";
}

# Wait until there are so many; false if they never are
sub wait_for_files
{
	my ($self, $number, $timeout) = @_;
	my $until = time + (defined $timeout ? $timeout : $ENV{PATIENCE} || 180);
	while ((my @files = $self->files) < $number)
	{
		return 0 if time > $until;
		sleep 0.05;
	}
	return 1;
}

# The bytes of one file
sub raw
{
	my ($self, $file) = @_;
	open(my $fh, '<:raw', $file) or croak "$file: $!";
	local $/;
	return scalar <$fh>;
}

# All mails, as Email::MIME
sub mails
{
	my ($self) = @_;
	return map { Email::MIME->new($self->raw($_)) } $self->files;
}

# Forget what was delivered
sub clear
{
	my ($self) = @_;
	unlink $self->files;
	return;
}

# The end of Postfix's log, for a failed test
sub log_tail
{
	my ($self) = @_;
	open(my $fh, '<', "$self->{dir}/mail.log") or return "no log: $!";
	my @lines = <$fh>;
	close($fh);
	splice(@lines, 0, @lines - 20) if @lines > 20;
	return join('', @lines);
}

1;
