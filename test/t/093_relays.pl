
#-------------------------------------------------------------------------
#
# 093_relays.pl
#	  What a relay is told, and by whom it may be used.
#
# A relay that is hostile, or is only asked in the wrong way, learns nothing
# but what the user mapping has for it: it is logged in to with PLAIN, LOGIN or
# a token, whatever else it offers, and in clear text only where somebody has
# said so.
#
# Each test is an attempt at something that must not be, or its counterpart
# that must.  The oracle is the relay's log.
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

my $node = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes    => 24,
		'mailman.max_workers'   => 12,
		'mailman.poll_interval' => '100ms'
	});

# How often somebody has tried to log in
sub logins
{
	my ($relay) = @_;
	return scalar(() = $relay->events('auth'));
}

# What mailman_check() finds wrong: "step: reply"
sub check
{
	my ($name) = @_;
	return $node->sql(
		"SELECT coalesce(string_agg(step || ': ' || reply, '; '), 'well')"
		  . " FROM mailman_check('$name') WHERE NOT ok");
}

# ---- only PLAIN and LOGIN

foreach my $mechanism (
	'GSSAPI', 'GSS-SPNEGO', 'NTLM', 'CRAM-MD5', 'DIGEST-MD5', 'EXTERNAL',
	'SCRAM-SHA-1', 'SCRAM-SHA-256', 'XOAUTH2', 'OAUTHBEARER')
{
	my $relay = Mailman::Relay->new(
		auth     => [$mechanism],
		user     => 'news@EXAMPLE.COM',
		password => 'secret')->start;
	my $name = 'only_' . lc($mechanism =~ tr/-/_/r);

	$node->relay(
		$name, $relay->url,
		username => 'news@EXAMPLE.COM',
		password => 'secret');
	like(check($name), qr/^auth: /, "$mechanism: not a login for us");
	is(logins($relay), 0, "$mechanism: not even tried");
	$relay->stop;
}
foreach my $mechanism ('PLAIN', 'LOGIN')
{
	my $relay = Mailman::Relay->new(
		auth     => [ 'GSSAPI', 'NTLM', 'DIGEST-MD5', $mechanism ],
		user     => 'news@EXAMPLE.COM',
		password => 'secret')->start;
	my $name = 'with_' . lc $mechanism;

	$node->relay(
		$name, $relay->url,
		username => 'news@EXAMPLE.COM',
		password => 'secret');
	is(check($name), 'well', "$mechanism among others: it is taken");
	like(join(', ', map { $_->{mechanism} } $relay->events('auth')),
		qr/^$mechanism( password)?$/, "$mechanism among others: and no other is tried");
	$relay->stop;
}

# ---- a password in clear text

my $clear = Mailman::Relay->new(
	auth     => ['PLAIN'],
	user     => 'news',
	password => 'secret')->start;
my $port = $clear->port;
$node->relay('clear', $clear->url);
my $newsletter = $node->newsletter(relays => ['clear'], subscriptions => 2);
$node->sql('DROP SERVER clear');
foreach my $host (
	'relay.example.com', '192.0.2.1', '0.0.0.0', '10.127.0.1',
	'127.0.0.1.example.com', 'localhost.example.com', '128.0.0.1',
	'[2001:db8::1]', '[::]', '[::ffff:192.0.2.1]', '127.1', '2130706433')
{
	$node->relay(
		'clear', "smtp://$host:$port",
		username => 'news',
		password => 'secret');
	my $letter = $node->letter($newsletter);
	like(
		$node->sql_error("SELECT mailman_send($letter)"),
		qr/55000.*relay "clear" would get credentials in clear text/s,
		"$host: mailman_send() sends no password there in clear text");
	like(
		$node->sql_error("SELECT * FROM mailman_check('clear')"),
		qr/55000.*ALTER SERVER clear OPTIONS \(ADD allow_clear_password 'on'\)/s,
		"$host: nor does mailman_check(), and it says what to do");
	$node->sql('DROP SERVER clear CASCADE');
}
is(logins($clear), 0, 'nothing was told');
foreach my $host ('127.0.0.1', 'localhost', 'LOCALHOST')
{
	$node->relay(
		'clear', "smtp://$host:$port",
		username => 'news',
		password => 'secret');
	is(check('clear'), 'well', "$host: on this machine it may be");
	$node->sql('DROP SERVER clear CASCADE');
}
foreach my $allow ('on', 'off')
{
	$node->relay(
		'clear', "smtp://0.0.0.0:$port",
		allow_clear_password => $allow,
		username             => 'news',
		password             => 'secret');
	is( ($node->sql_error("SELECT * FROM mailman_check('clear')") || 'well') =~
		  /would get credentials/ ? 'off' : 'on',
		$allow,
		"allow_clear_password '$allow' counts");
	$node->sql('DROP SERVER clear CASCADE') if $allow eq 'on';
}
is(logins($clear), 4, 'and the relay was told where it was on');

# changed while a letter is under way: nothing more goes there
$node->sql('DROP SERVER clear CASCADE');
$node->relay(
	'clear', "smtp://127.0.0.1:$port",
	connections => 1,
	username    => 'news',
	password    => 'secret');
$node->subscribe($newsletter, 30);
$clear->gate(3);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($clear->wait_for_held(1), 'a letter is on its way');
$node->sql("ALTER SERVER clear OPTIONS (SET url 'smtp://0.0.0.0:$port')");
sleep 2;
$clear->open_gate;
ok($node->wait_for_letter($letter, 'paused'),
	'its relay is moved to where a password must not go: it pauses');
like(
	$node->sql("SELECT state_reason FROM mailman.letter WHERE id = $letter"),
	qr/relay "clear" would get credentials in clear text/,
	'and says why');
is(logins($clear), 5, 'nothing was told there');
$node->sql("ALTER SERVER clear OPTIONS (ADD allow_clear_password 'on')");
$node->sql("SELECT mailman_resume($letter)");
ok($node->wait_for_letter($letter, 'sent'), 'allowed, and resumed: sent');
is($clear->pairs, 32, 'to everybody');
is(scalar($clear->duplicates), 0, 'once');
$node->assert_sums($letter, 'after it');

# ---- the version of TLS

foreach my $case (
	[ 'TLSv1',   undef, 0 ],
	[ 'TLSv1_1', undef, 0 ],
	[ 'TLSv1_2', undef, 1 ],
	[ 'TLSv1_2', '1.2', 1 ],
	[ 'TLSv1_2', '1.3', 0 ],
	[ 'TLSv1_3', undef, 1 ],
	[ 'TLSv1_3', '1.2', 1 ],
	[ 'TLSv1_3', '1.3', 1 ])
{
	my ($version, $least, $good) = @$case;
	my $words = "$version, tls_min " . (defined $least ? $least : 'not set');
	my $relay = Mailman::Relay->new(
		tls         => 1,
		starttls    => 1,
		tls_version => $version,
		auth        => ['PLAIN'],
		user        => 'news',
		password    => 'secret')->start;
	$node->relay(
		'tls', 'smtp://localhost:' . $relay->port,
		tls      => 'require',
		ca_file  => $relay->ca_file,
		username => 'news',
		password => 'secret',
		defined $least ? (tls_min => $least) : ());
	my $found = check('tls');
	like($found, $good ? qr/^well$/ : qr/^tls: /, "$words: as it should be");
	is(logins($relay), $good, "$words: the password is told then only");
	if ($good)
	{
		my ($tls) = $relay->events('tls');
		is($tls->{what}, $version, "$words: by that version");
	}
	$node->sql('DROP SERVER tls CASCADE');
	$relay->stop;
}

# ---- a password in a file

my $secret = $node->basedir . '/password';
sub write_secret
{
	my ($text) = @_;
	open(my $fh, '>', "$secret.new") or die "$secret.new: $!";
	print {$fh} $text;
	close($fh);
	rename("$secret.new", $secret) or die "$secret: $!";
	return;
}

my $filed = Mailman::Relay->new(
	auth          => ['PLAIN'],
	auth_required => 1,
	user          => 'news',
	password      => 'one')->start;
$node->relay('filed', $filed->url, connections => 1, messages => 5);
$node->sql('CREATE USER MAPPING FOR PUBLIC SERVER filed'
	  . " OPTIONS (username 'news', password_file '$secret')");
foreach my $case (
	[ 'that is not there', undef,          'No such file or directory' ],
	[ 'with nothing in it', '',            'it is empty' ],
	[ 'with a blank line',  "\n",          'it is empty' ],
	[ 'of two lines',       "one\ntwo\n", 'it has more than one line' ],
	[ 'with a CR inside',   "o\rne\n",    'it has more than one line' ],
	[ 'with a NUL',         "o\0ne\n",    'it has more than one line' ],
	[ 'that has no end', 'x' x 5000,       'it is too long' ])
{
	my ($words, $text, $fault) = @$case;
	write_secret($text) if defined $text;
	like(
		check('filed'),
		qr/^auth: AUTH: could not read the password file: $fault/,
		"a password file $words");
}
unlink $secret;
system('mkfifo', $secret) == 0 or die 'mkfifo failed';
like(check('filed'), qr/it is not a regular file/,
	'a password file that is a pipe: nobody waits for it');
unlink $secret;
is($filed->connections_opened, 0, 'with none of them is the relay asked');
foreach my $text ("one\n", "one\r\n", 'one')
{
	write_secret($text);
	is(check('filed'), 'well', 'a password file with a password');
}

# it is replaced while a letter is being sent
$newsletter = $node->newsletter(relays => ['filed'], subscriptions => 30);
$letter = $node->letter($newsletter);
$filed->gate(7);
$node->send($letter);
ok($filed->wait_for_held(1), 'a letter is on its way with it');
$filed->set(password => 'two');
write_secret("two\n");
$filed->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'the file is replaced: sent');
is($filed->pairs, 30, 'to everybody');
is(scalar(() = grep { $_->{ok} eq '0' } $filed->events('auth')),
	0, 'no login was refused');

# it is lost: a person must act, and the next letter begins by itself
unlink $secret;
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'), 'the file is lost: paused');
is($node->states($letter)->{pending}, 30, 'and nobody pays');
write_secret("two\n");
my $next = $node->letter($newsletter);
$node->send($next);
ok($node->wait_for_letter($next, 'sent'), 'it is back: the next is sent');
$node->sql("SELECT mailman_resume($letter)");
ok($node->wait_for_letter($letter, 'sent'), 'and that one, when resumed');
is($filed->pairs, 90, 'all of them');
is(scalar($filed->duplicates), 0, 'once');

$node->stop;
done_testing();
