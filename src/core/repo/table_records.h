// The records of a file table and the entries of its index as bytes; repo/file_table.h cuts them into objects.
// Threading: pure functions.
#pragma once

#include "base/bytes.h"
#include "repo/file_table.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil::table {

inline constexpr std::string_view kIndexName = "index";
[[nodiscard]] std::string part_name(uint32_t number); // below files/<id>/

// A record holds at most this many extents; a file with more continues in further records of the same path.
inline constexpr size_t kMaxRecordExtents = 4096;
// At most: an offset of 10 bytes, seven varints of 5, two hashes.
inline constexpr size_t kMaxExtentRecordBytes = 80;

// One record: an entry's facts (unless it continues the entry before) and some of its extents.
struct Record {
    bool continues = false;
    FileEntry entry;
};

// Appends the record that holds `extents` of `entry`. Offsets are stored as distances, so that records compress well.
void append_record(ByteWriter &out, const FileEntry &entry, bool continues, std::span<const ExtentRef> extents);

// Reads the next record; throws kCorrupt naming `what` for anything a writer would not write: an unsafe path, extents
// that overlap or are out of order, lengths over the limits.
[[nodiscard]] Record read_record(ByteReader &in, std::string_view what);

// Where one frame of a table stands, and the path and extent offset its first record begins with.
struct IndexEntry {
    std::string path;
    uint64_t extent_offset = 0; // bytes; of the first extent, 0 where the record has none
    uint32_t part = 0;
    uint32_t offset = 0; // bytes from the part's start to the frame's header
    uint32_t length = 0; // bytes of the frame, header included
};

void append_index_entry(ByteWriter &out, const IndexEntry &entry);
[[nodiscard]] IndexEntry read_index_entry(ByteReader &in, std::string_view what);

// Whether `path` may be created below a data directory: relative, no empty, "." or ".." component, no NUL.
[[nodiscard]] bool is_safe_path(std::string_view path) noexcept;

} // namespace pgvigil::table
