
#-------------------------------------------------------------------------
#
# 037_limits.pl
#	  What templates and data may ask for: a mail that would be too large or
#	  too much work fails alone, in little memory, and while it is made the
#	  server hears what it is told.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

# Far more than anything here takes, and far less than it took without limits
use constant SOON => 60;

# kB that a worker may have of its own
use constant MEMORY => 200 * 1024;

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => { 'mailman.turn_size' => 50, 'mailman.max_failed_runs' => 2 });

$node->relay('relay', $relay->url, connections => 4);
$node->sql('CREATE DATABASE other');

# A list of 300,000 for everybody, 1 MB
my $items = q(jsonb_build_object('l', (SELECT jsonb_agg(1)
	FROM generate_series(1, 300000))));

# The worst that I can think of: each would take minutes, or a gigabyte
my %work = (
	'inverted sections' => '{{#data.l}}'
	  . '{{^x}}{{/x}}' x 2000
	  . '{{/data.l}}',
	'variables'  => '{{#data.l}}' . '{{x}}{{y.z}}' x 2000 . '{{/data.l}}',
	'lists in lists' =>
	  '{{#data.l}}{{#data.l}}{{#data.l}}{{x}}{{/data.l}}{{/data.l}}{{/data.l}}',
	'partials' => '{{#data.l}}{{#data.l}}{{>empty}}{{/data.l}}{{/data.l}}',
	'indentation' => "{{#data.l}}\n" . ' ' x 500000 . "{{>empty}}\n{{/data.l}}",
	'deep contexts' => '{{#data}}' x 90 . '{{x}}' x 200000 . '{{/data}}' x 90,
	'dotted names' => '{{#data.l}}{{data.l.7}}{{data.l.x}}'
	  . '{{data.l.x}}' x 2000
	  . '{{/data.l}}');
my %size = (
	'JSON'          => '{{data}}' x 300,
	'JSON in JSON'  => '{{#data.l}}{{data}}{{/data.l}}',
	'text'          => '{{#data.l}}' . 'x' x 1000 . '{{/data.l}}',
	'empty lines'   => "\n" x 14000000,
	'tabs at ends'  => "\t\n" x 6000000);

my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 2);
$node->sql("UPDATE mailman.subscription SET data = $items");
$node->sql(
	"INSERT INTO mailman.partial VALUES ($newsletter, 'empty', '')");

# Written by the server, so that psql need not
sub letter
{
	my ($body, %options) = @_;
	my $column = delete $options{column} || 'text_body';
	my $id = $node->letter($newsletter, text_body => 'x', %options);

	open(my $fh, '>', $node->basedir . '/body') or die $!;
	print $fh $body;
	close($fh);
	$node->sql("UPDATE mailman.letter SET $column ="
		  . " pg_read_file('" . $node->basedir . "/body') WHERE id = $id");
	return $id;
}

# Try it; (result, error, seconds)
sub try
{
	my ($sql, $timeout) = @_;
	my $session = $node->session;
	my $start   = time;

	$session->query("SET statement_timeout = '$timeout'") if $timeout;
	my ($result, $error) = $session->try($sql);
	$session->quit;
	return ($result, $error || '', time - $start);
}

# ---- in a session

foreach my $name (sort keys %work)
{
	my $letter = letter($work{$name});
	my ($result, $error, $took) =
	  try("SELECT mailman_preview($letter)", SOON . 's');

	like(
		$error,
		qr/^ERROR:  22000: letter $letter cannot be rendered .*too much work for one mail, more than \d+ steps, line \d+, column \d+ of text_body/s,
		"$name: too much work");
	diag(sprintf('%s: %.2f s', $name, $took));
	($result, $error) =
	  try("SELECT count(*) FROM mailman_preview_all($letter)");
	is($result, 2, "$name: told for all");
	($result, $error) = try("SELECT mailman_preview($letter)", '20ms');
	like($error, qr/^ERROR:  57014: canceling statement/,
		"$name: statement_timeout");
	($result, $error) =
	  try("SELECT * FROM mailman_preview_all($letter)", '20ms');
	like($error, qr/^ERROR:  57014: canceling statement/,
		"$name: statement_timeout, for all");
}
foreach my $name (sort keys %size)
{
	my $letter = letter($size{$name});
	my ($result, $error) =
	  try("SELECT mailman_preview($letter)", SOON . 's');

	like(
		$error,
		qr/^ERROR:  22000: letter $letter cannot be rendered .*message would exceed 25 MB \(mailman\.max_message_size\)/s,
		"$name: too large");
	($result, $error) = try("SELECT mailman_preview($letter)", '20ms');
	like($error, qr/^ERROR:  57014: canceling statement/,
		"$name: statement_timeout");
}

# What is wrong with the letter itself, and with its delimiters
my ($result, $error) = try('SELECT mailman_preview('
	  . letter('{{=' . 'a' x 1600000 . ' b=}}' . 'a' x 1600000) . ')',
	SOON . 's');
like($error, qr/a delimiter is longer than 16 bytes/, 'a long delimiter');
($result, $error) =
  try('SELECT mailman_send(' . letter('{{a}}' x 2000000) . ')', SOON . 's');
like(
	$error,
	qr/text_body of letter \d+ is not a valid template.*the templates of the letter have too many tags/s,
	'too many tags');

# terminated, and the fields, too
my $session = $node->session;
my $pid     = $session->backend;
my $letter  = letter($work{'lists in lists'}, column => 'subject');
$session->start("SELECT * FROM mailman_preview_all($letter)"
	  . ' CROSS JOIN LATERAL (SELECT mailman_preview(letter_id) FROM'
	  . " (SELECT ${letter}::bigint AS letter_id FROM generate_series(1, 1000)) l)"
	  . ' m');
$node->wait_for("SELECT state FROM pg_stat_activity WHERE pid = $pid",
	'active');
$node->sql("SELECT pg_terminate_backend($pid)");
ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0'),
	'a session is terminated');
$session->quit;

# ---- in a worker

# Which is at it for minutes: so many mails, each as much work as may be
$node->sql(q{UPDATE mailman.subscription SET data = '{}'});
my $crowd = $node->newsletter(relays => ['relay'], subscriptions => 100);
$node->sql("INSERT INTO mailman.partial VALUES ($crowd, 'empty', '')");
$node->sql("UPDATE mailman.subscription SET data = $items"
	  . " WHERE newsletter_id = $crowd");

sub monster
{
	my $id = letter($work{ $_[0] });

	$node->sql("UPDATE mailman.letter SET newsletter_id = $crowd"
		  . " WHERE id = $id");
	$node->sql("SELECT mailman_send($id)");
	$node->wait_for(
		'SELECT count(*) > 0 FROM mailman.delivery'
		  . " WHERE letter_id = $id AND state = 'failed'",
		't');
	return $id;
}

my $start = time;
$letter = monster('inverted sections');
like(
	$node->sql(
		"SELECT reason FROM mailman.delivery WHERE letter_id = $letter"
		  . " AND state = 'failed' LIMIT 1"),
	qr/^too much work for one mail, more than \d+ steps, line 1, column \d+ of text_body$/,
	'the reason of one that fails');
($pid) = $node->workers;
$node->sql("SELECT pg_cancel_backend($pid)") foreach 1 .. 3;
my $failed = $node->sql('SELECT count(*) FROM mailman.delivery'
	  . " WHERE letter_id = $letter AND state = 'failed'");
ok( $node->wait_for(
		'SELECT count(*) > '
		  . $failed
		  . ' FROM mailman.delivery'
		  . " WHERE letter_id = $letter AND state = 'failed'",
		't'),
	'there is no query to cancel');
is(join(' ', $node->workers), $pid, 'the worker goes on');
$start = time;
($result, $error) = try('DROP DATABASE other', SOON . 's');
is($error, '', 'another database is dropped');
diag(sprintf('dropped in %.2f s', time - $start));
$start = time;
$node->sql("SELECT mailman_pause($letter)");
ok($node->wait_for_handed_back($letter, 0), 'paused: handed back');
diag(sprintf('paused in %.2f s', time - $start));
ok($node->wait_for_no_worker, 'and no worker');
$node->assert_sums($letter, 'paused');

$letter = monster('lists in lists');
$start  = time;
($pid) = $node->workers;
$node->sql("SELECT pg_terminate_backend($pid)");
ok( $node->wait_for(
		"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0'),
	'terminated');
diag(sprintf('terminated in %.2f s', time - $start));
$node->wait_for_worker;
$start = time;
$node->stop('fast');
diag(sprintf('stopped in %.2f s', time - $start));
cmp_ok(time - $start, '<', SOON, 'stopped');
$node->start;
$node->wait_for(
	"SELECT count(*) > 0 FROM mailman.worker WHERE letter_id = $letter", 't');
$node->sql("SELECT mailman_cancel($letter)");
ok($node->wait_for_letter($letter, 'cancelled'), 'cancelled');
$node->wait_for_no_worker;
$node->assert_sums($letter, 'cancelled');
is(scalar($relay->new_messages), 0, 'nobody got anything');

# A mail that takes long keeps nobody else's waiting
$node->sql("UPDATE mailman.subscription SET data = '{}'"
	  . " WHERE newsletter_id = $crowd AND id % 10 > 0");
$letter = letter($work{'variables'});
$node->sql("UPDATE mailman.letter SET newsletter_id = $crowd"
	  . " WHERE id = $letter");
$node->sql("SELECT mailman_send($letter)");
ok($node->wait_for_letter($letter, 'sent'), 'a few that are too much');
is_deeply(
	[ @{ $node->states($letter) }{ 'delivered', 'failed' } ],
	[ 90, 10 ],
	'fail, no others');
is(scalar($relay->new_messages), 90, 'all others got it');

# ---- size and memory

# The most memory of its own that a process has had so far, in kB: what was
# resident at most, without what of it is shared now.  undef when it is gone.
sub peak_memory
{
	my ($pid) = @_;
	my %kb;

	open(my $fh, '<', "/proc/$pid/status") or return;
	while (my $line = <$fh>)
	{
		$kb{$1} = $2 if $line =~ /^(VmHWM|RssFile|RssShmem):\s+(\d+) kB/;
	}
	close($fh);
	return unless defined $kb{RssShmem};
	return $kb{VmHWM} - $kb{RssFile} - $kb{RssShmem};
}

# The most memory that a letter's worker has until it is sent, perhaps with
# more arguments of mailman_send()
sub peak_of
{
	my ($id, $arguments) = @_;
	my $peak = 0;
	my $until = time + 180;
	my $pid;

	$node->sql('SELECT mailman_send(' . ($arguments || $id) . ')');
	while (time < $until)
	{
		($pid) = $node->workers unless $pid;
		my $size = $pid ? peak_memory($pid) : undef;

		$peak = $size if defined $size && $size > $peak;
		last if $pid && !defined $size;
		last
		  if !$pid && $node->letter_state($id) eq 'sent';
		sleep(0.005);
	}
	return $peak;
}

sub ok_memory
{
	my ($id, $what, $arguments) = @_;
	my $peak = peak_of($id, $arguments);

	diag(sprintf('%s: %.1f MB', $what, $peak / 1024));
	ok($node->wait_for_letter($id, 'sent'), "$what: sent");
	cmp_ok($peak, '>', 0,      "$what: seen");
	cmp_ok($peak, '<', MEMORY, "$what: in little memory");
	is( $node->sql(
			"SELECT failed_runs FROM mailman.letter WHERE id = $id"),
		0,
		"$what: no run failed");
	$node->assert_sums($id, $what);
	return;
}

sub reasons
{
	return $node->sql(
		'SELECT state, count(*), reason FROM mailman.delivery'
		  . " WHERE letter_id = $_[0] GROUP BY 1, 3 ORDER BY 1, 3");
}

my $big = $node->newsletter(relays => ['relay'], subscriptions => 60);
$node->sql("UPDATE mailman.subscription SET data ="
	  . " jsonb_build_object('x', repeat('0123456789', 100000))"
	  . " WHERE newsletter_id = $big");
$letter = $node->letter($big, text_body => '{{data.x}}' x 300);
ok_memory($letter, '60 readers with 312 MB each');
is( reasons($letter),
	'failed|60|message would exceed 25 MB (mailman.max_message_size), line 1, column 261 of text_body',
	'each fails');
$letter = $node->letter($big, text_body => 'Hello {{name}}');
ok_memory($letter, '60 readers of whom much is known');
is(reasons($letter), 'delivered|60|', 'each gets it');
is(scalar($relay->new_messages), 60, 'and once');
$letter = $node->letter($big, html_body => '{{{data.x}}}{{data}}');
ok_memory($letter, 'mails of 2 MB');
is(scalar($relay->new_messages), 60, 'and once');

# Data that are larger than a mail are not looked at
$node->sql("UPDATE mailman.subscription SET data ="
	  . " jsonb_build_object('x', repeat('0123456789', 5000000))"
	  . " WHERE newsletter_id = $big AND id % 20 = 0");
$letter = $node->letter($big, text_body => 'Hello {{name}}');
ok_memory($letter, 'data of 48 MB');
is( reasons($letter),
	"delivered|57|\nfailed|3|data and variables have 47.7 MB, more than 25 MB (mailman.max_message_size)",
	'they fail, the others get it');
is(scalar($relay->new_messages), 57, 'and once');
$node->sql("UPDATE mailman.subscription SET data = '{}'"
	  . " WHERE newsletter_id = $big");

# A policy that says too much of everybody, and one that says much
my $talk = $node->newsletter(relays => ['relay'], subscriptions => 8);
$node->sql(q{
	CREATE FUNCTION public.says_much(l mailman.letter, s mailman.subscription)
	RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_object('variables',
			jsonb_build_object('x', repeat('x', l.ref::int))) $$});
foreach my $case (
	[ 20_000_000, 'failed|8|the answer of policy public.says_much has 19.1 MB, more than 4 MB' ],
	[ 3_000_000, 'delivered|8|' ])
{
	my ($bytes, $wanted) = @$case;

	$node->sql("UPDATE mailman.newsletter SET policy = 'public.says_much'"
		  . " WHERE id = $talk");
	$letter = $node->letter(
		$talk,
		ref       => $bytes,
		text_body => 'Hello {{name}}');
	ok_memory($letter, "answers of $bytes bytes");
	is(reasons($letter), $wanted, 'what became of them');
}
is(scalar($relay->new_messages), 8, 'and once');

# A policy that adds a little to variables that are large
$node->sql(q{
	CREATE FUNCTION public.adds_little(l mailman.letter,
		s mailman.subscription)
	RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"variables": {"a": "b"}}'::jsonb
	$$});
$node->relay('many', $relay->url, connections => 60);
my $added = $node->newsletter(
	relays        => ['many'],
	subscriptions => 60,
	policy        => 'public.adds_little');
$letter = $node->letter($added, text_body => 'Hello {{variables.a}}');
ok_memory($letter, 'variables that are added to',
		"$letter, (SELECT array_agg(id) FROM mailman.subscription"
	  . " WHERE newsletter_id = $added),"
	  . q( jsonb_build_object('x', repeat('0123456789', 1000000))));
is(reasons($letter), 'delivered|60|', 'each gets it');
is(scalar($relay->new_messages), 60, 'and once');

# The newsletter's own limit, and files that leave no room
$node->sql("UPDATE mailman.newsletter SET"
	  . " max_message_size = 100000 WHERE id = $big");
$letter = $node->letter($big,
	text_body => '{{name}}' . "\n0123456789" x 6000);
$node->sql("UPDATE mailman.subscription SET name ="
	  . " repeat('x', 40000) WHERE newsletter_id = $big AND id % 2 = 0");
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), "a newsletter's own limit");
like(
	reasons($letter),
	qr/^delivered\|30\|\nfailed\|30\|message would exceed 98 kB \(newsletter\.max_message_size\)/,
	'fails who is above it');
$letter = $node->letter($big);
$node->sql("INSERT INTO mailman.attachment (letter_id, name, content)"
	  . " SELECT $letter, 'a', decode(repeat('00', 90000), 'hex')");
($result, $error) = try("SELECT mailman_send($letter)");
like(
	$error,
	qr/^ERROR:  54000: the attachments of letter $letter are too large\nDETAIL:  They have 121 kB as a mail carries them; a mail may have 98 kB \(newsletter\.max_message_size\)/m,
	'files that leave no room are refused');
($result, $error) = try("SELECT mailman_test($letter, 'me\@example.com')");
like($error, qr/^ERROR:  54000: the attachments/, 'by mailman_test(), too');

done_testing();
