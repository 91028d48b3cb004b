# One non-recursive makefile. Each folder lists its sources in FOLDER/module.mk:
#   NAME_SRCS   sources of the folder, linked into build/libNAME.a
#   NAME_TESTS  unit tests, one program each, TAP on stdout; also run under ASan+UBSan and TSan
#   CHECK_RUNS  += "NAME=COMMAND": further programs for `make check`, TAP on stdout; words of the
#               command are separated by commas; SOAK_RUNS the same for `make soak`
# Variables:
#   WERROR=0                turns warnings back into warnings
#   SAN=address,undefined   (or thread) builds under build/address-undefined with that sanitizer
#   FUZZ=1                  builds under build/fuzz with clang and libFuzzer's instrumentation
#   VARIANT=NAME DEFS=-D... builds under build/NAME with further definitions
#   V=1                     shows the commands
#   SEEDS=N                 how many seeds `make soak` simulates
#   TESTS=PATTERN           what `make check` runs: shell patterns against the names it prints
MODULES  := common dedup blockstore datastore backup nfs nbd iscsi vhost vmm mgmt
DIRS     := common dedup blockstore datastore backup targets/nfs targets/nbd targets/iscsi targets/vhost vmm mgmt mgmt/cli \
            tests/sim tests/load tests/conformance tests/e2e tests/bench tests/fuzz
WERROR   ?= 1
SAN      ?=
FUZZ     ?=
VARIANT  ?=
PREFIX   ?= /usr/local
STATE    ?= /var/lib/vstore
SEEDS    ?= 1000000
comma    := ,
empty    :=
space    := $(empty) $(empty)
B        := build$(if $(FUZZ),/fuzz)$(if $(SAN),/$(subst $(comma),-,$(SAN)))$(if $(VARIANT),/$(VARIANT))

ifneq ($(FUZZ),)
CC       := clang
WERROR   := 0
CFLAGS   ?= -O1 -g
CFLAGS   += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
else ifneq ($(SAN),)
CFLAGS   ?= -O1 -g
endif
CC       ?= gcc
CPPFLAGS += -D_GNU_SOURCE -I. $(DEFS)
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu11 -fno-strict-aliasing -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -fstack-protector-strong -pthread
ifeq ($(WERROR),1)
CFLAGS   += -Werror
endif
ifneq ($(SAN),)
CFLAGS   += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=$(SAN)
ifeq ($(SAN),thread)
CFLAGS   += -Wno-tsan # fences between the daemon and a guest are outside what it can see
endif
else ifeq ($(FUZZ),)
LDFLAGS  += -Wl,-z,relro,-z,now
endif
LDFLAGS  += -pthread

# Says what is made; V=1 shows the commands instead.
ifeq ($(V),)
Q = @echo "  $(1) $@";
else
Q =
endif

all: programs

include $(foreach d,$(DIRS),$(wildcard $(d)/module.mk))

obj       = $(patsubst %.c,$(B)/obj/%.o,$(1))
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz_*.c)
ALL_SRCS := $(foreach m,$(MODULES),$($(m)_SRCS)) $(vstored_SRCS) $(vstore_SRCS) $(sim_SRCS) \
            $(load_SRCS) $(engine_SRCS) $(guest_SRCS) $(file_SRCS) $(inside_SRCS) $(benches_SRCS) $(tools_SRCS)
TESTS_C  := $(foreach m,$(MODULES),$($(m)_TESTS))
TESTBINS := $(patsubst %.c,$(B)/%,$(TESTS_C))
FUZZBINS := $(patsubst tests/fuzz/%.c,$(B)/%,$(FUZZ_SRCS))
LIBS      = $(foreach m,$(1),$(B)/lib$(m).a)

# Every archive and what it needs below it, in link order.
CORE_LIBS  = -liscsi -lnfs -lcrypto -lxxhash -llz4 -lzstd -laio $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB)
ALL_ARCH   = $(call LIBS,mgmt vmm vhost iscsi nbd nfs backup datastore blockstore dedup common)
ALL_LDLIBS = $(CORE_LIBS) -lsqlite3 -ljansson -lmicrohttpd -lcurl -linih

define archive
$(B)/lib$(1).a: $(call obj,$($(1)_SRCS))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call Q,AR  )$$(AR) rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call archive,$(m))))

PROGRAMS := $(if $(vstored_SRCS),$(B)/vstored) $(if $(vstore_SRCS),$(B)/vstore)
SIM      := $(if $(sim_SRCS),$(B)/tests/sim/sim)
TOOLS    := $(patsubst %.c,$(B)/%,$(tools_SRCS) $(inside_SRCS) $(benches_SRCS)) $(if $(load_SRCS),$(B)/tests/load/load) \
            $(if $(engine_SRCS),$(B)/tests/load/engine) \
            $(if $(guest_SRCS),$(B)/tests/e2e/guest_load $(B)/tests/e2e/file_load)

programs: $(PROGRAMS)

$(B)/vstored: $(call obj,$(vstored_SRCS)) $(ALL_ARCH)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(B)/vstore: $(call obj,$(vstore_SRCS)) $(call LIBS,mgmt backup blockstore dedup common)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(TESTBINS): $(B)/%: $(B)/obj/%.o $(ALL_ARCH)
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $< $(ALL_ARCH) $(ALL_LDLIBS) -lcmocka

$(SIM): $(call obj,$(sim_SRCS)) $(ALL_ARCH)
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS) -lcmocka

$(B)/tests/load/load: $(call obj,$(load_SRCS)) $(call LIBS,common)
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ -liscsi -lnfs -lcrypto

$(B)/tests/load/engine: $(call obj,$(engine_SRCS)) $(call LIBS,blockstore dedup common)
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

$(B)/tests/e2e/guest_load: $(call obj,$(guest_SRCS))
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -static -o $@ $^

$(B)/tests/e2e/file_load: $(call obj,$(file_SRCS))
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -static -o $@ $^

# Programs that run inside a guest that has no libraries, one source each.
$(patsubst %.c,$(B)/%,$(inside_SRCS)): $(B)/%: $(B)/obj/%.o
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -static -o $@ $^

# Programs that only tests and benchmarks use, one source each.
$(patsubst %.c,$(B)/%,$(tools_SRCS) $(benches_SRCS)): $(B)/%: $(B)/obj/%.o $(ALL_ARCH)
	@mkdir -p $(@D)
	$(call Q,LINK)$(CC) $(LDFLAGS) -o $@ $< $(ALL_ARCH) $(ALL_LDLIBS)

$(FUZZBINS): $(B)/%: $(B)/obj/tests/fuzz/%.o $(ALL_ARCH)
	$(call Q,LINK)$(CC) $(LDFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< $(ALL_ARCH) $(ALL_LDLIBS)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call Q,CC  )$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRCS) $(TESTS_C) $(FUZZ_SRCS)))

unit: $(TESTBINS)
sim: $(SIM)
fuzz: $(FUZZBINS)
tools: $(TOOLS)

# ---- the two commands and what they stand on -------------------------------------------------

install-deps:
	@packaging/install-deps build run test

# All processors, unless the caller said how many.
SOAK_RUNS += $(if $(sim_SRCS),sim/soak=$(SIM),--first,10000000,--total,$(SEEDS))
JOBS := $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

up:
	@packaging/install-deps build run
	@$(MAKE) $(JOBS) --no-print-directory programs
	@STATE="$(STATE)" STORE="$(STORE)" PREFIX="$(PREFIX)" OPTIONS="$(OPTIONS)" packaging/up

down:
	@STATE="$(STATE)" PREFIX="$(PREFIX)" packaging/down

check:
	@packaging/install-deps build run test
	@packaging/machine-user
	@$(MAKE) $(JOBS) --no-print-directory check-build
	@TESTS="$(TESTS)" tests/run

check-build: programs unit sim tools
	@$(MAKE) --no-print-directory SAN=address,undefined unit sim
	@$(MAKE) --no-print-directory SAN=thread unit
	@$(MAKE) --no-print-directory FUZZ=1 fuzz

# One program a line for tests/run: kind, name, command.
check-list:
	@$(foreach t,$(TESTS_C),echo unit $(patsubst tests/%.c,%,$(t)) build/$(t:.c=);) \
	$(foreach t,$(TESTS_C),echo unit asan/$(notdir $(t:.c=)) build/address-undefined/$(t:.c=);) \
	$(foreach t,$(TESTS_C),echo unit tsan/$(notdir $(t:.c=)) build/thread/$(t:.c=);) \
	$(foreach f,$(FUZZ_SRCS),echo fuzz fuzz/$(patsubst tests/fuzz/fuzz_%.c,%,$(f)) build/fuzz/$(patsubst tests/fuzz/%.c,%,$(f));) \
	$(foreach r,$(CHECK_RUNS) $(if $(SOAK),$(SOAK_RUNS)),echo run $(firstword $(subst =, ,$(r))) $(subst $(comma), ,$(patsubst $(firstword $(subst =, ,$(r)))=%,%,$(r)));) :

check-layers:
	@tests/check-layers

lint:
	@packaging/install-deps build lint
	@tests/lint

soak:
	@packaging/install-deps build run test
	@$(MAKE) $(JOBS) --no-print-directory check-build
	@tests/run --soak

bench:
	@packaging/install-deps build run test bench
	@$(MAKE) $(JOBS) --no-print-directory programs tools
	@tests/bench/bench

install: programs
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin
	install -m 755 build/vstored $(DESTDIR)$(PREFIX)/sbin/vstored
	install -m 755 build/vstore $(DESTDIR)$(PREFIX)/bin/vstore
	@packaging/install-files "$(DESTDIR)" "$(PREFIX)"

clean:
	@for f in build/* ; do [ "$$f" = build/cache ] || rm -rf "$$f"; done

.PHONY: all programs unit sim fuzz tools install-deps up down check check-build check-list \
        check-layers lint soak bench install clean
.SECONDARY:
