
#-------------------------------------------------------------------------
#
# 052_content.pl
#	  What arrives: header fields, attachments, signatures; and the same
#	  bytes whenever a mail is sent again.
#
# The oracle is what the relay saved: it is read by Email::MIME and Python's
# email package, and its signatures are verified by dkimpy and Mail::DKIM, in
# the scripts of test/unit.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Email::MIME;
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $number = 40;
my $relay  = Mailman::Relay->new(save => 1)->start;
my $node   = Mailman::Cluster->create('main',
	conf => { 'mailman.turn_size' => 5 });
my $dir = PostgreSQL::Test::Utils::tempdir;
my $ed  = "-----BEGIN PRIVATE KEY-----\n"
  . "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
  . "-----END PRIVATE KEY-----\n";

system_or_bail('openssl', 'genrsa', '-out', "$dir/rsa.pem", '2048');
my $rsa = slurp_file("$dir/rsa.pem");

sub set_key
{
	my ($newsletter, $key) = @_;
	return $node->sql("SELECT mailman_set_dkim_key($newsletter, "
		  . Mailman::Cluster::literal($key) . ')');
}

# One message as the scripts of test/unit want it: what the relay got, as if
# it had come over the wire, and what it should be
sub record
{
	my ($message, $expected, $dkim) = @_;
	my $wire = $message =~ s/^\./../mgr;
	my %field = (raw => 1, dkim => $dkim, message => $expected,
		wire => "$wire.\r\n");
	return join('',
		map { "$_ " . length($field{$_}) . "\n$field{$_}\n" } sort keys %field)
	  . "end 0\n\n";
}

# Have them verified; TAP of theirs becomes one test of ours
sub verified
{
	my ($what, @records) = @_;
	open my $file, '>:raw', "$dir/emitted" or die $!;
	print $file @records;
	close $file or die $!;
	local $ENV{EMITTED} = "$dir/emitted";
	foreach my $script ('dkim_verify.pl', 'mime_roundtrip.py')
	{
		my $told = `test/unit/$script 2>&1`;
		my @bad = $told =~ /^(not ok.*(?:\n#.*)*)/mg;
		@bad = grep { !/ was verified/ } @bad;
		my $good = () = $told =~ /^ok /mg;
		is_deeply([ \@bad, $good >= @records ? 'enough' : $told ],
			[ [], 'enough' ], "$what: $script");
	}
	return;
}

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(
	relays             => ['relay'],
	subscriptions      => $number,
	list_id            => 'Our Weekly <weekly.example.com>',
	unsubscribe_mailto => 'leave@example.com',
	feedback_id        => 'example',
	bounce_address     => 'bounces+{{verp}}@example.com',
	dkim_domain        => 'example.com',
	dkim_selector      => 's1',
	retry_schedule     => '1s');
my $rsa_record = set_key($newsletter, $rsa);
like($rsa_record, qr/^v=DKIM1; k=rsa; p=/, 'an RSA key is set');

my $letter = $node->letter($newsletter,
	text_body => "{{name}}\n.\n..\nFrom me \n\n\n",
	html_body => '<p>{{name}} <img src="cid:logo@example.com"></p>',
	headers   => '{"X-Number": "{{data.number}}"}');
$node->sql("INSERT INTO mailman.attachment"
	  . " (letter_id, name, content_type, content, content_id) VALUES"
	  . " ($letter, 'Programm für März.pdf', 'application/pdf',"
	  . "  decode(repeat('000d0a2e', 500), 'hex'), NULL),"
	  . " ($letter, 'a.csv', 'text/csv', E'a,b\\r\\n.\\r\\n1,2\\r\\n', NULL),"
	  . " ($letter, 'logo.png', 'image/png', '\\x89504e47', 'logo\@example.com')"
);

# ---- some are accepted without our hearing of it, and are sent again

$relay->set(rules => [
		{ step => 'dot', every => 5, first => 4, accept => 1, drop => 1 },
		{ step => 'RCPT', every => 7, first => 3, reply => '451 4.7.1 later' } ]);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
my %copies;
my %preview = map { split /=/, $_, 2 } split /\|/,
  $node->sql("SELECT string_agg(email || '=' || encode(convert_to("
	  . "mailman_preview($letter, id), 'UTF8'), 'hex'), '|')"
	  . ' FROM mailman.subscription');
$_ = pack 'H*', $_ foreach values %preview;
push @{ $copies{ $_->{to}[0] } }, $_ foreach $relay->messages;
is(scalar keys %copies, $number, 'everybody got it');
is(scalar($relay->messages) - $number,
	4, 'four times it was sent again, maybe to the same');
is_deeply(
	[ grep { my $to = $_;
			grep { $relay->content($_) ne $preview{$to} } @{ $copies{$to} } }
		  sort keys %copies ],
	[], 'each time the very bytes of mailman_preview()');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');

# ---- what it is made of

my ($message) = $relay->messages;
my ($n) = $message->{to}[0] =~ /r(\d+)/;
my $mime  = Email::MIME->new($relay->content($message));
my $id = $node->sql(
	"SELECT id FROM mailman.subscription WHERE email = 'r$n\@example.com'");
is($mime->header('X-Number'), $n, 'a field of its own');
is($mime->header('List-Id'), 'Our Weekly <weekly.example.com>', 'List-Id');
is($mime->header('Feedback-ID'), "$letter:$newsletter:newsletter:example",
	'Feedback-ID');
is($mime->header('Precedence'), 'bulk', 'Precedence');
like($message->{from}, qr/^bounces\+$letter-$id-[a-z2-7]{8}\@example\.com$/,
	'a return path of its own');
my ($tag) = $message->{from} =~ /\+([^@]+)/;
is( $mime->header('List-Unsubscribe'),
	'<' . $node->sql("SELECT mailman_unsubscribe_url($letter, $id)")
	  . ">, <mailto:leave\@example.com?subject=unsubscribe%20$tag>",
	'List-Unsubscribe');
is($mime->header('List-Unsubscribe-Post'),
	'List-Unsubscribe=One-Click', 'with https in one click');
my %senders = map { $_->{from} => 1 } $relay->messages;
is(scalar keys %senders, $number, 'and everybody another');
my @parts;
$mime->walk_parts(sub { push @parts, $_[0] unless $_[0]->subparts });
is_deeply(
	[ map { $_->content_type =~ /^([^;]+)/ } @parts ],
	[qw(text/plain text/html image/png application/pdf text/csv)],
	'its parts');
is($parts[3]->body, "\x00\r\n." x 500, 'a file, byte by byte');
is($parts[4]->body, "a,b\r\n.\r\n1,2\r\n", 'a text file, too');
verified('RSA', map { record($relay->content($_), $preview{ $_->{to}[0] },
		$rsa_record) } ($relay->messages)[ 0 .. 9 ]);

# ---- a key that is changed while a letter is being sent

my $second = $node->letter($newsletter);
$relay->new_messages;
$relay->gate(5);
$node->send($second);
ok($relay->wait_for_held(1), 'the relay holds the letter');
my $ed_record = set_key($newsletter, $ed);
is($ed_record,
	'v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
	'the key of RFC 8463 is set');
$relay->open_gate;
ok($node->wait_for_letter($second, 'sent'), 'it is sent');
my @records;
my %by;
foreach my $message ($relay->new_messages)
{
	my $content = $relay->content($message);
	my ($algorithm) = $content =~ /^DKIM-Signature: v=1; a=(\w+)-sha256;/;
	$by{$algorithm}++;
	push @records,
	  record($content, $content,
		$algorithm eq 'rsa' ? $rsa_record : $ed_record);
}
cmp_ok($by{$_} || 0, '>', 0, "some are signed with $_") foreach qw(rsa ed25519);
verified('both keys', @records);

# ---- a key that is taken away: nothing leaves unsigned

my $third = $node->letter($newsletter);
set_key($newsletter, undef);
like($node->sql_error("SELECT mailman_send($third)"),
	qr/newsletter $newsletter has no DKIM key/, 'without a key it is not sent');
set_key($newsletter, $ed);
$relay->gate(5);
$node->send($third);
ok($relay->wait_for_held(1), 'the relay holds another');
set_key($newsletter, undef);
$relay->open_gate;
ok($node->wait_for_letter($third, 'paused'), 'it is paused');
is( $node->sql("SELECT state_reason FROM mailman.letter WHERE id = $third"),
	"newsletter $newsletter has no DKIM key", 'and says why');
$node->sql("UPDATE mailman.newsletter SET dkim_domain = NULL,"
	  . " dkim_selector = NULL");
$node->sql("SELECT mailman_resume($third)");
ok($node->wait_for_letter($third, 'sent'),
	'without a domain it goes on, unsigned');
is(scalar(grep { $relay->content($_) =~ /^DKIM-Signature: v=1; a=ed/ }
		  $relay->new_messages) < $number, 1, 'some are');

$node->stop;
$relay->stop;
done_testing();
