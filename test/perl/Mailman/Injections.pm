
#-------------------------------------------------------------------------
#
# Mailman::Injections
#	  Attempts to smuggle in a header field, a recipient, a part, a command
#	  or another mail: the list of 055_injection.pl.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Injections;

use strict;
use utf8;
use warnings;

my $evil = "X-Evil: 1";
my $bcc  = "Bcc: eve\@evil.example";
my $next = "\r\n.\r\nMAIL FROM:<eve\@evil.example>\r\n"
  . "RCPT TO:<eve\@evil.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n";

# How errors begin: state and primary message
my $control = qr/23514: \w+ must not contain control characters/;
my $turns   = qr/23514: \w+ must not contain characters that turn/;
my $address = qr/23514: ".*" is not a mail address/;
my $field   = qr/23514: ".*" cannot be a header field of a letter/;
my $type    = qr/23514: ".*" is not a valid content_type/;
my $cid     = qr/23514: ".*" is not a valid content_id/;
my $list_id = qr/23514: ".*" is not a valid list_id/;
my $url     = qr/23514: ".*" is not an unsubscribe_url/;
my $template =
  qr{42601: partial "part" of newsletter \d+ is not a valid template};
my $option  = qr/HV024: invalid value for option/;
my $nul     = qr/22P05: unsupported Unicode escape sequence/;

#
# [place, value, how the error begins, or undef: it must come out harmless]
#
# The places are columns; data and variables stand in subject, bodies and a
# header field.
#
sub attempts
{
	return (

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
	[ 'subscription.email', "ann\x{61c}\@b.example",                $address ],
	[ 'subscription.email', "\x{3164}\@b.example",                  $address ],
	[ 'subscription.email', "\"ann\x{2800}\"\@b.example",           $address ],
	[ 'subscription.email', "ann\x{e0001}\@b.example",              $address ],
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
	[ 'attachment.name', "a\x{85}$evil\x{2028}$evil",             undef ],
	[ 'attachment.name', "a\x{202e}fdp.exe",                       $turns ],
	[ 'subscription.name', "\x{2066}Ann",                          $turns ],
	[ 'newsletter.from_name', "moc.knab\x{202e} Example",          $turns ],
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
	[ 'partial.template', '{{>part}}{{>part}}',                     $template ],
	[ 'partial.template', '{{#a}}',                                 $template ],

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
	[ 'mapping.password', "x\nRSET",                                $option ]);
}

1;
