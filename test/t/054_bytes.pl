
#-------------------------------------------------------------------------
#
# 054_bytes.pl
#	  To the byte: 1,000 random letters, each as the relay got it, as
#	  mailman_preview() shows it, and as two readers of other making see it.
#
# SEED (environment) repeats a run, LETTERS is how many.  Some mails are
# refused for now, or accepted without our hearing of it, only after the relay
# has kept them: they come again, and must be the same.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Encode qw(encode);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Letters;
use Mailman::Reader;
use Mailman::Relay;

my $seed = $ENV{SEED} || int rand 2**31;
my $number = $ENV{LETTERS} || 1000;
srand $seed;
print "# SEED=$seed\n";

my $relay = Mailman::Relay->new(
	save     => 1,
	smtputf8 => 1,
	rules    => [
		{ step => 'dot', every => 9, reply => '451 4.3.0 later', accept => 1,
			first => int $number / 20 },
		{ step => 'dot', every => 19, accept => 1, drop => 1,
			first => int $number / 40 } ])->start;
my $node = Mailman::Cluster->create('main',
	preload => 1,
	conf    => {
		'mailman.max_workers'  => 24,
		'max_worker_processes' => 40,
		'mailman.turn_interval' => '50ms' });
$node->relay('relay', $relay->url, connections => 24);

# ---- what goes in

my $newsletters = 20;
my @newsletter = map { Mailman::Letters::newsletter($_) } 1 .. $newsletters;
my @letter = map {
	Mailman::Letters::letter($_, $newsletter[ $_ % $newsletters ])
} 1 .. $number;
$node->sql(Mailman::Letters::sql(@newsletter));
for (my $i = 0; $i < @letter; $i += 100)
{
	my $last = $i + 99 < $#letter ? $i + 99 : $#letter;
	$node->sql(Mailman::Letters::sql(@letter[ $i .. $last ]));
}

# some are signed
my $key = "-----BEGIN PRIVATE KEY-----\n"
  . "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
  . "-----END PRIVATE KEY-----\n";
$node->sql("SELECT mailman_set_dkim_key(id, "
	  . Mailman::Cluster::literal($key)
	  . ", 's') FROM mailman.newsletter WHERE id % 4 = 0");
$node->sql("UPDATE mailman.newsletter SET dkim_domain = 'example.com',"
	  . " dkim_selector = 's' WHERE id % 4 = 0");

# ---- all are sent

$node->sql("SELECT mailman_send(id, ARRAY[id]) FROM mailman.letter");
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE state <> 'sent'", 0, 600),
	'all are sent');
is( $node->sql("SELECT string_agg(letter_id || ': ' || reason, E'\\n')"
	  . " FROM mailman.delivery WHERE state <> 'delivered'"),
	'', 'and delivered');

# ---- what came: the same each time, and the same as the preview

my %letter_of = map { split /\|/ } split /\n/,
  $node->sql("SELECT message_id, letter_id FROM mailman.newsletter_email");
my %preview = map { split /\|/ } split /\n/,
  $node->sql("SELECT id, encode(sha256(convert_to("
	  . "mailman_preview(id, id), 'UTF8')), 'hex') FROM mailman.letter");
my (%copies, @strange);
foreach my $message ($relay->messages)
{
	my $id = $letter_of{ $message->{message_id} };
	if (!defined $id) { push @strange, $message->{message_id}; next; }
	push @{ $copies{$id} }, $message;
}
is_deeply(\@strange, [], 'nothing came that was not sent');
is(scalar keys %copies, $number, 'all came');
my @twice = grep { @{ $copies{$_} } > 1 } keys %copies;
note(scalar(@twice) . ' came more than once');
cmp_ok(scalar @twice, '>=', $number / 20, 'some came more than once');

my @different;
my $bytes = 0;
foreach my $id (sort { $a <=> $b } keys %copies)
{
	foreach my $message (@{ $copies{$id} })
	{
		my $content = $relay->content($message);
		my $to = $letter[ $id - 1 ]{expected}{to}[0][1];
		push @different, "letter $id, copy $message->{number}"
		  if sha256_hex($content) ne $preview{$id};
		push @different, "letter $id went to @{ $message->{to} }"
		  if "@{ $message->{to} }" ne encode('UTF-8', $to);
		$bytes += length $content;
	}
}
note("$bytes bytes");
is(join("\n", @different), '', 'each the bytes of mailman_preview()');

# ---- what they read

# Email::MIME drops blanks at both ends of lines, and Python's email package
# takes runs of them for one in texts that are not encoded.  So where there
# are such, they are allowed to.
sub squeeze
{
	my ($text, $like) = @_;
	return $text unless defined $text && $like =~ /^ |  | \z/;
	$text =~ s/[ \t\r\n]+/ /g;
	$text =~ s/^ | \z//g;
	return $text;
}

# Everything of $expected that $seen has otherwise
sub differences
{
	my ($expected, $seen) = @_;
	my @found;
	my $same = sub {
		my ($what, $got, $want) = @_;
		$_ = defined $_ ? $_ : '(none)' foreach $got, $want;
		push @found, "$what: " . explain_text($got) . ' for '
		  . explain_text($want)
		  if $got ne $want;
	};
	my $alike = sub {
		my ($what, $got, $want) = @_;
		$same->($what, squeeze($got, $want), squeeze($want, $want));
	};
	return $seen->{died} if $seen->{died};
	push @found, @{ $seen->{defects} };
	$alike->('subject', $seen->{values}{Subject}, $expected->{subject});
	$alike->('X-Campaign', $seen->{values}{'X-Campaign'}, $expected->{field});
	foreach my $name (qw(from to reply_to))
	{
		my ($got, $want) = ($seen->{$name}, $expected->{$name});
		$same->($name, scalar @$got, scalar @$want);
		next unless @$got && @$want;
		$alike->($name, $got->[0][0], $want->[0][0]);
		$same->($name, $got->[0][1], $want->[0][1]);
	}
	$same->('parts',
		join(' ', map { $_->[0] } @{ $seen->{bodies} }),
		join(' ', map { $_->[0] } @{ $expected->{bodies} }));
	foreach my $i (0 .. $#{ $expected->{bodies} })
	{
		$same->($expected->{bodies}[$i][0],
			Mailman::Letters::crlf(
				Encode::decode('UTF-8', $seen->{bodies}[$i][1])),
			$expected->{bodies}[$i][1]);
	}
	$same->('files', scalar @{ $seen->{files} },
		scalar @{ $expected->{files} });
	foreach my $i (0 .. $#{ $expected->{files} })
	{
		my ($file, $want) = ($seen->{files}[$i], $expected->{files}[$i]);
		$same->("file $i, $_", $file->{$_}, $want->{$_})
		  foreach qw(type disposition id content);
		$alike->("file $i, $_", $file->{$_} // '', $want->{name})
		  foreach qw(name other_name);
	}
	return @found;
}

sub explain_text
{
	my ($text) = @_;
	$text = substr($text, 0, 300);
	$text =~ s/([^\x20-\x7e])/sprintf '\\x{%x}', ord $1/ge;
	return "\"$text\"";
}

my @ids = sort { $a <=> $b } keys %copies;
my @python = Mailman::Reader::python(
	map { $relay->saved($copies{$_}[0]) } @ids);
my %wrong = (python => [], perl => []);
foreach my $id (@ids)
{
	my $expected = $letter[ $id - 1 ]{expected};
	my %seen = (
		python => shift @python,
		perl   => Mailman::Reader::perl($relay->content($copies{$id}[0])));
	push @{ $wrong{$_} },
	  map { "letter $id: $_" } differences($expected, $seen{$_})
	  foreach sort keys %seen;
}
foreach my $reader (sort keys %wrong)
{
	my @first = @{ $wrong{$reader} };
	splice(@first, 20) if @first > 20;
	is(join("\n", @first), '', "all as it went in: $reader");
}

$node->stop;
$relay->stop;
done_testing();
