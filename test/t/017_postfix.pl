
#-------------------------------------------------------------------------
#
# 017_postfix.pl
#	  Through a real mail server into a real mailbox.
#
# 200 mails by STARTTLS and AUTH and 200 by implicit TLS go through Postfix
# (Dovecot checks the password) into a Maildir, and are read back with a
# parser that is not ours: subject, names and both bodies must be right to the
# character, whatever the letter is written in.
#
# Needs the Postfix that test/run-tests starts as root; else it is skipped.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use utf8;

use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Postfix;

my ($postfix, $why) = Mailman::Postfix->find;
plan skip_all => $why unless $postfix;

my $number = 200;
my $domain = $postfix->domain;
my $node   = Mailman::Cluster->create('main');

is($node->sql('SHOW server_encoding'), 'UTF8', 'a database in UTF-8');

# psql gets and gives bytes
sub bytes { my ($text) = @_; utf8::encode($text); return $text; }

# ---- the letter

my $from_name = '新闻 Zeitung „Über uns“';
my $subject   = 'Für {{name}}: 每周新闻 📬 חדשות השבוע';
my $long      = 'Eine sehr lange Zeile, 很长的一行 😀; ' x 60;
my $ascii     = 'x' x 2000;
my $text      = join(
	"\n",
	'Hello {{name}},',
	'',
	'中文：你好，世界。标点“引号”、省略号……',
	'emoji: 😀 👩‍👩‍👧‍👦 🇪🇺 e' . "\x{301}",
	'עברית: שלום עולם, (סוגריים) 123',
	'العربية: مرحبا بالعالم ' . "\x{202b}" . 'RTL' . "\x{202c}",
	'.',
	'..',
	'.leading dot',
	'From here on, nothing must be changed.',
	'>From is no better.',
	$long,
	$ascii,
	'trailing blanks   ',
	"tab\tinside and at the end\t",
	'=20 =3D = equals =',
	'--',
	'-- ',
	'--boundary',
	'',
	'{{{data.markup}}} {{data.markup}}',
	'.',
	'');
my $html = join(
	"\n",
	'<!DOCTYPE html>',
	'<html><body dir="auto">',
	'<p>Hello {{name}} &mdash; 你好 😀 שלום</p>',
	'.',
	'<p>{{data.markup}}</p><p>{{{data.markup}}}</p>',
	'From here on.',
	"<p>$long</p>",
	"<p>$ascii</p>",
	'</body></html>',
	'');
my @names = (
	'王小明',
	'Zoë Müller-Lüdenscheidt',
	'שלמה בן־דוד',
	'😀 Emoji',
	q{O'Hara, "Bob" \\ Jr.},
	'Plain Name',
	'محمد علي',
	'a very long name indeed ' . ('ÄÖÜ ' x 20) . 'end');
my $markup = q{<b>"fett" & 'so'</b>};

sub escaped
{
	my ($value) = @_;
	my %entity = (
		'&' => '&amp;',
		'<' => '&lt;',
		'>' => '&gt;',
		'"' => '&quot;',
		"'" => '&#39;');
	$value =~ s/([&<>"'])/$entity{$1}/g;
	return $value;
}

# What recipient n must read
sub expected
{
	my ($n) = @_;
	my $name = "$names[ $n % @names ] $n";
	my %want = (
		name    => $name,
		subject => $subject,
		text    => $text,
		html    => $html);
	$want{$_} =~ s/\{\{\{data\.markup\}\}\}/$markup/g foreach qw(text html);
	$want{text} =~ s/\{\{data\.markup\}\}/$markup/g;
	$want{html} =~ s/\{\{data\.markup\}\}/escaped($markup)/ge;
	$want{$_} =~ s/\{\{name\}\}/$name/g foreach qw(subject text);
	$want{html} =~ s/\{\{name\}\}/escaped($name)/ge;
	return \%want;
}

# ---- two relays, two newsletters, one letter each

my %url = (
	starttls => 'smtp://localhost:' . $postfix->submission,
	smtps    => 'smtps://localhost:' . $postfix->smtps);
my %letter;

$postfix->clear;
foreach my $how (sort keys %url)
{
	$node->relay(
		$how, $url{$how},
		tls         => undef,
		ca_file     => $postfix->ca_file,
		connections => 5,
		username    => $postfix->user,
		password    => $postfix->password);
	is( $node->sql(
			"SELECT string_agg(step || ': ' || reply, '; ')"
			  . " FROM mailman_check('$how') WHERE NOT ok"),
		'',
		"$how: mailman_check() finds nothing wrong");
	my $newsletter = $node->newsletter(
		name         => $how,
		relays       => [$how],
		from_name    => bytes($from_name),
		from_address => "news\@$domain",
		reply_to     => "answers\@$domain");
	$node->sql("INSERT INTO mailman.subscription"
		  . " (newsletter_id, email, name, data) VALUES "
		  . join(
			', ',
			map {
				'('
				  . join(', ',
					$newsletter,
					Mailman::Cluster::literal("$how-$_\@$domain"),
					Mailman::Cluster::literal(bytes(expected($_)->{name})),
					Mailman::Cluster::literal({ markup => $markup })) . ')'
			} 1 .. $number));
	$letter{$how} = $node->letter(
		$newsletter,
		subject   => bytes($subject),
		text_body => bytes($text),
		html_body => bytes($html));
}
$node->send($letter{$_}) foreach sort keys %letter;
ok($node->wait_for_letter($letter{$_}, 'sent'), "$_: the letter is sent")
  foreach sort keys %letter;
foreach my $how (sort keys %letter)
{
	is($node->tally($letter{$how})->{delivered}, $number,
		"$how: all accepted");
	$node->assert_sums($letter{$how}, $how);
}
ok($postfix->wait_for_files(2 * $number), 'all are in the mailbox')
  or diag($postfix->log_tail);

# ---- read them

my (%seen, %wrong);

sub compare
{
	my ($what, $got, $want, $who) = @_;
	return if defined $got && $got eq $want;
	push @{ $wrong{$what} }, $who;
	return if @{ $wrong{$what} } > 1;

	# say where the first one goes wrong
	$got = '(none)' unless defined $got;
	my $at = 0;
	$at++
	  while $at < length $want
	  && $at < length $got
	  && substr($want, $at, 1) eq substr($got, $at, 1);
	my $from = $at > 20 ? $at - 20 : 0;
	diag(
		bytes(
				"$what of $who differs at character $at: got \""
			  . substr($got, $from, 60)
			  . '", expected "'
			  . substr($want, $from, 60)
			  . '"'));
	return;
}

foreach my $file ($postfix->files)
{
	my $raw  = $postfix->raw($file);
	my $mail = Email::MIME->new($raw);
	my $to   = $mail->header('Delivered-To');
	my ($how, $n) = $to =~ /^(\w+)-(\d+)@/;
	my $want = expected($n);
	my %part;

	$seen{$how}{$n}++;
	$mail->walk_parts(
		sub {
			my ($part) = @_;
			return if $part->subparts;
			my ($type) = $part->content_type =~ m{^([\w/]+)};
			$part{$type} = $part;
		});
	compare('subject', $mail->header_str('Subject'), $want->{subject}, $to);
	my $display = $mail->header_str('To');
	$display =~ s/\s*<([^>]*)>\s*\z//;
	compare('address', $1, $to, $to);
	$display =~ s/^"(.*)"\z/$1/s and $display =~ s/\\(.)/$1/g;
	compare('name', $display, $want->{name}, $to);
	my $from = $mail->header_str('From');
	$from =~ s/^"(.*)" </$1 </;
	compare('sender', $from, "$from_name <news\@$domain>", $to);
	compare('Reply-To', $mail->header('Reply-To'), "answers\@$domain", $to);

	foreach my $kind ([ text => 'text/plain' ], [ html => 'text/html' ])
	{
		my ($name, $type) = @$kind;
		my $body = $part{$type} ? $part{$type}->body_str : undef;
		$body =~ s/\r?\n/\n/g if defined $body;
		compare($name, $body, $want->{$name}, $to);
	}
	compare('content type',
		(split(/;/, $mail->content_type))[0],
		'multipart/alternative', $to);
	compare('7-bit bytes', $raw =~ /[^\x00-\x7f]/ ? 'no' : 'yes', 'yes', $to);
	compare('a Message-ID', scalar(() = $mail->header('Message-ID')), 1, $to);
	compare('a Date', scalar(() = $mail->header('Date')), 1, $to);

	# Postfix folds and splits nothing that keeps to the limits
	compare('lines of at most 998 bytes',
		$raw =~ /^[^\n]{999}/m ? 'no' : 'yes', 'yes', $to);
	compare('encryption on the way', $raw =~ /using TLS/ ? 'yes' : 'no',
		'yes', $to);
	compare('authentication', $raw =~ /ESMTPSA/ ? 'yes' : 'no', 'yes', $to);
}
foreach my $what (
	'subject', 'address', 'name', 'sender', 'Reply-To', 'text', 'html',
	'content type', '7-bit bytes', 'a Message-ID', 'a Date',
	'lines of at most 998 bytes', 'encryption on the way', 'authentication')
{
	is(scalar @{ $wrong{$what} || [] },
		0, "$what: right in every one of them");
}
foreach my $how (sort keys %url)
{
	is(scalar keys %{ $seen{$how} }, $number, "$how: everybody has one");
	is(scalar(grep { $_ != 1 } values %{ $seen{$how} }), 0, 'and only one');
}

# ---- a wrong password, an unknown authority: nothing goes out

$postfix->clear;
$node->relay(
	'wrong_password', $url{starttls},
	tls      => undef,
	ca_file  => $postfix->ca_file,
	username => $postfix->user,
	password => 'wrong');
is( $node->sql(
		"SELECT count(*) FROM mailman_check('wrong_password')"
		  . " WHERE NOT ok AND reply ~ '535'"),
	'1',
	'wrong password: mailman_check() has the words of the server');
$node->relay(
	'unknown_ca', $url{smtps},
	tls      => undef,
	username => $postfix->user,
	password => $postfix->password);
is( $node->sql(
		"SELECT bool_and(ok) FROM mailman_check('unknown_ca')"),
	'f',
	'a certificate of nobody we trust is refused');
my $newsletter = $node->newsletter(
	relays        => ['wrong_password'],
	subscriptions => 3,
	pattern       => "nobody-%s\@$domain");
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'),
	'wrong password: the letter is paused');
like(
	$node->sql("SELECT state_reason FROM mailman.letter WHERE id = $letter"),
	qr/535/, 'and says why');
is($node->states($letter)->{pending}, 3, 'nobody lost an attempt');
is(scalar(() = $postfix->files), 0, 'nothing went out');

$node->stop;
done_testing();
