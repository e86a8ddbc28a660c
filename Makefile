# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# How taio is built, tested and installed. Sources are found by wildcards: a new file in the right
# directory is enough, no list has to be edited. `make help` says what can be asked for; V=1 shows
# the commands, WERROR=1 turns warnings into errors, CC=clang works, BUILD= is where products go.

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
SHELL := /bin/bash

ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
ifneq ($(filter default undefined,$(origin AR)),)
AR := ar
endif
CLANG  ?= clang
OBJCOPY ?= objcopy
LLVM_STRIP ?= llvm-strip
BPFTOOL ?= $(firstword $(shell command -v bpftool 2>/dev/null) $(wildcard /usr/sbin/bpftool))
BTF    ?= /sys/kernel/btf/vmlinux
BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=

VERSION := $(shell sed -n 's/^\#define TAIO_VERSION  *"\(.*\)"/\1/p' include/taio.h)
SOMAJOR := $(firstword $(subst ., ,$(VERSION)))
SONAME  := libtaio.so.$(SOMAJOR)
SOFILE  := libtaio.so.$(VERSION)

# ---- flags ---------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-align -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough
ifeq ($(WERROR),1)
WARN += -Werror
endif
OPT  ?= -O2 -g
BASE := -std=gnu11 $(OPT) $(WARN) -fvisibility=hidden -fno-common -fno-semantic-interposition \
	-ffunction-sections -fdata-sections -fPIC -pthread
LINK := -pthread -Wl,-z,lazy -Wl,--hash-style=gnu -Wl,--as-needed -Wl,-O1
# not for the unit tests: criterion finds its cases by a section that nobody refers to
GC   := -Wl,--gc-sections

# SANITIZE=address,undefined and the like: see the targets asan, tsan and fuzz
ifneq ($(SANITIZE),)
BASE += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK += -fsanitize=$(SANITIZE)
# a fence against the kernel, which ThreadSanitizer has no part in
BASE += $(if $(filter thread,$(SANITIZE)),-Wno-tsan)
else
NOUNDEF := -Wl,-z,defs
endif

DEFS := -D_GNU_SOURCE
INC  := -Iinclude -Iuser
COMPILE = $(CC) $(BASE) $(CFLAGS) $(DEFS) $(CPPFLAGS) -MMD -MP
ALLFLAGS = $(CC) $(BASE) $(CFLAGS) $(CPPFLAGS) $(LINK) $(LDFLAGS)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
MAKEFLAGS += --no-print-directory
endif

# criterion and ThreadSanitizer want the same addresses: see tests/plain/criterion/criterion.h
ifeq ($(SANITIZE),thread)
CRITERION_INC := -Itests/plain
CRITERION = $(BUILD)/obj/tests/plain/cases.o
else
CRITERION := -lcriterion
endif

# ---- what there is -------------------------------------------------------------------------------

wild = $(sort $(wildcard $(1)))

LIB_SRC  := $(filter-out user/cli/%,$(call wild,user/*.c user/*/*.c user/*/*/*.c))
CLI_SRC  := $(call wild,user/cli/*.c user/cli/*/*.c)
POLICIES := $(patsubst schedulers/%.bpf.c,%,$(call wild,schedulers/*.bpf.c))
BPF_SRC  := $(call wild,bpf/*.bpf.c)
TBPF_SRC := $(call wild,tests/*/*.bpf.c)
HELP_SRC := $(call wild,tests/helpers*.c)
UNIT_SRC := $(call wild,tests/test_*.c)
FUZZ_SRC := $(call wild,tests/fuzz_*.c)
PEER_SRC := $(filter-out $(HELP_SRC) $(UNIT_SRC) $(FUZZ_SRC),$(call wild,tests/*.c))
SIM_SRC  := $(call wild,tests/sim/*.c)
EX_SRC   := $(call wild,examples/*.c)
BLIB_SRC := $(call wild,bench/lib*.c)
BENCH_SRC := $(filter-out $(BLIB_SRC),$(call wild,bench/*.c))
HEADERS  := $(call wild,include/*.h)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
bin = $(patsubst %.c,$(BUILD)/%,$(1))

NATIVE  := $(POLICIES:%=$(BUILD)/schedulers/%.native.o)
LIB_OBJ := $(call obj,$(LIB_SRC)) $(NATIVE)
CLI_OBJ := $(call obj,$(CLI_SRC))
UNITS   := $(call bin,$(UNIT_SRC))
PEERS   := $(call bin,$(PEER_SRC))
SIM      := $(BUILD)/tests/sim/sim
EXAMPLES := $(call bin,$(EX_SRC))
BENCHES := $(call bin,$(BENCH_SRC))
POLICY_OBJ := $(POLICIES:%=$(BUILD)/schedulers/%.bpf.o)
BPF_OBJ := $(BPF_SRC:%.bpf.c=$(BUILD)/%.bpf.o)
TBPF_OBJ := $(TBPF_SRC:%.bpf.c=$(BUILD)/%.bpf.o)
LIBS    := $(BUILD)/$(SOFILE) $(BUILD)/libtaio.a $(BUILD)/libtaio-test.a
STAMP   := $(BUILD)/obj/.flags
PREFIXED := $(filter $(BUILD)/obj/user/policy/% $(BUILD)/obj/user/libbpf/%,$(LIB_OBJ)) $(BUILD)/taio.pc

# Without clang there are no BPF objects, and everything runs on the native twins. Only objects that
# include vmlinux.h need the types of a kernel.
BTF_SRC := $(if $(POLICIES)$(BPF_SRC)$(TBPF_SRC),$(shell grep -lE '^\#include "vmlinux.h"' \
	$(POLICIES:%=schedulers/%.bpf.c) $(BPF_SRC) $(TBPF_SRC)))
ifeq ($(shell command -v $(CLANG) 2>/dev/null),)
BPF_SKIP := $(POLICY_OBJ) $(BPF_OBJ) $(TBPF_OBJ)
BPF_WHY := $(CLANG) is missing (make setup installs it)
else ifeq ($(BPFTOOL),)
BPF_SKIP := $(BTF_SRC:%.c=$(BUILD)/%.o)
BPF_WHY := bpftool is missing (make setup installs it)
else ifeq ($(wildcard $(BTF)),)
BPF_SKIP := $(BTF_SRC:%.c=$(BUILD)/%.o)
BPF_WHY := $(BTF) is missing (a kernel built with CONFIG_DEBUG_INFO_BTF has it)
endif

# ---- what can be asked for -----------------------------------------------------------------------

.PHONY: all help lib bpf units bench-build setup demo test check unit sim sim-scale sim-plot bench \
	fmt lint asan ubsan tsan fuzz install install-files uninstall clean setup-vm vmtest \
	vmtest-self vmtest-shell crash kill9 FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: lib $(BUILD)/taio bpf $(EXAMPLES) $(BUILD)/taio.pc

help:
	@echo 'make               library, command, policies and examples under $(BUILD)/'
	@echo 'make setup         install what is missing (apt, as root)'
	@echo 'make demo          setup, build, and the main job on real files'
	@echo 'make test          setup, build, all tests, and their counts'
	@echo 'make unit | check  only the unit tests | only the check scripts'
	@echo 'make asan | tsan   the unit tests under AddressSanitizer and UBSan | ThreadSanitizer'
	@echo 'make sim           policies against an oracle, in virtual time (POLICY= IN= SEEDS= PLOT=)'
	@echo 'make sim-scale     many devices and engines there; make sim-plot draws a slow device'
	@echo 'make fuzz          each fuzz target for FUZZ_SECONDS (20)'
	@echo 'make vmtest        tests in QEMU under Debian kernels: KERNEL=6.1 TEST=name SET=smoke choose'
	@echo 'make vmtest-self   can those tests fail? A guest that panics, hangs, does nothing, ...'
	@echo 'make vmtest-shell  a shell in such a guest: KERNEL=6.1'
	@echo 'make crash         power cuts of a guest during durable copies: CYCLES (50) on ext4, xfs, btrfs'
	@echo 'make kill9         KILLS (1000) copies killed at random moments: nothing torn, nothing left'
	@echo 'make bench         the benchmarks, beside their peers'
	@echo 'make fmt | lint    format the sources | clang-tidy, cppcheck, shellcheck, clang-format'
	@echo 'make install       to DESTDIR and PREFIX ($(PREFIX)); make uninstall removes it'
	@echo 'make clean         remove what was built'
	@echo 'V=1 shows commands; WERROR=1; CC=clang; BUILD=directory'

lib: $(LIBS) $(BUILD)/$(SONAME) $(BUILD)/libtaio.so
units: $(UNITS) $(PEERS) $(SIM) bpf $(filter-out $(BPF_SKIP),$(TBPF_OBJ))
bench-build: $(BENCHES)

# ---- objects -------------------------------------------------------------------------------------

# A file that holds what it is given, and is only as old as the last change of it: a change of
# compiler, flags or Makefile makes everything again, one of PREFIX only what knows it.
keep = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(1))' > $@

$(STAMP): FORCE
	$(call keep,$(ALLFLAGS) $(shell cksum < Makefile))

$(BUILD)/obj/.prefix: FORCE
	$(call keep,$(PREFIX))

$(PREFIXED): $(BUILD)/obj/.prefix

# where an installed library looks for policy objects
$(BUILD)/obj/user/policy/%.o $(BUILD)/obj/user/libbpf/%.o: DEFS += -DTAIO_LIBDIR='"$(PREFIX)/lib/taio"'

# what the program of a flow and its loader share
$(BUILD)/obj/user/xdp/%.o $(BUILD)/obj/user/drivers/%.o: INC += -Ibpf

$(BUILD)/schedulers/list.inc: FORCE
	@mkdir -p $(@D)
	@printf '$(if $(POLICIES),X(%s)\n)' $(POLICIES) | cmp -s - $@ || \
		printf '$(if $(POLICIES),X(%s)\n)' $(POLICIES) > $@

$(BUILD)/obj/user/%.o: user/%.c $(STAMP) | $(BUILD)/schedulers/list.inc
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(INC) -I$(BUILD)/schedulers -c $< -o $@

$(BUILD)/schedulers/%.native.o: schedulers/%.bpf.c $(STAMP)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -Iinclude -Ibpf -c $< -o $@

$(BUILD)/obj/tests/%.o: tests/%.c $(STAMP) | $(BUILD)/schedulers/list.inc
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(CRITERION_INC) $(INC) -Ibpf -I$(BUILD)/schedulers -c $< -o $@

# one line X(NAME) for each structure of the public headers
$(BUILD)/obj/tests/structs.inc: $(HEADERS)
	@mkdir -p $(@D)
	$(Q)sed -n 's/^struct \(taio_[a-z_]*\) {.*/X(\1);/p' $^ | sort > $@

$(BUILD)/obj/tests/abi_sizes.o: $(BUILD)/obj/tests/structs.inc
$(BUILD)/obj/tests/abi_sizes.o: CPPFLAGS += -I$(BUILD)/obj/tests

$(BUILD)/obj/bench/%.o: bench/%.c $(STAMP) | $(BUILD)/schedulers/list.inc
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(INC) -Ibpf -Itests -I$(BUILD)/schedulers -c $< -o $@

$(BUILD)/obj/examples/%.o: examples/%.c $(STAMP)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -Iinclude -c $< -o $@

# ---- library and command -------------------------------------------------------------------------

# every object with its internal names: for the command, the unit tests and the benchmarks
$(BUILD)/libtaio-test.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@.new && $(AR) rcs $@.new $^ && mv -f $@.new $@

# one object with only the public names left, so that no internal name meets one of the program
$(BUILD)/libtaio.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)$(CC) -r -nostdlib -o $(BUILD)/obj/libtaio.o $^
	$(Q)$(OBJCOPY) --localize-hidden $(BUILD)/obj/libtaio.o
	$(Q)rm -f $@.new && $(AR) rcs $@.new $(BUILD)/obj/libtaio.o && mv -f $@.new $@

$(BUILD)/$(SOFILE): $(LIB_OBJ) user/libtaio.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@.new $(LINK) $(GC) $(NOUNDEF) -Wl,-soname,$(SONAME) \
		-Wl,--version-script,user/libtaio.map $(LDFLAGS) $(LIB_OBJ) -luring -lpthread -ldl
	$(Q)mv -f $@.new $@

$(BUILD)/$(SONAME) $(BUILD)/libtaio.so: $(BUILD)/$(SOFILE)
	@ln -sf $(SOFILE) $@

# Products come under their name when they are whole: one may be running.
#
# The command carries taio and liburing in itself and needs only libc at start: it must start as
# fast as cp. The reason for lazy binding is the same.
$(BUILD)/taio: $(CLI_OBJ) $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@.new $(LINK) $(GC) $(LDFLAGS) $^ -l:liburing.a -lpthread -ldl
	$(Q)mv -f $@.new $@

$(BUILD)/taio.pc: taio.pc.in include/taio.h
	$(call say,GEN,$@)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

# ---- BPF -----------------------------------------------------------------------------------------

BPF_CC = $(CLANG) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Wshadow \
	$(if $(filter 1,$(WERROR)),-Werror) -Iinclude -Ibpf -I$(BUILD) -MMD -MP

bpf: $(filter-out $(BPF_SKIP),$(POLICY_OBJ) $(BPF_OBJ))
ifneq ($(BPF_SKIP),)
	@echo '  SKIP    $(BPF_SKIP): $(BPF_WHY)'
endif

$(BTF_SRC:%.c=$(BUILD)/%.o): $(BUILD)/vmlinux.h
# only rewritten when the types differ, so that a reboot into the same kernel rebuilds nothing
$(BUILD)/vmlinux.h: $(BTF)
	$(call say,BTF,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) btf dump file $(BTF) format c > $@.new
	@if cmp -s $@.new $@; then rm -f $@.new; else mv $@.new $@; fi; touch $@

$(BUILD)/%.bpf.o: %.bpf.c $(STAMP)
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(BPF_CC) -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

# ---- programs ------------------------------------------------------------------------------------

# named, so that the pattern below may count on them
$(call obj,$(HELP_SRC) $(BLIB_SRC)):

$(BUILD)/tests/test_%: $(BUILD)/obj/tests/test_%.o $(call obj,$(HELP_SRC)) \
		$(filter %.o,$(CRITERION)) $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(LINK) $(LDFLAGS) $^ $(filter -l%,$(CRITERION)) \
		-luring -lpthread -ldl -lm

$(BUILD)/tests/fuzz_%: $(BUILD)/obj/tests/fuzz_%.o $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(subst fuzzer-no-link,fuzzer,$(LINK)) $(LDFLAGS) $^ -luring -lpthread -ldl

$(SIM): $(call obj,$(SIM_SRC)) $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(LINK) $(LDFLAGS) $^ -luring -lpthread -ldl -lm

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(LINK) $(LDFLAGS) $^ -luring -lpthread -ldl -lm

$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(call obj,$(BLIB_SRC)) $(BUILD)/libtaio-test.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(LINK) $(LDFLAGS) $^ -luring -lpthread -ldl -lm

# as a user of the shared library would build them
$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(BUILD)/$(SOFILE) | $(BUILD)/libtaio.so $(BUILD)/$(SONAME)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(LINK) $(LDFLAGS) $< -L$(BUILD) -ltaio -Wl,-rpath,'$$ORIGIN/..'

# ---- tests ---------------------------------------------------------------------------------------

setup:
	@tests/setup.sh

# setup may install compiler and libraries, so building starts in a make of its own after it
demo: setup
	@$(MAKE) all
	@BUILD=$(BUILD) examples/demo.sh

test: setup
	@$(MAKE) -k all units; MADE=$$? BUILD=$(BUILD) tests/run.sh all

unit: units
	@BUILD=$(BUILD) tests/run.sh unit

check: all $(PEERS) $(SIM)
	@BUILD=$(BUILD) tests/run.sh check

# halt_on_error: an error must be the end of the test that made it
asan ubsan:
	@$(MAKE) BUILD=build-asan OPT='-O1 -g' SANITIZE=address,undefined units
	@BUILD=build-asan ASAN_OPTIONS=detect_stack_use_after_return=1:$(ASAN_OPTIONS) \
		UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 tests/run.sh unit

# TSAN_WITHOUT: no second thread is in them.
TSAN_WITHOUT := $(addprefix test_,cli_progress cli_text cli_walk endpoint pick pick_guards \
	plan policy_equal policy_native policy_pick policy_set policy_verdict policy_watchdog \
	request slab speeds)
# setarch -R: ThreadSanitizer of gcc 12 does not know the address layout that newer kernels draw
tsan:
	@$(MAKE) BUILD=build-tsan OPT='-O1 -g' SANITIZE=thread units
	@BUILD=build-tsan WITHOUT='$(TSAN_WITHOUT)' TSAN_OPTIONS=halt_on_error=1:$(TSAN_OPTIONS) \
		setarch -R tests/run.sh unit

# POLICY=tab,jsq IN=S2,S3,T SEEDS=2 PLOT=directory
sim: $(SIM)
	@$(SIM) $(if $(POLICY),--policy $(POLICY)) $(if $(IN),--in $(IN)) $(if $(SEEDS),--seeds $(SEEDS))
	$(if $(PLOT),@$(MAKE) sim-plot)

sim-scale: $(SIM)
	@$(SIM) --scale

PLOT_DIR := $(or $(PLOT),$(BUILD)/plot)
sim-plot: $(SIM)
	@command -v gnuplot > /dev/null || tests/setup.sh plot || true
	@if command -v gnuplot > /dev/null; then \
		$(SIM) $(if $(POLICY),--policy $(POLICY)) --plot $(PLOT_DIR) && \
		gnuplot -e "directory='$(PLOT_DIR)'" tests/sim/slow.gp && \
		echo $(PLOT_DIR)/slow.svg; \
	else \
		echo '  SKIP    plot: gnuplot is not installed (gnuplot-nox)'; \
	fi

FUZZ_SECONDS ?= 20
fuzz:
	@$(MAKE) BUILD=build-fuzz CC=$(CLANG) OPT='-O1 -g' \
		SANITIZE=fuzzer-no-link,address,undefined $(FUZZ_SRC:%.c=build-fuzz/%)
	@for target in $(FUZZ_SRC:tests/fuzz_%.c=%); do \
		mkdir -p build-fuzz/corpus/$$target; \
		build-fuzz/tests/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=build-fuzz/ build-fuzz/corpus/$$target \
			$$(find tests/corpus/$$target -maxdepth 0 2>/dev/null) || exit 1; \
	done

setup-vm:
	@tests/setup.sh vm

vmtest: setup-vm
	@$(MAKE) all units
	@BUILD=$(BUILD) vmtest/run.sh $(if $(SET),-t $(SET)) '$(KERNEL)' $(TEST)

vmtest-self: setup-vm
	@$(MAKE) all units
	@BUILD=$(BUILD) vmtest/selftest.sh '$(or $(KERNEL),6.1)'

vmtest-shell: setup-vm
	@$(MAKE) all units
	@BUILD=$(BUILD) vmtest/run.sh -s '$(or $(KERNEL),6.1)'

crash: setup-vm
	@$(MAKE) all
	@BUILD=$(BUILD) $(if $(CYCLES),CYCLES=$(CYCLES)) vmtest/crash.sh $(CRASH_FLAGS) '$(or $(KERNEL),6.12)' $(TYPE)

kill9: all
	@BUILD=$(BUILD) KILLS=$(or $(KILLS),1000) tests/kill9.sh

bench: all bench-build
	@BUILD=$(BUILD) bench/run.sh

# ---- sources -------------------------------------------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null || \
	find include user bpf schedulers tests bench examples vmtest -name '*.[ch]')
SH_FILES = $(shell grep -rIlE '^\#!.*sh$$' .ci tests bench examples vmtest 2>/dev/null)

fmt:
	clang-format -i $(C_FILES)

lint:
	@CC='$(CC)' FLAGS='-std=gnu11 $(DEFS) $(INC) -Ibpf -I$(BUILD)/schedulers' \
		tests/lint.sh $(C_FILES) -- $(SH_FILES)

# ---- installation --------------------------------------------------------------------------------

BINDIR = $(DESTDIR)$(PREFIX)/bin
INCDIR = $(DESTDIR)$(PREFIX)/include
LIBDIR = $(DESTDIR)$(PREFIX)/lib
MANDIR = $(DESTDIR)$(PREFIX)/share/man
DATADIR = $(DESTDIR)$(PREFIX)/share/taio
COMPDIR = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
COMPLETION := $(firstword $(call wild,user/cli/completion/taio*) $(call wild,docs/completion/taio*))
man = $(call wild,docs/man/*.$(1) docs/man/man$(1)/*.$(1))

install: all
	@$(MAKE) install-files

# what was built, as it is
install-files:
	install -d $(BINDIR) $(INCDIR) $(LIBDIR)/pkgconfig $(LIBDIR)/taio/schedulers \
		$(DATADIR)/schedulers $(DATADIR)/bpf
	install -m 755 $(BUILD)/taio $(BINDIR)/taio
	install -m 644 $(HEADERS) $(INCDIR)
	install -m 755 $(BUILD)/$(SOFILE) $(LIBDIR)/$(SOFILE)
	ln -sf $(SOFILE) $(LIBDIR)/$(SONAME)
	ln -sf $(SOFILE) $(LIBDIR)/libtaio.so
	install -m 644 $(BUILD)/libtaio.a $(LIBDIR)/libtaio.a
	install -m 644 $(BUILD)/taio.pc $(LIBDIR)/pkgconfig/taio.pc
	$(if $(wildcard $(POLICY_OBJ)),install -m 644 $(wildcard $(POLICY_OBJ)) \
		$(LIBDIR)/taio/schedulers)
	$(if $(wildcard $(BPF_OBJ)),install -d $(LIBDIR)/taio/bpf && install -m 644 \
		$(wildcard $(BPF_OBJ)) $(LIBDIR)/taio/bpf)
	$(if $(POLICIES),install -m 644 $(wildcard schedulers/*.bpf.c schedulers/README*) \
		$(DATADIR)/schedulers)
	$(if $(wildcard bpf/*.h),install -m 644 $(wildcard bpf/*.h) $(DATADIR)/bpf)
	$(if $(wildcard docs/policy.md),install -m 644 docs/policy.md $(DATADIR))
	$(foreach n,1 3 7,$(if $(call man,$(n)),install -d $(MANDIR)/man$(n) && \
		install -m 644 $(call man,$(n)) $(MANDIR)/man$(n) &&)) :
	$(if $(COMPLETION),install -d $(COMPDIR) && install -m 644 $(COMPLETION) $(COMPDIR)/taio)
	$(if $(DESTDIR),,@if [ "$$(id -u)" = 0 ]; then ldconfig; fi)

uninstall:
	rm -f $(BINDIR)/taio $(HEADERS:include/%=$(INCDIR)/%) $(LIBDIR)/$(SOFILE) \
		$(LIBDIR)/$(SONAME) $(LIBDIR)/libtaio.so $(LIBDIR)/libtaio.a \
		$(LIBDIR)/pkgconfig/taio.pc $(COMPDIR)/taio
	rm -f $(foreach n,1 3 7,$(patsubst %,$(MANDIR)/man$(n)/%,$(notdir $(call man,$(n)))))
	rm -rf $(LIBDIR)/taio $(DATADIR)

clean:
	rm -rf $(BUILD) build-asan build-tsan build-fuzz build-clang

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
