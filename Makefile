# ustack: build, install and test. `make help` lists the targets.
#
#   make BUILD=dir CC=clang SAN=address,undefined   choose output folder, compiler, sanitizers
#   make V=1                                        show the commands

# A script tests/e2e/x may stand beside its program x.c.
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

BUILD  ?= build
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC      = gcc
endif
SAN    ?=
TIME   ?= 60
WAN_RUNS ?= 1
WAN_SECONDS ?= 10
MEDIAN ?= 0.9

# $(call say,WHAT) in front of a command prints a short line instead of it.
say = $(if $(V),,@printf '%-7s %s\n' '$(1)' '$@' &&)

CSTD     = -std=c11 -D_GNU_SOURCE
WARN     = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
OPT     ?= -O2 -g
CPPFLAGS = -I. -MMD -MP
CFLAGS   = $(CSTD) $(OPT) $(WARN) -fPIC -fvisibility=hidden -fno-strict-aliasing \
	   -ftls-model=initial-exec -fstack-protector-strong $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS  = $(if $(SAN),-fsanitize=$(SAN))

stack_src   := $(wildcard stack/*.c)
tapio_src   := $(wildcard tapio/*.c)
preload_src := $(wildcard preload/*.c)
tools_src   := $(wildcard tools/*.c)
lib_src     := $(wildcard tests/lib/*.c) tools/impair.c tools/units.c tools/delay.c
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# One program per file in these folders.
unit_bin   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))
engine_bin := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/wire/*.c tests/sim/*.c tests/attack/*.c))
program_bin := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/diff/*.c tests/e2e/*.c tests/bench/*.c))

.PHONY: all help deps demo check check-build check-long bench fuzz install clean format lint fuzz-build tests engine-tests threaded-tests sanitized-programs
all: $(BUILD)/libustack.so $(BUILD)/ustack

help:
	@echo 'make            builds libustack.so and the ustack command into $(BUILD)/'
	@echo 'make deps       installs the Debian packages that are missing (tests/deps.txt)'
	@echo 'make demo       a page fetched by curl through the stack, in a namespace of its own'
	@echo 'make check      all tests that fit in 15 minutes'
	@echo 'make check-long the same tests with more cases and larger transfers'
	@echo 'make bench      speed beside the kernel'"'"'s own stack'
	@echo 'make fuzz       libFuzzer targets, TIME=seconds each'
	@echo 'make install    PREFIX=/usr/local'
	@echo 'make lint       clang-tidy; make format: clang-format'
	@echo 'make clean'

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/libstack.a: $(call obj,$(stack_src))
	$(call say,AR) rm -f $@ && $(AR) rcs $@ $^
$(BUILD)/libtapio.a: $(call obj,$(tapio_src))
	$(call say,AR) rm -f $@ && $(AR) rcs $@ $^
$(BUILD)/libtest.a: $(call obj,$(lib_src))
	$(call say,AR) rm -f $@ && $(AR) rcs $@ $^
# The shim's objects beside its entry points, for the ustack command and unit tests. What defines a name of libc is left out
# (preload/call_*.c, preload/*exports.c): in a static link it would take libc's place.
$(BUILD)/libpreload.a: $(call obj,$(filter-out preload/%exports.c preload/call_%.c,$(preload_src)))
	$(call say,AR) rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libustack.so: $(call obj,$(preload_src)) $(BUILD)/libtapio.a $(BUILD)/libstack.a preload/exports.map
	$(call say,LD) $(CC) $(LDFLAGS) -shared -Wl,--version-script=preload/exports.map -Wl,-z,now -Wl,--no-undefined \
		-o $@ $(filter %.o,$^) $(BUILD)/libtapio.a $(BUILD)/libstack.a -Wl,-Bstatic -lcares -Wl,-Bdynamic -lpthread -ldl

$(BUILD)/ustack: $(call obj,$(tools_src)) $(BUILD)/libpreload.a $(BUILD)/libtapio.a $(BUILD)/libstack.a
	$(call say,LD) $(CC) $(LDFLAGS) -o $@ $^ -Wl,-Bstatic -lcares -Wl,-Bdynamic -lpthread -ldl

check_libs = -lcheck -lsubunit -lrt -lm -lpthread
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/libtest.a $(BUILD)/libpreload.a $(BUILD)/libtapio.a $(BUILD)/libstack.a
	@mkdir -p $(@D)
	$(call say,LD) $(CC) $(LDFLAGS) -o $@ $^ $(check_libs) -Wl,-Bstatic -lcares -Wl,-Bdynamic -ldl
$(engine_bin): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libtest.a $(BUILD)/libpreload.a $(BUILD)/libtapio.a $(BUILD)/libstack.a
	@mkdir -p $(@D)
	$(call say,LD) $(CC) $(LDFLAGS) -o $@ $^ $(check_libs) -Wl,-Bstatic -lcares -Wl,-Bdynamic -ldl
# Puts allocations that fail and numbers of its own in the engine's place.
$(BUILD)/tests/attack/faults: LDFLAGS += -Wl,--wrap=slab_alloc,--wrap=tcp_isn,--wrap=tcp_ts_offset
$(program_bin): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o
	@mkdir -p $(@D)
	$(call say,LD) $(CC) $(LDFLAGS) -o $@ $^ -lpthread

engine-tests: $(unit_bin) $(engine_bin)
tests: engine-tests $(program_bin)

# What the tests run: everything built by gcc, again by clang, the unit and engine tests under ASan and UBSan, and those that
# start threads under TSan; for both also the library and the programs that tests/lib/sanitized.sh runs on it.
jobs := $(shell nproc)
threaded := $(patsubst tests/%.c,tests/%,$(shell grep -l pthread_create tests/unit/*.c))
check-build: deps
	$(MAKE) -j$(jobs) all tests
	$(MAKE) -j$(jobs) all tests CC=clang BUILD=$(BUILD)/clang
	$(MAKE) -j$(jobs) engine-tests sanitized-programs SAN=address,undefined BUILD=$(BUILD)/san
	$(MAKE) -j$(jobs) threaded-tests sanitized-programs SAN=thread BUILD=$(BUILD)/tsan
sanitized-programs: all $(addprefix $(BUILD)/tests/e2e/,storm forks environment_signals)
threaded-tests: $(addprefix $(BUILD)/,$(threaded))

# The executables without an extension in these folders are the scripts that run; *.sh are libraries.
scripts = $(shell find tests/$(1) -maxdepth 1 -type f -executable ! -name "*.*" | sort)
# Goes through the engine instruction by instruction: not through a sanitizer's.
stepped = $(BUILD)/tests/unit/repair_cut
check_programs = rules=tests/check_bans rules=tests/check_repo \
	unit=$(stepped) $(foreach bin,$(filter-out $(stepped),$(unit_bin)) $(engine_bin),$(word 2,$(subst /, ,$(bin:$(BUILD)/%=%)))=$(bin:$(BUILD)/%=$(BUILD)/san/%)) \
	$(addprefix tsan=$(BUILD)/tsan/,$(threaded)) \
	mutation=tests/mutation/tcp $(addprefix diff=,$(call scripts,diff)) $(addprefix e2e=,$(call scripts,e2e)) \
	$(addprefix verify=,$(wildcard tests/*/verify))

check: check-build
	BUILD=$(BUILD) tests/run -o $(BUILD)/results.txt $(check_programs)
check-long: check-build
	BUILD=$(BUILD) tests/run -l -o $(BUILD)/results.txt $(check_programs) fuzz=tests/fuzz/coverage coverage=tests/coverage/tcp

demo: deps
	$(MAKE) -j$(jobs) all
	BUILD=$(BUILD) tests/e2e/demo.sh

# libFuzzer targets, TIME seconds each, from the inputs kept in tests/fuzz/corpus/ and those found earlier.
fuzz_bin := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/tests/fuzz/%,$(wildcard tests/fuzz/*.c))
fuzz: deps
	$(MAKE) -j$(jobs) fuzz-build CC=clang SAN=fuzzer-no-link,address,undefined BUILD=$(BUILD)/fuzz
	@for target in $(fuzz_bin); do \
		mkdir -p $(BUILD)/corpus/$${target##*/} tests/fuzz/corpus/$${target##*/}; \
		$$target -max_total_time=$(TIME) -print_final_stats=1 \
			$(BUILD)/corpus/$${target##*/} tests/fuzz/corpus/$${target##*/} || exit 1; \
	done
fuzz-build: $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/*.c))
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/libtest.a $(BUILD)/libtapio.a $(BUILD)/libstack.a
	@mkdir -p $(@D)
	$(call say,LD) $(CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(check_libs) -ldl

bench: deps
	$(MAKE) -j$(jobs) all tests
	BUILD=$(BUILD) tests/bench/run
	BUILD=$(BUILD) WAN_RUNS=$(WAN_RUNS) WAN_SECONDS=$(WAN_SECONDS) MEDIAN=$(MEDIAN) tests/bench/wan

deps:
	@tests/lib/deps tests/deps.txt

format:
	clang-format -i $(wildcard stack/*.[ch] tapio/*.[ch] preload/*.[ch] tools/*.[ch] tests/*/*.[ch])

lint: deps
	clang-tidy --quiet $(stack_src) $(tapio_src) $(preload_src) $(tools_src) -- $(CSTD) -I.

# ldconfig makes the bare name known: LD_PRELOAD=libustack.so.
install: all
	install -d $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BUILD)/libustack.so $(DESTDIR)$(PREFIX)/lib/libustack.so
	install -m 755 $(BUILD)/ustack $(DESTDIR)$(PREFIX)/bin/ustack
	$(if $(DESTDIR),,/sbin/ldconfig)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
