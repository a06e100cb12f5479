
#-------------------------------------------------------------------------
#
# Bench
#	  A cluster, a sink, a letter, and what its worker costs.
#
#	my $bench = Bench->new;
#	my $sink = $bench->sink;
#	$bench->relay('relay', $sink->url, connections => 20);
#	my $newsletter = $bench->newsletter('relay', 20_000);
#	my $result = $bench->send($newsletter);		# {rate, cpu_us, ...}
#
# The cluster is as durable as any: fsync and synchronous_commit are on.  A
# rate is mails by seconds from the commit of mailman_send() to the last mail
# the relay accepted, by newsletter_email.sent_at.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Bench;

use strict;
use warnings;

use Bench::Process;
use Bench::Sink;
use Carp;
use DBI;
use File::Temp ();
use Time::HiRes qw(sleep time);

sub new
{
	my ($class, %conf) = @_;
	my $dir = File::Temp->newdir('mailman-bench_XXXXXX', TMPDIR => 1);
	my $self = bless { dir => $dir, owner => $$ }, $class;

	chomp($self->{bindir} = `"$ENV{PG_CONFIG}" --bindir`);
	$self->_run('initdb', '-D', "$dir/data", '-A', 'trust', '-U', 'postgres',
		'-E', 'UTF8', '--no-locale');
	$conf{'mailman.turn_size'} = $ENV{TURN_SIZE} if $ENV{TURN_SIZE};
	if ($ENV{INSTALLED})
	{
		chomp(my $lib = `"$ENV{PG_CONFIG}" --pkglibdir`);
		%conf = (
			extension_destdir    => $ENV{INSTALLED},
			dynamic_library_path => "$ENV{INSTALLED}$lib:\$libdir",
			%conf);
	}
	$self->_configure(
		listen_addresses         => '',
		unix_socket_directories  => "$dir",
		shared_preload_libraries => 'mailman',
		fsync                    => 'on',
		synchronous_commit       => 'on',
		shared_buffers           => '512MB',
		max_wal_size             => '8GB',
		checkpoint_timeout       => '30min',
		%conf);
	$self->_start;
	$self->{db} = $self->connect;
	$self->{db}->do("CREATE EXTENSION $_") for 'mailman', 'pgstattuple';
	return $self;
}

sub db  { return $_[0]->{db}; }
sub dir { return "$_[0]->{dir}"; }

sub connect
{
	my ($self) = @_;
	my $db = DBI->connect("dbi:Pg:host=$self->{dir};dbname=postgres",
		'postgres', '',
		{ RaiseError => 1, PrintWarn => 0, PrintError => 0, AutoCommit => 1 });
	$db->do('SET client_min_messages = error');
	return $db;
}

sub _run
{
	my ($self, $program, @args) = @_;
	my $log = "$self->{dir}/$program.log";
	system("'$self->{bindir}/$program' "
		  . join(' ', map { "'$_'" } @args) . " > '$log' 2>&1") == 0
	  or croak "$program failed:\n" . `tail -n 20 '$log' '$self->{dir}/log'`;
	return;
}

# Run pgbench; what it reports
sub pgbench
{
	my ($self, @args) = @_;
	my $log = "$self->{dir}/pgbench.log";
	$self->_run('pgbench', '-h', $self->{dir}, '-U', 'postgres', @args,
		'postgres');
	open(my $fh, '<', $log) or croak $!;
	local $/;
	return <$fh>;
}

sub _configure
{
	my ($self, %conf) = @_;
	open(my $fh, '>>', "$self->{dir}/data/postgresql.conf") or croak $!;
	print {$fh} "$_ = '$conf{$_}'\n" foreach sort keys %conf;
	close($fh);
	return;
}

sub one
{
	my ($self, $sql, @args) = @_;
	return ($self->{db}->selectrow_array($sql, undef, @args))[0];
}

sub relay
{
	my ($self, $name, $url, %options) = @_;
	my %all = (tls => 'none', %options, url => $url);
	$self->{db}->do("CREATE SERVER $name FOREIGN DATA WRAPPER mailman_smtp"
		  . ' OPTIONS ('
		  . join(', ', map { "$_ '$all{$_}'" } sort keys %all) . ')');
	return;
}

sub alter
{
	my ($self, $name, %options) = @_;
	$self->{db}->do("ALTER SERVER $name OPTIONS ("
		  . join(', ', map { "SET $_ '$options{$_}'" } sort keys %options) . ')');
	return;
}

# ---- the letter that everybody sends: 4 KB, text and HTML, personal

my $paragraph =
    'In plot {{data.plot}} the first {{data.flower}} is out, and the bees '
  . "of {{data.city}} know it.\nWhat was sown in March stands a hand high; "
  . "water it in the morning, not at noon,\nand leave the nettles at the "
  . "fence to the butterflies, who were here before us.\n";

sub text_body
{
	return "Dear {{name}},\n\n" . "$paragraph\n" x 6
	  . "Your gardener\n\nNo more letters to {{email}}? {{unsubscribe_url}}\n";
}

sub html_body
{
	return "<html><body>\n<p>Dear <b>{{name}}</b>,</p>\n"
	  . "<p>${paragraph}</p>\n" x 6
	  . "<p>Your gardener</p>\n<p><a href=\"{{unsubscribe_url}}\">"
	  . "No more letters to {{email}}?</a></p>\n</body></html>\n";
}

sub newsletter
{
	my ($self, $relay, $readers) = @_;
	my $id = $self->one(
		q{INSERT INTO mailman.newsletter (name, from_name, from_address,
			relays, unsubscribe_url) VALUES ('Garden', 'The gardener',
			'garden@example.com', ARRAY[?],
			'https://example.com/u/{{token}}') RETURNING id}, $relay);
	$self->{db}->do(
		q{INSERT INTO mailman.subscription (newsletter_id, email, name, data)
		SELECT ?, 'reader' || i || '@example.org', 'Reader ' || i,
		jsonb_build_object('plot', i, 'city', 'Porto', 'flower',
			(ARRAY['tulip', 'sunflower', 'daisy'])[i % 3 + 1])
		FROM generate_series(1, ?::int) i}, undef, $id, $readers);
	$self->{db}->do('VACUUM ANALYZE mailman.subscription');
	return $id;
}

sub letter
{
	my ($self, $newsletter) = @_;
	return $self->one(
		q{INSERT INTO mailman.letter (newsletter_id, subject, text_body,
			html_body) VALUES (?, 'Spring has come, {{name}}', ?, ?)
			RETURNING id}, $newsletter, text_body(), html_body());
}

# ---- sending one, and what it costs

sub _counters
{
	my ($self) = @_;
	my %c;
	$self->{db}->do('SELECT pg_stat_clear_snapshot()');
	foreach my $table ('letter', 'delivery')
	{
		my $row = $self->{db}->selectrow_hashref(
			q{SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot
			FROM pg_stat_user_tables
			WHERE schemaname = 'mailman' AND relname = ?}, undef, $table);
		$c{"${table}_$_"} = $row->{$_} foreach keys %$row;
	}
	return \%c;
}

sub _lsn
{
	my ($self) = @_;
	return $self->one(q{SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn});
}

# The process that sends this letter
sub worker
{
	my ($self, $letter) = @_;
	my $until = time + 60;
	while (time < $until)
	{
		my $pid = $self->one(
			q{SELECT pid FROM pg_stat_activity WHERE application_name = ?},
			"mailman letter $letter");
		return Bench::Process->new($pid) if $pid;
		sleep 0.002;
	}
	croak "letter $letter has no worker";
}

# Wait until these letters are sent; call back now and then
sub wait_sent
{
	my ($self, $letters, $watch) = @_;
	my $query = $self->{db}->prepare(
		q{SELECT count(*) FILTER (WHERE state NOT IN ('sending', 'sent')),
			count(*) FILTER (WHERE state <> 'sent'), max(state_reason)
			FROM mailman.letter WHERE id = ANY (?)});
	while (1)
	{
		$query->execute($letters);
		my ($bad, $open, $reason) = $query->fetchrow_array;
		$query->finish;
		croak "a letter is not being sent: $reason" if $bad;
		$watch->() if $watch;
		last unless $open;
		sleep 0.05;
	}
	return;
}

# seconds from $start to the last mail of these letters, and how many
sub account
{
	my ($self, $start, @letters) = @_;
	my ($seconds, $mails) = $self->{db}->selectrow_array(
		q{SELECT extract(epoch FROM max(sent_at) - ?::timestamptz), count(*)
		FROM mailman.newsletter_email WHERE letter_id = ANY (?)},
		undef, $start, \@letters);
	return ($seconds, $mails);
}

# $options: name of a perf record to write
sub send
{
	my ($self, $newsletter, %options) = @_;
	my $letter = $self->letter($newsletter);

	$self->{db}->do('CHECKPOINT');
	my $before = $self->_counters;
	my $asked  = time;
	$self->{db}->do('SELECT mailman_send(?)', undef, $letter);
	my $start  = $self->one('SELECT clock_timestamp()');
	my %result = (letter => $letter, queue_s => time - $asked);
	my $lsn    = $self->_lsn;
	my $worker = $self->worker($letter);
	my $perf   = $options{perf} && $worker->perf($options{perf});
	$self->wait_sent([$letter], sub { $worker->sample });
	$result{wal} = $self->_lsn - $lsn;
	$worker->wait_gone;
	waitpid($perf, 0) if $perf;
	my ($seconds, $mails) = $self->account($start, $letter);
	my $after = $self->_counters;
	my %n = map { $_ => $after->{$_} - $before->{$_} } keys %$after;

	return {
		%result,
		mails   => $mails,
		seconds => $seconds,
		rate    => $mails / $seconds,
		cpu_us  => $worker->cpu_us / $mails,
		user_us => $worker->user_us / $mails,
		system_us => $worker->system_us / $mails,
		wal     => $result{wal} / $mails,
		turns   => $n{letter_updates} / $seconds,
		hot_letter => 100 * $n{letter_hot} / ($n{letter_updates} || 1),
		hot_delivery => 100 * $n{delivery_hot} / ($n{delivery_updates} || 1),
		private_kb => $worker->private_kb,
		private_start_kb => $worker->private_start_kb
	};
}

# Mean size of a letter's mails in octets
sub mail_size
{
	my ($self, $letter) = @_;
	return int($self->one(
		q{SELECT avg(bytes) FROM mailman.newsletter_email WHERE letter_id = ?},
		$letter));
}

# What was left behind in a table and its indexes
sub bloat
{
	my ($self, $table) = @_;
	my @lines;
	my ($size, $live, $dead, $free) = $self->{db}->selectrow_array(
		q{SELECT table_len, tuple_count, dead_tuple_count, free_percent
		FROM pgstattuple(?)}, undef, "mailman.$table");
	push @lines, sprintf('%-36s %7.1f MB, %d rows, %d dead, %.0f %% free',
		$table, $size / 1e6, $live, $dead, $free);
	my $indexes = $self->{db}->selectcol_arrayref(
		q{SELECT indexrelid::regclass::text FROM pg_index
		WHERE indrelid = ?::regclass ORDER BY 1}, undef, "mailman.$table");
	foreach my $index (@$indexes)
	{
		my ($bytes, $density) = $self->{db}->selectrow_array(
			'SELECT index_size, avg_leaf_density FROM pgstatindex(?)',
			undef, $index);
		$index =~ s/^mailman\.//;
		push @lines, sprintf('  %-34s %7.1f MB, %s', $index, $bytes / 1e6,
			$density eq 'NaN' ? 'empty' :
			  sprintf('leaves %.0f %% full', $density));
	}
	return @lines;
}

# $options: capture, a file it appends all mails to
sub sink
{
	my ($self, %options) = @_;
	return Bench::Sink->start($self->dir, %options);
}

# ---- crashes

sub _start
{
	my ($self) = @_;
	return $self->_run('pg_ctl', '-D', "$self->{dir}/data", '-l',
		"$self->{dir}/log", '-s', '-w', 'start');
}

# "postmaster" is killed, or stopped "immediate"; then it is started
sub crash
{
	my ($self, $how) = @_;
	my $until = time + 60;

	if ($how eq 'immediate')
	{
		$self->_run('pg_ctl', '-D', "$self->{dir}/data", '-m', 'immediate',
			'-s', '-w', 'stop');
		return $self->_start;
	}
	open(my $fh, '<', "$self->{dir}/data/postmaster.pid") or croak $!;
	chomp(my $pid = <$fh>);
	kill 'KILL', $pid;
	# its children hold its memory for a moment yet
	until (eval { $self->_start; 1 })
	{
		croak $@ if time > $until;
		sleep 0.05;
	}
	return;
}

# To a server that has crashed, as soon as it answers
sub connect_again
{
	my ($self) = @_;
	my $until = time + 60;

	while (1)
	{
		return if eval { $self->{db} = $self->connect; };
		croak $@ if time > $until;
		sleep 0.01;
	}
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	return unless $self->{owner} == $$ && $self->{bindir};
	$self->{db}->disconnect if $self->{db};
	system("'$self->{bindir}/pg_ctl' -D '$self->{dir}/data' -m immediate"
		  . ' -s stop > /dev/null 2>&1');
	return;
}

# Servers are stopped however a run ends
$SIG{$_} = sub { exit 1 } foreach 'INT', 'TERM', 'HUP';

1;
