// The tail's housekeeping in one repository: neighbouring pieces merged into one, and, where that is wanted, pieces
// removed as soon as their segment is stored complete (rules B7). It runs in a thread of its own, so that no commit and
// no other repository waits for it, and may be left undone at any point: readers need none of it, and expiry removes
// what is left.
// Threading: look() from any thread. Errors: none are thrown; a merge that fails is tried again with the next pieces,
// and a store that refuses deletes is told once and not asked again.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "transfer/tail_shipper.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

namespace pgvigil {

class TailTidy {
  public:
    // The shipper must outlive it.
    TailTidy(const TailWriterOptions &options, TailShipper &shipper, LogSink &log);
    ~TailTidy();

    // There may be something to do.
    void look();

  private:
    struct Debris {
        TailGarbage garbage;
        std::chrono::steady_clock::time_point look_at;
    };

    void run() noexcept;
    void merge();
    void collect();
    void remove_due();
    // Whether nothing is left to do for it.
    [[nodiscard]] bool remove(const Debris &debris);
    // The credentials do not allow it: said once.
    void give_up(const std::string &reason);

    const TailWriterOptions options_;
    TailShipper &shipper_;
    LogSink &log_;
    TailSource source_;
    FrameEncoder encoder_;
    std::deque<Debris> debris_;
    bool may_remove_;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool wanted_ = false;
    bool stopping_ = false;
    CancelToken cancel_;
    std::thread thread_;
};

} // namespace pgvigil
