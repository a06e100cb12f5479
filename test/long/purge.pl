
#-------------------------------------------------------------------------
#
# purge.pl
#	  A million deliveries of long ago are purged while letters are sent.
#
#	TESTS=test/long/purge.pl test/run-tests
#
# It must be done within five minutes, and no letter may wait for it.  How fast
# letters are sent before, beside and after it is told, and not judged: the
# machine is not ours alone.
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
use Mailman::Sink;

plan skip_all => 'smtp-sink (package postfix) is not installed'
  unless Mailman::Sink->available;

my $million = 1_000_000;
my $number  = 50_000;
my $sink    = Mailman::Sink->new->start;
my $node    = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		fsync          => 'on',
		shared_buffers => '512MB',
		max_wal_size   => '2GB'
	});

$node->relay('sink', $sink->url, connections => 10);
my $big   = $node->newsletter(relays => ['sink']);
my $small = $node->newsletter(
	relays        => ['sink'],
	subscriptions => $number,
	pattern       => 's%s@example.com');
my $person = $node->session(notices => 1, timeout => 1800);
my $old    = $node->letter($big);

# what a letter to a million leaves behind, without sending it
$person->query(qq{
	SET session_replication_role = replica;
	INSERT INTO mailman.subscription (newsletter_id, email)
	SELECT $big, 'r' || n || '\@example.com'
	  FROM generate_series(1, $million) n;
	INSERT INTO mailman.delivery
		(letter_id, subscription_id, state, attempts, code)
	SELECT $old, id, 'delivered', 1, 250 FROM mailman.subscription
	 WHERE newsletter_id = $big ORDER BY id;
	INSERT INTO mailman.newsletter_email (letter_id, subscription_id, sent_at,
		bytes, revision, attempts, code, duration, address, message_id, relay,
		reply)
	SELECT $old, id, now(), 4000, 1, 1, 250, '10 ms', email,
		format('<%s.%s\@example.com>', id, md5(id::text)), 'sink', '2.0.0 Ok'
	  FROM mailman.subscription WHERE newsletter_id = $big ORDER BY id;
	UPDATE mailman.letter SET state = 'sent', sender = current_user,
		state_at = now() - interval '100 days', mail_order = mail_order
		|| '{"recipients": $million, "delivered": $million}'
	 WHERE id = $old;
	RESET session_replication_role});
$person->query('VACUUM ANALYZE mailman.delivery, mailman.newsletter_email,'
	  . ' mailman.subscription');
$person->query('CHECKPOINT');
$node->assert_sums($old, 'a letter of long ago');

# Send one; mails per second
sub send_one
{
	my ($name) = @_;
	my $letter = $node->letter($small);
	my $start = time;

	$node->send($letter);
	ok($node->wait_for_letter($letter, 'sent', 600), "a letter $name: sent");
	my $rate = $number / (time - $start);
	$node->assert_sums($letter, $name);
	is($node->sql("SELECT run, doubts FROM mailman.letter WHERE id = $letter"),
		'1|0', "a letter $name: by its first worker");
	return $rate;
}

my %rate;
push @{ $rate{before} }, send_one('before') foreach 1 .. 4;
my $start = time;
$person->start("CALL mailman_purge('90 days')");
push @{ $rate{beside} }, send_one('beside it') until $person->done;
my $seconds = time - $start;
like($person->result, qr/purged $million deliveries of 1 letters/, 'purged');
push @{ $rate{after} }, send_one('after it') foreach 1 .. 3;
cmp_ok($seconds, '<', 300, 'within five minutes');
is($node->sql("SELECT count(*) FROM mailman.delivery WHERE letter_id = $old"),
	'0', 'all of it');
$node->assert_sums($old, 'purged');
diag(sprintf 'purged in about %.0f s', $seconds);
diag(sprintf 'mails per second %s: %s',
	$_, join(', ', map { sprintf '%.0f', $_ } @{ $rate{$_} }))
  foreach qw(before beside after);

$person->quit;
$node->stop;
$sink->stop;
done_testing();
