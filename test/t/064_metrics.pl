
#-------------------------------------------------------------------------
#
# 064_metrics.pl
#	  The queries for prometheus-postgres-exporter, run by the exporter itself
#	  as a role with the grants their file asks for, against a letter that is
#	  held in the middle.
#
# Skipped if there is no exporter: its Debian package starts a server on all
# interfaces, which no test should bring along.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my ($exporter) =
  grep { -x }
  map { ("$_/prometheus-postgres-exporter", "$_/postgres_exporter") }
  split(/:/, $ENV{PATH});
plan skip_all => 'prometheus-postgres-exporter is not installed'
  unless defined $exporter;

my $file = 'src/mailman-metrics.yaml';
my $yaml = slurp_file($file);
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf => { 'mailman.max_workers' => 3, 'mailman.retry_schedule' => '1h' });
my $relay = Mailman::Relay->new->start;

# ---- the rights are those the file asks for, and no more

my @grants = $yaml =~ /^#\t(GRANT .*;)$/mg;
is(scalar(@grants), 5, 'the file tells which rights it needs');
$node->sql('CREATE ROLE exporter LOGIN BYPASSRLS');
$node->sql($_) foreach @grants;

# ---- a letter of 50: 5 deferred, the others held at the gate after 20

$node->relay('relay', $relay->url, connections => 2, rate => '500/s');
$node->relay('spare', 'smtp://127.0.0.1:1', connections => 7);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 50);
my $letter = $node->letter($newsletter);
$relay->set(
	rules => [
		{
			step => 'RCPT',
			match => '^r[1-5]@',
			reply => '451 4.7.1 Come back later'
		},
		{ step => 'dot', skip => 20, gate => 'held' }
	]);
$node->send($letter);
ok($relay->wait_for_held(1), 'the letter is held in the middle');
ok( $node->wait_for(
		"SELECT mail_order->>'delivered' || '|' || (mail_order->>'deferred')"
		  . " FROM mailman.letter WHERE id = $letter", '20|5'),
	'after 20 delivered and 5 deferred');

# ---- the exporter

my $port = PostgreSQL::Test::Cluster::get_free_port();
$ENV{DATA_SOURCE_NAME} = sprintf(
	"host='%s' port=%d user=exporter dbname=postgres sslmode=disable",
	$node->host, $node->port);
my $log = '';
my $running = IPC::Run::start(
	[
		$exporter, "--web.listen-address=127.0.0.1:$port",
		'--disable-default-metrics', '--disable-settings-metrics',
		"--extend.query-path=$file"
	],
	'<', \undef, '>&', \$log);

END
{
	# what a test's exit says is not for its children to change
	local $?;
	$running->kill_kill if $running;
}

# name{labels but server} => value
sub metrics
{
	my $response = HTTP::Tiny->new(timeout => 30)
	  ->get("http://127.0.0.1:$port/metrics");
	my %value;

	return unless $response->{success};
	foreach my $line (split(/\n/, $response->{content}))
	{
		next unless $line =~ /^(mailman_\w+)\{(.*)\} (\S+)$/;
		my ($name, $labels, $number) = ($1, $2, $3);
		$labels = join(',', grep { !/^server=/ } split(/,/, $labels));
		$value{"$name\{$labels}"} = $number;
	}
	$value{errors} = $1
	  if $response->{content} =~
	  /^pg_exporter_last_scrape_error (\S+)$/m;
	return \%value;
}

# Look until it is so, as the first scrape may find the server not there yet
sub wait_for_metric
{
	my ($name, $expected) = @_;
	my $until = time + 180;
	my $value;

	do
	{
		my $metrics = metrics();
		$value = $metrics ? $metrics->{$name} : undef;
		return 1 if defined $value && $value == $expected;
		sleep 0.1;
	} while (time < $until);
	diag("$name is " . (defined $value ? $value : 'not there'));
	return 0;
}

my $one = qq(letter="$letter",newsletter="$newsletter");
ok(wait_for_metric('mailman_letters_open{state="sending"}', 1),
	'the exporter runs the queries');
my $m = metrics();
is($m->{errors}, 0, 'none of them fails');
is($m->{'mailman_letters_open{state="paused"}'}, 0, 'a state without letters');
my $sum = 0;
foreach my $state (
	qw(pending sending deferred delivered failed skipped doubtful))
{
	my $value = $m->{"mailman_recipients_count{$one,state=\"$state\"}"};

	ok(defined $value, "recipients that are $state");
	$sum += $value;
}
is($sum, 50, 'which are all');
is($m->{"mailman_recipients_count{$one,state=\"delivered\"}"},
	20, 'delivered so far');
is($m->{"mailman_recipients_count{$one,state=\"deferred\"}"},
	5, 'deferred so far');
is($m->{"mailman_letter_doubts{$one}"},      0, 'no doubts');
is($m->{"mailman_letter_workers{$one}"},     1, 'its first worker');
is($m->{"mailman_letter_failed_runs{$one}"}, 0, 'which has not failed');
is($m->{"mailman_letter_oldest_due_seconds{$one}"},
	0, 'nobody is due: the schedule says an hour');
is($m->{'mailman_relay_up{relay="relay"}'}, 1, 'the relay is up');
is($m->{'mailman_relay_out{relay="relay"}'}, 0, 'and not out');
is($m->{'mailman_relay_letters{relay="relay"}'}, 1, 'a letter uses it');
is($m->{'mailman_relay_connections{relay="spare"}'},
	7, 'sessions another may have');
is($m->{'mailman_relay_rate_limit{relay="relay"}'}, 500, 'its rate');
is($m->{'mailman_relay_rate_limit{relay="spare"}'}, 'NaN', 'no rate');
cmp_ok($m->{'mailman_relay_sessions{relay="relay"}'}, '>=', 1, 'its sessions');
is($m->{'mailman_line_waiting{}'},         0, 'nobody waits for a place');
is($m->{'mailman_line_longest_seconds{}'}, 0, 'for no time');
is($m->{'mailman_workers_here{}'},        1, 'a worker');
is($m->{'mailman_workers_running{}'},     1, 'of all');
is($m->{'mailman_workers_dispatchers{}'}, 1, 'the dispatcher');
is($m->{'mailman_workers_max{}'},         3, 'the most there may be');

# ---- another waits for the only place

$node->sql('ALTER SYSTEM SET mailman.max_workers = 1');
$node->reload;
ok(wait_for_metric('mailman_workers_max{}', 1), 'there is one place');
my $second = $node->letter($newsletter);
$node->send($second);
ok(wait_for_metric('mailman_line_waiting{}', 1), 'another letter waits for it');
cmp_ok(metrics()->{'mailman_line_longest_seconds{}'},
	'>', 0, 'for some time already');
$node->sql("SELECT mailman_cancel($second)");
$node->sql('ALTER SYSTEM RESET mailman.max_workers');
$node->reload;
ok(wait_for_metric('mailman_line_waiting{}', 0), 'until there are more');

# ---- what changes

$node->sql("SELECT mailman_pause($letter)");
$relay->open_gate;
ok($node->wait_for_no_worker($letter), 'paused');
ok(wait_for_metric('mailman_letters_open{state="paused"}', 1),
	'the metrics see it');
is(metrics()->{'mailman_workers_here{}'}, 0, 'and that its worker has gone');

# due since two minutes and nobody sends it
$node->sql("SELECT mailman_resume($letter)");
ok($node->wait_for(
		"SELECT mail_order->>'delivered' FROM mailman.letter WHERE id = $letter",
		'45'),
	'the others get it');
$node->sql("SELECT mailman_pause($letter)");
ok($node->wait_for_no_worker($letter), 'paused again');
$node->sql("INSERT INTO mailman.subscription (newsletter_id, email)"
	  . " SELECT $newsletter, 'x' || n || '\@example.com'"
	  . ' FROM generate_series(1, 20000) n');
$node->sql(
	'SET session_replication_role = replica;'
	  . ' INSERT INTO mailman.delivery (letter_id, subscription_id, due_at)'
	  . " SELECT $letter, id, CASE WHEN email ~ '^x[1-9]\@'"
	  . " THEN now() - interval '2 min' END FROM mailman.subscription"
	  . " WHERE email LIKE 'x%'; RESET session_replication_role");
cmp_ok(metrics()->{"mailman_letter_oldest_due_seconds{$one}"},
	'>=', 120, 'the age of the oldest that is due');

# ---- they are cheap: none counts deliveries, with as many as one likes

$node->sql('VACUUM ANALYZE mailman.delivery');
my @queries = $yaml =~ /query: \|\n(.*?)^  metrics:/msg;
is(scalar(@queries), 6, 'six queries');
my @plans = map { $node->sql("SET ROLE exporter; EXPLAIN $_") } @queries;
is(scalar(grep { /Seq Scan on delivery/ } @plans),
	0, 'none reads all deliveries');
is(scalar(grep { /Index.* Scan using delivery_due_idx/ } @plans),
	2, 'two look for the first that is due');
$node->sql('RESET ROLE');

# ---- and nothing else is to be seen with those rights

foreach my $secret ('subject FROM mailman.letter', '* FROM mailman.delivery',
	'email FROM mailman.subscription', '* FROM mailman.newsletter_email')
{
	like(
		$node->sql_error("SET ROLE exporter; SELECT $secret"),
		qr/permission denied/, "not SELECT $secret");
	$node->sql('RESET ROLE');
}
$node->stop;
done_testing();
