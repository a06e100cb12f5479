
#-------------------------------------------------------------------------
#
# 022_closed.pl
#	  Letters that wait in a database nobody may connect to.
#
# No scout can visit it, so none of its letters can be given a place: the
# letters of other databases do not yield to them.
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
	conf    => { max_worker_processes => 16, 'mailman.max_workers' => 1 });
$node->relay('relay', $relay->url, connections => 2);
my $newsletter = $node->newsletter(relays => ['relay'], subscriptions => 20);
my $letter     = $node->letter($newsletter);

$node->sql('CREATE DATABASE another TEMPLATE template0');
my $another = $node->session(dbname => 'another');
$another->query($_)
  foreach (
	'CREATE EXTENSION mailman',
	'CREATE SERVER relay FOREIGN DATA WRAPPER mailman_smtp'
	  . " OPTIONS (url '"
	  . $relay->url
	  . "', tls 'none')",
	'INSERT INTO mailman.newsletter (name, from_address, relays,'
	  . " unsubscribe_mailto) VALUES ('A', 'a\@example.com', '{relay}',"
	  . " 'a\@example.com')",
	'INSERT INTO mailman.subscription (newsletter_id, email)'
	  . " VALUES (1, 'another\@example.com')",
	'INSERT INTO mailman.letter (newsletter_id, subject, text_body)'
	  . " VALUES (1, 'A', 'B')");

$relay->gate(0);
$node->send($letter);
ok($relay->wait_for_held(1), 'a letter has the only place');
my $from = $node->log_position;
$another->query('SELECT mailman_send(1)');
$another->quit;
$node->sql('ALTER DATABASE another ALLOW_CONNECTIONS false');
ok($node->log_lines(qr/letters wait for a worker/, $from),
	'one of another database waits');
ok( $node->stays(
		"SELECT run || ' ' || doubts FROM mailman.letter WHERE id = $letter",
		'1 0',
		15),
	'which is closed, so nobody yields to it');
$relay->open_gate;
ok($node->wait_for_letter($letter, 'sent'), 'the letter is sent');
is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
	'0', 'without a doubt');
$node->sql('ALTER DATABASE another ALLOW_CONNECTIONS true');
is_deeply([ $relay->duplicates ], [], 'nobody twice');
$node->stop;
$relay->stop;
done_testing();
