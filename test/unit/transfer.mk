# Unit test of the network layer.  From the checkout's root:
#
#	make -f test/unit/transfer.mk O=/tmp/build check-transfer
#
# SANITIZE=1 adds AddressSanitizer and UBSan (another O, please),
# check-transfer-valgrind runs valgrind.  Needs libcurl; no server: the SMTP
# server is a child of the test.  bench and probe: see transfer_test.c.

O ?= .
CFLAGS ?= -g -O2
TRANSFER_DIR := $(dir $(lastword $(MAKEFILE_LIST)))
TRANSFER_FLAGS = -std=gnu99 -Wall -Wextra -Werror -Wmissing-prototypes \
	-Wdeclaration-after-statement -Werror=vla
ifdef SANITIZE
TRANSFER_FLAGS += -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined
endif

TRANSFER_SRC = $(addprefix $(TRANSFER_DIR)../../src/, outcome.c unicode.c reply.c \
	sockets.c hearing.c login.c connector.c connect.c smtp.c smtp_write.c \
	smtp_dialogue.c smtp_envelope.c pool.c transfer.c probe.c) \
	$(addprefix $(TRANSFER_DIR), transfer_test.c transfer_judge_test.c \
	transfer_outcome_test.c transfer_dialogue_test.c \
	transfer_failure_test.c transfer_pool_test.c transfer_tired_test.c \
	transfer_limit_test.c transfer_drip_test.c transfer_pieces_test.c \
	fake_smtp.c driver.c bench.c)
TRANSFER_HEADERS = $(addprefix $(TRANSFER_DIR)../../src/, outcome.h unicode.h unicode_table.h piece.h transfer.h \
	reply.h sockets.h hearing.h connect.h connect_private.h smtp.h \
	smtp_private.h pool.h) $(wildcard $(TRANSFER_DIR)*.h)

check-transfer: $(O)/transfer_test
	$(O)/transfer_test

$(O)/transfer_test: $(TRANSFER_SRC) $(TRANSFER_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TRANSFER_FLAGS) -o $@ $(TRANSFER_SRC) \
		$(LDFLAGS) -lcurl -lpthread

check-transfer-valgrind: $(O)/transfer_test
	valgrind -q --leak-check=full --error-exitcode=9 \
		--child-silent-after-fork=yes $(O)/transfer_test

.PHONY: check-transfer check-transfer-valgrind
