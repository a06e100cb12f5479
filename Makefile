# mailman: the mail room of a newsletter
#
#   make, make install, make installcheck   as with any PGXS extension
#   make demo                               see it send one letter
#   make test                               everything
EXTENSION = mailman
MODULE_big = mailman
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = src/mailman--1.0.sql
PGFILEDESC = "mailman - the mail room of a newsletter"

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))

PG_CPPFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
SHLIB_LINK = -lcurl -lidn2

# Nothing here is worth inlining into a query: no bitcode
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
