
#-------------------------------------------------------------------------
#
# 094_characters.pl
#	  Characters that nobody sees, that are none, or that turn the direction
#	  of writing.
#
# Perl has Unicode's properties, too: each code point there is is asked about
# in a local part and in a name.  Perl may know an older Unicode than our table
# was made of, or a newer: what is not a character yet, to either, is left out.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Unicode::UCD;

use Mailman::Cluster;
use Mailman::Relay;

my $node = Mailman::Cluster->create('main', preload => 1);

# Code points from U+0080 on for which an SQL condition on chr(c) is true
sub those
{
	my ($condition) = @_;
	return map { $_ => 1 } split(
		/\n/,
		$node->sql(
			    'SELECT c FROM generate_series(128, 1114111) c'
			  . ' WHERE c NOT BETWEEN 55296 AND 57343'
			  . " AND ($condition)"));
}

sub differ
{
	my ($name, $wanted, $had) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong = map { sprintf '%s U+%04X', $had->{$_} ? 'has' : 'lacks', $_ }
	  sort { $a <=> $b }
	  grep { !$wanted->{$_} != !$had->{$_} } keys %{ { %$wanted, %$had } };

	is(scalar(@wrong), 0, $name)
	  or diag(join("\n", @wrong > 50 ? @wrong[ 0 .. 49 ] : @wrong));
	return;
}

# Noncharacters are in none of the categories that perl warns of
no warnings qw(nonchar);

# ---- addresses

my %refused = those(q{NOT mailman_is_address('a' || chr(c) || 'b@example.com')});
my (%unseen, %noncharacter, %unknown);
my %blank = map { $_ => 1 } 0x2800, 0x13441, 0x13442, 0x16FE4, 0x1D159;
foreach my $code (0x80 .. 0x10FFFF)
{
	next if $code >= 0xD800 && $code <= 0xDFFF;
	my $c = chr($code);
	if ($c =~ /\p{Noncharacter_Code_Point}/)
	{
		$noncharacter{$code} = 1;
	}
	elsif ($blank{$code}
		|| $c =~ /[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\p{Z}]/
		&& $c !~ /\p{Prepended_Concatenation_Mark}/)
	{
		$unseen{$code} = 1;
	}
	elsif ($c =~ /\p{Unassigned}/)
	{
		$unknown{$code} = 1;
	}
}
note('Unicode ' . Unicode::UCD::UnicodeVersion());
cmp_ok(scalar(keys %noncharacter), '==', 66, 'there are 66 noncharacters');
differ(
	'a local part has all characters but those that are not seen, or are none',
	{ %noncharacter, %unseen },
	{ map { $_ => 1 } grep { !$unknown{$_} } keys %refused });
my %quoted =
  those(q{NOT mailman_is_address('"a' || chr(c) || '"@example.com')});
differ('nor do quotes help', \%refused, \%quoted);

# a domain may have fewer
my %domains = those(q{mailman_is_address('a@b' || chr(c) || 'c.example')});
is( scalar(grep { $refused{$_} } keys %domains),
	0, 'a domain has none of those either');

foreach my $case (
	[ 0x061C,  'an invisible character' ],
	[ 0x3164,  'an invisible character' ],
	[ 0x2800,  'an invisible character' ],
	[ 0xE0001, 'an invisible character' ],
	[ 0xFDD0,  'a code point that is not a character' ],
	[ 0x10FFFF, 'a code point that is not a character' ])
{
	like(
		$node->sql_error(
			    'SELECT mailman.check_address('
			  . "'ann' || chr($case->[0]) || '\@example.com')"),
		qr/23514: .*The address contains $case->[1]\./s,
		sprintf 'U+%04X: why', $case->[0]);
}

# ---- names

my $id = $node->newsletter;
my %turning = map { $_ => 1 } 0x202A .. 0x202E, 0x2066 .. 0x2069;
$node->sql(
	q{CREATE FUNCTION bad_name(c integer) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		RETURN NOT mailman.check_name('A' || chr(c) || 'b', 'name');
	EXCEPTION WHEN check_violation THEN
		RETURN true;
	END $$});
differ('a name has no embedding, override or isolate',
	\%turning, { those('bad_name(c)') });
is( $node->sql(
		q{SELECT mailman.check_name(U&'\05D3\05D5\05D3 \200F(\0041)', 'name')}),
	't',
	'one from right to left, and its marks, are fine');

my %column = (
	'newsletter.name' => "UPDATE mailman.newsletter SET name = %s",
	'newsletter.from_name' => "UPDATE mailman.newsletter SET from_name = %s",
	'newsletter.list_id' =>
	  "UPDATE mailman.newsletter SET list_id = %s || ' <a.example.com>'",
	'subscription.name' => 'INSERT INTO mailman.subscription'
	  . " (newsletter_id, email, name) VALUES ($id, 'n\@example.com', %s)",
	'mailman_subscribe()' =>
	  "SELECT mailman_subscribe($id, 'n\@example.com', %s)",
	'attachment.name' => 'INSERT INTO mailman.attachment'
	  . " (letter_id, name, content) VALUES (1, %s, '')",
	'partial.name' => 'INSERT INTO mailman.partial'
	  . " (newsletter_id, name, template) VALUES ($id, %s, 'x')");
$node->letter($id);
foreach my $place (sort keys %column)
{
	like(
		$node->sql_error(
			sprintf($column{$place}, q{U&'invoice\202Efdp.exe'})),
		qr/23514: \w+ must not contain characters that turn.*U\+202E at byte 8\..*regexp_replace/s,
		"$place: refused, with a hint");
}
is( $node->sql(
		q{SELECT regexp_replace(U&'a\202Eb\2069c', '[\u202a-\u202e\u2066-\u2069]', '', 'g')}
	),
	'abc',
	'what the hint says helps');

# ---- what a relay says

my $relay = Mailman::Relay->new(
	rules => [
		{
			step  => 'RCPT',
			reply => "550 5.7.1 go\xe2\x80\xae away\xe2\x81\xa6"
			  . "\xef\xb7\x90\xd8\x9c n\xc3\xa4mlich"
		}
	])->start;
$node->relay('relay', $relay->url);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 1);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'a letter that is refused');
is( $node->sql(
		    "SELECT reply || ' | ' || reason FROM mailman.delivery"
		  . " WHERE letter_id = $letter"),
	"go? away??? n\xc3\xa4mlich | "
	  . "RCPT: 550 5.7.1 go? away??? n\xc3\xa4mlich",
	'its words are stored without what would turn the others around');

$node->stop;
$relay->stop;
done_testing();
