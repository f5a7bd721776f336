// Compares local bytes with the keyed hashes of a chain's blocks. Hashes that cannot be read, or were made with a key
// that no repository at hand knows, only mean that pieces which are parts of an extent are fetched, and whole extents
// compared by the hash in the table, which finds accidents.
// Threading: equal() may be called by several threads.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/block_hashes.h"
#include "transfer/restore_extents.h"
#include "transfer/restore_sources.h"

#include <atomic>
#include <memory>
#include <vector>

namespace pgvigil {

class DeltaHashes {
  public:
    // `sources`, `log` and `cancel` must outlive it.
    DeltaHashes(RestoreSources &sources, LogSink &log, const CancelToken &cancel);

    // Whether the piece's blocks have hashes.
    [[nodiscard]] bool know(const FilePiece &piece) const noexcept;
    // Whether `bytes` are the piece's; false when that cannot be found out.
    [[nodiscard]] bool equal(const FilePiece &piece, ByteView bytes);

  private:
    struct Member {
        Bytes key;
        std::unique_ptr<BlockHashReader> reader;
        std::atomic<bool> usable{false};
    };
    RestoreSources &sources_;
    LogSink &log_;
    const uint32_t block_size_;
    std::vector<Member> members_; // of the chain
};

} // namespace pgvigil
