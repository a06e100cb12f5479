
#-------------------------------------------------------------------------
#
# 038_invalidations.pl
#	  Fresh processes at work while somebody changes the tables' properties.
#
#	CRASH_SECONDS=120 TESTS=test/t/038_invalidations.pl test/run-tests
#
# ALTER TABLE and VACUUM make every process rebuild what it remembers of a
# table, as soon as it looks.  One that holds a pointer into that over the first
# look for something else reads freed memory, and a crash of one process is one
# of the whole server.  Only processes that have yet to look for everything can
# show it: each connection does one thing, each worker sends one letter.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Cluster;
use Mailman::Relay;

my $seconds = $ENV{CRASH_SECONDS} || 10;
my $relay   = Mailman::Relay->new->start;
my $node    = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		restart_after_crash   => 'on',
		max_worker_processes  => 16,
		'mailman.max_workers' => 8
	});
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->relay('relay', $relay->url, connections => 4);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => 1000);
my $letter = $node->letter($newsletter);
$node->sql(
	qq{
	CREATE TABLE link (n int PRIMARY KEY, token text);
	INSERT INTO link
	SELECT row_number() OVER (ORDER BY id),
		   substring(mailman_unsubscribe_url($letter, id), '[^/]+\$')
	  FROM mailman.subscription});

sub script
{
	my ($name, $sql) = @_;
	append_to_file("$dir/$name.sql", $sql);
	return;
}

script('unsubscribe', <<'END');
\set n random(1, 1000)
SELECT mailman_unsubscribe(token) FROM link WHERE n = :n;
END
script('send', <<'END');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (:newsletter, 'News', 'Hello') RETURNING id \gset
\set n random(1, 1000)
SELECT mailman_send(:id, ARRAY[:n]::bigint[]);
END
script('alter', <<'END');
ALTER TABLE mailman.letter SET (autovacuum_vacuum_threshold = 50);
END
script('vacuum', <<'END');
INSERT INTO mailman.letter (newsletter_id, subject, text_body)
VALUES (:newsletter, 'Draft', 'Hello');
VACUUM mailman.letter;
END

# of all that a worker uses; rows come and go meanwhile, so VACUUM has news
my @used = qw(letter subscription delivery newsletter_email posting newsletter
  attachment partial test event relay_state domain_state domain_limit
  dkim_key origin secret);
script('alter_all', join('',
	map { "ALTER TABLE mailman.$_ SET (autovacuum_vacuum_threshold = 50);\n" }
	  @used));
script('vacuum_all', join('',
	"UPDATE link SET token = token WHERE n < 10;\n",
	map { "VACUUM (ANALYZE) mailman.$_;\n" } @used));

# Has one begun in the background; its pid
sub pgbench
{
	my ($name, @arguments) = @_;
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	return $pid if $pid;
	open(STDOUT, '>', "$dir/$name.log") or POSIX::_exit(127);
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
	exec('pgbench', '-n', @arguments, '-T', $seconds,
		'-D', "newsletter=$newsletter", '-f', "$dir/$name.sql",
		$node->connstr('postgres'))
	  or POSIX::_exit(127);
}

# A server that has crashed before is to come back first
sub wait_for_server
{
	my $until = time + 180;

	delete $node->{mailman_session};
	while (time < $until)
	{
		return if eval { $node->sql('SELECT 1'); 1 };
		delete $node->{mailman_session};
		sleep 0.1;
	}
	die 'the server does not come back';
}

# Several beside each other, {name => [arguments]}; how often each was done
sub together
{
	my ($name, %scripts) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_server();
	my $position = $node->log_position;
	my %pids = map { $_ => pgbench($_, @{ $scripts{$_} }) } keys %scripts;
	my %done;

	foreach my $script (sort keys %pids)
	{
		waitpid($pids{$script}, 0);
		my $log = slurp_file("$dir/$script.log");
		($done{$script}) =
		  $log =~ /^number of transactions actually processed: (\d+)/m;
		is($?, 0, "$name: $script") or diag($log);
		cmp_ok($done{$script} || 0, '>=', 5, "$name: $script has run");
	}
	my $crashes =
	  $node->log_lines(qr/was terminated by signal|TRAP: /, $position);
	is($crashes, 0, "$name: crashes in $seconds s");
	diag("$name: $seconds s, crashes $crashes, "
		  . join(', ', map { "$_ " . ($done{$_} || 0) } sort keys %done));
	return \%done;
}

together(
	'readers beside ALTER TABLE',
	unsubscribe => [ '-C', '-c', 3 ],
	alter       => []);
together(
	'readers beside VACUUM',
	unsubscribe => [ '-C', '-c', 3 ],
	vacuum      => []);

# As many letters as workers can be had for; nobody may have left by then
wait_for_server();
$node->sql(q{UPDATE mailman.subscription SET state = 'active'});
my $done = together(
	'workers beside both',
	send       => [ '-c', 2, '-R', 15 ],
	alter_all  => [],
	vacuum_all => []);

my $sent = 'subject = \'News\'';
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE $sent AND state <> 'sent'",
		'0'),
	'all letters are sent');
is( $node->sql("SELECT count(*) FROM mailman.letter WHERE $sent"),
	$done->{send}, 'those that were posted');
is($relay->pairs, $done->{send}, 'the relay has one mail of each');
is_deeply([ $relay->duplicates ], [], 'and none twice');
is($node->log_lines(qr/was terminated by signal|TRAP: /, 0),
	0, 'and nothing crashed');

$node->stop;
$relay->stop;
done_testing();
