
#-------------------------------------------------------------------------
#
# letter.pl
#	  One whole letter in a server that has no caches.
#
#	DISCARD=1 PG_CONFIG=... TESTS=test/cassert/letter.pl test/run-tests
#
# A few recipients, and everything that can be: a policy, a limit, a partial, an
# attachment, a signature, a test, a relay that rejects one and is asked again
# for another, a pause in the middle, a reader who leaves meanwhile, and a relay
# that moves.  That last one must be noticed although every look into a catalog
# says that relays may have changed.
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
	preload   => 1,
	extension => 0,
	conf      => {
		max_worker_processes      => 16,
		restart_after_crash       => 'off',
		'mailman.turn_size'       => 4,
		'mailman.retry_schedule'  => '1s',
		'mailman.policy_timeout'  => '1min',
		'mailman.shutdown_grace'  => '1min'
	});
my ($assertions, $discard) =
  split(/\|/,
	$node->sql("SELECT current_setting('debug_assertions'),"
		  . " current_setting('debug_discard_caches')"));

if ($assertions ne 'on' || $discard ne '1')
{
	$node->stop;
	plan skip_all => 'needs a server with assertions, and DISCARD=1';
}

# What only looks, again and again, need not be slow
sub look
{
	my ($looks) = @_;
	$node->sql('SET debug_discard_caches = 0');
	my $result = $looks->();
	$node->sql('RESET debug_discard_caches');
	return $result;
}

my $key = "-----BEGIN PRIVATE KEY-----\n"
  . "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
  . "-----END PRIVATE KEY-----\n";
my @rules = (
	{ step => 'RCPT', match => '^r3@', reply => '550 5.7.1 No' },
	{ step => 'RCPT', match => '^r4@', first => 1, reply => '450 4.2.0 Later' });
my %relay = map { $_ => Mailman::Relay->new(save => 1)->start } qw(a b c);

# the script: everywhere else it is run with caches
$node->sql('SET cassert.script = 1; CREATE EXTENSION mailman;'
	  . ' RESET cassert.script');
$node->relay($_, $relay{$_}->url, connections => 2) foreach qw(a b);
$node->sql(q{
	CREATE ROLE editor;
	GRANT USAGE ON FOREIGN SERVER a, b TO editor;
	CREATE FUNCTION public.policy(l mailman.letter, s mailman.subscription)
	RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		CASE s.name
		WHEN 'Reader 5' THEN
			RETURN '{"action": "skip", "reason": "not today"}';
		WHEN 'Reader 6' THEN
			RETURN '{"relay": "b"}';
		ELSE
			RETURN jsonb_build_object('variables',
				jsonb_build_object('offer', 'for ' || s.name));
		END CASE;
	END $$;
	ALTER FUNCTION public.policy OWNER TO editor;
	INSERT INTO mailman.domain_limit (pattern, connections)
	VALUES ('example.com', 2)});
my $newsletter = $node->newsletter(
	relays        => [ 'a', 'b' ],
	owner         => 'editor',
	policy        => 'public.policy',
	subscriptions => 12);
my $letter = $node->letter($newsletter,
	html_body => '{{#data}}<p>{{>greeting}} {{variables.offer}}</p>{{/data}}'
	  . '<img src="cid:logo">');
$node->sql("SELECT mailman_set_dkim_key($newsletter, "
	  . Mailman::Cluster::literal($key) . ", 's1')");
$node->sql(qq{
	UPDATE mailman.newsletter SET dkim_domain = 'example.com',
		dkim_selector = 's1';
	INSERT INTO mailman.partial
	VALUES ($newsletter, 'greeting', 'Dear {{subscription.email}}');
	INSERT INTO mailman.attachment (letter_id, name, content_type, content,
		content_id)
	VALUES ($letter, 'logo.png', 'image/png', '\\x89504e47', 'logo')});

# ---- before it

like($node->sql("SELECT mailman_preview($letter, 1)"),
	qr/^DKIM-Signature: .*^Subject: News for Reader 1\r?$/ms, 'a preview');
is( $node->sql(
		'SELECT count(*), count(error), min(subject) FROM'
		  . " mailman_preview_all($letter)"),
	'12|1|News for Reader 1',
	'all previews, of one the policy says no');
$node->sql("SELECT mailman_test($letter, 'boss\@example.net', 2)");
ok( look(
		sub {
			$node->wait_for(
				"SELECT state FROM mailman.test WHERE letter_id = $letter",
				'delivered');
		}),
	'a test is sent');

# ---- sent, paused, moved and left in the middle

$relay{$_}->set(rules => [@rules]) foreach qw(b c);
$relay{a}->set(
	rules => [ @rules, { step => 'dot', skip => 2, gate => 'middle' } ]);
is($node->send($letter), 12, 'mailman_send()');
ok($relay{a}->wait_for_held(1), 'it is on its way');
my $link = $node->sql("SELECT mailman_unsubscribe_url($letter, 12)");
$node->sql("ALTER SERVER a OPTIONS (SET url '" . $relay{c}->url . "')");
is($node->sql("SELECT mailman_pause($letter)"), 'paused', 'paused');
$relay{a}->set(rules => [@rules]);
ok(look(sub { $node->wait_for_no_worker($letter) }), 'its worker ends');
look(sub { $node->assert_sums($letter, 'paused') });
my ($token) = $link =~ m,([^/]+)$,;
is($node->sql("SELECT mailman_unsubscribe('$token')"), 't',
	'a reader leaves');
my $there = $relay{a}->pairs;
is($node->sql("SELECT mailman_resume($letter)"), 'sending', 'resumed');
ok(look(sub { $node->wait_for_letter($letter, 'sent') }), 'sent');
look(sub { $node->assert_sums($letter, 'sent') });

# ---- who has it

my @reached = map { "r$_\@example.com" } 1, 2, 4, 6 .. 11;
my %times;
foreach my $relay (values %relay)
{
	my $got = $relay->recipients;
	$times{$_} += $got->{$_} foreach keys %$got;
}
is( join(' ', map { "$_:$times{$_}" } sort keys %times),
	join(' ', map { "$_:1" } sort 'boss@example.net', @reached),
	'each has it once');
is($relay{a}->pairs, $there, 'nothing more goes where the relay was');
cmp_ok($relay{c}->pairs, '>', 0, 'but to where it is');
is_deeply(
	$relay{b}->recipients,
	{ 'r6@example.com' => 1 },
	'one goes by the relay of the policy');
is( $node->sql(
		"SELECT state, count(*) FROM mailman.delivery WHERE letter_id = $letter"
		  . ' GROUP BY state ORDER BY state::text'),
	"delivered|9\nfailed|1\nskipped|2",
	'as the tables say');

# ---- and one that is scheduled, whose recipients are added by a scout's worker

my $second = $node->letter($newsletter,
	subject   => 'More',
	text_body => 'More',
	send_at   => '2000-01-01');
is($node->send($second), 11, 'a letter that is due');
ok(look(sub { $node->wait_for_letter($second, 'sent') }), 'is sent');
$node->sql('SELECT mailman_forget(1)');
$node->sql("CALL mailman_purge('0 days')");
is($node->sql('SELECT count(*) FROM mailman.delivery'), '0', 'all purged');

$node->stop;
unlike(slurp_file($node->logfile), qr/TRAP:|terminated by signal|PANIC/,
	'and nothing was found');
$_->stop foreach values %relay;
done_testing();
