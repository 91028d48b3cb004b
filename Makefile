# One non-recursive makefile. Each folder lists its sources in FOLDER/module.mk:
#   NAME_SRCS   sources of the folder, linked into build/libNAME.a
#   NAME_TESTS  unit tests, one program each, TAP on stdout
# WERROR=0 turns warnings back into warnings. SAN=address,undefined or SAN=thread builds
# under build-SAN/ with that sanitizer.
MODULES  := common dedup blockstore backup nbd iscsi vhost vmm mgmt
DIRS     := common dedup blockstore backup targets/nbd targets/iscsi targets/vhost vmm mgmt mgmt/cli tests/sim tests/bench tests/fuzz
WERROR   ?= 1
SAN      ?=
PREFIX   ?= /usr/local
comma    := ,
B        := build$(if $(SAN),/$(subst $(comma),-,$(SAN)))

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
else
LDFLAGS  += -Wl,-z,relro,-z,now
endif
LDFLAGS  += -pthread

all: programs

include $(foreach d,$(DIRS),$(wildcard $(d)/module.mk))

obj       = $(patsubst %.c,$(B)/obj/%.o,$(1))
ALL_SRCS := $(foreach m,$(MODULES),$($(m)_SRCS)) $(vstored_SRCS) $(vstore_SRCS) $(sim_SRCS) $(benches_SRCS)
TESTS    := $(foreach m,$(MODULES),$($(m)_TESTS))
TESTBINS := $(patsubst %.c,$(B)/%,$(TESTS))
LIBS      = $(foreach m,$(1),$(B)/lib$(m).a)

# Every archive and what it needs below it, in link order.
CORE_LIBS  = -lcrypto -lxxhash -llz4 -lzstd -laio
ALL_ARCH   = $(call LIBS,mgmt vmm vhost iscsi nbd backup blockstore dedup common)
ALL_LDLIBS = $(CORE_LIBS) -lsqlite3 -ljansson -lmicrohttpd -lcurl -linih

define archive
$(B)/lib$(1).a: $(call obj,$($(1)_SRCS))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call archive,$(m))))

programs: $(if $(vstored_SRCS),$(B)/vstored) $(if $(vstore_SRCS),$(B)/vstore)

$(B)/vstored: $(call obj,$(vstored_SRCS)) $(ALL_ARCH)
	$(CC) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(B)/vstore: $(call obj,$(vstore_SRCS)) $(call LIBS,mgmt backup blockstore dedup common)
	$(CC) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(TESTBINS): $(B)/%: $(B)/obj/%.o $(ALL_ARCH)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(ALL_ARCH) $(ALL_LDLIBS) -lcmocka

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRCS) $(TESTS)))

unit: $(TESTBINS)

check-layers:
	@tests/check-layers

clean:
	rm -rf build

.PHONY: all programs unit check-layers clean
.SECONDARY:
