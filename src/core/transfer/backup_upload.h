// Uploads a backup's objects to all of its repositories, in threads of their own, while more is read and compressed.
//
// Guarantees: every live repository gets every object, the same bytes. One that fails is given up with a warning while
// others remain; without any left, put() and drain() throw what the last one failed with. The bytes waiting are
// bounded: put() blocks. Threading: put() from any thread; the rest from the owner.
#pragma once

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "repo/repository.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace pgvigil {

class BackupUploader {
  public:
    using Repositories = std::vector<std::shared_ptr<Repository>>;
    BackupUploader(Repositories repositories, size_t threads, uint64_t limit_bytes, std::atomic<uint64_t> &bytes_stored,
                   LogSink &log);
    ~BackupUploader();

    // Blocks while too many bytes wait, until `cancel` fires.
    void put(std::string key, Bytes body, ObjectRole role, const Sha256Digest &sha256, const CancelToken &cancel);
    // Waits until everything is stored in every repository that is left.
    void drain(const CancelToken &cancel);
    // Ends the running uploads; nothing can be put afterwards.
    void stop() noexcept;

    [[nodiscard]] Repositories live() const;
    // The repository failed in a way that only the caller saw. Throws `error` when it was the last one.
    void give_up(const Repository &repository, const Error &error);

  private:
    struct Item {
        std::string key;
        Bytes body;
        ObjectRole role;
        Sha256Digest sha256;
        size_t users = 0; // lanes that still need it
    };
    using ItemPtr = std::shared_ptr<Item>;
    struct Lane {
        std::shared_ptr<Repository> repository;
        std::deque<ItemPtr> queue;
        size_t running = 0;
        std::optional<Error> failure;
        CancelToken cancel;
    };
    void run(Lane &lane) noexcept;
    void upload(Lane &lane, const Item &item);
    void lane_failed(Lane &lane, const Error &error);
    void release(Item &item) noexcept;
    void check_alive() const;
    template <class Ready> void wait(std::unique_lock<std::mutex> &lock, const CancelToken &cancel, Ready &&ready);

    const uint64_t limit_bytes_;
    std::atomic<uint64_t> &bytes_stored_;
    LogSink &log_;
    mutable std::mutex mutex_;
    std::condition_variable work_;
    std::condition_variable progress_;
    uint64_t held_bytes_ = 0;
    bool stopping_ = false;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::vector<std::thread> threads_;
};

} // namespace pgvigil
