// Worker threads that read ranges of packs, check and decompress their extents, and write them into files.
// Threading: one owner calls the members; `on_file` is called by the workers, one at a time.
// Memory: about 8 MiB for each thread. Errors: the first worker's error is thrown by the next call.
#pragma once

#include "transfer/restore_extents.h"
#include "transfer/restore_sources.h"
#include "transfer/restore_tree.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pgvigil {

class RestoreFetcher {
  public:
    struct Events {
        // Bytes that were written, and what was read of the packs for it; from several threads at once.
        std::function<void(uint64_t plain_bytes, uint64_t stored_bytes)> on_bytes;
        std::function<void(const RestoredFile &file)> on_file;
    };
    // `packs`: those the added ranges name; it must outlive the fetcher.
    RestoreFetcher(RestoreSources &sources, const PackList &packs, RestoreTree &tree, unsigned threads, Events events,
                   const CancelToken &cancel);
    ~RestoreFetcher(); // gives up what is not done

    // Waits while many ranges are queued already.
    void add(std::vector<RangeRead> &&ranges);
    // A file of which no piece is missing.
    void add_complete(RestoredFile &file);
    // Waits until everything is written.
    void finish();

  private:
    struct Worker;
    void run();
    void read_range(const RangeRead &range, Worker &worker);
    ByteView decode_frame(const ExtentRead &extent, ByteView frame, const std::string &key, Worker &worker);
    void write_extents(const RangeRead &range, ByteView bytes, const std::string &key, Worker &worker);
    void complete(RestoredFile &file);
    // Until `ready`, a failure (thrown) or the caller's cancel (thrown).
    void wait(std::unique_lock<std::mutex> &lock, const std::function<bool()> &ready);

    RestoreSources &sources_;
    const PackList &packs_;
    RestoreTree &tree_;
    const Events events_;
    const CancelToken &cancel_; // the caller's
    CancelToken stop_;          // ours, after a failure
    std::mutex mutex_;
    std::mutex file_mutex_; // serialises on_file
    std::condition_variable changed_;
    std::deque<RangeRead> queue_;
    size_t running_ = 0;
    bool ending_ = false;
    std::exception_ptr failure_;
    std::vector<std::thread> threads_;
};

} // namespace pgvigil
