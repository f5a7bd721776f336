// What a repository lacks although it was acknowledged (pgvigil.required_repositories below all), and the thread that
// fills it in by copying the stored objects, unchanged, from a repository that has them (rules B6).
//
// Guarantees: an entry leaves the list only after its repository confirmed the object, or when no repository has it any
// more. With a journal file the list outlives the process. Threading: every member from any thread; add() and the like
// may write a line to the journal.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/repository.h"
#include "transfer/wal_archiver.h"
#include "transfer/wal_upload.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pgvigil {

class WalOwed {
  public:
    using Repositories = std::vector<std::shared_ptr<Repository>>;
    // `journal` may be "" (nothing is kept). `tick` is called about once a second by the thread.
    WalOwed(const Repositories &repositories, const WalWriter &writer, std::string journal, LogSink &log,
            std::function<void()> tick);
    ~WalOwed();

    // The repository lacks `key`. Not `ready`: its upload is still on its way.
    void add(size_t repository, const std::string &key, bool ready);
    // The upload ended: it has the object now, or it has to be filled in.
    void settle(size_t repository, const std::string &key, bool stored);
    // Whether the repository has failed and has not caught up since.
    [[nodiscard]] bool behind(size_t repository) const;

    [[nodiscard]] std::vector<WalOwedFiles> summary() const;
    // Copies that failed and were or will be tried again.
    [[nodiscard]] uint64_t retries() const;
    void stop() noexcept;

  private:
    struct Debt {
        std::map<std::string, bool> keys; // → ready
        bool behind = false;
        std::chrono::steady_clock::time_point not_before{};
        unsigned failures = 0;
    };
    void load();
    void compact();
    void note(char sign, size_t repository, const std::string &key, bool sync);
    void run();
    void fill(size_t repository);
    enum class Filled { kYes, kRefused, kFailed };
    Filled fill_one(size_t repository, const std::string &key);
    [[nodiscard]] std::vector<std::string> due(size_t repository) const;
    void put_off(size_t repository);
    bool copy_one(size_t repository, const std::string &key);
    [[nodiscard]] std::vector<size_t> sources_for(size_t repository, const std::string &key) const;

    const Repositories repositories_;
    const WalWriter writer_;
    const std::string journal_path_;
    LogSink &log_;
    const std::function<void()> tick_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Debt> debts_;
    int journal_ = -1;
    uint64_t journal_lines_ = 0;
    uint64_t retries_ = 0;
    bool stopping_ = false;
    CancelToken cancel_;
    std::thread thread_;
};

} // namespace pgvigil
