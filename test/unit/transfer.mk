# The network layer's tests: make -f transfer.mk (or included), O = directory
# for the output.
#
#	make -f transfer.mk check-transfer
#	make -f transfer.mk O=/tmp/asan CFLAGS="-g -fsanitize=address,undefined" check-transfer

O ?= .
CC ?= gcc
CFLAGS ?= -g -O2
TRANSFER_DIR := $(dir $(lastword $(MAKEFILE_LIST)))
TRANSFER_FLAGS = -std=gnu99 -Wall -Wextra -Werror -Wmissing-prototypes \
	-Wdeclaration-after-statement -Werror=vla
TRANSFER_SRC = $(addprefix $(TRANSFER_DIR)../../src/, outcome.c reply.c \
	sockets.c hearing.c connector.c connect.c smtp.c smtp_dialogue.c \
	smtp_envelope.c pool.c transfer.c probe.c) \
	$(addprefix $(TRANSFER_DIR), transfer_test.c transfer_outcome_test.c \
	transfer_dialogue_test.c transfer_failure_test.c transfer_pool_test.c \
	fake_smtp.c driver.c bench.c)
TRANSFER_HEADERS = $(addprefix $(TRANSFER_DIR)../../src/, outcome.h transfer.h \
	reply.h sockets.h hearing.h connect.h connect_private.h smtp.h \
	smtp_private.h pool.h) $(wildcard $(TRANSFER_DIR)*.h)

all: $(O)/transfer_test

$(O)/transfer_test: $(TRANSFER_SRC) $(TRANSFER_HEADERS)
	$(CC) $(TRANSFER_FLAGS) $(CFLAGS) -o $@ $(TRANSFER_SRC) \
		$(LDFLAGS) -lcurl -lpthread

check-transfer: $(O)/transfer_test
	$(O)/transfer_test

.PHONY: all check-transfer
