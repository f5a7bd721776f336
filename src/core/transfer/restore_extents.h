// Which bytes of which packs become which bytes of which files, arranged so that ranges which lie together in a pack
// are read at once.
// Threading: values; a RestoredFile is shared by the workers that write its pieces.
#pragma once

#include "repo/file_table.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

struct FilePiece {
    uint64_t offset = 0; // bytes from the file's start
    uint32_t length = 0; // bytes
    uint32_t crc32c = 0; // once written
};

struct RestoredFile {
    std::string path;
    uint64_t size = 0; // bytes
    int64_t mtime_ms = 0;
    std::vector<FilePiece> pieces; // ascending; what none covers is zeroes
    std::atomic<size_t> missing{0};
};

// Of the whole file, once no piece is missing.
[[nodiscard]] uint32_t file_crc32c(const RestoredFile &file);

struct ExtentRead {
    std::shared_ptr<RestoredFile> file;
    uint32_t piece = 0;
    uint32_t pack = 0;
    PackPlace place;
    ContentHash hash{};
};

struct RangeRead {
    uint32_t pack = 0;
    ByteRange range;
    std::vector<ExtentRead> extents; // ascending by place
};

inline constexpr uint64_t kMaxRangeBytes = 6 * kMiB;      // of one read, and what a worker holds
inline constexpr uint64_t kMaxRangeGapBytes = 128 * kKiB; // read and thrown away rather than asked for separately

// Sizes of a backup's packs by their number; 0 for a number that no pack has. Throws kCorrupt for a name that is none.
[[nodiscard]] std::vector<uint64_t> pack_sizes(const std::vector<StoredObject> &packs);

// Checks an entry's extents against the packs and lists what to read; throws kCorrupt naming the path.
[[nodiscard]] std::shared_ptr<RestoredFile> plan_file(FileEntry &&entry, const std::vector<uint64_t> &packs,
                                                      std::vector<ExtentRead> &reads);
[[nodiscard]] std::vector<RangeRead> merge_reads(std::vector<ExtentRead> &&reads);

} // namespace pgvigil
