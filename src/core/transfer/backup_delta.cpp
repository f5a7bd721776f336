#include "transfer/backup_delta.h"

#include "base/error.h"
#include "plan/block_plan.h"
#include "transfer/backup_reader.h"

#include <algorithm>

namespace pgvigil {

namespace {

uint32_t blocks_in(uint64_t bytes, uint32_t block_size) noexcept {
    return static_cast<uint32_t>((bytes + block_size - 1) / block_size);
}

} // namespace

BackupDelta::BackupDelta(const BackupSource &source, const BackupParents &parents, const Uuid &hash_repository,
                         const CancelToken &cancel)
    : source_(source), parents_(parents), hash_repository_(hash_repository) {
    if (source.method == ChangeMethod::kSummaries && source.changes == nullptr)
        throw Error(ErrorCode::kInternal, "an incremental backup by summaries was given none");
    if (source.method == ChangeMethod::kSummaries)
        table_.emplace(parents.table(cancel));
    else
        chain_.emplace(parents.chain(cancel));
}

const FileEntry *BackupDelta::summaries_parent(const std::string &path) {
    while (!at_end_ && (!row_ || compare_paths(row_->path, path) < 0)) {
        row_ = table_->next();
        at_end_ = !row_;
    }
    return row_ && row_->path == path ? &*row_ : nullptr;
}

void BackupDelta::plan(BackupFile &file) {
    if (!table_) {
        plan_comparison(file);
        return;
    }
    const FileEntry *parent = summaries_parent(file.entry.path);
    if (parents_.is_damaged(file.entry.path))
        return;
    const uint32_t block_size = source_.block_size;
    const BlockPlan plan = plan_blocks(file.entry.path, file.entry.size, parent, *source_.changes, block_size,
                                       source_.relation_segment_blocks);
    if (plan.whole)
        return;
    file.entry.inherit_below = plan.inherit_below;
    std::vector<ReadRange> ranges;
    for (const BlockRun &run : plan.runs)
        ranges.push_back({uint64_t{run.first} * block_size, uint64_t{run.count} * block_size});
    file.changed = std::move(ranges);
}

void BackupDelta::plan_comparison(BackupFile &file) {
    const std::string &path = file.entry.path;
    while (!at_end_ && (!link_ || compare_paths(link_->entry.path, path) < 0)) {
        link_ = chain_->next();
        at_end_ = !link_;
    }
    if (!link_ || link_->entry.path != path || link_->entry.kind != FileKind::kRegular || parents_.is_damaged(path))
        return;
    file.known_blocks = blocks_in(link_->entry.size, source_.block_size);
    file.known = std::make_shared<const std::vector<ChainPiece>>(std::move(link_->pieces));
    inherit(file);
}

void BackupDelta::inherit(BackupFile &file) const {
    if (file.known != nullptr)
        file.entry.inherit_below = std::min(file.known_blocks, blocks_in(file.entry.size, source_.block_size));
}

std::vector<BackupDelta::KnownBlock> BackupDelta::known_blocks(const std::vector<ChainPiece> &pieces, uint64_t offset,
                                                               uint64_t length) const {
    const uint64_t block_size = source_.block_size;
    const uint64_t end = offset + length;
    std::vector<KnownBlock> known(blocks_in(length, source_.block_size));
    std::vector<BlockHash> hashes;
    auto piece = std::upper_bound(pieces.begin(), pieces.end(), offset,
                                  [](uint64_t at, const ChainPiece &p) { return at < p.offset + p.length; });
    for (; piece != pieces.end() && piece->offset < end; ++piece) {
        const uint64_t from = std::max(piece->offset, offset);
        const uint64_t to = std::min(piece->offset + piece->length, end);
        for (uint64_t block = (from - offset) / block_size; block * block_size < to - offset; ++block)
            known[block].stored = true;
        const uint64_t shift = piece->offset - piece->extent_offset; // where the extent begins in the file
        if (piece->offset < piece->extent_offset || (offset - shift) % block_size != 0 ||
            !parents_.has_hashes(piece->backup, hash_repository_))
            continue;
        // Blocks of the extent that lie in the piece as a whole and are as long as ours.
        const uint64_t extent_end = shift + piece->extent.plain_length;
        const uint64_t first = (from - offset + block_size - 1) / block_size;
        uint64_t last = first;
        const auto whole = [&](uint64_t block) {
            const uint64_t start = offset + block * block_size;
            const uint64_t our_end = std::min(start + block_size, end);
            return start < to && our_end <= piece->offset + piece->length &&
                   our_end == std::min(start + block_size, extent_end);
        };
        while (last < known.size() && whole(last))
            ++last;
        if (first == last)
            continue;
        hashes.clear();
        parents_.hashes(piece->backup, piece->extent_block + (offset + first * block_size - shift) / block_size,
                        last - first, hashes);
        for (uint64_t block = first; block < last; ++block)
            known[block].hash = hashes[block - first];
    }
    return known;
}

std::vector<BlockRun> BackupDelta::differing(const BackupFile &file, uint64_t offset, ByteView plain,
                                             std::span<const BlockHash> hashes) const {
    const size_t block_size = source_.block_size;
    const uint64_t inherited = uint64_t{file.entry.inherit_below} * block_size;
    const std::vector<KnownBlock> known = known_blocks(*file.known, offset, plain.size());
    std::vector<BlockRun> runs;
    for (uint32_t block = 0; block < known.size(); ++block) {
        const size_t at = block * block_size;
        const ByteView bytes = plain.subspan(at, std::min(block_size, plain.size() - at));
        const bool inherits = offset + at < inherited;
        // What no backup stores reads as zeroes, and so does what lies above the inherited part.
        const bool equal = inherits && known[block].stored ? known[block].hash == hashes[block] : all_zeroes(bytes);
        if (equal)
            continue;
        if (!runs.empty() && runs.back().first + runs.back().count == block)
            ++runs.back().count;
        else
            runs.push_back({block, 1});
    }
    return runs;
}

} // namespace pgvigil
