#!/usr/bin/perl
#
# mime_roundtrip.pl
#	  Do our messages say to others what was written into them?
#
# Reads what "pure_test emit N SEED" prints, from file $EMITTED or standard
# input, has Email::MIME take the messages apart, and compares subject,
# recipient's name, text, HTML and files with what they were made from;
# Message-ID and VERP tag with Digest::SHA, the date with gmtime, and the wire
# form with the message.  TAP output.
#
# Two habits of Email::MIME are allowed for.  It drops the white space at both
# ends of a header line, so a header that it shows is compared after decoding
# by Encode's MIME-Header, from the raw bytes.  And a body may come with LF.
#
# Copyright (c) 2026, the mailman authors

use strict;
use utf8;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Email::MIME;
use Encode qw(decode FB_CROAK LEAVE_SRC);
use FindBin;
use POSIX qw(strftime);
use Test::More;

use lib $FindBin::Bin;
use Emitted qw(read_record);

binmode $_, ':encoding(UTF-8)'
  for map { Test::More->builder->$_ } qw(output failure_output todo_output);

# What a reader should get of a header value, of a body
sub clean
{
	my $value = decode('UTF-8', shift, FB_CROAK | LEAVE_SRC);
	$value =~ s/[\x00-\x1f\x7f-\x9f]+/ /g;
	return $value;
}

sub crlf
{
	my $body = shift;
	$body =~ s/\r\n?|\n/\r\n/g;
	$body .= "\r\n" if length $body && $body !~ /\n\z/;
	return $body;
}

sub base32
{
	my $bits = unpack 'B*', shift;
	return join '', map { ('a' .. 'z', 2 .. 7)[ oct "0b$_" ] }
	  $bits =~ /(.{5})/g;
}

# The unfolded bytes of a header field
sub raw_header
{
	my ($message, $name) = @_;
	my ($header) = split /(?<=\r\n)\r\n/, $message, 2;
	my ($value) = $header =~ /^$name: ?(.*?)\r\n(?! )/ms;
	$value =~ s/\r\n//g;
	return $value;
}

# The parts that hold no others
sub leaves
{
	my $mime = shift;
	return $mime->subparts ? map { leaves($_) } $mime->subparts : $mime;
}

# The files that went into it, in the order in which they come out
sub files
{
	my $r = shift;
	my @files;
	for my $n (grep { exists $r->{"file${_}_name"} } 0 .. 3)
	{
		my %file = map { ($_ => $r->{"file${n}_$_"}) } qw(type cid content);
		push @files, \%file;
	}
	my @inline = grep { defined $_->{cid} && defined $r->{html} } @files;
	my @others = grep { !(defined $_->{cid} && defined $r->{html}) } @files;
	return @inline, @others;
}

sub check_file
{
	my ($part, $file) = @_;
	my $disposition = defined $file->{cid} ? 'inline' : 'attachment';

	is($part->body, $file->{content}, 'its bytes');
	like($part->header('Content-Disposition'), qr/^$disposition\b/,
		$disposition);
	like($part->content_type, qr/^\Q@{[ $file->{type} =~ m{^([^;]+)} ]}\E/,
		'its type');
	is($part->header('Content-ID'),
		defined $file->{cid} ? "<$file->{cid}>" : undef, 'its id');
	return;
}

sub check
{
	my $r = shift;
	my ($letter, $subscription, $date) = split / /, $r->{ids};
	my $mime = Email::MIME->new($r->{message});
	my @leaves = leaves($mime);
	my @files = files($r);
	my @attached = splice @leaves, @leaves - @files;
	my %parts = map { $_->content_type =~ m{^text/(\w+)}; $1 => crlf($_->body) }
	  @leaves;
	my $wire = $r->{wire};
	my $digest = hmac_sha256(
		"message-id" . pack('q> q>', $letter, $subscription), $r->{secret});

	subtest "message $letter" => sub {
		is(decode('MIME-Header', raw_header($r->{message}, 'Subject')),
			clean($r->{subject}), 'subject');
		my $squeezed = clean($r->{subject});
		my $seen = $mime->header_str('Subject');
		s/\s+/ /g, s/^ | $//g for $squeezed, $seen;
		is($seen, $squeezed, 'subject as Email::MIME shows it');

		my $to = raw_header($r->{message}, 'To');
		$to =~ s/ ?<?ann\.lee\@customer\.example>?$// or fail('address');
		if ($to =~ s/^"(.*)"$/$1/) { $to =~ s/\\(.)/$1/g }
		else { $to = decode('MIME-Header', $to) }
		is($to, clean($r->{name}), 'name');

		is($parts{plain}, defined $r->{text} ? crlf($r->{text}) : undef,
			'text');
		is($parts{html}, defined $r->{html} ? crlf($r->{html}) : undef,
			'HTML');

		check_file($attached[$_], $files[$_]) for 0 .. $#files;

		is($mime->header('Message-ID'),
			'<' . base32(substr $digest, 0, 20) . '@xn--mnchen-3ya.example>',
			'Message-ID');
		my $check = hmac_sha256(
			"verp" . pack('q> q>', $letter, $subscription), $r->{secret});
		is($r->{mail_from}, ($letter % 2 ? "bounces+$letter-$subscription-"
				. base32(substr $check, 0, 5) : 'news')
			. '@xn--mnchen-3ya.example', 'envelope sender');
		is($mime->header('Date'),
			strftime('%a, %d %b %Y %H:%M:%S +0000', gmtime $date), 'date');
		is($mime->header_str('From'), '"Die Grüße" <news@xn--mnchen-3ya.example>',
			'From');

		$wire =~ s/(?<=\r\n)\.\r\n\z// or fail('final dot');
		$wire =~ s/^\.//mg;
		is($wire, $r->{message}, 'wire');
		unlike($r->{message}, qr/[^\r\n\t\x20-\x7e]|(?<!\r)\n|\r(?!\n)|.{999}/,
			'nothing but short lines of ASCII');
	};
	return;
}

$ENV{LC_ALL} = 'C';
POSIX::setlocale(POSIX::LC_ALL(), 'C');
while (my $record = read_record())
{
	check($record) unless $record->{raw};
}
done_testing();
