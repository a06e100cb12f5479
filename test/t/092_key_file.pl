
#-------------------------------------------------------------------------
#
# 092_key_file.pl
#	  mailman.key_file: secrets and private keys are in the tables, in a dump
#	  and in the data directory, but wrapped; without the file nothing is sent,
#	  and when it is there again letters go on by themselves.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

use strict;
use warnings;

use File::Find;
use MIME::Base64 qw(encode_base64);
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;

use Mailman::Cluster;
use Mailman::Relay;

my $dir  = PostgreSQL::Test::Utils::tempdir();
my $file = "$dir/mailman.key";

# 32 random bytes in hexadecimal digits
sub new_key
{
	my $key = `openssl rand -hex 32`;
	chomp $key;
	return $key;
}

sub write_file
{
	my ($text, $mode) = @_;

	unlink $file;
	append_to_file($file, $text);
	chmod(defined $mode ? $mode : 0600, $file) or die "chmod: $!";
	return;
}

my $key = new_key();
write_file("# for tests\n$key\n");

my $relay = Mailman::Relay->new->start;
my %conf  = ('mailman.key_file' => $file, 'mailman.poll_interval' => 100);
my $node  = Mailman::Cluster->create('main', preload => 1, conf => \%conf);

$node->relay('relay', $relay->url, connections => 2);
$node->sql(
	q{CREATE ROLE app LOGIN; GRANT USAGE ON FOREIGN SERVER relay TO app;
	CREATE ROLE backup LOGIN BYPASSRLS; GRANT pg_read_all_data TO backup});
$node->sql("SELECT mailman_grant('app', 'send')");
my $pem = `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null`;
my $newsletter = $node->newsletter(
	owner         => 'app',
	relays        => ['relay'],
	subscriptions => 10,
	dkim_domain   => 'example.com',
	dkim_selector => 'mail');
$node->sql("SELECT mailman_set_dkim_key($newsletter, '$pem')");

# ---- with the file all is as it was

my $letter = $node->letter($newsletter);
$node->send($letter);
ok($node->wait_for_letter($letter, 'sent'), 'sent, with a key file');
is(scalar($relay->pairs), 10, 'to all');
my $preview = $node->sql("SELECT mailman_preview($letter, 1)");
like($preview, qr/^DKIM-Signature:.* s=mail;/s, 'and signed');
my ($token) = $preview =~ m{^List-Unsubscribe: <https://example.com/u/([\w-]+)}m;
ok(defined $token, 'with a token in it');

# ---- what lies in the tables

my $backup = $node->session(user => 'backup');
foreach my $table (qw(secret dkim_key))
{
	my $read = $backup->query(
		"SELECT wrapped_by ~ '^[0-9a-f]{16}\$', length(key),"
		  . " position('PRIVATE KEY'::bytea IN key) FROM mailman.$table");
	my $length = $table eq 'secret' ? 32 : length($pem);
	is($read, 't|' . ($length + 28) . '|0',
		"mailman.$table: whoever reads it has wrapped bytes");
}
$backup->quit;

# ---- a dump, restored where the file is: the one way to see what it was

$node->command_ok([ 'pg_dump', '-f', "$dir/dump", $node->connstr('postgres') ],
	'dumped');
my $other = Mailman::Cluster->create('other', extension => 0, conf => \%conf);
$other->sql('CREATE ROLE app');
$other->sql('CREATE ROLE backup');
$other->command_ok(
	[
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d',
		$other->connstr('postgres'), '-f', "$dir/dump"
	],
	'restored');
is($other->sql("SELECT mailman_unsubscribe('$token')"),
	't', 'where the same file is, the tokens hold');
is($other->sql('SELECT mailman_rewrap(true)'), 2, 'unwrapped there');
my $secret = $other->sql("SELECT encode(key, 'hex') FROM mailman.secret");
like($secret, qr/^[0-9a-f]{64}$/, 'the secret');
is( $other->sql(
		"SELECT rtrim(convert_from(key, 'UTF8'), E'\\n') FROM mailman.dkim_key"),
	$pem =~ s/\n\z//r,
	'and the key');
$other->sql('CHECKPOINT');

# Every form in which the secret or a line of the key could lie
my @traces = ($secret, uc $secret, pack('H*', $secret));
push @traces, encode_base64(pack('H*', $secret), '');
foreach my $line (grep { !/---/ } split /\n/, $pem)
{
	push @traces, substr($line, 0, 40), unpack('H*', substr($line, 0, 40));
}
push @traces, $key, pack('H*', $key);

# The files below a directory in which one of them is
sub traces_below
{
	my ($top) = @_;
	my @found;

	find(
		{
			no_chdir => 1,
			wanted   => sub {
				return unless -f $_;
				my $content = slurp_file($_);
				push @found, $_ if grep { index($content, $_) >= 0 } @traces;
			}
		},
		$top);
	return sort @found;
}

isnt(scalar(traces_below($other->data_dir)),
	0, 'they are found where they lie plain');
$node->sql('CHECKPOINT');
is_deeply([ traces_below($node->data_dir) ],
	[], 'the data directory has neither secret nor key');
is_deeply([ traces_below("$dir/dump") ], [], 'nor has the dump');
is_deeply([ traces_below($node->logfile) ], [], 'nor the log');
$other->stop;

# ---- without the file, or with a wrong one

my $accepted = $relay->status->{accepted};
my $app      = $node->session(user => 'app');
my @faults   = (
	[ 'missing', sub { unlink $file }, 'No such file or directory' ],
	[
		'read by a group',
		sub { write_file($key, 0640) },
		'it has group or world access; 0600 is what it may have'
	],
	[
		'read by all',
		sub { write_file($key, 0604) },
		'it has group or world access; 0600 is what it may have'
	],
	[ 'empty', sub { write_file('') }, 'it has no key in it' ],
	[
		'short',
		sub { write_file(substr($key, 1)) },
		'line 1 does not have 64 hexadecimal digits'
	],
	[
		'no key', sub { write_file("\n$pem") },
		'line 2 is not hexadecimal digits'
	],
	[ 'too large', sub { write_file("#\n" x 8192) }, 'it is too large' ],
	[ 'another', sub { write_file(new_key()) }, qr/key [0-9a-f]{16} is not in it/ ],
	[ 'a directory', sub { unlink $file; mkdir $file }, 'it is not a regular file' ],
	[
		'a pipe',
		sub { rmdir $file; mkfifo($file, 0600) },
		'it is not a regular file'
	]);

my $waiting = $node->letter($newsletter);
my $paused  = $node->letter($newsletter);
$node->sql('ALTER SYSTEM SET mailman.enabled = off');
$node->reload;
$node->wait_for('SHOW mailman.enabled', 'off');
$app->query("SELECT mailman_send($waiting)");
$app->query("SELECT mailman_send($paused)");
my $first = 1;
foreach my $fault (@faults)
{
	my ($what, $make, $why) = @$fault;
	my $text = ref $why ? $why : quotemeta($why);
	my $said = qr/F0000: mailman\.key_file cannot be used: $text/;
	my $error;

	$make->();
	if ($first)
	{
		$node->sql('ALTER SYSTEM RESET mailman.enabled');
		$node->reload;
		$first = 0;
	}
	ok( $node->wait_for(
			"SELECT reason FROM mailman.progress WHERE letter_id = $waiting",
			qr/^mailman\.key_file cannot be used: $text$/),
		"a key file that is $what: progress says so");
	(undef, $error) = $app->try("SELECT mailman_preview($waiting)");
	like($error, $said, 'a preview fails');
	unlike($error, qr/\Q$file\E/, 'without the name of the file');
	(undef, $error) = $app->try("SELECT mailman_unsubscribe('$token')");
	like($error, $said, 'a token is not called a forged one');
	next if $what eq 'another';
	like(
		$node->sql_error("SELECT mailman_set_dkim_key($newsletter, '$pem')"),
		$said, 'no key is kept plain instead');
}
ok( $node->wait_for_log(
		"letter $waiting: .*mailman.key_file cannot be used: "),
	'the log says what its worker waits for');
is($relay->status->{accepted}, $accepted, 'nobody has got anything meanwhile');
is($app->query("SELECT mailman_pause($paused)"),
	'paused', 'such a letter can be paused');
ok($node->wait_for_no_worker($paused), 'and its worker obeys');
like(($app->try("SELECT mailman_resume($paused)"))[1],
	qr/F0000/, 'but not resumed before');
unlink $file;
write_file("$key\n");
ok($node->wait_for_letter($waiting, 'sent'),
	'it goes on by itself when the file is there');
is($relay->status->{accepted}, $accepted + 10, 'to all');
is(scalar($relay->duplicates), 0, 'to nobody twice');
is( $node->sql(
		"SELECT failed_runs, doubts FROM mailman.letter WHERE id = $waiting"),
	'0|0',
	'and nothing is held against it');

# ---- a row in another's place

my $second = $node->newsletter(owner => 'app', subscriptions => 1);
my $theirs = $node->letter($second);
$node->sql("SELECT mailman_preview($theirs)");
my $genuine =
  $node->sql("SELECT key FROM mailman.secret WHERE newsletter_id = $second");
my $swap = 'SET session_replication_role = replica; UPDATE mailman.secret SET'
  . " key = %s WHERE newsletter_id = $second; RESET session_replication_role";
foreach my $forged (
	"(SELECT key FROM mailman.secret WHERE newsletter_id = $newsletter)",
	'set_byte(key, 20, 255 - get_byte(key, 20))',
	'set_byte(key, 0, 255 - get_byte(key, 0))')
{
	$node->sql(sprintf($swap, $forged));
	like($node->sql_error("SELECT mailman_preview($theirs)"),
		qr/22000: the secret of mailman\.secret, newsletter $second/,
		"a secret that is $forged is refused");
	$node->sql(sprintf($swap, "'$genuine'"));
}
ok($node->sql("SELECT mailman_preview($theirs) IS NOT NULL"), 'its own is not');

# ---- other keys

my $next = new_key();
write_file("$next\n$key\n");
my $wrapped = $node->sql('SELECT string_agg(DISTINCT wrapped_by, $$,$$)'
	  . ' FROM mailman.secret');
is($node->sql('SELECT mailman_rewrap()'), 3, 'wrapped with the first key');
is( $node->sql(
		"SELECT count(*) FROM mailman.secret WHERE wrapped_by = '$wrapped'"),
	0,
	'not with the one before');
write_file("$next\n");
is($node->sql("SELECT mailman_unsubscribe('$token')"),
	't', 'which is not needed any more');
is( substr($node->sql("SELECT mailman_preview($letter, 1)"), 0, 300),
	substr($preview, 0, 300),
	'and the mails are the same');

# ---- what lay plain before

$node->sql("ALTER SYSTEM SET mailman.key_file = ''");
$node->reload;
$node->wait_for('SHOW mailman.key_file', '');
my $plain = $node->newsletter(owner => 'app', subscriptions => 1);
my $old   = $node->letter($plain);
$node->sql("SELECT mailman_unsubscribe_url($old, (SELECT id FROM"
	  . " mailman.subscription WHERE newsletter_id = $plain))");
my $state = "SELECT wrapped_by IS NULL FROM mailman.secret"
  . " WHERE newsletter_id = $plain";
is($node->sql($state), 't', 'without a key file a secret lies plain');
like($node->sql_error("SELECT mailman_preview($letter)"),
	qr/mailman\.key_file cannot be used: it is not set/,
	'and one that is wrapped is of no use');
$node->sql('ALTER SYSTEM RESET mailman.key_file');
$node->reload;
$node->wait_for('SHOW mailman.key_file', $file);
ok($node->sql("SELECT mailman_preview($old) IS NOT NULL"),
	'with one, what lies plain works on');
is($node->sql('SELECT mailman_rewrap()'), 4, 'until it is wrapped');
is($node->sql($state), 'f', 'which it is then');

# ---- who may

foreach my $case (
	[ 'SHOW mailman.key_file',              '42501' ],
	[ "SELECT current_setting('mailman.key_file')", '42501' ],
	[ "SET mailman.key_file = '/tmp/x'",    '55P02' ],
	[ "ALTER SYSTEM SET mailman.key_file = '/tmp/x'", '42501' ],
	[ "ALTER ROLE app SET mailman.key_file = '/tmp/x'", '55P02' ],
	[ 'SELECT mailman_rewrap()',            '42501' ],
	[ 'SELECT mailman_rewrap(true)',        '42501' ],
	[ 'UPDATE mailman.secret SET wrapped_by = NULL', '42501' ])
{
	my ($sql, $code) = @$case;
	like(($app->try($sql))[1], qr/^ERROR:  $code/, "as app: $sql: $code");
}
is($app->query("SELECT count(*) FROM pg_settings WHERE name ="
		  . " 'mailman.key_file'"), 0, 'nor is it seen in pg_settings');
$node->sql('GRANT EXECUTE ON FUNCTION mailman_rewrap(boolean) TO app');
like(($app->try('SELECT mailman_rewrap(true)'))[1],
	qr/^ERROR:  42501: permission denied to rewrap secrets/,
	'nor by a role that was granted EXECUTE');
$app->quit;

$node->stop;
done_testing();
