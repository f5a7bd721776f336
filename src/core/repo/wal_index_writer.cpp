#include "repo/wal_index_writer.h"

#include "repo/wal_facts_reader.h"

#include <algorithm>

namespace pgvigil {

namespace {

uint64_t count_in(const SegmentRuns &runs, const SegmentRun &range) {
    uint64_t count = 0;
    for (const SegmentRun &run : runs)
        if (run.first <= range.last && range.first <= run.last)
            count += std::min(run.last, range.last) - std::max(run.first, range.first) + 1;
    return count;
}

class DueBlocks {
  public:
    DueBlocks(const Catalog &catalog, const WalIndexLimits &limits) : catalog_(catalog), limits_(limits) {}

    std::vector<WalBlock> find() {
        // The small ones first: what they say need not be read from headers again.
        for (auto span = kWalIndexSpans.rbegin(); span != kWalIndexSpans.rend(); ++span)
            for (const TimelineWal &wal : catalog_.timelines)
                find_in(wal, *span);
        return std::move(due_);
    }

  private:
    void find_in(const TimelineWal &wal, uint64_t span) {
        uint64_t next = 0; // starts before this one were looked at
        for (const SegmentRun &run : wal.runs)
            for (uint64_t start = std::max(next, run.first - run.first % span); start <= run.last; start += span) {
                look_at(wal, span, start);
                next = start + span;
            }
    }

    void look_at(const TimelineWal &wal, uint64_t span, uint64_t start) {
        const SegmentRun range{start, start + span - 1};
        const uint64_t count = count_in(wal.runs, range);
        uint32_t generation = 1;
        const auto found = std::lower_bound(wal.blocks.begin(), wal.blocks.end(), range.last,
                                            [](const WalBlock &entry, uint64_t last) { return entry.end() < last; });
        if (found != wal.blocks.end() && found->start <= start) {
            // One of this span, or of a larger.
            if (found->span > span || found->count >= count)
                return;
            generation = found->generation + 1;
        }
        if (!is_closed(wal, range, count) || (span > kWalIndexSpans.back() && !small_ones_are_there(wal, range)))
            return;
        WalBlock block;
        block.timeline = wal.timeline;
        block.span = span;
        block.start = start;
        block.generation = generation;
        block.segment_size = catalog_.segment_size;
        block.epoch = catalog_.epochs.empty() ? 0 : catalog_.epochs.back().number;
        due_.push_back(block);
    }

    // Nothing is expected to come any more: all is there, or WAL has gone on far behind it, or the timeline has ended.
    [[nodiscard]] bool is_closed(const TimelineWal &wal, const SegmentRun &range, uint64_t count) const {
        const uint64_t first = std::max(range.first, wal.runs.front().first);
        if (wal.runs.back().last >= range.last && count == range.last - first + 1)
            return true;
        if (wal.runs.back().last >= range.last + kWalIndexSpans.back())
            return true;
        return has_ended(wal) && wal.newest_object_ms + limits_.grace_ms < limits_.now_ms;
    }

    [[nodiscard]] bool has_ended(const TimelineWal &wal) const {
        return std::any_of(catalog_.timelines.begin(), catalog_.timelines.end(), [&](const TimelineWal &other) {
            return !other.runs.empty() &&
                   std::any_of(other.ancestors.begin(), other.ancestors.end(),
                               [&](const TimelineSwitch &ancestor) { return ancestor.timeline == wal.timeline; });
        });
    }

    // A large object is made of small ones: where those are still to come, it waits.
    [[nodiscard]] static bool small_ones_are_there(const TimelineWal &wal, const SegmentRun &range) {
        uint64_t indexed = 0;
        for (const WalBlock &block : wal.blocks)
            if (block.start >= range.first && block.end() <= range.last)
                indexed += block.count;
        return indexed >= count_in(wal.runs, range);
    }

    const Catalog &catalog_;
    const WalIndexLimits &limits_;
    std::vector<WalBlock> due_;
};

std::vector<IndexedSegment> gather(WalFactsReader &reader, const TimelineWal &wal, const WalBlock &block) {
    std::vector<IndexedSegment> segments;
    for (const SegmentRun &run : wal.runs) {
        const uint64_t first = std::max(run.first, block.start);
        const uint64_t last = std::min(run.last, block.end());
        if (first > last)
            continue;
        reader.expect(wal.timeline, first, last);
        for (uint64_t segment = first; segment <= last; ++segment)
            if (auto indexed = reader.indexed(wal.timeline, segment))
                segments.push_back(std::move(*indexed));
    }
    return segments;
}

} // namespace

std::vector<WalBlock> due_wal_blocks(const Catalog &catalog, const WalIndexLimits &limits) {
    if (catalog.segment_size == 0)
        return {};
    return DueBlocks(catalog, limits).find();
}

size_t write_due_wal_index(const Repository &repository, const Catalog &catalog, const WalIndexLimits &limits,
                           const CancelToken &cancel) {
    size_t written = 0;
    for (WalBlock block : due_wal_blocks(catalog, limits)) {
        if (written >= limits.objects)
            break;
        const TimelineWal &wal = *catalog.timeline(block.timeline);
        WalFactsReader reader(repository, catalog, cancel);
        std::vector<IndexedSegment> segments = gather(reader, wal, block);
        if (segments.empty())
            continue;
        std::optional<WalScanSummary> before;
        if (segments.front().segment > 0 && find_run(wal.runs, segments.front().segment - 1) != nullptr)
            before = reader.facts(wal.timeline, segments.front().segment - 1);
        summarise(block, segments, before ? &*before : nullptr);
        trim_spanning_bytes(segments);
        const Bytes body = encode_wal_block(block, segments);
        const std::string key = wal_block_key(repository.layout(), block);
        PutRequest request;
        request.key = key;
        request.body = body;
        written += repository.store().put_new(request, cancel) == PutOutcome::kStored ? 1 : 0;
    }
    return written;
}

} // namespace pgvigil
