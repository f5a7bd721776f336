#include "repo/streamed_wal.h"

#include "base/error.h"
#include "base/wal_name.h"

namespace pgvigil {

namespace {

void fill(const TimelineTail &tail, const std::vector<EpochDocument> &epochs, const SegmentRuns &expired,
          TimelineWal &wal) {
    const TailContext context{epochs, [&](uint64_t segment) {
                                  return find_run(wal.runs, segment) != nullptr ||
                                         find_run(expired, segment) != nullptr ||
                                         (!wal.runs.empty() && segment < wal.runs.front().first);
                              }};
    for (const auto &[segment, pieces] : tail.segments)
        if (!context.is_stored(segment))
            if (auto cover = tail_cover(tail, context, segment))
                wal.streamed.emplace(segment, std::move(*cover));
}

} // namespace

void list_streamed(const Repository &repository, const std::vector<EpochDocument> &epochs, uint64_t segment_size,
                   const SegmentRuns &expired, const TimelineWal *known, TimelineWal &wal,
                   std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel) {
    TimelineTail before;
    if (known != nullptr)
        before.runs = known->tail_runs;
    // The first segment that is not stored.
    const uint64_t first = wal.runs.empty() ? 0 : wal.runs.front().last + 1;
    try {
        TimelineTail tail = list_tail(repository, wal.timeline, segment_size, first, cancel, &before);
        fill(tail, epochs, expired, wal);
        wal.tail_runs = std::move(tail.runs);
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
            throw;
        unreadable.push_back({repository.layout().tail_prefix(wal.timeline), error.message()});
    }
}

uint64_t segment_size_of_tail(const Repository &repository, TimelineId timeline, const CancelToken &cancel) {
    // Behind every segment's name only runs are listed.
    const std::string behind(24, 'F');
    return list_tail_from(repository, timeline, behind, cancel).segment_size;
}

uint64_t streamed_bytes(const TimelineWal &wal, uint64_t segment) noexcept {
    const auto found = wal.streamed.find(segment);
    return found == wal.streamed.end() || found->second.hole ? 0 : found->second.end;
}

std::optional<int64_t> stored_ms_of(const TimelineWal &wal, Lsn end, uint64_t segment_size) noexcept {
    if (segment_size == 0 || !end.is_valid())
        return std::nullopt;
    const uint64_t last = segment_before(end, segment_size);
    if (!wal.runs.empty() && wal.runs.back().last == last)
        return segment_start(last + 1, segment_size) == end ? std::optional(wal.newest_object_ms) : std::nullopt;
    const auto found = wal.streamed.find(last);
    if (found == wal.streamed.end() || segment_start(last, segment_size).value + found->second.end != end.value)
        return std::nullopt;
    return found->second.pieces.back().modified_ms;
}

} // namespace pgvigil
