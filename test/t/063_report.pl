
#-------------------------------------------------------------------------
#
# 063_report.pl
#	  mailman_report() of a real letter, while it is sent and afterwards.
#
# What the page says is what the tables say, all of one moment; what relays
# say stays text; nobody is named.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Fates;

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => {
		'mailman.turn_size' => 10,
		'mailman.pause_rejections' => 0,
		'mailman.pause_failures' => 0
	});
my $fates  = Mailman::Fates->new($node, 1000);
my $letter = $fates->letter;

# Rows of a table of a page, by its caption; cells are text
$node->sql(q{
	CREATE FUNCTION cells(page xml, caption text) RETURNS SETOF text[] AS $$
	SELECT array_agg(c.text ORDER BY c.i)
	  FROM unnest(xpath(format(
			'//h:table[h:caption="%s"]/h:tbody/h:tr', caption), page,
			'{{h,http://www.w3.org/1999/xhtml}}')) WITH ORDINALITY AS r(tr, n),
		   LATERAL (SELECT i, (SELECT string_agg(t::text, '')
				FROM unnest(xpath('.//text()', cell)) t) AS text
			FROM unnest(xpath('/*/*', tr)) WITH ORDINALITY AS x(cell, i)) c
	 GROUP BY n ORDER BY n $$ LANGUAGE sql});

# What it says was delivered, twice: by state, and by relay
sub delivered
{
	my ($from) = @_;
	return $node->sql(qq{
		WITH p AS MATERIALIZED (
			SELECT xmlparse(document mailman_report($letter)) AS page $from)
		SELECT (SELECT replace(c[2], ',', '') FROM p, cells(page,
				'Recipients by outcome') c WHERE c[1] = 'delivered') || ' '
			|| (SELECT coalesce(sum(replace(c[2], ',', '')::int), 0) FROM p,
				cells(page, 'Accepted mails by relay') c)});
}

# ---- before, and while it is sent: one snapshot for all numbers

is(delivered(''), '0 0', 'a draft has a report');
my $pid = fork;
die "fork: $!" unless defined $pid;
if ($pid == 0)
{
	# look again and again; the exit code tells what was seen
	my $session = eval { Mailman::Session->new($node) } or POSIX::_exit(3);
	my %seen;
	$node->{mailman_session} = $session;
	foreach (1 .. 60)
	{
		my ($states, $relays) = split(/ /, eval { delivered('') } || '');
		POSIX::_exit(4) unless defined $relays;
		POSIX::_exit(2) unless $states == $relays;
		$seen{$states} = 1;
	}
	POSIX::_exit(keys %seen > 2 ? 0 : 1);
}
ok($fates->send, 'the letter is sent as far as it can be');
waitpid($pid, 0);
cmp_ok($? >> 8, '<=', 1, 'meanwhile its parts agreed with each other');
diag('few reports were made meanwhile') if $? >> 8 == 1;
$node->assert_sums($letter, 'after it');

# ---- afterwards

my $page = $node->sql("SELECT mailman_report($letter)");
cmp_ok(length $page, '<', 100_000, 'the page is small');
is($node->sql("SELECT xml_is_well_formed_document(mailman_report($letter))"),
	't', 'and well-formed');

is( $node->sql(qq{
		SELECT string_agg(c[1] || ' ' || c[2], ', ' ORDER BY c[1]) FROM cells(
			xmlparse(document mailman_report($letter)),
			'Recipients by outcome') c}),
	$node->sql(qq{
		SELECT string_agg(state || ' ' || n, ', ' ORDER BY state)
		  FROM (SELECT state, count(*) AS n FROM mailman.delivery
				 WHERE letter_id = $letter GROUP BY 1) d}),
	'outcomes are those of the tables');
is( $node->sql(qq{
		SELECT string_agg(d.t, ', ' ORDER BY d.t COLLATE "C") FROM (
			SELECT concat(c[1], ' ', c[2], ' ', c[4])
			  FROM cells(xmlparse(document mailman_report($letter)),
				'Recipients without mail, by reply') c) d(t)}),
	$node->sql(qq{
		SELECT string_agg(d.t, ', ' ORDER BY d.t COLLATE "C") FROM (
			SELECT state || ' ' || count(*) || ' '
				|| coalesce(code || ' ', '') || coalesce(enhanced, '')
			  FROM mailman.delivery WHERE letter_id = $letter
			   AND state <> 'delivered'
			 GROUP BY state, code, enhanced,
				CASE WHEN code IS NULL THEN reason END) d(t)}),
	'and so are the replies');
foreach my $state (qw(failed deferred skipped doubtful))
{
	like($page, qr/<\/svg>$state<\/th>/, "somebody is $state");
}
like($page, qr/$_/, "what it means: $_")
  foreach (
	'Bad destination mailbox address',
	'Mailbox full',
	'Delivery not authorized, message refused',
	'Mailbox unavailable: not found, or refused by policy');
like($page, qr/Accepted after being deferred/, 'mails of a later attempt');
is( $node->sql(qq{
		SELECT count(*) FROM cells(xmlparse(document mailman_report($letter)),
			'Accepted mails by relay') c WHERE c[1] ~ '^mx[123]\$'}),
	3, 'three relays');
like($page, qr/>bücher\.example</, 'a domain in another script');

# ---- what relays and readers say is text, and nobody is named

like($page, qr/&lt;script&gt;alert\(1\)/, 'a script in a reply is text');
unlike($page, qr/<script|javascript:|\son\w+=|<a |<img/i, 'nothing runs');
is( $node->sql(qq{
		SELECT count(*) FROM mailman.subscription,
			(SELECT mailman_report($letter) AS page OFFSET 0) p
		 WHERE strpos(page, email) > 0
			OR strpos(page, split_part(email, '\@', 1)) > 0}),
	0, 'no address and no local part');
unlike($page, qr/[\w.]+\@(?!example\.com)/, 'no address but the sender\'s');

$_->stop foreach $fates->relays;
$node->stop;
done_testing();
