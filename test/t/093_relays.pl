
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

use Mailman::Certs;
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

# ---- our own certificate

my $theirs  = $node->basedir . '/theirs';
my $strange = $node->basedir . '/strange';
mkdir $_ or die "$_: $!" foreach $theirs, $strange;
my %file    = Mailman::Certs->make($theirs);
my %unknown = Mailman::Certs->make($strange);
my $both    = "$theirs/both.pem";
system("cat '$file{client_cert}' '$file{client_key}' > '$both'") == 0
  or die 'cat failed';
foreach my $implicit (0, 1)
{
	my $asks = Mailman::Relay->new(
		starttls      => 1 - $implicit,
		implicit_tls  => $implicit,
		tls_cert      => $file{cert},
		tls_key       => $file{key},
		tls_client_ca => $file{ca})->start;
	$node->relay('asks', $asks->url('localhost'),
		tls => 'require', ca_file => $file{ca});
	my $how = $implicit ? 'smtps' : 'STARTTLS';
	isnt(check('asks'), 'well', "$how: without a certificate");
	foreach my $case (
		[ 'with one', 1, $file{client_cert}, $file{client_key} ],
		[ 'with both in one file', 1, $both, undef ],
		[ 'of another authority', 0, @unknown{qw(client_cert client_key)} ],
		[ 'without its key', 0, $file{client_cert}, undef ],
		[ 'with another key', 0, $file{client_cert}, $unknown{client_key} ],
		[ 'that is not there', 0, "$theirs/nothing", undef ],
		[ 'with a key that is not', 0, $file{client_cert}, "$theirs/no" ])
	{
		my ($words, $good, $cert, $key) = @$case;
		$node->sql(
			"CREATE USER MAPPING FOR PUBLIC SERVER asks OPTIONS (cert_file '$cert'"
			  . (defined $key ? ", key_file '$key'" : '') . ')');
		($good ? \&is : \&isnt)->(check('asks'), 'well',
			"$how: a certificate $words");
		$node->sql('DROP USER MAPPING FOR PUBLIC SERVER asks')
		  unless $words eq 'with both in one file' && $implicit;
		last if $words eq 'with both in one file' && $implicit;
	}
	if ($implicit)
	{
		my $list = $node->newsletter(relays => ['asks'], subscriptions => 5);
		$letter = $node->letter($list);
		$node->send($letter);
		ok($node->wait_for_letter($letter, 'sent'), 'a letter by it: sent');
		is($asks->pairs, 5, 'to everybody');
		is((grep { !defined $_->{client} || $_->{client} ne
			'mailman test client' } grep { defined $_->{what} &&
			$_->{what} =~ /^TLS/ } $asks->events('tls')), 0,
			'only those with a certificate have a session');
		$node->sql(q{ALTER SERVER asks OPTIONS (SET tls 'none',
			SET url 'smtp://localhost:1')});
		like(
			$node->sql_error("SELECT mailman_send($letter)"),
			qr/55000.*cannot be shown a certificate in clear text/s,
			'a certificate and tls none: an error');
	}
	$node->sql('DROP SERVER asks CASCADE');
	$asks->stop;
}

# ---- files of the server are for those who may read them

$node->sql(q{CREATE ROLE tenant;
	GRANT USAGE ON FOREIGN DATA WRAPPER mailman_smtp TO tenant;
	CREATE FUNCTION public.run(text) RETURNS void AS
		'BEGIN EXECUTE $1; END' LANGUAGE plpgsql});
my $tenant = $node->session;
$tenant->query('SET ROLE tenant');
my $url = "url 'smtps://relay.example.com'";

# A statement of the tenant's that is refused, or is not
sub refused
{
	my ($sql, $words) = @_;
	my (undef, $error) = $tenant->try($sql);
	like($error || '',
		qr/42501.*permission denied to set option.*pg_read_server_files/s,
		"refused: $words");
	return;
}

sub granted
{
	my ($sql, $words) = @_;
	my (undef, $error) = $tenant->try($sql);
	is($error || '', '', "granted: $words");
	return;
}

my $make = "CREATE SERVER mine FOREIGN DATA WRAPPER mailman_smtp OPTIONS ($url";
refused("$make, ca_file '/etc/passwd')", 'ca_file of a new server');
refused("CREATE SERVER IF NOT EXISTS mine FOREIGN DATA WRAPPER mailman_smtp"
	  . " OPTIONS ($url, ca_file '/etc/passwd')", 'IF NOT EXISTS');
refused("DO 'BEGIN $make, ca_file ''/x''); END'" =~
	  s/'smtps:[^']*'/'$&'/r, 'in a DO block');
refused("SELECT public.run(\$q\$$make, ca_file '/x')\$q\$)",
	'in a function');
granted("$make)", 'a server of the own');
refused("ALTER SERVER mine OPTIONS (ADD ca_file '/etc/passwd')", 'ADD ca_file');
refused("ALTER SERVER mine OPTIONS (ca_file '/etc/passwd')",
	'ca_file without a word');
refused("ALTER SERVER mine OPTIONS (ADD rate '1/s', ADD ca_file '/x')",
	'ca_file behind another one');
$node->sql("ALTER SERVER mine OPTIONS (ADD ca_file '/etc/ssl/ca.pem')");
granted("ALTER SERVER mine OPTIONS (ADD $_)", "with ca_file: $_")
  foreach "rate '14/s'", "connections '5'", "tls_min '1.3'";
granted("ALTER SERVER mine OPTIONS (SET $url)", 'with ca_file: another url');
refused("ALTER SERVER mine OPTIONS (SET ca_file '/etc/passwd')",
	'another ca_file');
refused("ALTER SERVER mine OPTIONS (SET ca_file '/etc/ssl/ca.pem')",
	'even the same ca_file');
foreach my $option ('password_file', 'cert_file', 'key_file')
{
	my $with = { password_file => "username 'x', ",
		key_file => "cert_file '/x', " }->{$option} || '';
	refused(
		"CREATE USER MAPPING FOR CURRENT_USER SERVER mine"
		  . " OPTIONS ($with$option '/etc/passwd')",
		"$option of a new mapping");
	granted(
		"CREATE USER MAPPING FOR CURRENT_USER SERVER mine"
		  . " OPTIONS (username 'x', password 'y')",
		'a mapping without a file');
	refused(
		'ALTER USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS'
		  . ($option eq 'password_file'
			? " (DROP password, ADD password_file '/etc/passwd')"
			: " (ADD $option '/etc/passwd'"
			  . ($option eq 'key_file' ? ", ADD cert_file '/x')" : ')')),
		"$option of a mapping that is there");
	granted('DROP USER MAPPING FOR CURRENT_USER SERVER mine', 'to drop it');
}
$node->sql("CREATE USER MAPPING FOR PUBLIC SERVER mine"
	  . " OPTIONS (username 'x', password_file '/run/secrets/relay')");
refused("ALTER SERVER mine OPTIONS ($_)",
	"to have the file's password sent another way: $_")
  foreach "SET url 'smtps://evil.example.com'", "ADD tls 'none'",
  "ADD allow_clear_password 'on'", "SET tls_min '1.2'", 'DROP ca_file',
  'DROP tls_min';
granted("ALTER SERVER mine OPTIONS (SET $_)", "but $_")
  foreach "rate '1/s'", "connections '2'";
granted(
	"ALTER USER MAPPING FOR PUBLIC SERVER mine OPTIONS (SET username 'y')",
	'another username for it');
refused(
	"ALTER USER MAPPING FOR PUBLIC SERVER mine"
	  . " OPTIONS (SET password_file '/etc/passwd')",
	'another file');
granted('DROP USER MAPPING FOR PUBLIC SERVER mine', 'to do without it');
granted("ALTER SERVER mine OPTIONS (SET url 'smtps://other.example.com')",
	'and then another url');
$tenant->quit;

# ---- whose mail a relay takes

my $picky = Mailman::Relay->new->start;
$node->relay('picky', $picky->url, from => 'example.com');
$node->sql('GRANT USAGE ON FOREIGN SERVER picky TO tenant');
$node->sql(q{SELECT mailman_grant('tenant', 'send')});
my $mine = $node->newsletter(
	owner         => 'tenant',
	relays        => ['picky'],
	subscriptions => 3);

# (from_address, bounce_address or undef): is the letter refused?
sub is_picky
{
	my ($from, $bounce) = @_;
	$node->sql("UPDATE mailman.newsletter SET from_address = "
		  . Mailman::Cluster::literal($from)
		  . ', bounce_address = '
		  . Mailman::Cluster::literal($bounce)
		  . " WHERE id = $mine");
	my $letter = $node->letter($mine, send_at => 'infinity');
	my $error = $node->sql_error(
		"SET ROLE tenant; SELECT mailman_send($letter)") || '';
	$node->sql('RESET ROLE');
	return $error =~
	  /42501.*relay "picky" does not take mail from the (\w+) of newsletter/s
	  ? $1
	  : $error;
}

foreach my $case (
	[ 'example.com', 'news@example.com', undef, '' ],
	[ 'example.com', 'NEWS@EXAMPLE.COM', undef, '' ],
	[ 'example.com', 'news@example.org', undef, 'from_address' ],
	[ 'example.com', 'news@example.com.example.org', undef, 'from_address' ],
	[ 'example.com', 'news@sub.example.com', undef, 'from_address' ],
	[ 'example.com', 'news@notexample.com', undef, 'from_address' ],
	[ 'example.com', '"x@example.com"@example.org', undef, 'from_address' ],
	[ 'example.com', 'x+example.com@example.org', undef, 'from_address' ],
	[ 'example.com', 'news@example.co', undef, 'from_address' ],
	[ 'example.com', 'news@example.com', 'b@example.com', '' ],
	[ 'example.com', 'news@example.com', 'b@example.org', 'bounce_address' ],
	[ 'example.com', 'news@example.com', 'b+{{verp}}@example.com', '' ],
	[ 'example.com', 'news@example.com', 'b+{{verp}}@example.org',
		'bounce_address' ],
	[ '*.example.com', 'news@sub.example.com', undef, '' ],
	[ '*.example.com', 'news@a.b.example.com', undef, '' ],
	[ '*.example.com', 'news@example.com', undef, 'from_address' ],
	[ '*.example.com', 'news@notexample.com', undef, 'from_address' ],
	[ 'a.test, example.com', 'news@example.com', undef, '' ],
	[ 'a.test,*.b.test , c@c.test', 'c@c.test', undef, '' ],
	[ 'news@example.com', 'News@Example.com', undef, '' ],
	[ 'news@example.com', 'xnews@example.com', undef, 'from_address' ],
	[ 'news@example.com', 'news@example.org', undef, 'from_address' ],
	[ 'news@example.com, b+{{verp}}@example.com', 'news@example.com',
		'b+{{verp}}@example.com', '' ],
	[ 'news@example.com', 'news@example.com', 'b+{{verp}}@example.com',
		'bounce_address' ],
	[ 'xn--mnchen-3ya.example', "news\@m\xc3\xbcnchen.example", undef, '' ],
	[ "m\xc3\xbcnchen.example", 'news@xn--mnchen-3ya.example', undef, '' ],
	[ 'munchen.example', "news\@m\xc3\xbcnchen.example", undef,
		'from_address' ])
{
	my ($from, $address, $bounce, $refused) = @$case;
	$node->sql('ALTER SERVER picky OPTIONS (SET "from" '
		  . Mailman::Cluster::literal($from) . ')');
	is(is_picky($address, $bounce), $refused,
		"from '$from': $address"
		  . (defined $bounce ? ", $bounce" : '')
		  . ($refused ne '' ? ' is refused' : ''));
}
is($picky->status->{opened}, 0, 'nothing has left');

# the worker asks again: an address changed after it was sent, and an option
$node->sql('ALTER SERVER picky OPTIONS (SET "from" \'example.com\')');
$node->sql("UPDATE mailman.newsletter SET from_address = 'news\@example.com',"
	  . " bounce_address = NULL WHERE id = $mine");
$node->subscribe($mine, 40);
foreach my $change (
	"UPDATE mailman.newsletter SET from_address = 'ceo\@example.org'"
	. " WHERE id = $mine",
	"ALTER SERVER picky OPTIONS (SET \"from\" 'example.net')")
{
	my $before = $picky->pairs;
	my $words = $change =~ /^ALTER/ ? 'the option' : 'the address';
	$picky->gate(5);
	$letter = $node->letter($mine);
	$node->sql("SET ROLE tenant; SELECT mailman_send($letter); RESET ROLE");
	ok($picky->wait_for_held(1), "$words is changed in mid-letter");
	$node->sql($change);
	$picky->open_gate;
	ok($node->wait_for_letter($letter, 'paused'), "$words: it pauses");
	like(
		$node->sql(
			"SELECT state_reason FROM mailman.letter WHERE id = $letter"),
		qr/^relay "picky" does not take mail from the from_address of newsletter/,
		"$words: and says why");
	is((grep { $_->{from} !~ /\@example\.com$/ } $picky->messages), 0,
		"$words: nothing went out that must not");
	$node->sql("UPDATE mailman.newsletter SET"
		  . " from_address = 'news\@example.com' WHERE id = $mine");
	$node->sql('ALTER SERVER picky OPTIONS (SET "from" \'example.com\')');
	$node->sql("SELECT mailman_resume($letter)");
	ok($node->wait_for_letter($letter, 'sent'), "$words is mended: sent");
	is($picky->pairs - $before, 43, "$words: everybody has it");
}

$node->stop;
done_testing();
