
#-------------------------------------------------------------------------
#
# Mailman::Planted
#	  Functions, aggregates and operators of a stranger's, by the thousand, that
#	  fit better than what is built in.
#
#	my $planted = Mailman::Planted->new($node, 'dbo');
#	my $number = $planted->plant('template', slurp_file('some.sql'));
#	... what a superuser does there ...
#	is($planted->loot('template'), '', 'nothing of dbo was called');
#
# PostgreSQL looks for a function or operator in every schema of search_path and
# takes the one whose argument types fit best; pg_catalog comes first among those
# that fit as well.  So a stranger's wins where no built-in one has exactly the
# types of a call: polymorphic ones such as cardinality(anyarray), and operators
# between two types.  Each of these here leaves a trace, and tries to make its
# owner a superuser.
#
# Copyright (c) 2026, the mailman authors
#
#-------------------------------------------------------------------------

package Mailman::Planted;

use strict;
use warnings;

# What our scripts have values of
my @types = (
	'bigint',  'integer', 'numeric', 'real',
	'double precision', 'text', 'name', 'boolean',
	'interval', 'timestamp with time zone', 'jsonb', 'text[]',
	'oid');
my @operators =
  split(/ /, '+ - * / % < <= > >= = <> || << >> & -> ->> ~ !~ #>> @> ?');

# Functions of mailman's, with the arguments that a caller writes: numbers are
# integers
my @ours = (
	'mailman_send(integer)',
	'mailman_send(integer, text)',
	'mailman_pause(integer)',
	'mailman_resume(integer)',
	'mailman_cancel(integer)',
	'mailman_retry(integer)',
	'mailman_preview(integer)',
	'mailman_preview(integer, integer)',
	'mailman_preview_all(integer)',
	'mailman_deliveries(integer)',
	'mailman_report(integer)',
	'mailman_forget(integer)',
	'mailman_unsubscribe_url(integer, integer)',
	'mailman_subscribe(integer, text)',
	'mailman_subscribe(integer, text, text)',
	'mailman_test(integer, text)',
	'mailman_grant(text, text)');

sub new
{
	my ($class, $node, $role) = @_;
	return bless { node => $node, role => $role }, $class;
}

# Those of mailman's that are planted, as in "mailman_send(integer)"
sub calls { return @ours; }

# Plant in schema public of a database of that role's: for every name of a
# function in the text, and all operators, those for which nothing is built in.
# Returns how many there are.
sub plant
{
	my ($self, $database, $text) = @_;
	my $session =
	  $self->{node}->session(dbname => $database, user => $self->{role});
	my %name = map { $_ => 1 } $text =~ /\b([a-z][a-z_0-9]*)\(/g;
	my $list = sub { join(', ', map { "'$_'" } @_) };

	$session->query(qq{
		SET search_path = pg_catalog;
		CREATE TABLE public.trace (what text, who name);
		GRANT INSERT ON public.trace TO PUBLIC;
		CREATE FUNCTION public.loot(what text) RETURNS void
		LANGUAGE plpgsql SET search_path = pg_catalog AS \$\$
		BEGIN
			INSERT INTO public.trace VALUES (what, current_user);
			EXECUTE 'ALTER ROLE $self->{role} SUPERUSER';
		EXCEPTION WHEN insufficient_privilege THEN NULL;
		END \$\$;
		-- what is called, as a statement to make it
		CREATE FUNCTION public.trap(name text, args text, result text)
		RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS \$\$
		BEGIN
			EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s'
				' LANGUAGE plpgsql AS \$x\$ BEGIN PERFORM public.loot(%L);'
				' RETURN NULL; END \$x\$', name, args, result, name);
		END \$\$;
		CREATE TEMP TABLE type AS
		SELECT o::oid AS oid, o::text AS name, typelem::regtype::text AS element
		  FROM unnest(ARRAY[${\$list->(@types)}]::regtype[]) o
		  JOIN pg_type t ON t.oid = o});

	# functions of one and of two arguments
	$session->query(qq{
		SELECT count(public.trap(f.proname, a.args,
				-- one of any type gives what it was given, or an element of it
				CASE WHEN f.prorettype::regtype::text LIKE 'any%'
					 THEN CASE WHEN a.element = '-' THEN a.name
						  ELSE a.element END
					 ELSE replace(f.prorettype::regtype::text, 'void', 'text') END))
		  FROM (SELECT DISTINCT ON (proname) proname, prorettype FROM pg_proc
				 WHERE pronamespace = 'pg_catalog'::regnamespace
				   AND prokind = 'f' AND proname IN (${\$list->(sort keys %name)})
				   AND prorettype::regtype::text
					   NOT IN ('internal', 'record', 'trigger')
				 ORDER BY proname, oid) f
		 CROSS JOIN (SELECT name AS args, oid::text AS oids, name, element
					   FROM type
					 UNION ALL
					 SELECT l.name || ', ' || r.name, l.oid || ' ' || r.oid,
							l.name, l.element
					   FROM type l, type r) a
		 WHERE NOT EXISTS (SELECT FROM pg_proc p
							WHERE p.pronamespace = 'pg_catalog'::regnamespace
							  AND p.proname = f.proname
							  AND p.proargtypes::text = a.oids)});

	# aggregates of any type
	$session->query(q{
		CREATE FUNCTION public.trap(bigint, anyelement) RETURNS bigint
		LANGUAGE plpgsql AS
		$$ BEGIN PERFORM public.loot('aggregate'); RETURN 1; END $$;
		DO $$
		DECLARE
			t record;
		BEGIN
			FOR t IN SELECT * FROM type
			LOOP
				EXECUTE format('CREATE AGGREGATE public.count(%s)'
					' (SFUNC = public.trap, STYPE = bigint)', t.name);
			END LOOP;
		END $$});

	# operators, with the result that others of the name have
	$session->query(qq{
		DO \$\$
		DECLARE
			o record;
		BEGIN
			FOR o IN
				SELECT n.name, l.name AS l, r.name AS r,
					   coalesce((SELECT b.oprresult::regtype::text
								   FROM pg_operator b
								  WHERE b.oprname = n.name AND b.oprresult <> 0
									AND b.oprresult::regtype::text
										NOT LIKE 'any%'
									AND b.oprnamespace
										= 'pg_catalog'::regnamespace
								  ORDER BY (b.oprleft = l.oid)::integer
										   + (b.oprright = r.oid)::integer DESC,
										   b.oid LIMIT 1), 'boolean') AS result,
					   'operator' || row_number() OVER () AS trap
				  FROM unnest(ARRAY[${\$list->(@operators)}]) n(name), type l,
					   type r
				 WHERE NOT EXISTS (
						SELECT FROM pg_operator b
						 WHERE b.oprnamespace = 'pg_catalog'::regnamespace
						   AND b.oprname = n.name AND b.oprleft = l.oid
						   AND b.oprright = r.oid)
			LOOP
				PERFORM public.trap(o.trap, o.l || ', ' || o.r, o.result);
				EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s,'
					' RIGHTARG = %s, FUNCTION = public.%s)',
					o.name, o.l, o.r, o.trap);
			END LOOP;
		END \$\$});

	# and those that a person calls
	foreach my $call (@ours)
	{
		my ($called, $args) = $call =~ /^(\w+)\((.*)\)$/;
		$session->query("SELECT public.trap('$called', '$args', 'bigint')");
	}
	my $number = $session->query(
		q{SELECT (SELECT count(*) FROM pg_proc
				 WHERE pronamespace = 'public'::regnamespace)
			   + (SELECT count(*) FROM pg_operator
				   WHERE oprnamespace = 'public'::regnamespace)});
	$session->quit;
	return $number;
}

# What was called, and whether it came of it; and as it was before
sub loot
{
	my ($self, $database) = @_;
	my $session = $self->{node}->session(dbname => $database);

	$session->query('SET search_path = pg_catalog');
	my $loot = $session->query(qq{
		SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'superuser!' END,
						 (SELECT string_agg(DISTINCT what, ', ')
							FROM public.trace))
		  FROM pg_roles WHERE rolname = '$self->{role}'});
	$session->query("TRUNCATE public.trace");
	$session->query("ALTER ROLE $self->{role} NOSUPERUSER")
	  if $loot =~ /superuser/;
	$session->quit;
	return $loot;
}

# What members of extension mailman, or what is made of them, depend on that is
# not in pg_catalog, the extension, its schema or a member
sub outside
{
	my ($self, $database) = @_;
	my $session = $self->{node}->session(dbname => $database);

	$session->query('SET search_path = pg_catalog');
	my $found = $session->query(q{
		WITH RECURSIVE extension AS (
			SELECT * FROM pg_extension WHERE extname = 'mailman'),
		ours AS (
			SELECT d.classid, d.objid
			  FROM pg_depend d JOIN extension e
				ON d.refclassid = 'pg_extension'::regclass
			   AND d.refobjid = e.oid
			 WHERE d.deptype = 'e'
			UNION
			-- columns' defaults, constraints, indexes, rules, triggers, types
			SELECT d.classid, d.objid
			  FROM ours o JOIN pg_depend d
				ON d.refclassid = o.classid AND d.refobjid = o.objid
			 WHERE d.deptype IN ('a', 'i'))
		SELECT string_agg(DISTINCT pg_describe_object(o.classid, o.objid, 0)
				|| ' depends on '
				|| pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid),
				E'\n')
		  FROM ours o
		  JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.objid
		 CROSS JOIN extension e
		 CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, 0) i
		 WHERE i.schema IS DISTINCT FROM 'pg_catalog'
		   AND (d.refclassid, d.refobjid) NOT IN (SELECT * FROM ours)
		   AND (d.refclassid, d.refobjid)
			   NOT IN (('pg_extension'::regclass, e.oid),
					   ('pg_namespace'::regclass, e.extnamespace))});
	$session->quit;
	return $found;
}

1;
