
#-------------------------------------------------------------------------
#
# Mailman::Cluster
#	  A PostgreSQL cluster with mailman ready, and what the tests ask of it.
#
#	my $node = Mailman::Cluster->create('main',
#		conf => { 'mailman.turn_size' => 50 }, preload => 0);
#	$node->relay('relay', $relay->url, connections => 5);
#	my $newsletter = $node->newsletter(relays => ['relay'],
#		subscriptions => 1000);
#	my $letter = $node->letter($newsletter, subject => 'Hello {{name}}');
#	$node->send($letter);
#	ok($node->wait_for_letter($letter, 'sent', 60), 'sent');
#	$node->assert_sums($letter, 'after it');
#
# A PostgreSQL::Test::Cluster, so all its methods are there too.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Cluster;

use strict;
use warnings;

use Carp;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(sleep time);

use Mailman::Session;

our @ISA = ('PostgreSQL::Test::Cluster');

# No wait is a measurement: it ends long after any machine would be done.  The
# first that ends in vain has failed its test, and the others hurry.
my $patience = $ENV{PATIENCE} || 180;
my $hurry    = 30;

# pg_ctl is one that waits, too
$ENV{PGCTLTIMEOUT} = $patience unless defined $ENV{PGCTLTIMEOUT};

my @states =
  qw(pending sending deferred delivered failed skipped doubtful);

# A new cluster, started, with the extension in database postgres.
#	preload => 1		shared_preload_libraries = 'mailman'
#	conf => { name => value, ... }	settings
#	extension => 0		leave CREATE EXTENSION to the caller
#	streaming => 1		can have standbys
sub create
{
	my ($class, $name, %options) = @_;
	my $self = $class->new($name);

	$self->init(
		extra            => [ '--encoding=UTF8', '--no-locale' ],
		allows_streaming => $options{streaming} || 0);
	my %conf = (
		fsync         => 'off',
		log_statement => 'none',
		log_min_messages => 'info',
		%{ $options{conf} || {} });
	$conf{shared_preload_libraries} = 'mailman' if $options{preload};
	$self->append_conf('postgresql.conf',
		join("\n", map { "$_ = '$conf{$_}'" } sort keys %conf));
	$self->start;
	$self->sql('CREATE EXTENSION mailman')
	  unless defined $options{extension} && !$options{extension};
	return $self;
}

# Sessions must be gone before the server is told to stop.  Whatever was tested:
# no statement has written a table that its function had not locked.
sub stop
{
	my ($self, @arguments) = @_;
	delete $self->{mailman_session};
	my $result = $self->SUPER::stop(@arguments);
	my @late   = $self->log_lines('was not locked before', 0);
	fail("tables are locked before they are written: $late[0]") if @late;
	return $result;
}

sub restart
{
	my ($self, @arguments) = @_;
	delete $self->{mailman_session};
	return $self->SUPER::restart(@arguments);
}

# Kill the postmaster; what it leaves behind must go by itself
sub kill9
{
	my ($self, @arguments) = @_;
	delete $self->{mailman_session};
	return $self->SUPER::kill9(@arguments);
}

# Start after kill9(): as soon as those left behind have let go of the shared
# memory.  Returns the seconds it took, or undef.
sub start_again
{
	my ($self, $timeout) = @_;
	my $start = time;

	$timeout = $patience unless defined $timeout;
	while (time - $start < $timeout)
	{
		return time - $start if $self->start(fail_ok => 1);
		sleep 0.05;

		# in case it was only slow
		$self->stop('fast', fail_ok => 1);
	}
	return;
}

# A streaming standby of ours, started
sub standby
{
	my ($self, $name, %conf) = @_;
	my $standby = ref($self)->new($name);

	$self->backup("for_$name");
	$standby->init_from_backup($self, "for_$name", has_streaming => 1);
	$standby->append_conf('postgresql.conf', "$_ = '$conf{$_}'")
	  foreach sort keys %conf;
	$standby->start;
	return $standby;
}

# ---- SQL

sub session
{
	my ($self, %options) = @_;
	return Mailman::Session->new($self, %options);
}

# Run SQL in a session that is kept; dies of an error
sub sql
{
	my ($self, $sql) = @_;
	my $until = time + ($self->{patience} || 0);

	while (1)
	{
		my $result = eval {
			$self->{mailman_session} = Mailman::Session->new($self)
			  if !$self->{mailman_session} || $self->{mailman_session}{eof};
			$self->{mailman_session}->query($sql);
		};
		return $result if defined $result;
		my $lost = !$self->{mailman_session} || $self->{mailman_session}{eof};
		die $@ unless $lost && time < $until;
		sleep 0.02;
	}
}

# While code runs, sql() waits for a server that crashes and comes back.  For
# looks only: a statement whose answer was lost is run again.
sub patiently
{
	my ($self, $code) = @_;
	local $self->{patience} = $patience;
	return $code->();
}

# SQL in a session of its own; (output, everything the server said)
sub told
{
	my ($self, $sql, %options) = @_;
	my $session = $self->session(notices => 1, %options);
	my ($output) = $session->try($sql);

	$session->quit;
	return $output;
}

# The error of a statement that must fail, else undef
sub sql_error
{
	my ($self, $sql) = @_;
	eval { $self->sql($sql); 1 } and return;
	return $@;
}

sub literal
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	if (ref $value eq 'ARRAY')
	{
		return 'ARRAY[' . join(', ', map { literal($_) } @$value) . ']::text[]';
	}
	$value = JSON::PP->new->ascii->canonical->encode($value) if ref $value;
	my $escape = $value =~ /\\/ ? 'E' : '';
	$value =~ s/\\/\\\\/g;
	$value =~ s/'/''/g;
	return "$escape'$value'";
}

# Every so many ms until the query gives that text; false if it never does.
# expected may be a regular expression.
sub wait_for
{
	my ($self, $sql, $expected, $timeout) = @_;
	my $start = time;
	my $pause = 0.005;
	my $last;

	$timeout = $patience unless defined $timeout;
	while (1)
	{
		$last = $self->sql($sql);
		return 1
		  if ref $expected ? $last =~ $expected : $last eq $expected;
		last if time - $start > $timeout;
		sleep $pause;
		$pause = 0.1 if ($pause *= 1.3) > 0.1;
	}
	diag("after $timeout s \"$sql\" still gives \"$last\"");
	$patience = $hurry;
	return 0;
}

# Look for so many seconds: true if the query gave that text all the time
sub stays
{
	my ($self, $sql, $expected, $seconds) = @_;
	my $until = time + $seconds;

	while (time < $until)
	{
		my $now = $self->sql($sql);
		if ($now ne $expected)
		{
			diag("\"$sql\" gave \"$now\"");
			return 0;
		}
		sleep 0.05;
	}
	return 1;
}

# Look until a letter's time has come: true if the query gave that text all the
# time before.  The server's clock decides, so a look that came late says
# nothing; at least one must have come early enough.
sub stays_until_due
{
	my ($self, $letter, $sql, $expected) = @_;
	my $looks = 0;

	while (1)
	{
		# the snapshot is older than the clock that is read in it
		my ($early, $now) = split(
			/\|/,
			$self->sql(
				    "SELECT (SELECT clock_timestamp() < send_at"
				  . " FROM mailman.letter WHERE id = $letter), ($sql)"),
			-1);
		last unless $early eq 't';
		if ($now ne $expected)
		{
			diag("\"$sql\" gave \"$now\" before its time");
			return 0;
		}
		$looks++;
		sleep 0.05;
	}
	diag("letter $letter was due before anybody looked") unless $looks;
	return $looks > 0;
}

# ---- making things

# CREATE SERVER, options as they are; tls 'none' unless asked otherwise
sub relay
{
	my ($self, $name, $url, %options) = @_;
	my $username = delete $options{username};
	my $password = delete $options{password};

	$options{url} = $url;
	$options{tls} = 'none'
	  if !exists $options{tls} && $url =~ /^smtp:/;
	delete $options{tls} unless defined $options{tls};
	$self->sql("CREATE SERVER $name FOREIGN DATA WRAPPER mailman_smtp OPTIONS ("
		  . join(', ',
			map { "\"$_\" " . literal($options{$_}) } sort keys %options)
		  . ')');
	if (defined $username)
	{
		$self->sql(
			"CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (username "
			  . literal($username)
			  . ', password '
			  . literal($password)
			  . ')');
	}
	return $name;
}

# A newsletter with so many subscriptions r1@example.com, r2@...; its id.
# pattern: their addresses, %s for the number
sub newsletter
{
	my ($self, %options) = @_;
	my $number  = delete $options{subscriptions} || 0;
	my $pattern = delete $options{pattern};

	$options{name} = 'Test newsletter' unless defined $options{name};
	$options{from_name}    = 'Example News' unless exists $options{from_name};
	$options{from_address} = 'news@example.com'
	  unless exists $options{from_address};
	$options{unsubscribe_url} = 'https://example.com/u/{{token}}'
	  unless exists $options{unsubscribe_url};
	my $id = $self->_insert('newsletter', %options);
	$self->subscribe($id, $number, pattern => $pattern) if $number;
	return $id;
}

# So many more subscriptions, numbered on from those there are
sub subscribe
{
	my ($self, $newsletter, $number, %options) = @_;
	my $pattern = literal(
		defined $options{pattern} ? $options{pattern} : 'r%s@example.com');
	return $self->sql(qq{
		INSERT INTO mailman.subscription (newsletter_id, email, name, data)
		SELECT $newsletter, format($pattern, n), 'Reader ' || n,
			jsonb_build_object('number', n)
		  FROM (SELECT count(*) AS there FROM mailman.subscription
				 WHERE newsletter_id = $newsletter) s,
			   generate_series(there + 1, there + $number) n
		 ORDER BY n});
}

# A letter; its id
sub letter
{
	my ($self, $newsletter, %options) = @_;
	$options{subject} = 'News for {{name}}' unless exists $options{subject};
	$options{text_body} =
	  "Dear {{name}},\n\nthis is number {{data.number}}.\n"
	  unless exists $options{text_body} || exists $options{html_body};
	return $self->_insert('letter', newsletter_id => $newsletter, %options);
}

sub _insert
{
	my ($self, $table, %values) = @_;
	my @names = sort keys %values;
	return $self->sql("INSERT INTO mailman.$table ("
		  . join(', ', @names)
		  . ') VALUES ('
		  . join(', ', map { literal($_) } @values{@names})
		  . ') RETURNING id');
}

# mailman_send(): to all, or to these subscription ids
sub send
{
	my ($self, $letter, @recipients) = @_;
	return $self->sql("SELECT mailman_send($letter)") unless @recipients;
	return $self->sql("SELECT mailman_send($letter, '{"
		  . join(',', @recipients)
		  . "}'::bigint[])");
}

# ---- looking

sub letter_state
{
	my ($self, $letter) = @_;
	return $self->sql("SELECT state FROM mailman.letter WHERE id = $letter");
}

# Wait until a letter is in that state; says what it found if it never is
sub wait_for_letter
{
	my ($self, $letter, $state, $timeout) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return 1
	  if $self->wait_for("SELECT state FROM mailman.letter WHERE id = $letter",
		$state, $timeout);
	$self->explain_letter($letter);
	return 0;
}

# What a person would look at first
sub explain_letter
{
	my ($self, $letter) = @_;
	diag($self->sql(qq{
		SELECT 'letter ' || id || ' ' || state || ' ('
			|| coalesce(state_reason, '') || ') run ' || run || ' doubts '
			|| doubts || ' ' || mail_order
		  FROM mailman.letter WHERE id = $letter}));
	diag($self->sql(qq{
		SELECT 'delivery ' || state || ': ' || count(*) || ' attempts '
			|| min(attempts) || '..' || max(attempts) || ' due '
			|| coalesce(min(due_at)::text, '-') || ' reason '
			|| coalesce(min(reason), '-') || ' reply '
			|| coalesce(min(reply), '-')
		  FROM mailman.delivery WHERE letter_id = $letter
		 GROUP BY state ORDER BY state}));
	diag($self->sql(q{
		SELECT backend_type || ' pid ' || pid || ' ' || application_name
			|| ': ' || coalesce(state, '-') || ' '
			|| coalesce(wait_event, '-') || ' ' || coalesce(query, '')
		  FROM pg_stat_activity WHERE backend_type LIKE 'mailman%'}));
	my $log = PostgreSQL::Test::Utils::slurp_file($self->logfile);
	my @lines = grep { /mailman|WARNING|ERROR|FATAL|PANIC|TRAP/ }
	  split(/\n/, $log);
	splice(@lines, 0, @lines - 15) if @lines > 15;
	diag(join("\n", 'server log:', @lines));
	return;
}

# letter.mail_order as a hash
sub tally
{
	my ($self, $letter) = @_;
	return JSON::PP->new->decode(
		$self->sql("SELECT mail_order FROM mailman.letter WHERE id = $letter")
	);
}

# The states as mailman.delivery has them, every state, as a hash
sub states
{
	my ($self, $letter) = @_;
	my %count = map { $_ => 0 } @states;
	foreach my $line (
		split(
			/\n/,
			$self->sql("SELECT state, count(*) FROM mailman.delivery"
				  . " WHERE letter_id = $letter GROUP BY state")))
	{
		my ($state, $number) = split(/\|/, $line);
		$count{$state} = $number + 0;
	}
	return \%count;
}

# The statement of assert_sums(): empty if deliveries, tally and unfolded
# postings agree in its snapshot, else what does not.  Of a letter that was
# purged the tally must add up, and have no less than the rows that are left.
sub sums_sql
{
	my ($self, $letter) = @_;
	my $list = join(', ', map { "'$_'" } @states);
	return qq{
		WITH l AS (
			SELECT mail_order AS o, purged_at IS NOT NULL AS purged
			  FROM mailman.letter WHERE id = $letter),
		d AS (
			SELECT state, count(*) AS n FROM mailman.delivery
			 WHERE letter_id = $letter GROUP BY state),
		p AS (
			SELECT coalesce(sum(recipients), 0) AS recipients,
				coalesce(sum(skipped), 0) AS skipped,
				coalesce(sum(failed), 0) AS failed,
				coalesce(sum(doubtful), 0) AS doubtful
			  FROM mailman.posting
			 WHERE letter_id = $letter AND NOT folded),
		s AS (
			SELECT state, coalesce(d.n, 0) AS actual,
				(o->>state)::bigint
				+ CASE state
					WHEN 'pending' THEN
						p.recipients - p.skipped + p.failed + p.doubtful
					WHEN 'skipped' THEN p.skipped
					WHEN 'failed' THEN - p.failed
					WHEN 'doubtful' THEN - p.doubtful
					ELSE 0 END AS told
			  FROM l, p, unnest(ARRAY[$list]) AS state
			  LEFT JOIN d USING (state))
		SELECT string_agg(state || ': ' || actual || ' rows, tally '
				|| coalesce(told::text, 'none'), '; ')
		  FROM s, l
		 WHERE CASE WHEN purged THEN (actual <= told) IS NOT TRUE
			   ELSE actual IS DISTINCT FROM told END
		UNION ALL
		SELECT 'sum: ' || sum(counted) || ', recipients '
				|| (SELECT (o->>'recipients')::bigint + p.recipients FROM l, p)
		  FROM (SELECT CASE WHEN purged THEN told ELSE actual END AS counted
				  FROM s, l) c
		HAVING sum(counted) IS DISTINCT FROM
			(SELECT (o->>'recipients')::bigint + p.recipients FROM l, p)};
}

# Send a letter as far as twenty delivered and five whose last reply the
# relay holds: two tests
sub send_to_gate
{
	my ($self, $relay, $letter, $name) = @_;

	$name = defined $name ? "$name: " : '';
	$relay->gate(20);
	$self->send($letter);
	ok( $self->wait_for(
			"SELECT count(*) >= 20 FROM mailman.newsletter_email"
			  . " WHERE letter_id = $letter", 't'),
		"${name}a letter on its way");
	ok($relay->wait_for_held(5), "${name}some of it in flight");
	return;
}

# A test: every recipient in exactly one state, and the tally says so
sub assert_sums
{
	my ($self, $letter, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($self->sql($self->sums_sql($letter)),
		'', "sums of the tally: $name");
}

# Server processes that work on a letter
sub workers
{
	my ($self, $letter) = @_;
	return split(
		/\n/,
		$self->sql(
			"SELECT pid FROM pg_stat_activity"
			  . " WHERE backend_type = 'mailman letter'"
			  . (
				defined $letter
				? " AND application_name = 'mailman letter $letter'"
				: ''
			  )));
}

# The worker's pid as soon as there is one, else undef
sub wait_for_worker
{
	my ($self, $letter, $timeout) = @_;
	my $until = time + (defined $timeout ? $timeout : $patience);
	while (time < $until)
	{
		my ($pid) = $self->workers($letter);
		return $pid if defined $pid;
		sleep 0.005;
	}
	return;
}

sub wait_for_no_worker
{
	my ($self, $letter, $timeout) = @_;
	my $until = time + (defined $timeout ? $timeout : $patience);
	while (time < $until)
	{
		return 1 unless $self->workers($letter);
		sleep 0.005;
	}
	return 0;
}

# Wait until no more mails of a letter than these are claimed: its worker has
# obeyed and handed back what it had not begun
sub wait_for_handed_back
{
	my ($self, $letter, $number) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->wait_for(
		"SELECT (mail_order->>'sending')::int <= $number FROM mailman.letter"
		  . " WHERE id = $letter", 't');
}

# Wait for lines in the server's log that fit; false if they never come
sub wait_for_log
{
	my ($self, $pattern, $from) = @_;
	my $until = time + $patience;
	until ($self->log_lines($pattern, $from))
	{
		return 0 if time > $until;
		sleep 0.02;
	}
	return 1;
}

# How many lines of the server's log, from a position on, fit
sub log_lines
{
	my ($self, $pattern, $from) = @_;
	my $log = PostgreSQL::Test::Utils::slurp_file($self->logfile, $from || 0);
	return grep { /$pattern/ } split(/\n/, $log);
}

# The position to give to log_lines() for what comes from now on
sub log_position
{
	my ($self) = @_;
	return -s $self->logfile;
}

# Memory of a process that is its own, in kB; undef when it is gone.  Not the
# Private_ lines: they count pages of shared memory that nobody else happens
# to have touched, so a worker that fills the buffer cache seems to grow.
sub private_memory
{
	my ($pid) = @_;
	my $size;

	open(my $fh, '<', "/proc/$pid/smaps_rollup") or return;
	while (my $line = <$fh>)
	{
		$size = $1 if $line =~ /^Anonymous:\s+(\d+) kB/;
	}
	close($fh);
	return $size;
}

1;
