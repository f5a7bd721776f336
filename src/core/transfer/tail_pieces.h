// Which pieces of one segment stand for it, and when several of them are worth being merged into one (rules B7): where
// there are many, eight neighbours of one size class become one of the next, so that a segment in any number of pieces
// keeps a few dozen that count. One that fills up before it has many is stored once as a tail, and nothing twice.
// Threading: a value of one owner. Errors: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct TailRange {
    uint32_t from = 0;
    uint32_t to = 0;
    std::string extension; // of the piece's header: facts of [0, to)
};

class TailPieces {
  public:
    // `limit`: bytes of a merged piece at the most.
    explicit TailPieces(uint64_t limit) : limit_(limit) {}

    // A piece that follows the last one.
    void add(TailRange piece);
    // Pieces that are to be merged now; nullopt when none are, or while others still are.
    [[nodiscard]] std::optional<TailRange> begin_merge();
    // The end of that: `merged` stands for all in its range, or, when it failed, nothing changed.
    void end_merge(const TailRange &merged, bool stored);
    [[nodiscard]] size_t size() const noexcept { return pieces_.size(); }

    static constexpr size_t kFanIn = 8;
    // Fewer are left as they are: a merge stores their bytes once more.
    static constexpr size_t kMany = 32;
    // From here on neighbours of any size are merged.
    static constexpr size_t kCrowded = 48;

  private:
    struct Entry {
        TailRange range;
        unsigned level = 0;
    };
    [[nodiscard]] std::optional<TailRange> neighbours() const;
    [[nodiscard]] std::optional<TailRange> longest_row() const;

    uint64_t limit_;
    std::vector<Entry> pieces_;
    bool merging_ = false;
};

} // namespace pgvigil
