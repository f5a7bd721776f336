#include "cli/wal_get_fast.h"

#include "base/wal_name.h"
#include "transfer/wal_get_ahead.h"

#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

// Longer than a slow store takes for a segment; then it is asked directly.
constexpr int kPatienceMs = 30000;
constexpr int kStandbyFailureExit = 1;
constexpr int kRecoveryFailureExit = 126; // above 125 PostgreSQL stops instead of ending recovery

} // namespace

WalGetCall parse_wal_get_call(int argc, char **argv) {
    WalGetCall call;
    if (argc < 4 || std::strcmp(argv[1], "wal-get") != 0 || argv[argc - 2][0] == '-' || argv[argc - 1][0] == '-')
        return call;
    call.before.assign(argv + 1, argv + argc - 2);
    call.name = argv[argc - 2];
    call.destination = argv[argc - 1];
    // Whatever decides what a segment's bytes are belongs to the key.
    std::string key;
    for (const std::string &argument : call.before)
        key += argument + '\n';
    for (const char *variable : {"PGVIGIL_REPOSITORY", "PGVIGIL_CREDENTIALS_FILE"}) {
        const char *value = std::getenv(variable); // NOLINT(concurrency-mt-unsafe): no thread exists yet
        key += value == nullptr ? "\n" : std::string(value) + '\n';
    }
    call.directory = ahead_directory(call.destination, ahead_key(key));
    return call;
}

bool take_ready_segment(int argc, char **argv) {
    const WalGetCall call = parse_wal_get_call(argc, argv);
    const auto file = parse_wal_file_name(call.name);
    return !call.directory.empty() && file && file->kind == WalFileKind::kSegment &&
           take_ahead(call.directory, call.name, call.destination, kPatienceMs) == AheadAnswer::kTaken;
}

int wal_get_failure_exit() noexcept {
    return access("standby.signal", F_OK) == 0 ? kStandbyFailureExit : kRecoveryFailureExit;
}

} // namespace pgvigil::cli
