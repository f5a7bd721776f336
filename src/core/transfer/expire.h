// Expiry: deletes what the retention rules let go, and what dead attempts left behind (rules D). The only code that
// deletes.
//
// Guarantees: after every single deletion each backup that is listed can be restored, however the run ends; the next
// run goes on where one was cut off. A decision is made known (tombstones, marks of expired WAL) before the first
// object goes, then everything is read again: what a running backup, another commit or a keep names by then stays.
// Packs live as long as a commit or a running attempt refers to them, wherever they lie. Ages are those of the store's
// clock. Not being allowed to delete is reported, not fatal.
//
// Refuses (kRefused, unless confirmed) when one run would delete over half of the backups, and on the first run in a
// repository that was filled by another writer; always when the clocks of store and host are over 5 minutes apart.
// Threading: blocks; uses threads of its own. Errors: what the store throws; kCorrupt or kUnsupported for a document
// that says what must stay and cannot be read.
#pragma once

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "plan/retention.h"
#include "repo/repository.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct ExpireOptions {
    RetentionRules rules;
    bool dry_run = true;
    bool confirm = false;
    std::string host;   // of whoever decides, for the documents
    uint64_t epoch = 0; // of the writer; 0 where the program is run by hand
    // What a dead attempt left goes when its newest object is this old.
    int64_t grace_ms = int64_t{24} * 3600 * 1000;
    unsigned threads = 16; // requests at the same time
    // Asked before the first deletion; throws when this server is not the writer any more. May be empty.
    std::function<void(const CancelToken &cancel)> check_writer;
};

enum class ExpireAction : uint8_t {
    kKeep,
    kDelete, // deleted, or in a dry run to be deleted
    kHide,   // the same in a versioned bucket: the bytes stay until a lifecycle rule removes them
    kDenied, // to be deleted, but the store does not allow it
};
[[nodiscard]] const char *action_name(ExpireAction action) noexcept; // keep, delete, hide, denied

struct ExpireRow {
    std::string kind; // backup, wal, history, attempt, other
    // A backup's or attempt's id, "000000010000000000000001 to 00000001000000000000000F", or what it is.
    std::string object;
    ExpireAction action = ExpireAction::kKeep;
    std::string reason;
    std::optional<uint64_t> bytes; // as stored; unset where it is not known
    uint64_t objects = 0;
};

struct ExpireReport {
    std::vector<ExpireRow> rows;
    std::optional<Error> refusal; // of a dry run: why a run that deletes would refuse
    uint64_t deleted_objects = 0;
    uint64_t deleted_bytes = 0;
    uint64_t hidden_objects = 0; // instead of deleted ones, in a versioned bucket
    uint64_t hidden_bytes = 0;
    uint64_t denied_objects = 0;
    // What went wrong with single objects; everything else has been done.
    std::optional<Error> failure;
};

[[nodiscard]] ExpireReport expire_repository(const Repository &repository, const ExpireOptions &options, LogSink &log,
                                             const CancelToken &cancel);

} // namespace pgvigil
