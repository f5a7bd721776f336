// The server's own WAL in pg_wal, as digests to compare with what repositories hold. Digests of complete segments are
// remembered. Threading: one thread. Errors: none; a file that is gone or cannot be read has no digest.
#pragma once

#include "crypto/digest.h"
#include "repo/writer_claim.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace pgvigil {

class LocalWal {
  public:
    // `input` must outlive it.
    explicit LocalWal(const ClaimInput &input);

    // The complete segments of the server's timeline without a hole: [first, end), by number.
    [[nodiscard]] uint64_t first() const noexcept { return first_; }
    [[nodiscard]] uint64_t end() const noexcept { return end_; } // the one the WAL ends in

    // nullopt when the file has gone: PostgreSQL removes what it has archived.
    const std::optional<Sha256Digest> &digest(uint64_t segment);
    // Of bytes [from, to) of a segment, the one the WAL ends in included.
    [[nodiscard]] std::optional<Sha256Digest> digest(uint64_t segment, uint64_t from, uint64_t to) const;
    // How many bytes of the segment are WAL.
    [[nodiscard]] uint64_t length(uint64_t segment) const noexcept;

  private:
    [[nodiscard]] std::string path(uint64_t segment) const;
    [[nodiscard]] bool is_there(uint64_t segment) const;

    const ClaimInput &input_;
    const uint64_t end_;
    uint64_t first_ = 0;
    std::map<uint64_t, std::optional<Sha256Digest>> digests_;
};

} // namespace pgvigil
