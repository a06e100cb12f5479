
#-------------------------------------------------------------------------
#
# 054_pieces.pl
#	  Mails in pieces: the attachments of a letter are in memory once, however
#	  many mails are on their way, and what comes is mailman_preview() to the
#	  byte.
#
# The letter is changed while mails of what it was are on their way.  Relays
# read slowly over TLS, go away within an attachment, and take one command at a
# time.  What mails weigh is seen in the worker's own memory, which is printed.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

# Of a worker without large mails, with room to spare
use constant BASE => 15 * 1024;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = Mailman::Cluster->create('main',
	preload => 1,
	conf    => { 'mailman.turn_interval' => '50ms' });
my $key = "-----BEGIN PRIVATE KEY-----\n"
  . "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
  . "-----END PRIVATE KEY-----\n";
my $dkim;

# A newsletter that signs, with readers and relay of its own
sub newsletter
{
	my ($relay, $number, %options) = @_;
	my $newsletter = $node->newsletter(
		relays        => [$relay],
		subscriptions => $number,
		dkim_domain   => 'example.com',
		dkim_selector => 's1',
		%options);
	$dkim = $node->sql("SELECT mailman_set_dkim_key($newsletter, "
		  . Mailman::Cluster::literal($key) . ')');
	return $newsletter;
}

# A letter with some MB attached, and with whatever is special at the beginning
# or end of a piece
sub letter
{
	my ($newsletter) = @_;
	my $letter = $node->letter($newsletter,
		text_body => ".\n..\n{{name}}\n.",
		html_body => '<p>{{name}} <img src="cid:logo@example.com"></p>');
	$node->sql(
		qq{
		INSERT INTO mailman.attachment
			(letter_id, name, content_type, content_id, content)
		SELECT $letter, 'big', 'application/octet-stream', NULL,
			decode(string_agg(md5(i::text), ''), 'hex')
			FROM generate_series(1, 131072) i;
		INSERT INTO mailman.attachment
			(letter_id, name, content_type, content_id, content)
		VALUES
			($letter, 'dots', 'text/plain', NULL,
				E'.first\\r\\n..two\\r\\n.\\r\\nlast\\r\\n'),
			($letter, 'no end', 'text/plain', NULL, E'.one\\n.\\n.three'),
			($letter, 'empty', 'text/plain', NULL, ''),
			($letter, 'wire', 'text/plain', NULL, E'a\\r\\nb\\r\\n'),
			($letter, 'blanks', 'text/csv', NULL, E'a;b \\r\\n \\r\\n\\r\\n'),
			($letter, 'logo', 'image/png', 'logo\@example.com', '.'),
			($letter, '', 'application/octet-stream', NULL, '')});
	return $letter;
}

# By Message-ID, what a letter's readers get
sub previews
{
	my ($letter) = @_;
	my %hash;
	foreach my $line (
		split /\n/,
		$node->sql(
				"SELECT encode(sha256(convert_to(p, 'UTF8')), 'hex'),"
			  . " substring(p from E'\\nMessage-ID: (<[^>]*>)')"
			  . " FROM mailman.delivery d, LATERAL (SELECT"
			  . " mailman_preview(d.letter_id, d.subscription_id) AS p"
			  . " OFFSET 0) v WHERE d.letter_id = $letter"))
	{
		my ($hash, $id) = split /\|/, $line;
		$hash{$id} = $hash;
	}
	return \%hash;
}

# Those messages that are not what their reader was to get, of the revisions
sub strange
{
	my ($relay, $letter, %previews) = @_;
	my %revision = map { split /\|/ } split /\n/,
	  $node->sql("SELECT message_id, revision FROM mailman.newsletter_email"
		  . " WHERE letter_id = $letter");
	my @strange;
	foreach my $message ($relay->messages)
	{
		my $id = $message->{message_id};
		my $revision = $revision{$id};
		my $preview = defined $revision && $previews{$revision};
		my $content = $relay->content($message);
		push @strange, "$id of revision " . ($revision // 'none')
		  if !$preview || $preview->{$id} ne sha256_hex($content);
		my $size = $node->sql("SELECT bytes FROM mailman.newsletter_email"
			  . " WHERE message_id = " . Mailman::Cluster::literal($id));
		push @strange, "$id has $size bytes for " . length $content
		  if $size != length $content || $message->{size} != length $content;
	}
	return join "\n", @strange;
}

# Signatures by a verifier of other making: see test/unit/dkim_verify.pl
sub verified
{
	my ($what, @messages) = @_;
	open my $file, '>:raw', "$dir/emitted" or die $!;
	foreach my $message (@messages)
	{
		my $wire = $message =~ s/^\./../mgr;
		my %field = (raw => 1, dkim => $dkim, message => $message,
			wire => "$wire.\r\n");
		print $file "$_ " . length($field{$_}) . "\n$field{$_}\n"
		  foreach sort keys %field;
		print $file "end 0\n\n";
	}
	close $file or die $!;
	local $ENV{EMITTED} = "$dir/emitted";
	my $told = `test/unit/dkim_verify.pl 2>&1`;
	my @bad = grep { !/ was verified/ } $told =~ /^(not ok.*(?:\n#.*)*)/mg;
	my $good = () = $told =~ /^ok /mg;
	return is_deeply([ \@bad, $good >= @messages ? 'enough' : $told ],
		[ [], 'enough' ], "$what: signatures verified");
}

# A worker's memory is that much at most; waits until it is, with a timeout
sub lean
{
	my ($pid, $most, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + 60;
	my $size;
	while (defined($size = Mailman::Cluster::private_memory($pid))
		&& $size > $most
		&& time < $until)
	{
		select undef, undef, undef, 0.1;
	}
	return fail("$what: the worker is gone") unless defined $size;
	note("$what: $size kB");
	return cmp_ok($size, '<=', $most, $what);
}

# ---- the same files in all mails; the letter changes on the way

my $connections = 12;
my $relay = Mailman::Relay->new(save => 1)->start;
$node->relay('gated', $relay->url, connections => $connections);
my $newsletter = newsletter('gated', 30);
my $letter = letter($newsletter);
my $encoded = 2 * 1024 * 78 / 57;

$relay->gate(0);
$node->send($letter);
my $before = previews($letter);
my $first = $node->sql("SELECT revision FROM mailman.letter");
ok($relay->wait_for_held($connections), 'mails on their way');
my ($worker) = $node->workers($letter);
lean($worker, BASE + $encoded,
	"$connections mails with 2 MB attached, which are in memory once");

$node->sql("SELECT mailman_pause($letter)");
$node->sql("UPDATE mailman.letter SET subject = 'Another',"
	  . " text_body = '{{name}}' WHERE id = $letter");
$node->sql("UPDATE mailman.attachment SET content = content || 'x'"
	  . " WHERE letter_id = $letter AND name = 'big'");
$node->sql("SELECT mailman_resume($letter)");
ok( $node->wait_for(
		"SELECT count(*) > $connections FROM mailman.delivery"
		  . " WHERE state = 'sending'", 't'),
	'the letter goes on as it is now');
my $second = $node->sql("SELECT revision FROM mailman.letter");
my $after = previews($letter);
is(($node->workers($letter))[0], $worker, 'by the same worker');
lean($worker, BASE + 2 * $encoded, 'files of both in memory');
# loaded anew without a change, it is as it was
$node->sql("ALTER SERVER gated OPTIONS (ADD messages '1000')");
$node->sql("SELECT pg_sleep(1)");
lean($worker, BASE + 2 * $encoded, 'and loaded anew, no third');

$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'sent');
is(strange($relay, $letter, $first => $before, $second => $after),
	'', 'each the bytes of mailman_preview(), as it was and as it is');
is_deeply(
	[ split /\n/, $node->sql(
			"SELECT revision, count(*) FROM mailman.newsletter_email"
			  . " GROUP BY 1 ORDER BY 1") ],
	[ "$first|$connections", "$second|" . (30 - $connections) ],
	'some of each');
is($relay->violations, 0, 'and nothing against the RFCs');
verified('in pieces', map { $relay->content($_) }
	  ($relay->messages)[ 0, -1 ]);
$node->assert_sums($letter, 'in pieces');
$relay->stop;

# ---- slow over TLS, dropped within a piece, in lock-step and not

foreach my $pipelining (0, 1)
{
	my $name = $pipelining ? 'pipelining' : 'lockstep';
	my $slow = Mailman::Relay->new(
		save         => 1,
		pipelining   => $pipelining,
		tls          => 1,
		implicit_tls => 1,
		rcvbuf       => 4096,
		rules        => [
			{ step => 'body', bytes => 1, drop => 1, first => 1 },
			{ step => 'body', bytes => 1_000_000, drop => 1, first => 2 },
			{ step => 'body', bytes => 2_000_000, reset => 1, first => 1 } ]
	)->start;
	$node->relay($name, $slow->url, connections => 4,
		ca_file => $slow->ca_file);
	my $hasty = newsletter($name, 10, retry_schedule => '1s');
	my $mail = letter($hasty);
	$node->send($mail);
	ok($node->wait_for_letter($mail, 'sent'), "$name: sent");
	is(strange($slow, $mail, map { $_ => previews($mail) }
			$node->sql("SELECT revision FROM mailman.letter WHERE id = $mail")),
		'', "$name: each the bytes of mailman_preview()");
	my $recipients = $slow->recipients;
	is_deeply([ sort map { "$_ $recipients->{$_}" } keys %$recipients ],
		[ sort map { "r$_\@example.com 1" } 1 .. 10 ], "$name: once each");
	is($slow->events('rule'), 4, "$name: after some were dropped");
	is($slow->violations, 0, "$name: nothing against the RFCs");
	verified($name, $slow->content(($slow->messages)[-1]));
	$node->assert_sums($mail, $name);
	$slow->stop;
}

# ---- mails that are large themselves are not all made ahead

my $large = Mailman::Relay->new->start;
$node->relay('large', $large->url, connections => $connections);
my $readers = $node->newsletter(relays => ['large'], subscriptions => 24);
$node->sql(
	"UPDATE mailman.subscription SET data = jsonb_build_object('x',"
	  . " repeat(repeat('x', 60) || E'\\n', 8000))"
	  . " WHERE newsletter_id = $readers");
my $mail = $node->letter($readers, text_body => '{{{data.x}}}' x 20);
$large->gate(0);
$node->send($mail);
ok($large->wait_for_held(5), 'as many as there is room for');
$worker = $node->wait_for_worker($mail);
lean($worker, BASE + 64 * 1024, 'of 12 mails of 10 MB each');
cmp_ok($large->status->{held}, '<=', 7, 'and no more');
$large->gate(23 - $large->status->{held});
ok($large->wait_for_messages(23) && $large->wait_for_held(1),
	'the others follow');
lean($worker, BASE + 10 * 1024, 'what was sent is in memory no more');
$large->open_gate;
ok($node->wait_for_letter($mail, 'sent'), 'until all are sent');
is(scalar $large->pairs, 24, 'once each');
$node->assert_sums($mail, 'large mails');

# ---- those that a relay hands back hold their memory, and keep nobody waiting

$node->sql("CREATE SERVER down FOREIGN DATA WRAPPER mailman_smtp"
	  . " OPTIONS (url 'smtp://127.0.0.1:1', tls 'none')");
$node->sql("UPDATE mailman.newsletter SET relays = '{down,large}'"
	  . " WHERE id = $readers");
$mail = $node->letter($readers, text_body => '{{{data.x}}}' x 20);
$node->send($mail);
ok($node->wait_for_letter($mail, 'sent', 60), 'over the next relay');
is(scalar $large->pairs, 48, 'once each');

$large->stop;
$node->stop;
done_testing;
