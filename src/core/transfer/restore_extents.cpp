#include "transfer/restore_extents.h"

#include "base/error.h"
#include "transfer/restore_crc.h"

#include <algorithm>
#include <fmt/core.h>
#include <tuple>
#include <utility>

namespace pgvigil {

uint32_t file_crc32c(const RestoredFile &file) {
    uint32_t crc = 0;
    uint64_t at = 0;
    for (const FilePiece &piece : file.pieces) {
        if (piece.offset > at)
            crc = crc32c_join(crc, crc32c_of_zeroes(piece.offset - at), piece.offset - at);
        crc = crc32c_join(crc, piece.crc32c, piece.length);
        at = piece.offset + piece.length;
    }
    if (file.size > at)
        crc = crc32c_join(crc, crc32c_of_zeroes(file.size - at), file.size - at);
    return crc;
}

void PackList::add(const ClusterLayout &layout, const CommitDocument &commit) {
    Numbers numbers;
    numbers.reserve(commit.packs.size());
    for (const StoredObject &pack : commit.packs) {
        const auto [known, added] =
            by_key_.try_emplace(pack_key(layout, commit.id, pack), static_cast<uint32_t>(packs_.size()));
        if (added)
            packs_.push_back({known->first, pack.size});
        numbers.emplace_back(pack.number, known->second);
    }
    std::sort(numbers.begin(), numbers.end());
    backups_.push_back(std::move(numbers));
}

std::optional<uint32_t> PackList::find(size_t backup, uint32_t number) const noexcept {
    const Numbers &numbers = backups_[backup];
    const auto found = std::lower_bound(numbers.begin(), numbers.end(), std::pair<uint32_t, uint32_t>(number, 0));
    return found != numbers.end() && found->first == number ? std::optional(found->second) : std::nullopt;
}

namespace {

bool is_within(const ChainPiece &piece) {
    const ExtentRef &extent = piece.extent;
    return extent.frame_length <= kMaxExtentBytes && extent.plain_length <= extent.frame_length &&
           extent.frame_offset <= extent.frame_length - extent.plain_length && piece.length > 0 &&
           piece.length <= extent.plain_length && piece.extent_offset <= extent.plain_length - piece.length;
}

bool is_placed(const PackPlace &place, const std::optional<uint32_t> &pack, const PackList &packs) {
    return pack && place.length >= kFrameHeaderBytes && uint64_t{place.offset} + place.length <= packs[*pack].size &&
           place.length <= kMaxRangeBytes;
}

std::optional<FilePiece::Blocks> blocks_of(const ChainPiece &piece, uint32_t block_size) {
    const bool ends_with_extent = piece.extent_offset + piece.length == piece.extent.plain_length;
    if (piece.extent_offset % block_size != 0 || (piece.length % block_size != 0 && !ends_with_extent))
        return std::nullopt;
    return FilePiece::Blocks{piece.backup, piece.extent_block + piece.extent_offset / block_size};
}

} // namespace

std::shared_ptr<RestoredFile> plan_file(ChainEntry &&found, const PackList &packs, uint32_t block_size,
                                        std::vector<ExtentRead> &reads) {
    auto file = std::make_shared<RestoredFile>();
    file->path = std::move(found.entry.path);
    file->size = found.entry.size;
    file->mtime_ms = found.entry.mtime_ms;
    file->missing = found.pieces.size();
    file->pieces.reserve(found.pieces.size());
    uint64_t end = 0;
    for (const ChainPiece &piece : found.pieces) {
        const ExtentRef &extent = piece.extent;
        const auto pack = packs.find(piece.backup, extent.pack);
        if (!is_placed(extent.place, pack, packs) || !is_within(piece) || piece.offset < end ||
            piece.offset > file->size || piece.length > file->size - piece.offset)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the backup's table has a wrong extent for \"{}\"", file->path))
                .detail(fmt::format("{} bytes at {} of {}, from {} bytes at {} of pack {} of the backup {} before it.",
                                    piece.length, piece.offset, file->size, extent.place.length, extent.place.offset,
                                    extent.pack, piece.backup));
        end = piece.offset + piece.length;
        reads.push_back({file, static_cast<uint32_t>(file->pieces.size()), *pack, extent.place,
                         extent.frame_offset + piece.extent_offset, extent.frame_length, extent.hash});
        FilePiece &planned = file->pieces.emplace_back();
        planned.offset = piece.offset;
        planned.length = piece.length;
        planned.blocks = blocks_of(piece, block_size);
        if (piece.whole_extent())
            planned.hash = extent.own_hash;
    }
    return file;
}

std::vector<RangeRead> merge_reads(std::vector<ExtentRead> &&reads) {
    std::sort(reads.begin(), reads.end(), [](const ExtentRead &a, const ExtentRead &b) {
        return std::tie(a.pack, a.place.offset, a.frame_offset) < std::tie(b.pack, b.place.offset, b.frame_offset);
    });
    std::vector<RangeRead> ranges;
    for (ExtentRead &read : reads) {
        const uint64_t end = uint64_t{read.place.offset} + read.place.length;
        if (!ranges.empty()) {
            RangeRead &last = ranges.back();
            const uint64_t last_end = last.range.offset + last.range.length;
            if (last.pack == read.pack && read.place.offset <= last_end + kMaxRangeGapBytes &&
                end - last.range.offset <= kMaxRangeBytes) {
                last.range.length = std::max(last_end, end) - last.range.offset;
                last.extents.push_back(std::move(read));
                continue;
            }
        }
        RangeRead range;
        range.pack = read.pack;
        range.range = {read.place.offset, read.place.length};
        range.extents.push_back(std::move(read));
        ranges.push_back(std::move(range));
    }
    return ranges;
}

} // namespace pgvigil
