// Which blocks of one file an incremental backup reads, and how far the file inherits from the parent (rules A1 to A3).
// Threading: pure function.
#pragma once

#include "pgdata/block_changes.h"
#include "repo/file_table.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace pgvigil {

struct BlockPlan {
    bool whole = true;          // everything is read and nothing inherited
    uint32_t inherit_below = 0; // blocks
    // What is read, in blocks of this file, ascending; none crosses inherit_below.
    std::vector<BlockRun> runs;
    uint64_t blocks = 0; // in runs
};

// `size` of the file in bytes; `parent`: what the parent's table has under this path, or null; `changes` since the
// parent's start.
[[nodiscard]] BlockPlan plan_blocks(std::string_view path, uint64_t size, const FileEntry *parent,
                                    const BlockChanges &changes, uint32_t block_size, uint32_t segment_blocks);

} // namespace pgvigil
