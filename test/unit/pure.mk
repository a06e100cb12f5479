# Unit test of the pure layer.  From the checkout's root:
#
#	make -f test/unit/pure.mk O=/tmp/build check-pure
#
# SANITIZE=1 adds AddressSanitizer and UBSan, check-pure-valgrind runs valgrind.
# Needs libidn2, libcrypto, and for the round trips and signatures what
# readers and verifiers of other making need (Debian: libemail-mime-perl,
# libmail-dkim-perl, python3-dkim, python3-nacl, openssl); no server.

PG_CONFIG ?= pg_config
O ?= .
PURE_MK := $(abspath $(lastword $(MAKEFILE_LIST)))
PURE_TOP := $(patsubst %/test/unit/pure.mk,%,$(PURE_MK))

PURE_SRC := work unicode address template template_scan template_link template_find \
	template_render template_names \
	mime_header mime_body mime_quoted mime_date mime_part mime_field hmac token verp wrap \
	dkim dkim_key render_prepare render_context render_limit render \
	render_content rendered \
	pace outcome \
	meter report_text report_status
PURE_TEST := pure_test pure_text_test pure_template_test pure_mustache_test \
	pure_mime_test pure_render_test pure_part_test pure_dkim_test \
	pure_injection_test pure_token_test pure_fuzz_test pure_pace_test \
	pure_report_test pure_meter_test pure_work_test pure_wrap_test \
	pure_tree pure_decode pure_random pure_letter pure_emit pure_keys

PURE_OBJ := $(PURE_SRC:%=$(O)/pure/%.o) $(PURE_TEST:%=$(O)/pure/%.o)
PURE_HDR := $(addprefix $(PURE_TOP)/src/,pure.h unicode.h unicode_table.h work.h hmac.h mime.h mime_scan.h \
	append.h dkim.h piece.h wrap.h template.h render.h pace.h outcome.h report.h meter.h) \
	$(PURE_TOP)/test/unit/pure_test.h

CFLAGS ?= -O2 -g
PURE_CFLAGS = $(CFLAGS) -Wall -Wextra -Werror -Wdeclaration-after-statement \
	-Wmissing-prototypes -Wno-missing-field-initializers \
	-fno-strict-aliasing -fwrapv \
	-DFRONTEND -DUSE_PRIVATE_ENCODING_FUNCS -DUSE_ASSERT_CHECKING=1 \
	-I$(PURE_TOP)/src \
	-I$(shell $(PG_CONFIG) --includedir-server) $(PURE_SANITIZE)
PURE_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) \
	-L$(shell $(PG_CONFIG) --libdir) -lpgcommon -lpgport -lidn2 -lcrypto -lm

ifdef SANITIZE
PURE_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
endif

.PHONY: pure-test check-pure check-pure-valgrind

pure-test: $(O)/pure_test

check-pure: $(O)/pure_test
	prove -e '' $(O)/pure_test
	$(O)/pure_test emit 300 7 >$(O)/pure/emitted
	EMITTED=$(O)/pure/emitted prove -e '' $(PURE_TOP)/test/unit/*.pl \
		$(PURE_TOP)/test/unit/*.py

check-pure-valgrind: $(O)/pure_test
	valgrind -q --error-exitcode=9 $(O)/pure_test >$(O)/pure/valgrind.tap

$(O)/pure_test: $(PURE_OBJ)
	$(CC) $(PURE_CFLAGS) $^ $(LDFLAGS) $(PURE_LIBS) -o $@

$(O)/pure/%.o: $(PURE_TOP)/src/%.c $(PURE_HDR) | $(O)/pure
	$(CC) $(PURE_CFLAGS) -c $< -o $@

$(O)/pure/%.o: $(PURE_TOP)/test/unit/%.c $(PURE_HDR) | $(O)/pure
	$(CC) $(PURE_CFLAGS) -c $< -o $@

$(O)/pure:
	mkdir -p $@
