
#-------------------------------------------------------------------------
#
# 055_injection.pl
#	  Attempts to smuggle in a header field, a recipient, a part, a command
#	  or another mail, through every door there is.
#
# Each is either refused with an error that names the fault, or it comes out
# harmless: the relay gets one mail, to one recipient, and two readers find the
# fields of a letter without guile, no more, the parts that were meant, and the
# text as it was written.  The list of attempts is printed with what became
# of each.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use utf8;
use warnings;

use Encode qw(encode);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Letters;
use Mailman::Reader;
use Mailman::Relay;

my $relay = Mailman::Relay->new(save => 1, smtputf8 => 1)->start;
my $node = Mailman::Cluster->create('main',
	preload => 1,
	conf    => {
		'mailman.max_workers'  => 16,
		'max_worker_processes' => 30 });
$node->relay('relay', $relay->url, connections => 16);
my $session = $node->session;

my $evil = "X-Evil: 1";
my $bcc  = "Bcc: eve\@evil.example";
my $next = "\r\n.\r\nMAIL FROM:<eve\@evil.example>\r\nRCPT TO:<eve\@evil.example>"
  . "\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n";

# How errors begin: state and primary message
my $control = qr/23514: \w+ must not contain control characters/;
my $address = qr/23514: ".*" is not a mail address/;
my $field   = qr/23514: ".*" cannot be a header field of a letter/;
my $type    = qr/23514: ".*" is not a valid content_type/;
my $cid     = qr/23514: ".*" is not a valid content_id/;
my $list_id = qr/23514: ".*" is not a valid list_id/;
my $url     = qr/23514: ".*" is not an unsubscribe_url/;
my $option  = qr/HV024: invalid value for option/;
my $nul     = qr/22P05: unsupported Unicode escape sequence/;

#
# [place, value, error, or undef: harmless, or a hash of what else is expected]
#
# The places are columns; data and variables stand in subject, bodies and a
# header field.
#
my @attempts = (

	# ---- the recipient
	[ 'subscription.email', "ann\@b.example\r\nRCPT TO:<eve\@evil.example>", $address ],
	[ 'subscription.email', "ann\@b.example\nDATA",                 $address ],
	[ 'subscription.email', "ann\@b.example>\r\n",                  $address ],
	[ 'subscription.email', 'ann@b.example> SIZE=1',                $address ],
	[ 'subscription.email', 'ann@b.example, eve@evil.example',      $address ],
	[ 'subscription.email', 'ann@b.example eve@evil.example',       $address ],
	[ 'subscription.email', '<ann@b.example>',                      $address ],
	[ 'subscription.email', 'Ann <ann@b.example>',                  $address ],
	[ 'subscription.email', 'ann@b.example (comment)',              $address ],
	[ 'subscription.email', 'ann(comment)@b.example',               $address ],
	[ 'subscription.email', '<@a.example:ann@b.example>',           $address ],
	[ 'subscription.email', '@a.example,@c.example:ann@b.example',  $address ],
	[ 'subscription.email', 'group:ann@b.example;',                 $address ],
	[ 'subscription.email', 'ann@[127.0.0.1]',                      $address ],
	[ 'subscription.email', 'ann@b.example@evil.example',           $address ],
	[ 'subscription.email', "ann\@b.example\x{85}",                 $address ],
	[ 'subscription.email', "ann\@b.example\x{2028}$bcc",           $address ],
	[ 'subscription.email', "ann\@b\x{ff1e}.example",               $address ],
	[ 'subscription.email', "ann\@b\x{ff20}evil.example",           $address ],
	[ 'subscription.email', "ann\x{202e}\@b.example",               $address ],
	[ 'subscription.email', "\"ann\r\n\"\@b.example",               $address ],
	[ 'subscription.email', '"ann" "eve"@b.example',                $address ],
	[ 'subscription.email', ('a' x 65) . '@b.example',              $address ],
	[ 'subscription.email', 'a@' . ('b.' x 200) . 'example',        $address ],
	[ 'subscription.email', 'eve%evil.example@b.example',           undef ],
	[ 'subscription.email', 'evil.example!eve@b.example',           undef ],
	[ 'subscription.email', '"ann> RCPT TO:<eve"@b.example',        undef ],
	[ 'subscription.email', '"ann@evil.example"@b.example',         undef ],
	[ 'subscription.email', 'ann=?b?@b.example',                    undef ],
	[ 'subscription.email', '=?UTF-8?Q?eve=40evil.example?=@b.example', $address ],
	[ 'subscription.email', '"=?UTF-8?Q?eve=40evil.example=3E?= "@b.example', $address ],
	[ 'newsletter.from_address', '=?UTF-8?Q?eve=40evil.example?=@b.example', $address ],
	[ 'mailman_subscribe', "ann\@b.example\r\nRCPT TO:<eve\@evil.example>",
		qr/22023: "ann.*" is not a mail address|$address/ ],

	# ---- his name
	[ 'subscription.name', "Ann\r\n$bcc",                           $control ],
	[ 'subscription.name', "Ann\n$bcc",                             $control ],
	[ 'subscription.name', "Ann\r$bcc",                             $control ],
	[ 'subscription.name', "Ann\x{85}$bcc",                         undef ],
	[ 'subscription.name', "Ann\x{2028}$bcc\x{2029}",               undef ],
	[ 'subscription.name', 'Ann> , <eve@evil.example',              undef ],
	[ 'subscription.name', '"Ann" <eve@evil.example>,',             undef ],
	[ 'subscription.name', 'Ann", eve@evil.example, "',             undef ],
	[ 'subscription.name', 'Ann\\',                                 undef ],
	[ 'subscription.name', 'Ann (comment',                          undef ],
	[ 'subscription.name', 'group: eve@evil.example;',              undef ],
	[ 'subscription.name', '=?UTF-8?Q?=22=2C_eve=40evil.example?=', undef ],
	[ 'subscription.name', '=?UTF-8?B?eA0KWC1FdmlsOiAx?=',          undef ],
	[ 'subscription.name', 'x' x 5000,                              undef ],
	[ 'subscription.name', '{{data.v}}{{{name}}}{{>part}}',         undef ],

	# ---- values of variables
	(
		map {
			[ 'subscription.data', $_, undef ], [ 'variables', $_, undef ]
		} "x\r\n$bcc",
		"x\n$evil",
		"x\r$evil\r",
		"x\r\n\r\n<script>",
		"x\r\n\t$evil\r\n $evil",
		"x\x{85}$evil\x{2028}$evil\x{2029}$evil",
		"x\x{0b}$evil\x{0c}$evil\x{1e}$evil",
		'=?UTF-8?Q?x=0D=0AX-Evil:_1?=',
		'{{name}}{{{data.v}}}{{#x}}{{>part}}',
		"x$next",
		("\x{1f600}" x 3000)),
	[ 'subscription.data.json', '{"v": "x\\u0000' . $evil . '"}',   $nul ],
	[ 'variables.json', '{"v": "x\\u0000"}',                        $nul ],

	# ---- who sends
	[ 'newsletter.from_name', "News\r\nFrom: eve\@evil.example",    $control ],
	[ 'newsletter.from_name', 'News" <eve@evil.example>, "',        undef ],
	[ 'newsletter.from_name', 'eve@evil.example, News',             undef ],
	[ 'newsletter.from_name', 'eve@evil.example',                   undef ],
	[ 'newsletter.from_name', "News\x{2028}$evil",                  undef ],
	[ 'newsletter.from_address', "a\@b.example\r\n$bcc",            $address ],
	[ 'newsletter.from_address', 'a@b.example, eve@evil.example',   $address ],
	[ 'newsletter.reply_to', "a\@b.example\r\n$bcc",                $address ],
	[ 'newsletter.reply_to', 'a@b.example,eve@evil.example',        $address ],
	[ 'newsletter.bounce_address', "a\@b.example>\r\nRCPT TO:<eve\@evil.example", $address ],
	[ 'newsletter.bounce_address', 'a@b.example> BODY=8BITMIME',    $address ],
	[ 'newsletter.bounce_address', 'a{{verp}}{{verp}}@b.example',
		qr/23514: ".*" is not a valid bounce_address/ ],
	[ 'newsletter.unsubscribe_mailto', 'a@b.example>, <https://evil.example/', $address ],
	[ 'newsletter.unsubscribe_mailto', "a\@b.example\r\n$evil",     $address ],
	[ 'newsletter.unsubscribe_mailto', 'a?bcc=eve&x@b.example',     undef ],
	[ 'newsletter.unsubscribe_url', "https://a.example/{{token}}\r\n$evil", $url ],
	[ 'newsletter.unsubscribe_url', 'https://a.example/{{token}}>, <mailto:eve@evil.example', $url ],
	[ 'newsletter.unsubscribe_url', "https://a.example/{{token}}\x{2028}", $url ],
	[ 'newsletter.unsubscribe_url', 'javascript:alert(1)//{{token}}', $url ],
	[ 'newsletter.list_id', "a.b\r\n$evil",                         $control ],
	[ 'newsletter.list_id', 'x <a.b>, <eve.evil.example> y',        $list_id ],
	[ 'newsletter.list_id', "a.b>\x{2028}$evil",                    $list_id ],
	[ 'newsletter.list_id', 'x", <eve.evil.example>, " <a.b>',      undef ],
	[ 'newsletter.feedback_id', "x\r\n$evil",
		qr/23514: ".*" is not a valid feedback_id/ ],
	[ 'newsletter.precedence', "bulk\r\n$evil",                     qr/23514: new row/ ],
	[ 'newsletter.dkim_domain', "b.example; d=evil.example",
		qr/23514: ".*" is not a valid dkim_domain/ ],
	[ 'newsletter.dkim_selector', "s\r\n$evil",
		qr/23514: ".*" is not a valid dkim_selector/ ],
	[ 'newsletter.name', "News\r\n$evil",                           $control ],
	[ 'newsletter.name', "News\x{2028}<script>{{data.v}}",          undef ],

	# ---- the letter
	[ 'letter.subject', "x\r\n$bcc",                                $control ],
	[ 'letter.subject', "x\n$evil",                                 $control ],
	[ 'letter.subject', "x\x{85}$evil\x{2028}$evil",                undef ],
	[ 'letter.subject', '=?UTF-8?Q?x=0D=0AX-Evil:_1?=',             undef ],
	[ 'letter.subject', 'x' x 5000,                                 undef ],
	[ 'letter.subject', ' =?UTF-8?Q?=?= ?=',                        undef ],
	[ 'letter.text_body', "x$next",                                 undef ],
	[ 'letter.text_body', "x\n.\nMAIL FROM:<eve\@evil.example>\n",  undef ],
	[ 'letter.text_body', "x\r.\rRCPT TO:<eve\@evil.example>\r",    undef ],
	[ 'letter.text_body', "x\r\n.\n\r\n.\rDATA\n.\r\n",             undef ],
	[ 'letter.text_body', "x\n\r\n.\r\r\n.\n\n.\r",                 undef ],
	[ 'letter.text_body', "From eve\@evil.example\r\n$evil\r\n",    undef ],
	[ 'letter.text_body', '%s%n%x' . ('.' x 3000),                  undef ],
	[ 'letter.text_body', 'the boundaries',                         undef ],
	[ 'letter.html_body', "</html>$next",                           undef ],
	[ 'letter.html_body', 'the boundaries',                         undef ],
	(
		map { [ 'letter.headers.name', $_, $field ] } 'Bcc', 'bcc', 'To', 'From',
		'Cc', 'Sender', 'Subject', 'Content-Type', 'content-transfer-encoding',
		'DKIM-Signature', 'Resent-To', 'Received', 'Return-Path', 'Message-ID',
		"X-Evil: 1\r\nBcc", "X-Evil\r\n\r\n", 'From ', ' Bcc', 'X:Y', '',
		"X\x{ff1a}Y", "X\x{85}", 'X' x 80),
	[ 'letter.headers.json', '{"X-A": "1", "x-a": "2"}',
		qr/23514: header fields "X-A" and "x-a" are the same/ ],
	[ 'letter.headers.json', '{"X-A": ["1", "2"]}',
		qr/23514: the value of header field "X-A" must be a string/ ],
	[ 'letter.headers.value', "x\r\n$bcc\r\n\r\nHello",             undef ],
	[ 'letter.headers.value', "x\r\n $evil\n$evil\r$evil",          undef ],
	[ 'letter.headers.value', "x\x{85}$evil\x{2028}$evil",          undef ],
	[ 'letter.headers.value', ' ' x 3000,                           undef ],

	# ---- files
	[ 'attachment.name', "a.pdf\"\r\n$evil\r\n\r\n",                $control ],
	[ 'attachment.name', 'a.pdf"; filename="evil.exe',              undef ],
	[ 'attachment.name', "a.pdf;filename*=utf-8''evil.exe",         undef ],
	[ 'attachment.name', "a%22%0D%0A%00'*ü\\",                      undef ],
	[ 'attachment.name', '=?UTF-8?Q?evil=2Eexe?=',                  undef ],
	[ 'attachment.name', "a\x{85}$evil\x{2028}$evil\x{202e}fdp.exe", undef ],
	[ 'attachment.name', '../../etc/passwd',                        undef ],
	[ 'attachment.content_type', "text/html\r\n$evil",              $control ],
	[ 'attachment.content_type', "text/html; x=\"\r\n$evil\"",      $control ],
	[ 'attachment.content_type', 'multipart/mixed; boundary=x',     $type ],
	[ 'attachment.content_type', 'message/rfc822',                  $type ],
	[ 'attachment.content_type', 'text/html; name=evil.exe',        $type ],
	[ 'attachment.content_type', 'text/html; x="',                  $type ],
	[ 'attachment.content_type', 'text/html, text/plain',           $type ],
	[ 'attachment.content_id', "x>\r\n$evil",                       $control ],
	[ 'attachment.content_id', 'x> <y',                             $cid ],
	[ 'attachment.content_id', "x\x{2028}",                         $cid ],
	[ 'attachment.content', $next,                                  undef ],
	[ 'attachment.content', "\r\n.\r\n",                            undef ],
	[ 'attachment.content', "a\r.\r\n.\n\0",                        undef ],
	[ 'attachment.content', 'the boundaries',                       undef ],

	# ---- partials
	[ 'partial.name', "part\r\n$evil",                              $control ],
	[ 'partial.template', "x$next",                                 undef ],
	[ 'partial.template', "x\x{85}$evil\x{2028}",                   undef ],
	[ 'partial.template', '{{>part}}{{>part}}',                     qr/22000: letter \d+ cannot be rendered|\w{5}: .*(?:partial|nested|deep)/ ],
	[ 'partial.template', '{{#a}}',                                 qr/\w{5}: .*/ ],

	# ---- relays
	[ 'server.url', "smtp://relay.example\r\nRCPT TO:<eve>",        $option ],
	[ 'server.url', 'smtp://eve@relay.example',                     $option ],
	[ 'server.url', 'smtp://relay.example/x%0d%0aRSET',             $option ],
	[ 'server.url', 'file:///etc/passwd',                           $option ],
	[ 'server.url', 'smtp://relay.example:25:26',                   $option ],
	[ 'server.helo', "a.example\r\nMAIL FROM:<eve\@evil.example>",  $option ],
	[ 'server.helo', 'a.example SIZE=1',                            $option ],
	[ 'server.rate', "1/s\r\n",                                     $option ],
	[ 'server.ca_file', "../x",                                     $option ],
	[ 'server.mail_from', 'x',                                      qr/HV00D: invalid option/ ],
	[ 'mapping.username', "x\r\nRSET",                              $option ],
	[ 'mapping.password', "x\0y" =~ s/\0/\n/r,                      $option ]);

# ---- a letter for each, with one thing evil in it

my %base = (
	newsletter => {
		name               => 'News',
		relays             => '{relay}',
		from_name          => 'Example News',
		from_address       => 'news@a.example',
		reply_to           => 'office@a.example',
		bounce_address     => 'b+{{verp}}@a.example',
		list_id            => 'weekly.a.example',
		unsubscribe_url    => 'https://a.example/{{token}}',
		unsubscribe_mailto => 'leave@a.example',
		feedback_id        => 'example',
		precedence         => 'bulk'
	},
	partial      => { name => 'part', template => 'part' },
	subscription => { name => 'Ann', data => { v => '' } },
	letter       => {
		subject   => 'S{{{data.v}}}{{{variables.v}}}',
		text_body => "T{{{data.v}}}|{{{variables.v}}}|{{>part}}|"
		  . "{{newsletter.name}}|\nend\n",
		html_body => "<p>{{data.v}}|{{variables.v}}|{{newsletter.name}}</p>\n",
		headers   => { 'X-Own' => 'H{{{data.v}}}{{{variables.v}}}' }
	},
	attachment => {
		name         => 'a.txt',
		content_type => 'text/plain',
		content_id   => undef,
		content      => "content\r\n"
	});

# A copy of %base with one thing evil in it; values are found again in {was}
sub evil_letter
{
	my ($id, $place, $value) = @_;
	my %rows = map { $_ => { %{ $base{$_} } } } keys %base;

	$rows{newsletter}{id} = $rows{letter}{id} = $rows{subscription}{id} = $id;
	$rows{subscription}{email} = "r$id\@b.example";
	$rows{$_}{newsletter_id} = $id foreach qw(partial subscription letter);
	$rows{attachment}{letter_id} = $id;
	$rows{variables} = { v => '' };

	if    ($place eq 'variables')         { $rows{variables} = { v => $value }; }
	elsif ($place eq 'variables.json')    { $rows{variables} = $value; }
	elsif ($place eq 'subscription.data') { $rows{subscription}{data} = { v => $value }; }
	elsif ($place eq 'subscription.data.json') { $rows{subscription}{data} = $value; }
	elsif ($place eq 'letter.headers.name') { $rows{letter}{headers} = { $value => 'x' }; }
	elsif ($place eq 'letter.headers.value') { $rows{letter}{headers} = { 'X-Own' => $value }; }
	elsif ($place eq 'letter.headers.json') { $rows{letter}{headers} = $value; }
	elsif ($place =~ /^(\w+)\.(\w+)$/ && $rows{$1}) { $rows{$1}{$2} = $value; }
	$rows{newsletter}{dkim_selector} = 's'
	  if $place eq 'newsletter.dkim_domain';
	$rows{newsletter}{dkim_domain} = 'b.example'
	  if $place eq 'newsletter.dkim_selector';
	return \%rows;
}

sub text { return Mailman::Letters::value($_[0]); }

sub statements
{
	my ($rows) = @_;
	my $id = $rows->{letter}{id};
	return join('',
		map { Mailman::Letters::insert($_, %{ $rows->{$_} }) }
		  qw(newsletter partial subscription letter attachment))
	  . "SELECT mailman_send($id, ARRAY[$id], "
	  . text($rows->{variables})
	  . '::jsonb)';
}

# What is no letter at all
sub other_statement
{
	my ($place, $value) = @_;
	my $quoted = Mailman::Cluster::literal(encode('UTF-8', $value));

	return "SELECT mailman_subscribe(1, $quoted)"
	  if $place eq 'mailman_subscribe';
	return "CREATE SERVER evil FOREIGN DATA WRAPPER mailman_smtp OPTIONS ("
	  . ($1 eq 'url' ? '' : "url 'smtp://relay.example', ") . "$1 $quoted)"
	  if $place =~ /^server\.(\w+)/;
	return 'CREATE USER MAPPING FOR PUBLIC SERVER relay OPTIONS ('
	  . ($1 eq 'username' ? "password 'x'" : "username 'x'") . ", $1 $quoted)"
	  if $place =~ /^mapping\.(\w+)/;
	return;
}

# In a transaction; the first error, without its prefix, or undef
sub attempt
{
	my (@sql) = @_;
	my $error;

	$session->query('BEGIN');
	foreach my $sql (@sql)
	{
		(undef, $error) = $session->try($sql);
		last if defined $error;
	}
	$session->query($error ? 'ROLLBACK' : 'COMMIT');
	return unless defined $error;
	my ($first) = $error =~ /^ERROR: +(.*)/m;
	return $first;
}

$session->query("CREATE FUNCTION pg_temp.u(text) RETURNS text LANGUAGE sql"
	  . " AS \$\$SELECT convert_from(decode(\$1, 'hex'), 'UTF8')\$\$");

# the letter without guile, by which the others are measured, is number 1
my %accepted = (1 => evil_letter(1, 'none', ''));
is(attempt(statements($accepted{1})), undef, 'the letter without guile');

sub shown
{
	my ($value) = @_;
	$value = substr($value, 0, 50) . '...' if length $value > 53;
	$value =~ s/\r/\\r/g;
	$value =~ s/\n/\\n/g;
	$value =~ s/([^\x20-\x7e])/sprintf '\\x{%x}', ord $1/ge;
	return $value;
}

my $id = 1;
my %number_of;
foreach my $attempt (@attempts)
{
	my ($place, $value, $refused) = @$attempt;
	my $name = "$place: " . shown($value);
	my $other = other_statement($place, $value);
	my $error;

	$id++;
	if (defined $other) { $error = attempt($other); }
	else
	{
		my $rows = evil_letter($id, $place, $value);
		if ($value eq 'the boundaries')
		{
			my ($table, $column) = split /\./, $place;

			# those it really has: they depend on the ids and the secret
			$rows->{$table}{$column} = $base{$table}{$column};
			my @insert = split /^(?=SELECT)/m, statements($rows);
			$error = attempt("$insert[0]SELECT 1");
			my @found = $session->query("SELECT mailman_preview($id, $id)")
			  =~ /boundary="([^"]+)"/g;
			is(scalar @found, 2, 'a letter with two boundaries');
			$value = join('',
				map { "x\r\n--$_\r\nContent-Type: text/html\r\n\r\nx\r\n--$_--\r\n" }
				  @found);
			$rows->{$table}{$column} = $value;
			my $literal =
			  Mailman::Letters::value($value, $column eq 'content');
			$error ||= attempt("UPDATE mailman.$table SET $column = $literal WHERE "
				  . ($table eq 'letter' ? '' : 'letter_') . "id = $id", $insert[1]);
		}
		else { $error = attempt(statements($rows)); }
		$accepted{$id} = $rows unless defined $error;
	}
	$number_of{$id} = [ $name, $error ];
	if ($refused)
	{
		like(defined $error ? $error : 'accepted', qr/^$refused/, "refused: $name");
	}
	else { is($error, undef, "accepted: $name"); }
}

# ---- what arrives

ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE state NOT IN ('sent', 'draft')", 0),
	'all that were accepted are sent');
is( $node->sql("SELECT string_agg(letter_id || ': ' || reason, E'\\n')"
	  . " FROM mailman.delivery WHERE state <> 'delivered'"),
	'', 'and delivered');
my %letter_of = map { split /\|/ } split /\n/,
  $node->sql("SELECT message_id, letter_id FROM mailman.newsletter_email");
my %message;
push @{ $message{ $letter_of{ $_->{message_id} } // 'strange' } }, $_
  foreach $relay->messages;
is_deeply([ sort { $a <=> $b } keys %message ],
	[ sort { $a <=> $b } keys %accepted ], 'each has come, and nothing else');

my @ids = sort { $a <=> $b } keys %accepted;
my @python =
  Mailman::Reader::python(map { $relay->saved($message{$_}[0]) } @ids);
my %seen = map {
	$_ => {
		python => shift @python,
		perl => Mailman::Reader::perl($relay->content($message{$_}[0]))
	}
} @ids;

# What a reader must find; blanks of a field may run together
sub expected
{
	my ($rows) = @_;
	my ($d, $v) = ($rows->{subscription}{data}{v}, $rows->{variables}{v});
	my $letter = $rows->{letter};
	my $expand = sub {
		my ($template, $html) = @_;
		my $escape =
		  $html ? \&Mailman::Letters::html : sub { return $_[0]; };
		my %value = (
			'{{{data.v}}}'        => $d,
			'{{{variables.v}}}'   => $v,
			'{{data.v}}'          => $escape->($d),
			'{{variables.v}}'     => $escape->($v),
			'{{newsletter.name}}' => $escape->($rows->{newsletter}{name}),
			'{{>part}}'           => $rows->{partial}{template});
		my $any = join('|', map { quotemeta } sort keys %value);
		$template =~ s/($any)/$value{$1}/g;
		return $template;
	};
	my $file = $rows->{attachment};
	my $content = $file->{content};

	return {
		subject => field($expand->($letter->{subject})),
		own     => field($expand->($letter->{headers}{'X-Own'})),
		to      => [
			[
				field($rows->{subscription}{name}),
				$rows->{subscription}{email}
			] ],
		from => [ [ field($rows->{newsletter}{from_name}), 'news@a.example' ] ],
		reply_to => [ [ '', 'office@a.example' ] ],
		bodies   => [
			[ 'text/plain', Mailman::Letters::crlf($expand->($letter->{text_body})) ],
			[ 'text/html', Mailman::Letters::crlf($expand->($letter->{html_body}, 1)) ] ],
		files => [
			[ field($file->{name}), 'text/plain', 'attachment', $content ] ],
		defects => []
	};
}

sub field
{
	my ($text) = @_;
	$text = Mailman::Letters::clean($text);
	$text =~ s/ +/ /g;
	$text =~ s/^ | \z//g;
	return $text;
}

sub found
{
	my ($seen) = @_;
	return {
		subject => field($seen->{values}{Subject}),
		own     => field($seen->{values}{'X-Own'}),
		(
			map {
				$_ => [ map { [ field($_->[0]), $_->[1] ] } @{ $seen->{$_} } ]
			} qw(to from reply_to)),
		bodies => $seen->{bodies},
		files  => [
			map {
				[ field($_->{name} // ''), $_->{type}, $_->{disposition},
					$_->{content} ]
			} @{ $seen->{files} } ],
		defects => $seen->{defects}
	};
}

my $fields = $seen{1}{python}{fields};
note(join(' ', @$fields));
foreach my $id (@ids)
{
	my $rows = $accepted{$id};
	my $name = $id == 1 ? 'the letter without guile' : $number_of{$id}[0];
	my $message = $message{$id}[0];

	subtest "harmless: $name" => sub {
		is(scalar @{ $message{$id} }, 1, 'one mail');
		is_deeply(
			$message->{to},
			[ encode('UTF-8', $rows->{subscription}{email}) ],
			'one recipient');
		like($message->{from}, qr/^b\+[\w-]+\@a\.example\z/, 'our sender');
		foreach my $reader (qw(python perl))
		{
			my $seen = $seen{$id}{$reader};
			is_deeply($seen->{fields}, $fields, "$reader: the fields");
			is_deeply(found($seen), expected($rows), "$reader: their content");
		}
	};
}

# ---- the list

print "# ", '-' x 70, "\n";
foreach my $id (sort { $a <=> $b } keys %number_of)
{
	my ($name, $error) = @{ $number_of{$id} };
	printf "# %-8s %s%s\n", defined $error ? 'refused' : 'harmless', $name,
	  defined $error ? ' -> ' . shown(substr($error, 0, 5)) : '';
}
cmp_ok(scalar @attempts, '>=', 40, scalar(@attempts) . ' attempts');

$session->quit;
$node->stop;
$relay->stop;
done_testing();
