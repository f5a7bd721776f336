#include "repo/tail.h"

#include "base/wal_name.h"
#include "repo/epochs.h"

#include <algorithm>

namespace pgvigil {

namespace {

const std::vector<TailPiece> *pieces_of(const TimelineTail &tail, uint64_t segment) {
    const auto found = tail.segments.find(segment);
    return found == tail.segments.end() ? nullptr : &found->second;
}

// Whether the run has the first bytes of the segment.
bool begins(const TimelineTail &tail, uint64_t segment, TailRunId run) {
    const auto *pieces = pieces_of(tail, segment);
    return pieces != nullptr && std::any_of(pieces->begin(), pieces->end(), [run](const TailPiece &piece) {
               return piece.run == run && piece.from == 0;
           });
}

bool has_pieces_behind(const TimelineTail &tail, uint64_t segment, TailRunId run) {
    return std::any_of(tail.segments.upper_bound(segment), tail.segments.end(), [run](const auto &entry) {
        return std::any_of(entry.second.begin(), entry.second.end(),
                           [run](const TailPiece &piece) { return piece.run == run; });
    });
}

// Asks whether a run is open only where the answer matters: it may cost requests.
class Ruling {
  public:
    Ruling(const TimelineTail &tail, const TailContext &context) : tail_(tail), context_(context) {}

    [[nodiscard]] std::optional<TailRunId> holder(uint64_t segment) {
        const auto *pieces = pieces_of(tail_, segment);
        if (pieces == nullptr)
            return std::nullopt;
        for (auto piece = pieces->rbegin(); piece != pieces->rend(); ++piece) // sorted by run
            if (piece->from == 0 && accepts(piece->run, segment) && !is_dead(piece->run, segment))
                return piece->run;
        return std::nullopt;
    }

  private:
    [[nodiscard]] bool accepts(TailRunId run, uint64_t segment) const {
        return run.epoch >= lowest_accepted_epoch(context_.epochs, tail_.timeline, segment, tail_.segment_size);
    }

    // Recovery ended in an earlier segment: what the run had shipped beyond was replaced.
    [[nodiscard]] bool is_dead(TailRunId run, uint64_t segment) {
        return std::any_of(tail_.runs.rbegin(), tail_.runs.rend(), [&](const TailRun &other) {
            const uint64_t first = segment_of(other.from, tail_.segment_size);
            return run < other.id && first < segment && accepts(other.id, first) && opened(other);
        });
    }

    [[nodiscard]] bool opened(const TailRun &run) {
        const auto known = open_.find(run.id);
        if (known != open_.end())
            return known->second;
        return open_[run.id] = is_open(tail_, context_, run);
    }

    const TimelineTail &tail_;
    const TailContext &context_;
    std::map<TailRunId, bool> open_;
};

} // namespace

bool is_open(const TimelineTail &tail, const TailContext &context, const TailRun &run) {
    const uint64_t first = segment_of(run.from, tail.segment_size);
    return begins(tail, first, run.id) || has_pieces_behind(tail, first, run.id) || context.is_stored(first);
}

std::optional<TailCover> tail_cover(const TimelineTail &tail, const TailContext &context, uint64_t segment) {
    if (tail.segment_size == 0)
        return std::nullopt;
    const auto holder = Ruling(tail, context).holder(segment);
    if (!holder)
        return std::nullopt;
    TailCover cover;
    cover.run = *holder;
    const std::vector<TailPiece> &pieces = *pieces_of(tail, segment);
    for (;;) {
        const TailPiece *widest = nullptr;
        for (const TailPiece &piece : pieces)
            if (piece.run == *holder && piece.from <= cover.end && piece.to > cover.end &&
                (widest == nullptr || piece.to > widest->to))
                widest = &piece;
        if (widest == nullptr)
            break;
        cover.pieces.push_back(*widest);
        cover.end = widest->to;
    }
    for (const TailPiece &piece : pieces)
        if (piece.run == *holder)
            cover.known_end = std::max(cover.known_end, piece.to);
    cover.hole = cover.known_end > cover.end;
    return cover;
}

bool has_later_tail(const TimelineTail &tail, const TailContext &context, uint64_t segment) {
    if (tail.segment_size == 0)
        return false;
    Ruling ruling(tail, context);
    return std::any_of(tail.segments.upper_bound(segment), tail.segments.end(),
                       [&](const auto &entry) { return ruling.holder(entry.first).has_value(); });
}

} // namespace pgvigil
