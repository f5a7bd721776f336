// Hand-made catalogs and WAL facts for tests of the planners.
#pragma once

#include "plan/restore_plan.h"

#include <map>

namespace pgvigil::test {

inline constexpr uint64_t kSegment = 16 * kMiB;

inline Lsn at(uint64_t segment, uint64_t offset = 0) {
    return Lsn{segment * kSegment + offset};
}

inline CommitDocument backup(std::string id, TimelineId timeline, Lsn start, Lsn stop, int64_t stopped_ms) {
    CommitDocument document;
    document.id = std::move(id);
    document.start_timeline = document.stop_timeline = timeline;
    document.start_lsn = start;
    document.stop_lsn = stop;
    document.stopped_ms = stopped_ms;
    document.wal_segment_size = kSegment;
    document.totals.stored_bytes = 1000;
    return document;
}

// Facts that a test states segment by segment.
class StatedFacts final : public WalFactsSource {
  public:
    std::map<std::pair<TimelineId, uint64_t>, WalScanSummary> segments;
    std::map<std::pair<TimelineId, uint64_t>, std::vector<TransactionEnd>> ends;

    void expect(TimelineId /*timeline*/, uint64_t /*first*/, uint64_t /*last*/) override {}
    std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) override {
        const auto found = segments.find({timeline, segment});
        return found == segments.end() ? std::nullopt : std::optional(found->second);
    }
    std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment) override {
        return ends[{timeline, segment}];
    }

    // One transaction that ends at `lsn`.
    void commit(TimelineId timeline, Lsn lsn, uint32_t xid, int64_t time_us) {
        const uint64_t segment = segment_of(lsn, kSegment);
        WalScanSummary &summary = segments[{timeline, segment}];
        if (!summary.first_time_us) {
            summary.first_time_us = time_us;
            summary.first_xid = xid;
        }
        summary.last_time_us = time_us;
        summary.last_xid = xid;
        summary.end_of_records = lsn;
        ends[{timeline, segment}].push_back({xid, true, time_us, lsn});
    }
};

} // namespace pgvigil::test
