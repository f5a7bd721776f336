#include "transfer/restore_extents.h"

#include "base/error.h"
#include "transfer/restore_crc.h"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>
#include <tuple>
#include <utility>

namespace pgvigil {

namespace {

constexpr uint32_t kMaxPackNumber = 9999999; // hundreds of TB

} // namespace

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

std::vector<uint64_t> pack_sizes(const std::vector<StoredObject> &packs) {
    std::vector<uint64_t> sizes;
    for (const StoredObject &pack : packs) {
        uint32_t number = 0;
        const char *end = pack.name.data() + pack.name.size();
        const auto [stop, error] = std::from_chars(pack.name.data(), end, number);
        if (error != std::errc() || stop != end || number > kMaxPackNumber)
            throw Error(ErrorCode::kCorrupt, fmt::format("the backup names an impossible pack \"{}\"", pack.name));
        if (number >= sizes.size())
            sizes.resize(size_t{number} + 1);
        sizes[number] = pack.size;
    }
    return sizes;
}

std::shared_ptr<RestoredFile> plan_file(FileEntry &&entry, const std::vector<uint64_t> &packs,
                                        std::vector<ExtentRead> &reads) {
    auto file = std::make_shared<RestoredFile>();
    file->size = entry.size;
    file->mtime_ms = entry.mtime_ms;
    file->missing = entry.extents.size();
    file->pieces.reserve(entry.extents.size());
    uint64_t end = 0;
    for (const ExtentRef &extent : entry.extents) {
        const bool placed = extent.pack < packs.size() && extent.place.length >= kFrameHeaderBytes &&
                            uint64_t{extent.place.offset} + extent.place.length <= packs[extent.pack] &&
                            extent.place.length <= kMaxRangeBytes;
        if (!placed || extent.plain_length == 0 || extent.plain_length > kMaxExtentBytes || extent.offset < end ||
            extent.offset > entry.size || extent.plain_length > entry.size - extent.offset)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the backup's table has a wrong extent for \"{}\"", entry.path))
                .detail(fmt::format("{} bytes at {} of {}, from {} bytes at {} of pack {}.", extent.plain_length,
                                    extent.offset, entry.size, extent.place.length, extent.place.offset, extent.pack));
        end = extent.offset + extent.plain_length;
        reads.push_back({file, static_cast<uint32_t>(file->pieces.size()), extent.pack, extent.place, extent.hash});
        file->pieces.push_back({extent.offset, extent.plain_length, 0});
    }
    file->path = std::move(entry.path);
    return file;
}

std::vector<RangeRead> merge_reads(std::vector<ExtentRead> &&reads) {
    std::sort(reads.begin(), reads.end(), [](const ExtentRead &a, const ExtentRead &b) {
        return std::tie(a.pack, a.place.offset) < std::tie(b.pack, b.place.offset);
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
