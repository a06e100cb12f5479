
#-------------------------------------------------------------------------
#
# 095_tokens.pl
#	  Relays that want a token (XOAUTH2, OAUTHBEARER) instead of a password.
#
# A token expires while a letter is being sent, as they do each hour: no
# recipient pays for it, the relay is left alone, everybody can see why, and
# ALTER USER MAPPING is all that is needed for it to go on.  The oracle is the
# relay's log.
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

my $node = Mailman::Cluster->create(
	'main',
	conf => {
		max_worker_processes    => 24,
		'mailman.max_workers'   => 12,
		'mailman.poll_interval' => '100ms'
	});

# A relay of that name, and its foreign server
sub relay
{
	my ($name, $options, %server) = @_;
	my $relay = Mailman::Relay->new(
		auth          => ['XOAUTH2'],
		auth_required => 1,
		user          => 'news@example.com',
		%$options)->start;

	$node->relay($name, $relay->url, %server);
	return $relay;
}

sub mapping
{
	my ($name, $token, $role) = @_;
	$role = 'PUBLIC' unless defined $role;
	$node->sql("CREATE USER MAPPING FOR $role SERVER $name"
		  . " OPTIONS (username 'news\@example.com', token '$token')");
	return;
}

sub new_token
{
	my ($name, $token, $role) = @_;
	$role = 'PUBLIC' unless defined $role;
	$node->sql("ALTER USER MAPPING FOR $role SERVER $name"
		  . " OPTIONS (SET token '$token')");
	return;
}

sub check
{
	my ($name) = @_;
	return $node->sql(
		"SELECT coalesce(string_agg(step || ': ' || reply, '; '), 'well')"
		  . " FROM mailman_check('$name') WHERE NOT ok");
}

sub status
{
	my ($name) = @_;
	return "SELECT state FROM mailman.relay_status WHERE relay = '$name'";
}

# Its events, oldest first
sub told
{
	my ($name) = @_;
	return $node->sql(
		"SELECT string_agg(detail->>'state', ', ' ORDER BY id)"
		  . " FROM mailman.event WHERE detail->>'relay' = '$name'");
}

sub logins
{
	my ($relay, $ok) = @_;
	return scalar(() = grep { $_->{ok} eq $ok } $relay->events('auth'));
}

# ---- which form

foreach my $case (
	[ 'XOAUTH2',     ['XOAUTH2'] ],
	[ 'OAUTHBEARER', ['OAUTHBEARER'] ],
	[ 'OAUTHBEARER', [qw(PLAIN LOGIN XOAUTH2 OAUTHBEARER GSSAPI NTLM)] ])
{
	my ($mechanism, $offered) = @$case;
	my $words = join(' ', @$offered);
	my $relay = relay('form', { auth => $offered, tokens => ['good.one'] });

	mapping('form', 'good.one');
	is(check('form'), 'well', "$words: the token is taken");
	is(join(' ', map { $_->{mechanism} } $relay->events('auth')),
		$mechanism, "$words: by $mechanism");
	new_token('form', 'b4d+/=');
	like(
		check('form'),
		$mechanism eq 'XOAUTH2'
		? qr/^auth: AUTH: 334 \{"status":"401","schemes":"bearer"\}$/
		: qr/^auth: AUTH: 535 5\.7\.8 Token expired or unknown$/,
		"$words: a bad one is refused, in the relay's words");
	$node->sql('DROP SERVER form CASCADE');
	$relay->stop;
}

# it is no password
my $plain = relay('plain', { auth => [ 'PLAIN', 'LOGIN' ] });
mapping('plain', 'good.one');
like(check('plain'), qr/^auth: AUTH: no login mechanism in common$/,
	'PLAIN and LOGIN: not for a token');
is(scalar(() = $plain->events('auth')), 0, 'the token is not told');
my $newsletter = $node->newsletter(relays => ['plain'], subscriptions => 3);
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'paused'),
	'no form in common: a letter pauses, as no other token will help');
is($node->sql(status('plain')), 'out', 'and the relay is out');

# ---- a token that expires in the middle of a letter

my $relay = relay('expires', { tokens => ['one'] },
	connections => 2, messages => 5);
mapping('expires', 'one');
$newsletter = $node->newsletter(relays => ['expires'], subscriptions => 60);
$letter = $node->letter($newsletter);
$relay->gate(12);
$node->send($letter);
ok($relay->wait_for_held(2), 'a letter is on its way');
$relay->set(tokens => ['two']);
$relay->open_gate;
ok($node->wait_for(status('expires'), 'token refused'),
	'its token expires: relay_status says so');
like(
	$node->sql(
		"SELECT reason || '; ' || (until > now())"
		  . " FROM mailman.relay_status WHERE relay = 'expires'"),
	qr/^relay "expires": the token is refused: AUTH: 334 \{.*; true$/,
	'and why, and when it is tried again');
is(told('expires'), 'token refused', 'it is an event');
my $refused = logins($relay, 0);
my $accepted = $relay->status->{accepted};
diag("$accepted accepted, $refused logins refused");
cmp_ok($accepted, '<', 60, 'some have not got it');
ok( $node->stays(
		"SELECT state FROM mailman.letter WHERE id = $letter",
		'sending', 3),
	'the letter waits');
is(logins($relay, 0), $refused, 'and leaves the relay alone');
is( $node->sql(
		'SELECT count(*) FROM mailman.delivery'
		  . " WHERE letter_id = $letter AND state <> 'delivered'"
		  . " AND (attempts <> 0 OR state NOT IN ('pending', 'deferred'))"),
	'0',
	'no recipient pays');
$node->assert_sums($letter, 'while it waits');
my $start = time;
new_token('expires', 'two');
ok($relay->wait_for_messages($accepted + 1), 'a new token: it goes on');
diag(sprintf 'after %.2f s', time - $start);
ok($node->wait_for_letter($letter, 'sent'), 'sent');
is(logins($relay, 0), $refused, 'with the first login');
is($relay->pairs, 60, 'everybody has it');
is(scalar($relay->duplicates), 0, 'once');
is( $node->sql(
		'SELECT max(attempts) FROM mailman.delivery'
		  . " WHERE letter_id = $letter"),
	'1',
	'in one attempt');
ok($node->wait_for(status('expires'), 'up'), 'relay_status: up');
is(told('expires'), 'token refused, up', 'two events in all');
$node->assert_sums($letter, 'after it');

# ---- refreshed in time: sessions that are up stay

$relay->set(tokens => [ 'two', 'three' ]);
$node->sql(q{ALTER SERVER expires OPTIONS (SET messages '0',
	SET connections '1')});
$letter = $node->letter($newsletter);
ok($relay->wait_for_silence, 'the first letter has left the relay');
my $opened = $relay->connections_opened;
$relay->gate(10);
$node->send($letter);
ok($relay->wait_for_held(1), 'another letter is on its way');
new_token('expires', 'three');
sleep 1;
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'a token in time: sent');
is($relay->connections_opened, $opened + 1, 'through one session');

# ---- another relay takes over meanwhile

my $other = relay('other', { auth => [], auth_required => 0 });
$node->sql("UPDATE mailman.newsletter SET relays = '{expires,other}'"
	  . " WHERE id = $newsletter");
$relay->set(tokens => ['four']);
$letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'),
	'expired before the letter: sent through the next relay');
is($other->pairs, 60, 'which has all of it');
ok($node->wait_for(status('expires'), 'token refused'),
	'and relay_status tells of the first');

# ---- one role's token is not another's

$node->sql(
	q{CREATE ROLE alice; CREATE ROLE bob; SELECT mailman_grant('alice', 'send');
	SELECT mailman_grant('bob', 'send')});
my $shared = relay('shared', { tokens => ['good.bob'] });
$node->sql('GRANT USAGE ON FOREIGN SERVER shared TO alice, bob');
mapping('shared', "$_.old", $_) foreach 'alice', 'bob';
my (%letter, %list);
foreach my $role ('alice', 'bob')
{
	$list{$role} = $node->newsletter(
		relays        => ['shared'],
		owner         => $role,
		pattern       => "$role-%s\@example.com",
		subscriptions => 20);
	$letter{$role} = $node->letter($list{$role});
	$node->sql(
		"SET ROLE $role; SELECT mailman_send($letter{$role}); RESET ROLE");
}
ok($shared->wait_for_silence && $node->wait_for(status('shared'),
		'token refused'), 'two roles with old tokens');
sleep 2;
$refused = logins($shared, 0);
diag("$refused logins refused");
cmp_ok($refused, '<=', 4, 'neither makes the other try again and again');
new_token('shared', 'good.bob', 'bob');
ok($node->wait_for_letter($letter{bob}, 'sent'),
	'one of them gets a new one: sent');
is($node->letter_state($letter{alice}), 'sending', 'the other one waits');
is( join(' ', sort { $a cmp $b } keys %{ $shared->recipients }),
	join(' ', sort map { "bob-$_\@example.com" } 1 .. 20),
	'nothing of the other letter has gone out');
$shared->set(tokens => ['good.alice']);
new_token('shared', 'good.alice', 'alice');
ok($node->wait_for_letter($letter{alice}, 'sent'), 'then that one, too');
is($shared->pairs, 40, 'both lists have theirs');
is(scalar($shared->duplicates), 0, 'once');
$node->assert_sums($letter{$_}, $_) foreach sort keys %letter;

$node->stop;
done_testing();
