
#-------------------------------------------------------------------------
#
# Mailman::Reader
#	  What readers of other making see in a message: Perl's Email::MIME and
#	  Python's email package.
#
#	my @seen = Mailman::Reader::python(@files);
#	my $seen = Mailman::Reader::perl($bytes);
#
# Both give a hash:
#	fields		names of the header fields, in order
#	values		name => unfolded and decoded
#	from, to, reply_to	[[display name, address], ...]
#	bodies		[[type, bytes], ...]: what has no Content-Disposition
#	files		[{type, disposition, name, other_name (in Content-Type), id,
#				content}, ...]
#	defects		what they complained of
# or, if they could not, {died => why}.  Texts are characters, contents bytes.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Reader;

use strict;
use warnings;

use Email::Address::XS;
use Email::MIME;
use Email::MIME::ContentType
  qw(parse_content_disposition parse_content_type);
use Encode qw(decode);
use File::Basename qw(dirname);
use File::Spec;
use IPC::Open2;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);

my $script =
  File::Spec->rel2abs(dirname(__FILE__) . '/../read_messages.py');

# ---- Python

sub python
{
	my @files = @_;
	my @seen;
	my $pid = open2(my $from, my $to, '/usr/bin/python3', $script);

	foreach my $file (@files)
	{
		print {$to} "$file\n";
		$to->flush;
		my $line = <$from>;
		die "$script has ended\n" unless defined $line;
		my $seen = JSON::PP->new->decode($line);
		$_->[1] = decode_base64($_->[1]) foreach @{ $seen->{bodies} };
		$_->{content} = decode_base64($_->{content})
		  foreach @{ $seen->{files} };
		push @seen, $seen;
	}
	close($to);
	close($from);
	waitpid($pid, 0);
	return @seen;
}

# ---- Perl

# [[name, raw value], ...]; with SMTPUTF8 the bytes are UTF-8
sub raw_fields
{
	my ($bytes) = @_;
	my ($header) = split(/(?<=\r\n)\r\n/, $bytes, 2);
	my @fields;

	$header =~ s/\r\n(?=[ \t])//g;
	foreach my $line (split(/\r\n/, $header))
	{
		push @fields,
		  $line =~ /^([^\s:]+):[ ]?(.*)\z/s ? [ $1, $2 ] : [ '', $line ];
	}
	return @fields;
}

sub addresses
{
	my ($mime, $name) = @_;
	my @found;

	foreach my $raw ($mime->header_raw($name))
	{
		push @found, map {
			my $phrase = $_->phrase;

			# what was quoted is not encoded (RFC 2047 5)
			$phrase = Encode::decode('MIME-Header', $phrase)
			  if defined $phrase && $raw !~ /^"/;
			[ defined $phrase ? $phrase : '', $_->address ]
		} Email::Address::XS->parse(decode('UTF-8', $raw));
	}
	return \@found;
}

sub leaves
{
	my ($mime) = @_;
	return $mime->subparts ? map { leaves($_) } $mime->subparts : $mime;
}

sub describe
{
	my ($part) = @_;
	my $disposition =
	  parse_content_disposition($part->header_raw('Content-Disposition'));
	my $type = parse_content_type($part->header_raw('Content-Type'));

	return {
		type        => lc "$type->{type}/$type->{subtype}",
		disposition => $disposition->{type},
		name        => $disposition->{attributes}{filename},
		other_name  => $type->{attributes}{name},
		id          => scalar $part->header_raw('Content-ID'),
		content     => $part->body,
	};
}

sub perl
{
	my ($bytes) = @_;
	my $mime   = Email::MIME->new($bytes);
	my @raw    = raw_fields($bytes);
	my @leaves = leaves($mime);

	return {
		fields => [ map { $_->[0] } @raw ],
		values => {
			map { $_->[0] => decode('MIME-Header', decode('UTF-8', $_->[1])) }
			  @raw
		},
		from     => addresses($mime, 'From'),
		to       => addresses($mime, 'To'),
		reply_to => addresses($mime, 'Reply-To'),
		bodies   => [
			map { [ $_->content_type =~ m{^([^;\s]+)}, $_->body ] }
			grep { !defined $_->header_raw('Content-Disposition') } @leaves
		],
		files => [
			map { describe($_) }
			grep { defined $_->header_raw('Content-Disposition') } @leaves
		],
		defects => [],
	};
}

1;
