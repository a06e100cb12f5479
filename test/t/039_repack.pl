
#-------------------------------------------------------------------------
#
# 039_repack.pl
#	  A letter to 20,000 while its tables are copied, and others' triggers.
#
# pg_repack copies a table while it is used: a trigger of a superuser's logs
# each change of a row, and at the end the copy, where every row lies elsewhere,
# takes the table's place.  The real one works again and again on what a letter
# is sent from, if it is installed.  A trigger like its own, and one that audits
# subscriptions, are tested whether it is or not.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $number = 20_000;
my $relay  = Mailman::Relay->new->start;
my $node   = Mailman::Cluster->create('main', preload => 1);

$node->relay('relay', $relay->url, connections => 20);
my $newsletter = $node->newsletter(
	relays        => ['relay'],
	subscriptions => $number);

# What the relay has got since it had so many
sub ok_sent
{
	my ($letter, $before, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($node->wait_for_letter($letter, 'sent'), "$name: sent");
	$node->assert_sums($letter, $name);
	is($node->states($letter)->{delivered}, $number, "$name: delivered");
	is($node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
		'0', "$name: without a doubt");
	is($relay->pairs - $before, $number, "$name: the relay has all");
	is_deeply([ $relay->duplicates ], [], "$name: none twice");
	return;
}

# ---- the trigger of pg_repack, in words of our own

$node->sql(q{
	CREATE SCHEMA copy;
	CREATE TABLE copy.log (id bigserial PRIMARY KEY,
		was mailman.delivery, "is" mailman.delivery);
	CREATE FUNCTION copy.log_change() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		EXECUTE TG_ARGV[0]
		  USING CASE WHEN TG_OP <> 'INSERT' THEN OLD END,
				CASE WHEN TG_OP <> 'DELETE' THEN NEW END;
		RETURN NULL;
	END $$;
	CREATE TRIGGER repack_trigger
		AFTER INSERT OR DELETE OR UPDATE ON mailman.delivery
		FOR EACH ROW EXECUTE FUNCTION copy.log_change(
			'INSERT INTO copy.log (was, "is") VALUES ($1, $2)');
	ALTER TABLE mailman.delivery ENABLE ALWAYS TRIGGER repack_trigger});
my $letter = $node->letter($newsletter);
$node->send($letter);
ok_sent($letter, 0, 'a trigger that logs');
is( $node->sql(
		q{
	SELECT count(*) FROM mailman.delivery d
	  FULL JOIN (SELECT DISTINCT ON ((l."is").letter_id, (l."is").subscription_id)
						l."is" AS row
				   FROM copy.log l
				  ORDER BY (l."is").letter_id, (l."is").subscription_id, id DESC) l
		ON (l.row).letter_id = d.letter_id
	   AND (l.row).subscription_id = d.subscription_id
	 WHERE l.row IS DISTINCT FROM d}),
	'0', 'it has logged how each row is');
$node->sql(
	q{
	DROP TRIGGER repack_trigger ON mailman.delivery;
	DROP SCHEMA copy CASCADE});

# ---- an audit of subscriptions, by a web server without rights

$node->sql(
	q{
	CREATE SCHEMA audit;
	CREATE TABLE audit.change (id bigserial PRIMARY KEY, email text,
		was text, "is" text, by text DEFAULT session_user);
	CREATE FUNCTION audit.note_change() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
	BEGIN
		INSERT INTO audit.change (email, was, "is") VALUES (NEW.email,
			CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state);
		RETURN NEW;
	END $$;
	CREATE TRIGGER note_change AFTER INSERT OR UPDATE ON mailman.subscription
		FOR EACH ROW EXECUTE FUNCTION audit.note_change();
	CREATE ROLE web LOGIN;
	GRANT web TO CURRENT_USER;
	GRANT EXECUTE ON FUNCTION mailman_unsubscribe(text) TO web});
my $url = $node->sql("SELECT mailman_unsubscribe_url($letter, 1)");
my $token = ($url =~ m,([^/]+)$,)[0];
my $web = $node->session(user => 'web');
is($web->query("SELECT mailman_unsubscribe('$token')"),
	't', 'audit: a reader leaves');
$web->quit;
like(
	$node->sql("SELECT mailman_subscribe($newsletter, 'r1\@example.com',"
		  . ' again => true)'),
	qr/^1$/,
	'audit: and comes back');
like(
	$node->sql("SELECT mailman_subscribe($newsletter, 'new\@example.com')"),
	qr/^\d+$/, 'audit: another comes');
is( $node->sql(
		'SELECT email, was, "is", by = current_user FROM audit.change'
		  . ' ORDER BY id'),
	"r1\@example.com|active|unsubscribed|f\n"
	  . "r1\@example.com|unsubscribed|active|t\n"
	  . "new\@example.com||active|t",
	'audit: all is noted');
$node->sql(
	"DELETE FROM mailman.subscription WHERE email = 'new\@example.com'");

# ---- the real one, with the audit still there

SKIP:
{
	my $directory = $ENV{PG_CONFIG} ? `$ENV{PG_CONFIG} --bindir` : '';
	chomp $directory;
	my ($program) = grep { -x } "$directory/pg_repack", '/usr/bin/pg_repack';
	skip 'pg_repack is not installed', 1
	  unless $program
	  && $node->sql('SELECT count(*) FROM pg_available_extensions'
		  . " WHERE name = 'pg_repack'");

	# so slow that the tables are copied several times meanwhile
	$node->sql(
		q{
		CREATE EXTENSION pg_repack;
		ALTER SERVER relay OPTIONS (ADD rate '800/s')});
	my $before = $relay->pairs;
	my $copied = $node->letter($newsletter);
	my ($rounds, $failed) = (0, 0);

	$node->send($copied);
	ok($relay->wait_for_messages($before + 10), 'pg_repack: it is on its way');
	while ($node->letter_state($copied) eq 'sending' && $rounds < 1000)
	{
		my ($out, $err);
		my $ok = IPC::Run::run(
			[
				$program, '--wait-timeout=300', '--no-kill-backend',
				map({ ('-t', "mailman.$_") }
					qw(delivery letter subscription newsletter_email)),
				'-h', $node->host, '-p', $node->port, '-d', 'postgres'
			],
			'>' => \$out,
			'2>' => \$err);
		$rounds++ if $ok;
		next if $ok;
		diag($err) if ++$failed == 1;
		last if $failed > 3;
	}
	diag("pg_repack: $rounds rounds of four tables");
	is($failed, 0, 'pg_repack: never fails');
	cmp_ok($rounds, '>=', 3, 'pg_repack: several times');
	ok_sent($copied, $before, 'pg_repack');
	is( $node->sql(
			'SELECT count(*) FROM pg_trigger'
			  . " WHERE tgname = 'repack_trigger'"),
		'0', 'pg_repack: and leaves nothing behind');
}

is_deeply([ $relay->violations ], [], 'nothing against the protocol');
$node->stop;
$relay->stop;
done_testing();
