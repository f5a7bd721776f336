#include "transfer/restore_delta_hashes.h"

#include "base/error.h"

namespace pgvigil {

DeltaHashes::DeltaHashes(RestoreSources &sources, LogSink &log, const CancelToken &cancel)
    : sources_(sources), log_(log), block_size_(sources.commit().block_size), members_(sources.chain().size()) {
    for (size_t i = 0; i < members_.size(); ++i) {
        const CommitDocument &commit = sources.chain()[i];
        const auto key = commit.block_hashes ? sources.hash_key(commit.hash_repository) : std::nullopt;
        if (!key)
            continue;
        members_[i].key = *key;
        members_[i].reader = std::make_unique<BlockHashReader>(
            [this, i, &cancel](const std::string &name, ByteRange range) {
                return sources_.fetch_hashes(i, name, range, cancel);
            },
            sources.layout().files_prefix(commit.id));
        members_[i].usable = true;
    }
}

bool DeltaHashes::know(const FilePiece &piece) const noexcept {
    return piece.blocks && members_[piece.blocks->backup].usable;
}

bool DeltaHashes::equal(const FilePiece &piece, ByteView bytes) {
    if (!know(piece))
        return false;
    Member &member = members_[piece.blocks->backup];
    std::vector<BlockHash> wanted;
    std::vector<BlockHash> found;
    try {
        member.reader->read(piece.blocks->first, (bytes.size() + block_size_ - 1) / block_size_, wanted);
    } catch (const Error &error) {
        if (error.code() == ErrorCode::kCancelled)
            throw;
        if (member.usable.exchange(false))
            log_.emit(LogLevel::kWarning, error.message() + "; the hashes in the table serve instead", error.detail());
        return false;
    }
    BlockHasher(member.key).append(found, bytes, block_size_);
    return found == wanted;
}

} // namespace pgvigil
