
#-------------------------------------------------------------------------
#
# Mailman::Fates
#	  A letter whose recipients meet with everything there is.
#
#	my $fates = Mailman::Fates->new($node, 500);
#	$fates->send;		# and wait until all that can be is decided
#	$fates->letter, $fates->relays
#
# One in so many recipients of three relays, by the number in the address:
# dead, full, spam, without enhanced code, greylisted, put off, slow, in doubt,
# with a variable missing, unsubscribed.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Fates;

use strict;
use warnings;

use Mailman::Relay;

# What is to happen, to one in how many; the rest is delivered
my @fates = (
	[ 'gone', 31 ],
	[ 'full', 61 ],
	[ 'spam', 83 ],
	[ 'old',  109 ],
	[ 'grey', 17 ],
	[ 'long', 47 ],
	[ 'slow', 401 ],
	[ 'lost', 499 ],
	[ 'bare', 131 ],
	[ 'left', 71 ]);

my $hostile = q{<gone@mail.example> "gone" </q><script>alert(1)</script>}
  . q{ ]]> &amp; {{name}} '--> see https://help.example/?a=1&b=2};

# Of all relays; who is greylisted gets through every other time
my @rules = (
	{
		step => 'RCPT',
		match => '^gone',
		reply => "550 5.1.1 $hostile"
	},
	{
		step => 'RCPT',
		match => '^full',
		reply => '552 5.2.2 Mailbox full'
	},
	{
		step => 'RCPT',
		match => '^old',
		reply => '550 no such user here'
	},
	{
		step => 'RCPT',
		match => '^long',
		reply => '451 4.3.0 Temporary lookup failure'
	},
	{
		step => 'RCPT',
		match => '^grey',
		every => 2,
		reply => '450 4.2.0 Greylisted, try again later'
	},
	{
		step => 'dot',
		match => '^spam',
		reply => '554 5.7.1 Message content rejected, id=12345'
	},
	{ step => 'dot', match => '^lost', accept => 1, drop => 1 },
	{ step => 'dot', match => '^slow', delay => 0.4 });

my $domains = "ARRAY['example.com', 'example.com', 'example.com',"
  . " 'mail.example', 'mail.example', 'big.example', 'example.org',"
  . " 'bücher.example', 'x' || n % 40 || '.small.example']";

sub _case
{
	return join(' ', 'CASE',
		(map { "WHEN n % $_->[1] = 0 THEN '$_->[0]'" } @fates),
		"ELSE 'reader' END || n");
}

sub new
{
	my ($class, $node, $number) = @_;
	my $self = bless { node => $node, number => $number }, $class;

	foreach my $i (1 .. 3)
	{
		my $relay = Mailman::Relay->new->start;
		push @{ $self->{relays} }, $relay;
		$node->relay("mx$i", $relay->url,
			connections => 5,
			weight => 4 - $i);
	}
	$self->{newsletter} = $node->newsletter(
		name => 'Garden <news> & "more"',
		relays => [qw(mx1 mx2 mx3)],
		retry_schedule => '1s, 2s, 12h');
	$node->sql('INSERT INTO mailman.subscription (newsletter_id, email, name,'
		  . ' data, state) SELECT '
		  . "$self->{newsletter}, "
		  . _case()
		  . " || '\@' || ($domains)[1 + n * 7 % 9], '<script>alert(1)</script>',"
		  . " CASE WHEN n % 131 = 0 THEN '{}'"
		  . " ELSE jsonb_build_object('city', 'Porto') END,"
		  . " CASE WHEN n % 71 = 0 THEN 'unsubscribed' ELSE 'active' END"
		  . " FROM generate_series(1, $number) n");
	$self->{letter} = $node->letter(
		$self->{newsletter},
		subject => 'Spring, {{name}}: what to sow & </title><script>alert(1)</script>',
		text_body => "How is {{data.city}}?\n" x 40,
		strict => 'true',
		on_doubt => 'hold');
	return $self;
}

# All of it; returns when nobody is to be tried again soon
sub send
{
	my ($self) = @_;
	my $node = $self->{node};

	$_->set(rules => \@rules) foreach @{ $self->{relays} };
	$node->sql("SELECT mailman_send($self->{letter},"
		  . ' ARRAY(SELECT id FROM mailman.subscription'
		  . " WHERE newsletter_id = $self->{newsletter}))");
	return $node->wait_for(
		'SELECT count(*) FROM mailman.delivery'
		  . " WHERE letter_id = $self->{letter}"
		  . " AND (state IN ('pending', 'sending')"
		  . " OR due_at < now() + interval '1 h')", '0');
}

sub letter { return $_[0]->{letter}; }
sub relays { return @{ $_[0]->{relays} }; }

1;
