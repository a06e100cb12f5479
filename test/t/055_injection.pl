
#-------------------------------------------------------------------------
#
# 055_injection.pl
#	  Attempts to smuggle in a header field, a recipient, a part, a command
#	  or another mail, through every door there is.
#
# Each is either refused with an error that names the fault, or it comes out
# harmless: the relay gets one mail, to one recipient, and two readers find the
# fields of a letter without guile, no more, the parts that were meant, and the
# text as it was written.  The list of attempts is printed with what became
# of each.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use utf8;
use warnings;

use Encode qw(encode);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Injections;
use Mailman::Letters;
use Mailman::Reader;
use Mailman::Relay;

my $relay = Mailman::Relay->new(save => 1, smtputf8 => 1)->start;
my $node = Mailman::Cluster->create('main',
	preload => 1,
	conf    => {
		'mailman.max_workers'  => 16,
		'max_worker_processes' => 30 });
$node->relay('relay', $relay->url, connections => 16);
my $session = $node->session;

# ---- a letter for each, with one thing evil in it

my %base = (
	newsletter => {
		name               => 'News',
		relays             => '{relay}',
		from_name          => 'Example News',
		from_address       => 'news@a.example',
		reply_to           => 'office@a.example',
		bounce_address     => 'b+{{verp}}@a.example',
		list_id            => 'weekly.a.example',
		unsubscribe_url    => 'https://a.example/{{token}}',
		unsubscribe_mailto => 'leave@a.example',
		feedback_id        => 'example',
		precedence         => 'bulk'
	},
	partial      => { name => 'part', template => 'part' },
	subscription => { name => 'Ann', data => { v => '' } },
	letter       => {
		subject   => 'S{{{data.v}}}{{{variables.v}}}',
		text_body => "T{{{data.v}}}|{{{variables.v}}}|{{>part}}|"
		  . "{{newsletter.name}}|\nend\n",
		html_body => "<p>{{data.v}}|{{variables.v}}|{{newsletter.name}}</p>\n",
		headers   => { 'X-Own' => 'H{{{data.v}}}{{{variables.v}}}' }
	},
	attachment => {
		name         => 'a.txt',
		content_type => 'text/plain',
		content_id   => undef,
		content      => "content\r\n"
	});

# A copy of %base with one thing evil in it; values are found again in {was}
sub evil_letter
{
	my ($id, $place, $value) = @_;
	my %rows = map { $_ => { %{ $base{$_} } } } keys %base;

	$rows{newsletter}{id} = $rows{letter}{id} = $rows{subscription}{id} = $id;
	$rows{subscription}{email} = "r$id\@b.example";
	$rows{$_}{newsletter_id} = $id foreach qw(partial subscription letter);
	$rows{attachment}{letter_id} = $id;
	$rows{variables} = { v => '' };

	if    ($place eq 'variables')         { $rows{variables} = { v => $value }; }
	elsif ($place eq 'variables.json')    { $rows{variables} = $value; }
	elsif ($place eq 'subscription.data')
	{
		$rows{subscription}{data} = { v => $value };
	}
	elsif ($place eq 'letter.headers.name')
	{
		$rows{letter}{headers} = { $value => 'x' };
	}
	elsif ($place eq 'letter.headers.value')
	{
		$rows{letter}{headers} = { 'X-Own' => $value };
	}
	elsif ($place =~ /^(\w+)\.(\w+)\.json$/) { $rows{$1}{$2} = $value; }
	elsif ($place =~ /^(\w+)\.(\w+)$/ && $rows{$1}) { $rows{$1}{$2} = $value; }
	$rows{newsletter}{dkim_selector} = 's'
	  if $place eq 'newsletter.dkim_domain';
	$rows{newsletter}{dkim_domain} = 'b.example'
	  if $place eq 'newsletter.dkim_selector';
	return \%rows;
}

sub text { return Mailman::Letters::value($_[0]); }

sub statements
{
	my ($rows) = @_;
	my $id = $rows->{letter}{id};
	return join('',
		map { Mailman::Letters::insert($_, %{ $rows->{$_} }) }
		  qw(newsletter partial subscription letter attachment))
	  . "SELECT mailman_send($id, ARRAY[$id], "
	  . text($rows->{variables})
	  . '::jsonb)';
}

# What is no letter at all
sub other_statement
{
	my ($place, $value) = @_;
	my $quoted = Mailman::Cluster::literal(encode('UTF-8', $value));

	return "SELECT mailman_subscribe(1, $quoted)"
	  if $place eq 'mailman_subscribe';
	return "CREATE SERVER evil FOREIGN DATA WRAPPER mailman_smtp OPTIONS ("
	  . ($1 eq 'url' ? '' : "url 'smtp://relay.example', ") . "$1 $quoted)"
	  if $place =~ /^server\.(\w+)/;
	return 'CREATE USER MAPPING FOR PUBLIC SERVER relay OPTIONS ('
	  . ($1 eq 'username' ? "password 'x'" : "username 'x'") . ", $1 $quoted)"
	  if $place =~ /^mapping\.(\w+)/;
	return;
}

# In a transaction; the first error, without its prefix, or undef
sub attempt
{
	my (@sql) = @_;
	my $error;

	$session->query('BEGIN');
	foreach my $sql (@sql)
	{
		(undef, $error) = $session->try($sql);
		last if defined $error;
	}
	$session->query($error ? 'ROLLBACK' : 'COMMIT');
	return unless defined $error;
	my ($first) = $error =~ /^ERROR: +(.*)/m;
	return $first;
}

$session->query("CREATE FUNCTION pg_temp.u(text) RETURNS text LANGUAGE sql"
	  . " AS \$\$SELECT convert_from(decode(\$1, 'hex'), 'UTF8')\$\$");

# the letter without guile, by which the others are measured, is number 1
my %accepted = (1 => evil_letter(1, 'none', ''));
is(attempt(statements($accepted{1})), undef, 'the letter without guile');

sub shown
{
	my ($value) = @_;
	$value = substr($value, 0, 50) . '...' if length $value > 53;
	$value =~ s/\r/\\r/g;
	$value =~ s/\n/\\n/g;
	$value =~ s/([^\x20-\x7e])/sprintf '\\x{%x}', ord $1/ge;
	return $value;
}

my @attempts = Mailman::Injections::attempts();
my $id = 1;
my %number_of;
foreach my $attempt (@attempts)
{
	my ($place, $value, $refused) = @$attempt;
	my $name = "$place: " . shown($value);
	my $other = other_statement($place, $value);
	my $error;

	$id++;
	if (defined $other) { $error = attempt($other); }
	else
	{
		my $rows = evil_letter($id, $place, $value);
		if ($value eq 'the boundaries')
		{
			my ($table, $column) = split /\./, $place;

			# those it really has: they depend on the ids and the secret
			$rows->{$table}{$column} = $base{$table}{$column};
			my @insert = split /^(?=SELECT)/m, statements($rows);
			$error = attempt("$insert[0]SELECT 1");
			my @found = $session->query("SELECT mailman_preview($id, $id)")
			  =~ /boundary="([^"]+)"/g;
			is(scalar @found, 2, 'a letter with two boundaries');
			$value = join('',
				map { "x\r\n--$_\r\nContent-Type: text/html\r\n\r\nx\r\n--$_--\r\n" }
				  @found);
			$rows->{$table}{$column} = $value;
			my $literal =
			  Mailman::Letters::value($value, $column eq 'content');
			$error ||= attempt("UPDATE mailman.$table SET $column = $literal WHERE "
				  . ($table eq 'letter' ? '' : 'letter_') . "id = $id", $insert[1]);
		}
		else { $error = attempt(statements($rows)); }
		$accepted{$id} = $rows unless defined $error;
	}
	$number_of{$id} = [ $name, $error ];
	if ($refused)
	{
		like(defined $error ? $error : 'accepted', qr/^$refused/, "refused: $name");
	}
	else { is($error, undef, "accepted: $name"); }
}

# ---- what arrives

ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE state NOT IN ('sent', 'draft')", 0),
	'all that were accepted are sent');
is( $node->sql("SELECT string_agg(letter_id || ': ' || reason, E'\\n')"
	  . " FROM mailman.delivery WHERE state <> 'delivered'"),
	'', 'and delivered');
my %letter_of = map { split /\|/ } split /\n/,
  $node->sql("SELECT message_id, letter_id FROM mailman.newsletter_email");
my %message;
push @{ $message{ $letter_of{ $_->{message_id} } // 'strange' } }, $_
  foreach $relay->messages;
is_deeply([ sort { $a <=> $b } keys %message ],
	[ sort { $a <=> $b } keys %accepted ], 'each has come, and nothing else');

my @ids = sort { $a <=> $b } keys %accepted;
my @python =
  Mailman::Reader::python(map { $relay->saved($message{$_}[0]) } @ids);
my %seen = map {
	$_ => {
		python => shift @python,
		perl => Mailman::Reader::perl($relay->content($message{$_}[0]))
	}
} @ids;

# What a reader must find; blanks of a field may run together
sub expected
{
	my ($rows) = @_;
	my ($d, $v) = ($rows->{subscription}{data}{v}, $rows->{variables}{v});
	my $letter = $rows->{letter};
	my $expand = sub {
		my ($template, $html) = @_;
		my $escape =
		  $html ? \&Mailman::Letters::html : sub { return $_[0]; };
		my %value = (
			'{{{data.v}}}'        => $d,
			'{{{variables.v}}}'   => $v,
			'{{data.v}}'          => $escape->($d),
			'{{variables.v}}'     => $escape->($v),
			'{{newsletter.name}}' => $escape->($rows->{newsletter}{name}),
			'{{>part}}'           => $rows->{partial}{template});
		my $any = join('|', map { quotemeta } sort keys %value);
		$template =~ s/($any)/$value{$1}/g;
		return $template;
	};
	my $file = $rows->{attachment};
	my $content = $file->{content};

	return {
		subject => field($expand->($letter->{subject})),
		own     => field($expand->($letter->{headers}{'X-Own'})),
		to      => [
			[
				field($rows->{subscription}{name}),
				$rows->{subscription}{email}
			] ],
		from => [ [ field($rows->{newsletter}{from_name}), 'news@a.example' ] ],
		reply_to => [ [ '', 'office@a.example' ] ],
		bodies   => [
			[ 'text/plain', Mailman::Letters::crlf($expand->($letter->{text_body})) ],
			[ 'text/html', Mailman::Letters::crlf($expand->($letter->{html_body}, 1)) ] ],
		files => [
			[ field($file->{name}), 'text/plain', 'attachment', $content ] ],
		defects => []
	};
}

sub field
{
	my ($text) = @_;
	$text = Mailman::Letters::clean($text);
	$text =~ s/ +/ /g;
	$text =~ s/^ | \z//g;
	return $text;
}

sub found
{
	my ($seen) = @_;
	return {
		subject => field($seen->{values}{Subject}),
		own     => field($seen->{values}{'X-Own'}),
		(
			map {
				$_ => [ map { [ field($_->[0]), $_->[1] ] } @{ $seen->{$_} } ]
			} qw(to from reply_to)),
		bodies => $seen->{bodies},
		files  => [
			map {
				[ field($_->{name} // ''), $_->{type}, $_->{disposition},
					$_->{content} ]
			} @{ $seen->{files} } ],
		defects => $seen->{defects}
	};
}

my $fields = $seen{1}{python}{fields};
note(join(' ', @$fields));
foreach my $id (@ids)
{
	my $rows = $accepted{$id};
	my $name = $id == 1 ? 'the letter without guile' : $number_of{$id}[0];
	my $message = $message{$id}[0];

	subtest "harmless: $name" => sub {
		is(scalar @{ $message{$id} }, 1, 'one mail');
		is_deeply(
			$message->{to},
			[ encode('UTF-8', $rows->{subscription}{email}) ],
			'one recipient');
		like($message->{from}, qr/^b\+[\w-]+\@a\.example\z/, 'our sender');
		foreach my $reader (qw(python perl))
		{
			my $seen = $seen{$id}{$reader};
			is_deeply($seen->{fields}, $fields, "$reader: the fields");
			is_deeply(found($seen), expected($rows), "$reader: their content");
		}
	};
}

# ---- the list

print "# ", '-' x 70, "\n";
foreach my $id (sort { $a <=> $b } keys %number_of)
{
	my ($name, $error) = @{ $number_of{$id} };
	printf "# %-8s %s%s\n", defined $error ? 'refused' : 'harmless', $name,
	  defined $error ? ' -> ' . shown(substr($error, 0, 5)) : '';
}
cmp_ok(scalar @attempts, '>=', 40, scalar(@attempts) . ' attempts');

$session->quit;
$node->stop;
$relay->stop;
done_testing();
