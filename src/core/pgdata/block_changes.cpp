#include "pgdata/block_changes.h"

#include <algorithm>
#include <bit>

namespace pgvigil {

namespace {

constexpr size_t kBitmapWords = kBlocksPerChunk / 16;
// What a chunk costs beside its words: a node of the map.
constexpr ptrdiff_t kChunkOverhead = 96;

ptrdiff_t bytes_of(const std::vector<uint16_t> &words) noexcept {
    return static_cast<ptrdiff_t>(words.capacity() * sizeof(uint16_t));
}

} // namespace

void BlockSet::make_bitmap(Chunk &chunk) {
    std::vector<uint16_t> words(kBitmapWords);
    for (const uint16_t offset : chunk.words)
        words[offset / 16] = static_cast<uint16_t>(words[offset / 16] | (1U << (offset % 16)));
    chunk.words = std::move(words);
    chunk.form = Form::kBitmap;
}

ptrdiff_t BlockSet::add(uint32_t number, std::span<const uint16_t> offsets) {
    if (offsets.empty())
        return 0;
    const auto [at, is_new] = chunks_.try_emplace(number);
    Chunk &chunk = at->second;
    const ptrdiff_t before = is_new ? -kChunkOverhead : bytes_of(chunk.words);
    if (chunk.form == Form::kArray) {
        std::vector<uint16_t> sorted(offsets.begin(), offsets.end());
        std::sort(sorted.begin(), sorted.end());
        std::vector<uint16_t> merged;
        merged.reserve(chunk.words.size() + sorted.size());
        std::set_union(chunk.words.begin(), chunk.words.end(), sorted.begin(), sorted.end(),
                       std::back_inserter(merged));
        merged.erase(std::unique(merged.begin(), merged.end()), merged.end());
        merged.shrink_to_fit();
        chunk.words = std::move(merged);
        if (chunk.words.size() >= kBitmapWords)
            make_bitmap(chunk);
    } else if (chunk.form == Form::kBitmap) {
        for (const uint16_t offset : offsets)
            chunk.words[offset / 16] = static_cast<uint16_t>(chunk.words[offset / 16] | (1U << (offset % 16)));
    }
    return bytes_of(chunk.words) - before;
}

ptrdiff_t BlockSet::add_bitmap(uint32_t number, std::span<const uint16_t> words) {
    const auto [at, is_new] = chunks_.try_emplace(number);
    Chunk &chunk = at->second;
    const ptrdiff_t before = is_new ? -kChunkOverhead : bytes_of(chunk.words);
    if (chunk.form == Form::kArray)
        make_bitmap(chunk);
    if (chunk.form == Form::kBitmap)
        for (size_t i = 0; i < kBitmapWords; ++i)
            chunk.words[i] = static_cast<uint16_t>(chunk.words[i] | words[i]);
    return bytes_of(chunk.words) - before;
}

ptrdiff_t BlockSet::add_all(uint32_t number) {
    const auto [at, is_new] = chunks_.try_emplace(number);
    Chunk &chunk = at->second;
    const ptrdiff_t before = is_new ? -kChunkOverhead : bytes_of(chunk.words);
    chunk.form = Form::kAll;
    chunk.words = std::vector<uint16_t>();
    return bytes_of(chunk.words) - before;
}

bool BlockSet::contains(uint32_t block) const noexcept {
    const auto found = chunks_.find(block / kBlocksPerChunk);
    if (found == chunks_.end())
        return false;
    const Chunk &chunk = found->second;
    const auto offset = static_cast<uint16_t>(block % kBlocksPerChunk);
    switch (chunk.form) {
    case Form::kArray:
        return std::binary_search(chunk.words.begin(), chunk.words.end(), offset);
    case Form::kBitmap:
        return (chunk.words[offset / 16] & (1U << (offset % 16))) != 0;
    case Form::kAll:
        break;
    }
    return true;
}

// Calls visit(first, count) for neighbouring blocks within each chunk, ascending.
template <class Visit> void BlockSet::for_each(uint32_t from, uint32_t to, Visit &&visit) const {
    for (auto at = chunks_.lower_bound(from / kBlocksPerChunk); at != chunks_.end(); ++at) {
        const uint64_t base = uint64_t{at->first} * kBlocksPerChunk;
        if (base >= to)
            return;
        const auto low = static_cast<uint32_t>(from > base ? from - base : 0);
        const auto high = static_cast<uint32_t>(std::min<uint64_t>(kBlocksPerChunk, to - base));
        const Chunk &chunk = at->second;
        if (chunk.form == Form::kAll) {
            if (low < high)
                visit(static_cast<uint32_t>(base + low), high - low);
        } else if (chunk.form == Form::kArray) {
            for (auto offset = std::lower_bound(chunk.words.begin(), chunk.words.end(), low);
                 offset != chunk.words.end() && *offset < high; ++offset)
                visit(static_cast<uint32_t>(base + *offset), 1U);
        } else {
            for (uint32_t word = low / 16; word < kBitmapWords && word * 16 < high; ++word)
                for (uint32_t bits = chunk.words[word]; bits != 0; bits &= bits - 1) {
                    const uint32_t offset = word * 16 + static_cast<uint32_t>(std::countr_zero(bits));
                    if (offset >= low && offset < high)
                        visit(static_cast<uint32_t>(base + offset), 1U);
                }
        }
    }
}

uint64_t BlockSet::count(uint32_t from, uint32_t to) const noexcept {
    uint64_t blocks = 0;
    for_each(from, to, [&](uint32_t, uint32_t count) { blocks += count; });
    return blocks;
}

std::vector<BlockRun> BlockSet::runs(uint32_t from, uint32_t to) const {
    std::vector<BlockRun> result;
    for_each(from, to, [&](uint32_t first, uint32_t count) {
        if (!result.empty() && result.back().first + result.back().count == first)
            result.back().count += count;
        else
            result.push_back({first, count});
    });
    return result;
}

void BlockChanges::add_entry(const RelationForkId &id, uint32_t limit_block) {
    if (id.number == 0)
        databases_.emplace(id.tablespace, id.database);
    ForkChanges &changes = forks_[id];
    changes.limit_block = std::min(changes.limit_block, limit_block);
}

template <class Add> void BlockChanges::grow(const RelationForkId &id, uint32_t chunk, Add &&add) {
    BlockSet &blocks = forks_[id].blocks;
    ptrdiff_t grown = add(blocks);
    memory_ = static_cast<size_t>(static_cast<ptrdiff_t>(memory_) + grown);
    if (memory_ > memory_limit_ && grown > 0) {
        grown = blocks.add_all(chunk);
        memory_ = static_cast<size_t>(static_cast<ptrdiff_t>(memory_) + grown);
    }
}

void BlockChanges::add_blocks(const RelationForkId &id, uint32_t chunk, std::span<const uint16_t> offsets) {
    grow(id, chunk, [&](BlockSet &blocks) { return blocks.add(chunk, offsets); });
}

void BlockChanges::add_bitmap(const RelationForkId &id, uint32_t chunk, std::span<const uint16_t> words) {
    grow(id, chunk, [&](BlockSet &blocks) { return blocks.add_bitmap(chunk, words); });
}

const ForkChanges *BlockChanges::find(const RelationForkId &id) const noexcept {
    const auto found = forks_.find(id);
    return found == forks_.end() ? nullptr : &found->second;
}

bool BlockChanges::database_changed(uint32_t tablespace, uint32_t database) const noexcept {
    return databases_.contains({tablespace, database});
}

} // namespace pgvigil
