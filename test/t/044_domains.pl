
#-------------------------------------------------------------------------
#
# 044_domains.pl
#	  Limits of recipients' domains.
#
# A domain gets no more than its limit, whichever letters and sessions the mail
# comes by, and nobody else waits for it.  The judge is the relay's log: when
# it heard RCPT, and when it took the mail.
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
use Mailman::Rates qw(peak overlap);
use Mailman::Relay;

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		max_worker_processes    => 24,
		'mailman.max_workers'   => 8,
		'mailman.poll_interval' => '200ms'
	});

sub limit
{
	my ($pattern, $rate, $connections) = @_;
	$node->sql(
		'INSERT INTO mailman.domain_limit (pattern, rate, connections)'
		  . ' VALUES ('
		  . join(', ',
			map { Mailman::Cluster::literal($_) }
			  $pattern, $rate, $connections)
		  . ')');
	return;
}

# Times at which the relay took mails for such addresses
sub taken
{
	my ($relay, $pattern) = @_;
	return sort { $a <=> $b }
	  map { $_->{time} } grep { $_->{to}[0] =~ $pattern } $relay->messages;
}

# So many recipients of each of these domains, by turns
sub newsletter
{
	my ($server, $number, @domains) = @_;
	my $id   = $node->newsletter(relays => [$server]);
	my $list = join(', ', map { "'$_'" } @domains);

	$node->sql(qq{
		INSERT INTO mailman.subscription (newsletter_id, email)
		SELECT $id, 'r' || n || '\@' || domain
		  FROM generate_series(1, $number) n,
			   unnest(ARRAY[$list]) WITH ORDINALITY AS d(domain, place)
		 ORDER BY n, place});
	return $id;
}

# Look until it is so: what was wrong with the sums or states meanwhile
sub watch
{
	my ($letters, $is_so) = @_;
	my $until = time + 180;
	my %wrong;

	while (!$is_so->())
	{
		if (time > $until)
		{
			$wrong{'waited in vain'} = 1;
			$node->explain_letter($_) foreach @$letters;
			last;
		}
		foreach my $letter (@$letters)
		{
			my $sums = $node->sql($node->sums_sql($letter));
			$wrong{$sums} = 1 if $sums ne '';
			$wrong{"letter $letter is sent, and not to all"} = 1
			  if $node->sql(
				    "SELECT state = 'sent' AND EXISTS (SELECT"
				  . ' FROM mailman.delivery d WHERE d.letter_id = l.id'
				  . " AND d.state IN ('pending', 'sending', 'deferred'))"
				  . " FROM mailman.letter l WHERE id = $letter") eq 't';
		}
		sleep 0.05;
	}
	return sort keys %wrong;
}

sub all_sent
{
	my (@letters) = @_;
	return sub {
		return !grep { $node->letter_state($_) ne 'sent' } @letters;
	};
}

# ---- 1,000 of 10,000

# The relay's pace: 20 sessions of 25 ms each, 800/s
my $steady = Mailman::Relay->new(slow => 0.025)->start;
$node->relay('steady', $steady->url, connections => 20);
my $list =
  newsletter('steady', 1000, (map { "d$_.example.com" } 1 .. 9),
	'slow.example.org');

# How long the 9,000 take: the first to the last
sub span
{
	my $letter = $node->letter($list);
	my $sent   = "FROM mailman.newsletter_email WHERE letter_id = $letter"
	  . " AND address LIKE '%.example.com'";

	$node->send($letter);
	ok($node->wait_for("SELECT count(*) $sent", '9000'),
		'nine of ten have it');
	return (
		$letter,
		$node->sql(
			"SELECT extract(epoch FROM max(sent_at) - min(sent_at)) $sent"));
}

my $best;
foreach my $try (1 .. 3)
{
	my ($letter, $without) = span();
	ok($node->wait_for_letter($letter, 'sent'), 'all, without a limit');

	limit('slow.example.org', '2/s', 2);
	my $before = () = $steady->messages;
	my $with;
	($letter, $with) = span();
	diag(sprintf '9,000 take %.2f s, %.2f s beside a limit: %.3f',
		$without, $with, $with / $without);
	$best = $with / $without if !defined $best || $with / $without < $best;

	is($node->letter_state($letter), 'sending', 'the others still wait');
	my $states = $node->states($letter);
	cmp_ok($states->{pending}, '>=', 800, "$states->{pending} are pending");
	cmp_ok(
		$node->sql(
			'SELECT count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state = 'pending'"
			  . ' AND due_at IS NOT NULL AND attempts = 0'
			  . q{ AND reason = 'waits for the limit of its domain'}),
		'>=', 800,
		'set aside until some time');
	$node->assert_sums($letter, 'with a limit');

	# once more some seconds in which there is nobody else
	sleep 3;
	my @times = map { $_->{time} } grep { $_->{to}[0] =~ /slow/ }
	  splice(@{ [ $steady->messages ] }, $before);
	my $took = $times[-1] - $times[0];
	my $peak = peak(1, @times);
	diag(sprintf '%d of 2/s in %.1f s, %d in a second',
		scalar(@times), $took, $peak);
	cmp_ok($peak, '<=', 2.2 + 2, 'no second saw more than the limit');
	cmp_ok(scalar(@times), '<=', 2.2 * $took + 3, 'nor the whole time');
	cmp_ok(scalar(@times), '>=', 5, 'it was used');

	$node->sql("SELECT mailman_cancel($letter)");
	ok($node->wait_for_no_worker($letter), 'cancelled');
	ok( $node->wait_for(
			'SELECT count(*) FROM mailman.delivery'
			  . " WHERE letter_id = $letter AND state IN"
			  . " ('pending', 'sending', 'deferred')", '0'),
		'nobody waits any more');
	$states = $node->states($letter);
	is($states->{delivered} + $states->{skipped},
		10000, 'delivered or skipped, and nothing else');
	$node->assert_sums($letter, 'cancelled');
	$node->sql('DELETE FROM mailman.domain_limit');
	last if $best <= 1.1;
}
cmp_ok($best, '<=', 1.1, '9,000 are not delayed by a limit of 1,000');
is(scalar($steady->duplicates), 0, 'nobody twice');
$steady->stop;

# ---- wildcards; two letters, one limit

my $relay = Mailman::Relay->new->start;
$node->relay('relay', $relay->url, connections => 4);
limit('*.example.com',    '4/s');
limit('fast.example.com', '200/s');
limit('*.deep.example.com', '300/s');
my @letters = map { $node->letter($_) } map {
	newsletter('relay', 12, 'a.example.com', 'x.y.example.com',
		'fast.example.com', 'z.deep.example.com', 'example.com',
		'example.net')
} 1 .. 2;
$node->send($_) foreach @letters;
is_deeply([ watch(\@letters, all_sent(@letters)) ],
	[], 'two letters: sent, and the sums are right at all times');
my @wild  = taken($relay, qr/\@(?:a|x\.y)\.example\.com$/);
my @other = taken($relay, qr/\@(?!a\.|x\.y\.)/);
my $took  = $wild[-1] - $wild[0];
my $peak  = peak(1, @wild);
diag(sprintf '%d under *.example.com in %.1f s, %d in a second;'
	  . ' %d others in %.1f s',
	scalar(@wild), $took, $peak, scalar(@other), $other[-1] - $other[0]);
is(scalar(@wild),  48, 'two letters: all of the limited');
is(scalar(@other), 96, 'two letters: all others');
cmp_ok($peak, '<=', 4.4 + 4, '*.example.com: one limit for all below it');
cmp_ok(scalar(@wild), '<=', 4.4 * $took + 5, '*.example.com: all the time');
cmp_ok($wild[-1] - $wild[0], '>', $other[-1] - $other[0],
	'a longer pattern, and the domain itself, are not under it');
cmp_ok($other[-1], '<', $wild[-1], 'they do not wait for it');
$node->assert_sums($_, 'wildcards') foreach @letters;
$node->sql('DELETE FROM mailman.domain_limit');

# ---- one at a time

my $slow = Mailman::Relay->new(
	slow  => 0.1,
	rules => [ { step => 'RCPT', match => '@one\.example\.net$' } ])->start;
$node->relay('slow', $slow->url, connections => 4);
limit('one.example.net', undef, 1);
@letters = map { $node->letter($_) }
  map { newsletter('slow', 12, 'one.example.net', 'example.net') } 1 .. 2;
$node->send($_) foreach @letters;
is_deeply([ watch(\@letters, all_sent(@letters)) ],
	[], 'one at a time: sent, and the sums are right at all times');

# from RCPT to the reply to the dot
my @mails;
my %begun;
foreach my $event (sort { $a->{time} <=> $b->{time} } $slow->events)
{
	my $session = $event->{session};
	if ($event->{event} eq 'rule')
	{
		$begun{$session} = $event->{time};
	}
	elsif ($event->{event} eq 'message'
		&& $event->{to}[0] =~ /\@one\./)
	{
		push @mails, [ delete $begun{$session}, $event->{time} ];
	}
}
@mails = sort { $a->[0] <=> $b->[0] } @mails;
my @both =
  grep { overlap($mails[ $_ - 1 ], $mails[$_]) > 0 } 1 .. $#mails;
is(scalar(@mails), 24, 'one at a time: all of them');
is(scalar(@both),  0,  'one at a time: never two');
@other = taken($slow, qr/\@example\.net$/);
diag(sprintf 'one at a time: %d in %.1f s, %d others in %.1f s',
	scalar(@mails), $mails[-1][1] - $mails[0][0],
	scalar(@other), $other[-1] - $other[0]);
is(scalar(@other), 24, 'one at a time: and all others');
cmp_ok($other[-1], '<', $mails[-1][1], 'one at a time: who did not wait');
cmp_ok($slow->status->{peak}, '>=', 2, 'one at a time: over other sessions');
$node->assert_sums($_, 'one at a time') foreach @letters;
$node->sql('DELETE FROM mailman.domain_limit');

# ---- a limit that is changed or deleted while it counts

foreach my $case (
	[ 'raised',  q{UPDATE mailman.domain_limit SET rate = '100/s'} ],
	[ 'deleted', q{DELETE FROM mailman.domain_limit} ])
{
	my ($name, $change) = @$case;

	# 60 s as it is
	limit('strict.example.net', '1/s');
	my $letter =
	  $node->letter(newsletter('relay', 60, 'strict.example.net'));
	my $had = $relay->pairs;
	$node->send($letter);
	ok($relay->wait_for_messages($had + 2), "$name: on its way");
	is_deeply(
		[
			watch(
				[$letter],
				sub {
					return $node->sql(
						    'SELECT count(*) FROM mailman.delivery'
						  . " WHERE letter_id = $letter"
						  . ' AND due_at IS NOT NULL') > 20;
				})
		],
		[],
		"$name: most are set aside");
	cmp_ok($relay->pairs - $had, '<', 30, "$name: in the middle");
	$node->sql($change);
	my $start = time;
	is_deeply([ watch([$letter], all_sent($letter)) ],
		[], "$name: sent, and the sums are right at all times");
	my $seconds = time - $start;
	diag(sprintf '%s: sent after %.1f s', $name, $seconds);
	cmp_ok($seconds, '<', 30, "$name: takes effect at once");
	is($relay->pairs - $had, 60, "$name: to everybody");
	$node->assert_sums($letter, $name);
	$node->sql('DELETE FROM mailman.domain_limit');
}

# another comes into force, too
my $letter = $node->letter(newsletter('slow', 120, 'late.example.net'));
my $before = $slow->status->{accepted};
$node->send($letter);
ok($slow->wait_for_messages($before + 10), 'a new limit: on its way');
limit('late.example.net', '1/h');
is_deeply(
	[
		watch(
			[$letter],
			sub {
				return $node->sql(
					    'SELECT count(*) FROM mailman.delivery'
					  . " WHERE letter_id = $letter AND state = 'pending'"
					  . ' AND due_at IS NOT NULL') > 10;
			})
	],
	[],
	'a new limit: it comes into force');
cmp_ok($slow->status->{accepted} - $before,
	'<', 120, 'a new limit: before all are sent');
$node->sql("SELECT mailman_cancel($letter)");
ok($node->wait_for_no_worker($letter), 'a new limit: cancelled');
$node->assert_sums($letter, 'a new limit');

is(scalar($relay->duplicates) + $slow->duplicates, 0, 'nobody twice');
is_deeply([ $relay->violations, $slow->violations ],
	[], 'nothing against the protocol');

$node->stop;
$_->stop foreach $relay, $slow;
done_testing();
