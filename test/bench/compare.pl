
#-------------------------------------------------------------------------
#
# compare.pl
#	  mailman beside others, in one run, into one sink.
#
#	compare.pl [quick]
#
# In each round everybody has a turn, and the order changes with the round, so
# that whatever else the machine does falls on all alike; what counts is the
# ratio within the run.  Everybody sends mails of the same size, personal but
# for smtp-source's, which sends the same one again and again.
#
#	mailman		the whole path: a template rendered per recipient, durable
#				claims and outcomes, a row of newsletter_email each.  From the
#				commit of mailman_send() to the last mail (sent_at)
#	smtp-source	Postfix's load generator, with -d (sessions are kept).  Wall
#				time of the process
#	nodemailer	with graphile-worker, a job per recipient in the same
#				PostgreSQL.  From the commit of the jobs to the last mail
#	smtplib		Python's, one connection, neither queue nor account
#
# ROUNDS: 5 (quick: 3).  MAILS: 40000; of the slow ones fewer.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use Bench;
use Bench::Report;
use List::Util qw(first);
use Time::HiRes qw(sleep time);

my $quick    = @ARGV && $ARGV[0] eq 'quick';
my $rounds   = $ENV{ROUNDS} || ($quick ? 3 : 5);
my $mails    = $ENV{MAILS} || 40_000;
my @sessions = $quick ? (20) : (1, 5, 20, 50);
my $main     = 20;    # sessions of those that are compared in all respects

$| = 1;
my $bench = Bench->new;
my $sink  = $bench->sink;
my %skipped;
my @letters;
my $size;

sub program
{
	my ($name) = @_;
	return first { -x } map { "$_/$name" } split(/:/, $ENV{PATH}),
	  '/usr/sbin';
}

# Seconds that a command says it took, or that it took
sub run_peer
{
	my ($name, @command) = @_;
	my $start = time;
	my $pid   = open(my $fh, '-|', @command) or die "$name: $!\n";
	my $said  = join '', <$fh>;
	close($fh) or die "$name failed\n";
	return $said =~ /^\s*([\d.]+)\s*$/ ? $1 : time - $start;
}

sub send_mailman
{
	my ($contestant, $newsletter, $round) = @_;
	$bench->alter('relay', connections => $contestant->{sessions});
	my $result = $bench->send($newsletter,
		perf => $ENV{PERF} && "$ENV{PERF}/perf.$round");
	$size ||= $bench->mail_size($result->{letter});
	push @{ $contestant->{runs} }, $result;
	return $result->{rate};
}

sub send_smtp_source
{
	my ($contestant) = @_;
	return $mails / run_peer('smtp-source', program('smtp-source'), '-d',
		'-s', $contestant->{sessions}, '-l', $size, '-m', $mails,
		'-f', 'garden@example.com', '-t', 'reader@example.org',
		'127.0.0.1:' . $sink->port);
}

sub send_nodemailer
{
	my ($contestant) = @_;
	$bench->db->do('DROP DATABASE IF EXISTS peer');
	$bench->db->do('CREATE DATABASE peer');
	return $contestant->{mails} / run_peer('nodemailer',
		program('node'), 'test/bench/nodemailer.mjs', $bench->dir, 'peer',
		$bench->dir, $sink->port, $contestant->{mails}, $contestant->{sessions});
}

sub send_smtplib
{
	my ($contestant) = @_;
	return $contestant->{mails} / run_peer('smtplib', program('python3'),
		'test/bench/smtplib_peer.py', $sink->port, $contestant->{mails},
		$size);
}

# ---- who takes part

sub contestants
{
	my ($newsletter) = @_;
	my @all;

	foreach my $n (@sessions)
	{
		push @all,
		  {
			name     => 'mailman',
			sessions => $n,
			mails    => $mails,
			send     => sub { send_mailman($_[0], $newsletter, $_[1]) }
		  },
		  {
			name     => 'smtp-source -d',
			sessions => $n,
			mails    => $mails,
			send     => \&send_smtp_source
		  };
	}
	return @all if $quick;

	if (open(my $fh, '<', 'node/skipped'))
	{
		chomp($skipped{'nodemailer + graphile-worker'} = <$fh>);
	}
	else
	{
		$ENV{NODE_ROOT} = "$ENV{HOME}/node";
		push @all,
		  {
			name     => 'nodemailer + graphile-worker',
			sessions => $main,
			mails    => $mails / 10,
			send     => \&send_nodemailer
		  };
	}
	if (program('python3'))
	{
		push @all,
		  {
			name     => 'Python smtplib',
			sessions => 1,
			mails    => $mails / 5,
			send     => \&send_smtplib
		  };
	}
	else
	{
		$skipped{'Python smtplib'} = 'python3 is not installed';
	}
	return @all;
}

# One turn of one contestant; nothing may be lost
sub take_turn
{
	my ($contestant, $round) = @_;
	my $before = $sink->count;
	my $rate   = $contestant->{send}->($contestant, $round);
	my $until  = time + 30;

	push @{ $contestant->{rates} }, $rate;
	sleep 0.01
	  while $sink->count < $before + $contestant->{mails} && time < $until;
	my $got = $sink->count - $before;
	die "$contestant->{name}: $got of $contestant->{mails} mails arrived\n"
	  if $got != $contestant->{mails};
	print '.';
	return;
}

# ---- what came out

# mailman's rate to another's, round by round
sub ratios
{
	my ($mailman, $other) = @_;
	return
	  map { $mailman->{rates}[$_] / $other->{rates}[$_] } 0 .. $rounds - 1;
}

sub report
{
	my (@all) = @_;
	my %mailman = map { $_->{sessions} => $_ }
	  grep { $_->{name} eq 'mailman' } @all;
	my @rows =
	  ([ 'sender', 'sessions', 'mails/s', 'min - max', 'mailman is',
		  'min - max' ]);

	foreach my $c (@all)
	{
		my @row = ($c->{name}, $c->{sessions},
			sprintf('%.0f', median(@{ $c->{rates} })),
			sprintf('%.0f - %.0f', spread(@{ $c->{rates} })));
		if ($c->{name} ne 'mailman')
		{
			my $of = $c->{name} =~ /^smtp-source/ ? $c->{sessions} : $main;
			my @ratios = ratios($mailman{$of}, $c);
			push @row, sprintf('%.2f x', median(@ratios)),
			  sprintf('%.2f - %.2f', spread(@ratios));
		}
		else
		{
			push @row, '', '';
		}
		push @rows, \@row;
	}
	table(@rows);
	print "skipped: $_: $skipped{$_}\n" foreach sort keys %skipped;
	print "\n" if %skipped;
	foreach my $n ($quick ? ($main) : @sessions)
	{
		print "mailman with $n session" . ($n == 1 ? '' : 's') . "\n";
		costs(@{ $mailman{$n}{runs} });
	}
	return;
}

# The others' templates: one file each
sub write_templates
{
	my %body = (text => Bench->text_body, html => Bench->html_body);
	foreach my $name (keys %body)
	{
		open(my $fh, '>', $bench->dir . "/$name") or die "$name: $!\n";
		print {$fh} $body{$name};
		close($fh);
	}
	return;
}

$bench->relay('relay', $sink->url, connections => $main);
my $newsletter = $bench->newsletter('relay', $mails);
my @all        = contestants($newsletter);
write_templates();
machine($bench->db);

# once before it counts: caches, and the size of a mail
take_turn($all[0], 0);
pop @{ $all[0]{$_} } foreach 'rates', 'runs';

foreach my $round (1 .. $rounds)
{
	my @order = @all;
	push @order, splice(@order, 0, ($round * 3) % @order);
	take_turn($_, $round) foreach ($round % 2 ? @order : reverse @order);
}
printf "\n%d rounds of %d mails, %d octets each, medians\n\n", $rounds,
  $mails, $size;
report(@all);
print "left behind\n";
print "  $_\n" foreach $bench->bloat('delivery'), $bench->bloat('letter');
