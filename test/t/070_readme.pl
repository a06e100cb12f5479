
#-------------------------------------------------------------------------
#
# 070_readme.pl
#	  README.md is right: what it shows works, what it lists is all there is.
#	  And SECURITY.md names nothing that is not there.
#
# Every block marked sql goes through psql, every block marked sh through
# bash, in the order of the file, then those of SECURITY.md, against one cluster.  Only the host of a
# relay is another: scripted ones stand in, with TLS and AUTH where README
# speaks of them.  A line that ends in "--> text" has text as the last line of
# its answer; "--> ERROR: text" is an error that begins so.  Any other error
# fails.
#
# The reference is compared with the catalogs, both ways: functions with their
# arguments, tables and views with columns, types and defaults, settings with
# their ranges, options of relays.  Words of messages must be in the source.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use File::Temp ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $readme = slurp_file('README.md');
my $security = slurp_file('SECURITY.md');
my $node = Mailman::Cluster->create(
	'main',
	preload => 1,
	extension => 0);
my $secure = Mailman::Relay->new(
	tls => 1,
	implicit_tls => 1,
	auth => ['PLAIN'],
	user => 'me',
	password => 'secret',
	auth_required => 1)->start;
my $plain = Mailman::Relay->new->start;
my $dir = File::Temp->newdir('readme_XXXXXX', TMPDIR => 1);

$ENV{PGHOST}     = $node->host;
$ENV{PGPORT}     = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{PGOPTIONS}  = '-c client_min_messages=notice';

# ---- the blocks

# With the relays that stand in
sub stand_in
{
	my ($text) = @_;
	$text =~ s{url 'smtps://[^']*'}
		{url 'smtps://localhost:$secure->{port}', ca_file '$secure->{ca_file}'}g;
	$text =~ s{url 'smtp://[^']*'}
		{url 'smtp://127.0.0.1:$plain->{port}', tls 'none'}g;
	return $text;
}

sub run_sql
{
	my ($line, $text) = @_;
	my @expected;
	my $script = "\\set VERBOSITY terse\n";
	my $number = $line;
	my $out = '';

	foreach my $part (split(/\n/, stand_in($text)))
	{
		$number++;
		$script .= "$part\n";
		next unless $part =~ /-->\s?(.*?)\s*$/;
		push @expected, [ $number, $1 ];
		$script .= "\\echo <<$number>>\n";
	}
	$script .= "\\echo <<end>>\n";
	push @expected, [ 'end', undef ];
	IPC::Run::run([ 'psql', '-XAtq' ],
		'<', \$script, '>', \$out, '2>&1',
		init => sub { chdir "$dir" });
	foreach (@expected)
	{
		my ($where, $answer) = @$_;
		my $name = $where eq 'end' ? "block at line $line" : "line $where";

		$out =~ s/\A(.*?)<<\Q$where\E>>\n//s
		  or return fail("$name: psql has ended") || diag($out);
		my @said = grep { !/^(?:NOTICE|WARNING|HINT|DETAIL):/ } split(/\n/, $1);
		my @errors = grep { /^(?:ERROR|FATAL|PANIC): |^invalid command|^error:/ }
		  @said;
		if (defined $answer && $answer =~ /^ERROR: +(.*)/)
		{
			is(scalar(@errors), 1, "$name: an error") or diag("@said");
			is(substr($errors[0] || '', 0, length("ERROR:  $1")),
				"ERROR:  $1", "$name: which one");
			next;
		}
		is("@errors", '', "$name: no error");
		is($said[-1], $answer, "$name: its answer") if defined $answer;
	}
	return;
}

sub run_sh
{
	my ($line, $text) = @_;
	my $out = '';
	my $ok = IPC::Run::run([ 'bash', '-e' ],
		'<', \$text, '>', \$out, '2>&1',
		init => sub { chdir "$dir" });
	ok($ok, "commands at line $line") or diag($out);
	unlike($out, qr/^(?:psql: |.*ERROR: )|look at/m, 'without an error');
	return;
}

my %blocks;
my $guides = $readme . $security;
while ($guides =~ /^```(\w+)\n(.*?)^```$/msg)
{
	my ($kind, $text) = ($1, $2);
	my $line = 1 + (substr($guides, 0, $-[2]) =~ tr/\n//);
	$blocks{$kind}++;
	run_sql($line - 1, $text) if $kind eq 'sql';
	run_sh($line, $text) if $kind eq 'sh';
}
cmp_ok($blocks{sql} || 0, '>', 15, 'there were blocks of SQL');
cmp_ok($blocks{sh} || 0, '>', 2, 'and of commands');
is(join(' ', sort keys %blocks), 'sh sql', 'all marked blocks were run');

ok(-s "$dir/letter-1.csv", 'a list was written');
like(slurp_file("$dir/report.html"), qr/^<!DOCTYPE html>/i, 'and a report');
ok( $node->wait_for(
		"SELECT count(*) FROM mailman.letter WHERE state = 'sending'", '0'),
	'what was sent has left');
is( $node->sql("SELECT string_agg(id || state, ' ' ORDER BY id)"
		  . " FROM mailman.letter WHERE id IN (1, 4)"),
	'1sent 4sent', 'both letters');
ok( $node->wait_for(
		"SELECT string_agg(state, ' ') FROM mailman.test", 'delivered'),
	'and a test');
is($secure->pairs, 3, 'which are all mails there were');
is($secure->violations + $plain->violations, 0, 'decently');

# ---- headings and links

my %anchor;
while ($readme =~ /^#{2,4} (.*)$/mg)
{
	my $slug = lc $1;
	$slug =~ s/[^\w\- ]//g;
	$slug =~ s/ /-/g;
	$anchor{$slug} = 1;
}
my %linked = map { $_ => 1 } $readme =~ /\]\(#([\w-]+)\)/g,
  $security =~ /\]\(README\.md#([\w-]+)\)/g;
is(join(' ', grep { !$anchor{$_} } sort keys %linked),
	'', 'links lead somewhere');
my ($toc) = $readme =~ /^(\| to learn .*?)\n\n/ms;
my ($sections) = $readme =~ /(^## .*)/ms;
is( join(', ',
		grep { my $h = $_; $toc !~ /\[\Q$h\E\]/ }
		grep { !/^(?:Options of relays)$/ || $toc !~ /\[Options/ }
		$sections =~ /^## (.*)$/mg),
	'', 'every section is in the table of contents');

# ---- the reference: functions

sub section
{
	my ($heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	my $depth = length $level;
	my ($text) = $readme =~ /^\Q$heading\E\n(.*?)(?=^#{1,$depth} |\z)/ms;
	return defined $text ? $text : '';
}

my $functions = section('## Functions');
my %functions;
foreach (
	split(
		/\n/,
		$node->sql(q{
			SELECT p.proname || '|' || pg_get_function_arguments(p.oid)
			  FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
			   AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
			  JOIN pg_extension e ON e.oid = d.refobjid
			   AND d.refclassid = 'pg_extension'::regclass
			 WHERE e.extname = 'mailman' AND p.pronamespace = e.extnamespace})
	))
{
	my ($name, $arguments) = split(/\|/, $_, 2);
	$arguments =~ s/::[a-z]+(?:\[\])?//g;
	$arguments =~ s/\bIN //g;
	push @{ $functions{$name} }, $arguments;
}
my %shown;
push @{ $shown{$1} }, $2
  while $functions =~ /`(?:CALL )?(mailman_\w+)\(([^`]*?)\)(?: →[^`]*)?`/g;
foreach my $name (sort keys %functions)
{
	foreach my $arguments (@{ $functions{$name} })
	{
		# what it gives back stands behind the arrow; INOUT has no default here
		(my $plain_arguments = $arguments) =~ s/,? OUT .*//;
		$plain_arguments =~ s/(INOUT state text) DEFAULT NULL/$1/;
		ok((grep { $_ eq $plain_arguments } @{ $shown{$name} || [] }) > 0,
			"$name($plain_arguments) is in the reference");
	}
}

# ---- tables and views

my %relations = map { split(/\|/, $_, 2) } split(
	/\n/,
	$node->sql(q{SELECT relname, relkind FROM pg_class
		WHERE relnamespace = 'mailman'::regnamespace AND relkind IN ('r', 'v')})
);
my ($internal) = section('## Tables') =~ /(`posting`.*?) are internal\./s;
my %internal = map { $_ => 1 } $internal =~ /`(\w+)`/g;
my ($common) = section('## Tables') =~ /^Not listed: (.*?), when/ms;
my %common = map { $_ => 1 } $common =~ /`(\w+)`/g;
my %short = ('timestamp with time zone' => 'timestamptz');
foreach my $relation (sort keys %relations)
{
	next if $internal{$relation};
	my ($text) = $readme =~
	  /^(\| \*\*`mailman\.$relation`\*\* \|.*?\n)(?!\| `)/ms;
	isnt($text, undef, "mailman.$relation is in the reference") or next;
	my %columns;
	my $written = $text =~ /\A.*?\| \| \|/;
	foreach (split(/\n/, $text))
	{
		next unless /^\| `/;
		if ($written)
		{
			my (undef, $names, $type, $default) = split(/\s*\|\s*/, $_);
			$columns{$_} = "$type $default" foreach $names =~ /`(\w+)`/g;
		}
		else
		{
			# names, then the type of those before it
			my (undef, $names) = split(/ *\| */, $_);
			while ($names =~
				/((?:`\w+`, )*`\w+`) ([a-z][a-z ]*?)(?=,|$)/g)
			{
				my $type = $2;
				$columns{$_} = $type foreach $1 =~ /`(\w+)`/g;
			}
		}
	}
	if ($readme =~ /^In `mailman.$relation` the extension writes: (.*?)\n\n/ms)
	{
		$columns{$_} = 'any' foreach $1 =~ /`(\w+)`/g;
	}
	my $found = $node->sql(qq{
		SELECT a.attname || '|' || format_type(a.atttypid, a.atttypmod) || '|'
			|| coalesce(trim(both '''' from regexp_replace(
				pg_get_expr(d.adbin, d.adrelid), '::[a-z]+(\\[\\])?\$', '')),
				CASE WHEN a.attnotnull AND a.attidentity = ''
				THEN 'required' ELSE '' END)
		  FROM pg_attribute a
		  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid
		   AND d.adnum = a.attnum
		 WHERE a.attrelid = 'mailman.$relation'::regclass AND a.attnum > 0
		   AND NOT a.attisdropped});
	foreach (split(/\n/, $found))
	{
		my ($column, $type, $default) = split(/\|/, $_, -1);
		my $told = delete $columns{$column};
		next if $written && !defined $told && $common{$column};
		$type = $short{$type} || $type;
		isnt($told, undef, "mailman.$relation.$column is in the reference")
		  or next;
		next if $told eq 'any';

		# two that share a row share its words: from_name, from_address
		if ($written)
		{
			$default = '' if $column =~ /^from_/;
			$told =~ s/ +$//;
			is($told, $default eq '' ? $type : "$type $default",
				"its type and default");
		}
		else
		{
			is($told, $type, 'its type');
		}
	}
	is(join(' ', sort keys %columns),
		'', "mailman.$relation has no other columns");
}
is(join(' ', grep { !$relations{$_} } sort keys %internal),
	'', 'internal tables there are');

# ---- what may be done with a letter in which state

$node->sql("RESET ROLE; CREATE SERVER dead FOREIGN DATA WRAPPER mailman_smtp"
	  . " OPTIONS (url 'smtp://127.0.0.1:1', tls 'none')");
my $newsletter =
  $node->newsletter(relays => ['dead'], subscriptions => 2);
my %letter = map { $_ => $node->letter($newsletter) }
  qw(draft scheduled sending paused cancelled);
$node->sql("UPDATE mailman.letter SET send_at = now() + interval '1 d'"
	  . " WHERE id = $letter{scheduled}");
$node->send($letter{$_}) foreach qw(scheduled sending paused cancelled);
$node->sql("SELECT mailman_pause($letter{paused}),"
	  . " mailman_cancel($letter{cancelled})");
$letter{sent} = 4;
$node->sql("SELECT mailman_subscribe(1, 'late\@example.org')");
foreach my $state (qw(draft scheduled sending paused sent cancelled))
{
	my $id = $letter{$state};
	my ($row) = section('### States') =~ /^\| `$state` \| (.*) \|$/m;
	my @cells = split(/ \| /, $row);

	foreach my $what (
		"mailman_send($id)", "mailman_pause($id)",
		"mailman_resume($id)", "mailman_cancel($id)", 'content')
	{
		my $cell = shift @cells;
		my $do = $what eq 'content'
		  ? "UPDATE mailman.letter SET subject = 'Other' WHERE id = $id"
		  : "SELECT $what";
		my $session = $node->session;
		my (undef, $error) = $session->try("BEGIN; $do");
		my $name = "$what of a letter that is $state: $cell";

		if ($cell =~ /^(55\d+|no)$/)
		{
			my $code = $1 eq 'no' ? '55006' : $1;
			like($error || '', qr/^ERROR:  $code:/, $name);
		}
		else
		{
			my @states = $cell =~ /`(\w+)`/g;
			@states = ($state) unless @states;
			is($error, undef, "$name, no error");
			my $now = $session->query('SELECT coalesce((SELECT state FROM'
				  . " mailman.progress WHERE letter_id = $id), 'draft')");
			ok((grep { $_ eq $now } @states) > 0, "$name, now $now");
		}
		$session->try('ROLLBACK');
		$session->quit;
	}
}

# ---- settings

my $settings = section('## Settings');
my %settings;
while ($settings =~ /^\| `(mailman\.\w+)` \| (.*?) \| (.*?) \|/mg)
{
	$settings{$1} = [ $2, $3 ];
}
foreach (
	split(
		/\n/,
		$node->sql(q{
			SELECT concat_ws('|', name, coalesce(unit, ''), boot_val,
							 coalesce(min_val, ''), coalesce(max_val, ''))
			  FROM pg_settings WHERE name LIKE 'mailman.%'})))
{
	my ($name, $unit, @values) = split(/\|/, $_, -1);
	my $told = delete $settings{$name};
	isnt($told, undef, "$name is in the reference") or next;
	next if $name eq 'mailman.retry_schedule' && $told->[0] eq $values[0];
	if ($name eq 'mailman.key_file')
	{
		is($told->[0], $values[0] eq '' ? 'none' : $values[0], 'its default');
		next;
	}
	if ($name eq 'mailman.enabled')
	{
		is($told->[0], $values[0], 'its default');
		next;
	}
	my @told = ($told->[0], split(/–/, $told->[1]));
	@told = map {
		$node->sql("SELECT round(extract(epoch FROM interval '$_') * 1000)")
	} @told if $unit eq 'ms';
	@told = map { $node->sql("SELECT pg_size_bytes('$_') / 1024") } @told
	  if $unit eq 'kB';
	is_deeply(\@told, \@values, 'its default and range');
}
is(join(' ', sort keys %settings), '', 'there are no other settings');

# ---- options: what the validator says

my $options = section('## Options of relays');
my $hint = $node->told(
	"CREATE SERVER s FOREIGN DATA WRAPPER mailman_smtp OPTIONS (zzzzzzzz 'x')");
my ($known) = $hint =~ /Valid options here are: (.*)\./;
$hint = $node->told(
	"CREATE USER MAPPING FOR PUBLIC SERVER ses OPTIONS (zzzzzzzz 'x');"
	  . "CREATE USER MAPPING FOR editor SERVER ses OPTIONS (zzzzzzzz 'x')");
my ($mapping) = $hint =~ /Valid options here are: (.*)\./;
my %options;
foreach ($options =~ /^\| (`.*?) \|/mg)
{
	$options{$_} = 1 foreach /`(\w+)`/g;
}
is(join(' ', sort keys %options),
	join(' ', sort split(/, /, "$known, $mapping")),
	'options of relays and user mappings');

# ---- names that stand anywhere

my $metrics = slurp_file('src/mailman-metrics.yaml');
my %schema = map { $_ => 1 } split(
	/\n/,
	$node->sql(q{
		SELECT relname FROM pg_class
		 WHERE relnamespace = 'mailman'::regnamespace
		UNION SELECT proname FROM pg_proc
		 WHERE pronamespace = 'mailman'::regnamespace
		UNION SELECT substr(name, 9) FROM pg_settings
		 WHERE name LIKE 'mailman.%'}));
my %files = map { $_ => 1 } qw(h c so control);
my %unknown;
while ($guides =~ /\bmailman\.([a-z_]+)/g)
{
	$unknown{"mailman.$1"} = 1 unless $schema{$1} || $files{$1};
}
while ($guides =~ /\b(mailman_\w+)/g)
{
	my $name = $1;
	next if $functions{$name} || $name eq 'mailman_smtp';
	(my $metric = $name) =~ s/^(mailman_[a-z]+(?:_[a-z]+)*?)_.*/$1/;
	$unknown{$name} = 1
	  unless grep { $name =~ /^\Q$_\E_/ } $metrics =~ /^(mailman_\w+):/mg;
}
is(join(' ', sort keys %unknown), '', 'every name in it exists');

# ---- what a worker waits for

my ($events) = $readme =~ /^\| wait event .*?\n(.*?and `mailman_wait.*?\n|.*?in `MailmanLetter`)/ms;
is_deeply(
	[ sort { $a cmp $b } $events =~ /`(Mailman\w+)`/g ],
	[ sort { $a cmp $b } slurp_file('src/wait.c') =~ /"(Mailman\w+)"/g ],
	'wait events');

# ---- messages are in the source

my $source = join("\n",
	map { slurp_file($_) } glob('src/*.c src/*.sql src/*.h'));
$source =~ s/"\s*(?:INT64_FORMAT|PRId64)\s*"/%/g;
$source =~ s/"\s*\n\s*"//g;
$source =~ s/\\"/"/g;
my $messages = section('## When something is wrong');
my $count = 0;
foreach my $row ($messages =~ /^\| (`.*?) \| /mg)
{
	# these are PostgreSQL's or libcurl's
	next if $row =~ /error setting certificate|terminating background/;
	next if $row =~ /permission denied for function/;
	foreach my $message ($row =~ /`([^`]*)`/g)
	{
		foreach my $part (split(/"?\b[NX]\b"?|: it is sending/, $message))
		{
			$part =~ s/^ +| +$//g;
			next if length $part < 5 || $part eq 'letter';
			$count++;
			ok(index($source, $part) >= 0, "message: $part");
		}
	}
}
cmp_ok($count, '>', 30, 'there are messages');

done_testing();
