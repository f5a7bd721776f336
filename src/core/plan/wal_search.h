// Looking for facts along a timeline path: the last transaction before a position, the place of a transaction or
// restore point. Asks the WalFactsSource in batches, so that it can read ahead.
#pragma once

#include "plan/timeline_path.h"
#include "plan/wal_facts_source.h"

#include <functional>
#include <optional>
#include <string_view>

namespace pgvigil {

class WalSearch {
  public:
    WalSearch(const TimelinePath &path, uint64_t segment_size, WalFactsSource &source)
        : path_(path), segment_size_(segment_size), source_(source) {}

    // The latest time at which a transaction ended in [from, to), µs since 1970; nullopt when none did, or none within
    // the last kMaxSegmentsBack segments.
    [[nodiscard]] std::optional<int64_t> last_transaction_us(Lsn from, Lsn to);
    // The end of the last complete record before `to`; `to` itself when nothing says better.
    [[nodiscard]] Lsn end_of_records(Lsn from, Lsn to);
    // The end of the record that ended transaction `xid`; nullopt when it did not end in [from, to).
    [[nodiscard]] std::optional<TransactionEnd> find_transaction(uint32_t xid, Lsn from, Lsn to);
    // All restore points of that name in [from, to), in order.
    [[nodiscard]] std::vector<RestorePoint> find_restore_points(std::string_view name, Lsn from, Lsn to);
    // Where a replay to `time_us` has ended at the latest: behind the segment that holds the first transaction with a
    // later time; nullopt when there is none in [from, to).
    [[nodiscard]] std::optional<Lsn> end_of_replay_to(int64_t time_us, Lsn from, Lsn to);

    static constexpr uint64_t kMaxSegmentsBack = 4096;

  private:
    using Visit = std::function<bool(uint64_t segment)>;
    using MayHold = std::function<bool(const WalBlock &block)>;
    // Visit segments forward or backward until `visit` returns false; what an index object rules out is passed over.
    void forward(Lsn from, Lsn to, const MayHold &may_hold, const Visit &visit);
    void backward(Lsn from, Lsn to, const MayHold &may_hold, const Visit &visit);
    // The index object that tells of the segment on this path.
    [[nodiscard]] std::optional<WalBlock> block_of(uint64_t segment);
    void expect(uint64_t first, uint64_t last);
    [[nodiscard]] std::optional<WalScanSummary> facts(uint64_t segment);
    // What the record is that crosses from the segment before into this one.
    [[nodiscard]] std::optional<SpanningRecord> crossing_into(uint64_t segment);

    const TimelinePath &path_;
    uint64_t segment_size_;
    WalFactsSource &source_;
};

} // namespace pgvigil
