# pgvigil: the module, the extension files and the program, built and installed with PGXS.
#
#   make [PG_CONFIG=/path/to/pg_config] [FLAVOUR=release|debug] [SANITIZE=address,undefined]
#   make install PG_CONFIG=…
#   make installcheck PG_CONFIG=…        (pg_regress and TAP, against what is installed there; not as root)
#
# scripts/build wraps this for several PostgreSQL versions, scripts/test runs everything.

PG_CONFIG ?= pg_config

all:

include src/build.mk

EXTENSION = pgvigil
DATA = $(wildcard pgvigil--*.sql)
ifneq ($(filter src/cli/main.cpp,$(CLI_SOURCES)),)
SCRIPTS_built = $(PROGRAM_FILE)
endif
REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
ifneq ($(wildcard t/*.pl),)
TAP_TESTS = 1
endif
EXTRA_CLEAN = build/$(FLAVOUR)

PG_MAJOR := $(shell $(PG_CONFIG) --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
ifeq ($(PG_MAJOR),)
$(error "$(PG_CONFIG)" does not run; install PostgreSQL's server headers or give PG_CONFIG=…)
endif
PG_INCLUDE := $(shell $(PG_CONFIG) --includedir-server)
PG_BUILD ?= $(BUILD)/pg$(PG_MAJOR)
ifneq ($(SERVER_SOURCES),)
MODULES = $(PG_BUILD)/pgvigil
endif

PGXS := $(shell $(PG_CONFIG) --pgxs)
# The module's objects are C++ of our own rules: there is no bitcode to install.
override with_llvm = no
include $(PGXS)

SERVER_OBJECTS := $(patsubst src/%.cpp,$(PG_BUILD)/%.o,$(SERVER_SOURCES))
# PostgreSQL's headers are system headers: their own warnings are not ours to fix. What leaves the library is decided
# by src/server/exports.map, because PGDLLEXPORT is empty before version 16.
SERVER_FLAGS := $(COMMON_FLAGS) -Wno-register -Isrc/core -Isrc -isystem $(PG_INCLUDE)

$(PG_BUILD)/pgvigil.so: $(SERVER_OBJECTS) $(CORE_LIBRARY) src/server/exports.map
	@mkdir -p $(@D)
	$(call say,LD)$(BASE_CXX) $(LINK_FLAGS) -shared -o $@ $(SERVER_OBJECTS) $(CORE_LIBRARY) \
	    -Wl,--version-script=src/server/exports.map -Wl,--exclude-libs,ALL $(LIBRARIES)

# Two installations of one major version may share PG_BUILD only when their headers are the same directory.
PG_FLAGS_FILE := $(PG_BUILD)/flags
$(shell mkdir -p $(PG_BUILD); echo "$(PG_INCLUDE)" | cmp -s - $(PG_FLAGS_FILE) || echo "$(PG_INCLUDE)" > $(PG_FLAGS_FILE))

$(PG_BUILD)/server/%.o: src/server/%.cpp $(FLAGS_FILE) $(PG_FLAGS_FILE)
	@mkdir -p $(@D)
	$(call say,CXX)$(COMPILE) $(SERVER_FLAGS) -MMD -MP -c -o $@ $<

.PHONY: module uninstall-module
module: $(addsuffix .so,$(MODULES))
# PGXS would look for the module below the path it was built in.
uninstall: uninstall-module
uninstall-module:
	rm -f '$(DESTDIR)$(pkglibdir)/pgvigil.so' '$(DESTDIR)$(bindir)/pgvigil'

-include $(SERVER_OBJECTS:.o=.d)
