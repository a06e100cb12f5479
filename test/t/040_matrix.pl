
#-------------------------------------------------------------------------
#
# 040_matrix.pl
#	  Every fault at every step of the dialogue, one at a time.
#
# One letter for each case, with a relay of its own (a port of a server of
# ours), a single session and five recipients, the last of whom is refused.
# The fault hits once; what it must lead to stands in the tables below, written
# down from the table of outcomes and not from what the code does.  Who was put
# off, and at which cost, is read from the write-ahead log (test_decoding), so
# no state is missed however short it lasts; who got what, and with which
# words, from the log of the server.
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
use Mailman::Relay;

# A case that hangs is given up after this
my $patience = 180;

# So many letters at once.  Slots are plenty, as workers linger: nobody is to
# make way for another, which would end his session.
my $at_once = 40;
my $slots   = 150;

# Where nothing is said
my $short = '4s';

# The fault hits at the third recipient, in a session that has carried mail;
# "first": at the first one, in a fresh session; "sent": at a body so short
# that the dot is already out.
#
#	well	delivered at the first attempt, over the one session
#	free	delivered at the first attempt, nobody is blamed
#	back	delivered at the first attempt; the relay is backed off
#	open	delivered at the first attempt; it is not said if the relay is to
#			blame
#	any		delivered; it is not said if a fresh session that dies of a
#			recipient costs him an attempt
#	late	put off at the cost of an attempt, then delivered
#	fail	failed, with the relay's code
#	copy	in doubt: put off at the cost of an attempt, sent again
#	held	doubtful, as the letter says (on_doubt)
#	auth	the letter is paused with the relay's words; resumed: delivered
#	-		no case, see below
#
# The columns: three replies; the connection closed, and reset; nothing said;
# a line that is no reply; a line, and a reply of many lines, without end; NUL
# bytes instead of a reply, and in the right one; the right reply byte by byte;
# the right reply before its command.
my @faults = qw(4xx 5xx 421 close reset silence garbage line lines NUL nul
  split early);

my %manner = (
	pipelined => <<'END',
connect    -    -    -    -    back back -    -    -    -    -    -    -
greeting   back back back back back back back back back back well well -
EHLO       back back back back back back back back back back well well open
STARTTLS   back back back back back back back back back back well well open
AUTH       back auth back back back back back back back back well well open
MAIL,first back free back open open open open open open open well well any
MAIL       free free free free free free free free free free well well free
RCPT,first late fail back any  any  any  any  any  any  any  well well free
RCPT       late fail free free free free free free free free well well free
DATA       late fail free free free free free free free free well well free
body       late fail free free free free free free free free -    -    free
body,sent  late fail free copy copy copy copy copy copy copy -    -    -
dot        late fail free copy copy copy copy copy copy copy well well free
RSET       free free free free free free free free free free well well free
QUIT       free free free free free free free free free free well well free
END
	'lock-step' => <<'END');
MAIL       free free free free free free free free free free well well free
RCPT       late fail free free free free free free free free well well free
DATA       late fail free free free free free free free free well well free
body       late fail free free free free free free free free -    -    free
dot        late fail free held held held held held held held well well free
RSET       free free free free free free free free free free well well free
QUIT       free free free free free free free free free free well well free
END

# As long as it is libcurl that reads, it decides what a line is: from 8.21.0
# on not one with a NUL byte in it
my ($libcurl) = `curl-config --vernum` =~ /^([0-9a-f]+)$/
  or die "curl-config does not tell libcurl's version\n";
my %refused_by_libcurl = map { ("$_ nul" => 1) }
  hex($libcurl) >= 0x081500 ? qw(greeting EHLO STARTTLS AUTH) : ();

# Besides: answers that come before the question, and are worse than useless
my @more = (
	[ 'lock-step', 'RCPT', 'early 550', 'free' ],
	[ 'lock-step', 'DATA', 'early 554', 'free' ],
	[ 'pipelined', 'dot', 'early, gone', 'free' ],
	[ 'lock-step', 'dot', 'early, gone', 'free' ]);

my %no_case = (
	'connect, replies' => 'no reply belongs to it: see greeting',
	'connect, close'   => 'what was not opened cannot be closed; closed at'
	  . ' once: see greeting',
	'greeting, early'     => 'there is nothing before it',
	'body, nul and split' => 'there is no right reply to it',
	'body,sent, early'    => 'the dot is out, so it is the right reply');

my %reply = (
	greeting => [ '451 4.3.0 Not now', '554 5.3.2 Never' ],
	EHLO     => [ '451 4.3.0 Not now', '550 5.7.1 Never' ],
	STARTTLS => [ '454 4.7.0 TLS not available', '502 5.5.1 No TLS' ],
	AUTH     => [ '454 4.7.0 Not now', '535 5.7.8 Who are you' ],
	MAIL     => [ '451 4.3.0 Not now', '550 5.7.1 Not from you' ],
	RCPT     => [ '450 4.2.1 Not now', '550 5.7.1 Never' ],
	DATA     => [ '451 4.3.0 Not now', '554 5.7.1 Never' ],
	body     => [ '452 4.3.1 Not now', '554 5.6.0 Never' ],
	dot      => [ '452 4.3.1 Not now', '554 5.6.0 Never' ],
	RSET     => [ '451 4.3.0 Not now', '500 5.5.2 What' ],
	QUIT     => [ '451 4.3.0 Not now', '500 5.5.2 What' ]);

# step and further conditions, what is said early there
my %before = (
	'EHLO'       => [ 'connect', "250-relay.test\r\n250 PIPELINING" ],
	'STARTTLS'   => [ 'EHLO',    '220 2.0.0 Ready' ],
	'AUTH'       => [ 'EHLO',    '235 2.7.0 Welcome' ],
	'MAIL,first' => [ 'EHLO',    '250 2.1.0 Ok' ],
	'MAIL'       => [ 'dot',     '250 2.1.0 Ok' ],
	'RCPT,first' => [ 'MAIL',    '250 2.1.5 Ok' ],
	'RCPT'       => [ 'MAIL',    '250 2.1.5 Ok' ],
	'DATA'       => [ 'RCPT',    '354 Go ahead' ],
	'body'       => [ 'body',    '250 2.0.0 Ok' ],
	'dot'        => [ 'DATA',    '250 2.0.0 Ok' ],
	'RSET'       => [ 'RCPT',    '250 2.0.0 Ok' ],
	'QUIT'       => [ 'dot',     '221 2.0.0 Bye' ]);

# ---- the cases

my @cases;

foreach my $manner ('pipelined', 'lock-step')
{
	foreach my $line (split(/\n/, $manner{$manner}))
	{
		my ($stage, @words) = split(' ', $line);
		foreach my $n (0 .. $#faults)
		{
			next if $words[$n] eq '-';
			push @cases,
			  {
				manner => $manner,
				stage  => $stage,
				fault  => $faults[$n],
				word   => $refused_by_libcurl{"$stage $faults[$n]"}
				? 'back'
				: $words[$n]
			  };
		}
	}
}
foreach my $more (@more)
{
	my %case;
	@case{qw(manner stage fault word)} = @$more;
	push @cases, \%case;
}
foreach my $n (0 .. $#cases)
{
	my $case = $cases[$n];
	$case->{number} = $n + 1;
	$case->{name}   = "$case->{manner} $case->{stage} $case->{fault}";
	($case->{step}, $case->{first}) = split(/,/, $case->{stage});
	$case->{hits} = $case->{first} && $case->{first} eq 'first' ? 1 : 3;
}
cmp_ok(scalar @cases, '>=', 100, scalar(@cases) . ' cases');

# What the server does
sub effect
{
	my ($case) = @_;
	my $fault = $case->{fault};
	my ($later, $never) = @{ $reply{ $case->{step} } || [] };

	return { reply => $later }                  if $fault eq '4xx';
	return { reply => $never }                  if $fault eq '5xx';
	return { reply => '421 4.3.2 Closing' }     if $fault eq '421';
	return { drop  => 1 }                       if $fault eq 'close';
	return { reset => 1 }                       if $fault eq 'reset';
	return { silence => 1 }                     if $fault eq 'silence';
	return { garbage => "What's up?\r\n" }      if $fault eq 'garbage';
	return { endless => 1_000_000, drop => 1 }  if $fault eq 'line';
	return { garbage => "\0\0\0 \0\0\r\n" }     if $fault eq 'NUL';
	return { nul     => 1 }                     if $fault eq 'nul';
	return { split   => 0.002 }                 if $fault eq 'split';
	return {
		garbage => "250-and so on\r\n",
		repeat  => 70_000,
		drop    => 1
	} if $fault eq 'lines';
	return { early => $before{ $case->{stage} }[1] } if $fault eq 'early';
	return { early => '550 5.1.1 Nobody here' }      if $fault eq 'early 550';
	return { early => '554 5.7.1 Never' }            if $fault eq 'early 554';
	return {
		reply => '354 Go ahead',
		extra => '250 2.0.0 Ok',
		drop  => 1
	} if $fault eq 'early, gone';
	die "no such fault: $fault";
}

sub address
{
	my ($case, $n) = @_;
	return "r$n.$case->{number}\@example.com";
}

# Where the server does it
sub rules
{
	my ($case) = @_;
	my $early = $case->{fault} =~ /^early/;
	my %rule  = (%{ effect($case) }, port => $case->{port}, first => 1);
	my $step  = $early ? $before{ $case->{stage} }[0] : $case->{step};
	my $hits  = $case->{hits};
	my @rules;

	# the reply before the one to the third MAIL is that to the second dot
	$hits-- if $early && $step eq 'dot';
	if ($case->{step} eq 'RSET')
	{
		my %refused = (
			step  => 'RCPT',
			port  => $case->{port},
			match => '^r2\.',
			reply => '550 5.7.1 Never');
		if ($early && $case->{manner} eq 'lock-step')
		{
			%rule = (%refused, %rule);
		}
		else
		{
			push @rules, \%refused;
			$step = 'DATA' if $early;
			$rule{match} = '^$' if $early;
		}
	}
	elsif ($step eq 'RCPT' || $step eq 'DATA' || $step eq 'dot'
		|| $step eq 'body')
	{
		$rule{match} = "^r$hits\\.";
	}
	elsif ($step eq 'MAIL')
	{
		$rule{after} = $hits - 1;
		$rule{first} = 1;
	}
	$rule{step} = $step eq 'greeting' ? 'connect' : $step;

	# body: as soon as some of it is there, and nothing more is taken
	if ($case->{stage} eq 'body')
	{
		$rule{bytes} = 1000;
		$rule{deaf}  = 1;
		$rule{reply} = delete $rule{early} if $early;
	}

	# whoever is refused at EHLO tries HELO
	$rule{first} = 2 if $step eq 'EHLO' && $case->{fault} =~ /^[45]xx$/;
	$rule{accept} = 1
	  if $step eq 'dot' && $case->{word} eq 'copy' && $step eq $case->{step};
	return (@rules, \%rule);
}

# ---- the servers: as few processes as there are manners to speak

my %server_options = (
	pipelined   => {},
	'lock-step' => { pipelining => 0 },
	STARTTLS    => { tls => 1, starttls => 1, tls_required => 1 },
	AUTH        => {
		auth          => ['PLAIN'],
		user          => 'news',
		password      => 'secret',
		auth_required => 1
	});
my %server;

foreach my $kind (sort keys %server_options)
{
	my @mine = grep {
		$kind eq
		  ($server_options{ $_->{step} } ? $_->{step} : $_->{manner})
	} @cases;
	my @rules;

	foreach my $n (0 .. $#mine)
	{
		my $case = $mine[$n];
		@{$case}{qw(kind port)} = ($kind, $n + 1);
		next if $case->{step} eq 'connect';
		push @rules, rules($case);
		$case->{rule} = $#rules;
		$case->{times} = $rules[-1]{first};
	}
	$server{$kind} = Mailman::Relay->new(
		provoked => 1,
		%{ $server_options{$kind} },
		save       => 1,
		keywords   => ['HELP'],
		rcvbuf     => 65536,
		more_ports => [ (0) x $#mine ],
		refuse     => [
			map { $_->{port} }
			grep { $_->{step} eq 'connect' && $_->{fault} eq 'reset' } @mine
		],
		full => [
			map { $_->{port} }
			grep { $_->{step} eq 'connect' && $_->{fault} eq 'silence' } @mine
		],
		rules => [
			@rules,
			{
				step  => 'RCPT',
				match => '^r5\.',
				reply => '550 5.7.1 Not the fifth'
			}
		])->start;
}

# ---- the letters

my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	conf    => {
		wal_level                => 'logical',
		max_connections          => 40,
		max_worker_processes     => $slots + 10,
		'mailman.max_workers'    => $slots,
		'mailman.retry_schedule' => '1s'
	});

$node->sql("SELECT pg_create_logical_replication_slot('history',"
	  . " 'test_decoding')");

# Short where nothing is said, and long where a busy machine must not matter
sub relay_options
{
	my ($case) = @_;
	my $opening = $case->{step} =~ /^(?:connect|greeting|EHLO|STARTTLS|AUTH)$/;
	my %option  = (
		connections     => 1,
		connect_timeout => '60s',
		reply_timeout   => '60s',
		data_timeout    => '60s',
		dot_timeout     => '60s');

	# libcurl waits for a line that it can make sense of
	$option{connect_timeout} = $short if $opening && $case->{word} ne 'well';
	$option{reply_timeout} = $short if $case->{name} =~ /MAIL,first early/;
	if ($case->{fault} eq 'silence' && !$opening)
	{
		my $which =
			$case->{stage} =~ /^(?:DATA|body)$/   ? 'data'
		  : $case->{stage} =~ /^(?:dot|body,sent)$/ ? 'dot'
		  :                                           'reply';
		$option{"${which}_timeout"} = $short;
	}
	@option{qw(username password)} = ('news', 'secret')
	  if $case->{kind} eq 'AUTH';
	@option{qw(tls ca_file)} = ('require', $server{STARTTLS}->ca_file)
	  if $case->{kind} eq 'STARTTLS';
	$option{messages} = 2 if $case->{step} eq 'QUIT';
	return %option;
}

# Those that wait for a clock first
my @order = sort {
	($b->{fault} eq 'silence') <=> ($a->{fault} eq 'silence')
	  || $a->{number} <=> $b->{number}
} @cases;

foreach my $case (@order)
{
	my $n = $case->{number};

	$case->{relay} = $node->relay("m$n",
		$server{ $case->{kind} }->url('localhost', $case->{port}),
		relay_options($case));
	my $newsletter = $node->newsletter(
		relays        => ["m$n"],
		subscriptions => 5,
		pattern       => "r%s.$n\@example.com");

	# a mail that no kernel takes in one piece
	$node->sql("UPDATE mailman.subscription SET data = data"
		  . " || jsonb_build_object('filler', repeat(repeat('filler ', 10)"
		  . " || chr(10), 80000)) WHERE newsletter_id = $newsletter"
		  . " AND email LIKE 'r3.%'")
	  if $case->{stage} eq 'body';
	$case->{letter} = $node->letter(
		$newsletter,
		text_body => "Dear {{name}},\n\n{{data.filler}}\n",
		on_doubt  => $case->{word} eq 'held' ? 'hold' : 'resend');
	$node->sql("UPDATE mailman.subscription SET data = data"
		  . " || '{\"filler\": \"\"}' WHERE newsletter_id = $newsletter"
		  . " AND NOT data ? 'filler'");
}
my %by_letter = map { $_->{letter} => $_ } @cases;
my %by_relay  = map { $_->{relay}  => $_ } @cases;

# ---- the relay as supervision sees it; undef: there is no such view

my $has_status = $node->sql(
	"SELECT to_regclass('mailman.relay_status') IS NOT NULL") eq 't';

sub relay_state
{
	my ($relay) = @_;
	return unless $has_status;
	return $node->sql("SELECT coalesce(max(state), 'up')"
		  . " FROM mailman.relay_status WHERE relay = '$relay'");
}

sub note_relay_states
{
	return unless $has_status;
	foreach my $line (
		split(
			/\n/,
			$node->sql(
				"SELECT relay, state FROM mailman.relay_status"
				  . " WHERE state <> 'up'")))
	{
		my ($relay, $state) = split(/\|/, $line);
		$by_relay{$relay}{seen}{$state} = 1 if $by_relay{$relay};
	}
	return;
}

# ---- send them all

# What the server's log says of the relays: {letter => [ words, ... ]}
my $log_from = $node->log_position;

sub blamed
{
	my %words;
	foreach my $line ($node->log_lines(qr/letter \d+: relay "m/, $log_from))
	{
		my ($letter, $words) = $line =~ /letter (\d+): relay "m\d+": (.*)/
		  or next;
		push @{ $words{$letter} }, $words;
	}
	return %words;
}

# The fault of these lasts until somebody ends it
sub open_ports
{
	my @closed =
	  grep { $_->{step} eq 'connect' && !$_->{opened} } @cases or return;
	my %blamed = blamed();

	foreach my $case (grep { $blamed{ $_->{letter} } } @closed)
	{
		next
		  if $has_status && !$case->{seen}{'backing off'};
		my $server = $server{ $case->{kind} };
		foreach my $list (qw(refuse full))
		{
			$server->set(
				$list => [
					grep { $_ != $case->{port} }
					  @{ $server->{options}{$list} }
				]);
		}
		$case->{opened} = 1;
	}
	return;
}

# A person who has mended something; what was seen before that
sub resume
{
	my ($letter) = @_;
	my $case = $by_letter{$letter};

	push @{ $case->{paused} },
	  $node->sql(
		"SELECT state_reason || ' | ' || (SELECT max(attempts) || ' '"
		  . " || max(doubts) || ' ' || count(*) FROM mailman.delivery"
		  . " WHERE letter_id = l.id)"
		  . " FROM mailman.letter l WHERE id = $letter");
	push @{ $case->{out} }, relay_state($case->{relay}) if $has_status;
	$node->sql("SELECT mailman_resume($letter)");
	return;
}

my $start = time;
my @queue = @order;
my @open;
while (1)
{
	@open = split(
		/\n/,
		$node->sql("SELECT id, state FROM mailman.letter"
			  . " WHERE state NOT IN ('sent', 'draft') ORDER BY id"));
	$node->send((shift @queue)->{letter})
	  foreach @open + 1 .. ($at_once < @open + @queue
		? $at_once
		: @open + @queue);
	last if !@open && !@queue || time - $start > $patience;
	foreach my $line (@open)
	{
		my ($letter, $state) = split(/\|/, $line);
		resume($letter)
		  if $state eq 'paused'
		  && @{ $by_letter{$letter}{paused} || [] } < 3;
	}
	note_relay_states();
	open_ports();
	sleep 0.1;
}
my $took = time - $start;
is(@open + @queue, 0, 'every letter comes to its end');
foreach my $line (@open)
{
	my ($letter) = split(/\|/, $line);
	diag("not sent: $by_letter{$letter}{name}");
	$node->explain_letter($letter);
}

# ---- what happened: every row version, in order

# {column => value} of a line of test_decoding
sub columns
{
	my ($line) = @_;
	my %value;
	while ($line =~ / (\w+)\[[^\]]+\]:(?:'((?:[^']|'')*)'|(\S+))/g)
	{
		$value{$1} = defined $2 ? $2 : $3 eq 'null' ? undef : $3;
	}
	return \%value;
}

my (%path, %letter_path);
my %recipient = map { (split(/\|/))[ 0, 1 ] } split(
	/\n/,
	$node->sql('SELECT id, email FROM mailman.subscription'));
foreach my $line (
	split(
		/\n/,
		$node->sql(
			"SELECT replace(data, chr(10), ' ')"
			  . " FROM pg_logical_slot_get_changes('history', NULL, NULL)"
			  . " WHERE data ~ '^table mailman[.](delivery|letter): '")))
{
	my $row = columns($line);
	if ($line =~ /^table mailman\.letter:/)
	{
		my $states = $letter_path{ $row->{id} } ||= [];
		push @$states, $row->{state}
		  if !@$states || $states->[-1] ne $row->{state};
		next;
	}
	# what cost nobody anything is nobody's business
	next
	  if $row->{state} eq 'pending' || $row->{state} eq 'sending'
	  || ($row->{state} eq 'deferred' && $row->{attempts} == 0);
	my ($n) = $recipient{ $row->{subscription_id} } =~ /^r(\d)\./;
	my $step = "$row->{state}/$row->{attempts}";
	$step .= "/$row->{code}"
	  if $row->{state} eq 'failed'
	  || ($row->{state} eq 'deferred' && defined $row->{code});
	$step .= '/doubt' if $row->{doubts} && $row->{state} ne 'delivered';
	my $steps = $path{ $row->{letter_id} }{$n} ||= [];
	push @$steps, $step if !@$steps || $steps->[-1] ne $step;
}

# what the servers have, and where
my (%got, %sessions, %violations, %fired, %port_of);
foreach my $kind (keys %server)
{
	foreach my $event ($server{$kind}->events)
	{
		my $id = "$kind $event->{session}";
		if ($event->{event} eq 'open')
		{
			$port_of{$id} = "$kind $event->{port}";
			$sessions{ $port_of{$id} }++;
		}
		elsif ($event->{event} eq 'message')
		{
			push @{ $got{ join(',', @{ $event->{to} }) } },
			  {
				id      => $event->{message_id},
				number  => $event->{number},
				port    => $port_of{$id},
				content => $server{$kind}->content($event)
			  };
		}
		elsif ($event->{event} eq 'rule')
		{
			$fired{$kind}{ $event->{number} }++;
		}
		elsif ($event->{event} eq 'violation')
		{
			push @{ $violations{ $port_of{$id} } },
			  "$event->{what}: $event->{detail}";
		}
	}
}
my %email;
foreach my $line (
	split(
		/\n/,
		$node->sql(
			'SELECT address, message_id, reply FROM mailman.newsletter_email')))
{
	my ($address, @columns) = split(/\|/, $line);
	$email{$address} = \@columns;
}
my %blamed = blamed();

# ---- what must have happened

my %path_of = (
	well => 'delivered/1',
	free => 'delivered/1',
	back => 'delivered/1',
	open => 'delivered/1',
	auth => 'delivered/1',
	late => 'deferred/1/CODE delivered/2',
	fail => 'failed/1/CODE',
	copy => 'deferred/1/doubt delivered/2',
	held => 'doubtful/1/doubt');

# What became of one of them, in order
sub path
{
	my ($case, $n) = @_;
	return join(' ', @{ $path{ $case->{letter} }{$n} || [] });
}

sub check
{
	my ($case) = @_;
	my ($letter, $word) = @{$case}{qw(letter word)};
	my $place = "$case->{kind} $case->{port}";
	my $code  = substr(($case->{fault} eq '4xx'
			? $reply{ $case->{step} }[0]
			: $reply{ $case->{step} }[1]) || '', 0, 3);

	if ($case->{step} ne 'connect')
	{
		is($fired{ $case->{kind} }{ $case->{rule} },
			$case->{times}, 'it did happen');
	}

	# the one it hit, and the others
	foreach my $n (1 .. 5)
	{
		my $path = path($case, $n);
		my $who  = "r$n";
		if ($n == $case->{hits} && $word eq 'any')
		{
			like($path,
				qr{^(?:delivered/1|deferred/1 delivered/2)$}, "$who, hit");
		}
		elsif ($n == $case->{hits})
		{
			(my $expected = $path_of{$word}) =~ s/CODE/$code/;
			is($path, $expected, "$who, hit");
		}
		else
		{
			is( $path,
				$n == 5 || $n == 2 && $case->{step} eq 'RSET'
				? 'failed/1/550'
				: 'delivered/1',
				"$who: its own verdict");
		}

		# its own mail, as often as it should be
		my @mails  = @{ $got{ address($case, $n) } || [] };
		my $copies = $path =~ /^failed|^doubtful/ ? 0 : 1;
		$copies = 2 if $n == $case->{hits} && $word eq 'copy'
		  && $case->{step} eq 'dot';
		is(scalar @mails, $copies, "$who: number of mails");
		is( scalar(
				grep {
					$_->{content} !~ /^Dear Reader $n,\r?$/m
					  || $_->{port} ne $place
				} @mails
			),
			0,
			"$who: its own mail, at its own relay");
		next unless $path =~ /delivered/ && @mails;
		my ($message_id, $reply) = @{ $email{ address($case, $n) } };
		is(scalar(grep { $_->{id} ne $message_id } @mails),
			0, "$who: with the recorded Message-ID");
		is($reply, "Ok: queued as $mails[-1]{number}", "$who: its own reply");
	}
	is( $node->sql(
			    "SELECT enhanced, reply FROM mailman.delivery d"
			  . " JOIN mailman.subscription s ON s.id = subscription_id"
			  . " WHERE letter_id = $letter AND email LIKE 'r5.%'"),
		'5.7.1|Not the fifth',
		'r5: its own reply');
	is( $node->sql("SELECT doubts FROM mailman.letter WHERE id = $letter"),
		$word eq 'copy' || $word eq 'held' ? 1 : 0, 'doubts');
	is($node->sql($node->sums_sql($letter)), '', 'the sums of the tally');

	# the letter
	my $states = join(' ', @{ $letter_path{$letter} || [] });
	if ($word eq 'auth')
	{
		is($states, 'draft sending paused sending sent', 'letter');
		like($case->{paused}[0] || '',
			qr/AUTH: 535 5\.7\.8 Who are you \| 0 0 5$/,
			'paused in the words of the relay, at no cost');
		is_deeply($case->{out}, ['out'], 'the relay is out') if $has_status;
	}
	else
	{
		is($states, 'draft sending sent', 'letter');
	}

	# the relay
	my $words = join("\n", @{ $blamed{$letter} || [] });
	if ($word eq 'back' || $word eq 'auth')
	{
		isnt($words, '', "the relay is left alone: $words");
	}
	elsif ($word ne 'open' && $word ne 'any')
	{
		is($words, '', 'the relay is not to blame');
		is_deeply($case->{seen}, undef, 'and up all the time')
		  if $has_status;
	}
	is(relay_state($case->{relay}), 'up', 'the relay is up again')
	  if $has_status;
	if ($word eq 'well' || $word eq 'fail' && $case->{step} ne 'body')
	{
		is( $sessions{$place},
			$case->{step} eq 'QUIT' ? 3 : 1,
			'no session more than it needs');
	}
	is(join("\n", @{ $violations{$place} || [] }),
		'', 'nothing against the protocol')
	  unless $case->{fault} =~ /^early/;
	return;
}

foreach my $case (@cases)
{
	my $passed =
	  subtest($case->{name} . ": $case->{word}", sub { check($case) });
	next if $passed;
	diag(
		join("\n",
			"$case->{name}, letter $case->{letter}, $case->{kind}"
			  . " port $case->{port}:",
			(map { "r$_: " . path($case, $_) } 1 .. 5),
			@{ $blamed{ $case->{letter} } || [] }));
}

# ---- the matrix

# verdict/attempts it cost/relay, as observed
sub cell
{
	my ($case) = @_;
	my $path  = path($case, $case->{hits});
	my $place = "$case->{kind} $case->{port}";
	my $usual = $case->{step} eq 'QUIT' ? 3 : 1;
	my $verdict =
		$path eq ''                      ? 'lost'
	  : $case->{paused}                  ? 'paused'
	  : $path =~ /^failed/               ? 'failed'
	  : $path =~ /^doubtful/             ? 'held'
	  : $path =~ m{^deferred/\d.*/doubt} ? 'doubt'
	  : $path =~ /^deferred/             ? 'later'
	  : $sessions{$place} > $usual       ? 'again'
	  :                                    'sent';
	my $cost = $path =~ m{/(\d)} ? $1 : '-';
	$cost = 0 if $path =~ m{^delivered/1$};
	my $relay =
	  !$blamed{ $case->{letter} } ? 'up' : $case->{paused} ? 'out' : 'off';
	return "$verdict/$cost/$relay";
}

my %cell = map { ("$_->{manner} $_->{stage} $_->{fault}" => cell($_)) } @cases;
my @lines;
foreach my $columns ([ @faults[ 0 .. 5 ] ], [ @faults[ 6 .. $#faults ] ])
{
	foreach my $manner ('pipelined', 'lock-step')
	{
		push @lines,
		  sprintf('%-12s' . '%-13s' x @$columns, $manner, @$columns);
		foreach my $line (split(/\n/, $manner{$manner}))
		{
			my ($stage) = split(' ', $line);
			push @lines,
			  sprintf(
				'%-12s' . '%-13s' x @$columns,
				$stage,
				map { $cell{"$manner $stage $_"} || '-' } @$columns);
		}
		push @lines, '';
	}
}
push @lines, map { "$_: $cell{$_}" } map { "@{$_}[0 .. 2]" } @more;
push @lines, '', map { "no case: $_: $no_case{$_}" } sort keys %no_case;
s/ +$// foreach @lines;
diag(
	join("\n",
		'verdict/attempts it cost/relay (up, backed off, out)',
		'', @lines, '',
		sprintf('%d cases in %.0f s', scalar @cases, $took)));

$node->stop;
$_->stop foreach values %server;
done_testing();
