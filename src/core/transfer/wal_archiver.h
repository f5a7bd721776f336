// The data plane of WAL archiving: takes files of pg_wal, makes them objects in every repository and says when each is
// safe. Several files are on their way at the same time (look-ahead), bounded in number and in bytes (rules B5).
//
// Guarantees: a file is kDone only after `required` repositories confirmed an object with the same plain length and
// digest (promise 1, rules B1); nothing is overwritten (promise 2); a file whose page header does not belong to this
// cluster is refused before anything is written (rules B2). Threading: one owner thread calls the members; the work
// runs in threads of the archiver's own. The owner waits on event_fd(), which turns readable whenever a file's state
// changed.
#pragma once

#include "base/background_task.h"
#include "base/error.h"
#include "base/log.h"
#include "base/lsn.h"
#include "codec/compression.h"
#include "repo/repository.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct WalArchiverOptions {
    uint64_t system_identifier = 0;
    uint64_t segment_size = 0;          // bytes
    std::optional<uint16_t> page_magic; // of this server's version
    std::string wal_directory;          // where files and history files are read from
    Compression compression;
    unsigned look_ahead = 8;            // files at the same time
    uint64_t memory_limit = 192 * kMiB; // plain + compressed bytes held at the same time
    unsigned required = 0;              // repositories that must have a file; 0 = all
    uint64_t epoch = 0;                 // this writer's
    Lsn epoch_start;                    // and from where on it writes
    TimelineId epoch_timeline = 0;
    // Where to keep, over restarts, which files a repository still lacks; "" = nowhere.
    std::string owed_file;
};

enum class WalFileState { kUnknown, kPending, kDone, kFailed };

// Counters since the archiver was made; read by the owner.
struct WalArchiverCounters {
    uint64_t files = 0;
    uint64_t plain_bytes = 0;
    uint64_t stored_bytes = 0;
    uint64_t retries = 0; // failed attempts to fill in what a repository lacks
};

// Files that were acknowledged although this repository lacks them (required < all); they are filled in later
// (rules B6).
struct WalOwedFiles {
    std::string repository; // its URL
    uint64_t files = 0;
    std::string first; // the name that sorts first
};

class WalArchiver {
  public:
    WalArchiver(WalArchiverOptions options, std::vector<std::shared_ptr<Repository>> repositories, LogSink &log);
    ~WalArchiver(); // cancels what is on its way and waits for the threads

    // Starts archiving `name` (a file of wal_directory) unless it is known. Returns false when the limits are reached.
    bool submit(const std::string &name);
    [[nodiscard]] WalFileState state(const std::string &name) const;
    // The error of a kFailed file.
    [[nodiscard]] std::optional<Error> failure(const std::string &name) const;
    // When the last transaction ended whose record ends in the file, µs since 1970; nullopt when none did, or when the
    // file was there already.
    [[nodiscard]] std::optional<int64_t> last_transaction_us(const std::string &name) const;
    // Forgets a kDone or kFailed file, so that it may be submitted again; a pending one stays.
    void forget(const std::string &name);
    // One entry per repository that lacks something.
    [[nodiscard]] std::vector<WalOwedFiles> owed() const;

    [[nodiscard]] int event_fd() const noexcept;
    void clear_event() noexcept;
    [[nodiscard]] WalArchiverCounters counters() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
