#include "repo/chain_table.h"

#include "base/error.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

// What all tables of a chain hold while they are merged.
constexpr size_t kReadBytes = 64 * kMiB;
constexpr size_t kMinReadBytes = kMiB;

uint64_t blocks_of(const ExtentRef &extent, uint32_t block_size) {
    return (uint64_t{extent.plain_length} + block_size - 1) / block_size;
}

// Adds what `link`'s extents hold of the bytes below `limit` that no piece covers yet.
std::vector<ChainPiece> fill_gaps(std::vector<ChainPiece> &&pieces, const ChainLink &link, uint32_t backup,
                                  uint64_t limit, uint32_t block_size) {
    const std::vector<ExtentRef> &extents = link.entry->extents;
    std::vector<ChainPiece> filled;
    filled.reserve(pieces.size() + extents.size());
    auto piece = pieces.begin();
    auto extent = extents.begin();
    uint64_t extent_block = link.first_block;
    uint64_t at = 0; // everything before it is done
    while (at < limit) {
        // The gap [at, gap_end).
        const uint64_t gap_end = std::min(limit, piece == pieces.end() ? limit : piece->offset);
        while (extent != extents.end() && extent->offset + extent->plain_length <= at) {
            extent_block += blocks_of(*extent, block_size);
            ++extent;
        }
        if (at < gap_end && extent != extents.end() && extent->offset < gap_end) {
            ChainPiece more;
            more.offset = std::max(at, extent->offset);
            const uint64_t end = std::min(gap_end, extent->offset + extent->plain_length);
            more.length = static_cast<uint32_t>(end - more.offset);
            more.backup = backup;
            more.extent_offset = static_cast<uint32_t>(more.offset - extent->offset);
            more.extent_block = extent_block;
            more.extent = *extent;
            filled.push_back(more);
            at = end;
            continue;
        }
        if (piece == pieces.end() || piece->offset >= limit)
            break;
        at = piece->offset + piece->length;
        filled.push_back(*piece++);
    }
    filled.insert(filled.end(), piece, pieces.end());
    return filled;
}

} // namespace

std::vector<ChainPiece> resolve_chain(std::span<const ChainLink> links, uint32_t block_size) {
    std::vector<ChainPiece> pieces;
    uint64_t limit = links.front().entry->size;
    for (size_t i = 0; i < links.size() && limit > 0; ++i) {
        const FileEntry *entry = links[i].entry;
        if (entry == nullptr || entry->kind != FileKind::kRegular)
            break;
        limit = std::min(limit, entry->size);
        pieces = fill_gaps(std::move(pieces), links[i], static_cast<uint32_t>(i), limit, block_size);
        limit = std::min(limit, uint64_t{entry->inherit_below} * block_size);
        if (limit > 0 && i + 1 == links.size())
            throw Error(ErrorCode::kCorrupt, "the table of a full backup is damaged")
                .detail("Its entry of \"" + entry->path + "\" refers to a parent, which a full backup has not.");
    }
    return pieces;
}

ChainTable::ChainTable(std::vector<FileTableReader> tables, uint32_t block_size) : block_size_(block_size) {
    const size_t limit = std::max(kMinReadBytes, kReadBytes / std::max<size_t>(1, tables.size()));
    for (FileTableReader &table : tables) {
        table.limit_read(std::min(limit, kMaxTablePartBytes));
        cursors_.emplace_back(std::move(table));
    }
}

void ChainTable::advance(Cursor &cursor) const {
    cursor.entry = cursor.table.next();
    cursor.at_end = !cursor.entry;
    cursor.first_block = cursor.next_block;
    if (!cursor.entry)
        return;
    for (const ExtentRef &extent : cursor.entry->extents)
        cursor.next_block += blocks_of(extent, block_size_);
}

ChainLink ChainTable::find(Cursor &cursor, const std::string &path) const {
    while (!cursor.at_end && (!cursor.entry || compare_paths(cursor.entry->path, path) < 0))
        advance(cursor);
    if (cursor.at_end || cursor.entry->path != path)
        return {};
    return {&*cursor.entry, cursor.first_block};
}

std::optional<ChainEntry> ChainTable::next() {
    Cursor &newest = cursors_.front();
    if (newest.at_end)
        return std::nullopt;
    advance(newest);
    if (newest.at_end)
        return std::nullopt;
    std::vector<ChainLink> links{{&*newest.entry, newest.first_block}};
    while (links.size() < cursors_.size() && links.back().entry != nullptr && links.back().entry->inherit_below > 0)
        links.push_back(find(cursors_[links.size()], newest.entry->path));
    ChainEntry result;
    if (newest.entry->kind == FileKind::kRegular)
        result.pieces = resolve_chain(links, block_size_);
    result.entry = std::move(*newest.entry);
    newest.entry.reset();
    return result;
}

} // namespace pgvigil
