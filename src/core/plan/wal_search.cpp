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

void WalSearch::forward(Lsn from, Lsn to, const std::function<bool(uint64_t segment)> &visit) {
    if (to <= from)
        return;
    const uint64_t last = segment_before(to, segment_size_);
    for (uint64_t segment = segment_of(from, segment_size_); segment <= last; ++segment) {
        if ((segment - segment_of(from, segment_size_)) % kBatch == 0)
            expect(segment, std::min(last, segment + kBatch - 1));
        if (!visit(segment))
            return;
    }
}

void WalSearch::backward(Lsn from, Lsn to, const std::function<bool(uint64_t segment)> &visit) {
    if (to <= from)
        return;
    const uint64_t first = segment_of(from, segment_size_);
    const uint64_t last = segment_before(to, segment_size_);
    // The nearest segment nearly always answers: read ahead only when it does not.
    for (uint64_t back = 0; back <= last - first; ++back) {
        const uint64_t segment = last - back;
        if (back % kBatch == 1)
            expect(std::max(first, segment < kBatch ? 0 : segment - kBatch + 1), segment);
        if (!visit(segment))
            return;
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
    backward(from, to, [&](uint64_t segment) {
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
    backward(from, to, [&](uint64_t segment) {
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
    forward(from, to, [&](uint64_t segment) {
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
    forward(from, to, [&](uint64_t segment) {
        if (const auto crossing = crossing_into(segment); crossing && crossing->restore_point)
            take(*crossing->restore_point);
        if (const auto summary = facts(segment))
            for (const RestorePoint &point : summary->restore_points)
                take(point);
        return true;
    });
    return points;
}

} // namespace pgvigil
