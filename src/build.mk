# Everything that is built without PostgreSQL: the core library, the program, the unit tests, the fuzz targets, the
# benchmarks. Used alone (`make -f src/build.mk core cli unit`) and included by the Makefile.
#
#   FLAVOUR   name of the directory below build/ (debug, release, or any other)
#   SANITIZE  value for -fsanitize=
#   FUZZER    not empty: fuzz targets become libFuzzer programs (clang)
#
# One list of product sources, src/sources, is read here and by meson.build.

FLAVOUR ?= release
SANITIZE ?=
BUILD := build/$(FLAVOUR)

ifeq ($(origin CXX),default)
BASE_CXX := g++
else
BASE_CXX := $(CXX)
endif
CCACHE := $(if $(findstring ccache,$(BASE_CXX)),,$(shell command -v ccache 2>/dev/null))
COMPILE := $(CCACHE) $(BASE_CXX)
# Two checkouts of the same source share their compiler cache.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

PGVIGIL_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" pgvigil.control)
SOURCES := $(shell cat src/sources)
CORE_SOURCES := $(filter src/core/%,$(SOURCES))
CLI_SOURCES := $(filter src/cli/%,$(SOURCES))
SERVER_SOURCES := $(filter src/server/%,$(SOURCES))
UNIT_SOURCES := $(sort $(wildcard test/unit/*.cpp))
FUZZ_SOURCES := $(sort $(wildcard test/fuzz/*.cpp))
BENCH_SOURCES := $(sort $(wildcard test/bench/*.cpp))

ifeq ($(FLAVOUR),release)
OPTIMIZE ?= -O2 -g
else ifneq ($(SANITIZE),)
OPTIMIZE ?= -O1 -g1
else
OPTIMIZE ?= -O1 -g
endif
WARNINGS := -Wall -Wextra -Werror
COMMON_FLAGS := -std=c++20 $(OPTIMIZE) -fPIC -pthread -fno-omit-frame-pointer $(WARNINGS) \
    -ffile-prefix-map=$(CURDIR)=. -DPGVIGIL_VERSION='"$(PGVIGIL_VERSION)"' \
    $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined) $(if $(FUZZER),-fsanitize=fuzzer-no-link)
ifeq ($(FLAVOUR),release)
COMMON_FLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif
CORE_FLAGS := $(COMMON_FLAGS) -fvisibility=hidden -Isrc/core
CLI_FLAGS := $(CORE_FLAGS) -Isrc
TEST_FLAGS := $(CORE_FLAGS) -Isrc -Itest
LIBRARIES := -lcurl -lssl -lcrypto -lzstd -llz4 -lxxhash -lfmt -lpugixml
LINK_FLAGS := -pthread -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE))

CORE_LIBRARY := $(BUILD)/core/libpgvigil_core.a
CLI_LIBRARY := $(BUILD)/cli/libpgvigil_cli.a
PROGRAM_FILE := $(BUILD)/cli/pgvigil
UNIT_PROGRAM := $(BUILD)/unit/pgvigil_unit
FUZZ_PROGRAMS := $(FUZZ_SOURCES:test/fuzz/%.cpp=$(BUILD)/fuzz/%)
BENCH_PROGRAMS := $(BENCH_SOURCES:test/bench/%.cpp=$(BUILD)/bench/%)

# One line per file; `make V=1` shows the commands.
say = $(if $(V),,@echo '$(1) $@'; )

objects = $(patsubst %.cpp,$(BUILD)/obj/%.o,$(1))
CORE_OBJECTS := $(call objects,$(CORE_SOURCES))
CLI_OBJECTS := $(call objects,$(filter-out src/cli/main.cpp,$(CLI_SOURCES)))
UNIT_OBJECTS := $(call objects,$(UNIT_SOURCES))

.PHONY: default-without-postgresql core cli unit fuzz bench print-flags
default-without-postgresql: core cli
core: $(CORE_LIBRARY)
cli: $(if $(filter src/cli/main.cpp,$(CLI_SOURCES)),$(PROGRAM_FILE))
unit: $(if $(UNIT_SOURCES),$(UNIT_PROGRAM))
fuzz: $(FUZZ_PROGRAMS)
bench: $(BENCH_PROGRAMS)

# Objects are rebuilt when the compiler or a flag changed.
FLAGS_FILE := $(BUILD)/flags
$(shell mkdir -p $(BUILD); \
    printf '%s\n' "$(BASE_CXX) $(subst ",\",$(COMMON_FLAGS))" | cmp -s - $(FLAGS_FILE) || \
    printf '%s\n' "$(BASE_CXX) $(subst ",\",$(COMMON_FLAGS))" > $(FLAGS_FILE))

# A list that lost a file must not leave its object in the library: archives are made afresh.
define archive
@mkdir -p $(@D)
@rm -f $@
$(call say,AR)ar rcsD $@ $(filter %.o,$^)
endef

$(CORE_LIBRARY): $(CORE_OBJECTS) src/sources
	$(archive)
$(CLI_LIBRARY): $(CLI_OBJECTS) src/sources
	$(archive)

$(PROGRAM_FILE): $(BUILD)/obj/src/cli/main.o $(CLI_LIBRARY) $(CORE_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD)$(BASE_CXX) $(LINK_FLAGS) -Wl,--as-needed -o $@ $^ $(LIBRARIES)

$(UNIT_PROGRAM): $(UNIT_OBJECTS) $(CLI_LIBRARY) $(CORE_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD)$(BASE_CXX) $(LINK_FLAGS) -o $@ $^ $(LIBRARIES) -lrapidcheck -lgmock_main -lgmock -lgtest

# Without libFuzzer (g++) a fuzz target is linked with a main() that replays the files it is given.
FUZZ_MAIN := $(if $(FUZZER),,$(BUILD)/obj/test/fuzz/replay/main.o)
$(BUILD)/fuzz/%: $(BUILD)/obj/test/fuzz/%.o $(FUZZ_MAIN) $(CORE_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD)$(BASE_CXX) $(LINK_FLAGS) $(if $(FUZZER),-fsanitize=fuzzer) -o $@ $^ $(LIBRARIES)

$(BUILD)/bench/%: $(BUILD)/obj/test/bench/%.o $(CORE_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LD)$(BASE_CXX) $(LINK_FLAGS) -o $@ $^ $(LIBRARIES) -lbenchmark

$(BUILD)/obj/src/core/%.o: src/core/%.cpp $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call say,CXX)$(COMPILE) $(CORE_FLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/src/cli/%.o: src/cli/%.cpp $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call say,CXX)$(COMPILE) $(CLI_FLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/test/%.o: test/%.cpp $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call say,CXX)$(COMPILE) $(TEST_FLAGS) -MMD -MP -c -o $@ $<

.SECONDARY: $(call objects,$(FUZZ_SOURCES) $(BENCH_SOURCES)) $(FUZZ_MAIN)

# For tools that need the compiler's arguments (clang-tidy).
print-flags:
	@printf '%s\n' "$(subst ",\",$(filter-out -Werror -ffile-prefix-map=%,$(COMMON_FLAGS)))"

-include $(patsubst %.o,%.d,$(CORE_OBJECTS) $(CLI_OBJECTS) $(UNIT_OBJECTS) $(BUILD)/obj/src/cli/main.o \
    $(call objects,$(FUZZ_SOURCES) $(BENCH_SOURCES)) $(FUZZ_MAIN:.o=.d))
