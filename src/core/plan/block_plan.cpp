#include "plan/block_plan.h"

#include "pgdata/relation_path.h"

#include <algorithm>

namespace pgvigil {

namespace {

// Above this share of a file's blocks reading it whole costs no more, and a restore then needs no parent.
constexpr uint64_t kWholeAbovePercent = 90;

} // namespace

BlockPlan plan_blocks(std::string_view path, uint64_t size, const FileEntry *parent, const BlockChanges &changes,
                      uint32_t block_size, uint32_t segment_blocks) {
    BlockPlan plan;
    const auto relation = parse_relation_path(path);
    // WAL does not tell of every change to the other forks: older minor releases cleared bits of the visibility map
    // without a word.
    if (!relation || relation->file.fork != RelationFork::kMain || parent == nullptr ||
        parent->kind != FileKind::kRegular || size == 0)
        return plan;
    if (size % block_size != 0 || size / block_size > segment_blocks || parent->size % block_size != 0)
        return plan;
    if (changes.database_changed(relation->tablespace, relation->database))
        return plan;

    const auto own_blocks = static_cast<uint32_t>(size / block_size);
    const uint64_t first = uint64_t{relation->file.segment} * segment_blocks; // of the file, in the relation
    const ForkChanges *fork =
        changes.find({relation->tablespace, relation->database, relation->file.number, RelationFork::kMain});
    uint64_t inherit = std::min<uint64_t>(own_blocks, parent->size / block_size);
    if (fork != nullptr && fork->limit_block != kNoLimitBlock)
        inherit = std::min(inherit, fork->limit_block > first ? fork->limit_block - first : 0);
    if (inherit == 0)
        return plan;

    std::vector<BlockRun> runs;
    uint64_t blocks = own_blocks - inherit;
    if (fork != nullptr) {
        const auto from = static_cast<uint32_t>(first);
        const auto to = static_cast<uint32_t>(first + inherit);
        const uint64_t changed = fork->blocks.count(from, to);
        blocks += changed;
        if (blocks * 100 > own_blocks * kWholeAbovePercent)
            return plan;
        runs = fork->blocks.runs(from, to);
        for (BlockRun &run : runs)
            run.first -= from;
    } else if (blocks * 100 > own_blocks * kWholeAbovePercent) {
        return plan;
    }
    if (inherit < own_blocks)
        runs.push_back({static_cast<uint32_t>(inherit), static_cast<uint32_t>(own_blocks - inherit)});
    plan.whole = false;
    plan.inherit_below = static_cast<uint32_t>(inherit);
    plan.runs = std::move(runs);
    plan.blocks = blocks;
    return plan;
}

} // namespace pgvigil
