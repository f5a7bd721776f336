#include "transfer/tail_pieces.h"

#include <algorithm>

namespace pgvigil {

void TailPieces::add(TailRange piece) {
    pieces_.push_back({std::move(piece), 0});
}

// Eight in a row of the same level.
std::optional<TailRange> TailPieces::neighbours() const {
    for (size_t end = kFanIn; end <= pieces_.size(); ++end) {
        const size_t begin = end - kFanIn;
        const unsigned level = pieces_[begin].level;
        const bool alike =
            std::all_of(pieces_.begin() + static_cast<ptrdiff_t>(begin), pieces_.begin() + static_cast<ptrdiff_t>(end),
                        [level](const Entry &entry) { return entry.level == level; });
        const TailRange &last = pieces_[end - 1].range;
        if (alike && last.to - pieces_[begin].range.from <= limit_)
            return TailRange{pieces_[begin].range.from, last.to, last.extension};
    }
    return std::nullopt;
}

// As many in a row as fit.
std::optional<TailRange> TailPieces::longest_row() const {
    std::optional<TailRange> best;
    size_t best_count = 1;
    for (size_t begin = 0, end = 0; begin < pieces_.size(); ++begin) {
        end = std::max(end, begin + 1);
        while (end < pieces_.size() && pieces_[end].range.to - pieces_[begin].range.from <= limit_)
            ++end;
        if (end - begin > best_count) {
            best_count = end - begin;
            const TailRange &last = pieces_[end - 1].range;
            best = TailRange{pieces_[begin].range.from, last.to, last.extension};
        }
    }
    return best;
}

std::optional<TailRange> TailPieces::begin_merge() {
    if (merging_ || pieces_.size() < kMany)
        return std::nullopt;
    auto found = neighbours();
    if (!found && pieces_.size() >= kCrowded)
        found = longest_row();
    merging_ = found.has_value();
    return found;
}

void TailPieces::end_merge(const TailRange &merged, bool stored) {
    merging_ = false;
    if (!stored)
        return;
    const auto begin = std::find_if(pieces_.begin(), pieces_.end(),
                                    [&](const Entry &entry) { return entry.range.from == merged.from; });
    const auto end =
        std::find_if(begin, pieces_.end(), [&](const Entry &entry) { return entry.range.from >= merged.to; });
    if (begin == end)
        return;
    unsigned level = 0;
    for (auto entry = begin; entry != end; ++entry)
        level = std::max(level, entry->level + 1);
    *begin = Entry{merged, level};
    pieces_.erase(begin + 1, end);
}

} // namespace pgvigil
