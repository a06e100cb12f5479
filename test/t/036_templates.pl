
#-------------------------------------------------------------------------
#
# 036_templates.pl
#	  Templates in the worker: what recipients really get, whom a fault of
#	  the data costs, and partials that change while a letter is sent.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $relay = Mailman::Relay->new(save => 1)->start;
my $node  = Mailman::Cluster->create('main',
	conf => { 'mailman.turn_size' => 5, 'mailman.turn_interval' => '10ms' });

$node->relay('relay', $relay->url, connections => 2);

sub partial
{
	my ($newsletter, $template) = @_;
	$node->sql("INSERT INTO mailman.partial VALUES ($newsletter, 'footer', "
		  . Mailman::Cluster::literal($template)
		  . ') ON CONFLICT (newsletter_id, name)'
		  . ' DO UPDATE SET template = excluded.template');
	return;
}

# Contents by recipient
sub contents
{
	my %content;
	foreach my $message ($relay->new_messages)
	{
		my $text = $relay->content($message);
		$text =~ s/\r\n/\n/g;
		$content{ $message->{to}[0] } = $text;
	}
	return %content;
}

# ---- sections, partials, variables, for each his own

my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 4);
$node->sql(q{
	UPDATE mailman.subscription SET data = data || CASE email
		WHEN 'r1@example.com' THEN '{"orders": [{"no": 1}, {"no": 2}]}'
		WHEN 'r2@example.com' THEN '{"orders": []}'
		WHEN 'r3@example.com' THEN '{"city": "Rome"}'
		ELSE '{}' END::jsonb});
partial($newsletter, "{{newsletter.from_name}}\n{{letter.ref}}");
my $letter = $node->letter($newsletter,
	ref       => 'issue',
	subject   => '{{#data.orders}}{{no}} {{/data.orders}}for {{name}}',
	text_body => "Your orders:\n{{#data.orders}}\n* {{no}} of {{name}}\n"
	  . "{{/data.orders}}\n{{^data.orders}}\nnone, {{variables.x}}\n"
	  . "{{/data.orders}}\n  {{>footer}}\n");
$node->sql("SELECT mailman_send($letter, ARRAY(SELECT id FROM"
	  . " mailman.subscription WHERE newsletter_id = $newsletter),"
	  . q( '{"x": "alas"}')
	  . ')');
ok($node->wait_for_letter($letter, 'sent'), 'sent');
my %content = contents();
like(
	$content{'r1@example.com'},
	qr/^Subject: 1 2 for Reader 1\n.*\n\nYour orders:\n\* 1 of Reader 1\n\* 2 of Reader 1\n  Example News\n  issue\n$/ms,
	'who has orders');
like(
	$content{$_},
	qr/^Subject: for Reader \d\n.*\n\nYour orders:\nnone, alas\n  Example News\n  issue\n$/ms,
	"who has none: $_") foreach 'r2@example.com', 'r4@example.com';

# ---- strict: it costs whom it concerns

$letter = $node->letter(
	$newsletter,
	subject   => 'News',
	strict    => 't',
	text_body => "Hello,\nhow is {{data.city}}?");
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'strict: sent');
is( $node->sql(
		'SELECT state, attempts, reason, count(*) FROM mailman.delivery'
		  . " WHERE letter_id = $letter GROUP BY 1, 2, 3 ORDER BY 4"),
	"delivered|1||1\n"
	  . 'failed|0|{{data.city}} has no value, line 2, column 8 of text_body|3',
	'three fail, and say why');
%content = contents();
is_deeply([ keys %content ], ['r3@example.com'], 'one got it');
$node->assert_sums($letter, 'strict');

# ---- a partial that changes while the letter is sent counts from then on

$newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 100);
partial($newsletter, 'the first');
$letter = $node->letter($newsletter, text_body => '{{>footer}}');
$relay->gate(10);
$node->send($letter);
ok($relay->wait_for_held(2), 'ten are through, two wait');
partial($newsletter, 'the second');
$relay->gate(50);
ok($relay->wait_for_held(2), 'some more');
partial($newsletter, 'the third {{');
$relay->open_gate;
ok( $node->wait_for(
		"SELECT state_reason FROM mailman.letter WHERE id = $letter",
		qr/^partial "footer" of newsletter $newsletter is not a valid template: Line 1, column /
	),
	'a broken one pauses the letter');
is($node->letter_state($letter), 'paused', 'it is paused');
partial($newsletter, 'the third');
$node->sql("SELECT mailman_resume($letter)");
ok($node->wait_for_letter($letter, 'sent'), 'resumed and sent');
my @all  = map { $relay->content($_) =~ /the (\w+)/ } $relay->new_messages;
my %said = ();
$said{$_}++ foreach @all;
is(scalar(@all),          100, 'everybody got one');
is($relay->duplicates,    0,   'nobody two');
cmp_ok($said{first}, '>=', 10, 'ten at least had the first');
cmp_ok($said{second}, '>=', 1, 'then came the second');
cmp_ok($said{third}, '>=', 1,  'and the third');
is( join(' ', sort { $a cmp $b } keys %said),
	'first second third', 'and nothing else');
$node->assert_sums($letter, 'partials');

done_testing();
