
#-------------------------------------------------------------------------
#
# 037_tables.pl
#	  A function locks the tables that it uses, and no others.
#
# CREATE INDEX holds a table in SHARE mode, for hours if it is large.
# What does not write that table goes on meanwhile: readers leave and come,
# letters are sent.  Each function is called here, and what it has locked is
# looked at: RowExclusiveLock where it writes, and nothing on what it does not
# use.
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

my $relay = Mailman::Relay->new->start;
my $node  = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		'mailman.lock_timeout'  => '200ms',
		'mailman.poll_interval' => '100ms',
		'mailman.max_workers'   => 8
	});
my $locker = $node->session;
my $caller = $node->session;

$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 10);
my ($one, $two) = split(
	/\n/,
	$node->sql(
		    'SELECT id FROM mailman.subscription'
		  . " WHERE newsletter_id = $newsletter ORDER BY id LIMIT 2"));
my $first = $node->letter($newsletter);
$node->send($first);
ok($node->wait_for_letter($first, 'sent'), 'a letter is sent');
ok($node->wait_for_no_worker, 'and nobody is at work');
my $token = $node->sql(
	"SELECT regexp_replace(mailman_unsubscribe_url($first, $one), '.*/', '')");

# ---- what each locks

# Tables that a statement has locked, with a star if for writing
sub locks
{
	my ($statement, %options) = @_;
	my $pid = $caller->backend;

	$caller->query('BEGIN');
	$caller->query($options{before}) if $options{before};
	my (undef, $error) = $caller->try($statement);
	my $locked = $node->sql(qq{
		SELECT string_agg(name || CASE WHEN writes THEN '*' ELSE '' END, ' '
						  ORDER BY name)
		  FROM (SELECT relname AS name, bool_or(mode = 'RowExclusiveLock') AS writes
				  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
				 WHERE l.pid = $pid AND c.relnamespace = 'mailman'::regnamespace
				   AND c.relkind = 'r' GROUP BY relname) l});
	$caller->query('ROLLBACK');
	diag($error) if defined $error;
	return $locked;
}

my $draft = $node->letter($newsletter);
my $later = $node->letter($newsletter,
	send_at => $node->sql("SELECT now() + interval '1 day'"));
$node->send($later);
foreach my $case (
	[ "SELECT mailman_unsubscribe('$token')", 'secret subscription*' ],
	[
		"SELECT mailman_subscribe($newsletter, 'new\@example.com')",
		'forgotten newsletter secret subscription*'
	],
	[
		"SELECT mailman_subscribe($newsletter, 'new\@example.com',"
		  . ' again => true)',
		'forgotten* newsletter secret subscription*'
	],
	[
		"SELECT mailman_send($first, '{$one}')",
		'attachment delivery* dkim_key letter* newsletter origin* partial'
		  . ' posting* secret subscription'
	],
	# of a draft the state changes, which is an event
	[
		"SELECT mailman_send($draft)",
		'attachment delivery* dkim_key event* letter* newsletter origin*'
		  . ' partial posting* secret subscription'
	],
	[ "SELECT mailman_pause($later)", 'event* letter* newsletter posting' ],
	[
		"SELECT mailman_resume($later)",
		'attachment delivery* dkim_key letter* newsletter partial secret'
	],
	[
		"SELECT mailman_cancel($later)",
		'delivery* event* letter* newsletter newsletter_email posting*'
	],
	[
		"SELECT mailman_retry($first)",
		'delivery* letter newsletter posting* subscription'
	],
	[
		"SELECT mailman_test($draft, 'x\@example.com')",
		'attachment delivery dkim_key letter newsletter origin* partial'
		  . ' secret subscription test*'
	],
	[
		"SELECT mailman_forget($two)",
		'delivery* forgotten* letter newsletter newsletter_email* secret'
		  . ' subscription* test*'
	],
	[ "SELECT mailman_set_dkim_key($newsletter, NULL, 's')",
		'dkim_key* newsletter' ],
	[
		"DELETE FROM mailman.letter WHERE id = $draft",
		'attachment* delivery letter* posting test*'
	])
{
	my ($statement, $expected) = @$case;
	is(locks($statement), $expected, "$statement: its tables");
}

# ---- somebody builds indexes

$locker->query(
	'BEGIN; LOCK TABLE mailman.newsletter_email, mailman.attachment,'
	  . ' mailman.partial, mailman.dkim_key, mailman.test,'
	  . ' mailman.forgotten, mailman.secret IN SHARE MODE');
$caller->query("SET lock_timeout = '2s'");
is($caller->query("SELECT mailman_unsubscribe('$token')"),
	't', 'SHARE elsewhere: a reader leaves');
like($caller->query("SELECT mailman_subscribe($newsletter, 'a\@example.com')"),
	qr/^\d+$/, 'SHARE elsewhere: another comes');
is($caller->query("SELECT mailman_send($draft)"),
	'10', 'SHARE elsewhere: a letter is posted');
is($caller->query("SELECT mailman_pause($later)"),
	'paused', 'SHARE elsewhere: another is paused');
ok($relay->wait_for_messages(10 + 1),
	'SHARE elsewhere: a mail of the letter leaves');
$locker->query('ROLLBACK');
ok($node->wait_for_letter($draft, 'sent'), 'then it is sent');
$node->assert_sums($draft, 'SHARE elsewhere');
$caller->query("SELECT mailman_cancel($later)");

# a letter needs subscriptions, and writes to them only if a mailbox is gone
my $quiet = $node->letter($newsletter);
$locker->query('BEGIN; LOCK TABLE mailman.subscription, mailman.test,'
	  . ' mailman.origin IN SHARE MODE');
my $poster = $node->session;
$poster->start("SELECT mailman_send($quiet)");
ok( $node->wait_for(
		'SELECT wait_event_type FROM pg_stat_activity WHERE pid = '
		  . $poster->backend,
		'Lock'),
	'SHARE on origin: mailman_send() waits for it');
$locker->query('ROLLBACK');
is($poster->result, '10', 'and goes on');
ok($node->wait_for_letter($quiet, 'sent'), 'sent');
$locker->query('BEGIN; LOCK TABLE mailman.subscription IN SHARE MODE');
my $more = $node->letter($newsletter);
$node->send($more);
ok($node->wait_for_letter($more, 'sent'),
	'SHARE on subscription: a letter is sent all the same');
$node->assert_sums($more, 'SHARE on subscription');
$locker->query('ROLLBACK');

ok($node->wait_for_no_worker, 'over');
is_deeply([ $relay->violations ], [], 'nothing against the protocol');
is(scalar($node->log_lines('was not locked before', 0)),
	0, 'no statement has written what its function had not locked');

$node->stop;
$relay->stop;
done_testing();
