
#-------------------------------------------------------------------------
#
# 045_health.pl
#	  Relays that fail in the middle of a letter, and what the letters tell
#	  each other about it.
#
# A relay that goes down costs nobody an attempt and is used again when it is
# back, the next one takes over at once, and one that closes its sessions
# early is not down at all.  All letters share what one of them has found
# out: they fail once, they leave it alone together, and one session tries
# it first.  mailman.relay_status tells all that in words.
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
	preload => 1,
	conf => { max_worker_processes => 24, 'mailman.max_workers' => 12 });
my %relay;

# A scripted relay and a server of that name
sub relay
{
	my ($name, $options, %server) = @_;
	$relay{$name} = Mailman::Relay->new(%$options)->start;
	$node->relay($name, $relay{$name}->url, connections => 3, %server);
	return $relay{$name};
}

# A letter to so many over these relays
sub letter
{
	my ($number, @relays) = @_;
	return $node->letter(
		$node->newsletter(relays => \@relays, subscriptions => $number));
}

sub status_sql
{
	my ($name, $columns) = @_;
	return "SELECT $columns FROM mailman.relay_status WHERE relay = '$name'";
}

sub status
{
	return $node->sql(status_sql(@_));
}

# Wait until a relay has failed so often in a row and is left alone for a
# while; when that ends.  What was seen of its failures is kept in %$seen:
# when each of them was.
sub wait_for_failures
{
	my ($name, $number, $left, $seen) = @_;
	my $give_up = time + 180;

	while (time < $give_up)
	{
		my ($failures, $failed, $until, $now) = split(
			/\|/,
			$node->sql(
					'SELECT failures, extract(epoch FROM failed_at),'
				  . ' extract(epoch FROM retry_at),'
				  . ' extract(epoch FROM clock_timestamp())'
				  . ' FROM mailman.relay_state r JOIN pg_foreign_server f'
				  . " ON f.oid = r.server WHERE srvname = '$name'"));
		if ($failures)
		{
			$seen->{$failures} = $failed if $seen;

			# who tries it puts that off for longer than its timeout
			return $until
			  if $failures >= $number
			  && $until - $failed < 400
			  && $until - $now > $left;
		}
		sleep 0.01;
	}
	diag("$name never fails $number times");
	return;
}

# Is everybody delivered, at the first attempt, with no doubt?
sub is_unharmed
{
	my ($letter, $number, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->sql(
				'SELECT count(*), min(e.attempts), max(e.attempts), l.doubts'
			  . ' FROM mailman.letter l'
			  . ' JOIN mailman.newsletter_email e ON e.letter_id = l.id'
			  . " WHERE l.id = $letter GROUP BY l.doubts"),
		"$number|1|1|0",
		"$name: all delivered at the first attempt");
	$node->assert_sums($letter, $name);
	return;
}

# Nobody answers at this port, and mailman_resume() will be called for it
# further down: its waits grow meanwhile
relay(
	'silent',
	{ rules => [ { step => 'connect', drop => 1 } ] },
	connect_timeout => '10min');
# a limit that limits nobody, so that the workers agree on more, and oftener
$node->sql('INSERT INTO mailman.domain_limit (pattern, connections)'
	  . " VALUES ('example.com', 500)");
my $resumed = letter(20, 'silent');
$node->send($resumed);

# ---- down in the middle of a letter

my $solo = relay('solo', {});
is(status('solo', 'state, until, reason, last_error'),
	'up|||', 'relay_status: nothing is known yet');
$solo->set(rules => [ { step => 'MAIL', skip => 20, gate => 'mail' } ]);
my $letter = letter(60, 'solo');
$node->send($letter);
ok($solo->wait_for_held(3), 'a letter on its way');
is(status('solo', 'state, letters, sessions, connections'),
	'up|1|3|3', 'relay_status: up, with all its sessions');
$solo->stop;
ok( $node->wait_for(
		status_sql(
			'solo',
			"state, until > now() - interval '1 s', last_error = reason"),
		'backing off|t|t'),
	'relay_status: backing off, until when and why');
like(
	status('solo', 'reason'),
	qr/^relay "solo": (?:connect|connection) \w+/,
	'in words');
ok( $node->stays(
		"SELECT count(*) FILTER (WHERE state = 'delivered'),"
		  . " count(*) FILTER (WHERE state <> 'delivered' AND attempts > 0)"
		  . " FROM mailman.delivery WHERE letter_id = $letter",
		'20|0',
		2),
	'down: nobody loses an attempt');
my $until = wait_for_failures('solo', 2, 0.2);
$solo->set(rules => []);
my $back = time;
$solo->start;
ok($node->wait_for_letter($letter, 'sent'), 'it is back: sent');
my ($first) = grep { $_->{time} > $back } $solo->messages;
diag(
	sprintf 'the relay was back %.2f s before it was tried again;'
	  . ' the first mail %.2f s after that',
	$until - $back,
	$first->{time} - ($until > $back ? $until : $back));
cmp_ok($first->{time}, '<', $until + 10, 'within a step of the backoff');
cmp_ok($first->{time}, '>', $until - 0.1, 'and not before');
is($solo->pairs, 60, 'everybody has it');
is(scalar($solo->duplicates), 0, 'nobody twice');
is_unharmed($letter, 60, 'down and up');
is( status(
		'solo', 'state, until, reason, last_error LIKE \'relay "solo": %\''),
	'up|||t',
	'relay_status: up, and what was wrong');

# ---- whoever is to try a relay does so

wait_for_failures('silent', 3, 0);
my @tries = map { $_->{time} } $relay{silent}->events('open');
diag(
	sprintf 'a relay that never answers is tried after %s s',
	join(', ', map { sprintf '%.2f', $_ - $tries[0] } @tries[ 1 .. 2 ]));
cmp_ok($tries[2] - $tries[0],
	'<', 60, 'its turn to try is not forgotten by a worker');
$node->sql('DELETE FROM mailman.domain_limit');

# ---- the first of two dies

my $dying = relay('dying', {});
my $other = relay('other', {});
$dying->set(rules => [ { step => 'MAIL', skip => 20, gate => 'mail' } ]);
$letter = letter(60, 'dying', 'other');
$node->send($letter);
ok($dying->wait_for_held(3), 'two relays: the first one is used');
is($other->connections_opened, 0, 'and only that');
my $died = time;
$dying->stop;
ok($node->wait_for_letter($letter, 'sent'), 'the first one dies: sent');
my @rest = map { $_->{time} - $died } $other->messages;
diag(sprintf 'by the second one after %.3f s, all after %.3f s',
	$rest[0], $rest[-1]);
is($dying->pairs + $other->pairs, 60, 'everybody has it');
is(scalar(@rest), 40, 'the rest by the second one');
is(scalar($dying->duplicates) + $other->duplicates, 0, 'nobody twice');
cmp_ok($rest[-1], '<', 10, 'within a second, on a machine that is free');
is_unharmed($letter, 60, 'the first of two dies');
like(
	status('dying', 'state, reason'),
	qr/^backing off\|relay "dying": /,
	'relay_status: the first one');
is(status('other', 'state, last_error'), 'up|', 'and the second one');

# ---- sessions that end early are no trouble

my %ends = (
	'at the end' => {},
	'after 100 mails' => {
		rules =>
		  [ { step => 'dot', after => 99, drop => 1, reply => '250 Ok' } ]
	},
	'by 421 after 10' => { max_mails => 10 });
my %took;
foreach my $when ('at the end', 'after 100 mails', 'by 421 after 10')
{
	my $name = 'ends' . (scalar keys %took);
	my $early =
	  relay($name, { slow => 0.02, %{ $ends{$when} } }, connections => 5);

	$letter = letter(600, $name);
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), "sessions end $when: sent");
	my @messages = $early->messages;
	$took{$when} = $messages[-1]{time} - $messages[0]{time};
	diag(sprintf '600 mails, sessions end %s: %.2f s, %d sessions',
		$when, $took{$when}, $early->connections_opened);
	is($early->pairs, 600, "sessions end $when: everybody has it");
	is(scalar($early->duplicates), 0, "sessions end $when: nobody twice");
	is_unharmed($letter, 600, "sessions end $when");
	is(status($name, 'state, last_error, current_rate, slowed_at'),
		'up|||', "sessions end $when: that is no error");

	# a refusal would show as a second, and then another, without a session
	cmp_ok(
		$took{$when}, '<',
		2 * $took{'at the end'} + 2,
		"sessions end $when: as fast") if $when ne 'at the end';
}

# ---- a login refused

my $strict = relay(
	'strict',
	{
		auth => ['PLAIN'],
		user => 'news',
		password => 'right',
		auth_required => 1,
		rules =>
		  [ { step => 'AUTH', reply => '535 5.7.8 Never seen you before' } ]
	},
	username => 'news',
	password => 'wrong');
my $before = $other->pairs;
foreach my $name ('a login refused', 'the next letter')
{
	$letter = letter(10, 'strict', 'other');
	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent'), "$name: sent by the other");
	is_unharmed($letter, 10, $name);
	like(
		status('strict', 'state, until, reason'),
		qr/^out\|\|relay "strict": .*535 5\.7\.8 Never seen you before$/,
		"$name: relay_status says that it is out, and why");
	is($strict->connections_opened, 1, "$name: it was tried once");
}
is($other->pairs - $before, 20, 'all went by the other');
$strict->set(rules => []);
$node->sql("ALTER USER MAPPING FOR PUBLIC SERVER strict"
	  . " OPTIONS (SET password 'right')");
$letter = letter(10, 'strict', 'other');
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'the password is right: sent');
is($strict->pairs, 10, 'by the one that was out');
ok( $node->wait_for(
		status_sql(
			'strict', "state, reason, last_error ~ 'Never seen you before'"),
		'up||t'),
	'relay_status: up, and what was wrong');

# ---- two letters, and the relay they share fails

my $shared = relay(
	'shared', { slow => 0.05 },
	connections => 4,
	connect_timeout => '10min');
my @letters = map { letter(200, 'shared') } 1 .. 2;
$node->sql(join('; ', map { "SELECT mailman_send($_)" } @letters));
ok( $node->wait_for(
		'SELECT count(DISTINCT letter_id) FROM mailman.newsletter_email'
		  . ' WHERE letter_id IN ('
		  . join(',', @letters) . ')',
		'2'),
	'two letters on their way');
$shared->set(rules => [ { step => 'MAIL', gate => 'mail' } ]);
ok($shared->wait_for_held(4), 'they have all sessions of the relay');
$shared->set(
	rules => [
		{ step => 'MAIL', gate => 'mail' }, { step => 'connect', drop => 1 }
	]);
$shared->reset_connections;

my %failed;
$until = wait_for_failures('shared', 3, 1.5, \%failed);
my $third = letter(20, 'shared');
my $opened = $shared->status->{opened};
$node->send($third);
ok(defined $node->wait_for_worker($third), 'a third letter meanwhile');
my $looked = time;
ok($looked < $until || $failed{3} < $until,
	'whose worker is there before the relay may be tried');
diag(sprintf 'the third letter has a worker %.2f s before that',
	$until - $looked);
sleep 0.01 while time < $until - 0.02;
is($shared->status->{opened},
	$opened, 'it leaves the relay alone, as the others do');
wait_for_failures('shared', 4, 0.5, \%failed);

# what each of them had found out for itself would be a failure, too
foreach my $n (1 .. 3)
{
	next unless $failed{$n} && $failed{ $n + 1 };
	cmp_ok(
		$failed{ $n + 1 } - $failed{$n},
		'>=',
		0.8 * 2**($n - 1),
		"failure $n is that of all");
}
my @tried =
  grep { $_->{time} > $failed{3} } $shared->events('open');
is(scalar(@tried), 1, 'for the fourth it was tried once, by one of them');

# ---- it comes back: one of them tries it

$shared->set(
	slow => 0,
	rules => [ { step => 'MAIL', gate => 'probe' } ]);
$opened = $shared->status->{opened};
ok($shared->wait_for_held(1), 'back: it is tried');
my $alone = 1;
for my $n (1 .. 100)
{
	my $now = $shared->status;
	$alone = 0 if $now->{opened} != $opened + 1 || $now->{active} != 1;
	sleep 0.02;
}
ok($alone, 'by a single session, while three letters wait');
is( $node->sql(
			'SELECT count(*) FROM mailman.letter WHERE id IN ('
		  . join(',', @letters, $third)
		  . ") AND state = 'sending'"),
	'3',
	'which are all in the post');
my $opened_at = time;
$shared->open_gate;
foreach my $letter (@letters, $third)
{
	ok($node->wait_for_letter($letter, 'sent'), 'then they go on');
	is_unharmed($letter, $letter == $third ? 20 : 200, "letter $letter");
}
diag(sprintf 'all sent %.2f s after the relay was found well',
	time - $opened_at);
cmp_ok(time - $opened_at, '<', 25, 'no letter waits for a lease to end');
is($shared->pairs, 420, 'everybody has his');
is(scalar($shared->duplicates), 0, 'nobody twice');
my @sessions = map { $_->{time} }
  grep { $_->{time} > $opened_at - 2 } $shared->events('open');
diag(sprintf 'the next session %.2f s after the first one was accepted',
	$sessions[0] - $opened_at)
  if @sessions;
is(status('shared', 'state, until, reason'),
	'up||', 'relay_status: up again');

# ---- mailman_resume() waits for no clock

# it has failed so often by now that a wait looks like a lease: begin anew
my $failures = 3;
my $silent   = $relay{silent};
$silent->set(rules => []);
$node->sql("SELECT mailman_resume($resumed)");
ok($node->wait_for_letter($resumed, 'sent'), 'it answers at last: sent');
$silent->reset_connections;
$silent->set(rules => [ { step => 'connect', drop => 1 } ]);
$resumed = letter(20, 'silent');
$node->send($resumed);
foreach my $when ('a while after it has failed', 'right after it has failed')
{
	$until = wait_for_failures('silent', $failures, 2);
	$failures =
	  $node->sql("SELECT failures + 1 FROM mailman.relay_state r"
		  . " JOIN pg_foreign_server f ON f.oid = r.server"
		  . " WHERE srvname = 'silent'");
	$opened = $silent->status->{opened};
	my $start = time;
	$node->sql("SELECT mailman_resume($resumed)");
	ok($silent->wait_for_status('opened', $opened + 1),
		"mailman_resume() $when: it is tried");
	diag(
		sprintf 'resumed %.2f s before it was due: tried after %.2f s',
		$until - $start,
		time - $start);
	cmp_ok(time, '<', $until - 0.1, "mailman_resume() $when: at once");
}
$silent->set(rules => []);
$node->sql("SELECT mailman_resume($resumed)");
ok($node->wait_for_letter($resumed, 'sent'), 'it answers, resumed: sent');
is_unharmed($resumed, 20, 'resumed');

is_deeply([ map { $_->violations } values %relay ],
	[], 'nothing against the protocol');
$node->stop;
$_->stop foreach values %relay;
done_testing();
