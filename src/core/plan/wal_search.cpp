#include "plan/wal_search.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr uint64_t kBatch = 64;

// Transaction ids are compared modulo 2^32, as PostgreSQL does (TransactionIdPrecedes).
bool precedes_or_equals(uint32_t a, uint32_t b) noexcept {
    return static_cast<int32_t>(a - b) <= 0;
}

} // namespace

void WalSearch::expect(uint64_t first, uint64_t last) {
    for (uint64_t segment = first; segment <= last;) {
        const TimelineId owner = owner_of_segment(path_, segment, segment_size_);
        uint64_t end = segment;
        while (end < last && owner_of_segment(path_, end + 1, segment_size_) == owner)
            ++end;
        source_.expect(owner, segment, end);
        segment = end + 1;
    }
}

std::optional<WalBlock> WalSearch::block_of(uint64_t segment) {
    const TimelineId owner = owner_of_segment(path_, segment, segment_size_);
    std::optional<WalBlock> block = source_.block(owner, segment);
    // One with holes says nothing of what has arrived there since.
    if (!block || !block->is_whole())
        return std::nullopt;
    // Only what the path reads from this timeline.
    for (const TimelineStep &step : path_)
        if (step.timeline == owner) {
            block->first = std::max(block->first, segment_of(step.start, segment_size_));
            if (step.end.is_valid())
                block->last = std::max(segment, std::min(block->last, segment_before(step.end, segment_size_)));
        }
    while (block->last > segment && owner_of_segment(path_, block->last, segment_size_) != owner)
        --block->last;
    return block;
}

void WalSearch::forward(Lsn from, Lsn to, const MayHold &may_hold, const Visit &visit) {
    if (to <= from)
        return;
    const uint64_t last = segment_before(to, segment_size_);
    uint64_t expected = 0; // segments before this one were announced
    for (uint64_t segment = segment_of(from, segment_size_); segment <= last; ++segment) {
        const auto block = block_of(segment);
        if (block && !may_hold(*block)) {
            segment = block->last;
            continue;
        }
        if (!block && segment >= expected) {
            expect(segment, std::min(last, segment + kBatch - 1));
            expected = segment + kBatch;
        }
        if (!visit(segment))
            return;
    }
}

void WalSearch::backward(Lsn from, Lsn to, const MayHold &may_hold, const Visit &visit) {
    if (to <= from)
        return;
    const uint64_t first = segment_of(from, segment_size_);
    uint64_t segment = segment_before(to, segment_size_);
    // The nearest segment nearly always answers: read ahead only when it does not.
    for (uint64_t visited = 0;; ++visited) {
        const auto block = block_of(segment);
        if (block && !may_hold(*block)) {
            segment = block->first;
        } else {
            if (!block && visited % kBatch == 1)
                expect(std::max(first, segment < kBatch ? 0 : segment - kBatch + 1), segment);
            if (!visit(segment))
                return;
        }
        if (segment <= first)
            return;
        --segment;
    }
}

std::optional<WalScanSummary> WalSearch::facts(uint64_t segment) {
    return source_.facts(owner_of_segment(path_, segment, segment_size_), segment);
}

std::optional<SpanningRecord> WalSearch::crossing_into(uint64_t segment) {
    if (segment == 0)
        return std::nullopt;
    const auto later = facts(segment);
    if (!later || later->spanning_in.empty())
        return std::nullopt;
    const auto earlier = facts(segment - 1);
    if (!earlier)
        return std::nullopt;
    return spanning_record(*earlier, *later);
}

std::optional<int64_t> WalSearch::last_transaction_us(Lsn from, Lsn to) {
    std::optional<int64_t> found;
    uint64_t looked_at = 0;
    const auto has_any = [](const WalBlock &block) { return block.last_time_us.has_value(); };
    backward(from, to, has_any, [&](uint64_t segment) {
        if (const auto summary = facts(segment)) {
            found = summary->last_time_us;
            if (!found)
                if (const auto crossing = crossing_into(segment); crossing && crossing->transaction)
                    found = crossing->transaction->time_us;
        }
        return !found && ++looked_at < kMaxSegmentsBack;
    });
    return found;
}

Lsn WalSearch::end_of_records(Lsn from, Lsn to) {
    Lsn end = to;
    const auto always = [](const WalBlock & /*block*/) { return true; };
    backward(from, to, always, [&](uint64_t segment) {
        const auto summary = facts(segment);
        if (!summary)
            return false;
        if (!summary->end_of_records.is_valid())
            return true;
        end = summary->end_of_records;
        return false;
    });
    return end;
}

std::optional<TransactionEnd> WalSearch::find_transaction(uint32_t xid, Lsn from, Lsn to) {
    std::optional<TransactionEnd> found;
    const auto spans_xid = [xid](const WalBlock &block) {
        return block.first_xid && precedes_or_equals(*block.first_xid, xid) && precedes_or_equals(xid, *block.last_xid);
    };
    forward(from, to, spans_xid, [&](uint64_t segment) {
        const auto summary = facts(segment);
        if (const auto crossing = crossing_into(segment);
            crossing && crossing->transaction && crossing->transaction->xid == xid)
            found = crossing->transaction;
        const bool may_hold = summary && summary->first_xid && precedes_or_equals(*summary->first_xid, xid) &&
                              precedes_or_equals(xid, *summary->last_xid);
        if (!found && may_hold)
            for (const TransactionEnd &end :
                 source_.transaction_ends(owner_of_segment(path_, segment, segment_size_), segment))
                if (end.xid == xid)
                    found = end;
        if (found && found->end <= from)
            found.reset();
        return !found;
    });
    return found;
}

std::vector<RestorePoint> WalSearch::find_restore_points(std::string_view name, Lsn from, Lsn to) {
    std::vector<RestorePoint> points;
    const auto take = [&](const RestorePoint &point) {
        if (point.name == name && point.lsn > from && point.lsn <= to)
            points.push_back(point);
    };
    const uint64_t bit = restore_point_bit(name);
    const auto has_name = [bit](const WalBlock &block) { return (block.restore_points & bit) != 0; };
    forward(from, to, has_name, [&](uint64_t segment) {
        if (const auto crossing = crossing_into(segment); crossing && crossing->restore_point)
            take(*crossing->restore_point);
        if (const auto summary = facts(segment))
            for (const RestorePoint &point : summary->restore_points)
                take(point);
        return true;
    });
    return points;
}

std::optional<Lsn> WalSearch::end_of_replay_to(int64_t time_us, Lsn from, Lsn to) {
    std::optional<Lsn> end;
    const auto is_later = [time_us](const WalBlock &block) {
        return block.last_time_us && *block.last_time_us > time_us;
    };
    forward(from, to, is_later, [&](uint64_t segment) {
        const auto summary = facts(segment);
        bool later = summary && summary->last_time_us && *summary->last_time_us > time_us;
        if (const auto crossing = crossing_into(segment); crossing && crossing->transaction)
            later = later || crossing->transaction->time_us > time_us;
        if (later)
            end = std::min(to, segment_start(segment + 1, segment_size_));
        return !later;
    });
    return end;
}

} // namespace pgvigil
