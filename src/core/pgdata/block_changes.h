// Which blocks of which relations changed over a span of WAL: what WAL summaries say, united over several of them.
//
// Guarantees: never tells of a changed block that it did not change. Beyond `memory_limit` a chunk of 65,536 blocks
// counts as changed whole, which only makes a backup read more. Threading: add_…() by one thread; a finished value may
// be read by many.
#pragma once

#include "pgdata/relation_path.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace pgvigil {

inline constexpr uint32_t kBlocksPerChunk = 1U << 16;
inline constexpr uint32_t kNoLimitBlock = 0xffffffffU;

// Neighbouring blocks.
struct BlockRun {
    uint32_t first = 0;
    uint32_t count = 0;

    friend bool operator==(const BlockRun &, const BlockRun &) = default;
};

// A set of block numbers: chunk by chunk a sorted array, a bitmap of 8 KiB, or "all".
class BlockSet {
  public:
    // `offsets` within chunk number `chunk`, in any order. Returns by how many bytes the set grew (or shrank).
    ptrdiff_t add(uint32_t chunk, std::span<const uint16_t> offsets);
    // Bit i of word w stands for block w * 16 + i of the chunk; exactly kBlocksPerChunk / 16 words.
    ptrdiff_t add_bitmap(uint32_t chunk, std::span<const uint16_t> words);
    ptrdiff_t add_all(uint32_t chunk);

    [[nodiscard]] bool contains(uint32_t block) const noexcept;
    // Blocks of the set in [from, to).
    [[nodiscard]] uint64_t count(uint32_t from, uint32_t to) const noexcept;
    [[nodiscard]] std::vector<BlockRun> runs(uint32_t from, uint32_t to) const;

  private:
    enum class Form : uint8_t { kArray, kBitmap, kAll };
    struct Chunk {
        Form form = Form::kArray;
        std::vector<uint16_t> words;
    };
    static void make_bitmap(Chunk &chunk);
    template <class Visit> void for_each(uint32_t from, uint32_t to, Visit &&visit) const;
    std::map<uint32_t, Chunk> chunks_;
};

struct RelationForkId {
    uint32_t tablespace = 0;
    uint32_t database = 0;
    uint32_t number = 0; // relfilenumber
    RelationFork fork = RelationFork::kMain;

    friend auto operator<=>(const RelationForkId &, const RelationForkId &) = default;
};

struct ForkChanges {
    // The relation's shortest length in blocks during the span: 0 when it was created or dropped, kNoLimitBlock when it
    // did not shrink. Blocks at or above it are new, whatever `blocks` says (rules A2).
    uint32_t limit_block = kNoLimitBlock;
    BlockSet blocks;
};

class BlockChanges {
  public:
    static constexpr size_t kDefaultMemoryLimit = size_t{64} << 20; // bytes
    explicit BlockChanges(size_t memory_limit = kDefaultMemoryLimit) : memory_limit_(memory_limit) {}

    // An entry; a relation number of 0 says that the whole database was created or dropped in this tablespace.
    void add_entry(const RelationForkId &id, uint32_t limit_block);
    void add_blocks(const RelationForkId &id, uint32_t chunk, std::span<const uint16_t> offsets);
    void add_bitmap(const RelationForkId &id, uint32_t chunk, std::span<const uint16_t> words);

    // nullptr when nothing changed.
    [[nodiscard]] const ForkChanges *find(const RelationForkId &id) const noexcept;
    [[nodiscard]] bool database_changed(uint32_t tablespace, uint32_t database) const noexcept;
    [[nodiscard]] size_t size() const noexcept { return forks_.size(); }
    [[nodiscard]] size_t memory_bytes() const noexcept { return memory_; }

  private:
    template <class Add> void grow(const RelationForkId &id, uint32_t chunk, Add &&add);

    size_t memory_limit_;
    size_t memory_ = 0; // of the sets
    std::map<RelationForkId, ForkChanges> forks_;
    std::set<std::pair<uint32_t, uint32_t>> databases_;
};

} // namespace pgvigil
