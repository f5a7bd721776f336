// The tail in one repository, step by step: what is missing there, the run, the next piece (rules B7). A step is one
// look or one piece; when to take it is the caller's business.
// Guarantees: position() only rises, and every byte from options.first_segment's start up to it is held by the
// repository, in complete segments or in pieces that count. Threading: begin() and step() from one thread; the others
// from any. Errors: what the store throws, kNotFound and kCorrupt of the local file; after any of them step() may be
// called again. kConflict: another process uses this run's names; begin anew with another writer.
#pragma once

#include "codec/frame.h"
#include "repo/epochs.h"
#include "repo/repository.h"
#include "repo/segment_runs.h"
#include "repo/tail.h"
#include "transfer/tail_pieces.h"
#include "transfer/tail_source.h"
#include "transfer/tail_writer.h"
#include "transfer/wal_archiver_scan.h"

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pgvigil {

// What moves a step on.
struct TailGoal {
    Lsn flushed;
    // A complete segment's missing end may be shipped; else the archiver is waited for while much is missing.
    bool impatient = false;
};

enum class TailStep {
    kIdle,     // everything up to the goal is there
    kAdvanced, // the position rose
    kWaiting,  // for the archiver, which has the next segment on its way
};

// Pieces that nobody needs any more once `segment` is stored complete.
struct TailGarbage {
    uint64_t segment = 0;
    std::vector<std::string> keys;
};

class TailShipper {
  public:
    TailShipper(const TailWriterOptions &options, std::shared_ptr<Repository> repository);

    // Finds out what the repository holds already. To be called again after an error until it returns.
    void begin(const CancelToken &cancel);
    [[nodiscard]] TailStep step(const TailGoal &goal, const CancelToken &cancel);
    [[nodiscard]] Lsn position() const { return point().end; }
    struct Point {
        Lsn end;
        int64_t last_transaction_us = 0; // the latest end of a transaction that was shipped before; 0: none is known
    };
    [[nodiscard]] Point point() const;

    // The archiver has stored it, here too or, not `everywhere`, perhaps not here.
    void segment_archived(uint64_t segment, bool everywhere);
    // Whether the complete segment can be read from the repository.
    [[nodiscard]] bool is_stored(uint64_t segment, const CancelToken &cancel);

    // Pieces of the present segment that are to be stored once more, as one; by whoever has time.
    [[nodiscard]] std::optional<TailRange> begin_merge(uint64_t &segment);
    // Stores them; kNotFound when the segment's file is gone.
    void store_merged(uint64_t segment, const TailRange &range, TailSource &source, FrameEncoder &encoder,
                      const CancelToken &cancel);
    void end_merge(uint64_t segment, const TailRange &range, bool stored);
    // What has become superfluous since the last call.
    [[nodiscard]] std::vector<TailGarbage> take_garbage();

    [[nodiscard]] TailCounters counters() const;
    [[nodiscard]] Repository &repository() const noexcept { return *repository_; }

  private:
    [[nodiscard]] bool is_of_this_server(uint64_t segment, const TailCover &cover, const CancelToken &cancel);
    [[nodiscard]] bool is_finished(uint64_t segment);
    void pass(uint64_t segment);
    [[nodiscard]] TailStep ship(uint64_t segment, uint64_t to, const CancelToken &cancel);
    void ship_piece(uint64_t segment, uint64_t from, uint64_t to, const CancelToken &cancel);
    // The opening of a segment that does not fit into one object: the first bytes come last.
    void ship_backwards(uint64_t segment, uint64_t to, const CancelToken &cancel);
    [[nodiscard]] std::string extend_scan(uint64_t segment, uint64_t to, ByteView bytes, uint64_t bytes_from);
    void put_piece(uint64_t segment, const TailRange &range, ByteView plain, FrameEncoder &encoder,
                   const CancelToken &cancel);
    void ensure_run(const CancelToken &cancel);
    void begin_segment(uint64_t segment);
    void count_request() noexcept;

    const TailWriterOptions options_;
    const std::shared_ptr<Repository> repository_;
    TailSource source_;
    FrameEncoder encoder_;
    std::vector<EpochDocument> epochs_;
    std::set<uint64_t> whole_tails_; // finished by an earlier run, not seen stored yet

    // The segment that is shipped now.
    uint64_t segment_ = 0;
    PiecewiseScan scan_;   // of [0, scanned_)
    uint64_t scanned_ = 0; // a page boundary
    int64_t scanned_time_us_ = 0;
    bool begun_ = false;

    mutable std::mutex mutex_; // of everything below
    Lsn position_;
    int64_t last_transaction_us_ = 0;
    SegmentRuns archived_;        // known to be stored here
    std::set<uint64_t> doubtful_; // stored in enough repositories, perhaps not in this one
    std::optional<TailRun> run_;
    TailPieces pieces_;
    std::vector<std::string> keys_; // of this run's pieces of the present segment
    std::vector<TailGarbage> garbage_;
    TailCounters counters_;
};

} // namespace pgvigil
