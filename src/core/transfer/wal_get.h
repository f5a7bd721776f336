// Answers a server's restore_command: puts one WAL file into its place, or says that there is none (rules E1).
//
// In recovery "absent" ends replay for good, so it is only said when every repository confirmed it and holds nothing
// later on the timeline, the plan does not count on the file, and no take-over hides what a former writer stored of it;
// a failure or a gap is tried again for a while and then thrown, which stops the server instead of losing commits
// without a word. A standby asks again by itself, so there each question is asked once. A file built from the streamed
// tail of an unfinished segment is answered here and nowhere else: the read-ahead only ever holds complete segments
// (rules B9). One that lacks bytes of the path is answered only where nothing later exists and the plan did not see
// more, as the end of the WAL is. Threading: one thread. Errors: the last failure; kNotFound for a gap that stayed.
#pragma once

#include "base/cancel.h"
#include "transfer/wal_get_path.h"
#include "transfer/wal_read.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace pgvigil {

enum class WalGetMode { kRecovery, kStandby };

struct WalGetRequest {
    std::string name;        // as PostgreSQL asks for it
    std::string destination; // where it wants it
    WalGetMode mode = WalGetMode::kRecovery;
    WalPath path;
    std::chrono::milliseconds patience{60000}; // in recovery: how long a failure or a gap is tried again
    // Whether tails may be answered, in kRecovery. `tail_objection` is asked once one would be: it says why not, "" for
    // no objection, or throws when it cannot tell.
    bool tails = false;
    std::function<std::string()> tail_objection;
};

// nullopt when the file is absent.
[[nodiscard]] std::optional<WalFileFacts> get_wal_file(WalReader &reader, const WalGetRequest &request, LogSink &log,
                                                       const CancelToken &cancel);

} // namespace pgvigil
