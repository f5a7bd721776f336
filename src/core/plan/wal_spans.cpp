#include "plan/wal_spans.h"

#include "base/wal_name.h"

#include <algorithm>

namespace pgvigil {

const char *state_name(WalSpan::State state) noexcept {
    switch (state) {
    case WalSpan::State::kStreamed:
        return "streamed";
    case WalSpan::State::kMissing:
        return "missing";
    default:
        return "stored";
    }
}

std::vector<WalSpan> wal_spans(const TimelineWal &wal, uint64_t segment_size) {
    const auto start = [segment_size](uint64_t segment) { return segment_start(segment, segment_size); };
    std::vector<WalSpan> there;
    for (const SegmentRun &run : wal.runs)
        there.push_back({WalSpan::State::kStored, run.first, run.last, start(run.first), start(run.last + 1)});
    for (const auto &[segment, cover] : wal.streamed)
        if (find_run(wal.runs, segment) == nullptr)
            there.push_back(
                {WalSpan::State::kStreamed, segment, segment, start(segment), Lsn{start(segment).value + cover.end}});
    std::sort(there.begin(), there.end(), [](const WalSpan &a, const WalSpan &b) { return a.first < b.first; });
    std::vector<WalSpan> spans;
    for (const WalSpan &span : there) {
        if (!spans.empty() && spans.back().to < span.from) {
            // The rest of a part has no segment of its own.
            const uint64_t first = segment_of(spans.back().to, segment_size);
            spans.push_back({WalSpan::State::kMissing, first, span.first - (first < span.first ? 1 : 0),
                             spans.back().to, span.from});
        }
        WalSpan *before = spans.empty() ? nullptr : &spans.back();
        if (before != nullptr && before->state == span.state && before->to == span.from) {
            before->last = span.last;
            before->to = span.to;
        } else {
            spans.push_back(span);
        }
    }
    return spans;
}

} // namespace pgvigil
