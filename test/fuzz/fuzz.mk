# The fuzz targets: see test/fuzz/run.  From the checkout's root:
#
#	make -f test/fuzz/fuzz.mk O=/tmp/build
#
# Needs a clang with libFuzzer (Debian: libclang-rt-N-dev); without one it
# says so and makes nothing.

PG_CONFIG ?= pg_config
O ?= .
FUZZ_TOP := $(patsubst %/test/fuzz/fuzz.mk,%,$(abspath \
	$(lastword $(MAKEFILE_LIST))))
FUZZ_CLANG := $(shell $(FUZZ_TOP)/test/fuzz/find-clang)

FUZZ_PURE := work unicode address template template_scan template_link template_find \
	template_render \
	mime_header mime_body mime_quoted mime_date mime_part mime_field hmac token verp \
	dkim dkim_key pace report_text
FUZZ_HELP := pure_tree pure_decode pure_keys
FUZZ_TARGETS := $(patsubst $(FUZZ_TOP)/test/fuzz/%.c,%,\
	$(wildcard $(FUZZ_TOP)/test/fuzz/fuzz_*.c))

FUZZ_LIB := $(FUZZ_PURE:%=$(O)/obj/%.o) $(FUZZ_HELP:%=$(O)/obj/%.o) \
	$(O)/obj/outcome.o $(O)/obj/reply.o $(O)/obj/hearing.o
FUZZ_HDR := $(wildcard $(FUZZ_TOP)/src/*.h $(FUZZ_TOP)/test/unit/*.h \
	$(FUZZ_TOP)/test/fuzz/*.h)

FUZZ_CFLAGS = -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror \
	-Wno-missing-field-initializers -Wno-sign-compare \
	-Wno-unknown-warning-option -Wno-ignored-attributes \
	-fno-strict-aliasing -fwrapv -DFRONTEND -DUSE_ASSERT_CHECKING=1 \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	-I$(FUZZ_TOP)/src -I$(shell $(PG_CONFIG) --includedir-server)
FUZZ_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) \
	-L$(shell $(PG_CONFIG) --libdir) -lpgcommon -lpgport -lidn2 -lcrypto -lm

.PHONY: fuzz-targets

ifeq ($(FUZZ_CLANG),)
fuzz-targets:
	@rm -f $(FUZZ_TARGETS:%=$(O)/%)
	@echo "fuzz targets: skipped, there is no clang with libFuzzer" \
		"(see test/fuzz/find-clang)"
else
fuzz-targets: $(FUZZ_TARGETS:%=$(O)/%)
endif

$(O)/fuzz_%: $(O)/obj/fuzz_%.o $(FUZZ_LIB)
	$(FUZZ_CLANG) -fsanitize=fuzzer,address,undefined $^ $(FUZZ_LIBS) -o $@

$(O)/obj/%.o: $(FUZZ_TOP)/src/%.c $(FUZZ_HDR) | $(O)/obj
	$(FUZZ_CLANG) $(FUZZ_CFLAGS) -c $< -o $@

$(O)/obj/%.o: $(FUZZ_TOP)/test/unit/%.c $(FUZZ_HDR) | $(O)/obj
	$(FUZZ_CLANG) $(FUZZ_CFLAGS) -c $< -o $@

$(O)/obj/%.o: $(FUZZ_TOP)/test/fuzz/%.c $(FUZZ_HDR) | $(O)/obj
	$(FUZZ_CLANG) $(FUZZ_CFLAGS) -c $< -o $@

$(O)/obj:
	mkdir -p $@

.SECONDARY:
