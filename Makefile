# mailman: the mail room of a newsletter
#
#	make demo		see it send a letter to 1,000 readers
#	make test		all tests
#	make fuzz		the fuzz targets, FUZZ_SECONDS (60) each
#	make test-long	kill rounds: 40 letters, each hit in the middle; and a
#				rate over some minutes; and a million deliveries purged; and
#				fresh processes beside ALTER TABLE and VACUUM for minutes
#	make bench	how fast, beside others; also bench-quick, bench-scale,
#				bench-distance, bench-letters, bench-feed, bench-kills: see
#				test/bench
#	make, make install, make installcheck	as with any PGXS extension
#
# For who works on it, beside "make test" (TESTS=... chooses, see the scripts):
#
#	make check-style	no warnings, neither gcc's nor its analyzer's
#	make check-indent	src is formatted as pgindent does it
#	make indent		format src so
#	make check-asan		some tests under AddressSanitizer and UBSan
#	make check-valgrind	some tests under valgrind
#	make check-cassert	regression tests, pgTAP and a letter in a PostgreSQL with
#				assertions and without caches (CASSERT=directory for it);
#				not part of .ci/run, as both would take over 45 minutes
#	make check-majors	all tests on PostgreSQL 17 and 18, and check-indent,
#				in chroots (CHROOTS=directory to keep them)
#	make coverage		all tests, and which lines of src they reach
#
# All but the PGXS targets install the Debian packages that are missing if run
# as root, else they print the command that does.

EXTENSION = mailman
MODULE_big = mailman
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = src/mailman--1.0.sql src/mailman-metrics.yaml \
	src/mailman-from-listmonk.sql
PGFILEDESC = "mailman - the mail room of a newsletter"

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
EXTRA_CLEAN = test/unit/*_test test/unit/pure test/fuzz/bin

PG_CPPFLAGS = -Wall -Wextra -Wno-unused-parameter
SHLIB_LINK = -lcurl -lidn2 -lcrypto

# Nothing here is worth inlining into a query: no bitcode
override with_llvm = no

# The server's headers may not be there yet when the packages are to come
PG_CONFIG ?= pg_config
PGXS := $(shell command -v $(PG_CONFIG) >/dev/null && $(PG_CONFIG) --pgxs)
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# No dependency tracking by default in PGXS: a header concerns every file
$(OBJS): $(wildcard src/*.h)
else
all install installcheck clean:
	@echo "mailman: PostgreSQL's server headers are missing; install" \
		"postgresql-server-dev, or set PG_CONFIG" >&2; exit 1
endif

.PHONY: demo test test-long fuzz fuzz-targets unit built \
	bench bench-quick bench-scale bench-distance bench-letters bench-feed \
	bench-kills \
	check-style check-indent indent check-asan check-valgrind check-cassert \
	check-majors coverage

demo:
	@PG_CONFIG=$(PG_CONFIG) test/packages demo
	@$(MAKE) -s built
	@PG_CONFIG=$(PG_CONFIG) test/demo

test:
	@PG_CONFIG=$(PG_CONFIG) test/packages test
	@$(MAKE) -s built unit fuzz-targets COPT=-Werror
	@PG_CONFIG=$(PG_CONFIG) test/run-tests

test-long:
	@PG_CONFIG=$(PG_CONFIG) test/packages test
	@$(MAKE) -s built COPT=-Werror
	@PG_CONFIG=$(PG_CONFIG) CRASH_SECONDS=120 \
		TESTS="test/long/kill_rounds.pl test/long/rates.pl test/long/purge.pl \
			test/t/038_invalidations.pl" \
		test/run-tests

FUZZ_SECONDS ?= 60

fuzz:
	@PG_CONFIG=$(PG_CONFIG) test/packages fuzz
	@$(MAKE) -s fuzz-targets
	@test/fuzz/run $(FUZZ_SECONDS) test/fuzz/bin

fuzz-targets:
	@$(MAKE) -s -f test/fuzz/fuzz.mk O=test/fuzz/bin PG_CONFIG=$(PG_CONFIG)

bench: MEASURE = bench
bench-quick: MEASURE = quick
bench-scale: MEASURE = scale
bench-distance: MEASURE = distance
bench-letters: MEASURE = letters
bench-feed: MEASURE = feed
bench-kills: MEASURE = kills

bench bench-quick bench-scale bench-distance bench-letters bench-feed \
bench-kills:
	@PG_CONFIG=$(PG_CONFIG) test/packages $@
	@$(MAKE) -s built
	@PG_CONFIG=$(PG_CONFIG) test/bench/run $(MEASURE)

check-style:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@PG_CONFIG=$(PG_CONFIG) test/style

check-indent indent:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@PG_CONFIG=$(PG_CONFIG) test/indent $(if $(filter indent,$@),fix,check)

check-asan check-valgrind:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@PG_CONFIG=$(PG_CONFIG) test/sanitize $(@:check-%=%)

check-cassert:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@PG_CONFIG=$(PG_CONFIG) test/cassert/run

check-majors:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@test/majors 17,indent 18

coverage:
	@PG_CONFIG=$(PG_CONFIG) test/packages check
	@PG_CONFIG=$(PG_CONFIG) test/coverage

# Compiled and, if we may, installed
built: all
	@if [ -w "$(DESTDIR)$(pkglibdir)" ]; then \
		$(MAKE) -s install; \
	elif ! cmp -s mailman.so "$(DESTDIR)$(pkglibdir)/mailman.so"; then \
		echo "mailman: not installed yet; run: sudo make install" >&2; \
		exit 1; \
	fi

unit:
	@$(MAKE) -s -f test/unit/pure.mk O=test/unit pure-test
	@$(MAKE) -s -f test/unit/transfer.mk O=test/unit test/unit/transfer_test
