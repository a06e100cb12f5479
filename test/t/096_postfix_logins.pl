
#-------------------------------------------------------------------------
#
# 096_postfix_logins.pl
#	  How relays of today want to be logged in to: real ones.
#
# Postfix that asks for a certificate of ours, and Dovecot's submission with
# its oauth2 passdb, whose tokens expire while a letter is being sent.  The
# oracle is the Maildir.
#
# Needs the Postfix and the Dovecot that test/run-tests starts as root; else it
# is skipped.  093_relays.pl and 095_tokens.pl have the same with a relay of
# our own.
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
use Mailman::Postfix;

my ($postfix, $why) = Mailman::Postfix->find;
plan skip_all => $why unless $postfix;

my $domain = $postfix->domain;
my $node   = Mailman::Cluster->create('main',
	conf => { 'mailman.poll_interval' => '100ms' });

sub check
{
	my ($name) = @_;
	return $node->sql(
		"SELECT coalesce(string_agg(step || ': ' || reply, '; '), 'well')"
		  . " FROM mailman_check('$name') WHERE NOT ok");
}

# Everybody's mails that have arrived: how often each
sub arrived
{
	my ($name) = @_;
	my %count;
	foreach my $mail ($postfix->mails)
	{
		my $to = $mail->header('Delivered-To');
		$count{$to}++ if $to =~ /^\Q$name\E-/;
	}
	return \%count;
}

$postfix->clear;

# ---- a certificate of ours

$node->relay(
	'certs', 'smtp://localhost:' . $postfix->certs,
	tls     => undef,
	ca_file => $postfix->ca_file);
isnt(check('certs'), 'well', 'Postfix: not without a certificate');
$node->sql('CREATE USER MAPPING FOR PUBLIC SERVER certs OPTIONS (cert_file '
	  . Mailman::Cluster::literal($postfix->client_cert)
	  . ', key_file '
	  . Mailman::Cluster::literal($postfix->client_key) . ')');
is(check('certs'), 'well', 'Postfix: with it');
my $newsletter = $node->newsletter(
	relays        => ['certs'],
	from_address  => "news\@$domain",
	subscriptions => 20,
	pattern       => "certs-%s\@$domain");
my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'Postfix: a letter by it: sent');
ok($postfix->wait_for_files(20), 'Postfix: all are in the mailbox')
  or diag($postfix->log_tail);
is(join(' ', values %{ arrived('certs') }),
	join(' ', (1) x 20), 'Postfix: everybody has it once');
is( scalar(
		grep {
			join(' ', $_->header('Received')) =~
			  /Client CN "mailman test client".*verified OK/s
		} $postfix->mails),
	20,
	'Postfix: it has seen and verified the certificate');

# ---- a token that expires

SKIP:
{
	skip "no Dovecot for tokens: " . $postfix->no_tokens, 16
	  unless $postfix->tokens;
	my $number = 60;
	my $status = "SELECT state FROM mailman.relay_status"
	  . " WHERE relay = 'tokens'";

	$postfix->clear;
	# slowly: Dovecot's submission closes a session in which the next envelope
	# comes behind a final dot
	$node->relay(
		'tokens', 'smtp://localhost:' . $postfix->tokens,
		tls         => undef,
		ca_file     => $postfix->ca_file,
		connections => 1,
		messages    => 3,
		rate        => '5/s');
	$node->sql(
		'CREATE USER MAPPING FOR PUBLIC SERVER tokens OPTIONS (username '
		  . Mailman::Cluster::literal($postfix->user)
		  . ", token 'nonsense')");
	like(check('tokens'), qr/^auth: AUTH: \d{3} /,
		'Dovecot: nonsense is refused');
	$node->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER tokens OPTIONS (SET token '}
		  . $postfix->token(-5) . q{')});
	like(check('tokens'), qr/^auth: AUTH: \d{3} /,
		'Dovecot: so is a token that has expired');

	my $list = $node->newsletter(
		relays        => ['tokens'],
		from_address  => "news\@$domain",
		subscriptions => $number,
		pattern       => "tokens-%s\@$domain");
	$letter = $node->letter($list);
	$node->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER tokens OPTIONS (SET token '}
		  . $postfix->token(8) . q{')});
	is(check('tokens'), 'well', 'Dovecot: a good one is taken');
	$node->send($letter);
	ok($node->wait_for($status, 'token refused'),
		'Dovecot: it expires in mid-letter, and relay_status says so');
	my $got = keys %{ arrived('tokens') };
	diag("$got of $number have the letter");
	is($node->letter_state($letter), 'sending', 'Dovecot: the letter waits');
	cmp_ok($node->tally($letter)->{delivered}, '<', $number,
		'Dovecot: some have not got it');
	cmp_ok($node->tally($letter)->{delivered}, '>', 0,
		'Dovecot: and some have');
	is( $node->sql(
			'SELECT count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state <> 'delivered'"
			  . " AND (attempts <> 0 OR state NOT IN ('pending', 'deferred'))"
		),
		'0',
		'Dovecot: no recipient pays');
	is( $node->sql(
			"SELECT string_agg(detail->>'state', ', ' ORDER BY id)"
			  . " FROM mailman.event WHERE detail->>'relay' = 'tokens'"),
		'token refused',
		'Dovecot: it is an event');
	$node->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER tokens OPTIONS (SET token '}
		  . $postfix->token(3600) . q{')});
	ok($node->wait_for_letter($letter, 'sent'),
		'Dovecot: with a new token the letter goes on by itself');
	ok($postfix->wait_for_files($number), 'Dovecot: all are in the mailbox')
	  or diag($postfix->log_tail);
	is(scalar keys %{ arrived('tokens') }, $number,
		'Dovecot: everybody has it');
	is((grep { $_ != 1 } values %{ arrived('tokens') }), 0, 'Dovecot: once');
	is( $node->sql(
			'SELECT max(attempts) FROM mailman.delivery'
			  . " WHERE letter_id = $letter"),
		'1',
		'Dovecot: in one attempt');
	ok($node->wait_for($status, 'up'), 'Dovecot: relay_status says up');
	$node->assert_sums($letter, 'after it');
}

$node->stop;
done_testing();
