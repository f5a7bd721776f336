// The inside of WalArchiver: its jobs and the threads that work on them. A job is one file on its way into all
// repositories. First it is encoded (read, hashed, compressed) by a thread of `encoders`, once for all repositories;
// then a thread of each repository's own pool uploads it, so that one that hangs holds up no other.
//
// Threading: `mutex` guards jobs, targets and encoder contexts; it is never held during input, output or compression,
// except for a line in the journal of what is owed.
#pragma once

#include "base/thread_pool.h"
#include "transfer/wal_archiver.h"
#include "transfer/wal_archiver_budget.h"
#include "transfer/wal_archiver_encode.h"
#include "transfer/wal_archiver_owed.h"
#include "transfer/wal_upload.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <mutex>

namespace pgvigil {

// An encoded object shared by the uploads of it; gives its memory back when the last of them ended.
struct WalUpload {
    WalUpload(WalObject whole, BudgetShare part, BufferPool &memory)
        : object(std::move(whole)), share(std::move(part)), pool(memory) {}
    ~WalUpload() { pool.give(std::move(object.body)); }
    WalUpload(const WalUpload &) = delete;
    WalUpload &operator=(const WalUpload &) = delete;

    WalObject object;
    BudgetShare share;
    BufferPool &pool;
};

enum class WalTargetState { kWaiting, kStored, kFailed, kSkipped };

// A job's state in one repository.
struct WalTarget {
    WalTargetState state = WalTargetState::kWaiting;
    std::optional<Error> failure;
    unsigned parts_pending = 0;
    std::shared_ptr<WalUpload> commit; // waits for the parts
};

struct WalJob {
    std::string name;
    CancelToken cancel;
    WalFileState state = WalFileState::kPending;
    std::optional<Error> failure;
    std::vector<WalTarget> targets; // as the archiver's repositories
    std::string key;                // where the first repository has it
    uint64_t plain_bytes = 0;
    uint64_t stored_bytes = 0;
    std::optional<int64_t> last_time_us; // of the last transaction that ends in it, µs since 1970
    std::chrono::steady_clock::time_point acknowledged{};
};
using WalJobPtr = std::shared_ptr<WalJob>;

struct WalArchiver::State {
    State(WalArchiverOptions wanted, std::vector<std::shared_ptr<Repository>> stores, LogSink &sink);
    ~State();

    // wal_archiver_jobs.cpp: one file from its name to its uploads.
    void prepare_next() noexcept;
    void prepare(const WalJobPtr &job) noexcept;
    void prepare_two(const WalJobPtr &first, const WalJobPtr &second) noexcept;
    void prepare_read(const WalJobPtr &job, const WalSourceFile &file, int which, WalEncoder &encoder,
                      BudgetShare share) noexcept;
    [[nodiscard]] WalJobPtr take_partner(const WalJob &job);
    [[nodiscard]] bool processor_is_idle() const;
    void prepare_whole(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder);
    void prepare_large(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder);
    bool settle_existing(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder);
    void start_part(const WalJobPtr &job, const std::shared_ptr<WalUpload> &part);
    void start_commit(const WalJobPtr &job, const std::shared_ptr<WalUpload> &commit);
    void run_part(const WalJobPtr &job, size_t target, const std::shared_ptr<WalUpload> &part) noexcept;
    void run_commit(const WalJobPtr &job, size_t target, const std::shared_ptr<WalUpload> &commit) noexcept;
    void submit_commit(const WalJobPtr &job, size_t target, std::shared_ptr<WalUpload> commit);

    // wal_archiver_outcome.cpp: what became of it.
    void choose_targets(WalJob &job);
    void target_stored(const WalJobPtr &job, size_t target, const WalUploadResult &result);
    void target_failed(const WalJobPtr &job, size_t target, const Error &error);
    void job_failed(const WalJobPtr &job, const Error &error);
    void evaluate(const WalJobPtr &job);
    void acknowledge(const WalJobPtr &job);
    void give_up_lingering();
    [[nodiscard]] bool is_waiting(const WalJobPtr &job, size_t target);

    std::unique_ptr<WalEncoder> take_encoder();
    void give_encoder(std::unique_ptr<WalEncoder> encoder);

    const WalArchiverOptions options;
    const std::vector<std::shared_ptr<Repository>> repositories;
    LogSink &log;
    const size_t required;
    const size_t encoder_threads;
    // Whether a thread may read two segments at once: memory allows it, and it is faster.
    const bool pairs;
    const WalWriter writer;
    const WalEncoding encoding;
    WalSource source;
    MemoryBudget budget;
    BufferPool bodies;
    EventFd event;

    mutable std::mutex mutex;
    std::map<std::string, WalJobPtr> jobs;
    // Acknowledged, with uploads still running in repositories that were not required.
    std::list<WalJobPtr> lingering;
    std::deque<WalJobPtr> ready; // to be encoded
    size_t busy_encoders = 0;
    size_t pending = 0;
    bool stopping = false;
    std::vector<std::unique_ptr<WalEncoder>> idle_encoders;
    WalArchiverCounters counters;

    // The threads end before everything above: uploads are started by encoders and settled with `owed`.
    std::unique_ptr<WalOwed> owed;
    std::vector<std::unique_ptr<ThreadPool>> uploaders;
    // Of its own: a hash that waited behind a file that waits for memory would never be made.
    std::unique_ptr<ThreadPool> hasher;
    std::unique_ptr<ThreadPool> encoders;
};

} // namespace pgvigil
