
#-------------------------------------------------------------------------
#
# Mailman::Letters
#	  Random newsletters and letters that are hard to mail, and what a reader
#	  must find in them.
#
#	my $newsletter = Mailman::Letters::newsletter($id);
#	my $letter = Mailman::Letters::letter($id, $newsletter);
#	$node->sql(Mailman::Letters::sql($newsletter, $letter, ...));
#
# Each is a hash: "row" is what goes into the tables, by column; "expected" what
# must come out.  srand() decides.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Letters;

use strict;
use utf8;
use warnings;

use Encode qw(encode);
use JSON::PP ();

my @ascii = (
	'a' .. 'e', 'Z', '0', 'word', 'newsletter', ' ', ' ', ' ', '  ', '.', ',',
	'=', '?', '_', '=?', '?=', '=?UTF-8?Q?x?=', '"', '\\', '<', '>', '@', '(',
	')', ':', ';', "'", '&', '+', '-', '--=_', 'From ', '%s', '%41', '{', '}}',
	'$1', '\\n', '!', '*', '/', '../', '[', ']');
my @wide = (
	'ü', 'ß', 'é', 'Ж', 'λ', '中', '文', '通讯', '日本語', '한국어', 'שלום',
	'مرحبا', "\x{200F}", "e\x{301}", "\x{A0}", '😀',
	"👩\x{200D}👩\x{200D}👧", '🇩🇪', '𝔘', "\x{10FFFD}", "\x{2028}", "\x{FEFF}",
	"\x{85}", "\x{2029}");
my @controls = (
	"\r\n", "\r", "\n", "\t", "\x01", "\x7F", "\x9F", "\x1B", "\x0B", "\x0C",
	"\r\n Bcc: x\@y.example\r\n", "\r\n\r\n");
my @starts = (
	('') x 5, '.', '..', '. ', 'From ', 'From me', '--=_', '-- ', '>From ',
	"\t", '=', '=20', ".\r\n", '--', 'RCPT TO:<x@y.example>');
my @ends = (
	("\n") x 4, ("\r\n") x 2, "\r", "\n\n", " \n", "\t\r\n", "  \n", '',
	"\r\r\n", "\n\r");
my @lengths =
  (0, 1, 20, 60, 74 .. 79, 200, 500, 996 .. 1000, 2000);

# name as written => on the wire
my @domains = (
	[ 'example.com' => 'example.com' ],
	[ 'EXAMPLE.Org' => 'example.org' ],
	[ 'münchen.example' => 'xn--mnchen-3ya.example' ],
	[ 'straße.example' => 'xn--strae-oqa.example' ],
	[ 'mail.bücher.example' => 'mail.xn--bcher-kva.example' ],
	[ '例え.テスト' => 'xn--r8jz45g.xn--zckzah' ]);

sub pick { return $_[ int rand @_ ]; }

# Random text for a name or a header field; controls if they may be in it
sub line
{
	my ($chars, $controls) = @_;
	my $wide = int rand 4;
	my $text = '';

	while ($chars-- > 0)
	{
		if    ($controls && rand 20 < 1) { $text .= pick(@controls); }
		elsif (rand 3 < $wide)           { $text .= pick(@wide); }
		elsif (rand 3 > 1)               { $text .= pick('a' .. 'z'); }
		else                             { $text .= pick(@ascii); }
	}
	return $text;
}

# About so many bytes of lines of every kind
sub body
{
	my ($bytes) = @_;
	my $tame = rand 4 < 1;
	my $wide = int rand 3;
	my $text = '';

	return pick('', '.', '..', ".\r\n", ".\r\n.\r\n.", "\n", "\r", "\r\n\r\n",
		' ', "\n.\n", "\r.\r", "x\r\n.\r\nQUIT\r\n", "x\n\n\n\n")
	  if $bytes < 3;
	while (length $text < $bytes)
	{
		my $line = $tame ? '' : pick(@starts);
		my $n = length($line) + ($tame ? int rand 70 : pick(@lengths));
		while (length $line < $n)
		{
			if    (!$tame && rand 8 < $wide) { $line .= pick(@wide); }
			elsif (rand 2 < 1) { $line .= join('', map { pick('a' .. 'z') } 1 .. 9); }
			elsif (!$tame && rand 4 < 1)     { $line .= pick(@ascii); }
			else                             { $line .= pick(' ', '.', 'x'); }
		}
		$line = substr($line, 0, $n) unless rand 3 < 1;
		$text .= $line . ($tame ? "x\n" : pick(@ends));
	}
	return $text;
}

# What reaches the reader of a header field, of a body
sub clean
{
	my ($text) = @_;
	$text =~ s/[\x00-\x1f\x7f-\x9f]+/ /g;
	return $text;
}

sub crlf
{
	my ($body) = @_;
	$body =~ s/\r\n?|\n/\r\n/g;
	$body .= "\r\n" if length $body && $body !~ /\n\z/;
	return encode('UTF-8', $body);
}

sub html
{
	my ($text) = @_;
	my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;',
		'"' => '&quot;', "'" => '&#39;');
	$text =~ s/([&<>"'])/$entity{$1}/g;
	return $text;
}

# No tag begins in it, and none that follows begins earlier
sub literal
{
	my ($text) = @_;
	$text =~ s/\{/(/g;
	return $text;
}

#
# Cut a text into what stands in the template and what comes out of
# variables: ($template, $expected).  What it needs is added to $data.
# A field has no line ends in its template.
#
sub template
{
	my ($text, $data, %option) = @_;
	my ($template, $expected) = ('', '');

	foreach my $piece ($text =~ /.{1,400}/gs)
	{
		my $key = 'k' . keys %$data;
		my $as = $option{html} ? html($piece) : $piece;
		my $kind = $option{field} && $piece =~ /[\x00-\x1f\x7f]/ ? 1 : int rand 7;

		# a tag alone on its line would take the line with it
		if ($kind == 1)
		{
			$data->{$key} = $piece;
			$template .= "{{{data.$key}}}";
			$expected .= $piece;
		}
		elsif ($kind == 2)
		{
			$data->{$key} = $piece;
			$template .= "{{data.$key}}";
			$expected .= $as;
		}
		elsif ($kind == 3)
		{
			$data->{$key} = [ { x => $piece }, { x => 2.5 }, { x => 'c' } ];
			$template .= "s{{#data.$key}}[{{x}}]{{/data.$key}}{{^data.$key}}"
			  . "never{{/data.$key}}e";
			$expected .= "s[$as][2.5][c]e";
		}
		elsif ($kind == 4)
		{
			$piece = literal($piece);
			$template .= "x{{! nothing }}$piece\{{^data.no}}y{{/data.no}}z";
			$expected .= "x${piece}yz";
		}
		else
		{
			$template .= literal($piece);
			$expected .= literal($piece);
		}
	}
	return ($template, $expected);
}

# ---- a newsletter

sub newsletter
{
	my ($id) = @_;
	my ($domain, $wire) = @{ pick(@domains) };
	my $name  = rand 6 < 1 ? undef : line(int rand 40);
	my $reply = rand 2 < 1;
	my %row = (
		id              => $id,
		name            => line(10),
		relays          => '{relay}',
		from_name       => $name,
		from_address    => "news+$id\@$domain",
		reply_to        => $reply ? "Office.$id\@$domain" : undef,
		unsubscribe_url => pick(undef, 'https://example.com/u/{{token}}',
			'https://example.com/u?t={{token}}&x=%C3%BC'),
		unsubscribe_mailto => pick(undef, "leave\@$domain"),
		bounce_address => pick(undef, "bounces+{{verp}}\@$domain"),
		list_id        => pick(undef, 'weekly.example.com',
			'Unsere Woche, "neu" <woche.example.com>'),
		feedback_id    => pick(undef, 'example'),
		precedence     => pick(undef, 'bulk'),
		retry_schedule => '1s');
	return {
		row      => \%row,
		expected => {
			from => [ [ clean(defined $name ? $name : ''), "news+$id\@$wire" ] ],
			reply_to => $reply ? [ [ '', "Office.$id\@$wire" ] ] : [],
		}
	};
}

# ---- a letter, with one recipient

# (local part, as readers write it)
sub local_part
{
	my ($id) = @_;
	return pick(
		[ "r$id",           "r$id" ],
		[ "Reader.O'$id+x", "Reader.O'$id+x" ],
		[ "{$id}=_/\$%&*",  "{$id}=_/\$%&*" ],
		[ "\"r $id, x\"",   "\"r $id, x\"" ],
		[ "\"<r$id>@\"",    "\"<r$id>@\"" ],
		[ "r\x{fc}$id",     "r\x{fc}$id" ]);
}

sub file
{
	my ($number) = @_;
	my $type = pick('application/octet-stream', 'image/png', 'text/plain',
		'text/csv; charset=utf-8',
		'text/plain;charset="utf-8";  format=flowed',
		'application/vnd.openxmlformats-officedocument.presentationml'
		  . '.slideshow');
	my $length = pick(0, 1, 56 .. 58, 100, 3000, 10_000);
	my $content;

	if ($type =~ /^text/)
	{
		$content = encode('UTF-8', body($length));
		$content = crlf(Encode::decode('UTF-8', $content)) if rand 2 < 1;
	}
	else
	{
		$content = join('', map { chr int rand 256 } 1 .. $length);
	}
	return {
		name => pick('', 'a.pdf', 'Programm für März.pdf',
			line(int rand 30), line(int rand 200)),
		content_type => $type,
		content_id   => rand 3 < 1 ? "image$number\@cid.example" : undef,
		content      => $content
	};
}

sub letter
{
	my ($id, $newsletter) = @_;
	my %data;
	my ($domain, $wire) = @{ pick(@domains) };
	my ($local, $shown) = @{ local_part($id) };
	my $name = rand 6 < 1 ? undef : line(int rand 60);
	my $size =
		rand 50 < 1 ? 60_000
	  : rand 15 < 1 ? 20_000
	  :               pick(0, 1, 100, 1000, 4000);
	my ($subject, $subject_seen) =
	  template(line(int rand 120, 1), \%data, field => 1);
	my ($field, $field_seen) =
	  template(line(int rand 200, 1), \%data, field => 1);
	my (%row, %seen);

	my $which = int rand 3;
	($row{text_body}, $seen{'text/plain'}) =
	  template(body($size), \%data)
	  if $which != 1;
	($row{html_body}, $seen{'text/html'}) =
	  template('<p>' . body($size), \%data, html => 1)
	  if $which != 0;
	# an empty body is none
	if ($which != 1 && $row{text_body} eq '')
	{
		($row{text_body}, $seen{'text/plain'}) =
		  ('{{data.nothing}}{{data.none}}', '');
		@data{qw(nothing none)} = ('', '');
	}
	my @files = rand 2 < 1 ? () : map { file($_) } 0 .. int rand 4;
	my @inline = grep { defined $_->{content_id} && $which != 0 } @files;
	my @others = grep { !(defined $_->{content_id} && $which != 0) } @files;

	return {
		row => {
			id            => $id,
			newsletter_id => $newsletter->{row}{id},
			subject       => $subject,
			%row,
			headers => { 'X-Campaign' => $field, 'X-Empty' => '' },
			strict  => pick('t', 'f')
		},
		subscription => {
			id            => $id,
			newsletter_id => $newsletter->{row}{id},
			email         => "$local\@$domain",
			name          => $name,
			data          => \%data
		},
		files    => \@files,
		expected => {
			%{ $newsletter->{expected} },
			to => [ [ clean(defined $name ? $name : ''), "$shown\@$wire" ] ],
			subject => clean($subject_seen),
			field   => clean($field_seen),
			bodies  => [
				map { [ $_, crlf($seen{$_}) ] }
				grep { defined $seen{$_} } qw(text/plain text/html)
			],
			files => [
				map { {
						type => lc(($_->{content_type} =~ /^([^;]+)/)[0]),
						disposition =>
						  defined $_->{content_id} ? 'inline' : 'attachment',
						name => clean($_->{name}),
						id   => defined $_->{content_id}
						? "<$_->{content_id}>"
						: undef,
						content => $_->{content}
					} } @inline,
				@others
			]
		}
	};
}

# ---- into the tables

# In hexadecimal, so that nothing on the way may change a byte
sub value
{
	my ($value, $bytes) = @_;
	return 'NULL' unless defined $value;
	return "'\\x" . unpack('H*', $value) . "'::bytea" if $bytes;
	$value = JSON::PP->new->canonical->encode($value) if ref $value;
	return "'$value'" if $value =~ /^[\w{} :.@]*\z/a;
	return "pg_temp.u('" . unpack('H*', encode('UTF-8', $value)) . "')";
}

sub insert
{
	my ($table, %row) = @_;
	my @names = sort keys %row;
	return "INSERT INTO mailman.$table (" . join(', ', @names) . ') VALUES ('
	  . join(', ',
		map { value($row{$_}, $_ eq 'content')
			  . ($_ eq 'headers' || $_ eq 'data' ? '::jsonb' : '') } @names)
	  . ");\n";
}

sub sql
{
	my @things = @_;
	my $sql = "CREATE FUNCTION pg_temp.u(text) RETURNS text LANGUAGE sql"
	  . " AS \$\$SELECT convert_from(decode(\$1, 'hex'), 'UTF8')\$\$;\n";

	foreach my $thing (@things)
	{
		if (!$thing->{subscription})
		{
			$sql .= insert('newsletter', %{ $thing->{row} });
			next;
		}
		$sql .= insert('subscription', %{ $thing->{subscription} });
		$sql .= insert('letter', %{ $thing->{row} });
		$sql .= insert('attachment', letter_id => $thing->{row}{id}, %$_)
		  foreach @{ $thing->{files} };
	}
	return "BEGIN;\n${sql}DROP FUNCTION pg_temp.u(text);\nCOMMIT";
}

1;
