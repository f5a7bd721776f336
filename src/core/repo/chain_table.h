// Lookup through a chain of backups (rules A1): the file tables of a backup and of all its ancestors, merged as they
// are read, so that memory is bounded whatever their number and size.
//
// Which bytes belong to a file: its own extents first. What they leave open below `inherit_below` blocks is looked for
// in the parent's entry of the same path: in its extents as far as it is long, then, below its own `inherit_below`, in
// its parent's, and so on; an entry that is self-contained, absent or no regular file ends the search. What is found
// nowhere is zeroes. Threading: one thread.
#pragma once

#include "repo/file_table.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pgvigil {

// A run of a file's bytes: [extent_offset, extent_offset + length) of an extent of one of the chain's backups.
struct ChainPiece {
    uint64_t offset = 0;        // bytes from the file's start
    uint32_t length = 0;        // bytes
    uint32_t backup = 0;        // whose extent: 0 = the newest, 1 = its parent, …
    uint32_t extent_offset = 0; // bytes from the extent's start
    uint64_t extent_block = 0;  // blocks of all extents before this one in that backup's table: finds its block hashes
    ExtentRef extent;           // as that backup's table has it

    [[nodiscard]] bool whole_extent() const noexcept { return length == extent.plain_length; }
};

struct ChainEntry {
    FileEntry entry;                // of the newest backup
    std::vector<ChainPiece> pieces; // ascending, not overlapping, within entry.size; what none covers is zeroes
};

// One backup's entry of a path, and the count of blocks of all extents before it in its table.
struct ChainLink {
    const FileEntry *entry = nullptr; // null: the backup has no such path
    uint64_t first_block = 0;
};

// The pieces of one file from the entries of all backups, the newest first; links.front().entry is not null. Throws
// kCorrupt when the oldest entry inherits.
[[nodiscard]] std::vector<ChainPiece> resolve_chain(std::span<const ChainLink> links, uint32_t block_size);

class ChainTable {
  public:
    // One reader for each backup of the chain, the newest first. A parent's table is read only as far as an entry
    // inherits from it.
    ChainTable(std::vector<FileTableReader> tables, uint32_t block_size);

    // The newest backup's next entry, in order; nullopt behind the last one.
    [[nodiscard]] std::optional<ChainEntry> next();

  private:
    struct Cursor {
        explicit Cursor(FileTableReader &&reader) : table(std::move(reader)) {}
        FileTableReader table;
        std::optional<FileEntry> entry; // the one that was read last
        uint64_t first_block = 0;       // of `entry`
        uint64_t next_block = 0;        // of the one after it
        bool at_end = false;
    };
    void advance(Cursor &cursor) const;
    ChainLink find(Cursor &cursor, const std::string &path) const;

    std::vector<Cursor> cursors_;
    const uint32_t block_size_;
};

} // namespace pgvigil
